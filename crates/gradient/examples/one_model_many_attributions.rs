//! Every attribution that a candle model of one's own allows, side by side.
//!
//! `cargo run -p faithful-gradient --example one_model_many_attributions`

use candle_core::{Device, Tensor};
use faithful_core::{CandleModel, CandleNetwork, Error, LayerId, LayerInfo, Objective, Probe, Result, Target};
use faithful_gradient::{Channels, GradientParameters, METHODS, reduce_channels};

struct Tiny {
    kernel: Tensor,
    head: Tensor,
    layers: Vec<LayerInfo>,
}

impl Tiny {
    fn random() -> Result<Self> {
        let layers = vec![LayerInfo { name: "features".into(), kind: "relu".into(), shape: vec![4, 16, 16] }];
        let kernel = Tensor::randn(0f32, 0.5, (4, 3, 3, 3), &Device::Cpu)?;
        Ok(Self { kernel, head: Tensor::randn(0f32, 1., (4, 2), &Device::Cpu)?, layers })
    }
}

impl CandleModel for Tiny {
    fn layers(&self) -> &[LayerInfo] {
        &self.layers
    }

    fn forward(&self, input: &Tensor, probe: &mut dyn Probe) -> Result<Tensor> {
        let features = probe.visit(LayerId(0), input.conv2d(&self.kernel, 1, 1, 1, 1)?.relu()?)?;
        Ok(features.mean((2, 3))?.matmul(&self.head)?)
    }
}

fn main() -> Result<()> {
    let tiny = CandleNetwork(Tiny::random()?);
    let photo = Tensor::randn(0f32, 1., (1, 3, 16, 16), &Device::Cpu)?;
    let objective = Objective::new(&tiny, &Target::Margin { class: 1, against: 0 });
    for method in METHODS {
        let name = method.info.name;
        match (method.attribute)(&objective, &photo, &GradientParameters::default()) {
            Ok(found) => {
                let pixels =
                    if found.map.rank() == 4 { reduce_channels(&found.map, Channels::Sum)? } else { found.map };
                let sum = pixels.sum_all()?.to_scalar::<f32>()?;
                let gap = found.convergence.and_then(|convergence| convergence.delta);
                println!("{name}: sums to {sum:+.4}, completeness gap {gap:?}");
            }
            // This model cannot change how its activations pass a gradient back; a `faithful_model::Graph` can.
            Err(error @ Error::Unsupported(_)) => println!("{name}: {error}"),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
