//! `ShapleyCAM`: channels weighted by the Shapley value of what they contribute, to the second order.

use super::Perturbation;
use crate::rule::{places, weigh};
use candle_core::{DType, Tensor};
use faithful_core::{AtLayer, Objective, Result};

/// `w_k = 1/Z sum_ij (g - 1/2 H A)_k,ij`, `H` the second derivative of the score with respect to the layer; map
/// `ReLU(sum_k w_k A_k)`.
///
/// `H A` is the central difference of the gradient along the activation, `(g((1 + h) A) - g((1 - h) A)) / 2h`, with `h`
/// the cube root of the type's precision. Where what follows the layer is linear between its kinks and the score is a
/// logit, `H` is zero and the map is Grad-CAM's; the paper explains the logit plus the log-probability, whose softmax
/// curves.
pub(super) fn shapley_cam(perturbation: &Perturbation<'_>) -> Result<Vec<Tensor>> {
    let Perturbation { objective, input, .. } = *perturbation;
    perturbation.each_layer(|_, layer| {
        let network = AtLayer::new(objective.network(), layer, input)?;
        let raw = network.activation()?;
        let step = if raw.dtype() == DType::F64 { f64::EPSILON.cbrt() } else { f64::from(f32::EPSILON).cbrt() };
        let points = Tensor::cat(&[&raw, &(&raw * (1.0 + step))?, &(&raw * (1.0 - step))?], 0)?;
        let behind = Objective::new(&network, objective.score()).with_batch(objective.batch());
        let layout = perturbation.layout.resolve(input.dims(), raw.dims())?;
        let activation = layout.channels_first(&raw)?;
        let all = behind.differentiate_scores(&points, &[], true, perturbation.scores)?;
        all.into_iter()
            .map(|one| {
                let gradients = one.input_gradient.unwrap_or(points.zeros_like()?);
                let gradients = layout.channels_first(&gradients)?;
                let row = |row: usize| gradients.narrow(0, row, 1);
                let curvature = ((row(1)? - row(2)?)? * (0.25 / step))?;
                let share = (row(0)? - curvature)?;
                Ok(weigh(&share.mean_keepdim(places(&share)?)?, &activation)?.relu()?)
            })
            .collect()
    })
}
