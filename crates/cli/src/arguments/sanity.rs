//! `faithful sanity`'s options.

use super::bounds::{MANY, count};
use super::{Flag, ModelArguments, PhotoArguments};
use clap::{Args, ValueEnum};
use faithful_explain::ByteSize;
use std::num::NonZeroUsize;

#[derive(Debug, Args)]
pub(crate) struct SanityArguments {
    #[command(flatten)]
    pub(crate) photos: PhotoArguments,
    #[command(flatten)]
    pub(crate) model: ModelArguments<Flag>,
    /// Methods, by commas, as `evaluate --methods` names them
    #[arg(long, value_name = "A,B", value_delimiter = ',', default_value = "expected-grad-cam")]
    pub(crate) methods: Vec<String>,
    /// Which layers lose their weights: all from the output down to one, or that one alone
    #[arg(long, value_enum, value_name = "NAME", default_value = "cascading")]
    pub(crate) check: Check,
    /// Instead: a network of the same architecture that was trained on shuffled labels, whose maps should be others
    #[arg(long, value_name = "MODEL", conflicts_with_all = ["check", "layers"])]
    pub(crate) shuffled_labels: Option<String>,
    /// Stop after this many layers, counted from the output
    #[arg(long, value_parser = count::<MANY>, value_name = "N")]
    pub(crate) layers: Option<NonZeroUsize>,
    /// The layer of class activation maps; by default the last convolutional one
    #[arg(long, value_name = "LAYER", help_heading = "Explanation")]
    pub(crate) layer: Option<String>,
    /// How many points the gradient is averaged over, for methods that draw
    #[arg(long, value_parser = count::<MANY>, value_name = "M", help_heading = "Explanation")]
    pub(crate) draws: Option<NonZeroUsize>,
    /// What photos are compared with: a folder of typical photos, or one of `faithful baselines`
    #[arg(long, value_name = "DIR|NAME", help_heading = "Explanation")]
    pub(crate) baselines: Option<String>,
    /// The seed of everything random: draws, and the order in which weights are shuffled
    #[arg(long, value_name = "S", default_value = "0", help_heading = "Explanation")]
    pub(crate) seed: u64,
    /// Memory that the process may take, as `2GiB`: decides how many rows go through the network at a time
    #[arg(long, value_name = "SIZE", help_heading = "Limits")]
    pub(crate) memory: Option<ByteSize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Check {
    Cascading,
    Independent,
}
