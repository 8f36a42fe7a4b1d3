//! What can be said on the command line. One struct per command; shared options are flattened into them.

mod bounds;
mod cam;
mod compute;
mod dream;
mod evaluate;
mod export;
mod fetch;
mod figure;
mod gradient;
mod hyper;
mod pages;
mod reading;
#[cfg(feature = "rul")]
mod rul;
mod sanity;

pub(crate) use cam::CamOptions;
pub(crate) use compute::ComputeArguments;
pub(crate) use dream::{DreamArguments, Start};
pub(crate) use evaluate::{CurveScoreName, EvaluateArguments};
pub(crate) use export::ExportArguments;
pub(crate) use fetch::{ConvertArguments, FetchArguments, PullArguments};
pub(crate) use figure::{ConvergenceArguments, CurvesArguments, FigureCommand, ScoresArguments};
pub(crate) use gradient::GradientOptions;
pub(crate) use hyper::{HyperLine, HyperOptions};
pub(crate) use pages::{AtlasArguments, CompareArguments, ReportArguments, ServeArguments};
pub(crate) use reading::ReadingArguments;
#[cfg(feature = "rul")]
pub(crate) use rul::{
    CourseKind, FleetArguments, LifeScore, MOST_TOP, ReadingScale, RulCommand, RulDrawArguments, RulEvaluateArguments,
    RulExplainArguments, RulModelArguments, RulPredictArguments, RulTrainArguments, SeriesExplanation, SeriesOrder,
};
pub(crate) use sanity::{Check, SanityArguments};

pub(crate) use bounds::MANY;
use bounds::{ROWS, count, threads};
use clap::{Args, Parser, Subcommand, ValueEnum};
use faithful_explain::{ByteSize, Crop, Resize};
use std::num::NonZeroUsize;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  faithful explain photo.jpg                          a heat map with the built-in model
  faithful explain photos/ --model resnet50.onnx      every photo of a folder, with your own network
  faithful explain photo.jpg --model resnet50.onnx --class 'tabby' --method layer-cam --gradient expected
  faithful predict photo.jpg --model resnet50.onnx --json
  faithful compare photos/ --methods grad-cam,expected-grad-cam --out maps.html
  faithful dream --class heron --model resnet50.onnx --out heron.png
  faithful model layers resnet50.onnx                 which layers there are; the default target is marked

Exit codes: 0 all went well, 1 something failed (the rest was still done), 2 usage error.";

/// Help that begins with what is typed most.
const EXAMPLES_FIRST: &str = "{about-with-newline}\n{usage-heading} {usage}\n\n{before-help}{all-args}{after-help}";

const EXPLAIN_EXAMPLES: &str = "\
Examples:
  faithful explain photo.jpg                                      with the built-in model
  faithful explain photos/ --model resnet50.onnx --out maps       every photo of a folder and its folders
  faithful explain photo.jpg --class top3                         a map for each of the three most probable classes
  faithful explain photo.jpg --class heron --score margin:crane   why a heron and not a crane
  faithful explain photo.jpg --method layer-cam --layer layer3    another method, at another layer
  faithful explain street.jpg --model yolo11n.onnx --detection 2  why the second box of `faithful predict` is what it is
  faithful explain street.jpg --model deeplab.onnx --class car --region box:40,60,300,220
  faithful explain face.jpg --model arcface.onnx --similar-to other.jpg
  faithful explain photo.jpg --baselines typical-photos/ --draws 200 --seed 7

`faithful methods`, `gradients`, `baselines`, `colormaps` and `model layers` list what there is.";

/// Explains what a convolutional network looked at.
#[derive(Debug, Parser)]
#[command(name = "faithful", version, about, after_help = EXAMPLES, max_term_width = 120)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
    #[command(flatten)]
    pub(crate) output: OutputArguments,
    /// Threads to compute with; by default one per processor core
    #[arg(long, value_parser = threads, global = true, value_name = "N", help_heading = "General")]
    pub(crate) threads: Option<NonZeroUsize>,
}

#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct OutputArguments {
    /// Print one JSON object per line instead of a table
    #[arg(long, global = true, help_heading = "General")]
    pub(crate) json: bool,
    /// No progress bar and no notes; errors are still printed
    #[arg(long, short, global = true, help_heading = "General")]
    pub(crate) quiet: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Say which classes a network sees in photos
    Predict(PredictArguments),
    /// Draw what a network looked at: a heat map on each photo, and the raw map
    #[command(before_help = EXPLAIN_EXAMPLES, help_template = EXAMPLES_FIRST)]
    Explain(Box<ExplainArguments>),
    /// Put several methods' maps of photos side by side: one HTML page that opens anywhere
    Compare(Box<CompareArguments>),
    /// Show what makes a class: many photos' maps at several layers, as a page
    Atlas(Box<AtlasArguments>),
    /// Draw the picture that a network takes for its idea of a class
    Dream(Box<DreamArguments>),
    /// List models, and show what is known of one
    #[command(subcommand)]
    Model(ModelCommand),
    /// Measure methods on many photos: a resumable run whose rows are Parquet
    Evaluate(Box<EvaluateArguments>),
    /// Check that maps change when the network loses its weights, layer by layer
    Sanity(Box<SanityArguments>),
    /// Train, evaluate and explain networks that predict the remaining useful life of machines
    #[cfg(feature = "rul")]
    #[command(subcommand)]
    Rul(RulCommand),
    /// Print the table of evaluation runs
    Table(TableArguments),
    /// Say which metrics order methods as the ground truth does, where a run knows it
    #[command(after_help = AUDIT_EXAMPLES)]
    Audit(AuditArguments),
    /// Draw a figure from what other commands wrote
    #[command(subcommand)]
    Figure(FigureCommand),
    /// Write an evaluation run as a page: its table, curves, best and worst photos, failures; or several runs side by side
    Report(ReportArguments),
    /// Serve a page that explains the photos one drops into it
    #[cfg(feature = "serve")]
    Serve(ServeArguments),
    /// Print completions for a shell
    Completions {
        /// The shell
        #[arg(value_enum, value_name = "SHELL")]
        shell: clap_complete::Shell,
    },
    /// Print the manual page, or write one per command into a folder
    Man {
        /// The folder
        #[arg(long, short, value_name = "DIR")]
        out: Option<PathBuf>,
    },
    /// List the metrics that `evaluate --metrics` knows
    Metrics,
    /// List the methods that `explain --method` knows
    Methods,
    /// List the gradients that `explain --gradient` puts under a class activation map
    Gradients,
    /// List the baselines that `explain --baselines` knows
    Baselines,
    /// List the colours that `explain --colormap` knows
    #[command(alias = "colourmaps")]
    Colormaps,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ModelCommand {
    /// List the models that can be used by name, and the architectures that weights can be loaded into
    List,
    /// Fetch published weights, after which the model can be used by its name
    Pull(PullArguments),
    /// Make safetensors of a PyTorch checkpoint (.pth); nothing in it is run
    Convert(ConvertArguments),
    /// Show a model's input, preprocessing, classes and size; with --html, its layers as boxes on a page
    Info(InfoArguments),
    /// List a model's layers with their shapes and strides; the default target layer is marked
    Layers(ModelArguments<Positional>),
    /// Write an ONNX file that gives the network's output and its heat map, for any runtime
    Export(Box<ExportArguments>),
}

/// Photos, how they are read and by how much at a time.
#[derive(Debug, Args)]
pub(crate) struct PhotoArguments {
    /// Photos, or folders of photos with their folders (JPEG, PNG, WebP, BMP, GIF, TIFF)
    #[arg(required = true, value_name = "IMAGE")]
    pub(crate) images: Vec<PathBuf>,
    /// Refuse photos with more pixels than this, in millions
    #[arg(long, value_name = "MILLIONS", default_value = "150", help_heading = "Limits")]
    pub(crate) max_megapixels: f64,
}

#[derive(Debug, Args)]
pub(crate) struct PredictArguments {
    #[command(flatten)]
    pub(crate) photos: PhotoArguments,
    #[command(flatten)]
    pub(crate) model: ModelArguments<Flag>,
    /// How many classes, or boxes, to print
    #[arg(long, value_parser = count::<MANY>, value_name = "K", default_value = "5")]
    pub(crate) top: NonZeroUsize,
    /// Of a detection, draw the boxes that are printed on each photo, into this folder
    #[arg(long, value_name = "DIR")]
    pub(crate) draw: Option<PathBuf>,
    /// Memory that the process may take, as `2GiB`: photos that take more are refused
    #[arg(long, value_name = "SIZE", help_heading = "Limits")]
    pub(crate) memory: Option<ByteSize>,
}

#[derive(Debug, Args)]
pub(crate) struct ExplainArguments {
    /// How to explain, of `faithful methods`; `auto` chooses by what lies behind the layer, and says which and why
    #[arg(long, value_name = "NAME", default_value = "auto", help_heading = "Explanation")]
    pub(crate) method: String,
    /// Another gradient under a class activation map; `faithful gradients` lists them
    #[arg(long, value_name = "NAME", help_heading = "Explanation")]
    pub(crate) gradient: Option<String>,
    /// Which class to explain: an index, a label, or `topN` for the N most probable; several by commas
    #[arg(long, value_name = "CLASS", default_value = "top1", help_heading = "Explanation")]
    pub(crate) class: Vec<String>,
    /// Which number to explain: `logit`, `probability`, `log-probability`, `logit+log-probability`, or `margin:CLASS` against
    /// another class; `auto` is what the method's paper explains (the logit; see docs/methods.md)
    #[arg(long, value_name = "SCORE", default_value = "auto", help_heading = "Explanation")]
    pub(crate) score: String,
    /// The layer whose map is drawn; by default the last convolutional one; several by commas are fused. A gradient
    /// method explains the input unless a layer is named
    #[arg(long, value_name = "LAYER", value_delimiter = ',', help_heading = "Explanation")]
    pub(crate) layer: Vec<String>,
    /// How many points the gradient is averaged over, for methods that draw; 50 for class activation maps
    #[arg(long, value_parser = count::<MANY>, value_name = "M", help_heading = "Explanation")]
    pub(crate) draws: Option<NonZeroUsize>,
    /// What photos are compared with: a folder of typical photos, some of them (`DIR@3,7,0-9`), one of `faithful
    /// baselines`, or a mixture (`0.8*DIR+0.2*blur:5`)
    #[arg(long, value_name = "DIR|NAME", help_heading = "Explanation")]
    pub(crate) baselines: Option<String>,
    /// The seed of everything random: the same seed gives the same map
    #[arg(long, value_name = "S", default_value = "0", help_heading = "Explanation")]
    pub(crate) seed: u64,
    /// Where pictures and maps are written
    #[arg(long, short, value_name = "DIR", default_value = "faithful-out", help_heading = "Pictures")]
    pub(crate) out: PathBuf,
    /// The colours of the map, of `faithful colormaps`; by default viridis, or diverging where the map has a sign
    #[arg(long, value_name = "NAME", help_heading = "Pictures")]
    pub(crate) colormap: Option<String>,
    /// How much of the map covers the photo, from 0 to 1
    #[arg(long, value_name = "SHARE", default_value = "0.55", help_heading = "Pictures")]
    pub(crate) opacity: f32,
    /// Clamp the colours to this percentile of the values, so that one bright pixel does not outshine the rest; 99 for
    /// maps of the input's resolution, 100 for those of a layer
    #[arg(long, value_name = "PERCENT", help_heading = "Pictures")]
    pub(crate) percentile: Option<f64>,
    /// What is drawn of the photo: all of it, with grey where the network never saw it, or the `input` alone
    #[arg(long, value_enum, value_name = "PART", default_value = "photo", help_heading = "Pictures")]
    pub(crate) view: PhotoView,
    /// Write the class, its probability, the method and the layer below the picture
    #[arg(long, help_heading = "Pictures")]
    pub(crate) caption: bool,
    /// The same colours for the same values in the maps of all classes of a photo
    #[arg(long, help_heading = "Pictures")]
    pub(crate) one_scale: bool,
    /// Draw the maps of all classes of a photo into one more picture, a hue per class; up to six classes
    #[arg(long, help_heading = "Pictures")]
    pub(crate) together: bool,
    /// Add a strip with the colours and the values they stand for
    #[arg(long, help_heading = "Pictures")]
    pub(crate) legend: bool,
    /// Write every map that Hyper Expected Grad-CAM goes through into this folder too
    #[arg(long, value_name = "DIR", help_heading = "Pictures")]
    pub(crate) parts: Option<PathBuf>,
    /// Show the pictures in the terminal as well (as pictures in kitty and iTerm, in half blocks elsewhere)
    #[arg(long, help_heading = "Pictures")]
    pub(crate) show: bool,
    /// Write a JSON line per draw beside each map, to see it converge
    #[arg(long, help_heading = "Pictures")]
    pub(crate) trace: bool,
    /// Draw beside each map how the draws converged, as SVG
    #[arg(long, help_heading = "Pictures")]
    pub(crate) trace_figure: bool,
    #[command(flatten)]
    pub(crate) model: ModelArguments<Flag>,
    /// Whose formula is followed where libraries differ from the paper: `torchcam`, `pytorch-grad-cam`, `polycam`; `eq58` of
    /// `expected-grad-cam++` (thesis) has the third power outside of the sum
    #[arg(long, value_name = "NAME", default_value = "paper", help_heading = "Explanation, rarely needed")]
    pub(crate) definition: String,
    #[command(flatten)]
    pub(crate) cam: CamOptions,
    /// Where a layer has its channels and places: `channels-first`, `channels-last`, or `tokens:PREFIX:HxW` for a
    /// transformer with PREFIX tokens before H rows of W patches; found by itself unless said
    #[arg(long, value_name = "LAYOUT", help_heading = "Explanation, rarely needed")]
    pub(crate) layout: Option<String>,
    /// How much work Hyper Expected Grad-CAM may be: `draft`, `standard` or `full`; `compact` is a coarser map, chosen by asking
    /// the network, `thesis` the method as section 4.8 of the thesis has it
    #[arg(long, value_name = "NAME", default_value = "standard", help_heading = "Explanation, rarely needed")]
    pub(crate) quality: String,
    /// The mean of the maps of the photo and its mirror image, each at 90, 100 and 110 percent: steadier, six times the work
    #[arg(long, help_heading = "Explanation, rarely needed")]
    pub(crate) augment: bool,
    /// Stop before all draws are done: `difference:0.001` or `delta:0.01`
    #[arg(long, value_name = "RULE", default_value = "draws", help_heading = "Explanation, rarely needed")]
    pub(crate) stop: String,
    /// Say how many draws would bring the map's relative standard error down to this
    #[arg(long, value_name = "SHARE", default_value = "0.05", help_heading = "Explanation, rarely needed")]
    pub(crate) wanted_error: f64,
    /// The width of noise around the photo, as a share of its range
    #[arg(long, value_name = "SHARE", default_value = "0.15", help_heading = "Explanation, rarely needed")]
    pub(crate) noise: f64,
    #[command(flatten)]
    pub(crate) gradient_options: GradientOptions,
    #[command(flatten)]
    pub(crate) photos: PhotoArguments,
    /// Memory that the process may take, as `2GiB`: decides how many draws go through the network at a time; a photo
    /// of which not even one fits is refused
    #[arg(long, value_name = "SIZE", conflicts_with = "batch", help_heading = "Limits")]
    pub(crate) memory: Option<ByteSize>,
    /// How many draws go through the network at a time; changes speed and memory, not the result
    #[arg(long, value_parser = count::<ROWS>, value_name = "N", help_heading = "Limits")]
    pub(crate) batch: Option<NonZeroUsize>,
}

/// `--view`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum PhotoView {
    Photo,
    Input,
}

#[derive(Debug, Args)]
pub(crate) struct TableArguments {
    /// Folders of runs; methods of runs on the same images and model come into one table
    #[arg(required = true, value_name = "RUN")]
    pub(crate) runs: Vec<PathBuf>,
    /// The method that the others are tested against
    #[arg(long, value_name = "METHOD")]
    pub(crate) against: Option<String>,
    /// Methods in this order first, by commas; the others follow by name
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    pub(crate) order: Vec<String>,
    /// How the table is written
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "text")]
    pub(crate) format: TableFormat,
}

#[derive(Debug, Args)]
pub(crate) struct AuditArguments {
    /// Folders of runs on the same images and model, with a metric of localisation
    #[arg(required = true, value_name = "RUN")]
    pub(crate) runs: Vec<PathBuf>,
    /// The metric that is taken for true: `energy`, `pointing` or `iou`, in the mask of what the network goes by
    #[arg(long, value_name = "METRIC", default_value = "energy")]
    pub(crate) truth: String,
    /// How the table is written
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "text")]
    pub(crate) format: TableFormat,
}

/// How a run with a ground truth is made.
const AUDIT_EXAMPLES: &str = "\
Examples, on drawn scenes in which one network goes by the object and ignores a planted mark, and the other the reverse:
  faithful evaluate --images planted --explain-label --methods grad-cam,layer-cam,saliency,expected-grad-cam \\
      --metrics ins-del,drop,add,road,energy --out objects
  faithful evaluate --images planted --model marks-vgg --explain-label --methods grad-cam,layer-cam,saliency,expected-grad-cam \\
      --metrics ins-del,drop,add,road,energy --out marks
  faithful audit objects
  faithful audit marks";

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TableFormat {
    Text,
    Markdown,
    Csv,
    Latex,
    Json,
}

/// Which model, and how photos become its input where the model's own JSON does not say it.
#[derive(Debug, Args)]
pub(crate) struct ModelArguments<Name: Args> {
    #[command(flatten)]
    pub(crate) name: Name,
    /// The output that is explained, where an ONNX file has several: its name, or its number from 0 on
    #[arg(long, value_name = "NAME", help_heading = "Model")]
    pub(crate) output: Option<String>,
    /// The size of the network's input where an ONNX file leaves it free, as `224` or `HEIGHTxWIDTH`
    #[arg(long, value_name = "SIZE", value_parser = sides, help_heading = "How photos become inputs")]
    pub(crate) input_size: Option<[usize; 2]>,
    /// Shorter side in pixels that photos are resized to; or `HEIGHTxWIDTH`, to which they are squashed
    #[arg(long, value_name = "SIZE", help_heading = "How photos become inputs")]
    pub(crate) resize: Option<Resize>,
    /// Centre that is cut out after resizing, as `224` or `HEIGHTxWIDTH`; `none` keeps the whole photo
    #[arg(long, value_name = "SIZE", help_heading = "How photos become inputs")]
    pub(crate) crop: Option<Crop>,
    /// How photos of other proportions fit: `crop` cuts the centre out, `stretch` squashes the whole photo, `pad` puts it
    /// between bars
    #[arg(long, value_enum, value_name = "FIT", help_heading = "How photos become inputs")]
    pub(crate) fit: Option<Fit>,
    /// Colour of the bars of `--fit pad`, as `RRGGBB`; black unless said
    #[arg(long, value_name = "RRGGBB", value_parser = color, help_heading = "How photos become inputs")]
    pub(crate) pad_color: Option<[u8; 3]>,
    /// What the network's channels are: `rgb`, `bgr` (OpenCV, Caffe) or `grey`
    #[arg(long, value_enum, value_name = "ORDER", help_heading = "How photos become inputs")]
    pub(crate) channels: Option<ChannelOrder>,
    /// The value of white before mean and deviation are applied: 1, or 255 for pixels as they are
    #[arg(long, value_name = "WHITE", help_heading = "How photos become inputs")]
    pub(crate) scale: Option<f32>,
    /// How outputs become probabilities, where the network does not say it: `softmax`, or `sigmoid` for each alone
    #[arg(long, value_enum, value_name = "NAME", help_heading = "Model")]
    pub(crate) activation: Option<ActivationName>,
    /// What the output is, where the network does not say it: `classification`, `segmentation` or `detection`
    #[arg(long, value_enum, value_name = "TASK", help_heading = "Model")]
    pub(crate) task: Option<TaskName>,
    /// Mean per channel that is subtracted, in 0 to 1; numbers above 2 are of pixels of 0 to 255
    #[arg(
        long,
        value_name = "R,G,B",
        value_delimiter = ',',
        requires = "std",
        help_heading = "How photos become inputs"
    )]
    pub(crate) mean: Vec<f32>,
    /// Standard deviation per channel that is divided by
    #[arg(
        long,
        value_name = "R,G,B",
        value_delimiter = ',',
        requires = "mean",
        help_heading = "How photos become inputs"
    )]
    pub(crate) std: Vec<f32>,
    /// How photos are resized
    #[arg(long, value_enum, value_name = "FILTER", help_heading = "How photos become inputs")]
    pub(crate) interpolation: Option<Interpolation>,
    /// A file with one class name per line
    #[arg(long, value_name = "FILE", help_heading = "Model")]
    pub(crate) labels: Option<PathBuf>,
}

/// `224`, `224x298` or `224,298`: height and width.
fn sides(text: &str) -> Result<[usize; 2], String> {
    let side = |side: &str| side.trim().parse::<usize>().ok().filter(|side| (1..=16384).contains(side));
    let sides = match text.split_once(['x', ',']) {
        Some((height, width)) => side(height).zip(side(width)).map(|(height, width)| [height, width]),
        None => side(text).map(|side| [side; 2]),
    };
    sides.ok_or_else(|| "expected pixels as `224` or `224x298`, at most 16384".to_owned())
}

/// `--fit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Fit {
    Crop,
    Stretch,
    Pad,
}

/// `--channels`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ChannelOrder {
    Rgb,
    Bgr,
    #[value(alias = "gray")]
    Grey,
}

/// `--activation`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ActivationName {
    Softmax,
    Sigmoid,
}

/// `--task`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TaskName {
    Classification,
    Segmentation,
    Detection,
}

/// `727272` or `#727272`.
fn color(text: &str) -> Result<[u8; 3], String> {
    let digits = text.strip_prefix('#').unwrap_or(text);
    let value = u32::from_str_radix(digits, 16).ok().filter(|_| digits.len() == 6 && !digits.starts_with('+'));
    let value = value.ok_or_else(|| "expected a colour as `727272`".to_owned())?;
    Ok([16, 8, 0].map(|shift| (value >> shift & 0xff) as u8))
}

/// The model's name as an option, by default the built-in model, and what computes it.
#[derive(Debug, Args)]
pub(crate) struct Flag {
    /// A built-in or fetched model (`faithful model list`), an .onnx file, or ARCHITECTURE:WEIGHTS.safetensors; by default the built-in model
    #[arg(long, short, env = "FAITHFUL_MODEL", hide_env_values = true, value_name = "MODEL", help_heading = "Model")]
    pub(crate) model: Option<String>,
    #[command(flatten)]
    pub(crate) reading: ReadingArguments,
    #[command(flatten)]
    pub(crate) compute: ComputeArguments,
}

#[derive(Debug, Args)]
pub(crate) struct InfoArguments {
    #[command(flatten)]
    pub(crate) model: ModelArguments<Positional>,
    /// Write a page that shows the network as boxes and arrows, with each layer's shape and how to explain there
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
}

/// The model's name as the command's subject.
#[derive(Debug, Args)]
pub(crate) struct Positional {
    /// A built-in or fetched model (`faithful model list`), an .onnx file, or ARCHITECTURE:WEIGHTS.safetensors; by default the built-in model
    #[arg(value_name = "MODEL", env = "FAITHFUL_MODEL", hide_env_values = true)]
    pub(crate) model: Option<String>,
}

/// `--alphas`; [`faithful_baseline::AlphaSampler`] says more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Alphas {
    Uniform,
    Linear,
    Stratified,
}

impl From<Alphas> for faithful_baseline::AlphaSampler {
    fn from(alphas: Alphas) -> Self {
        match alphas {
            Alphas::Uniform => Self::Uniform,
            Alphas::Linear => Self::Linear,
            Alphas::Stratified => Self::Stratified,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Interpolation {
    Nearest,
    Bilinear,
    Bicubic,
    Lanczos,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definitions_are_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn input_sizes_are_read() {
        assert_eq!(sides("224"), Ok([224, 224]));
        assert_eq!((sides("224x298"), sides("224,298")), (Ok([224, 298]), Ok([224, 298])));
        for wrong in ["", "0", "x", "224x", "-3", "2x3x4", "99999"] {
            assert!(sides(wrong).is_err(), "{wrong}");
        }
    }
}
