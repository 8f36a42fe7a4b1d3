//! `faithful compare`.

use super::run;
use crate::arguments::CompareArguments;
use crate::exhibit::{self, Room};
use crate::failure::Outcome;
use crate::model;
use crate::output::Output;
use anyhow::{Result, bail};
use faithful_core::{LayerId, Watched};
use faithful_explain::inputs::Inputs;
use faithful_explain::memory::Demand;
use faithful_explain::method::{Named, Settings, parse_stop};
use faithful_explain::question::{Question, Rows, layer_names, target_layers};
use faithful_explain::{baseline, class, photo};
use faithful_metric::{Protocol, Steps};
use faithful_page::{Gallery, Page, Section};
use serde_json::json;
use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::path::PathBuf;

pub(crate) fn run(arguments: &CompareArguments, output: &Output) -> Result<Outcome> {
    let making = &arguments.making;
    let methods: Vec<Named> =
        arguments.methods.iter().map(|name| Named::parse(name)).collect::<faithful_core::Result<_>>()?;
    let stop = parse_stop(&making.stop)?;
    let decoding = photo::decoding(arguments.photos.max_megapixels)?;
    let protocol = protocol(arguments)?;
    let inputs = run::photos(&arguments.photos.images);
    let classes = arguments.class.len();
    let room = Room::new(inputs.photos.len(), inputs.photos.len() * methods.len() * classes, making.percentile)?;
    exhibit::prepare(
        &arguments.out,
        inputs
            .photos
            .iter()
            .map(|photo| photo.path.as_path())
            .chain(arguments.photos.images.iter().map(PathBuf::as_path)),
    )?;
    output.writes_files();
    let compute = arguments.model.name.compute.compute()?;
    let model = model::classifier(&arguments.model, output)?;
    let network = compute.place(&model.graph)?;
    let layers: Vec<Vec<LayerId>> = methods
        .iter()
        .map(|named| {
            // A layer is meant for the methods that have one.
            let names = if named.method.needs_layers() { arguments.layer.as_slice() } else { &[] };
            target_layers(&model, &named.method, names).map_err(|error| model::layer_error(&model, error))
        })
        .collect::<Result<_>>()?;
    let labels = &model.labels;
    let wanted = model::classes(&model, &arguments.class)?;
    let number = model::number(&model, &making.score)?;
    let baselines = making.baselines.as_deref().unwrap_or(baseline::DEFAULT);
    let sampler = model::baselines(baselines, model.photo_preprocessing()?, &decoding, output)?;
    let network = Watched::new(&*network, output);
    let settings = Settings::new(making.draws, stop, sampler);
    let pairs = methods.iter().zip(&layers);
    let most = class::most(&wanted);
    let demands =
        pairs.map(|(named, layers)| Demand::of(&named.method, &model.graph, layers, &named.settings(&settings), most));
    let demands = demands.chain([Ok(Demand::FORWARD)]).collect::<faithful_core::Result<_>>()?;
    let question = Question {
        model: &model,
        network: &network,
        wanted,
        number,
        settings,
        seed: making.seed,
        rows: Rows::new(making.batch, making.memory, demands),
        decoding,
    };

    let names = names(&inputs);
    let mut photos = Vec::new();
    let mut broken = 0;
    let outcome = run::for_each_photo_in_steps(&inputs, output, "comparing", methods.len(), |input| {
        let asked = question.read(&input.path)?;
        let mut photo = room.photo(names[&input.stem].clone(), &asked, labels)?;
        for (named, layers) in methods.iter().zip(&layers) {
            let by = (named, layers.as_slice());
            if let Err(reason) = exhibit::add_maps(&mut photo, &question, &asked, by, &room, protocol.as_ref()) {
                broken += 1;
                output.error(&format!("{}: {}: {reason}", input.path.display(), named.label));
            }
            output.advance();
        }
        photos.push(photo);
        Ok(())
    })?;
    if photos.is_empty() {
        bail!("no photo could be explained, so no page is written");
    }
    let count = photos.len();

    let mut page =
        Page::new(if let [only] = photos.as_slice() { only.name.clone() } else { format!("{count} photos") });
    page.lede(format!("What {} looked at, by {}", model.name, words(&methods)));
    page.push(Section::gallery(
        None,
        Gallery {
            columns: methods.iter().map(|named| exhibit::method_column(&named.label, &named.method)).collect(),
            photos,
            ..Gallery::default()
        },
    ));
    facts(&mut page, arguments, &question, &methods, &layers, baselines);
    let bytes = exhibit::write(&page, &arguments.out)?;
    output.object(&json!({
        "page": arguments.out.display().to_string(), "photos": count, "bytes": bytes, "failed": broken,
    }))?;
    output.line(&format!("{}: {count} photos, {:.1} MB", arguments.out.display(), bytes as f64 / 1e6))?;
    Ok(if broken > 0 { Outcome::Partial } else { outcome })
}

fn protocol(arguments: &CompareArguments) -> Result<Option<Protocol>> {
    let mut protocol = Protocol::named(&arguments.protocol)?;
    let Some(steps) = NonZeroUsize::new(arguments.steps) else { return Ok(None) };
    protocol.steps = Steps::Count(steps);
    Ok(Some(protocol))
}

/// A name per photo, by its unique stem: the file's name, or the whole path where several files share theirs.
fn names(inputs: &Inputs) -> HashMap<String, String> {
    let file = |path: &std::path::Path| path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    let mut counts: HashMap<String, usize> = HashMap::new();
    for input in &inputs.photos {
        *counts.entry(file(&input.path)).or_default() += 1;
    }
    let name = |input: &faithful_explain::inputs::Input| match file(&input.path) {
        name if counts[&name] == 1 => name,
        _ => input.path.display().to_string(),
    };
    inputs.photos.iter().map(|input| (input.stem.clone(), name(input))).collect()
}

fn words(methods: &[Named]) -> String {
    let names: Vec<&str> = methods.iter().map(|named| named.label.as_str()).collect();
    match names.as_slice() {
        [first @ .., last] if !first.is_empty() => format!("{} and {last}", first.join(", ")),
        _ => names.join(""),
    }
}

fn facts(
    page: &mut Page,
    arguments: &CompareArguments,
    question: &Question,
    methods: &[Named],
    layers: &[Vec<LayerId>],
    baselines: &str,
) {
    let making = &arguments.making;
    exhibit::model_facts(page, question.model);
    let lines: Vec<String> = methods
        .iter()
        .zip(layers)
        .map(|(named, layers)| match layers.as_slice() {
            [] => named.label.clone(),
            layers => format!("{} at {}", named.label, layer_names(question.model, layers)),
        })
        .collect();
    page.fact("Methods", lines.join("; "));
    page.fact("Explained", making.score.clone());
    if methods.iter().any(|named| named.method.compares()) {
        page.fact("Baselines", baselines);
    }
    if methods.iter().any(|named| named.method.draws()) {
        let draws = making.draws.map_or_else(|| "as each method has them".to_owned(), |draws| draws.to_string());
        page.fact("Draws", draws);
        page.fact("Seed", making.seed.to_string());
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
