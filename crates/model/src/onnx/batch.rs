//! Puts the batch before a network that was read as its file writes it, for one input.
//!
//! A file may name the batch by number anywhere: in a reshape, an index, a size. Read for one input, all of this is
//! constant and right. Every value is then a function of that one input, and gets the batch as a further axis here;
//! each operation works along the same axes as before, so that rows cannot mix.
//!
//! Where the first axis of a value is 1, the batch takes its place: `(1, C, H, W)` becomes `(N, C, H, W)`, and layers
//! look as they do everywhere else.

mod broadcasting;
mod view;

use crate::{Dim, Node, NodeId, Op};
use faithful_core::{Error, Result};
use std::collections::HashSet;

/// What the first axis of the file's input is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lead {
    /// The batch, of that size.
    Batch(usize),
    /// One of the input's own: the file has no batch.
    Own,
}

/// How a value of the file's shape `(S0, S1, …)` holds the batch.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// `(N * S0, S1, …)`; always where `S0` is 1.
    Folded,
    /// `(N, S0, S1, …)`.
    Apart,
}

/// What has become of one of the file's values.
enum Held {
    Constant { node: NodeId, shape: Vec<usize> },
    Batched { folded: Option<NodeId>, apart: Option<NodeId>, shape: Vec<usize> },
}

/// The network of `nodes`, whose shapes in the file are `shapes`, for any batch; and the node that gives the rows
/// `(N, K)` of `output`, which the file calls `name`.
///
/// Where the file fixes a batch of several, each input fills all of its rows, and the first is the result.
pub(super) fn put_before(
    nodes: &[Node],
    shapes: &[&[usize]],
    lead: Lead,
    output: NodeId,
    name: &str,
) -> Result<(Vec<Node>, NodeId)> {
    let names = nodes.iter().map(|node| node.name.clone()).collect();
    let mut batching = Batching { nodes: Vec::with_capacity(nodes.len()), names, held: Vec::new() };
    for (node, shape) in nodes.iter().zip(shapes) {
        let held = match node.op {
            Op::Input => batching.input(&node.name, shape, lead),
            _ => batching.operation(node, shape),
        };
        batching.held.push(held);
    }
    let shape = shapes[output.0];
    let (last, rank) = match lead {
        Lead::Batch(rows @ 2..) => {
            if shape.first() != Some(&rows) {
                let reason = format!("its first axis is not the batch, which the file fixes at {rows}");
                return Err(Error::format(format!("output `{name}`"), reason));
            }
            let first = Op::Slice { axis: 1, start: 0, end: Some(1), step: 1 };
            let rows = batching.apart(output.0);
            let first = batching.between(name, "first-row", first, vec![rows]);
            (batching.between(name, "row", Op::Squeeze(vec![1]), vec![first]), shape.len())
        }
        _ if shape.first() == Some(&1) => (batching.folded(output.0), shape.len()),
        _ => (batching.apart(output.0), shape.len() + 1),
    };
    let last = match super::rows(rank) {
        Some(op) => batching.between(name, "rows", op, vec![last]),
        None => last,
    };
    Ok((batching.nodes, last))
}

struct Batching {
    nodes: Vec<Node>,
    names: HashSet<String>,
    held: Vec<Held>,
}

impl Batching {
    fn add(&mut self, name: &str, op: Op, inputs: Vec<NodeId>) -> NodeId {
        self.nodes.push(Node { name: name.to_owned(), op, inputs });
        NodeId(self.nodes.len() - 1)
    }

    /// A node that the file does not have, called after `base`.
    fn between(&mut self, base: &str, what: &str, op: Op, inputs: Vec<NodeId>) -> NodeId {
        let mut name = format!("{base}/{what}");
        for number in 1.. {
            if self.names.insert(name.clone()) {
                break;
            }
            name = format!("{base}/{what}_{number}");
        }
        self.add(&name, op, inputs)
    }

    /// Such a node, called after the value `of` of the file.
    fn helper(&mut self, of: usize, what: &str, op: Op, inputs: Vec<NodeId>) -> NodeId {
        let base = self.nodes[self.either(of).1.0].name.clone();
        self.between(&base, what, op, inputs)
    }

    fn input(&mut self, name: &str, shape: &[usize], lead: Lead) -> Held {
        let input = self.add(name, Op::Input, Vec::new());
        let shape = shape.to_vec();
        match lead {
            Lead::Batch(1) => Held::Batched { folded: Some(input), apart: None, shape },
            Lead::Own => Held::Batched { folded: None, apart: Some(input), shape },
            Lead::Batch(copies) => {
                let one = self.between(name, "one", Op::Unsqueeze(vec![1]), vec![input]);
                let own = (2..=shape.len()).map(Dim::Same);
                let goal = Op::Expand([Dim::Batch, Dim::Fixed(copies)].into_iter().chain(own).collect());
                let apart = self.between(name, "copies", goal, vec![one]);
                Held::Batched { folded: None, apart: Some(apart), shape }
            }
        }
    }

    fn shape(&self, place: usize) -> &[usize] {
        match &self.held[place] {
            Held::Constant { shape, .. } | Held::Batched { shape, .. } => shape,
        }
    }

    fn is_constant(&self, place: usize) -> bool {
        matches!(self.held[place], Held::Constant { .. })
    }

    /// The file's value `place` in a form that it has.
    fn either(&self, place: usize) -> (Form, NodeId) {
        match self.held[place] {
            Held::Batched { folded: Some(node), .. } => (Form::Folded, node),
            Held::Constant { node, .. } | Held::Batched { apart: Some(node), .. } => (Form::Apart, node),
            Held::Batched { .. } => unreachable!("a value has a form"),
        }
    }

    fn in_form(&mut self, place: usize, form: Form) -> NodeId {
        match form {
            Form::Folded => self.folded(place),
            Form::Apart => self.apart(place),
        }
    }

    /// The value `place` of the file as `(N * S0, S1, …)`.
    fn folded(&mut self, place: usize) -> NodeId {
        let (form, node) = self.either(place);
        if form == Form::Folded || self.is_constant(place) {
            return node;
        }
        let shape = self.shape(place).to_vec();
        let op = match shape.first() {
            Some(1) => Op::Squeeze(vec![1]),
            first => {
                let rows = Dim::Times(first.copied().unwrap_or(1));
                Op::Reshape(std::iter::once(rows).chain((2..=shape.len()).map(Dim::Same)).collect())
            }
        };
        let node = self.helper(place, "folded", op, vec![node]);
        if let Held::Batched { folded, .. } = &mut self.held[place] {
            *folded = Some(node);
        }
        node
    }

    /// The value `place` of the file as `(N, S0, S1, …)`.
    fn apart(&mut self, place: usize) -> NodeId {
        let node = match self.held[place] {
            Held::Batched { apart: Some(node), .. } | Held::Constant { node, .. } => return node,
            Held::Batched { .. } => self.either(place).1,
        };
        let shape = self.shape(place).to_vec();
        let op = match shape.first() {
            Some(1) => Op::Unsqueeze(vec![1]),
            first => {
                let own = [Dim::Batch, Dim::Fixed(first.copied().unwrap_or(1))];
                Op::Reshape(own.into_iter().chain((1..shape.len()).map(Dim::Same)).collect())
            }
        };
        let node = self.helper(place, "apart", op, vec![node]);
        if let Held::Batched { apart, .. } = &mut self.held[place] {
            *apart = Some(node);
        }
        node
    }

    /// Appends what gives the file's `node`, of the file's shape `goal`.
    fn operation(&mut self, node: &Node, goal: &[usize]) -> Held {
        let places: Vec<usize> = node.inputs.iter().map(|input| input.0).collect();
        if places.iter().all(|&place| self.is_constant(place)) {
            let inputs = places.iter().map(|&place| self.either(place).1).collect();
            return Held::Constant { node: self.add(&node.name, node.op.clone(), inputs), shape: goal.to_vec() };
        }
        let x = places[0];
        let rank = self.shape(x).len();
        match &node.op {
            Op::Activation(_) | Op::Unary(_) | Op::Identity | Op::Input | Op::Constant(_) => {
                self.along(node, goal, &[], |_| node.op.clone())
            }
            Op::Linear { .. } => self.along(node, goal, &[rank.saturating_sub(1)], |_| node.op.clone()),
            Op::Softmax { axis, log } => {
                self.along(node, goal, &[*axis], |moved| Op::Softmax { axis: axis + moved, log: *log })
            }
            Op::LayerNorm { axis, weight, bias, epsilon } => self.along(node, goal, &[*axis], |moved| Op::LayerNorm {
                axis: axis + moved,
                weight: weight.clone(),
                bias: bias.clone(),
                epsilon: *epsilon,
            }),
            Op::Slice { axis, start, end, step } => self.along(node, goal, &[*axis], |moved| Op::Slice {
                axis: axis + moved,
                start: *start,
                end: *end,
                step: *step,
            }),
            Op::Gather { index, axis } if is_whole(index, self.shape(x).get(*axis)) => {
                self.along(node, goal, &[], |_| Op::Identity)
            }
            Op::Gather { axis, index } => {
                self.along(node, goal, &[*axis], |moved| Op::Gather { axis: axis + moved, index: index.clone() })
            }
            Op::Reduce { axes, keep, reduction } => {
                let axes = if axes.is_empty() { (0..rank).collect() } else { axes.clone() };
                self.along(node, goal, &axes, |moved| Op::Reduce {
                    axes: axes.iter().map(|axis| axis + moved).collect(),
                    keep: *keep,
                    reduction: *reduction,
                })
            }
            Op::Pad { pads, mode } => {
                let padded: Vec<usize> = (0..pads.len()).filter(|&axis| pads[axis] != [0, 0]).collect();
                self.along(node, goal, &padded, |moved| Op::Pad {
                    pads: std::iter::repeat_n([0, 0], moved).chain(pads.iter().copied()).collect(),
                    mode: *mode,
                })
            }
            Op::Transpose(order) => {
                let touched: &[usize] = if order.first() == Some(&0) { &[] } else { &[0] };
                self.along(node, goal, touched, |moved| {
                    Op::Transpose((0..moved).chain(order.iter().map(|axis| axis + moved)).collect())
                })
            }
            Op::Reshape(_) | Op::Flatten { .. } | Op::Squeeze(_) | Op::Unsqueeze(_) => self.view(node, goal),
            Op::Expand(_) => self.expand(node, goal),
            Op::Concat { axis } => self.concat(node, goal, *axis),
            Op::Binary(_) => self.broadcast(node, goal, 0),
            Op::Composed(own) if own.is_elementwise() => self.broadcast(node, goal, 0),
            Op::MatMul => self.matmul(node, goal),
            // Their first axis is the batch by their definition.
            Op::Conv2d { .. }
            | Op::Conv1d { .. }
            | Op::ConvTranspose2d { .. }
            | Op::BatchNorm { .. }
            | Op::GroupNorm { .. }
            | Op::MaxPool2d(_)
            | Op::AvgPool2d(_)
            | Op::AdaptiveAvgPool2d(_)
            | Op::AdaptiveMaxPool2d(_)
            | Op::Lstm { .. }
            | Op::Gru { .. }
            | Op::Resize { .. } => {
                let rows = self.folded(x);
                self.result(&node.name, node.op.clone(), vec![rows], Form::Folded, goal)
            }
            Op::Composed(_) => {
                let rows = places.iter().map(|&place| self.folded(place)).collect();
                self.result(&node.name, node.op.clone(), rows, Form::Folded, goal)
            }
        }
    }

    /// An operation of one operand that works along `axes` of it; `op` gets by how many places they have moved.
    fn along(&mut self, node: &Node, goal: &[usize], axes: &[usize], op: impl Fn(usize) -> Op) -> Held {
        let x = node.inputs[0].0;
        let form = if axes.contains(&0) { Form::Apart } else { self.either(x).0 };
        let input = self.in_form(x, form);
        self.result(&node.name, op(usize::from(form == Form::Apart)), vec![input], form, goal)
    }

    /// Appends a node of the file; what has a first axis of 1 leaves it to the batch.
    fn result(&mut self, name: &str, op: Op, inputs: Vec<NodeId>, form: Form, goal: &[usize]) -> Held {
        let shape = goal.to_vec();
        match form {
            Form::Folded => Held::Batched { folded: Some(self.add(name, op, inputs)), apart: None, shape },
            Form::Apart if goal.first() == Some(&1) => {
                let apart = self.between(name, "apart", op, inputs);
                let folded = self.add(name, Op::Squeeze(vec![1]), vec![apart]);
                Held::Batched { folded: Some(folded), apart: Some(apart), shape }
            }
            Form::Apart => Held::Batched { folded: None, apart: Some(self.add(name, op, inputs)), shape },
        }
    }
}

/// Whether an index names every place of an axis once, in order.
fn is_whole(index: &[usize], size: Option<&usize>) -> bool {
    size == Some(&index.len()) && index.iter().enumerate().all(|(place, &index)| place == index)
}
