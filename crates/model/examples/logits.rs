//! Holds an ONNX model's outputs against another runtime's.
//!
//! `cargo run --release -p faithful-model --example logits -- MODEL.onnx PAIRS.safetensors`, where the pairs are the
//! tensors `input` `(N, …)` and `output` `(N, K)`; `fixtures/goldens/onnx/photos.py` makes them from a folder of photos.

use candle_core::{D, DType, Device, Tensor};
use faithful_core::Network;
use faithful_model::{OnnxOptions, load_onnx};
use std::path::Path;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, pairs] = arguments.as_slice() else { return Err("usage: logits MODEL.onnx PAIRS.safetensors".into()) };
    let graph = load_onnx(Path::new(model), &OnnxOptions::default())?;
    let pairs = candle_core::safetensors::load(pairs, &Device::Cpu)?;
    let (Some(input), Some(expected)) = (pairs.get("input"), pairs.get("output")) else {
        return Err("the pairs are called `input` and `output`".into());
    };
    let rows = input.dim(0)?;
    let (mut same, mut worst) = (0, 0f32);
    for start in (0..rows).step_by(10) {
        let count = 10.min(rows - start);
        let (output, _) = graph.evaluate(&input.narrow(0, start, count)?, &[])?;
        let expected = expected.narrow(0, start, count)?;
        worst = worst.max((&output - &expected)?.abs()?.max_all()?.to_scalar()?);
        let top = |logits: &Tensor| logits.argmax(D::Minus1);
        let equal = top(&output)?.eq(&top(&expected)?)?.to_dtype(DType::U32)?;
        same += equal.sum_all()?.to_scalar::<u32>()?;
    }
    println!("{rows} rows, top-1 equal on {same}, largest difference of an output {worst:.2e}");
    Ok(())
}
