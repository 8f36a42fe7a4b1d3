//! The mean curves of a run's methods.

use faithful_evaluate::{Curve, MeanCurve, Row, Rows, Table};
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
    let at = fractions();
    let mut series = Vec::new();
    let mut words = Vec::new();
    for (place, line) in table.lines.iter().enumerate() {
        let mine = |row: &&Row| row.method == line.method && row.metric == metric;
        let curves: Vec<Vec<f64>> =
            rows.rows.iter().filter(mine).filter_map(|row| row.curve.as_ref()?.at(&at)).collect();
        let curves: Vec<&[f64]> = curves.iter().map(Vec::as_slice).collect();
        let Some(found) = MeanCurve::of(&line.method, &at, &curves) else { continue };
        words.push(format!("{} is {:.2} halfway", line.method, found.mean[POINTS / 2]));
        let mut one = Series::line(line.method.clone(), at.clone(), found.mean.clone());
        one.color = Some((place % 8) as u8);
        if table.lines.len() <= BANDS && found.images > 1 {
            // Probabilities end at 0 and 1.
            let edge = |sign: f64| {
                let pairs = found.mean.iter().zip(&found.margin);
                pairs.map(|(mean, margin)| (mean + sign * margin).clamp(0.0, 1.0)).collect()
            };
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
    let at = fractions();
    let score = curve.at(&at).unwrap_or_default();
    if name == "deletion" { Series::dashed(name, at, score) } else { Series::line(name, at, score) }
}

fn fractions() -> Vec<f64> {
    (0..POINTS).map(|k| k as f64 / (POINTS - 1) as f64).collect()
}
