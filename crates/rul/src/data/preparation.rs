use crate::data::conditions::nearest;
use crate::{Fleet, Unit, k_means};
use faithful_core::{Error, Result, Stream, suggest};
use serde::{Deserialize, Serialize};

/// How readings become a network's input. It is learnt from training engines, and stands beside the weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Preparation {
    /// How many cycles the network sees at once.
    pub window: usize,
    /// How many cycles a machine must have: what a window lacks at its beginning is the mean of its first
    /// ten. 0 in a file stands for the whole window.
    #[serde(default)]
    pub shortest: usize,
    /// The remaining life above which engines count as healthy, in cycles: targets are cut off there.
    pub cap: f32,
    /// The share of the newest reading in an exponential mean over all cycles so far; 1 takes readings as they are.
    pub smoothing: f32,
    /// The sensors that are kept, in the network's order; [`Preparation::AGE`] stands for how many cycles a machine has run.
    pub sensors: Vec<String>,
    /// The operational settings that tell conditions apart.
    pub settings: Vec<String>,
    /// What a setting is divided by before distances between conditions are taken.
    pub setting_scale: Vec<f64>,
    /// The operating conditions.
    pub conditions: Vec<Condition>,
}

/// One operating condition, and what sensors read there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Condition {
    /// Its settings, scaled.
    pub centre: Vec<f64>,
    /// What is subtracted from each kept sensor.
    pub mean: Vec<f64>,
    /// What it is divided by afterwards.
    pub std: Vec<f64>,
}

/// What can be chosen about a [`Preparation`].
#[derive(Clone, Debug, PartialEq)]
pub struct PreparationOptions {
    /// The window's length in cycles.
    pub window: usize,
    /// How many cycles a machine must have; nothing for those of the window.
    pub shortest: Option<usize>,
    /// The cap of the remaining life in cycles.
    pub cap: f32,
    /// The share of the newest reading in the exponential mean, in `(0, 1]`.
    pub smoothing: f32,
    /// How many operating conditions there are; nothing for as many as the settings form, one where they form none.
    pub conditions: Option<usize>,
    /// The sensors to keep; nothing for all that are not constant.
    pub sensors: Option<Vec<String>>,
    /// Whether the number of the cycle is read like a sensor, behind the others.
    pub age: bool,
    /// To which range readings are brought within each condition.
    pub scaling: Scaling,
}

/// What readings are brought to, over the cycles that a [`Preparation`] learns from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scaling {
    /// Mean 0 and deviation 1.
    #[default]
    Standard,
    /// The lowest reading to 0, the highest to 1.
    MinMax,
    /// The lowest reading to -1, the highest to 1.
    Symmetric,
    /// They stay as they are.
    Nothing,
}

impl Scaling {
    /// What is subtracted from readings, and what they are divided by afterwards.
    fn of(self, readings: &[f32]) -> (f64, f64) {
        let values = readings.iter().map(|value| f64::from(*value));
        let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
        let (shift, scale) = match self {
            Self::Standard => return mean_and_std(readings),
            Self::MinMax => (low, high - low),
            Self::Symmetric => (f64::midpoint(low, high), (high - low) / 2.0),
            Self::Nothing => (0.0, 1.0),
        };
        // A condition without readings, and one where they are constant.
        if shift.is_finite() { (shift, if scale > 0.0 { scale } else { 1.0 }) } else { (0.0, 1.0) }
    }
}

impl Default for PreparationOptions {
    /// 30 cycles, a cap of 125, readings as they are and no age, the conditions that the settings form.
    fn default() -> Self {
        let scaling = Scaling::Standard;
        Self {
            window: 30,
            shortest: None,
            cap: 125.0,
            smoothing: 1.0,
            conditions: None,
            sensors: None,
            age: false,
            scaling,
        }
    }
}

/// A sensor that gives the same reading this often counts as constant.
const CONSTANT: f64 = 0.95;

/// Where a network's input comes from.
#[derive(Clone, Copy)]
enum Column {
    /// A sensor's place in its fleet.
    Sensor(usize),
    /// The number of the cycle.
    Age,
}

impl Column {
    fn reading(self, fleet: &Fleet, unit: &Unit, cycle: usize) -> f32 {
        match self {
            Self::Sensor(sensor) => unit.readings[cycle * fleet.sensors.len() + sensor],
            Self::Age => unit.cycles[cycle] as f32,
        }
    }
}

impl Preparation {
    /// What stands in the place of a sensor's name for the number of the cycle.
    pub const AGE: &str = "cycle";

    /// Learns conditions, means and deviations from the engines of `fleet`, which should be those of training alone.
    ///
    /// A sensor is left out where it gives one and the same reading in at least 95% of the cycles of every condition. Each
    /// kept sensor is scaled within each condition.
    ///
    /// # Errors
    /// [`Error::Parameter`] for options outside their range, [`Error::UnknownName`] for a sensor that is not there.
    pub fn fit(fleet: &Fleet, options: &PreparationOptions) -> Result<Self> {
        let PreparationOptions { window, shortest, cap, smoothing, conditions, ref sensors, age, scaling } = *options;
        let shortest = shortest.unwrap_or(window);
        let refuse = |name, reason: String| Err(Error::parameter(name, reason));
        if window < 2 {
            return refuse("window", format!("{window} cycles are too few; 2 at least"));
        }
        if !(1..=window).contains(&shortest) {
            return refuse("shortest", format!("{shortest} cycles are not from 1 to the window's {window}"));
        }
        if !(cap.is_finite() && cap > 0.0) {
            return refuse("cap", format!("{cap} is not a number of cycles above 0"));
        }
        if !(smoothing > 0.0 && smoothing <= 1.0) {
            return refuse("smoothing", format!("{smoothing} is not a share above 0 and at most 1"));
        }
        let (centres, setting_scale, labels) = conditions_of(fleet, conditions)?;
        let columns: Vec<usize> = match sensors {
            Some(names) => names.iter().map(|name| column(fleet, name)).collect::<Result<_>>()?,
            None => (0..fleet.sensors.len())
                .filter(|&sensor| !(0..centres.len()).all(|c| is_constant(&readings(fleet, sensor, &labels, c))))
                .collect(),
        };
        if columns.is_empty() {
            return refuse("sensors", format!("every sensor of {} is constant", fleet.name));
        }
        let age = (age && !columns.iter().any(|&sensor| fleet.sensors[sensor] == Self::AGE)).then(|| {
            let ages = fleet.units.iter().flat_map(|unit| &unit.cycles).map(|cycle| *cycle as f32);
            // How old a machine is has nothing to do with how it is run.
            scaling.of(&ages.collect::<Vec<_>>())
        });
        let conditions = centres
            .into_iter()
            .enumerate()
            .map(|(index, centre)| {
                let moments = |&sensor: &usize| scaling.of(&readings(fleet, sensor, &labels, index));
                let (mean, std) = columns.iter().map(moments).chain(age).unzip();
                Condition { centre, mean, std }
            })
            .collect();
        let sensors = columns.iter().map(|&sensor| fleet.sensors[sensor].clone());
        let sensors = sensors.chain(age.map(|_| Self::AGE.into())).collect();
        let settings = fleet.settings.clone();
        Ok(Self { window, shortest, cap, smoothing, sensors, settings, setting_scale, conditions })
    }

    /// Itself, if it can be applied: what was read from a file may hold anything.
    pub(crate) fn checked(mut self) -> std::result::Result<Self, String> {
        if self.shortest == 0 {
            self.shortest = self.window;
        }
        let sensors = self.sensors.len();
        let fits = |condition: &Condition| {
            let numbers = condition.centre.iter().chain(&condition.mean).chain(&condition.std);
            condition.centre.len() == self.settings.len()
                && condition.mean.len() == sensors
                && condition.std.len() == sensors
                && condition.std.iter().all(|std| *std > 0.0)
                && numbers.into_iter().all(|number| number.is_finite())
        };
        let scales = self.setting_scale.len() == self.settings.len() && self.setting_scale.iter().all(|s| *s > 0.0);
        let cycles = self.window >= 2 && self.shortest <= self.window;
        let ranges = cycles && self.cap > 0.0 && self.smoothing > 0.0 && self.smoothing <= 1.0;
        if sensors > 0 && !self.conditions.is_empty() && self.conditions.iter().all(fits) && scales && ranges {
            Ok(self)
        } else {
            Err("its preparation is not whole: sensors, conditions, means and deviations do not fit together".into())
        }
    }

    /// The columns of `fleet` that the network reads.
    ///
    /// # Errors
    /// [`Error::Format`] for a sensor or setting that the fleet does not have.
    fn columns(&self, fleet: &Fleet) -> Result<(Vec<Column>, Vec<usize>)> {
        let find = |kind: &str, name: &String, known: &[String]| {
            known.iter().position(|own| own == name).ok_or_else(|| {
                let close = suggest(name, known.iter().map(String::as_str));
                let hint = close.first().map_or(String::new(), |close| format!("; did you mean `{close}`?"));
                Error::format(&fleet.name, format!("it has no {kind} `{name}`, which the network reads{hint}"))
            })
        };
        let sensor = |name| match find("sensor", name, &fleet.sensors) {
            Err(_) if name == Self::AGE => Ok(Column::Age),
            found => found.map(Column::Sensor),
        };
        let settings = if self.conditions.len() > 1 { &self.settings[..] } else { &[] };
        let settings = settings.iter().map(|name| find("setting", name, &fleet.settings)).collect::<Result<_>>()?;
        Ok((self.sensors.iter().map(sensor).collect::<Result<_>>()?, settings))
    }

    /// The kept sensors of each unit, standardised and smoothed: `(cycles, sensors)`, cycle by cycle. A reading that is missing (NaN)
    /// leaves its sensor's mean as it is; before a sensor's first reading 0 stands, what is usual in training. A cycle whose settings
    /// are missing is taken to be run as the one before.
    ///
    /// # Errors
    /// [`Error::Format`] for a sensor or setting that the fleet does not have.
    pub fn apply(&self, fleet: &Fleet) -> Result<Vec<Vec<f32>>> {
        let (sensors, settings) = self.columns(fleet)?;
        Ok(fleet.units.iter().map(|unit| self.series(fleet, unit, &sensors, &settings)).collect())
    }

    /// The condition of every cycle of a unit, by its place in [`Preparation::conditions`].
    ///
    /// # Errors
    /// [`Error::Format`] for a setting that the fleet does not have.
    pub fn conditions_of(&self, fleet: &Fleet, unit: &Unit) -> Result<Vec<usize>> {
        let (_, settings) = self.columns(fleet)?;
        Ok(self.labels(fleet, unit, &settings))
    }

    fn labels(&self, fleet: &Fleet, unit: &Unit, settings: &[usize]) -> Vec<usize> {
        if self.conditions.len() == 1 {
            return vec![0; unit.cycles.len()];
        }
        let centres: Vec<Vec<f64>> = self.conditions.iter().map(|condition| condition.centre.clone()).collect();
        let mut before = 0;
        let of_cycle = |cycle: usize| {
            let of = |setting: usize| f64::from(unit.settings[cycle * fleet.settings.len() + setting]);
            let scaled: Vec<f64> =
                settings.iter().zip(&self.setting_scale).map(|(&setting, scale)| of(setting) / scale).collect();
            if !scaled.iter().any(|value| value.is_nan()) {
                before = nearest(&centres, &scaled).0;
            }
            before
        };
        (0..unit.cycles.len()).map(of_cycle).collect()
    }

    fn series(&self, fleet: &Fleet, unit: &Unit, sensors: &[Column], settings: &[usize]) -> Vec<f32> {
        let mut series = Vec::with_capacity(unit.cycles.len() * sensors.len());
        // A mean and the weight of the readings in it: the weights of an exponential mean sum to less than one at first.
        let mut means = vec![(0.0, 0.0); sensors.len()];
        let share = f64::from(self.smoothing);
        for (cycle, condition) in self.labels(fleet, unit, settings).into_iter().enumerate() {
            let Condition { mean: centre, std, .. } = &self.conditions[condition];
            for (place, sensor) in sensors.iter().enumerate() {
                let reading = f64::from(sensor.reading(fleet, unit, cycle));
                let (mean, weight) = &mut means[place];
                if !reading.is_nan() {
                    *mean = (1.0 - share) * *mean + share * (reading - centre[place]) / std[place];
                    *weight = (1.0 - share) * *weight + share;
                }
                series.push(if *weight > 0.0 { (*mean / *weight) as f32 } else { 0.0 });
            }
        }
        series
    }
}

fn column(fleet: &Fleet, name: &str) -> Result<usize> {
    let place = fleet.sensors.iter().position(|sensor| sensor == name);
    place.ok_or_else(|| Error::unknown("sensor", name, fleet.sensors.iter().map(String::as_str)))
}

type Conditions = (Vec<Vec<f64>>, Vec<f64>, Vec<usize>);

/// The centres of the conditions, the settings' scales, and the condition of every cycle of every unit.
fn conditions_of(fleet: &Fleet, count: Option<usize>) -> Result<Conditions> {
    let width = fleet.settings.len();
    let rows: Vec<&[f32]> = fleet.units.iter().flat_map(|unit| unit.settings.chunks(width.max(1))).collect();
    let cycles = fleet.units.iter().map(|unit| unit.cycles.len()).sum();
    let range = |setting: usize| {
        let values = rows.iter().map(|row| f64::from(row[setting]));
        let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
        if high > low { high - low } else { 1.0 }
    };
    let scale: Vec<f64> = (0..width).map(range).collect();
    let one = || (vec![vec![0.0; width]], scale.clone(), vec![0; cycles]);
    if count == Some(1) || (count.is_none() && width == 0) {
        return Ok(one());
    }
    if width == 0 {
        let count = count.unwrap_or_default();
        let reason = format!("{count} operating conditions need settings that tell them apart, and there are none");
        return Err(Error::parameter("conditions", reason));
    }
    let points: Vec<Vec<f64>> = rows
        .iter()
        .map(|row| row.iter().zip(&scale).map(|(value, scale)| f64::from(*value) / scale).collect())
        .collect();
    let count = count.unwrap_or_else(|| how_many(&points));
    if count == 1 {
        return Ok(one());
    }
    let found = k_means(&points, count, &Stream::new(0, "operating conditions"))
        .map_err(|error| Error::parameter("conditions", error.to_string()))?;
    Ok((found.centres, scale, found.labels))
}

/// How many conditions settings form at most, where nobody says.
const MOST: usize = 12;
/// The share of the settings' spread that may be left within conditions.
const WITHIN: f64 = 1e-3;
/// How many cycles are looked at to find how many conditions there are.
const LOOKED_AT: usize = 1000;

/// The least number of conditions that leave next to nothing of the settings' spread; one where up to [`MOST`] leave more, because
/// settings then vary without forming conditions.
fn how_many(points: &[Vec<f64>]) -> usize {
    let step = points.len().div_ceil(LOOKED_AT).max(1);
    let some: Vec<Vec<f64>> = points.iter().step_by(step).cloned().collect();
    let stream = Stream::new(0, "number of operating conditions");
    let spread = |count: usize| k_means(&some, count, &stream).map(|found| found.spread);
    let Ok(whole) = spread(1) else { return 1 };
    if whole <= 0.0 {
        return 1;
    }
    (2..=MOST).find(|&count| spread(count).is_ok_and(|left| left <= WITHIN * whole)).unwrap_or(1)
}

/// A sensor's readings in one condition.
fn readings(fleet: &Fleet, sensor: usize, labels: &[usize], condition: usize) -> Vec<f32> {
    let rows = fleet.units.iter().flat_map(|unit| unit.readings.chunks(fleet.sensors.len()));
    rows.zip(labels).filter(|(_, label)| **label == condition).map(|(row, _)| row[sensor]).collect()
}

fn is_constant(readings: &[f32]) -> bool {
    let mut sorted = readings.to_vec();
    sorted.sort_by(f32::total_cmp);
    let longest = sorted.chunk_by(|a, b| a == b).map(<[f32]>::len).max().unwrap_or(0);
    longest as f64 >= CONSTANT * readings.len() as f64
}

fn mean_and_std(readings: &[f32]) -> (f64, f64) {
    let count = readings.len().max(1) as f64;
    let mean = readings.iter().map(|value| f64::from(*value)).sum::<f64>() / count;
    let variance = readings.iter().map(|value| (f64::from(*value) - mean).powi(2)).sum::<f64>() / count;
    let std = variance.sqrt();
    // A sensor that is constant in this condition says nothing there: zero, whatever it is divided by.
    (mean, if std > 1e-9 * mean.abs().max(1e-3) { std } else { 1.0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two conditions that shift sensor `a`; `b` never changes, `c` once.
    fn fleet() -> Fleet {
        let unit = |name: &str, phase: usize| {
            let cycles: Vec<u32> = (1..=40).collect();
            let at = |i: usize| if (i + phase).is_multiple_of(3) { 20.0 } else { 0.0 };
            let settings = (0..40).map(at).collect();
            let readings = (0..40).flat_map(|i| {
                let jump = if i == 7 { 1.0 } else { 0.0 };
                [at(i) * 50.0 + (i % 4) as f32, 5.0, 9.0 + jump]
            });
            Unit { name: name.into(), cycles, settings, readings: readings.collect(), end: Some(0.0), fault: None }
        };
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let units = vec![unit("1", 0), unit("2", 1)];
        Fleet { name: "test".into(), settings: names(&["setting"]), sensors: names(&["a", "b", "c"]), units }
    }

    #[test]
    fn each_condition_is_standardised_by_itself_and_constant_sensors_are_left_out() {
        let options = PreparationOptions { conditions: Some(2), ..PreparationOptions::default() };
        let preparation = Preparation::fit(&fleet(), &options).unwrap();
        assert_eq!(preparation.sensors, ["a"]);
        let series = preparation.apply(&fleet()).unwrap().concat();
        let (mean, std) = mean_and_std(&series);
        assert!(mean.abs() < 1e-6 && (std - 1.0).abs() < 1e-6, "{mean} {std}");
        // With one condition the shift of 1000 would drown the readings.
        assert!(series.iter().all(|value| value.abs() < 2.0));
    }

    #[test]
    fn readings_are_brought_to_the_range_that_is_asked_for() {
        let ends = |scaling| {
            let options = PreparationOptions { conditions: Some(2), scaling, ..PreparationOptions::default() };
            let series = Preparation::fit(&fleet(), &options).unwrap().apply(&fleet()).unwrap().concat();
            series.iter().fold((f32::INFINITY, f32::NEG_INFINITY), |(l, h), v| (l.min(*v), h.max(*v)))
        };
        assert_eq!(ends(Scaling::MinMax), (0.0, 1.0));
        assert_eq!(ends(Scaling::Symmetric), (-1.0, 1.0));
        assert_eq!(ends(Scaling::Nothing), (0.0, 1003.0));
        assert_eq!(Scaling::MinMax.of(&[4.0, 4.0]), (4.0, 1.0));
        assert_eq!(Scaling::Symmetric.of(&[]), (0.0, 1.0));
    }

    #[test]
    fn smoothing_is_the_weighted_mean_of_all_readings_so_far() {
        let fleet = Fleet { settings: Vec::new(), ..fleet() };
        let plain = Preparation::fit(&fleet, &PreparationOptions::default()).unwrap();
        let smooth = Preparation { smoothing: 0.25, ..plain.clone() };
        let (raw, found) = (plain.apply(&fleet).unwrap(), smooth.apply(&fleet).unwrap());
        for cycle in [0, 1, 9] {
            let weights: Vec<f64> = (0..=cycle).map(|back| 0.75f64.powi(back)).collect();
            let pairs = weights.iter().enumerate();
            let sum: f64 = pairs.map(|(back, w)| w * f64::from(raw[0][cycle as usize - back])).sum();
            let expected = sum / weights.iter().sum::<f64>();
            assert!((f64::from(found[0][cycle as usize]) - expected).abs() < 1e-6);
        }
    }

    #[test]
    fn conditions_are_found_where_settings_form_them() {
        let fit = |fleet: &Fleet| Preparation::fit(fleet, &PreparationOptions::default()).unwrap();
        assert_eq!(fit(&fleet()).conditions.len(), 2);
        let spread = |of: &dyn Fn(usize) -> f32| {
            let mut fleet = fleet();
            for unit in &mut fleet.units {
                unit.settings = (0..40).map(of).collect();
            }
            fit(&fleet).conditions.len()
        };
        assert_eq!(spread(&|_| 7.0), 1);
        // Settings that vary evenly form none.
        assert_eq!(spread(&|cycle| (cycle * 17 % 40) as f32), 1);
        assert_eq!(spread(&|cycle| (cycle % 6) as f32 * 10.0 + (cycle % 5) as f32 * 0.01), 6);
    }

    #[test]
    fn missing_readings_leave_the_mean_and_missing_settings_the_condition() {
        let whole = fleet();
        let options = PreparationOptions { conditions: Some(2), smoothing: 0.5, ..PreparationOptions::default() };
        let preparation = Preparation::fit(&whole, &options).unwrap();
        let mut gaps = whole.clone();
        for cycle in [0, 5] {
            gaps.units[0].readings[cycle * 3] = f32::NAN;
        }
        gaps.units[0].settings[6] = f32::NAN;
        let (before, after) = (preparation.apply(&whole).unwrap(), preparation.apply(&gaps).unwrap());
        assert_eq!(after[0][0], 0.0);
        assert_eq!(after[0][5], after[0][4]);
        assert!(after.concat().iter().all(|value| value.is_finite()) && before[1] == after[1]);
        let labels = preparation.conditions_of(&gaps, &gaps.units[0]).unwrap();
        assert_eq!(labels[6], labels[5]);
    }

    #[test]
    fn age_is_read_like_a_sensor_whatever_the_condition() {
        let options = PreparationOptions { conditions: Some(2), age: true, ..PreparationOptions::default() };
        let mut fleet = fleet();
        fleet.units[1].cycles.iter_mut().for_each(|cycle| *cycle += 100);
        let preparation = Preparation::fit(&fleet, &options).unwrap();
        assert_eq!(preparation.sensors, ["a", Preparation::AGE]);
        let series = preparation.apply(&fleet).unwrap();
        let ages: Vec<f32> = series.iter().flatten().skip(1).step_by(2).copied().collect();
        let (mean, std) = mean_and_std(&ages);
        assert!(mean.abs() < 1e-6 && (std - 1.0).abs() < 1e-6, "{mean} {std}");
        assert!(ages.is_sorted() && ages[40] - ages[39] > 50.0 * (ages[1] - ages[0]));
        // A sensor of that name is a sensor.
        fleet.sensors[2] = Preparation::AGE.into();
        let read = preparation.apply(&fleet).unwrap();
        assert_eq!((read[1][1], read[0][1]), (read[0][1], read[0][3]));
        assert!(!Preparation::fit(&fleet, &PreparationOptions::default()).unwrap().sensors.contains(&"cycle".into()));
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let fit = |options: PreparationOptions| Preparation::fit(&fleet(), &options).unwrap_err().to_string();
        let usual = PreparationOptions::default();
        assert!(fit(PreparationOptions { window: 1, ..usual.clone() }).starts_with("window"));
        assert!(fit(PreparationOptions { shortest: Some(31), ..usual.clone() }).starts_with("shortest"));
        assert!(fit(PreparationOptions { cap: f32::NAN, ..usual.clone() }).starts_with("cap"));
        assert!(fit(PreparationOptions { smoothing: 0.0, ..usual.clone() }).starts_with("smoothing"));
        assert!(fit(PreparationOptions { conditions: Some(9), ..usual.clone() }).starts_with("conditions"));
        let unknown = PreparationOptions { sensors: Some(vec!["d".into()]), ..usual.clone() };
        assert!(fit(unknown).contains("no sensor `d`"));
        let other = Fleet { sensors: ["a2", "b", "c"].map(String::from).to_vec(), ..fleet() };
        let preparation = Preparation::fit(&fleet(), &usual).unwrap();
        let error = preparation.apply(&other).unwrap_err().to_string();
        assert!(error.contains("no sensor `a`") && error.contains("did you mean `a2`"), "{error}");
        assert!(Preparation { conditions: Vec::new(), ..preparation }.checked().is_err());
    }
}
