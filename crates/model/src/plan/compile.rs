//! From a graph to steps: which nodes become one kernel, and where values lie.

use super::attention::{AttentionRecord, Pattern};
use super::kernel::numbers;
use super::kernels::{Folded, Kernels, zeros_around};
use super::memory::{Order, Slot};
use super::step::{Bounds, Epilogue, Operand, Step, Work};
use crate::op::{self, shape};
use crate::{Graph, Node, NodeId, Op, execute};
use candle_core::Tensor;
use faithful_core::Result;
use faithful_kernel::{Isa, LayerNorm, RecurrentLayer, Windows};
use faithful_tensor::{Activation, Binary};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// What a node's value is.
#[derive(Clone, Debug)]
pub(super) enum Value {
    /// Not computed, or absorbed by a later node's step.
    Absent,
    /// It does not depend on what is given.
    Constant(Tensor),
    /// In memory.
    Slot(Slot),
}

/// What a forward step computed, for the reverse pass.
#[derive(Clone, Debug)]
pub(super) struct Record {
    /// The node whose value the step wrote.
    pub(super) node: usize,
    pub(super) kind: RecordKind,
    /// The activation that the step ended with.
    pub(super) bounds: Bounds,
}

#[derive(Clone, Debug)]
pub(super) enum RecordKind {
    Convolution {
        folded: Folded,
        input: usize,
        add: Option<usize>,
    },
    Linear {
        weight: Tensor,
        input: usize,
    },
    MaxPool {
        windows: Arc<[Windows; 2]>,
        input: usize,
    },
    AveragePool {
        windows: Arc<[Windows; 2]>,
        input: usize,
    },
    /// Scaled per channel, or not.
    Copy {
        scale: Option<Arc<[f32]>>,
        input: usize,
    },
    Add {
        inputs: [usize; 2],
    },
    Activation {
        kind: Activation,
        input: usize,
    },
    /// The second one may have one pixel per row.
    Multiply {
        inputs: [usize; 2],
    },
    LayerNorm {
        kernel: Arc<LayerNorm>,
        input: usize,
    },
    Concat {
        inputs: Vec<usize>,
    },
    /// The channels from `first` on.
    Slice {
        input: usize,
        first: usize,
    },
    Recurrent {
        kernel: Arc<RecurrentLayer>,
        input: usize,
    },
    ToPlanes {
        input: usize,
    },
    FromPlanes {
        input: usize,
    },
    /// Side by side along an axis that is not innermost.
    Join {
        inputs: Vec<usize>,
        axis: usize,
    },
    Attention(Box<AttentionRecord>),
    /// Values of another node elsewhere.
    Rearrange {
        input: usize,
    },
    Generic {
        node: Arc<Node>,
        operands: Vec<Operand>,
        inputs: Vec<usize>,
    },
}

impl RecordKind {
    /// The nodes it read.
    pub(super) fn inputs(&self) -> Vec<usize> {
        match self {
            Self::Convolution { input, add, .. } => std::iter::once(*input).chain(*add).collect(),
            Self::Linear { input, .. }
            | Self::MaxPool { input, .. }
            | Self::AveragePool { input, .. }
            | Self::Copy { input, .. }
            | Self::Activation { input, .. }
            | Self::LayerNorm { input, .. }
            | Self::Slice { input, .. }
            | Self::Recurrent { input, .. }
            | Self::Rearrange { input }
            | Self::ToPlanes { input }
            | Self::FromPlanes { input } => vec![*input],
            Self::Add { inputs } | Self::Multiply { inputs } => inputs.to_vec(),
            Self::Attention(record) => record.roots.to_vec(),
            Self::Concat { inputs } | Self::Join { inputs, .. } | Self::Generic { inputs, .. } => inputs.clone(),
        }
    }
}

/// What is asked of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Request {
    /// The node whose value comes from outside, and its dimensions.
    pub(super) given: usize,
    pub(super) dims: Vec<usize>,
    /// The nodes whose values are kept, the output among them where it is wanted.
    pub(super) wanted: Vec<usize>,
    /// The nodes whose gradients are wanted.
    pub(super) taps: Vec<usize>,
}

/// The forward half of a plan.
pub(super) struct Forward<'a> {
    pub(super) graph: &'a Graph,
    pub(super) isa: Isa,
    pub(super) kernels: &'a Kernels,
    pub(super) request: &'a Request,
    pub(super) batch: usize,
    pub(super) dims: Vec<Vec<usize>>,
    pub(super) values: Vec<Value>,
    /// Nodes whose value is another node's, looked at differently.
    pub(super) root: Vec<usize>,
    /// The lengths of the buffers.
    pub(super) buffers: Vec<usize>,
    pub(super) steps: Vec<Step>,
    pub(super) records: Vec<Record>,
    /// Whether a node's value depends on what is given.
    pub(super) depends: Vec<bool>,
    pub(super) users: Vec<Vec<usize>>,
    /// Nodes that must have a value of their own.
    pinned: Vec<bool>,
    /// Chains of nodes that one step computes, by the number of their last node.
    chains: HashMap<usize, Chain>,
    absorbed: Vec<bool>,
    /// The padding that is folded into a convolution, by the convolution's node.
    padded: HashMap<usize, usize>,
    /// Attentions, by the number of their last node.
    attentions: HashMap<usize, Pattern>,
}

/// A node, and what is fused behind it.
#[derive(Clone, Copy, Debug)]
struct Chain {
    head: usize,
    normalization: Option<usize>,
    /// The other operand of an addition.
    add: Option<usize>,
    bounds: Bounds,
    /// An activation that does not only clamp.
    activation: Option<Activation>,
    /// How the result lies: a linear layer's may be turned on its way.
    order: Order,
}

impl<'a> Forward<'a> {
    /// Plans the way from what is given to what is wanted.
    pub(super) fn compile(graph: &'a Graph, isa: Isa, kernels: &'a Kernels, request: &'a Request) -> Result<Self> {
        // Attentions whose operands turn out to lie in no way that one step could read.
        let mut apart = HashSet::new();
        loop {
            match Self::compile_with(graph, isa, kernels, request, &apart)? {
                Ok(forward) => return Ok(forward),
                Err(attention) => apart.insert(attention),
            };
        }
    }

    /// The same, attentions that end at the nodes `apart` in several steps; fails with the node of another one that must be.
    fn compile_with(
        graph: &'a Graph,
        isa: Isa,
        kernels: &'a Kernels,
        request: &'a Request,
        apart: &HashSet<usize>,
    ) -> Result<std::result::Result<Self, usize>> {
        let count = graph.nodes.len();
        let goals: Vec<NodeId> = request.wanted.iter().chain(&request.taps).map(|&node| NodeId(node)).collect();
        let reached = execute::needed(graph, NodeId(request.given), &goals);
        let mut users = vec![Vec::new(); count];
        for (index, node) in graph.nodes.iter().enumerate() {
            if reached[index] && index != request.given {
                node.inputs.iter().for_each(|input| users[input.0].push(index));
            }
        }
        let mut pinned = vec![false; count];
        for node in goals {
            pinned[node.0] = true;
        }
        let mut forward = Self {
            graph,
            isa,
            kernels,
            request,
            batch: request.dims.first().copied().unwrap_or(1),
            dims: vec![Vec::new(); count],
            values: vec![Value::Absent; count],
            root: (0..count).collect(),
            buffers: Vec::new(),
            steps: Vec::new(),
            records: Vec::new(),
            depends: vec![false; count],
            users,
            pinned,
            chains: HashMap::new(),
            absorbed: vec![false; count],
            padded: HashMap::new(),
            attentions: HashMap::new(),
        };
        let order = || (0..count).filter(|&index| reached[index]);
        for index in order() {
            forward.describe(index)?;
        }
        forward.find_attentions(&reached, apart);
        for index in order() {
            forward.fold_padding(index);
        }
        for index in order() {
            if let Some(pattern) = forward.attentions.get(&index).cloned() {
                if !forward.attention(&pattern)? {
                    return Ok(Err(index));
                }
                continue;
            }
            forward.node(index)?;
        }
        Ok(Ok(forward))
    }

    /// Finds attentions, and what need not be computed because of them.
    fn find_attentions(&mut self, reached: &[bool], apart: &HashSet<usize>) {
        for index in (0..reached.len()).filter(|&index| reached[index]) {
            let found = if self.pinned[index] { None } else { self.attention_at(index) };
            if let Some(pattern) = found.filter(|pattern| !apart.contains(&pattern.end())) {
                self.attentions.insert(pattern.end(), pattern);
            }
        }
        if self.attentions.is_empty() {
            return;
        }
        let mut needed = self.pinned.clone();
        self.users.iter_mut().for_each(Vec::clear);
        for index in (0..reached.len()).rev() {
            if !needed[index] || index == self.request.given {
                continue;
            }
            let inputs = match self.attentions.get(&index) {
                Some(pattern) => pattern.inputs(),
                None => self.graph.nodes[index].inputs.iter().map(|input| input.0).collect(),
            };
            for input in inputs {
                needed[input] = true;
                self.users[input].insert(0, index);
            }
        }
        for (absorbed, needed) in self.absorbed.iter_mut().zip(needed) {
            *absorbed |= !needed;
        }
    }

    pub(super) fn is_pinned(&self, node: usize) -> bool {
        self.pinned[node]
    }

    /// A node's dimensions, and whether it depends on what is given.
    fn describe(&mut self, index: usize) -> Result<()> {
        let node = &self.graph.nodes[index];
        if index == self.request.given {
            self.dims[index].clone_from(&self.request.dims);
            self.depends[index] = true;
        } else {
            let operands: Vec<&[usize]> = node.inputs.iter().map(|input| self.dims[input.0].as_slice()).collect();
            self.dims[index] = shape::infer(node, &operands, self.batch)?;
            self.depends[index] = node.inputs.iter().any(|input| self.depends[input.0]);
        }
        Ok(())
    }

    /// Whether maps may lie in their own order, because their channels are their last axis somewhere.
    fn turns_maps(&self) -> bool {
        self.graph.nodes.iter().zip(&self.dims).any(|(node, dims)| {
            dims.len() == 4 && matches!(node.op, Op::Transpose(_) | Op::Linear { .. } | Op::LayerNorm { .. })
        })
    }

    /// Lets convolutions read what a node pads with zeros: importers of frameworks with uneven padding write it apart.
    fn fold_padding(&mut self, index: usize) {
        if self.turns_maps() {
            return;
        }
        let users = &self.users[index];
        let node = &self.graph.nodes[index];
        let reads = |user: &usize| {
            let user = &self.graph.nodes[*user];
            matches!(user.op, Op::Conv2d { .. }) && user.inputs[0].0 == index
        };
        let folds = !users.is_empty() && users.iter().all(reads) && zeros_around(&node.op).is_some();
        if folds && self.depends[index] && !self.pinned[index] && index != self.request.given {
            self.padded.extend(users.iter().map(|&user| (user, index)));
            self.absorbed[index] = true;
        }
    }

    /// A buffer for a value of these dimensions.
    pub(super) fn allocate(&mut self, dims: &[usize], order: Order) -> Slot {
        self.buffers.push(dims.iter().product());
        Slot::new(self.buffers.len() - 1, dims, order)
    }

    pub(super) fn slot(&self, node: usize) -> Option<Slot> {
        match &self.values[node] {
            Value::Slot(slot) => Some(*slot),
            _ => None,
        }
    }

    fn node(&mut self, index: usize) -> Result<()> {
        if index == self.request.given {
            let slot = self.allocate(&self.request.dims, self.order(index));
            self.values[index] = Value::Slot(slot);
            return Ok(());
        }
        let node = &self.graph.nodes[index];
        if self.absorbed[index] && !self.chains.contains_key(&index) {
            return Ok(());
        }
        if let Op::Constant(value) = &node.op {
            self.values[index] = Value::Constant(value.clone());
            return Ok(());
        }
        if !self.depends[index] {
            let constant = |input: &NodeId| match &self.values[input.0] {
                Value::Constant(value) => value,
                _ => unreachable!("what depends on constants alone is constant"),
            };
            let operands: Vec<&Tensor> = node.inputs.iter().map(constant).collect();
            let value = op::apply(node, &operands, self.batch, self.graph.rule)?;
            self.values[index] = Value::Constant(value);
            return Ok(());
        }
        if let Some(chain) = self.chains.remove(&index) {
            return self.chain(index, chain);
        }
        if self.is_fusible(index) {
            let (chain, end) = self.extend(index);
            if end != index {
                self.chains.insert(end, chain);
                return Ok(());
            }
            return self.chain(index, chain);
        }
        self.single(index)
    }

    /// Whether the node may head a chain.
    fn is_fusible(&self, index: usize) -> bool {
        let node = &self.graph.nodes[index];
        let rank = self.dims[index].len();
        let Some(slot) = node.inputs.iter().find_map(|input| self.slot(input.0)) else {
            return self.padded.contains_key(&index);
        };
        let innermost = slot.order == Order::Innermost;
        match &node.op {
            Op::Conv2d { .. } | Op::Conv1d { .. } => innermost,
            Op::BatchNorm { .. } => innermost || rank == 2,
            Op::Linear { .. } => rank == 2 || (!innermost && slot.is_dense()),
            Op::Activation(activation) => bounds(*activation).is_some(),
            Op::Binary(Binary::Add) if self.is_plain_addition(index) => true,
            Op::Binary(_) => self.per_channel(index).is_some(),
            _ => false,
        }
    }

    /// Whether a linear layer multiplies several pixels, steps or tokens of an image, and not only one row of numbers each. That does not
    /// depend on the batch, so that rows are computed alike in any.
    fn is_over_pixels(&self, index: usize) -> bool {
        self.dims[index].len() > 2 || !self.graph.batch_first[index]
    }

    /// An addition of two computed values of one shape that lie alike.
    fn is_plain_addition(&self, index: usize) -> bool {
        let [a, b] = [0, 1].map(|operand| self.graph.nodes[index].inputs[operand].0);
        let order = |node: usize| self.slot(node).map(|slot| (slot.order, slot.shape));
        self.dims[a] == self.dims[b] && order(a).is_some() && order(a) == order(b)
    }

    /// What an operation of a value and a constant does, where the constant is one number or one per channel.
    fn per_channel(&self, index: usize) -> Option<PerChannel> {
        let node = &self.graph.nodes[index];
        let Op::Binary(operation) = node.op else { return None };
        let [first, second] = [node.inputs[0].0, node.inputs[1].0];
        let (input, constant, turned) = match (&self.values[first], &self.values[second]) {
            (Value::Slot(_), Value::Constant(constant)) => (first, constant, false),
            (Value::Constant(constant), Value::Slot(_)) => (second, constant, true),
            _ => return None,
        };
        let slot = self.slot(input)?;
        let (dims, channels) = (&self.dims[input], slot.shape[3]);
        let behind = if slot.order == Order::Innermost { dims.len() - 2 } else { 0 };
        let expected: Vec<usize> = std::iter::once(channels).chain(std::iter::repeat_n(1, behind)).collect();
        let leading = constant.rank().saturating_sub(expected.len());
        let per_channel =
            constant.dims()[..leading].iter().all(|size| *size == 1) && constant.dims()[leading..] == expected;
        if &self.dims[index] != dims || !(per_channel || constant.elem_count() == 1) {
            return None;
        }
        let mut values = numbers(constant).ok()?;
        values.resize(channels, values[0]);
        let all = |number: f32| Some(vec![number; channels]);
        let map = |change: fn(f32) -> f32| Some(values.iter().copied().map(change).collect());
        let (scale, shift) = match (operation, turned) {
            (Binary::Add, _) => (None, Some(values)),
            (Binary::Sub, false) => (None, map(|value| -value)),
            (Binary::Sub, true) => (all(-1.0), Some(values)),
            (Binary::Mul, _) => (Some(values), None),
            (Binary::Div, false) => (map(f32::recip), None),
            _ => return None,
        };
        Some(PerChannel { input, scale, shift })
    }

    /// The longest chain from `head` on, and its last node; what lies inside is marked as absorbed.
    fn extend(&mut self, head: usize) -> (Chain, usize) {
        let order = if matches!(self.graph.nodes[head].op, Op::Linear { .. }) { Order::Own } else { Order::Innermost };
        let mut chain = Chain { head, normalization: None, add: None, bounds: Bounds::NONE, activation: None, order };
        let mut end = head;
        let head_op = &self.graph.nodes[head].op;
        if let Op::Activation(activation) = head_op {
            chain.bounds = bounds(*activation).unwrap_or(Bounds::NONE);
            return (chain, head);
        }
        let convolution = match head_op {
            Op::Conv2d { .. } | Op::Conv1d { .. } => true,
            Op::Linear { .. } => self.is_over_pixels(head),
            _ => false,
        };
        let is_dense = matches!(head_op, Op::Linear { .. }) && !convolution;
        if let Op::Binary(Binary::Add) = head_op
            && self.is_plain_addition(head)
        {
            chain.add = Some(self.graph.nodes[head].inputs[1].0);
        }
        while let [next] = self.users[end][..] {
            if self.pinned[end] || self.absorbed[next] || self.chains.contains_key(&next) {
                break;
            }
            let node = &self.graph.nodes[next];
            match &node.op {
                Op::BatchNorm { .. } if convolution && end == head => chain.normalization = Some(next),
                Op::Identity if convolution => {}
                Op::Transpose(axes) if axes[..] == [0, 2, 1] && convolution && chain.add.is_none() => {
                    chain.order = if chain.order == Order::Own { Order::Innermost } else { Order::Own };
                }
                Op::Binary(Binary::Add) if convolution && chain.add.is_none() => {
                    let Some(other) = node.inputs.iter().map(|input| input.0).find(|&input| input != end) else {
                        break;
                    };
                    let lies_alike = self.dims[other] == self.dims[end]
                        && self.depends[other]
                        && match self.slot(other) {
                            Some(slot) => slot.order == chain.order,
                            // It comes before the addition does.
                            None => self.dims[other].len() == 4 && !self.turns_maps(),
                        };
                    if !lies_alike {
                        break;
                    }
                    chain.add = Some(other);
                }
                Op::Activation(activation) => {
                    match bounds(*activation) {
                        Some(found) => chain.bounds = found,
                        // The way back reads what such an activation was applied to.
                        None if self.request.taps.is_empty() && !is_dense => chain.activation = Some(*activation),
                        None => break,
                    }
                    self.absorbed[end] = true;
                    return (chain, next);
                }
                _ => break,
            }
            self.absorbed[end] = true;
            end = next;
        }
        (chain, end)
    }

    /// A step that computes a node's value, in this order.
    pub(super) fn push(&mut self, node: usize, order: Order, work: Work, epilogue: Epilogue, kind: RecordKind) {
        let bounds = epilogue.bounds;
        let bounds = match &work {
            Work::Linear { bounds, .. } => *bounds,
            _ => bounds,
        };
        let dims = self.dims[node].clone();
        let out = self.allocate(&dims, order);
        self.steps.push(Step { node, work, out, epilogue });
        self.values[node] = Value::Slot(out);
        self.records.push(Record { node, kind, bounds });
    }

    /// Computes a chain that ends at `end`.
    fn chain(&mut self, end: usize, chain: Chain) -> Result<()> {
        let head = &self.graph.nodes[chain.head];
        let padding = self.padded.get(&chain.head).copied();
        let input = padding.map_or(head.inputs[0].0, |padding| self.graph.nodes[padding].inputs[0].0);
        let add = chain.add.map(|node| self.slot(node).expect("as its other operand does"));
        let slot = self.slot(input).or_else(|| self.slot(head.inputs.last()?.0));
        let slot = slot.expect("a chain's operand depends on what is given and stands before it");
        let bounds = chain.bounds;
        let epilogue = Epilogue { add, bounds, activation: chain.activation, ..Epilogue::default() };
        match &head.op {
            Op::Conv2d { bias, .. } | Op::Conv1d { bias, .. } => {
                let folded = Folded { padding, convolution: chain.head, normalization: chain.normalization };
                let kernel = self.kernels.get(self.graph, self.isa, folded, false)?;
                let bias = self.folded_bias(bias.as_ref(), chain.normalization)?;
                let epilogue = Epilogue { bias, ..epilogue };
                let kind = RecordKind::Convolution { folded, input, add: chain.add };
                self.push(end, chain.order, Work::Convolution { kernel, input: slot }, epilogue, kind);
            }
            Op::Linear { bias, .. } if self.is_over_pixels(chain.head) => {
                let folded = Folded { padding: None, convolution: chain.head, normalization: None };
                let kernel = self.kernels.get(self.graph, self.isa, folded, false)?;
                let bias = self.folded_bias(bias.as_ref(), None)?;
                let epilogue = Epilogue { bias, ..epilogue };
                let kind = RecordKind::Convolution { folded, input, add: chain.add };
                self.push(end, chain.order, Work::Convolution { kernel, input: slot }, epilogue, kind);
            }
            Op::BatchNorm { scale, shift } => {
                let scale: Option<Arc<[f32]>> = Some(numbers(scale)?.into());
                let epilogue = Epilogue { bias: Some(numbers(shift)?.into()), ..epilogue };
                let kind = RecordKind::Copy { scale: scale.clone(), input };
                self.push(end, slot.order, Work::Copy { scale, input: slot }, epilogue, kind);
            }
            Op::Linear { weight, bias } => {
                let weight = weight.contiguous()?;
                let bias = bias.as_ref().map(|bias| Ok::<_, candle_core::Error>(numbers(bias)?.into())).transpose()?;
                let kind = RecordKind::Linear { weight: weight.clone(), input };
                let weight = self.kernels.linear(self.graph, self.isa, chain.head, &weight)?;
                let work = Work::Linear { weight, bias, input: slot, bounds };
                self.push(end, Order::Own, work, Epilogue::default(), kind);
            }
            Op::Binary(_) if chain.add.is_none() => {
                let Some(PerChannel { input, scale, shift }) = self.per_channel(chain.head) else {
                    unreachable!("an operation of two values heads a chain as an addition or with a constant")
                };
                let slot = self.slot(input).expect("the operand that is no constant");
                let scale: Option<Arc<[f32]>> = scale.map(Into::into);
                let epilogue = Epilogue { bias: shift.map(Into::into), ..epilogue };
                let kind = RecordKind::Copy { scale: scale.clone(), input };
                self.push(end, slot.order, Work::Copy { scale, input: slot }, epilogue, kind);
            }
            Op::Binary(_) => {
                let kind = RecordKind::Add { inputs: [input, head.inputs[1].0] };
                self.push(end, slot.order, Work::Copy { scale: None, input: slot }, epilogue, kind);
            }
            _ => {
                let kind = RecordKind::Copy { scale: None, input };
                self.push(end, slot.order, Work::Copy { scale: None, input: slot }, epilogue, kind);
            }
        }
        Ok(())
    }

    /// `bias * scale + shift`.
    fn folded_bias(&self, bias: Option<&Tensor>, normalization: Option<usize>) -> Result<Option<Arc<[f32]>>> {
        let bias = bias.map(numbers).transpose()?;
        let Some(Op::BatchNorm { scale, shift }) = normalization.map(|node| &self.graph.nodes[node].op) else {
            return Ok(bias.map(Into::into));
        };
        let (scale, mut shift) = (numbers(scale)?, numbers(shift)?);
        for (i, shift) in shift.iter_mut().enumerate() {
            *shift += bias.as_ref().map_or(0.0, |bias| bias[i]) * scale[i];
        }
        Ok(Some(shift.into()))
    }
}

/// `input * scale + shift` per channel.
struct PerChannel {
    input: usize,
    scale: Option<Vec<f32>>,
    shift: Option<Vec<f32>>,
}

/// The bounds of an activation that clamps.
fn bounds(activation: Activation) -> Option<Bounds> {
    match activation {
        Activation::Relu => Some(Bounds { low: 0.0, high: f32::INFINITY }),
        Activation::Clip { low, high } => Some(Bounds { low: low as f32, high: high as f32 }),
        _ => None,
    }
}
