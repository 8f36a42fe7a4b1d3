use crate::elementwise::Binary;
use crate::function::{Value, attach};
use candle_core::{Result, Tensor, bail};

/// `product` where `gradient` is not zero, and zero elsewhere: zero times infinity is no number, but what nothing asks
/// for has no derivative to pass on.
pub(crate) fn where_asked(product: &Tensor, gradient: &Tensor) -> Result<Tensor> {
    gradient.ne(0.)?.where_cond(product, &product.zeros_like()?)
}

/// [`binary`](crate::binary) for products and quotients, whose gradient is zero where nothing asks for it, though an
/// operand is infinite or a divisor zero there: the branch of a [`choose`] that is not taken.
///
/// # Errors
/// For other operations, and where the shapes do not broadcast.
pub fn guarded_binary(a: &Tensor, b: &Tensor, operation: Binary) -> Result<Tensor> {
    let divides = match operation {
        Binary::Mul => false,
        Binary::Div => true,
        other => bail!("guarded_binary: {other:?} is neither a product nor a quotient"),
    };
    let shape = a.shape().broadcast_shape_binary_op(b.shape(), "guarded_binary")?;
    let (a, b) = (a.broadcast_as(&shape)?.contiguous()?, b.broadcast_as(&shape)?.contiguous()?);
    let (x, y) = (a.detach(), b.detach());
    let value = if divides { (x / y)? } else { (x * y)? };
    attach("guarded-binary", &[&a, &b], Value::Device(value), move |backward| {
        let [a, b] = backward.arguments else { unreachable!("two arguments were attached") };
        let gradient = backward.gradient;
        let first = || if divides { gradient / b } else { gradient * b };
        let second = || if divides { ((gradient * a)? / b.sqr()?)?.neg() } else { gradient * a };
        Ok(vec![
            if backward.wanted[0] { Some(where_asked(&first()?, gradient)?) } else { None },
            if backward.wanted[1] { Some(where_asked(&second()?, gradient)?) } else { None },
        ])
    })
}

/// `x` where `condition` is not zero, `y` elsewhere, with broadcasting; the branch that is not taken gets a gradient of
/// exactly zero, and may be infinite or no number.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use faithful_tensor::choose;
/// # fn main() -> candle_core::Result<()> {
/// let of = |values: &[f32]| Tensor::new(values, &Device::Cpu);
/// let y = choose(&of(&[1., 0., 1.])?, &of(&[1., f32::INFINITY, 3.])?, &of(&[0.])?)?;
/// assert_eq!(y.to_vec1::<f32>()?, [1., 0., 3.]);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// Where the shapes do not broadcast or the types differ.
pub fn choose(condition: &Tensor, x: &Tensor, y: &Tensor) -> Result<Tensor> {
    let shape = x.shape().broadcast_shape_binary_op(y.shape(), "choose")?;
    let shape = shape.broadcast_shape_binary_op(condition.shape(), "choose")?;
    let condition = condition.detach().ne(0.)?.broadcast_as(&shape)?.contiguous()?;
    condition.where_cond(&x.broadcast_as(&shape)?.contiguous()?, &y.broadcast_as(&shape)?.contiguous()?)
}
