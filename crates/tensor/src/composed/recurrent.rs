//! LSTM and GRU as compositions; see [`crate::composed`].

use crate::function::{Value, attach};
use crate::recurrent_cells::Cell;
use crate::{Activation, BackwardRule, activate, linear};
use candle_core::{Result, Tensor, Var};

/// The state between two steps: hidden `(N, H)`, and an LSTM's memory `(N, H)`.
#[derive(Clone)]
struct State {
    hidden: Tensor,
    memory: Tensor,
}

/// All hidden states `(N, T, H)`; `gates` is what the inputs add, `(N, T, G * H)`.
///
/// The layer is one operation. Its way back runs each step once more, tracked, from the last to the first: a chain of
/// candle's operations as long as the series would overflow the stack of candle's recursive backward pass.
pub(crate) fn states(gates: &Tensor, weight: &Tensor, bias: &Tensor, order: &[usize], cell: Cell) -> Result<Tensor> {
    let gates = gates.contiguous()?;
    let (batch, _, _) = gates.dims3()?;
    let zeros = Tensor::zeros((batch, weight.dim(1)?), gates.dtype(), gates.device())?;
    let mut state = State { hidden: zeros.clone(), memory: zeros };
    // The state before each step.
    let mut history = Vec::with_capacity(order.len());
    let mut found: Vec<Option<Tensor>> = vec![None; order.len()];
    for &time in order {
        let next = step(&at(&gates.detach(), time)?, &state, &weight.detach(), &bias.detach(), cell)?;
        found[time] = Some(next.hidden.clone());
        history.push(std::mem::replace(&mut state, next));
    }
    let found: Vec<Tensor> = found.into_iter().flatten().collect();
    let value = Tensor::stack(&found, 1)?;
    let order = order.to_vec();
    attach("recurrent", &[&gates, weight, bias], Value::Device(value), move |backward| {
        let [gates, weight, bias] = backward.arguments else { unreachable!("three arguments were attached") };
        let learnt = backward.wanted[1] || backward.wanted[2];
        back(gates, [weight, bias], backward.gradient, &history, &order, cell, learnt)
    })
}

fn at(x: &Tensor, time: usize) -> Result<Tensor> {
    x.narrow(1, time, 1)?.squeeze(1)?.contiguous()
}

fn back(
    gates: &Tensor,
    [weight, bias]: [&Tensor; 2],
    gradient: &Tensor,
    history: &[State],
    order: &[usize],
    cell: Cell,
    learnt: bool,
) -> Result<Vec<Option<Tensor>>> {
    let variable = |x: &Tensor| Ok::<_, candle_core::Error>(Var::from_tensor(x)?.into_inner());
    let (weight, bias) = if learnt { (variable(weight)?, variable(bias)?) } else { (weight.clone(), bias.clone()) };
    let mut of_gates: Vec<Option<Tensor>> = vec![None; order.len()];
    let mut of_weights: Option<[Tensor; 2]> = None;
    let mut after: Option<State> = None;
    for (&time, before) in order.iter().zip(history).rev() {
        let x = variable(&at(gates, time)?)?;
        let state = State { hidden: variable(&before.hidden)?, memory: variable(&before.memory)? };
        let next = step(&x, &state, &weight, &bias, cell)?;
        let mut hidden = at(gradient, time)?;
        if let Some(after) = &after {
            hidden = (hidden + &after.hidden)?;
        }
        let mut sum = (&next.hidden * hidden)?.sum_all()?;
        if let (Cell::Lstm, Some(after)) = (cell, &after) {
            sum = (sum + (&next.memory * &after.memory)?.sum_all()?)?;
        }
        let store = sum.backward()?;
        let of = |x: &Tensor| store.get(x).map_or_else(|| x.zeros_like(), |g| Ok(g.detach()));
        of_gates[time] = Some(of(&x)?);
        after = Some(State { hidden: of(&state.hidden)?, memory: of(&state.memory)? });
        if learnt {
            let [w, b] = [of(&weight)?, of(&bias)?];
            of_weights = Some(match of_weights {
                Some([weights, biases]) => [(weights + w)?, (biases + b)?],
                None => [w, b],
            });
        }
    }
    let of_gates: Vec<Tensor> = of_gates.into_iter().flatten().collect();
    let [weight, bias] = of_weights.map_or([None, None], |both| both.map(Some));
    Ok(vec![Some(Tensor::stack(&of_gates, 1)?), weight, bias])
}

fn step(x: &Tensor, state: &State, weight: &Tensor, bias: &Tensor, cell: Cell) -> Result<State> {
    let size = weight.dim(1)?;
    let sigmoid = |x: &Tensor| activate(x, Activation::Sigmoid, BackwardRule::Plain);
    let tanh = |x: &Tensor| activate(x, Activation::Tanh, BackwardRule::Plain);
    let gate = |from: &Tensor, index: usize| from.narrow(1, index * size, size)?.contiguous();
    let from_state = linear(&state.hidden, weight, Some(bias))?;
    if cell == Cell::Lstm {
        let all = (x + from_state)?;
        let (input, forget) = (sigmoid(&gate(&all, 0)?)?, sigmoid(&gate(&all, 1)?)?);
        let memory = ((forget * &state.memory)? + (input * tanh(&gate(&all, 2)?)?)?)?;
        let hidden = (sigmoid(&gate(&all, 3)?)? * tanh(&memory)?)?;
        return Ok(State { hidden, memory });
    }
    let reset = sigmoid(&(gate(x, 0)? + gate(&from_state, 0)?)?)?;
    let update = sigmoid(&(gate(x, 1)? + gate(&from_state, 1)?)?)?;
    let of_state = if cell == Cell::GruResetAfter {
        (reset * gate(&from_state, 2)?)?
    } else {
        let (weight, bias) = (weight.narrow(0, 2 * size, size)?, bias.narrow(0, 2 * size, size)?);
        linear(&(reset * &state.hidden)?, &weight.contiguous()?, Some(&bias.contiguous()?))?
    };
    let new = tanh(&(gate(x, 2)? + of_state)?)?;
    let hidden = (&new + (update * (&state.hidden - &new)?)?)?;
    Ok(State { hidden, memory: state.memory.clone() })
}
