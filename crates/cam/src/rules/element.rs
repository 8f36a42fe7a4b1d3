//! Rules that weigh every element by itself.

use crate::Estimate;
use candle_core::Tensor;
use faithful_core::Result;

/// `ReLU(sum_k S_k A_k)`.
///
/// The paper leaves the sum signed and rectifies what it shows, as its peers do; so does this rule, which makes it
/// equal Grad-CAM where the gradient is constant.
pub(super) fn hires_cam(estimate: &Estimate) -> Result<Tensor> {
    Ok(products(estimate)?.sum(1)?.relu()?)
}

/// `S_k A_k`.
pub(super) fn products(estimate: &Estimate) -> Result<Tensor> {
    Ok((estimate.gradient()? * &estimate.activation)?)
}

/// `ReLU(sum_k ReLU(S_k) A_k)`.
pub(super) fn layer_cam(estimate: &Estimate) -> Result<Tensor> {
    Ok(positive_gradients(estimate)?.sum(1)?.relu()?)
}

/// `ReLU(S_k) A_k`.
pub(super) fn positive_gradients(estimate: &Estimate) -> Result<Tensor> {
    Ok((estimate.gradient()?.relu()? * &estimate.activation)?)
}

/// `sum_k ReLU(S_k A_k)`.
pub(super) fn element_wise(estimate: &Estimate) -> Result<Tensor> {
    Ok(positive_products(estimate)?.sum(1)?)
}

/// `ReLU(S_k A_k)`.
pub(super) fn positive_products(estimate: &Estimate) -> Result<Tensor> {
    Ok(products(estimate)?.relu()?)
}
