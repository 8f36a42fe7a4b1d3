//! Attention in a graph: products of queries and keys, their softmax and the weighted values become one step.
//!
//! Importers leave many nodes between the linear layers and these: heads that are taken apart and turned, factors, biases, masks. All
//! that only move values are looked through.

use super::compile::{Forward, RecordKind, Value};
use super::kernel::numbers;
use super::memory::{Memory, Order, Slot};
use super::step::{Epilogue, Work};
use super::view::View;
use crate::Op;
use candle_core::Tensor;
use faithful_core::Result;
use faithful_kernel::{Attention, Operand, Strided};
use faithful_tensor::Binary;
use std::sync::Arc;

/// An attention's nodes.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    /// Queries, keys (turned: features, then keys) and values.
    operands: [Trace; 3],
    /// Factors of the scores.
    factors: Vec<Factor>,
    /// What is added to the scores, and the dimensions that they have there.
    biases: Vec<(usize, Vec<usize>)>,
    /// The product with the values, and the nodes behind it that only move its values.
    result: Vec<usize>,
}

/// A constant that a value is multiplied with, or divided by.
#[derive(Clone, Copy, Debug)]
struct Factor {
    constant: usize,
    divides: bool,
}

/// An operand, from the node on that is computed.
#[derive(Clone, Debug, Default)]
struct Trace {
    root: usize,
    /// The nodes behind it, each of which moves the values of the one before.
    moves: Vec<usize>,
    factors: Vec<Factor>,
}

/// What an attention's step knows besides its slots.
#[derive(Clone, Debug)]
pub(super) struct AttentionPlan {
    /// The places of queries, keys and values in their slots, heads outermost.
    pub(super) operands: [Strided; 3],
    pub(super) scale: f32,
    pub(super) biases: Vec<(Arc<[f32]>, Strided)>,
    pub(super) out: Strided,
}

impl AttentionPlan {
    /// Lends the attention over the operands in memory.
    pub(super) fn with<R>(&self, memory: &Memory, inputs: &[Slot; 3], work: impl FnOnce(&Attention) -> R) -> R {
        let [queries, keys, values] =
            [0, 1, 2].map(|i| Operand { data: memory.read(&inputs[i]), places: &self.operands[i] });
        let biases: Vec<Operand> = self.biases.iter().map(|(data, places)| Operand { data, places }).collect();
        work(&Attention { queries, keys, values, scale: self.scale, biases: &biases })
    }
}

/// How an attention's operands lie, for the way back.
#[derive(Clone, Debug)]
pub(super) struct AttentionRecord {
    pub(super) plan: Arc<AttentionPlan>,
    /// The nodes that hold queries, keys and values.
    pub(super) roots: [usize; 3],
    moves: [Vec<usize>; 3],
}

impl AttentionRecord {
    /// Where queries (0), keys (1) or values (2) lie in a slot like that of their node.
    pub(super) fn places(&self, forward: &Forward, operand: usize, slot: &Slot) -> Option<Strided> {
        forward.places(slot, self.roots[operand], &self.moves[operand], operand == 1)
    }
}

impl Pattern {
    /// The node whose value the step computes.
    pub(super) fn end(&self) -> usize {
        *self.result.last().unwrap_or_else(|| unreachable!("it begins with the product"))
    }

    /// The nodes that it reads.
    pub(super) fn inputs(&self) -> Vec<usize> {
        let constants = self.operands.iter().flat_map(|trace| &trace.factors).chain(&self.factors);
        let roots = self.operands.iter().map(|trace| trace.root);
        roots.chain(constants.map(|factor| factor.constant)).chain(self.biases.iter().map(|bias| bias.0)).collect()
    }
}

impl Forward<'_> {
    /// The attention whose product with the values is the node `index`.
    pub(super) fn attention_at(&self, index: usize) -> Option<Pattern> {
        let (weights, values) = self.product(index)?;
        let softmax = self.through(weights, &|op| matches!(op, Op::Identity | Op::Reshape(_)));
        let Op::Softmax { axis, log: false } = self.graph.nodes[softmax].op else { return None };
        let heads_stay =
            |a: usize, b: usize| self.dims[a][self.dims[a].len() - 2..] == self.dims[b][self.dims[b].len() - 2..];
        if axis + 1 != self.dims[softmax].len() || axis < 1 || self.pins(softmax) || !heads_stay(weights, softmax) {
            return None;
        }
        let (mut factors, mut biases) = (Vec::new(), Vec::new());
        let mut at = self.graph.nodes[softmax].inputs[0].0;
        let (queries, keys) = loop {
            if self.pins(at) || !heads_stay(at, softmax) || self.dims[at].len() < 2 {
                return None;
            }
            let node = &self.graph.nodes[at];
            match &node.op {
                Op::MatMul => break self.product(at)?,
                Op::Identity | Op::Reshape(_) => at = node.inputs[0].0,
                // It would be multiplied by the factors behind it.
                Op::Binary(Binary::Add) if factors.is_empty() => {
                    let (score, bias) = self.with_constant(at)?;
                    places_of(&self.dims[bias], &self.dims[at])?;
                    biases.push((bias, self.dims[at].clone()));
                    at = score;
                }
                _ => {
                    let (score, factor) = self.factor(at)?;
                    factors.push(factor);
                    at = score;
                }
            }
        };
        let operands = [self.trace(queries, true)?, self.trace(keys, true)?, self.trace(values, false)?];
        let result = self.moved_result(index);
        Some(Pattern { operands, factors, biases, result })
    }

    /// The operands of a product of matrices of as many heads.
    fn product(&self, index: usize) -> Option<(usize, usize)> {
        let node = &self.graph.nodes[index];
        let Op::MatMul = node.op else { return None };
        let [a, b] = [0, 1].map(|operand| node.inputs[operand].0);
        let heads = |node: usize| self.dims[node].len().checked_sub(2).map(|rank| &self.dims[node][..rank]);
        let all = self.dims[index].iter().all(|&size| size > 0);
        (heads(a).is_some() && heads(a) == heads(b) && self.depends[a] && self.depends[b] && all).then_some((a, b))
    }

    /// Whether a node must have a value of its own.
    fn pins(&self, node: usize) -> bool {
        self.is_pinned(node) || node == self.request.given || !self.depends[node]
    }

    /// The node behind which all are of such operations and have one user.
    fn through(&self, mut node: usize, passes: &dyn Fn(&Op) -> bool) -> usize {
        while passes(&self.graph.nodes[node].op) && !self.pins(node) {
            node = self.graph.nodes[node].inputs[0].0;
        }
        node
    }

    /// The operand that depends on what is given, and the other one.
    fn with_constant(&self, index: usize) -> Option<(usize, usize)> {
        let [a, b] = [0, 1].map(|operand| self.graph.nodes[index].inputs[operand].0);
        let [value, constant] = match (self.depends[a], self.depends[b]) {
            (true, false) => [a, b],
            (false, true) => [b, a],
            _ => return None,
        };
        (self.dims[value] == self.dims[index]).then_some((value, constant))
    }

    /// What is multiplied with a number, and the number.
    fn factor(&self, index: usize) -> Option<(usize, Factor)> {
        let divides = match self.graph.nodes[index].op {
            Op::Binary(Binary::Mul) => false,
            Op::Binary(Binary::Div) => true,
            _ => return None,
        };
        let (value, constant) = self.with_constant(index)?;
        let is_number = self.dims[constant].iter().product::<usize>() == 1;
        let is_divided = !divides || self.graph.nodes[index].inputs[0].0 == value;
        (is_number && is_divided).then_some((value, Factor { constant, divides }))
    }

    fn trace(&self, node: usize, factors_too: bool) -> Option<Trace> {
        let mut trace = Trace { root: node, ..Trace::default() };
        while !self.pins(trace.root) {
            let op = &self.graph.nodes[trace.root].op;
            if op.moves_values() && !matches!(op, Op::Expand(_)) {
                trace.moves.push(trace.root);
                trace.root = self.graph.nodes[trace.root].inputs[0].0;
            } else if let Some((value, factor)) = self.factor(trace.root).filter(|_| factors_too) {
                trace.factors.push(factor);
                trace.root = value;
            } else {
                break;
            }
        }
        trace.moves.reverse();
        // Looked through as far as the places can be said.
        loop {
            let dims = &self.dims[trace.root];
            if dims.is_empty() {
                return None;
            }
            if self.looked_at(View::plain(dims), &trace.moves).is_some_and(|view| view.matrices().is_some()) {
                return Some(trace);
            }
            if trace.moves.is_empty() || !trace.factors.is_empty() {
                return None;
            }
            trace.root = trace.moves.remove(0);
        }
    }

    /// What nodes that move values make of a view.
    fn looked_at(&self, view: View, moves: &[usize]) -> Option<View> {
        moves.iter().try_fold(view, |view, &node| view.moved(&self.graph.nodes[node].op, &self.dims[node]))
    }

    /// Where the matrices lie that nodes make of a node's slot, turned where asked.
    fn places(&self, slot: &Slot, root: usize, moves: &[usize], turned: bool) -> Option<Strided> {
        let view = self.looked_at(View::of(slot, &self.dims[root])?, moves)?;
        let mut places = view.matrices()?;
        if turned {
            let last = places.axes.len() - 1;
            places.axes.swap(last - 1, last);
        }
        Some(places)
    }

    /// The product, and as many of the nodes behind it as can be written at once.
    fn moved_result(&self, product: usize) -> Vec<usize> {
        let (mut chain, mut found) = (vec![product], 1);
        while let [next] = self.users[chain[chain.len() - 1]][..] {
            let op = &self.graph.nodes[next].op;
            let rearranges = op.moves_values() && !matches!(op, Op::Expand(_) | Op::Slice { .. } | Op::Gather { .. });
            if self.pins(chain[chain.len() - 1]) || !rearranges {
                break;
            }
            chain.push(next);
            if self.result_places(&chain).is_some() && self.order(next) == Order::Own {
                found = chain.len();
            }
        }
        chain.truncate(found);
        chain
    }

    /// Where the product's elements lie in the value of the last of these nodes.
    fn result_places(&self, result: &[usize]) -> Option<Strided> {
        let dims = &self.dims[result[0]];
        let places = self.looked_at(View::plain(dims), &result[1..])?.inverse(dims)?.matrices()?;
        matches!(places.axes.last(), Some([1, _] | [_, 1])).then_some(places)
    }

    /// One step for an attention; says whether its operands lie so that there is one.
    pub(super) fn attention(&mut self, pattern: &Pattern) -> Result<bool> {
        let number = |factor: &Factor| -> Result<f64> {
            let value = f64::from(numbers(self.constant(factor.constant))?[0]);
            Ok(if factor.divides { value.recip() } else { value })
        };
        let factors = pattern.operands.iter().flat_map(|trace| &trace.factors).chain(&pattern.factors);
        let scale = factors.map(number).product::<Result<f64>>()? as f32;
        let roots = [0, 1, 2].map(|operand| pattern.operands[operand].root);
        let moves = [0, 1, 2].map(|operand| pattern.operands[operand].moves.clone());
        let slots = roots.map(|root| self.slot(root));
        let [Some(q), Some(k), Some(v)] = slots else { return Ok(false) };
        let slots = [q, k, v];
        let places = [0, 1, 2].map(|i| self.places(&slots[i], roots[i], &moves[i], i == 1));
        let ([Some(q), Some(k), Some(v)], Some(out)) = (places, self.result_places(&pattern.result)) else {
            return Ok(false);
        };
        let bias = |(node, dims): &(usize, Vec<usize>)| -> Result<Option<(Arc<[f32]>, Strided)>> {
            let constant = self.constant(*node);
            let Some(places) = places_of(constant.dims(), dims) else { return Ok(None) };
            Ok(Some((numbers(constant)?.into(), places)))
        };
        let Some(biases) = pattern.biases.iter().map(bias).collect::<Result<Option<Vec<_>>>>()? else {
            return Ok(false);
        };
        let plan = Arc::new(AttentionPlan { operands: [q, k, v], scale, biases, out });
        let record = AttentionRecord { plan: plan.clone(), roots, moves };
        let work = Work::Attention { plan, inputs: slots };
        self.push(pattern.end(), Order::Own, work, Epilogue::default(), RecordKind::Attention(Box::new(record)));
        Ok(true)
    }

    fn constant(&self, node: usize) -> &Tensor {
        match &self.values[node] {
            Value::Constant(value) => value,
            _ => unreachable!("what does not depend on what is given is constant, and stands before its users"),
        }
    }
}

/// The places of a constant of the dimensions `own` that is spread to `dims`.
fn places_of(own: &[usize], dims: &[usize]) -> Option<Strided> {
    let missing = dims.len().checked_sub(own.len())?;
    let mut axes = vec![[1, 0]; dims.len()];
    let mut stride = 1;
    for axis in (0..dims.len()).rev() {
        let size = axis.checked_sub(missing).map_or(1, |axis| own[axis]);
        if size != 1 && size != dims[axis] {
            return None;
        }
        axes[axis] = [dims[axis], if size == 1 { 0 } else { stride }];
        stride *= size;
    }
    Some(Strided { offset: 0, axes })
}
