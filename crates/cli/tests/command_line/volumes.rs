//! Networks of volumes: an array or a TIFF with a page per slice, and a map per slice.

use super::support::{Place, Ran, fixture, name};
use candle_core::{Device, Tensor};
use faithful_core::Array;

fn given(place: &Place) -> [String; 4] {
    let copied = ["net.onnx", "volume.npy", "volume.tif", "volume.nii.gz"].map(|file| {
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
    let [net, array, pages, scan] = given(&place);
    let path = fixture("goldens/volume/goldens.safetensors");
    let goldens = candle_core::safetensors::load(path, &Device::Cpu).unwrap();
    let scores: Vec<f32> = goldens["scores"].to_vec1().unwrap();
    for input in [&array, &pages, &scan] {
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
    let [net, array, ..] = given(&place);
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
    let [net, array, ..] = given(&place);
    let photo = place.scene("photo.png", 0);
    place.run(&["predict", name(&photo), "--model", &net]).refused(1, &["a volume of (6, 12, 10)", "page per slice"]);
    place.run(&["predict", &array, "--model", &net, "--crop", "8x8"]).refused(2, &["a volume goes into the network"]);
    place.run(&["compare", &array, "--model", &net, "--out", "page.html"]).refused(2, &["takes volumes", "explain"]);
}

#[test]
fn scans_that_do_not_fit_are_refused() {
    let place = Place::new();
    let [net, _, _, scan] = given(&place);
    let bytes = std::fs::read(fixture("goldens/volume/volume.nii.gz")).unwrap();
    place.file("short.nii.gz", &bytes[..bytes.len() / 2]);
    place.run(&["predict", "short.nii.gz", "--model", &net]).refused(1, &["short.nii.gz", "cut short"]);
    place.run(&["predict", &scan]).refused(1, &["NIfTI", "takes photos"]);
    // A plain header of 2 x 3 x 4 floats, and no values.
    let mut header = vec![0; 352];
    header[..4].copy_from_slice(&348_i32.to_le_bytes());
    for (place, side) in [3_u16, 2, 3, 4, 1, 1, 1, 1].iter().enumerate() {
        header[40 + 2 * place..][..2].copy_from_slice(&side.to_le_bytes());
    }
    header[70..72].copy_from_slice(&16_i16.to_le_bytes());
    header[108..112].copy_from_slice(&352_f32.to_le_bytes());
    header[344..348].copy_from_slice(b"n+1\0");
    place.file("small.nii", &header);
    let refused = place.run(&["predict", "small.nii", "--model", &net]);
    refused.refused(1, &["small.nii", "[2, 3, 4]", "10 columns, 12 rows and 6 slices"]);
    header[344..348].copy_from_slice(b"ni1\0");
    place.file("alone.nii", &header);
    place.run(&["predict", "alone.nii", "--model", &net]).refused(1, &["another file"]);
}
