//! Appends nodes so that channels stay the second axis.
//!
//! `TensorFlow` keeps channels last, and its exporter brackets convolutions by transpositions. A transposition to
//! channels last therefore waits behind the operations that do not care, where it meets its inverse and both vanish:
//! layers are then `(N, C, H, W)` as everywhere else.

use super::import::Importer;
use super::value::Value;
use crate::{NodeId, Op};
use candle_core::Tensor;
use faithful_core::Result;

/// Appends `op`, with a waiting transposition behind it where that is simpler.
pub(super) fn push(importer: &mut Importer, name: &str, op: Op, inputs: Vec<NodeId>) -> Result<NodeId> {
    match (&op, inputs.as_slice()) {
        (Op::Transpose(outer), &[input]) => {
            if let Op::Transpose(inner) = &importer.nodes[input.0].op {
                let source = importer.nodes[input.0].inputs[0];
                let whole: Option<Vec<usize>> = outer.iter().map(|&axis| inner.get(axis).copied()).collect();
                if let Some(whole) = whole {
                    let op = if is_identity(&whole) { Op::Identity } else { Op::Transpose(whole) };
                    return importer.push(name, op, vec![source]);
                }
            }
        }
        (Op::Squeeze(axes), &[input]) => {
            if let Op::Unsqueeze(inserted) = &importer.nodes[input.0].op
                && inserted == axes
            {
                let source = importer.nodes[input.0].inputs[0];
                return importer.push(name, Op::Identity, vec![source]);
            }
        }
        (Op::Reshape(_), &[input]) => {
            if let Some((source, order)) = joined_directions(importer, input, &op) {
                return importer.push(name, Op::Transpose(order), vec![source]);
            }
        }
        _ => {}
    }
    match delay(importer, name, &op, &inputs)? {
        Some(node) => Ok(node),
        None => importer.push(name, op, inputs),
    }
}

fn is_identity(order: &[usize]) -> bool {
    order.iter().enumerate().all(|(place, &axis)| place == axis)
}

/// `(N, T, D * H)` split, moved to `(T, N, D, H)` and joined again, as bidirectional layers are exported: only the
/// first two axes change places.
fn joined_directions(importer: &Importer, input: NodeId, reshape: &Op) -> Option<(NodeId, Vec<usize>)> {
    let moved = &importer.nodes[input.0];
    let Op::Transpose(order) = &moved.op else { return None };
    let split = &importer.nodes[moved.inputs[0].0];
    if *order != [1, 0, 2, 3] || !matches!(split.op, Op::Reshape(_)) {
        return None;
    }
    let source = split.inputs[0];
    let [n, t, h] = importer.node_sizes(source).try_into().ok()?;
    let goal = importer.reshaped(input, reshape)?;
    (importer.node_sizes(moved.inputs[0])[..2] == [n, t] && goal == [t, n, h]).then_some((source, vec![1, 0, 2]))
}

/// The order that takes channels from the second axis to the last.
fn channels_last(rank: usize) -> Option<Vec<usize>> {
    match rank {
        3 => Some(vec![0, 2, 1]),
        4 => Some(vec![0, 2, 3, 1]),
        _ => None,
    }
}

fn inverse(order: &[usize]) -> Vec<usize> {
    let mut inverse = vec![0; order.len()];
    for (place, &axis) in order.iter().enumerate() {
        inverse[axis] = place;
    }
    inverse
}

/// What `node` is with channels second, where it is a transposition of that to channels last.
fn channels_second(importer: &Importer, node: NodeId) -> Option<NodeId> {
    match &importer.nodes[node.0].op {
        Op::Transpose(order) if Some(order) == channels_last(order.len()).as_ref() => {
            Some(importer.nodes[node.0].inputs[0])
        }
        _ => None,
    }
}

/// Appends `op` before the transposition of its operands instead of behind it, where it can be.
fn delay(importer: &mut Importer, name: &str, op: &Op, inputs: &[NodeId]) -> Result<Option<NodeId>> {
    let Some(waiting) = inputs.iter().find(|&&input| channels_second(importer, input).is_some()) else {
        return Ok(None);
    };
    let rank = importer.node_sizes(*waiting).len();
    let Some(order) = channels_last(rank) else { return Ok(None) };
    let moved = |axis: usize| order.get(axis).copied();
    let mut behind = order.clone();
    let op = match op {
        Op::Activation(_) | Op::Unary(_) | Op::Identity | Op::Binary(_) => op.clone(),
        Op::Composed(composition) if composition.is_elementwise() => op.clone(),
        Op::Concat { axis } => match moved(*axis) {
            Some(axis) => Op::Concat { axis },
            None => return Ok(None),
        },
        Op::Softmax { axis, log } => match moved(*axis) {
            Some(axis) => Op::Softmax { axis, log: *log },
            None => return Ok(None),
        },
        Op::Slice { axis, start, end, step } => match moved(*axis) {
            Some(axis) => Op::Slice { axis, start: *start, end: *end, step: *step },
            None => return Ok(None),
        },
        Op::Pad { pads, mode } if pads.len() == rank => {
            let back = inverse(&order);
            Op::Pad { pads: back.iter().map(|&place| pads[place]).collect(), mode: *mode }
        }
        Op::Reduce { axes, keep, reduction } => {
            let Some(reduced) = axes.iter().map(|&axis| moved(axis)).collect::<Option<Vec<usize>>>() else {
                return Ok(None);
            };
            if !keep {
                // What is left stands in the order of the channels-last axes.
                let left: Vec<usize> = order.iter().copied().filter(|axis| !reduced.contains(axis)).collect();
                let mut sorted = left.clone();
                sorted.sort_unstable();
                behind = left.iter().map(|axis| sorted.binary_search(axis).unwrap_or(0)).collect();
            }
            Op::Reduce { axes: reduced, keep: *keep, reduction: *reduction }
        }
        _ => return Ok(None),
    };
    let mut sources = Vec::with_capacity(inputs.len());
    for &input in inputs {
        match source_of(importer, name, input, &order)? {
            Some(source) => sources.push(source),
            None => return Ok(None),
        }
    }
    let node = importer.push(name, op, sources)?;
    if is_identity(&behind) {
        return Ok(Some(node));
    }
    importer.push(&format!("{name}/channels-last"), Op::Transpose(behind), vec![node]).map(Some)
}

/// The operand with channels second: what a transposition started from, a constant in another order, or the operand
/// transposed back.
fn source_of(importer: &mut Importer, name: &str, input: NodeId, order: &[usize]) -> Result<Option<NodeId>> {
    if let Some(source) = channels_second(importer, input) {
        return Ok(Some(source));
    }
    let rank = importer.node_sizes(input).len();
    if let Op::Constant(tensor) = &importer.nodes[input.0].op {
        if rank > order.len() {
            return Ok(None);
        }
        let shape: Vec<usize> =
            std::iter::repeat_n(1, order.len() - rank).chain(tensor.dims().iter().copied()).collect();
        let moved: Tensor = tensor.reshape(shape)?.permute(inverse(order))?.contiguous()?;
        return importer.node_of(name, &Value::Constant(moved)).map(Some);
    }
    if rank != order.len() {
        return Ok(None);
    }
    importer.push(&format!("{name}/channels-second"), Op::Transpose(inverse(order)), vec![input]).map(Some)
}
