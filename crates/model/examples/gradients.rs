//! Writes gradients of networks for a comparison with another library.
//!
//! `cargo run --release -p faithful-model --example gradients -- FOLDER NAME…` reads `NAME.onnx` and the tensor `input` of
//! `NAME.safetensors` beside it, and writes `NAME.gradients.safetensors` in `f64`: `input_gradient`, and of the layer that is
//! explained `activation` and `gradient`, all of the first output's sum over the rows. `xtask/peers/networks.py gradients` compares
//! them with PyTorch's.

use candle_core::{DType, Device};
use faithful_core::{Network, Objective, Result, Target};
use faithful_model::{OnnxOptions, load_onnx};
use std::collections::HashMap;
use std::path::Path;

fn write(model: &Path) -> Result<String> {
    let graph = load_onnx(model, &OnnxOptions::default())?.to_dtype(DType::F64)?;
    let input = &candle_core::safetensors::load(model.with_extension("safetensors"), &Device::Cpu)?["input"];
    let target = Target::Output(0);
    let layer = graph.target_layer();
    let layers: Vec<_> = layer.into_iter().collect();
    let found = Objective::new(&graph, &target).differentiate(&input.to_dtype(DType::F64)?, &layers, true)?;
    let mut tensors = HashMap::new();
    tensors.extend(found.input_gradient.map(|gradient| ("input_gradient", gradient)));
    for trace in found.traces {
        tensors.insert("activation", trace.activation);
        tensors.insert("gradient", trace.gradient);
    }
    candle_core::safetensors::save(&tensors, model.with_extension("gradients.safetensors"))?;
    Ok(layer.map_or_else(|| "no layer".into(), |layer| graph.layers()[layer.0].name.clone()))
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, names @ ..] = arguments.as_slice() else { return Err("usage: gradients FOLDER NAME…".into()) };
    for name in names {
        println!("{name}: {}", write(&Path::new(folder).join(format!("{name}.onnx")))?);
    }
    Ok(())
}
