use crate::Op;
use crate::plan::Prepared;
use candle_core::{DType, Device};
use faithful_core::{BackwardRule, LayerId, LayerInfo, Result};
use faithful_kernel::Factors;
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
        crate::op::shape::infer_all(&self.nodes, shape)
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
