//! What Pillow and torchvision make of the same photos (`fixtures/goldens/data/make.py`).

use candle_core::{Device, Tensor};
use faithful_core::{Preprocessing, Resampling};
use faithful_data::{Decoding, Picture, preprocess, read_photo};
use std::collections::HashMap;
use std::path::PathBuf;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/goldens/data")
}

fn load(name: &str) -> HashMap<String, Tensor> {
    candle_core::safetensors::load(folder().join(name), &Device::Cpu).unwrap()
}

fn picture(tensor: &Tensor) -> Picture {
    let (height, width, _) = tensor.dims3().unwrap();
    Picture { height, width, pixels: tensor.flatten_all().unwrap().to_vec1::<u8>().unwrap() }
}

/// The largest and the mean difference of two pictures' bytes.
fn difference(a: &Picture, b: &Picture) -> (u8, f64) {
    assert_eq!((a.height, a.width), (b.height, b.width));
    let differences = a.pixels.iter().zip(&b.pixels).map(|(a, b)| a.abs_diff(*b));
    let mean = differences.clone().map(f64::from).sum::<f64>() / a.pixels.len() as f64;
    (differences.max().unwrap(), mean)
}

#[test]
fn resizing_by_columns_then_rows_is_pillows_to_the_bit() {
    let goldens = load("resize.safetensors");
    let source = picture(&goldens["source"]);
    let mut compared = 0;
    for (name, filter) in Resampling::ALL {
        for (key, expected) in goldens.iter().filter(|(key, _)| key.starts_with(&format!("{name}."))) {
            let expected = picture(expected);
            let got = faithful_data::resize_picture(&source, [expected.height, expected.width], filter).unwrap();
            assert_eq!(difference(&got, &expected), (0, 0.0), "{key}");
            compared += 1;
        }
    }
    assert_eq!(compared, 20);
}

#[test]
fn preprocessing_is_torchvisions_to_a_grey_level() {
    let goldens = load("resize.safetensors");
    let colour = |resize, crop| Preprocessing { input_size: crop, resize, crop: Some(crop), ..Default::default() };
    let grey = Preprocessing { resize: Some(20), crop: None, mean: vec![0.4], std: vec![0.3], ..Default::default() };
    for (name, preprocessing) in [
        ("wide", colour(Some(48), [40, 40])),
        ("tall", colour(Some(32), [32, 32])),
        ("odd", colour(Some(33), [24, 30])),
        ("padded", colour(None, [27, 30])),
        ("enlarged", colour(Some(40), [40, 40])),
        ("grey", grey),
    ] {
        let source = picture(&goldens[&format!("pipeline.{name}.source")]);
        let expected = &goldens[&format!("pipeline.{name}.input")];
        let got = preprocess(&source, &preprocessing, &Device::Cpu).unwrap().tensor;
        assert_eq!(got.dims(), expected.dims(), "{name}");
        let largest = (got - expected).unwrap().abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap();
        // One grey level, over the smallest deviation: Pillow 13 sometimes does the rows first.
        let level = 1.0 / 255.0 / preprocessing.std.iter().fold(1.0_f32, |a, &b| a.min(b));
        println!("{name}: {:.2} grey levels", largest / level);
        assert!(largest <= level * 1.001, "{name}: {largest}");
    }
}

#[test]
fn every_format_decodes_as_pillow_does() {
    for (name, expected) in load("photos.safetensors") {
        let got = read_photo(&folder().join("photos").join(&name), &Decoding::default()).unwrap();
        let (largest, mean) = difference(&got, &picture(&expected));
        // Decoders may round a lossy format differently; how chroma is enlarged is not specified either.
        let allowed = match name.as_str() {
            "subsampled.jpg" => (6, 1.0),
            "lossy.webp" => (1, 0.1),
            "colour.jpg" | "progressive.jpg" | "oriented.jpg" | "grey.jpg" | "cmyk.jpg" => (3, 0.1),
            _ => (0, 0.0),
        };
        println!("{name}: largest {largest}, mean {mean:.3}");
        assert!(largest <= allowed.0 && mean <= allowed.1, "{name}: largest {largest}, mean {mean}");
    }
}
