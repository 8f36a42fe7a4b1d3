//! Operations that give the same elements another shape.

use super::{Batching, Form, Held};
use crate::{Dim, Node, Op};

impl Batching {
    /// A reshape of any kind to the file's shape `goal`.
    pub(super) fn view(&mut self, node: &Node, goal: &[usize]) -> Held {
        let x = node.inputs[0].0;
        let (form, input) = self.either(x);
        let shape = self.shape(x).to_vec();
        let after = match goal {
            [1, ..] => Form::Folded,
            // One axis alone is rarely rows.
            [] | [_] => Form::Apart,
            _ => form,
        };
        let (from, to) = (dims(form, &shape), dims(after, goal));
        let op = if from == to {
            Op::Identity
        } else if let Some(axes) = inserted(&from, &to) {
            Op::Unsqueeze(axes)
        } else if let Some(axes) = inserted(&to, &from) {
            Op::Squeeze(axes)
        } else if to.len() == 2 && from[0] == Dim::Batch && to[0] == Dim::Batch {
            Op::Flatten { axis: 1 }
        } else {
            match &node.op {
                // Free and copied sizes stay what they are, so that other input sizes work.
                Op::Reshape(own) if own.len() == to.len() && form == after && shape.first() == goal.first() => {
                    Op::Reshape(std::iter::once(to[0]).chain(own[1..].iter().copied()).collect())
                }
                _ => Op::Reshape(to),
            }
        };
        self.result(&node.name, op, vec![input], after, goal)
    }

    /// A broadcast to the file's shape `goal`.
    pub(super) fn expand(&mut self, node: &Node, goal: &[usize]) -> Held {
        let x = node.inputs[0].0;
        let shape = self.shape(x).to_vec();
        let form = match self.either(x).0 {
            Form::Folded if shape.len() == goal.len() && shape[0] == goal[0] => Form::Folded,
            _ => Form::Apart,
        };
        let mut input = self.in_form(x, form);
        if form == Form::Apart && shape.len() < goal.len() {
            input = self.with_axes(&node.name, input, goal.len() - shape.len());
        }
        self.result(&node.name, Op::Expand(dims(form, goal)), vec![input], form, goal)
    }
}

/// The axes of a value in terms of the batch.
pub(super) fn dims(form: Form, shape: &[usize]) -> Vec<Dim> {
    let fixed = |sizes: &[usize]| sizes.iter().map(|&size| Dim::Fixed(size)).collect::<Vec<_>>();
    match (form, shape) {
        (Form::Folded, [1, own @ ..]) => [vec![Dim::Batch], fixed(own)].concat(),
        (Form::Folded, [rows, own @ ..]) => [vec![Dim::Times(*rows)], fixed(own)].concat(),
        (_, own) => [vec![Dim::Batch], fixed(own)].concat(),
    }
}

/// Where axes of size 1 must be put into `from` to make it `to`; none where that is not the difference.
fn inserted(from: &[Dim], to: &[Dim]) -> Option<Vec<usize>> {
    let mut rest = from.iter().peekable();
    let mut axes = Vec::new();
    for (place, dim) in to.iter().enumerate() {
        if rest.peek() == Some(&dim) {
            rest.next();
        } else if *dim == Dim::Fixed(1) {
            axes.push(place);
        } else {
            return None;
        }
    }
    rest.next().is_none().then_some(axes)
}
