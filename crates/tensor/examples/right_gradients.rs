//! What max pooling passes back where two pixels tie, here and in candle: `cargo run -p faithful-tensor --example right_gradients`.

use candle_core::{Device, Result, Tensor, Var};
use faithful_tensor::{Pool, max_pool2d};

fn main() -> Result<()> {
    let pixels = Var::from_tensor(&Tensor::new(&[[[[1f32, 2.0], [4.0, 4.0]]]], &Device::Cpu)?)?;
    let gradient = |pooled: Tensor| -> Result<Vec<f32>> {
        let gradients = pooled.sum_all()?.backward()?;
        gradients.get(&pixels).map_or_else(|| Ok(Vec::new()), |gradient| gradient.flatten_all()?.to_vec1())
    };
    println!("candle:          {:?}", gradient(pixels.max_pool2d(2)?)?);
    println!("faithful-tensor: {:?}", gradient(max_pool2d(&pixels, &Pool::default())?)?);
    Ok(())
}
