//! Chores of the repository: `cargo xtask --help`.
//!
//! It shells out and knows no tensors, so that it builds in seconds.

mod attack;
mod bench;
mod bench_methods;
mod bench_metrics;
mod ci;
mod cuda;
mod cuda_toolkit;
mod evaluation;
mod examples;
mod fetch;
mod fuzz;
mod gallery;
mod memory;
mod parquet;
mod python;
mod recording;
mod rul;
mod s3;
mod served;
mod shell;
mod slurm;
mod wheel;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(about = "Chores of the faithful repository")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// What continuous integration runs: format, lints, docs, tests
    Ci,
    /// Attack `faithful serve` on loopback, and see whether others are served
    Attack(attack::Attack),
    /// Run the examples that show how each crate is used
    Examples,
    /// Send damaged input to everything that is read, by cargo-fuzz (see fuzz/README.md)
    Fuzz(fuzz::Fuzz),
    /// Draw the README's pictures anew, from fixtures and built-in networks, into docs/images/gallery
    Gallery(gallery::Gallery),
    /// Compare what commands take under `--memory` with what they may take (Linux)
    MemoryCheck(memory::MemoryCheck),
    /// Run every snippet of docs/python.md
    PythonDocs(python::PythonDocs),
    /// Test the Python package on the library as the workspace builds it, without a wheel
    PythonTests,
    /// Build the Python package, install it into a fresh virtual environment, and run its tests
    Wheel(wheel::Wheel),
    /// Explain 2,000 times in one process and watch its memory
    Soak {
        /// How many explanations
        #[arg(long, default_value_t = 2000)]
        calls: usize,
    },
    /// Train a shipped network on scenes (tens of minutes) and write it to crates/model/shipped
    TrainDemo {
        /// `--network scenes-224`, `scenes-vgg` or `marks-vgg`, then options of the training; see `crates/model/examples/train_demo.rs`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        options: Vec<String>,
    },
    /// Draw the scenes and masks in fixtures
    DrawScenes,
    /// Fetch published weights and data: `vgg16`, `cmapss` … or `all`
    Fetch(fetch::Fetch),
    /// The thesis's Table 4 on your photos: every method, six metrics
    EvalTable4(evaluation::Evaluation),
    /// The thesis's Table 5: Expected Grad-CAM by mini-batches
    EvalTable5(evaluation::Evaluation),
    /// The thesis's Tables 2 and 3 on C-MAPSS: trains networks of the remaining life and measures their explanations
    EvalRul(rul::EvalRul),
    /// Train the built-in network of the remaining life on drawn pumps and write it to crates/rul/shipped
    TrainRulDemo,
    /// Seconds per explanation of every method, beside the peers
    BenchMethods(bench_methods::BenchMethods),
    /// Images per second of insertion and deletion, beside the Poly-CAM authors' evaluation on `PyTorch`
    BenchMetrics(bench_metrics::BenchMetrics),
    /// Open a run's Parquet in pandas, polars and `DuckDB`
    ParquetCheck(parquet::Parquet),
    /// Evaluate into a real S3 server on this machine, with a shard killed and resumed, and compare with a local run
    S3Check(s3::S3),
    /// Evaluate on a real Slurm on this machine (Debian: `apt install slurm-wlm munge`) and compare with a single run
    SlurmCheck(slurm::Slurm),
    /// Build for NVIDIA's GPUs, with the libraries that are needed there, into one folder
    BuildCuda(cuda::BuildCuda),
    /// Compare this machine's GPU with its CPU: every operation, every method, seconds per explanation
    GpuCheck(cuda::GpuCheck),
    /// Time the networks, and PyTorch on the same work
    Bench(bench::Arguments),
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().command {
        Command::Ci => ci::run_all(),
        Command::Attack(arguments) => attack::attack(&arguments),
        Command::Examples => examples::run_all(),
        Command::Fuzz(arguments) => fuzz::fuzz(&arguments),
        Command::Gallery(arguments) => gallery::draw(&arguments),
        Command::MemoryCheck(arguments) => memory::check(&arguments),
        Command::PythonDocs(arguments) => python::docs(&arguments),
        Command::PythonTests => wheel::tests(),
        Command::Wheel(arguments) => wheel::wheel(&arguments),
        Command::Soak { calls } => {
            let example = ["run", "--release", "--package", "faithful-tests", "--example", "soak", "--"];
            shell::run(shell::cargo(&example).arg(calls.to_string()))
        }
        Command::TrainDemo { options } => {
            let mut command = shell::cargo(&["run", "--package", "faithful-model", "--example", "train_demo", "--"]);
            shell::run(command.args(options))
        }
        Command::DrawScenes => {
            let example = ["run", "--package", "faithful-data", "--example", "draw_scenes", "--", "fixtures"];
            shell::run(&mut shell::cargo(&example))
        }
        Command::Fetch(arguments) => fetch::fetch(&arguments),
        Command::EvalTable4(evaluation) => evaluation::table_4(&evaluation),
        Command::EvalTable5(evaluation) => evaluation::table_5(&evaluation),
        Command::EvalRul(arguments) => rul::eval_rul(&arguments),
        Command::TrainRulDemo => rul::train_demo(),
        Command::BenchMethods(arguments) => bench_methods::run(&arguments),
        Command::BenchMetrics(arguments) => bench_metrics::run(&arguments),
        Command::ParquetCheck(arguments) => parquet::check(&arguments),
        Command::S3Check(arguments) => s3::check(&arguments),
        Command::SlurmCheck(arguments) => slurm::check(&arguments),
        Command::BuildCuda(arguments) => cuda::build(&arguments),
        Command::GpuCheck(arguments) => cuda::check(&arguments),
        Command::Bench(arguments) => bench::bench(&arguments),
    }
}
