//! Runs a graph node by node on candle, differentiably. It is the reference for every faster way.

use crate::{Graph, NodeId, Op, op};
use candle_core::Tensor;
use faithful_core::{Error, LayerId, Probe, Result, Unobserved};

/// The output; the probe sees every node that depends on the input.
pub(crate) fn forward(graph: &Graph, input: &Tensor, probe: &mut dyn Probe) -> Result<Tensor> {
    check_input(graph, input)?;
    let mut values = run(graph, (graph.input, input.clone()), &[graph.output], probe)?;
    Ok(values.remove(0))
}

/// The output and the values of `layers`, untracked.
pub(crate) fn evaluate(graph: &Graph, input: &Tensor, layers: &[LayerId]) -> Result<(Tensor, Vec<Tensor>)> {
    check_input(graph, input)?;
    let mut wanted = wanted(graph, layers)?;
    wanted.push(graph.output);
    let mut values = run(graph, (graph.input, input.detach()), &wanted, &mut Unobserved)?;
    let output = values.pop().expect("the output was asked for last");
    Ok((output.detach(), values.iter().map(Tensor::detach).collect()))
}

/// The values of `layers`, untracked; nothing that they do not need is computed.
pub(crate) fn activations(graph: &Graph, input: &Tensor, layers: &[LayerId]) -> Result<Vec<Tensor>> {
    check_input(graph, input)?;
    let values = run(graph, (graph.input, input.detach()), &wanted(graph, layers)?, &mut Unobserved)?;
    Ok(values.iter().map(Tensor::detach).collect())
}

/// The output when `node` has the value `activation`; `None` when other paths lead from the input around the node.
pub(crate) fn resume(graph: &Graph, node: NodeId, activation: &Tensor) -> Option<Result<Tensor>> {
    if !is_cut(graph, node) {
        return None;
    }
    let values = run(graph, (node, activation.detach()), &[graph.output], &mut Unobserved);
    Some(values.map(|values| values[0].detach()))
}

/// Whether every path from the input to the output leads through `node`, and its rows are the batch's.
pub(crate) fn is_cut(graph: &Graph, node: NodeId) -> bool {
    is_cut_for(graph, node, &[])
}

/// Whether every path from the input to the output and to the nodes `others` leads through `node`, and its rows are the
/// batch's.
pub(crate) fn is_cut_for(graph: &Graph, node: NodeId, others: &[usize]) -> bool {
    if node.0 >= graph.nodes.len() || !graph.batch_first[node.0] {
        return false;
    }
    let goals: Vec<NodeId> = others.iter().copied().map(NodeId).chain([graph.output]).collect();
    let needed = needed(graph, node, &goals);
    needed[node.0] && (node == graph.input || !needed[graph.input.0])
}

pub(crate) fn check_input(graph: &Graph, input: &Tensor) -> Result<()> {
    let rank = graph.input_shape.len() + 1;
    if input.rank() == rank && input.dtype() == graph.dtype && input.device().same_device(&graph.device) {
        return Ok(());
    }
    if input.rank() != rank {
        let expected = format!("(N, …) with {rank} axes, such as (1, {})", list(&graph.input_shape));
        return Err(Error::shape("network input", expected, input.dims()));
    }
    let (place, own) = (input.device().location(), graph.device.location());
    let reason = format!("{:?} on {place:?}, but the network is {:?} on {own:?}", input.dtype(), graph.dtype);
    Err(Error::parameter("input", reason))
}

fn list(dims: &[usize]) -> String {
    dims.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

pub(crate) fn wanted(graph: &Graph, layers: &[LayerId]) -> Result<Vec<NodeId>> {
    layers
        .iter()
        .map(|&layer| match graph.nodes.get(layer.0).map(|node| &node.op) {
            None => Err(Error::UnknownLayer { name: format!("#{}", layer.0), suggestions: Vec::new() }),
            Some(_) => Ok(NodeId::from(layer)),
        })
        .collect()
}

/// Which nodes must have a value for `wanted`, when `given` has one.
pub(crate) fn needed(graph: &Graph, given: NodeId, wanted: &[NodeId]) -> Vec<bool> {
    let mut needed = vec![false; graph.nodes.len()];
    for node in wanted {
        needed[node.0] = true;
    }
    for index in (0..needed.len()).rev() {
        if needed[index] && index != given.0 {
            for input in &graph.nodes[index].inputs {
                needed[input.0] = true;
            }
        }
    }
    needed
}

/// Computes `wanted`, in their order, from one `given` value. Values are dropped as soon as nothing needs them.
fn run(graph: &Graph, given: (NodeId, Tensor), wanted: &[NodeId], probe: &mut dyn Probe) -> Result<Vec<Tensor>> {
    let (given, start) = given;
    let batch = start.dim(0)?;
    let needed = needed(graph, given, wanted);
    let mut uses = vec![0_usize; graph.nodes.len()];
    for (index, node) in graph.nodes.iter().enumerate() {
        if needed[index] && index != given.0 {
            for input in &node.inputs {
                uses[input.0] += 1;
            }
        }
    }
    for node in wanted {
        uses[node.0] += 1;
    }

    let mut values: Vec<Option<Tensor>> = vec![None; graph.nodes.len()];
    let mut start = Some(start);
    for (index, node) in graph.nodes.iter().enumerate().filter(|(index, _)| needed[*index]) {
        let value = if index == given.0 {
            start.take().expect("a node is met once")
        } else {
            let operands: Vec<&Tensor> =
                node.inputs.iter().map(|input| values[input.0].as_ref().expect("operands stand before")).collect();
            op::apply(node, &operands, batch, graph.rule)?
        };
        let value = if matches!(node.op, Op::Constant(_)) { value } else { probe.visit(LayerId(index), value)? };
        values[index] = Some(value);
        if index != given.0 {
            for input in &node.inputs {
                uses[input.0] -= 1;
                if uses[input.0] == 0 {
                    values[input.0] = None;
                }
            }
        }
    }
    Ok(wanted.iter().map(|node| values[node.0].clone().expect("wanted nodes are kept")).collect())
}
