use serde::{Deserialize, Serialize};
use std::f64::consts::PI;

/// The one-cycle policy of super-convergence (Smith and Topin 2018): up to a high learning rate on a cosine, then down to
/// almost nothing on another.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct OneCycle {
    /// The highest learning rate.
    pub rate: f64,
    /// The share of the steps that go up.
    pub warmup: f64,
}

impl OneCycle {
    /// The rate of step `step` of `steps`: from a 25th up, then down to a ten-thousandth of that.
    ///
    /// ```
    /// let cycle = faithful_rul::OneCycle { rate: 0.01, warmup: 0.25 };
    /// assert!((cycle.rate_at(0, 101) - 0.01 / 25.0).abs() < 1e-12);
    /// assert!((cycle.rate_at(25, 101) - 0.01).abs() < 1e-12);
    /// assert!(cycle.rate_at(100, 101) < 1e-7);
    /// ```
    pub fn rate_at(&self, step: usize, steps: usize) -> f64 {
        let (start, end) = (self.rate / 25.0, self.rate / 25e4);
        let progress = step as f64 / steps.saturating_sub(1).max(1) as f64;
        let cosine = |from: f64, to: f64, part: f64| to + (from - to) * 0.5 * (1.0 + (PI * part).cos());
        if progress < self.warmup {
            cosine(start, self.rate, progress / self.warmup)
        } else {
            cosine(self.rate, end, (progress - self.warmup) / (1.0 - self.warmup).max(1e-9))
        }
    }
}
