//! A transformer as these methods see it: attentions one after the other, each over all tokens of the one before.

use candle_core::{D, Tensor};
use faithful_core::{Attention, Error, LayerId, Network, Objective, Result, Score};

/// The attentions of a network, checked against one input.
pub(crate) struct Transformer {
    pub(crate) attentions: Vec<Attention>,
    /// How many keys the first attention has.
    pub(crate) tokens: usize,
}

/// What a batch has at one attention: `(N, heads, queries, keys)` both.
pub(crate) struct Attended {
    pub(crate) probabilities: Tensor,
    pub(crate) gradient: Tensor,
}

impl Transformer {
    /// # Errors
    /// [`Error::Unsupported`] for a network without attention, or with attentions that do not follow one another.
    pub(crate) fn of(network: &dyn Network, input: &Tensor) -> Result<Self> {
        let attentions = network.attentions()?;
        let layers: Vec<LayerId> = attentions.iter().map(|attention| attention.probabilities).collect();
        refuse_convolutions(network, &layers)?;
        let values = network.activations(&input.narrow(0, 0, 1)?, &layers)?;
        let mut tokens = None;
        for (layer, value) in layers.iter().zip(&values) {
            let name = || network.layers().get(layer.0).map_or("", |info| info.name.as_str());
            let (queries, keys) = match *value.dims() {
                [1, queries, keys] | [1, _, queries, keys] => (queries, keys),
                ref other => {
                    let reason = format!(
                        "`{}` attends within windows or axes, {other:?}; `attn-lrp` and methods at a layer explain such networks",
                        name()
                    );
                    return Err(unsupported(&reason));
                }
            };
            if tokens.is_some_and(|(_, before)| before != keys) {
                let reason = format!("`{}` does not attend to what the attention before it gives", name());
                return Err(unsupported(&reason));
            }
            tokens = Some((tokens.map_or(keys, |(first, _)| first), queries));
        }
        let (tokens, _) = tokens.ok_or_else(|| unsupported("the network has none"))?;
        Ok(Self { attentions, tokens })
    }

    /// The layers of the probabilities.
    pub(crate) fn layers(&self) -> Vec<LayerId> {
        self.attentions.iter().map(|attention| attention.probabilities).collect()
    }

    /// Every attention with its gradient, per score; and which of the last one's queries the outputs read, `(N, queries)`, as shares
    /// of one: a class token, or all whose mean is taken.
    pub(crate) fn attended(
        &self,
        objective: &Objective<'_>,
        input: &Tensor,
        scores: &[&dyn Score],
    ) -> Result<(Vec<Vec<Attended>>, Tensor)> {
        let mut all = scores.to_vec();
        all.push(&EveryOutput);
        objective.network().announce(0, input.dim(0)?);
        let mut found = objective.differentiate_scores(input, &self.layers(), false, &all)?;
        let every = found.pop().ok_or_else(|| Error::internal("no score was differentiated"))?;
        let last = every.traces.last().ok_or_else(|| Error::internal("no attention was differentiated"))?;
        let read = read_queries(&with_heads(&last.gradient)?)?;
        let attended = |trace: faithful_core::LayerTrace| {
            let (probabilities, gradient) = (with_heads(&trace.activation)?, with_heads(&trace.gradient)?);
            Ok(Attended { probabilities, gradient })
        };
        let of_score = |one: faithful_core::Differentiated| one.traces.into_iter().map(attended).collect::<Result<_>>();
        Ok((found.into_iter().map(of_score).collect::<Result<_>>()?, read))
    }
}

/// `(N, heads, queries, keys)`, also of one head without an axis of its own.
pub(crate) fn with_heads(x: &Tensor) -> Result<Tensor> {
    Ok(if x.rank() == 3 { x.unsqueeze(1)? } else { x.clone() })
}

/// From the gradient `(N, heads, queries, keys)`, the queries with one that is not zero, as shares of one.
fn read_queries(gradient: &Tensor) -> Result<Tensor> {
    let strength = gradient.abs()?.sum(D::Minus1)?.sum(1)?;
    let read = strength.gt(0.0)?.to_dtype(strength.dtype())?;
    let count = read.sum_keepdim(1)?;
    // Outputs that read nothing: every query counts alike.
    let none = count.eq(0.0)?.to_dtype(read.dtype())?;
    let read = read.broadcast_add(&none)?;
    Ok(read.broadcast_div(&read.sum_keepdim(1)?)?)
}

fn refuse_convolutions(network: &dyn Network, layers: &[LayerId]) -> Result<()> {
    let (Some(first), Some(last)) = (layers.first(), layers.last()) else { return Ok(()) };
    let between = network.layers().iter().take(last.0).skip(first.0);
    match between.into_iter().find(|layer| layer.kind.starts_with("conv")) {
        None => Ok(()),
        Some(layer) => Err(unsupported(&format!(
            "`{}` mixes places between attentions by a convolution; `attn-lrp` and methods at a layer explain such networks",
            layer.name
        ))),
    }
}

pub(crate) fn unsupported(reason: &str) -> Error {
    Error::Unsupported(vec![format!("attention over all tokens: {reason}")])
}

/// A sum of all outputs with weights that do not cancel out: what depends on it, some output depends on.
struct EveryOutput;

impl Score for EveryOutput {
    fn score(&self, output: &Tensor) -> Result<Tensor> {
        let (_, outputs) = output.dims2()?;
        let weights: Vec<f64> = (0..outputs).map(|k| (k as f64 * 0.618_033_988_75).fract() + 0.5).collect();
        let weights = Tensor::from_vec(weights, (outputs, 1), &candle_core::Device::Cpu)?;
        let weights = weights.to_dtype(output.dtype())?.to_device(output.device())?;
        Ok(output.contiguous()?.matmul(&weights)?.squeeze(1)?)
    }
}
