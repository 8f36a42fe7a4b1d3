//! Networks of volumes: an array or a TIFF with a page per slice, and a map per slice.

use super::support::{Place, Ran, fixture, name};
use candle_core::{Device, Tensor};
use faithful_core::Array;

fn given(place: &Place) -> [String; 3] {
    let copied = ["net.onnx", "volume.npy", "volume.tif"].map(|file| {
        std::fs::copy(fixture("goldens/volume").join(file), place.path(file)).unwrap();
        name(&place.path(file)).to_owned()
    });
    std::fs::copy(fixture("goldens/volume/net.json"), place.path("net.json")).unwrap();
    copied
}

fn agrees(values: &[f32], golden: &Tensor, what: &str) {
    let golden: Vec<f32> = golden.flatten_all().unwrap().to_vec1().unwrap();
    assert_eq!(values.len(), golden.len(), "{what}");
    let largest = golden.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
    for (own, golden) in values.iter().zip(&golden) {
        assert!((own - golden).abs() < 1e-4 * largest, "{what}: {own} for {golden}");
    }
}

#[test]
fn volumes_are_scored_and_explained_slice_by_slice() {
    let place = Place::new();
    let [net, array, pages] = given(&place);
    let path = fixture("goldens/volume/goldens.safetensors");
    let goldens = candle_core::safetensors::load(path, &Device::Cpu).unwrap();
    let scores: Vec<f32> = goldens["scores"].to_vec1().unwrap();
    for input in [&array, &pages] {
        let object = &place.run(&["predict", input, "--model", &net, "--top", "3", "--json"]).objects()[0];
        for class in object["top"].as_array().unwrap() {
            let golden = f64::from(scores[class["class"].as_u64().unwrap() as usize]);
            assert!((class["logit"].as_f64().unwrap() - golden).abs() < 1e-5, "{object}");
        }
    }
    for method in ["grad-cam", "layer-cam", "gradient"] {
        let run = ["explain", &array, "--model", &net, "--method", method, "--out", "maps", "--legend", "--json"];
        let object = &place.run(&run).objects()[0];
        let map = Array::decode(&std::fs::read(place.path(object["files"]["map"].as_str().unwrap())).unwrap()).unwrap();
        let shape: Vec<u64> = map.shape.iter().map(|side| *side as u64).collect();
        let said = ["slices", "height", "width"].map(|side| object["map"][side].as_u64().unwrap());
        assert_eq!(shape, said, "{method}");
        agrees(&map.values, &goldens[method], method);
    }
    // Six slices of 12 x 10 in two rows of three, and the legend.
    let picture = image::open(place.path("maps/volume.grad-cam.png")).unwrap();
    assert!(picture.height() == 24 && picture.width() > 30, "{} x {}", picture.height(), picture.width());
}

#[test]
fn methods_with_draws_explain_volumes_too() {
    let place = Place::new();
    let [net, array, _] = given(&place);
    for method in ["expected-grad-cam", "guided-grad-cam", "integrated-gradients", "rise"] {
        let run = ["explain", &array, "--model", &net, "--method", method, "--draws", "8", "--out", "maps", "--json"];
        let ran: Ran = place.run(&run);
        if ran.code() != 0 {
            // Masks of photos are no masks of volumes; it says so.
            assert!(method == "rise" && ran.stderr().contains("volume"), "{method}: {}", ran.stderr());
        }
    }
}

#[test]
fn what_does_not_fit_a_network_of_volumes_is_said() {
    let place = Place::new();
    let [net, array, _] = given(&place);
    let photo = place.scene("photo.png", 0);
    place.run(&["predict", name(&photo), "--model", &net]).refused(1, &["a volume of (6, 12, 10)", "page per slice"]);
    place.run(&["predict", &array, "--model", &net, "--crop", "8x8"]).refused(2, &["a volume goes into the network"]);
    place.run(&["compare", &array, "--model", &net, "--out", "page.html"]).refused(2, &["takes volumes", "explain"]);
}
