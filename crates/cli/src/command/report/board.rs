//! Several runs side by side: methods by networks, metric by metric, with mean ranks.

use super::{arrow, counted, ends, measured};
use crate::arguments::ReportArguments;
use crate::command::table::{question, rows_of};
use crate::exhibit;
use crate::failure::Outcome;
use crate::output::Output;
use anyhow::Result;
use faithful_core::Error;
use faithful_evaluate::{Leaderboard, Standing, Store, Table};
use faithful_page::{Cell, Page, Section};
use serde_json::json;
use std::path::PathBuf;

pub(super) fn run(arguments: &ReportArguments, output: &Output) -> Result<Outcome> {
    let mut damaged = 0;
    let mut tables = Vec::new();
    for Group { name, runs } in groups(&arguments.runs)? {
        let rows = rows_of(&runs, output)?;
        damaged += rows.damaged.len();
        let table = Table::new(&rows, &[], arguments.against.as_deref())?;
        tables.push((format!("{name}, n = {}", table.images), table));
    }
    let mut board = Leaderboard::new(&tables);
    if let Some(wanted) = &arguments.metric {
        let known: Vec<String> = board.metrics.iter().map(|standing| standing.metric.clone()).collect();
        board.metrics.retain(|standing| standing.metric == *wanted);
        if board.metrics.is_empty() {
            return Err(Error::unknown("metric in these runs", wanted, known.iter().map(String::as_str)).into());
        }
    }
    let mut page = Page::new("Leaderboard");
    page.lede(format!("{} over {}", counted(board.metrics.len(), "metric"), counted(tables.len(), "table")));
    for standing in &board.metrics {
        page.push(section(standing, &board.tables));
    }
    for (name, table) in &tables {
        page.fact(name.clone(), counted(table.lines.len(), "method"));
    }
    let bytes = exhibit::write(&page, &arguments.out)?;
    let out = arguments.out.display().to_string();
    output.object(&json!({
        "page": out, "tables": board.tables, "metrics": board.metrics.len(), "bytes": bytes, "damaged": damaged,
    }))?;
    output.line(&format!("{out}: {} metrics over {} tables", board.metrics.len(), tables.len()))?;
    Ok(Outcome::of_failures(damaged))
}

/// Runs that make one table.
struct Group {
    name: String,
    runs: Vec<PathBuf>,
}

fn groups(runs: &[PathBuf]) -> Result<Vec<Group>> {
    let mut groups: Vec<(_, Group)> = Vec::new();
    for run in runs {
        let (_, manifest) = Store::open(run)?;
        let question = question(&manifest);
        if let Some((_, group)) = groups.iter_mut().find(|(known, _)| *known == question) {
            group.runs.push(run.clone());
            continue;
        }
        let model = manifest.model.split(' ').next().unwrap_or_default();
        let folder = run.file_name().unwrap_or_default().to_string_lossy();
        groups.push((question, Group { name: format!("{model} ({folder})"), runs: vec![run.clone()] }));
    }
    Ok(groups.into_iter().map(|(_, group)| group).collect())
}

fn section(standing: &Standing, tables: &[String]) -> Section {
    let title = format!("{} {}", standing.metric, arrow(standing.direction));
    let mut columns = vec!["method".to_owned()];
    columns.extend(tables.iter().cloned());
    columns.push("mean rank".to_owned());
    let ends: Vec<[f64; 2]> =
        (0..tables.len()).map(|at| ends(standing.lines.iter().filter_map(|line| line.cells[at].as_ref()))).collect();
    let rows = standing.lines.iter().map(|line| {
        let mut row: Vec<Cell> = vec![line.method.clone().into()];
        row.extend(line.cells.iter().zip(&ends).map(|(cell, ends)| match cell {
            Some(cell) => measured(cell, *ends),
            None => "–".into(),
        }));
        row.push(line.mean_rank.map_or_else(|| "–".into(), |rank| Cell { text: format!("{rank:.2}"), ..rank.into() }));
        row
    });
    let caption = "Means over the images that every method of a table finished, with 95% bootstrap intervals. Mean rank: among the \
                   methods that all tables with this metric have.";
    let table = faithful_page::Table { columns, rows: rows.collect(), caption: Some(caption.into()) };
    Section::table(&title, table)
}
