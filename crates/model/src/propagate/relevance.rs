//! Layer-wise relevance propagation: epsilon, gamma, z+ and box rules in Zennit's composites.

use super::{Rule, Run};
use crate::{Node, NodeId, Op};
use candle_core::Tensor;
use faithful_core::{Composite, Error, Result};
use faithful_tensor::{Binary, Reduction};

/// Added to a denominator in its own direction.
const STABILIZER: f64 = 1e-6;
/// How much more the favoured weights of the gamma rule count.
const GAMMA: f64 = 0.25;

/// The operand's relevance of an operation `z = f(x)`:
///
/// - epsilon: `x * J'(R / z)`, the bias keeping its share. Sums, means, average pools and resizing follow it too, in every
///   composite (Zennit's `Norm`).
/// - z+: `x+ * J(w+)'(s) + x- * J(w-)'(s)`, `s = R / (x+ w+ + x- w- + b+)`.
/// - gamma: as z+ with the weights `w + w+/4` and `w + w-/4`, the roles exchanged where the result is negative.
/// - box: `x * J(w)'(s) - l * J(w+)'(s) - h * J(w-)'(s)`, `s = R / (x w - l w+ - h w-)`, between the input's lowest and highest value.
/// - activations pass it on; max pools give it to the largest; what moves values moves it.
///
/// A denominator is moved by 1e-6 away from zero. Products of two values, softmax, normalisations and recurrent layers, for which the
/// composites have no rule, are taken as linear at their operands, `x * J'(R / z)`, and operands share alike: relevance is
/// conserved there for products alone.
pub(super) struct Relevance<'a> {
    run: &'a Run<'a>,
    composite: Composite,
    /// Which nodes have the input before them and no weights between.
    at_input: Vec<bool>,
    bounds: [f64; 2],
}

impl<'a> Relevance<'a> {
    pub(super) fn new(run: &'a Run<'a>, composite: Composite) -> Result<Self> {
        let mut at_input = vec![false; run.values.len()];
        for (index, node) in run.graph.nodes.iter().enumerate() {
            at_input[index] = index == run.given.0
                || node.inputs.iter().any(|input| at_input[input.0] && !is_weighted(&run.graph.nodes[input.0].op));
        }
        let input = run.value(run.given)?.flatten_all()?.to_dtype(candle_core::DType::F64)?;
        let bounds = [input.min(0)?.to_scalar()?, input.max(0)?.to_scalar()?];
        Ok(Self { run, composite, at_input, bounds })
    }

    /// `x * J'(R / z)` for every operand.
    fn epsilon(&self, index: usize, node: &Node, relevance: &Tensor) -> Result<Vec<Tensor>> {
        let operands = self.run.operands(node)?;
        let share = (relevance / stabilised(self.run.value(NodeId(index))?)?)?;
        let parts = self.run.vjp(node, &operands, &share)?;
        operands.iter().zip(parts).map(|(operand, part)| Ok((*operand * part)?)).collect()
    }

    fn convolution(&self, index: usize, node: &Node, relevance: &Tensor) -> Result<Vec<Tensor>> {
        let x = self.run.operands(node)?[0];
        let [positive, negative] = [x.relu()?, x.neg()?.relu()?.neg()?];
        let none = |_: &Tensor| -> Result<Option<Tensor>> { Ok(None) };
        let pass = |x: &Tensor, weight: Change<'_>, bias: ChangeBias<'_>| Pass::new(node, x, weight, bias);
        let found = match self.composite {
            Composite::EpsilonPlus => {
                let passes = [pass(&positive, &above, &|b| Ok(Some(above(b)?)))?, pass(&negative, &below, &none)?];
                self.divided(&passes, &[1.0, 1.0], relevance)?
            }
            Composite::EpsilonGammaBox if self.at_input[index] => {
                let [low, high] = self.bounds.map(|bound| -> Result<Tensor> { Ok(x.ones_like()?.affine(bound, 0.0)?) });
                let passes =
                    [pass(x, &|w| Ok(w.clone()), &none)?, pass(&low?, &above, &none)?, pass(&high?, &below, &none)?];
                self.divided(&passes, &[1.0, -1.0, -1.0], relevance)?
            }
            Composite::EpsilonGammaBox => {
                let up = |w: &Tensor| -> Result<Tensor> { Ok((w + (above(w)? * GAMMA)?)?) };
                let down = |w: &Tensor| -> Result<Tensor> { Ok((w + (below(w)? * GAMMA)?)?) };
                let (bias_up, bias_down) = (|b: &Tensor| up(b).map(Some), |b: &Tensor| down(b).map(Some));
                let z = self.run.value(NodeId(index))?;
                let zeros = z.zeros_like()?;
                let gains = [pass(&positive, &up, &bias_up)?, pass(&negative, &down, &none)?];
                let losses = [pass(&positive, &down, &bias_down)?, pass(&negative, &up, &none)?];
                let won = z.gt(0f64)?.where_cond(relevance, &zeros)?;
                let lost = z.lt(0f64)?.where_cond(relevance, &zeros)?;
                (self.divided(&gains, &[1.0; 2], &won)? + self.divided(&losses, &[1.0; 2], &lost)?)?
            }
            _ => return self.epsilon(index, node, relevance),
        };
        Ok(vec![found])
    }

    /// `sum_i sign_i x_i J_i'(R / sum_i sign_i z_i)` over passes with inputs and weights of their own.
    fn divided(&self, passes: &[Pass], signs: &[f64], relevance: &Tensor) -> Result<Tensor> {
        let mut total: Option<Tensor> = None;
        for (pass, sign) in passes.iter().zip(signs) {
            add(&mut total, (self.run.apply(&pass.node, &[&pass.input])? * *sign)?)?;
        }
        let nothing = || Error::parameter("rule", "it has no passes");
        let share = (relevance / stabilised(&total.ok_or_else(nothing)?)?)?;
        let mut found: Option<Tensor> = None;
        for (pass, sign) in passes.iter().zip(signs) {
            let part = self.run.vjp(&pass.node, &[&pass.input], &share)?.remove(0);
            add(&mut found, ((part * &pass.input)? * *sign)?)?;
        }
        found.ok_or_else(nothing)
    }
}

impl Rule for Relevance<'_> {
    fn start(&self, output: &Tensor, cotangent: &Tensor) -> Result<Tensor> {
        Ok((output * cotangent)?)
    }

    fn parts(&self, index: usize, node: &Node, relevance: &Tensor) -> Result<Vec<Tensor>> {
        let operands = self.run.operands(node)?;
        match &node.op {
            Op::Conv2d { .. } | Op::Conv1d { .. } | Op::ConvTranspose2d { .. } => {
                self.convolution(index, node, relevance)
            }
            Op::Activation(_) | Op::Unary(faithful_tensor::Unary::Neg) => Ok(vec![relevance.clone()]),
            Op::Linear { .. }
            | Op::BatchNorm { .. }
            | Op::AvgPool2d(_)
            | Op::AdaptiveAvgPool2d(_)
            | Op::Resize { .. }
            | Op::Reduce { reduction: Reduction::Mean | Reduction::Sum, .. }
            | Op::Binary(Binary::Add | Binary::Sub) => self.epsilon(index, node, relevance),
            Op::Binary(Binary::Mul) | Op::MatMul
                if node.inputs.iter().filter(|input| !self.run.is_constant(**input)).count() == 1 =>
            {
                self.epsilon(index, node, relevance)
            }
            Op::Binary(Binary::Div) if self.run.is_constant(node.inputs[1]) => self.epsilon(index, node, relevance),
            Op::MaxPool2d(_)
            | Op::AdaptiveMaxPool2d(_)
            | Op::Reduce { reduction: Reduction::Max, .. }
            | Op::Concat { .. }
            | Op::Pad { .. } => self.run.vjp(node, &operands, relevance),
            op if op.moves_values() => self.run.vjp(node, &operands, relevance),
            // As if it were linear at its operands, which share alike.
            _ => {
                let parts = self.epsilon(index, node, relevance)?;
                let share =
                    1.0 / node.inputs.iter().filter(|input| !self.run.is_constant(**input)).count().max(1) as f64;
                parts.into_iter().map(|part| Ok((part * share)?)).collect()
            }
        }
    }
}

type Change<'a> = &'a dyn Fn(&Tensor) -> Result<Tensor>;
type ChangeBias<'a> = &'a dyn Fn(&Tensor) -> Result<Option<Tensor>>;

/// A convolution with other weights, on another input.
struct Pass {
    node: Node,
    input: Tensor,
}

impl Pass {
    fn new(node: &Node, input: &Tensor, change: Change<'_>, change_bias: ChangeBias<'_>) -> Result<Self> {
        let mut node = node.clone();
        if let Op::Conv2d { weight, bias, .. }
        | Op::Conv1d { weight, bias, .. }
        | Op::ConvTranspose2d { weight, bias, .. } = &mut node.op
        {
            *weight = change(weight)?;
            *bias = match bias {
                Some(bias) => change_bias(bias)?,
                None => None,
            };
        }
        Ok(Self { node, input: input.clone() })
    }
}

fn add(sum: &mut Option<Tensor>, term: Tensor) -> Result<()> {
    *sum = Some(match sum.take() {
        Some(sum) => (sum + term)?,
        None => term,
    });
    Ok(())
}

fn above(x: &Tensor) -> Result<Tensor> {
    Ok(x.relu()?)
}

fn below(x: &Tensor) -> Result<Tensor> {
    Ok(x.neg()?.relu()?.neg()?)
}

/// `z` moved away from zero; zero itself upwards.
fn stabilised(z: &Tensor) -> Result<Tensor> {
    let direction = (z.ge(0f64)?.to_dtype(z.dtype())? * (2.0 * STABILIZER))?;
    Ok((z + (direction - STABILIZER)?)?)
}

fn is_weighted(op: &Op) -> bool {
    matches!(op, Op::Conv2d { .. } | Op::Conv1d { .. } | Op::ConvTranspose2d { .. } | Op::Linear { .. })
}
