//! Reads an ONNX file and shows what each layer gives for an input of ones:
//! `cargo run -p faithful-model --example inside_an_onnx -- net.onnx`; without a file, a small one of the tests.

use candle_core::{DType, Device, Tensor};
use faithful_core::{LayerId, Network, Result};
use faithful_model::{OnnxOptions, load_onnx};
use std::path::PathBuf;

fn main() -> Result<()> {
    let small = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/goldens/onnx/script17_cnn.onnx");
    let path = std::env::args_os().nth(1).map_or_else(|| PathBuf::from(small), PathBuf::from);
    let graph = load_onnx(&path, &OnnxOptions { free_size: Some([64, 64]), ..OnnxOptions::default() })?;
    let shape: Vec<usize> = std::iter::once(1).chain(graph.nominal_input().iter().copied()).collect();
    let input = Tensor::ones(shape, DType::F32, &Device::Cpu)?;
    let target = graph.target_layer();
    for (index, layer) in graph.layers().iter().enumerate() {
        let here = if target == Some(LayerId(index)) { "  <- class activation maps" } else { "" };
        println!("{:<24} {:<14} {:?}{here}", layer.name, layer.kind, layer.shape);
    }
    let (output, activations) = graph.evaluate(&input, &target.into_iter().collect::<Vec<_>>())?;
    for activation in activations {
        println!("the target's mean is {:.4}", activation.mean_all()?.to_scalar::<f32>()?);
    }
    println!("outputs {:?}", output.dims());
    Ok(())
}
