//! From a graph to steps: which nodes become one kernel, and where values lie.

use super::kernel::{Convolution, Kernel, numbers};
use super::memory::Slot;
use super::step::{Bounds, Ending, LinearWeight, Operand, Step, Work, with_elements};
use crate::{Graph, Node, NodeId, Op, execute, shape};
use candle_core::Tensor;
use faithful_core::Result;
use faithful_tensor::cpu::{Factors, Isa, Linear, Windows};
use faithful_tensor::{Activation, Binary, PadMode, Pool, Reduction};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

/// Repacked weights, shared by all plans of a graph.
#[derive(Debug, Default)]
pub(super) struct Kernels {
    convolutions: Mutex<HashMap<KernelKey, Arc<Kernel>>>,
    /// Rounded ones, by their nodes.
    linear: Mutex<HashMap<usize, Arc<Linear>>>,
}

/// What is folded, and whether the kernel is the reverse pass's.
type KernelKey = (Folded, bool);

/// A convolution node, and the nodes that are folded into it: the padding before it and the batch normalisation behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Folded {
    pub(super) padding: Option<usize>,
    pub(super) convolution: usize,
    pub(super) normalization: Option<usize>,
}

impl Kernels {
    /// The kernel of a convolution, repacked at its first use.
    pub(super) fn get(&self, graph: &Graph, isa: Isa, folded: Folded, back: bool) -> Result<Arc<Kernel>> {
        let key = (folded, back);
        let kernels = || self.convolutions.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(kernel) = kernels().get(&key) {
            return Ok(kernel.clone());
        }
        let Op::Conv2d { weight, conv, .. } = &graph.nodes[folded.convolution].op else {
            unreachable!("only convolutions are folded")
        };
        let scale = folded.normalization.map(|node| match &graph.nodes[node].op {
            Op::BatchNorm { scale, .. } => scale,
            _ => unreachable!("only batch normalisations are folded"),
        });
        let mut conv = *conv;
        if let Some(more) = folded.padding.and_then(|node| zeros_around(&graph.nodes[node].op)) {
            conv.padding = std::array::from_fn(|side| conv.padding[side] + more[side]);
        }
        let convolution = Convolution { weight, conv: &conv, scale };
        // Without the lock: repacking is parallel, and a thread that waits in it may take up work that comes here again.
        let kernel = Arc::new(if back { convolution.back(isa)? } else { convolution.forth(isa, graph.factors)? });
        Ok(kernels().entry(key).or_insert(kernel).clone())
    }

    /// The weights of the linear layer `node`, rounded at their first use where the graph asks for it.
    fn linear(&self, graph: &Graph, isa: Isa, node: usize, weight: &Tensor) -> Result<LinearWeight> {
        if graph.factors == Factors::F32 {
            return Ok(LinearWeight::Plain(weight.clone()));
        }
        let kernels = || self.linear.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(kernel) = kernels().get(&node) {
            return Ok(LinearWeight::Rounded(kernel.clone()));
        }
        let size = weight.dims2()?;
        let kernel = with_elements(weight, |weight| Linear::new(isa, graph.factors, weight, [size.0, size.1]))?;
        // Without the lock, as above.
        Ok(LinearWeight::Rounded(kernels().entry(node).or_insert(Arc::new(kernel)).clone()))
    }
}

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
    Concat {
        inputs: Vec<usize>,
    },
    ToPlanes {
        input: usize,
    },
    FromPlanes {
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
            | Self::ToPlanes { input }
            | Self::FromPlanes { input } => vec![*input],
            Self::Add { inputs } => inputs.to_vec(),
            Self::Concat { inputs } | Self::Generic { inputs, .. } => inputs.clone(),
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
    depends: Vec<bool>,
    users: Vec<Vec<usize>>,
    /// Nodes that must have a value of their own.
    pinned: Vec<bool>,
    /// Chains of nodes that one step computes, by the number of their last node.
    chains: HashMap<usize, Chain>,
    absorbed: Vec<bool>,
    /// The padding that is folded into a convolution, by the convolution's node.
    padded: HashMap<usize, usize>,
}

/// A node, and what is fused behind it.
#[derive(Clone, Copy, Debug)]
struct Chain {
    head: usize,
    normalization: Option<usize>,
    /// The other operand of an addition.
    add: Option<usize>,
    bounds: Bounds,
}

impl<'a> Forward<'a> {
    /// Plans the way from what is given to what is wanted.
    pub(super) fn compile(graph: &'a Graph, isa: Isa, kernels: &'a Kernels, request: &'a Request) -> Result<Self> {
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
        };
        let order = || (0..count).filter(|&index| reached[index]);
        for index in order() {
            forward.describe(index)?;
        }
        for index in order() {
            forward.fold_padding(index);
        }
        for index in order() {
            forward.node(index)?;
        }
        Ok(forward)
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

    /// Lets convolutions read what a node pads with zeros: importers of frameworks with uneven padding write it apart.
    fn fold_padding(&mut self, index: usize) {
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
    pub(super) fn allocate(&mut self, dims: &[usize]) -> Slot {
        let shape = slot_shape(dims);
        self.buffers.push(shape.iter().product());
        Slot { buffer: self.buffers.len() - 1, offset: 0, shape, pixel: shape[3] }
    }

    pub(super) fn slot(&self, node: usize) -> Option<Slot> {
        match &self.values[node] {
            Value::Slot(slot) => Some(*slot),
            _ => None,
        }
    }

    fn node(&mut self, index: usize) -> Result<()> {
        if index == self.request.given {
            let slot = self.allocate(&self.request.dims);
            self.values[index] = Value::Slot(slot);
            return Ok(());
        }
        let node = &self.graph.nodes[index];
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
            let value = execute::apply(node, &operands, self.batch, self.graph.rule)?;
            self.values[index] = Value::Constant(value);
            return Ok(());
        }
        if let Some(chain) = self.chains.remove(&index) {
            return self.chain(index, chain);
        }
        if self.absorbed[index] {
            return Ok(());
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
        if !self.depends[node.inputs[0].0] {
            return false;
        }
        match &node.op {
            Op::Conv2d { .. } => true,
            Op::BatchNorm { .. } => rank == 4 || rank == 2,
            Op::Linear { .. } => rank == 2,
            Op::Activation(activation) => bounds(*activation).is_some(),
            Op::Binary(Binary::Add) => self.is_plain_addition(index),
            _ => false,
        }
    }

    /// An addition of two computed maps of one shape.
    fn is_plain_addition(&self, index: usize) -> bool {
        let node = &self.graph.nodes[index];
        node.inputs.iter().all(|input| self.depends[input.0])
            && self.dims[node.inputs[0].0] == self.dims[node.inputs[1].0]
    }

    /// The longest chain from `head` on, and its last node; what lies inside is marked as absorbed.
    fn extend(&mut self, head: usize) -> (Chain, usize) {
        let mut chain = Chain { head, normalization: None, add: None, bounds: Bounds::NONE };
        let mut end = head;
        let head_op = &self.graph.nodes[head].op;
        if let Op::Activation(activation) = head_op {
            chain.bounds = bounds(*activation).unwrap_or(Bounds::NONE);
            return (chain, head);
        }
        let convolution = matches!(head_op, Op::Conv2d { .. });
        if let Op::Binary(Binary::Add) = head_op {
            chain.add = Some(self.graph.nodes[head].inputs[1].0);
        }
        while let [next] = self.users[end][..] {
            if self.pinned[end] || self.absorbed[next] || self.chains.contains_key(&next) {
                break;
            }
            let node = &self.graph.nodes[next];
            match &node.op {
                Op::BatchNorm { .. } if convolution && end == head => chain.normalization = Some(next),
                Op::Binary(Binary::Add) if convolution && chain.add.is_none() => {
                    let Some(other) = node.inputs.iter().map(|input| input.0).find(|&input| input != end) else {
                        break;
                    };
                    if self.dims[other] != self.dims[end] || !self.depends[other] {
                        break;
                    }
                    chain.add = Some(other);
                }
                Op::Activation(activation) => {
                    let Some(found) = bounds(*activation) else { break };
                    chain.bounds = found;
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

    fn push(&mut self, node: usize, work: Work, ending: Ending, kind: RecordKind) {
        let bounds = ending.bounds;
        let bounds = match &work {
            Work::Linear { bounds, .. } => *bounds,
            _ => bounds,
        };
        let dims = self.dims[node].clone();
        let out = self.allocate(&dims);
        self.steps.push(Step { work, out, ending });
        self.values[node] = Value::Slot(out);
        self.records.push(Record { node, kind, bounds });
    }

    /// Computes a chain that ends at `end`.
    fn chain(&mut self, end: usize, chain: Chain) -> Result<()> {
        let head = &self.graph.nodes[chain.head];
        let padding = self.padded.get(&chain.head).copied();
        let input = padding.map_or(head.inputs[0].0, |padding| self.graph.nodes[padding].inputs[0].0);
        let add = chain.add.map(|node| self.slot(node).expect("as its other operand does"));
        let slot = self.slot(input).expect("a chain's operand depends on what is given and stands before it");
        let bounds = chain.bounds;
        let ending = Ending { add, bounds, ..Ending::default() };
        match &head.op {
            Op::Conv2d { bias, .. } => {
                let folded = Folded { padding, convolution: chain.head, normalization: chain.normalization };
                let kernel = self.kernels.get(self.graph, self.isa, folded, false)?;
                let bias = self.folded_bias(bias.as_ref(), chain.normalization)?;
                let ending = Ending { bias, ..ending };
                let kind = RecordKind::Convolution { folded, input, add: chain.add };
                self.push(end, Work::Convolution { kernel, input: slot }, ending, kind);
            }
            Op::BatchNorm { scale, shift } => {
                let scale: Option<Arc<[f32]>> = Some(numbers(scale)?.into());
                let ending = Ending { bias: Some(numbers(shift)?.into()), ..ending };
                let kind = RecordKind::Copy { scale: scale.clone(), input };
                self.push(end, Work::Copy { scale, input: slot }, ending, kind);
            }
            Op::Linear { weight, bias } => {
                let weight = weight.contiguous()?;
                let bias = bias.as_ref().map(|bias| Ok::<_, candle_core::Error>(numbers(bias)?.into())).transpose()?;
                let kind = RecordKind::Linear { weight: weight.clone(), input };
                let weight = self.kernels.linear(self.graph, self.isa, chain.head, &weight)?;
                self.push(end, Work::Linear { weight, bias, input: slot, bounds }, Ending::default(), kind);
            }
            Op::Binary(_) => {
                let kind = RecordKind::Add { inputs: [input, head.inputs[1].0] };
                self.push(end, Work::Copy { scale: None, input: slot }, ending, kind);
            }
            _ => {
                let kind = RecordKind::Copy { scale: None, input };
                self.push(end, Work::Copy { scale: None, input: slot }, ending, kind);
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

    /// A node on its own.
    fn single(&mut self, index: usize) -> Result<()> {
        let node = &self.graph.nodes[index];
        let input = node.inputs[0].0;
        let (from, to) = (self.dims[input].clone(), self.dims[index].clone());
        let slot = self.slot(input);
        let pool = |windows: [Windows; 2]| Arc::new(windows);
        match (&node.op, slot) {
            (Op::Identity | Op::Flatten { .. } | Op::Reshape(_) | Op::Squeeze(_) | Op::Unsqueeze(_), Some(slot)) => {
                self.reshape(index, input, slot);
                return Ok(());
            }
            (Op::MaxPool2d(window), Some(slot)) if from.len() == 4 => {
                let windows = pool([Windows::sliding(window, 0, from[2])?, Windows::sliding(window, 1, from[3])?]);
                self.push_pool(index, windows, slot, true);
            }
            (Op::AvgPool2d(window), Some(slot)) if from.len() == 4 => {
                let window = Pool { dilation: [1, 1], ..*window };
                let windows = pool([Windows::sliding(&window, 0, from[2])?, Windows::sliding(&window, 1, from[3])?]);
                self.push_pool(index, windows, slot, false);
            }
            (Op::AdaptiveAvgPool2d([h, w]) | Op::AdaptiveMaxPool2d([h, w]), Some(slot)) if from.len() == 4 => {
                let windows = pool([Windows::adaptive(from[2], *h), Windows::adaptive(from[3], *w)]);
                self.push_pool(index, windows, slot, matches!(node.op, Op::AdaptiveMaxPool2d(_)));
            }
            (Op::Reduce { axes, reduction: Reduction::Mean, .. }, Some(slot))
                if from.len() == 4 && axes[..] == [2, 3] && from[2] * from[3] > 0 =>
            {
                let windows = pool([Windows::adaptive(from[2], 1), Windows::adaptive(from[3], 1)]);
                self.push_pool(index, windows, slot, false);
            }
            (Op::Concat { axis: 1 }, _)
                if (to.len() == 4 || to.len() == 2) && node.inputs.iter().all(|input| self.slot(input.0).is_some()) =>
            {
                let out = self.allocate(&to);
                let mut first = 0;
                for input in &node.inputs {
                    let slot = self.slot(input.0).expect("all operands are in memory");
                    let part = out.channels(first, slot.shape[3]);
                    first += slot.shape[3];
                    let work = Work::Copy { scale: None, input: slot };
                    self.steps.push(Step { work, out: part, ending: Ending::default() });
                }
                self.values[index] = Value::Slot(out);
                let kind = RecordKind::Concat { inputs: node.inputs.iter().map(|input| input.0).collect() };
                self.records.push(Record { node: index, kind, bounds: Bounds::NONE });
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
        self.push(node, work, Ending::default(), kind);
    }

    /// A value with the same elements: the same memory where their order is the same.
    fn reshape(&mut self, index: usize, input: usize, slot: Slot) {
        let (from, to) = (&self.dims[input], self.dims[index].clone());
        let planes = |dims: &[usize]| dims.len() == 4 && dims[2] * dims[3] != 1;
        let tapped = self.request.taps.contains(&index) || self.request.taps.contains(&input);
        if from == &to || (!planes(from) && !planes(&to)) {
            if tapped || !slot.is_dense() {
                if slot.shape == slot_shape(&to) {
                    let kind = RecordKind::Copy { scale: None, input };
                    self.push(index, Work::Copy { scale: None, input: slot }, Ending::default(), kind);
                } else {
                    self.generic(index);
                }
                return;
            }
            let shape = slot_shape(&to);
            self.values[index] = Value::Slot(Slot { shape, pixel: shape[3], ..slot });
            self.root[index] = self.root[input];
        } else if planes(from) && !planes(&to) {
            self.push(index, Work::ToPlanes { input: slot }, Ending::default(), RecordKind::ToPlanes { input });
        } else if !planes(from) && slot.is_dense() {
            self.push(index, Work::FromPlanes { input: slot }, Ending::default(), RecordKind::FromPlanes { input });
        } else {
            self.generic(index);
        }
    }

    /// A node by the reference implementation.
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
        self.push(index, Work::Generic { node, operands, batch: self.batch }, Ending::default(), kind);
    }
}

/// How values lie in memory: maps with their channels innermost, all else in its own order.
fn slot_shape(dims: &[usize]) -> [usize; 4] {
    match *dims {
        [n, c, h, w] => [n, h, w, c],
        [n, k] => [n, 1, 1, k],
        _ => [1, 1, 1, dims.iter().product()],
    }
}

/// How many zeros a node puts around maps, `[top, left, bottom, right]` as a convolution's padding.
fn zeros_around(op: &Op) -> Option<[usize; 4]> {
    let Op::Pad { pads, mode: PadMode::Constant(0.0) } = op else { return None };
    let [[0, 0], [0, 0], [top, bottom], [left, right]] = pads[..] else { return None };
    let sides = [top, left, bottom, right].map(usize::try_from);
    let [Ok(top), Ok(left), Ok(bottom), Ok(right)] = sides else { return None };
    Some([top, left, bottom, right])
}

/// The bounds of an activation that clamps.
fn bounds(activation: Activation) -> Option<Bounds> {
    match activation {
        Activation::Relu => Some(Bounds { low: 0.0, high: f32::INFINITY }),
        Activation::Clip { low, high } => Some(Bounds { low: low as f32, high: high as f32 }),
        _ => None,
    }
}
