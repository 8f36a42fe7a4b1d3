//! How class activation maps are drawn and joined, of photos as of windows.

use super::bounds::{MANY, count};
use super::{Alphas, HyperOptions};
use anyhow::Result;
use clap::Args;
use faithful_cam::{Difference, Fusion};
use faithful_explain::{CamChoices, MiniBatches};
use std::num::NonZeroUsize;

#[derive(Debug, Args)]
pub(crate) struct CamOptions {
    /// Mini-batches: K paths with M draws each, every path from one baseline; their maps are averaged
    #[arg(long, value_name = "KxM", conflicts_with = "draws", help_heading = "Explanation, rarely needed")]
    pub(crate) mini_batches: Option<MiniBatches>,
    /// By what a gradient on paths from baselines is multiplied at the layer: `activation`, `encoded` or `none`
    #[arg(long, value_name = "NAME", default_value = "activation", help_heading = "Explanation, rarely needed")]
    pub(crate) difference: String,
    /// How the maps of several layers become one: `maximum` (unless said), `mean` or `product`
    #[arg(long, value_name = "NAME", help_heading = "Explanation, rarely needed")]
    pub(crate) fusion: Option<String>,
    /// Perturbation methods try only the N channels that vary most; all unless said
    #[arg(long, value_parser = count::<MANY>, value_name = "N", help_heading = "Explanation, rarely needed")]
    pub(crate) mask_channels: Option<NonZeroUsize>,
    #[command(flatten)]
    pub(crate) hyper: HyperOptions,
    /// The first principal component of the weighted channels in place of their sum: smoother, for class activation maps that weigh
    /// channels
    #[arg(long, help_heading = "Explanation, rarely needed")]
    pub(crate) eigen: bool,
    /// Where on the way from baseline to input expected gradients looks: `uniform`, `linear` or `stratified`
    #[arg(
        long,
        value_enum,
        value_name = "NAME",
        default_value = "uniform",
        help_heading = "Explanation, rarely needed"
    )]
    pub(crate) alphas: Alphas,
}

impl CamOptions {
    /// What these options choose.
    pub(crate) fn choices(&self) -> Result<CamChoices> {
        Ok(CamChoices {
            paths: self.mini_batches.map(|both| both.paths),
            difference: Difference::named(&self.difference)?,
            fusion: self.fusion.as_deref().map(Fusion::named).transpose()?.unwrap_or_default(),
            channels: self.mask_channels,
            hyper: (&self.hyper).try_into()?,
            eigen: self.eigen,
            ..CamChoices::default()
        })
    }
}
