//! Elementwise nonlinearities: what they compute and their derivatives, one element at a time.

use crate::scalar::{Pointwise, Real};
use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI, SQRT_2};

/// How an activation passes a gradient back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum BackwardRule {
    /// The derivative.
    #[default]
    Plain,
    /// `DeconvNet` (Zeiler and Fergus 2014): the activation's positive part is applied to the gradient itself,
    /// `max(g, 0)`, wherever the input was.
    Deconvnet,
    /// Guided backpropagation (Springenberg et al. 2015): the derivative times `max(g, 0)`.
    Guided,
}

/// An elementwise nonlinearity.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Activation {
    /// `max(x, 0)`; the derivative at 0 is 0, as `PyTorch` has it.
    Relu,
    /// `min(max(x, low), high)`: relu6 and ONNX's Clip. The derivative is 1 strictly inside.
    Clip {
        /// The lower bound.
        low: f64,
        /// The upper bound.
        high: f64,
    },
    /// `x` above 0, `slope * x` below.
    LeakyRelu {
        /// The factor below 0.
        slope: f64,
    },
    /// `x` above 0, `alpha * (exp(x) - 1)` below.
    Elu {
        /// The limit below is `-alpha`.
        alpha: f64,
    },
    /// SELU's and CELU's general form: `gamma * x` above 0, `gamma * alpha * (exp(x / beta) - 1)` below.
    Selu {
        /// See the formula.
        alpha: f64,
        /// See the formula.
        beta: f64,
        /// See the formula.
        gamma: f64,
    },
    /// `x * Phi(x)` with the error function.
    Gelu,
    /// GELU's tanh approximation.
    GeluTanh,
    /// `x * sigmoid(x)`.
    Silu,
    /// `1 / (1 + exp(-x))`.
    Sigmoid,
    /// The hyperbolic tangent.
    Tanh,
    /// `ln(1 + exp(x))`.
    Softplus,
    /// `x / (1 + |x|)`.
    Softsign,
    /// `x * tanh(softplus(x))`.
    Mish,
    /// `x * hard_sigmoid(x)` with `alpha = 1/6`, `beta = 1/2`.
    HardSwish,
    /// `min(max(alpha * x + beta, 0), 1)`.
    HardSigmoid {
        /// The slope.
        alpha: f64,
        /// The value at 0.
        beta: f64,
    },
}

/// `beta` of GELU's tanh approximation, `sqrt(2 / pi)`, and its cubic's factor (Hendrycks and Gimpel 2016).
pub const GELU_TANH: (f64, f64) = (FRAC_2_SQRT_PI * FRAC_1_SQRT_2, 0.044_715);
/// The normal density at 0, `1 / sqrt(2 pi)`.
pub const NORMAL_DENSITY: f64 = FRAC_2_SQRT_PI / SQRT_2 / 2.;

fn sigmoid<T: Real>(x: T) -> T {
    T::one() / (T::one() + (-x).exp())
}

fn softplus<T: Real>(x: T) -> T {
    // exp of a negative number only: no overflow.
    (if x > T::zero() { x } else { T::zero() }) + (-x.abs()).exp().ln_1p()
}

impl Pointwise for Activation {
    fn value<T: Real>(self, x: T) -> T {
        let (zero, one) = (T::zero(), T::one());
        let c = |value: f64| T::from_f64(value);
        match self {
            Self::Relu if x <= zero => zero,
            Self::Clip { low, .. } if x < c(low) => c(low),
            Self::Clip { high, .. } if x > c(high) => c(high),
            Self::Relu | Self::Clip { .. } => x,
            Self::LeakyRelu { slope } if x <= zero => c(slope) * x,
            Self::Elu { alpha } if x <= zero => c(alpha) * x.exp_m1(),
            Self::LeakyRelu { .. } | Self::Elu { .. } => x,
            Self::Selu { alpha, beta, gamma } if x <= zero => c(gamma * alpha) * (x / c(beta)).exp_m1(),
            Self::Selu { gamma, .. } => c(gamma) * x,
            Self::Gelu => x * c(0.5) * (one + (x * c(FRAC_1_SQRT_2)).erf()),
            Self::GeluTanh => {
                let inner = c(GELU_TANH.0) * (x + c(GELU_TANH.1) * x * x * x);
                c(0.5) * x * (one + inner.tanh())
            }
            Self::Silu => x * sigmoid(x),
            Self::Sigmoid => sigmoid(x),
            Self::Tanh => x.tanh(),
            Self::Softplus => softplus(x),
            Self::Softsign => x / (one + x.abs()),
            Self::Mish => x * softplus(x).tanh(),
            Self::HardSwish => x * num_traits::clamp(x / c(6.) + c(0.5), zero, one),
            Self::HardSigmoid { alpha, beta } => num_traits::clamp(c(alpha) * x + c(beta), zero, one),
        }
    }

    fn derivative<T: Real>(self, x: T) -> T {
        let (zero, one) = (T::zero(), T::one());
        let c = |value: f64| T::from_f64(value);
        let step = |inside: bool, value: T| if inside { value } else { zero };
        match self {
            Self::Relu => step(x > zero, one),
            Self::Clip { low, high } => step(x > c(low) && x < c(high), one),
            Self::LeakyRelu { slope } if x <= zero => c(slope),
            Self::Elu { alpha } if x <= zero => c(alpha) * x.exp(),
            Self::LeakyRelu { .. } | Self::Elu { .. } => one,
            Self::Selu { alpha, beta, gamma } if x <= zero => c(gamma * alpha / beta) * (x / c(beta)).exp(),
            Self::Selu { gamma, .. } => c(gamma),
            Self::Gelu => {
                let density = c(NORMAL_DENSITY) * (c(-0.5) * x * x).exp();
                c(0.5) * (one + (x * c(FRAC_1_SQRT_2)).erf()) + x * density
            }
            Self::GeluTanh => {
                let t = (c(GELU_TANH.0) * (x + c(GELU_TANH.1) * x * x * x)).tanh();
                let inner = c(GELU_TANH.0) * (one + c(3. * GELU_TANH.1) * x * x);
                c(0.5) * (one + t) + c(0.5) * x * (one - t * t) * inner
            }
            Self::Silu => sigmoid(x) * (one + x * (one - sigmoid(x))),
            Self::Sigmoid => sigmoid(x) * (one - sigmoid(x)),
            Self::Tanh => one - x.tanh() * x.tanh(),
            Self::Softplus => sigmoid(x),
            Self::Softsign => one / ((one + x.abs()) * (one + x.abs())),
            Self::Mish => {
                let t = softplus(x).tanh();
                t + x * (one - t * t) * sigmoid(x)
            }
            Self::HardSwish if x >= c(3.) => one,
            Self::HardSwish => step(x > c(-3.), x / c(3.) + c(0.5)),
            Self::HardSigmoid { alpha, beta } => {
                let line = c(alpha) * x + c(beta);
                step(line > zero && line < one, c(alpha))
            }
        }
    }
}
