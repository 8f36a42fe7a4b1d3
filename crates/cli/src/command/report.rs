//! `faithful report`: an evaluation run as a page, or several side by side.

mod board;
mod curves;
mod photos;

use crate::arguments::ReportArguments;
use crate::exhibit::{self, PageLimits, command_line};
use crate::failure::Outcome;
use crate::output::Output;
use crate::recorded::Recorded;
use anyhow::Result;
use faithful_core::Error;
use faithful_evaluate::{Line, Manifest, Row, Rows, Store, Table};
use faithful_metric::{Direction, METRICS};
use faithful_page::{Cell, Gallery, Page, Section};
use serde_json::json;
use std::collections::BTreeSet;
use std::path::Path;

pub(crate) fn run(arguments: &ReportArguments, output: &Output) -> Result<Outcome> {
    exhibit::prepare(&arguments.out, [])?;
    output.writes_files();
    match &arguments.runs[..] {
        [run] => one(run, arguments, output),
        _ => board::run(arguments, output),
    }
}

fn one(run: &Path, arguments: &ReportArguments, output: &Output) -> Result<Outcome> {
    let (store, manifest) = Store::open(run)?;
    let recorded = Recorded::read(&store)?;
    let rows = store.rows()?;
    for (file, reason) in &rows.damaged {
        output.error(&format!("{}: its rows are missing: {reason}", file.display()));
    }
    let order: Vec<String> = manifest.methods.iter().map(|method| name_of(method).to_owned()).collect();
    let table = Table::new(&rows, &order, arguments.against.as_deref())?;
    let (metric, direction) = ranking(&table, arguments.metric.as_deref())?;
    let extremes = photos::extremes(&rows, &table, &metric, direction, arguments.photos);

    let model = manifest.model.split(' ').next().unwrap_or_default().to_owned();
    let mut page = Page::new(format!("Evaluation of {}", counted(table.lines.len(), "method")));
    page.lede(format!(
        "{} on {model}, with {}",
        counted(table.images, "image"),
        counted(table.metrics.len(), "metric")
    ));
    page.push(results(&table));
    if let Some(section) = curves::section(&rows, &table) {
        page.push(section);
    }
    let limits = PageLimits::new(
        extremes.iter().map(|one| one.images.len()).sum(),
        extremes.iter().map(|one| one.images.len()).sum::<usize>() * table.lines.len(),
        arguments.percentile,
    )?;
    match photos::gallery(arguments, recorded.as_ref(), &manifest, &rows, &extremes, &limits, output) {
        Ok(gallery) => page.push(photo_section(&metric, gallery)),
        Err(error) => {
            let reason = crate::failure::text(&error);
            output.note(&format!("the page shows no photos: {reason}"));
            page.push(photos::listed(&extremes, &metric, &reason));
        }
    }
    page.push(failures(&rows));
    reproduce(&mut page, &manifest, recorded.as_ref());
    let bytes = exhibit::write(&page, &arguments.out)?;
    let out = arguments.out.display().to_string();
    output.object(&json!({
        "page": out, "images": table.images, "methods": table.lines.len(), "bytes": bytes, "damaged": rows.damaged.len(),
    }))?;
    output.line(&format!(
        "{out}: {} methods on {} images, {:.1} MB",
        table.lines.len(),
        table.images,
        bytes as f64 / 1e6
    ))?;
    Ok(Outcome::of_failures(rows.damaged.len()))
}

/// A manifest's method without its parameters.
fn name_of(method: &str) -> &str {
    method.split(' ').next().unwrap_or(method)
}

fn counted(count: usize, word: &str) -> String {
    format!("{count} {word}{}", if count == 1 { "" } else { "s" })
}

/// The metric by which photos are best and worst.
fn ranking(table: &Table, wanted: Option<&str>) -> Result<(String, Direction)> {
    let known = |name: &str| table.metrics.iter().find(|(known, _)| known == name).cloned();
    if let Some(name) = wanted {
        let names = table.metrics.iter().map(|(name, _)| name.as_str());
        return known(name).ok_or_else(|| Error::unknown("metric in this run", name, names).into());
    }
    let found = ["ins-del", "insertion"].iter().find_map(|name| known(name));
    Ok(found.unwrap_or_else(|| table.metrics[0].clone()))
}

/// The table with intervals and ranks.
fn results(table: &Table) -> Section {
    let mut columns = vec!["method".to_owned()];
    columns.extend(table.metrics.iter().map(|(name, direction)| format!("{name} {}", arrow(*direction))));
    columns.push("seconds".to_owned());
    let column = |column: usize| table.lines.iter().map(move |line| &line.cells[column]);
    let ends: Vec<[f64; 2]> = (0..table.metrics.len()).map(|at| ends(column(at))).collect();
    let cell = |line: &Line, column: usize| measured(&line.cells[column], ends[column]);
    let rows = table.lines.iter().map(|line| {
        let mut row: Vec<Cell> = vec![line.method.clone().into()];
        row.extend((0..table.metrics.len()).map(|column| cell(line, column)));
        row.push(line.seconds.map_or_else(|| "–".into(), Cell::from));
        row
    });
    let mut caption = format!(
        "Means over the {} that every method finished, with 95% bootstrap intervals; the best of each column is bold. \
         ↑: higher is better, ↓: lower. Seconds: the median time of an explanation.",
        counted(table.images, "image")
    );
    if let Some(against) = &table.against {
        caption.push_str(&format!(
            " * ** *** differ from {against}: paired sign-flip test, Holm-corrected p below 0.05, 0.01, 0.001."
        ));
    }
    Section::table("Results", faithful_page::Table { columns, rows: rows.collect(), caption: Some(caption) })
}

fn arrow(direction: Direction) -> &'static str {
    if direction == Direction::Higher { "↑" } else { "↓" }
}

/// The lowest and the highest end of a column's intervals.
fn ends<'a>(cells: impl Iterator<Item = &'a faithful_evaluate::Cell>) -> [f64; 2] {
    cells.fold([f64::INFINITY, f64::NEG_INFINITY], |[low, high], cell| {
        [low.min(cell.value.low), high.max(cell.value.high)]
    })
}

/// A mean with its interval, drawn between the ends of its column.
fn measured(found: &faithful_evaluate::Cell, [low, high]: [f64; 2]) -> Cell {
    let share = |value: f64| if high > low { (value - low) / (high - low) } else { 0.5 };
    let stars = match found.p {
        Some(p) if p < 0.001 => " ***",
        Some(p) if p < 0.01 => " **",
        Some(p) if p < 0.05 => " *",
        _ => "",
    };
    Cell {
        text: format!("{:.3}{stars}", found.value.mean),
        small: Some(format!("{:.3} to {:.3}, rank {}", found.value.low, found.value.high, found.rank)),
        value: Some(found.value.mean),
        best: found.rank == 1,
        span: Some([share(found.value.low), share(found.value.mean), share(found.value.high)]),
        link: None,
    }
}

fn photo_section(metric: &str, gallery: Gallery) -> Section {
    Section::gallery(Some("Best and worst photos"), gallery)
        .note(format!("By {metric}. Press a photo to see all methods' maps of it."))
}

/// What failed, and why.
fn failures(rows: &Rows) -> Section {
    let failed: Vec<&Row> = rows.rows.iter().filter(|row| row.error.is_some()).collect();
    let left_out = rows.rows.iter().filter(|row| row.metric == "misclassified").count();
    let left_out = if left_out > 0 {
        format!(" {} left out: the network takes them for another class.", counted(left_out, "image"))
    } else {
        String::new()
    };
    if failed.is_empty() {
        return Section::text("Failures", vec![format!("Nothing failed.{left_out}")], None);
    }
    let images: BTreeSet<&str> = failed.iter().map(|row| row.image.as_str()).collect();
    let mut table = faithful_page::Table::new(&["image", "method", "reason"]);
    for row in failed.iter().take(500) {
        let method = if row.method.is_empty() { "the image itself" } else { &row.method };
        table.row(vec![row.image.clone().into(), method.into(), row.error.clone().unwrap_or_default().into()]);
    }
    if failed.len() > 500 {
        table.caption = Some(format!("The first 500 of {}.", failed.len()));
    }
    Section::table("Failures", table).note(format!("{} affected.{left_out}", counted(images.len(), "image")))
}

/// How to make and to cite it.
fn reproduce(page: &mut Page, manifest: &Manifest, recorded: Option<&Recorded>) {
    let mut paragraphs = vec![format!(
        "The same command with faithful {}, the same weights and the same images gives the same rows, whatever the \
         batch, the threads or the shards.",
        manifest.version
    )];
    let code = recorded.map(|recorded| command_line(recorded.command.iter().cloned()));
    if code.is_none() {
        paragraphs.push("The command was not kept with this run; what defines it stands below.".into());
    }
    page.push(Section::text("How to reproduce it", paragraphs, code));
    let sources: BTreeSet<String> = manifest
        .metrics
        .iter()
        .filter_map(|name| {
            let base = name.split('@').next()?;
            METRICS.iter().find(|metric| metric.name == base).map(|metric| format!("{name}: {}", metric.source))
        })
        .collect();
    let entry = format!(
        "@software{{faithful,\n  title   = {{faithful: explanations of convolutional networks}},\n  version = {{{}}},\n  \
         note    = {{seed {}, model {}, images {}}}\n}}\n\n@mastersthesis{{buono2023,\n  author = {{Buono and {{\\AA}}kesson}},\n  \
         title  = {{Towards gradient faithfulness and beyond}},\n  school = {{Halmstad University}},\n  year   = {{2023}}\n}}",
        manifest.version, manifest.seed, manifest.model, manifest.images
    );
    let cited = vec![format!("Metrics: {}.", sources.into_iter().collect::<Vec<_>>().join("; "))];
    page.push(Section::text("How to cite it", cited, Some(entry)));
    page.fact("Model, digest of its outputs", manifest.model.clone());
    page.fact("Methods", manifest.methods.join("; "));
    page.fact("Layer", manifest.layer.clone());
    page.fact("Class", manifest.class.clone());
    page.fact("Images, digest of their names", format!("{}, {}", manifest.image_count, manifest.images));
    page.fact("Protocol", in_words(&manifest.protocol));
    page.fact("Seed", manifest.seed.to_string());
    page.fact("Version", format!("faithful {}", manifest.version));
}

/// `thesis Protocol { steps: Count(20), … }` as one reads it: `thesis (steps Count(20), …)`.
fn in_words(protocol: &str) -> String {
    protocol.replace("Protocol { ", "(").replace(" { ", " (").replace(" }", ")").replace(": ", " ")
}
