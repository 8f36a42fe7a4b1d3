use crate::{Curve, Rows};
use std::collections::BTreeMap;

/// A method's mean curve over the images that have one.
#[derive(Clone, Debug, PartialEq)]
pub struct MeanCurve {
    /// The method.
    pub method: String,
    /// How many images it is the mean of.
    pub images: usize,
    /// The fractions of changed cells, evenly from 0 to 1.
    pub fractions: Vec<f64>,
    /// The mean score at each.
    pub mean: Vec<f64>,
    /// Half the 95% interval of each mean, 1.96 standard errors; 0 for one image.
    pub margin: Vec<f64>,
}

/// The mean `metric` curves (`insertion`, `deletion`) of `methods`, in their order, at `points` fractions, over the images
/// of which every one of them has a curve. Images differ in their number of cells and so in their steps: each curve is read
/// between its own points. Methods without any curve are left out.
pub fn mean_curves<'a>(
    rows: &Rows,
    metric: &str,
    methods: impl IntoIterator<Item = &'a str>,
    points: usize,
) -> Vec<MeanCurve> {
    let fractions: Vec<f64> = (0..points).map(|k| k as f64 / points.saturating_sub(1).max(1) as f64).collect();
    let measured = methods.into_iter().map(|method| {
        let own = rows.rows.iter().filter(|row| row.method == method && row.metric == metric);
        let curves = own.filter_map(|row| Some((row.image.as_str(), row.curve.as_ref()?.at(&fractions)?)));
        (method, curves.collect::<BTreeMap<_, _>>())
    });
    let measured: Vec<_> = measured.filter(|(_, curves)| !curves.is_empty()).collect();
    let everywhere = |image: &str| measured.iter().all(|(_, curves)| curves.contains_key(image));
    let of = |(method, curves): &(&str, BTreeMap<&str, Vec<f64>>)| {
        let common = curves.iter().filter(|(image, _)| everywhere(image)).map(|(_, curve)| curve.as_slice());
        MeanCurve::of(method, &fractions, &common.collect::<Vec<_>>())
    };
    measured.iter().filter_map(of).collect()
}

impl MeanCurve {
    /// The mean of `curves`, one per image, with a score per fraction. None for none.
    pub fn of(method: &str, fractions: &[f64], curves: &[&[f64]]) -> Option<Self> {
        if curves.is_empty() {
            return None;
        }
        let count = curves.len() as f64;
        let points = 0..fractions.len();
        let mean: Vec<f64> =
            points.clone().map(|point| curves.iter().map(|curve| curve[point]).sum::<f64>() / count).collect();
        let margin = |point: usize| {
            let squares: f64 = curves.iter().map(|curve| (curve[point] - mean[point]).powi(2)).sum();
            if curves.len() > 1 { 1.96 * (squares / (count - 1.0) / count).sqrt() } else { 0.0 }
        };
        let margin = points.map(margin).collect();
        let (method, fractions) = (method.to_owned(), fractions.to_vec());
        Some(Self { method, images: curves.len(), fractions, mean, margin })
    }
}

impl Curve {
    /// The scores at `fractions`, linear between the curve's points. None for a curve without points.
    pub fn at(&self, fractions: &[f64]) -> Option<Vec<f64>> {
        let Self { fraction: x, score: y } = self;
        if x.is_empty() || x.len() != y.len() {
            return None;
        }
        let value = |&at: &f64| {
            let after = x.partition_point(|&place| place < at).min(x.len() - 1);
            let before = after.saturating_sub(1);
            let width = x[after] - x[before];
            if width > 0.0 {
                y[before] + (y[after] - y[before]) * ((at - x[before]) / width).clamp(0.0, 1.0)
            } else {
                y[after]
            }
        };
        Some(fractions.iter().map(value).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Row;

    fn row(image: &str, method: &str, metric: &str, score: &[f64]) -> Row {
        let fraction = (0..score.len()).map(|k| k as f64 / (score.len() - 1) as f64).collect();
        Row {
            image: image.into(),
            method: method.into(),
            metric: metric.into(),
            value: Some(0.0),
            error: None,
            class: None,
            probability: None,
            layer: None,
            seconds: None,
            seed: 0,
            protocol: String::new(),
            version: String::new(),
            curve: Some(Curve { fraction, score: score.to_vec() }),
        }
    }

    #[test]
    fn curves_are_read_between_their_points() {
        let curve = Curve { fraction: vec![0.0, 0.5, 1.0], score: vec![0.0, 1.0, 0.5] };
        assert_eq!(curve.at(&[0.0, 0.25, 0.5, 0.75, 1.0]), Some(vec![0.0, 0.5, 1.0, 0.75, 0.5]));
        assert_eq!(Curve { fraction: vec![0.3], score: vec![0.7] }.at(&[0.9]), Some(vec![0.7]));
        assert_eq!(Curve::default().at(&[0.5]), None);
    }

    #[test]
    fn images_with_other_steps_have_one_mean() {
        let rows = Rows {
            rows: vec![
                row("a", "one", "insertion", &[0.0, 1.0]),
                row("b", "one", "insertion", &[0.0, 0.0, 1.0]),
                row("a", "one", "deletion", &[1.0, 0.0]),
                row("a", "two", "deletion", &[1.0, 0.0]),
            ],
            damaged: Vec::new(),
        };
        let found = mean_curves(&rows, "insertion", ["two", "one"], 3);
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].images, &found[0].mean[..]), (2, &[0.0, 0.25, 1.0][..]));
        assert!((found[0].margin[1] - 1.96 * 0.25).abs() < 1e-12 && found[0].margin[0] == 0.0);
        // Only one image has been finished by both.
        let common = mean_curves(&rows, "deletion", ["one", "two"], 2);
        assert_eq!(common.iter().map(|curve| curve.images).collect::<Vec<_>>(), [1, 1]);
    }
}
