//! CAMERAS: a layer's activations and gradients for the photo in several sizes, at the photo's own resolution.

use super::Perturbation;
use crate::accumulation::accumulate;
use crate::fuse;
use candle_core::Tensor;
use faithful_core::{Error, LayerId, Result};
use faithful_tensor::{Interpolation, Resize, resize2d};
use std::num::NonZeroUsize;

/// Sizes of the photo, the first its own; each is larger than the one before by [`STEP`] of it.
const SIZES: usize = 8;
/// The paper's 224, 324, … pixels.
const STEP: f64 = 100.0 / 224.0;
/// By how much the largest photo is higher and wider than its own size.
pub(super) const ENLARGEMENT: f64 = 1.0 + STEP * (SIZES - 1) as f64;
/// So many channels are brought to the photo's size at a time.
const CHANNELS: usize = 32;

/// Map `ReLU(sum_k A_k g_k)` of the means over the sizes of activations and gradients, each brought to the photo's height and
/// width. Eight sizes unless told otherwise.
///
/// The photo is enlarged by a bicubic filter, the rest bilinearly. The authors' code leaves out sizes at which another class is
/// the highest where no class is named; here a class always is. The network must take larger photos than its own.
pub(super) fn cameras(perturbation: &Perturbation<'_>) -> Result<Vec<Tensor>> {
    let [height, width] = perturbation.size;
    let sizes = perturbation.parameters.points.map_or(SIZES, NonZeroUsize::get);
    let cubic = Resize { interpolation: Interpolation::Cubic, ..Resize::default() };
    let photos = (0..sizes).map(|step| {
        let size = [height, width].map(|side| (side as f64 * (1.0 + STEP * step as f64)).round() as usize);
        Ok(if step == 0 { perturbation.input.clone() } else { resize2d(perturbation.input, size, &cubic)? })
    });
    let photos = photos.collect::<Result<Vec<_>>>()?;
    let maps =
        perturbation.layers.iter().map(|layer| at_layer(perturbation, &photos, *layer)).collect::<Result<Vec<_>>>()?;
    (0..perturbation.scores.len())
        .map(|score| fuse(&maps.iter().map(|maps| maps[score].clone()).collect::<Vec<_>>(), perturbation.fusion))
        .collect()
}

/// One map per score.
fn at_layer(perturbation: &Perturbation<'_>, photos: &[Tensor], layer: LayerId) -> Result<Vec<Tensor>> {
    let objective = perturbation.objective;
    let mut found = Vec::new();
    for photo in photos {
        let differentiated = objective.differentiate_scores(photo, &[layer], false, perturbation.scores);
        let differentiated = differentiated.map_err(|error| {
            if found.is_empty() {
                return error;
            }
            Error::parameter(
                "method",
                format!("`cameras` needs a network that takes larger photos than its own: {error}"),
            )
        })?;
        let traces = differentiated.into_iter().filter_map(|mut one| one.traces.pop()).map(|trace| {
            let layout = perturbation.layout.resolve(photo.dims(), trace.activation.dims())?;
            Ok([layout.channels_first(&trace.activation)?, layout.channels_first(&trace.gradient)?])
        });
        found.push(traces.collect::<Result<Vec<_>>>()?);
    }
    let mean = |score: usize, which: usize, from: usize, count: usize| -> Result<Tensor> {
        let mut sum: Option<Tensor> = None;
        for traces in &found {
            let some = traces[score][which].narrow(1, from, count)?;
            accumulate(&mut sum, &resize2d(&some, perturbation.size, &Resize::default())?, 1.0)?;
        }
        let sum = sum.ok_or_else(|| Error::internal("no size of the photo"))?;
        Ok((sum / photos.len() as f64)?)
    };
    (0..perturbation.scores.len())
        .map(|score| {
            let channels = found[0][score][0].dim(1)?;
            let mut map: Option<Tensor> = None;
            for from in (0..channels).step_by(CHANNELS) {
                let count = CHANNELS.min(channels - from);
                let some = (mean(score, 0, from, count)? * mean(score, 1, from, count)?)?.sum(1)?;
                accumulate(&mut map, &some, 1.0)?;
            }
            Ok(map.ok_or_else(|| Error::internal("a layer without channels"))?.relu()?)
        })
        .collect()
}
