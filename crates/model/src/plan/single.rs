//! Nodes that no other node is fused with: pools, recurrent layers, what only moves values, and what has no kernel.

use super::compile::{Forward, Record, RecordKind, Value};
use super::kernel::numbers;
use super::memory::{Order, Slot};
use super::step::{Bounds, Epilogue, Operand, Step, Work};
use super::view::View;
use crate::Op;
use candle_core::Tensor;
use faithful_core::Result;
use faithful_kernel::{LayerNorm, RecurrentCell, Strided, Windows};
use faithful_tensor::{Binary, Pool, Reduction};
use std::sync::Arc;

impl Forward<'_> {
    /// How a node's value shall lie where its step leaves the choice: maps with their channels innermost, series so where
    /// somebody reads them like that.
    pub(super) fn order(&self, index: usize) -> Order {
        let reads_channels = |user: &usize| match &self.graph.nodes[*user].op {
            Op::Conv1d { .. } | Op::BatchNorm { .. } => true,
            Op::Concat { axis } | Op::Slice { axis, .. } => *axis == 1,
            Op::Unsqueeze(axes) => axes[..] == [2],
            _ => false,
        };
        let reads_pixels = |user: &usize| match &self.graph.nodes[*user].op {
            Op::LayerNorm { axis, .. } => *axis == 3,
            Op::Linear { .. } => true,
            Op::Transpose(axes) => axes[..] == [0, 3, 1, 2],
            _ => false,
        };
        match self.dims[index].len() {
            4 if self.users[index].iter().any(reads_pixels) => Order::Own,
            4 => Order::Innermost,
            3 if self.users[index].iter().any(reads_channels) || self.turns(index, 0) => Order::Innermost,
            _ => Order::Own,
        }
    }

    /// Whether a series, or what is computed of it element by element, is turned so that its channels are last, as tokens between the
    /// layers of a transformer: with channels innermost, that costs nothing.
    fn turns(&self, index: usize, depth: usize) -> bool {
        /// Additions of residuals are chained; the first of them tells.
        const DEEPEST: usize = 4;
        depth < DEEPEST
            && self.users[index].iter().any(|&user| match &self.graph.nodes[user].op {
                Op::Transpose(axes) => axes[..] == [0, 2, 1],
                Op::Binary(_) | Op::Activation(_) | Op::Identity => {
                    self.dims[user] == self.dims[index] && self.turns(user, depth + 1)
                }
                _ => false,
            })
    }

    /// A node on its own.
    pub(super) fn single(&mut self, index: usize) -> Result<()> {
        let node = &self.graph.nodes[index];
        let input = node.inputs[0].0;
        let from = self.dims[input].clone();
        let Some(slot) = self.slot(input) else {
            match &node.op {
                Op::Binary(Binary::Add) => self.add_constant(index),
                Op::Concat { axis } => self.join(index, *axis),
                _ => self.generic(index),
            }
            return Ok(());
        };
        let pool = |windows: [Windows; 2]| Arc::new(windows);
        let is_map = from.len() == 4 && slot.order == Order::Innermost;
        match &node.op {
            Op::Identity | Op::Flatten { .. } | Op::Reshape(_) | Op::Squeeze(_) | Op::Unsqueeze(_) => {
                self.reshape(index, input, slot);
            }
            Op::Transpose(axes) => self.turn(index, input, slot, axes),
            Op::Activation(kind) => {
                let work = Work::Activation { kind: *kind, input: slot };
                self.push(index, slot.order, work, Epilogue::default(), RecordKind::Activation { kind: *kind, input });
            }
            Op::Binary(Binary::Mul) => self.multiply(index),
            Op::Binary(Binary::Add) => self.add_constant(index),
            Op::LayerNorm { axis, weight, bias, epsilon }
                if axis + 1 == from.len() && slot.order == Order::Own && from[*axis] > 0 =>
            {
                let channels = from[*axis];
                let of = |tensor: &Option<Tensor>, otherwise: f32| match tensor {
                    Some(tensor) => numbers(tensor),
                    None => Ok(vec![otherwise; channels]),
                };
                let kernel = Arc::new(LayerNorm::new(of(weight, 1.0)?, of(bias, 0.0)?, *epsilon)?);
                let work = Work::LayerNorm { kernel: kernel.clone(), input: slot };
                self.push(index, Order::Own, work, Epilogue::default(), RecordKind::LayerNorm { kernel, input });
            }
            Op::MaxPool2d(window) if is_map => {
                let windows = pool([Windows::sliding(window, 0, from[2])?, Windows::sliding(window, 1, from[3])?]);
                self.push_pool(index, windows, slot, true);
            }
            Op::AvgPool2d(window) if is_map => {
                let window = Pool { dilation: [1, 1], ..*window };
                let windows = pool([Windows::sliding(&window, 0, from[2])?, Windows::sliding(&window, 1, from[3])?]);
                self.push_pool(index, windows, slot, false);
            }
            Op::AdaptiveAvgPool2d([h, w]) | Op::AdaptiveMaxPool2d([h, w]) if is_map => {
                let windows = pool([Windows::adaptive(from[2], *h), Windows::adaptive(from[3], *w)]);
                self.push_pool(index, windows, slot, matches!(node.op, Op::AdaptiveMaxPool2d(_)));
            }
            Op::Reduce { axes, reduction: Reduction::Mean, .. }
                if is_map && axes[..] == [2, 3] && from[2] * from[3] > 0 =>
            {
                let windows = pool([Windows::adaptive(from[2], 1), Windows::adaptive(from[3], 1)]);
                self.push_pool(index, windows, slot, false);
            }
            Op::Concat { axis } if self.joins_pixels(index, *axis) => self.concat(index),
            Op::Concat { axis } => self.join(index, *axis),
            Op::Slice { axis: 1, start, step: 1, .. }
                if (from.len() == 2 || slot.order == Order::Innermost) && self.dims[index][1] > 0 =>
            {
                let work = Work::Copy { scale: None, input: slot.channels(*start, self.dims[index][1]) };
                self.push(index, slot.order, work, Epilogue::default(), RecordKind::Slice { input, first: *start });
            }
            Op::Lstm { weights, direction } | Op::Gru { weights, direction, reset_after: true }
                if slot.follows_its_dimensions() && slot.is_dense() =>
            {
                let is_lstm = matches!(node.op, Op::Lstm { .. });
                let cell = if is_lstm { RecurrentCell::Lstm } else { RecurrentCell::Gru };
                let kernel = self.kernels.recurrent(self.isa, index, cell, weights, *direction)?;
                let work = Work::Recurrent { kernel: kernel.clone(), input: slot };
                self.push(index, Order::Own, work, Epilogue::default(), RecordKind::Recurrent { kernel, input });
            }
            _ => self.generic(index),
        }
        Ok(())
    }

    fn push_pool(&mut self, node: usize, windows: Arc<[Windows; 2]>, slot: Slot, maximum: bool) {
        let input = self.graph.nodes[node].inputs[0].0;
        // A mean over both axes may drop them: the slot is the same.
        let (work, kind) = if maximum {
            (Work::MaxPool { windows: windows.clone(), input: slot }, RecordKind::MaxPool { windows, input })
        } else {
            (Work::AveragePool { windows: windows.clone(), input: slot }, RecordKind::AveragePool { windows, input })
        };
        self.push(node, Order::Innermost, work, Epilogue::default(), kind);
    }

    /// Whether a concatenation puts whole pixels of its operands side by side: all lie alike, and their innermost axis is the
    /// one along which they are joined.
    fn joins_pixels(&self, index: usize, axis: usize) -> bool {
        let rank = self.dims[index].len();
        self.graph.nodes[index].inputs.iter().all(|input| match self.slot(input.0).map(|slot| slot.order) {
            None => false,
            Some(Order::Innermost) => axis == 1,
            Some(Order::Own) => axis + 1 == rank && rank > 1,
        })
    }

    fn concat(&mut self, index: usize) {
        let inputs: Vec<usize> = self.graph.nodes[index].inputs.iter().map(|input| input.0).collect();
        let slots: Vec<Slot> = inputs.iter().filter_map(|&input| self.slot(input)).collect();
        let dims = self.dims[index].clone();
        let out = self.allocate(&dims, slots[0].order);
        let mut first = 0;
        for slot in slots {
            let part = out.channels(first, slot.shape[3]);
            first += slot.shape[3];
            self.steps.push(Step {
                node: index,
                work: Work::Copy { scale: None, input: slot },
                out: part,
                epilogue: Epilogue::default(),
            });
        }
        self.values[index] = Value::Slot(out);
        self.records.push(Record { node: index, kind: RecordKind::Concat { inputs }, bounds: Bounds::NONE });
    }

    /// A constant as a value of these dimensions in memory.
    fn constant_in_memory(&mut self, index: usize, constant: &Tensor, dims: &[usize], order: Order) -> Option<Slot> {
        let spread = constant.broadcast_as(dims).ok()?;
        let lying = match (order, dims.len()) {
            (Order::Innermost, 4) => spread.permute([0, 2, 3, 1]).ok()?,
            (Order::Innermost, 3) => spread.permute([0, 2, 1]).ok()?,
            _ => spread,
        };
        let values: Arc<[f32]> = numbers(&lying).ok()?.into();
        let out = self.allocate(dims, order);
        self.steps.push(Step { node: index, work: Work::Constant { values }, out, epilogue: Epilogue::default() });
        Some(out)
    }

    /// The sum of a value and a constant that spreads over it.
    fn add_constant(&mut self, index: usize) {
        let operands = [0, 1].map(|operand| self.graph.nodes[index].inputs[operand].0);
        let found = operands.into_iter().zip([operands[1], operands[0]]).find_map(|(input, other)| {
            match (self.slot(input), &self.values[other]) {
                (Some(slot), Value::Constant(constant)) if self.dims[input] == self.dims[index] => {
                    Some((input, slot, constant.clone()))
                }
                _ => None,
            }
        });
        let Some((input, slot, constant)) = found else { return self.generic(index) };
        let dims = self.dims[index].clone();
        let Some(add) = self.constant_in_memory(index, &constant, &dims, slot.order) else {
            return self.generic(index);
        };
        let epilogue = Epilogue { add: Some(add), ..Epilogue::default() };
        let kind = RecordKind::Copy { scale: None, input };
        self.push(index, slot.order, Work::Copy { scale: None, input: slot }, epilogue, kind);
    }

    /// Values side by side along any axis.
    fn join(&mut self, index: usize, axis: usize) {
        let inputs: Vec<usize> = self.graph.nodes[index].inputs.iter().map(|input| input.0).collect();
        let (dims, order) = (self.dims[index].clone(), self.order(index));
        let mut parts = Vec::new();
        for &input in &inputs {
            let own = self.dims[input].clone();
            let slot = match &self.values[input] {
                Value::Slot(slot) => Some(*slot),
                Value::Constant(constant) => {
                    let constant = constant.clone();
                    self.constant_in_memory(index, &constant, &own, order)
                }
                Value::Absent => None,
            };
            // A part is copied as its own memory lies.
            let Some(slot) = slot.filter(|slot| slot.is_dense() && !own.contains(&0)) else {
                return self.generic(index);
            };
            parts.push((slot, own[axis]));
        }
        let out = self.allocate(&dims, order);
        let mut first = 0;
        for (slot, count) in parts {
            let Some(places) = part_places(&out, &dims, (axis, first, count), slot.order) else {
                return self.generic(index);
            };
            first += count;
            let work = Work::Scatter { places, input: slot, zero: false, accumulate: false };
            self.steps.push(Step { node: index, work, out, epilogue: Epilogue::default() });
        }
        self.values[index] = Value::Slot(out);
        let kind = RecordKind::Join { inputs, axis };
        self.records.push(Record { node: index, kind, bounds: Bounds::NONE });
    }

    /// Makes a node's value that of another one, in the same memory.
    fn look(&mut self, index: usize, input: usize, slot: Slot) {
        self.values[index] = Value::Slot(slot);
        self.root[index] = self.root[input];
    }

    /// Whether a gradient at one of the two is asked for, so that each must have a value of its own.
    fn is_tapped(&self, index: usize, input: usize) -> bool {
        self.request.taps.contains(&index) || self.request.taps.contains(&input)
    }

    /// A transposition that puts the channels last or second: what has one order is the other in the other.
    fn turn(&mut self, index: usize, input: usize, slot: Slot, axes: &[usize]) {
        let order = match (slot.order, axes) {
            (Order::Innermost, [0, 2, 1] | [0, 2, 3, 1]) => Order::Own,
            (Order::Own, [0, 2, 1] | [0, 3, 1, 2]) => Order::Innermost,
            _ => return self.generic(index),
        };
        if self.is_tapped(index, input) || !slot.is_dense() {
            return self.generic(index);
        }
        let seen = Slot::new(slot.buffer, &self.dims[index], order);
        self.look(index, input, Slot { offset: slot.offset, ..seen });
    }

    /// A product of two values that lie alike, or of which one has one number per row and channel.
    fn multiply(&mut self, index: usize) {
        let [a, b] = [0, 1].map(|operand| self.graph.nodes[index].inputs[operand].0);
        let spreads = |slot: &Slot, other: &Slot| {
            let [n, _, _, c] = slot.shape;
            other.shape == [n, 1, 1, c] && self.dims[a].len() == self.dims[b].len()
        };
        let inputs = match (self.slot(a), self.slot(b)) {
            (Some(left), Some(right)) if left.order == right.order => {
                if self.dims[a] == self.dims[b] || spreads(&left, &right) {
                    Some([(a, left), (b, right)])
                } else {
                    spreads(&right, &left).then_some([(b, right), (a, left)])
                }
            }
            _ => None,
        };
        let Some([(a, left), (b, right)]) = inputs else { return self.generic(index) };
        let work = Work::Multiply { inputs: [left, right], accumulate: false };
        self.push(index, left.order, work, Epilogue::default(), RecordKind::Multiply { inputs: [a, b] });
    }

    /// A value with the same elements: the same memory where their order is the same.
    fn reshape(&mut self, index: usize, input: usize, slot: Slot) {
        let (from, to) = (&self.dims[input], self.dims[index].clone());
        let order = if from == &to { slot.order } else { self.order(index) };
        let like = |order: Order| Slot::new(slot.buffer, &to, order);
        // A line of a map is a series.
        let are_maps = [from, &to].iter().all(|dims| matches!(dims.len(), 3 | 4));
        let is_line = slot.order == Order::Innermost && are_maps && like(Order::Innermost).shape == slot.shape;
        // So are all pixels of a map, line by line.
        let turns = |user: &usize| matches!(&self.graph.nodes[*user].op, Op::Transpose(axes) if axes[..] == [0, 2, 1]);
        let is_unrolled = slot.order == Order::Innermost
            && from.len() == 4
            && to.len() == 3
            && from[..2] == to[..2]
            && (order == Order::Innermost || self.users[index].iter().all(turns));
        let seen = if is_unrolled && slot.is_dense() && !self.is_tapped(index, input) {
            return self.look(index, input, Slot { offset: slot.offset, ..like(Order::Innermost) });
        } else if from == &to || is_line {
            Some(Slot { order: slot.order, ..like(slot.order) })
        } else if slot.follows_its_dimensions() && like(order).follows_its_dimensions() {
            Some(like(order))
        } else {
            None
        };
        match seen {
            Some(seen) if slot.is_dense() && !self.is_tapped(index, input) => {
                self.look(index, input, Slot { offset: slot.offset, ..seen });
            }
            Some(seen) if seen.shape == slot.shape => {
                let kind = RecordKind::Copy { scale: None, input };
                self.push(index, seen.order, Work::Copy { scale: None, input: slot }, Epilogue::default(), kind);
            }
            Some(_) => self.generic(index),
            None if to.len() != 4 && !slot.follows_its_dimensions() => {
                let kind = RecordKind::ToPlanes { input };
                self.push(index, Order::Own, Work::ToPlanes { input: slot }, Epilogue::default(), kind);
            }
            None if slot.follows_its_dimensions() && slot.is_dense() => {
                let kind = RecordKind::FromPlanes { input };
                self.push(index, order, Work::FromPlanes { input: slot }, Epilogue::default(), kind);
            }
            None => self.generic(index),
        }
    }

    /// Where the values of a node that only moves them lie in its operand's slot, in the order in which they lie in `order`.
    pub(super) fn moved_places(&self, index: usize, slot: &Slot, order: Order) -> Option<Strided> {
        let node = &self.graph.nodes[index];
        let view = View::of(slot, &self.dims[node.inputs[0].0])?.moved(&node.op, &self.dims[index])?;
        Some(lying(&view, self.dims[index].len(), order).strided())
    }

    /// A node by the reference implementation, or by a copy where it only moves values.
    fn generic(&mut self, index: usize) {
        let node = &self.graph.nodes[index];
        let operands: Vec<Operand> = node
            .inputs
            .iter()
            .map(|input| match &self.values[input.0] {
                Value::Constant(value) => Operand::Constant(value.clone()),
                Value::Slot(slot) => Operand::Value(*slot, self.dims[input.0].clone()),
                Value::Absent => unreachable!("operands stand before their users"),
            })
            .collect();
        let inputs = node.inputs.iter().map(|input| input.0).collect();
        let node = Arc::new(node.clone());
        let kind = RecordKind::Generic { node: node.clone(), operands: operands.clone(), inputs };
        let order = self.order(index);
        let input = self.graph.nodes[index].inputs[0].0;
        let moved = self.slot(input).and_then(|slot| Some((slot, self.moved_places(index, &slot, order)?)));
        if let Some((slot, places)) = moved {
            // A part at the beginning lies alike as well, but is not the whole value.
            let stays = places.offset == 0
                && places.count() == slot.shape.iter().product::<usize>()
                && matches!(places.joined().axes[..], [] | [[_, 1]]);
            if stays && slot.is_dense() && !self.is_tapped(index, input) {
                let seen = Slot::new(slot.buffer, &self.dims[index], order);
                return self.look(index, input, Slot { offset: slot.offset, ..seen });
            }
            let spreads = matches!(self.graph.nodes[index].op, Op::Expand(_));
            let kind = if spreads { kind } else { RecordKind::Rearrange { input } };
            return self.push(index, order, Work::Rearrange { places, input: slot }, Epilogue::default(), kind);
        }
        let work = Work::Generic { node, operands, batch: self.batch };
        self.push(index, order, work, Epilogue::default(), kind);
    }
}

/// Where `count` places from `first` on of an axis lie in a slot, in the order in which they would lie by themselves.
pub(super) fn part_places(
    slot: &Slot,
    dims: &[usize],
    (axis, first, count): (usize, usize, usize),
    order: Order,
) -> Option<Strided> {
    let part = View::of(slot, dims)?.cut(axis, first, 1, count)?;
    Some(lying(&part, dims.len(), order).strided())
}

/// A view's axes in the order in which they lie in memory.
fn lying(view: &View, rank: usize, order: Order) -> View {
    match (order, rank) {
        (Order::Innermost, 4) => view.turned(&[0, 2, 3, 1]),
        (Order::Innermost, 3) => view.turned(&[0, 2, 1]),
        _ => view.clone(),
    }
}
