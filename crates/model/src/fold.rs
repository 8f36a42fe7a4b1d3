//! Simplifications that change no result: a file's batch norms and separate biases go into the layer before them, and activations
//! that exporters write as several operations become one.

use crate::{Graph, GraphBuilder, NodeId, Op};
use candle_core::{DType, Tensor};
use faithful_core::{Error, Result};
use faithful_tensor::{Activation, Binary, Unary};

impl Graph {
    /// The same network with batch norms and separate biases folded into the convolution or fully connected layer
    /// before them, where nothing else reads that layer, and with activations in one piece.
    ///
    /// The names stay: a folded batch norm is an identity, and the layer before it gives what the batch norm gave. So are the later
    /// operations of an activation, whose first one gives its value.
    pub fn folded(mut self) -> Result<Self> {
        for index in 0..self.nodes.len() {
            if let Some(Pieces { input, kind, first, rest }) = self.activation_in_pieces(index) {
                self.nodes[first].op = Op::Activation(kind);
                self.nodes[first].inputs = vec![input];
                let mut before = first;
                for later in rest {
                    self.nodes[later].op = Op::Identity;
                    self.nodes[later].inputs = vec![NodeId(before)];
                    before = later;
                }
                continue;
            }
            let Some((source, scale, shift)) = self.affine(index)? else { continue };
            if self.users()[source.0].len() != 1 || source == self.output {
                continue;
            }
            let Some(op) = rescaled(&self.nodes[source.0].op, scale.as_ref(), &shift)? else { continue };
            self.nodes[source.0].op = op;
            let node = &mut self.nodes[index];
            node.op = Op::Identity;
            node.inputs = vec![source];
        }
        // Constants that became biases are needed no more.
        let Self { nodes, input_shape, output, rule, .. } = self;
        Ok(GraphBuilder::from_nodes(nodes, input_shape).finish(output)?.with_rule(rule))
    }

    /// The operand, scale and shift of a node that is `x * scale + shift` per output channel.
    fn affine(&self, index: usize) -> Result<Option<(NodeId, Option<Tensor>, Tensor)>> {
        let node = &self.nodes[index];
        match &node.op {
            Op::BatchNorm { scale, shift } => Ok(Some((node.inputs[0], Some(scale.clone()), shift.clone()))),
            Op::Binary(Binary::Add) => {
                for (constant, source) in [(1, 0), (0, 1)] {
                    let (constant, source) = (node.inputs[constant], node.inputs[source]);
                    let Op::Constant(value) = &self.nodes[constant.0].op else { continue };
                    let Some(outputs) = outputs(&self.nodes[source.0].op) else { continue };
                    // Channels are the last axis behind a fully connected layer, the second behind a convolution.
                    let linear = matches!(self.nodes[source.0].op, Op::Linear { .. });
                    let behind = if linear { 0 } else { self.layers[source.0].shape.len() - 1 };
                    let expected: Vec<usize> = std::iter::once(outputs).chain(std::iter::repeat_n(1, behind)).collect();
                    let dims = value.dims();
                    let leading = dims.len().saturating_sub(expected.len());
                    if dims[leading..] == expected && dims[..leading].iter().all(|&size| size == 1) && leading <= 1 {
                        return Ok(Some((source, None, value.flatten_all()?)));
                    }
                }
                Ok(None)
            }
            _ => Ok(None),
        }
    }

    /// The activation that the product `index` is the last operation of: `x * sigmoid(x)`, `x * hard_sigmoid(x)`, or
    /// `x * (1 + erf(x / sqrt(2))) / 2`.
    fn activation_in_pieces(&self, index: usize) -> Option<Pieces> {
        let [p, q] = self.operands(index, Binary::Mul)?;
        let users = self.users();
        let alone = |node: usize| users[node].len() == 1 && NodeId(node) != self.output;
        for (x, other) in [(p, q), (q, p)] {
            let node = &self.nodes[other];
            let kind = match node.op {
                Op::Activation(Activation::Sigmoid) => Activation::Silu,
                Op::Activation(Activation::HardSigmoid { alpha, beta }) if near(alpha, 1.0 / 6.0) && beta == 0.5 => {
                    Activation::HardSwish
                }
                _ => continue,
            };
            if node.inputs[0].0 == x && alone(other) {
                return Some(Pieces { input: NodeId(x), kind, first: other, rest: vec![index] });
            }
        }
        // `1 + erf(x / sqrt(2))`: its operations, and `x`.
        let bell = |node: usize| -> Option<(Vec<usize>, usize)> {
            let (erf, _) = self.with_number(node, Binary::Add, 1.0)?;
            let Op::Unary(Unary::Erf) = self.nodes[erf].op else { return None };
            let scaled = self.nodes[erf].inputs[0].0;
            let (x, _) = self
                .with_number(scaled, Binary::Mul, std::f64::consts::FRAC_1_SQRT_2)
                .or_else(|| self.with_number(scaled, Binary::Div, std::f64::consts::SQRT_2).filter(|found| !found.1))?;
            Some((vec![scaled, erf, node], x))
        };
        let found = |mut rest: Vec<usize>, x: usize| -> Option<Pieces> {
            let first = rest.remove(0);
            let pieces = rest.iter().chain([&first]).all(|&node| node == index || alone(node));
            pieces.then_some(Pieces { input: NodeId(x), kind: Activation::Gelu, first, rest })
        };
        if let Some((product, _)) = self.with_number(index, Binary::Mul, 0.5) {
            let [p, q] = self.operands(product, Binary::Mul)?;
            for (x, other) in [(p, q), (q, p)] {
                if let Some((mut rest, of)) = bell(other).filter(|found| found.1 == x) {
                    rest.extend([product, index]);
                    return found(rest, of);
                }
            }
            return None;
        }
        for (half, other) in [(p, q), (q, p)] {
            let Some((x, _)) = self.with_number(half, Binary::Mul, 0.5) else { continue };
            if let Some((mut rest, of)) = bell(other).filter(|found| found.1 == x) {
                rest.push(index);
                return found(rest, of);
            }
        }
        None
    }

    fn operands(&self, node: usize, operation: Binary) -> Option<[usize; 2]> {
        let node = &self.nodes[node];
        (matches!(node.op, Op::Binary(found) if found == operation)).then(|| [node.inputs[0].0, node.inputs[1].0])
    }

    /// The other operand of an operation with that one number, and whether the number comes first.
    fn with_number(&self, node: usize, operation: Binary, number: f64) -> Option<(usize, bool)> {
        let [a, b] = self.operands(node, operation)?;
        let is_number = |node: usize| match &self.nodes[node].op {
            Op::Constant(value) if value.elem_count() == 1 => {
                let value = value.flatten_all().and_then(|value| value.to_dtype(DType::F64)?.to_vec1::<f64>());
                value.is_ok_and(|value| near(value[0], number))
            }
            _ => false,
        };
        if is_number(b) { Some((a, false)) } else { is_number(a).then_some((b, true)) }
    }

    /// Fails where a weight is not a number: such a model explains nothing.
    ///
    /// # Errors
    /// [`Error::NotFinite`] with the layer's name.
    pub fn check_finite(&self) -> Result<()> {
        for node in &self.nodes {
            // Minus infinity is how a constant masks attention.
            let infinite = matches!(node.op, Op::Constant(_));
            for weight in node.op.weights() {
                if !finite(weight, infinite)? {
                    let what = format!("a weight of layer `{}`", node.name);
                    return Err(Error::NotFinite { what, place: None });
                }
            }
        }
        Ok(())
    }
}

/// An activation as several operations: the first, which needs nothing but its input, and those behind it.
struct Pieces {
    input: NodeId,
    kind: Activation,
    first: usize,
    rest: Vec<usize>,
}

/// Whether two numbers are the same but for what a file's precision rounds.
fn near(a: f64, b: f64) -> bool {
    (a - b).abs() < 5e-4 * b.abs()
}

fn finite(weight: &Tensor, infinite: bool) -> Result<bool> {
    let weight = weight.flatten_all()?.to_dtype(DType::F32)?;
    // One pass without a copy; only what is suspicious is looked at number by number.
    if weight.sum_all()?.to_scalar::<f32>()?.is_finite() {
        return Ok(true);
    }
    let values = weight.to_vec1::<f32>()?;
    Ok(values.iter().all(|value| if infinite { !value.is_nan() } else { value.is_finite() }))
}

/// The number of output channels of a layer that takes a scale and a shift.
fn outputs(op: &Op) -> Option<usize> {
    match op {
        Op::Conv2d { weight, .. } | Op::Conv1d { weight, .. } | Op::Linear { weight, .. } => {
            weight.dims().first().copied()
        }
        Op::ConvTranspose2d { weight, conv, .. } => weight.dims().get(1).map(|outputs| outputs * conv.groups),
        _ => None,
    }
}

/// The layer whose output is `scale` times `op`'s plus `shift`, per channel.
fn rescaled(op: &Op, scale: Option<&Tensor>, shift: &Tensor) -> Result<Option<Op>> {
    if outputs(op).is_none_or(|outputs| shift.dims() != [outputs]) {
        return Ok(None);
    }
    // In `f64`: the products are rounded once.
    let wide = |tensor: &Tensor| tensor.to_dtype(DType::F64);
    let own = shift.dtype();
    let new_bias = |bias: &Option<Tensor>| -> Result<Option<Tensor>> {
        let scaled = match (bias, scale) {
            (Some(bias), Some(scale)) => (wide(bias)? * wide(scale)?)?,
            (Some(bias), None) => wide(bias)?,
            (None, _) => return Ok(Some(shift.clone())),
        };
        Ok(Some((scaled + wide(shift)?)?.to_dtype(own)?))
    };
    let new_weight = |weight: &Tensor, shape: Vec<usize>| -> Result<Tensor> {
        match scale {
            Some(scale) => Ok(wide(weight)?.broadcast_mul(&wide(scale)?.reshape(shape)?)?.to_dtype(own)?),
            None => Ok(weight.clone()),
        }
    };
    let per_row = |weight: &Tensor| {
        let mut shape = vec![1; weight.rank()];
        shape[0] = weight.dims()[0];
        shape
    };
    Ok(match op {
        Op::Conv2d { weight, bias, conv } => {
            Some(Op::Conv2d { weight: new_weight(weight, per_row(weight))?, bias: new_bias(bias)?, conv: *conv })
        }
        Op::Conv1d { weight, bias, conv } => {
            Some(Op::Conv1d { weight: new_weight(weight, per_row(weight))?, bias: new_bias(bias)?, conv: *conv })
        }
        Op::Linear { weight, bias } => {
            Some(Op::Linear { weight: new_weight(weight, per_row(weight))?, bias: new_bias(bias)? })
        }
        // Only without groups: there the second axis is the output's channels.
        Op::ConvTranspose2d { weight, bias, conv, output_padding } if conv.groups == 1 || scale.is_none() => {
            let shape = vec![1, weight.dims()[1], 1, 1];
            Some(Op::ConvTranspose2d {
                weight: new_weight(weight, shape)?,
                bias: new_bias(bias)?,
                conv: *conv,
                output_padding: *output_padding,
            })
        }
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;
    use faithful_core::Network;

    fn number(b: &mut GraphBuilder, value: f32) -> NodeId {
        let count = b.nodes().len();
        b.add(format!("number{count}"), Op::Constant(Tensor::new(&[value], &Device::Cpu).unwrap()), &[])
    }

    /// `x` times what `write` makes of it, in one of the ways in which exporters write activations.
    fn graph(write: impl Fn(&mut GraphBuilder, NodeId) -> NodeId) -> Graph {
        let mut b = GraphBuilder::new(&[7]);
        let input = b.input();
        let y = write(&mut b, input);
        b.finish(y).unwrap()
    }

    fn bell(b: &mut GraphBuilder, x: NodeId, divides: bool, turned: bool) -> NodeId {
        let root = number(b, if divides { 2f32.sqrt() } else { 0.5f32.sqrt() });
        let scaled = b.add("scaled", Op::Binary(if divides { Binary::Div } else { Binary::Mul }), &[x, root]);
        let erf = b.add("erf", Op::Unary(Unary::Erf), &[scaled]);
        let one = number(b, 1.0);
        b.add("bell", Op::Binary(Binary::Add), &if turned { [one, erf] } else { [erf, one] })
    }

    #[test]
    fn activations_in_pieces_become_one() {
        let mul = || Op::Binary(Binary::Mul);
        let gated = |gate: Activation| {
            move |b: &mut GraphBuilder, x: NodeId| {
                let gate = b.add("gate", Op::Activation(gate), &[x]);
                b.add("product", Op::Binary(Binary::Mul), &[gate, x])
            }
        };
        let sixth = Activation::HardSigmoid { alpha: f64::from(1f32 / 6.0), beta: 0.5 };
        let graphs = [
            (Activation::Silu, graph(gated(Activation::Sigmoid))),
            (Activation::HardSwish, graph(gated(sixth))),
            (
                Activation::Gelu,
                graph(|b, x| {
                    let bell = bell(b, x, true, false);
                    let product = b.add("product", mul(), &[x, bell]);
                    let half = number(b, 0.5);
                    b.add("halved", mul(), &[product, half])
                }),
            ),
            (
                Activation::Gelu,
                graph(|b, x| {
                    let half = number(b, 0.5);
                    let halved = b.add("halved", mul(), &[half, x]);
                    let bell = bell(b, x, false, true);
                    b.add("product", mul(), &[bell, halved])
                }),
            ),
        ];
        for (kind, graph) in graphs {
            let x = Tensor::new(&[[-9f32, -2., -0.3, 0., 0.4, 1.7, 8.]], &Device::Cpu).unwrap();
            let folded = graph.clone().folded().unwrap();
            let (expected, got) = (graph.evaluate(&x, &[]).unwrap().0, folded.evaluate(&x, &[]).unwrap().0);
            let values = |tensor: Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            for (a, b) in values(got).into_iter().zip(values(expected)) {
                assert!((a - b).abs() < 1e-6 * (1.0 + b.abs()), "{kind:?}: {a} {b}");
            }
            let found = folded.nodes().iter().filter(|node| matches!(node.op, Op::Activation(found) if found == kind));
            assert_eq!(found.count(), 1, "{kind:?}");
            assert!(folded.nodes().iter().all(|node| !matches!(node.op, Op::Binary(_) | Op::Unary(_))), "{kind:?}");
            assert!(folded.layer("product").is_ok());
        }
    }

    #[test]
    fn what_is_read_elsewhere_stays() {
        let twice = graph(|b, x| {
            let gate = b.add("gate", Op::Activation(Activation::Sigmoid), &[x]);
            let product = b.add("product", Op::Binary(Binary::Mul), &[x, gate]);
            b.add("sum", Op::Binary(Binary::Add), &[product, gate])
        });
        let other = graph(|b, x| {
            let y = b.add("y", Op::Activation(Activation::Tanh), &[x]);
            let gate = b.add("gate", Op::Activation(Activation::Sigmoid), &[x]);
            b.add("product", Op::Binary(Binary::Mul), &[y, gate])
        });
        for graph in [twice, other] {
            let folded = graph.folded().unwrap();
            assert!(folded.nodes().iter().any(|node| matches!(node.op, Op::Activation(Activation::Sigmoid))));
        }
    }
}
