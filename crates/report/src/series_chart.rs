//! Charts of sensor series: predictions against the truth, what mattered when, which sensor mattered.

use crate::{Anchor, Color, Colormap, Figure};
use faithful_core::{Error, Result};

const INK: Color = [40, 40, 40];
const GRID: Color = [225, 225, 225];
const TRUTH: Color = [31, 90, 170];
const PREDICTION: Color = [225, 120, 20];

/// One attribution of a window: what was explained, over which cycles, and how much each place mattered.
#[derive(Clone, Debug)]
pub struct SeriesMap<'a> {
    /// What stands above the chart.
    pub title: &'a str,
    /// The cycle of each column.
    pub cycles: &'a [u32],
    /// What happened in each cycle, one value per column.
    pub timeline: &'a [f32],
    /// The names of the sensors, where the map tells them apart.
    pub sensors: &'a [String],
    /// One row of values per sensor, row after row; empty where the map does not tell sensors apart.
    pub values: &'a [f32],
}

/// Lives and predictions, machine by machine, the longest life first (thesis, Figure 22).
///
/// # Errors
/// [`Error::Shape`] where their numbers differ or there are none.
pub fn prediction_chart(title: &str, remaining: &[f32], predicted: &[f32]) -> Result<Figure> {
    let count = remaining.len();
    if count == 0 || predicted.len() != count {
        return Err(Error::shape("predictions", format!("{count} predictions, at least one"), &[predicted.len()]));
    }
    let mut order: Vec<usize> = (0..count).collect();
    order.sort_by(|&a, &b| remaining[b].total_cmp(&remaining[a]));
    let (width, height) = (640.0, 300.0);
    let mut figure = Figure::new(width, height);
    let frame = Frame { left: 50.0, top: 30.0, right: width - 20.0, bottom: height - 45.0 };
    let top = remaining.iter().chain(predicted).copied().fold(1.0, f32::max) * 1.05;
    figure.text([frame.left, 16.0], title, Anchor::Start, INK);
    frame.levels(&mut figure, 0.0, top);
    let x = |place: usize| frame.left + (place as f32 + 0.5) / count as f32 * (frame.right - frame.left);
    let line = |values: &[f32]| -> Vec<[f32; 2]> {
        order.iter().enumerate().map(|(place, &unit)| [x(place), frame.y(values[unit], 0.0, top)]).collect()
    };
    figure.line(&line(remaining), 1.5, TRUTH);
    figure.line(&line(predicted), 1.5, PREDICTION);
    for at in line(predicted) {
        figure.dot(at, 1.6, PREDICTION);
    }
    figure.text(
        [f32::midpoint(frame.left, frame.right), height - 24.0],
        "machines by their remaining life",
        Anchor::Middle,
        INK,
    );
    figure.text([frame.left, height - 8.0], "true", Anchor::Start, TRUTH);
    figure.text([frame.left + 60.0, height - 8.0], "predicted", Anchor::Start, PREDICTION);
    figure.text([frame.right, height - 8.0], "cycles", Anchor::End, INK);
    Ok(figure)
}

/// A map over time, and over sensors where it tells them apart: the time line above, a row of colours per sensor below.
/// Signed maps are blue below zero and red above.
///
/// # Errors
/// [`Error::Shape`] where the numbers of cycles, sensors and values do not fit together.
pub fn series_chart(map: &SeriesMap) -> Result<Figure> {
    let SeriesMap { title, cycles, timeline, sensors, values } = *map;
    let columns = cycles.len();
    if columns == 0 || timeline.len() != columns || values.len() != sensors.len() * columns {
        let expected = format!("{columns} cycles and {} values", sensors.len() * columns);
        return Err(Error::shape("a map of series", expected, &[timeline.len(), values.len()]));
    }
    let row = 16.0;
    let names = sensors.iter().map(|name| Figure::width_of(name)).fold(0.0, f32::max);
    let width = 620.0 + names;
    let heat = sensors.len() as f32 * row;
    let height = 150.0 + heat;
    let mut figure = Figure::new(width, height);
    let frame = Frame { left: (names + 14.0).max(60.0), top: 28.0, right: width - 90.0, bottom: 100.0 };
    figure.text([10.0, 16.0], title, Anchor::Start, INK);
    let (low, high) = extent(timeline);
    frame.levels(&mut figure, low, high);
    let step = (frame.right - frame.left) / columns as f32;
    let centre = |place: usize| frame.left + (place as f32 + 0.5) * step;
    let points: Vec<[f32; 2]> =
        timeline.iter().enumerate().map(|(place, value)| [centre(place), frame.y(*value, low, high)]).collect();
    figure.line(&points, 1.5, [170, 30, 40]);
    let top = frame.bottom + 8.0;
    let (lowest, highest) = extent(values);
    let reach = lowest.abs().max(highest.abs()).max(f32::MIN_POSITIVE);
    let signed = values.iter().any(|value| *value < 0.0);
    let color = |value: f32| {
        if signed {
            Colormap::Diverging.color(0.5 + 0.5 * value / reach)
        } else {
            Colormap::Viridis.color(value / reach)
        }
    };
    for (sensor, name) in sensors.iter().enumerate() {
        let y = top + sensor as f32 * row;
        figure.text([frame.left - 6.0, y + row - 4.0], name, Anchor::End, INK);
        for column in 0..columns {
            let place = [frame.left + column as f32 * step, y, step + 0.3, row - 1.0];
            figure.rectangle(place, color(values[sensor * columns + column]));
        }
    }
    if !sensors.is_empty() {
        let steps = 40;
        for step in 0..steps {
            let part = step as f32 / (steps - 1) as f32;
            let value = if signed { (1.0 - 2.0 * part) * reach } else { (1.0 - part) * reach };
            let y = top + part * (heat - heat / steps as f32);
            figure.rectangle([frame.right + 8.0, y, 10.0, heat / steps as f32 + 0.5], color(value));
        }
        figure.text([frame.right + 22.0, top + 8.0], &short(reach), Anchor::Start, INK);
        let lowest = if signed { -reach } else { 0.0 };
        figure.text([frame.right + 22.0, top + heat], &short(lowest), Anchor::Start, INK);
    }
    let bottom = top + heat + 14.0;
    for place in ticks(columns) {
        figure.text([centre(place), bottom], &cycles[place].to_string(), Anchor::Middle, INK);
    }
    figure.text([f32::midpoint(frame.left, frame.right), bottom + 16.0], "cycle", Anchor::Middle, INK);
    Ok(figure)
}

/// A group of bars: a heading, and a name with a value each.
pub type Bars<'a> = (String, Vec<(&'a str, f64)>);

/// Values from 0 on as bars, group below group.
pub fn bar_chart(title: &str, groups: &[Bars]) -> Figure {
    let row = 16.0;
    let bars = groups.iter().flat_map(|(_, bars)| bars);
    let left = bars.map(|(name, _)| Figure::width_of(name)).fold(0.0, f32::max) + 16.0;
    let rows: usize = groups.iter().map(|(_, bars)| bars.len() + 2).sum();
    let mut figure = Figure::new(left + 420.0, 34.0 + rows as f32 * row);
    figure.text([10.0, 16.0], title, Anchor::Start, INK);
    let reach = groups.iter().flat_map(|(_, bars)| bars).map(|(_, value)| *value).fold(1e-12, f64::max);
    let mut y = 34.0;
    for (heading, bars) in groups {
        y += row;
        figure.text([10.0, y - 4.0], heading, Anchor::Start, TRUTH);
        for (name, value) in bars {
            let length = (value / reach).clamp(0.0, 1.0) as f32 * 320.0;
            figure.text([left - 6.0, y + row - 4.0], name, Anchor::End, INK);
            figure.rectangle([left, y + 2.0, length, row - 4.0], TRUTH);
            figure.text([left + length + 6.0, y + row - 4.0], &short(*value as f32), Anchor::Start, INK);
            y += row;
        }
        y += row;
    }
    figure
}

/// Where a chart's lines are drawn.
struct Frame {
    left: f32,
    top: f32,
    right: f32,
    bottom: f32,
}

impl Frame {
    fn y(&self, value: f32, low: f32, high: f32) -> f32 {
        self.bottom - (value - low) / (high - low).max(f32::MIN_POSITIVE) * (self.bottom - self.top)
    }

    /// Three levels with their numbers.
    fn levels(&self, figure: &mut Figure, low: f32, high: f32) {
        for part in [0.0, 0.5, 1.0] {
            let value = low + part * (high - low);
            let y = self.y(value, low, high);
            figure.line(&[[self.left, y], [self.right, y]], 1.0, GRID);
            figure.text([self.left - 6.0, y + 4.0], &short(value), Anchor::End, INK);
        }
    }
}

/// The least and the greatest value, zero included; never the same.
fn extent(values: &[f32]) -> (f32, f32) {
    let (low, high) = values.iter().fold((0f32, 0f32), |(low, high), value| (low.min(*value), high.max(*value)));
    if high > low { (low, high) } else { (0.0, 1.0) }
}

/// Up to seven places, evenly.
fn ticks(count: usize) -> Vec<usize> {
    let step = (count - 1).div_ceil(6).max(1);
    (0..count).step_by(step).collect()
}

fn short(value: f32) -> String {
    let magnitude = value.abs();
    match magnitude {
        0.0 => "0".into(),
        _ if !(1e-3..1e4).contains(&magnitude) => format!("{value:.1e}"),
        _ if magnitude >= 100.0 => format!("{value:.0}"),
        _ if magnitude >= 10.0 => format!("{value:.1}"),
        _ if magnitude >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn charts_have_what_they_show() {
        let sensors = ["T30".to_owned(), "P30".to_owned()];
        let map = SeriesMap {
            title: "engine 3",
            cycles: &[5, 6, 7],
            timeline: &[0.0, -1.0, 2.0],
            sensors: &sensors,
            values: &[0.0, -1.0, 1.0, 0.0, 0.0, 1.0],
        };
        let svg = series_chart(&map).unwrap().svg();
        for word in ["engine 3", "T30", "P30", ">7<", "-1.00"] {
            assert!(svg.contains(word), "{word} is not in {svg}");
        }
        let line = series_chart(&SeriesMap { sensors: &[], values: &[], ..map.clone() }).unwrap();
        assert!(!line.svg().contains("T30") && line.png().is_ok());
        assert!(series_chart(&SeriesMap { cycles: &[1], ..map }).is_err());
        let chart = prediction_chart("FD001", &[10.0, 100.0], &[12.0, 90.0]).unwrap();
        assert!(chart.svg().contains("predicted") && chart.png().is_ok());
        assert!(prediction_chart("FD001", &[], &[]).is_err());
        let bars = bar_chart("drivers", &[("fault a".into(), vec![("T30", 0.5), ("Nf", 0.0)])]);
        assert!(bars.svg().contains("fault a") && bars.svg().contains("0.500"));
    }

    #[test]
    fn flat_and_single_maps_are_drawn() {
        let map = SeriesMap { title: "", cycles: &[1], timeline: &[0.0], sensors: &[], values: &[] };
        assert!(series_chart(&map).unwrap().png().is_ok());
    }
}
