//! What comes before and behind a node on every path: dominators.

use crate::{Graph, NodeId};

/// The nodes through which everything goes, as seen from each node.
pub(super) struct Order {
    /// For each node, the next one through which every path from it to the output leads.
    behind: Vec<Option<NodeId>>,
    /// For each node, the last one before it through which every path from the input to it leads; `None` for the input and
    /// for what does not depend on it.
    before: Vec<Option<NodeId>>,
}

impl Order {
    pub(super) fn of(graph: &Graph) -> Self {
        let users = graph.users();
        // Nodes stand in execution order, so the one that is further away steps on until both meet.
        let mut behind: Vec<Option<NodeId>> = vec![None; graph.nodes.len()];
        for index in (0..graph.output.0).rev() {
            let meet = |a: Option<NodeId>, b: Option<NodeId>| {
                let (mut a, mut b) = (a?, b?);
                while a != b {
                    let nearer = if a < b { &mut a } else { &mut b };
                    *nearer = behind[nearer.0]?;
                }
                Some(a)
            };
            behind[index] = users[index].iter().copied().map(Some).reduce(meet).flatten();
        }
        let mut before: Vec<Option<NodeId>> = vec![None; graph.nodes.len()];
        for (index, node) in graph.nodes.iter().enumerate() {
            let meet = |a: Option<NodeId>, b: Option<NodeId>| {
                let (mut a, mut b) = (a?, b?);
                while a != b {
                    let further = if a < b { &mut b } else { &mut a };
                    *further = before[further.0]?;
                }
                Some(a)
            };
            let reached = |input: &NodeId| *input == graph.input || before[input.0].is_some();
            let inputs = node.inputs.iter().copied().filter(reached);
            before[index] = inputs.map(Some).reduce(meet).flatten();
        }
        Self { behind, before }
    }

    /// The nodes behind `node` through which everything goes, the nearest first.
    pub(super) fn behind(&self, node: NodeId) -> impl Iterator<Item = NodeId> {
        std::iter::successors(self.behind[node.0], |next| self.behind[next.0])
    }

    /// The nodes before `node` through which everything comes, the nearest first.
    pub(super) fn before(&self, node: NodeId) -> impl Iterator<Item = NodeId> {
        std::iter::successors(self.before[node.0], |next| self.before[next.0])
    }
}
