//! Explains a number that is no class: how much more certain a network is of a group of classes than of all others.
//! `cargo run -p faithful-core --example score_of_ones_own`

use candle_core::{Device, Tensor};
use faithful_core::{CandleModel, CandleNetwork, LayerId, LayerInfo, Network, Objective, Probe, Result, Score};

/// Two features and three classes.
struct Small {
    features: Tensor,
    head: Tensor,
    layers: Vec<LayerInfo>,
}

impl CandleModel for Small {
    fn layers(&self) -> &[LayerInfo] {
        &self.layers
    }

    fn forward(&self, input: &Tensor, probe: &mut dyn Probe) -> Result<Tensor> {
        let features = probe.visit(LayerId(0), input.matmul(&self.features)?.relu()?)?;
        Ok(features.matmul(&self.head)?)
    }
}

/// The mean output of these classes minus the mean of the others.
struct Group(Vec<usize>);

impl Score for Group {
    fn score(&self, output: &Tensor) -> Result<Tensor> {
        let classes = output.dim(1)?;
        let (inside, outside) = (self.0.len() as f32, (classes - self.0.len()) as f32);
        let weight = |class| if self.0.contains(&class) { 1.0 / inside } else { -1.0 / outside };
        let weights = Tensor::from_vec((0..classes).map(weight).collect(), (classes, 1), output.device())?;
        Ok(output.matmul(&weights)?.squeeze(1)?)
    }
}

fn main() -> Result<()> {
    let small = CandleNetwork(Small {
        features: Tensor::new(&[[1f32, -1.0], [0.5, 2.0]], &Device::Cpu)?,
        head: Tensor::new(&[[1f32, 0.5, -1.0], [0.0, 1.0, 2.0]], &Device::Cpu)?,
        layers: vec![LayerInfo { name: "features".into(), kind: "relu".into(), shape: vec![2] }],
    });
    let input = Tensor::new(&[[2f32, 1.5]], &Device::Cpu)?;
    let group = Group(vec![0, 1]);
    let objective = Objective::new(&small, &group);
    let found = objective.differentiate(&input, &[small.layer("features")?], true)?;
    println!("score {:?}", found.scores.to_vec1::<f32>()?);
    println!("at the features: {:?}", found.traces[0].gradient.to_vec2::<f32>()?);
    println!("at the input: {:?}", objective.input_gradient(&input)?.to_vec2::<f32>()?);
    Ok(())
}
