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
    /// The sets
    #[arg(long, default_value = "FD001,FD002,FD003,FD004", value_delimiter = ',')]
    sets: Vec<String>,
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
    /// A Python with `LightGBM`: boosted trees are then trained on the same folds and readings, beside the first seed's networks
    #[arg(long)]
    peers: Option<PathBuf>,
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
        "| set | network | RMSE | MAE | NASA | RMSE, cross-validated | 90% intervals hold | width | seconds |\n\
         |---|---|--:|--:|--:|--:|--:|--:|--:|\n",
    );
    let (mut faithfulness, mut curves) = (String::new(), String::new());
    for set in &arguments.sets {
        for model in &arguments.models {
            let Rows { numbers, pair, first } = rows_of(&faithful, arguments, set, model)?;
            let _ = writeln!(text, "| {set} | {model} | {} |", cells(&numbers));
            let _ = write!(faithfulness, "\n### {set}, {model}, seed {}\n\n{}", arguments.seeds[0], table_3(&first));
            let _ = write!(curves, "\n### {set}, {model}, seed {}\n\n{}", arguments.seeds[0], table_of_curves(&first));
            if arguments.seeds.len() > 1 {
                let title = "all seeds: mean ± standard deviation over networks";
                let _ = write!(faithfulness, "\n### {set}, {model}, {title}\n\n{}", over_seeds(&pair));
            }
        }
        if let Some(python) = &arguments.peers {
            let _ = writeln!(text, "{}", trees(python, arguments, set)?);
        }
    }
    let command: Vec<String> = std::env::args().skip(1).map(|word| short(&word)).collect();
    let seeds = arguments.seeds.len();
    let text = format!(
        "## Table 2: predictions on the last windows of the test machines, mean ± standard deviation over {seeds} seeds\n\n    \
         cargo xtask {}\n\n{}\n\n{text}\n## Table 3: faithfulness\n{faithfulness}\n## Insertion and deletion\n{curves}",
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

/// What networks of one kind came to on a set.
struct Rows {
    /// A number per seed of everything in Table 2.
    numbers: BTreeMap<&'static str, Vec<f64>>,
    /// The pair's means per method and metric, a number per seed.
    pair: BTreeMap<(String, String), Vec<f64>>,
    /// What the first seed's network said of all methods.
    first: Vec<Value>,
}

fn rows_of(faithful: &Path, arguments: &EvalRul, set: &str, model: &str) -> Result<Rows> {
    let mut rows = Rows { numbers: BTreeMap::new(), pair: BTreeMap::new(), first: Vec::new() };
    for (place, seed) in arguments.seeds.iter().enumerate() {
        let weights = train(faithful, arguments, set, model, *seed)?;
        let seconds = fs::read_to_string(weights.with_extension("seconds"))?.trim().parse()?;
        rows.numbers.entry("seconds").or_default().push(seconds);
        let about: Value = serde_json::from_str(&fs::read_to_string(weights.with_extension("json"))?)?;
        let crossed = about["validation"]["rmse"].as_f64().context("no machines were held out")?;
        rows.numbers.entry("crossed").or_default().push(crossed);
        let methods = match (place, arguments.methods.as_str()) {
            (0, methods) if !methods.is_empty() => format!("{PAIR},{methods}"),
            _ => PAIR.to_owned(),
        };
        let found = evaluate(faithful, arguments, set, &weights, &methods)?;
        for name in SCORES {
            rows.numbers.entry(name).or_default().push(number(&found[0]["scores"][name])?);
        }
        for name in INTERVALS {
            rows.numbers.entry(name).or_default().push(number(&found[0]["intervals"][name])?);
        }
        let lines = &found[1..];
        for line in lines.iter().filter(|line| PAIR.split(',').any(|name| line["method"] == name)) {
            let key = (words(&line["method"]), words(&line["metric"]));
            rows.pair.entry(key).or_default().push(number(&line["mean"])?);
        }
        if place == 0 {
            rows.first = lines.to_vec();
        }
    }
    Ok(rows)
}

/// A row of Table 2 for boosted trees on the folds of the first network.
fn trees(python: &Path, arguments: &EvalRul, set: &str) -> Result<String> {
    let folder = arguments.data.as_deref().context("--peers needs --data, a folder")?;
    let about = weights_of(arguments, set, &arguments.models[0], arguments.seeds[0]).with_extension("json");
    let mut command = Command::new(python);
    command.arg("xtask/peers/rul_trees.py").arg(folder).arg(about);
    let found = objects(&mut command)?.remove(0);
    let cell = |name: &str, digits: usize| Ok::<_, anyhow::Error>(format!("{:.digits$}", number(&found[name])?));
    let [rmse, mae, nasa] = [cell("test_rmse", 2)?, cell("test_mae", 2)?, cell("test_nasa", 0)?];
    let (crossed, seconds) = (cell("crossed_rmse", 2)?, cell("seconds", 0)?);
    Ok(format!("| {set} | LightGBM | {rmse} | {mae} | {nasa} | {crossed} | | | {seconds} |"))
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

fn weights_of(arguments: &EvalRul, set: &str, model: &str, seed: u64) -> PathBuf {
    arguments.out.join(format!("{set}-{model}-{seed}.safetensors"))
}

fn train(faithful: &Path, arguments: &EvalRul, set: &str, model: &str, seed: u64) -> Result<PathBuf> {
    let weights = weights_of(arguments, set, model, seed);
    let seconds = weights.with_extension("seconds");
    if !seconds.exists() {
        let mut command = Command::new(faithful);
        command.args(["rul", "train", "--json", "--resume", "--set", set, "--model", model]);
        command.args(["--seed", &seed.to_string()]).arg("--out").arg(&weights);
        data(&mut command, arguments);
        let lines = objects(&mut command)?;
        fs::write(&seconds, format!("{}\n", lines[0]["seconds"]))?;
    }
    Ok(weights)
}

const SCORES: [&str; 3] = ["rmse", "mae", "nasa"];
const INTERVALS: [&str; 2] = ["coverage", "width"];

fn number(value: &Value) -> Result<f64> {
    value.as_f64().context("a number is missing")
}

/// What stands in a row of Table 2, with how many digits.
const CELLS: [(&str, usize); 7] =
    [("rmse", 2), ("mae", 2), ("nasa", 0), ("crossed", 2), ("coverage", 3), ("width", 1), ("seconds", 0)];

fn cells(numbers: &BTreeMap<&str, Vec<f64>>) -> String {
    CELLS.iter().map(|(name, digits)| spread(&numbers[name], *digits)).collect::<Vec<_>>().join(" | ")
}

/// The mean of some numbers, with their standard deviation where they are several.
fn spread(values: &[f64], digits: usize) -> String {
    let (mean, deviation) = moments(values);
    if values.len() > 1 { format!("{mean:.digits$} ± {deviation:.digits$}") } else { format!("{mean:.digits$}") }
}

fn evaluate(faithful: &Path, arguments: &EvalRul, set: &str, weights: &Path, methods: &str) -> Result<Vec<Value>> {
    let folder = weights.with_extension("results");
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
    let masked: Vec<&Value> =
        lines.iter().filter(|line| METRICS.iter().any(|metric| line["metric"] == *metric)).collect();
    for chunk in masked.chunks(METRICS.len()) {
        let cell = |line: &Value| {
            let [mean, low, high] = ["mean", "low", "high"].map(|name| 100.0 * line[name].as_f64().unwrap_or(f64::NAN));
            let star = if line["p"].as_f64().is_some_and(|p| p < 0.05) { " \\*" } else { "" };
            format!("{mean:.1} [{low:.1}, {high:.1}]{star}")
        };
        let cells: Vec<String> = chunk.iter().map(|line| cell(line)).collect();
        let _ = writeln!(text, "| {} | {} |", words(&chunk[0]["method"]), cells.join(" | "));
    }
    text
}

const CURVES: [&str; 4] = ["insertion@cycles", "deletion@cycles", "insertion@sensors", "deletion@sensors"];

/// Areas in cycles of wear with their 95% bootstrap intervals; a star where they differ from the first method's.
fn table_of_curves(lines: &[Value]) -> String {
    let mut text = String::from(
        "| method | insertion over cycles ↑ | deletion ↓ | insertion over sensors ↑ | deletion ↓ |\n|---|--:|--:|--:|--:|\n",
    );
    let mut methods: Vec<&Value> = lines.iter().map(|line| &line["method"]).collect();
    methods.dedup();
    methods.truncate(methods.iter().skip(1).position(|name| *name == methods[0]).map_or(methods.len(), |at| at + 1));
    for method in methods {
        let cell = |metric: &str| {
            let line = lines.iter().find(|line| line["method"] == *method && line["metric"] == metric);
            line.map_or(String::new(), |line| {
                let [mean, low, high] = ["mean", "low", "high"].map(|name| line[name].as_f64().unwrap_or(f64::NAN));
                let star = if line["p"].as_f64().is_some_and(|p| p < 0.05) { " \\*" } else { "" };
                format!("{mean:.1} [{low:.1}, {high:.1}]{star}")
            })
        };
        let _ = writeln!(text, "| {} | {} |", words(method), CURVES.map(cell).join(" | "));
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
