//! What was found of machines, as a table and as a page.

use super::model::Loaded;
use super::page::{self, Life, Seen};
use crate::arguments::{LifeScore, RulExplainArguments};
use anyhow::Result;
use faithful_core::Error;
use faithful_page::{Chart, Fold, Page};
use faithful_rul::{Cells, Driver, Fleet, FleetSummary, Interval, Scores, Windows, encode_table};
use serde::Serialize;

/// A machine's explanations for programs: what a page needs.
#[derive(Serialize)]
pub(super) struct Engine {
    #[serde(rename = "engine")]
    pub(super) name: String,
    pub(super) fault: Option<String>,
    pub(super) cycles: Vec<u32>,
    pub(super) predicted: f32,
    /// The interval that holds 90% of machines, where the network knows how far it is off.
    pub(super) interval: Option<Interval>,
    pub(super) remaining: Option<f32>,
    pub(super) explanations: Vec<EngineMap>,
}

#[derive(Serialize)]
pub(super) struct EngineMap {
    pub(super) method: String,
    pub(super) score: f64,
    pub(super) baselines: Option<&'static str>,
    pub(super) draws: Option<usize>,
    pub(super) seconds: f64,
    /// One value per cycle.
    pub(super) timeline: Vec<f32>,
    /// One row of values per sensor, where the method tells sensors apart.
    pub(super) map: Option<Vec<Vec<f32>>>,
    /// The sum over the window of each sensor's values, the greatest first.
    pub(super) drivers: Vec<Driver>,
    pub(super) note: Option<String>,
    pub(super) files: Files,
}

#[derive(Serialize)]
pub(super) struct Files {
    pub(super) chart: String,
    pub(super) picture: String,
    pub(super) map: String,
}

/// Every value as a row: of sensors where the method tells them apart, otherwise of the time line.
///
/// Beside a sensor's value stand its raw reading, the condition that the cycle was run in and what is usual there: the value tells what the
/// reading's distance from that did.
pub(super) fn rows(loaded: &Loaded, fleet: &Fleet, engines: &[Engine]) -> Result<Vec<u8>, Error> {
    let (mut units, mut methods, mut sensors, mut cycles, mut values) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut conditions, mut readings, mut usual) = (Vec::new(), Vec::new(), Vec::new());
    for (engine, unit) in engines.iter().zip(&fleet.units) {
        let labels = loaded.preparation.conditions_of(fleet, unit)?;
        let first = unit.cycles.len() - engine.cycles.len();
        for explanation in &engine.explanations {
            let of_sensor = |row: Option<usize>| row.map(|row| loaded.preparation.sensors[row].clone());
            let lines: Vec<(Option<usize>, &Vec<f32>)> = match &explanation.map {
                Some(map) => map.iter().enumerate().map(|(row, line)| (Some(row), line)).collect(),
                None => vec![(None, &explanation.timeline)],
            };
            for (row, line) in lines {
                let column = row.and_then(|row| column_of(fleet, &loaded.preparation.sensors[row]));
                for (place, (cycle, value)) in engine.cycles.iter().zip(line).enumerate() {
                    let label = labels[first + place];
                    let reading = column.map(|column| unit.readings[(first + place) * fleet.sensors.len() + column]);
                    conditions.push(Some((label + 1) as f64));
                    readings.push(reading.map(f64::from));
                    usual.push(row.map(|row| loaded.preparation.conditions[label].mean[row]));
                    units.push(Some(engine.name.clone()));
                    methods.push(Some(explanation.method.clone()));
                    sensors.push(of_sensor(row));
                    cycles.push(Some(f64::from(*cycle)));
                    values.push(Some(f64::from(*value)));
                }
            }
        }
    }
    encode_table(vec![
        ("unit", Cells::Texts(units)),
        ("method", Cells::Texts(methods)),
        ("sensor", Cells::Texts(sensors)),
        ("cycle", Cells::Numbers(cycles)),
        ("value", Cells::Numbers(values)),
        ("condition", Cells::Numbers(conditions)),
        ("reading", Cells::Numbers(readings)),
        ("usual", Cells::Numbers(usual)),
    ])
}

fn column_of(fleet: &Fleet, sensor: &str) -> Option<usize> {
    fleet.sensors.iter().position(|name| name == sensor)
}

/// The course of every machine's predictions over its life so far.
fn courses(loaded: &Loaded, fleet: &Fleet) -> Result<Vec<Chart>> {
    const POINTS: usize = 6000;
    let cycles: usize = fleet.units.iter().map(|unit| unit.cycles.len()).sum();
    let windows = Windows::course(fleet, &loaded.preparation, 1 + cycles / POINTS)?;
    let predicted = loaded.predict(&windows.inputs)?;
    let cap = loaded.preparation.cap;
    let of = |index: usize| {
        // The latest window comes first.
        let own: Vec<usize> = (0..windows.len()).rev().filter(|place| windows.units[*place] == index).collect();
        let at = |of: &dyn Fn(usize) -> f64| own.iter().map(|place| of(*place)).collect::<Vec<f64>>();
        let remaining = at(&|place| f64::from(windows.remaining[place].min(cap)));
        page::course(
            at(&|place| f64::from(fleet.units[index].cycles[windows.ends[place]])),
            at(&|place| f64::from(predicted[place])),
            fleet.units[index].end.map(|_| remaining),
            cap,
        )
    };
    Ok((0..fleet.units.len()).map(of).collect())
}

/// Everything on one page: lives first, then the fleet, then machine by machine.
pub(super) fn page_of(
    loaded: &Loaded,
    fleet: &Fleet,
    engines: &[Engine],
    summaries: &[(String, FleetSummary)],
    arguments: &RulExplainArguments,
) -> Result<Page> {
    let cap = loaded.preparation.cap;
    let anchor = |place: usize| format!("machine-{place}");
    let lives: Vec<Life> = engines
        .iter()
        .enumerate()
        .map(|(place, engine)| Life {
            name: &engine.name,
            fault: engine.fault.as_deref(),
            remaining: engine.remaining.map(|remaining| remaining.min(cap)),
            predicted: engine.predicted,
            anchor: Some(anchor(place)),
        })
        .collect();
    let mut page = page::begin(format!("What drives {}", fleet.name), loaded);
    for section in page::lives(&lives) {
        page.push(section);
    }
    for (method, summary) in summaries {
        page.push(page::fleet(method, summary));
    }
    for (place, (engine, course)) in engines.iter().zip(courses(loaded, fleet)?).enumerate() {
        let known = engine.remaining.map_or(String::new(), |remaining| format!(", {remaining:.0} in truth"));
        let fault = engine.fault.as_ref().map_or(String::new(), |fault| format!(", fault {fault}"));
        let range = engine.interval.map_or(String::new(), |own| format!(" ({:.0} to {:.0})", own.low, own.high));
        let title = format!("Machine {}: {:.0} cycles left{range}{known}{fault}", engine.name, engine.predicted);
        let seen: Vec<Seen> = engine
            .explanations
            .iter()
            .map(|explanation| Seen {
                method: &explanation.method,
                timeline: &explanation.timeline,
                map: explanation.map.as_ref().map(|map| map.concat()),
                drivers: &explanation.drivers,
            })
            .collect();
        let sensors = &loaded.preparation.sensors;
        let drivers = engine.explanations.iter().map(|one| one.drivers.as_slice()).find(|drivers| !drivers.is_empty());
        let traces = page::traces(loaded, fleet, &fleet.units[place], drivers.unwrap_or_default())?;
        let fold = if place == 0 { Fold::Open } else { Fold::Closed };
        let (cycles, score) = (&engine.cycles, arguments.score);
        let section = page::machine(&title, Some(course), traces, cycles, sensors, &seen, score)?;
        page.push(section.anchor(anchor(place)).folded(fold));
    }
    if let Some(section) = page::sensors(&loaded.preparation.sensors) {
        page.push(section);
    }
    page.fact(
        "Explained score",
        match arguments.score {
            LifeScore::Wear => "wear: what shortens the predicted life is positive (red)",
            LifeScore::Life => "life: what lengthens the predicted life is positive (red)",
        },
    );
    page.fact("Seed", arguments.explanation.seed.to_string());
    let known: Option<Vec<f32>> = lives.iter().map(|life| life.remaining).collect();
    let predicted: Vec<f32> = lives.iter().map(|life| life.predicted).collect();
    let scores = known.map(|known| Scores::of(&predicted, &known)).transpose()?;
    page::end(&mut page, loaded, scores.as_ref());
    Ok(page)
}
