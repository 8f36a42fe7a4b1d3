//! How an expectation's channels become one level's map (thesis, 4.8.5: each intermediary layer is fed into Expected Grad-CAM).

use crate::expectation::PathExpectation;
use crate::rule::Estimate;
use candle_core::{DType, Tensor};
use faithful_core::{Error, Result, value_named};
use faithful_frequency::gaussian_blur;

/// How far around a place a channel's evidence is gathered before it is put where the channel is active.
///
/// `E_k` is the expected difference times gradient of channel `k` at each place of the layer, `A_k` its activation for the input and
/// `D_k` the expected difference of that from the baselines'.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Evidence {
    /// None: `M = sum_k E_k`, the layer's attribution place by place. Gradients at early layers alternate in sign from place to
    /// place, with the strides and the windows of pooling behind, so that this shows grains.
    Place,
    /// A Gaussian `G` whose standard deviation is one place of the layer: `M = sum_k |D_k| G(E_k) / G(|D_k|)`. Every channel's
    /// evidence of a neighbourhood is shared out in proportion to how the channel answers there to what the baselines do not show.
    /// The default: what is seen are the network's own edges and textures, and whether they speak for the class is decided
    /// neighbourhood by neighbourhood.
    #[default]
    Neighbourhood,
    /// The whole map: Expected Grad-CAM of the layer, `M = max(0, sum_k w_k A_k)` with the mean of `E_k` over places as the one weight
    /// of a channel. It is the thesis's.
    Layer,
}

impl Evidence {
    /// Every kind by the name under which it is asked for.
    pub const NAMES: &'static [(&'static str, Self)] =
        &[("place", Self::Place), ("neighbourhood", Self::Neighbourhood), ("layer", Self::Layer)];

    /// The kind called `name`.
    ///
    /// # Errors
    /// [`Error::UnknownName`] with suggestions.
    pub fn named(name: &str) -> Result<Self> {
        value_named("evidence", name, Self::NAMES)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, kind)| *kind == self).map_or("", |(name, _)| name)
    }
}

/// A channel that differs less around a place than this share of its mean has no evidence to share out there.
pub const SILENT: f64 = 1e-3;

/// The standard deviation of a neighbourhood, in places of the layer.
pub(crate) const AROUND: f64 = 1.0;

/// The evidence `(1, h, w)` of the layer at `place` of an expectation, averaged over paths: its sensitivities are the gradient times the
/// difference, `E_k`, and the difference itself, `D_k`.
pub(crate) fn layer_evidence(paths: &[PathExpectation], place: usize, evidence: Evidence) -> Result<Tensor> {
    let missing = || Error::internal("an expectation without what a level is made of");
    let estimates: Vec<&Estimate> = paths.iter().filter_map(|path| path.layers.get(place)).collect();
    let mean = |sensitivity: usize| -> Result<Tensor> {
        let mut all = estimates.iter().filter_map(|estimate| estimate.sensitivities.get(sensitivity));
        let first = all.next().ok_or_else(missing)?.clone();
        Ok((all.try_fold(first, |sum, one| sum + one)? / estimates.len() as f64)?)
    };
    let expected = mean(0)?;
    match evidence {
        Evidence::Layer => {
            let weights = expected.mean_keepdim(3)?.mean_keepdim(2)?;
            let activation = &estimates.first().ok_or_else(missing)?.activation;
            Ok(weights.broadcast_mul(activation)?.sum(1)?.relu()?)
        }
        Evidence::Neighbourhood => shared_out(&expected, &mean(1)?),
        Evidence::Place => Ok(expected.sum(1)?),
    }
}

/// `sum_k |D_k| G(E_k) / G(|D_k|)`.
fn shared_out(expected: &Tensor, difference: &Tensor) -> Result<Tensor> {
    let (_, _, height, width) = expected.dims4()?;
    let wide = |x: &Tensor| -> Result<Tensor> {
        let x = x.squeeze(0)?;
        Ok(if x.dtype() == DType::F64 { x } else { x.to_dtype(DType::F32)? })
    };
    let (expected_wide, answer) = (wide(expected)?, wide(difference)?.abs()?);
    // Where a channel is silent all over, so is its evidence.
    let floor = ((answer.mean_keepdim(2)?.mean_keepdim(1)? * SILENT)? + f64::from(f32::MIN_POSITIVE))?;
    let around = gaussian_blur(&answer, AROUND)?.broadcast_add(&floor)?;
    let share = gaussian_blur(&expected_wide, AROUND)?.div(&around)?;
    let map = (share * answer)?.sum(0)?.reshape((1, height, width))?;
    Ok(map.to_dtype(expected.dtype())?)
}
