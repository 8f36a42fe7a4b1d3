//! Commands that write pages.

use super::bounds::{MANY, ROWS, count, threads, whole};
use super::{ComputeArguments, Flag, ModelArguments, PhotoArguments, ReadingArguments};
use clap::Args;
use faithful_explain::{Budget, ByteSize, Settings, Setup, parse_stop};
use std::num::NonZeroUsize;
use std::path::PathBuf;

/// How maps are made, where every method has the same settings.
#[derive(Debug, Args)]
pub(crate) struct MapArguments {
    /// Which number to explain: `logit`, `probability`, `log-probability`, `logit+log-probability`, or `margin:CLASS` against
    /// another class; `auto` is what the method's paper explains (the logit; see docs/methods.md)
    #[arg(long, value_name = "SCORE", default_value = "auto", help_heading = "Explanation")]
    pub(crate) score: String,
    /// How many points the gradient is averaged over, for methods that draw; by default the method's own number
    #[arg(long, value_parser = count::<MANY>, value_name = "M", help_heading = "Explanation")]
    pub(crate) draws: Option<NonZeroUsize>,
    /// Stop before all draws are done: `difference:0.001` or `delta:0.01`
    #[arg(long, value_name = "RULE", default_value = "draws", help_heading = "Explanation")]
    pub(crate) stop: String,
    /// What photos are compared with: a folder of typical photos, or one of `faithful baselines`
    #[arg(long, value_name = "DIR|NAME", help_heading = "Explanation")]
    pub(crate) baselines: Option<String>,
    /// The seed of everything random: the same seed gives the same page
    #[arg(long, value_name = "S", default_value = "0", help_heading = "Explanation")]
    pub(crate) seed: u64,
    /// Clamp the colours to this percentile of the values; by default 99 for maps of the input's resolution or of several layers, 100 for others
    #[arg(long, value_name = "PERCENT", help_heading = "Page")]
    pub(crate) percentile: Option<f64>,
    /// Memory that the process may take, as `2GiB`: decides how many rows go through the network at a time
    #[arg(long, value_name = "SIZE", conflicts_with = "batch", help_heading = "Limits")]
    pub(crate) memory: Option<ByteSize>,
    /// How many rows go through the network at a time; changes speed and memory, not the result
    #[arg(long, value_parser = count::<ROWS>, value_name = "N", help_heading = "Limits")]
    pub(crate) batch: Option<NonZeroUsize>,
}

impl MapArguments {
    /// What is asked of every photo: methods, layers and classes are the command's.
    pub(crate) fn setup(&self, baselines: &str) -> faithful_core::Result<Setup> {
        Ok(Setup {
            score: self.score.clone(),
            baselines: Some(baselines.to_owned()),
            settings: Settings { draws: self.draws, stop: parse_stop(&self.stop)?, ..Settings::default() },
            seed: self.seed,
            batch: self.batch,
            memory: self.memory.map(Budget::new),
            ..Setup::default()
        })
    }
}

#[derive(Debug, Args)]
pub(crate) struct CompareArguments {
    #[command(flatten)]
    pub(crate) photos: PhotoArguments,
    #[command(flatten)]
    pub(crate) model: ModelArguments<Flag>,
    /// Methods, by commas; `layer-cam.expected` puts another gradient under a class activation map, `auto` chooses one by what
    /// lies behind the layer
    #[arg(
        long,
        value_name = "A,B",
        value_delimiter = ',',
        default_value = "grad-cam,layer-cam,expected-grad-cam,hyper-expected-grad-cam",
        help_heading = "Explanation"
    )]
    pub(crate) methods: Vec<String>,
    /// Which class to explain: an index, a label, or `topN` for the N most probable; several by commas
    #[arg(long, value_name = "CLASS", default_value = "top1", help_heading = "Explanation")]
    pub(crate) class: Vec<String>,
    /// The layer of class activation maps; by default the last convolutional one; several by commas are fused
    #[arg(long, value_name = "LAYER", value_delimiter = ',', help_heading = "Explanation")]
    pub(crate) layer: Vec<String>,
    /// Show methods with target layers at the last layer of each of so many resolutions, the deepest ones, side by side
    #[arg(long, value_parser = count::<ROWS>, value_name = "N", conflicts_with = "layer", help_heading = "Explanation")]
    pub(crate) levels: Option<NonZeroUsize>,
    /// With --similar-to PHOTO: that photo is explained too, by its similarity to each of the others
    #[arg(long, requires = "similar_to", help_heading = "Explanation")]
    pub(crate) both_ways: bool,
    #[command(flatten)]
    pub(crate) maps: MapArguments,
    /// How insertion and deletion under each map are measured: `thesis`, `polycam`, `rise`, `torchcam`
    #[arg(long, value_name = "NAME", default_value = "thesis", help_heading = "Measurement")]
    pub(crate) protocol: String,
    /// Steps of insertion and deletion; 0 leaves the curves out
    #[arg(long, value_parser = whole::<MANY>, value_name = "N", default_value = "50", help_heading = "Measurement")]
    pub(crate) steps: usize,
    /// The page
    #[arg(long, short, value_name = "FILE", default_value = "faithful-out/compare.html", help_heading = "Page")]
    pub(crate) out: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct AtlasArguments {
    /// The class, as an index or a label
    #[arg(long, value_name = "CLASS", required_unless_present = "concepts")]
    pub(crate) class: Option<String>,
    /// A folder of photos, with its folders; or `scenes`, which are drawn
    #[arg(long, value_name = "DIR")]
    pub(crate) images: PathBuf,
    #[command(flatten)]
    pub(crate) model: ModelArguments<Flag>,
    /// How to explain; `layer-cam.expected` puts another gradient under a class activation map
    #[arg(long, value_name = "NAME", default_value = "hyper-expected-grad-cam", help_heading = "Explanation")]
    pub(crate) method: String,
    /// Layers, by commas; by default the last of each of the five deepest resolutions
    #[arg(long, value_name = "A,B", value_delimiter = ',', help_heading = "Explanation")]
    pub(crate) layers: Vec<String>,
    /// Instead, take the activations of one layer over all photos apart into so many concepts (deep feature factorisation), with the
    /// photos that have most of each and the classes that it speaks for; --class is then optional, and chooses photos
    #[arg(long, value_parser = count::<ROWS>, value_name = "N", conflicts_with = "method", help_heading = "Explanation")]
    pub(crate) concepts: Option<NonZeroUsize>,
    /// How many photos are shown: those that the network gives the class the highest probability
    #[arg(long, value_parser = count::<MANY>, value_name = "N", default_value = "60")]
    pub(crate) count: NonZeroUsize,
    /// Leave out photos that the network gives the class a lower probability, from 0 to 1
    #[arg(long, value_name = "PROBABILITY", default_value = "0.1")]
    pub(crate) least: f64,
    /// Look at this many of the folder's photos, evenly; all unless said
    #[arg(long, value_parser = count::<MANY>, value_name = "N")]
    pub(crate) samples: Option<NonZeroUsize>,
    #[command(flatten)]
    pub(crate) maps: MapArguments,
    /// Refuse photos with more pixels than this, in millions
    #[arg(long, value_name = "MILLIONS", default_value = "150", help_heading = "Limits")]
    pub(crate) max_megapixels: f64,
    /// The page
    #[arg(long, short, value_name = "FILE", help_heading = "Page")]
    pub(crate) out: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct ReportArguments {
    /// The run's folder; runs of several networks or image folders make a page of them side by side
    #[arg(required = true, value_name = "RUN")]
    pub(crate) runs: Vec<PathBuf>,
    /// The method that the others are tested against
    #[arg(long, value_name = "METHOD")]
    pub(crate) against: Option<String>,
    /// The metric by which photos are best and worst; by default `ins-del`, or the first there is
    #[arg(long, value_name = "METRIC")]
    pub(crate) metric: Option<String>,
    /// How many best and how many worst photos are shown per method
    #[arg(long, value_parser = whole::<MANY>, value_name = "N", default_value = "6")]
    pub(crate) photos: usize,
    /// Where the run's images are now; by default where they were
    #[arg(long, value_name = "DIR")]
    pub(crate) images: Option<PathBuf>,
    /// Clamp the colours to this percentile of the values; by default 99 for maps of the input's resolution or of several layers, 100 for others
    #[arg(long, value_name = "PERCENT", help_heading = "Page")]
    pub(crate) percentile: Option<f64>,
    /// The page
    #[arg(long, short, value_name = "FILE", help_heading = "Page")]
    pub(crate) out: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct ServeArguments {
    /// A model as `explain --model` takes it; several by repeating it; by default the built-in model
    #[arg(long, short, env = "FAITHFUL_MODEL", hide_env_values = true, value_name = "MODEL")]
    pub(crate) model: Vec<String>,
    /// The address and port; 0 takes a port that is free
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8080")]
    pub(crate) listen: String,
    /// A name by which browsers may call this server, besides its address; repeat it for several
    #[arg(long, value_name = "NAME")]
    pub(crate) allow_host: Vec<String>,
    /// How many photos are explained at a time
    #[arg(long, value_parser = threads, value_name = "N", default_value = "1", help_heading = "Limits")]
    pub(crate) workers: NonZeroUsize,
    /// Memory that the process may take, as `2GiB`, shared by the photos that are explained at a time
    #[arg(long, value_name = "SIZE", help_heading = "Limits")]
    pub(crate) memory: Option<ByteSize>,
    /// Refuse uploads that are larger, as `32MiB`
    #[arg(long, value_name = "SIZE", default_value = "32MiB", help_heading = "Limits")]
    pub(crate) max_upload: ByteSize,
    /// Refuse photos with more pixels than this, in millions
    #[arg(long, value_name = "MILLIONS", default_value = "50", help_heading = "Limits")]
    pub(crate) max_megapixels: f64,
    /// What photos are compared with: a folder of typical photos, or one of `faithful baselines`
    #[arg(long, value_name = "DIR|NAME", help_heading = "Explanation")]
    pub(crate) baselines: Option<String>,
    /// The seed of everything random: the same photo gets the same map
    #[arg(long, value_name = "S", default_value = "0", help_heading = "Explanation")]
    pub(crate) seed: u64,
    #[command(flatten)]
    pub(crate) reading: ReadingArguments,
    #[command(flatten)]
    pub(crate) compute: ComputeArguments,
}
