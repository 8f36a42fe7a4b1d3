//! LSTMs in `f32` on the CPU, by the kernels of `faithful-kernel`.

use super::Direction;
use crate::function::{Elements, Value, attach};
use crate::product::{Matrix, multiply};
use candle_core::{Result, Tensor};
use faithful_kernel::{Isa, RecurrentCell, RecurrentSteps};

/// What a pass leaves for the way back.
struct History {
    steps: RecurrentSteps,
    /// The gates' values `(N, T, 4H)`.
    gates: Vec<f32>,
    /// The cell states and their hyperbolic tangents, `(N, T, 2H)`.
    cells: Vec<f32>,
    /// The states `(N, T, H)`; empty where nobody learns.
    states: Vec<f32>,
}

/// All states `(N, T, H)`; `gates` `(N, T, 4H)` is what the inputs add, `weight` `(4H, H)` and `bias` `(4H,)` are the state's.
pub(super) fn lstm(gates: &Tensor, [weight, bias]: [&Tensor; 2], direction: Direction) -> Result<Tensor> {
    let (batch, times, _) = gates.dims3()?;
    let hidden = weight.dim(1)?;
    let steps =
        RecurrentSteps::new(Isa::best(), RecurrentCell::Lstm, hidden, Elements::of(weight)?.slice()?, direction)?;
    let added = Elements::of(bias)?;
    let added: &[f32] = added.slice()?;
    let mut values: Vec<f32> = Elements::of(gates)?.slice()?.to_vec();
    for gates in values.chunks_exact_mut(added.len()) {
        gates.iter_mut().zip(added).for_each(|(gate, bias)| *gate += bias);
    }
    let mut cells = vec![0.0; batch * times * 2 * hidden];
    let mut states = vec![0.0; batch * times * hidden];
    steps.run(&mut values, &mut cells, &mut states, times)?;
    let learning = weight.track_op() || bias.track_op();
    let kept = if learning { states.clone() } else { Vec::new() };
    let history = History { steps, gates: values, cells, states: kept };
    let value = Value::new(states, (batch, times, hidden));
    attach("lstm", &[gates, weight, bias], value, move |backward| {
        gradients(&history, backward.gradient, [batch, times, hidden], direction)
    })
}

fn gradients(
    history: &History,
    gradient: &Tensor,
    [batch, times, hidden]: [usize; 3],
    direction: Direction,
) -> Result<Vec<Option<Tensor>>> {
    let mut sums = history.gates.clone();
    history.steps.run_back(&mut sums, &history.cells, Elements::of(gradient)?.slice()?, times)?;
    let width = 4 * hidden;
    let learnt = (!history.states.is_empty()).then(|| {
        // Each step's gates saw the state before it, and the first one's none.
        let mut seen = vec![0.0; history.states.len()];
        for (seen, states) in seen.chunks_exact_mut(times * hidden).zip(history.states.chunks_exact(times * hidden)) {
            let before = (times - 1) * hidden;
            match direction {
                Direction::Forward => seen[hidden..].copy_from_slice(&states[..before]),
                Direction::Reverse => seen[..before].copy_from_slice(&states[hidden..]),
            }
        }
        let mut weight = vec![0.0; width * hidden];
        let (left, right) = (Matrix::new(&sums, 1, width), Matrix::new(&seen, hidden, 1));
        multiply(&mut weight, hidden, [width, hidden, batch * times], left, right, false);
        let mut bias = vec![0.0; width];
        for sums in sums.chunks_exact(width) {
            bias.iter_mut().zip(sums).for_each(|(bias, sum)| *bias += sum);
        }
        [Value::new(weight, (width, hidden)), Value::new(bias, width)].map(Value::into_tensor)
    });
    let [weight, bias] = learnt.map_or([None, None], |both| both.map(Some));
    Ok(vec![Some(Value::new(sums, (batch, times, width)).into_tensor()), weight, bias])
}
