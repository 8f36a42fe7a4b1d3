//! `AttnLRP` and `LibraGrad`: gradients whose product with the input is relevance, with rules for attention, normalisations and gates.

use super::{Rule, Run};
use crate::{Node, NodeId, Op};
use candle_core::{D, Tensor};
use faithful_core::Result;
use faithful_tensor::{Activation, Binary, Reduction, Unary};

/// Added to an argument in its own direction before a value is divided by it, as in the authors' code.
const STABILIZER: f64 = 1e-10;

/// The rules of Achtibat et al. 2024 as they act on `R / x`, whose product with the input is relevance:
///
/// - activations and other functions of one value pass relevance on: `f(x) / x` (Eq. 9);
/// - a product of two values, of matrices too, gives half to each (Eq. 7 and Proposition 3.3);
/// - the softmax has its derivative (Proposition 3.1);
/// - what a normalisation divides by is taken as given (Proposition 3.4);
/// - all that is linear has its derivative, the epsilon rule without an epsilon.
///
/// `LibraGrad` (Mehri et al. 2025) differs in one: attention weights are taken as given, so that values get all and queries and keys nothing.
pub(super) struct AttentionRules<'a> {
    run: &'a Run<'a>,
    /// Which nodes depend on what is given: others are constants, also where operations made them.
    depends: Vec<bool>,
    /// Whether attention weights are taken as given.
    weights_are_given: bool,
}

impl<'a> AttentionRules<'a> {
    pub(super) fn new(run: &'a Run<'a>, weights_are_given: bool) -> Self {
        let mut depends = vec![false; run.values.len()];
        for (index, node) in run.graph.nodes.iter().enumerate() {
            depends[index] = index == run.given.0 || node.inputs.iter().any(|input| depends[input.0]);
        }
        Self { run, depends, weights_are_given }
    }

    fn quotient(&self, index: usize, operand: &Tensor, signal: &Tensor) -> Result<Vec<Tensor>> {
        let direction = (operand.ge(0f64)?.to_dtype(operand.dtype())? * (2.0 * STABILIZER))?;
        let divisor = (operand + (direction - STABILIZER)?)?;
        Ok(vec![(signal * (self.run.value(NodeId(index))? / divisor)?)?])
    }

    /// A product or a quotient of two values of the input.
    fn product(&self, node: &Node, operands: &[&Tensor], signal: &Tensor) -> Result<Vec<Tensor>> {
        let statistics = [0, 1].map(|side| self.is_given(node.inputs[side]));
        let mut parts = self.run.vjp(node, operands, signal)?;
        let shares = match statistics {
            [false, true] => [1.0, 0.0],
            [true, false] => [0.0, 1.0],
            _ => [0.5, 0.5],
        };
        // A divisor's own derivative takes away what the dividend gets; relevance is halved.
        let divides = matches!(node.op, Op::Binary(Binary::Div));
        for (side, (part, share)) in parts.iter_mut().zip(shares).enumerate() {
            let sign = if divides && side == 1 { -1.0 } else { 1.0 };
            *part = (&*part * (share * sign))?;
        }
        Ok(parts)
    }

    fn has_two(&self, node: &Node) -> bool {
        node.inputs.iter().filter(|input| self.depends[input.0]).count() == 2
    }

    /// Whether a value is taken as given: a scale that a normalisation divides by (a norm or a deviation, from sums of squares or
    /// magnitudes), or the weights of an attention.
    fn is_given(&self, node: NodeId) -> bool {
        let mut node = node;
        loop {
            let Node { op, inputs, .. } = &self.run.graph.nodes[node.0];
            match op {
                Op::Softmax { .. } => return self.weights_are_given,
                Op::Reduce { reduction: Reduction::L1 | Reduction::L2 | Reduction::SumSquare, .. } => return true,
                Op::Reduce { reduction: Reduction::Mean | Reduction::Sum, .. } => return self.is_square(inputs[0]),
                Op::Unary(Unary::Sqrt | Unary::Reciprocal | Unary::Abs)
                | Op::Activation(Activation::Clip { .. } | Activation::Relu) => {}
                Op::Binary(_) if !self.has_two(&self.run.graph.nodes[node.0]) => {}
                op if op.moves_values() => {}
                _ => return false,
            }
            let Some(next) = inputs.iter().find(|input| self.depends[input.0]) else { return false };
            node = *next;
        }
    }

    fn is_square(&self, node: NodeId) -> bool {
        let Node { op, inputs, .. } = &self.run.graph.nodes[node.0];
        match op {
            Op::Binary(Binary::Pow) | Op::Unary(Unary::Abs) => true,
            Op::Binary(Binary::Mul) => inputs[0] == inputs[1],
            op if op.moves_values() => self.is_square(inputs[0]),
            _ => false,
        }
    }

    /// `(x - mean) * c`, `c` taken as given: the groups of `x` are its rows `(rows, size)`, and `scaled` is the signal times the weights.
    fn normalised(x: &Tensor, scaled: &Tensor, rows: usize, epsilon: f64) -> Result<Tensor> {
        let flat = x.contiguous()?.reshape((rows, ()))?;
        let centred = flat.broadcast_sub(&flat.mean_keepdim(D::Minus1)?)?;
        let deviation = (centred.sqr()?.mean_keepdim(D::Minus1)? + epsilon)?.sqrt()?;
        let signal = scaled.contiguous()?.reshape((rows, ()))?.broadcast_div(&deviation)?;
        let centred = signal.broadcast_sub(&signal.mean_keepdim(D::Minus1)?)?;
        Ok(centred.reshape(x.shape())?)
    }
}

impl Rule for AttentionRules<'_> {
    fn start(&self, _: &Tensor, cotangent: &Tensor) -> Result<Tensor> {
        Ok(cotangent.clone())
    }

    fn parts(&self, index: usize, node: &Node, signal: &Tensor) -> Result<Vec<Tensor>> {
        let operands = self.run.operands(node)?;
        match &node.op {
            Op::Activation(_) => self.quotient(index, operands[0], signal),
            Op::Unary(unary) if *unary != Unary::Neg => self.quotient(index, operands[0], signal),
            Op::Binary(Binary::Pow) if !self.depends[node.inputs[1].0] => {
                let mut parts = self.quotient(index, operands[0], signal)?;
                parts.push(operands[1].zeros_like()?);
                Ok(parts)
            }
            Op::Binary(Binary::Mul | Binary::Div) | Op::MatMul if self.has_two(node) => {
                self.product(node, &operands, signal)
            }
            Op::LayerNorm { axis, weight, epsilon, .. } => {
                let rows = operands[0].dims()[..*axis].iter().product();
                let scaled = match weight {
                    Some(weight) => signal.broadcast_mul(weight)?,
                    None => signal.clone(),
                };
                Ok(vec![Self::normalised(operands[0], &scaled, rows, *epsilon)?])
            }
            Op::GroupNorm { groups, weight, epsilon, .. } => {
                let x = operands[0];
                let scaled = match weight {
                    Some(weight) => {
                        let mut shape = vec![1; x.rank()];
                        shape[1] = weight.elem_count();
                        signal.broadcast_mul(&weight.reshape(shape)?)?
                    }
                    None => signal.clone(),
                };
                Ok(vec![Self::normalised(x, &scaled, x.dim(0)? * groups, *epsilon)?])
            }
            _ => self.run.vjp(node, &operands, signal),
        }
    }
}
