//! From maps over sensors and cycles to what drives a machine, and a fleet, towards its end.

use crate::k_means;
use faithful_core::{Error, Result, Stream};
use serde::Serialize;

/// What each sensor contributed over a window.
#[derive(Clone, Debug, PartialEq)]
pub struct Attributed(pub Vec<f64>);

/// A sensor and what it contributed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Driver {
    /// The sensor.
    pub sensor: String,
    /// Its sum over the window: for complete methods (integrated and expected gradients) cycles of life.
    pub cycles: f64,
}

impl Attributed {
    /// The sums over time of a map with one row of values per sensor.
    pub fn of(map: &[f32], sensors: usize) -> Self {
        let cycles = map.len() / sensors.max(1);
        Self(map.chunks(cycles.max(1)).map(|row| row.iter().map(|value| f64::from(*value)).sum()).collect())
    }

    /// The sensors, those that contributed most first.
    pub fn drivers(&self, sensors: &[String]) -> Vec<Driver> {
        let pairs = self.0.iter().zip(sensors);
        sorted(pairs.map(|(cycles, sensor)| Driver { sensor: sensor.clone(), cycles: *cycles }).collect())
    }
}

fn sorted(mut drivers: Vec<Driver>) -> Vec<Driver> {
    drivers.sort_by(|a, b| b.cycles.total_cmp(&a.cycles).then_with(|| a.sensor.cmp(&b.sensor)));
    drivers
}

/// Which sensors drive a fleet, fault by fault.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FleetSummary {
    /// One per fault, the one with most machines first.
    pub groups: Vec<FaultGroup>,
}

/// Machines that fail alike.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FaultGroup {
    /// The fault, or `pattern N` where faults are not known: machines whose contributions resemble each other.
    pub fault: String,
    /// How many machines there are.
    pub machines: usize,
    /// The mean contributions, the greatest first.
    pub drivers: Vec<Driver>,
    /// By which sensors these machines are told from the others, the surest first; none where there are no others.
    pub signs: Vec<Sign>,
}

/// A sensor whose part in what was contributed is another in these machines than in the others.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Sign {
    /// The sensor.
    pub sensor: String,
    /// Its mean share of what was contributed, in these machines less in the others, in pooled deviations (Cohen's d).
    pub effect: f64,
}

impl FleetSummary {
    /// Summarises machines by their faults; where those are not known, by `faults` clusters of the shares that sensors
    /// have in what was contributed.
    ///
    /// # Errors
    /// [`Error::Parameter`] for more clusters than machines, or no machines.
    pub fn of(machines: &[(Option<&str>, &[Driver])], faults: usize) -> Result<Self> {
        let mut sensors: Vec<&str> =
            machines.iter().flat_map(|(_, drivers)| drivers.iter().map(|driver| driver.sensor.as_str())).collect();
        sensors.sort_unstable();
        sensors.dedup();
        if machines.is_empty() || sensors.is_empty() {
            return Err(Error::parameter("faults", "there are no machines to summarise"));
        }
        let value = |drivers: &[Driver], sensor: &str| {
            drivers.iter().find(|driver| driver.sensor == sensor).map_or(0.0, |driver| driver.cycles)
        };
        let rows: Vec<Vec<f64>> = machines
            .iter()
            .map(|(_, drivers)| {
                let row: Vec<f64> = sensors.iter().map(|sensor| value(drivers, sensor)).collect();
                let total = row.iter().map(|value| value.abs()).sum::<f64>().max(1e-12);
                row.iter().map(|value| value / total).collect()
            })
            .collect();
        let known = machines.iter().all(|(fault, _)| fault.is_some());
        let labels: Vec<String> = if known {
            machines.iter().map(|(fault, _)| fault.unwrap_or_default().to_owned()).collect()
        } else if faults == 1 {
            vec!["all machines".into(); machines.len()]
        } else {
            let clusters = k_means(&rows, faults, &Stream::new(0, "faults"))?;
            clusters.labels.iter().map(|label| format!("pattern {}", label + 1)).collect()
        };
        let mut names = labels.clone();
        names.sort();
        names.dedup();
        let mut groups: Vec<FaultGroup> = names
            .into_iter()
            .map(|fault| {
                let own: Vec<&[Driver]> =
                    machines.iter().zip(&labels).filter(|(_, label)| **label == fault).map(|((_, d), _)| *d).collect();
                let mean =
                    |sensor: &str| own.iter().map(|drivers| value(drivers, sensor)).sum::<f64>() / own.len() as f64;
                let drivers = sensors
                    .iter()
                    .map(|sensor| Driver { sensor: (*sensor).to_owned(), cycles: mean(sensor) })
                    .collect();
                let signs = signs(&sensors, &rows, &labels, &fault);
                FaultGroup { fault, machines: own.len(), drivers: sorted(drivers), signs }
            })
            .collect();
        groups.sort_by_key(|group| std::cmp::Reverse(group.machines));
        Ok(Self { groups })
    }
}

/// What tells the machines of that label from all others.
fn signs(sensors: &[&str], shares: &[Vec<f64>], labels: &[String], label: &str) -> Vec<Sign> {
    let (own, others): (Vec<_>, Vec<_>) = shares.iter().zip(labels).partition(|(_, of)| *of == label);
    if own.is_empty() || others.is_empty() {
        return Vec::new();
    }
    let moments = |rows: &[(&Vec<f64>, &String)], sensor: usize| {
        let count = rows.len() as f64;
        let mean = rows.iter().map(|(row, _)| row[sensor]).sum::<f64>() / count;
        (mean, rows.iter().map(|(row, _)| (row[sensor] - mean).powi(2)).sum::<f64>())
    };
    let of = |(place, sensor): (usize, &&str)| {
        let ((mean, squares), (other, others_squares)) = (moments(&own, place), moments(&others, place));
        let pooled = ((squares + others_squares) / (shares.len().max(3) - 2) as f64).sqrt();
        Sign { sensor: (*sensor).to_owned(), effect: (mean - other) / pooled.max(1e-6) }
    };
    let mut signs: Vec<Sign> = sensors.iter().enumerate().map(of).collect();
    signs.sort_by(|a, b| b.effect.abs().total_cmp(&a.effect.abs()).then_with(|| a.sensor.cmp(&b.sensor)));
    signs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drivers(values: [f64; 3]) -> Vec<Driver> {
        Attributed(values.to_vec()).drivers(&["a", "b", "c"].map(String::from))
    }

    #[test]
    fn a_map_is_summed_over_time_and_sensors_are_ranked() {
        let found = Attributed::of(&[1.0, 2.0, -1.0, 0.5, 4.0, 4.0], 3);
        assert_eq!(found.0, [3.0, -0.5, 8.0]);
        let ranked: Vec<String> = drivers([3.0, -0.5, 8.0]).into_iter().map(|driver| driver.sensor).collect();
        assert_eq!(ranked, ["c", "a", "b"]);
    }

    #[test]
    fn fleets_are_grouped_by_fault_or_by_likeness() {
        let rows =
            [drivers([9.0, 1.0, 0.0]), drivers([0.0, 1.0, 30.0]), drivers([0.1, 0.0, 8.0]), drivers([0.0, 0.0, 7.0])];
        let machines = |faults: [Option<&'static str>; 4]| -> Vec<(Option<&str>, &[Driver])> {
            faults.into_iter().zip(rows.iter().map(Vec::as_slice)).collect()
        };
        let known = FleetSummary::of(&machines([Some("fan"), Some("fan"), Some("hpc"), Some("fan")]), 1).unwrap();
        assert_eq!((known.groups[0].fault.as_str(), known.groups[0].machines), ("fan", 3));
        assert!((known.groups[0].drivers[0].cycles - 37.0 / 3.0).abs() < 1e-9);
        let alike = FleetSummary::of(&machines([None; 4]), 2).unwrap();
        assert_eq!((alike.groups[0].fault.as_str(), alike.groups[0].machines), ("pattern 1", 3));
        assert_eq!(alike.groups[1].drivers[0].sensor, "a");
        // Sensor `c` has nothing in the one machine and nearly all in the others.
        assert!(alike.groups[0].signs[0].effect.abs() > 3.0 && alike.groups[0].signs.len() == 3);
        assert_eq!(FleetSummary::of(&machines([None; 4]), 1).unwrap().groups[0].fault, "all machines");
        assert!(FleetSummary::of(&machines([None; 4]), 1).unwrap().groups[0].signs.is_empty());
        assert!(FleetSummary::of(&machines([None; 4]), 5).is_err());
        assert!(FleetSummary::of(&[], 1).is_err());
    }
}
