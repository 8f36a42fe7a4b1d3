use crate::composed::{has_kernels, pointwise as composed};
use crate::function::{Real, Value, attach, by_type, is_half_on_cpu, widen};
use crate::pointwise::{Pointwise, map, zip};
use candle_core::{Result, Tensor, bail};
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

/// Applies `kind` elementwise; `rule` says how its gradient goes back.
///
/// With `g` the gradient of the result, the input's is `f'(x) * g` ([`BackwardRule::Plain`]), `max(g, 0)`
/// ([`BackwardRule::Deconvnet`]) or `f'(x) * max(g, 0)` ([`BackwardRule::Guided`]). At a kink the derivative is
/// `PyTorch`'s: 0 for relu at exactly 0.
///
/// ```
/// use candle_core::{Device, Tensor, Var};
/// use faithful_tensor::{Activation, BackwardRule, activate};
/// # fn main() -> candle_core::Result<()> {
/// let x = Var::from_tensor(&Tensor::new(&[-1f32, 0., 2.], &Device::Cpu)?)?;
/// let y = activate(&x, Activation::Relu, BackwardRule::Plain)?;
/// assert_eq!(y.to_vec1::<f32>()?, [0., 0., 2.]);
/// let gradients = y.sum_all()?.backward()?;
/// assert_eq!(gradients.get(&x).unwrap().to_vec1::<f32>()?, [0., 0., 1.]);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// Where a clip's `low` is above its `high`, or the elements are integers.
pub fn activate(x: &Tensor, kind: Activation, rule: BackwardRule) -> Result<Tensor> {
    if let Activation::Clip { low, high } = kind
        && (low > high || low.is_nan() || high.is_nan())
    {
        bail!("clip: the lower bound {low} is not below the upper bound {high}");
    }
    if is_half_on_cpu(x) {
        return activate(&widen(x)?, kind, rule)?.to_dtype(x.dtype());
    }
    if !has_kernels(x) {
        let value = composed::activation_value(&x.detach(), kind)?;
        return attach("activation", &[x], Value::Device(value), move |backward| {
            Ok(vec![Some(composed::activation_gradient(&backward.arguments[0], backward.gradient, kind, rule)?)])
        });
    }
    let x = x.contiguous()?;
    let value = by_type!(x, value_on_cpu(&x, kind))?;
    attach("activation", &[&x], value, move |backward| {
        let (x, gradient) = (&backward.arguments[0], backward.gradient);
        Ok(vec![Some(by_type!(x, gradient_on_cpu(x, gradient, kind, rule))?)])
    })
}

fn value_on_cpu<T: Real>(x: &Tensor, kind: Activation) -> Result<Value> {
    match kind {
        // A loop of its own vectorises. NaN passes, as in PyTorch.
        Activation::Relu => map::<T>(x, |x| if x <= T::zero() { T::zero() } else { x }),
        other => map::<T>(x, |x| other.value(x)),
    }
}

fn gradient_on_cpu<T: Real>(x: &Tensor, gradient: &Tensor, kind: Activation, rule: BackwardRule) -> Result<Tensor> {
    let zero = T::zero();
    let positive = move |g: T| if g > zero { g } else { zero };
    let value = match (rule, kind) {
        (BackwardRule::Deconvnet, _) => map::<T>(gradient, positive),
        (BackwardRule::Plain, Activation::Relu) => zip::<T>(x, gradient, |x, g| if x > zero { g } else { zero }),
        (BackwardRule::Plain, kind) => zip::<T>(x, gradient, |x, g| kind.derivative(x) * g),
        (BackwardRule::Guided, kind) => zip::<T>(x, gradient, |x, g| kind.derivative(x) * positive(g)),
    };
    Ok(value?.into_tensor())
}

/// `beta` of GELU's tanh approximation, `sqrt(2 / pi)`, and its cubic's factor (Hendrycks and Gimpel 2016).
pub(crate) const GELU_TANH: (f64, f64) = (FRAC_2_SQRT_PI * FRAC_1_SQRT_2, 0.044_715);
/// The normal density at 0, `1 / sqrt(2 pi)`.
pub(crate) const NORMAL_DENSITY: f64 = FRAC_2_SQRT_PI / SQRT_2 / 2.;

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

/// Softmax along `axis`.
///
/// ```
/// use candle_core::{Device, Tensor};
/// # fn main() -> candle_core::Result<()> {
/// let x = Tensor::new(&[[0f64, 0.]], &Device::Cpu)?;
/// assert_eq!(faithful_tensor::softmax(&x, 1)?.to_vec2::<f64>()?, [[0.5, 0.5]]);
/// # Ok(())
/// # }
/// ```
pub fn softmax(x: &Tensor, axis: usize) -> Result<Tensor> {
    let exponential = shifted(x, axis)?.exp()?;
    exponential.broadcast_div(&exponential.sum_keepdim(axis)?)
}

/// The logarithm of the softmax along `axis`.
pub fn log_softmax(x: &Tensor, axis: usize) -> Result<Tensor> {
    let shifted = shifted(x, axis)?;
    let sum = shifted.exp()?.sum_keepdim(axis)?;
    shifted.broadcast_sub(&sum.log()?)
}

/// `x` minus its maximum along `axis`, which is a constant shift: detached, so that its (tied) gradient cannot enter.
fn shifted(x: &Tensor, axis: usize) -> Result<Tensor> {
    if axis >= x.rank() {
        bail!("softmax: there is no axis {axis} in a tensor of shape {:?}", x.dims());
    }
    x.broadcast_sub(&x.detach().max_keepdim(axis)?)
}
