use serde_json::{Value, json};

/// How a series is drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mark {
    /// A line through the points.
    #[default]
    Line,
    /// A dashed line.
    Dashed,
    /// A dot per point.
    Dots,
}

/// Points with a name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Series {
    /// What it is.
    pub name: String,
    /// Where the points are; ascending for lines.
    pub x: Vec<f64>,
    /// Their values, as many.
    pub y: Vec<f64>,
    /// A band around the line: its lower and its upper edge, as many values each.
    pub band: Option<(Vec<f64>, Vec<f64>)>,
    /// How it is drawn.
    pub mark: Mark,
    /// One of eight colours; by default its place among the series.
    pub color: Option<u8>,
}

impl Series {
    /// A line.
    pub fn line(name: impl Into<String>, x: Vec<f64>, y: Vec<f64>) -> Self {
        Self { name: name.into(), x, y, ..Self::default() }
    }

    /// A dashed line.
    pub fn dashed(name: impl Into<String>, x: Vec<f64>, y: Vec<f64>) -> Self {
        Self { mark: Mark::Dashed, ..Self::line(name, x, y) }
    }

    /// Dots.
    pub fn dots(name: impl Into<String>, x: Vec<f64>, y: Vec<f64>) -> Self {
        Self { mark: Mark::Dots, ..Self::line(name, x, y) }
    }

    /// Points that are not finite are left out, and digits that nobody sees.
    pub(crate) fn json(&self) -> Value {
        let finite = |at: usize| {
            let band = self.band.as_ref().is_none_or(|(low, high)| finite(low, at) && finite(high, at));
            finite(&self.x, at) && finite(&self.y, at) && band
        };
        let places: Vec<usize> = (0..self.x.len().min(self.y.len())).filter(|at| finite(*at)).collect();
        let pick = |values: &[f64]| -> Vec<f64> { places.iter().map(|at| short(values[*at])).collect() };
        let mut value = json!({ "name": self.name, "x": pick(&self.x), "y": pick(&self.y) });
        if let Some((low, high)) = &self.band {
            value["low"] = json!(pick(low));
            value["high"] = json!(pick(high));
        }
        match self.mark {
            Mark::Line => {}
            Mark::Dashed => value["dashed"] = true.into(),
            Mark::Dots => value["dots"] = true.into(),
        }
        if let Some(color) = self.color {
            value["color"] = color.into();
        }
        value
    }
}

fn finite(values: &[f64], at: usize) -> bool {
    values.get(at).is_some_and(|value| value.is_finite())
}

/// Five significant digits.
fn short(value: f64) -> f64 {
    if value == 0.0 {
        return 0.0;
    }
    let power = 10f64.powi(4 - value.abs().log10().floor() as i32);
    let rounded = (value * power).round() / power;
    if rounded.is_finite() { rounded } else { value }
}

/// Lines, bands and dots over common axes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Chart {
    /// The title.
    pub title: String,
    /// What x is, with its unit.
    pub x_name: String,
    /// What y is, with its unit.
    pub y_name: String,
    /// The ends of the x axis; by default the points'.
    pub x_range: Option<[f64; 2]>,
    /// The ends of the y axis; by default the points'.
    pub y_range: Option<[f64; 2]>,
    /// A rule where x and y are equal.
    pub diagonal: bool,
    /// What is drawn.
    pub series: Vec<Series>,
    /// What one sees in it, for those who cannot.
    pub summary: Option<String>,
}

impl Chart {
    /// A chart without anything in it.
    pub fn new(title: impl Into<String>) -> Self {
        Self { title: title.into(), ..Self::default() }
    }

    pub(crate) fn json(&self) -> Value {
        let range = |range: Option<[f64; 2]>| range.filter(|[low, high]| low < high && (high - low).is_finite());
        json!({
            "title": self.title, "x_name": self.x_name, "y_name": self.y_name, "diagonal": self.diagonal,
            "x_range": range(self.x_range), "y_range": range(self.y_range), "summary": self.summary,
            "series": self.series.iter().map(Series::json).collect::<Vec<_>>(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_finite_is_left_out_and_digits_are_few() {
        let series = Series::line("a", vec![0.0, 1.0, 2.0, 3.0], vec![1.0 / 3.0, f64::NAN, 123_456.0]);
        assert_eq!(series.json(), json!({ "name": "a", "x": [0.0, 2.0], "y": [0.333_33, 123_460.0] }));
        let series = Series { band: Some((vec![0.0], vec![f64::INFINITY])), ..Series::dots("b", vec![1.0], vec![1.0]) };
        assert_eq!(series.json()["x"], json!([]));
        assert!(short(1e-320).is_finite() && short(f64::MAX).is_finite());
    }

    #[test]
    fn ranges_without_extent_are_not_used() {
        let chart = Chart { x_range: Some([1.0, 1.0]), y_range: Some([0.0, f64::NAN]), ..Chart::new("t") };
        assert!(chart.json()["x_range"].is_null() && chart.json()["y_range"].is_null());
    }
}
