//! What methods are told.

use crate::Method;
use faithful_baseline::{AlphaSampler, BaselineSampler, Constant, Origin, Spread};
use faithful_cam::{
    BaselineCache, Combination, Difference, Evidence, Filter, Fusion, HyperParameters, Layout, Quality,
};
use faithful_core::{Error, Probabilities, Result, Stop, Stream};
use faithful_gradient::GradientParameters;
use std::collections::HashSet;
use std::num::NonZeroUsize;
use std::sync::Arc;

/// What methods are told; each reads what concerns it.
#[derive(Clone)]
pub struct Settings {
    /// How many draws or steps; nothing for the method's own default.
    pub draws: Option<NonZeroUsize>,
    /// When there were enough of them.
    pub stop: Stop,
    /// What photos are compared with.
    pub sampler: Arc<dyn BaselineSampler>,
    /// Where between baseline and photo expected gradients looks.
    pub alphas: AlphaSampler,
    /// The width of noise around the photo.
    pub spread: Spread,
    /// Where a layer's output has its channels and places.
    pub layout: Layout,
    /// What gradient methods alone read: the rule that integrates, and their paths. Its other fields are replaced by
    /// those above.
    pub gradient: GradientParameters<'static>,
    /// What concerns class activation maps and masking methods.
    pub cam: CamChoices,
    /// How the network's outputs become probabilities; a session takes its model's.
    pub probabilities: Probabilities,
    /// What is known of baselines already; it belongs to one network.
    pub cache: Arc<BaselineCache>,
}

/// What concerns class activation maps and masking methods alone.
#[derive(Clone, Copy, Debug, Default)]
pub struct CamChoices {
    /// Mini-batches; nothing for one path, or a draw from each of many.
    pub paths: Option<NonZeroUsize>,
    /// By what a gradient on paths from baselines is multiplied at the layer.
    pub difference: Difference,
    /// How the maps of several layers become one.
    pub fusion: Fusion,
    /// How many channels masking methods try, those that vary most; nothing for all.
    pub channels: Option<NonZeroUsize>,
    /// How much work Hyper Expected Grad-CAM may be, and which form of it is made.
    pub quality: Quality,
    /// What of Hyper Expected Grad-CAM is otherwise than its quality has it.
    pub hyper: HyperChoices,
    /// Whether the maps that an explanation went through are kept.
    pub parts: bool,
    /// Whether the maps of the mirrored and brightened photo are averaged in
    /// ([`CamParameters::augmented`](faithful_cam::CamParameters::augmented)).
    pub augmented: bool,
    /// Whether the first principal component of the weighted channels stands for their sum
    /// ([`CamParameters::eigen`](faithful_cam::CamParameters::eigen)).
    pub eigen: bool,
}

/// What of Hyper Expected Grad-CAM is otherwise than its quality has it; nothing of what is not named.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct HyperChoices {
    /// What of each level is injected.
    pub filter: Option<Filter>,
    /// How a level's layers become its map.
    pub evidence: Option<Evidence>,
    /// How strongly the stages modulate the map, in `[0, 1]`: they are multiplied then.
    pub modulation: Option<f64>,
    /// How many stages there are.
    pub stages: Option<usize>,
}

impl HyperChoices {
    /// The choices in a user's words.
    ///
    /// # Errors
    /// [`Error::UnknownName`] with suggestions, and [`Error::Parameter`] for a modulation outside of `[0, 1]`.
    pub fn named(
        filter: Option<&str>,
        evidence: Option<&str>,
        modulation: Option<f64>,
        stages: Option<usize>,
    ) -> Result<Self> {
        if let Some(modulation) = modulation.filter(|modulation| !(0.0..=1.0).contains(modulation)) {
            return Err(Error::parameter("modulation", format!("{modulation} is outside [0, 1]")));
        }
        let (filter, evidence) = (filter.map(Filter::named).transpose()?, evidence.map(Evidence::named).transpose()?);
        Ok(Self { filter, evidence, modulation, stages })
    }

    /// The parameters of `quality` with what was chosen otherwise.
    pub fn parameters(self, quality: Quality) -> HyperParameters {
        let mut parameters = quality.parameters();
        parameters.decomposition.filter = self.filter.unwrap_or(parameters.decomposition.filter);
        parameters.decomposition.evidence = self.evidence.unwrap_or(parameters.decomposition.evidence);
        if let Some(modulation) = self.modulation {
            parameters.fusion.combination = Combination::Product;
            parameters.fusion.modulation = modulation;
        }
        parameters.stages.count = self.stages.or(parameters.stages.count);
        parameters
    }
}

impl Settings {
    /// How many baselines are kept with what the network says of them, at most, while `method` works.
    pub fn references(&self, method: &Method) -> u64 {
        if !method.compares() {
            return 0;
        }
        let draws = self.draws.map_or(50, NonZeroUsize::get);
        let origins = self.sampler.origins(&Stream::new(0, ""), 0..draws);
        let kept: HashSet<Origin> = origins.into_iter().filter(|origin| *origin != Origin::Draw).collect();
        // One may be made of the photo itself, blurred.
        kept.len() as u64 + 1
    }
}

impl Default for Settings {
    /// As the methods have it themselves; baselines are zero, the mean colour of what a network was trained on.
    fn default() -> Self {
        Self {
            draws: None,
            stop: Stop::default(),
            sampler: Arc::new(Constant::zero()),
            alphas: AlphaSampler::default(),
            spread: Spread::default(),
            layout: Layout::default(),
            gradient: GradientParameters::default(),
            cam: CamChoices::default(),
            probabilities: Probabilities::default(),
            cache: Arc::default(),
        }
    }
}

/// Reads `draws`, `difference:0.001` or `delta:0.01`.
///
/// # Errors
/// [`Error::Parameter`] for anything else.
pub fn parse_stop(text: &str) -> Result<Stop> {
    let refuse = || Error::parameter("stop", format!("`{text}` is not `draws`, `difference:0.001` or `delta:0.01`"));
    let threshold = |text: &str| text.parse::<f64>().ok().filter(|value| value.is_finite() && *value > 0.0);
    match text.split_once(':') {
        None if text == "draws" => Ok(Stop::Draws),
        Some(("difference", value)) => threshold(value).map(Stop::Difference).ok_or_else(refuse),
        Some(("delta", value)) => threshold(value).map(Stop::Delta).ok_or_else(refuse),
        _ => Err(refuse()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stopping_rules_are_read() {
        assert_eq!(parse_stop("draws").unwrap(), Stop::Draws);
        assert_eq!(parse_stop("delta:0.01").unwrap(), Stop::Delta(0.01));
        assert_eq!(parse_stop("difference:1e-3").unwrap(), Stop::Difference(0.001));
        for wrong in ["", "delta", "delta:", "delta:-1", "delta:nan", "soon:3"] {
            assert!(parse_stop(wrong).is_err(), "{wrong}");
        }
    }
}
