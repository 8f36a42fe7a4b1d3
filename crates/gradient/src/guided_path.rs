use crate::Attribution;
use crate::path::Straight;
use crate::sampled::{gradients, scores, single};
use candle_core::{DType, Device, Tensor};
use faithful_core::{Convergence, ConvergenceStep, Error, Objective, Result, Stop};
use std::num::NonZeroUsize;

/// The parameters of [`guided_integrated_gradients`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GuidedPath {
    /// How many gradients.
    pub steps: NonZeroUsize,
    /// The share of values, those of the smallest gradients, that move at a time; above 0, at most 1. With 1 all move
    /// together: the straight line.
    pub fraction: f64,
    /// How far a value may be ahead of or behind the straight line, as a share of its way; 0 to 1. With 0 nothing
    /// may: the straight line.
    pub max_distance: f64,
}

impl Default for GuidedPath {
    /// The authors' values: 200 steps, a quarter of the values at a time, at most 0.02 from the straight line.
    fn default() -> Self {
        Self { steps: const { NonZeroUsize::new(200).unwrap() }, fraction: 0.25, max_distance: 0.02 }
    }
}

/// Guided integrated gradients: a path that moves the values with the smallest gradients first, and so goes around the
/// noise that steep directions collect (Kapishnikov et al. 2021, algorithm 1).
///
/// `input` and `baseline` are `(1, …)` of one shape; so is the map. It is signed and sums to `S(x) - S(x')` up to the
/// gap that the convergence reports as `delta`. Steps follow each other: they cannot share a batch.
pub fn guided_integrated_gradients(
    objective: &Objective,
    input: &Tensor,
    baseline: &Tensor,
    parameters: &GuidedPath,
) -> Result<Attribution> {
    single(input)?;
    Straight::new(baseline, input)?;
    if !(parameters.fraction > 0.0 && parameters.fraction <= 1.0) {
        return Err(Error::parameter("fraction", format!("{} is not above 0 and at most 1", parameters.fraction)));
    }
    if !(0.0..=1.0).contains(&parameters.max_distance) {
        return Err(Error::parameter("max_distance", format!("{} is outside 0..=1", parameters.max_distance)));
    }
    let flat = |tensor: &Tensor| -> Result<Vec<f64>> { Ok(tensor.flatten_all()?.to_dtype(DType::F64)?.to_vec1()?) };
    let tensor = |values: &[f64]| -> Result<Tensor> {
        let tensor = Tensor::from_slice(values, input.shape(), &Device::Cpu)?;
        Ok(tensor.to_dtype(input.dtype())?.to_device(input.device())?)
    };
    let ends = scores(objective, &Tensor::cat(&[input, baseline], 0)?)?;
    let mut walk = Walk::new(flat(baseline)?, flat(input)?);
    let mut trace: Vec<ConvergenceStep> = Vec::new();
    let mut gradient_total = 0.0;
    objective.network().announce(0, parameters.steps.get());
    for step in 1..=parameters.steps.get() {
        let gradient = flat(&gradients(objective, &tensor(&walk.position)?)?)?;
        if gradient.iter().any(|value| !value.is_finite()) {
            return Err(Error::NotFinite { what: "the gradient".into(), place: Some(format!("step {step}")) });
        }
        walk.advance(&gradient, step as f64 / parameters.steps.get() as f64, parameters);
        gradient_total += gradient.iter().sum::<f64>();
        let mean = gradient_total / step as f64;
        let difference = trace.last().map(|last| (mean - last.gradient_sum).abs());
        trace.push(ConvergenceStep { draws: step, gradient_sum: mean, difference, delta: None });
    }
    let gap = walk.attribution.iter().sum::<f64>() - (ends[0] - ends[1]);
    let convergence = Convergence {
        rule: Stop::Draws,
        satisfied: true,
        draws: parameters.steps.get(),
        difference: trace.last().and_then(|last| last.difference),
        delta: Some(gap),
        trace,
        ..Convergence::default()
    };
    Attribution::sampled(tensor(&walk.attribution)?, None, convergence)
}

/// A position on the way from `start` to `goal`, and what the way has collected.
struct Walk {
    start: Vec<f64>,
    goal: Vec<f64>,
    /// How much of its way each value has made.
    progress: Vec<f64>,
    position: Vec<f64>,
    attribution: Vec<f64>,
}

impl Walk {
    fn new(start: Vec<f64>, goal: Vec<f64>) -> Self {
        let count = start.len();
        // A value without a way has arrived.
        let progress = start.iter().zip(&goal).map(|(from, to)| if from == to { 1.0 } else { 0.0 }).collect();
        Self { position: start.clone(), start, goal, progress, attribution: vec![0.0; count] }
    }

    fn way(&self, i: usize) -> f64 {
        (self.goal[i] - self.start[i]).abs()
    }

    /// Moves value `i` to `progress` of its way and books the move.
    fn carry(&mut self, i: usize, progress: f64, gradient: &[f64]) {
        let position =
            if progress >= 1.0 { self.goal[i] } else { self.start[i] + progress * (self.goal[i] - self.start[i]) };
        self.attribution[i] += (position - self.position[i]) * gradient[i];
        self.position[i] = position;
        self.progress[i] = progress;
    }

    /// Moves until the L1 distance that is left is what the straight line would have left at `alpha`.
    fn advance(&mut self, gradient: &[f64], alpha: f64, parameters: &GuidedPath) {
        let (least, most) = ((alpha - parameters.max_distance).max(0.0), (alpha + parameters.max_distance).min(1.0));
        let total: f64 = (0..self.goal.len()).map(|i| self.way(i)).sum();
        for i in 0..self.goal.len() {
            if self.progress[i] < least {
                self.carry(i, least, gradient);
            }
        }
        // The values that may still move, smallest gradient first. The authors take the `fraction` smallest of what
        // has not arrived at its limit, again and again until the distance is made; ties move together.
        let waiting = (0..self.goal.len()).filter(|&i| self.progress[i] < most);
        // The bits of numbers from 0 up are in the numbers' order, and sorted faster; equal ones stay in theirs.
        let mut waiting: Vec<(u64, usize)> = waiting.map(|i| (gradient[i].abs().to_bits(), i)).collect();
        waiting.sort_unstable();
        let quantile = ((self.goal.len().max(1) - 1) as f64 * parameters.fraction) as usize;
        let mut waiting = waiting.as_slice();
        loop {
            let left: f64 = (0..self.goal.len()).map(|i| self.way(i) * (1.0 - self.progress[i])).sum();
            let wanted = left - total * (1.0 - alpha);
            if waiting.is_empty() || wanted <= 1e-9 * total {
                return;
            }
            let (threshold, _) = waiting[quantile.min(waiting.len() - 1)];
            let (group, rest) = waiting.split_at(waiting.partition_point(|&(gradient, _)| gradient <= threshold));
            let possible: f64 = group.iter().map(|&(_, i)| self.way(i) * (most - self.progress[i])).sum();
            let share = (wanted / possible).min(1.0);
            for &(_, i) in group {
                let progress = if share < 1.0 { self.progress[i] + share * (most - self.progress[i]) } else { most };
                self.carry(i, progress, gradient);
            }
            if share < 1.0 {
                return;
            }
            waiting = rest;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_gradients_move_first() {
        let parameters = GuidedPath { fraction: 0.5, max_distance: 1.0, ..GuidedPath::default() };
        let mut walk = Walk::new(vec![0.0; 4], vec![1.0, -1.0, 1.0, 1.0]);
        let gradient = [5.0, -1.0, 0.5, 4.0];
        // Half of the way: the two flat directions go all of theirs.
        walk.advance(&gradient, 0.5, &parameters);
        assert_eq!(walk.position, [0.0, -1.0, 1.0, 0.0]);
        assert_eq!(walk.attribution, [0.0, 1.0, 0.5, 0.0]);
        walk.advance(&gradient, 1.0, &parameters);
        assert_eq!(walk.position, walk.goal);
        assert_eq!(walk.attribution, [5.0, 1.0, 0.5, 4.0]);
    }

    #[test]
    fn no_distance_is_the_straight_line() {
        let parameters = GuidedPath { max_distance: 0.0, ..GuidedPath::default() };
        let mut walk = Walk::new(vec![0.0, 2.0, 1.0], vec![1.0, 0.0, 1.0]);
        walk.advance(&[3.0, 1.0, 2.0], 0.25, &parameters);
        assert_eq!(walk.position, [0.25, 1.5, 1.0]);
    }
}
