use crate::composed::{has_kernels, pointwise as composed};
use crate::function::{Real, Value, attach, by_type, is_half_on_cpu, widen};
use crate::guarded::where_asked;
use crate::pointwise::{Pointwise, map, zip};
use candle_core::{Result, Tensor};
use std::f64::consts::FRAC_2_SQRT_PI;

/// An elementwise operation of two tensors that broadcast as in `NumPy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // The names say it.
pub enum Binary {
    Add,
    Sub,
    Mul,
    Div,
    Pow,
    Min,
    Max,
}

/// An elementwise operation of one tensor that is no activation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // The names say it.
pub enum Unary {
    Neg,
    Abs,
    Exp,
    Log,
    Sqrt,
    Reciprocal,
    Erf,
    Sin,
    Cos,
    Floor,
    Ceil,
    /// To the nearest whole number, halves to the even one, as `PyTorch` and ONNX.
    Round,
    Sign,
}

/// Applies `operation` with broadcasting.
///
/// Where a maximum or minimum is tied, both sides get half the gradient, as in `PyTorch`.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use faithful_tensor::{Binary, binary};
/// # fn main() -> candle_core::Result<()> {
/// let a = Tensor::new(&[[1f32], [-2.]], &Device::Cpu)?;
/// let b = Tensor::new(&[2f32, 3.], &Device::Cpu)?;
/// assert_eq!(binary(&a, &b, Binary::Pow)?.to_vec2::<f32>()?, [[1., 1.], [4., -8.]]);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// Where the shapes do not broadcast or the types differ.
pub fn binary(a: &Tensor, b: &Tensor, operation: Binary) -> Result<Tensor> {
    match operation {
        Binary::Add => return a.broadcast_add(b),
        Binary::Sub => return a.broadcast_sub(b),
        Binary::Mul => return a.broadcast_mul(b),
        Binary::Div => return a.broadcast_div(b),
        Binary::Pow | Binary::Min | Binary::Max => {}
    }
    if is_half_on_cpu(a) {
        return binary(&widen(a)?, &widen(b)?, operation)?.to_dtype(a.dtype());
    }
    let shape = a.shape().broadcast_shape_binary_op(b.shape(), "binary")?;
    let (a, b) = (a.broadcast_as(&shape)?.contiguous()?, b.broadcast_as(&shape)?.contiguous()?);
    if !has_kernels(&a) {
        let value = composed::binary_value(&a.detach(), &b.detach(), operation)?;
        return attach("binary", &[&a, &b], Value::Device(value), move |backward| {
            let [a, b] = backward.arguments else { unreachable!("two arguments were attached") };
            let side = |second: bool| composed::binary_gradient(a, b, backward.gradient, operation, second).map(Some);
            Ok(vec![
                if backward.wanted[0] { side(false)? } else { None },
                if backward.wanted[1] { side(true)? } else { None },
            ])
        });
    }
    let value = by_type!(a, binary_on_cpu(&a, &b, operation))?;
    attach("binary", &[&a, &b], value, move |backward| {
        let [a, b] = backward.arguments else { unreachable!("two arguments were attached") };
        let gradient = backward.gradient;
        let side = |second: bool| by_type!(a, binary_gradient_on_cpu(a, b, gradient, operation, second)).map(Some);
        Ok(vec![
            if backward.wanted[0] { side(false)? } else { None },
            if backward.wanted[1] { side(true)? } else { None },
        ])
    })
}

fn binary_on_cpu<T: Real>(a: &Tensor, b: &Tensor, operation: Binary) -> Result<Value> {
    zip::<T>(a, b, |a, b| match operation {
        Binary::Pow => a.powf(b),
        // A comparison with NaN is false: either NaN is passed on.
        Binary::Min if b < a || b.is_nan() => b,
        Binary::Max if b > a || b.is_nan() => b,
        _ => a,
    })
}

fn binary_gradient_on_cpu<T: Real>(
    a: &Tensor,
    b: &Tensor,
    gradient: &Tensor,
    operation: Binary,
    second: bool,
) -> Result<Tensor> {
    let (zero, half) = (T::zero(), T::from_f64(0.5));
    let partial = move |a: T, b: T| match (operation, second) {
        // 0^0 is 1 for every base, and 0^b is 0 for every positive exponent, as PyTorch has it.
        (Binary::Pow, false) if b == zero => zero,
        (Binary::Pow, false) => b * a.powf(b - T::one()),
        (Binary::Pow, true) if a == zero && b >= zero => zero,
        (Binary::Pow, true) => a.powf(b) * a.ln(),
        _ if a == b => half,
        (operation, second) => {
            let first_wins = if operation == Binary::Max { a > b } else { a < b };
            if first_wins == second { zero } else { T::one() }
        }
    };
    let partials = zip::<T>(a, b, partial)?.into_tensor();
    // Zero times infinity: what nothing asks for has no derivative.
    Ok(zip::<T>(&partials, gradient, |partial, g| if g == zero { zero } else { partial * g })?.into_tensor())
}

/// Applies `operation`. Steps (floor, ceil, round, sign) have gradient 0, and so has `|x|` at 0.
pub fn unary(x: &Tensor, operation: Unary) -> Result<Tensor> {
    if is_half_on_cpu(x) {
        return unary(&widen(x)?, operation)?.to_dtype(x.dtype());
    }
    if !has_kernels(x) {
        let value = composed::unary_value(&x.detach(), operation)?;
        return attach("unary", &[x], Value::Device(value), move |backward| {
            let derivative = composed::unary_derivative(&backward.arguments[0], operation)?;
            Ok(vec![Some(where_asked(&(derivative * backward.gradient)?, backward.gradient)?)])
        });
    }
    let x = x.contiguous()?;
    let value = by_type!(x, unary_on_cpu(&x, operation))?;
    attach("unary", &[&x], value, move |backward| {
        let (x, gradient) = (&backward.arguments[0], backward.gradient);
        Ok(vec![Some(by_type!(x, unary_gradient_on_cpu(x, gradient, operation))?)])
    })
}

fn unary_on_cpu<T: Real>(x: &Tensor, operation: Unary) -> Result<Value> {
    map::<T>(x, |x| operation.value(x))
}

fn unary_gradient_on_cpu<T: Real>(x: &Tensor, gradient: &Tensor, operation: Unary) -> Result<Tensor> {
    let zero = T::zero();
    // Zero times infinity: what nothing asks for, such as the branch of a choice that is not taken, has no derivative.
    Ok(zip::<T>(x, gradient, |x, g| if g == zero { zero } else { operation.derivative(x) * g })?.into_tensor())
}

impl Pointwise for Unary {
    fn value<T: Real>(self, x: T) -> T {
        match self {
            Self::Neg => -x,
            Self::Abs => x.abs(),
            Self::Exp => x.exp(),
            Self::Log => x.ln(),
            Self::Sqrt => num_traits::Float::sqrt(x),
            Self::Reciprocal => T::one() / x,
            Self::Erf => x.erf(),
            Self::Sin => x.sin(),
            Self::Cos => x.cos(),
            Self::Floor => x.floor(),
            Self::Ceil => x.ceil(),
            Self::Round => {
                let down = x.floor();
                let (below, half) = (x - down, T::from_f64(0.5));
                let odd = (down * half).floor() * T::from_f64(2.) != down;
                if below > half || (below == half && odd) { down + T::one() } else { down }
            }
            Self::Sign if x > T::zero() => T::one(),
            Self::Sign if x < T::zero() => -T::one(),
            // Zero and NaN.
            Self::Sign => x,
        }
    }

    fn derivative<T: Real>(self, x: T) -> T {
        let (zero, one) = (T::zero(), T::one());
        match self {
            Self::Neg => -one,
            Self::Abs if x == zero => zero,
            Self::Abs => x.signum(),
            Self::Exp => x.exp(),
            Self::Log => one / x,
            Self::Sqrt => T::from_f64(0.5) / num_traits::Float::sqrt(x),
            Self::Reciprocal => -one / (x * x),
            Self::Erf => T::from_f64(FRAC_2_SQRT_PI) * (-x * x).exp(),
            Self::Sin => x.cos(),
            Self::Cos => -x.sin(),
            Self::Floor | Self::Ceil | Self::Round | Self::Sign => zero,
        }
    }
}
