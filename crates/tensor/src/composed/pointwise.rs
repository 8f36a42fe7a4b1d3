//! Elementwise functions as compositions of candle's own; see [`crate::composed`].

use super::is_nan;
use crate::elementwise::{Binary, Unary};
use crate::guarded::where_asked;
use candle_core::{Result, Tensor};
use faithful_kernel::{Activation, BackwardRule, GELU_TANH, NORMAL_DENSITY};
use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI};

fn sigmoid(x: &Tensor) -> Result<Tensor> {
    (x.neg()?.exp()? + 1.)?.recip()
}

/// `max(x, 0) + ln(1 + exp(-|x|))`, without overflow.
fn softplus(x: &Tensor) -> Result<Tensor> {
    x.relu()? + (x.abs()?.neg()?.exp()? + 1.)?.log()?
}

/// `below` where `x <= 0`, `above` elsewhere.
fn split(x: &Tensor, below: &Tensor, above: &Tensor) -> Result<Tensor> {
    x.le(0.)?.where_cond(below, above)
}

/// candle's own passes over NaN on a GPU; this one, one kernel too, hands it on.
fn relu(x: &Tensor) -> Result<Tensor> {
    x.elu(0.)
}

/// candle's `clamp` passes over NaN on a GPU.
fn clip(x: &Tensor, low: f64, high: f64) -> Result<Tensor> {
    let bound = |value: f64| x.zeros_like()? + value;
    let y = x.lt(low)?.where_cond(&bound(low)?, x)?;
    y.gt(high)?.where_cond(&bound(high)?, &y)
}

/// 1 where `condition` holds, in the type of `like`.
fn one_where(condition: &Tensor, like: &Tensor) -> Result<Tensor> {
    condition.to_dtype(like.dtype())
}

pub(crate) fn activation_value(x: &Tensor, kind: Activation) -> Result<Tensor> {
    match kind {
        Activation::Relu => relu(x),
        Activation::Clip { low, high } => clip(x, low, high),
        Activation::LeakyRelu { slope } => split(x, &(x * slope)?, x),
        Activation::Elu { alpha } => split(x, &((x.exp()? - 1.)? * alpha)?, x),
        Activation::Selu { alpha, beta, gamma } => {
            split(x, &(((x / beta)?.exp()? - 1.)? * (gamma * alpha))?, &(x * gamma)?)
        }
        Activation::Gelu => (x * 0.5)? * ((x * FRAC_1_SQRT_2)?.erf()? + 1.)?,
        Activation::GeluTanh => (x * 0.5)? * (gelu_inner(x)?.tanh()? + 1.)?,
        Activation::Silu => x * sigmoid(x)?,
        Activation::Sigmoid => sigmoid(x),
        Activation::Tanh => x.tanh(),
        Activation::Softplus => softplus(x),
        Activation::Softsign => x / (x.abs()? + 1.)?,
        Activation::Mish => x * softplus(x)?.tanh()?,
        Activation::HardSwish => x * ((x / 6.)? + 0.5)?.clamp(0., 1.)?,
        Activation::HardSigmoid { alpha, beta } => clip(&x.affine(alpha, beta)?, 0., 1.),
    }
}

fn gelu_inner(x: &Tensor) -> Result<Tensor> {
    (x + ((x.sqr()? * x)? * GELU_TANH.1)?)? * GELU_TANH.0
}

fn activation_derivative(x: &Tensor, kind: Activation) -> Result<Tensor> {
    let ones = x.ones_like()?;
    match kind {
        Activation::Relu => one_where(&x.gt(0.)?, x),
        Activation::Clip { low, high } => one_where(&x.gt(low)?, x)? * one_where(&x.lt(high)?, x)?,
        Activation::LeakyRelu { slope } => split(x, &(&ones * slope)?, &ones),
        Activation::Elu { alpha } => split(x, &(x.exp()? * alpha)?, &ones),
        Activation::Selu { alpha, beta, gamma } => {
            split(x, &((x / beta)?.exp()? * (gamma * alpha / beta))?, &(&ones * gamma)?)
        }
        Activation::Gelu => {
            let density = ((x.sqr()? * -0.5)?.exp()? * NORMAL_DENSITY)?;
            (((x * FRAC_1_SQRT_2)?.erf()? + 1.)? * 0.5)? + (x * density)?
        }
        Activation::GeluTanh => {
            let t = gelu_inner(x)?.tanh()?;
            let inner = ((x.sqr()? * (3. * GELU_TANH.1))? + 1.)? * GELU_TANH.0;
            ((&t + 1.)? * 0.5)? + ((x * 0.5)? * (&ones - t.sqr()?)? * inner?)?
        }
        Activation::Silu => {
            let s = sigmoid(x)?;
            &s * ((x * (&ones - &s)?)? + 1.)?
        }
        Activation::Sigmoid => {
            let s = sigmoid(x)?;
            &s * (&ones - &s)?
        }
        Activation::Tanh => &ones - x.tanh()?.sqr()?,
        Activation::Softplus => sigmoid(x),
        Activation::Softsign => (x.abs()? + 1.)?.sqr()?.recip(),
        Activation::Mish => {
            let t = softplus(x)?.tanh()?;
            &t + (x * (&ones - t.sqr()?)? * sigmoid(x)?)?
        }
        Activation::HardSwish => {
            let inside = (one_where(&x.gt(-3.)?, x)? * one_where(&x.lt(3.)?, x)?)?;
            (inside * ((x / 3.)? + 0.5)?)? + one_where(&x.ge(3.)?, x)?
        }
        Activation::HardSigmoid { alpha, beta } => {
            let line = x.affine(alpha, beta)?;
            (one_where(&line.gt(0.)?, x)? * one_where(&line.lt(1.)?, x)?)? * alpha
        }
    }
}

pub(crate) fn activation_gradient(
    x: &Tensor,
    gradient: &Tensor,
    kind: Activation,
    rule: BackwardRule,
) -> Result<Tensor> {
    match rule {
        BackwardRule::Plain => activation_derivative(x, kind)? * gradient,
        BackwardRule::Deconvnet => relu(gradient),
        BackwardRule::Guided => activation_derivative(x, kind)? * relu(gradient)?,
    }
}

/// `a^b`: `|a|^b` with the sign of a negative base where the exponent is odd; other exponents have no real power then.
fn power(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let size = (a.abs()?.log()? * b)?.exp()?;
    // 0^0 and 1^infinity are 1, and no product of an infinite logarithm.
    let size = b.eq(0.)?.maximum(&a.eq(1.)?)?.where_cond(&size.ones_like()?, &size)?;
    let remainder = (b - ((b * 0.5)?.floor()? * 2.)?)?;
    let odd = remainder.eq(1.)?;
    let whole = odd.maximum(&remainder.eq(0.)?)?;
    let signed = odd.where_cond(&size.neg()?, &size)?;
    let negative = whole.where_cond(&signed, &(size.zeros_like()? + f64::NAN)?)?;
    a.lt(0.)?.where_cond(&negative, &size)
}

/// The operations of two tensors of one shape that candle has with a wrong gradient, or not for all numbers.
pub(crate) fn binary_value(a: &Tensor, b: &Tensor, operation: Binary) -> Result<Tensor> {
    match operation {
        // A comparison with NaN is false: either NaN is passed on.
        Binary::Min => b.lt(a)?.maximum(&is_nan(b)?)?.where_cond(b, a),
        Binary::Max => b.gt(a)?.maximum(&is_nan(b)?)?.where_cond(b, a),
        Binary::Pow => power(a, b),
        Binary::Add => a + b,
        Binary::Sub => a - b,
        Binary::Mul => a * b,
        Binary::Div => a / b,
    }
}

/// The gradient of [`binary_value`] for its powers and extremes, with respect to `b` where `second`.
pub(crate) fn binary_gradient(
    a: &Tensor,
    b: &Tensor,
    gradient: &Tensor,
    operation: Binary,
    second: bool,
) -> Result<Tensor> {
    let zeros = a.zeros_like()?;
    let partial = match (operation, second) {
        (Binary::Pow, false) => b.eq(0.)?.where_cond(&zeros, &(b * power(a, &(b - 1.)?)?)?)?,
        (Binary::Pow, true) => {
            let is_flat = (a.eq(0.)? * b.ge(0.)?)?;
            is_flat.where_cond(&zeros, &(power(a, b)? * a.log()?)?)?
        }
        (operation, second) => {
            let wins = if (operation == Binary::Max) == second { b.gt(a)? } else { a.gt(b)? };
            // Two that are equal share.
            (one_where(&wins, a)? + (one_where(&a.eq(b)?, a)? * 0.5)?)?
        }
    };
    where_asked(&(partial * gradient)?, gradient)
}

pub(crate) fn unary_value(x: &Tensor, operation: Unary) -> Result<Tensor> {
    match operation {
        Unary::Neg => x.neg(),
        Unary::Abs => x.abs(),
        Unary::Exp => x.exp(),
        Unary::Log => x.log(),
        Unary::Sqrt => x.sqrt(),
        Unary::Reciprocal => x.recip(),
        Unary::Erf => x.erf(),
        Unary::Sin => x.sin(),
        Unary::Cos => x.cos(),
        Unary::Floor => x.floor(),
        Unary::Ceil => x.ceil(),
        Unary::Round => {
            // candle rounds halves away from zero.
            let down = x.floor()?;
            let below = (x - &down)?;
            let odd = (&down - ((&down * 0.5)?.floor()? * 2.)?)?;
            let up = (one_where(&below.gt(0.5)?, x)? + (one_where(&below.eq(0.5)?, x)? * odd)?)?;
            down + up
        }
        Unary::Sign => x.sign(),
    }
}

pub(crate) fn unary_derivative(x: &Tensor, operation: Unary) -> Result<Tensor> {
    match operation {
        Unary::Neg => x.ones_like()?.neg(),
        Unary::Abs => x.sign(),
        Unary::Exp => x.exp(),
        Unary::Log => x.recip(),
        Unary::Sqrt => x.sqrt()?.recip()? * 0.5,
        Unary::Reciprocal => x.sqr()?.recip()?.neg(),
        Unary::Erf => x.sqr()?.neg()?.exp()? * FRAC_2_SQRT_PI,
        Unary::Sin => x.cos(),
        Unary::Cos => x.sin()?.neg(),
        Unary::Floor | Unary::Ceil | Unary::Round | Unary::Sign => x.zeros_like(),
    }
}
