//! Maps at the layer, refined by what the input's own gradient says.

use crate::fusion::{resize_map, resize_volume};
use candle_core::Tensor;
use faithful_core::{BackwardRule, Error, Objective, Result, Score};

/// What refines a map to the input's resolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Guide {
    /// Guided backpropagation (Springenberg et al. 2015): Guided Grad-CAM.
    Backpropagation,
    /// The estimator's own attribution at the input, from the same draws, baselines and backward passes: with
    /// expected gradients it is Guided Expected Grad-CAM (thesis, Eq. 61).
    Attribution,
}

/// `up(map) * attribution`: `(N, h, w)` bilinearly upsampled to the attribution's `(N, C, H, W)`, `(N, t)` to `(N, C, T)`, or
/// `(N, slices, h, w)` trilinearly to a volume's `(N, C, slices, H, W)`.
pub(crate) fn refine(map: &Tensor, attribution: &Tensor) -> Result<Tensor> {
    if attribution.rank() == 3 && map.rank() == 2 {
        // A series is a picture of height one.
        return Ok(refine(&map.unsqueeze(1)?, &attribution.unsqueeze(2)?)?.squeeze(2)?);
    }
    if let (&[_, _, slices, height, width], 4) = (attribution.dims(), map.rank()) {
        return Ok(attribution.broadcast_mul(&resize_volume(map, [slices, height, width])?.unsqueeze(1)?)?);
    }
    let (_, _, height, width) = attribution.dims4().map_err(|_| {
        Error::shape(
            "the input of a guided map",
            "an image (N, C, H, W), a series (N, C, T) or a volume (N, C, D, H, W)",
            attribution.dims(),
        )
    })?;
    Ok(attribution.broadcast_mul(&resize_map(map, [height, width])?.unsqueeze(1)?)?)
}

/// The guided gradient at the input of each score, all from one forward pass.
pub(crate) fn guided_gradients(
    objective: &Objective<'_>,
    input: &Tensor,
    scores: &[&dyn Score],
) -> Result<Vec<Tensor>> {
    let guided = objective.network().with_backward_rule(BackwardRule::Guided)?;
    let all = Objective::new(&*guided, objective.score()).with_batch(objective.batch());
    let all = all.differentiate_scores(input, &[], true, scores)?;
    all.into_iter()
        .map(|one| one.input_gradient.ok_or_else(|| Error::parameter("input", "its gradient was not given")))
        .collect()
}
