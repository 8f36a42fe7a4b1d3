//! Where a vision transformer attends, by each method: a small one with random weights, as `PyTorch` exports it.
//!
//! `cargo run -p faithful-attention --example where_tokens_attend`

use candle_core::{DType, Device, Tensor};
use faithful_attention::{METHODS, explain};
use faithful_core::{Objective, Result, Target};
use faithful_model::{Loading, Model};

fn main() -> Result<()> {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/goldens/attention/vit-script.onnx");
    let model = Model::load(&file.parse()?, &Loading::default())?;
    let shape: Vec<usize> = std::iter::once(1).chain(model.graph.nominal_input().iter().copied()).collect();
    let photo = Tensor::randn(0f32, 1., shape, &Device::Cpu)?;
    let target = Target::Output(0);
    let objective = Objective::new(&model.graph, &target);
    for method in METHODS {
        let map = explain(method, &objective, &photo, &[&target], None)?.remove(0).map.to_dtype(DType::F32)?;
        let (low, high) = (map.min_all()?.to_scalar::<f32>()?, map.max_all()?.to_scalar::<f32>()?);
        println!("{}: {:?} patches from {low:.4} to {high:.4}", method.info.name, map.dims());
    }
    Ok(())
}
