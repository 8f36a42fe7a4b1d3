use crate::plan::Prepared;
use candle_core::{DType, Device, Tensor};
use faithful_core::{BackwardRule, LayerId, LayerInfo, Result};
use faithful_kernel::Factors;
use faithful_tensor::{Activation, Binary, Conv, Direction, PadMode, Pool, Recurrent, Reduction, Resize, Unary};
use std::sync::Arc;

/// A network as data: nodes in execution order, each with its weights; one input, one output.
///
/// Every node is a layer of the same number (`LayerId(i)` is `NodeId(i)`), the input included. Built by
/// [`GraphBuilder`](crate::GraphBuilder) or read from a file; cheap to clone, because tensors are shared.
///
/// The input size is free: shapes are inferred when the network runs, and only operations that fix a size (a fully
/// connected layer behind a flattening, a stored reshape) restrict it.
#[derive(Clone, Debug)]
pub struct Graph {
    pub(crate) nodes: Vec<Node>,
    pub(crate) output: NodeId,
    pub(crate) input: NodeId,
    /// One input without the batch.
    pub(crate) input_shape: Vec<usize>,
    pub(crate) layers: Vec<LayerInfo>,
    /// Whether a node's first axis is the batch and no other axis depends on it.
    pub(crate) batch_first: Vec<bool>,
    pub(crate) dtype: DType,
    pub(crate) device: Device,
    pub(crate) rule: BackwardRule,
    /// Whether the file's input is of whole numbers: pixels as they are.
    pub(crate) of_bytes: bool,
    /// What plans round the factors of products to on the way forward.
    pub(crate) factors: Factors,
    /// What was prepared for running fast, shared by clones with the same weights; `None` to run on candle only.
    pub(crate) prepared: Option<Arc<Prepared>>,
}

impl Graph {
    /// The nodes; operands always stand before the nodes that use them.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The node `id`.
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.0]
    }

    /// The node whose value the network gives.
    pub fn output(&self) -> NodeId {
        self.output
    }

    /// The node that holds the network's input.
    pub fn input(&self) -> NodeId {
        self.input
    }

    /// The nominal shape of one input, without the batch.
    pub fn nominal_input(&self) -> &[usize] {
        &self.input_shape
    }

    /// How the activations pass gradients back.
    pub fn backward_rule(&self) -> BackwardRule {
        self.rule
    }

    /// The nodes that use the value of each node, in order; a node that uses it twice stands there twice.
    pub fn users(&self) -> Vec<Vec<NodeId>> {
        let mut users = vec![Vec::new(); self.nodes.len()];
        for (index, node) in self.nodes.iter().enumerate() {
            for input in &node.inputs {
                users[input.0].push(NodeId(index));
            }
        }
        users
    }

    /// Every node's shape, the batch included, for an input of `shape` `(N, …)`.
    ///
    /// # Errors
    /// [`Error::Shape`](faithful_core::Error::Shape) names the first node that cannot take such an input.
    pub fn shapes(&self, shape: &[usize]) -> Result<Vec<Vec<usize>>> {
        crate::shape::infer_all(&self.nodes, shape)
    }
}

impl From<NodeId> for LayerId {
    fn from(node: NodeId) -> Self {
        Self(node.0)
    }
}

impl From<LayerId> for NodeId {
    fn from(layer: LayerId) -> Self {
        Self(layer.0)
    }
}

/// A node's place in [`Graph::nodes`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub usize);

/// One step of a network: a name, an operation, where its operands come from. A node has exactly one output.
#[derive(Clone, Debug)]
pub struct Node {
    /// The name in the source model; every node is a layer of that name.
    pub name: String,
    /// What it computes.
    pub op: Op,
    /// Its operands, all before it in the graph.
    pub inputs: Vec<NodeId>,
}

/// What a node computes. Weights are part of the operation: they are data, not edges.
///
/// Axis numbers count the batch axis as 0. Where a shape is stored, its batch entry is [`Dim::Batch`].
#[derive(Clone, Debug)]
#[non_exhaustive]
#[allow(missing_docs)] // The fields are the parameters of the functions that the variants name.
pub enum Op {
    /// The network's input.
    Input,
    /// A tensor that does not depend on the input; without a batch axis of its own (it broadcasts).
    Constant(Tensor),
    /// [`faithful_tensor::conv2d`].
    Conv2d { weight: Tensor, bias: Option<Tensor>, conv: Conv },
    /// [`faithful_tensor::conv1d`].
    Conv1d { weight: Tensor, bias: Option<Tensor>, conv: Conv },
    /// [`faithful_tensor::conv_transpose2d`].
    ConvTranspose2d { weight: Tensor, bias: Option<Tensor>, conv: Conv, output_padding: [usize; 2] },
    /// [`faithful_tensor::linear`].
    Linear { weight: Tensor, bias: Option<Tensor> },
    /// [`faithful_tensor::matmul`].
    MatMul,
    /// [`faithful_tensor::batch_norm`], running statistics and affine parameters folded into `scale` and `shift`.
    BatchNorm { scale: Tensor, shift: Tensor },
    /// [`faithful_tensor::layer_norm`].
    LayerNorm { axis: usize, weight: Option<Tensor>, bias: Option<Tensor>, epsilon: f64 },
    /// [`faithful_tensor::group_norm`].
    GroupNorm { groups: usize, weight: Option<Tensor>, bias: Option<Tensor>, epsilon: f64 },
    /// [`faithful_tensor::activate`].
    Activation(Activation),
    /// [`faithful_tensor::softmax`], or its logarithm.
    Softmax { axis: usize, log: bool },
    /// [`faithful_tensor::max_pool2d`].
    MaxPool2d(Pool),
    /// [`faithful_tensor::avg_pool2d`].
    AvgPool2d(Pool),
    /// [`faithful_tensor::adaptive_avg_pool2d`]; `[1, 1]` is the global mean.
    AdaptiveAvgPool2d([usize; 2]),
    /// [`faithful_tensor::adaptive_max_pool2d`].
    AdaptiveMaxPool2d([usize; 2]),
    /// [`faithful_tensor::lstm`]: `(N, T, I)` to `(N, T, H)`, one direction.
    Lstm { weights: Recurrent, direction: Direction },
    /// [`faithful_tensor::gru`]: `(N, T, I)` to `(N, T, H)`, one direction.
    Gru { weights: Recurrent, direction: Direction, reset_after: bool },
    /// [`faithful_tensor::binary`].
    Binary(Binary),
    /// [`faithful_tensor::unary`].
    Unary(Unary),
    /// [`faithful_tensor::concat`].
    Concat { axis: usize },
    /// [`faithful_tensor::slice`].
    Slice { axis: usize, start: usize, end: Option<usize>, step: isize },
    /// [`faithful_tensor::pad`].
    Pad { pads: Vec<[isize; 2]>, mode: PadMode },
    /// A new shape with the same elements.
    Reshape(Vec<Dim>),
    /// Everything from `axis` on becomes one axis.
    Flatten { axis: usize },
    /// The axes in a new order.
    Transpose(Vec<usize>),
    /// Drops axes of size 1.
    Squeeze(Vec<usize>),
    /// Inserts axes of size 1 at these places of the result.
    Unsqueeze(Vec<usize>),
    /// Broadcasts to a shape.
    Expand(Vec<Dim>),
    /// [`faithful_tensor::reduce`].
    Reduce { axes: Vec<usize>, keep: bool, reduction: Reduction },
    /// [`faithful_tensor::gather`].
    Gather { axis: usize, index: Vec<usize> },
    /// [`faithful_tensor::resize2d`]; the size as a multiple of the input's or fixed.
    Resize { size: ResizeTo, rules: Resize },
    /// The input itself (dropout, identity); kept because its name may be asked for.
    Identity,
}

/// One entry of a stored shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dim {
    /// The batch.
    Batch,
    /// The batch that many times: heads or windows that were folded into it.
    Times(usize),
    /// A size.
    Fixed(usize),
    /// What is left over; at most once.
    Rest,
    /// The size of the operand's axis of that number (ONNX's 0).
    Same(usize),
}

/// A resize's goal.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ResizeTo {
    /// `[height, width]` in pixels.
    Size([usize; 2]),
    /// `[height, width]` as factors; results are rounded down.
    Scale([f64; 2]),
}
