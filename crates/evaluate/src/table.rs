use crate::complete::{Complete, direction};
use crate::statistics::{Interval, bootstrap_mean, holm, paired_p};
use crate::{Row, Rows};
use faithful_core::{Error, Result};
use faithful_metric::Direction;
use serde::Serialize;
use std::collections::BTreeSet;
use std::fmt::Write as _;

/// A run's table: a line per method, a cell per metric, over the images that every method finished.
#[derive(Clone, Debug)]
pub struct Table {
    /// The metrics in their order, with the way that is better.
    pub metrics: Vec<(String, Direction)>,
    /// The methods, in the order they were given or by name.
    pub lines: Vec<Line>,
    /// The images that count.
    pub images: usize,
    /// The method that the others are compared with.
    pub against: Option<String>,
}

/// A method's line.
#[derive(Clone, Debug)]
pub struct Line {
    /// The method.
    pub method: String,
    /// One cell per metric.
    pub cells: Vec<Cell>,
    /// The median time of an explanation in seconds.
    pub seconds: Option<f64>,
}

/// A method's value of a metric.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cell {
    /// The mean over the images with its 95% interval.
    pub value: Interval,
    /// The rank among the methods: 1 is best; equal means share a rank.
    pub rank: usize,
    /// The lead over the method it is compared with: positive is better, with its paired 95% interval.
    pub lead: Option<Interval>,
    /// The Holm-corrected paired p value of that lead.
    pub p: Option<f64>,
}

/// How a table is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Columns for a terminal.
    #[default]
    Text,
    /// A Markdown table.
    Markdown,
    /// Comma-separated, one line per method and metric.
    Csv,
    /// A LaTeX `tabular`, the best value of each column bold.
    Latex,
    /// One JSON object.
    Json,
}

impl Table {
    /// The table of `rows`; `order` puts methods first that are named in it, `against` is the method that the others
    /// are compared with.
    ///
    /// Only images count that have a value for every method and metric, so that all means are over the same ones.
    ///
    /// # Errors
    /// [`Error::Format`] where no image is complete; [`Error::UnknownName`] where `against` or one of `order` is not in the run.
    pub fn new(rows: &Rows, order: &[String], against: Option<&str>) -> Result<Self> {
        let complete = Complete::of(rows, order)?;
        let methods = &complete.methods;
        let mut named = order.iter().map(String::as_str).chain(against);
        if let Some(name) = named.find(|name| !methods.contains(name)) {
            return Err(Error::unknown("method in this run", name, methods.iter().copied()));
        }
        let metrics: Vec<(String, Direction)> =
            complete.metrics.iter().map(|name| ((*name).to_owned(), direction(name))).collect();
        let mut lines: Vec<Line> = methods
            .iter()
            .map(|method| Line {
                method: (*method).to_owned(),
                cells: Vec::new(),
                seconds: median(&seconds(&complete.rows, method, &complete.images)),
            })
            .collect();
        for (metric, direction) in &metrics {
            let columns: Vec<Vec<f64>> = methods.iter().map(|method| complete.column(method, metric)).collect();
            let sign = if *direction == Direction::Higher { 1.0 } else { -1.0 };
            let means: Vec<f64> = columns.iter().map(|values| sign * mean(values)).collect();
            let reference = against.and_then(|name| methods.iter().position(|method| *method == name));
            let leads: Vec<Option<Vec<f64>>> = columns
                .iter()
                .enumerate()
                .map(|(i, values)| {
                    let reference = reference.filter(|reference| *reference != i)?;
                    Some(values.iter().zip(&columns[reference]).map(|(a, b)| sign * (a - b)).collect())
                })
                .collect();
            let tested: Vec<f64> = leads.iter().flatten().map(|lead| paired_p(lead)).collect();
            let mut corrected = holm(&tested).into_iter();
            for (i, line) in lines.iter_mut().enumerate() {
                line.cells.push(Cell {
                    value: bootstrap_mean(&columns[i]).expect("there are images"),
                    rank: 1 + means.iter().filter(|other| **other > means[i]).count(),
                    lead: leads[i].as_ref().and_then(|lead| bootstrap_mean(lead)),
                    p: leads[i].as_ref().and_then(|_| corrected.next()),
                });
            }
        }
        Ok(Self { metrics, lines, images: complete.images.len(), against: against.map(str::to_owned) })
    }

    /// The table in `format`, ending with a line break.
    pub fn write(&self, format: Format) -> String {
        self.write_within(format, None)
    }

    /// As [`write`](Self::write); text that is wider than `width` letters stands in blocks of metrics, one below the
    /// other.
    pub fn write_within(&self, format: Format, width: Option<usize>) -> String {
        match format {
            Format::Text => self.grid(
                |cell, _| format!("{:.3} [{:.3}, {:.3}]", cell.value.mean, cell.value.low, cell.value.high),
                |columns| blocks(&columns, width.unwrap_or(usize::MAX)),
            ),
            Format::Markdown => self.grid(
                |cell, best| {
                    let mean =
                        if best { format!("**{:.3}**", cell.value.mean) } else { format!("{:.3}", cell.value.mean) };
                    format!("{mean} ± {:.3}", (cell.value.high - cell.value.low) / 2.0)
                },
                |columns| markdown(&columns),
            ),
            Format::Latex => self.latex(),
            Format::Csv => self.csv(),
            Format::Json => self.json(),
        }
    }

    fn heading(&self) -> Vec<String> {
        let arrow = |direction: &Direction| if *direction == Direction::Higher { "↑" } else { "↓" };
        let mut heading = vec!["method".to_owned()];
        heading.extend(self.metrics.iter().map(|(name, direction)| format!("{name} {}", arrow(direction))));
        heading.push("seconds".into());
        heading
    }

    fn grid(&self, cell: impl Fn(&Cell, bool) -> String, lay: impl Fn(Vec<Vec<String>>) -> String) -> String {
        let mut grid = vec![self.heading()];
        for line in &self.lines {
            let mut cells = vec![line.method.clone()];
            cells.extend(line.cells.iter().map(|value| {
                let mut text = cell(value, value.rank == 1);
                if let Some(p) = value.p.filter(|p| *p < 0.05) {
                    let _ = write!(
                        text,
                        " {}",
                        if p < 0.001 {
                            "***"
                        } else if p < 0.01 {
                            "**"
                        } else {
                            "*"
                        }
                    );
                }
                text
            }));
            cells.push(line.seconds.map_or_else(String::new, |seconds| format!("{seconds:.3}")));
            grid.push(cells);
        }
        let mut text = lay(grid);
        let _ = writeln!(text, "\n{} images; means with 95% bootstrap intervals.", self.images);
        if let Some(against) = &self.against {
            let _ = writeln!(
                text,
                "* ** *** differ from {against} (paired sign-flip test, Holm-corrected p < 0.05, 0.01, 0.001)."
            );
        }
        text
    }

    fn latex(&self) -> String {
        let mut grid = vec![vec!["Method".to_owned()]];
        for (name, direction) in &self.metrics {
            let arrow = if *direction == Direction::Higher { "\\uparrow" } else { "\\downarrow" };
            grid[0].push(format!("${arrow}$ {}", escaped(name)));
        }
        for line in &self.lines {
            let mut cells = vec![escaped(&line.method)];
            cells.extend(line.cells.iter().map(|cell| {
                let half = (cell.value.high - cell.value.low) / 2.0;
                let mean = format!("{:.3}", cell.value.mean);
                let mean = if cell.rank == 1 { format!("\\textbf{{{mean}}}") } else { mean };
                format!("{mean} $\\pm$ {half:.3}")
            }));
            grid.push(cells);
        }
        latex(&grid)
    }

    fn csv(&self) -> String {
        let mut text = "method,metric,direction,mean,low,high,rank,lead,lead_low,lead_high,p,images\n".to_owned();
        let number = |value: Option<f64>| value.map_or_else(String::new, |value| value.to_string());
        for line in &self.lines {
            for (cell, (metric, direction)) in line.cells.iter().zip(&self.metrics) {
                let lead = |pick: fn(&Interval) -> f64| number(cell.lead.as_ref().map(pick));
                let _ = writeln!(
                    text,
                    "{},{metric},{},{},{},{},{},{},{},{},{},{}",
                    line.method,
                    word(*direction),
                    cell.value.mean,
                    cell.value.low,
                    cell.value.high,
                    cell.rank,
                    lead(|lead| lead.mean),
                    lead(|lead| lead.low),
                    lead(|lead| lead.high),
                    number(cell.p),
                    self.images
                );
            }
        }
        text
    }

    fn json(&self) -> String {
        #[derive(Serialize)]
        struct Value<'a> {
            method: &'a str,
            metric: &'a str,
            direction: &'a str,
            mean: f64,
            interval: [f64; 2],
            rank: usize,
            lead: Option<f64>,
            lead_interval: Option<[f64; 2]>,
            p: Option<f64>,
            seconds: Option<f64>,
        }
        let lines = self.lines.iter().flat_map(|line| {
            line.cells.iter().zip(&self.metrics).map(|(cell, (metric, direction))| Value {
                method: &line.method,
                metric,
                direction: word(*direction),
                mean: cell.value.mean,
                interval: [cell.value.low, cell.value.high],
                rank: cell.rank,
                lead: cell.lead.map(|lead| lead.mean),
                lead_interval: cell.lead.map(|lead| [lead.low, lead.high]),
                p: cell.p,
                seconds: line.seconds,
            })
        });
        let values: Vec<Value> = lines.collect();
        let object = serde_json::json!({ "images": self.images, "against": self.against, "values": values });
        format!("{object}\n")
    }
}

fn word(direction: Direction) -> &'static str {
    if direction == Direction::Higher { "higher" } else { "lower" }
}

fn seconds(values: &[&Row], method: &str, images: &[&str]) -> Vec<f64> {
    let mut seen = BTreeSet::new();
    let rows = values.iter().filter(|row| row.method == method && images.contains(&row.image.as_str()));
    rows.filter(|row| seen.insert(&row.image)).filter_map(|row| row.seconds).collect()
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        count if count % 2 == 1 => Some(sorted[middle]),
        _ => Some(f64::midpoint(sorted[middle - 1], sorted[middle])),
    }
}

/// The grid in as many blocks as it takes, each with the first column and those that fit beside it.
fn blocks(grid: &[Vec<String>], width: usize) -> String {
    let widest = |column: usize| grid.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let mut parts: Vec<Vec<usize>> = Vec::new();
    let mut used = usize::MAX;
    for column in 1..grid[0].len() {
        let needed = 2 + widest(column);
        if used.saturating_add(needed) > width && used > widest(0) || parts.is_empty() {
            parts.push(vec![0]);
            used = widest(0);
        }
        used += needed;
        if let Some(part) = parts.last_mut() {
            part.push(column);
        }
    }
    let block = |part: &Vec<usize>| {
        let lines: Vec<Vec<String>> =
            grid.iter().map(|line| part.iter().map(|at| line[*at].clone()).collect()).collect();
        text(&lines)
    };
    parts.iter().map(block).collect::<Vec<_>>().join("\n")
}

/// A grid of plain texts, the heading first.
pub(crate) fn lay(grid: &[Vec<String>], format: Format) -> String {
    match format {
        Format::Markdown => markdown(grid),
        Format::Latex => {
            latex(&grid.iter().map(|line| line.iter().map(|cell| escaped(cell)).collect()).collect::<Vec<_>>())
        }
        Format::Text | Format::Csv | Format::Json => text(grid),
    }
}

fn escaped(text: &str) -> String {
    text.replace('_', "\\_").replace('%', "\\%")
}

fn latex(grid: &[Vec<String>]) -> String {
    let mut text = format!("\\begin{{tabular}}{{l{}}}\n\\toprule\n", "r".repeat(grid[0].len() - 1));
    for (i, line) in grid.iter().enumerate() {
        let _ = writeln!(text, "{} \\\\", line.join(" & "));
        if i == 0 {
            text.push_str("\\midrule\n");
        }
    }
    text.push_str("\\bottomrule\n\\end{tabular}\n");
    text
}

fn text(grid: &[Vec<String>]) -> String {
    let width = |column: usize| grid.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..grid[0].len()).map(width).collect();
    let mut text = String::new();
    for line in grid {
        let cells: Vec<String> = line
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell}{}", " ".repeat(width - cell.chars().count())))
            .collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

fn markdown(grid: &[Vec<String>]) -> String {
    let mut text = String::new();
    for (i, line) in grid.iter().enumerate() {
        let _ = writeln!(text, "| {} |", line.join(" | "));
        if i == 0 {
            let _ = writeln!(text, "|---|{}", "--:|".repeat(line.len() - 1));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::row;

    #[test]
    fn wide_tables_stand_in_blocks() {
        let grid: Vec<Vec<String>> =
            [["m", "aaaa", "bbbb", "cccc"], ["x", "1", "2", "3"]].map(|line| line.map(String::from).to_vec()).to_vec();
        assert_eq!(blocks(&grid, 100), text(&grid));
        assert_eq!(blocks(&grid, 13), "m  aaaa  bbbb\nx  1     2\n\nm  cccc\nx  3\n");
        assert_eq!(blocks(&grid, 1).matches("\n\n").count(), 2, "no block is narrower than its column");
    }

    fn rows() -> Rows {
        let mut rows = Vec::new();
        for image in 0..20 {
            let wobble = image as f64 / 100.0;
            rows.push(row(image, "grad-cam", "insertion", 0.5 + wobble));
            rows.push(row(image, "hyper", "insertion", 0.6 + wobble));
            rows.push(row(image, "grad-cam", "deletion", 0.2 + wobble));
            rows.push(row(image, "hyper", "deletion", 0.1 + wobble));
        }
        rows.push(row(99, "hyper", "insertion", 0.0));
        Rows { rows, damaged: Vec::new() }
    }

    #[test]
    fn incomplete_images_do_not_count_and_ranks_follow_the_direction() {
        let table = Table::new(&rows(), &["hyper".into()], Some("grad-cam")).unwrap();
        assert_eq!(table.images, 20);
        assert_eq!(table.lines[0].method, "hyper");
        let ranks: Vec<Vec<usize>> =
            table.lines.iter().map(|line| line.cells.iter().map(|cell| cell.rank).collect()).collect();
        assert_eq!(ranks, [[1, 1], [2, 2]]);
        let lead = table.lines[0].cells[1].lead.unwrap();
        assert!((lead.mean - 0.1).abs() < 1e-12 && lead.low > 0.0, "lower deletion is a positive lead");
        assert!(table.lines[0].cells[1].p.unwrap() < 0.001);
        assert_eq!(table.lines[1].cells[0].p, None);
    }

    #[test]
    fn every_format_names_methods_and_metrics() {
        let table = Table::new(&rows(), &[], Some("grad-cam")).unwrap();
        for format in [Format::Text, Format::Markdown, Format::Csv, Format::Latex, Format::Json] {
            let text = table.write(format);
            assert!(text.contains("hyper") && text.contains("insertion") && text.ends_with('\n'), "{text}");
        }
        assert!(table.write(Format::Markdown).contains("**0.695**"));
        let json: serde_json::Value = serde_json::from_str(&table.write(Format::Json)).unwrap();
        assert_eq!(json["values"].as_array().unwrap().len(), 4);
    }

    #[test]
    fn an_empty_run_and_an_unknown_method_are_errors() {
        assert!(Table::new(&Rows::default(), &[], None).is_err());
        let error = Table::new(&rows(), &[], Some("gradcam")).unwrap_err().to_string();
        assert!(error.contains("`grad-cam`"), "{error}");
    }
}
