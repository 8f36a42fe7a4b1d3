use crate::{Error, Result};
use std::collections::VecDeque;

/// How many draws in a row must be within the threshold before a rule stops.
///
/// A sampled quantity passes through zero by chance; one small value is no sign that it has settled.
const SETTLED: usize = 5;

/// When a sampled explanation has seen enough draws. A rule never takes more draws than the method was given.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Stop {
    /// After all draws.
    #[default]
    Draws,
    /// Convergence-difference (thesis 4.6.1): when the running mean of the draws' summed gradients has changed by
    /// less than this in each of the last five draws.
    Difference(f64),
    /// Convergence-delta (thesis 4.6.1): when the completeness gap `|sum(attributions) - (f(x) - mean f(x'))|` has
    /// been less than this after each of the last five draws.
    Delta(f64),
}

/// The state after one draw: a line of a convergence plot (the thesis's Figures 10 and 24).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ConvergenceStep {
    /// How many draws there have been.
    pub draws: usize,
    /// The running mean of the draws' summed gradients.
    pub gradient_sum: f64,
    /// By how much this draw changed it, at least 0; `None` for the first draw.
    pub difference: Option<f64>,
    /// The completeness gap, signed, where it was computed.
    pub delta: Option<f64>,
}

/// How a sampled explanation ended.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Convergence {
    /// The rule.
    pub rule: Stop,
    /// What the rule compares with its threshold, in the end: the largest of the last five values.
    pub value: Option<f64>,
    /// Whether the rule was satisfied. Always true for [`Stop::Draws`].
    pub satisfied: bool,
    /// The draws that were used.
    pub draws: usize,
    /// The last change of the running mean of summed gradients.
    pub difference: Option<f64>,
    /// The completeness gap in the end, signed, where it was computed.
    pub delta: Option<f64>,
    /// The attribution's standard error relative to it: the L2 norm of the elements' standard errors over the L2 norm
    /// of the attribution. `None` for fewer than two draws, and where the attribution is zero everywhere.
    pub standard_error: Option<f64>,
    /// One step per draw.
    pub trace: Vec<ConvergenceStep>,
}

impl Convergence {
    /// How many draws of the same kind would bring the relative standard error down to `wanted`; `None` where it is
    /// not known, or `wanted` is not above 0.
    ///
    /// ```
    /// use faithful_core::Convergence;
    /// let after = Convergence { draws: 50, standard_error: Some(0.2), ..Convergence::default() };
    /// assert_eq!(after.draws_for(0.1), Some(200));
    /// ```
    pub fn draws_for(&self, wanted: f64) -> Option<usize> {
        let error = self.standard_error.filter(|error| error.is_finite())?;
        let draws = self.draws as f64 * (error / wanted).powi(2);
        (wanted > 0.0).then(|| ((draws - 1e-9).ceil() as usize).max(1))
    }

    /// How the draws went when those of `next` followed these, none of which a rule stopped. The standard error is neither's.
    ///
    /// # Errors
    /// None that could happen: a rule without a threshold has none that could be wrong.
    pub fn followed_by(&self, next: &Self) -> Result<Self> {
        let mut monitor = Monitor::new(Stop::Draws)?;
        for trace in [&self.trace, &next.trace] {
            // Of running means, what each draw brought.
            let (mut before, mut gap_before) = (0.0, 0.0);
            for step in trace {
                let (now, earlier) = (step.draws as f64, step.draws as f64 - 1.0);
                let gap = step.delta.map(|delta| now * delta - earlier * gap_before);
                monitor.record(now * step.gradient_sum - earlier * before, gap);
                (before, gap_before) = (step.gradient_sum, step.delta.unwrap_or(0.0));
            }
        }
        Ok(monitor.finish())
    }
}

/// Watches the draws of a sampled explanation and says when its rule is satisfied.
///
/// ```
/// use faithful_core::{Monitor, Stop};
/// let mut monitor = Monitor::new(Stop::Difference(0.1))?;
/// let gradient_sums = [1.0, 3.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0];
/// let used = gradient_sums.iter().position(|sum| monitor.record(*sum, None)).unwrap() + 1;
/// // The running mean is 1, 2, 2, 2 …: draws 3 to 7 are the first five that change it by less than 0.1.
/// assert_eq!(used, 7);
/// assert!(monitor.finish().satisfied);
/// # Ok::<(), faithful_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Monitor {
    rule: Stop,
    gradient_total: f64,
    gap_total: Option<f64>,
    recent: VecDeque<f64>,
    trace: Vec<ConvergenceStep>,
}

impl Monitor {
    /// A monitor of `rule` before the first draw.
    ///
    /// # Errors
    /// [`Error::Parameter`] for a threshold that is not a finite number above 0.
    pub fn new(rule: Stop) -> Result<Self> {
        if let Stop::Difference(threshold) | Stop::Delta(threshold) = rule
            && !(threshold.is_finite() && threshold > 0.0)
        {
            return Err(Error::parameter("stop", format!("{threshold}: a threshold above 0 is needed")));
        }
        Ok(Self { rule, gradient_total: 0.0, gap_total: Some(0.0), recent: VecDeque::new(), trace: Vec::new() })
    }

    /// Whether the rule needs each draw's completeness gap.
    pub fn needs_gap(&self) -> bool {
        matches!(self.rule, Stop::Delta(_))
    }

    /// Records a draw: the sum of its gradient's elements and, where known, its completeness gap
    /// `sum(attribution) - (f(x) - f(x'))`. True when the rule is satisfied; the draws after it do not count.
    pub fn record(&mut self, gradient_sum: f64, gap: Option<f64>) -> bool {
        let draws = self.trace.len() + 1;
        self.gradient_total += gradient_sum;
        self.gap_total = self.gap_total.zip(gap).map(|(total, gap)| total + gap);
        let mean = self.gradient_total / draws as f64;
        let difference = self.trace.last().map(|step| (mean - step.gradient_sum).abs());
        let delta = self.gap_total.map(|total| total / draws as f64);
        self.trace.push(ConvergenceStep { draws, gradient_sum: mean, difference, delta });
        let watched = match self.rule {
            Stop::Draws => None,
            Stop::Difference(_) => difference,
            Stop::Delta(_) => delta.map(f64::abs),
        };
        if let Some(value) = watched {
            self.recent.push_back(value);
            if self.recent.len() > SETTLED {
                self.recent.pop_front();
            }
        }
        match self.rule {
            Stop::Draws => false,
            Stop::Difference(threshold) | Stop::Delta(threshold) => {
                self.recent.len() == SETTLED && self.recent.iter().all(|value| *value < threshold)
            }
        }
    }

    /// What became of it.
    pub fn finish(self) -> Convergence {
        let satisfied = match self.rule {
            Stop::Draws => true,
            Stop::Difference(threshold) | Stop::Delta(threshold) => {
                self.recent.len() == SETTLED && self.recent.iter().all(|value| *value < threshold)
            }
        };
        let last = self.trace.last().copied();
        Convergence {
            rule: self.rule,
            value: self.recent.iter().copied().reduce(f64::max),
            satisfied,
            draws: self.trace.len(),
            difference: last.and_then(|step| step.difference),
            delta: last.and_then(|step| step.delta),
            standard_error: None,
            trace: self.trace,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_that_follow_each_other_are_one() {
        let run = |draws: &[f64]| {
            let mut monitor = Monitor::new(Stop::Draws).unwrap();
            for draw in draws {
                monitor.record(*draw, Some(2.0 * draw - 1.0));
            }
            monitor.finish()
        };
        let (both, whole) =
            (run(&[1.0, 4.0]).followed_by(&run(&[-2.0, 8.0, 0.5])).unwrap(), run(&[1.0, 4.0, -2.0, 8.0, 0.5]));
        assert_eq!((both.draws, both.trace.len()), (5, 5));
        for (one, other) in both.trace.iter().zip(&whole.trace) {
            assert!((one.gradient_sum - other.gradient_sum).abs() < 1e-12, "{one:?} {other:?}");
            assert!((one.delta.unwrap() - other.delta.unwrap()).abs() < 1e-12, "{one:?} {other:?}");
        }
    }

    #[test]
    fn delta_waits_until_the_gap_has_settled() {
        let mut monitor = Monitor::new(Stop::Delta(0.5)).unwrap();
        // The running gap passes through zero at draw 2, by chance: 4, 0, 4/3, 1, 0.8, 2/3, 4/7 …
        let gaps = [4.0, -4.0, 4.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0];
        let stopped = gaps.iter().position(|gap| monitor.record(1.0, Some(*gap)));
        // 4/9 is the first below one half, five in a row end at draw 13.
        assert_eq!(stopped, Some(12));
        let convergence = monitor.finish();
        assert!(convergence.satisfied);
        assert!((convergence.value.unwrap() - 4.0 / 9.0).abs() < 1e-12);
        assert!((convergence.delta.unwrap() - 4.0 / 13.0).abs() < 1e-12);
        assert_eq!(convergence.trace.len(), 13);
    }

    #[test]
    fn a_rule_that_is_never_satisfied_says_so() {
        let mut monitor = Monitor::new(Stop::Difference(1e-9)).unwrap();
        assert!(!(0..40).any(|draw| monitor.record(f64::from(draw % 3), None)));
        let convergence = monitor.finish();
        assert!(!convergence.satisfied && convergence.draws == 40 && convergence.delta.is_none());
    }

    #[test]
    fn not_a_number_never_satisfies() {
        let mut monitor = Monitor::new(Stop::Difference(1.0)).unwrap();
        assert!(!(0..40).any(|_| monitor.record(f64::NAN, None)));
        assert!(Monitor::new(Stop::Delta(f64::NAN)).is_err());
        assert!(Monitor::new(Stop::Difference(0.0)).is_err());
    }
}
