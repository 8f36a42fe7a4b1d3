//! What all masking methods share: masks, the network's outputs behind them, channels weighted by scores.

use super::Perturbation;
use crate::expectation::values;
use crate::rule::weigh;
use candle_core::{DType, Tensor};
use faithful_core::Result;
use faithful_tensor::{CoordinateRule, Resize, resize2d};
use std::collections::HashMap;
use std::ops::Range;

/// Which rows of `(n, …)` are the first of their kind, and for every row, which of these it equals bit by bit.
///
/// Channels that never fire all give the same mask: what follows from equal masks is computed once.
pub(super) fn distinct(rows: &Tensor) -> Result<(Vec<usize>, Vec<usize>)> {
    let values = rows.flatten_from(1)?.to_dtype(DType::F64)?.to_vec2::<f64>()?;
    let mut known: HashMap<Vec<u64>, usize> = HashMap::new();
    let (mut first, mut which) = (Vec::new(), Vec::new());
    for (row, values) in values.iter().enumerate() {
        let bits = values.iter().map(|value| value.to_bits()).collect();
        which.push(*known.entry(bits).or_insert_with(|| {
            first.push(row);
            first.len() - 1
        }));
    }
    Ok((first, which))
}

/// The rows `which` of `x`.
pub(super) fn select(x: &Tensor, which: &[usize]) -> Result<Tensor> {
    let index: Vec<u32> = which.iter().map(|&row| row as u32).collect();
    Ok(x.index_select(&Tensor::new(index, x.device())?, 0)?)
}

/// Each of `(n, 1, h, w)` brought to `[0, 1]`; `epsilon` is added to the range, and a constant one becomes 0.
pub(super) fn min_max(masks: &Tensor, epsilon: f64) -> Result<Tensor> {
    let flat = masks.flatten_from(1)?;
    let flat = flat.broadcast_sub(&flat.min_keepdim(1)?)?;
    let range = (flat.max_keepdim(1)? + epsilon)?;
    Ok(crate::rule::divide_or_zero(&flat, &range)?.reshape(masks.shape())?)
}

/// The masks `(n, 1, h, w)` with those that are the same everywhere set to 0, which is what scaling makes of them: so
/// they are seen to be equal.
pub(super) fn without_constants(masks: &Tensor) -> Result<Tensor> {
    let flat = masks.flatten_from(1)?;
    let varies = flat.max_keepdim(1)?.ne(&flat.min_keepdim(1)?)?.to_dtype(masks.dtype())?;
    Ok(flat.broadcast_mul(&varies)?.reshape(masks.shape())?)
}

/// Bilinear upsampling of `(n, 1, h, w)`.
pub(super) fn upsample(masks: &Tensor, size: [usize; 2], coordinates: CoordinateRule) -> Result<Tensor> {
    Ok(resize2d(masks, size, &Resize { coordinates, ..Resize::default() })?)
}

impl Perturbation<'_> {
    /// The scores, per score and row, of `count` perturbed inputs that `make` gives batch by batch.
    pub(super) fn scores_of(
        &self,
        count: usize,
        make: &mut dyn FnMut(Range<usize>) -> Result<Tensor>,
    ) -> Result<Vec<Vec<f64>>> {
        let mut found: Vec<Vec<f64>> = vec![Vec::with_capacity(count); self.scores.len()];
        let batch = self.objective.batch().get();
        for start in (0..count).step_by(batch) {
            let output = self.objective.network().evaluate(&make(start..(start + batch).min(count))?, &[])?.0;
            for (found, score) in found.iter_mut().zip(self.scores) {
                found.extend(values(&score.score(&output)?)?);
            }
        }
        Ok(found)
    }

    /// The scores of the input itself.
    pub(super) fn own_scores(&self) -> Result<Vec<f64>> {
        Ok(self.scores_of(1, &mut |_| Ok(self.input.clone()))?.into_iter().flatten().collect())
    }

    /// Which channels of `(1, C, h, w)` are tried: all, or those that vary most, in their order.
    pub(super) fn channels(&self, activation: &Tensor) -> Result<Vec<usize>> {
        let flat = activation.squeeze(0)?.flatten_from(1)?.to_dtype(DType::F64)?;
        let count = flat.dim(0)?;
        let Some(kept) = self.parameters.channels else { return Ok((0..count).collect()) };
        let centered = flat.broadcast_sub(&flat.mean_keepdim(1)?)?;
        let variation = centered.sqr()?.sum(1)?.to_vec1::<f64>()?;
        let mut order: Vec<usize> = (0..count).collect();
        order.sort_by(|a, b| variation[*b].total_cmp(&variation[*a]).then(a.cmp(b)));
        order.truncate(kept.get());
        order.sort_unstable();
        Ok(order)
    }
}

/// `ReLU(sum_k w_k A_k)` for the channels that were tried.
pub(super) fn rectified_sum(weights: Vec<f64>, channels: &[usize], activation: &Tensor) -> Result<Tensor> {
    let tried = select(&activation.squeeze(0)?, channels)?.unsqueeze(0)?;
    let weights = Tensor::from_vec(weights, (1, channels.len(), 1, 1), activation.device())?;
    Ok(weigh(&weights.to_dtype(activation.dtype())?, &tried)?.relu()?)
}

/// `exp(s_k) / sum exp(s)`.
pub(super) fn softmax(scores: &[f64]) -> Vec<f64> {
    let highest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let exponentials: Vec<f64> = scores.iter().map(|score| (score - highest).exp()).collect();
    let sum: f64 = exponentials.iter().sum();
    exponentials.into_iter().map(|value| value / sum).collect()
}
