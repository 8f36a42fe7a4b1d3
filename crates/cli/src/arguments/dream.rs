//! `faithful dream`'s options.

use super::bounds::{MANY, SIDE, count, whole};
use super::{Flag, ModelArguments};
use clap::Args;
use faithful_explain::ByteSize;
use std::num::NonZeroUsize;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(crate) struct DreamArguments {
    #[command(flatten)]
    pub(crate) model: ModelArguments<Flag>,
    /// The class: an index or a label
    #[arg(long, value_name = "CLASS")]
    pub(crate) class: String,
    /// Where the picture is written (PNG)
    #[arg(long, short, value_name = "FILE")]
    pub(crate) out: PathBuf,
    /// What is driven up: `logit`, `probability`, `log-probability`, or `margin:CLASS` against another class
    #[arg(long, value_name = "SCORE", default_value = "logit", help_heading = "Ascent")]
    pub(crate) score: String,
    /// Where it begins: `mean` (the data's mean colour), `noise`, or a photo
    #[arg(long, value_name = "START", default_value = "noise", help_heading = "Ascent")]
    pub(crate) start: Start,
    /// How many steps
    #[arg(long, value_parser = count::<MANY>, value_name = "N", default_value = "200", help_heading = "Ascent")]
    pub(crate) steps: NonZeroUsize,
    /// How far a step goes, in standard deviations of the data
    #[arg(long, value_name = "STEP", default_value = "0.1", help_heading = "Ascent")]
    pub(crate) rate: f64,
    /// The weight of the prior that keeps the picture near the mean colour
    #[arg(long, value_name = "LAMBDA", default_value = "0.001", help_heading = "Ascent")]
    pub(crate) l2: f64,
    /// Each step looks at the picture shifted by up to so many pixels; 0 for none, by default a 28th of its side
    #[arg(long, value_parser = whole::<SIDE>, value_name = "PIXELS", help_heading = "Ascent")]
    pub(crate) jitter: Option<usize>,
    /// The width in pixels of the blur that keeps the picture smooth; 0 for none, by default a 224th of its side
    #[arg(long, value_name = "PIXELS", help_heading = "Ascent")]
    pub(crate) blur: Option<f64>,
    /// How many steps lie between two blurs
    #[arg(long, value_parser = count::<MANY>, value_name = "N", default_value = "4", help_heading = "Ascent")]
    pub(crate) blur_every: NonZeroUsize,
    /// The seed of the noise and the shifts: the same seed gives the same picture
    #[arg(long, value_name = "S", default_value = "0", help_heading = "Ascent")]
    pub(crate) seed: u64,
    /// Refuse a photo with more pixels than this, in millions
    #[arg(long, value_name = "MILLIONS", default_value = "150", help_heading = "Limits")]
    pub(crate) max_megapixels: f64,
    /// Memory that the process may take, as `2GiB`: a picture that takes more is refused
    #[arg(long, value_name = "SIZE", help_heading = "Limits")]
    pub(crate) memory: Option<ByteSize>,
}

/// Where a dream begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    Mean,
    Noise,
    Photo(PathBuf),
}

impl std::str::FromStr for Start {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text {
            "mean" => Self::Mean,
            "noise" => Self::Noise,
            path => Self::Photo(path.into()),
        })
    }
}
