//! A run's Parquet in the programs that people open it with.

use crate::shell::{cargo, root, run};
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

#[derive(clap::Args)]
pub(crate) struct Parquet {
    /// A Python with pandas and pyarrow, polars or duckdb
    #[arg(long, value_name = "PYTHON")]
    python: PathBuf,
    /// The `faithful` to run; by default it is built
    #[arg(long, value_name = "FILE")]
    faithful: Option<PathBuf>,
    /// The run's folder, made anew
    #[arg(long, value_name = "DIR", default_value = "target/parquet-check")]
    out: PathBuf,
}

const STEPS: usize = 20;

/// What each type of docs/runs.md is called by pandas, polars and `DuckDB`; pandas has floats where integers can be missing,
/// and lists are its objects.
const NAMES: [(&str, [&[&str]; 3]); 5] = [
    ("string", [&["object", "str", "string"], &["String"], &["VARCHAR"]]),
    ("double", [&["float64"], &["Float64"], &["DOUBLE"]]),
    ("uint32", [&["uint32", "float64"], &["UInt32"], &["UINTEGER"]]),
    ("uint64", [&["uint64"], &["UInt64"], &["UBIGINT"]]),
    ("list of double", [&["object"], &["List(Float64)"], &["DOUBLE[]"]]),
];
const READERS: [&str; 3] = ["pandas", "polars", "duckdb"];

/// Evaluates a few scenes and one broken photo's worth of nulls, and has each reader open the rows.
pub(crate) fn check(arguments: &Parquet) -> Result<()> {
    let faithful = if let Some(file) = &arguments.faithful {
        fs::canonicalize(file).with_context(|| format!("no program {}", file.display()))?
    } else {
        run(&mut cargo(&["build", "--release", "--package", "faithful-cli"]))?;
        root().join("target/release/faithful")
    };
    let out = std::path::absolute(root().join(&arguments.out))?;
    if out.exists() {
        fs::remove_dir_all(&out).with_context(|| format!("could not clear {}", out.display()))?;
    }
    let mut evaluate = Command::new(&faithful);
    evaluate.args(["evaluate", "--quiet", "--images", "scenes", "--samples", "4", "--methods", "grad-cam,layer-cam"]);
    evaluate.args(["--metrics", "insertion,drop@30,energy", "--steps", &STEPS.to_string(), "--only-correct"]);
    run(evaluate.arg("--out").arg(&out))?;
    let table = Command::new(&faithful).arg("table").arg(&out).arg("--json").output()?;
    let table: Value = serde_json::from_slice(&table.stdout).context("the run has no table")?;

    let read = Command::new(&arguments.python)
        .arg(root().join("xtask/peers/parquet.py"))
        .arg(out.join("rows-1-of-1.parquet"))
        .output()?;
    ensure!(read.status.success(), "a reader failed: {}", String::from_utf8_lossy(&read.stderr));
    let read = String::from_utf8(read.stdout)?;
    ensure!(!read.is_empty(), "{} has none of {READERS:?}", arguments.python.display());
    for line in read.lines() {
        let line: Value = serde_json::from_str(line)?;
        let name = line["reader"].as_str().context("a reader without a name")?;
        types(name, &line)?;
        ensure!(line["points"] == STEPS + 1, "{name}: a curve has {} points", line["points"]);
        for value in table["values"].as_array().context("the table has no values")? {
            let key = format!("{}/{}", text(&value["method"]), text(&value["metric"]));
            let (own, theirs) = (value["mean"].as_f64(), line["means"][&key].as_f64());
            let (own, theirs) = own.zip(theirs).with_context(|| format!("{name} has no mean of {key}"))?;
            ensure!((own - theirs).abs() < 1e-12, "{name}: the mean of {key} is {theirs} and not {own}");
        }
        println!("{name} {}: {}", text(&line["version"]), line["types"]);
    }
    Ok(())
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Compares a reader's types with those in docs/runs.md.
fn types(reader: &str, line: &Value) -> Result<()> {
    let page = fs::read_to_string(root().join("docs/runs.md"))?;
    let rows = page.lines().skip_while(|line| !line.starts_with("| column |")).skip(2);
    let place = READERS.iter().position(|name| *name == reader).context("an unknown reader")?;
    for row in rows.take_while(|line| line.starts_with('|')) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let (column, kind) = (cells[1].trim_matches('`'), cells[2]);
        let known = NAMES.iter().find(|(name, _)| *name == kind).with_context(|| format!("what is a {kind}?"))?;
        let found = text(&line["types"][column]);
        ensure!(known.1[place].contains(&found), "{reader}: `{column}` is {found}, a {kind} was to be expected");
    }
    Ok(())
}
