//! `faithful-gpu-check`: does a GPU compute what the CPU computes, and how fast?
//!
//! Three parts: every operation with its gradients, every method on a small network, and seconds per explanation on
//! VGG16 with seeded weights. It needs no files, so that it runs on a GPU machine as it is. With `--device cpu` the
//! compositions that GPUs run take the GPU's place, on the CPU.

mod methods;
mod numbers;
mod operations;
mod report;
mod timings;

use anyhow::{Context, Result};
use clap::{Parser, ValueEnum};
use faithful_model::{Compute, Precision};
use report::Report;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;

/// Compares a GPU with the CPU. Exit codes: 0 all agree, 1 something does not, 2 usage error.
#[derive(Debug, Parser)]
#[command(name = "faithful-gpu-check", version)]
struct Arguments {
    /// What is compared with the CPU: `cuda`, `cuda:1`, or `cpu` for the compositions that GPUs run; several GPUs, as
    /// `cuda:0,cuda:1`, are timed together and checked one by one
    #[arg(long, value_name = "DEVICE", default_value = "cuda")]
    device: String,
    /// What is done
    #[arg(long, value_enum, value_delimiter = ',', default_value = "operations,methods,timings")]
    parts: Vec<Part>,
    /// The architecture that is timed
    #[arg(long, value_name = "NAME", default_value = "vgg16")]
    network: String,
    /// How many draws an explanation takes when it is timed
    #[arg(long, value_name = "M", default_value = "50")]
    draws: NonZeroUsize,
    /// How often each explanation is timed after one that is not; the median counts
    #[arg(long, value_name = "N", default_value = "5")]
    repeat: NonZeroUsize,
    /// Write the tables as Markdown here too
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    Operations,
    Methods,
    Timings,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // What needs no work is refused first.
    let devices: Result<Vec<Compute>, _> =
        arguments.device.split(',').map(|name| Compute::new(name.trim(), Precision::F32)).collect();
    let devices = match devices {
        Ok(devices) => devices,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::from(2);
        }
    };
    match run(&arguments, &devices) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether everything agreed.
fn run(arguments: &Arguments, devices: &[Compute]) -> Result<bool> {
    let mut report = Report::default();
    let asked = |part: Part| arguments.parts.contains(&part);
    for (name, compute) in arguments.device.split(',').zip(devices) {
        if asked(Part::Operations) {
            operations::check(name, compute.device(), &mut report)?;
        }
        if asked(Part::Methods) {
            methods::check(name, compute.device(), &mut report)?;
        }
    }
    if asked(Part::Timings) {
        timings::measure(&arguments.device, &arguments.network, arguments.draws, arguments.repeat, &mut report)?;
    }
    if let Some(path) = &arguments.out {
        std::fs::write(path, report.markdown()).with_context(|| format!("cannot write `{}`", path.display()))?;
    }
    println!("{}", report.verdict());
    Ok(report.agrees())
}
