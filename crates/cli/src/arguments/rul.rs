use super::bounds::{MANY, ROWS, count, whole};
use super::{CamOptions, ComputeArguments, FetchArguments, GradientOptions};
use clap::{Args, Subcommand, ValueEnum};
use faithful_core::SeriesLayout;
use faithful_explain::ByteSize;
use faithful_rul::{Loss, Scaling};
use serde::Deserialize;
use std::num::NonZeroUsize;
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub(crate) enum RulCommand {
    /// Train a network on machines that ran to failure
    Train(Box<RulTrainArguments>),
    /// Say how far a network's predictions are off, and how faithful explanations of it are
    Evaluate(Box<RulEvaluateArguments>),
    /// Say what is left of machines, how sure that is and which sensors say so: of a table, or a folder of them
    Predict(Box<RulPredictArguments>),
    /// Show which cycles and which sensors drove predictions, machine by machine and for the fleet
    Explain(Box<RulExplainArguments>),
    /// Fetch NASA's C-MAPSS, after which --set FD001 needs no --data
    Pull(FetchArguments),
    /// Write drawn pumps with known fault modes as a CSV file
    Draw(RulDrawArguments),
}

/// Which machines.
#[derive(Debug, Args)]
pub(crate) struct FleetArguments {
    /// FD001 to FD004 of C-MAPSS, or `synthetic`: drawn pumps; by default `synthetic`, or the table that --data names
    #[arg(long, value_name = "SET", help_heading = "Machines")]
    pub(crate) set: Option<String>,
    /// The folder or zip file with C-MAPSS (by default what `faithful rul pull` has fetched), or a table of your own
    /// (.csv, .parquet)
    #[arg(long, value_name = "PATH", help_heading = "Machines")]
    pub(crate) data: Option<PathBuf>,
    /// The table's column with the machine's number or name
    #[arg(long, value_name = "NAME", default_value = "unit", help_heading = "Machines")]
    pub(crate) unit_column: String,
    /// The table's column with the cycle
    #[arg(long, value_name = "NAME", default_value = "cycle", help_heading = "Machines")]
    pub(crate) cycle_column: String,
    /// The table's column with the remaining life; without it machines ran to failure (train) or their lives are unknown
    #[arg(long, value_name = "NAME", default_value = "rul", help_heading = "Machines")]
    pub(crate) rul_column: String,
    /// The table's column with the fault, where it is known
    #[arg(long, value_name = "NAME", default_value = "fault", help_heading = "Machines")]
    pub(crate) fault_column: String,
    /// The table's columns with operational settings; by default those that begin with `setting`
    #[arg(long, value_name = "A,B", value_delimiter = ',', help_heading = "Machines")]
    pub(crate) setting_columns: Vec<String>,
    /// The sensors to use, by commas; by default all that are not constant
    #[arg(long, value_name = "A,B", value_delimiter = ',', help_heading = "Machines")]
    pub(crate) sensors: Vec<String>,
}

/// Which network.
#[derive(Debug, Args)]
pub(crate) struct RulModelArguments {
    /// A network from `faithful rul train`, or an .onnx file; by default the built-in one, which knows drawn pumps
    #[arg(long, short, value_name = "FILE", help_heading = "Model")]
    pub(crate) model: Option<PathBuf>,
    /// How an .onnx network takes series; by default `sensors-time`. This and what follows may also stand in a JSON beside the
    /// file (net.json for net.onnx): `layout`, `window`, `scaling`, `cap`, `sensors`, `smoothing`, `output_scale`, `output_shift`
    #[arg(long, value_enum, value_name = "NAME", help_heading = "Model")]
    pub(crate) layout: Option<SeriesOrder>,
    /// The table of training machines that an .onnx network's readings are scaled by; for C-MAPSS it is known
    #[arg(long, value_name = "PATH", help_heading = "Model")]
    pub(crate) training_data: Option<PathBuf>,
    /// How an .onnx network takes readings: of deviation 1 (`standard`, unless said), from 0 to 1 (`min-max`), from -1 to 1
    /// (`symmetric`) or as they are (`none`)
    #[arg(long, value_enum, value_name = "NAME", help_heading = "Model")]
    pub(crate) scaling: Option<ReadingScale>,
    /// How many cycles an .onnx network sees, where its file leaves that open
    #[arg(long, value_parser = whole::<MANY>, value_name = "CYCLES", help_heading = "Model")]
    pub(crate) window: Option<usize>,
    /// The remaining life above which an .onnx network tells machines apart no more: predictions are cut off there; 125
    /// unless said
    #[arg(long, value_name = "CYCLES", help_heading = "Model")]
    pub(crate) cap: Option<f32>,
    /// What an .onnx network's output is multiplied by to be cycles: 125 where it is a share of 125 cycles
    #[arg(long, value_name = "CYCLES", allow_hyphen_values = true, help_heading = "Model")]
    pub(crate) output_scale: Option<f64>,
    /// What is added to an .onnx network's output afterwards: the mean life where its output is standardised
    #[arg(long, value_name = "CYCLES", allow_hyphen_values = true, help_heading = "Model")]
    pub(crate) output_shift: Option<f64>,
    #[command(flatten)]
    pub(crate) compute: ComputeArguments,
}

/// `--scaling`; [`Scaling`] says more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ReadingScale {
    Standard,
    MinMax,
    Symmetric,
    None,
}

impl From<ReadingScale> for Scaling {
    fn from(scale: ReadingScale) -> Self {
        match scale {
            ReadingScale::Standard => Self::Standard,
            ReadingScale::MinMax => Self::MinMax,
            ReadingScale::Symmetric => Self::Symmetric,
            ReadingScale::None => Self::Nothing,
        }
    }
}

/// `--layout`; [`SeriesLayout`] says more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum SeriesOrder {
    SensorsTime,
    TimeSensors,
}

impl From<SeriesOrder> for SeriesLayout {
    fn from(order: SeriesOrder) -> Self {
        match order {
            SeriesOrder::SensorsTime => Self::SensorsTime,
            SeriesOrder::TimeSensors => Self::TimeSensors,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct RulTrainArguments {
    #[command(flatten)]
    pub(crate) fleet: FleetArguments,
    /// The kind of network: `cnn-lstm` or `cnn-bilstm`
    #[arg(long, value_name = "KIND", default_value = "cnn-bilstm")]
    pub(crate) model: String,
    /// The file of the weights; by default SET-KIND.safetensors. A JSON of the same name says what is known of them
    #[arg(long, short, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// Go on with a training that was stopped
    #[arg(long)]
    pub(crate) resume: bool,
    /// The seed of everything random: on one machine the same seed gives the same weights
    #[arg(long, value_name = "S", default_value = "0")]
    pub(crate) seed: u64,
    /// How many cycles the network sees at once
    #[arg(long, value_parser = whole::<MANY>, value_name = "CYCLES", help_heading = "Preparation")]
    pub(crate) window: Option<usize>,
    /// How many cycles a machine must have; windows of younger ones begin with their first reading, repeated
    #[arg(long, value_parser = whole::<MANY>, value_name = "CYCLES", help_heading = "Preparation")]
    pub(crate) shortest: Option<usize>,
    /// How many cycles apart training windows are
    #[arg(long, value_parser = whole::<MANY>, value_name = "CYCLES", help_heading = "Preparation")]
    pub(crate) stride: Option<usize>,
    /// The remaining life above which machines count as healthy
    #[arg(long, value_name = "CYCLES", default_value = "125", help_heading = "Preparation")]
    pub(crate) cap: f32,
    /// The share of the newest reading in an exponential mean of all readings so far; 1 takes them as they are
    #[arg(long, value_name = "SHARE", help_heading = "Preparation")]
    pub(crate) smoothing: Option<f32>,
    /// How many operating conditions there are, each with means of its own; by default as many as the settings form
    #[arg(long, value_parser = whole::<1000>, value_name = "N", help_heading = "Preparation")]
    pub(crate) conditions: Option<usize>,
    /// Read how many cycles a machine has run, like a sensor called `cycle`; not for tables whose machines had run before their
    /// first row
    #[arg(long, help_heading = "Preparation")]
    pub(crate) age: bool,
    /// How often all windows are seen, at most
    #[arg(long, value_parser = whole::<MANY>, value_name = "N", help_heading = "Training")]
    pub(crate) epochs: Option<usize>,
    /// Stop after this many epochs without a better validation
    #[arg(long, value_parser = whole::<MANY>, value_name = "N", help_heading = "Training")]
    pub(crate) patience: Option<usize>,
    /// Hold out this share of the machines to judge by, and train once more on all of them; by default every network leaves out
    /// machines of its own, so that all are judged by one that has not seen them
    #[arg(long, value_name = "SHARE", help_heading = "Training")]
    pub(crate) validation: Option<f64>,
    /// How many networks are trained side by side, 5 unless said; the prediction is their mean
    #[arg(long, value_parser = whole::<64>, value_name = "N", help_heading = "Training")]
    pub(crate) members: Option<usize>,
    /// Shares of slower exponential means that the network reads beside the readings, by commas; alone for none
    #[arg(long, value_name = "SHARES", value_delimiter = ',', num_args = 0.., help_heading = "Training")]
    pub(crate) trends: Option<Vec<f32>>,
    /// With --validation: keep the weights that were judged on held-out machines, instead of training once more on all of them for
    /// as many epochs as were best
    #[arg(long, requires = "validation", help_heading = "Training")]
    pub(crate) no_refit: bool,
    /// What is made small: the mean squared error, or NASA's score, which punishes late predictions more
    #[arg(long, value_enum, value_name = "NAME", default_value = "square", help_heading = "Training")]
    pub(crate) loss: LossName,
    /// The windows of a step, or `auto` to search for the size that is fast
    #[arg(long, value_name = "N|auto", help_heading = "Training")]
    pub(crate) batch: Option<String>,
    /// The highest learning rate of the cycle, or `auto` for the range test
    #[arg(long, value_name = "RATE|auto", help_heading = "Training")]
    pub(crate) rate: Option<String>,
    /// The decay of weights
    #[arg(long, value_name = "DECAY", help_heading = "Training")]
    pub(crate) decay: Option<f64>,
    /// The share of values that is dropped
    #[arg(long, value_name = "SHARE", help_heading = "Training")]
    pub(crate) dropout: Option<f64>,
    /// The deviation of noise on the readings, in deviations of each sensor
    #[arg(long, value_name = "SHARE", help_heading = "Training")]
    pub(crate) noise: Option<f64>,
}

/// `--loss`; [`Loss`] says more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LossName {
    Square,
    Nasa,
}

impl From<LossName> for Loss {
    fn from(name: LossName) -> Self {
        match name {
            LossName::Square => Self::Square,
            LossName::Nasa => Self::Nasa,
        }
    }
}

/// The level of prediction intervals: above 0 and below 1.
fn level(text: &str) -> Result<f64, String> {
    let level = text.parse().ok().filter(|level| *level > 0.0 && *level < 1.0);
    level.ok_or_else(|| format!("`{text}` is not a share between 0 and 1, such as 0.9"))
}

#[derive(Debug, Args)]
pub(crate) struct RulEvaluateArguments {
    #[command(flatten)]
    pub(crate) fleet: FleetArguments,
    #[command(flatten)]
    pub(crate) model: RulModelArguments,
    /// Also measure these explanation methods: increase and drop when only what they find important is shown
    #[arg(long, value_name = "A,B", value_delimiter = ',', help_heading = "Explanation")]
    pub(crate) methods: Vec<String>,
    /// How many of the machines prediction intervals are to hold
    #[arg(long, value_parser = level, value_name = "SHARE", default_value = "0.9", help_heading = "Intervals")]
    pub(crate) level: f64,
    #[command(flatten)]
    pub(crate) explanation: SeriesExplanation,
    /// Where predictions and charts are written; nowhere unless said
    #[arg(long, short, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
}

/// `--course`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum CourseKind {
    /// The prediction for the last window.
    Plain,
    /// The mean of the last ten predictions, each brought forward by the cycles that have passed.
    Smooth,
    /// The nearest course that never rises.
    Monotone,
}

#[derive(Debug, Args)]
pub(crate) struct RulPredictArguments {
    #[command(flatten)]
    pub(crate) fleet: FleetArguments,
    #[command(flatten)]
    pub(crate) model: RulModelArguments,
    /// How many of the machines the intervals are to hold
    #[arg(long, value_parser = level, value_name = "SHARE", default_value = "0.9", help_heading = "Intervals")]
    pub(crate) level: f64,
    /// What makes a machine's predictions steadier
    #[arg(long, value_enum, value_name = "NAME", default_value = "plain", help_heading = "Intervals")]
    pub(crate) course: CourseKind,
    /// How many sensors are named that shorten a machine's life, 5 at most; 0 is faster
    #[arg(long, value_parser = at_most_top, value_name = "N", default_value = "3", help_heading = "Explanation")]
    pub(crate) top: usize,
    /// How they are found: a method that tells sensors apart
    #[arg(long, value_name = "NAME", default_value = "integrated-gradients", help_heading = "Explanation")]
    pub(crate) method: String,
    #[command(flatten)]
    pub(crate) explanation: SeriesExplanation,
    /// The file of a row per machine, .csv or .parquet; nowhere unless said
    #[arg(long, short, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}

/// How many sensors of a machine are named at most.
pub(crate) const MOST_TOP: usize = 5;

fn at_most_top(text: &str) -> Result<usize, String> {
    let top = text.parse().ok().filter(|top| *top <= MOST_TOP);
    top.ok_or_else(|| format!("`{text}` is not a number from 0 to {MOST_TOP}"))
}

/// How series are explained.
#[derive(Debug, Args)]
pub(crate) struct SeriesExplanation {
    /// What readings are compared with: `healthy` (first windows of training machines), `healthy-mean`, `typical` (windows
    /// from all of their lives), `zero` (their mean) or `blur` (the window itself, blurred over 5 cycles); by default `healthy`,
    /// and `healthy-mean` where a method takes one
    #[arg(long, value_name = "NAME", help_heading = "Explanation")]
    pub(crate) baselines: Option<String>,
    /// The layer of class activation maps; by default the last convolutional one; several by commas are fused
    #[arg(long, value_name = "LAYER", value_delimiter = ',', help_heading = "Explanation")]
    pub(crate) layer: Vec<String>,
    /// How many points the gradient is averaged over, for methods that draw
    #[arg(long, value_parser = count::<MANY>, value_name = "M", help_heading = "Explanation")]
    pub(crate) draws: Option<NonZeroUsize>,
    /// Stop before all draws are done: `difference:0.001` or `delta:0.01`
    #[arg(long, value_name = "RULE", default_value = "draws", help_heading = "Explanation")]
    pub(crate) stop: String,
    /// The seed of everything random
    #[arg(long, value_name = "S", default_value = "0", help_heading = "Explanation")]
    pub(crate) seed: u64,
    /// How much work Hyper Expected Grad-CAM may be: `draft`, `standard`, `full`, `compact` or `thesis`
    #[arg(long, value_name = "NAME", help_heading = "Explanation, rarely needed")]
    pub(crate) quality: Option<String>,
    /// The mean of the maps of the window and of its copies at 90, 100 and 110 percent, each forwards and backwards
    #[arg(long, help_heading = "Explanation, rarely needed")]
    pub(crate) augment: bool,
    #[command(flatten)]
    pub(crate) cam: CamOptions,
    /// The width of noise around the window, as a share of its range
    #[arg(
        long = "noise-width",
        value_name = "SHARE",
        default_value = "0.15",
        help_heading = "Explanation, rarely needed"
    )]
    pub(crate) spread: f64,
    #[command(flatten)]
    pub(crate) gradient_options: GradientOptions,
    /// Memory that the process may take, as `2GiB`: decides how many draws go through the network at a time
    #[arg(long, value_name = "SIZE", conflicts_with = "batch", help_heading = "Limits")]
    pub(crate) memory: Option<ByteSize>,
    /// How many draws go through the network at a time; changes speed and memory, not the result
    #[arg(long, value_parser = count::<ROWS>, value_name = "N", default_value = "64", help_heading = "Limits")]
    pub(crate) batch: NonZeroUsize,
}

/// What of a prediction is explained.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LifeScore {
    /// What shortens the predicted life is positive.
    Wear,
    /// What lengthens the predicted life is positive.
    Life,
}

#[derive(Debug, Args)]
pub(crate) struct RulExplainArguments {
    #[command(flatten)]
    pub(crate) fleet: FleetArguments,
    #[command(flatten)]
    pub(crate) model: RulModelArguments,
    /// Which machines, by commas; by default all
    #[arg(long, value_name = "A,B", value_delimiter = ',', help_heading = "Machines")]
    pub(crate) engines: Vec<String>,
    /// The cycle that the window ends with; by default each machine's last one
    #[arg(long, value_name = "CYCLE", help_heading = "Machines")]
    pub(crate) at: Option<u32>,
    /// How to explain, by commas; `layer-cam.expected` puts another gradient under a class activation map
    #[arg(
        long,
        value_name = "A,B",
        value_delimiter = ',',
        default_value = "expected-grad-cam,expected-gradients",
        help_heading = "Explanation"
    )]
    pub(crate) method: Vec<String>,
    /// What is positive: what shortens the predicted life (`wear`), or what lengthens it (`life`)
    #[arg(long, value_enum, value_name = "NAME", default_value = "wear", help_heading = "Explanation")]
    pub(crate) score: LifeScore,
    #[command(flatten)]
    pub(crate) explanation: SeriesExplanation,
    /// How many ways to fail the fleet summary tells apart, where they are not known; for C-MAPSS as published
    #[arg(long, value_parser = count::<1000>, value_name = "N", help_heading = "Explanation")]
    pub(crate) faults: Option<NonZeroUsize>,
    /// Where charts, maps and tables are written
    #[arg(long, short, value_name = "DIR", default_value = "faithful-out")]
    pub(crate) out: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct RulDrawArguments {
    /// The file, .csv
    #[arg(value_name = "FILE")]
    pub(crate) out: PathBuf,
    /// How many pumps
    #[arg(long, value_parser = whole::<MANY>, value_name = "N", default_value = "40")]
    pub(crate) units: usize,
    /// Draw pumps that were stopped before they failed
    #[arg(long)]
    pub(crate) stopped: bool,
    /// In how many ways they are run; with more than one, columns that begin with `setting` say which
    #[arg(long, value_parser = whole::<12>, value_name = "N", default_value = "1")]
    pub(crate) regimes: usize,
    /// The seed
    #[arg(long, value_name = "S", default_value = "0")]
    pub(crate) seed: u64,
}
