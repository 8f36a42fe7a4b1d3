//! Facts about layers: how much of the input one cell stands for, and which layer is explained by default.

mod attention;
mod blocks;
mod head;
mod order;
mod part;

pub use head::Head;

use crate::{Graph, NodeId, Op};
use faithful_core::LayerId;
use order::Order;

impl Graph {
    /// The inflate region of `layer` per spatial axis: input size over map size at the nominal input, the cumulative
    /// stride (Buono and Åkesson 2023, Eq. 62).
    ///
    /// `None` where the layer has no spatial axes (its shape is not `(C, h, w)` or `(C, t)` like the input's).
    pub fn inflate_region(&self, layer: LayerId) -> Option<Vec<f64>> {
        let map = self.map_size(NodeId::from(layer))?;
        Some(self.input_shape[1..].iter().zip(map).map(|(&input, &size)| input as f64 / size as f64).collect())
    }

    /// The spatial sizes of a layer's map, where it has as many spatial axes as the input.
    fn map_size(&self, node: NodeId) -> Option<&[usize]> {
        let shape = &self.layers.get(node.0)?.shape;
        let spatial = shape.len() == self.input_shape.len() && shape.len() >= 2 && self.batch_first[node.0];
        (spatial && !shape.contains(&0)).then(|| &shape[1..])
    }

    fn has_extent(&self, node: NodeId) -> bool {
        self.map_size(node).is_some_and(|sizes| sizes.iter().any(|&size| size > 1))
    }

    /// The layer that class activation maps explain by default: the end of the last block with places, behind its
    /// normalisation, activation and residual sum and before any pooling.
    ///
    /// VGG16's is `features.29`, a residual network's the end of `layer4`. A convolution that makes the scores
    /// themselves, one channel per class with nothing but an activation and pooling behind it (`SqueezeNet`), is the
    /// classifier and no block. Where attention comes behind the last convolution, it is the last normalisation of the
    /// tokens before the last attention; where tokens are mixed by other means (`MLP-Mixer`), the last normalisation of
    /// the tokens. `None` for a network without such a layer.
    pub fn target_layer(&self) -> Option<LayerId> {
        let order = Order::of(self);
        let convolution = self.last_convolution();
        let attention = (self.input_shape.len() == 3).then(|| self.last_attention(&order)).flatten();
        let tokens = attention
            .filter(|attention| convolution.is_none_or(|convolution| convolution < *attention))
            .and_then(|attention| self.tokens_before(attention, &order));
        let block = convolution.map(|convolution| self.block_end(convolution, &order));
        let behind = || self.last_tokens_behind(block.unwrap_or(self.input), &order);
        Some(LayerId::from(tokens.or_else(behind).or(block)?))
    }

    /// The last convolution with places that is no classifier, if there is another.
    fn last_convolution(&self) -> Option<NodeId> {
        let convolution = |node: &NodeId| self.node(*node).op.is_convolution() && self.has_extent(*node);
        let candidates: Vec<NodeId> = (0..self.nodes.len()).rev().map(NodeId).filter(convolution).collect();
        candidates.iter().find(|node| !self.is_classifier(node.0)).or(candidates.first()).copied()
    }

    /// The last layer with the places of a convolution, or with those of the pooling between it and its activation, that
    /// still is of the same block.
    fn block_end(&self, convolution: NodeId, order: &Order) -> NodeId {
        let (mut block, mut like, mut activated) = (convolution, convolution, false);
        for next in order.behind(convolution) {
            match &self.node(next).op {
                // A convolution that is activated behind its pooling.
                Op::MaxPool2d(_) | Op::AvgPool2d(_) if !activated && self.has_extent(next) => like = next,
                _ if !self.stays_in_block(like, next) => break,
                op => {
                    let computes = match op {
                        Op::Activation(_) | Op::Concat { .. } => true,
                        Op::Binary(_) => self.is_of_two(next, order),
                        Op::Composed(own) => own.is_elementwise(),
                        op => attention::normalises(op),
                    };
                    let same = self.map_size(next) == self.map_size(like);
                    activated |= computes && (same || self.is_unfolded(next, like));
                    let ends =
                        if same { !matches!(op, Op::Linear { .. }) } else { computes && self.is_unfolded(next, like) };
                    if ends && (activated || like == convolution) {
                        block = next;
                    }
                }
            }
        }
        block
    }

    /// Whether a node behind `like`, through which everything goes, still is of the same block: it neither pools nor
    /// flattens. Channels may leave their axis for a normalisation or a perceptron and come back; groups may be split
    /// for a normalisation and joined again.
    fn stays_in_block(&self, like: NodeId, next: NodeId) -> bool {
        let splits = matches!(
            self.node(next).op,
            Op::Reshape(_)
                | Op::Flatten { .. }
                | Op::Squeeze(_)
                | Op::Unsqueeze(_)
                | Op::BatchNorm { .. }
                | Op::GroupNorm { .. }
                | Op::LayerNorm { .. }
                | Op::Activation(_)
                | Op::Unary(_)
                | Op::Binary(_)
                | Op::Identity
        ) || matches!(&self.node(next).op, Op::Composed(own) if own.is_elementwise());
        let keeps = matches!(self.node(next).op, Op::Concat { .. } | Op::Transpose(_) | Op::Linear { .. });
        let mut shape = self.layers[next.0].shape.clone();
        let map = self.map_size(like).unwrap_or_default();
        let has_extent = map.iter().all(|size| {
            let place = shape.iter().position(|own| own == size);
            place.map(|place| shape.swap_remove(place)).is_some()
        });
        self.batch_first[next.0] && (splits || keeps && (has_extent || self.is_unfolded(next, like)))
    }

    /// Whether all operands depend on the input: a residual sum or a gate, no bias.
    fn is_of_two(&self, node: NodeId, order: &Order) -> bool {
        self.node(node).inputs.iter().all(|&input| input == self.input || order.before(input).next().is_some())
    }

    /// Whether a layer has the places of the map `like` along one axis, as (places, channels) or (channels, places).
    fn is_unfolded(&self, node: NodeId, like: NodeId) -> bool {
        let Some(&[height, width]) = self.map_size(like) else { return false };
        self.is_grid(node) && self.layers[node.0].shape.contains(&(height * width))
    }

    /// Whether a convolution's channels are the network's outputs, with no weights behind it.
    fn is_classifier(&self, index: usize) -> bool {
        let outputs = self.layers[self.output.0].shape.first();
        self.layers[index].shape.first() == outputs && !self.has_weights_behind(index)
    }

    /// Whether anything with weights depends on a node.
    fn has_weights_behind(&self, index: usize) -> bool {
        let mut behind = vec![false; self.nodes.len()];
        behind[index] = true;
        for (place, node) in self.nodes.iter().enumerate().skip(index + 1) {
            behind[place] = node.inputs.iter().any(|input| behind[input.0]);
            let weighted = !node.op.weights().is_empty() && !matches!(node.op, Op::Constant(_) | Op::BatchNorm { .. });
            if behind[place] && weighted {
                return true;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests;
