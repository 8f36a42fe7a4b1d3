//! `LeGrad`: how sensitive the score of each block's own tokens is to that block's attention.

use crate::tokens::{Transformer, unsupported, with_heads};
use candle_core::Tensor;
use faithful_core::{AtLayer, Error, LayerId, Network, Objective, Result, Score, Stretch, stretch_gradients};

/// The mean over the blocks of `E_l = mean over heads and queries of (d s_l / d A_l)+`, where `s_l` is the score of what the network's
/// head makes of block `l`'s tokens `Z_l`: their mean stands for each of the tokens behind the last block (Bousselham et al.
/// 2024, section 3). Where an attention with fewer queries than keys pools the tokens (`SigLIP`), `Z_l` goes into it as it is,
/// and `A_l` is the pooling attention itself, as in the authors' code.
pub(crate) fn legrad(
    transformer: &Transformer,
    objective: &Objective<'_>,
    input: &Tensor,
    scores: &[&dyn Score],
) -> Result<Vec<Tensor>> {
    let mut found = vec![Vec::new(); scores.len()];
    for row in 0..input.dim(0)? {
        let blocks = Encoder::of(transformer, objective, &input.narrow(0, row, 1)?)?;
        for (found, score) in found.iter_mut().zip(scores) {
            found.push(blocks.sensitivity(&objective.with_score(*score))?);
        }
    }
    found.iter().map(|rows| Ok(Tensor::cat(rows, 0)?)).collect()
}

/// A network for one input `(1, …)`.
struct Encoder {
    input: Tensor,
    /// Of each block, its attention, its tokens' layer, and its tokens.
    blocks: Vec<(LayerId, LayerId, Tensor)>,
    /// The attention that pools the tokens behind the last block, where there is one.
    pool: Option<LayerId>,
    /// How many tokens there are.
    tokens: usize,
}

impl Encoder {
    fn of(transformer: &Transformer, objective: &Objective<'_>, input: &Tensor) -> Result<Self> {
        let network = objective.network();
        let layers = transformer.layers();
        let mut blocks = transformer.attentions.clone();
        network.announce(1 + blocks.len(), blocks.len());
        let last = layers.last().copied().ok_or_else(|| Error::internal("a transformer without attention"))?;
        let of_last = network.activations(input, &[last])?.remove(0);
        let pool = is_pooling(of_last.dims()).then_some(last);
        if pool.is_some() {
            blocks.pop();
        }
        let tokens = |block: &faithful_core::Attention| {
            let reason = "there is no layer with all tokens behind a block, which LeGrad gives to the head";
            block.tokens.ok_or_else(|| unsupported(reason))
        };
        let ends = blocks.iter().map(tokens).collect::<Result<Vec<_>>>()?;
        let values = network.activations(input, &ends)?;
        let starts = blocks.iter().map(|block| block.probabilities);
        let blocks: Vec<_> = starts.zip(ends).zip(values).map(|((start, end), value)| (start, end, value)).collect();
        let shape = |block: &(LayerId, LayerId, Tensor)| block.2.dims().to_vec();
        if blocks.is_empty() || blocks.iter().any(|block| shape(block) != shape(&blocks[0])) {
            let reason =
                "the tokens change their number or width from block to block, so that one head cannot read them all";
            return Err(unsupported(reason));
        }
        Ok(Self { input: input.clone(), blocks, pool, tokens: transformer.tokens })
    }

    /// `(1, tokens)`.
    fn sensitivity(&self, objective: &Objective<'_>) -> Result<Tensor> {
        let gradients = match self.pool {
            Some(pool) => self.at_the_pool(objective, pool)?,
            None => self.at_the_blocks(objective)?,
        };
        let share = 1.0 / gradients.len() as f64;
        let mut sum: Option<Tensor> = None;
        for gradient in gradients {
            let one = (with_heads(&gradient)?.relu()?.mean((1, 2))? * share)?;
            sum = Some(match sum {
                Some(sum) => (sum + one)?,
                None => one,
            });
        }
        sum.ok_or_else(|| Error::internal("a transformer without blocks"))
    }

    /// The network's head: from the last block's tokens on.
    fn head<'a>(&self, objective: &Objective<'a>) -> Result<AtLayer<&'a dyn Network>> {
        let last = self.blocks.last().ok_or_else(|| Error::internal("a transformer without blocks"))?;
        AtLayer::new(objective.network(), last.1, &self.input)
    }

    fn at_the_blocks(&self, objective: &Objective<'_>) -> Result<Vec<Tensor>> {
        let head = self.head(objective)?;
        let head = Objective::new(&head, objective.score()).with_batch(objective.batch());
        let stretch = |(start, end, value): &(LayerId, LayerId, Tensor)| {
            let axis = self.token_axis(value)?;
            let mean = value.mean_keepdim(axis)?.broadcast_as(value.shape())?.contiguous()?;
            let gradient = head.input_gradient(&mean)?.mean_keepdim(axis)?;
            let cotangent = gradient.broadcast_as(value.shape())?.contiguous()?;
            Ok(Stretch { start: *start, end: *end, cotangent })
        };
        let stretches = self.blocks.iter().map(stretch).collect::<Result<Vec<_>>>()?;
        stretch_gradients(objective.network(), &self.input, &stretches)
    }

    fn at_the_pool(&self, objective: &Objective<'_>, pool: LayerId) -> Result<Vec<Tensor>> {
        let head = self.head(objective)?;
        let head = Objective::new(&head, objective.score()).with_batch(objective.batch());
        let at_pool = |(_, _, value): &(LayerId, LayerId, Tensor)| Ok(head.traces(value, &[pool])?.remove(0).gradient);
        self.blocks.iter().map(at_pool).collect()
    }

    /// Which axis of `(1, T, C)` or `(1, C, T)` has the tokens.
    fn token_axis(&self, value: &Tensor) -> Result<usize> {
        match *value.dims() {
            [_, tokens, _] if tokens == self.tokens => Ok(1),
            [_, _, tokens] if tokens == self.tokens => Ok(2),
            ref other => Err(Error::shape("the tokens behind a block", format!("(N, {}, C)", self.tokens), other)),
        }
    }
}

fn is_pooling(probabilities: &[usize]) -> bool {
    matches!(*probabilities, [.., queries, keys] if queries < keys)
}
