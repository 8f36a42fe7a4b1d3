//! What `faithful rul predict` tells of a machine, for people and for programs.

use crate::arguments::MOST_TOP;
use faithful_rul::{Cells, Interval};
use serde::Serialize;

/// A machine's prediction with all that is known of it.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Told {
    pub(super) table: String,
    pub(super) machine: String,
    /// The last cycle.
    pub(super) cycle: u32,
    pub(super) cycles: usize,
    /// The predicted remaining life, in cycles.
    pub(super) life: f32,
    pub(super) interval: Option<Interval>,
    /// The true one, where the table has it.
    pub(super) remaining: Option<f32>,
    /// The sensors that shorten the life most.
    pub(super) sensors: Vec<Top>,
    /// The sensors by which it is unlike all machines that the network learnt from, where it is.
    pub(super) unlike: Option<Vec<String>>,
    pub(super) missing_cycles: u32,
    /// Of the readings of the window that the network sees.
    pub(super) missing_readings: usize,
    pub(super) readings: usize,
    /// Sensors that the network reads and that say nothing in the whole window.
    pub(super) silent: Vec<String>,
    /// How many cycles the network has learnt from at least, where the machine has fewer.
    pub(super) short: Option<usize>,
}

/// A sensor that shortens the life.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Top {
    pub(super) sensor: String,
    /// By how many cycles, for complete methods.
    pub(super) cycles: f64,
    /// The cycle from which on it does.
    pub(super) since: Option<u32>,
}

/// The share of what a sensor shortens that may lie before the cycle it is said to begin with.
const BEFORE: f32 = 0.1;

/// The cycle by which a sensor begins to shorten the life: before it lies less than a tenth of what it does.
pub(super) fn since(row: &[f32], cycles: &[u32]) -> Option<u32> {
    let total: f32 = row.iter().map(|value| value.max(0.0)).sum();
    let mut sum = 0.0;
    let place = row.iter().position(|value| {
        sum += value.max(0.0);
        sum >= BEFORE * total
    });
    cycles.get(place?).copied().filter(|_| total > 0.0)
}

/// `T50, Ps30 and phi`.
fn listed(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [before @ .., last] => format!("{} and {last}", before.join(", ")),
    }
}

impl Told {
    /// `engine 24: 18 cycles (12 to 27, 90%); T50 and Ps30 since cycle 180`, and what is to be known of the readings.
    pub(super) fn sentence(&self, cap: f32, level: f64) -> String {
        let whole = |cycles: f32| format!("{cycles:.0}");
        let more = if self.life >= cap { " or more" } else { "" };
        let mut parts =
            vec![format!("engine {}: {} cycles{more}{}", self.machine, whole(self.life), self.range(cap, level))];
        parts.extend(self.causes());
        if let Some(sensors) = &self.unlike {
            let names: Vec<&str> = sensors.iter().map(String::as_str).collect();
            parts.push(format!("unlike all machines of the training by {}", listed(&names)));
        }
        if let Some(shortest) = self.short {
            parts.push(format!("{} cycles, of {shortest} that are needed", self.cycles));
        }
        if self.missing_cycles > 0 {
            parts.push(format!("{} cycles missing", self.missing_cycles));
        }
        if self.missing_readings > 0 {
            parts.push(format!("{} of {} readings missing", self.missing_readings, self.readings));
        }
        if !self.silent.is_empty() {
            let names: Vec<&str> = self.silent.iter().map(String::as_str).collect();
            parts.push(format!("nothing from {}", listed(&names)));
        }
        parts.join("; ")
    }

    fn range(&self, cap: f32, level: f64) -> String {
        let Some(Interval { low, high }) = self.interval else { return String::new() };
        let to = if high >= cap { "or more".to_owned() } else { format!("to {high:.0}") };
        format!(" ({low:.0} {to}, {}%)", (level * 1000.0).round() / 10.0)
    }

    /// The sensors that matter, those together that begin at about the same time.
    fn causes(&self) -> Option<String> {
        const TOGETHER: u32 = 5;
        let mut groups: Vec<(u32, Vec<&str>)> = Vec::new();
        // What has less than a third of the first one's part is not worth a word.
        let least = self.sensors.first()?.cycles / 3.0;
        for top in self.sensors.iter().filter(|top| top.cycles >= least) {
            let Some(since) = top.since else { continue };
            match groups.iter_mut().find(|(first, _)| first.abs_diff(since) <= TOGETHER) {
                Some((first, names)) => {
                    *first = (*first).min(since);
                    names.push(&top.sensor);
                }
                None => groups.push((since, vec![&top.sensor])),
            }
        }
        let words: Vec<String> =
            groups.iter().map(|(since, names)| format!("{} since cycle {since}", listed(names))).collect();
        (!words.is_empty()).then(|| words.join(", "))
    }

    /// A row per machine, with `top` sensors each.
    pub(super) fn columns(machines: &[Self], top: usize, level: f64) -> Vec<(&'static str, Cells)> {
        let texts = |of: &dyn Fn(&Self) -> Option<String>| Cells::Texts(machines.iter().map(of).collect());
        let numbers = |of: &dyn Fn(&Self) -> Option<f64>| Cells::Numbers(machines.iter().map(of).collect());
        let joined = |names: &[String]| (!names.is_empty()).then(|| names.join(" "));
        let end = |of: fn(&Interval) -> f32| numbers(&|told| told.interval.as_ref().map(|own| f64::from(of(own))));
        let mut columns = vec![
            ("table", texts(&|told| Some(told.table.clone()))),
            ("unit", texts(&|told| Some(told.machine.clone()))),
            ("cycle", numbers(&|told| Some(f64::from(told.cycle)))),
            ("life", numbers(&|told| Some(f64::from(told.life)))),
            ("low", end(|own| own.low)),
            ("high", end(|own| own.high)),
            ("level", numbers(&|told| told.interval.map(|_| level))),
            ("remaining", numbers(&|told| told.remaining.map(f64::from))),
        ];
        for (place, [sensor, cycles, since]) in TOP.into_iter().enumerate().take(top) {
            columns.push((sensor, texts(&|told| told.sensors.get(place).map(|top| top.sensor.clone()))));
            columns.push((cycles, numbers(&|told| told.sensors.get(place).map(|top| top.cycles))));
            columns.push((since, numbers(&|told| told.sensors.get(place)?.since.map(f64::from))));
        }
        columns.extend([
            ("unlike_by", texts(&|told| joined(told.unlike.as_deref().unwrap_or_default()))),
            ("missing_cycles", numbers(&|told| Some(f64::from(told.missing_cycles)))),
            ("missing_readings", numbers(&|told| Some(told.missing_readings as f64))),
            ("silent", texts(&|told| joined(&told.silent))),
        ]);
        columns
    }
}

/// The columns of every sensor that is named.
const TOP: [[&str; 3]; MOST_TOP] = [
    ["sensor_1", "cycles_1", "since_1"],
    ["sensor_2", "cycles_2", "since_2"],
    ["sensor_3", "cycles_3", "since_3"],
    ["sensor_4", "cycles_4", "since_4"],
    ["sensor_5", "cycles_5", "since_5"],
];

#[cfg(test)]
mod tests {
    use super::*;

    fn told() -> Told {
        let top = |sensor: &str, cycles, since| Top { sensor: sensor.into(), cycles, since: Some(since) };
        Told {
            table: "fleet".into(),
            machine: "24".into(),
            cycle: 186,
            cycles: 186,
            life: 18.2,
            interval: Some(Interval { low: 12.0, high: 27.1 }),
            remaining: None,
            sensors: vec![top("T50", 30.0, 180), top("Ps30", 25.0, 182), top("phi", 2.0, 150)],
            unlike: None,
            missing_cycles: 0,
            missing_readings: 0,
            readings: 840,
            silent: Vec::new(),
            short: None,
        }
    }

    #[test]
    fn a_machine_is_told_in_a_sentence() {
        let usual = told();
        assert_eq!(usual.sentence(125.0, 0.9), "engine 24: 18 cycles (12 to 27, 90%); T50 and Ps30 since cycle 180");
        let new = Told {
            life: 125.0,
            interval: Some(Interval { low: 97.0, high: 125.0 }),
            sensors: Vec::new(),
            unlike: Some(vec!["Nf".into()]),
            missing_cycles: 3,
            missing_readings: 7,
            silent: vec!["W31".into(), "W32".into()],
            ..usual
        };
        assert_eq!(
            new.sentence(125.0, 0.95),
            "engine 24: 125 cycles or more (97 or more, 95%); unlike all machines of the training by Nf; 3 cycles missing; \
             7 of 840 readings missing; nothing from W31 and W32"
        );
    }

    #[test]
    fn a_sensor_begins_where_a_tenth_of_its_part_is_reached() {
        assert_eq!(since(&[0.0, 0.5, -3.0, 4.0, 5.5], &[10, 11, 12, 13, 14]), Some(13));
        assert_eq!(since(&[-1.0, 0.0], &[10, 11]), None);
    }

    #[test]
    fn a_row_has_the_sensors_that_are_asked_for() {
        let names: Vec<&str> = Told::columns(&[told()], 2, 0.9).into_iter().map(|(name, _)| name).collect();
        assert!(names.contains(&"since_2") && !names.contains(&"sensor_3"));
    }
}
