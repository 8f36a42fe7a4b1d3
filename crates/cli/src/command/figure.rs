//! `faithful figure`.

use crate::arguments::{ConvergenceArguments, FigureCommand};
use crate::convergence;
use crate::failure::{Outcome, Usage};
use crate::method::parse_stop;
use crate::output::Output;
use anyhow::{Context, Result};
use faithful_report::write_atomic;
use serde_json::json;
use std::path::Path;

pub(crate) fn run(command: &FigureCommand, output: &Output) -> Result<Outcome> {
    match command {
        FigureCommand::Convergence(arguments) => convergence(arguments, output),
    }
}

fn convergence(arguments: &ConvergenceArguments, output: &Output) -> Result<Outcome> {
    let ConvergenceArguments { traces, names, stop, out } = arguments;
    let stop = parse_stop(stop)?;
    if !names.is_empty() && names.len() != traces.len() {
        return Err(Usage::from(format!("--names has {} names for {} traces", names.len(), traces.len())).into());
    }
    let mut runs = Vec::new();
    for (place, path) in traces.iter().enumerate() {
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read `{}`", path.display()))?;
        let steps = convergence::read_trace(&text).with_context(|| path.display().to_string())?;
        let name = names.get(place).cloned().unwrap_or_else(|| {
            path.file_stem().map_or_else(|| path.display().to_string(), |stem| stem.to_string_lossy().into_owned())
        });
        runs.push((name, steps));
    }
    written(out, &convergence::figure(&runs, stop)?, output)
}

/// Writes a figure and says so.
fn written(path: &Path, svg: &str, output: &Output) -> Result<Outcome> {
    write_atomic(path, svg.as_bytes())?;
    output.object(&json!({ "figure": path.display().to_string() }))?;
    output.line(&path.display().to_string())?;
    Ok(Outcome::Complete)
}
