//! `faithful methods`, `gradients`, `baselines` and others: what there is to choose from.

use crate::failure::Outcome;
use crate::output::Output;
use crate::table::{Column, lines_within};
use anyhow::Result;
use faithful_core::{Family, Resolution};
use faithful_explain::baseline::{self, Argument};
use faithful_explain::methods as all_methods;
use faithful_metric::{Direction, METRICS};
use faithful_report::Colormap;
use serde_json::json;

/// What a family is called.
pub(crate) fn family(family: Family) -> &'static str {
    match family {
        Family::Cam => "class activation map",
        Family::Perturbation => "perturbation",
        Family::Attention => "attention",
        Family::Gradient => "gradient",
    }
}

pub(crate) fn methods(output: &Output) -> Result<Outcome> {
    let mut rows = Vec::new();
    for info in all_methods() {
        let family = family(info.family);
        let resolution = match info.resolution {
            Resolution::Layer => "layer",
            Resolution::Input => "input",
        };
        output.object(&json!({
            "name": info.name, "summary": info.summary, "source": info.source, "family": family,
            "resolution": resolution, "signed": info.signed, "draws": info.draws,
            "class_agnostic": info.class_agnostic,
        }))?;
        rows.push([info.name, info.summary, info.source].map(str::to_owned).to_vec());
    }
    table(output, &["method", "what it does", "source"], &rows)
}

pub(crate) fn metrics(output: &Output) -> Result<Outcome> {
    let mut rows = Vec::new();
    for info in METRICS {
        let better = if info.direction == Direction::Higher { "higher" } else { "lower" };
        let name = if info.masked { format!("{}[@P]", info.name) } else { info.name.to_owned() };
        output.object(&json!({
            "name": info.name, "summary": info.summary, "source": info.source, "better": better, "range": info.range,
            "masked": info.masked, "needs_mask": info.needs_mask,
            "needs_explainer": info.needs_explainer,
        }))?;
        rows.push(vec![name, better.into(), info.range.into(), info.summary.into(), info.source.into()]);
    }
    table(output, &["metric", "better", "range", "what it measures", "source"], &rows)
}

pub(crate) fn gradients(output: &Output) -> Result<Outcome> {
    let mut rows = Vec::new();
    for estimator in faithful_cam::ESTIMATORS {
        output.object(&json!({
            "name": estimator.name, "summary": estimator.summary, "source": estimator.source,
            "draws": !estimator.single,
        }))?;
        rows.push([estimator.name, estimator.summary, estimator.source].map(str::to_owned).to_vec());
    }
    table(output, &["gradient", "what it is", "source"], &rows)
}

pub(crate) fn baselines(output: &Output) -> Result<Outcome> {
    let mut rows: Vec<Vec<String>> = [
        ["FOLDER", "the photos in that folder, in shuffled order"],
        ["FOLDER@3,7,0-9", "these of its photos by name, counted from 0, one after the other"],
        ["FOLDER@replacement", "each time any of its photos, independently"],
        ["0.8*FOLDER+0.2*zero", "a mixture: each time one of these, by their weights"],
    ]
    .map(|row| row.map(str::to_owned).to_vec())
    .to_vec();
    for kind in &baseline::KINDS {
        let (argument, required) = kind.argument.as_ref().map(|argument| (argument.name, argument.required)).unzip();
        output.object(&json!({
            "name": kind.name, "summary": kind.summary, "argument": argument, "required": required.unwrap_or(false),
        }))?;
        let name = match &kind.argument {
            None => kind.name.to_owned(),
            Some(Argument { name, required: true }) => format!("{}:{name}", kind.name),
            Some(Argument { name, required: false }) => format!("{}[:{name}]", kind.name),
        };
        rows.push(vec![name, kind.summary.to_owned()]);
    }
    table(output, &["baselines", "what photos are compared with"], &rows)
}

pub(crate) fn colormaps(output: &Output) -> Result<Outcome> {
    let mut rows = Vec::new();
    for (name, colormap) in Colormap::ALL {
        let summary = colormap.summary();
        output.object(&json!({ "name": name, "summary": summary, "even": colormap.is_even() }))?;
        rows.push([name, summary].map(str::to_owned).to_vec());
    }
    table(output, &["colormap", "what it looks like"], &rows)
}

fn table(output: &Output, headings: &[&'static str], rows: &[Vec<String>]) -> Result<Outcome> {
    let columns: Vec<Column> = headings.iter().map(|heading| Column::left(heading)).collect();
    for line in lines_within(&columns, rows, output.width()) {
        output.line(&line)?;
    }
    Ok(Outcome::Complete)
}
