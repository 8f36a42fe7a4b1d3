//! Facts about layers: how much of the input one cell stands for, and which layer is explained by default.

use crate::{Graph, NodeId, Op};
use faithful_core::LayerId;

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

    /// The layer that class activation maps explain by default: the output of the last convolutional block with
    /// spatial extent, after its normalisation, activation and residual sum and before any pooling.
    ///
    /// VGG16's is `features.29`, a residual network's the end of `layer4`. A convolution that makes the scores
    /// themselves, one channel per class with nothing but an activation and pooling behind it (`SqueezeNet`), is the
    /// classifier and no block. `None` for a network without such a layer.
    pub fn target_layer(&self) -> Option<LayerId> {
        let after = self.post_dominators();
        let convolution = |index: &usize| {
            matches!(self.nodes[*index].op, Op::Conv2d { .. } | Op::Conv1d { .. } | Op::ConvTranspose2d { .. })
                && self.has_extent(NodeId(*index))
        };
        let candidates: Vec<usize> = (0..self.nodes.len()).rev().filter(convolution).collect();
        let last = candidates.iter().find(|&&index| !self.is_classifier(index)).or(candidates.first())?;
        let (mut block, mut place) = (NodeId(*last), NodeId(*last));
        while let Some(next) = after[place.0].filter(|&next| self.stays_in_block(*last, next)) {
            if self.map_size(next) == self.map_size(NodeId(*last)) {
                block = next;
            }
            place = next;
        }
        Some(LayerId::from(block))
    }

    /// Whether a node behind a convolution, through which everything goes, still is of the same block: it neither
    /// pools nor reshapes. Channels may leave their axis for a normalisation or a perceptron and come back.
    fn stays_in_block(&self, convolution: usize, next: NodeId) -> bool {
        let of_a_block = matches!(
            self.nodes[next.0].op,
            Op::BatchNorm { .. }
                | Op::GroupNorm { .. }
                | Op::LayerNorm { .. }
                | Op::Activation(_)
                | Op::Unary(_)
                | Op::Binary(_)
                | Op::Concat { .. }
                | Op::Identity
                | Op::Transpose(_)
                | Op::Linear { .. }
        );
        let mut shape = self.layers[next.0].shape.clone();
        let map = self.map_size(NodeId(convolution)).unwrap_or_default();
        let keeps_extent = map.iter().all(|size| {
            let place = shape.iter().position(|own| own == size);
            place.map(|place| shape.swap_remove(place)).is_some()
        });
        of_a_block && keeps_extent && self.batch_first[next.0]
    }

    /// Whether a convolution's channels are the network's outputs, with no weights behind it.
    fn is_classifier(&self, index: usize) -> bool {
        let outputs = self.layers[self.output.0].shape.first();
        if self.layers[index].shape.first() != outputs {
            return false;
        }
        let mut behind = vec![false; self.nodes.len()];
        behind[index] = true;
        for (place, node) in self.nodes.iter().enumerate().skip(index + 1) {
            behind[place] = node.inputs.iter().any(|input| behind[input.0]);
            let weighted = !node.op.weights().is_empty() && !matches!(node.op, Op::Constant(_) | Op::BatchNorm { .. });
            if behind[place] && weighted {
                return false;
            }
        }
        true
    }

    /// For each node, the next one through which every path from it to the output leads.
    fn post_dominators(&self) -> Vec<Option<NodeId>> {
        let users = self.users();
        let mut after: Vec<Option<NodeId>> = vec![None; self.nodes.len()];
        for index in (0..self.output.0).rev() {
            // Nodes stand in execution order, so the one nearer to the input steps forward until both meet.
            let meet = |a: Option<NodeId>, b: Option<NodeId>| {
                let (mut a, mut b) = (a?, b?);
                while a != b {
                    let behind = if a < b { &mut a } else { &mut b };
                    *behind = after[behind.0]?;
                }
                Some(a)
            };
            after[index] = users[index].iter().copied().map(Some).reduce(meet).flatten();
        }
        after
    }
}
