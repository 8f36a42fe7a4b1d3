//! LSTM and GRU through time, forward and back, in one operation: a chain of candle's own operations as long as a
//! series would overflow the stack in its recursive backward pass.

use crate::function::Real;
use crate::product::{Matrix, multiply, multiply_rows};

/// Which recurrence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cell {
    Lstm,
    GruResetAfter,
    GruResetBefore,
}

impl Cell {
    pub(crate) fn gates(self) -> usize {
        if self == Self::Lstm { 4 } else { 3 }
    }
}

/// What a step needs besides its input: `weight` `(G * H, H)` and `bias` `(G * H,)` of the state's part.
pub(crate) struct Layer<'a, T> {
    pub(crate) weight: &'a [T],
    pub(crate) bias: &'a [T],
    pub(crate) batch: usize,
    pub(crate) steps: usize,
    pub(crate) hidden: usize,
    pub(crate) cell: Cell,
    /// Whether the weights are learnt.
    pub(crate) training: bool,
}

/// One step of all rows, as the way back needs it.
pub(crate) struct Step<T> {
    /// The gates' values `(N, G * H)`, after their nonlinearities.
    gates: Vec<T>,
    /// The state's part of a GRU's new gate, `(N, H)`: `V h + b'`, or `r h` where the reset comes before.
    inner: Vec<T>,
    /// An LSTM's cell state `(N, H)`.
    memory: Vec<T>,
    /// The hidden state `(N, H)`.
    state: Vec<T>,
}

fn sigmoid<T: Real>(x: T) -> T {
    T::one() / (T::one() + (-x).exp())
}

/// Runs through the steps in `order`; `inputs` is `(N, T, G * H)`.
pub(crate) fn forward<T: Real>(inputs: &[T], layer: &Layer<T>, order: &[usize]) -> Vec<Step<T>> {
    let (batch, size, width) = (layer.batch, layer.hidden, layer.cell.gates() * layer.hidden);
    let mut history: Vec<Step<T>> = Vec::with_capacity(order.len());
    let zeros = vec![T::zero(); batch * size];
    for &time in order {
        let (state, memory) = history.last().map_or((&zeros, &zeros), |step| (&step.state, &step.memory));
        let from_state = multiply_rows(state, [batch, width, size], Matrix::new(layer.weight, 1, size), layer.training);
        let mut step = Step {
            gates: vec![T::zero(); batch * width],
            inner: zeros.clone(),
            memory: zeros.clone(),
            state: zeros.clone(),
        };
        for row in 0..batch {
            let x = &inputs[(row * layer.steps + time) * width..][..width];
            let from_state = &from_state[row * width..][..width];
            let gates = &mut step.gates[row * width..][..width];
            for (j, gate) in gates.iter_mut().enumerate() {
                *gate = x[j] + from_state[j] + layer.bias[j];
            }
            for j in 0..size {
                let at = row * size + j;
                if layer.cell == Cell::Lstm {
                    let [i, f, g, o] = [0, 1, 2, 3].map(|gate| gates[gate * size + j]);
                    let (i, f, g, o) = (sigmoid(i), sigmoid(f), g.tanh(), sigmoid(o));
                    step.memory[at] = f * memory[at] + i * g;
                    step.state[at] = o * step.memory[at].tanh();
                    for (gate, value) in [i, f, g, o].into_iter().enumerate() {
                        gates[gate * size + j] = value;
                    }
                    continue;
                }
                gates[j] = sigmoid(gates[j]);
                gates[size + j] = sigmoid(gates[size + j]);
                let last = 2 * size + j;
                step.inner[at] = match layer.cell {
                    Cell::GruResetAfter => from_state[last] + layer.bias[last],
                    _ => gates[j] * state[at],
                };
                gates[last] = x[last];
            }
        }
        if layer.cell != Cell::Lstm {
            finish_gru(&mut step, state, layer);
        }
        history.push(step);
    }
    history
}

/// The new gate and the next state, once the reset gate is known.
fn finish_gru<T: Real>(step: &mut Step<T>, state: &[T], layer: &Layer<T>) {
    let (batch, size) = (layer.batch, layer.hidden);
    let of_reset = (layer.cell == Cell::GruResetBefore).then(|| {
        let weight = Matrix::new(&layer.weight[2 * size * size..], 1, size);
        multiply_rows(&step.inner, [batch, size, size], weight, layer.training)
    });
    for row in 0..batch {
        let gates = &mut step.gates[row * 3 * size..][..3 * size];
        for j in 0..size {
            let at = row * size + j;
            let inner = match &of_reset {
                Some(product) => product[at] + layer.bias[2 * size + j],
                None => gates[j] * step.inner[at],
            };
            let new = (gates[2 * size + j] + inner).tanh();
            gates[2 * size + j] = new;
            step.state[at] = new + gates[size + j] * (state[at] - new);
        }
    }
}

/// The hidden states `(N, T, H)`, each at its own time.
pub(crate) fn in_place_of_time<T: Real>(history: &[Step<T>], layer: &Layer<T>, order: &[usize]) -> Vec<T> {
    let size = layer.hidden;
    let mut states = vec![T::zero(); layer.batch * layer.steps * size];
    for (step, &time) in history.iter().zip(order) {
        for (row, state) in step.state.chunks(size).enumerate() {
            states[(row * layer.steps + time) * size..][..size].copy_from_slice(state);
        }
    }
    states
}

/// What comes back through time.
pub(crate) struct Found<T> {
    /// `(N, T, G * H)`.
    pub(crate) gates: Vec<T>,
    /// `(G * H, H)`; zeros where it was not asked for.
    pub(crate) weight: Vec<T>,
    /// `(G * H,)`; zeros where it was not asked for.
    pub(crate) bias: Vec<T>,
}

/// The gradients of what [`forward`] took, from that of the states `(N, T, H)` and what it remembered.
pub(crate) fn backward<T: Real>(
    history: &[Step<T>],
    gradient: &[T],
    layer: &Layer<T>,
    order: &[usize],
    with_weights: bool,
) -> Found<T> {
    let (batch, size, width) = (layer.batch, layer.hidden, layer.cell.gates() * layer.hidden);
    let mut found = Found {
        gates: vec![T::zero(); batch * layer.steps * width],
        weight: vec![T::zero(); width * size],
        bias: vec![T::zero(); width],
    };
    let zeros = vec![T::zero(); batch * size];
    let (mut to_state, mut to_memory) = (zeros.clone(), zeros.clone());
    for (index, &time) in order.iter().enumerate().rev() {
        let step = &history[index];
        let (state, memory) =
            index.checked_sub(1).map_or((&zeros, &zeros), |before| (&history[before].state, &history[before].memory));
        for row in 0..batch {
            for j in 0..size {
                to_state[row * size + j] += gradient[(row * layer.steps + time) * size + j];
            }
        }
        // Of the sums before the nonlinearities: all of it, and what of it the state's part gets.
        let mut sums = vec![T::zero(); batch * width];
        let mut state_sums = vec![T::zero(); batch * width];
        if layer.cell == Cell::Lstm {
            lstm_step_back(step, memory, &to_state, &mut to_memory, &mut sums, size);
            state_sums.copy_from_slice(&sums);
            to_state.fill(T::zero());
        } else {
            gru_step_back(step, state, &mut to_state, &mut sums, &mut state_sums, layer);
        }
        let back = multiply_rows(&state_sums, [batch, size, width], Matrix::new(layer.weight, size, 1), with_weights);
        for (to_state, back) in to_state.iter_mut().zip(&back) {
            *to_state += *back;
        }
        for row in 0..batch {
            found.gates[(row * layer.steps + time) * width..][..width].copy_from_slice(&sums[row * width..][..width]);
        }
        if with_weights {
            add_weights(&mut found, step, state, (&sums, &state_sums), layer);
        }
    }
    found
}

fn lstm_step_back<T: Real>(
    step: &Step<T>,
    memory: &[T],
    to_state: &[T],
    to_memory: &mut [T],
    sums: &mut [T],
    size: usize,
) {
    let one = T::one();
    for (at, (&to_state, to_memory)) in to_state.iter().zip(to_memory).enumerate() {
        let first = at / size * 4 * size + at % size;
        let [i, f, g, o] = [0, 1, 2, 3].map(|gate| step.gates[first + gate * size]);
        let t = step.memory[at].tanh();
        let to_cell = *to_memory + to_state * o * (one - t * t);
        sums[first] = to_cell * g * i * (one - i);
        sums[first + size] = to_cell * memory[at] * f * (one - f);
        sums[first + 2 * size] = to_cell * i * (one - g * g);
        sums[first + 3 * size] = to_state * t * o * (one - o);
        *to_memory = to_cell * f;
    }
}

/// Leaves in `to_state` what passes the state by, and with an early reset what passes through it.
fn gru_step_back<T: Real>(
    step: &Step<T>,
    state: &[T],
    to_state: &mut [T],
    sums: &mut [T],
    state_sums: &mut [T],
    layer: &Layer<T>,
) {
    let (batch, size, one) = (layer.batch, layer.hidden, T::one());
    let mut to_new = vec![T::zero(); batch * size];
    for (at, to_state) in to_state.iter_mut().enumerate() {
        let first = at / size * 3 * size + at % size;
        let [u, new] = [1, 2].map(|gate| step.gates[first + gate * size]);
        to_new[at] = *to_state * (one - u) * (one - new * new);
        sums[first + size] = *to_state * (state[at] - new) * u * (one - u);
        sums[first + 2 * size] = to_new[at];
        state_sums[first + size] = sums[first + size];
        *to_state *= u;
    }
    let to_reset = match layer.cell {
        // Through the new gate's matrix to `r h`.
        Cell::GruResetBefore => {
            let weight = Matrix::new(&layer.weight[2 * size * size..], size, 1);
            multiply_rows(&to_new, [batch, size, size], weight, layer.training)
        }
        _ => to_new,
    };
    for (at, to_state) in to_state.iter_mut().enumerate() {
        let first = at / size * 3 * size + at % size;
        let r = step.gates[first];
        let with = if layer.cell == Cell::GruResetBefore {
            *to_state += to_reset[at] * r;
            state[at]
        } else {
            state_sums[first + 2 * size] = to_reset[at] * r;
            step.inner[at]
        };
        sums[first] = to_reset[at] * with * r * (one - r);
        state_sums[first] = sums[first];
    }
}

fn add_weights<T: Real>(
    found: &mut Found<T>,
    step: &Step<T>,
    state: &[T],
    (sums, state_sums): (&[T], &[T]),
    layer: &Layer<T>,
) {
    let (batch, size, width) = (layer.batch, layer.hidden, layer.cell.gates() * layer.hidden);
    let state = Matrix::new(state, size, 1);
    multiply(&mut found.weight, size, [width, size, batch], Matrix::new(state_sums, 1, width), state, true);
    // With an early reset the new gate's matrix and bias see `r h`, which `state_sums` leaves out.
    let early = layer.cell == Cell::GruResetBefore;
    if early {
        let into = &mut found.weight[2 * size * size..];
        let reset = Matrix::new(&step.inner, size, 1);
        multiply(into, size, [size, size, batch], Matrix::new(&sums[2 * size..], 1, width), reset, true);
    }
    for (sums, state_sums) in sums.chunks(width).zip(state_sums.chunks(width)) {
        for (j, bias) in found.bias.iter_mut().enumerate() {
            *bias += if early { sums[j] } else { state_sums[j] };
        }
    }
}
