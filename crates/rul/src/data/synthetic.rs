//! Machines with known fault modes, made up: for tests, and to try everything without data.

use crate::{Fleet, Unit};
use faithful_core::{Error, Result, Stream};
use rand::Rng;
use rand_distr::StandardNormal;
use std::ops::RangeInclusive;

/// A way to fail, and the sensors that tell of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Its name.
    pub name: &'static str,
    /// The only sensors that it moves.
    pub sensors: [&'static str; 2],
}

/// The ways in which drawn pumps fail.
pub const FAULTS: [Fault; 2] = [
    Fault { name: "bearing", sensors: ["vibration", "bearing_temperature"] },
    Fault { name: "seal", sensors: ["flow", "oil_pressure"] },
];

/// A sensor: its healthy reading, the deviation of its noise, and which way a fault moves it.
struct Sensor {
    name: &'static str,
    level: f64,
    noise: f64,
    direction: f64,
}

const fn sensor(name: &'static str, level: f64, noise: f64, direction: f64) -> Sensor {
    Sensor { name, level, noise, direction }
}

const SENSORS: [Sensor; 10] = [
    sensor("speed", 2950.0, 6.0, 0.0),
    sensor("vibration", 2.1, 0.12, 1.0),
    sensor("inlet_pressure", 1.8, 0.05, 0.0),
    sensor("outlet_pressure", 9.4, 0.11, 0.0),
    sensor("bearing_temperature", 61.0, 1.3, 1.0),
    sensor("oil_pressure", 3.2, 0.06, -1.0),
    sensor("oil_temperature", 48.0, 0.9, 0.0),
    sensor("flow", 118.0, 1.7, -1.0),
    sensor("motor_current", 33.0, 0.5, 0.0),
    sensor("ambient_temperature", 21.0, 1.1, 0.0),
];

/// What is drawn.
#[derive(Clone, Debug, PartialEq)]
pub struct SyntheticSpec {
    /// How many pumps.
    pub units: usize,
    /// The cycles from new to failure.
    pub life: RangeInclusive<u32>,
    /// The cycles from the first damage to failure: what no sensor can tell before it.
    pub decline: RangeInclusive<u32>,
    /// Which of [`FAULTS`] there are, in turn.
    pub faults: Vec<usize>,
    /// How far a fault moves its sensors until the pump fails, in deviations of their noise.
    pub strength: f64,
    /// Whether pumps are stopped before they fail, as those of a test.
    pub stopped: bool,
    /// In how many ways pumps are run: a cycle in one of them, drawn anew for every cycle. With more than one, two settings say which,
    /// and every sensor has a level and a noise of its own in each, further apart than a fault moves it.
    pub regimes: usize,
}

impl Default for SyntheticSpec {
    /// 40 pumps that run to failure within 140 to 240 cycles, the last 100 to 120 of them in decline, by both faults.
    fn default() -> Self {
        Self {
            units: 40,
            life: 140..=240,
            decline: 100..=120,
            faults: vec![0, 1],
            strength: 8.0,
            stopped: false,
            regimes: 1,
        }
    }
}

/// What says how a pump is run, where it is run in several ways.
const SETTINGS: [&str; 2] = ["setting_load", "setting_pressure"];
/// Ways to be run, at most.
const MOST_REGIMES: usize = 12;

/// The settings of a regime, before what is drawn around them.
fn settings_of(regime: usize) -> [f64; 2] {
    [20.0 + 13.0 * regime as f64, 1.0 + 2.5 * ((regime * 5) % MOST_REGIMES) as f64]
}

/// By how many deviations of its noise a sensor's level is moved in a regime, and by what its noise is multiplied.
fn regime_of_sensor(regime: usize, sensor: usize) -> (f64, f64) {
    let turn = ((regime * (sensor + 3)) as f64).sin();
    (30.0 * turn, 1.0 + 0.5 * turn.abs())
}

/// Draws pumps. Unit `u` is the same whatever else is drawn.
///
/// Damage begins some time before the end and grows with the power 1.5 of time. A fault moves its two sensors in
/// proportion to the damage; all other readings know nothing of it: noise that remembers the cycle before, and a slow
/// wave.
///
/// # Errors
/// [`Error::Parameter`] for ranges that make no pumps.
pub fn draw_fleet(spec: &SyntheticSpec, stream: &Stream) -> Result<Fleet> {
    if spec.units == 0 {
        return Err(Error::parameter("units", "0 pumps are too few; 1 at least"));
    }
    let sound = !spec.life.is_empty()
        && !spec.decline.is_empty()
        && spec.decline.end() < spec.life.start()
        && *spec.decline.start() > 1
        && spec.strength.is_finite()
        && (1..=MOST_REGIMES).contains(&spec.regimes)
        && !spec.faults.is_empty()
        && spec.faults.iter().all(|fault| *fault < FAULTS.len());
    if !sound {
        return Err(Error::parameter("synthetic fleet", format!("{spec:?} makes no pumps")));
    }
    let units = (0..spec.units).map(|index| draw_unit(spec, index, stream)).collect();
    let sensors = SENSORS.iter().map(|sensor| sensor.name.to_owned()).collect();
    let settings = if spec.regimes > 1 { &SETTINGS[..] } else { &[] };
    Ok(Fleet {
        name: "synthetic".into(),
        settings: settings.iter().map(|name| (*name).to_owned()).collect(),
        sensors,
        units,
    })
}

fn draw_unit(spec: &SyntheticSpec, index: usize, stream: &Stream) -> Unit {
    let mut random = stream.draw(index);
    let life = random.random_range(spec.life.clone());
    let decline = random.random_range(spec.decline.clone());
    let fault = FAULTS[spec.faults[index % spec.faults.len()]];
    let last = if spec.stopped { life - random.random_range(1..=decline) } else { life };
    let phases: Vec<f64> = SENSORS.iter().map(|_| random.random_range(0.0..std::f64::consts::TAU)).collect();
    let mut noise = vec![0.0f64; SENSORS.len()];
    let mut ways = stream.derive("regimes").draw(index);
    let mut settings = Vec::new();
    let mut readings = Vec::with_capacity(last as usize * SENSORS.len());
    for cycle in 1..=last {
        let progress = (f64::from(cycle) - f64::from(life - decline)).max(0.0) / f64::from(decline);
        let damage = progress.powf(1.5);
        let regime = if spec.regimes > 1 { ways.random_range(0..spec.regimes) } else { 0 };
        if spec.regimes > 1 {
            settings.extend(settings_of(regime).map(|setting| (setting + ways.random_range(-0.01..0.01)) as f32));
        }
        for (place, sensor) in SENSORS.iter().enumerate() {
            let fresh: f64 = random.sample(StandardNormal);
            let moved = fault.sensors.contains(&sensor.name);
            // The memory is that of an autoregressive process of unit deviation.
            noise[place] = 0.6 * noise[place] + 0.8 * fresh;
            let wave = if sensor.direction == 0.0 { (f64::from(cycle) / 17.0 + phases[place]).sin() } else { 0.0 };
            let shift = if moved { spec.strength * damage * sensor.direction } else { 0.0 };
            let (moved_by, wider) = regime_of_sensor(regime, place);
            let away = wider * (noise[place] + wave + shift) + moved_by;
            readings.push((sensor.level + sensor.noise * away) as f32);
        }
    }
    Unit {
        name: (index + 1).to_string(),
        cycles: (1..=last).collect(),
        settings,
        readings,
        end: Some((life - last) as f32),
        fault: Some(fault.name.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_moves_its_two_sensors_and_no_other() {
        let fleet = draw_fleet(&SyntheticSpec::default(), &Stream::new(3, "pumps")).unwrap();
        for unit in &fleet.units {
            let fault = FAULTS.iter().find(|fault| Some(fault.name) == unit.fault.as_deref()).unwrap();
            for (place, sensor) in SENSORS.iter().enumerate() {
                let of = |cycles: std::ops::Range<usize>| {
                    let rows = unit.readings.chunks(SENSORS.len()).skip(cycles.start).take(cycles.len());
                    rows.map(|row| f64::from(row[place])).sum::<f64>() / cycles.len() as f64
                };
                let last = unit.cycles.len();
                let change = (of(last - 5..last) - of(0..20)).abs() / sensor.noise;
                assert_eq!(change > 4.5, fault.sensors.contains(&sensor.name), "{} {change}", sensor.name);
            }
        }
    }

    #[test]
    fn regimes_move_readings_and_normalisation_takes_them_away() {
        use crate::{Preparation, PreparationOptions};
        let stream = Stream::new(3, "pumps");
        let plain = draw_fleet(&SyntheticSpec::default(), &stream).unwrap();
        let several = draw_fleet(&SyntheticSpec { regimes: 6, ..SyntheticSpec::default() }, &stream).unwrap();
        let prepared = |fleet: &Fleet| {
            let preparation = Preparation::fit(fleet, &PreparationOptions::default()).unwrap();
            (preparation.conditions.len(), preparation.apply(fleet).unwrap().concat())
        };
        let ((one, plain), (six, several)) = (prepared(&plain), prepared(&several));
        assert_eq!((one, six), (1, 6));
        let square = plain.iter().zip(&several).map(|(a, b)| (a - b).powi(2)).sum::<f32>() / plain.len() as f32;
        assert!(square < 0.05, "{square}");
    }

    #[test]
    fn a_pump_is_the_same_whatever_else_is_drawn() {
        let stream = Stream::new(3, "pumps");
        let spec = SyntheticSpec { stopped: true, ..SyntheticSpec::default() };
        let many = draw_fleet(&spec, &stream).unwrap();
        let few = draw_fleet(&SyntheticSpec { units: 3, ..spec.clone() }, &stream).unwrap();
        assert_eq!(many.units[..3], few.units);
        assert!(many.units.iter().all(|unit| unit.end.unwrap() >= 1.0 && unit.cycles.len() >= 20));
        assert!(draw_fleet(&SyntheticSpec { units: 0, ..spec.clone() }, &stream).is_err());
        assert!(draw_fleet(&SyntheticSpec { faults: vec![7], ..spec }, &stream).is_err());
    }
}
