//! What people meet first: results that do not write over each other, names of layers and classes as people know them, a method
//! that is chosen for them, help that begins with examples, pictures with words on them.

use super::support::{Place, Ran, fixture, name};
use faithful_report::{CLASS_COLORS, decode_npy, image, read_png_note};
use serde_json::Value;
use std::collections::HashSet;

/// The network with modules within modules, as PyTorch's exporter writes it.
fn network(place: &Place) -> &'static str {
    std::fs::copy(fixture("goldens/onnx/modules_script.onnx"), place.path("net.onnx")).unwrap();
    "net.onnx"
}

#[test]
fn results_of_different_questions_never_replace_each_other() {
    let place = Place::new();
    let photo = place.scene("scene.png", 0);
    let explain = |more: &[&str]| -> Value {
        let object = place.run(&[&["explain", name(&photo), "--method", "grad-cam", "--json"], more].concat());
        object.objects().remove(0)
    };
    let questions: [&[&str]; 9] = [
        &[],
        &["--class", "3"],
        &["--class", "4"],
        &["--score", "probability"],
        &["--score", "margin:bullseye"],
        &["--layer", "features.9"],
        &["--gradient", "smooth", "--draws", "3"],
        &["--definition", "torchcam"],
        &["--eigen"],
    ];
    let names: Vec<String> =
        questions.iter().map(|more| explain(more)["files"]["overlay"].as_str().unwrap().to_owned()).collect();
    assert_eq!(names.iter().collect::<HashSet<_>>().len(), names.len(), "{names:?}");
    assert_eq!(
        (names[0].as_str(), names[1].as_str()),
        ("faithful-out/scene.grad-cam.png", "faithful-out/scene.grad-cam.class3.png")
    );
    assert_eq!(names[5], "faithful-out/scene.grad-cam.features.9.png");
    // What names do not tell apart, the record inside the picture does.
    let seeded = |seed: &str| {
        let arguments =
            ["explain", name(&photo), "--method", "smooth-grad-cam++", "--draws", "3", "--seed", seed, "--json"];
        place.run(&arguments)
    };
    let file = |ran: &Ran| ran.objects()[0]["files"]["overlay"].as_str().unwrap().to_owned();
    let (one, other, again) = (seeded("1"), seeded("2"), seeded("1"));
    assert!(file(&one) == file(&again) && file(&one) != file(&other), "{} {}", file(&one), file(&other));
    assert!(other.stderr().contains("answers another question and is kept"), "{}", other.stderr());
    assert!(again.stderr().is_empty(), "{}", again.stderr());
    let record: Value = serde_json::from_str(&read_png_note(&place.path(&file(&one))).unwrap()).unwrap();
    assert_eq!((record["seed"].as_u64(), record["method"].as_str()), (Some(1), Some("smooth-grad-cam++")));
    // Nor is a file of one's own.
    let own = place.file("faithful-out/scene.layer-cam.png", b"mine");
    let ran = place.run(&["explain", name(&photo), "--method", "layer-cam", "--json"]);
    assert_ne!(file(&ran), "faithful-out/scene.layer-cam.png");
    assert_eq!(std::fs::read(own).unwrap(), b"mine");
    // Other colours are no other question.
    let before = place.names("faithful-out").len();
    explain(&["--colormap", "jet", "--caption"]);
    assert_eq!(place.names("faithful-out").len(), before);
}

#[test]
fn layers_are_found_by_the_names_of_modules() {
    let place = Place::new();
    let (photo, model) = (place.scene("scene.png", 0), network(&place));
    let layer = |layer: &str| {
        place.run(&["explain", name(&photo), "--model", model, "--method", "grad-cam", "--layer", layer, "--json"])
    };
    assert_eq!(layer("layer1").objects()[0]["layer"], "/layer1/layer1.1/relu/Relu");
    assert_eq!(layer("layer1.0.conv1").objects()[0]["layer"], "/layer1/layer1.0/conv1/Conv");
    let refused = layer("layer3").stderr();
    assert!(refused.contains("did you mean one of `layer1`, `layer2`"), "{refused}");
    assert!(refused.contains("faithful model layers net.onnx"), "{refused}");
}

#[test]
fn folders_are_searched_with_their_folders() {
    let place = Place::new();
    for file in ["photos/cats/a.png", "photos/dogs/a.png", "photos/dogs/puppies/b.png"] {
        place.scene(file, 1);
    }
    let explain = ["explain", "photos", "--method", "grad-cam", "--json"];
    let objects = place.run(&explain).objects();
    let files: HashSet<&str> = objects.iter().map(|object| object["files"]["overlay"].as_str().unwrap()).collect();
    assert_eq!((objects.len(), files.len()), (3, 3), "{files:?}");
    // The folder of the results below it is no folder of photos.
    let inside = [&explain[..], &["--out", "photos/maps"]].concat();
    place.run(&inside).objects();
    assert_eq!(place.run(&inside).objects().len(), 3);
}

#[test]
fn drawn_scenes_are_refused_for_a_network_of_other_classes() {
    let place = Place::new();
    let model = network(&place);
    let arguments =
        ["evaluate", "--images", "scenes", "--methods", "grad-cam", "--metrics", "drop", "--out", "run", "-q"];
    let ran = Ran(place.command(&arguments).env("FAITHFUL_MODEL", model).output().unwrap());
    ran.refused(2, &["images: drawn pictures show the classes of the built-in networks", "FAITHFUL_MODEL"]);
}

/// Without a model of one's own: the best built-in one, right about every scene of the repository, and scenes as large as it looks at.
#[test]
fn the_built_in_network_knows_the_scenes_of_the_readme() {
    let place = Place::new();
    let run = |arguments: &[&str]| Ran(place.command(arguments).env_remove("FAITHFUL_MODEL").output().unwrap());
    let scenes = fixture("scenes");
    let objects = run(&["predict", name(&scenes), "--json"]).objects();
    assert_eq!(objects.len(), 8);
    for object in objects {
        let image = object["image"].as_str().unwrap();
        let label = object["top"][0]["label"].as_str().unwrap().replace(' ', "-");
        assert!(image.contains(&label), "{image}: {label}");
    }
    let evaluate = ["evaluate", "--images", "scenes", "--samples", "2", "--methods", "grad-cam", "--metrics", "energy"];
    let ran = run(&[&evaluate[..], &["--out", "run", "-q"]].concat());
    assert_eq!(ran.code(), 0, "{}", ran.stderr());
}

#[test]
fn a_label_of_two_classes_leads_to_both() {
    let place = Place::new();
    let (photo, model) = (place.scene("scene.png", 0), network(&place));
    place.file("labels.txt", b"crane, wading bird\nheron\ncrane, machine\n");
    let explain = ["explain", name(&photo), "--model", model, "--labels", "labels.txt", "--method", "grad-cam", "-q"];
    for choice in [["--score", "margin:crane"], ["--class", "crane"]] {
        let words = ["`crane` is the label of 0 (crane, wading bird) and 2 (crane, machine)", "as `0`"];
        place.run(&[&explain[..], &choice].concat()).refused(2, &words);
    }
}

#[test]
fn a_method_is_chosen_by_the_networks_head_and_said() {
    let place = Place::new();
    let (photo, model) = (place.scene("scene.png", 0), network(&place));
    let built_in = place.run(&["explain", name(&photo), "--json"]);
    let object = &built_in.objects()[0];
    assert_eq!((object["method"].as_str(), object["gradient"].as_str()), (Some("layer-cam"), Some("expected")));
    assert!(built_in.stderr().contains("`layer-cam.expected` is chosen: "), "{}", built_in.stderr());
    let pooled = place.run(&["explain", name(&photo), "--model", model, "--json"]);
    assert_eq!(pooled.objects()[0]["method"], "grad-cam");
    assert!(pooled.stderr().contains("draws would repeat Grad-CAM"), "{}", pooled.stderr());
    // Who asks for draws gets them, and is told that they are pointless there.
    let drawn = place.run(&["explain", name(&photo), "--model", model, "--draws", "4", "--json"]);
    assert_eq!(
        (drawn.objects()[0]["method"].as_str(), drawn.objects()[0]["draws"].as_u64()),
        (Some("expected-grad-cam"), Some(4))
    );
    assert!(drawn.stderr().contains("the gradient is the same in every draw"), "{}", drawn.stderr());
}

#[test]
fn help_begins_with_examples_and_has_rare_options_apart() {
    let help = Place::new().run(&["explain", "--help"]).stdout();
    let place = |text: &str| help.find(text).unwrap_or_else(|| panic!("`{text}` is not in: {help}"));
    let order = [
        "Usage:",
        "Examples:",
        "\nExplanation:",
        "--gradient <NAME>",
        "\nPictures:",
        "\nExplanation, rarely needed:",
        "--quadrature",
    ];
    let places = order.map(place);
    assert!(places.is_sorted(), "{places:?}: {help}");
}

#[test]
fn colour_maps_are_listed_and_all_can_be_used() {
    let place = Place::new();
    let photo = place.scene("scene.png", 0);
    let listed = place.run(&["colormaps", "--json"]).objects();
    let names: Vec<&str> = listed.iter().map(|one| one["name"].as_str().unwrap()).collect();
    for some in ["viridis", "magma", "plasma", "turbo", "jet"] {
        assert!(names.contains(&some) && place.run(&["colormaps"]).stdout().contains(some), "{some}");
    }
    let mut pictures = HashSet::new();
    for colors in &names {
        let ran = place.run(&["explain", name(&photo), "--method", "grad-cam", "--colormap", colors, "-q"]);
        assert_eq!(ran.code(), 0, "{}", ran.stderr());
        pictures.insert(image::open(place.path("faithful-out/scene.grad-cam.png")).unwrap().to_rgb8().into_raw());
    }
    assert_eq!(pictures.len(), names.len());
}

#[test]
fn pictures_say_what_they_show_and_show_several_classes() {
    let place = Place::new();
    let photo = place.scene("scene.png", 0);
    let explain = |more: &[&str]| {
        let arguments = [&["explain", name(&photo), "--method", "layer-cam", "--json"], more].concat();
        place.run(&arguments).objects()
    };
    let open = |file: &Value| image::open(place.path(file.as_str().unwrap())).unwrap().to_rgb8();
    let plain = open(&explain(&[])[0]["files"]["overlay"]);
    let with = open(&explain(&["--caption"])[0]["files"]["overlay"]);
    assert!(with.height() > plain.height() && with.width() == plain.width());
    assert!(plain.enumerate_pixels().all(|(x, y, pixel)| with.get_pixel(x, y) == pixel));

    let both = explain(&["--class", "top2", "--one-scale", "--together", "--opacity", "1"]);
    assert_eq!(both.len(), 2);
    assert_eq!(both[0]["map"]["shown"], both[1]["map"]["shown"]);
    let together = open(&both[0]["files"]["together"]);
    let key = |color: [u8; 3]| together.enumerate_pixels().any(|(_, y, pixel)| y >= plain.height() && pixel.0 == color);
    assert!(key(CLASS_COLORS[0]) && key(CLASS_COLORS[1]) && !key(CLASS_COLORS[2]));
    let own = explain(&["--class", "top2"]);
    assert_ne!(own[0]["map"]["shown"], own[1]["map"]["shown"]);

    // A wide photo: its middle alone is what the network sees.
    let mut wide = image::RgbImage::from_pixel(200, 96, image::Rgb([90; 3]));
    image::imageops::replace(&mut wide, &image::open(&photo).unwrap().to_rgb8(), 50, 0);
    wide.save(place.path("wide.png")).unwrap();
    let seen = |view: &str, out: &str| {
        let arguments = ["explain", "wide.png", "--method", "grad-cam", "--view", view, "--out", out, "--json"];
        let object = place.run(&arguments).objects().remove(0);
        let map = decode_npy(&std::fs::read(place.path(object["files"]["map"].as_str().unwrap())).unwrap()).unwrap();
        (open(&object["files"]["overlay"]).dimensions(), map)
    };
    let (whole, input) = (seen("photo", "whole"), seen("input", "input"));
    assert_eq!((whole.0, input.0, whole.1 == input.1), ((200, 96), (96, 96), true));
    let many = place.run(&["explain", name(&photo), "--class", "top7", "--together", "-q"]);
    assert!(many.code() == 1 && many.stderr().contains("from 1 to 6 can be told apart"), "{}", many.stderr());
}

#[test]
fn a_first_evaluation_is_short_and_says_what_the_protocol_takes() {
    let place = Place::new();
    let run = |more: &[&str]| {
        let evaluate =
            ["evaluate", "--images", "scenes", "--samples", "1", "--methods", "grad-cam", "--metrics", "insertion"];
        place.run(&[&evaluate[..], more].concat())
    };
    let first = run(&["--out", "first"]);
    assert_eq!(first.code(), 0, "{}", first.stderr());
    assert!(first.stderr().contains("take 50 steps") && first.stderr().contains("takes 1003"), "{}", first.stderr());
    let manifest = |run: &str| std::fs::read_to_string(place.path(run).join("manifest.json")).unwrap();
    assert!(manifest("first").contains("50 steps"), "{}", manifest("first"));
    for more in [["--steps", "5", "--out", "few"], ["--protocol", "rise", "--out", "rise"]] {
        assert!(!run(&more).stderr().contains("first look"));
    }
    assert!(manifest("rise").contains("rise: a side of cells per step"), "{}", manifest("rise"));
}
