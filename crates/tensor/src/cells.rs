//! Recurrent layers of any of ONNX's cells and activations: slower than [`lstm`](crate::lstm) and [`gru`](crate::gru), and
//! one operation as they are, so that a long series does not go back through a deep recursion.

use crate::elementwise::{Binary, binary};
use crate::function::{Value, attach};
use crate::linear::{linear, matmul};
use crate::{Activation, BackwardRule, activate};
use candle_core::{Result, Tensor, Var};

/// The recurrence of a [`Cells`], with ONNX's order of the gates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CellKind {
    /// `h = f(W x + R h + b)`.
    Rnn,
    /// Gates input, output, forget, cell. `coupled` forgets as much as it takes in.
    Lstm {
        /// ONNX's `input_forget`.
        coupled: bool,
    },
    /// Gates update, reset, new.
    Gru {
        /// Whether the reset gate comes after the state's product (ONNX's `linear_before_reset`).
        reset_after: bool,
    },
}

impl CellKind {
    /// The number of gates.
    pub fn gates(self) -> usize {
        match self {
            Self::Rnn => 1,
            Self::Lstm { .. } => 4,
            Self::Gru { .. } => 3,
        }
    }
}

/// A nonlinearity of a recurrent cell.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Gate {
    /// One of the networks' activations.
    Plain(Activation),
    /// `alpha * x + beta`.
    Affine(f64, f64),
    /// `alpha * tanh(beta * x)`.
    ScaledTanh(f64, f64),
    /// `x` above `alpha`, 0 elsewhere.
    ThresholdedRelu(f64),
}

impl Gate {
    fn apply(self, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::Plain(activation) => activate(x, activation, BackwardRule::Plain),
            Self::Affine(alpha, beta) => x.affine(alpha, beta),
            Self::ScaledTanh(alpha, beta) => activate(&(x * beta)?, Activation::Tanh, BackwardRule::Plain)? * alpha,
            Self::ThresholdedRelu(alpha) => crate::choose(&x.gt(alpha)?.to_dtype(x.dtype())?, x, &x.zeros_like()?),
        }
    }
}

/// One direction of a recurrent layer as ONNX describes it (`RNN`, `LSTM`, `GRU`).
#[derive(Clone, Debug)]
pub struct Cells {
    /// The recurrence.
    pub kind: CellKind,
    /// `(G * H, I)`.
    pub input_weight: Tensor,
    /// `(G * H, H)`.
    pub hidden_weight: Tensor,
    /// `(G * H,)`.
    pub input_bias: Tensor,
    /// `(G * H,)`.
    pub hidden_bias: Tensor,
    /// `(3 * H,)`: how an LSTM's input, output and forget gates see the cell.
    pub peepholes: Option<Tensor>,
    /// ONNX's `f`, `g`, `h`, as many as the cell has.
    pub gates: [Gate; 3],
    /// The bound of what enters an activation.
    pub clip: Option<f64>,
    /// From the last step to the first.
    pub reverse: bool,
}

/// Runs `(N, T, I)` through `cells` from the state `hidden` and `memory` `(N, H)` each: `(N, T, H)`, an LSTM's
/// `(N, T, 2 H)`, the hidden states before the cells'.
///
/// Gradients are those of the input and of the two states; weights are taken as frozen.
///
/// # Errors
/// Where shapes do not fit.
pub fn recurrent_cells(x: &Tensor, cells: &Cells, hidden: &Tensor, memory: &Tensor) -> Result<Tensor> {
    let (rows, steps, _) = x.dims3()?;
    let size = cells.hidden_weight.dim(1)?;
    let state = |tensor: &Tensor| tensor.broadcast_as((rows, size))?.contiguous();
    let (hidden, memory) = (state(hidden)?, state(memory)?);
    let inputs = linear(x, &cells.input_weight, Some(&cells.input_bias))?.contiguous()?;
    let order: Vec<usize> = if cells.reverse { (0..steps).rev().collect() } else { (0..steps).collect() };
    let all = run(cells, &inputs.detach(), &order, &hidden.detach(), &memory.detach())?;
    let lstm = matches!(cells.kind, CellKind::Lstm { .. });
    let mut outputs = vec![None; steps];
    for (&time, state) in order.iter().zip(&all) {
        outputs[time] = Some(if lstm { Tensor::cat(&[&state[0], &state[1]], 1)? } else { state[0].clone() });
    }
    let outputs: Vec<Tensor> = outputs.into_iter().flatten().collect();
    let value = Tensor::stack(&outputs, 1)?;
    let cells = cells.clone();
    attach("recurrent-cells", &[&inputs, &hidden, &memory], Value::Device(value), move |backward| {
        let [inputs, hidden, memory] = backward.arguments else { unreachable!("three arguments were attached") };
        let mut gradients = vec![None; order.len()];
        let mut of_hidden = hidden.zeros_like()?;
        let mut of_memory = memory.zeros_like()?;
        for (place, &time) in order.iter().enumerate().rev() {
            let of_output = backward.gradient.narrow(1, time, 1)?.squeeze(1)?;
            let own = of_output.narrow(1, 0, size)?;
            let to_hidden = (of_hidden + own)?;
            let to_memory = if lstm { (of_memory + of_output.narrow(1, size, size)?)? } else { of_memory };
            let [before, before_memory] = match place.checked_sub(1) {
                Some(earlier) => [&all[earlier][0], &all[earlier][1]],
                None => [hidden, memory],
            };
            let input = Var::from_tensor(&inputs.narrow(1, time, 1)?.squeeze(1)?.contiguous()?)?;
            let (h, c) = (Var::from_tensor(before)?, Var::from_tensor(before_memory)?);
            let [next, next_memory] = step(&cells, &input, &h, &c)?;
            let sum = ((next * to_hidden)?.sum_all()? + (next_memory * &to_memory)?.sum_all()?)?;
            let store = sum.backward()?;
            let of = |variable: &Var| match store.get(variable) {
                Some(gradient) => Ok(gradient.detach()),
                None => variable.zeros_like(),
            };
            gradients[time] = Some(of(&input)?);
            of_hidden = of(&h)?;
            of_memory = of(&c)?;
        }
        let gradients: Vec<Tensor> = gradients.into_iter().flatten().collect();
        Ok(vec![Some(Tensor::stack(&gradients, 1)?), Some(of_hidden), Some(of_memory)])
    })
}

/// The states of all steps, in the order of the steps.
fn run(cells: &Cells, inputs: &Tensor, order: &[usize], hidden: &Tensor, memory: &Tensor) -> Result<Vec<[Tensor; 2]>> {
    let mut state = [hidden.clone(), memory.clone()];
    let mut all = Vec::with_capacity(order.len());
    for &time in order {
        let input = inputs.narrow(1, time, 1)?.squeeze(1)?.contiguous()?;
        state = step(cells, &input, &state[0], &state[1])?;
        all.push(state.clone());
    }
    Ok(all)
}

/// One step: `input` is `W x + b` `(N, G * H)`.
fn step(cells: &Cells, input: &Tensor, hidden: &Tensor, memory: &Tensor) -> Result<[Tensor; 2]> {
    let size = cells.hidden_weight.dim(1)?;
    let [f, g, h] = cells.gates;
    let weight = |gate: usize, count: usize| cells.hidden_weight.narrow(0, gate * size, count * size)?.contiguous();
    let bias = |gate: usize, count: usize| cells.hidden_bias.narrow(0, gate * size, count * size)?.contiguous();
    let part = |tensor: &Tensor, gate: usize| tensor.narrow(1, gate * size, size)?.contiguous();
    let apply = |gate: Gate, x: &Tensor| match cells.clip {
        Some(clip) => gate.apply(&activate(x, Activation::Clip { low: -clip, high: clip }, BackwardRule::Plain)?),
        None => gate.apply(x),
    };
    let plus = |a: &Tensor, b: &Tensor| binary(a, b, Binary::Add);
    match cells.kind {
        CellKind::Rnn => {
            let sum = plus(input, &linear(hidden, &weight(0, 1)?, Some(&bias(0, 1)?))?)?;
            Ok([apply(f, &sum)?, memory.clone()])
        }
        CellKind::Lstm { coupled } => {
            let sum = plus(input, &linear(hidden, &weight(0, 4)?, Some(&bias(0, 4)?))?)?;
            let seen = |gate: usize, cell: &Tensor| -> Result<Tensor> {
                let own = part(&sum, gate)?;
                match &cells.peepholes {
                    Some(peepholes) => plus(&own, &cell.broadcast_mul(&peepholes.narrow(0, gate * size, size)?)?),
                    None => Ok(own),
                }
            };
            let input_gate = apply(f, &seen(0, memory)?)?;
            let forget_gate = if coupled { input_gate.affine(-1., 1.)? } else { apply(f, &seen(2, memory)?)? };
            let new = apply(g, &part(&sum, 3)?)?;
            let cell = ((forget_gate * memory)? + (input_gate * new)?)?;
            let output_gate = apply(f, &seen(1, &cell)?)?;
            // The clip bounds what enters the gates, not the cell on its way out.
            Ok([(output_gate * h.apply(&cell)?)?, cell])
        }
        CellKind::Gru { reset_after } => {
            let sum = plus(&input.narrow(1, 0, 2 * size)?, &linear(hidden, &weight(0, 2)?, Some(&bias(0, 2)?))?)?;
            let (update, reset) = (apply(f, &part(&sum, 0)?)?, apply(f, &part(&sum, 1)?)?);
            let inner = if reset_after {
                (reset * linear(hidden, &weight(2, 1)?, Some(&bias(2, 1)?))?)?
            } else {
                let product = matmul(&(reset * hidden)?, &weight(2, 1)?.t()?.contiguous()?)?;
                product.broadcast_add(&bias(2, 1)?)?
            };
            let new = apply(g, &plus(&part(input, 2)?, &inner)?)?;
            let next = ((update.affine(-1., 1.)? * new)? + (update * hidden)?)?;
            Ok([next, memory.clone()])
        }
    }
}
