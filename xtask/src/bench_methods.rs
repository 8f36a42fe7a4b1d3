//! The table of seconds per explanation beside the peers (the thesis's Table 6).

use crate::bench::Worker;
use crate::shell::{cargo, root};
use anyhow::{Context, Result, bail};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Command;

#[derive(clap::Args)]
pub(crate) struct BenchMethods {
    /// The Python that has torchvision, torchcam, grad-cam and captum; without it only this program is timed
    #[arg(long, value_name = "PYTHON")]
    peer: Option<PathBuf>,
    /// The example `method_times` where it is built already; by default it is built for release
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// The network; of others than VGG16 only what explains at the input is timed
    #[arg(long, value_name = "ARCHITECTURE", default_value = VGG16)]
    network: String,
    /// Only these methods
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    only: Vec<String>,
    /// Masking methods at the last layer with all of its channels and the papers' draws: hours instead of minutes
    #[arg(long)]
    full: bool,
    /// How often quick work is timed, in turns with the peers; the median counts. Work above ten seconds is timed once
    #[arg(long, default_value_t = 5)]
    repeat: usize,
    /// Threads for ours and the peers'
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Where the table goes
    #[arg(long, value_name = "FILE", default_value = "docs/results/methods.md")]
    out: PathBuf,
}

/// What is timed: a method at its layers, with as many draws and channels as are said.
struct Work {
    method: &'static str,
    layers: &'static str,
    draws: usize,
    channels: usize,
    note: &'static str,
}

const VGG16: &str = "vgg16";
const PEERS: [&str; 3] = ["TorchCAM", "pytorch-grad-cam", "Captum"];

const LAST: &str = "features.29";
const STAGES: &str = "features.3,features.8,features.15,features.22,features.29";

const fn last(method: &'static str, draws: usize) -> Work {
    Work { method, layers: LAST, draws, channels: 0, note: "" }
}

/// At the layer with the fewest channels, for both sides.
const fn shallow(method: &'static str, draws: usize, note: &'static str) -> Work {
    Work { method, layers: "features.3", draws, channels: 0, note }
}

const fn poly(method: &'static str) -> Work {
    Work { method, layers: STAGES, draws: 0, channels: 16, note: "five layers, 16 channels each" }
}

const AT_INPUT: &str = "";

const fn at_input(method: &'static str, draws: usize) -> Work {
    Work { method, layers: AT_INPUT, draws, channels: 0, note: "" }
}

/// Everything, the masking methods cut to what takes seconds.
const WORK: [Work; 43] = [
    last("grad-cam", 0),
    last("grad-cam++", 0),
    last("smooth-grad-cam++", 4),
    last("xgrad-cam", 0),
    last("hires-cam", 0),
    last("layer-cam", 0),
    last("grad-cam-elementwise", 0),
    last("eigen-cam", 0),
    last("eigen-grad-cam", 0),
    at_input("full-grad", 0),
    last("guided-grad-cam", 0),
    last("expected-grad-cam", 50),
    last("expected-grad-cam++", 50),
    last("integrated-grad-cam", 50),
    last("expected-smooth-grad-cam", 50),
    last("guided-expected-grad-cam", 50),
    last("hyper-expected-grad-cam", 50),
    shallow("score-cam", 0, "64 channels"),
    shallow("ss-cam", 2, "64 channels, 2 draws"),
    shallow("is-cam", 2, "64 channels, 2 steps"),
    shallow("ablation-cam", 0, "64 channels"),
    last("group-cam", 0),
    poly("poly-cam+"),
    poly("poly-cam-"),
    poly("poly-cam±"),
    Work { method: "rise", layers: AT_INPUT, draws: 100, channels: 0, note: "100 masks" },
    at_input("occlusion", 0),
    // Several layers of one backward pass.
    Work { method: "layer-cam", layers: STAGES, draws: 0, channels: 0, note: "five layers" },
    at_input("gradient", 0),
    at_input("saliency", 0),
    at_input("gradient-times-input", 0),
    at_input("deconvnet", 0),
    at_input("guided-backpropagation", 0),
    at_input("smooth-grad", 50),
    at_input("smooth-grad-squared", 50),
    at_input("var-grad", 50),
    at_input("smooth-grad-times-input", 50),
    at_input("integrated-gradients", 50),
    at_input("expected-gradients", 50),
    at_input("gaussian-attribution", 50),
    Work {
        method: "distribution-attribution",
        layers: AT_INPUT,
        draws: 3,
        channels: 0,
        note: "3 baselines, 16 steps each",
    },
    at_input("blur-integrated-gradients", 50),
    at_input("guided-integrated-gradients", 50),
];

impl Work {
    /// The same as the papers have it.
    fn full(&self) -> Self {
        let layers = if self.layers == "features.3" { LAST } else { self.layers };
        let (draws, note) = match self.method {
            "ss-cam" | "is-cam" | "rise" => (0, ""),
            _ => (self.draws, if self.channels > 0 { "five layers" } else { self.note }),
        };
        let note = if layers == self.layers { note } else { "" };
        Self { method: self.method, layers, draws, channels: 0, note }
    }

    fn question(&self) -> String {
        let layers = if self.layers.is_empty() { "-" } else { self.layers };
        format!("{} {layers} {} {}", self.method, self.draws, self.channels)
    }
}

/// The seconds of each worker, as often as they were asked.
struct Timed {
    work: Work,
    seconds: Vec<Vec<f64>>,
}

/// Times every method here and at the peers, in turns on the same machine, and writes the table.
pub(crate) fn run(arguments: &BenchMethods) -> Result<()> {
    if arguments.repeat == 0 || arguments.threads == 0 {
        bail!("--repeat and --threads must be at least 1");
    }
    let program = if let Some(program) = &arguments.program {
        program.clone()
    } else {
        crate::shell::run(&mut cargo(&["build", "--release", "-p", "faithful-cam", "--example", "method_times"]))?;
        let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
        target.join("release/examples/method_times")
    };
    let mut own = Command::new(program);
    own.args(["8", &arguments.network]);
    let mut workers = vec![Worker::of("faithful", own, arguments.threads)?];
    for name in arguments.peer.iter().flat_map(|_| PEERS) {
        let mut command = Command::new(arguments.peer.as_ref().context("a peer's Python")?);
        command.arg(root().join("xtask/peers/method_times.py")).args([
            name,
            &arguments.threads.to_string(),
            &arguments.network,
        ]);
        workers.push(Worker::of(name, command, arguments.threads)?);
    }
    let known = workers[0].ask("methods")? as usize;
    let mut different: Vec<&str> = WORK.iter().map(|work| work.method).collect();
    different.sort_unstable();
    different.dedup();
    // VGG16 has no global average pool, and so no CAM.
    if known != different.len() + 1 {
        bail!("the program has {known} methods and this list {} and `cam`: add the new ones to WORK", different.len());
    }
    let chosen = |work: &&Work| {
        let named = arguments.only.is_empty() || arguments.only.iter().any(|name| name == work.method);
        named && (arguments.network == VGG16 || work.layers == AT_INPUT)
    };
    // Ours and one of PyTorch: the peers' are the same.
    let mut forward = vec![Vec::new(); workers.len().min(2)];
    let mut rows = Vec::new();
    for work in WORK.iter().filter(chosen) {
        let work = if arguments.full { work.full() } else { Work { ..*work } };
        let mut seconds = vec![Vec::new(); workers.len()];
        let question = work.question();
        // Baselines, memory and repacked weights are there before the first timed run.
        workers[0].ask(&format!("prepare {question}"))?;
        for _ in 0..arguments.repeat {
            // In turns, and fifty forward passes beside what is compared with them.
            if work.draws == 50 {
                for (worker, forward) in workers.iter_mut().zip(&mut forward) {
                    forward.push(worker.ask("forward")?);
                }
            }
            for (worker, seconds) in workers.iter_mut().zip(&mut seconds) {
                let found = worker.ask(&question)?;
                if found.is_finite() {
                    seconds.push(found);
                }
            }
            if seconds.iter().flatten().any(|seconds| *seconds > 10.0) {
                break;
            }
        }
        eprintln!("{question}: {seconds:.3?}");
        rows.push(Timed { work, seconds });
    }
    let table = table(&rows, &forward, arguments);
    let out = root().join(&arguments.out);
    if let Some(folder) = out.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(&out, &table).with_context(|| format!("could not write {}", out.display()))?;
    print!("{table}");
    Ok(())
}

fn median(seconds: &[f64]) -> Option<f64> {
    let mut sorted = seconds.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len().saturating_sub(1) / 2).copied()
}

fn table(rows: &[Timed], forward: &[Vec<f64>], arguments: &BenchMethods) -> String {
    let mut table = format!(
        "# Seconds per explanation\n\n{}, 224x224, f32 on the CPU, {} threads, random weights, batches of 8; in turns, medians of up to {}.\n\
         What draws has 50 draws; Expected Grad-CAM and its kin have their baselines cached. Made by\n\n    cargo xtask bench-methods{}{}{}\n\n",
        if arguments.network == VGG16 { "VGG16" } else { &arguments.network },
        arguments.threads,
        arguments.repeat,
        if arguments.network == VGG16 { String::new() } else { format!(" --network {}", arguments.network) },
        if arguments.full { " --full" } else { "" },
        if arguments.peer.is_some() { " --peer PYTHON" } else { "" },
    );
    if !arguments.full {
        table += "Masking methods are cut to what takes seconds, for the peers alike: the layer `features.3` has 64 channels, the last\n\
                  one 512. `--full` does not cut.\n\n";
    }
    table += "| method | | faithful | of 50 forward passes | TorchCAM | pytorch-grad-cam | Captum |\n|---|---|--:|--:|--:|--:|--:|\n";
    let fifty = forward.first().and_then(|seconds| median(seconds));
    let share = |seconds: f64| fifty.map_or_else(|| "–".to_owned(), |fifty| format!("{:.2}", seconds / fifty));
    let mut slower = Vec::new();
    if let Some(own) = fifty {
        let peer = forward.get(1).and_then(|seconds| median(seconds));
        let peer = peer.map_or_else(|| "–".to_owned(), |peer| format!("{peer:.3} ({:.2}x)", peer / own));
        let _ = writeln!(table, "| 50 forward passes | the peer is PyTorch | {own:.3} | 1.00 | {peer} | – | – |");
    }
    for Timed { work, seconds } in rows {
        let Some(own) = seconds.first().and_then(|seconds| median(seconds)) else { continue };
        let mut cells = String::new();
        for place in 1..=PEERS.len() {
            let peer = seconds.get(place).and_then(|seconds| median(seconds));
            if peer.is_some_and(|peer| peer < own) {
                slower.push(work.method);
            }
            let cell = peer.map_or_else(|| "–".to_owned(), |peer| format!("{peer:.3} ({:.2}x)", peer / own));
            let _ = write!(cells, " {cell} |");
        }
        let against = if work.draws == 50 { share(own) } else { "–".to_owned() };
        let _ = writeln!(table, "| `{}` | {} | {own:.3} | {against} |{cells}", work.method, work.note);
    }
    table += "\nIn brackets: how many times as long the peer takes.\n";
    if arguments.peer.is_some() {
        let _ = match slower.as_slice() {
            [] => writeln!(table, "No method was slower than its peer in this run."),
            names => writeln!(table, "Slower than a peer in this run: {}.", names.join(", ")),
        };
    }
    table
}
