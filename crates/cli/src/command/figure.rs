//! `faithful figure`.

use super::table::rows_of;
use crate::arguments::{ConvergenceArguments, CurvesArguments, FigureCommand, ScoresArguments};
use crate::convergence;
use crate::failure::{Outcome, Usage};
use crate::files::spare;
use crate::output::Output;
use anyhow::{Context, Result};
use faithful_core::{Error, read_file};
use faithful_evaluate::{Rows, mean_curves};
use faithful_explain::parse_stop;
use faithful_metric::Metric;
use faithful_report::write_atomic;
use faithful_report::{Axis, Chart, Line, chart_png, chart_svg};
use serde_json::json;
use std::path::{Path, PathBuf};

pub(crate) fn run(command: &FigureCommand, output: &Output) -> Result<Outcome> {
    match command {
        FigureCommand::Convergence(arguments) => convergence(arguments, output),
        FigureCommand::Curves(arguments) => curves(arguments, output),
        FigureCommand::Scores(arguments) => scores(arguments, output),
    }
}

fn convergence(arguments: &ConvergenceArguments, output: &Output) -> Result<Outcome> {
    let ConvergenceArguments { traces, names, stop, out } = arguments;
    let stop = parse_stop(stop)?;
    if !names.is_empty() && names.len() != traces.len() {
        return Err(Usage::from(format!("--names has {} names for {} traces", names.len(), traces.len())).into());
    }
    spare(out, traces.iter().map(PathBuf::as_path))?;
    let mut runs = Vec::new();
    for (place, path) in traces.iter().enumerate() {
        let bytes = read_file(path).map_err(|error| match error {
            Error::Io { source, .. } => {
                anyhow::Error::from(source).context(format!("cannot read `{}`", path.display()))
            }
            other => other.into(),
        })?;
        let text = String::from_utf8_lossy(&bytes);
        let steps = convergence::read_trace(&text).with_context(|| path.display().to_string())?;
        let name = names.get(place).cloned().unwrap_or_else(|| {
            path.file_stem().map_or_else(|| path.display().to_string(), |stem| stem.to_string_lossy().into_owned())
        });
        runs.push((name, steps));
    }
    written(out, &convergence::panels(&runs, stop), output)
}

/// Points per curve: a run's own may be a thousand.
const POINTS: usize = 101;
/// With more methods than this, bands hide each other.
const BANDS: usize = 4;

fn curves(arguments: &CurvesArguments, output: &Output) -> Result<Outcome> {
    spare(&arguments.out, [])?;
    let rows = rows_of(&arguments.runs, output)?;
    let methods = methods(&rows, &arguments.methods)?;
    let panels = [("insertion", "share of cells that are shown"), ("deletion", "share of cells that are hidden")];
    let mut charts = Vec::new();
    for (metric, x) in panels {
        let found = mean_curves(&rows, metric, methods.iter().map(String::as_str), POINTS);
        if found.is_empty() {
            continue;
        }
        let images = found.iter().map(|curve| curve.images).max().unwrap_or(0);
        let bands = found.len() <= BANDS;
        let lines = found.into_iter().map(|curve| {
            // A probability's interval ends where probabilities do.
            let edges = |mean: &f64, margin: &f64| [mean - margin, mean + margin].map(|edge| edge.clamp(0.0, 1.0));
            let pairs = curve.mean.iter().zip(&curve.margin).map(|(mean, margin)| edges(mean, margin));
            let band = if bands { pairs.collect() } else { Vec::new() };
            let points = curve.fractions.iter().zip(&curve.mean).map(|(&x, &y)| [x, y]).collect();
            Line { name: curve.method, points, band }
        });
        charts.push(Chart {
            title: format!("{metric}, mean of {images} images"),
            x: Axis::linear(x).including([0.0, 1.0]),
            y: Axis::linear("probability").including([0.0, 1.0]),
            lines: lines.collect(),
            ..Chart::default()
        });
    }
    if charts.is_empty() {
        let reason = "it has no curves: `insertion` and `deletion` are the metrics that have";
        return Err(Error::parameter("run", reason).into());
    }
    written(&arguments.out, &charts, output)
}

fn scores(arguments: &ScoresArguments, output: &Output) -> Result<Outcome> {
    let metrics =
        arguments.metrics.iter().map(|name| Metric::parse(name)).collect::<faithful_core::Result<Vec<_>>>()?;
    spare(&arguments.out, [])?;
    let rows = rows_of(&arguments.runs, output)?;
    let methods = methods(&rows, &arguments.methods)?;
    let mut charts = Vec::new();
    for metric in metrics {
        let name = metric.name();
        let mut lines = Vec::new();
        for method in &methods {
            let own = rows.rows.iter().filter(|row| row.method == *method && row.metric == name);
            let mut values: Vec<f64> = own.filter_map(|row| row.value).collect();
            values.sort_by(f64::total_cmp);
            let share = |place: usize| place as f64 / values.len() as f64;
            // A step up at every value: the share of images that have at most that.
            let steps = values.iter().enumerate().flat_map(|(i, &value)| [[value, share(i)], [value, share(i + 1)]]);
            if !values.is_empty() {
                lines.push(Line { name: method.clone(), points: steps.collect(), band: Vec::new() });
            }
        }
        if lines.is_empty() {
            return Err(Error::parameter("metrics", format!("the run has no values of `{name}`")).into());
        }
        charts.push(Chart {
            title: format!("{name}: share of images with at most this value"),
            x: Axis::linear(name),
            y: Axis::linear("share of images").including([0.0, 1.0]),
            lines,
            ..Chart::default()
        });
    }
    written(&arguments.out, &charts, output)
}

/// The methods that were asked for, or all of the run's.
fn methods(rows: &Rows, asked: &[String]) -> Result<Vec<String>> {
    let mut known: Vec<String> = Vec::new();
    for row in &rows.rows {
        if !row.method.is_empty() && !known.contains(&row.method) {
            known.push(row.method.clone());
        }
    }
    for method in asked {
        if !known.contains(method) {
            return Err(Error::unknown("method", method, known.iter().map(String::as_str)).into());
        }
    }
    Ok(if asked.is_empty() { known } else { asked.to_vec() })
}

/// Writes a figure, as a PNG where its name says so and else as an SVG, and says so.
fn written(path: &Path, charts: &[Chart], output: &Output) -> Result<Outcome> {
    let ending = path.extension().map(|ending| ending.to_string_lossy().to_lowercase());
    let bytes = match ending.as_deref() {
        Some("png") => chart_png(charts)?,
        Some("svg") | None => chart_svg(charts)?.into_bytes(),
        Some(other) => return Err(Usage::from(format!("a figure is an .svg or a .png, not a .{other}")).into()),
    };
    write_atomic(path, &bytes)?;
    output.object(&json!({ "figure": path.display().to_string() }))?;
    output.line(&path.display().to_string())?;
    Ok(Outcome::Complete)
}
