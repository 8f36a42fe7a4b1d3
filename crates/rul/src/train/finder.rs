//! The searches that come before a training: how high a learning rate may be, and how large a batch pays off.

use super::options::Training;
use super::session::Session;
use crate::Fleet;
use faithful_core::Result;
use std::time::Instant;

/// What [`find_rate`] saw.
#[derive(Clone, Debug, PartialEq)]
pub struct RateSearch {
    /// The learning rates that were tried, rising.
    pub rates: Vec<f64>,
    /// The smoothed error at each, in cycles.
    pub errors: Vec<f64>,
    /// Where the error fell fastest.
    pub suggestion: f64,
}

const LOWEST: f64 = 1e-5;
const HIGHEST: f64 = 1.0;
const STEPS: usize = 80;

/// The learning-rate range test (Smith 2017): one step at each of 80 rates from 1e-5 to 1, until the error is far above
/// its lowest. The network learns on a copy; the training that follows starts from its own seed.
///
/// # Errors
/// As [`train`](crate::train).
pub fn find_rate(fleet: &Fleet, training: &Training) -> Result<RateSearch> {
    let mut session = Session::new(fleet, training)?;
    let per_epoch = session.steps();
    let (mut rates, mut errors): (Vec<f64>, Vec<f64>) = (Vec::new(), Vec::new());
    let mut mean = 0.0;
    for step in 0..STEPS {
        let rate = LOWEST * (HIGHEST / LOWEST).powf(step as f64 / (STEPS - 1) as f64);
        let Ok(error) = session.step(step / per_epoch, step % per_epoch, rate) else { break };
        mean = 0.9 * mean + 0.1 * error;
        let smooth = mean / (1.0 - 0.9f64.powi(step as i32 + 1));
        rates.push(rate);
        errors.push(smooth);
        let lowest = errors.iter().copied().fold(f64::INFINITY, f64::min);
        if step > 10 && smooth > 2.0 * lowest {
            break;
        }
    }
    let suggestion = steepest(&rates, &errors).unwrap_or(training.cycle.rate);
    Ok(RateSearch { rates, errors, suggestion })
}

/// The rate where the error falls fastest per step of the logarithm, before its lowest point.
fn steepest(rates: &[f64], errors: &[f64]) -> Option<f64> {
    let lowest = (0..errors.len()).min_by(|&a, &b| errors[a].total_cmp(&errors[b]))?;
    // The first steps have few errors to smooth over.
    let slope = |place: &usize| errors[place + 1] - errors[place - 1];
    let steepest = (5..lowest).min_by(|a, b| slope(a).total_cmp(&slope(b)))?;
    Some(rates[steepest])
}

/// What [`find_batch`] saw.
#[derive(Clone, Debug, PartialEq)]
pub struct BatchSearch {
    /// The batch sizes that were tried.
    pub sizes: Vec<usize>,
    /// The windows per second of each.
    pub speeds: Vec<f64>,
    /// The smallest size that reaches nine tenths of the best speed.
    pub suggestion: usize,
}

/// Doubles the batch from 32 windows on until it gets no faster, and takes the smallest size that is about as fast as the
/// best: beyond, steps are lost and nothing is won. On a processor memory is no limit at these sizes.
///
/// What it suggests depends on the machine and its load.
///
/// # Errors
/// As [`train`](crate::train).
pub fn find_batch(fleet: &Fleet, training: &Training) -> Result<BatchSearch> {
    let (mut sizes, mut speeds): (Vec<usize>, Vec<f64>) = (Vec::new(), Vec::new());
    let mut size = 32;
    loop {
        let mut session = Session::new(fleet, &Training { batch: size, ..training.clone() })?;
        // A training wants some tens of steps per epoch.
        if !sizes.is_empty() && size * 16 > session.windows() {
            break;
        }
        session.step(0, 0, LOWEST)?;
        let start = Instant::now();
        let steps = 3.min(session.steps());
        (0..steps).try_for_each(|step| session.step(0, step, LOWEST).map(drop))?;
        let speed = (steps * size) as f64 / start.elapsed().as_secs_f64().max(1e-9);
        let best = speeds.iter().copied().fold(0.0, f64::max);
        sizes.push(size);
        speeds.push(speed);
        if speed < 0.9 * best || size >= 2048 {
            break;
        }
        size *= 2;
    }
    let best = speeds.iter().copied().fold(0.0, f64::max);
    let enough = speeds.iter().position(|speed| *speed >= 0.9 * best).unwrap_or(0);
    Ok(BatchSearch { suggestion: sizes[enough], sizes, speeds })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_suggestion_is_where_the_error_falls_fastest() {
        let rates: Vec<f64> = (0..40).map(|i| 10f64.powf(-5.0 + f64::from(i) / 10.0)).collect();
        // A valley: flat, a fall that is steepest at 1e-3, a rise.
        let error = |x: f64| 50.0 - 30.0 / (1.0 + (-3.0 * (x + 3.0)).exp()) + (x + 1.5).max(0.0) * 40.0;
        let errors: Vec<f64> = rates.iter().map(|rate| error(rate.log10())).collect();
        let found = steepest(&rates, &errors).unwrap();
        assert!((found.log10() + 3.0).abs() < 0.11, "{found}");
        assert_eq!(steepest(&rates[..4], &errors[..4]), None);
    }
}
