use super::support::{Place, fixture, name};
use faithful_report::{Map, decode_npy, image};
use std::collections::HashSet;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;

fn map(path: impl AsRef<Path>) -> Map {
    decode_npy(&std::fs::read(path).unwrap()).unwrap()
}

#[test]
fn one_photo_gives_a_picture_a_map_and_a_line() {
    let place = Place::new();
    let photo = place.scene("scene.png", 0);
    let ran = place.run(&["explain", name(&photo), "--method", "expected-grad-cam", "--json"]);
    let objects = ran.objects();
    assert_eq!((objects.len(), ran.stderr().as_str()), (1, ""));
    let object = &objects[0];
    assert_eq!(object["image"], name(&photo));
    assert_eq!((object["method"].as_str(), object["seed"].as_u64()), (Some("expected-grad-cam"), Some(0)));
    assert_eq!((object["draws"].as_u64(), object["convergence"]["satisfied"].as_bool()), (Some(50), Some(true)));
    assert!(object["label"].is_string() && object["layer"].is_string());
    assert!(object["score"].is_number() && object["seconds"].as_f64().unwrap() > 0.0);
    assert_eq!(object["files"]["overlay"], "faithful-out/scene.expected-grad-cam.png");
    assert_eq!(place.names("faithful-out"), ["scene.expected-grad-cam.npy", "scene.expected-grad-cam.png"]);

    let layers = place.run(&["model", "layers", "--json"]).objects();
    let layer = layers.iter().find(|layer| layer["name"] == object["layer"]).unwrap();
    let map = map(place.path(object["files"]["map"].as_str().unwrap()));
    assert_eq!([map.height() as u64, map.width() as u64].map(Some), [1, 2].map(|axis| layer["shape"][axis].as_u64()));
    assert!(map.values().iter().any(|value| *value > 0.0) && map.values().iter().all(|value| *value >= 0.0));
    let picture = image::open(place.path("faithful-out/scene.expected-grad-cam.png")).unwrap();
    assert_eq!((picture.width(), picture.height()), (96, 96));

    // The score that was explained is the logit that `predict` prints.
    let predicted = &place.run(&["predict", name(&photo), "--json"]).objects()[0]["top"][0];
    assert_eq!(predicted["class"], object["class"]);
    assert!((predicted["logit"].as_f64().unwrap() - object["score"].as_f64().unwrap()).abs() < 1e-4);
}

#[test]
fn the_seed_decides_and_the_batch_does_not() {
    let place = Place::new();
    let photo = place.scene("scene.png", 2);
    let explain = |out: &str, more: &[&str]| {
        let explain =
            ["explain", name(&photo), "--method", "expected-grad-cam", "--draws", "12", "--out", out, "--json"];
        let object = place.run(&[&explain[..], more].concat()).objects().remove(0);
        map(place.path(object["files"]["map"].as_str().unwrap()))
    };
    let one = explain("one", &[]);
    assert_eq!(one, explain("same", &[]));
    assert_ne!(one, explain("other", &["--seed", "1"]));
    let largest = one.values().iter().copied().fold(0.0, f32::max);
    for more in [&["--batch", "5"][..], &["--memory", "2GiB"], &["--threads", "1"]] {
        let again = explain("again", more);
        let furthest = one.values().iter().zip(again.values()).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(furthest <= 1e-4 * largest, "{more:?}: {furthest} of {largest}");
    }
}

#[test]
fn every_method_draws_something_and_every_gradient_goes_under_a_rule() {
    let place = Place::new();
    let photo = place.scene("scene.png", 1);
    for method in place.run(&["methods", "--json"]).objects() {
        let method = method["name"].as_str().unwrap();
        let ran = place.run(&["explain", name(&photo), "--method", method, "--draws", "3", "--json", "-q"]);
        // A rule that the network's head does not allow says so, and one that needs attention; everything else works.
        if ran.code() != 0 {
            let refused = method == "cam" || ran.stderr().contains("attention: the network has none");
            assert!(refused && ran.code() == 1, "{method}: {}", ran.stderr());
            continue;
        }
        let object = &ran.lines_as_json()[0];
        let map = map(place.path(object["files"]["map"].as_str().unwrap()));
        assert!(map.values().iter().all(|value| value.is_finite()), "{method}");
    }
    for gradient in place.run(&["gradients", "--json"]).objects() {
        let gradient = gradient["name"].as_str().unwrap();
        let arguments = ["explain", name(&photo), "--method", "layer-cam", "--gradient", gradient, "--draws", "3"];
        let object = &place.run(&[&arguments[..], &["--json"]].concat()).objects()[0];
        assert_eq!(object["gradient"], gradient);
        assert!(place.path(&format!("faithful-out/scene.layer-cam.{gradient}.png")).exists());
    }
}

#[test]
fn every_kind_of_baseline_serves() {
    let place = Place::new();
    let photo = place.scene("scene.png", 1);
    place.scene("folder/a.png", 5);
    place.scene("folder/b.png", 6);
    place.file("folder/broken.png", b"not a picture");
    let names = place.run(&["baselines", "--json"]).objects();
    let names = names.iter().map(|kind| {
        let value = if kind["required"] == true { ":ff8000" } else { "" };
        format!("{}{value}", kind["name"].as_str().unwrap())
    });
    let mut maps = HashSet::new();
    for baselines in names.chain(["gaussian:0.5".into(), "blur:3".into(), "folder".into()]) {
        // At the input no difference is rectified away, so every kind shows in the map.
        let method = ["--method", "expected-gradients", "--draws", "4", "--json"];
        let ran = place.run(&[&["explain", name(&photo), "--baselines", &baselines][..], &method].concat());
        let object = &ran.objects()[0];
        assert_eq!(object["baselines"], baselines);
        assert_eq!(ran.stderr().contains("a baseline is left out"), baselines == "folder");
        let map = map(place.path(object["files"]["map"].as_str().unwrap()));
        maps.insert(map.values().iter().map(|value| value.to_bits()).collect::<Vec<_>>());
    }
    // Thirteen kinds; the built-in network's mean colour is grey, so `zero` and `grey` are one.
    assert_eq!(maps.len(), 12);
    let error = place.run(&["explain", name(&photo), "--baselines", "gausian"]);
    error.refused(2, &["`gaussian`", "folder of photos"]);
}

#[test]
fn several_classes_have_files_of_their_own() {
    let place = Place::new();
    let photo = place.scene("scene.png", 3);
    let arguments = ["explain", name(&photo), "--method", "grad-cam", "--class", "2,top2", "--json"];
    let objects = place.run(&arguments).objects();
    assert!(objects.len() == 2 || objects.len() == 3);
    let classes: HashSet<u64> = objects.iter().map(|object| object["class"].as_u64().unwrap()).collect();
    assert!(classes.len() == objects.len() && classes.contains(&2));
    assert!(place.path("faithful-out/scene.grad-cam.class2.png").exists());
    // By label, and another number of it.
    let label = objects[0]["label"].as_str().unwrap();
    let arguments =
        ["explain", name(&photo), "--method", "grad-cam", "--class", label, "--score", "probability", "--json"];
    let object = &place.run(&arguments).objects()[0];
    assert_eq!(object["class"], 2);
    assert!((object["score"].as_f64().unwrap() - object["probability"].as_f64().unwrap()).abs() < 1e-5);
}

#[test]
fn folders_and_photos_of_the_same_name_keep_apart() {
    let place = Place::new();
    place.scene("a/scene.png", 0);
    place.scene("b/scene.png", 1);
    place.scene("b/other.png", 2);
    let objects = place.run(&["explain", "a", "b", "a/scene.png", "--method", "grad-cam", "--json"]).objects();
    assert_eq!(objects.len(), 3);
    let files: HashSet<&str> = objects.iter().map(|object| object["files"]["overlay"].as_str().unwrap()).collect();
    assert_eq!(files.len(), 3, "{files:?}");
    assert_eq!(place.names("faithful-out").len(), 6);
    // Results in the folder of the photos are not explained the next time.
    place.run(&["explain", "b", "--method", "grad-cam", "--out", "b", "--json"]).objects();
    assert_eq!(place.run(&["explain", "b", "--method", "grad-cam", "--json"]).objects().len(), 2);
}

/// An overlay has the photo's own pixels: its size, upright, and grey where the network did not look.
#[test]
fn overlays_keep_size_and_orientation() {
    let place = Place::new();
    let oriented = fixture("goldens/data/photos/oriented.jpg");
    let arguments = ["explain", name(&oriented), "--method", "grad-cam", "--opacity", "0"];
    place.run(&[&arguments[..], &["--json", "-q"]].concat()).objects();
    let overlay = image::open(place.path("faithful-out/oriented.grad-cam.png")).unwrap().to_rgb8();
    let upright = faithful_data::read_photo(&oriented, &faithful_data::Decoding::default()).unwrap();
    assert_eq!(overlay.dimensions(), (upright.width as u32, upright.height as u32));
    let lying = image::open(&oriented).unwrap();
    assert_eq!((lying.width(), lying.height()), (overlay.height(), overlay.width()), "the photo lies on its side");
    let (mut own, mut grey) = (0, 0);
    for (x, y, pixel) in overlay.enumerate_pixels() {
        if pixel.0 == upright.at(y as usize, x as usize) {
            own += 1;
        } else {
            assert!(pixel.0[0] == pixel.0[1] && pixel.0[1] == pixel.0[2], "{x} {y}: {pixel:?}");
            grey += 1;
        }
    }
    // The network saw the square in the middle.
    let side = overlay.width().min(overlay.height());
    let seen = side * side;
    let all = overlay.width() * overlay.height();
    assert!(own + 2 * side >= seen && grey <= all - seen + 2 * side, "{own} own, {grey} grey of {all}");
}

#[test]
fn a_trace_has_a_line_per_draw_and_rules_stop_early() {
    let place = Place::new();
    let photo = place.scene("scene.png", 1);
    let arguments = ["explain", name(&photo), "--draws", "7", "--trace", "--json"];
    let object = &place.run(&arguments).objects()[0];
    let trace = std::fs::read_to_string(place.path(object["files"]["trace"].as_str().unwrap())).unwrap();
    let draws: Vec<u64> = trace
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["draws"].as_u64().unwrap())
        .collect();
    assert_eq!(draws, [1, 2, 3, 4, 5, 6, 7]);
    let arguments = ["explain", name(&photo), "--draws", "40", "--stop", "difference:1e9", "--json"];
    let object = &place.run(&arguments).objects()[0];
    assert!(object["draws"].as_u64().unwrap() < 40 && object["convergence"]["rule"] == "difference", "{object}");
}

#[test]
fn a_table_for_people_names_the_picture() {
    let place = Place::new();
    let photo = place.scene("scene.png", 1);
    let ran = place.run(&["explain", name(&photo), "--method", "grad-cam", "--legend", "--colormap", "inferno"]);
    assert_eq!((ran.code(), ran.stderr().as_str()), (0, ""));
    assert_eq!(ran.stdout().lines().count(), 2);
    assert!(ran.stdout().contains("faithful-out/scene.grad-cam.png") && !ran.stdout().contains('\u{1b}'));
    let picture = image::open(place.path("faithful-out/scene.grad-cam.png")).unwrap();
    assert!(picture.width() > 96 && picture.height() == 96);
}

/// Whenever the program is killed, what has appeared under its final name is whole.
#[cfg(unix)]
#[test]
fn a_killed_run_leaves_only_whole_files() {
    let place = Place::new();
    for index in 0..6 {
        place.scene(&format!("photos/{index}.png"), index);
    }
    let mut child = place
        .command(&["explain", "photos", "--method", "grad-cam", "--json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    lines.next().unwrap().unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    let names: Vec<String> = place.names("faithful-out").into_iter().filter(|name| !name.starts_with('.')).collect();
    assert!(names.len() >= 2);
    for name in names {
        let path = place.path("faithful-out").join(&name);
        if Path::new(&name).extension().is_some_and(|extension| extension == "npy") {
            map(path);
        } else {
            image::open(path).unwrap();
        }
    }
}

#[test]
fn rules_stand_on_gradients_with_paths_differences_and_several_layers() {
    let place = Place::new();
    let photo = place.scene("scene.png", 1);
    let explain = |more: &[&str]| {
        let arguments = [&["explain", name(&photo), "--method", "layer-cam", "--gradient", "expected", "--json"], more];
        place.run(&arguments.concat()).objects().remove(0)
    };
    let batched = explain(&["--mini-batches", "3x4"]);
    assert_eq!((batched["draws"].as_u64(), batched["gradient"].as_str()), (Some(12), Some("expected")));
    let values = |object: &serde_json::Value| map(place.path(object["files"]["map"].as_str().unwrap()));
    let without = explain(&["--mini-batches", "3x4", "--difference", "none"]);
    assert_ne!(values(&batched), values(&without));
    let layers = place.run(&["model", "layers", "--json"]).objects();
    let relus: Vec<&str> = layers.iter().filter(|l| l["kind"] == "relu").filter_map(|l| l["name"].as_str()).collect();
    let several = explain(&["--draws", "4", "--fusion", "mean", "--layer", &relus[..2].join(",")]);
    assert_eq!(several["layer"].as_str(), Some(relus[..2].join(",").as_str()));
    for (wrong, meant) in [("--difference=activaton", "`activation`"), ("--fusion=means", "`mean`")] {
        let ran = place.run(&["explain", name(&photo), wrong]);
        assert!(ran.stderr().contains(meant), "{}", ran.stderr());
    }
}

#[test]
fn definitions_are_followed_where_a_library_differs_and_refused_where_it_has_none() {
    let place = Place::new();
    let photo = place.scene("scene.png", 1);
    let values = |method: &str, definition: &str| {
        let arguments = ["explain", name(&photo), "--method", method, "--definition", definition, "--draws", "3"];
        let object = &place.run(&[&arguments[..], &["--json", "-q"]].concat()).objects()[0];
        assert_eq!(object["definition"], definition);
        let label = if definition == "paper" { method.to_owned() } else { format!("{method}.{definition}") };
        assert_eq!(object["files"]["map"], format!("faithful-out/scene.{label}.npy"));
        map(place.path(object["files"]["map"].as_str().unwrap()))
    };
    for (method, definition, differs) in [
        ("grad-cam", "torchcam", false),
        ("grad-cam", "pytorch-grad-cam", false),
        ("grad-cam++", "torchcam", true),
        ("grad-cam++", "pytorch-grad-cam", true),
        ("smooth-grad-cam++", "torchcam", true),
        ("is-cam", "torchcam", true),
        ("eigen-cam", "pytorch-grad-cam", true),
        ("poly-cam±", "polycam", false),
    ] {
        let (peer, paper) = (values(method, definition), values(method, "paper"));
        assert_eq!(peer != paper, differs, "{method} as {definition}");
    }
    for (method, definition) in
        [("full-grad", "torchcam"), ("score-cam", "polycam"), ("saliency", "torchcam"), ("rise", "pytorch-grad-cam")]
    {
        let ran = place.run(&["explain", name(&photo), "--method", method, "--definition", definition]);
        ran.refused(2, &["definition", method]);
    }
    place.run(&["explain", name(&photo), "--definition", "torchcan"]).refused(2, &["`torchcam`"]);
}

#[test]
fn poly_cam_takes_every_stage_and_layouts_are_checked() {
    let place = Place::new();
    let photo = place.scene("scene.png", 1);
    let object = &place.run(&["explain", name(&photo), "--method", "poly-cam+", "--json"]).objects()[0];
    let layers: Vec<String> = object["layer"].as_str().unwrap().split(',').map(str::to_owned).collect();
    let all = place.run(&["model", "layers", "--json"]).objects();
    let side = |layer: &String| all.iter().find(|one| one["name"] == layer.as_str()).unwrap()["shape"][1].as_u64();
    assert!(layers.len() > 2 && layers.windows(2).all(|pair| side(&pair[0]) > side(&pair[1])), "{layers:?}");
    assert_eq!(object["map"]["height"].as_u64(), side(&layers[0]));
    assert_eq!(object["score_kind"], "probability");
    let explain = |more: &[&str]| place.run(&[&["explain", name(&photo), "--method", "grad-cam"], more].concat());
    assert_eq!(explain(&["--layout", "channels-first"]).code(), 0);
    explain(&["--layout", "nchw"]).refused(2, &["tokens:PREFIX:HxW"]);
    assert_eq!(explain(&["--layout", "tokens:1:3x3"]).code(), 1);
    explain(&["--fusion", "mean"]).refused(2, &["name several"]);
}
