//! `DeepLIFT`'s rescale rule.

use super::{Rule, Run};
use crate::{Node, NodeId, Op};
use candle_core::Tensor;
use faithful_core::{Error, Result};
use faithful_tensor::Reduction;

/// Below this difference of an activation's argument its derivative stands for the quotient, as in Captum.
const SMALL: f64 = 1e-10;
/// How many places of the line between reference and input stand for it, where an operation has no rule of its own.
const PLACES: usize = 8;

/// Multipliers `(f(x) - f(r)) / (x - r)` of elementwise operations; the derivative of linear ones; of a maximum, what each of the two
/// runs' largest places has gained (Captum's rule). Of any other operation (a product of two values, a softmax, a
/// normalisation) the mean derivative on the straight line between both runs, exact for products, so that multipliers still
/// account for the difference.
pub(super) struct Rescale<'a> {
    run: &'a Run<'a>,
    place: NodeId,
    /// The values when `place` is zero; nothing where that changes nothing.
    reference: Vec<Option<Tensor>>,
}

impl<'a> Rescale<'a> {
    pub(super) fn new(run: &'a Run<'a>, place: NodeId) -> Result<Self> {
        let mut rescale = Self { run, place, reference: vec![None; run.values.len()] };
        for (index, node) in run.graph.nodes.iter().enumerate().filter(|(index, _)| run.values[*index].is_some()) {
            let value = if index == place.0 {
                run.value(place)?.zeros_like()?
            } else if node.inputs.iter().any(|input| rescale.reference[input.0].is_some()) {
                run.apply(node, &rescale.operands(node)?)?
            } else {
                continue;
            };
            rescale.reference[index] = Some(value);
        }
        if rescale.reference[place.0].is_none() {
            return Err(Error::parameter("layer", "the output does not depend on it"));
        }
        Ok(rescale)
    }

    fn of(&self, node: NodeId) -> Result<&Tensor> {
        self.reference[node.0].as_ref().map_or_else(|| self.run.value(node), Ok)
    }

    fn operands(&self, node: &Node) -> Result<Vec<&Tensor>> {
        node.inputs.iter().map(|input| self.of(*input)).collect()
    }
}

impl Rule for Rescale<'_> {
    fn start(&self, _: &Tensor, cotangent: &Tensor) -> Result<Tensor> {
        Ok(cotangent.clone())
    }

    fn ends_at(&self, index: usize) -> bool {
        index == self.place.0
    }

    fn parts(&self, index: usize, node: &Node, signal: &Tensor) -> Result<Vec<Tensor>> {
        let (x, r) = (self.run.operands(node)?, self.operands(node)?);
        let here = |operands: &[&Tensor], signal: &Tensor| self.run.vjp(node, operands, signal);
        match &node.op {
            Op::Activation(_) | Op::Unary(_) => {
                let gained = (self.run.value(NodeId(index))? - self.of(NodeId(index))?)?;
                let difference = (x[0] - r[0])?;
                let derivative = here(&x, signal)?.remove(0);
                Ok(vec![quotient(&(signal * gained)?, &difference, &derivative)?])
            }
            Op::MaxPool2d(_) | Op::AdaptiveMaxPool2d(_) | Op::Reduce { reduction: Reduction::Max, .. } => {
                let (value, before) = (self.run.value(NodeId(index))?, self.of(NodeId(index))?);
                let either = value.maximum(before)?;
                let gained = here(&x, &(signal * (&either - before)?)?)?.remove(0);
                let lost = here(&r, &(signal * (value - &either)?)?)?.remove(0);
                let derivative = here(&x, signal)?.remove(0);
                Ok(vec![quotient(&(gained + lost)?, &(x[0] - r[0])?, &derivative)?])
            }
            _ if linear(&node.op) => here(&x, signal),
            _ => {
                let mut sums: Option<Vec<Tensor>> = None;
                for place in 0..PLACES {
                    let share = (place as f64 + 0.5) / PLACES as f64;
                    let between = x.iter().zip(&r).map(|(x, r)| Ok((*r + ((*x - *r)? * share)?)?));
                    let between = between.collect::<Result<Vec<Tensor>>>()?;
                    let derivatives = here(&between.iter().collect::<Vec<_>>(), signal)?;
                    sums = Some(match sums {
                        None => derivatives,
                        Some(sums) => {
                            sums.into_iter().zip(derivatives).map(|(a, b)| Ok((a + b)?)).collect::<Result<_>>()?
                        }
                    });
                }
                sums.unwrap_or_default().into_iter().map(|sum| Ok((sum / PLACES as f64)?)).collect()
            }
        }
    }
}

/// `numerator / difference`, `derivative` where the difference is next to nothing.
fn quotient(numerator: &Tensor, difference: &Tensor, derivative: &Tensor) -> Result<Tensor> {
    let small = difference.abs()?.lt(SMALL)?;
    let safe = small.where_cond(&difference.ones_like()?, difference)?;
    Ok(small.where_cond(derivative, &(numerator / safe)?)?)
}

/// Whether the derivative is the same everywhere.
fn linear(op: &Op) -> bool {
    matches!(
        op,
        Op::Conv2d { .. }
            | Op::Conv1d { .. }
            | Op::ConvTranspose2d { .. }
            | Op::Linear { .. }
            | Op::BatchNorm { .. }
            | Op::AvgPool2d(_)
            | Op::AdaptiveAvgPool2d(_)
            | Op::Concat { .. }
            | Op::Slice { .. }
            | Op::Pad { .. }
            | Op::Reshape(_)
            | Op::Flatten { .. }
            | Op::Squeeze(_)
            | Op::Unsqueeze(_)
            | Op::Transpose(_)
            | Op::Expand(_)
            | Op::Gather { .. }
            | Op::Resize { .. }
            | Op::Identity
            | Op::Reduce { reduction: Reduction::Mean | Reduction::Sum, .. }
            | Op::Binary(faithful_tensor::Binary::Add | faithful_tensor::Binary::Sub)
    )
}
