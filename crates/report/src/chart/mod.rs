//! Line charts as SVG or PNG: panels below each other, each with its lines, bands and levels.

mod axis;
mod draw;
mod sheet;

pub use axis::Axis;
pub use draw::{chart_png, chart_svg};

use faithful_core::{Error, Result};

/// One panel.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Chart {
    /// What it shows, above it; may be empty.
    pub title: String,
    /// The horizontal axis.
    pub x: Axis,
    /// The vertical axis.
    pub y: Axis,
    /// Its lines, at least one point among them.
    pub lines: Vec<Line>,
    /// Horizontal dashed lines, such as thresholds.
    pub levels: Vec<Level>,
}

/// A line through points, and how sure each of them is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Line {
    /// Its name in the legend, which is drawn where a panel has several names; may be empty.
    pub name: String,
    /// `[x, y]` from left to right. What a logarithmic axis cannot show (0 and below) interrupts the line.
    pub points: Vec<[f64; 2]>,
    /// `[low, high]` per point, drawn as a band behind the line; empty for none.
    pub band: Vec<[f64; 2]>,
}

/// A value that is worth a line across the panel.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Level {
    /// What it is; may be empty.
    pub name: String,
    /// Where it is on the vertical axis.
    pub value: f64,
}

impl Chart {
    fn check(&self) -> Result<()> {
        let place = |line: &Line| if line.name.is_empty() { "a line".to_owned() } else { line.name.clone() };
        for line in &self.lines {
            let values = line.points.iter().chain(&line.band).flatten();
            if values.copied().any(|value| !value.is_finite()) {
                return Err(Error::NotFinite { what: "the chart".into(), place: Some(place(line)) });
            }
            if !line.band.is_empty() && line.band.len() != line.points.len() {
                let expected = format!("{} pairs, one per point", line.points.len());
                return Err(Error::shape(format!("the band of {}", place(line)), expected, &[line.band.len()]));
            }
        }
        if self.levels.iter().any(|level| !level.value.is_finite()) {
            return Err(Error::NotFinite { what: "the chart".into(), place: Some("a level".into()) });
        }
        if self.lines.iter().all(|line| line.points.is_empty()) {
            return Err(Error::shape("the chart's lines", "at least one point", &[0]));
        }
        Ok(())
    }
}
