use crate::shell::{cargo, root, run};
use anyhow::{Context, Result, ensure};
use clap::Args;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The thesis's Table 4: every method of its comparison.
const TABLE_4: &str = "grad-cam,grad-cam++,smooth-grad-cam++,xgrad-cam,hires-cam,layer-cam,score-cam,ablation-cam,\
                       poly-cam±,expected-grad-cam,expected-grad-cam++,hyper-expected-grad-cam";

#[derive(Args)]
pub(crate) struct Evaluation {
    /// A folder of photos; by default the drawn scenes
    #[arg(long, default_value = "scenes")]
    images: PathBuf,
    /// A model as `faithful --model` takes it; by default the shipped one
    #[arg(long)]
    model: Option<String>,
    /// How many of the images
    #[arg(long, default_value = "60")]
    samples: usize,
    /// Steps of insertion and deletion instead of the thesis's 1003
    #[arg(long)]
    steps: Option<usize>,
    /// Methods instead of the table's
    #[arg(long)]
    methods: Option<String>,
    /// A folder of photos, or a name, that differences are taken from
    #[arg(long)]
    baselines: Option<String>,
    /// The run's folder, a run that was stopped goes on there; by default out/table4 or out/table5
    #[arg(long)]
    out: Option<PathBuf>,
    /// The file of the table
    #[arg(long)]
    table: Option<PathBuf>,
}

/// Table 4: all methods, six metrics.
pub(crate) fn table_4(evaluation: &Evaluation) -> Result<()> {
    make(evaluation, TABLE_4, "out/table4", "Table 4: faithfulness of every method")
}

/// Table 5: Expected Grad-CAM with five mini-batches of five draws against fifty draws, each from a baseline of its own.
pub(crate) fn table_5(evaluation: &Evaluation) -> Result<()> {
    let methods = "expected-grad-cam.5x5,expected-grad-cam.1x50";
    make(evaluation, methods, "out/table5", "Table 5: Expected Grad-CAM by mini-batches")
}

/// A table of these methods by a run in that folder, where the caller names no others.
fn make(evaluation: &Evaluation, methods: &str, out: &str, title: &str) -> Result<()> {
    let methods = evaluation.methods.as_deref().unwrap_or(methods);
    let out = evaluation.out.as_deref().unwrap_or(Path::new(out));
    let faithful = build()?;
    evaluate(&faithful, evaluation, methods, out)?;
    let rows = table(&faithful, out, methods)?;
    publish(evaluation, title, &rows)
}

pub(crate) fn build() -> Result<PathBuf> {
    run(&mut cargo(&["build", "--release", "--package", "faithful-cli"]))?;
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    Ok(target.join("release/faithful"))
}

fn evaluate(faithful: &Path, evaluation: &Evaluation, methods: &str, out: &Path) -> Result<()> {
    let mut command = Command::new(faithful);
    command.args(["evaluate", "--resume", "--protocol", "thesis", "--methods", methods]);
    // The thesis takes all of its 5000 photos, whatever the network takes them for.
    if evaluation.images.as_os_str() == "scenes" {
        command.arg("--only-correct");
    }
    command.arg("--images").arg(&evaluation.images).arg("--out").arg(out);
    command.args(["--samples", &evaluation.samples.to_string()]);
    let options = [("--model", evaluation.model.clone()), ("--baselines", evaluation.baselines.clone())];
    for (name, value) in options.into_iter().chain([("--steps", evaluation.steps.map(|steps| steps.to_string()))]) {
        if let Some(value) = value {
            command.args([name, &value]);
        }
    }
    run(&mut command)
}

fn table(faithful: &Path, out: &Path, order: &str) -> Result<String> {
    let mut command = Command::new(faithful);
    command.arg("table").arg(out).args(["--format", "markdown"]);
    if !order.is_empty() {
        command.args(["--order", order]);
    }
    let output = command.output().context("could not start faithful")?;
    ensure!(output.status.success(), "no table: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

/// The table with the command, the machine and the time, to its file or to the terminal.
fn publish(evaluation: &Evaluation, title: &str, rows: &str) -> Result<()> {
    // How the command was typed, without the folders of whoever typed it.
    let words: Vec<String> = std::env::args().skip(1).map(|word| short(&word)).collect();
    let text = format!("# {title}\n\n    cargo xtask {}\n\n{}\n\n{rows}", words.join(" "), machine());
    if let Some(file) = &evaluation.table {
        fs::write(file, text).with_context(|| format!("could not write {}", file.display()))
    } else {
        print!("{text}");
        Ok(())
    }
}

pub(crate) fn short(word: &str) -> String {
    let path = Path::new(word);
    match path.file_name() {
        Some(name) if path.is_absolute() => name.to_string_lossy().into_owned(),
        _ => word.to_owned(),
    }
}

pub(crate) fn machine() -> String {
    let processor = fs::read_to_string("/proc/cpuinfo").ok().and_then(|text| {
        let line = text.lines().find(|line| line.starts_with("model name"))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    });
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    format!("{cores} cores of {}.", processor.unwrap_or_else(|| std::env::consts::ARCH.to_owned()))
}
