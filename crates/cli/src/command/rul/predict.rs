//! `faithful rul predict`: what is left of the machines of any number of tables, how sure that is, and which sensors say so.

use super::method::SeriesMethod;
use super::model::Loaded;
use super::source::{Source, tables};
use super::told::{Told, Top, since};
use crate::arguments::{CourseKind, RulPredictArguments};
use crate::failure::{Outcome, Usage};
use crate::files::spare;
use crate::output::Output;
use anyhow::Result;
use faithful_core::{Error, Stream, write_atomic_with};
use faithful_rul::{Fleet, TableWriter, Windows, monotone_course, smoothed_course};
use rayon::prelude::*;
use std::collections::HashMap;
use std::path::Path;

/// How many machines are in memory at a time, and their windows.
const MACHINES: usize = 64;
/// Over how many cycles a smoothed course is a mean.
const SMOOTHED: usize = 10;
/// How many cycles of a machine's course are looked at.
const COURSE: usize = 500;

pub(crate) fn run(arguments: &RulPredictArguments, output: &Output) -> Result<Outcome> {
    let sources = tables(&arguments.fleet)?;
    let Some(first) = sources.first() else { return Err(Usage::from("there are no tables".to_owned()).into()) };
    let loaded = Loaded::of(output, &arguments.model, &arguments.fleet, first)?;
    let method = (arguments.top > 0)
        .then(|| SeriesMethod::of(&arguments.method, &loaded, &arguments.explanation))
        .transpose()?;
    let work = Work { arguments, loaded, method, output };
    let Some(out) = &arguments.out else { return work.all(&sources, &mut |_| Ok(())) };
    let parquet = format(out)?;
    spare(out, arguments.fleet.data.as_deref())?;
    output.writes_files();
    // What goes wrong on the way keeps its own words, and no file is written.
    let mut failed = None;
    let written = write_atomic_with(out, |file| {
        let mut table = TableWriter::new(file, parquet);
        let top = arguments.top;
        let done =
            work.all(&sources, &mut |machines| Ok(table.write(Told::columns(machines, top, arguments.level))?));
        let done = done.map_err(|error| failed.insert(error).to_string()).map_err(Error::internal)?;
        table.finish()?;
        Ok(done)
    });
    match failed {
        Some(error) => Err(error),
        None => Ok(written?),
    }
}

/// Whether the file of that name is Parquet, or CSV.
fn format(out: &Path) -> Result<bool> {
    match out.extension().and_then(|ending| ending.to_str()).map(str::to_lowercase).as_deref() {
        Some("parquet") => Ok(true),
        Some("csv") => Ok(false),
        _ => {
            let reason = format!("`{}`: predictions are written to a .csv or a .parquet file", out.display());
            Err(Error::parameter("out", reason).into())
        }
    }
}

struct Work<'a> {
    arguments: &'a RulPredictArguments,
    loaded: Loaded,
    method: Option<SeriesMethod>,
    output: &'a Output,
}

impl Work<'_> {
    /// Table after table, and in each some machines at a time; of many tables, one that cannot be read is said and left out.
    fn all(&self, sources: &[Source], each: &mut dyn FnMut(&[Told]) -> Result<()>) -> Result<Outcome> {
        if !self.loaded.is_calibrated() {
            self.output.note(
                "the network does not know how far it is off: there are no intervals; train one with `rul train`",
            );
        }
        let (mut known, mut failures, mut warnings) = (HashMap::new(), 0, 0);
        for source in sources {
            // What goes wrong with machines that could be read keeps its own words, and ends all.
            let mut failed = None;
            let read = source.readings(MACHINES, &mut |fleet| {
                let told = self.some(source, fleet, &mut known, each);
                warnings += told.map_err(|error| failed.insert(error).to_string()).map_err(Error::internal)?;
                Ok(())
            });
            match (failed, read) {
                (Some(error), _) => return Err(error),
                (None, Err(error)) if sources.len() > 1 => {
                    self.output.error(&format!("{error:#}"));
                    failures += 1;
                }
                (None, read) => read?,
            }
        }
        if warnings > 0 {
            let text = "machines are unlike all that the network learnt from; what is predicted for them is a guess";
            self.output.note(&format!("{warnings} of {} {text}", known.len()));
        }
        Ok(Outcome::of_failures(failures))
    }

    /// Tells of some machines of a table; how many of them are unlike those of the training. `known` is where machines were met.
    fn some(
        &self,
        source: &Source,
        fleet: Fleet,
        known: &mut HashMap<String, String>,
        each: &mut dyn FnMut(&[Told]) -> Result<()>,
    ) -> Result<usize> {
        let table = source.name();
        for unit in &fleet.units {
            if let Some(before) = known.insert(unit.name.clone(), table.clone()) {
                let text = format!(
                    "machine {} stands in {before} and in {table}: a table has all of a machine's cycles",
                    unit.name
                );
                return Err(Usage::from(text).into());
            }
        }
        let machines = self.machines(&table, fleet)?;
        for machine in &machines {
            self.output.object(machine)?;
            self.output.line(&machine.sentence(self.loaded.preparation.cap, self.arguments.level))?;
        }
        each(&machines)?;
        Ok(machines.iter().filter(|machine| machine.unlike.is_some()).count())
    }

    /// What is to be told of some machines.
    fn machines(&self, table: &str, fleet: Fleet) -> Result<Vec<Told>> {
        let preparation = &self.loaded.preparation;
        let (fleet, lacking) = fleet.regular(preparation.window as u32);
        let memory = (20.0 / preparation.smoothing).ceil() as usize;
        let fleet = fleet.latest(preparation.window + COURSE + memory);
        let windows = Windows::last(&fleet, preparation)?;
        let lives = self.lives(&fleet, &windows)?;
        let intervals = self.loaded.intervals(&windows.inputs, self.arguments.level)?;
        let unlike = self.loaded.familiarity.as_ref().map(|known| known.of(&windows.inputs)).transpose()?;
        let used: Vec<usize> =
            (0..fleet.sensors.len()).filter(|&s| preparation.sensors.contains(&fleet.sensors[s])).collect();
        let told = |place: usize| -> Result<Told> {
            let unit = &fleet.units[place];
            let new = unlike.as_ref().zip(self.loaded.familiarity.as_ref());
            let new = new.and_then(|(unlike, known)| known.is_new(&unlike[place]).then(|| &unlike[place]));
            let first = unit.cycles.len().saturating_sub(preparation.window);
            let missing = |sensor: usize| {
                let readings = unit.readings.iter().skip(first * fleet.sensors.len() + sensor);
                readings.step_by(fleet.sensors.len()).filter(|value| value.is_nan()).count()
            };
            let cycles = unit.cycles.len() - first;
            let silent = used.iter().filter(|&&sensor| missing(sensor) == cycles);
            Ok(Told {
                table: table.to_owned(),
                machine: unit.name.clone(),
                cycle: unit.cycles.last().copied().unwrap_or_default(),
                life: lives[place],
                interval: intervals.as_ref().map(|intervals| intervals[place]),
                remaining: unit.end,
                sensors: self.top(&windows, &fleet, place, lives[place])?,
                unlike: new.map(|unlike| named_shares(&unlike.shares, &preparation.sensors)),
                missing_cycles: lacking[place],
                missing_readings: used.iter().map(|&sensor| missing(sensor)).sum(),
                readings: used.len() * cycles,
                silent: silent.map(|&sensor| fleet.sensors[sensor].clone()).collect(),
                short: (unit.cycles.len() < preparation.shortest).then_some(preparation.shortest),
                cycles: unit.cycles.len(),
            })
        };
        (0..fleet.units.len()).into_par_iter().with_min_len(self.least_part(fleet.units.len())).map(told).collect()
    }

    fn least_part(&self, machines: usize) -> usize {
        if self.loaded.side_by_side() == 1 { machines.max(1) } else { 1 }
    }

    /// The predicted lives, on the course that is asked for.
    fn lives(&self, fleet: &Fleet, windows: &Windows) -> Result<Vec<f32>> {
        let cap = self.loaded.preparation.cap;
        if self.arguments.course == CourseKind::Plain {
            return self.loaded.predict(&windows.inputs);
        }
        let of = |unit| -> Result<f32> {
            let one = Fleet { units: vec![unit], ..fleet.without_units() };
            let windows = Windows::course(&one, &self.loaded.preparation, 1)?;
            let count = windows.len().min(if self.arguments.course == CourseKind::Smooth { SMOOTHED } else { COURSE });
            // The latest window comes first.
            let places: Vec<usize> = (0..count).rev().collect();
            let windows = windows.select(&places)?;
            let lives = self.loaded.predict(&windows.inputs)?;
            let cycles: Vec<u32> = windows.ends.iter().map(|end| one.units[0].cycles[*end]).collect();
            let course = match self.arguments.course {
                CourseKind::Smooth => smoothed_course(&cycles, &lives, SMOOTHED, cap),
                _ => monotone_course(&lives),
            };
            Ok(course.last().copied().unwrap_or(cap))
        };
        fleet.units.iter().cloned().map(of).collect()
    }

    /// The sensors that shorten a machine's life most; none where it looks as good as new.
    fn top(&self, windows: &Windows, fleet: &Fleet, place: usize, life: f32) -> Result<Vec<Top>> {
        let Some(method) = &self.method else { return Ok(Vec::new()) };
        let preparation = &self.loaded.preparation;
        if life > 0.95 * preparation.cap {
            return Ok(Vec::new());
        }
        let unit = &fleet.units[place];
        let window = windows.inputs.narrow(0, place, 1)?;
        let stream = Stream::new(self.arguments.explanation.seed, &unit.name);
        let score = self.loaded.life.wear(preparation.cap);
        let repeated = preparation.window.saturating_sub(unit.cycles.len());
        let found = method.explain(&self.loaded, &window, &score, stream, self.output)?.of_readings(repeated);
        let Some(map) = found.map else {
            let text = format!("{} does not tell sensors apart; name another --method, or --top 0", method.label);
            return Err(Usage::from(text).into());
        };
        let cycles = &unit.cycles[unit.cycles.len().saturating_sub(preparation.window)..];
        let mut sensors: Vec<Top> = map
            .chunks(cycles.len())
            .zip(&preparation.sensors)
            .map(|(row, sensor)| Top {
                sensor: sensor.clone(),
                cycles: row.iter().map(|value| f64::from(*value)).sum(),
                since: since(row, cycles),
            })
            .filter(|top| top.cycles > 0.0)
            .collect();
        sensors.sort_by(|a, b| b.cycles.total_cmp(&a.cycles));
        sensors.truncate(self.arguments.top);
        Ok(sensors)
    }
}

/// The sensors by which a machine is unlike others: up to three with a good part in it.
fn named_shares(shares: &[f64], sensors: &[String]) -> Vec<String> {
    let mut order: Vec<usize> = (0..shares.len()).collect();
    order.sort_by(|a, b| shares[*b].total_cmp(&shares[*a]));
    let named = order.iter().enumerate().take(3).filter(|(rank, place)| *rank == 0 || shares[**place] > 0.15);
    named.map(|(_, place)| sensors[*place].clone()).collect()
}
