//! Images per second of insertion and deletion, ours beside the Poly-CAM authors' evaluation on PyTorch.

use crate::bench::Worker;
use crate::evaluation::machine;
use crate::shell::{cargo, root};
use anyhow::{Context, Result, bail, ensure};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Command;

#[derive(clap::Args)]
pub(crate) struct BenchMetrics {
    /// A Python with torch and torchvision; without it only this program is timed
    #[arg(long, value_name = "PYTHON")]
    peer: Option<PathBuf>,
    /// The example `insertion_deletion` where it is built already; by default it is built for release
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// The networks
    #[arg(long, value_name = "NAMES", value_delimiter = ',', default_value = "mobilenet_v2,resnet50,vgg16")]
    networks: Vec<String>,
    /// Steps of each curve
    #[arg(long, default_value_t = 224)]
    steps: usize,
    /// Pictures that go through our network at a time
    #[arg(long, default_value_t = 16)]
    batch: usize,
    /// The same for the peer; its authors' default is 1
    #[arg(long, value_name = "N", value_delimiter = ',', default_value = "1,32")]
    peer_batch: Vec<usize>,
    /// How often each is timed, in turns; the median counts
    #[arg(long, default_value_t = 3)]
    repeat: usize,
    /// Threads for ours and the peer's
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// The processor's seconds instead of the clock's, for machines that others use too; says most with one thread
    #[arg(long)]
    processor_time: bool,
    /// The file of the table; by default only the terminal
    #[arg(long, value_name = "FILE")]
    table: Option<PathBuf>,
}

/// Sides of the maps: what the last convolutions of the networks give at 224x224.
fn map_side(network: &str) -> usize {
    if network.starts_with("vgg") { 14 } else { 7 }
}

/// Areas of both sides may differ by rounding, and where cells tie by it.
const TOLERANCE: f64 = 2e-3;

/// Times one picture's two curves on every network, here and at the peer.
pub(crate) fn run(arguments: &BenchMetrics) -> Result<()> {
    if [arguments.repeat, arguments.threads, arguments.steps, arguments.batch].contains(&0) {
        bail!("--repeat, --threads, --steps and --batch must be at least 1");
    }
    let program = if let Some(program) = &arguments.program {
        program.clone()
    } else {
        crate::shell::run(&mut cargo(&[
            "build",
            "--release",
            "-p",
            "faithful-metric",
            "--example",
            "insertion_deletion",
        ]))?;
        let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
        target.join("release/examples/insertion_deletion")
    };
    let peer_batches = if arguments.peer.is_some() { arguments.peer_batch.as_slice() } else { &[] };
    let mut rows = String::new();
    let clock = if arguments.processor_time { "cpu" } else { "wall" };
    for network in &arguments.networks {
        let mut command = Command::new(&program);
        command.arg(clock);
        let mut workers = vec![Worker::of("faithful", command, arguments.threads)?];
        if let Some(python) = &arguments.peer {
            let mut command = Command::new(python);
            command.arg(root().join("xtask/peers/insertion_deletion.py")).args([&arguments.threads.to_string(), clock]);
            workers.push(Worker::of("Poly-CAM's evaluation", command, arguments.threads)?);
        }
        let side = map_side(network);
        let question = |batch: usize| format!("{network} {} {batch} {side}", arguments.steps);
        let asked: Vec<(usize, String)> = std::iter::once((0, question(arguments.batch)))
            .chain(peer_batches.iter().map(|&batch| (1, question(batch))))
            .collect();
        let mut seconds = vec![Vec::new(); asked.len()];
        // In turns: what else the machine does then slows all of them alike.
        for _ in 0..arguments.repeat {
            for ((worker, question), seconds) in asked.iter().zip(&mut seconds) {
                seconds.push(workers[*worker].ask(question)?);
            }
        }
        if workers.len() > 1 {
            let [own, peer] = [workers[0].ask("areas")?, workers[1].ask("areas")?];
            // Both areas in one number: insertion + 1000 deletion.
            ensure!(
                (own - peer).abs() < 1000.0 * TOLERANCE,
                "{network}: the areas differ, {own} here and {peer} there"
            );
        }
        let medians: Vec<f64> = seconds.iter_mut().map(|seconds| median(seconds)).collect();
        eprintln!("{network}: {seconds:.2?}");
        let _ = write!(rows, "| {network} | {:.4} |", 1.0 / medians[0]);
        for peer in &medians[1..] {
            let _ = write!(rows, " {:.4} | {:.2} |", 1.0 / peer, peer / medians[0]);
        }
        rows.push('\n');
    }
    let text = table(arguments, peer_batches, &rows);
    print!("{text}");
    if let Some(file) = &arguments.table {
        std::fs::write(file, &text).with_context(|| format!("could not write {}", file.display()))?;
    }
    Ok(())
}

fn median(seconds: &mut [f64]) -> f64 {
    seconds.sort_by(f64::total_cmp);
    seconds[seconds.len() / 2]
}

fn table(arguments: &BenchMetrics, peer_batches: &[usize], rows: &str) -> String {
    let mut heading = format!("| network | faithful, batch {} |", arguments.batch);
    let mut rule = String::from("|---|--:|");
    for batch in peer_batches {
        let _ = write!(heading, " theirs, batch {batch} | times |");
        rule.push_str("--:|--:|");
    }
    let words: Vec<String> = std::env::args().skip(1).map(|word| crate::evaluation::short(&word)).collect();
    format!(
        "Images per {}, both curves of {} steps each at 224x224; {} thread(s); in turns, medians of {}.\n\n    \
         cargo xtask {}\n\n{}\n\n{heading}\n{rule}\n{rows}",
        if arguments.processor_time { "second of the processor" } else { "second" },
        arguments.steps,
        arguments.threads,
        arguments.repeat,
        words.join(" "),
        machine()
    )
}
