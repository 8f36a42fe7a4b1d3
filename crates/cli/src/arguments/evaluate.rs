//! `faithful evaluate`'s options.

use super::bounds::{MANY, ROWS, count};
use super::{Flag, ModelArguments};
use clap::{Args, ValueEnum};
use faithful_evaluate::Shard;
use faithful_explain::ByteSize;
use std::num::NonZeroUsize;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(crate) struct EvaluateArguments {
    /// A folder of photos, with its folders; or `scenes`, drawn with exact masks of their objects, or `planted`, drawn with a
    /// mark beside each object, of which the built-in networks go by one and ignore the other
    #[arg(long, value_name = "DIR")]
    pub(crate) images: PathBuf,
    /// Methods, by commas; words after a dot say how: `layer-cam.expected` puts another gradient under a class activation
    /// map, `expected-grad-cam.5x5` takes mini-batches, `hyper-expected-grad-cam.draft` a quality, `score-cam.48ch`
    /// tries 48 channels, `grad-cam++.torchcam` has a library's definition; `auto` chooses one by what lies behind the layer
    #[arg(long, value_name = "A,B", value_delimiter = ',', required = true)]
    pub(crate) methods: Vec<String>,
    /// Metrics, by commas; `drop@30` masks the highest 30 percent; `faithful metrics` lists them
    #[arg(long, value_name = "X,Y", value_delimiter = ',')]
    pub(crate) metrics: Vec<String>,
    /// The run's folder; or `s3://BUCKET/RUN` where the program was built with S3
    #[arg(long, short, value_name = "RUN")]
    pub(crate) out: PathBuf,
    /// Go on with the run in that folder
    #[arg(long)]
    pub(crate) resume: bool,
    /// Do only share I of N; by default what Slurm, Kubernetes or MPI says, or everything
    #[arg(long, value_name = "I/N")]
    pub(crate) shard: Option<Shard>,
    /// Take this many of the images, evenly
    #[arg(long, value_parser = count::<MANY>, value_name = "N")]
    pub(crate) samples: Option<NonZeroUsize>,
    /// For localisation: a folder with a mask per photo, the same name as a PNG, white where the object is; or a JSON file of COCO's
    /// annotations, whose boxes of the photo's class (of any class where none is called so) are the object
    #[arg(long, value_name = "DIR|JSON")]
    pub(crate) masks: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) model: ModelArguments<Flag>,
    /// How insertion and deletion are measured: `thesis`, `polycam`, `rise`, `torchcam`, each with its own number of steps; by
    /// default the thesis's in 50 steps, for a first look
    #[arg(long, value_name = "NAME", help_heading = "Measurement")]
    pub(crate) protocol: Option<String>,
    /// Steps of insertion and deletion instead of the protocol's
    #[arg(long, value_parser = count::<MANY>, value_name = "N", help_heading = "Measurement")]
    pub(crate) steps: Option<NonZeroUsize>,
    /// What insertion starts from instead: `zero`, `mean`, `grey`, `blur`, `blur:TAPS:SIGMA`, `rise-blur`
    #[arg(long, value_name = "CANVAS", help_heading = "Measurement")]
    pub(crate) insertion_canvas: Option<String>,
    /// What deletion ends in instead
    #[arg(long, value_name = "CANVAS", help_heading = "Measurement")]
    pub(crate) deletion_canvas: Option<String>,
    /// Which number insertion and deletion follow
    #[arg(long, value_enum, value_name = "SCORE", help_heading = "Measurement")]
    pub(crate) curve_score: Option<CurveScoreName>,
    /// Divide insertion and deletion by the score of the whole photo
    #[arg(long, help_heading = "Measurement")]
    pub(crate) relative_curves: bool,
    /// Explain the class that a photo's folder or name says instead of the predicted one
    #[arg(long, help_heading = "Measurement")]
    pub(crate) explain_label: bool,
    /// Leave out photos that the network takes for another class than their folder or name says
    #[arg(long, help_heading = "Measurement")]
    pub(crate) only_correct: bool,
    /// Which number to explain: `logit`, `probability`, `log-probability`, `logit+log-probability`, or `margin:CLASS` against
    /// another class; `auto` is what the method's paper explains (the logit; see docs/methods.md)
    #[arg(long, value_name = "SCORE", default_value = "auto", help_heading = "Explanation")]
    pub(crate) score: String,
    /// The layer of class activation maps; by default the last convolutional one
    #[arg(long, value_name = "LAYER", help_heading = "Explanation")]
    pub(crate) layer: Option<String>,
    /// How many points the gradient is averaged over, for methods that draw
    #[arg(long, value_parser = count::<MANY>, value_name = "M", help_heading = "Explanation")]
    pub(crate) draws: Option<NonZeroUsize>,
    /// Stop before all draws are done: `difference:0.001` or `delta:0.01`
    #[arg(long, value_name = "RULE", default_value = "draws", help_heading = "Explanation")]
    pub(crate) stop: String,
    /// What photos are compared with: a folder of typical photos, or one of `faithful baselines`
    #[arg(long, value_name = "DIR|NAME", help_heading = "Explanation")]
    pub(crate) baselines: Option<String>,
    /// The seed of everything random
    #[arg(long, value_name = "S", default_value = "0", help_heading = "Explanation")]
    pub(crate) seed: u64,
    /// Memory that the process may take, as `2GiB`
    #[arg(long, value_name = "SIZE", conflicts_with = "batch", help_heading = "Limits")]
    pub(crate) memory: Option<ByteSize>,
    /// How many rows go through the network at a time; changes speed and memory, not the result
    #[arg(long, value_parser = count::<ROWS>, value_name = "N", help_heading = "Limits")]
    pub(crate) batch: Option<NonZeroUsize>,
    /// Refuse photos with more pixels than this, in millions
    #[arg(long, value_name = "MILLIONS", default_value = "150", help_heading = "Limits")]
    pub(crate) max_megapixels: f64,
}

/// `--curve-score`; [`faithful_metric::CurveScore`] says more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum CurveScoreName {
    Probability,
    Logit,
}
