use clap::{Args, Subcommand};
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub(crate) enum FigureCommand {
    /// How explanations converge draw by draw, from the lines that `explain --trace` wrote; several are compared
    Convergence(ConvergenceArguments),
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
    /// The SVG that is written
    #[arg(long, short, value_name = "FILE", default_value = "convergence.svg")]
    pub(crate) out: PathBuf,
}
