//! `faithful atlas --concepts`: what a layer's activations over a folder's photos are made of, and what each part is to the network.

use super::atlas;
use crate::arguments::AtlasArguments;
use crate::exhibit::{self, PageLimits};
use crate::failure::Outcome;
use crate::model;
use crate::output::Output;
use anyhow::{Result, bail};
use candle_core::Tensor;
use faithful_cam::{Concepts, Layout, concepts};
use faithful_core::{AtLayer, Error, LayerId, Network, Objective, Target};
use faithful_evaluate::Source;
use faithful_explain::evaluation::Images;
use faithful_explain::{Seen, Session, Setup, photo};
use faithful_model::Model;
use faithful_page::{Column, Gallery, Group, Page, Photo, Section, Table};
use faithful_report::Scale;
use serde_json::json;
use std::num::NonZeroUsize;

/// How many of the photos that have most of a concept are shown of it, and are asked what they lose without it.
const EXAMPLES: usize = 12;
/// A photo whose strongest place has less of a concept than this share of the strongest of all does not show it.
const SHOWN: f32 = 0.2;
/// How many classes are named of a concept.
const NAMED: usize = 3;

/// A photo, its input, and what the layer gives for it: as it is, and as `(1, C, h, w)`.
struct Activated {
    photo: Photo,
    seen: Seen,
    raw: Tensor,
    layout: Layout,
    activation: Tensor,
}

/// What one concept is to the network.
struct Meaning {
    /// The photos that have most of it, by their numbers, and how strong it is where it is strongest.
    examples: Vec<(usize, f32)>,
    /// The classes of a layer that has nothing else, with their probabilities, the likeliest first.
    classes: Vec<(usize, f64)>,
    /// The mean probability of the examples' class, with the concept and without it.
    probabilities: [f64; 2],
}

pub(crate) fn run(arguments: &AtlasArguments, count: NonZeroUsize, output: &Output) -> Result<Outcome> {
    let decoding = photo::decoding(arguments.max_megapixels)?;
    exhibit::prepare(&arguments.out, [arguments.images.as_path()])?;
    output.writes_files();
    let classifier = model::classifier(&arguments.model, output)?;
    let model = &classifier.model;
    let class = arguments.class.as_deref().map(|text| model::one_class(model, text)).transpose()?;
    let layer = layer(model, &arguments.layers)?;
    let images = Images::find(&arguments.images, arguments.samples, model, &decoding, None)?;
    let classes = arguments.class.clone().map_or_else(|| Setup::default().classes, |class| vec![class]);
    let memory = arguments.maps.setup("zero")?.memory;
    let session = model::session(&Setup { classes, decoding, memory, ..Setup::default() }, &classifier, output)?;

    let mut failures = 0;
    let most = arguments.count.get().min(images.names().len());
    let chosen: Vec<usize> = match class {
        None => (0..most).collect(),
        Some(class) => {
            let likely = atlas::likeliest(&session, &images, class, &mut failures, output).into_iter();
            likely
                .filter(|(probability, _)| *probability >= arguments.least)
                .map(|(_, index)| index)
                .take(most)
                .collect()
        }
    };
    let limits = PageLimits::new(chosen.len(), chosen.len() * count.get(), arguments.maps.percentile)?;
    let mut all: Vec<Activated> = Vec::new();
    output.start(chosen.len(), "looking");
    for &index in &chosen {
        let name = &images.names()[index];
        let found = images.photo(index).and_then(|photo| session.see(photo, name)).map_err(anyhow::Error::from);
        let found = found.and_then(|seen| activated(&session, &limits, name, seen, layer, all.first()));
        match found {
            Ok(found) => all.push(found),
            Err(error) => {
                failures += 1;
                output.error(&format!("{name}: {}", crate::failure::text(&error)));
            }
        }
        output.advance();
    }
    output.finish();
    if all.is_empty() {
        bail!("no photo could be looked at, so no page is written");
    }
    let activations = Tensor::cat(&all.iter().map(|one| &one.activation).collect::<Vec<_>>(), 0)?;
    let found = concepts(&activations, count.get())?;
    let count = found.channels.dim(0)?;
    let meanings =
        (0..count).map(|concept| meaning(&session, layer, &found, concept, &all)).collect::<Result<Vec<_>>>()?;

    let names: Vec<String> = all.iter().map(|one| one.photo.name.clone()).collect();
    let row = &model.layer_table()[layer.0];
    let photos = all.len();
    let explained = 100.0 * (1.0 - found.residual);
    let title = class.map_or_else(|| format!("{photos} photos"), |class| model.labels.name(class));
    let mut page = Page::new(format!("Concepts: {title}"));
    page.lede(format!(
        "What {} sees at {}: {count} concepts, which are {explained:.0}% of its activations over {photos} photos",
        model.name, row.name
    ));
    page.push(summary(&meanings, model));
    page.push(Section::gallery(None, gallery(&limits, &found, &meanings, all, model)?));
    exhibit::model_facts(&mut page, model);
    page.fact("Layer", format!("{} {}", row.kind, row.name));
    page.fact("Images", arguments.images.display().to_string());
    page.fact("Factorisation", "non-negative, of the places of all photos together (Collins et al. 2018)");
    exhibit::closing_facts(&mut page);
    let bytes = exhibit::write(&page, &arguments.out)?;
    let out = arguments.out.display().to_string();
    let about = |meaning: &Meaning| {
        let class = |(class, probability): &(usize, f64)| json!({ "class": class, "label": model.labels.name(*class), "probability": probability });
        json!({
            "classes": meaning.classes.iter().map(class).collect::<Vec<_>>(),
            "photos": meaning.examples.iter().map(|&(index, _)| names[index].as_str()).collect::<Vec<_>>(),
            "probability_with": meaning.probabilities[0],
            "probability_without": meaning.probabilities[1],
        })
    };
    output.object(&json!({
        "page": out, "layer": row.name, "photos": photos, "explained": 1.0 - found.residual, "bytes": bytes,
        "failed": failures, "concepts": meanings.iter().map(about).collect::<Vec<_>>(),
    }))?;
    output.line(&format!("{out}: {count} concepts of {photos} photos, {:.1} MB", bytes as f64 / 1e6))?;
    Ok(Outcome::of_failures(failures))
}

/// The layer that was named, or the model's own.
fn layer(model: &Model, names: &[String]) -> Result<LayerId> {
    match names {
        [name] => model::layer(model, name),
        [] => Ok(model.target.ok_or_else(|| {
            let reason = format!("`{}` has no convolutional layer with places; name one with --layers", model.name);
            Error::parameter("layers", reason)
        })?),
        _ => Err(Error::parameter("layers", "concepts are of one layer").into()),
    }
}

fn activated(
    session: &Session<'_>,
    limits: &PageLimits,
    name: &str,
    seen: Seen,
    layer: LayerId,
    first: Option<&Activated>,
) -> Result<Activated> {
    let raw = session.network.activations(&seen.photo.tensor, &[layer])?.remove(0);
    let layout = Layout::infer(seen.photo.tensor.dims(), raw.dims())?;
    let activation = layout.channels_first(&raw)?;
    if let Some(first) = first.filter(|first| first.activation.dims() != activation.dims()) {
        let wanted =
            format!("{:?}, as of the first photo: --crop or --fit makes photos of one size", first.activation.dims());
        return Err(Error::shape("the layer's activation", wanted, activation.dims()).into());
    }
    let photo = limits.photo(name.to_owned(), &seen, &session.classifier.model)?;
    Ok(Activated { photo, seen, raw, layout, activation })
}

/// What `concept` is to the network: what it makes of it alone, and what the photos that have most of it lose without it.
fn meaning(
    session: &Session<'_>,
    layer: LayerId,
    found: &Concepts,
    concept: usize,
    all: &[Activated],
) -> Result<Meaning> {
    let probabilities = session.classifier.model.probabilities;
    let strongest: Vec<f32> = found.strengths.narrow(1, concept, 1)?.flatten_from(1)?.max(1)?.to_vec1()?;
    let mut examples: Vec<usize> = (0..all.len()).collect();
    examples.sort_by(|&a, &b| strongest[b].total_cmp(&strongest[a]).then(a.cmp(&b)));
    examples.truncate(EXAMPLES);
    examples.retain(|&index| strongest[index] >= SHOWN);
    let channels = found.channels.narrow(0, concept, 1)?;
    let outputs = |one: &Activated, places: &Tensor| -> Result<Vec<f64>> {
        let network = session.network_of(&one.seen);
        let rest = AtLayer::new(&*network, layer, &one.seen.photo.tensor)?;
        let places = places.to_device(one.raw.device())?.to_dtype(one.raw.dtype())?;
        let activation = one.layout.with_places(&one.raw, &places)?;
        let outputs = Objective::new(&rest, &Target::Output(0)).outputs(&activation)?;
        let outputs: Vec<f64> = outputs.to_dtype(candle_core::DType::F64)?.flatten_all()?.to_vec1()?;
        Ok(probabilities.of(&outputs))
    };
    let (_, count, height, width) = all[0].activation.dims4()?;
    let alone = channels.reshape((1, count, 1, 1))?.broadcast_as((1, count, height, width))?.contiguous()?;
    let mut classes: Vec<(usize, f64)> = outputs(&all[examples[0]], &alone)?.into_iter().enumerate().collect();
    classes.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    classes.truncate(NAMED);
    let mut sums = [0.0; 2];
    for &index in &examples {
        let one = &all[index];
        let strength = found.strengths.narrow(0, index, 1)?.narrow(1, concept, 1)?;
        let own = strength.broadcast_mul(&channels.reshape((1, count, 1, 1))?)?.to_device(one.activation.device())?;
        let class = one.seen.classes[0];
        sums[0] += one.seen.prediction.probabilities[class];
        sums[1] += outputs(one, &(&one.activation - own.to_dtype(one.activation.dtype())?)?)?[class];
    }
    let mean = |sum: f64| sum / examples.len() as f64;
    let probabilities = sums.map(mean);
    let examples = examples.into_iter().map(|index| (index, strongest[index])).collect();
    Ok(Meaning { examples, classes, probabilities })
}

fn summary(meanings: &[Meaning], model: &Model) -> Section {
    let columns = ["concept", "alone it is", "class of its photos", "without it"].map(str::to_owned).to_vec();
    let mut table = Table { columns, ..Table::default() };
    for (place, meaning) in meanings.iter().enumerate() {
        let [with, without] = meaning.probabilities.map(atlas::percent);
        table.row(vec![name(place).into(), classes(meaning, model).into(), with.into(), without.into()]);
    }
    let note = "What the network makes of a layer that has the concept everywhere and nothing else; and the mean probability of the \
                explained class in the photos that have most of the concept, as they are and with the concept taken out of the layer.";
    Section::table("Concepts", table).note(note)
}

fn classes(meaning: &Meaning, model: &Model) -> String {
    let one =
        |(class, probability): &(usize, f64)| format!("{} {}", model.labels.name(*class), atlas::percent(*probability));
    meaning.classes.iter().map(one).collect::<Vec<_>>().join(", ")
}

fn name(place: usize) -> String {
    format!("concept {}", place + 1)
}

fn gallery(
    limits: &PageLimits,
    found: &Concepts,
    meanings: &[Meaning],
    all: Vec<Activated>,
    model: &Model,
) -> Result<Gallery> {
    // One scale for all photos: a concept that is hardly there is dark.
    let scale = Scale { range: Some([0.0, 1.0]), ..Scale::default() };
    let mut photos = Vec::with_capacity(all.len());
    for (index, one) in all.into_iter().enumerate() {
        let mut photo = one.photo;
        let overlay =
            |concept| -> Result<_> { Ok(limits.overlay_scaled(&found.strengths.get(index)?.get(concept)?, &scale)) };
        let maps = (0..meanings.len()).map(overlay).collect::<Result<Vec<_>>>()?;
        photo.views.truncate(1);
        photo.views.iter_mut().for_each(|view| view.maps.clone_from(&maps));
        photos.push(photo);
    }
    let note = |meaning: &Meaning| format!("alone: {}", classes(meaning, model));
    let column = |(place, meaning): (usize, &Meaning)| Column { name: name(place), note: Some(note(meaning)) };
    let group = |(column, meaning): (usize, &Meaning)| Group {
        title: name(column),
        note: Some(note(meaning)),
        column,
        photos: meaning.examples.iter().map(|(index, _)| *index).collect(),
        captions: meaning.examples.iter().map(|(_, strength)| format!("{strength:.2}")).collect(),
    };
    Ok(Gallery {
        columns: meanings.iter().enumerate().map(column).collect(),
        groups: meanings.iter().enumerate().map(group).collect(),
        group_name: Some("Concept".into()),
        begin_with_region: true,
        opacity: Some(0.75),
        photos,
    })
}
