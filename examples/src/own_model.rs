//! Explains a network that is written with candle-nn: `cargo run -p faithful-examples --bin own_model`.
//!
//! All that faithful needs is a `CandleModel`: the layers' names, and a forward pass that shows each activation to the probe.

use candle_core::{DType, Device, Tensor};
use candle_nn::{Conv2d, Conv2dConfig, Linear, Module, VarBuilder, VarMap, conv2d, linear};
use faithful_cam::{CamParameters, EstimatorParameters, METHODS, explain};
use faithful_core::{
    CandleModel, CandleNetwork, LayerId, LayerInfo, Network, Objective, Probe, Result, Stream, Target,
};
use std::num::NonZeroUsize;

/// Two convolutions and a linear head, as candle-nn's own examples have them.
struct Digits {
    first: Conv2d,
    second: Conv2d,
    head: Linear,
    layers: Vec<LayerInfo>,
}

impl Digits {
    fn new(weights: &VarBuilder) -> candle_core::Result<Self> {
        let same = Conv2dConfig { padding: 1, ..Conv2dConfig::default() };
        let layer =
            |name: &str, shape: &[usize]| LayerInfo { name: name.into(), kind: "relu".into(), shape: shape.to_vec() };
        Ok(Self {
            first: conv2d(1, 8, 3, same, weights.pp("first"))?,
            second: conv2d(8, 16, 3, Conv2dConfig { stride: 2, ..same }, weights.pp("second"))?,
            head: linear(16, 10, weights.pp("head"))?,
            layers: vec![layer("first", &[8, 28, 28]), layer("second", &[16, 14, 14])],
        })
    }
}

impl CandleModel for Digits {
    fn layers(&self) -> &[LayerInfo] {
        &self.layers
    }

    fn forward(&self, input: &Tensor, probe: &mut dyn Probe) -> Result<Tensor> {
        let first = probe.visit(LayerId(0), self.first.forward(input)?.relu()?)?;
        let second = probe.visit(LayerId(1), self.second.forward(&first)?.relu()?)?;
        Ok(self.head.forward(&second.mean((2, 3))?)?)
    }
}

fn main() -> Result<()> {
    // Yours are trained: `VarBuilder::from_mmaped_safetensors`. These are drawn.
    let variables = VarMap::new();
    let digits = CandleNetwork(Digits::new(&VarBuilder::from_varmap(&variables, DType::F32, &Device::Cpu))?);
    let pixels: Vec<f32> = (0..28 * 28).map(|place| if place % 28 == 14 { 1.0 } else { 0.0 }).collect();
    let one = Tensor::from_vec(pixels, (1, 1, 28, 28), &Device::Cpu)?;

    let target = Target::Margin { class: 1, against: 7 };
    let objective = Objective::new(&digits, &target);
    let layer = digits.layer("second")?;
    let gradient = EstimatorParameters {
        draws: NonZeroUsize::new(8).expect("not zero"),
        stream: Stream::new(7, "one.png"),
        ..EstimatorParameters::default()
    };
    let parameters = CamParameters { gradient, ..CamParameters::default() };
    for method in METHODS.iter().filter(|method| method.most_layers() > 0 && !method.multiplies()) {
        match explain(method, &objective, &one, &[layer], &parameters) {
            Ok(found) => {
                let highest = found.map.flatten_all()?.max(0)?.to_scalar::<f32>()?;
                println!("{:<28} {:?}, at most {highest:.3e}", method.info.name, found.map.dims());
            }
            // Guided methods change how activations pass gradients back, which only a `faithful_model::Graph` can.
            Err(error) => println!("{:<28} {error}", method.info.name),
        }
    }
    Ok(())
}
