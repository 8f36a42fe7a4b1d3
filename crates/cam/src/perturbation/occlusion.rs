//! Occlusion: a window that hides a part of the input, moved over all of it.

use super::Perturbation;
use candle_core::Tensor;
use faithful_core::Result;
use std::num::NonZeroUsize;

/// At each pixel of `(1, H, W)`, the mean of `S(x) - S(x without the window)` over the windows that hide it. Of a series
/// `(1, C, T)` a window hides some time of one sensor.
pub(super) fn occlusion(perturbation: &Perturbation<'_>) -> Result<Vec<Tensor>> {
    let [height, width] = perturbation.size;
    let parameters = perturbation.parameters;
    let shorter = if perturbation.is_series() { width } else { height.min(width) };
    let window = parameters.window.map_or((shorter / 7).max(1), NonZeroUsize::get);
    let stride = parameters.stride.map_or(window.div_ceil(2), NonZeroUsize::get);
    let (tall, below) = if perturbation.is_series() { (1, 1) } else { (window, stride) };
    let (down, right) = (starts(height, tall, below), starts(width, window, stride));
    let places: Vec<(usize, usize)> = down.iter().flat_map(|top| right.iter().map(move |left| (*top, *left))).collect();
    let input = perturbation.input;
    let open = |(top, left): (usize, usize)| -> Result<Tensor> {
        let mut mask = vec![1u8; height * width];
        for row in mask.chunks_mut(width).skip(top).take(tall) {
            row.iter_mut().skip(left).take(window).for_each(|cell| *cell = 0);
        }
        perturbation.mask(&Tensor::from_vec(mask, (1, 1, height, width), input.device())?)
    };
    let fill = (input.zeros_like()? + parameters.fill)?;
    let own = perturbation.own_scores()?;
    perturbation.objective.network().announce(places.len(), 0);
    let found = perturbation.scores_of(places.len(), &mut |rows| {
        let hidden = places[rows].iter().map(|place| {
            let open = open(*place)?.broadcast_as(input.shape())?;
            Ok(open.where_cond(input, &fill)?)
        });
        Ok(Tensor::cat(&hidden.collect::<Result<Vec<_>>>()?, 0)?)
    })?;
    found
        .iter()
        .zip(own)
        .map(|(scores, own)| {
            let mut sums = vec![0.0; height * width];
            let mut counts = vec![0usize; height * width];
            for (&(top, left), score) in places.iter().zip(scores) {
                for y in top..(top + tall).min(height) {
                    for x in left..(left + window).min(width) {
                        sums[y * width + x] += own - score;
                        counts[y * width + x] += 1;
                    }
                }
            }
            let means: Vec<f64> = sums.iter().zip(&counts).map(|(sum, count)| sum / *count.max(&1) as f64).collect();
            Ok(Tensor::from_vec(means, (1, height, width), input.device())?.to_dtype(input.dtype())?)
        })
        .collect()
}

/// Where windows begin so that they reach the end.
fn starts(size: usize, window: usize, stride: usize) -> Vec<usize> {
    let last = size.saturating_sub(window);
    let mut starts: Vec<usize> = (0..=last).step_by(stride).collect();
    if starts.last() != Some(&last) {
        starts.push(last);
    }
    starts
}
