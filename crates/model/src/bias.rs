//! What the nodes of a graph add to their output whatever comes in.

use crate::{Graph, Node, NodeId, Op, execute};
use candle_core::Tensor;
use faithful_core::{LayerId, Result};
use faithful_tensor::Binary;

/// The biases of convolutions and linear layers, the shifts of normalisations and added constants, of all nodes
/// on the way from the input to the output, each in a shape that broadcasts to the node's output.
pub(crate) fn biases(graph: &Graph) -> Result<Vec<(LayerId, Tensor)>> {
    let needed = execute::needed(graph, graph.input, &[graph.output]);
    // A constant's node does not depend on the input, nor does what is computed from constants alone.
    let mut depends = vec![false; graph.nodes.len()];
    let mut found = Vec::new();
    for (index, node) in graph.nodes.iter().enumerate() {
        depends[index] = index == graph.input.0 || node.inputs.iter().any(|input| depends[input.0]);
        if needed[index]
            && depends[index]
            && !reaches_softmax(graph, index)
            && let Some(bias) = bias(graph, node)?
        {
            found.push((LayerId(index), bias));
        }
    }
    Ok(found)
}

/// Whether a sum is that of an attention's scores with a mask or with positions, which is no bias of places.
fn reaches_softmax(graph: &Graph, index: usize) -> bool {
    let mut readers = graph.nodes.iter().filter(|node| node.inputs.contains(&NodeId(index)));
    matches!(graph.nodes[index].op, Op::Binary(Binary::Add))
        && readers.any(|node| matches!(node.op, Op::Softmax { .. }))
}

fn bias(graph: &Graph, node: &Node) -> Result<Option<Tensor>> {
    // The channel axis is the second of this many.
    let along_channels = |bias: &Tensor, rank: usize| -> Result<Option<Tensor>> {
        let mut shape = vec![1; rank];
        shape[1] = bias.elem_count();
        Ok(Some(bias.reshape(shape)?))
    };
    match &node.op {
        Op::Conv2d { bias: Some(bias), .. } | Op::ConvTranspose2d { bias: Some(bias), .. } => along_channels(bias, 4),
        Op::Conv1d { bias: Some(bias), .. } => along_channels(bias, 3),
        Op::BatchNorm { shift, .. } => along_channels(shift, graph.layers[node.inputs[0].0].shape.len() + 1),
        Op::Composed(composition) => match composition.bias() {
            Some(bias) => along_channels(bias, graph.layers[node.inputs[0].0].shape.len() + 1),
            None => Ok(None),
        },
        Op::GroupNorm { bias: Some(bias), .. } => along_channels(bias, graph.layers[node.inputs[0].0].shape.len() + 1),
        // A linear layer's outputs are the last axis, and so is what is normalised.
        Op::LayerNorm { bias: Some(bias), .. } => Ok(Some(bias.clone())),
        Op::Linear { bias: Some(bias), .. } => Ok(Some(bias.clone())),
        Op::Binary(Binary::Add) => {
            let mut constants = node.inputs.iter().filter_map(|input| match &graph.nodes[input.0].op {
                Op::Constant(value) => Some(value.clone()),
                _ => None,
            });
            Ok(constants.next_back())
        }
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use crate::{GraphBuilder, Op};
    use candle_core::{Device, Tensor};
    use faithful_core::Network;
    use faithful_tensor::Conv;

    #[test]
    fn biases_are_shaped_like_their_layers_output() {
        let cpu = &Device::Cpu;
        let ones = |shape: &[usize]| Tensor::ones(shape, candle_core::DType::F32, cpu).unwrap();
        let mut builder = GraphBuilder::new(&[2, 4, 4]);
        let x = builder.input();
        let conv = Op::Conv2d { weight: ones(&[3, 2, 1, 1]), bias: Some(ones(&[3])), conv: Conv::default() };
        let x = builder.add("conv", conv, &[x]);
        let x = builder.add("norm", Op::BatchNorm { scale: ones(&[3]), shift: ones(&[3]) }, &[x]);
        let x = builder.add("pool", Op::AdaptiveAvgPool2d([1, 1]), &[x]);
        let x = builder.add("flat", Op::Flatten { axis: 1 }, &[x]);
        let x = builder.add("head", Op::Linear { weight: ones(&[5, 3]), bias: Some(ones(&[5])) }, &[x]);
        let graph = builder.finish(x).unwrap();
        let found = graph.biases().unwrap();
        let named: Vec<(&str, &[usize])> =
            found.iter().map(|(layer, bias)| (graph.layers()[layer.0].name.as_str(), bias.dims())).collect();
        assert_eq!(named, [("conv", &[1, 3, 1, 1][..]), ("norm", &[1, 3, 1, 1]), ("head", &[5])]);
    }
}
