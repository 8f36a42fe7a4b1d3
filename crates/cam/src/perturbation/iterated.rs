//! Iterated Integrated Attributions: the gradient along paths through the input and, from each of its points, through a layer.

use super::Perturbation;
use crate::accumulation::accumulate;
use candle_core::Tensor;
use faithful_core::{AtLayer, Objective, Result};

/// Points on either path, as the authors' code has them.
const STEPS: usize = 10;

/// Map `1/n^2 sum_a sum_b sum_k g_k(u_ab) ReLU(u_ab,k)` with `u_ab = b/n A(a/n x)`, `a` and `b` from 1 to `n`: from a black
/// input in the network's own space to the photo, and from zero to what the layer gives for each point. Ten steps unless told
/// otherwise.
///
/// The authors' code begins the inner path at the smallest of the very activation where it ends, so that it has one point; the
/// outer path is left. Here both are there, as the method's description says.
pub(super) fn iterated_integrated(perturbation: &Perturbation<'_>) -> Result<Vec<Tensor>> {
    let Perturbation { objective, input, .. } = *perturbation;
    let steps = perturbation.parameters.points.map_or(STEPS, std::num::NonZeroUsize::get);
    let share = |step: usize| (step + 1) as f64 / steps as f64;
    perturbation.each_layer(|_, layer| {
        let mut sums: Vec<Option<Tensor>> = vec![None; perturbation.scores.len()];
        for outer in 0..steps {
            let point = (input * share(outer))?;
            let network = AtLayer::new(objective.network(), layer, &point)?;
            let raw = network.activation()?;
            let inner = (0..steps).map(|step| &raw * share(step)).collect::<candle_core::Result<Vec<_>>>()?;
            let inner = Tensor::cat(&inner, 0)?;
            let behind = Objective::new(&network, objective.score()).with_batch(objective.batch());
            let layout = perturbation.layout.resolve(input.dims(), raw.dims())?;
            let activations = layout.channels_first(&inner)?.relu()?;
            let all = behind.differentiate_scores(&inner, &[], true, perturbation.scores)?;
            for (sum, one) in sums.iter_mut().zip(all) {
                let gradients = layout.channels_first(&one.input_gradient.unwrap_or(inner.zeros_like()?))?;
                accumulate(sum, &(gradients * &activations)?.sum(1)?.mean_keepdim(0)?, 1.0)?;
            }
        }
        sums.into_iter().map(|sum| Ok((sum.unwrap_or(input.zeros_like()?) / steps as f64)?)).collect()
    })
}
