//! `faithful model export`, for what only files show.

use super::support::{Place, fixture, name};

/// A network whose weights lie in a file beside it becomes one of the same kind: it is read again and gives the source's
/// answers.
#[test]
fn weights_in_a_file_beside_stay_in_one() {
    let place = Place::new();
    for file in ["external.onnx", "external.onnx.data"] {
        std::fs::copy(fixture("goldens/external").join(file), place.path(file)).unwrap();
    }
    let photo = place.scene("scene.png", 2);
    place
        .run(&["model", "export", "external.onnx", "--method", "layer-cam", "--class", "2", "--out", "own.onnx"])
        .stdout();
    let bytes = |file: &str| std::fs::metadata(place.path(file)).unwrap().len();
    assert!(bytes("own.onnx.data") > bytes("external.onnx.data") / 2, "{}", bytes("own.onnx.data"));
    assert!(bytes("own.onnx") < bytes("external.onnx") + (24 << 10), "{}", bytes("own.onnx"));

    let first =
        |model: &str| place.run(&["predict", name(&photo), "--model", model, "--json"]).objects()[0]["top"][0].clone();
    let (source, own) = (first("external.onnx"), first("own.onnx"));
    assert_eq!(source["class"], own["class"]);
    let logit = |top: &serde_json::Value| top["logit"].as_f64().unwrap();
    assert!((logit(&source) - logit(&own)).abs() < 1e-5, "{source} {own}");

    // Its map would take second derivatives.
    place.run(&["predict", name(&photo), "--model", "own.onnx", "--output", "map"]).refused(1, &["second derivatives"]);

    // Moved without its data, it says what is missing.
    std::fs::remove_file(place.path("own.onnx.data")).unwrap();
    place.run(&["predict", name(&photo), "--model", "own.onnx"]).refused(1, &["own.onnx.data"]);
}
