//! How often prediction intervals hold, and how wide they are.

use super::model::Loaded;
use anyhow::Result;
use candle_core::Tensor;
use faithful_page::{Chart, Section, Series};
use faithful_rul::Interval;
use serde::Serialize;

/// Intervals of one level over all machines that are judged.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Coverage {
    pub(super) level: f64,
    /// The share of the machines whose life lies in its interval.
    #[serde(rename = "coverage")]
    pub(super) share: f64,
    /// The mean width in cycles.
    pub(super) width: f64,
}

/// What is promised in turn, to see whether it is kept everywhere.
const LEVELS: [f64; 9] = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.95];

/// The intervals of the level that is asked for, and coverage at that level first and then at all.
pub(super) fn of(
    loaded: &Loaded,
    inputs: &Tensor,
    remaining: &[f32],
    level: f64,
) -> Result<Option<(Vec<Interval>, Vec<Coverage>)>> {
    let levels = [&[level][..], &LEVELS].concat();
    let Some(mut found) = loaded.intervals_at(inputs, &levels)? else { return Ok(None) };
    let covered = found.iter().zip(levels).map(|(intervals, level)| coverage(intervals, remaining, level)).collect();
    Ok(Some((found.remove(0), covered)))
}

fn coverage(intervals: &[Interval], remaining: &[f32], level: f64) -> Coverage {
    let count = intervals.len().max(1) as f64;
    let held = intervals.iter().zip(remaining).filter(|(interval, life)| interval.holds(**life)).count();
    let width = intervals.iter().map(|own| f64::from(own.high - own.low)).sum::<f64>() / count;
    Coverage { level, share: held as f64 / count, width }
}

impl Coverage {
    /// The line for people.
    pub(super) fn words(&self, machines: usize) -> String {
        format!(
            "{:.0}% intervals hold {:.1}% of {machines} machines and are {:.1} cycles wide on average",
            100.0 * self.level,
            100.0 * self.share,
            self.width
        )
    }
}

/// What is promised against what is kept.
pub(super) fn section(found: &[Coverage]) -> Section {
    let mut sorted = found.to_vec();
    sorted.sort_by(|a, b| a.level.total_cmp(&b.level));
    let of = |value: fn(&Coverage) -> f64| sorted.iter().map(value).collect::<Vec<f64>>();
    let chart = Chart {
        x_name: "level of the intervals".into(),
        y_name: "share of machines that they hold".into(),
        x_range: Some([0.0, 1.0]),
        y_range: Some([0.0, 1.0]),
        diagonal: true,
        series: vec![Series::line("intervals", of(|own| own.level), of(|own| own.share))],
        summary: Some(
            "on the diagonal intervals keep what they promise; above it they are wider than they need be".into(),
        ),
        ..Chart::new("Calibration")
    };
    let widths = Chart {
        x_name: "level of the intervals".into(),
        y_name: "mean width, cycles".into(),
        x_range: Some([0.0, 1.0]),
        series: vec![Series::line("intervals", of(|own| own.level), of(|own| own.width))],
        ..Chart::new("Width")
    };
    Section::charts("Prediction intervals", vec![chart, widths])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_life_at_an_end_is_held() {
        let intervals = [Interval { low: 10.0, high: 20.0 }, Interval { low: 0.0, high: 5.0 }];
        let found = coverage(&intervals, &[20.0, 6.0], 0.9);
        assert_eq!((found.share, found.width), (0.5, 7.5));
        assert_eq!(found.words(2), "90% intervals hold 50.0% of 2 machines and are 7.5 cycles wide on average");
    }
}
