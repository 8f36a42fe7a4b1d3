//! `faithful rul explain`: which cycles and which sensors drove predictions.

use super::explained::{Engine, EngineMap, Files, page_of, rows};
use super::method::{SeriesFound, SeriesMethod};
use super::model::Loaded;
use super::source::Source;
use crate::arguments::{LifeScore, RulExplainArguments};
use crate::failure::{Outcome, Usage};
use crate::files::Folder;
use crate::output::Output;
use crate::table::{Column, Table, lines};
use anyhow::Result;
use faithful_core::{Error, Stream};
use faithful_report::{Bars, Map, SeriesMap, bar_chart, encode_npy, series_chart};
use faithful_rul::{Attributed, Driver, Fleet, FleetSummary, Windows, short_units};
use rayon::prelude::*;
use serde_json::json;
use std::time::Instant;

/// The level of the intervals that stand beside predictions.
const LEVEL: f64 = 0.9;

pub(crate) fn run(arguments: &RulExplainArguments, output: &Output) -> Result<Outcome> {
    let source = Source::of(&arguments.fleet)?;
    let loaded = Loaded::of(output, &arguments.model, &arguments.fleet, &source)?;
    let methods: Vec<SeriesMethod> = arguments
        .method
        .iter()
        .map(|name| SeriesMethod::of(name, &loaded, &arguments.explanation))
        .collect::<Result<_>>()?;
    let score = match arguments.score {
        LifeScore::Wear => loaded.life.wear(loaded.preparation.cap),
        LifeScore::Life => loaded.life,
    };
    let mut fleet = source.test()?;
    if !arguments.engines.is_empty() {
        fleet = fleet.named(&arguments.engines)?;
    }
    if let Some(cycle) = arguments.at {
        let (shortest, window) = (loaded.preparation.shortest, loaded.preparation.window);
        if (cycle as usize) < shortest {
            let reason =
                format!("the network's window of {window} cycles needs {shortest} of them; {cycle} are before it");
            return Err(Error::parameter("at", reason).into());
        }
        fleet = until(fleet, cycle)?;
    }
    if let Some(short) = short_units(&fleet, &loaded.preparation) {
        output.note(&short);
    }
    let windows = Windows::last(&fleet, &loaded.preparation)?;
    let predicted = loaded.predict(&windows.inputs)?;
    let intervals = loaded.intervals(&windows.inputs, LEVEL)?;
    let folder = Folder::prepare(&arguments.out)?;
    output.writes_files();
    let table = Table::new(&[
        Column::left("machine").width(8),
        Column::left("method").width(24),
        Column::right("predicted"),
        Column::right("remaining"),
        Column::left("drivers").width(44),
        Column::left("chart"),
    ]);
    output.line(&table.headings())?;
    output.start(windows.len() * methods.len(), "explaining");
    let mut engines = Vec::new();
    // Machines that are done are written before others begin.
    let explain = |place: usize| -> Result<Vec<(SeriesFound, f64)>> {
        let unit = &fleet.units[place];
        let window = windows.inputs.narrow(0, place, 1)?;
        let repeated = loaded.preparation.window.saturating_sub(unit.cycles.len());
        let one = |method: &SeriesMethod| {
            let start = Instant::now();
            // A machine has the same draws whatever else is explained.
            let stream = Stream::new(arguments.explanation.seed, &unit.name);
            let found = method.explain(&loaded, &window, &score, stream, output)?.of_readings(repeated);
            output.advance();
            Ok((found, start.elapsed().as_secs_f64()))
        };
        methods.iter().map(one).collect()
    };
    let places: Vec<usize> = (0..windows.len()).collect();
    let explained =
        places.chunks(loaded.side_by_side()).map(|places| places.par_iter().map(|&place| explain(place)).collect());
    let explained = explained.flat_map(|chunk: Vec<_>| chunk);
    for (place, explained) in explained.enumerate() {
        let unit = &fleet.units[place];
        let first = unit.cycles.len().saturating_sub(loaded.preparation.window);
        let remaining = Some(windows.remaining[place]).filter(|remaining| !remaining.is_nan());
        let mut engine = Engine {
            name: unit.name.clone(),
            fault: unit.fault.clone(),
            cycles: unit.cycles[first..].to_vec(),
            predicted: predicted[place],
            interval: intervals.as_ref().map(|intervals| intervals[place]),
            remaining,
            explanations: Vec::new(),
        };
        for (method, (found, seconds)) in methods.iter().zip(explained?) {
            let explanation = write(&folder, &loaded, &engine, method, found, seconds)?;
            let drivers: Vec<String> = explanation
                .drivers
                .iter()
                .take(3)
                .map(|driver| format!("{} {:.1}", driver.sensor, driver.cycles))
                .collect();
            output.line(&table.row(&[
                engine.name.clone(),
                explanation.method.clone(),
                format!("{:.1}", engine.predicted),
                engine.remaining.map_or_else(|| "-".into(), |remaining| format!("{remaining:.0}")),
                if drivers.is_empty() { "-".into() } else { drivers.join(", ") },
                explanation.files.picture.clone(),
            ]))?;
            if let Some(note) = &explanation.note {
                output.note(&format!("machine {}: {note}", engine.name));
            }
            engine.explanations.push(explanation);
        }
        output.object(&engine)?;
        engines.push(engine);
    }
    output.finish();
    folder.write("explanations.parquet", &rows(&loaded, &fleet, &engines)?)?;
    let faults = arguments.faults.map_or_else(|| source.faults(), Into::into);
    let summaries = summarise(&folder, &methods, &engines, faults, output)?;
    let whole = json!({
        "model": loaded.name, "kind": loaded.kind, "trained_on": loaded.trained_on, "machines": fleet.name,
        "score": if arguments.score == LifeScore::Wear { "wear" } else { "life" },
        "seed": arguments.explanation.seed, "window": loaded.preparation.window, "cap": loaded.preparation.cap,
        "sensors": loaded.preparation.sensors, "engines": engines, "summary": summaries
            .iter()
            .map(|(method, summary)| json!({ "method": method, "groups": summary.groups }))
            .collect::<Vec<_>>(),
    });
    folder.write("explain.html", page_of(&loaded, &fleet, &engines, &summaries, arguments)?.html().as_bytes())?;
    folder.write("explain.json", format!("{whole}\n").as_bytes())?;
    Ok(Outcome::Complete)
}

/// The machines as they were after that cycle.
fn until(fleet: Fleet, cycle: u32) -> Result<Fleet> {
    let (settings, sensors) = (fleet.settings.len(), fleet.sensors.len());
    let units = fleet
        .units
        .into_iter()
        .map(|mut unit| {
            let Some(place) = unit.cycles.iter().position(|own| *own == cycle) else {
                let text = format!("machine {} has no cycle {cycle}: name others with --engines", unit.name);
                return Err(Usage::from(text).into());
            };
            unit.end = unit.remaining(place);
            unit.cycles.truncate(place + 1);
            unit.settings.truncate((place + 1) * settings);
            unit.readings.truncate((place + 1) * sensors);
            Ok(unit)
        })
        .collect::<Result<_>>()?;
    Ok(Fleet { units, ..fleet })
}

fn write(
    folder: &Folder,
    loaded: &Loaded,
    engine: &Engine,
    method: &SeriesMethod,
    found: SeriesFound,
    seconds: f64,
) -> Result<EngineMap> {
    let sensors = &loaded.preparation.sensors;
    let cycles = engine.cycles.len();
    let name = format!("machine-{}.{}", safe(&engine.name), method.label);
    let title = format!("machine {}: {}, {:.0} cycles left", engine.name, method.label, engine.predicted);
    let chart = series_chart(&SeriesMap {
        title: &title,
        cycles: &engine.cycles,
        timeline: &found.timeline,
        sensors: if found.map.is_some() { sensors } else { &[] },
        values: found.map.as_deref().unwrap_or_default(),
    })?;
    let raw = match &found.map {
        Some(map) => Map::new(sensors.len(), cycles, map.clone())?,
        None => Map::new(1, cycles, found.timeline.clone())?,
    };
    let files = Files {
        chart: folder.write(&format!("{name}.svg"), chart.svg().as_bytes())?.display().to_string(),
        picture: folder.write(&format!("{name}.png"), &chart.png()?)?.display().to_string(),
        map: folder.write(&format!("{name}.npy"), &encode_npy(&raw))?.display().to_string(),
    };
    let drivers = found.map.as_ref().map_or_else(Vec::new, |map| Attributed::of(map, sensors.len()).drivers(sensors));
    let draws = method.method.draws();
    Ok(EngineMap {
        method: method.label.clone(),
        score: found.score,
        baselines: method.baselines,
        draws: found.convergence.as_ref().filter(|_| draws).map(|convergence| convergence.draws),
        seconds,
        timeline: found.timeline,
        map: found.map.map(|map| map.chunks(cycles).map(<[f32]>::to_vec).collect()),
        drivers,
        note: (!found.notes.is_empty()).then(|| found.notes.join("; ")),
        files,
    })
}

/// A machine's name as a part of a file's name.
fn safe(name: &str) -> String {
    name.chars().map(|c| if c.is_alphanumeric() || "-_".contains(c) { c } else { '_' }).collect()
}

/// Which sensors drive predictions in the whole fleet, per fault, for every method that tells sensors apart.
fn summarise(
    folder: &Folder,
    methods: &[SeriesMethod],
    engines: &[Engine],
    faults: usize,
    output: &Output,
) -> Result<Vec<(String, FleetSummary)>> {
    let mut summaries = Vec::new();
    for (place, method) in methods.iter().enumerate() {
        let attributed: Vec<(Option<&str>, &[Driver])> = engines
            .iter()
            .map(|engine| (engine.fault.as_deref(), engine.explanations[place].drivers.as_slice()))
            .filter(|(_, drivers)| !drivers.is_empty())
            .collect();
        if attributed.is_empty() {
            continue;
        }
        let summary = FleetSummary::of(&attributed, faults)?;
        let groups: Vec<Bars> = summary
            .groups
            .iter()
            .map(|group| {
                let heading = format!("{}, {} machines", group.fault, group.machines);
                (heading, group.drivers.iter().map(|driver| (driver.sensor.as_str(), driver.cycles)).collect())
            })
            .collect();
        let chart = bar_chart(&format!("cycles of life that each sensor takes, by {}", method.label), &groups);
        folder.write(&format!("fleet.{}.svg", method.label), chart.svg().as_bytes())?;
        folder.write(&format!("fleet.{}.png", method.label), &chart.png()?)?;
        let columns = ["fault", "machines", "told from others by", "drivers"].map(Column::left);
        let cells: Vec<Vec<String>> = summary
            .groups
            .iter()
            .map(|group| {
                let drivers: Vec<String> = group
                    .drivers
                    .iter()
                    .take(5)
                    .map(|driver| format!("{} {:.1}", driver.sensor, driver.cycles))
                    .collect();
                let signs: Vec<String> = group
                    .signs
                    .iter()
                    .take(3)
                    .map(|sign| format!("{}{}", if sign.effect < 0.0 { "less " } else { "" }, sign.sensor))
                    .collect();
                let signs = if signs.is_empty() { "-".into() } else { signs.join(", ") };
                vec![group.fault.clone(), group.machines.to_string(), signs, drivers.join(", ")]
            })
            .collect();
        output.line("")?;
        output.line(&format!("fleet by {}: cycles of predicted life that sensors take, on average", method.label))?;
        for line in lines(&columns, &cells) {
            output.line(&line)?;
        }
        summaries.push((method.label.clone(), summary));
    }
    Ok(summaries)
}
