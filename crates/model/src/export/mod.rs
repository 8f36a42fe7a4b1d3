//! Writes networks and their gradients as ONNX's operators.
//!
//! An [`OnnxWriter`] appends operators one by one; [`OnnxWriter::forward`] writes a graph, and [`OnnxWriter::gradients`]
//! its vector-Jacobian products, operation by operation, so that a file explains itself in any runtime. Sizes that follow
//! the batch stay free, and so do those that follow the image where nothing needs them as a number.

mod activation;
mod attribute;
mod forward;
mod message;
mod places;
mod recurrent;
pub(crate) mod reverse;
pub(crate) mod sampling;
mod separable;
mod symbol;
mod windows;
mod writer;

pub(crate) use attribute::counts;
pub(crate) use forward::{layer as write_layer, window as window_attributes};
pub use message::{About, Encoded};
pub use reverse::Backward;
pub use symbol::{Extent, Symbol, fixed, sizes};
pub use writer::OnnxWriter;

use crate::{Graph, NodeId, Op};
use faithful_core::{BackwardRule, Error, Result};
use std::collections::HashMap;
use symbol::{TRIALS, from_trials};

/// How much larger the other size of an image is for which shapes are inferred, rows and columns by different amounts, so
/// that they are told apart: no network's stride is as large.
const LARGER: [usize; 3] = [64, 96, 128];

impl OnnxWriter {
    /// The input of a graph, with a free batch, and with free places where `free` says so and the network takes other sizes.
    ///
    /// # Errors
    /// None are expected.
    pub fn input(&mut self, graph: &Graph, free: bool) -> Result<Symbol> {
        let nominal = graph.nominal_input();
        let whole = |batch: usize, larger: bool| -> Vec<usize> {
            let more = |axis: usize| if larger && axis > 0 { LARGER[(axis - 1) % LARGER.len()] } else { 0 };
            let places = nominal.iter().enumerate().map(|(axis, &size)| size + more(axis));
            std::iter::once(batch).chain(places).collect()
        };
        let free = free && nominal.len() > 1 && graph.shapes(&whole(2, true)).is_ok();
        let shape = from_trials(|trial| Some(whole([2, 3, 2][trial], free && trial == 2)));
        let shape = shape.ok_or_else(|| Error::internal("an input of different ranks"))?;
        let name = graph.node(graph.input()).name.clone();
        let symbol = self.outside(&name, shape);
        self.source = Some(symbol.clone());
        Ok(symbol)
    }

    /// A further input, of one whole number per row of the batch.
    pub fn whole_input(&mut self, name: &str, input: &Symbol) -> Symbol {
        self.outside(name, vec![input.shape[0]])
    }

    /// A further input of numbers, of the given shape.
    pub fn given(&mut self, name: &str, shape: Vec<Extent>) -> Symbol {
        let symbol = self.outside(name, shape);
        self.given.push(symbol.clone());
        symbol
    }

    /// Writes what `wanted` needs of a graph whose input is `input`: the value of every node that was written. The names of
    /// its nodes are those of the graph behind `prefix`.
    ///
    /// What cannot be written is collected and said by [`finish`](Self::finish).
    ///
    /// # Errors
    /// Where shapes do not fit, or a size is needed that is free.
    pub fn forward(
        &mut self,
        graph: &Graph,
        input: &Symbol,
        wanted: &[NodeId],
        prefix: &str,
    ) -> Result<Vec<Option<Symbol>>> {
        self.written(graph, (graph.input(), input), &trials(input), wanted, prefix, |_, _| None)
    }

    /// As [`forward`](Self::forward), from the value of another node on: `rows` are of the batch that it has.
    ///
    /// # Errors
    /// [`Error::Unsupported`] where paths lead around the node.
    pub fn forward_from(
        &mut self,
        graph: &Graph,
        (node, value): (NodeId, &Symbol),
        input: &Symbol,
        wanted: &[NodeId],
        prefix: &str,
    ) -> Result<Vec<Option<Symbol>>> {
        if !crate::execute::is_cut(graph, node) {
            let reason =
                format!("paths lead around layer `{}`, from which the network is run on", graph.node(node).name);
            return Err(Error::Unsupported(vec![reason]));
        }
        let mut shapes = trials(input);
        shapes.iter_mut().zip(value.shape[0]).for_each(|(shape, rows)| shape[0] = rows);
        self.written(graph, (node, value), &shapes, wanted, prefix, |_, _| None)
    }

    /// The rest of a network that begins as `graph` does, whose nodes have `values`, and goes on another way: its output.
    ///
    /// # Errors
    /// As [`forward`](Self::forward).
    pub fn forward_beside(
        &mut self,
        (graph, values): (&Graph, &[Option<Symbol>]),
        other: &Graph,
        output: NodeId,
        input: &Symbol,
    ) -> Result<Symbol> {
        let places: HashMap<&str, usize> =
            graph.nodes().iter().enumerate().map(|(index, node)| (node.name.as_str(), index)).collect();
        let known = |id: NodeId, operands: &[&Symbol]| {
            let node = other.node(id);
            let place = *places.get(node.name.as_str())?;
            let own = &graph.nodes()[place];
            let same = own.inputs.len() == operands.len()
                && own.inputs.iter().zip(operands).all(|(input, operand)| values[input.0].as_ref() == Some(*operand));
            let constant = matches!(own.op, Op::Constant(_));
            (own.op.kind() == node.op.kind() && (same || constant)).then(|| values[place].clone())?
        };
        let values = self.written(other, (other.input(), input), &trials(input), &[output], "", known)?;
        values[output.0].clone().ok_or_else(|| Error::internal("an output that was not written"))
    }

    /// Writes what `wanted` needs from one value on; `known` may have the value of a node with these operands already.
    fn written(
        &mut self,
        graph: &Graph,
        (given, start): (NodeId, &Symbol),
        input: &[Vec<usize>],
        wanted: &[NodeId],
        prefix: &str,
        known: impl Fn(NodeId, &[&Symbol]) -> Option<Symbol>,
    ) -> Result<Vec<Option<Symbol>>> {
        self.source = Some(start.clone());
        let shapes: Vec<Vec<Vec<usize>>> = input.iter().map(|input| graph.shapes(input)).collect::<Result<_>>()?;
        let needed = crate::execute::needed(graph, given, wanted);
        let mut values: Vec<Option<Symbol>> = vec![None; graph.nodes().len()];
        for (index, node) in graph.nodes().iter().enumerate().filter(|(index, _)| needed[*index]) {
            if index == given.0 {
                values[index] = Some(start.clone());
                continue;
            }
            let shape = from_trials(|trial| Some(shapes[trial][index].clone()));
            let shape = shape.ok_or_else(|| Error::internal("a rank that depends on the input"))?;
            let operands: Vec<&Symbol> = node.inputs.iter().filter_map(|input| values[input.0].as_ref()).collect();
            if let Some(known) = known(NodeId(index), &operands) {
                values[index] = Some(known);
                continue;
            }
            self.enter(format!("{prefix}{}", node.name));
            let named;
            let node = if prefix.is_empty() {
                node
            } else {
                named = crate::Node { name: format!("{prefix}{}", node.name), ..node.clone() };
                &named
            };
            let value = forward::write(self, node, &operands, &shape);
            values[index] = Some(self.collected(value, "ONNX's operators", node, shape)?);
        }
        Ok(values)
    }

    /// The gradients at `taps` of what has the gradient `g` at node `from`: vector-Jacobian products, `values` being what
    /// [`forward`](Self::forward) gave.
    ///
    /// # Errors
    /// [`Error::Parameter`] for a tap on which `from` does not depend; as [`forward`](Self::forward) otherwise.
    pub fn gradients(
        &mut self,
        graph: &Graph,
        values: &[Option<Symbol>],
        (from, g): (NodeId, Symbol),
        taps: &[NodeId],
        rule: BackwardRule,
        prefix: &str,
    ) -> Result<Vec<Symbol>> {
        let mut leads = vec![false; graph.nodes().len()];
        for (index, node) in graph.nodes().iter().enumerate() {
            leads[index] = taps.contains(&NodeId(index)) || node.inputs.iter().any(|input| leads[input.0]);
        }
        let mut gradients: Vec<Option<Symbol>> = vec![None; graph.nodes().len()];
        gradients[from.0] = Some(g);
        for index in (0..=from.0).rev() {
            let node = &graph.nodes()[index];
            let Some(g) = gradients[index].clone() else { continue };
            let wanted: Vec<bool> = node.inputs.iter().map(|input| leads[input.0]).collect();
            if !wanted.contains(&true) || matches!(node.op, Op::Input | Op::Constant(_)) {
                continue;
            }
            let operands: Vec<&Symbol> = node.inputs.iter().filter_map(|input| values[input.0].as_ref()).collect();
            let y = values[index].as_ref().ok_or_else(|| Error::internal("a value that was not written"))?;
            self.enter(format!("{prefix}{}/gradient", node.name));
            let of = reverse::Backward { operands: &operands, wanted: &wanted, y, g: &g, rule };
            let parts = match reverse::write(self, node, &of) {
                Ok(parts) => parts,
                Err(Error::Unsupported(reasons)) => {
                    self.lacks("a gradient", node, &reasons);
                    operands.iter().map(|operand| Some((*operand).clone())).collect()
                }
                Err(error) => return Err(error),
            };
            for ((input, part), wanted) in node.inputs.iter().zip(parts).zip(wanted) {
                let Some(part) = part.filter(|_| wanted) else { continue };
                gradients[input.0] = Some(match gradients[input.0].take() {
                    Some(sum) => self.add(&sum, &part)?,
                    None => part,
                });
            }
        }
        let found = taps.iter().map(|tap| {
            gradients[tap.0].clone().ok_or_else(|| {
                let name = &graph.node(*tap).name;
                Error::parameter("layer", format!("the score does not depend on `{name}` differentiably"))
            })
        });
        found.collect()
    }

    /// A value, or what stands for one that cannot be written.
    fn collected(
        &mut self,
        value: Result<Symbol>,
        what: &str,
        node: &crate::Node,
        shape: Vec<Extent>,
    ) -> Result<Symbol> {
        match value {
            Err(Error::Unsupported(reasons)) => {
                self.lacks(what, node, &reasons);
                Ok(Symbol { name: String::new(), shape })
            }
            other => other,
        }
    }

    fn lacks(&mut self, what: &str, node: &crate::Node, reasons: &[String]) {
        let reasons = if reasons.is_empty() { String::new() } else { format!(": {}", reasons.join(", ")) };
        let line = format!("{what} of layer `{}` ({}){reasons}", node.name, node.op.kind());
        if !self.missing.contains(&line) {
            self.missing.push(line);
        }
    }
}

/// The shapes of an input in each case.
fn trials(input: &Symbol) -> Vec<Vec<usize>> {
    (0..TRIALS).map(|trial| input.at(trial)).collect()
}
