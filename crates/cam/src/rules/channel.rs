//! Rules that give each channel one weight.

use crate::Estimate;
use crate::rule::{divide_or_zero, places, sum_places};
use candle_core::Tensor;
use faithful_core::{Error, LayerTrace, Result};

/// `w_k = 1/Z sum_ij S_k,ij`; map `ReLU(sum_k w_k A_k)`.
pub(super) fn grad_cam(estimate: &Estimate) -> Result<Tensor> {
    Ok(by_mean(estimate)?.sum(1)?.relu()?)
}

/// `A_k 1/Z sum_ij S_k,ij`.
pub(super) fn by_mean(estimate: &Estimate) -> Result<Tensor> {
    let gradient = estimate.gradient()?;
    Ok(estimate.activation.broadcast_mul(&gradient.mean_keepdim(places(gradient)?)?)?)
}

/// `A_k sum_ij S_k,ij`.
pub(crate) fn by_sum(estimate: &Estimate) -> Result<Tensor> {
    Ok(estimate.activation.broadcast_mul(&sum_places(estimate.gradient()?)?)?)
}

/// `w_k = sum_ij S_k,ij`; map `sum_k w_k A_k`, signed. Behind a global average pool the sum of the gradient is the
/// linear layer's own weight.
pub(super) fn cam(estimate: &Estimate) -> Result<Tensor> {
    Ok(by_sum(estimate)?.sum(1)?)
}

/// The gradient, which must be the same at all places: then a global average pool and one linear layer follow.
pub(super) fn constant_gradient(trace: &LayerTrace) -> Result<Vec<Tensor>> {
    let gradient = &trace.gradient;
    let spread = gradient.broadcast_sub(&gradient.mean_keepdim(places(gradient)?)?)?.abs()?;
    let all =
        |x: &Tensor| -> Result<f64> { Ok(x.flatten_all()?.max(0)?.to_dtype(candle_core::DType::F64)?.to_scalar()?) };
    if all(&spread)? > 1e-3 * all(&gradient.abs()?)? {
        return Err(Error::Unsupported(vec![
            "CAM needs a global average pool and one linear layer behind the target layer, but the gradient here \
             differs from place to place; choose the last layer before the pool, or Grad-CAM, which is CAM's \
             generalisation"
                .into(),
        ]));
    }
    Ok(vec![gradient.clone()])
}

/// `alpha_ij = g² / (2 g² + g³ sum_ab A_ab)`, 0 where the gradient is 0: Eq. 19 for a score behind an exponential.
///
/// Divided through by `g²`, so that small gradients do not underflow.
fn alphas(trace: &LayerTrace) -> Result<Tensor> {
    let gradient = &trace.gradient;
    let active = gradient.ne(0f64)?.to_dtype(gradient.dtype())?;
    let denominator = (gradient.broadcast_mul(&sum_places(&trace.activation)?)? + 2.0)?;
    divide_or_zero(&active, &denominator)
}

/// `alpha_ij ReLU(g_ij)`: what a channel's weight sums.
pub(super) fn grad_cam_plus_plus(trace: &LayerTrace) -> Result<Vec<Tensor>> {
    Ok(vec![(alphas(trace)? * trace.gradient.relu()?)?])
}

/// `g_ij² / (2 g_ij² + sum_ab A_ab g_ab³)`, 0 where the gradient or the denominator is 0: the thesis's Eq. 59 as it is
/// printed, which puts it in the gradient's place. The third power stands inside the sum, unlike in [`alphas`].
///
/// Both are divided by the square of the channel's largest gradient, so that small gradients do not underflow.
pub(super) fn plus_plus_weights(trace: &LayerTrace) -> Result<Vec<Tensor>> {
    let gradient = &trace.gradient;
    let axes = places(gradient)?;
    let largest = axes.iter().try_fold(gradient.abs()?, |x, &axis| x.max_keepdim(axis))?;
    let relative = divide_or_zero(gradient, &largest)?;
    let square = relative.sqr()?;
    let inner = (sum_places(&(&trace.activation * (&square * &relative)?)?)? * largest)?;
    Ok(vec![divide_or_zero(&square, &(&square * 2.0)?.broadcast_add(&inner)?)?])
}

/// [`alphas`] in the gradient's place: Eq. 58, in which the third derivative stands outside of the sum.
pub(crate) fn plus_plus_weights_outside(trace: &LayerTrace) -> Result<Vec<Tensor>> {
    Ok(vec![alphas(trace)?])
}

/// `w_k = sum_ij S_k,ij`; map `ReLU(sum_k w_k A_k)`.
pub(super) fn summed(estimate: &Estimate) -> Result<Tensor> {
    Ok(cam(estimate)?.relu()?)
}

/// The gradient and its second and third power.
pub(crate) fn powers(trace: &LayerTrace) -> Result<Vec<Tensor>> {
    let square = trace.gradient.sqr()?;
    let cube = (&square * &trace.gradient)?;
    Ok(vec![trace.gradient.clone(), square, cube])
}

/// `alpha = D1 / (2 D2 + D3 sum A)` from the averages of the powers; `w_k = sum_ij alpha ReLU(D1)`.
///
/// The numerator is the paper's first derivative, where Grad-CAM++ has the second.
pub(super) fn smooth_grad_cam_plus_plus(estimate: &Estimate) -> Result<Tensor> {
    Ok(by_powers(estimate)?.sum(1)?.relu()?)
}

/// `A_k` times the weights of Smooth Grad-CAM++.
pub(super) fn by_powers(estimate: &Estimate) -> Result<Tensor> {
    let [first, second, third] = estimate.sensitivities.as_slice() else {
        return Err(Error::parameter("sensitivities", "the gradient's first three powers are needed"));
    };
    let denominator = ((second * 2.0)? + third.broadcast_mul(&sum_places(&estimate.activation)?)?)?;
    let alpha = divide_or_zero(first, &denominator)?;
    Ok(estimate.activation.broadcast_mul(&sum_places(&(alpha * first.relu()?)?)?)?)
}

/// `w_k = sum_ij S_ij A_ij / sum_ij A_ij`, 0 for a channel whose activation sums to 0; map `ReLU(sum_k w_k A_k)`.
pub(super) fn xgrad_cam(estimate: &Estimate) -> Result<Tensor> {
    Ok(relative_activation(estimate, 0.0)?.sum(1)?.relu()?)
}

/// `A_k` times the weights of XGrad-CAM, with `epsilon` added to the activation's sum.
pub(crate) fn relative_activation(estimate: &Estimate, epsilon: f64) -> Result<Tensor> {
    let product = sum_places(&(estimate.gradient()? * &estimate.activation)?)?;
    let weights = divide_or_zero(&product, &(sum_places(&estimate.activation)? + epsilon)?)?;
    Ok(estimate.activation.broadcast_mul(&weights)?)
}
