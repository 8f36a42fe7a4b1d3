//! Chores of the repository: `cargo xtask --help`.
//!
//! It shells out and knows no tensors, so that it builds in seconds.

mod ci;
mod shell;

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
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().command {
        Command::Ci => ci::run_all(),
    }
}
