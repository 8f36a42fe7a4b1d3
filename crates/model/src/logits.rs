//! Where a network ends in a softmax or a sigmoid, its logits are what comes before it.

use crate::{Graph, GraphBuilder, Node, NodeId, Op};
use candle_core::{DType, Device, Tensor};
use faithful_core::{Probabilities, Result};
use faithful_tensor::{Activation, Binary, Reduction, Unary};

impl Graph {
    /// The same network without the softmax or the sigmoid at its end, and which of them it was: its outputs `(N, K)`
    /// are logits. `None` where the network ends in neither.
    ///
    /// Explanations are of logits: where a softmax or a sigmoid is sure, its gradient vanishes. Both are found behind
    /// operations that only change the shape, before a logarithm, and where they are written as their parts
    /// (`exp(x) / sum(exp(x))`, `1 / (1 + exp(-x))`). A softmax counts where it is over all outputs of a row.
    ///
    /// # Errors
    /// None are expected; the shorter network is checked like any other.
    pub fn without_final_activation(&self) -> Result<Option<(Self, Probabilities)>> {
        let mut kept = Vec::new();
        let mut last = self.output;
        while self.changes_the_shape_only(last) {
            kept.push(last);
            last = self.node(last).inputs[0];
        }
        let Some((kind, logits)) = self.final_activation(last) else { return Ok(None) };
        let Some(&behind) = kept.last() else { return Ok(Some((self.ending_in(self.nodes.clone(), logits)?, kind))) };
        let mut nodes = self.nodes.clone();
        nodes[behind.0].inputs[0] = logits;
        Ok(Some((self.ending_in(nodes, self.output)?, kind)))
    }

    /// A network of one output `z` as one of two classes: its outputs are `-z` and `z`, whose sigmoids add up to one.
    ///
    /// # Errors
    /// [`Error::Shape`](faithful_core::Error::Shape) where the output is not `(N, 1)`.
    pub fn with_both_answers(&self) -> Result<Self> {
        let signs = Tensor::new(&[[-1f64], [1.0]], &Device::Cpu)?.to_dtype(self.dtype)?.to_device(&self.device)?;
        let mut nodes = self.nodes.clone();
        nodes.push(Node {
            name: self.free_name("both-answers"),
            op: Op::Linear { weight: signs, bias: None },
            inputs: vec![self.output],
        });
        let output = NodeId(nodes.len() - 1);
        self.ending_in(nodes, output)
    }

    /// The network of other nodes, run as this one is.
    pub(crate) fn ending_in(&self, nodes: Vec<Node>, output: NodeId) -> Result<Self> {
        let graph = GraphBuilder::from_nodes(nodes, self.input_shape.clone()).finish(output)?;
        Ok(Self { rule: self.rule, of_bytes: self.of_bytes, factors: self.factors, ..graph })
    }

    /// `name`, or with something behind it where a node is called so.
    pub(crate) fn free_name(&self, name: &str) -> String {
        let mut free = name.to_owned();
        while self.nodes.iter().any(|node| node.name == free) {
            free.push('\'');
        }
        free
    }

    /// Whether a node gives its operand's numbers in their order.
    pub(crate) fn changes_the_shape_only(&self, id: NodeId) -> bool {
        match &self.node(id).op {
            Op::Identity | Op::Flatten { .. } | Op::Reshape(_) | Op::Squeeze(_) | Op::Unsqueeze(_) => true,
            Op::Transpose(order) => {
                let from = &self.layers[self.node(id).inputs[0].0].shape;
                // Axes of size 1 may move; the batch stays first.
                let long: Vec<usize> =
                    order.iter().copied().filter(|&axis| axis == 0 || from.get(axis - 1) != Some(&1)).collect();
                long.is_sorted() && order.first() == Some(&0)
            }
            _ => false,
        }
    }

    /// The softmax or sigmoid that `id` computes, and the node of its logits.
    pub(crate) fn final_activation(&self, id: NodeId) -> Option<(Probabilities, NodeId)> {
        let node = self.node(id);
        let first = *node.inputs.first()?;
        match &node.op {
            Op::Softmax { axis, .. } if self.is_all_of_a_row(id, *axis) => Some((Probabilities::Softmax, first)),
            Op::Activation(Activation::Sigmoid) => Some((Probabilities::Sigmoid, first)),
            Op::Unary(Unary::Log) => self.final_activation(first),
            Op::Unary(Unary::Reciprocal) => Some((Probabilities::Sigmoid, self.one_and_exp_of_minus(first)?)),
            Op::Binary(Binary::Div) => {
                let second = *node.inputs.get(1)?;
                if self.is_one(first) {
                    return Some((Probabilities::Sigmoid, self.one_and_exp_of_minus(second)?));
                }
                Some((Probabilities::Softmax, self.shares(id, first, second)?))
            }
            _ => None,
        }
    }

    /// Whether an axis holds all of the numbers that a row of a node has.
    fn is_all_of_a_row(&self, id: NodeId, axis: usize) -> bool {
        let shape = &self.layers[id.0].shape;
        axis >= 1 && shape.get(axis - 1) == Some(&shape.iter().product::<usize>())
    }

    /// `x` where `below` is `1 + exp(-x)`.
    fn one_and_exp_of_minus(&self, below: NodeId) -> Option<NodeId> {
        let sum = self.node(below);
        let &[a, b] = sum.inputs.as_slice() else { return None };
        let power = if self.is_one(a) { b } else { a };
        let other = if power == b { a } else { b };
        if !(matches!(sum.op, Op::Binary(Binary::Add)) && self.is_one(other)) {
            return None;
        }
        let minus = self.operand_of(power, &|op| matches!(op, Op::Unary(Unary::Exp)))?;
        self.operand_of(minus, &|op| matches!(op, Op::Unary(Unary::Neg)))
    }

    /// `x` where `above` is `exp(x)` or `exp(x - max(x))`, and `below` the sum of `above` over all of a row.
    fn shares(&self, whole: NodeId, above: NodeId, below: NodeId) -> Option<NodeId> {
        let Op::Reduce { axes, keep: true, reduction: Reduction::Sum } = &self.node(below).op else { return None };
        let &[axis] = axes.as_slice() else { return None };
        if self.node(below).inputs[0] != above || !self.is_all_of_a_row(whole, axis) {
            return None;
        }
        let exponent = self.operand_of(above, &|op| matches!(op, Op::Unary(Unary::Exp)))?;
        if let (Op::Binary(Binary::Sub), &[x, highest]) = (&self.node(exponent).op, &*self.node(exponent).inputs)
            && let Op::Reduce { reduction: Reduction::Max, .. } = self.node(highest).op
            && self.node(highest).inputs[0] == x
        {
            return Some(x);
        }
        Some(exponent)
    }

    fn operand_of(&self, id: NodeId, is: &dyn Fn(&Op) -> bool) -> Option<NodeId> {
        let node = self.node(id);
        if is(&node.op) { node.inputs.first().copied() } else { None }
    }

    fn is_one(&self, id: NodeId) -> bool {
        let Op::Constant(tensor) = &self.node(id).op else { return false };
        let values = || tensor.flatten_all()?.to_dtype(DType::F64)?.to_vec1::<f64>();
        tensor.elem_count() <= 1 << 20 && values().is_ok_and(|values| values.iter().all(|value| *value == 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Dim;
    use faithful_core::{LayerId, Network};

    fn linear(rows: &[[f32; 2]]) -> Op {
        let values: Vec<f32> = rows.iter().flatten().copied().collect();
        Op::Linear { weight: Tensor::from_vec(values, (rows.len(), 2), &Device::Cpu).unwrap(), bias: None }
    }

    /// A network whose logits are 3, -2 and 2 for the input 3, -1, with what `end` puts behind them.
    fn graph(end: &dyn Fn(&mut GraphBuilder, NodeId) -> NodeId) -> Graph {
        let mut builder = GraphBuilder::new(&[2]);
        let logits = builder.add("logits", linear(&[[1.0, 0.0], [0.0, 2.0], [1.0, 1.0]]), &[builder.input()]);
        let last = end(&mut builder, logits);
        builder.finish(last).unwrap()
    }

    fn outputs(graph: &Graph) -> Vec<f32> {
        let input = Tensor::new(&[[3f32, -1.0]], &Device::Cpu).unwrap();
        graph.evaluate(&input, &[]).unwrap().0.to_vec2().unwrap().remove(0)
    }

    fn one(builder: &mut GraphBuilder) -> NodeId {
        let one = Op::Constant(Tensor::new(&[1f32], &Device::Cpu).unwrap());
        builder.add("one", one, &[])
    }

    #[test]
    fn logits_come_out_behind_whatever_changes_the_shape() {
        type End = Box<dyn Fn(&mut GraphBuilder, NodeId) -> NodeId>;
        let softmax = |axis| Op::Softmax { axis, log: false };
        let ends: Vec<(Probabilities, End)> = vec![
            (
                Probabilities::Softmax,
                Box::new(move |b, x| {
                    let x = b.add("p", softmax(1), &[x]);
                    b.add("last", Op::Identity, &[x])
                }),
            ),
            (Probabilities::Softmax, Box::new(|b, x| b.add("p", Op::Softmax { axis: 1, log: true }, &[x]))),
            (
                Probabilities::Softmax,
                Box::new(move |b, x| {
                    let x = b.add("p", softmax(1), &[x]);
                    b.add("log", Op::Unary(Unary::Log), &[x])
                }),
            ),
            (
                Probabilities::Softmax,
                Box::new(move |b, x| {
                    let x = b.add("wide", Op::Unsqueeze(vec![2, 3]), &[x]);
                    let x = b.add("p", softmax(1), &[x]);
                    b.add("last", Op::Flatten { axis: 1 }, &[x])
                }),
            ),
            (
                Probabilities::Softmax,
                Box::new(move |b, x| {
                    let x = b.add("wide", Op::Unsqueeze(vec![1, 2]), &[x]);
                    let x = b.add("p", softmax(3), &[x]);
                    let x = b.add("turned", Op::Transpose(vec![0, 3, 1, 2]), &[x]);
                    b.add("last", Op::Reshape(vec![Dim::Batch, Dim::Rest]), &[x])
                }),
            ),
            (
                Probabilities::Softmax,
                Box::new(|b, x| {
                    let reduce = |reduction| Op::Reduce { axes: vec![1], keep: true, reduction };
                    let highest = b.add("max", reduce(Reduction::Max), &[x]);
                    let x = b.add("sub", Op::Binary(Binary::Sub), &[x, highest]);
                    let x = b.add("exp", Op::Unary(Unary::Exp), &[x]);
                    let sum = b.add("sum", reduce(Reduction::Sum), &[x]);
                    b.add("div", Op::Binary(Binary::Div), &[x, sum])
                }),
            ),
            (Probabilities::Sigmoid, Box::new(|b, x| b.add("p", Op::Activation(Activation::Sigmoid), &[x]))),
            (
                Probabilities::Sigmoid,
                Box::new(|b, x| {
                    let x = b.add("neg", Op::Unary(Unary::Neg), &[x]);
                    let x = b.add("exp", Op::Unary(Unary::Exp), &[x]);
                    let one = one(b);
                    let x = b.add("add", Op::Binary(Binary::Add), &[x, one]);
                    b.add("div", Op::Binary(Binary::Div), &[one, x])
                }),
            ),
            (
                Probabilities::Sigmoid,
                Box::new(|b, x| {
                    let x = b.add("neg", Op::Unary(Unary::Neg), &[x]);
                    let x = b.add("exp", Op::Unary(Unary::Exp), &[x]);
                    let one = one(b);
                    let x = b.add("add", Op::Binary(Binary::Add), &[one, x]);
                    let x = b.add("inverse", Op::Unary(Unary::Reciprocal), &[x]);
                    b.add("last", Op::Squeeze(vec![]), &[x])
                }),
            ),
        ];
        for (number, (wanted, end)) in ends.iter().enumerate() {
            let graph = graph(end);
            let (shorter, kind) = graph.without_final_activation().unwrap().unwrap_or_else(|| panic!("end {number}"));
            assert_eq!(kind, *wanted, "end {number}");
            assert_eq!(shorter.layer("logits").unwrap(), LayerId(1));
            assert_eq!(outputs(&shorter), [3.0, -2.0, 2.0], "end {number}");
            assert!(shorter.without_final_activation().unwrap().is_none(), "end {number}");
        }
    }

    #[test]
    fn what_is_no_probability_of_a_row_stays() {
        // Half of the outputs each: not one distribution.
        let two = graph(&|b, x| {
            let x = b.add(
                "four",
                Op::Pad { pads: vec![[0, 0], [0, 1]], mode: faithful_tensor::PadMode::Constant(0.0) },
                &[x],
            );
            let x = b.add("halves", Op::Reshape(vec![Dim::Batch, Dim::Fixed(2), Dim::Fixed(2)]), &[x]);
            let x = b.add("p", Op::Softmax { axis: 2, log: false }, &[x]);
            b.add("last", Op::Flatten { axis: 1 }, &[x])
        });
        assert!(two.without_final_activation().unwrap().is_none());
        let relu = graph(&|b, x| b.add("relu", Op::Activation(Activation::Relu), &[x]));
        assert!(relu.without_final_activation().unwrap().is_none());
    }

    #[test]
    fn one_output_answers_both_ways() {
        let mut builder = GraphBuilder::new(&[2]);
        let last = builder.add("both-answers", linear(&[[1.0, 0.5]]), &[builder.input()]);
        let both = builder.finish(last).unwrap().with_both_answers().unwrap();
        assert_eq!(outputs(&both), [-2.5, 2.5]);
        assert!(graph(&|_, x| x).with_both_answers().is_err());
    }
}
