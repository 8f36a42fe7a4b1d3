//! `cargo xtask bench`: our speed, and PyTorch's on the same work in the same minutes.

use crate::shell::{cargo, root, run};
use anyhow::{Context, Result, bail};
use serde_json::json;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Instant;

/// Times the shipped architectures.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// A Python with torch and torchvision, to time peers on the same work in turns with ours
    #[arg(long)]
    peer: Option<PathBuf>,
    /// The peers: `PyTorch` in its two memory layouts, ONNX Runtime and `OpenVINO` (pip packages `onnxruntime` and `openvino`; forward
    /// passes only)
    #[arg(long, value_delimiter = ',', value_parser = PEERS, default_values = ["contiguous_format", "channels_last"])]
    against: Vec<String>,
    /// The example `speed` where it is built already; by default it is built for release
    #[arg(long, value_name = "FILE", conflicts_with = "layers")]
    program: Option<PathBuf>,
    /// Only work whose name contains this
    #[arg(long, default_value = "")]
    only: String,
    /// Threads for ours and the peer's
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// How often each is timed; the median counts
    #[arg(long, default_value_t = 7)]
    repeat: usize,
    /// Also asks each, in a process of its own, for the most memory it held
    #[arg(long)]
    memory: bool,
    /// Other work than the table's, such as `vgg16 forward batch 4`, `vgg16 forward batch 1 size 320` or `densenet121.onnx forward
    /// batch 8`
    #[arg(long)]
    work: Vec<String>,
    /// What ours computes in: `bf16` is timed beside `f32`
    #[arg(long, default_value = "f32", value_parser = ["f32", "bf16"])]
    precision: String,
    /// Instead: how our time grows with batch, image size and threads
    #[arg(long, conflicts_with_all = ["peer", "work", "layers"])]
    growth: bool,
    /// Instead: single layers on one thread, against what the processor can do
    #[arg(long, conflicts_with_all = ["peer", "work"])]
    layers: bool,
    /// Instead: how long each step of a pass takes, such as `mobilenet_v2 forward batch 1`
    #[arg(long, value_name = "WORK", conflicts_with_all = ["peer", "work", "layers", "growth"])]
    profile: Option<String>,
}

/// Seconds after which a work that was timed at least [`FEWEST`] times is timed no more.
const LONGEST: f64 = 60.0;
/// As often as that everything is timed, if `--repeat` is not less.
const FEWEST: usize = 3;

/// The table's work, by the peer script's names.
const WORK: [&str; 16] = [
    "vgg16 forward batch 1",
    "vgg16 forward batch 8",
    "vgg16 forward+input-gradient batch 8",
    "vgg16 expected-grad-cam 50 draws",
    "resnet50 forward batch 1",
    "resnet50 forward batch 8",
    "resnet50 forward+input-gradient batch 8",
    "mobilenet_v2 forward batch 1",
    "mobilenet_v2 forward batch 8",
    "mobilenet_v2 forward+input-gradient batch 8",
    "cnn-lstm forward batch 1",
    "cnn-lstm forward batch 64",
    "cnn-lstm forward+input-gradient batch 64",
    "cnn-bilstm forward batch 1",
    "cnn-bilstm forward batch 64",
    "cnn-bilstm forward+input-gradient batch 64",
];

/// What ours is compared with: the first two are `PyTorch`'s memory layouts.
const PEERS: [&str; 4] = ["contiguous_format", "channels_last", "onnxruntime", "openvino"];
/// Ours in `f32`, where ours is timed in something else.
const IN_F32: &str = "faithful-f32";

pub(crate) fn bench(arguments: &Arguments) -> Result<()> {
    if arguments.repeat == 0 || arguments.threads == 0 {
        bail!("--repeat and --threads must be at least 1");
    }
    if arguments.layers {
        let example = [
            "run",
            "--quiet",
            "--release",
            "-p",
            "faithful-kernel",
            "--example",
            "kernels",
            "--",
            &arguments.only,
            &arguments.precision,
        ];
        return run(cargo(&example).env("RAYON_NUM_THREADS", "1"));
    }
    if arguments.program.is_none() {
        run(&mut cargo(&["build", "--quiet", "--release", "-p", "faithful-model", "--example", "speed"]))?;
    }
    if arguments.growth {
        return growth(arguments);
    }
    if let Some(work) = &arguments.profile {
        let mut command = Command::new(arguments.program.clone().unwrap_or_else(built));
        return run(command.args([&arguments.precision, work]).env("RAYON_NUM_THREADS", arguments.threads.to_string()));
    }
    let in_f32 = (arguments.precision != "f32").then_some(IN_F32);
    let peers: &[String] = if arguments.peer.is_some() { &arguments.against } else { &[] };
    let layouts: Vec<&str> = in_f32.into_iter().chain(peers.iter().map(String::as_str)).collect();
    let start = |name: &str| Worker::start(name, arguments, arguments.threads);
    let work: Vec<&str> = if arguments.work.is_empty() {
        WORK.into_iter().filter(|work| work.contains(&arguments.only)).collect()
    } else {
        arguments.work.iter().map(String::as_str).collect()
    };
    let mut rows = Vec::new();
    let mut network = "";
    let mut workers: Vec<Worker> = Vec::new();
    for work in work {
        // Processes of its own per network, so that memory of one is not held beside another.
        let name = work.split(' ').next().unwrap_or_default();
        if name != network {
            workers.clear();
            workers = std::iter::once("faithful").chain(layouts.iter().copied()).map(start).collect::<Result<_>>()?;
            network = name;
        }
        // In turns: what else the machine does then slows all of them alike.
        let mut seconds = vec![Vec::new(); workers.len()];
        let begin = Instant::now();
        for turn in 0..arguments.repeat {
            if turn >= FEWEST && begin.elapsed().as_secs_f64() > LONGEST {
                eprintln!("`{work}` takes long: timed {turn} times");
                break;
            }
            for (worker, seconds) in workers.iter_mut().zip(&mut seconds) {
                seconds.push(worker.ask(work)?);
            }
        }
        let mut medians = Vec::new();
        for (worker, seconds) in workers.iter().zip(&mut seconds) {
            seconds.sort_by(f64::total_cmp);
            let (least, median, most) = (seconds[0], seconds[seconds.len() / 2], seconds[seconds.len() - 1]);
            let name = format!("{work} {}", worker.name);
            println!("{}", json!({"name": name, "seconds": median, "min": least, "max": most}));
            medians.push((median, least));
        }
        let mut bytes = Vec::new();
        if arguments.memory {
            workers.clear();
            network = "";
            for name in std::iter::once("faithful").chain(layouts.iter().copied()) {
                let mut worker = start(name)?;
                worker.ask(work)?;
                bytes.push(worker.ask("peak-memory")?);
                println!("{}", json!({"name": format!("{work} {name}"), "peak_bytes": bytes.last()}));
            }
        }
        rows.push((work, medians, bytes));
    }
    eprint!("{}", table(&rows, &layouts));
    Ok(())
}

/// How our seconds per image grow, each figure with how many times the first of its line it is.
fn growth(arguments: &Arguments) -> Result<()> {
    let batches: Vec<(String, usize)> =
        [1, 2, 4, 8, 16].map(|batch| (format!("batch {batch}"), arguments.threads)).into();
    let sizes: Vec<(String, usize)> =
        [112, 160, 224, 320, 448].map(|size| (format!("batch 1 size {size}"), arguments.threads)).into();
    let most = std::thread::available_parallelism().map_or(1, usize::from);
    let threads: Vec<(String, usize)> = std::iter::successors(Some(1), |threads| Some(threads * 2))
        .take_while(|&threads| threads <= most)
        .map(|threads| ("batch 8".to_owned(), threads))
        .collect();
    let mut text = String::from("| work | seconds per image (times the first) |\n|---|---|\n");
    for network in ["vgg16", "resnet50", "mobilenet_v2"].into_iter().filter(|name| name.contains(&arguments.only)) {
        for line in [&batches, &sizes, &threads] {
            let mut figures: Vec<(String, f64)> = Vec::new();
            for (what, threads) in line {
                let mut worker = Worker::start("faithful", arguments, *threads)?;
                let work = format!("{network} forward {what}");
                let mut seconds = (0..arguments.repeat).map(|_| worker.ask(&work)).collect::<Result<Vec<_>>>()?;
                seconds.sort_by(f64::total_cmp);
                let median = seconds[seconds.len() / 2];
                let name = format!("{work} threads {threads}");
                println!("{}", json!({"name": name, "seconds": median, "min": seconds[0]}));
                figures.push((format!("{what}, {threads} thread(s)"), median));
            }
            let first = figures[0].1;
            let figures: Vec<String> = figures
                .iter()
                .map(|(what, seconds)| format!("{what}: {seconds:.4} ({:.2})", seconds / first))
                .collect();
            text += &format!("| {network} forward | {} |\n", figures.join("; "));
        }
    }
    eprint!("{text}");
    Ok(())
}

/// The table in Markdown: medians, and how many times as long the peer takes, by medians and by the shortest times.
// A row is a work, its times by layout, ours first, and the ratios.
#[allow(clippy::type_complexity)]
fn table(rows: &[(&str, Vec<(f64, f64)>, Vec<f64>)], layouts: &[&str]) -> String {
    let mut text = String::from("| work | ours, s |");
    for layout in layouts {
        text += &format!(" {layout}, s | ratio (of minima) |");
    }
    text += " peak memory, MiB |\n|---|---|";
    text += &"---|".repeat(layouts.len() * 2 + 1);
    text += "\n";
    for (work, seconds, bytes) in rows {
        let (ours, peers) = seconds.split_first().expect("ours is always timed");
        text += &format!("| {work} | {} |", short(ours.0));
        for peer in peers {
            if peer.0.is_nan() {
                text += " | |";
            } else {
                text += &format!(" {} | {:.2} ({:.2}) |", short(peer.0), peer.0 / ours.0, peer.1 / ours.1);
            }
        }
        let bytes: Vec<String> = bytes.iter().map(|bytes| format!("{:.0}", bytes / 1024.0 / 1024.0)).collect();
        text += &format!(" {} |\n", bytes.join(" / "));
    }
    text
}

/// Seconds with three digits that say something.
fn short(seconds: f64) -> String {
    if seconds < 0.001 { format!("{seconds:.7}") } else { format!("{seconds:.4}") }
}

fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// The example `speed` where `cargo` puts it.
fn built() -> PathBuf {
    target().join("release/examples/speed")
}

/// A process that does work when asked.
pub(crate) struct Worker {
    name: String,
    child: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Worker {
    fn start(name: &str, arguments: &Arguments, threads: usize) -> Result<Self> {
        let count = threads.to_string();
        let command = if let (Some(python), true) = (&arguments.peer, PEERS.contains(&name)) {
            let mut command = Command::new(python);
            if matches!(name, "onnxruntime" | "openvino") {
                // Networks are written there once, from the same random weights.
                let folder = target().join("bench-onnx");
                std::fs::create_dir_all(&folder)?;
                command.arg(root().join("xtask/peers/runtimes.py")).args([name, &count]).arg(folder);
            } else {
                command.arg(root().join("xtask/peers/bench.py")).args([name, &count]);
            }
            command
        } else {
            let mut command = Command::new(arguments.program.clone().unwrap_or_else(built));
            command.arg(if name == IN_F32 { "f32" } else { &arguments.precision });
            command
        };
        Self::of(name, command, threads)
    }

    /// A process that answers each line with a number.
    pub(crate) fn of(name: &str, mut command: Command, threads: usize) -> Result<Self> {
        let threads = threads.to_string();
        command.env("RAYON_NUM_THREADS", &threads).env("OMP_NUM_THREADS", &threads);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("could not start `{command:?}`"))?;
        let questions = child.stdin.take().context("a worker without standard input")?;
        let answers = BufReader::new(child.stdout.take().context("a worker without standard output")?);
        Ok(Self { name: name.into(), child, questions, answers })
    }

    pub(crate) fn ask(&mut self, question: &str) -> Result<f64> {
        writeln!(self.questions, "{question}").with_context(|| format!("{} no longer listens", self.name))?;
        self.questions.flush()?;
        let mut answer = String::new();
        self.answers.read_line(&mut answer)?;
        answer.trim().parse().with_context(|| format!("{} could not do `{question}`: `{}`", self.name, answer.trim()))
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // It has nothing to save.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
