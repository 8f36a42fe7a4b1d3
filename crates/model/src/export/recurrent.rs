//! Recurrent layers: forwards as ONNX's operators, backwards step by step.

use super::OnnxWriter;
use super::attribute::{integer, text};
use super::symbol::{Extent, Symbol, TRIALS, sizes};
use candle_core::Tensor;
use faithful_core::Result;
use faithful_tensor::{Direction, Recurrent};

/// `PyTorch`'s gates of an LSTM (input, forget, cell, output) in ONNX's order (input, output, forget, cell).
const LSTM_GATES: &[usize] = &[0, 3, 1, 2];
/// `PyTorch`'s gates of a GRU (reset, update, new) in ONNX's order (update, reset, new).
const GRU_GATES: &[usize] = &[1, 0, 2];

/// An LSTM's states `(N, T, H)`.
pub(super) fn lstm(
    writer: &mut OnnxWriter,
    name: &str,
    x: &Symbol,
    weights: &Recurrent,
    direction: Direction,
    shape: &[Extent],
) -> Result<Symbol> {
    run(writer, name, "LSTM", (x, weights, LSTM_GATES), direction, Vec::new(), shape)
}

/// A GRU's states `(N, T, H)`.
pub(super) fn gru(
    writer: &mut OnnxWriter,
    name: &str,
    x: &Symbol,
    weights: &Recurrent,
    direction: Direction,
    reset_after: bool,
    shape: &[Extent],
) -> Result<Symbol> {
    let after = vec![integer("linear_before_reset", i64::from(reset_after))];
    run(writer, name, "GRU", (x, weights, GRU_GATES), direction, after, shape)
}

fn run(
    writer: &mut OnnxWriter,
    name: &str,
    operator: &str,
    (x, weights, order): (&Symbol, &Recurrent, &[usize]),
    direction: Direction,
    mut attributes: Vec<crate::onnx::proto::Attribute>,
    shape: &[Extent],
) -> Result<Symbol> {
    let width = weights.hidden_weight.dims()[1];
    let input = stored(writer, &weights.input_weight, order)?;
    let hidden = stored(writer, &weights.hidden_weight, order)?;
    let zeros = Tensor::zeros(order.len() * width, input.dtype(), input.device())?;
    let bias = |bias: &Option<Tensor>| -> Result<Tensor> { Ok(reordered(bias.as_ref().unwrap_or(&zeros), order)?) };
    let biases = Tensor::cat(&[bias(&weights.input_bias)?, bias(&weights.hidden_bias)?], 0)?.unsqueeze(0)?;
    let operands = [writer.tensor(&input)?, writer.tensor(&hidden)?, writer.tensor(&biases)?];
    let steps_first = writer.transpose(x, &[1, 0, 2]);
    let word = if direction == Direction::Reverse { "reverse" } else { "forward" };
    attributes.extend([integer("hidden_size", width as i64), text("direction", word)]);
    let [input, hidden, biases] = &operands;
    let states = [shape[1], [1; TRIALS], shape[0], shape[2]].to_vec();
    let y = writer.named_node(name, operator, &[&steps_first, input, hidden, biases], attributes, states);
    let y = writer.transpose(&y, &[2, 0, 1, 3]);
    writer.reshape(&y, shape)
}

/// A matrix as ONNX has it, `(1, G H, …)` with its gates in that order: what is stored, forwards and backwards.
fn stored(writer: &mut OnnxWriter, weight: &Tensor, order: &[usize]) -> Result<Tensor> {
    writer.derived(weight, |weight| Ok(reordered(weight, order)?.unsqueeze(0)?))
}

/// The stored matrix `(G H, …)`.
fn matrix(writer: &mut OnnxWriter, weight: &Tensor, order: &[usize]) -> Result<Symbol> {
    let stored = stored(writer, weight, order)?;
    let symbol = writer.tensor(&stored)?;
    writer.reshape(&symbol, &sizes(&stored.dims()[1..]))
}

/// The rows of gates in another order.
fn reordered(weight: &Tensor, order: &[usize]) -> candle_core::Result<Tensor> {
    let rows = weight.dim(0)? / order.len();
    let gates: Vec<Tensor> =
        order.iter().map(|gate| weight.narrow(0, gate * rows, rows)).collect::<candle_core::Result<_>>()?;
    Tensor::cat(&gates, 0)
}

/// A layer whose gradient is taken.
pub(super) struct Backward<'a> {
    pub(super) x: &'a Symbol,
    /// The states `(N, T, H)`.
    pub(super) states: &'a Symbol,
    /// Their gradient.
    pub(super) gradient: &'a Symbol,
    pub(super) weights: &'a Recurrent,
    pub(super) direction: Direction,
}

impl Backward<'_> {
    /// The state before each step.
    fn before(&self, writer: &mut OnnxWriter, states: &Symbol) -> Result<Symbol> {
        let steps = self.steps(writer)?;
        let (start, pads) = match self.direction {
            Direction::Forward => (0, [1, 0]),
            Direction::Reverse => (1, [0, 1]),
        };
        let kept = writer.narrow(states, 1, start, steps - 1);
        Ok(writer.pad(&kept, &[[0, 0], pads, [0, 0]], 0.0))
    }

    fn steps(&self, writer: &mut OnnxWriter) -> Result<usize> {
        writer.size(self.x.shape[1])
    }

    fn width(&self) -> usize {
        self.weights.hidden_weight.dims()[1]
    }

    /// The steps as they are computed.
    fn order(&self, steps: usize) -> Vec<usize> {
        match self.direction {
            Direction::Forward => (0..steps).collect(),
            Direction::Reverse => (0..steps).rev().collect(),
        }
    }

    /// The gradient of the input, from that of what the gates see of it, step by step.
    fn input_gradient(
        &self,
        writer: &mut OnnxWriter,
        order: &[usize],
        mut parts: Vec<(usize, Symbol)>,
    ) -> Result<Symbol> {
        parts.sort_by_key(|(step, _)| *step);
        let parts: Vec<&Symbol> = parts.iter().map(|(_, part)| part).collect();
        let all = writer.concat(&parts, 1);
        let weight = matrix(writer, &self.weights.input_weight, order)?;
        writer.matmul(&all, &weight)
    }
}

/// `x W^T + b`, the gates in ONNX's order.
fn product(
    writer: &mut OnnxWriter,
    x: &Symbol,
    (weight, bias): (&Tensor, Option<&Tensor>),
    order: &[usize],
) -> Result<Symbol> {
    let matrix = matrix(writer, weight, order)?;
    let turned = writer.transpose(&matrix, &[1, 0]);
    let y = writer.matmul(x, &turned)?;
    let Some(bias) = bias else { return Ok(y) };
    let bias = writer.tensor(&reordered(bias, order)?)?;
    writer.add(&y, &bias)
}

/// Gate `number` of what has them all along its last axis.
fn gate(writer: &mut OnnxWriter, all: &Symbol, number: usize, width: usize) -> Symbol {
    writer.narrow(all, all.rank() - 1, number * width, width)
}

/// `x (1 - x)`.
fn logistic_slope(writer: &mut OnnxWriter, x: &Symbol) -> Result<Symbol> {
    let rest = writer.affine(x, -1.0, 1.0)?;
    writer.mul(x, &rest)
}

/// `1 - x^2`.
fn tanh_slope(writer: &mut OnnxWriter, x: &Symbol) -> Result<Symbol> {
    let square = writer.mul(x, x)?;
    writer.affine(&square, -1.0, 1.0)
}

fn plus(writer: &mut OnnxWriter, sum: Option<Symbol>, x: Symbol) -> Result<Symbol> {
    match sum {
        Some(sum) => writer.add(&sum, &x),
        None => Ok(x),
    }
}

/// The gradient of an LSTM's input.
pub(super) fn lstm_gradient(writer: &mut OnnxWriter, of: &Backward<'_>) -> Result<Symbol> {
    let Recurrent { input_weight, hidden_weight, input_bias, hidden_bias } = of.weights;
    let (steps, width) = (of.steps(writer)?, of.width());
    // What the gates were is computed again, for all steps at once.
    let before = of.before(writer, of.states)?;
    let from_input = product(writer, of.x, (input_weight, input_bias.as_ref()), LSTM_GATES)?;
    let from_state = product(writer, &before, (hidden_weight, hidden_bias.as_ref()), LSTM_GATES)?;
    let all = writer.add(&from_input, &from_state)?;
    let parts: Vec<Symbol> = (0..4).map(|number| gate(writer, &all, number, width)).collect();
    let input = writer.unary("Sigmoid", &parts[0]);
    let output = writer.unary("Sigmoid", &parts[1]);
    let forget = writer.unary("Sigmoid", &parts[2]);
    let new = writer.unary("Tanh", &parts[3]);
    let taken = writer.mul(&input, &new)?;
    let order = of.order(steps);
    let mut cells: Vec<(usize, Symbol)> = Vec::with_capacity(steps);
    for &step in &order {
        let taken = writer.narrow(&taken, 1, step, 1);
        let cell = match cells.last().cloned() {
            Some((_, last)) => {
                let forget = writer.narrow(&forget, 1, step, 1);
                let kept = writer.mul(&forget, &last)?;
                writer.add(&kept, &taken)?
            }
            None => taken,
        };
        cells.push((step, cell));
    }
    cells.sort_by_key(|(step, _)| *step);
    let cells: Vec<&Symbol> = cells.iter().map(|(_, cell)| cell).collect();
    let cells = writer.concat(&cells, 1);
    let cells_before = of.before(writer, &cells)?;
    let shown = writer.unary("Tanh", &cells);
    // By what the gradients of cell and state are multiplied on their way to each gate.
    let slope = logistic_slope(writer, &input)?;
    let to_input = writer.mul(&slope, &new)?;
    let slope = logistic_slope(writer, &forget)?;
    let to_forget = writer.mul(&slope, &cells_before)?;
    let slope = tanh_slope(writer, &new)?;
    let to_new = writer.mul(&slope, &input)?;
    let slope = logistic_slope(writer, &output)?;
    let to_output = writer.mul(&slope, &shown)?;
    let factors = writer.concat(&[&to_input, &to_output, &to_forget, &to_new], 2);
    let slope = tanh_slope(writer, &shown)?;
    let to_cell = writer.mul(&slope, &output)?;
    let matrix = matrix(writer, hidden_weight, LSTM_GATES)?;
    let (mut state_after, mut cell_after) = (None, None);
    let mut gates = Vec::with_capacity(steps);
    for (place, &step) in order.iter().enumerate().rev() {
        let own = writer.narrow(of.gradient, 1, step, 1);
        let state = plus(writer, state_after.take(), own)?;
        let to_cell = writer.narrow(&to_cell, 1, step, 1);
        let through = writer.mul(&state, &to_cell)?;
        let cell = plus(writer, cell_after.take(), through)?;
        let both = writer.concat(&[&cell, &state, &cell, &cell], 2);
        let factors = writer.narrow(&factors, 1, step, 1);
        let gate = writer.mul(&both, &factors)?;
        if place > 0 {
            state_after = Some(writer.matmul(&gate, &matrix)?);
            let forget = writer.narrow(&forget, 1, step, 1);
            cell_after = Some(writer.mul(&cell, &forget)?);
        }
        gates.push((step, gate));
    }
    of.input_gradient(writer, LSTM_GATES, gates)
}

/// The gradient of a GRU's input.
pub(super) fn gru_gradient(writer: &mut OnnxWriter, of: &Backward<'_>, reset_after: bool) -> Result<Symbol> {
    let Recurrent { input_weight, hidden_weight, input_bias, hidden_bias } = of.weights;
    let (steps, width) = (of.steps(writer)?, of.width());
    let before = of.before(writer, of.states)?;
    let from_input = product(writer, of.x, (input_weight, input_bias.as_ref()), GRU_GATES)?;
    let from_state = product(writer, &before, (hidden_weight, hidden_bias.as_ref()), GRU_GATES)?;
    let inputs: Vec<Symbol> = (0..3).map(|number| gate(writer, &from_input, number, width)).collect();
    let states: Vec<Symbol> = (0..3).map(|number| gate(writer, &from_state, number, width)).collect();
    let update = writer.add(&inputs[0], &states[0])?;
    let update = writer.unary("Sigmoid", &update);
    let reset = writer.add(&inputs[1], &states[1])?;
    let reset = writer.unary("Sigmoid", &reset);
    let matrix = matrix(writer, hidden_weight, GRU_GATES)?;
    let new_rows = writer.narrow(&matrix, 0, 2 * width, width);
    let seen = if reset_after {
        writer.mul(&reset, &states[2])?
    } else {
        let let_through = writer.mul(&reset, &before)?;
        let turned = writer.transpose(&new_rows, &[1, 0]);
        let product = writer.matmul(&let_through, &turned)?;
        match hidden_bias {
            Some(bias) => {
                // The new gate is the last in both orders.
                let bias = writer.tensor(bias)?;
                let bias = gate(writer, &bias, 2, width);
                writer.add(&product, &bias)?
            }
            None => product,
        }
    };
    let new = writer.add(&inputs[2], &seen)?;
    let new = writer.unary("Tanh", &new);
    let rest = writer.affine(&update, -1.0, 1.0)?;
    let slope = tanh_slope(writer, &new)?;
    let to_new = writer.mul(&slope, &rest)?;
    let slope = logistic_slope(writer, &update)?;
    let gap = writer.sub(&before, &new)?;
    let to_update = writer.mul(&slope, &gap)?;
    let slope = logistic_slope(writer, &reset)?;
    let to_reset = writer.mul(&slope, if reset_after { &states[2] } else { &before })?;
    let gate_rows = writer.narrow(&matrix, 0, 0, 2 * width);
    let order = of.order(steps);
    let mut after: Option<Symbol> = None;
    let mut gates = Vec::with_capacity(steps);
    for (place, &step) in order.iter().enumerate().rev() {
        let at = |writer: &mut OnnxWriter, x: &Symbol| writer.narrow(x, 1, step, 1);
        let own = at(writer, of.gradient);
        let state = plus(writer, after.take(), own)?;
        let factor = at(writer, &to_new);
        let new = writer.mul(&state, &factor)?;
        let factor = at(writer, &to_update);
        let updated = writer.mul(&state, &factor)?;
        let factor = at(writer, &to_reset);
        let own_reset = at(writer, &reset);
        // What goes back along the new gate's product with the state.
        let (reset_gate, mut along) = if reset_after {
            let behind = writer.mul(&new, &own_reset)?;
            (writer.mul(&new, &factor)?, writer.matmul(&behind, &new_rows)?)
        } else {
            let behind = writer.matmul(&new, &new_rows)?;
            (writer.mul(&behind, &factor)?, writer.mul(&behind, &own_reset)?)
        };
        if place > 0 {
            let both = writer.concat(&[&updated, &reset_gate], 2);
            let through = writer.matmul(&both, &gate_rows)?;
            along = writer.add(&along, &through)?;
            let factor = at(writer, &update);
            let kept = writer.mul(&state, &factor)?;
            after = Some(writer.add(&along, &kept)?);
        }
        gates.push((step, writer.concat(&[&updated, &reset_gate, &new], 2)));
    }
    of.input_gradient(writer, GRU_GATES, gates)
}
