//! The attentions of a graph, found by what they compute.

use super::attention::moves;
use super::order::Order;
use crate::{Graph, Node, NodeId, Op};
use faithful_core::{Attention, Error, LayerId, Result};
use faithful_tensor::Binary;

impl Graph {
    /// The attentions in their order: softmaxes over the last axis that weigh values in a product, both of them from the input.
    ///
    /// # Errors
    /// [`Error::Unsupported`] where there is none.
    pub(crate) fn attentions(&self) -> Result<Vec<Attention>> {
        let order = Order::of(self);
        let mut softmaxes: Vec<NodeId> = self.attention_products(&order).filter_map(|(_, softmax)| softmax).collect();
        softmaxes.sort_unstable();
        softmaxes.dedup();
        if softmaxes.is_empty() {
            let reason = "attention: the network has none; take a method at a layer or at the input";
            return Err(Error::Unsupported(vec![reason.into()]));
        }
        let cuts: Vec<NodeId> = order.behind(self.input).filter(|node| self.ends_block(*node, &order)).collect();
        let ends = softmaxes.iter().skip(1).copied().chain([NodeId(self.nodes.len())]);
        let attention = |(&softmax, end): (&NodeId, NodeId)| {
            let tokens = cuts.iter().rev().find(|cut| **cut > softmax && **cut < end);
            Attention { probabilities: LayerId::from(softmax), tokens: tokens.copied().map(LayerId::from) }
        };
        Ok(softmaxes.iter().zip(ends).map(attention).collect())
    }

    /// The products of a softmax and values, both from the input, in their order; with the softmax where it is over its last axis.
    pub(super) fn attention_products(&self, order: &Order) -> impl Iterator<Item = (NodeId, Option<NodeId>)> {
        (0..self.nodes.len()).map(NodeId).filter_map(|node| {
            let Node { op: Op::MatMul, inputs, .. } = self.node(node) else { return None };
            let softmax = inputs.iter().find_map(|input| self.softmax_behind(*input))?;
            self.is_of_two(node, order).then_some((node, self.over_its_last_axis(softmax)))
        })
    }

    fn over_its_last_axis(&self, softmax: NodeId) -> Option<NodeId> {
        let Op::Softmax { axis, .. } = self.node(softmax).op else { return None };
        // What windows or heads were folded into the batch has that in its shape.
        let rank = self.layers[softmax.0].shape.len() + usize::from(self.batch_first[softmax.0]);
        (axis + 1 == rank).then_some(softmax)
    }

    /// The softmax that a value is, moved, reshaped, scaled or masked.
    fn softmax_behind(&self, node: NodeId) -> Option<NodeId> {
        let mut open = vec![node];
        let mut seen = vec![false; self.nodes.len()];
        while let Some(node) = open.pop() {
            let Node { op, inputs, .. } = self.node(node);
            if matches!(op, Op::Softmax { log: false, .. }) {
                return Some(node);
            }
            let passes = moves(op) || matches!(op, Op::Binary(_) | Op::Concat { .. });
            if passes && !std::mem::replace(&mut seen[node.0], true) {
                open.extend(inputs);
            }
        }
        None
    }

    /// Whether a node is a residual sum of tokens: `(T, C)` without the batch.
    fn ends_block(&self, node: NodeId, order: &Order) -> bool {
        matches!(self.node(node).op, Op::Binary(Binary::Add))
            && self.batch_first[node.0]
            && self.layers[node.0].shape.len() == 2
            && self.is_of_two(node, order)
    }
}
