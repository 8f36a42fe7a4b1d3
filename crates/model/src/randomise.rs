//! Networks that have forgotten what they learnt, layer by layer: for parameter-randomisation checks.

use crate::{Graph, NodeId, Op};
use candle_core::{DType, Tensor};
use faithful_core::{LayerId, Result, Stream};
use rand::seq::SliceRandom;

/// In which order layers lose their weights (Adebayo et al. 2018, section 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Randomisation {
    /// From the output down, each network losing one layer more than the one before.
    Cascading,
    /// From the output down, each network losing one layer only.
    Independent,
}

impl Graph {
    /// The layers with weights, from the output down.
    pub fn weighted_layers(&self) -> Vec<LayerId> {
        let weighted = |op: &Op| !matches!(op, Op::Constant(_)) && !op.weights().is_empty();
        let nodes = self.nodes.iter().enumerate().rev();
        nodes.filter(|(_, node)| weighted(&node.op)).map(|(index, _)| LayerId(index)).collect()
    }

    /// The same network with the weights of `layer` in a random order, each tensor by itself: what was learnt is gone,
    /// and every tensor keeps its mean, its deviation and its whole distribution, so that activations stay in range.
    ///
    /// A tensor of one value, or of equal values, stays as it is. Draw `i` of `stream` is for node `i`, so a layer is
    /// shuffled the same way in the cascading and in the independent check.
    pub fn with_randomised_layer(&self, layer: LayerId, stream: &Stream) -> Result<Self> {
        let Some(name) = self.nodes.get(NodeId::from(layer).0).map(|node| node.name.clone()) else {
            let suggestions = Vec::new();
            return Err(faithful_core::Error::UnknownLayer { name: format!("#{}", layer.0), suggestions });
        };
        let mut generator = stream.draw(layer.0);
        self.map_weights(|node, weight| {
            if node != name {
                return Ok(weight.clone());
            }
            let mut values: Vec<f64> = weight.to_dtype(DType::F64)?.flatten_all()?.to_vec1()?;
            values.shuffle(&mut generator);
            let shuffled = Tensor::from_vec(values, weight.shape(), weight.device())?;
            Ok(shuffled.to_dtype(weight.dtype())?)
        })
    }

    /// For every layer with weights, from the output down: its name, and the network that has lost it.
    pub fn randomised(
        &self,
        order: Randomisation,
        stream: &Stream,
    ) -> impl Iterator<Item = Result<(String, Self)>> + use<'_> {
        let stream = stream.clone();
        let mut network = self.clone();
        self.weighted_layers().into_iter().map(move |layer| {
            let next = match order {
                Randomisation::Cascading => network.with_randomised_layer(layer, &stream)?,
                Randomisation::Independent => self.with_randomised_layer(layer, &stream)?,
            };
            network = next.clone();
            Ok((self.nodes[layer.0].name.clone(), next))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::GraphBuilder;
    use candle_core::Device;

    fn network() -> Graph {
        let mut builder = GraphBuilder::new(&[4]);
        let weight = |rows: usize, columns: usize| {
            let values: Vec<f32> = (0..rows * columns).map(|i| i as f32).collect();
            Tensor::from_vec(values, (rows, columns), &Device::Cpu).unwrap()
        };
        let first = Op::Linear { weight: weight(8, 4), bias: Some(Tensor::ones(8, DType::F32, &Device::Cpu).unwrap()) };
        let input = builder.input();
        let first = builder.add("first", first, &[input]);
        let second = builder.add("second", Op::Linear { weight: weight(8, 8), bias: None }, &[first]);
        builder.finish(second).unwrap()
    }

    fn sorted(graph: &Graph, layer: &str) -> (Vec<f32>, Vec<f32>) {
        let node = graph.nodes.iter().find(|node| node.name == layer).unwrap();
        let values: Vec<f32> = node.op.weights()[0].flatten_all().unwrap().to_vec1().unwrap();
        let mut ordered = values.clone();
        ordered.sort_by(f32::total_cmp);
        (values, ordered)
    }

    #[test]
    fn layers_lose_their_order_and_nothing_else() {
        let graph = network();
        for (order, kept) in [(Randomisation::Cascading, false), (Randomisation::Independent, true)] {
            let all: Vec<(String, Graph)> = graph.randomised(order, &Stream::new(1, "")).map(Result::unwrap).collect();
            assert_eq!(all.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["second", "first"]);
            for (name, network) in &all {
                let (values, ordered) = sorted(network, name);
                assert_ne!(values, ordered);
                assert_eq!(ordered, sorted(&graph, name).1);
            }
            assert_eq!(sorted(&all[0].1, "first"), sorted(&graph, "first"));
            assert_eq!(sorted(&all[1].1, "second") == sorted(&graph, "second"), kept);
            let again = graph.with_randomised_layer(graph.weighted_layers()[1], &Stream::new(1, "")).unwrap();
            assert_eq!(sorted(&again, "first"), sorted(&all[1].1, "first"), "of the layer and the stream alone");
        }
    }

    #[test]
    fn a_layer_that_is_not_there_is_an_error() {
        assert!(network().with_randomised_layer(LayerId(99), &Stream::new(1, "")).is_err());
    }
}
