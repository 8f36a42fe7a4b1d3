//! ONNX files of many makes against ONNX Runtime; `fixtures/goldens/onnx/make.py` made both.

mod damage;
mod export;
mod one_picture;
mod operators;
mod real;
mod series;
mod targets;

use candle_core::{DType, Device, Tensor};
use faithful_core::{Network, Unobserved};
use faithful_model::{OnnxOptions, load_onnx};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/goldens/onnx")
}

/// `‖a - b‖ / ‖b‖`.
fn relative_l2(a: &Tensor, b: &Tensor) -> candle_core::Result<f64> {
    let (a, b) = (a.to_dtype(DType::F64)?, b.to_dtype(DType::F64)?);
    let distance = (&a - &b)?.sqr()?.sum_all()?.to_scalar::<f64>()?.sqrt();
    let ratio = distance / b.sqr()?.sum_all()?.to_scalar::<f64>()?.sqrt();
    Ok(if ratio.is_nan() { f64::INFINITY } else { ratio })
}

fn expected() -> HashMap<String, Tensor> {
    candle_core::safetensors::load(folder().join("expected.safetensors"), &Device::Cpu).unwrap()
}

/// How far an output is from the columns of it that are kept.
fn distance(output: &Tensor, wanted: &Tensor) -> Result<f64, String> {
    let columns = output.dims2().map_err(|error| error.to_string())?.1;
    let kept = faithful_tensor::slice(output, 1, 0, None, columns.div_ceil(120) as isize);
    let kept = kept.map_err(|error| error.to_string())?;
    if kept.dims() != wanted.dims() {
        return Err(format!("shape {:?} instead of {:?}", kept.dims(), wanted.dims()));
    }
    relative_l2(&kept, wanted).map_err(|error| error.to_string())
}

#[test]
fn every_file_gives_what_onnx_runtime_gives() {
    let expected = expected();
    let mut names: Vec<&str> = expected.keys().filter_map(|key| key.strip_suffix(".output")).collect();
    names.sort_unstable();
    assert!(names.len() >= 49, "only {} files", names.len());
    let mut failures = Vec::new();
    for name in names {
        let path = folder().join(format!("{name}.onnx"));
        let input = &expected[&format!("{name}.input")];
        // Channels come second in our networks.
        let input = if name.contains("channels_last") { &input.permute((0, 3, 1, 2)).unwrap() } else { input };
        let result = load_onnx(&path, &OnnxOptions::default())
            .and_then(|graph| graph.forward(input, &mut Unobserved))
            .map_err(|error| error.to_string())
            .and_then(|output| distance(&output, &expected[&format!("{name}.output")]));
        // Half precision: ONNX Runtime rounds after every operator, we do not.
        let tolerance = if name.contains("half") { 2e-3 } else { 1e-4 };
        match result {
            Ok(distance) if distance < tolerance => {}
            Ok(distance) => failures.push(format!("{name}: relative distance {distance:e}")),
            Err(error) => failures.push(format!("{name}: {error}")),
        }
    }
    assert!(failures.is_empty(), "{} files differ:\n{}", failures.len(), failures.join("\n"));
}
