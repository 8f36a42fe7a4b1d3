//! Group-CAM: channels in groups, so that few masked inputs suffice.

use super::Perturbation;
use super::masks::{min_max, upsample};
use crate::rule::places;
use candle_core::{DType, Tensor};
use faithful_core::Result;
use faithful_tensor::{CoordinateRule, gaussian_blur2d};

/// Channels weighted by their mean gradient, summed in groups of neighbours and rectified; each group's mask, silenced
/// below a percentile and brought to `[0, 1]`, shows the input on its blurred copy. Map
/// `ReLU(sum_g (S(x_g) - S(blurred)) M_g)` of the masks before scaling.
pub(super) fn group_cam(perturbation: &Perturbation<'_>) -> Result<Vec<Tensor>> {
    let objective = perturbation.objective;
    let all = objective.differentiate_scores(perturbation.input, perturbation.layers, false, perturbation.scores)?;
    let [height, width] = perturbation.size;
    // The paper's kernel of 51 taps with a deviation of 50; reflection limits it on small inputs.
    let taps = |size: usize| 2 * 25.min(size.saturating_sub(1)) + 1;
    let blurred = gaussian_blur2d(perturbation.input, [taps(height), taps(width)], [50.0, 50.0])?;
    all.iter()
        .enumerate()
        .map(|(score, differentiated)| {
            let one = Perturbation { scores: &perturbation.scores[score..=score], ..*perturbation };
            let base = one.scores_of(1, &mut |_| Ok(blurred.clone()))?[0][0];
            let maps = differentiated
                .traces
                .iter()
                .map(|trace| {
                    let layout = one.layout.resolve(one.input.dims(), trace.activation.dims())?;
                    let activation = layout.channels_first(&trace.activation)?;
                    let gradient = layout.channels_first(&trace.gradient)?;
                    let weights = gradient.mean_keepdim(places(&gradient)?)?;
                    let weighted = activation.broadcast_mul(&weights)?.squeeze(0)?;
                    let masks = grouped(&weighted, one.parameters.groups.get())?;
                    let masks = silenced(&masks, one.parameters.percentile)?;
                    let shown = min_max(&upsample(&masks, one.size, CoordinateRule::HalfPixel)?, 0.0)?;
                    let difference = (one.input - &blurred)?;
                    let count = masks.dim(0)?;
                    one.objective.network().announce(count, 0);
                    let found = one.scores_of(count, &mut |rows| {
                        let some = shown.narrow(0, rows.start, rows.len())?;
                        Ok(difference.broadcast_mul(&some)?.broadcast_add(&blurred)?)
                    })?;
                    let gains: Vec<f64> = found[0].iter().map(|score| score - base).collect();
                    let gains = Tensor::from_vec(gains, (count, 1, 1, 1), masks.device())?.to_dtype(masks.dtype())?;
                    Ok(masks.broadcast_mul(&gains)?.sum(0)?.relu()?)
                })
                .collect::<Result<Vec<_>>>()?;
            crate::fuse(&maps, one.fusion)
        })
        .collect()
}

/// `(C, h, w)` to `(G, 1, h, w)`: the rectified sums of neighbouring channels, groups as even as can be.
fn grouped(weighted: &Tensor, groups: usize) -> Result<Tensor> {
    let channels = weighted.dim(0)?;
    let groups = groups.min(channels);
    let sums = (0..groups)
        .map(|group| {
            let (start, end) = (group * channels / groups, (group + 1) * channels / groups);
            Ok(weighted.narrow(0, start, end - start)?.sum_keepdim(0)?.relu()?)
        })
        .collect::<Result<Vec<_>>>()?;
    Ok(Tensor::stack(&sums, 0)?)
}

/// Every mask with the values below its `percentile` set to 0.
fn silenced(masks: &Tensor, percentile: f64) -> Result<Tensor> {
    let rows = masks.flatten_from(1)?.to_dtype(DType::F64)?.to_vec2::<f64>()?;
    let thresholds: Vec<f64> = rows.iter().map(|row| super::poly::percentile(row, percentile / 100.0)).collect();
    let thresholds = Tensor::from_vec(thresholds, (rows.len(), 1, 1, 1), masks.device())?.to_dtype(masks.dtype())?;
    let keep = masks.broadcast_ge(&thresholds)?;
    Ok(keep.where_cond(masks, &masks.zeros_like()?)?)
}
