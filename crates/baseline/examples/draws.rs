//! What a mixture of baselines draws for two images, and what of it can be computed once.
//!
//! `cargo run -p faithful-baseline --example draws`

use candle_core::{Device, Tensor};
use faithful_baseline::{AlphaSampler, BaselineSampler, Constant, DataSet, Gaussian, Mixture, Spread};
use faithful_core::{Result, Stream};

fn main() -> Result<()> {
    let photos = Tensor::rand(-1f32, 1., (12, 3, 16, 16), &Device::Cpu)?;
    let sampler = Mixture::new(vec![
        (0.6, Box::new(DataSet::new(photos)?)),
        (0.2, Box::new(Constant::zero())),
        (0.2, Box::new(Gaussian { spread: Spread::Relative(0.15) })),
    ])?;
    let photo = Tensor::rand(-1f32, 1., (1, 3, 16, 16), &Device::Cpu)?;
    for image in ["heron.jpg", "tench.jpg"] {
        // The image's own stream: the same draws in whatever order the images come.
        let stream = Stream::new(7, image);
        let draws = 0..6;
        let baselines = sampler.sample(&photo, &stream, draws.clone())?;
        let means = baselines.flatten_from(1)?.mean(1)?.to_vec1::<f32>()?;
        let origins = sampler.origins(&stream, draws.clone());
        let alphas = AlphaSampler::Uniform.alphas(&stream, draws.clone(), draws.len());
        println!("{image}");
        for ((draw, origin), (alpha, mean)) in draws.zip(origins).zip(alphas.iter().zip(means)) {
            println!("  draw {draw}: {origin:?}, mean {mean:+.3}, alpha {alpha:.3}");
        }
    }
    Ok(())
}
