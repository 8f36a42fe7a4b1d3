//! Opti-CAM: the channels' weights that make the network surest of what the mask shows.

use super::Perturbation;
use super::masks::{softmax, upsample};
use candle_core::{DType, Tensor, Var};
use faithful_core::{Result, Score};
use faithful_tensor::CoordinateRule;

/// Where every channel's weight begins, before the softmax.
const START: f64 = 0.5;
/// Adam's step, as in the paper; its decays are the usual 0.9 and 0.999.
const STEP: f64 = 0.1;

/// Map `sum_k softmax(u)_k ReLU(A_k)` for the `u` that maximises `S(x * M)`, `M` the map upsampled and scaled to
/// `[0, 1]`: 100 steps of Adam unless told otherwise, from equal weights.
///
/// The authors' code rectifies the layer and has a step of 0.01 and a loss `|S(x) - S(x * M)|`, which also pulls down a
/// score above the input's; here, as in the paper, the score itself is maximised. A map that is the same everywhere has
/// no mask and ends the search: a layer that is silent gives zeros.
pub(super) fn opti_cam(perturbation: &Perturbation<'_>) -> Result<Vec<Tensor>> {
    perturbation.each_layer(|activation, _| {
        perturbation.scores.iter().map(|score| optimised(perturbation, activation, *score)).collect()
    })
}

fn optimised(perturbation: &Perturbation<'_>, activation: &Tensor, score: &dyn Score) -> Result<Tensor> {
    let steps = perturbation.parameters.draws.map_or(100, std::num::NonZeroUsize::get);
    let (_, channels, height, width) = activation.dims4()?;
    // (C, h w)
    let features = activation.squeeze(0)?.relu()?.flatten_from(1)?.to_dtype(DType::F64)?;
    let objective = perturbation.objective.with_score(score);
    let input = perturbation.input;
    let weighted = |weights: &[f64]| -> Result<Tensor> {
        let weights = Tensor::from_slice(weights, (1, channels), features.device())?;
        Ok(weights.matmul(&features)?.reshape((1, 1, height, width))?)
    };
    let mut search = Adam::new(channels);
    for step in 0..steps {
        let weights = softmax(&search.position);
        let map = Var::from_tensor(&weighted(&weights)?)?;
        let large = upsample(map.as_tensor(), perturbation.size, CoordinateRule::HalfPixel)?;
        let Some(scaled) = Scaled::new(large.detach().flatten_all()?.to_vec1()?) else { break };
        if step == 0 {
            objective.network().announce(0, steps);
        }
        let mask = Tensor::from_slice(&scaled.mask, large.shape(), input.device())?.to_dtype(input.dtype())?;
        let gradient = objective.input_gradient(&input.broadcast_mul(&mask)?)?;
        let at_mask = (gradient * input)?.to_dtype(DType::F64)?.sum(1)?.flatten_all()?.to_vec1()?;
        let at_large = Tensor::from_vec(scaled.pull_back(&at_mask), large.shape(), large.device())?;
        let store = (&large * at_large)?.sum_all()?.backward()?;
        let Some(at_map) = store.get(map.as_tensor()) else { break };
        let at_weights = features.matmul(&at_map.reshape(((), 1))?)?.flatten_all()?.to_vec1::<f64>()?;
        let mean: f64 = weights.iter().zip(&at_weights).map(|(weight, gradient)| weight * gradient).sum();
        let ascent: Vec<f64> = weights.iter().zip(&at_weights).map(|(w, gradient)| w * (gradient - mean)).collect();
        search.climb(&ascent);
    }
    Ok(weighted(&softmax(&search.position))?.squeeze(1)?.to_dtype(activation.dtype())?)
}

/// A map scaled to `[0, 1]`.
struct Scaled {
    mask: Vec<f64>,
    range: f64,
    lowest: usize,
    highest: usize,
}

impl Scaled {
    /// Nothing for a map that is the same everywhere.
    fn new(mut values: Vec<f64>) -> Option<Self> {
        let at = |better: fn(f64, f64) -> bool| {
            (0..values.len()).fold(0, |best, i| if better(values[i], values[best]) { i } else { best })
        };
        let (lowest, highest) = (at(|a, b| a < b), at(|a, b| a > b));
        let (low, range) = (*values.get(lowest)?, values[highest] - values[lowest]);
        if range.is_nan() || range <= 0.0 {
            return None;
        }
        for value in &mut values {
            *value = (*value - low) / range;
        }
        Some(Self { mask: values, range, lowest, highest })
    }

    /// The gradient at the map from the gradient at the mask: both ends of the range move with the map too.
    fn pull_back(&self, gradient: &[f64]) -> Vec<f64> {
        let mut found: Vec<f64> = gradient.iter().map(|g| g / self.range).collect();
        let pairs = || self.mask.iter().zip(gradient);
        found[self.lowest] += pairs().map(|(mask, g)| g * (mask - 1.0)).sum::<f64>() / self.range;
        found[self.highest] -= pairs().map(|(mask, g)| g * mask).sum::<f64>() / self.range;
        found
    }
}

/// Kingma and Ba's Adam, uphill.
struct Adam {
    position: Vec<f64>,
    mean: Vec<f64>,
    square: Vec<f64>,
    steps: i32,
}

impl Adam {
    fn new(count: usize) -> Self {
        Self { position: vec![START; count], mean: vec![0.0; count], square: vec![0.0; count], steps: 0 }
    }

    fn climb(&mut self, gradient: &[f64]) {
        const DECAYS: [f64; 2] = [0.9, 0.999];
        self.steps += 1;
        let [unbiased_mean, unbiased_square] = DECAYS.map(|decay| 1.0 - decay.powi(self.steps));
        for (i, g) in gradient.iter().enumerate() {
            self.mean[i] = DECAYS[0] * self.mean[i] + (1.0 - DECAYS[0]) * g;
            self.square[i] = DECAYS[1] * self.square[i] + (1.0 - DECAYS[1]) * g * g;
            let size = (self.square[i] / unbiased_square).sqrt() + 1e-8;
            self.position[i] += STEP * self.mean[i] / unbiased_mean / size;
        }
    }
}
