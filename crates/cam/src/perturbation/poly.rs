//! Poly-CAM: the maps of several layers, multiplied from coarse to fine.

use super::Perturbation;
use super::masks::{distinct, rectified_sum, select, upsample};
use crate::fusion::resize_map;
use candle_core::{DType, Tensor};
use faithful_core::{Error, Result};
use faithful_tensor::CoordinateRule;

/// What a channel's weight is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum PolySign {
    /// `S(x * M_k)`: the score of what the channel shows.
    Plus,
    /// `ReLU(S(x) - S(x * (1 - M_k)))`: the score that its places carry.
    Minus,
    /// `ReLU(S(x * M_k) + S(x) - S(x * (1 - M_k)))`.
    Both,
}

/// From the deepest of the layers to the shallowest: `map_l = ReLU(sum_k w_k A_k)`, then
/// `P <- ReLU(LNorm(map_l) up(P))`, `LNorm(m) = m / max(up(down(m)), 1e-12)` with the size of the previous `P` between.
///
/// `M_k = clip((A_k - p0.1) / p99.9, 0, 1)` by the channel's own percentiles. The result has the size of the
/// shallowest layer. The authors explain a probability: logits of masked inputs may be negative, and give empty maps.
pub(super) fn poly_cam(perturbation: &Perturbation<'_>, sign: PolySign) -> Result<Vec<Tensor>> {
    let own = perturbation.own_scores()?;
    let mut order: Vec<usize> = (0..perturbation.layers.len()).collect();
    order.sort_by_key(|place| std::cmp::Reverse(perturbation.layers[*place]));
    let activations = perturbation.activations()?;
    let prepared = order
        .into_iter()
        .map(|place| {
            let activation = &activations[place];
            let tried = perturbation.channels(activation)?;
            let all = clipped(&select(&activation.squeeze(0)?, &tried)?)?.unsqueeze(1)?;
            let (first, which) = distinct(&all)?;
            Ok((activation, tried, Masks { all, first, which }))
        })
        .collect::<Result<Vec<_>>>()?;
    let each = if sign == PolySign::Both { 2 } else { 1 };
    let rows: usize = prepared.iter().map(|(_, _, masks)| masks.first.len() * each).sum();
    perturbation.objective.network().announce(rows, 0);
    let mut fused: Vec<Option<Tensor>> = vec![None; perturbation.scores.len()];
    for (activation, tried, masks) in prepared {
        let weights = weights(perturbation, &masks, &own, sign)?;
        for (fused, weights) in fused.iter_mut().zip(weights) {
            let map = rectified_sum(weights, &tried, activation)?;
            *fused = Some(match fused.take() {
                None => map,
                Some(coarse) => refined(&coarse, &map)?,
            });
        }
    }
    fused.into_iter().map(|map| map.ok_or_else(|| Error::parameter("layers", "at least one is needed"))).collect()
}

fn refined(coarse: &Tensor, fine: &Tensor) -> Result<Tensor> {
    let (_, height, width) = fine.dims3()?;
    let (_, low, narrow) = coarse.dims3()?;
    let smooth = resize_map(&resize_map(fine, [low, narrow])?, [height, width])?;
    let local = (fine / smooth.maximum(1e-12)?)?;
    Ok((local * resize_map(coarse, [height, width])?)?.relu()?)
}

/// The channels of a layer as masks `(C, 1, h, w)`, and which of them are tried for all.
struct Masks {
    all: Tensor,
    first: Vec<usize>,
    which: Vec<usize>,
}

/// Per score, the weights of the channels.
fn weights(perturbation: &Perturbation<'_>, masks: &Masks, own: &[f64], sign: PolySign) -> Result<Vec<Vec<f64>>> {
    let Masks { all, first, which } = masks;
    let scores = |complement: bool| {
        perturbation.scores_of(first.len(), &mut |rows| {
            let masks = select(all, &first[rows])?;
            let masks = if complement { (1.0 - masks)? } else { masks };
            let masks = upsample(&masks, perturbation.size, CoordinateRule::HalfPixel)?;
            Ok(perturbation.input.broadcast_mul(&masks)?)
        })
    };
    let nothing = || vec![vec![0.0; first.len()]; own.len()];
    let kept = if sign == PolySign::Minus { nothing() } else { scores(false)? };
    let rest = if sign == PolySign::Plus { nothing() } else { scores(true)? };
    let all = kept.iter().zip(&rest).zip(own);
    Ok(all
        .map(|((kept, rest), own)| {
            let weight = |row: &usize| match sign {
                PolySign::Plus => kept[*row],
                PolySign::Minus => (own - rest[*row]).max(0.0),
                PolySign::Both => (kept[*row] + own - rest[*row]).max(0.0),
            };
            which.iter().map(weight).collect()
        })
        .collect())
}

/// Each of `(C, h, w)` as `clip((a - p0.1) / max(p99.9, 1e-12), 0, 1)`: the authors divide by the upper percentile,
/// not by the range.
fn clipped(channels: &Tensor) -> Result<Tensor> {
    let rows = channels.flatten_from(1)?.to_dtype(DType::F64)?.to_vec2::<f64>()?;
    let bounds = |share: f64, least: f64| -> Result<Tensor> {
        let all: Vec<f64> = rows.iter().map(|row| percentile(row, share).max(least)).collect();
        Ok(Tensor::from_vec(all, (rows.len(), 1, 1), channels.device())?.to_dtype(channels.dtype())?)
    };
    let low = bounds(0.001, f64::NEG_INFINITY)?;
    let high = bounds(0.999, 1e-12)?;
    Ok(channels.broadcast_sub(&low)?.broadcast_div(&high)?.clamp(0f64, 1f64)?)
}

/// The value below which `share` of the values lie, linear between neighbours.
pub(super) fn percentile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let Some(last) = sorted.len().checked_sub(1) else { return 0.0 };
    let place = share.clamp(0.0, 1.0) * last as f64;
    let below = place.floor() as usize;
    let above = (below + 1).min(last);
    sorted[below] + (sorted[above] - sorted[below]) * (place - below as f64)
}
