//! A graph carried back by rules that are no derivatives: layer-wise relevance propagation, `AttnLRP`, `LibraGrad`, and
//! `DeepLIFT`'s rescale rule.

mod attention;
mod relevance;
mod rescale;

use crate::{Graph, Node, NodeId, Op, execute, op};
use candle_core::{Tensor, Var};
use faithful_core::{
    BackwardRule, Cotangents, Error, LayerId, Network, Propagation, Result, Tap, VectorJacobianProducts,
    delegate_network,
};

/// A graph that is carried back by a rule; forward it is the graph.
pub(crate) struct Propagated {
    graph: Graph,
    rule: Propagation,
}

impl Propagated {
    pub(crate) fn new(graph: &Graph, rule: Propagation) -> Self {
        Self { graph: graph.clone(), rule }
    }
}

impl Network for Propagated {
    delegate_network!(self => self.graph;
        layers, forward, dtype, device, input_shape, grid, evaluate, evaluate_similar, activations, resume, biases,
        attentions, announce, with_propagation);

    /// Not known: every value of a pass is kept.
    fn bytes_of_pass(&self, _: &[usize], _: &[Tap], _: usize) -> Option<u64> {
        None
    }

    fn with_backward_rule(&self, rule: BackwardRule) -> Result<Box<dyn Network + '_>> {
        Err(Error::Unsupported(vec![format!("backward rule {rule:?} beside {:?}", self.rule)]))
    }

    fn vjp(&self, input: &Tensor, taps: &[Tap], cotangents: &mut Cotangents<'_>) -> Result<VectorJacobianProducts> {
        execute::check_input(&self.graph, input)?;
        self.carried_back((self.graph.input, input), taps, cotangents)
    }

    fn can_vjp_from(&self, layer: LayerId, taps: &[Tap]) -> bool {
        let places = taps.iter().map(|tap| place(&self.graph, *tap).map(|place| place.0)).collect::<Result<Vec<_>>>();
        places.is_ok_and(|places| execute::is_cut_for(&self.graph, NodeId::from(layer), &places))
    }

    fn vjp_from(
        &self,
        layer: LayerId,
        activation: &Tensor,
        taps: &[Tap],
        cotangents: &mut Cotangents<'_>,
    ) -> Result<VectorJacobianProducts> {
        if !self.can_vjp_from(layer, taps) {
            return Err(Error::Unsupported(vec![format!("a reverse pass from layer #{} to {taps:?}", layer.0)]));
        }
        self.carried_back((NodeId::from(layer), activation), taps, cotangents)
    }
}

impl Propagated {
    /// From the output, when `given` has a value, to `taps` at or behind it.
    fn carried_back(
        &self,
        given: (NodeId, &Tensor),
        taps: &[Tap],
        cotangents: &mut Cotangents<'_>,
    ) -> Result<VectorJacobianProducts> {
        let graph = &self.graph;
        let places = taps.iter().map(|tap| place(graph, *tap)).collect::<Result<Vec<_>>>()?;
        let run = Run::new(graph, given)?;
        let rule: Box<dyn Rule + '_> = match self.rule {
            Propagation::Attention => Box::new(attention::AttentionRules::new(&run, false)),
            Propagation::LibraGrad => Box::new(attention::AttentionRules::new(&run, true)),
            Propagation::Relevance(composite) => Box::new(relevance::Relevance::new(&run, composite)?),
            Propagation::Rescale(tap) => Box::new(rescale::Rescale::new(&run, place(graph, tap)?)?),
            other => return Err(Error::Unsupported(vec![format!("the propagation {other:?}")])),
        };
        let output = run.value(graph.output)?.clone();
        let mut gradients = Vec::new();
        for cotangent in cotangents(&output)? {
            let start = rule.start(&output, &cotangent)?;
            gradients.push(run.carry_back(start, &places, &*rule)?);
        }
        let values = places.iter().map(|place| Ok(run.value(*place)?.clone())).collect::<Result<_>>()?;
        Ok(VectorJacobianProducts { output, values, gradients })
    }
}

fn place(graph: &Graph, tap: Tap) -> Result<NodeId> {
    match tap {
        Tap::Input => Ok(graph.input),
        Tap::Layer(layer) => Ok(execute::wanted(graph, &[layer])?.remove(0)),
    }
}

/// One way back through the operations.
trait Rule {
    /// What is carried back from the output.
    fn start(&self, output: &Tensor, cotangent: &Tensor) -> Result<Tensor>;

    /// What of `signal`, at the result of the node `index`, reaches each of its operands.
    fn parts(&self, index: usize, node: &Node, signal: &Tensor) -> Result<Vec<Tensor>>;

    /// Whether nothing below `index` is asked for.
    fn ends_at(&self, _index: usize) -> bool {
        false
    }
}

/// A graph's values when one node has a value: all that the output needs.
struct Run<'a> {
    graph: &'a Graph,
    given: NodeId,
    batch: usize,
    values: Vec<Option<Tensor>>,
}

impl<'a> Run<'a> {
    fn new(graph: &'a Graph, (given, start): (NodeId, &Tensor)) -> Result<Self> {
        let needed = execute::needed(graph, given, &[graph.output]);
        let mut run = Self { graph, given, batch: start.dim(0)?, values: vec![None; graph.nodes.len()] };
        for (index, node) in graph.nodes.iter().enumerate().filter(|(index, _)| needed[*index]) {
            let value = if index == given.0 { start.detach() } else { run.apply(node, &run.operands(node)?)? };
            run.values[index] = Some(value);
        }
        Ok(run)
    }

    fn apply(&self, node: &Node, operands: &[&Tensor]) -> Result<Tensor> {
        Ok(op::apply(node, operands, self.batch, BackwardRule::Plain)?.detach())
    }

    fn value(&self, node: NodeId) -> Result<&Tensor> {
        self.values.get(node.0).and_then(Option::as_ref).ok_or_else(|| {
            let name = self.graph.nodes.get(node.0).map_or_else(|| format!("#{}", node.0), |node| node.name.clone());
            Error::UnknownLayer { name, suggestions: Vec::new() }
        })
    }

    fn operands(&self, node: &Node) -> Result<Vec<&Tensor>> {
        node.inputs.iter().map(|input| self.value(*input)).collect()
    }

    fn is_constant(&self, node: NodeId) -> bool {
        matches!(self.graph.nodes[node.0].op, Op::Constant(_))
    }

    /// The vector-Jacobian product of one node at `operands`, for each of them.
    fn vjp(&self, node: &Node, operands: &[&Tensor], cotangent: &Tensor) -> Result<Vec<Tensor>> {
        let variables: Vec<Tensor> = operands
            .iter()
            .map(|operand| Ok(Var::from_tensor(&operand.detach())?.into_inner()))
            .collect::<Result<_>>()?;
        let tracked: Vec<&Tensor> = variables.iter().collect();
        let value = op::apply(node, &tracked, self.batch, BackwardRule::Plain)?;
        let store = (value * cotangent)?.sum_all()?.backward()?;
        let gradient = |variable: &Tensor| match store.get(variable) {
            Some(gradient) => Ok(gradient.detach()),
            None => Ok(variable.zeros_like()?),
        };
        variables.iter().map(gradient).collect()
    }

    /// What arrives at each of `places`; zero where nothing does.
    fn carry_back(&self, start: Tensor, places: &[NodeId], rule: &dyn Rule) -> Result<Vec<Tensor>> {
        let mut signals: Vec<Option<Tensor>> = vec![None; self.values.len()];
        let mut kept: Vec<Option<Tensor>> = vec![None; places.len()];
        signals[self.graph.output.0] = Some(start);
        for (index, node) in self.graph.nodes.iter().enumerate().rev() {
            let Some(signal) = signals[index].take() else { continue };
            for (place, kept) in places.iter().zip(&mut kept) {
                if place.0 == index {
                    *kept = Some(signal.clone());
                }
            }
            if node.inputs.is_empty() || index == self.given.0 || rule.ends_at(index) {
                continue;
            }
            for (input, part) in node.inputs.iter().zip(rule.parts(index, node, &signal)?) {
                let sum = &mut signals[input.0];
                *sum = Some(match sum.take() {
                    Some(sum) => (sum + part)?,
                    None => part,
                });
            }
        }
        let arrived = places.iter().zip(kept);
        arrived.map(|(place, kept)| kept.map_or_else(|| Ok(self.value(*place)?.zeros_like()?), Ok)).collect()
    }
}
