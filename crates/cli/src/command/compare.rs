//! `faithful compare`.

use super::run;
use crate::arguments::CompareArguments;
use crate::exhibit::{self, PageLimits};
use crate::failure::{Outcome, Usage};
use crate::model;
use crate::output::Output;
use anyhow::{Result, bail};
use faithful_explain::inputs::{Input, Inputs};
use faithful_explain::{Classifier, MethodAt, MethodSpec, Read, Session, Setup, auto, baseline, photo};
use faithful_metric::{Protocol, Steps};
use faithful_model::LayerRow;
use faithful_page::{Cell, Gallery, Page, Photo, Section, Table};
use serde_json::json;
use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

pub(crate) fn run(arguments: &CompareArguments, output: &Output) -> Result<Outcome> {
    let maps = &arguments.maps;
    let methods = auto::parsed(&arguments.methods)?;
    let baselines = maps.baselines.as_deref().unwrap_or(baseline::DEFAULT);
    let mut setup = Setup {
        methods,
        layers: arguments.layer.clone(),
        classes: arguments.class.clone(),
        decoding: photo::decoding(arguments.photos.max_megapixels)?,
        ..maps.setup(baselines)?
    };
    let protocol = protocol(arguments)?;
    let inputs = run::photos(&arguments.photos.images);
    let count = inputs.photos.len();
    let columns = setup.methods.len() * arguments.levels.map_or(1, NonZeroUsize::get);
    let limits = PageLimits::new(count, count * columns * setup.classes.len(), maps.percentile)?;
    let back = other_photo(arguments)?;
    let photos = inputs.photos.iter().map(|photo| photo.path.as_path());
    let photos = photos.chain(arguments.photos.images.iter().map(PathBuf::as_path)).chain(back);
    exhibit::prepare(&arguments.out, photos)?;
    output.writes_files();
    let classifier = model::classifier(&arguments.model, output)?;
    setup.methods = methods_of(arguments, &classifier, output)?;
    let session = model::session(&setup, &classifier, output)?;

    let names = names(&inputs);
    let compute = arguments.model.name.compute.compute()?;
    let mut photos = Vec::new();
    let mut broken = 0;
    let mut shown = |session: &Session<'_>, path: &Path, name: String| {
        let seen = session.read(path)?;
        let mut photo = limits.photo(name, &seen, &session.classifier.model)?;
        for method in &session.methods {
            if let Err(reason) = exhibit::add_maps(&mut photo, session, &seen, method, &limits, protocol.as_ref()) {
                broken += 1;
                output.error(&format!("{}: {}: {reason}", path.display(), method.spec.label));
            }
            output.advance();
        }
        photos.push(photo);
        anyhow::Ok(())
    };
    let steps = session.methods.len() * if back.is_some() { 2 } else { 1 };
    let outcome = run::for_each_photo_in_steps(&inputs, output, "comparing", steps, |input| {
        shown(&session, &input.path, names[&input.stem].clone())?;
        let Some(other) = back else { return Ok(()) };
        let read = Read::SimilarTo(input.path.clone());
        let mirrored = Classifier::reading_of(classifier.model.clone(), read, |model| compute.place(&model.graph))?;
        shown(&model::session(&setup, &mirrored, output)?, other, file_name(other))
    })?;
    if photos.is_empty() {
        bail!("no photo could be explained, so no page is written");
    }
    let count = photos.len();

    let mut page =
        Page::new(if let [only] = photos.as_slice() { only.name.clone() } else { format!("{count} photos") });
    page.lede(format!("What {} looked at, by {}", classifier.model.name, words(&session.methods)));
    if let Some(section) = summary(&session.methods, &photos) {
        page.push(section);
    }
    page.push(Section::gallery(
        None,
        Gallery {
            columns: session
                .methods
                .iter()
                .map(|one| exhibit::method_column(&one.spec.label, &one.spec.method))
                .collect(),
            photos,
            ..Gallery::default()
        },
    ));
    facts(&mut page, arguments, &session, baselines);
    let bytes = exhibit::write(&page, &arguments.out)?;
    output.object(&json!({
        "page": arguments.out.display().to_string(), "photos": count, "bytes": bytes, "failed": broken,
    }))?;
    output.line(&format!("{}: {count} photos, {:.1} MB", arguments.out.display(), bytes as f64 / 1e6))?;
    Ok(if broken > 0 { Outcome::Partial } else { outcome })
}

/// The photo of `--similar-to` that is explained as well.
fn other_photo(arguments: &CompareArguments) -> Result<Option<&Path>> {
    let other = arguments.model.name.reading.similar_to.as_deref().filter(|_| arguments.both_ways);
    if other.is_some_and(|path| path.extension().is_some_and(|end| end.eq_ignore_ascii_case("npy"))) {
        let reason = "--similar-to names a vector, which has no photo to explain: leave --both-ways out";
        return Err(Usage::from(reason.to_owned()).into());
    }
    Ok(other)
}

/// The methods that were named, those with target layers once per level where levels are asked for.
fn methods_of(arguments: &CompareArguments, classifier: &Classifier, output: &Output) -> Result<Vec<MethodSpec>> {
    let maps = &arguments.maps;
    let draws = maps.draws.is_some() || maps.baselines.is_some() || maps.stop != "draws";
    let told = |text: &str| output.note(text);
    let methods = auto::methods(&arguments.methods, classifier, &arguments.layer, draws, &told)
        .map_err(|error| model::with_hint(&classifier.model, error))?;
    let Some(count) = arguments.levels else { return Ok(methods) };
    let levels = model::levels(&classifier.model, "levels", count.get())?;
    let at_levels = |spec: MethodSpec| {
        // What is made of all resolutions is shown once.
        if !spec.method.needs_layers() || spec.method.has_parts() {
            return vec![spec];
        }
        let at = |row: &LayerRow| MethodSpec {
            layers: vec![row.name.clone()],
            label: format!("{} at {}", spec.label, row.name),
            ..spec.clone()
        };
        levels.iter().map(at).collect()
    };
    Ok(methods.into_iter().flat_map(at_levels).collect())
}

fn protocol(arguments: &CompareArguments) -> Result<Option<Protocol>> {
    let mut protocol = Protocol::named(&arguments.protocol)?;
    let Some(steps) = NonZeroUsize::new(arguments.steps) else { return Ok(None) };
    protocol.steps = Steps::Count(steps);
    Ok(Some(protocol))
}

/// A name per photo, by its unique stem: the file's name, or the whole path where several files share theirs.
fn names(inputs: &Inputs) -> HashMap<String, String> {
    let mut counts: HashMap<String, usize> = HashMap::new();
    for input in &inputs.photos {
        *counts.entry(file_name(&input.path)).or_default() += 1;
    }
    let name = |input: &Input| match file_name(&input.path) {
        name if counts[&name] == 1 => name,
        _ => input.path.display().to_string(),
    };
    inputs.photos.iter().map(|input| (input.stem.clone(), name(input))).collect()
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

/// The mean of each method's measures over all photos and classes, where there are several maps to take it of.
fn summary(methods: &[MethodAt], photos: &[Photo]) -> Option<Section> {
    let maps = |place: usize| {
        let views = photos.iter().flat_map(|photo| &photo.views);
        views.filter_map(move |view| view.maps.get(place)).filter(|map| map.grid.is_ok())
    };
    let mut names: Vec<(&str, bool)> = Vec::new();
    for measure in (0..methods.len()).flat_map(|place| maps(place)).flat_map(|map| &map.measures) {
        if !names.iter().any(|(name, _)| *name == measure.name) {
            names.push((&measure.name, measure.higher_is_better == Some(true)));
        }
    }
    if names.is_empty() || maps(0).count() < 2 {
        return None;
    }
    let mean = |place: usize, name: &str| {
        let own = maps(place).flat_map(|map| &map.measures).filter(|measure| measure.name == name);
        let (sum, count) = own.fold((0.0, 0), |(sum, count), measure| (sum + measure.value, count + 1));
        if count > 0 { sum / f64::from(count) } else { f64::NAN }
    };
    let columns =
        names.iter().map(|(name, higher)| format!("{name} {}", if *higher { "\u{2191}" } else { "\u{2193}" }));
    let columns: Vec<String> =
        ["method".to_owned()].into_iter().chain(columns).chain(["maps".to_owned(), "seconds".to_owned()]).collect();
    let mut table = Table { columns, ..Table::default() };
    for (place, method) in methods.iter().enumerate() {
        let cells = names.iter().map(|(name, higher)| {
            let all = (0..methods.len()).map(|other| mean(other, name)).filter(|value| !value.is_nan());
            let best = all.reduce(if *higher { f64::max } else { f64::min });
            let own = mean(place, name);
            Cell { best: best == Some(own), ..own.into() }
        });
        let (count, seconds) = (maps(place).count(), maps(place).filter_map(|map| map.seconds).sum::<f64>());
        let rest =
            [Cell { text: count.to_string(), ..(count as f64).into() }, Cell::from(seconds / count.max(1) as f64)];
        let name = [Cell::from(method.spec.label.as_str())];
        table.row(name.into_iter().chain(cells).chain(rest).collect());
    }
    let note = "Means over all photos and classes of this page; the best of each column is bold. Few photos decide little: \
                `faithful evaluate` gives intervals and tests.";
    Some(Section::table("Summary", table).note(note))
}

fn words(methods: &[MethodAt]) -> String {
    let names: Vec<&str> = methods.iter().map(|method| method.spec.label.as_str()).collect();
    match names.as_slice() {
        [first @ .., last] if !first.is_empty() => format!("{} and {last}", first.join(", ")),
        _ => names.join(""),
    }
}

fn facts(page: &mut Page, arguments: &CompareArguments, session: &Session<'_>, baselines: &str) {
    let maps = &arguments.maps;
    let model = &session.classifier.model;
    exhibit::model_facts(page, model);
    // Boxes come from layers of their own.
    let at_layers = |method: &MethodAt| {
        let is_each = session.classifier.finds_boxes() && !method.named;
        if is_each { None } else { method.layer_names(&model.graph) }
    };
    let line = |method: &MethodAt| match at_layers(method) {
        None => method.spec.label.clone(),
        Some(layers) if method.spec.layers.is_empty() => format!("{} at {layers}", method.spec.label),
        Some(_) => method.spec.label.clone(),
    };
    let lines: Vec<String> = session.methods.iter().map(line).collect();
    page.fact("Methods", lines.join("; "));
    page.fact("Explained", exhibit::explained(session, &maps.score));
    if session.methods.iter().any(|one| one.spec.method.compares()) {
        page.fact("Baselines", baselines);
    }
    if session.methods.iter().any(|one| one.spec.method.draws()) {
        let draws = maps.draws.map_or_else(|| "as each method has them".to_owned(), |draws| draws.to_string());
        page.fact("Draws", draws);
        page.fact("Seed", maps.seed.to_string());
    }
    if arguments.steps > 0 {
        let text = format!(
            "the probability of the class as the most important cells appear (insertion, higher is better) and vanish \
             (deletion, lower is better): {} protocol with {} steps",
            arguments.protocol, arguments.steps
        );
        page.fact("Curves", text);
    }
    exhibit::closing_facts(page);
}
