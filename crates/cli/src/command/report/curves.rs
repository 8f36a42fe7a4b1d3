//! The mean curves of a run's methods.

use faithful_evaluate::{Curve, Row, Rows, Table};
use faithful_page::{Chart, Section, Series};

/// Points per curve: a run's own may be a thousand.
const POINTS: usize = 101;
/// With more methods than this, bands hide each other.
const BANDS: usize = 4;

/// Insertion and deletion, averaged over the images that have them.
pub(super) fn section(rows: &Rows, table: &Table) -> Option<Section> {
    let charts: Vec<Chart> = [
        ("insertion", "Insertion: the most important cells appear", "share of the cells that are shown"),
        ("deletion", "Deletion: the most important cells vanish", "share of the cells that are hidden"),
    ]
    .into_iter()
    .filter_map(|(metric, title, x_name)| chart(rows, table, metric, title, x_name))
    .collect();
    let note = "The probability of the explained class, averaged over images; bands are 95% of the mean.";
    (!charts.is_empty()).then(|| Section::charts("Curves", charts).note(note))
}

fn chart(rows: &Rows, table: &Table, metric: &str, title: &str, x_name: &str) -> Option<Chart> {
    let at: Vec<f64> = (0..POINTS).map(|k| k as f64 / (POINTS - 1) as f64).collect();
    let mut series = Vec::new();
    let mut words = Vec::new();
    for (place, line) in table.lines.iter().enumerate() {
        let mine = |row: &&Row| row.method == line.method && row.metric == metric;
        let curves: Vec<Vec<f64>> = rows
            .rows
            .iter()
            .filter(mine)
            .filter_map(|row| row.curve.as_ref())
            .filter(|curve| !curve.fraction.is_empty() && curve.fraction.len() == curve.score.len())
            .map(|curve| at.iter().map(|&x| value_at(&curve.fraction, &curve.score, x)).collect())
            .collect();
        if curves.is_empty() {
            continue;
        }
        let count = curves.len() as f64;
        let mean = |point: usize| curves.iter().map(|curve| curve[point]).sum::<f64>() / count;
        let means: Vec<f64> = (0..POINTS).map(mean).collect();
        words.push(format!("{} is {:.2} halfway", line.method, means[POINTS / 2]));
        let mut one = Series::line(line.method.clone(), at.clone(), means.clone());
        one.color = Some((place % 8) as u8);
        if table.lines.len() <= BANDS && curves.len() > 1 {
            let half = |point: usize| {
                let squares = curves.iter().map(|curve| (curve[point] - means[point]).powi(2)).sum::<f64>();
                1.96 * (squares / (count - 1.0) / count).sqrt()
            };
            // Probabilities end at 0 and 1.
            let edge =
                |sign: f64| (0..POINTS).map(|point| (means[point] + sign * half(point)).clamp(0.0, 1.0)).collect();
            one.band = Some((edge(-1.0), edge(1.0)));
        }
        series.push(one);
    }
    (!series.is_empty()).then(|| Chart {
        x_name: x_name.into(),
        y_name: "probability".into(),
        x_range: Some([0.0, 1.0]),
        y_range: Some([0.0, 1.0]),
        series,
        summary: Some(words.join(", ")),
        ..Chart::new(title)
    })
}

/// A photo's curve with few points.
pub(super) fn thinned(name: &str, curve: &Curve) -> Series {
    let at: Vec<f64> = (0..POINTS).map(|k| k as f64 / (POINTS - 1) as f64).collect();
    let whole = !curve.fraction.is_empty() && curve.fraction.len() == curve.score.len();
    let score =
        if whole { at.iter().map(|&x| value_at(&curve.fraction, &curve.score, x)).collect() } else { Vec::new() };
    if name == "deletion" { Series::dashed(name, at, score) } else { Series::line(name, at, score) }
}

/// A curve at a place, linear between its points.
fn value_at(x: &[f64], y: &[f64], at: f64) -> f64 {
    let after = x.partition_point(|&place| place < at).min(x.len() - 1);
    let before = after.saturating_sub(1);
    let width = x[after] - x[before];
    if width <= 0.0 {
        y[after]
    } else {
        y[before] + (y[after] - y[before]) * ((at - x[before]) / width).clamp(0.0, 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curves_are_read_between_their_points() {
        let (x, y) = ([0.0, 0.5, 1.0], [0.0, 1.0, 0.5]);
        for (at, expected) in [(0.0, 0.0), (0.25, 0.5), (0.5, 1.0), (0.75, 0.75), (1.0, 0.5)] {
            assert_eq!(value_at(&x, &y, at), expected);
        }
        assert_eq!(value_at(&[0.3], &[0.7], 0.9), 0.7);
    }
}
