//! The layer that is explained by default in a transformer.

use super::order::Order;
use crate::{Graph, NodeId, Op};
use faithful_core::{LayerId, TokenGrid, has_channels_last};

impl Graph {
    /// The last attention: the product of a softmax and values, both of them from the input.
    pub(super) fn last_attention(&self, order: &Order) -> Option<NodeId> {
        self.attention_products(order).last().map(|(product, _)| product)
    }

    /// The last normalisation of the tokens before the last attention; the sum of the blocks before it where the network
    /// normalises behind its attention (`SwinV2`) or within its projections (`LeViT`).
    ///
    /// `None` where neither has the places of an image.
    pub(super) fn tokens_before(&self, attention: NodeId, order: &Order) -> Option<NodeId> {
        let before: Vec<NodeId> = order.before(attention).collect();
        // The stream that goes on around the attention: not everything behind it goes through the attention.
        let goes_around = |node: &NodeId| order.behind(*node).all(|behind| behind != attention);
        let stream = before.iter().position(goes_around)?;
        let mut found = None;
        for &node in before[..=stream].iter().rev() {
            let op = &self.node(node).op;
            let computes = normalises(op) || matches!(op, Op::Binary(_) | Op::Activation(_));
            if node != before[stream] && !computes && !moves(op) {
                break;
            }
            if (computes || node == before[stream]) && self.has_grid(node) {
                found = Some(node);
            }
        }
        found
    }

    /// The last normalisation of tokens through which everything behind `node` goes, for networks that mix tokens by other
    /// means than attention.
    pub(super) fn last_tokens_behind(&self, node: NodeId, order: &Order) -> Option<NodeId> {
        let of_tokens = |node: &NodeId| normalises(&self.node(*node).op) && self.is_grid(*node);
        order.behind(node).filter(of_tokens).last()
    }

    /// Whether a layer has places, as a map or as tokens.
    fn has_grid(&self, node: NodeId) -> bool {
        self.is_even_map(node) || self.is_grid(node) || self.is_channels_last(node)
    }

    /// Whether a layer is a map (h, w, C), as Swin's blocks give it.
    fn is_channels_last(&self, node: NodeId) -> bool {
        let (&[_, height, width], &[a, b, c]) = (self.input_shape.as_slice(), self.layers[node.0].shape.as_slice())
        else {
            return false;
        };
        self.batch_first[node.0] && has_channels_last([a, b, c], [height, width])
    }

    /// Whether a layer is a map whose cells cover about as much of the input down as across: the (tokens, batch, channels)
    /// of an attention over sequences have as many axes and are none.
    fn is_even_map(&self, node: NodeId) -> bool {
        let Some(region) = self.inflate_region(LayerId::from(node)) else { return false };
        let (least, most) = region.iter().fold((f64::INFINITY, 0.0f64), |(a, b), &side| (a.min(side), b.max(side)));
        self.has_extent(node) && most < 2.0 * least
    }

    /// Whether a layer holds the tokens of an image, as (tokens, channels) or (channels, tokens).
    pub(super) fn is_grid(&self, node: NodeId) -> bool {
        let (&[_, height, width], &[first, second]) =
            (self.input_shape.as_slice(), self.layers[node.0].shape.as_slice())
        else {
            return false;
        };
        let grid = |tokens| TokenGrid::of(tokens, [height, width]).is_some();
        self.batch_first[node.0] && first.min(second) > 1 && (grid(first) || grid(second))
    }
}

/// Whether an operation only moves values about.
pub(super) fn moves(op: &Op) -> bool {
    op.moves_values() || matches!(op, Op::Pad { .. })
}

pub(super) fn normalises(op: &Op) -> bool {
    matches!(op, Op::LayerNorm { .. } | Op::GroupNorm { .. } | Op::BatchNorm { .. })
}
