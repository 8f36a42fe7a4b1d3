mod vectorised;

use crate::composed::{has_kernels, recurrent as composed};
use crate::function::{Elements, Value, attach, by_type, is_half_on_cpu, widen, widen_optional};
use crate::linear;
use crate::recurrent_cells::{self as cells, Cell};
use candle_core::{DType, Result, Tensor, bail};
use faithful_kernel::Direction;
use std::any::Any;

/// One direction of a recurrent layer: `PyTorch`'s layout, `G` gates stacked along the first axis.
#[derive(Clone, Debug)]
pub struct Recurrent {
    /// `(G * H, I)`.
    pub input_weight: Tensor,
    /// `(G * H, H)`.
    pub hidden_weight: Tensor,
    /// `(G * H,)`.
    pub input_bias: Option<Tensor>,
    /// `(G * H,)`.
    pub hidden_bias: Option<Tensor>,
}

/// An LSTM direction; gates in `PyTorch`'s order input, forget, cell, output.
pub type Lstm = Recurrent;
/// A GRU direction; gates in `PyTorch`'s order reset, update, new.
pub type Gru = Recurrent;

/// All hidden states `(N, T, H)` of `x` `(N, T, I)`, from zero states.
///
/// `i, f, o = sigmoid(W x + V h + b)`, `g = tanh(W x + V h + b)`, `c' = f c + i g`, `h' = o tanh(c')` (Hochreiter and
/// Schmidhuber 1997, with forget gates). A bidirectional layer is two directions, concatenated; a stacked one reads
/// the other's states. With [`Direction::Reverse`] state `t` has read everything from the end to `t`.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use faithful_tensor::{Direction, Recurrent, lstm};
/// # fn main() -> candle_core::Result<()> {
/// let cpu = Device::Cpu;
/// let weights = Recurrent {
///     input_weight: Tensor::new(&[[0f64], [0.], [1.], [0.]], &cpu)?,
///     hidden_weight: Tensor::zeros((4, 1), candle_core::DType::F64, &cpu)?,
///     input_bias: None,
///     hidden_bias: None,
/// };
/// let x = Tensor::new(&[[[1f64]]], &cpu)?;
/// let h = lstm(&x, &weights, Direction::Forward)?.flatten_all()?.to_vec1::<f64>()?;
/// assert!((h[0] - 0.5 * (0.5 * 1f64.tanh()).tanh()).abs() < 1e-15);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// Where the shapes do not fit.
pub fn lstm(x: &Tensor, weights: &Lstm, direction: Direction) -> Result<Tensor> {
    run("lstm", x, weights, direction, Cell::Lstm)
}

/// All hidden states `(N, T, H)` of `x` `(N, T, I)`, from zero states; `reset_after` is `PyTorch`'s and ONNX's
/// `linear_before_reset = 1`.
///
/// `r, u = sigmoid(W x + V h + b)`, `h' = (1 - u) n + u h` with `n = tanh(W x + b + r (V h + b'))`, or, without
/// `reset_after`, `n = tanh(W x + b + V (r h) + b')` (Cho et al. 2014).
///
/// # Errors
/// Where the shapes do not fit.
pub fn gru(x: &Tensor, weights: &Gru, direction: Direction, reset_after: bool) -> Result<Tensor> {
    run("gru", x, weights, direction, if reset_after { Cell::GruResetAfter } else { Cell::GruResetBefore })
}

fn run(name: &'static str, x: &Tensor, weights: &Recurrent, direction: Direction, cell: Cell) -> Result<Tensor> {
    let Recurrent { input_weight, hidden_weight, input_bias, hidden_bias } = weights;
    let (&[batch, steps, inputs], &[rows, hidden]) = (x.dims(), hidden_weight.dims()) else {
        bail!(
            "{name}: expected x (N, T, I) and a hidden weight (G * H, H), got {:?} and {:?}",
            x.dims(),
            hidden_weight.dims()
        )
    };
    let wrong_bias = [input_bias, hidden_bias].into_iter().flatten().any(|bias| bias.dims() != [rows]);
    if rows != cell.gates() * hidden || input_weight.dims() != [rows, inputs] || hidden == 0 || wrong_bias {
        bail!(
            "{name}: x {:?} does not fit weights {:?} and {:?} with biases {:?} and {:?}; they must be ({g} * H, I), \
             ({g} * H, H) and ({g} * H,)",
            x.dims(),
            input_weight.dims(),
            hidden_weight.dims(),
            input_bias.as_ref().map(Tensor::dims),
            hidden_bias.as_ref().map(Tensor::dims),
            g = cell.gates()
        );
    }
    if is_half_on_cpu(x) {
        let wide = Recurrent {
            input_weight: widen(input_weight)?,
            hidden_weight: widen(hidden_weight)?,
            input_bias: widen_optional(input_bias.as_ref())?,
            hidden_bias: widen_optional(hidden_bias.as_ref())?,
        };
        return run(name, &widen(x)?, &wide, direction, cell)?.to_dtype(x.dtype());
    }
    if steps == 0 || batch == 0 {
        return Tensor::zeros((batch, steps, hidden), x.dtype(), x.device());
    }
    // What the inputs add to the gates, for all steps at once; the loop over time adds the states' part.
    let gates = linear(x, input_weight, input_bias.as_ref())?;
    let bias = match hidden_bias {
        Some(bias) => bias.clone(),
        None => Tensor::zeros(rows, x.dtype(), x.device())?,
    };
    let order: Vec<usize> = match direction {
        Direction::Forward => (0..steps).collect(),
        Direction::Reverse => (0..steps).rev().collect(),
    };
    if !has_kernels(x) {
        return composed::states(&gates, hidden_weight, &bias, &order, cell);
    }
    let (gates, weight, bias) = (gates.contiguous()?, hidden_weight.contiguous()?, bias.contiguous()?);
    if cell == Cell::Lstm && gates.dtype() == DType::F32 {
        return vectorised::lstm(&gates, [&weight, &bias], direction);
    }
    let training = weight.track_op() || bias.track_op();
    let (value, history) = by_type!(gates, states(&gates, [&weight, &bias], &order, cell, training))?;
    // One step after the other cannot be computed twice as fast as once: what the way back needs is remembered.
    attach(name, &[&gates, &weight, &bias], value, move |backward| {
        let [gates, weight, bias] = backward.arguments else { unreachable!("three arguments were attached") };
        by_type!(gates, state_gradients(gates, [weight, bias], &history, backward.gradient, &order, cell, training))
    })
}

/// The steps of a [`cells::forward`] of either type.
type History = Box<dyn Any + Send + Sync>;

fn states<T: crate::function::Real>(
    gates: &Tensor,
    [weight, bias]: [&Tensor; 2],
    order: &[usize],
    cell: Cell,
    training: bool,
) -> Result<(Value, History)> {
    let (batch, steps, _) = gates.dims3()?;
    let hidden = weight.dim(1)?;
    let (gates, weight, bias) = (Elements::of(gates)?, Elements::of(weight)?, Elements::of(bias)?);
    let layer =
        cells::Layer::<T> { weight: weight.slice()?, bias: bias.slice()?, batch, steps, hidden, cell, training };
    let history = cells::forward(gates.slice()?, &layer, order);
    let value = Value::new(cells::in_place_of_time(&history, &layer, order), (batch, steps, hidden));
    Ok((value, Box::new(history)))
}

fn state_gradients<T: crate::function::Real>(
    gates: &Tensor,
    [weight, bias]: [&Tensor; 2],
    history: &History,
    gradient: &Tensor,
    order: &[usize],
    cell: Cell,
    training: bool,
) -> Result<Vec<Option<Tensor>>> {
    let Some(history) = history.downcast_ref::<Vec<cells::Step<T>>>() else {
        bail!("{:?}: what was remembered is of another type than the gradient", cell)
    };
    let (batch, steps, rows) = gates.dims3()?;
    let hidden = weight.dim(1)?;
    let (weight, bias, gradient) = (Elements::of(weight)?, Elements::of(bias)?, Elements::of(gradient)?);
    let layer =
        cells::Layer::<T> { weight: weight.slice()?, bias: bias.slice()?, batch, steps, hidden, cell, training };
    let found = cells::backward(history, gradient.slice()?, &layer, order, training);
    let weights = training.then(|| {
        let weight = Value::new(found.weight, (rows, hidden)).into_tensor();
        (weight, Value::new(found.bias, rows).into_tensor())
    });
    let (weight, bias) = weights.unzip();
    Ok(vec![Some(Value::new(found.gates, (batch, steps, rows)).into_tensor()), weight, bias])
}
