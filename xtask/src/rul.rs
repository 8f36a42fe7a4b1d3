//! The thesis's Tables 2 and 3: networks of the remaining life over several seeds, and how faithful their maps are.

use crate::evaluation::{build, machine, short};
use crate::shell::{cargo, run};
use anyhow::{Context, Result, ensure};
use clap::Args;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

#[derive(Args)]
pub(crate) struct EvalRul {
    /// The folder or zip file with C-MAPSS; by default what `cargo xtask fetch cmapss` has fetched
    #[arg(long)]
    data: Option<PathBuf>,
    /// The set
    #[arg(long, default_value = "FD001")]
    set: String,
    /// The seeds
    #[arg(long, default_value = "0,1,2,3,4", value_delimiter = ',')]
    seeds: Vec<u64>,
    /// The kinds of networks
    #[arg(long, default_value = "cnn-lstm,cnn-bilstm", value_delimiter = ',')]
    models: Vec<String>,
    /// Methods of Table 3 besides Grad-CAM and Expected Grad-CAM, measured with the first seed; by default all for series
    #[arg(
        long,
        default_value = "grad-cam++,expected-grad-cam++,smooth-grad-cam++,xgrad-cam,hires-cam,layer-cam,layer-cam.expected,\
                         grad-cam-elementwise,eigen-cam,eigen-grad-cam,integrated-grad-cam,expected-smooth-grad-cam,\
                         guided-grad-cam,guided-expected-grad-cam,full-grad,hyper-expected-grad-cam,score-cam,ss-cam,\
                         is-cam,ablation-cam,group-cam,poly-cam+,poly-cam-,poly-cam±,rise,occlusion,gradient,saliency,\
                         gradient-times-input,deconvnet,guided-backpropagation,smooth-grad,smooth-grad-squared,var-grad,\
                         smooth-grad-times-input,integrated-gradients,expected-gradients,gaussian-attribution,\
                         distribution-attribution,blur-integrated-gradients,guided-integrated-gradients"
    )]
    methods: String,
    /// Other sets that the same networks are tried on, to see how far they reach
    #[arg(long, value_delimiter = ',')]
    also: Vec<String>,
    /// Where networks and results lie; what is there already is not made again
    #[arg(long, default_value = "out/rul")]
    out: PathBuf,
    /// The file of the tables
    #[arg(long)]
    table: Option<PathBuf>,
    /// A `faithful` that is built already
    #[arg(long)]
    binary: Option<PathBuf>,
}

const PAIR: &str = "grad-cam,expected-grad-cam";

pub(crate) fn eval_rul(arguments: &EvalRul) -> Result<()> {
    let faithful = arguments.binary.clone().map_or_else(build, Ok)?;
    fs::create_dir_all(&arguments.out)?;
    let mut text = String::from(
        "| network | MSE | RMSE | MAE | MAPE | NASA | seconds of training |\n|---|--:|--:|--:|--:|--:|--:|\n",
    );
    let (mut faithfulness, mut others) = (String::new(), String::new());
    for model in &arguments.models {
        let mut rows: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
        let mut pair: BTreeMap<(String, String), Vec<f64>> = BTreeMap::new();
        let mut also: BTreeMap<&String, BTreeMap<&str, Vec<f64>>> = BTreeMap::new();
        for (place, seed) in arguments.seeds.iter().enumerate() {
            let weights = train(&faithful, arguments, model, *seed)?;
            let seconds = fs::read_to_string(weights.with_extension("seconds"))?.trim().parse()?;
            rows.entry("seconds").or_default().push(seconds);
            let methods = if place == 0 { format!("{PAIR},{}", arguments.methods) } else { PAIR.to_owned() };
            let found = evaluate(&faithful, arguments, &arguments.set, &weights, &methods)?;
            for name in SCORES {
                rows.entry(name).or_default().push(score(&found[0], name)?);
            }
            for set in &arguments.also {
                let found = evaluate(&faithful, arguments, set, &weights, "")?;
                let own = also.entry(set).or_default();
                for name in SCORES {
                    own.entry(name).or_default().push(score(&found[0], name)?);
                }
            }
            let lines = &found[1..];
            for line in lines.iter().filter(|line| PAIR.split(',').any(|name| line["method"] == name)) {
                let key = (words(&line["method"]), words(&line["metric"]));
                pair.entry(key).or_default().push(line["mean"].as_f64().context("a mean is missing")?);
            }
            if place == 0 {
                let _ = write!(faithfulness, "\n### {model}, seed {seed}\n\n{}", table_3(lines));
            }
        }
        let _ = writeln!(text, "| {model} | {} | {} |", errors(&rows), spread(&rows["seconds"], 0));
        for (set, rows) in &also {
            let _ = writeln!(others, "| {model} | {set} | {} |", errors(rows));
        }
        let _ = write!(
            faithfulness,
            "\n### {model}, all seeds: mean ± standard deviation over networks\n\n{}",
            over_seeds(&pair)
        );
    }
    if !others.is_empty() {
        others = format!(
            "### The same networks on other sets, which they have never seen\n\n| network | set | MSE | RMSE | MAE | MAPE | NASA |\n\
             |---|---|--:|--:|--:|--:|--:|\n{others}\n"
        );
    }
    let command: Vec<String> = std::env::args().skip(1).map(|word| short(&word)).collect();
    let seeds = arguments.seeds.len();
    let text = format!(
        "## Table 2: predictions on the last windows of {}, mean ± standard deviation over {seeds} seeds\n\n    cargo xtask {}\n\n{}\n\n{text}\n\
         {others}## Table 3: faithfulness\n{faithfulness}",
        arguments.set,
        command.join(" "),
        machine(),
    );
    if let Some(file) = &arguments.table {
        fs::write(file, text).with_context(|| format!("could not write {}", file.display()))
    } else {
        print!("{text}");
        Ok(())
    }
}

/// Trains the network the built-in model is made of.
pub(crate) fn train_demo() -> Result<()> {
    let train = ["run", "--release", "--package", "faithful-cli", "--", "rul", "train", "--set", "synthetic"];
    let options = [
        "--model",
        "cnn-lstm",
        "--members",
        "1",
        "--window",
        "24",
        "--cap",
        "100",
        "--smoothing",
        "0.2",
        "--trends",
        "--out",
        "crates/rul/shipped/pumps.safetensors",
    ];
    run(cargo(&train).args(options))
}

fn train(faithful: &Path, arguments: &EvalRul, model: &str, seed: u64) -> Result<PathBuf> {
    let weights = arguments.out.join(format!("{}-{model}-{seed}.safetensors", arguments.set));
    let seconds = weights.with_extension("seconds");
    if !seconds.exists() {
        let mut command = Command::new(faithful);
        command.args(["rul", "train", "--json", "--resume", "--set", &arguments.set, "--model", model]);
        command.args(["--seed", &seed.to_string()]).arg("--out").arg(&weights);
        data(&mut command, arguments);
        let lines = objects(&mut command)?;
        fs::write(&seconds, format!("{}\n", lines[0]["seconds"]))?;
    }
    Ok(weights)
}

const SCORES: [&str; 5] = ["mse", "rmse", "mae", "mape", "nasa"];

fn score(line: &Value, name: &str) -> Result<f64> {
    line["scores"][name].as_f64().context("a score is missing")
}

/// The scores' means and deviations as cells.
fn errors(rows: &BTreeMap<&str, Vec<f64>>) -> String {
    let digits = [1, 2, 2, 3, 0];
    SCORES.iter().zip(digits).map(|(name, digits)| spread(&rows[name], digits)).collect::<Vec<_>>().join(" | ")
}

fn spread(values: &[f64], digits: usize) -> String {
    let (mean, deviation) = moments(values);
    format!("{mean:.digits$} ± {deviation:.digits$}")
}

fn evaluate(faithful: &Path, arguments: &EvalRul, set: &str, weights: &Path, methods: &str) -> Result<Vec<Value>> {
    let folder =
        weights.with_extension(if *set == arguments.set { "results".into() } else { format!("{set}.results") });
    let mut command = Command::new(faithful);
    command.args(["rul", "evaluate", "--json", "--quiet", "--set", set]);
    if !methods.is_empty() {
        command.args(["--methods", methods]);
    }
    command.arg("--model").arg(weights).arg("--out").arg(folder);
    data(&mut command, arguments);
    objects(&mut command)
}

fn data(command: &mut Command, arguments: &EvalRul) {
    if let Some(data) = &arguments.data {
        command.arg("--data").arg(data);
    }
}

fn objects(command: &mut Command) -> Result<Vec<Value>> {
    eprintln!("$ {command:?}");
    let output = command.stderr(std::process::Stdio::inherit()).output().context("could not start faithful")?;
    ensure!(output.status.success(), "faithful failed");
    let text = String::from_utf8(output.stdout)?;
    let objects: Vec<Value> = text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    ensure!(!objects.is_empty(), "faithful said nothing");
    Ok(objects)
}

fn words(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn moments(values: &[f64]) -> (f64, f64) {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let square = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>();
    (mean, (square / (count - 1.0).max(1.0)).sqrt())
}

const METRICS: [&str; 6] = ["increase", "drop", "add", "increase@30", "drop@30", "add@30"];

fn headings() -> String {
    "| method | increase ↑ | drop ↓ | ADD ↑ | increase@30 ↑ | drop@30 ↓ | ADD@30 ↑ |\n|---|--:|--:|--:|--:|--:|--:|\n"
        .into()
}

/// Percentages with their 95% bootstrap intervals; a star where they differ from the first method's (paired, p below 0.05).
fn table_3(lines: &[Value]) -> String {
    let mut text = headings();
    for chunk in lines.chunks(METRICS.len()) {
        let cell = |line: &Value| {
            let [mean, low, high] = ["mean", "low", "high"].map(|name| 100.0 * line[name].as_f64().unwrap_or(f64::NAN));
            let star = if line["p"].as_f64().is_some_and(|p| p < 0.05) { " \\*" } else { "" };
            format!("{mean:.1} [{low:.1}, {high:.1}]{star}")
        };
        let cells: Vec<String> = chunk.iter().map(cell).collect();
        let _ = writeln!(text, "| {} | {} |", words(&chunk[0]["method"]), cells.join(" | "));
    }
    text
}

fn over_seeds(pair: &BTreeMap<(String, String), Vec<f64>>) -> String {
    let mut text = headings();
    for method in PAIR.split(',') {
        let cells: Vec<String> = METRICS
            .iter()
            .map(|metric| {
                let values = pair.get(&(method.to_owned(), (*metric).to_owned())).map_or(&[][..], Vec::as_slice);
                let (mean, deviation) = moments(values);
                format!("{:.1} ± {:.1}", 100.0 * mean, 100.0 * deviation)
            })
            .collect();
        let _ = writeln!(text, "| {method} | {} |", cells.join(" | "));
    }
    text
}
