//! What of Hyper Expected Grad-CAM may be chosen beside its quality.

use clap::Args;
use faithful_cam::Combination;
use faithful_core::{Error, Result};
use faithful_explain::{CamChoices, HyperChoices};
use serde::Serialize;

#[derive(Args, Debug, Default)]
pub(crate) struct HyperOptions {
    /// What of each level's map Hyper Expected Grad-CAM injects: `whole`, or what a high-pass filter passes that is tied to the
    /// compression between two levels (`gaussian`, `laplacian`, `dog`, `fft` or `gabor`); as the quality has it unless said
    #[arg(long, value_name = "NAME", help_heading = "Explanation, rarely needed")]
    pub(crate) filter: Option<String>,
    /// How far around a place Hyper Expected Grad-CAM gathers a channel's evidence: `place`, `neighbourhood` or `layer`
    #[arg(long, value_name = "NAME", help_heading = "Explanation, rarely needed")]
    pub(crate) evidence: Option<String>,
    /// Multiply the map with Hyper Expected Grad-CAM's stages, and how strongly, from 0 to 1: the thesis has 0.95
    #[arg(long, value_name = "SHARE", help_heading = "Explanation, rarely needed")]
    pub(crate) modulation: Option<f64>,
    /// How many stages of neighbourhoods Hyper Expected Grad-CAM explains; as many as the explained area allows with `full` and
    /// `thesis`, else none
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(0..=8), help_heading = "Explanation, rarely needed")]
    pub(crate) stages: Option<u8>,
}

impl TryFrom<&HyperOptions> for HyperChoices {
    type Error = Error;

    fn try_from(options: &HyperOptions) -> Result<Self> {
        let HyperOptions { filter, evidence, modulation, stages } = options;
        Self::named(filter.as_deref(), evidence.as_deref(), *modulation, stages.map(usize::from))
    }
}

/// The choices behind a map of Hyper Expected Grad-CAM, for programs.
#[derive(Serialize)]
pub(crate) struct HyperLine {
    quality: &'static str,
    filter: &'static str,
    evidence: &'static str,
    injection: f64,
    /// `sum` or `product`.
    combination: &'static str,
    modulation: Option<f64>,
    base: f64,
    /// What the base map weighs: `activation`, or its `difference` from the baselines'.
    base_of: &'static str,
    /// The rank correlation with another seed's map for which draws are added.
    agreement: Option<f64>,
    /// At most so many; as many as the explained area allows where it is missing.
    stages: Option<usize>,
    /// The share of draws from the blurred photo.
    blurred: f64,
    contrast: bool,
}

impl HyperLine {
    pub(crate) fn of(cam: &CamChoices) -> Self {
        let parameters = cam.hyper.parameters(cam.quality);
        let (decomposition, fusion) = (parameters.decomposition, parameters.fusion);
        let product = fusion.combination == Combination::Product;
        Self {
            quality: cam.quality.name(),
            filter: decomposition.filter.name(),
            evidence: decomposition.evidence.name(),
            injection: decomposition.injection,
            combination: if product { "product" } else { "sum" },
            modulation: product.then_some(fusion.modulation),
            base: if product { 0.0 } else { fusion.base },
            base_of: parameters.base.name(),
            agreement: parameters.agreement,
            stages: parameters.stages.count,
            blurred: parameters.blurred,
            contrast: parameters.contrast,
        }
    }
}
