//! The photos that a method explains best and worst, with the maps the run measured, made again.

use crate::arguments::{Arguments, Command, EvaluateArguments, ReportArguments};
use crate::command::evaluate;
use crate::exhibit::{PageLimits, method_column};
use crate::output::Output;
use crate::recorded::Recorded;
use anyhow::{Context, Result, bail};
use clap::Parser;
use faithful_core::{Objective, Stream, Target};
use faithful_evaluate::{Explainer, Manifest, Row, Rows, Source, Subject, Table};
use faithful_explain::evaluation::DRAWN;
use faithful_explain::evaluation::EvaluatedMethod;
use faithful_explain::model::predict;
use faithful_explain::read_of;
use faithful_metric::Direction;
use faithful_page::{Gallery, Group, Measure, Overlay, Photo, Section};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Some images of a method, with their values.
pub(super) struct Extreme {
    pub(super) method: String,
    pub(super) best: bool,
    /// The most extreme first.
    pub(super) images: Vec<(String, f64)>,
}

/// The `count` best and the `count` worst images of every method; no image is both.
pub(super) fn extremes(rows: &Rows, table: &Table, metric: &str, direction: Direction, count: usize) -> Vec<Extreme> {
    let mut found = Vec::new();
    for line in &table.lines {
        let mine = |row: &&Row| row.method == line.method && row.metric == metric;
        let values = rows.rows.iter().filter(mine).filter_map(|row| Some((row.image.clone(), row.value?)));
        let mut values: Vec<(String, f64)> = values.collect();
        let sign = if direction == Direction::Higher { 1.0 } else { -1.0 };
        values.sort_by(|a, b| (sign * b.1).total_cmp(&(sign * a.1)).then_with(|| a.0.cmp(&b.0)));
        let best = count.min(values.len().div_ceil(2));
        let worst = count.min(values.len() - best);
        let method = &line.method;
        for (is_best, images) in
            [(true, values[..best].to_vec()), (false, values[values.len() - worst..].iter().rev().cloned().collect())]
        {
            if !images.is_empty() {
                found.push(Extreme { method: method.clone(), best: is_best, images });
            }
        }
    }
    found
}

/// Names and values, where the photos cannot be shown.
pub(super) fn listed(extremes: &[Extreme], metric: &str, reason: &str) -> Section {
    let mut table = faithful_page::Table::new(&["image", "method", "which", metric]);
    for extreme in extremes {
        let which = if extreme.best { "best" } else { "worst" };
        for (image, value) in &extreme.images {
            table.row(vec![image.clone().into(), extreme.method.clone().into(), which.into(), (*value).into()]);
        }
    }
    Section::table("Best and worst photos", table).note(format!("The photos are not shown: {reason}"))
}

/// The photos with every method's maps, made again as the run made them.
pub(super) fn gallery(
    arguments: &ReportArguments,
    recorded: Option<&Recorded>,
    manifest: &Manifest,
    rows: &Rows,
    extremes: &[Extreme],
    limits: &PageLimits,
    output: &Output,
) -> Result<Gallery> {
    let recorded = recorded.context("the run's command was not kept with it")?;
    let evaluate = evaluation(arguments, recorded)?;
    let classifier = evaluate::classifier(&evaluate, output)?;
    let measured = evaluate::measurement(&evaluate, &classifier, output)?;
    let images = measured.images()?;
    let mut now = measured.manifest(&images)?;
    // Another version of faithful may still make the same maps; anything else makes others.
    now.version.clone_from(&manifest.version);
    let differences = now.differences(manifest);
    if !differences.is_empty() {
        bail!("they are not the run's any more: {}", differences.join("; "));
    }

    let wanted: BTreeSet<&str> =
        extremes.iter().flat_map(|extreme| extreme.images.iter().map(|(image, _)| image.as_str())).collect();
    let explainers = EvaluatedMethod::of(&measured.session);
    let own = classifier.network();
    output.start(wanted.len() * explainers.len(), "drawing");
    let mut photos: Vec<Photo> = Vec::new();
    let mut places: BTreeMap<&str, usize> = BTreeMap::new();
    for name in wanted {
        let index = images.names().iter().position(|known| known == name);
        let index = index.with_context(|| format!("`{name}` is not among the images"))?;
        let row = rows.rows.iter().find(|row| row.image == name && row.class.is_some());
        let class = row.and_then(|row| row.class).with_context(|| format!("`{name}` has no class"))? as usize;
        let mut photo = images.photo(index)?.on(own)?;
        let reading = classifier.reading(own, &photo)?;
        if let Some(reading) = &reading {
            reading.draw_on(&mut photo);
        }
        let network = read_of(own, reading.as_ref());
        let network = &*network;
        let target = Target::Output(class);
        let batch = measured.batch(&photo.tensor)?;
        let objective = Objective::new(network, &target).with_batch(batch);
        let prediction = predict(&objective, classifier.model.probabilities, &photo.tensor)?;
        let mut shown = limits.classes_of(name.to_owned(), &photo, &prediction, &[class], &classifier.model)?;
        let stream = Stream::new(evaluate.seed, name);
        for explainer in &explainers {
            let subject = Subject { network, input: &photo.tensor, class, stream: &stream, batch };
            let overlay = match explainer.explain(&subject) {
                Ok(explained) => with_values(
                    limits.overlay(&explained.map, &explainer.method.spec.method),
                    rows,
                    name,
                    explainer.name(),
                ),
                Err(error) => Overlay::new(Err(error.to_string())),
            };
            shown.views[0].maps.push(overlay);
            output.advance();
        }
        places.insert(name, photos.len());
        photos.push(shown);
    }
    output.finish();

    let column = |method: &str| explainers.iter().position(|explainer| explainer.name() == method).unwrap_or(0);
    let groups = extremes.iter().map(|extreme| Group {
        title: format!("{}: {}", extreme.method, if extreme.best { "best" } else { "worst" }),
        note: None,
        column: column(&extreme.method),
        photos: extreme.images.iter().filter_map(|(image, _)| places.get(image.as_str()).copied()).collect(),
        captions: extreme.images.iter().map(|(_, value)| format!("{value:.3}")).collect(),
    });
    Ok(Gallery {
        columns: explainers
            .iter()
            .map(|explainer| method_column(explainer.name(), &explainer.method.spec.method))
            .collect(),
        groups: groups.collect(),
        group_name: Some("Method".into()),
        photos,
        ..Gallery::default()
    })
}

/// A map with what the run measured of it.
fn with_values(mut overlay: Overlay, rows: &Rows, image: &str, method: &str) -> Overlay {
    for row in rows.rows.iter().filter(|row| row.image == image && row.method == method) {
        overlay.seconds = overlay.seconds.or(row.seconds);
        let Some(value) = row.value else { continue };
        let metric = faithful_metric::Metric::parse(&row.metric);
        let better = metric.map(|metric| metric.info.direction == Direction::Higher).ok();
        overlay.measures.push(Measure { name: row.metric.clone(), value, higher_is_better: better });
        if let Some(curve) = &row.curve {
            overlay.curves.push(super::curves::thinned(&row.metric, curve));
        }
    }
    // Insertion before deletion, as everywhere.
    overlay.curves.sort_by(|a, b| b.name.cmp(&a.name));
    overlay
}

/// What the run was told, with its files where they are now.
fn evaluation(arguments: &ReportArguments, recorded: &Recorded) -> Result<EvaluateArguments> {
    let parsed =
        Arguments::try_parse_from(&recorded.command).context("the run's command is not understood any more")?;
    let Command::Evaluate(evaluate) = parsed.command else { bail!("the run's command is no `faithful evaluate`") };
    let mut evaluate = *evaluate;
    let moved = |path: &Path| -> PathBuf {
        if path.is_relative() && !path.exists() { recorded.folder.join(path) } else { path.to_owned() }
    };
    let there = |path: &Path| recorded.folder.join(path).exists();
    match &arguments.images {
        Some(images) => evaluate.images.clone_from(images),
        None if DRAWN.iter().any(|name| evaluate.images == Path::new(name)) && !there(&evaluate.images) => {}
        None => evaluate.images = moved(&evaluate.images),
    }
    evaluate.masks = evaluate.masks.as_deref().map(moved);
    evaluate.baselines = evaluate.baselines.map(|baselines| {
        if there(Path::new(&baselines)) { moved(Path::new(&baselines)).display().to_string() } else { baselines }
    });
    let model = &mut evaluate.model.name.model;
    *model = model.take().map(|name| match name.split_once(':') {
        Some((architecture, path)) if there(Path::new(path)) => {
            format!("{architecture}:{}", moved(Path::new(path)).display())
        }
        None if there(Path::new(&name)) => moved(Path::new(&name)).display().to_string(),
        _ => name,
    });
    evaluate.model.labels = evaluate.model.labels.as_deref().map(moved);
    Ok(evaluate)
}
