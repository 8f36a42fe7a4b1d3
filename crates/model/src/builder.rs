use crate::op::shape;
use crate::{Graph, Node, NodeId, Op};
use candle_core::{DType, Device};
use faithful_core::{BackwardRule, Error, LayerInfo, Result};
use faithful_kernel::Factors;
use std::collections::HashSet;
use std::sync::Arc;

/// Puts a [`Graph`] together, node by node in execution order.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use faithful_core::Network;
/// use faithful_model::{GraphBuilder, Op};
/// use faithful_tensor::{Activation, Conv};
///
/// # fn main() -> faithful_core::Result<()> {
/// let weight = |shape: &[usize]| Tensor::zeros(shape, DType::F32, &Device::Cpu);
/// let mut builder = GraphBuilder::new(&[3, 8, 8]);
/// let conv = Conv { padding: [1; 4], ..Conv::default() };
/// let x = builder.input();
/// let x = builder.add("features.0", Op::Conv2d { weight: weight(&[4, 3, 3, 3])?, bias: None, conv }, &[x]);
/// let x = builder.add("features.1", Op::Activation(Activation::Relu), &[x]);
/// let x = builder.add("avgpool", Op::AdaptiveAvgPool2d([1, 1]), &[x]);
/// let x = builder.add("flatten", Op::Flatten { axis: 1 }, &[x]);
/// let x = builder.add("classifier", Op::Linear { weight: weight(&[2, 4])?, bias: None }, &[x]);
/// let graph = builder.finish(x)?;
/// assert_eq!(graph.layers()[2].shape, [4, 8, 8]);
/// assert_eq!(graph.shapes(&[1, 3, 32, 20])?[2], [1, 4, 32, 20]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct GraphBuilder {
    input_shape: Vec<usize>,
    nodes: Vec<Node>,
}

impl GraphBuilder {
    /// A graph whose input is called `input` and whose nominal shape, without the batch, is `input_shape`.
    pub fn new(input_shape: &[usize]) -> Self {
        Self::with_input("input", input_shape)
    }

    /// A graph whose input is called `name`.
    pub fn with_input(name: impl Into<String>, input_shape: &[usize]) -> Self {
        let input = Node { name: name.into(), op: Op::Input, inputs: Vec::new() };
        Self { input_shape: input_shape.to_vec(), nodes: vec![input] }
    }

    /// A graph of these nodes, the first of which is the input.
    pub(crate) fn from_nodes(nodes: Vec<Node>, input_shape: Vec<usize>) -> Self {
        Self { input_shape, nodes }
    }

    /// The network's input.
    #[allow(clippy::unused_self)] // The input is always the first node; callers need not know.
    pub fn input(&self) -> NodeId {
        NodeId(0)
    }

    /// Appends a node; what is wrong with it is said by [`finish`](Self::finish).
    pub fn add(&mut self, name: impl Into<String>, op: Op, inputs: &[NodeId]) -> NodeId {
        self.nodes.push(Node { name: name.into(), op, inputs: inputs.to_vec() });
        NodeId(self.nodes.len() - 1)
    }

    /// The nodes so far.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The graph that gives the value of `output`. Nodes that `output` does not need are left out.
    ///
    /// # Errors
    /// [`Error::Format`] when a name occurs twice, an operand does not stand before its user, an operation has the
    /// wrong number of operands, the weights differ in type, or the output does not depend on the input;
    /// [`Error::Shape`] when the nominal input does not fit.
    pub fn finish(self, output: NodeId) -> Result<Graph> {
        let Self { input_shape, nodes } = self;
        check_edges(&nodes, output)?;
        let (nodes, output) = prune(nodes, output);
        check_names(&nodes)?;
        let (dtype, device) = common_type(&nodes)?;
        let (layers, batch_first) = describe(&nodes, &input_shape)?;
        Ok(Graph {
            nodes,
            output,
            input: NodeId(0),
            input_shape,
            layers,
            batch_first,
            dtype,
            device,
            rule: BackwardRule::Plain,
            of_bytes: false,
            factors: Factors::F32,
            prepared: Some(Arc::default()),
        })
    }
}

fn check_edges(nodes: &[Node], output: NodeId) -> Result<()> {
    for (index, node) in nodes.iter().enumerate() {
        let (least, most) = node.op.arity();
        if node.inputs.len() < least || node.inputs.len() > most {
            let reason = format!("{} takes {least} operands, not {}", node.op.kind(), node.inputs.len());
            return Err(Error::format(format!("node `{}`", node.name), reason));
        }
        if node.inputs.iter().any(|input| input.0 >= index) {
            let reason = "an operand does not stand before it, so the graph has a cycle or is out of order";
            return Err(Error::format(format!("node `{}`", node.name), reason));
        }
        if index > 0 && matches!(node.op, Op::Input) {
            return Err(Error::format(format!("node `{}`", node.name), "a graph has one input"));
        }
    }
    if output.0 >= nodes.len() {
        return Err(Error::format("graph", format!("the output is node {} of {}", output.0, nodes.len())));
    }
    if !needed(nodes, output)[0] {
        return Err(Error::format("graph", "the output does not depend on the input"));
    }
    Ok(())
}

/// Which nodes `output` depends on, itself included.
fn needed(nodes: &[Node], output: NodeId) -> Vec<bool> {
    let mut needed = vec![false; nodes.len()];
    needed[output.0] = true;
    for index in (0..=output.0).rev() {
        if needed[index] {
            for input in &nodes[index].inputs {
                needed[input.0] = true;
            }
        }
    }
    needed
}

fn prune(nodes: Vec<Node>, output: NodeId) -> (Vec<Node>, NodeId) {
    let needed = needed(&nodes, output);
    let mut place = Vec::with_capacity(nodes.len());
    let mut kept = Vec::new();
    for (mut node, needed) in nodes.into_iter().zip(needed) {
        place.push(NodeId(kept.len()));
        if needed {
            for input in &mut node.inputs {
                *input = place[input.0];
            }
            kept.push(node);
        }
    }
    (kept, place[output.0])
}

fn check_names(nodes: &[Node]) -> Result<()> {
    let mut seen = HashSet::new();
    match nodes.iter().find(|node| !seen.insert(node.name.as_str())) {
        None => Ok(()),
        Some(node) => Err(Error::format(format!("node `{}`", node.name), "the name occurs twice")),
    }
}

/// The type and place that all weights share; `f32` on the CPU where there are none.
fn common_type(nodes: &[Node]) -> Result<(DType, Device)> {
    let mut common: Option<(DType, Device)> = None;
    for node in nodes {
        for weight in node.op.weights() {
            match &common {
                None => common = Some((weight.dtype(), weight.device().clone())),
                Some((dtype, device)) => {
                    if *dtype != weight.dtype() || !device.same_device(weight.device()) {
                        let (got, place) = (weight.dtype(), weight.device().location());
                        let reason = format!("its weights are {got:?} on {place:?}, those before {dtype:?}");
                        return Err(Error::format(format!("node `{}`", node.name), reason));
                    }
                }
            }
        }
    }
    Ok(common.unwrap_or((DType::F32, Device::Cpu)))
}

/// What is known of the layers at the nominal size, and which have the batch as their first axis.
fn describe(nodes: &[Node], input_shape: &[usize]) -> Result<(Vec<LayerInfo>, Vec<bool>)> {
    let with_batch =
        |batch: usize| -> Vec<usize> { std::iter::once(batch).chain(input_shape.iter().copied()).collect() };
    // Two sizes of the batch show which axes follow it.
    let two = shape::infer_all(nodes, &with_batch(2))?;
    let three = shape::infer_all(nodes, &with_batch(3))?;
    let mut layers = Vec::with_capacity(nodes.len());
    let mut batch_first = Vec::with_capacity(nodes.len());
    for ((node, two), three) in nodes.iter().zip(two).zip(three) {
        let first = two.first() == Some(&2) && three.first() == Some(&3) && two[1..] == three[1..];
        let shape = if first { two[1..].to_vec() } else { two };
        layers.push(LayerInfo { name: node.name.clone(), kind: node.op.kind().into(), shape });
        batch_first.push(first);
    }
    Ok((layers, batch_first))
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Tensor;
    use faithful_tensor::{Activation, Binary};

    fn weight(shape: &[usize]) -> Tensor {
        Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap()
    }

    #[test]
    fn nodes_that_the_output_does_not_need_are_left_out() {
        let mut builder = GraphBuilder::new(&[4]);
        let x = builder.input();
        let dead = builder.add("dead", Op::Linear { weight: weight(&[2, 4]), bias: None }, &[x]);
        builder.add("deader", Op::Identity, &[dead]);
        let y = builder.add("head", Op::Linear { weight: weight(&[3, 4]), bias: Some(weight(&[3])) }, &[x]);
        let graph = builder.finish(y).unwrap();
        let names: Vec<&str> = graph.nodes().iter().map(|node| node.name.as_str()).collect();
        assert_eq!(names, ["input", "head"]);
        assert_eq!(graph.output(), NodeId(1));
        assert_eq!(graph.shapes(&[5, 4]).unwrap(), [vec![5, 4], vec![5, 3]]);
    }

    #[test]
    fn what_cannot_be_run_is_refused_by_name() {
        type Mistake = fn(&mut GraphBuilder) -> NodeId;
        let mistakes: [(&str, Mistake); 6] = [
            ("`twice`: the name", |b| {
                let x = b.add("twice", Op::Identity, &[NodeId(0)]);
                b.add("twice", Op::Identity, &[x])
            }),
            ("`loop`: an operand", |b| b.add("loop", Op::Identity, &[NodeId(1)])),
            ("`sum`: add takes 2 operands, not 1", |b| b.add("sum", Op::Binary(Binary::Add), &[NodeId(0)])),
            ("`head` (linear): expected shape (…, 5), got [2, 4]", |b| {
                b.add("head", Op::Linear { weight: weight(&[2, 5]), bias: None }, &[NodeId(0)])
            }),
            ("does not depend on the input", |b| b.add("constant", Op::Constant(weight(&[1])), &[])),
            ("one input", |b| b.add("second", Op::Input, &[])),
        ];
        for (expected, mistake) in mistakes {
            let mut builder = GraphBuilder::new(&[4]);
            let output = mistake(&mut builder);
            let message = builder.finish(output).unwrap_err().to_string();
            assert!(message.contains(expected), "{message} does not say {expected}");
        }
    }

    #[test]
    fn the_batch_axis_is_known() {
        let mut builder = GraphBuilder::new(&[3, 4]);
        let x = builder.input();
        let x = builder.add("relu", Op::Activation(Activation::Relu), &[x]);
        let swapped = builder.add("time-first", Op::Transpose(vec![1, 0, 2]), &[x]);
        let back = builder.add("batch-first", Op::Transpose(vec![1, 0, 2]), &[swapped]);
        let graph = builder.finish(back).unwrap();
        assert_eq!(graph.batch_first, [true, true, false, true]);
        assert_eq!(graph.layers[1].shape, [3, 4]);
    }
}
