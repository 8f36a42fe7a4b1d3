use crate::composed::{has_kernels, pointwise as composed};
use crate::function::{Value, attach, by_type, is_half_on_cpu, widen};
use crate::pointwise::{map, zip};
use candle_core::{Result, Tensor, bail};
use faithful_kernel::{Activation, BackwardRule, Pointwise, Real};

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
