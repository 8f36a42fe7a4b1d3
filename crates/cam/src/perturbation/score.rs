//! Score-CAM, SS-CAM, IS-CAM: a channel weighs what the network still says when it sees only that channel's places.

use super::Perturbation;
use super::masks::{distinct, min_max, rectified_sum, select, softmax, upsample, without_constants};
use crate::Definition;
use candle_core::Tensor;
use faithful_baseline::normal;
use faithful_core::Result;
use faithful_tensor::CoordinateRule;
use std::ops::Range;

/// `w = softmax_k(S(x * M_k))`, `M_k` the upsampled channel, brought to `[0, 1]`.
///
/// The paper subtracts the score of a baseline image, which the softmax does not see.
pub(super) fn score_cam(perturbation: &Perturbation<'_>) -> Result<Vec<Tensor>> {
    averaged(perturbation, 1, &|_, masks, _| Ok(masks))
}

/// `w = softmax_k(1/N sum_i S(x * (M_k + noise_i)))`.
///
/// Every channel of a draw meets the same noise, so that channels differ by what they show alone.
pub(super) fn ss_cam(perturbation: &Perturbation<'_>) -> Result<Vec<Tensor>> {
    let draws = perturbation.parameters.draws.map_or(35, std::num::NonZeroUsize::get);
    let deviation = perturbation.parameters.deviation;
    averaged(perturbation, draws, &|draw, masks, channels| {
        let noise = match (&perturbation.parameters.noise, perturbation.definition) {
            // The peer draws for all channels together.
            (Some(source), Definition::TorchCam) => {
                let [height, width] = perturbation.size;
                let shape = (1, channels.total, height, width);
                let all = source.sample(
                    &Tensor::zeros(shape, masks.dtype(), masks.device())?,
                    perturbation.stream,
                    draw..draw + 1,
                )?;
                select(&all.squeeze(0)?, &channels.these)?.unsqueeze(1)?
            }
            (Some(source), _) => source.sample(&masks.narrow(0, 0, 1)?, perturbation.stream, draw..draw + 1)?,
            (None, _) => normal(&masks.narrow(0, 0, 1)?, &perturbation.stream.derive("ss-cam"), draw..draw + 1)?,
        };
        Ok(masks.broadcast_add(&(noise * deviation)?)?)
    })
}

/// `w = softmax_k(1/N sum_i S(x * i/N M_k))`.
pub(super) fn is_cam(perturbation: &Perturbation<'_>) -> Result<Vec<Tensor>> {
    let steps = perturbation.parameters.draws.map_or(10, std::num::NonZeroUsize::get);
    averaged(perturbation, steps, &|step, masks, _| {
        let share = |step: usize| (step + 1) as f64 / steps as f64;
        let strength = match perturbation.definition {
            // A running sum, which exceeds 1 before half of the steps are done.
            Definition::TorchCam => (0..=step).map(share).sum(),
            _ => share(step),
        };
        Ok((masks * strength)?)
    })
}

/// Which channels a batch of masks belongs to.
struct Channels {
    these: Vec<usize>,
    total: usize,
}

/// Changes a batch of masks for one of the draws.
type Change<'a> = &'a dyn Fn(usize, Tensor, &Channels) -> Result<Tensor>;

fn averaged(perturbation: &Perturbation<'_>, draws: usize, change: Change<'_>) -> Result<Vec<Tensor>> {
    let definition = perturbation.definition;
    perturbation.each_layer(|activation, _| {
        let tried = perturbation.channels(activation)?;
        let masks = select(&activation.squeeze(0)?, &tried)?.unsqueeze(1)?;
        // The order of scaling and upsampling, and what is a pixel's centre, differ between the peers.
        let masks =
            if definition == Definition::TorchCam { min_max(&masks, 1e-8)? } else { without_constants(&masks)? };
        // Noise that each channel draws for itself makes equal masks differ.
        let all_differ = definition == Definition::TorchCam && perturbation.parameters.noise.is_some();
        let (first, which) =
            if all_differ { ((0..tried.len()).collect(), (0..tried.len()).collect()) } else { distinct(&masks)? };
        let finished = |rows: Range<usize>| -> Result<Tensor> {
            let some = select(&masks, &first[rows])?;
            match definition {
                Definition::TorchCam => upsample(&some, perturbation.size, CoordinateRule::HalfPixel),
                Definition::PytorchGradCam => {
                    min_max(&upsample(&some, perturbation.size, CoordinateRule::AlignCorners)?, 1e-8)
                }
                _ => min_max(&upsample(&some, perturbation.size, CoordinateRule::HalfPixel)?, 0.0),
            }
        };
        let mut sums = vec![vec![0.0; first.len()]; perturbation.scores.len()];
        perturbation.objective.network().announce(draws * first.len(), 0);
        for draw in 0..draws {
            let scores = perturbation.scores_of(first.len(), &mut |rows| {
                let these = first[rows.clone()].iter().map(|row| tried[*row]).collect();
                let total = activation.dim(1)?;
                let masks = change(draw, finished(rows)?, &Channels { these, total })?;
                Ok(perturbation.input.broadcast_mul(&masks)?)
            })?;
            for (sums, scores) in sums.iter_mut().zip(scores) {
                for (sum, score) in sums.iter_mut().zip(scores) {
                    *sum += score / draws as f64;
                }
            }
        }
        sums.iter()
            .map(|sums| {
                let per_channel: Vec<f64> = which.iter().map(|row| sums[*row]).collect();
                rectified_sum(softmax(&per_channel), &tried, activation)
            })
            .collect()
    })
}
