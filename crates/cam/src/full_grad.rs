//! `FullGrad`: the gradient at the input and at every bias, which together are the whole score.

use crate::accumulation::accumulate;
use crate::expectation::{AtInput, Completeness, Difference, Expectation, Request, expectations, values};
use crate::fusion::resize_map;
use crate::method::Explanation;
use crate::rule::{divide_or_zero, gradient};
use crate::{CamParameters, Definition, GradientEstimator, Layout};
use candle_core::Tensor;
use faithful_core::{Error, LayerId, Objective, Result, Score};
use faithful_tensor::row_sums;

/// `psi(x * g_x) + sum_l sum_c psi(b_c * g_l,c)`, with `psi` the absolute value, scaled to `[0, 1]` per channel and
/// upsampled bilinearly (Srinivas and Fleuret 2019, Eq. 4); the sum goes over all layers with a bias and places.
///
/// `(1, C, H, W)` to `(1, H, W)`, or a series `(1, C, T)` to `(1, T)`. On an estimator, `g` is the mean of the gradient itself: input and bias already
/// stand where other maps have a difference from a baseline. On a plain gradient the terms before `psi` sum to the
/// score of a network that is linear between its kinks; the completeness says so.
pub(crate) fn full_grad(
    estimator: &GradientEstimator,
    objective: &Objective<'_>,
    input: &Tensor,
    scores: &[&dyn Score],
    parameters: &CamParameters,
) -> Result<Vec<Explanation>> {
    let size = match *input.dims() {
        [_, _, height, width] => [height, width],
        // A series is an image of height one.
        [_, _, time] => [1, time],
        ref other => return Err(Error::shape("the input of FullGrad", "(N, C, H, W) or (N, C, T)", other)),
    };
    let biases = objective.network().biases()?;
    let layers: Vec<LayerId> = biases.iter().map(|(layer, _)| *layer).collect();
    let request = Request {
        objective: *objective,
        scores,
        input,
        layers: &layers,
        at_input: AtInput::Gradient,
        layout: Layout::ChannelsFirst,
        difference: Difference::None,
        sensitivity: gradient,
        mean_difference: false,
    };
    let epsilon = if parameters.definition == Definition::PytorchGradCam { 1e-7 } else { 0.0 };
    let found = expectations(estimator, &parameters.gradient, &request)?;
    found
        .into_iter()
        .map(|Expectation { paths, score, convergence, .. }| {
            let share = 1.0 / paths.len() as f64;
            let mut map: Option<Tensor> = None;
            let mut attributed = vec![0.0; input.dim(0)?];
            for path in paths {
                let at_input = path.input.ok_or_else(|| Error::parameter("input", "its gradient was not given"))?;
                let mut add = |term: &Tensor, has_places: bool, weight: f64| -> Result<()> {
                    let sums = row_sums(term)?;
                    // Windows that are folded into the batch are rows of the image.
                    let folded = (sums.len() / attributed.len()).max(1);
                    for (sum, rows) in attributed.iter_mut().zip(sums.chunks(folded)) {
                        *sum += weight * rows.iter().sum::<f64>();
                    }
                    if has_places {
                        let term = if term.rank() == 3 { term.unsqueeze(2)? } else { term.clone() };
                        let one = (psi(&term, size, epsilon)? * weight)?;
                        accumulate(&mut map, &one, 1.0)?;
                    }
                    Ok(())
                };
                add(&(input * at_input)?, true, share)?;
                for (estimate, (_, bias)) in path.layers.iter().zip(&biases) {
                    let mut term = estimate.gradient()?.broadcast_mul(bias)?;
                    if term.rank() == 4 && bias.rank() == 1 {
                        term = term.permute([0, 3, 1, 2])?.contiguous()?;
                    }
                    // What is spread along the last axis alone, as a linear layer's bias, has no channels second.
                    let along_channels = matches!(*bias.dims(), [1, _, 1]);
                    // Windows that are folded into the batch have no place of the image.
                    let is_folded = term.dim(0)? != input.dim(0)?;
                    let has_places = term.rank() == 4 || (input.rank() == 3 && term.rank() == 3 && along_channels);
                    let has_places = has_places && !is_folded;
                    add(&term, has_places, share)?;
                }
            }
            let pairs = attributed.into_iter().zip(values(&score)?);
            let completeness = pairs.map(|(attributed, expected)| Completeness { attributed, expected }).collect();
            let map = map.ok_or_else(|| Error::parameter("input", "there is no path"))?;
            Ok(Explanation {
                map: if input.rank() == 3 { map.squeeze(1)? } else { map },
                completeness: if estimator.single { completeness } else { Vec::new() },
                score,
                convergence: convergence.into_iter().collect(),
            })
        })
        .collect()
}

/// Absolute values, each channel scaled to `[0, 1]` (a constant one to 0), upsampled and summed over channels;
/// `epsilon` is added to the range.
fn psi(term: &Tensor, size: [usize; 2], epsilon: f64) -> Result<Tensor> {
    let (rows, channels, height, width) = term.dims4()?;
    let flat = term.abs()?.reshape((rows * channels, height * width))?;
    let flat = flat.broadcast_sub(&flat.min_keepdim(1)?)?;
    let scaled = divide_or_zero(&flat, &(flat.max_keepdim(1)? + epsilon)?)?;
    // Upsampling is linear: the channels' sum is upsampled once.
    resize_map(&scaled.reshape((rows, channels, height, width))?.sum(1)?, size)
}
