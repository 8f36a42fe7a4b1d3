//! How well a good and a bad map explain a small network: `cargo run -p faithful-metric --example measure_a_map`

use candle_core::{DType, Device, Tensor};
use faithful_core::{CandleModel, CandleNetwork, LayerInfo, Objective, Probe, Result, Target};
use faithful_metric::{Protocol, Steps, energy_inside, insertion_deletion, pointing_game, sparseness};
use std::num::NonZeroUsize;

/// Answers by the sum of the upper left quarter of a picture of 8 by 8 pixels.
struct Corner(Tensor);

impl CandleModel for Corner {
    fn layers(&self) -> &[LayerInfo] {
        &[]
    }

    fn forward(&self, input: &Tensor, _: &mut dyn Probe) -> Result<Tensor> {
        Ok(input.flatten_from(1)?.matmul(&self.0)?)
    }
}

fn main() -> Result<()> {
    let inside = |place: usize| place / 8 < 4 && place % 8 < 4;
    let weights: Vec<f32> = (0..64).flat_map(|place| [if inside(place) { 0.5 } else { 0.0 }, 0.0]).collect();
    let corner = CandleNetwork(Corner(Tensor::from_vec(weights, (64, 2), &Device::Cpu)?));
    let photo = Tensor::ones((1, 1, 8, 8), DType::F32, &Device::Cpu)?;
    let target = Target::Probability(0);
    let objective = Objective::new(&corner, &target);
    let protocol =
        Protocol { steps: Steps::Count(NonZeroUsize::new(16).unwrap_or(NonZeroUsize::MIN)), ..Protocol::thesis() };
    let mask: Vec<bool> = (0..64).map(inside).collect();
    let map = |value: &dyn Fn(usize) -> f32| Tensor::from_vec((0..64).map(value).collect(), (8, 8), &Device::Cpu);
    let maps = [
        ("what the network uses", map(&|place| if inside(place) { 1.0 } else { 0.1 })?),
        ("the opposite corner", map(&|place| if inside(63 - place) { 1.0 } else { 0.1 })?),
    ];
    for (name, map) in maps {
        let curves = insertion_deletion(&objective, &photo, &map, &protocol)?;
        println!(
            "{name}: insertion {:.3}, deletion {:.3}, energy inside {:.2}, pointing {}, sparseness {:.2}",
            curves.insertion_area(),
            curves.deletion_area(),
            energy_inside(&map, &mask)?,
            pointing_game(&map, &mask)?,
            sparseness(&map)?
        );
    }
    Ok(())
}
