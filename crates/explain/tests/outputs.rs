//! What is read off the outputs of small segmentation, detection and embedding networks, against maps that PyTorch gives
//! (fixtures/goldens/outputs/outputs.py).

use faithful_core::Network as _;
use faithful_explain::{Classifier, MethodResult, ModelOptions, Read, Seen, Session, Setup, detections, model, shares};
use faithful_model::{Compute, Model};
use serde_json::Value;
use std::path::{Path, PathBuf};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/goldens/outputs").join(name)
}

fn expected() -> Value {
    serde_json::from_slice(&std::fs::read(golden("expected.json")).unwrap()).unwrap()
}

fn opened(name: &str, read: Read) -> faithful_core::Result<Classifier> {
    let options = ModelOptions { read: read.clone(), ..ModelOptions::default() };
    let model = model::load(&golden(&format!("{name}.onnx")).display().to_string().parse()?, &options)?;
    Classifier::reading_of(model, read, |model: &Model| Compute::default().place(&model.graph))
}

/// The layer whose activations are explained.
fn layer(classifier: &Classifier) -> String {
    // What the second convolution gives, behind its relu.
    classifier.model.graph.layers().iter().rfind(|layer| layer.shape == [8, 12, 16]).unwrap().name.clone()
}

fn setup(method: &str, classifier: &Classifier) -> Setup {
    Setup { layers: vec![layer(classifier)], ..Setup::method(method).unwrap() }
}

fn seen(session: &Session<'_>) -> Seen {
    session.read(&golden("photo.png")).unwrap()
}

fn explained(name: &str, read: Read, change: impl FnOnce(&mut Setup)) -> (Seen, MethodResult, Classifier) {
    let classifier = opened(name, read).unwrap();
    let mut setup = setup("grad-cam", &classifier);
    change(&mut setup);
    let session = setup.session(&classifier).unwrap();
    let seen = seen(&session);
    let found = session.explain(&seen, &session.methods[0]).unwrap().remove(0);
    drop(session);
    (seen, found, classifier)
}

fn values(map: &MethodResult) -> Vec<f32> {
    map.raw().unwrap().values().to_vec()
}

/// Checks a score and a map that PyTorch gives, the map's values within 10^-4 of its largest.
fn check(what: &str, found: &MethodResult, wanted: &Value, factor: f64) {
    let score = wanted["score"].as_f64().unwrap() * factor;
    assert!((found.score - score).abs() < 1e-4 * score.abs().max(1.0), "{what}: {} and not {score}", found.score);
    let wanted: Vec<f64> =
        wanted["map"].as_array().unwrap().iter().map(|value| value.as_f64().unwrap() * factor).collect();
    let own = values(found);
    let most = wanted.iter().fold(0.0_f64, |most, value| most.max(value.abs()));
    assert!(own.len() == wanted.len() && most > 0.0, "{what}: {} places", own.len());
    for (own, wanted) in own.iter().zip(&wanted) {
        assert!((f64::from(*own) - wanted).abs() <= 1e-4 * most, "{what}: {own} and not {wanted}");
    }
}

/// The three objects of the photo: left, top, right, bottom; and their classes.
const OBJECTS: [(&str, [f64; 4], usize); 3] = [
    ("red", [8.0, 8.0, 20.0, 20.0], 0),
    ("blue", [40.0, 28.0, 52.0, 40.0], 1),
    ("other red", [44.0, 4.0, 56.0, 16.0], 0),
];

const DETECTORS: [&str; 5] = ["yolo8", "yolo5", "ssd", "detr", "nms"];

fn box_words([left, top, right, bottom]: [f64; 4]) -> String {
    format!("box:{left},{top},{right},{bottom}")
}

#[test]
fn detections_are_listed_at_their_places_whatever_the_form() {
    for name in DETECTORS {
        let classifier = opened(name, Read::Classes).unwrap();
        assert_eq!((classifier.model.labels.count(), classifier.model.labels.name(1)), (2, "blue".into()), "{name}");
        let session = setup("grad-cam", &classifier).session(&classifier).unwrap();
        let seen = seen(&session);
        let dense = classifier.model.dense.as_ref().unwrap();
        let found = detections(dense, &dense.graph, &seen.photo).unwrap();
        assert!(found.windows(2).all(|pair| pair[0].score >= pair[1].score), "{name}");
        for (object, [left, top, right, bottom], class) in OBJECTS {
            let best = found.iter().find(|one| {
                let [x, y] =
                    [f64::midpoint(one.corners[0], one.corners[2]), f64::midpoint(one.corners[1], one.corners[3])];
                one.class == class && (left..right).contains(&x) && (top..bottom).contains(&y)
            });
            let best = best.unwrap_or_else(|| panic!("{name} finds no {object}: {found:?}"));
            let width = best.corners[2] - best.corners[0];
            assert!(best.score > 0.3 && (8.0..20.0).contains(&width), "{name}, {object}: {best:?}");
        }
    }
}

#[test]
fn maps_of_boxes_are_pytorchs() {
    let expected = expected();
    for name in DETECTORS {
        let classifier = opened(name, Read::Classes).unwrap();
        let dense = classifier.model.dense.as_ref().unwrap();
        let session = setup("grad-cam", &classifier).session(&classifier).unwrap();
        let all = detections(dense, &dense.graph, &seen(&session).photo).unwrap();
        for (object, _, class) in OBJECTS {
            let wanted = &expected[name][object];
            let place = all.iter().position(|one| wanted["row"] == one.row && one.class == class);
            let number = place.unwrap_or_else(|| panic!("{name} does not list {object}: {all:?}")) + 1;
            let (_, found, _) = explained(name, Read::Detection(number.to_string()), |_| {});
            check(&format!("{name}, {object}"), &found, wanted, 1.0);
        }
    }
}

#[test]
fn the_map_of_a_box_lies_on_its_own_object() {
    for name in DETECTORS {
        for (object, corners, class) in OBJECTS {
            let classifier = opened(name, Read::Detection(box_words(corners))).unwrap();
            let session = setup("layer-cam", &classifier).session(&classifier).unwrap();
            let seen = seen(&session);
            assert_eq!(seen.classes, [class], "{name}, {object}");
            let found = session.explain(&seen, &session.methods[0]).unwrap().remove(0);
            let all = values(&found);
            let [left, top, right, bottom] = corners.map(|side| (side / 4.0) as usize);
            let own: f32 = (top..bottom)
                .flat_map(|row| (left..right).map(move |column| row * 16 + column))
                .map(|at| all[at])
                .sum();
            assert!(own > 0.95 * all.iter().sum::<f32>(), "{name}, {object}: {own} of {}", all.iter().sum::<f32>());
        }
    }
}

#[test]
fn a_box_is_chosen_by_class_and_explained_by_its_parts() {
    let read = |text: &str| Read::Detection(text.to_owned());
    let (seen, _, _) = explained("yolo5", read("blue"), |_| {});
    let near = seen.reading.as_ref().unwrap().corners.unwrap();
    assert!((near[0] - 40.0).abs() < 6.0 && (near[1] - 28.0).abs() < 6.0, "{near:?}");
    let of = |text: &str| {
        let (seen, found, classifier) = explained("yolo5", read(text), |_| {});
        (found.score, seen.prediction.logits.len(), classifier.model.labels.name(seen.classes[0]))
    };
    let probability = |logit: f64| 1.0 / (1.0 + (-logit).exp());
    let (joint, class, objectness) = (of("blue"), of("blue/class"), of("blue/objectness"));
    assert!((probability(joint.0) - probability(class.0) * probability(objectness.0)).abs() < 1e-5);
    assert_eq!((joint.1, class.1, objectness.1), (2, 2, 1));
    assert_eq!((joint.2.as_str(), objectness.2.as_str()), ("blue", "objectness"));
    // A number of the box is a number of pixels of the photo, here of the input.
    for name in ["yolo5", "ssd", "detr"] {
        let (seen, _, _) = explained(name, read("blue"), |_| {});
        let near = seen.reading.as_ref().unwrap().corners.unwrap();
        for (part, wanted) in [
            ("left", near[0]),
            ("top", near[1]),
            ("right", near[2]),
            ("width", near[2] - near[0]),
            ("height", near[3] - near[1]),
        ] {
            let (_, found, _) = explained(name, read(&format!("blue/{part}")), |_| {});
            assert!((found.score - wanted).abs() < 1e-3, "{name} {part}: {} and not {wanted}", found.score);
        }
    }
    let message = |name: &str, text: &str| {
        let classifier = opened(name, read(text))?;
        let session = setup("grad-cam", &classifier).session(&classifier)?;
        session.read(&golden("photo.png")).map(|_| ())
    };
    for (name, text, words) in [
        ("yolo8", "999", "there is no detection 999"),
        ("yolo8", "0", "counted from 1 on"),
        ("yolo8", "green", "no class `green`"),
        ("yolo8", "1/objectness", "does not say apart"),
        ("yolo8", "box:1,2,3", "is not box:LEFT,TOP,RIGHT,BOTTOM"),
        ("yolo8", "box:500,500,510,510", "no detection overlaps"),
        ("segmentation", "1", "the network gives no boxes"),
    ] {
        let error = message(name, text).unwrap_err().to_string();
        assert!(error.contains(words), "{name} {text}: {error}");
    }
}

#[test]
fn regions_are_pytorchs_means() {
    let expected = &expected()["segmentation"];
    let class = |name: &str| {
        let name = name.to_owned();
        move |setup: &mut Setup| setup.classes = vec![name]
    };
    let (_, found, _) = explained("segmentation", Read::Region("class".into()), class("red"));
    check("class", &found, &expected["class red"], 1.0);
    let (_, found, _) = explained("segmentation", Read::Region("box:40,28,52,40".into()), class("blue"));
    check("box", &found, &expected["box blue"], 1.0);
    let (_, found, _) = explained("segmentation", Read::Region("point:15,13".into()), class("red"));
    check("point", &found, &expected["point red"], 1.0);
    let folder = tempfile::tempdir().unwrap();
    let mask = |name: &str, width: usize, inside: &dyn Fn(usize, usize) -> bool| {
        let pixels = (0..48 * width).flat_map(|at| [if inside(at % width, at / width) { 255 } else { 0 }; 3]).collect();
        let path = folder.path().join(name);
        faithful_data::write_picture(&path, &faithful_data::Picture { height: 48, width, pixels }).unwrap();
        path.display().to_string()
    };
    let blue = mask("blue.png", 64, &|x, y| (40..52).contains(&x) && (28..40).contains(&y));
    let (_, found, _) = explained("segmentation", Read::Region(blue), class("blue"));
    check("mask", &found, &expected["box blue"], 1.0);

    let classifier = opened("segmentation", Read::Classes).unwrap();
    let session = setup("grad-cam", &classifier).session(&classifier).unwrap();
    let dense = classifier.model.dense.as_ref().unwrap();
    let areas = shares(dense, &dense.graph, &seen(&session).photo).unwrap();
    for (own, wanted) in areas.iter().zip(expected["area"].as_array().unwrap()) {
        assert!((own - wanted.as_f64().unwrap()).abs() < 1e-6, "{areas:?}");
    }

    let message = |name: &str, text: &str| {
        let classifier = opened(name, Read::Region(text.to_owned()))?;
        let session = setup("grad-cam", &classifier).session(&classifier)?;
        session.read(&golden("photo.png")).map(|_| ())
    };
    let (empty, narrow) = (mask("empty.png", 64, &|_, _| false), mask("narrow.png", 60, &|_, _| true));
    for (name, text, words) in [
        ("segmentation", empty.as_str(), "is empty: no pixel is white"),
        ("segmentation", &narrow, "has 60 x 48 pixels, and the photo 64 x 48"),
        ("segmentation", "point:64,3", "64,3 is outside"),
        ("segmentation", "point:3", "is not point:X,Y"),
        ("segmentation", "box:70,3,80,9", "the box lies outside"),
        ("segmentation", "box:9,3,8,9", "is not box:LEFT,TOP,RIGHT,BOTTOM"),
        ("segmentation", "everything", "is not `class`, box:"),
        ("yolo8", "class", "the network gives no class per place"),
    ] {
        let error = message(name, text).unwrap_err().to_string();
        assert!(error.contains(words), "{name} {text}: {error}");
    }
}

#[test]
fn likeness_to_a_photo_or_a_vector_is_a_cosine() {
    let expected = &expected()["embedding"];
    let (seen, found, classifier) = explained("embedding", Read::SimilarTo(golden("other.png")), |_| {});
    check("embedding", &found, expected, 1.0);
    assert_eq!(classifier.model.labels.name(0), "similarity to other.png");
    assert_eq!(seen.prediction.probabilities, seen.prediction.logits);
    let (seen, _, _) = explained("embedding", Read::SimilarTo(golden("photo.png")), |_| {});
    assert!((seen.prediction.logits[0] - 1.0).abs() < 1e-6);

    let folder = tempfile::tempdir().unwrap();
    let vector = |name: &str, values: Vec<f32>| {
        let path = folder.path().join(name);
        let map = faithful_report::Map::new(1, values.len(), values).unwrap();
        std::fs::write(&path, faithful_report::encode_npy(&map)).unwrap();
        path
    };
    let (_, found, _) = explained("embedding", Read::SimilarTo(vector("own.npy", vec![1.0; 8])), |_| {});
    assert!(found.score > 0.0 && found.score < 1.0, "{}", found.score);
    let long = opened("embedding", Read::SimilarTo(vector("long.npy", vec![1.0; 9]))).err().unwrap().to_string();
    assert!(long.contains("long.npy` has 9 numbers, and the network's output 8"), "{long}");
    let zero = opened("embedding", Read::SimilarTo(vector("zero.npy", vec![0.0; 8]))).err().unwrap().to_string();
    assert!(zero.contains("no direction"), "{zero}");
}

#[test]
fn sums_of_several_outputs_are_pytorchs() {
    let expected = &expected()["counts"];
    for sum in ["sum(density)", "0.5*age[0] - mean(age[2:5])"] {
        let output = if sum.contains("age") { "density,age" } else { "density" };
        let read = Read::Sums(vec![format!("count={sum}")]);
        let options = ModelOptions { read: read.clone(), output: Some(output.into()), ..ModelOptions::default() };
        let model = model::load(&golden("counts.onnx").display().to_string().parse().unwrap(), &options).unwrap();
        let classifier =
            Classifier::reading_of(model, read, |model: &Model| Compute::default().place(&model.graph)).unwrap();
        assert_eq!((classifier.model.labels.count(), classifier.model.labels.name(0)), (1, "count".into()));
        let setup = setup("grad-cam", &classifier);
        let session = setup.session(&classifier).unwrap();
        let found = session.explain(&seen(&session), &session.methods[0]).unwrap().remove(0);
        check(sum, &found, &expected[sum], 1.0);
    }
    let error = opened("counts", Read::Sums(vec!["density[0, 99, 0]".into()])).err().unwrap().to_string();
    assert!(error.contains("99 is outside 0..12 of `density`"), "{error}");
}
