use super::bounds::{MANY, count};
use super::gradient::GradientOptions;
use super::{Alphas, ModelArguments, Positional};
use clap::Args;
use std::num::NonZeroUsize;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  faithful model export resnet50.onnx --method layer-cam --out explained.onnx
  faithful model export resnet50.onnx --method grad-cam --layer layer3.5 --class input --out explained.onnx
  faithful model export resnet50.onnx --method grad-cam --display --out demo.onnx
  faithful model export resnet50.onnx --method expected-grad-cam --draws 16 --baselines typical/ --out explained.onnx

The file has the network's output and a second one, `map`. docs/export.md says which methods and operations there are.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ExportArguments {
    #[command(flatten)]
    pub(crate) model: ModelArguments<Positional>,
    /// The ONNX file to write
    #[arg(long, short, value_name = "OUT.onnx")]
    pub(crate) out: PathBuf,
    /// How to explain; `faithful methods` lists them
    #[arg(long, value_name = "NAME", default_value = "grad-cam", help_heading = "Explanation")]
    pub(crate) method: String,
    /// Another gradient under a class activation map; `faithful gradients` lists them
    #[arg(long, value_name = "NAME", help_heading = "Explanation")]
    pub(crate) gradient: Option<String>,
    /// The layer whose map is written; by default the last convolutional one
    #[arg(long, value_name = "LAYER", help_heading = "Explanation")]
    pub(crate) layer: Option<String>,
    /// Which class is explained: an index, a label, `top1`, or `input` for a second input `class` of the file
    #[arg(long, value_name = "CLASS", default_value = "top1", help_heading = "Explanation")]
    pub(crate) class: String,
    /// Which number to explain: `logit`, `probability`, `log-probability`, `logit+log-probability`, or `margin:CLASS` against
    /// another class; `auto` is what the method's paper explains (the logit; see docs/methods.md)
    #[arg(long, value_name = "SCORE", default_value = "auto", help_heading = "Explanation")]
    pub(crate) score: String,
    /// The map at the input's size and from 0 to 1, ready to be shown; otherwise it is the raw one
    #[arg(long, help_heading = "Explanation")]
    pub(crate) display: bool,
    /// Where a layer has its channels and places: `channels-first`, `channels-last`, or `tokens:PREFIX:HxW`
    #[arg(long, value_name = "LAYOUT", help_heading = "Explanation")]
    pub(crate) layout: Option<String>,
    /// How many points the file takes gradients at, for methods that draw
    #[arg(long, value_parser = count::<MANY>, value_name = "M", help_heading = "Explanation")]
    pub(crate) draws: Option<NonZeroUsize>,
    /// By what a gradient on paths from baselines is multiplied at the layer: `activation`, `encoded` or `none`
    #[arg(long, value_name = "NAME", default_value = "activation", help_heading = "Explanation")]
    pub(crate) difference: String,
    /// What inputs are compared with: a folder of typical photos, one of `faithful baselines` that is not made of the
    /// photo itself, or `input` for inputs of the file: `baselines`, and `alphas` where places on the way are drawn
    #[arg(long, value_name = "DIR|NAME", help_heading = "Explanation")]
    pub(crate) baselines: Option<String>,
    /// Where on the way from baseline to photo expected gradients looks: `uniform`, `linear` or `stratified`
    #[arg(long, value_enum, value_name = "NAME", default_value = "uniform", help_heading = "Explanation")]
    pub(crate) alphas: Alphas,
    #[command(flatten)]
    pub(crate) gradient_options: GradientOptions,
    /// The width of noise around the photo, as a share of its range
    #[arg(long, value_name = "SHARE", default_value = "0.15", help_heading = "Explanation")]
    pub(crate) noise: f64,
    /// The seed of the draws that the file holds
    #[arg(long, value_name = "S", default_value = "0", help_heading = "Explanation")]
    pub(crate) seed: u64,
}
