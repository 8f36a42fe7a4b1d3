//! Nodes that are appended to a graph.

use crate::{Graph, Node, NodeId, Op};
use candle_core::{DType, Device, Tensor};
use faithful_core::Result;
use faithful_tensor::{Binary, Unary};

/// A graph's nodes, with more behind them.
#[derive(Clone)]
pub(crate) struct Head<'a> {
    pub(crate) graph: &'a Graph,
    pub(crate) nodes: Vec<Node>,
}

impl<'a> Head<'a> {
    pub(crate) fn new(graph: &'a Graph) -> Self {
        Self { graph, nodes: graph.nodes.clone() }
    }

    pub(crate) fn add(&mut self, name: &str, op: Op, inputs: &[NodeId]) -> NodeId {
        let mut free = self.graph.free_name(&format!("score/{name}"));
        while self.nodes[self.graph.nodes.len()..].iter().any(|node| node.name == free) {
            free.push('\'');
        }
        self.nodes.push(Node { name: free, op, inputs: inputs.to_vec() });
        NodeId(self.nodes.len() - 1)
    }

    pub(crate) fn constant(&mut self, name: &str, value: f64) -> Result<NodeId> {
        let Graph { dtype, device, .. } = self.graph;
        let tensor = Tensor::new(&[value], &Device::Cpu)?.to_dtype(*dtype)?.to_device(device)?;
        Ok(self.add(name, Op::Constant(tensor), &[]))
    }

    /// The same values, through which no gradient goes: rounded to a 4096th, whose derivative is zero.
    pub(crate) fn detached(&mut self, name: &str, id: NodeId) -> Result<NodeId> {
        let dtype = self.graph.dtype;
        let finest = if dtype == DType::F32 || dtype == DType::F64 { 4096.0 } else { 64.0 };
        let factor = self.constant(&format!("{name}/scale"), finest)?;
        let large = self.add(&format!("{name}/large"), Op::Binary(Binary::Mul), &[id, factor]);
        let round = self.add(&format!("{name}/round"), Op::Unary(Unary::Round), &[large]);
        Ok(self.add(&format!("{name}/fixed"), Op::Binary(Binary::Div), &[round, factor]))
    }
}
