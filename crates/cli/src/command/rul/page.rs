//! What pages about machines show: their lives, what drives the fleet, and machine by machine.

use super::model::Loaded;
use crate::arguments::LifeScore;
use crate::exhibit;
use anyhow::Result;
use faithful_page::{Cell, Chart, Detail, Grid, HeatMap, Mark, Page, Section, Series, Table};
use faithful_report::{Map, Scale};
use faithful_rul::{Driver, Fleet, FleetSummary, Scores, Unit, sensor_in_words};

/// A machine's life, in cycles.
pub(super) struct Life<'a> {
    pub(super) name: &'a str,
    pub(super) fault: Option<&'a str>,
    /// What is left in truth, cut off at the cap, where it is known.
    pub(super) remaining: Option<f32>,
    pub(super) predicted: f32,
    /// The section that shows more of it.
    pub(super) anchor: Option<String>,
}

/// A page's title, what is known of the network, and how it was made.
pub(super) fn begin(title: String, loaded: &Loaded) -> Page {
    let mut page = Page::new(title);
    page.lede(format!(
        "{} ({}), trained on {}; windows of {} cycles, lives up to {} cycles",
        loaded.name, loaded.kind, loaded.trained_on, loaded.preparation.window, loaded.preparation.cap
    ));
    page
}

/// The page's last words.
pub(super) fn end(page: &mut Page, loaded: &Loaded, scores: Option<&Scores>) {
    page.fact("Network", format!("{}, {}, trained on {}", loaded.name, loaded.kind, loaded.trained_on));
    page.fact("Sensors", loaded.preparation.sensors.join(", "));
    if let Some(Scores { mse, rmse, mae, mape, nasa, count }) = scores {
        let errors = format!(
            "MSE {mse:.1}, RMSE {rmse:.2}, MAE {mae:.2}, MAPE {mape:.3}, NASA's score {nasa:.0} over {count} machines"
        );
        page.fact("Errors", errors);
    }
    exhibit::closing_facts(page);
}

/// Predicted against true lives as charts, and every machine's error; only the predictions where no life is known.
pub(super) fn lives(lives: &[Life]) -> Vec<Section> {
    let mut known: Vec<(f64, f64)> =
        lives.iter().filter_map(|life| Some((f64::from(life.remaining?), f64::from(life.predicted)))).collect();
    let table = table_of(lives);
    if known.is_empty() {
        return vec![Section::table("Predicted lives", table).note("Their true lives are not known.")];
    }
    known.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
    let (remaining, predicted): (Vec<f64>, Vec<f64>) = known.iter().copied().unzip();
    let within = known.iter().filter(|(remaining, predicted)| (predicted - remaining).abs() <= 13.0).count();
    let most = 1.05 * remaining.iter().chain(&predicted).copied().fold(1.0, f64::max);
    let places: Vec<f64> = (1..=known.len()).map(|place| place as f64).collect();
    let sorted = Chart {
        x_name: "machines, by what is left of their lives".into(),
        y_name: "cycles left".into(),
        y_range: Some([0.0, most]),
        series: vec![
            // Machines have nothing between them: no line joins one to the next.
            Series::dots("true", places.clone(), remaining.clone()),
            Series { color: Some(1), ..Series::dots("predicted", places, predicted.clone()) },
        ],
        summary: Some(format!("{within} of {} predictions are within 13 cycles", known.len())),
        ..Chart::new("Predicted and true lives")
    };
    let scatter = Chart {
        x_name: "true cycles left".into(),
        y_name: "predicted cycles left".into(),
        x_range: Some([0.0, most]),
        y_range: Some([0.0, most]),
        diagonal: true,
        series: vec![Series::dots("machines", remaining, predicted)],
        summary: Some("above the diagonal a machine is promised too long a life".into()),
        ..Chart::new("Machine by machine")
    };
    let links = lives.iter().any(|life| life.anchor.is_some());
    let more = if links { ", a machine to see what drives it" } else { "" };
    let note = format!("Above zero a machine is promised too long a life. Press a heading to sort{more}.");
    let errors = Section::table("Errors", table).note(note);
    vec![Section::charts("Predicted and true lives", vec![sorted, scatter]), errors]
}

fn table_of(lives: &[Life]) -> Table {
    let known = lives.iter().any(|life| life.remaining.is_some());
    let faults = lives.iter().any(|life| life.fault.is_some());
    let mut columns = vec!["machine"];
    if faults {
        columns.push("fault");
    }
    columns.push("predicted");
    if known {
        columns.extend(["true", "error"]);
    }
    let error = |life: &Life| life.remaining.map(|remaining| f64::from(life.predicted - remaining));
    let widest = lives.iter().filter_map(error).map(f64::abs).fold(0.0, f64::max);
    let mut table = Table::new(&columns);
    for life in lives {
        let mut row = vec![Cell { link: life.anchor.clone(), ..named(life.name) }];
        if faults {
            row.push(life.fault.unwrap_or("–").into());
        }
        row.push(cycles(f64::from(life.predicted)));
        if known {
            row.push(life.remaining.map_or_else(|| "–".into(), |remaining| cycles(f64::from(remaining))));
            row.push(error(life).map_or_else(|| "–".into(), |error| from_zero(error, [-widest, widest])));
        }
        table.row(row);
    }
    table
}

/// What the sensors are that a table of C-MAPSS calls by letters; nothing for tables of other machines.
pub(super) fn sensors(names: &[String]) -> Option<Section> {
    let known = names.iter().filter_map(|name| Some((name, sensor_in_words(name)?)));
    let mut table = Table::new(&["sensor", "what it measures"]);
    known.for_each(|(name, words)| table.row(vec![name.as_str().into(), words.into()]));
    (!table.rows.is_empty()).then(|| Section::table("The sensors", table).note("Saxena et al. 2008, Table 2."))
}

/// A name that is sorted as a number where it is one.
fn named(name: &str) -> Cell {
    Cell { value: name.parse().ok().filter(|value: &f64| value.is_finite()), ..name.into() }
}

fn cycles(value: f64) -> Cell {
    Cell { text: format!("{value:.1}"), ..value.into() }
}

/// A number with a bar that begins at zero, in a column from `low` to `high`.
fn from_zero(value: f64, [low, high]: [f64; 2]) -> Cell {
    let share = |value: f64| if high > low { (value - low) / (high - low) } else { 0.5 };
    let (zero, end) = (share(0.0), share(value));
    // What is rounded to nothing has no sign.
    let text = if value.abs() < 0.05 { "0.0".into() } else { format!("{value:+.1}") };
    Cell { text, span: Some([zero.min(end), end, zero.max(end)]), ..value.into() }
}

/// Which sensors drive predictions, fault by fault.
pub(super) fn fleet(method: &str, summary: &FleetSummary) -> Section {
    let Some(first) = summary.groups.first() else { return Section::table("The fleet", Table::default()) };
    let names: Vec<String> = summary
        .groups
        .iter()
        .map(|group| {
            let plural = if group.machines == 1 { "" } else { "s" };
            format!("{}, {} machine{plural}", group.fault, group.machines)
        })
        .collect();
    let columns: Vec<&str> = ["sensor"].into_iter().chain(names.iter().map(String::as_str)).collect();
    let values = summary.groups.iter().flat_map(|group| &group.drivers).map(|driver| driver.cycles);
    let ends = values.fold([0.0f64; 2], |[low, high], value| [low.min(value), high.max(value)]);
    let mut table = Table::new(&columns);
    for Driver { sensor, .. } in &first.drivers {
        let of =
            |drivers: &[Driver]| drivers.iter().find(|driver| driver.sensor == *sensor).map(|driver| driver.cycles);
        let cells = summary.groups.iter().map(|group| {
            let best = group.drivers.first().is_some_and(|driver| driver.sensor == *sensor);
            let cell = of(&group.drivers).map_or_else(|| "–".into(), |value| from_zero(value, ends));
            Cell { best, ..cell }
        });
        table.row([Cell::from(sensor.as_str())].into_iter().chain(cells).collect());
    }
    Section::table(&format!("The fleet, by {method}"), table).note(
        "What each sensor adds to the explained score over the window, on average; of complete methods in cycles. The \
             greatest of each column is bold.",
    )
}

/// What one method says of one machine.
pub(super) struct Seen<'a> {
    pub(super) method: &'a str,
    pub(super) timeline: &'a [f32],
    /// A row of values per sensor, where the method tells sensors apart.
    pub(super) map: Option<Vec<f32>>,
    pub(super) drivers: &'a [Driver],
}

/// The readings of a machine's sensors as its table has them, with what is usual in the condition of each cycle: a chart per sensor that
/// drives the prediction most.
///
/// # Errors
/// What [`conditions_of`](faithful_rul::Preparation::conditions_of) returns.
pub(super) fn traces(loaded: &Loaded, fleet: &Fleet, unit: &Unit, drivers: &[Driver]) -> Result<Vec<Chart>> {
    const SENSORS: usize = 3;
    let preparation = &loaded.preparation;
    let labels = preparation.conditions_of(fleet, unit)?;
    let cycles: Vec<f64> = unit.cycles.iter().map(|cycle| f64::from(*cycle)).collect();
    // From one condition to the next readings jump: no line joins them.
    let mark = if preparation.conditions.len() > 1 { Mark::Dots } else { Mark::Line };
    let chart = |Driver { sensor, .. }: &Driver| {
        let column = fleet.sensors.iter().position(|name| name == sensor)?;
        let kept = preparation.sensors.iter().position(|name| name == sensor)?;
        let reading = |place: usize| f64::from(unit.readings[place * fleet.sensors.len() + column]);
        let readings = (0..cycles.len()).map(reading).collect();
        let usual = labels.iter().map(|label| preparation.conditions[*label].mean[kept]).collect();
        let own = Series { mark, ..Series::line("reading", cycles.clone(), readings) };
        let usual_mark = if mark == Mark::Dots { Mark::Dots } else { Mark::Dashed };
        let usual = Series { mark: usual_mark, color: Some(7), ..Series::line("usual", cycles.clone(), usual) };
        Some(Chart {
            x_name: "cycle".into(),
            y_name: sensor.clone(),
            series: vec![own, usual],
            ..Chart::new(sensor_in_words(sensor).map_or_else(|| sensor.clone(), |words| format!("{sensor}: {words}")))
        })
    };
    Ok(drivers.iter().take(SENSORS).filter_map(chart).collect())
}

/// One machine: its predictions over its life, each method's time line, heat maps of sensors over cycles, and the `traces` of sensors.
pub(super) fn machine(
    title: &str,
    course: Option<Chart>,
    traces: Vec<Chart>,
    cycles: &[u32],
    sensors: &[String],
    seen: &[Seen],
    score: LifeScore,
) -> Result<Section> {
    let across: Vec<f64> = cycles.iter().map(|cycle| f64::from(*cycle)).collect();
    let mut charts: Vec<Chart> = course.into_iter().collect();
    charts.extend(seen.iter().map(|seen| Chart {
        x_name: "cycle".into(),
        y_name: "importance".into(),
        series: vec![Series::line(seen.method, across.clone(), seen.timeline.iter().map(|v| f64::from(*v)).collect())],
        ..Chart::new(format!("Importance of cycles, by {}", seen.method))
    }));
    let ends = [across.first().copied().unwrap_or(0.0), across.last().copied().unwrap_or(0.0)];
    let scale = Scale { signed: true, ..Scale::default() };
    let mut maps = Vec::new();
    for seen in seen {
        let Some(values) = &seen.map else { continue };
        let map = Map::new(sensors.len(), cycles.len(), values.clone())?;
        maps.push(HeatMap {
            title: format!("Sensors over cycles, by {}", seen.method),
            rows: sensors.to_vec(),
            x_name: "cycle".into(),
            columns: ends,
            grid: Grid::new(&map, &scale, Detail::default())?,
            summary: said(seen.drivers, score),
        });
    }
    let note = seen.iter().find_map(|seen| Some(format!("{} (by {}).", said(seen.drivers, score)?, seen.method)));
    let section = Section::charts(title, charts).and(Section::heat_maps("", maps));
    let section = if traces.is_empty() { section } else { section.and(Section::charts("", traces)) };
    Ok(match note {
        Some(note) => section.note(note),
        None => section,
    })
}

/// The three sensors that matter most and which way they move the prediction, in words.
fn said(drivers: &[Driver], score: LifeScore) -> Option<String> {
    let way = |value: f64| {
        let shortens = (value > 0.0) == (score == LifeScore::Wear);
        if shortens { "shortens" } else { "lengthens" }
    };
    let words: Vec<String> = drivers
        .iter()
        .take(3)
        .map(|Driver { sensor, cycles, .. }| {
            format!("{sensor} {} the predicted life ({:.1})", way(*cycles), cycles.abs())
        })
        .collect();
    (!words.is_empty()).then(|| format!("What matters most: {}", words.join(", ")))
}

/// The predictions of a machine over its life, with the truth where it is known.
pub(super) fn course(cycles: Vec<f64>, predicted: Vec<f64>, remaining: Option<Vec<f64>>, cap: f32) -> Chart {
    let mut series = Vec::new();
    if let Some(remaining) = remaining {
        series.push(Series::line("true", cycles.clone(), remaining));
    }
    series.push(Series { color: Some(1), ..Series::line("predicted", cycles, predicted) });
    Chart {
        x_name: "cycle".into(),
        y_name: "cycles left".into(),
        y_range: Some([0.0, f64::from(cap) * 1.05]),
        series,
        ..Chart::new("Life so far")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn life(name: &str, remaining: Option<f32>, predicted: f32) -> Life<'_> {
        Life { name, fault: None, remaining, predicted, anchor: Some(format!("machine-{name}")) }
    }

    #[test]
    fn machines_whose_life_is_not_known_are_only_listed() {
        let page = |machines: &[Life]| {
            let mut page = Page::new("t");
            for section in lives(machines) {
                page.push(section);
            }
            page.html()
        };
        let unknown = page(&[life("1", None, 30.0)]);
        assert!(unknown.contains("Predicted lives") && !unknown.contains(">error<"), "{unknown}");
        let known = page(&[life("1", Some(20.0), 30.0), life("2", None, 5.0)]);
        assert!(known.contains("+10.0") && known.contains("#at-machine-1") && known.contains("1 of 1 predictions"));
    }

    #[test]
    fn bars_begin_at_zero() {
        let span = |value| from_zero(value, [-10.0, 30.0]).span.unwrap();
        assert_eq!(span(30.0), [0.25, 1.0, 1.0]);
        assert_eq!(span(-10.0), [0.0, 0.0, 0.25]);
        assert_eq!(from_zero(0.0, [0.0, 0.0]).span, Some([0.5; 3]));
    }
}
