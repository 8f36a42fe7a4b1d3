//! LIFT-CAM: channels weighted by what they contribute, by `DeepLIFT` behind the layer.

use super::Perturbation;
use crate::rule::{sum_places, weigh};
use candle_core::Tensor;
use faithful_core::{Objective, Propagation, Result, Tap};

/// `w_k = sum_ij m_k,ij A_k,ij`, `m` `DeepLIFT`'s multipliers of the layer against a layer of zeros (rescale rule); map
/// `ReLU(sum_k w_k A_k)`. The weights sum to `S(A) - S(0)`.
///
/// Behind a global pool and one linear layer they are `A_k`'s sum times CAM's weight. The network must know its
/// operations, as those of `faithful-model` do.
pub(super) fn lift_cam(perturbation: &Perturbation<'_>) -> Result<Vec<Tensor>> {
    let Perturbation { objective, input, .. } = *perturbation;
    perturbation.each_layer(|activation, layer| {
        let network = objective.network().with_propagation(Propagation::Rescale(Tap::Layer(layer)))?;
        let through = Objective::new(&*network, objective.score()).with_batch(objective.batch());
        let all = through.differentiate_scores(input, &[layer], false, perturbation.scores)?;
        all.into_iter()
            .map(|mut one| {
                let multipliers = one.traces.remove(0).gradient;
                let layout = perturbation.layout.resolve(input.dims(), multipliers.dims())?;
                let weights = sum_places(&(layout.channels_first(&multipliers)? * activation)?)?;
                Ok(weigh(&weights, activation)?.relu()?)
            })
            .collect()
    })
}
