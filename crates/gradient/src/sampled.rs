use crate::Attribution;
use candle_core::{DType, Tensor};
use faithful_core::{Differentiated, Error, Monitor, Objective, Result, Sampling, Stop};
use faithful_tensor::{RowFactors, add_row_moments, row_dots, row_sums};
use std::num::NonZeroUsize;
use std::ops::{ControlFlow, Range};

/// Some draws of a sampled attribution.
pub(crate) struct Drawn {
    /// Where the gradient is taken: `(n, …)`.
    pub(crate) points: Tensor,
    /// What the gradient is multiplied with, of the same shape; nothing for 1.
    pub(crate) factors: Option<Tensor>,
    /// The scores that each draw's attribution should sum to, for completeness.
    pub(crate) totals: Option<Vec<f64>>,
}

/// The first two moments of a sampled attribution.
pub(crate) struct Moments {
    sum: Tensor,
    square_sum: Tensor,
    monitor: Monitor,
    count: usize,
    dtype: DType,
}

impl Moments {
    /// The mean over draws, of the input's type.
    pub(crate) fn mean(&self) -> Result<Tensor> {
        Ok((&self.sum / self.count as f64)?.to_dtype(self.dtype)?)
    }

    /// The mean of squares over draws.
    pub(crate) fn mean_square(&self) -> Result<Tensor> {
        Ok((&self.square_sum / self.count as f64)?.to_dtype(self.dtype)?)
    }

    fn wide_variance(&self) -> Result<Tensor> {
        let mean = (&self.sum / self.count as f64)?;
        let square = (&self.square_sum / self.count as f64)?;
        // Rounding can leave a constant's variance a little below zero.
        Ok((square - mean.sqr()?)?.maximum(0.0)?)
    }

    /// The variance over draws (divided by their number).
    pub(crate) fn variance(&self) -> Result<Tensor> {
        Ok(self.wide_variance()?.to_dtype(self.dtype)?)
    }

    /// The standard error of the mean, from two draws on.
    pub(crate) fn standard_error(&self) -> Result<Option<Tensor>> {
        if self.count < 2 {
            return Ok(None);
        }
        let error = (self.wide_variance()? / (self.count - 1) as f64)?.sqrt()?;
        Ok(Some(error.to_dtype(self.dtype)?))
    }

    /// The attribution that is the mean over draws, with its error and convergence.
    pub(crate) fn into_mean(self) -> Result<Attribution> {
        Attribution::sampled(self.mean()?, self.standard_error()?, self.monitor.finish())
    }

    /// The attribution that is another statistic of the draws.
    pub(crate) fn into_statistic(self, map: Tensor) -> Result<Attribution> {
        Attribution::sampled(map, None, self.monitor.finish())
    }
}

/// Takes up to `draws` gradients at the points that `draw` gives, one batch at a time, until `stop` is satisfied.
///
/// Draws are added one by one in f64: a stop in the middle of a batch, or another batch size, changes no result.
pub(crate) fn sample(
    objective: &Objective,
    input: &Tensor,
    draws: NonZeroUsize,
    stop: Stop,
    draw: &mut dyn FnMut(Range<usize>) -> Result<Drawn>,
) -> Result<Moments> {
    let mut monitor = Monitor::new(stop)?;
    let zero = Tensor::zeros(input.shape(), DType::F64, input.device())?;
    let (mut sums, mut count) = ([zero.clone(), zero], 0);
    let scores = [objective.score()];
    let sampling = Sampling { scores: &scores, layers: &[], with_input: true, draws: draws.get(), stop };
    let draw = &mut |span| {
        let Drawn { points, factors, totals } = draw(span)?;
        Ok((points, (factors, totals)))
    };
    objective.sample(&sampling, input.dims(), draw, &mut |span, points, (factors, totals), mut all| {
        let differentiated = all.pop().ok_or_else(|| lost(points))?;
        let gradients = input_gradient(differentiated, points)?;
        let gradient_sums = row_sums(&gradients)?;
        let (factors, term_sums) = match &factors {
            Some(factors) => (RowFactors::Rows(factors), row_dots(&gradients, factors)?),
            None => (RowFactors::One, gradient_sums.clone()),
        };
        let (mut taken, mut enough) = (0, false);
        for (row, (gradient_sum, term_sum)) in gradient_sums.into_iter().zip(term_sums).enumerate() {
            if !gradient_sum.is_finite() {
                return Err(Error::NotFinite {
                    what: "the gradient".into(),
                    place: Some(format!("draw {}", span.start + row)),
                });
            }
            taken += 1;
            enough = monitor.record(gradient_sum, totals.as_ref().map(|totals: &Vec<f64>| term_sum - totals[row]));
            if enough {
                break;
            }
        }
        sums = add_row_moments([&sums[0], &sums[1]], &gradients, factors, 0..taken)?;
        count += taken;
        Ok(if enough { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })?;
    let [sum, square_sum] = sums;
    Ok(Moments { sum, square_sum, monitor, count, dtype: input.dtype() })
}

/// The gradients at `points`, of their shape, where the scores are finite. A rectifier passes no gradient back from
/// NaN, so that a broken network could otherwise look like one without a gradient.
pub(crate) fn gradients(objective: &Objective, points: &Tensor) -> Result<Tensor> {
    input_gradient(objective.differentiate(points, &[], true)?, points)
}

fn input_gradient(differentiated: Differentiated, points: &Tensor) -> Result<Tensor> {
    finite(&differentiated.scores)?;
    differentiated.input_gradient.ok_or_else(|| lost(points))
}

fn lost(points: &Tensor) -> Error {
    Error::shape("the input's gradient", format!("{:?}, as the input", points.dims()), &[])
}

/// The scores `(n,)` of inputs `(n, …)` as f64, with a word where they are not finite.
pub(crate) fn scores(objective: &Objective, inputs: &Tensor) -> Result<Vec<f64>> {
    finite(&objective.scores(inputs)?)
}

/// Scores `(n,)` as f64, where they are finite.
pub(crate) fn finite(scores: &Tensor) -> Result<Vec<f64>> {
    let scores: Vec<f64> = scores.to_dtype(DType::F64)?.to_vec1()?;
    match scores.iter().position(|score| !score.is_finite()) {
        None => Ok(scores),
        Some(row) => Err(Error::NotFinite { what: "the score".into(), place: Some(format!("row {row}")) }),
    }
}

/// Fails unless `input` is a single one `(1, …)`.
pub(crate) fn single(input: &Tensor) -> Result<()> {
    if input.rank() >= 2 && input.dims()[0] == 1 {
        Ok(())
    } else {
        Err(Error::shape("the input that is explained", "one input (1, …)", input.dims()))
    }
}
