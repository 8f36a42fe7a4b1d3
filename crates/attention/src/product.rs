//! Attention multiplied from block to block: rollout, and Chefer's relevance.

use crate::tokens::{Attended, Transformer};
use candle_core::Tensor;
use faithful_core::{Objective, Result, Score};

/// Attention rollout: `A_L ... A_1` with `A_l = (W_l + I) / 2`, `W_l` the mean of the heads' attention, and of the product the rows
/// that the outputs read (Abnar and Zuidema 2020, Eq. 1). An attention with other queries than keys has nothing that goes around it: `A_l = W_l`.
pub(crate) fn rollout(
    transformer: &Transformer,
    objective: &Objective<'_>,
    input: &Tensor,
    scores: &[&dyn Score],
) -> Result<Vec<Tensor>> {
    let (attended, read) = transformer.attended(objective, input, &scores[..scores.len().min(1)])?;
    let Some(attended) = attended.first() else { return Ok(Vec::new()) };
    let mix = |one: &Attended| {
        let mean = one.probabilities.mean(1)?;
        if is_square(&mean) { Ok((mean.broadcast_add(&identity(&mean)?)? * 0.5)?) } else { Ok(mean) }
    };
    let tokens = product(attended, &read, mix)?;
    Ok(vec![tokens; scores.len()])
}

/// Chefer's relevance by the rules of self-attention: `R <- R + A R` from `R = I` on, `A` the heads' mean of the positive part of
/// gradient times attention, and of `R` the rows that the outputs read (Chefer et al. 2021, arXiv 2103.15679, Eq. 5-6). For an
/// attention with other queries than keys `R <- A R` (Eq. 8-10 for queries that have seen nothing).
pub(crate) fn relevance(
    transformer: &Transformer,
    objective: &Objective<'_>,
    input: &Tensor,
    scores: &[&dyn Score],
) -> Result<Vec<Tensor>> {
    let (attended, read) = transformer.attended(objective, input, scores)?;
    let mix = |one: &Attended| {
        let positive = (&one.gradient * &one.probabilities)?.relu()?.mean(1)?;
        if is_square(&positive) { Ok(positive.broadcast_add(&identity(&positive)?)?) } else { Ok(positive) }
    };
    attended.iter().map(|attended| product(attended, &read, mix)).collect()
}

/// `read M_L ... M_1`, `(N, tokens)`, of the matrices `(N, queries, keys)` that `mix` makes of each attention: from the last on, so that
/// rows alone are multiplied.
fn product(attended: &[Attended], read: &Tensor, mix: impl Fn(&Attended) -> Result<Tensor>) -> Result<Tensor> {
    let mut rows = read.unsqueeze(1)?;
    for one in attended.iter().rev() {
        rows = rows.contiguous()?.matmul(&mix(one)?.contiguous()?)?;
    }
    Ok(rows.squeeze(1)?)
}

fn is_square(matrices: &Tensor) -> bool {
    matches!(*matrices.dims(), [_, queries, keys] if queries == keys)
}

fn identity(like: &Tensor) -> Result<Tensor> {
    let size = like.dim(1)?;
    Ok(Tensor::eye(size, like.dtype(), like.device())?.unsqueeze(0)?)
}
