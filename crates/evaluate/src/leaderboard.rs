use crate::{Cell, Table};
use faithful_metric::Direction;

/// Several tables, of other networks or other images each, beside one another.
///
/// Ranks are among the methods that every table has, so that a method which was measured in one alone moves no other.
#[derive(Clone, Debug)]
pub struct Leaderboard {
    /// The tables' names, in their order.
    pub tables: Vec<String>,
    /// The metrics that at least one table has, in the first one's order.
    pub metrics: Vec<Standing>,
}

/// A metric's columns.
#[derive(Clone, Debug)]
pub struct Standing {
    /// The metric.
    pub metric: String,
    /// Which way is better.
    pub direction: Direction,
    /// The methods, the best mean rank first; those without one follow by name.
    pub lines: Vec<Place>,
}

/// A method's values of a metric.
#[derive(Clone, Debug)]
pub struct Place {
    /// The method.
    pub method: String,
    /// Its cell in each table that has it; `rank` is that within its table.
    pub cells: Vec<Option<Cell>>,
    /// The mean, over the tables that have the metric, of its rank among the methods that all of them have.
    pub mean_rank: Option<f64>,
}

impl Leaderboard {
    /// The leaderboard of named tables.
    pub fn new(tables: &[(String, Table)]) -> Self {
        let mut metrics: Vec<(String, Direction)> = Vec::new();
        for (name, direction) in tables.iter().flat_map(|(_, table)| &table.metrics) {
            if !metrics.iter().any(|(known, _)| known == name) {
                metrics.push((name.clone(), *direction));
            }
        }
        let standing = |(metric, direction)| standing(metric, direction, tables);
        Self {
            tables: tables.iter().map(|(name, _)| name.clone()).collect(),
            metrics: metrics.into_iter().map(standing).collect(),
        }
    }
}

fn standing(metric: String, direction: Direction, tables: &[(String, Table)]) -> Standing {
    let cells: Vec<Vec<(&str, Cell)>> = tables.iter().map(|(_, table)| column(table, &metric)).collect();
    let of =
        |cells: &[(&str, Cell)], method: &str| cells.iter().find(|(name, _)| *name == method).map(|(_, cell)| *cell);
    let mut methods: Vec<&str> = cells.iter().flatten().map(|(name, _)| *name).collect();
    methods.sort_unstable();
    methods.dedup();
    let having: Vec<&Vec<(&str, Cell)>> = cells.iter().filter(|cells| !cells.is_empty()).collect();
    let common: Vec<&str> =
        methods.iter().copied().filter(|method| having.iter().all(|cells| of(cells, method).is_some())).collect();
    let mean_rank = |method: &str| {
        common.contains(&method).then(|| {
            let ranks = having.iter().map(|cells| {
                let merit = |name: &str| of(cells, name).map_or(f64::NAN, |cell| merit(&cell, direction));
                1 + common.iter().filter(|other| merit(other) > merit(method)).count()
            });
            ranks.sum::<usize>() as f64 / having.len() as f64
        })
    };
    let mut lines: Vec<Place> = methods
        .iter()
        .map(|method| Place {
            method: (*method).to_owned(),
            cells: cells.iter().map(|cells| of(cells, method)).collect(),
            mean_rank: mean_rank(method),
        })
        .collect();
    lines.sort_by(|a, b| a.mean_rank.unwrap_or(f64::MAX).total_cmp(&b.mean_rank.unwrap_or(f64::MAX)));
    Standing { metric, direction, lines }
}

fn column<'a>(table: &'a Table, metric: &str) -> Vec<(&'a str, Cell)> {
    let Some(place) = table.metrics.iter().position(|(name, _)| name == metric) else { return Vec::new() };
    table.lines.iter().map(|line| (line.method.as_str(), line.cells[place])).collect()
}

fn merit(cell: &Cell, direction: Direction) -> f64 {
    if direction == Direction::Higher { cell.value.mean } else { -cell.value.mean }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Interval, Line};

    fn table(metric: &str, direction: Direction, values: &[(&str, f64)]) -> Table {
        let cell = |mean| Cell { value: Interval { mean, low: mean, high: mean }, rank: 1, lead: None, p: None };
        Table {
            metrics: vec![(metric.into(), direction)],
            lines: values
                .iter()
                .map(|(method, mean)| Line { method: (*method).into(), cells: vec![cell(*mean)], seconds: None })
                .collect(),
            images: 3,
            against: None,
        }
    }

    #[test]
    fn ranks_are_among_the_methods_that_all_tables_with_the_metric_have() {
        let board = Leaderboard::new(&[
            ("a".into(), table("deletion", Direction::Lower, &[("x", 0.3), ("y", 0.2), ("only here", 0.1)])),
            ("b".into(), table("deletion", Direction::Lower, &[("y", 0.4), ("x", 0.1)])),
            ("c".into(), table("insertion", Direction::Higher, &[("x", 0.5), ("y", 0.9)])),
        ]);
        let [deletion, insertion] = &board.metrics[..] else { panic!("two metrics") };
        let lines = |standing: &Standing| -> Vec<(String, Option<f64>)> {
            standing.lines.iter().map(|line| (line.method.clone(), line.mean_rank)).collect()
        };
        assert_eq!(lines(deletion), [("x".into(), Some(1.5)), ("y".into(), Some(1.5)), ("only here".into(), None)]);
        assert_eq!(lines(insertion), [("y".into(), Some(1.0)), ("x".into(), Some(2.0))]);
        assert!(deletion.lines[0].cells[2].is_none() && insertion.lines[0].cells[0].is_none());
    }
}
