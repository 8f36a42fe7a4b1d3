//! The layer that is explained by default where a score is of one part of the output: a box of a detection.

use super::order::Order;
use crate::{Graph, NodeId, Op};
use faithful_core::LayerId;

/// Joins that are looked at, from the output back: heads have fewer, and what is inside a backbone all goes on.
const JOINS: usize = 16;

impl Graph {
    /// What the last joins of the network join, but for those of maps: which of it a score depends on says of which part of the output it is.
    pub fn joined(&self) -> Vec<LayerId> {
        let joins = (0..self.nodes.len()).rev().filter(|index| self.joins_parts(*index)).take(JOINS);
        let inputs = joins.flat_map(|index| self.nodes[index].inputs.iter().copied());
        let inputs = inputs.filter(|input| !matches!(self.nodes[input.0].op, Op::Constant(_)));
        let mut joined: Vec<LayerId> = inputs.map(LayerId::from).collect();
        joined.sort_unstable_by_key(|layer| layer.0);
        joined.dedup();
        joined
    }

    fn joins_parts(&self, index: usize) -> bool {
        matches!(self.nodes[index].op, Op::Concat { .. }) && !self.has_extent(NodeId(index))
    }

    /// The layer that is explained by default for a score of which only some [`joined`](Self::joined) layers are `reached`: the last one
    /// with places through which everything goes on its way, and behind which there are weights.
    pub fn target_layer_towards(&self, reached: &[LayerId]) -> Option<LayerId> {
        let joined = self.joined();
        let is_reached = |node: &NodeId| {
            let layer = LayerId::from(*node);
            reached.contains(&layer) || !joined.contains(&layer)
        };
        let mut part = self.clone();
        for index in (0..part.nodes.len()).filter(|index| self.joins_parts(*index)) {
            part.nodes[index].inputs.retain(is_reached);
        }
        let mut needed = vec![false; part.nodes.len()];
        needed[part.output.0] = true;
        for index in (0..part.nodes.len()).rev() {
            if needed[index] {
                part.nodes[index].inputs.iter().for_each(|input| needed[input.0] = true);
            } else {
                part.nodes[index].inputs.clear();
                part.nodes[index].op = Op::Identity;
            }
        }
        let order = Order::of(&part);
        let mut before = order.before(part.output).filter(|node| *node != part.input && part.has_extent(*node));
        before.find(|node| part.has_weights_behind(node.0)).map(LayerId::from)
    }
}
