//! Operations of several operands, which broadcast or are joined.

use super::view::dims;
use super::{Batching, Form, Held};
use crate::{Node, NodeId, Op};

impl Batching {
    /// An operation whose operands broadcast except for the last `own` axes.
    pub(super) fn broadcast(&mut self, node: &Node, goal: &[usize], own: usize) -> Held {
        let places: Vec<usize> = node.inputs.iter().map(|input| input.0).collect();
        let rank = places.iter().map(|&place| self.shape(place).len()).max().unwrap_or(0);
        let form = if rank > own && self.folds(&places, rank, goal) { Form::Folded } else { Form::Apart };
        let inputs = places.iter().map(|&place| self.aligned(node, place, form, rank)).collect();
        self.result(&node.name, node.op.clone(), inputs, form, goal)
    }

    /// Whether the first axis of the operands can stay folded with the batch.
    fn folds(&self, places: &[usize], rank: usize, goal: &[usize]) -> bool {
        let fits = |&place: &usize| {
            let shape = self.shape(place);
            if self.is_constant(place) {
                shape.len() < rank || shape.first() == Some(&1)
            } else {
                shape.len() == rank && shape.first() == goal.first()
            }
        };
        let folded = |&place: &usize| !self.is_constant(place) && self.either(place).0 == Form::Folded;
        places.iter().all(fits) && places.iter().any(folded)
    }

    /// An operand for an operation of `rank` axes: apart, the batch stands before all of them.
    fn aligned(&mut self, node: &Node, place: usize, form: Form, rank: usize) -> NodeId {
        let input = self.in_form(place, form);
        let missing = rank - self.shape(place).len();
        if form == Form::Folded || self.is_constant(place) || missing == 0 {
            return input;
        }
        self.with_axes(&node.name, input, missing)
    }

    /// So many axes of size 1 behind the batch.
    pub(super) fn with_axes(&mut self, name: &str, input: NodeId, count: usize) -> NodeId {
        self.between(name, "aligned", Op::Unsqueeze((1..=count).collect()), vec![input])
    }

    /// A matrix product; a vector is a matrix of one row before it, of one column behind it.
    pub(super) fn matmul(&mut self, node: &Node, goal: &[usize]) -> Held {
        let [left, right] = [node.inputs[0].0, node.inputs[1].0];
        let vector = [left, right].map(|place| !self.is_constant(place) && self.shape(place).len() == 1);
        if vector == [false, false] {
            // The rows of a left matrix are apart from each other.
            let matrix = self.is_constant(right) && self.shape(right).len() <= 2;
            if matrix && self.shape(left).len() > 1 && self.either(left).0 == Form::Folded {
                let inputs = vec![self.folded(left), self.either(right).1];
                return self.result(&node.name, Op::MatMul, inputs, Form::Folded, goal);
            }
            return self.broadcast(node, goal, 2);
        }
        let whole = |shape: &[usize]| shape.len().max(2);
        let rank = whole(self.shape(left)).max(whole(self.shape(right)));
        let mut inputs = Vec::with_capacity(2);
        for (side, place) in [left, right].into_iter().enumerate() {
            let mut input = self.apart(place);
            if vector[side] {
                input = self.between(&node.name, "matrix", Op::Unsqueeze(vec![1 + side]), vec![input]);
            }
            let missing = rank - whole(self.shape(place));
            if missing > 0 && !self.is_constant(place) {
                input = self.with_axes(&node.name, input, missing);
            }
            inputs.push(input);
        }
        let product = self.between(&node.name, "product", Op::MatMul, inputs);
        // A constant vector leaves no axis of its own behind.
        let constant_vector =
            [left, right].iter().any(|&place| self.shape(place).len() == 1 && self.is_constant(place));
        let last = if constant_vector { rank - 1 } else { rank };
        let mut axes = Vec::new();
        if vector[0] {
            axes.push(if vector[1] || !constant_vector { last - 1 } else { last });
        }
        if vector[1] {
            axes.push(last);
        }
        self.result(&node.name, Op::Squeeze(axes), vec![product], Form::Apart, goal)
    }

    /// Operands side by side along the file's `axis`; constants are repeated for every row.
    pub(super) fn concat(&mut self, node: &Node, goal: &[usize], axis: usize) -> Held {
        let places: Vec<usize> = node.inputs.iter().map(|input| input.0).collect();
        let constants = places.iter().any(|&place| self.is_constant(place));
        let folded = |&place: &usize| !self.is_constant(place) && self.either(place).0 == Form::Folded;
        let stays = axis != 0 && places.iter().any(folded) && (!constants || goal.first() == Some(&1));
        let form = if stays { Form::Folded } else { Form::Apart };
        let mut inputs = Vec::with_capacity(places.len());
        for place in places {
            let mut input = self.in_form(place, form);
            if self.is_constant(place) {
                let shape = self.shape(place).to_vec();
                if form == Form::Apart {
                    input = self.between(&node.name, "aligned", Op::Unsqueeze(vec![0]), vec![input]);
                }
                input = self.between(&node.name, "rows", Op::Expand(dims(form, &shape)), vec![input]);
            }
            inputs.push(input);
        }
        let axis = axis + usize::from(form == Form::Apart);
        self.result(&node.name, Op::Concat { axis }, inputs, form, goal)
    }
}
