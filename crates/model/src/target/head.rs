//! What lies behind a layer: the head that makes the scores of it.

use crate::{Graph, NodeId, Op};
use faithful_core::LayerId;
use faithful_tensor::{Activation, Binary, Reduction, Unary};

/// How a network makes its scores of a layer's map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Head {
    /// By the mean over the map's places and linear layers alone, as residual networks end: the gradient at the layer is the same
    /// at every place and for every input.
    PooledLinear,
    /// By the mean of what a 1x1 convolution and a rectifier give at each place, as SqueezeNet ends: where a place counts, its gradient is
    /// that of any other.
    PooledPlaces,
    /// By linear layers over all places one after the other, as VGG ends: every place has weights of its own.
    Dense,
    /// In any other way: convolutions, attention or activations are between.
    Other,
}

/// What is known of a value behind the layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Its places are the map's, perhaps fewer; `linear` where it is a linear function of the map, channel by channel.
    Places {
        linear: bool,
    },
    /// A linear function of the channels at each place alone; `rectified` where negative ones are zero.
    Alone {
        rectified: bool,
    },
    /// The mean over all places of a rectified function of each.
    Mean,
    /// The mean over all places, or a linear function of it.
    Pooled,
    /// All places along one axis.
    Flat,
    /// Behind a linear layer over all places.
    Dense,
    Other,
}

impl Graph {
    /// How the scores are made of `layer`'s map; [`Head::Other`] for a layer without places.
    pub fn head(&self, layer: LayerId) -> Head {
        let start = NodeId::from(layer);
        if !self.has_extent(start) {
            return Head::Other;
        }
        let mut states: Vec<Option<State>> = vec![None; self.nodes.len()];
        states[start.0] = Some(State::Places { linear: true });
        for (index, node) in self.nodes.iter().enumerate().skip(start.0 + 1) {
            let known = node.inputs.iter().filter_map(|input| states[input.0]);
            let known: Vec<State> = known.collect();
            let Some(first) = known.first().copied() else { continue };
            // What does not come from the layer: a constant leaves a value what it is, another path does not.
            let beside = node.inputs.iter().any(|input| states[input.0].is_none() && !self.is_constant(*input));
            let same = !beside && known.iter().all(|state| *state == first);
            states[index] = Some(if first == State::Dense || known.contains(&State::Dense) {
                State::Dense
            } else if same {
                self.behind(NodeId(index), first)
            } else {
                State::Other
            });
        }
        match states[self.output.0] {
            Some(State::Pooled) => Head::PooledLinear,
            Some(State::Mean) => Head::PooledPlaces,
            Some(State::Dense) => Head::Dense,
            _ => Head::Other,
        }
    }

    fn is_constant(&self, node: NodeId) -> bool {
        matches!(self.node(node).op, Op::Constant(_))
    }

    /// What a node makes of a value in that state.
    fn behind(&self, id: NodeId, before: State) -> State {
        let node = self.node(id);
        let from = node.inputs.iter().find(|input| !self.is_constant(**input)).copied().unwrap_or(id);
        let (old, new) = (&self.layers[from.0].shape, &self.layers[id.0].shape);
        let places = |shape: &[usize]| shape.iter().skip(1).product::<usize>();
        let pooled = places(new) <= 1 && new.first() == old.first();
        match (&node.op, before) {
            (Op::Identity, state) => state,
            (Op::BatchNorm { .. } | Op::Unary(Unary::Neg), state) => state,
            // With a constant: the constants are biases and scales.
            (Op::Binary(Binary::Add | Binary::Sub | Binary::Mul | Binary::Div), state) if node.inputs.len() > 1 => {
                state
            }
            (Op::AdaptiveAvgPool2d(_) | Op::AvgPool2d(_), State::Places { linear }) => match (pooled, linear) {
                (true, true) => State::Pooled,
                (true, false) => State::Other,
                (false, linear) => State::Places { linear },
            },
            (Op::Reduce { reduction: Reduction::Mean | Reduction::Sum, .. }, State::Places { linear: true })
                if pooled =>
            {
                State::Pooled
            }
            (Op::Conv2d { weight, conv, .. }, State::Places { linear: true })
                if weight.dims().get(2..) == Some(&[1, 1]) && conv.stride == [1, 1] && conv.groups == 1 && !pooled =>
            {
                State::Alone { rectified: false }
            }
            (Op::Activation(Activation::Relu), State::Alone { .. }) => State::Alone { rectified: true },
            (
                Op::AdaptiveAvgPool2d(_) | Op::AvgPool2d(_) | Op::Reduce { reduction: Reduction::Mean, .. },
                State::Alone { rectified },
            ) if pooled => {
                if rectified {
                    State::Mean
                } else {
                    State::Pooled
                }
            }
            (Op::MaxPool2d(_) | Op::AdaptiveMaxPool2d(_) | Op::Activation(_), State::Places { .. }) if !pooled => {
                State::Places { linear: false }
            }
            (Op::Flatten { .. } | Op::Reshape(_) | Op::Transpose(_) | Op::Squeeze(_) | Op::Unsqueeze(_), state) => {
                match state {
                    State::Places { .. } if new.len() == 1 => State::Flat,
                    State::Places { .. } => State::Other,
                    state => state,
                }
            }
            (Op::Concat { .. } | Op::Slice { .. }, State::Pooled) => State::Pooled,
            (Op::Linear { .. }, State::Pooled) => State::Pooled,
            (Op::Conv2d { .. }, State::Pooled) if places(old) <= 1 => State::Pooled,
            (Op::Linear { .. }, State::Flat) => State::Dense,
            // A convolution that sees all places at once is a linear layer over them.
            (Op::Conv2d { weight, .. }, State::Places { .. })
                if weight.dims().get(2..) == old.get(1..) && places(new) <= 1 =>
            {
                State::Dense
            }
            _ => State::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::architecture;
    use candle_core::Device;

    #[test]
    fn heads_are_told_apart_by_what_lies_behind_the_layer() {
        for (name, head) in [
            ("resnet18", Head::PooledLinear),
            ("mobilenet_v2", Head::PooledLinear),
            ("densenet121", Head::PooledLinear),
            ("vgg11", Head::Dense),
            ("squeezenet1_1", Head::PooledPlaces),
        ] {
            let architecture = architecture(name).unwrap();
            let graph = architecture.random(5, 0, &Device::Cpu).unwrap();
            let target = faithful_core::Network::layer(&graph, architecture.target).unwrap();
            assert_eq!(graph.head(target), head, "{name}");
            // Convolutions are between, or there are no places.
            assert_eq!(graph.head(LayerId(1)), Head::Other, "{name}");
            assert_eq!(graph.head(LayerId::from(graph.output())), Head::Other, "{name}");
        }
    }
}
