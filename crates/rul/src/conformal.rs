//! Prediction intervals that hold for machines: conformal prediction, with machines as what is exchangeable.

use candle_core::{Device, Tensor};
use faithful_core::{Error, Result};
use serde::{Deserialize, Serialize};

/// Errors on machines that a network, or the member of it that judged them, has not learnt from.
///
/// A window's error is scaled by [`Calibration::spread`]: near the end predictions are off by few cycles, far from it by many.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    rows: Vec<Row>,
}

/// A window of a machine that was held out.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Row {
    machine: usize,
    /// The member that did not learn from the machine; nothing where none did.
    member: Option<usize>,
    /// The true life less the predicted one, scaled.
    error: f64,
    /// One part in the machines and one, shared by the windows of a machine.
    weight: f64,
}

/// An interval of remaining lives, in cycles.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Interval {
    /// Its lower end, from 0 on.
    pub low: f32,
    /// Its upper end, at most the cap; at the cap it stands for the cap and all above.
    pub high: f32,
}

impl Interval {
    /// Whether a life, cut off at the cap, lies in it.
    pub fn holds(&self, life: f32) -> bool {
        (self.low..=self.high).contains(&life)
    }
}

impl Calibration {
    /// Of held-out windows: whose they are, which member had not seen them (nothing where none had), what was predicted from 0 to
    /// `cap`, and what was true, cut off at `cap`.
    ///
    /// # Errors
    /// [`Error::Shape`] where their numbers differ or there are none.
    pub fn of(
        machines: &[usize],
        members: Option<&[usize]>,
        predicted: &[f32],
        remaining: &[f32],
        cap: f32,
    ) -> Result<Self> {
        let count = machines.len();
        if count == 0 || [predicted.len(), remaining.len(), members.map_or(count, <[_]>::len)] != [count; 3] {
            return Err(Error::shape("calibration", "as many predictions as windows, at least one", &[count]));
        }
        let scaled = |place: usize| {
            f64::from(remaining[place] - predicted[place]) / Self::spread(f64::from(predicted[place]), cap)
        };
        let rows =
            (0..count).map(|place| (machines[place], members.map(|members| members[place]), scaled(place))).collect();
        Ok(Self::weighted(rows))
    }

    fn weighted(rows: Vec<(usize, Option<usize>, f64)>) -> Self {
        let mut counts = std::collections::HashMap::<usize, usize>::new();
        for (machine, ..) in &rows {
            *counts.entry(*machine).or_default() += 1;
        }
        let weight = |machine: &usize| 1.0 / ((counts.len() + 1) as f64 * counts[machine] as f64);
        let row = |(machine, member, error)| Row { weight: weight(&machine), machine, member, error };
        Self { rows: rows.into_iter().map(row).collect() }
    }

    /// How many machines it knows.
    pub fn machines(&self) -> usize {
        let mut machines: Vec<usize> = self.rows.iter().map(|row| row.machine).collect();
        machines.sort_unstable();
        machines.dedup();
        machines.len()
    }

    /// By what errors are divided at a predicted life: a twelfth of the cap and the prediction, up to half of the cap. It is fixed
    /// beforehand, so that no guarantee depends on it.
    pub fn spread(predicted: f64, cap: f32) -> f64 {
        let cap = f64::from(cap);
        cap / 12.0 + predicted.clamp(0.0, cap / 2.0)
    }

    /// The interval that holds the life of a new machine with probability `level`, from what the members say of its window, in
    /// cycles.
    ///
    /// Where members have each left out machines of their own it is CV+ (Barber, Candès, Ramdas and Tibshirani 2021, Section 3),
    /// otherwise split conformal prediction; every machine has the same weight, shared by its windows (Lee, Barber and Willett
    /// 2023). Both ends have half of what the level leaves. For machines that are exchangeable with those of the training, split
    /// conformal prediction has at least `level`, CV+ at least `2 level - 1` and about `level`.
    ///
    /// # Errors
    /// [`Error::Parameter`] for a level outside of `(0, 1)`, [`Error::Shape`] for a member that is not there.
    pub fn interval(&self, said: &[f32], level: f64, cap: f32) -> Result<Interval> {
        if !(level > 0.0 && level < 1.0) {
            return Err(Error::parameter("level", format!("{level} is not a share between 0 and 1")));
        }
        let capped: Vec<f64> = said.iter().map(|life| f64::from(life.clamp(0.0, cap))).collect();
        let mean = f64::from((said.iter().sum::<f32>() / said.len().max(1) as f32).clamp(0.0, cap));
        let mut values = Vec::with_capacity(self.rows.len());
        for row in &self.rows {
            let centre = row.member.map_or(Some(mean), |member| capped.get(member).copied());
            let centre = centre.ok_or_else(|| Error::shape("members", "as many as were calibrated", &[said.len()]))?;
            values.push((centre + row.error * Self::spread(centre, cap), row.weight));
        }
        let side = f64::midpoint(1.0, -level);
        let low = lower(&mut values, side);
        for (value, _) in &mut values {
            *value = -*value;
        }
        let high = -lower(&mut values, side);
        let within = |value: f64| value.clamp(0.0, f64::from(cap)) as f32;
        Ok(Interval { low: within(low), high: within(high) })
    }

    /// The [`interval`](Self::interval) of each window, of which `said` has what the members say ([`members`](crate::members)).
    ///
    /// # Errors
    /// Those of [`interval`](Self::interval).
    pub fn intervals(&self, said: &[Vec<f32>], level: f64, cap: f32) -> Result<Vec<Interval>> {
        said.iter().map(|said| self.interval(said, level, cap)).collect()
    }

    /// A row per window: machine, member (-1 for none), scaled error.
    pub(crate) fn tensor(&self) -> Result<Tensor> {
        let row = |row: &Row| [row.machine as f32, row.member.map_or(-1.0, |member| member as f32), row.error as f32];
        let values: Vec<f32> = self.rows.iter().flat_map(row).collect();
        Ok(Tensor::from_vec(values, (self.rows.len(), 3), &Device::Cpu)?)
    }

    /// Back from [`Calibration::tensor`], of a network of `members`.
    pub(crate) fn read(what: &str, tensor: &Tensor, members: usize) -> Result<Self> {
        let broken = || Error::format(what, "its calibration is no rows of machine, member and error");
        let rows = tensor.to_vec2::<f32>().map_err(|_| broken())?;
        let row = |row: Vec<f32>| {
            let &[machine, member, error] = row.as_slice() else { return Err(broken()) };
            let sound = machine >= 0.0 && member < members as f32 && error.is_finite();
            let member = (member >= 0.0).then_some(member as usize);
            if sound { Ok((machine as usize, member, f64::from(error))) } else { Err(broken()) }
        };
        let rows = rows.into_iter().map(row).collect::<Result<Vec<_>>>()?;
        if rows.is_empty() { Err(broken()) } else { Ok(Self::weighted(rows)) }
    }
}

/// The greatest value up to which the weights come to at most `share`; minus infinity where the first is more.
fn lower(values: &mut [(f64, f64)], share: f64) -> f64 {
    values.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut sum = 0.0;
    let below = values.iter().take_while(|(_, weight)| {
        sum += weight;
        sum <= share + 1e-9
    });
    below.last().map_or(f64::NEG_INFINITY, |(value, _)| *value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use faithful_core::Stream;
    use rand::Rng;
    use rand_distr::StandardNormal;

    const CAP: f32 = 120.0;

    #[test]
    fn with_one_window_per_machine_ends_are_order_statistics() {
        // 39 machines; 5% of 40 on each side: the second lowest and highest.
        let machines: Vec<usize> = (0..39).collect();
        let errors: Vec<f32> = machines.iter().map(|m| (*m as f32 - 19.0) / 2.0).collect();
        let (predicted, remaining) = ([40.0; 39], errors.iter().map(|error| 40.0 + error).collect::<Vec<_>>());
        let split = Calibration::of(&machines, None, &predicted, &remaining, CAP).unwrap();
        let found = split.interval(&[40.0], 0.9, CAP).unwrap();
        assert!((found.low - 31.0).abs() < 1e-4 && (found.high - 49.0).abs() < 1e-4, "{found:?}");
        // Too few machines promise nothing.
        let few = Calibration::of(&machines[..18], None, &predicted[..18], &remaining[..18], CAP).unwrap();
        assert_eq!(few.interval(&[40.0], 0.9, CAP).unwrap(), Interval { low: 0.0, high: CAP });
        assert!(split.interval(&[40.0], 1.0, CAP).is_err());
    }

    /// `fixtures/goldens/rul/intervals.py` writes the formulas out with numpy.
    #[test]
    fn intervals_are_those_of_the_reference() {
        #[derive(Deserialize)]
        struct Case {
            machines: Vec<usize>,
            members: Option<Vec<usize>>,
            predicted: Vec<f32>,
            remaining: Vec<f32>,
            said: Vec<f32>,
            level: f64,
            cap: f32,
            low: f32,
            high: f32,
        }
        let text = include_str!("../../../fixtures/goldens/rul/intervals.json");
        let cases: Vec<Case> = serde_json::from_str(text).unwrap();
        assert!(cases.len() > 10);
        for case in cases {
            let members = case.members.as_deref();
            let own = Calibration::of(&case.machines, members, &case.predicted, &case.remaining, case.cap).unwrap();
            let found = own.interval(&case.said, case.level, case.cap).unwrap();
            assert!((found.low - case.low).abs() < 1e-3 && (found.high - case.high).abs() < 1e-3, "{found:?}");
            let read = Calibration::read("test", &own.tensor().unwrap(), case.said.len()).unwrap();
            let again = read.interval(&case.said, case.level, case.cap).unwrap();
            assert!((again.low - found.low).abs() < 1e-3 && (again.high - found.high).abs() < 1e-3);
        }
    }

    #[test]
    fn new_machines_are_held_as_often_as_the_level_says() {
        // Windows of a machine share an error; members differ a little.
        let mut random = Stream::new(4, "machines").draw(0);
        let mut drawn = |count: usize| -> (Vec<usize>, Vec<f32>, Vec<f32>, Vec<usize>) {
            let (mut machines, mut predicted, mut remaining, mut members) = (vec![], vec![], vec![], vec![]);
            for machine in 0..count {
                let own: f32 = random.sample(StandardNormal);
                for _ in 0..=(machine % 7) {
                    let life = random.random_range(5.0f32..110.0);
                    let noise: f32 = random.sample(StandardNormal);
                    machines.push(machine);
                    members.push(machine % 3);
                    remaining.push(life);
                    predicted.push((life + 8.0 * own + 3.0 * noise).clamp(0.0, CAP));
                }
            }
            (machines, predicted, remaining, members)
        };
        let (machines, predicted, remaining, members) = drawn(600);
        let own = Calibration::of(&machines, Some(&members), &predicted, &remaining, CAP).unwrap();
        assert_eq!(own.machines(), 600);
        let (_, predicted, remaining, _) = drawn(800);
        let held = predicted
            .iter()
            .zip(&remaining)
            .filter(|(predicted, life)| own.interval(&[**predicted; 3], 0.8, CAP).unwrap().holds(**life));
        let share = held.count() as f64 / predicted.len() as f64;
        assert!((0.73..0.88).contains(&share), "{share}");
    }
}
