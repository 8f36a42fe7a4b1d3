//! `RefineCAM`: what the maps of several layers agree on.

use super::Perturbation;
use super::masks::min_max;
use crate::fusion::{Fusion, fuse};
use crate::rule;
use candle_core::Tensor;
use faithful_core::{LayerTrace, Result};

/// The product of the layers' Grad-CAM++ maps, each scaled to `[0, 1]` and brought to the largest map's size.
///
/// `TorchCAM` does so at the layers' own sizes, as here. pytorch-grad-cam scales each map at the input's size; the loop in it that
/// should scale them once more assigns to the name it loops over and does nothing, which is not followed and changes
/// nothing. One layer gives its own scaled map; where one layer's map is the same everywhere, the product is zero.
pub(super) fn refine_cam(perturbation: &Perturbation<'_>) -> Result<Vec<Tensor>> {
    let Perturbation { objective, input, layers, layout, .. } = *perturbation;
    let rule = perturbation.definition.rule(rule("grad-cam++")?);
    let all = objective.differentiate_scores(input, layers, false, perturbation.scores)?;
    all.into_iter()
        .map(|one| {
            let maps = one
                .traces
                .iter()
                .map(|trace| {
                    let layout = layout.resolve(input.dims(), trace.activation.dims())?;
                    let activation = layout.channels_first(&trace.activation)?;
                    let gradient = layout.channels_first(&trace.gradient)?;
                    min_max(&rule.apply(&LayerTrace { activation, gradient })?.unsqueeze(1)?, 0.0)?
                        .squeeze(1)
                        .map_err(Into::into)
                })
                .collect::<Result<Vec<_>>>()?;
            fuse(&maps, Fusion::Product)
        })
        .collect()
}
