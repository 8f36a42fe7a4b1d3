use clap::{Args, Subcommand};
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub(crate) enum FigureCommand {
    /// How explanations converge draw by draw, from the lines that `explain --trace` wrote; several are compared
    Convergence(ConvergenceArguments),
    /// Mean insertion and deletion curves of evaluation runs, a line per method
    Curves(CurvesArguments),
    /// How a metric's values are spread over the images of evaluation runs, a line per method
    Scores(ScoresArguments),
}

#[derive(Debug, Args)]
pub(crate) struct CurvesArguments {
    /// Folders of runs; runs on the same images and model come into one figure
    #[arg(required = true, value_name = "RUN")]
    pub(crate) runs: Vec<PathBuf>,
    /// Only these methods, by commas, in this order
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    pub(crate) methods: Vec<String>,
    /// The figure that is written: an .svg, or a .png
    #[arg(long, short, value_name = "FILE", default_value = "curves.svg")]
    pub(crate) out: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct ScoresArguments {
    /// Folders of runs; runs on the same images and model come into one figure
    #[arg(required = true, value_name = "RUN")]
    pub(crate) runs: Vec<PathBuf>,
    /// The metrics, by commas; a panel each
    #[arg(long, value_name = "X,Y", value_delimiter = ',', default_value = "ins-del")]
    pub(crate) metrics: Vec<String>,
    /// Only these methods, by commas, in this order
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    pub(crate) methods: Vec<String>,
    /// The figure that is written: an .svg, or a .png
    #[arg(long, short, value_name = "FILE", default_value = "scores.svg")]
    pub(crate) out: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct ConvergenceArguments {
    /// Files of `explain --trace`
    #[arg(required = true, value_name = "TRACE")]
    pub(crate) traces: Vec<PathBuf>,
    /// Names for the legend, by commas, in the order of the files; by default the files' own
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    pub(crate) names: Vec<String>,
    /// Show the threshold of a stopping rule: `difference:0.001` or `delta:0.01`
    #[arg(long, value_name = "RULE", default_value = "draws")]
    pub(crate) stop: String,
    /// The figure that is written: an .svg, or a .png
    #[arg(long, short, value_name = "FILE", default_value = "convergence.svg")]
    pub(crate) out: PathBuf,
}
