//! Compares the networks of a folder with another runtime.
//!
//! `cargo run --release -p faithful-model --example networks -- FOLDER [NAME…]` reads every `NAME.onnx` with a
//! `NAME.safetensors` beside it, which has the tensors `input` `(N, …)` and `output` `(N, K)`; `xtask/peers/networks.py`
//! makes them. A line of JSON per network: `difference`, the largest of an output over the largest output,
//! or the `error`; and `layer`, which is explained unless another is named.

use candle_core::Device;
use faithful_core::{Network, Result};
use faithful_model::{OnnxOptions, load_onnx};
use std::path::Path;

fn difference(model: &Path) -> Result<(f32, Option<String>)> {
    let graph = load_onnx(model, &OnnxOptions::default())?;
    let pairs = candle_core::safetensors::load(model.with_extension("safetensors"), &Device::Cpu)?;
    let mut input = pairs["input"].clone();
    // A file may want its channels last; a graph has them first.
    if graph.input_shape().is_some_and(|shape| input.dims().ends_with(&[shape[0]]) && shape[0] != input.dims()[1])
        && input.rank() == 4
    {
        input = input.permute((0, 3, 1, 2))?.contiguous()?;
    }
    let (output, _) = graph.evaluate(&input, &[])?;
    let largest = pairs["output"].abs()?.max_all()?.to_scalar::<f32>()?;
    let apart = (output - &pairs["output"])?.abs()?.max_all()?.to_scalar::<f32>()?;
    let layer = graph.target_layer().map(|layer| graph.layers()[layer.0].name.clone());
    Ok((apart / largest, layer))
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, names @ ..] = arguments.as_slice() else { return Err("usage: networks FOLDER [NAME…]".into()) };
    let mut models: Vec<_> = std::fs::read_dir(folder)?.filter_map(|entry| Some(entry.ok()?.path())).collect();
    models.retain(|path| {
        path.extension().is_some_and(|end| end == "onnx") && path.with_extension("safetensors").exists()
    });
    models.sort();
    for model in models {
        let name = model.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if !names.is_empty() && !names.iter().any(|wanted| name.starts_with(wanted.as_str())) {
            continue;
        }
        let line = match difference(&model) {
            Ok((difference, layer)) => serde_json::json!({ "name": name, "difference": difference, "layer": layer }),
            Err(error) => serde_json::json!({ "name": name, "error": error.to_string() }),
        };
        println!("{line}");
    }
    Ok(())
}
