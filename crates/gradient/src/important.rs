use crate::Attribution;
use crate::path::Path;
use crate::sampled::{gradients, scores};
use candle_core::DType;
use faithful_core::{Convergence, ConvergenceStep, Objective, Result, Stop};
use faithful_tensor::{RowFactors, add_weighted_rows, row_sums};
use std::num::NonZeroUsize;

/// Integrated gradients' important direction: of each step along a path the score's own change, divided among the values
/// by the squares of the gradient at the step's beginning, `sum_j (S(x_j+1) - S(x_j)) g_j^2 / sum(g_j^2)` (Yang et al. 2023, algorithm 1).
///
/// The part of a step that goes across the gradient changes nothing and is left out. The map has the shape of the path's points
/// `(1, …)`, is signed, and sums to `S(x) - S(x')` exactly, but for steps whose gradient is zero: they are left out, and the
/// convergence's `delta` says what is missing.
pub fn important_direction(objective: &Objective, path: &dyn Path, steps: NonZeroUsize) -> Result<Attribution> {
    let count = steps.get();
    let places: Vec<f64> = (0..=count).map(|step| step as f64 / count as f64).collect();
    let batch = objective.batch().get();
    let mut sum = path.point(0.0)?.to_dtype(DType::F64)?.zeros_like()?;
    let mut trace: Vec<ConvergenceStep> = Vec::new();
    let (mut known, mut gradient_total) = (0.0, 0.0);
    objective.network().announce(count + 1, count);
    let mut values = Vec::with_capacity(places.len());
    for part in places.chunks(batch) {
        values.extend(scores(objective, &path.points(part)?)?);
    }
    for (chunk, part) in places[..count].chunks(batch).enumerate() {
        let gradients = gradients(objective, &path.points(part)?)?.to_dtype(DType::F64)?;
        let squares = gradients.sqr()?;
        let mut weights = Vec::with_capacity(part.len());
        for (row, (square, total)) in row_sums(&squares)?.into_iter().zip(row_sums(&gradients)?).enumerate() {
            let step = chunk * batch + row;
            let change = values[step + 1] - values[step];
            weights.push(if square > 0.0 { change / square } else { 0.0 });
            known += if square > 0.0 { change } else { 0.0 };
            gradient_total += total;
            let mean = gradient_total / (step + 1) as f64;
            let difference = trace.last().map(|last: &ConvergenceStep| (mean - last.gradient_sum).abs());
            trace.push(ConvergenceStep { draws: step + 1, gradient_sum: mean, difference, delta: None });
        }
        sum = add_weighted_rows(&sum, &squares, RowFactors::One, &weights)?;
    }
    let convergence = Convergence {
        rule: Stop::Draws,
        satisfied: true,
        draws: count,
        difference: trace.last().and_then(|last| last.difference),
        delta: Some(known - (values[count] - values[0])),
        trace,
        ..Convergence::default()
    };
    Attribution::sampled(sum.to_dtype(path.point(1.0)?.dtype())?, None, convergence)
}
