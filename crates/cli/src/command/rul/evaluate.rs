//! `faithful rul evaluate`: how far predictions are off, and how faithful explanations are.

use super::coverage::{self, Coverage};
use super::curves::{self, Areas};
use super::method::{SeriesFound, SeriesMethod};
use super::model::Loaded;
use super::page::{self, Life};
use super::source::Source;
use crate::arguments::RulEvaluateArguments;
use crate::failure::Outcome;
use crate::files::Folder;
use crate::output::Output;
use crate::table::{Column, lines};
use anyhow::Result;
use candle_core::{Device, Tensor};
use faithful_core::{Objective, Stream};
use faithful_evaluate::{Interval, bootstrap_mean, paired_p};
use faithful_metric::{Canvas, Masked, Masking, masked_scores};
use faithful_page::{Cell, Page, Section, Table};
use faithful_report::prediction_chart;
use faithful_rul::{Cells, Fleet, Interval as LifeInterval, Scores, Windows, encode_table, short_units};
use rayon::prelude::*;
use serde::Serialize;
use serde_json::json;

/// The masks that explanations are judged by: the map itself, and its highest 30%.
const MASKS: [(&str, Masking); 2] = [("", Masking::Soft), ("@30", Masking::Top(0.3))];

/// What is measured, by each mask in turn.
const METRICS: [&str; 6] = ["increase", "drop", "add", "increase@30", "drop@30", "add@30"];

/// What one metric says of a method over all machines.
#[derive(Serialize)]
pub(super) struct Faithfulness {
    method: String,
    metric: String,
    pub(super) mean: f64,
    pub(super) low: f64,
    pub(super) high: f64,
    /// That the method is no different from the first one.
    pub(super) p: Option<f64>,
}

impl Faithfulness {
    /// Of a metric's `values` per machine, beside those of the `first` method; nothing where there are no values.
    pub(super) fn of(method: &str, metric: String, values: &[f64], first: Option<&[f64]>) -> Option<Self> {
        let Interval { mean, low, high } = bootstrap_mean(values)?;
        let differences =
            first.map(|first| values.iter().zip(first).map(|(value, first)| value - first).collect::<Vec<f64>>());
        let p = differences.map(|differences| paired_p(&differences));
        Some(Self { method: method.into(), metric, mean, low, high, p })
    }
}

pub(crate) fn run(arguments: &RulEvaluateArguments, output: &Output) -> Result<Outcome> {
    let source = Source::of(&arguments.fleet)?;
    let loaded = Loaded::of(output, &arguments.model, &arguments.fleet, &source)?;
    let methods: Vec<SeriesMethod> = arguments
        .methods
        .iter()
        .map(|name| SeriesMethod::of(name, &loaded, &arguments.explanation))
        .collect::<Result<_>>()?;
    let fleet = source.test()?;
    let windows = Windows::last(&fleet, &loaded.preparation)?;
    let short = short_units(&fleet, &loaded.preparation);
    let cap = loaded.preparation.cap;
    let remaining = windows.targets(cap)?;
    let predicted = loaded.predict(&windows.inputs)?;
    let scores = Scores::of(&predicted, &remaining)?;
    let (intervals, covered) = coverage::of(&loaded, &windows.inputs, &remaining, arguments.level)?.unzip();
    let covered: Vec<Coverage> = covered.unwrap_or_default();
    let folder = arguments.out.as_deref().map(Folder::prepare).transpose()?;
    let object = json!({
        "model": loaded.name, "kind": loaded.kind, "trained_on": loaded.trained_on, "machines": fleet.name, "cap": cap,
        "scores": scores, "intervals": covered.first(), "calibration": covered, "note": short,
    });
    output.object(&object)?;
    if let Some(short) = &short {
        output.note(short);
    }
    output.line(&format!(
        "{} on the last windows of {} machines of {}, lives up to {cap} cycles",
        loaded.name, scores.count, fleet.name
    ))?;
    let columns = ["MSE", "RMSE", "MAE", "MAPE", "NASA"].map(Column::right);
    let cells = [scores.mse, scores.rmse, scores.mae].map(|value| format!("{value:.2}"));
    let cells = [&cells[..], &[format!("{:.3}", scores.mape), format!("{:.0}", scores.nasa)]].concat();
    for line in lines(&columns, &[cells]) {
        output.line(&line)?;
    }
    match covered.first() {
        Some(asked) => output.line(&asked.words(scores.count))?,
        None => output.note("the network does not know how far it is off: there are no intervals"),
    }
    if let Some(folder) = &folder {
        let chart = prediction_chart(&format!("{} on {}", loaded.name, fleet.name), &remaining, &predicted)?;
        folder.write("predictions.svg", chart.svg().as_bytes())?;
        folder.write("predictions.png", &chart.png()?)?;
        folder.write("predictions.parquet", &predictions(&fleet, &remaining, &predicted, intervals.as_deref())?)?;
        folder.write("scores.json", format!("{object:#}\n").as_bytes())?;
    }
    let mut faithfulness = Vec::new();
    if !methods.is_empty() {
        let rows = measure(&loaded, &methods, &windows, &fleet, arguments.explanation.seed, output)?;
        let (masked, areas): (Rows, Vec<Vec<Areas>>) = rows.into_iter().unzip();
        faithfulness = report(&methods, &masked, folder.as_ref(), output)?;
        let areas = curves::report(&methods, &areas, output)?;
        if let Some(folder) = &folder {
            folder.write("curves.json", format!("{}\n", serde_json::to_string_pretty(&areas)?).as_bytes())?;
        }
    }
    if let Some(folder) = &folder {
        let html = page_of(&loaded, &fleet, (&remaining, &predicted), &scores, &covered, &faithfulness).html();
        folder.write("evaluate.html", html.as_bytes())?;
    }
    Ok(Outcome::Complete)
}

fn page_of(
    loaded: &Loaded,
    fleet: &Fleet,
    (remaining, predicted): (&[f32], &[f32]),
    scores: &Scores,
    covered: &[Coverage],
    faithfulness: &[Faithfulness],
) -> Page {
    let lives: Vec<Life> = fleet
        .units
        .iter()
        .zip(remaining.iter().zip(predicted))
        .map(|(unit, (remaining, predicted))| Life {
            name: &unit.name,
            fault: unit.fault.as_deref(),
            remaining: Some(*remaining),
            predicted: *predicted,
            anchor: None,
        })
        .collect();
    let mut page = page::begin(format!("How far predictions for {} are off", fleet.name), loaded);
    for section in page::lives(&lives) {
        page.push(section);
    }
    if !covered.is_empty() {
        page.push(coverage::section(covered));
    }
    if !faithfulness.is_empty() {
        let columns: Vec<&str> = ["method"].into_iter().chain(METRICS).collect();
        let mut table = Table::new(&columns);
        table.caption = Some(
            "Means over machines with 95% bootstrap intervals; * differs from the first method, paired sign-flip p below 0.05. \
             increase and drop: only what the map finds important is shown; add: it is hidden; @30: masks of equal area."
                .into(),
        );
        for chunk in faithfulness.chunks(METRICS.len()) {
            let cell = |one: &Faithfulness| Cell {
                text: format!("{:.3}{}", one.mean, if one.p.is_some_and(|p| p < 0.05) { " *" } else { "" }),
                small: Some(format!("{:.3} to {:.3}", one.low, one.high)),
                ..one.mean.into()
            };
            table.row([Cell::from(chunk[0].method.as_str())].into_iter().chain(chunk.iter().map(cell)).collect());
        }
        page.push(Section::table("Faithfulness", table));
    }
    page::end(&mut page, loaded, Some(scores));
    page
}

fn predictions(
    fleet: &Fleet,
    remaining: &[f32],
    predicted: &[f32],
    intervals: Option<&[LifeInterval]>,
) -> faithful_core::Result<Vec<u8>> {
    let numbers = |values: &[f32]| Cells::Numbers(values.iter().map(|value| Some(f64::from(*value))).collect());
    let names = Cells::Texts(fleet.units.iter().map(|unit| Some(unit.name.clone())).collect());
    let mut columns = vec![("unit", names), ("remaining", numbers(remaining)), ("predicted", numbers(predicted))];
    if let Some(intervals) = intervals {
        let ends = |of: fn(&LifeInterval) -> f32| intervals.iter().map(of).collect::<Vec<f32>>();
        columns.extend([("low", numbers(&ends(|own| own.low))), ("high", numbers(&ends(|own| own.high)))]);
    }
    encode_table(columns)
}

/// Per method, mask and machine what the network says of the masked window.
type Rows = Vec<Vec<Vec<Masked>>>;

/// The same of one method, and the areas under what it says of each machine.
type Measured = (Vec<Vec<Masked>>, Vec<Areas>);

fn measure(
    loaded: &Loaded,
    methods: &[SeriesMethod],
    windows: &Windows,
    fleet: &Fleet,
    seed: u64,
    output: &Output,
) -> Result<Vec<Measured>> {
    output.start(methods.len() * windows.len(), "explaining");
    let objective = Objective::new(&loaded.network, &loaded.life);
    let maskings = MASKS.map(|(_, masking)| masking);
    let rows = methods
        .iter()
        .map(|method| {
            let machines: Vec<(Vec<Masked>, Areas)> = (0..windows.len())
                .into_par_iter()
                .with_min_len(if loaded.side_by_side() == 1 { windows.len() } else { 1 })
                .map(|place| {
                    let window = windows.inputs.narrow(0, place, 1)?;
                    let stream = Stream::new(seed, &fleet.units[windows.units[place]].name);
                    let found = method.explain(loaded, &window, &loaded.life, stream, output)?;
                    let map = map_of(&found, &window)?;
                    let masked = masked_scores(&objective, &window, &map, &maskings, &Canvas::Zero)?;
                    let areas = Areas::of(loaded, &found, &window)?;
                    output.advance();
                    Ok((masked, areas))
                })
                .collect::<Result<_>>()?;
            let of_mask = |mask: usize| machines.iter().map(|(masked, _)| masked[mask]).collect();
            Ok(((0..MASKS.len()).map(of_mask).collect(), machines.iter().map(|(_, areas)| *areas).collect()))
        })
        .collect::<Result<_>>();
    output.finish();
    rows
}

/// The map as it masks: over sensors and cycles where it tells sensors apart, over cycles otherwise.
fn map_of(found: &SeriesFound, window: &Tensor) -> Result<Tensor> {
    let (_, sensors, cycles) = window.dims3()?;
    Ok(match &found.map {
        Some(map) => Tensor::from_slice(map, (sensors, cycles), &Device::Cpu)?,
        None => Tensor::from_slice(&found.timeline, cycles, &Device::Cpu)?,
    })
}

fn report(
    methods: &[SeriesMethod],
    rows: &Rows,
    folder: Option<&Folder>,
    output: &Output,
) -> Result<Vec<Faithfulness>> {
    type Metric = (&'static str, fn(&Masked) -> f64);
    let metrics: [Metric; 3] =
        [("increase", Masked::increase), ("drop", Masked::drop), ("add", Masked::drop_in_deletion)];
    let mut found: Vec<Faithfulness> = Vec::new();
    for (place, (method, own)) in methods.iter().zip(rows).enumerate() {
        for (mask, (suffix, _)) in MASKS.iter().enumerate() {
            for (name, metric) in metrics {
                let of = |rows: &[Vec<Masked>]| rows[mask].iter().map(metric).collect::<Vec<f64>>();
                let first = (place > 0).then(|| of(&rows[0]));
                found.extend(Faithfulness::of(&method.label, format!("{name}{suffix}"), &of(own), first.as_deref()));
            }
        }
    }
    for line in &found {
        output.object(line)?;
    }
    let columns: Vec<Column> = [Column::left("method")].into_iter().chain(METRICS.map(Column::right)).collect();
    let cells: Vec<Vec<String>> = found
        .chunks(METRICS.len())
        .map(|chunk| {
            let cell = |one: &Faithfulness| format!("{:.3} [{:.3}, {:.3}]", one.mean, one.low, one.high);
            [chunk[0].method.clone()].into_iter().chain(chunk.iter().map(cell)).collect()
        })
        .collect();
    for line in lines(&columns, &cells) {
        output.line(&line)?;
    }
    if let Some(folder) = folder {
        let text = serde_json::to_string_pretty(&found)?;
        folder.write("faithfulness.json", format!("{text}\n").as_bytes())?;
    }
    Ok(found)
}
