use crate::elementwise::{Unary, unary};
use crate::function::{Value, attach};
use candle_core::{Result, Tensor};

/// `clip(round(x / scale) + zero_point, low, high)`, halves rounded to even: what ONNX's `QuantizeLinear` gives, as
/// floating-point numbers. `scale` and `zero_point` broadcast to `x`.
///
/// The gradient is the straight-through estimator's (Bengio et al. 2013, arXiv:1308.3432): that of `x / scale` where the
/// rounded value lies within the bounds, zero where it was clipped.
///
/// ```
/// use candle_core::{Device, Tensor, Var};
/// use faithful_tensor::quantise;
/// # fn main() -> candle_core::Result<()> {
/// let x = Var::from_tensor(&Tensor::new(&[0.9f32, 1.25, 100.], &Device::Cpu)?)?;
/// let (scale, zero) = (Tensor::new(0.5f32, &Device::Cpu)?, Tensor::new(3f32, &Device::Cpu)?);
/// let y = quantise(&x, &scale, &zero, [0., 15.])?;
/// assert_eq!(y.to_vec1::<f32>()?, [5., 5., 15.]);
/// let gradient = y.sum_all()?.backward()?;
/// assert_eq!(gradient.get(&x).unwrap().to_vec1::<f32>()?, [2., 2., 0.]);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// Where the shapes do not broadcast or the types differ.
pub fn quantise(x: &Tensor, scale: &Tensor, zero_point: &Tensor, [low, high]: [f64; 2]) -> Result<Tensor> {
    let steps = x.broadcast_div(scale)?;
    let zero_point = zero_point.detach().broadcast_as(steps.shape())?.contiguous()?;
    let rounded = (unary(&steps.detach(), Unary::Round)? + &zero_point)?;
    let within = (rounded.ge(low)?.to_dtype(x.dtype())? * rounded.le(high)?.to_dtype(x.dtype())?)?;
    let value = rounded.clamp(low, high)?;
    attach("quantise", &[&steps], Value::Device(value), move |backward| Ok(vec![Some((&within * backward.gradient)?)]))
}
