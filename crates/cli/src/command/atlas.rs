//! `faithful atlas`: the contextual feature atlas of a class (thesis 6.2.3.1).

use crate::arguments::AtlasArguments;
use crate::exhibit::{self, PageLimits};
use crate::failure::Outcome;
use crate::model;
use crate::output::Output;
use anyhow::{Result, bail};
use faithful_core::{Error, LayerId};
use faithful_evaluate::Source;
use faithful_explain::evaluation::Images;
use faithful_explain::{MethodSpec, Session, Setup, baseline, photo};
use faithful_model::{LayerRow, Model};
use faithful_page::{Column, Gallery, Group, Page, Photo, Section};
use serde_json::json;

/// How many layers are shown where the user names none.
const LAYERS: usize = 5;

pub(crate) fn run(arguments: &AtlasArguments, output: &Output) -> Result<Outcome> {
    if let Some(count) = arguments.concepts {
        return super::concepts::run(arguments, count, output);
    }
    let maps = &arguments.maps;
    let asked = arguments.class.as_deref().ok_or_else(|| Error::internal("an atlas without a class"))?;
    let spec: MethodSpec = arguments.method.parse()?;
    let method = spec.method;
    if !method.needs_layers() {
        let reason = format!("`{}` explains at the input; an atlas needs a method with layers", method.info().name);
        return Err(Error::parameter("method", reason).into());
    }
    let least = arguments.least;
    if !(0.0..=1.0).contains(&least) {
        return Err(Error::parameter("least", format!("{least} is no probability from 0 to 1")).into());
    }
    let decoding = photo::decoding(arguments.max_megapixels)?;
    let baselines = maps.baselines.as_deref().unwrap_or(baseline::DEFAULT);
    let setup = Setup { classes: vec![asked.to_owned()], decoding, ..maps.setup(baselines)? };
    exhibit::prepare(&arguments.out, [arguments.images.as_path()])?;
    output.writes_files();
    let classifier = model::classifier(&arguments.model, output)?;
    let model = &classifier.model;
    let class = model::one_class(model, asked)?;
    let layers = layers(model, &arguments.layers)?;
    let images = Images::find(&arguments.images, arguments.samples, model, &decoding, None)?;
    let shown = arguments.count.get().min(images.names().len());
    let limits = PageLimits::new(shown, shown * layers.len(), maps.percentile)?;
    let methods = layers.iter().map(|row| MethodSpec { layers: vec![row.name.clone()], ..spec.clone() }).collect();
    let session = model::session(&Setup { methods, ..setup }, &classifier, output)?;

    let mut failures = 0;
    let label = model.labels.name(class);
    let mut likely = likeliest(&session, &images, class, &mut failures, output);
    // Where none shows the class, the nearest are shown, and the page says so.
    let showing = likely.iter().filter(|(probability, _)| *probability >= least).count();
    let warning = likely.first().filter(|_| showing == 0).map(|(highest, _)| {
        let highest = percent(*highest);
        format!(
            "no photo shows {label}: the highest probability is {highest}, the least that counts {}",
            percent(least)
        )
    });
    if let Some(warning) = &warning {
        output.note(warning);
    }
    likely.truncate(if showing == 0 { shown } else { showing.min(shown) });
    let chosen: Vec<usize> = likely.into_iter().map(|(_, index)| index).collect();
    output.start(chosen.len() * layers.len(), "explaining");
    let mut photos: Vec<Photo> = Vec::new();
    for (place, &index) in chosen.iter().enumerate() {
        let name = &images.names()[index];
        let seen = images.photo(index).and_then(|photo| session.see(photo, name)).map_err(anyhow::Error::from);
        match seen.and_then(|seen| Ok((limits.photo(name.clone(), &seen, model)?, seen))) {
            Ok((mut photo, seen)) => {
                for (row, method) in layers.iter().zip(&session.methods) {
                    if let Err(reason) = exhibit::add_maps(&mut photo, &session, &seen, method, &limits, None) {
                        failures += 1;
                        output.error(&format!("{name}: {}: {reason}", row.name));
                    }
                    output.advance();
                }
                photos.push(photo);
            }
            Err(error) => {
                failures += 1;
                output.error(&format!("{name}: {}", crate::failure::text(&error)));
            }
        }
        output.advance_to((place + 1) * layers.len());
    }
    output.finish();
    if photos.is_empty() {
        bail!("no photo could be explained, so no page is written");
    }

    let count = photos.len();
    let mut page = Page::new(format!("Atlas: {label}"));
    let looked = images.names().len();
    let photos_shown = if count == 1 { "photo".into() } else { format!("{count} photos") };
    let shown = format!("the {photos_shown} of {looked} with the highest probability, most probable first");
    page.lede(match &warning {
        None => format!("What makes {label} for {}, by {}: {shown}", model.name, spec.label),
        Some(warning) => {
            let warning = warning.replacen("no photo", "No photo", 1);
            format!("{warning}. What speaks for {label} none the less, for {}, by {}: {shown}", model.name, spec.label)
        }
    });
    page.push(Section::gallery(None, gallery(&layers, photos)));
    exhibit::model_facts(&mut page, model);
    page.fact("Class", format!("{label} ({class})"));
    page.fact("Explained", exhibit::explained(&session, &maps.score));
    page.fact("Method", format!("{}: {}", spec.label, method.info().summary));
    page.fact("Layers", layers.iter().map(|row| row.name.as_str()).collect::<Vec<_>>().join(", "));
    page.fact("Images", arguments.images.display().to_string());
    page.fact("Least probability", percent(least));
    if method.compares() {
        page.fact("Baselines", baselines);
    }
    if method.draws() {
        page.fact("Seed", maps.seed.to_string());
    }
    exhibit::closing_facts(&mut page);
    let bytes = exhibit::write(&page, &arguments.out)?;
    let out = arguments.out.display().to_string();
    let facts = json!({
        "page": out, "class": class, "photos": count, "bytes": bytes, "failed": failures, "warning": warning,
    });
    output.object(&facts)?;
    output.line(&format!("{out}: {count} photos, {:.1} MB", bytes as f64 / 1e6))?;
    Ok(Outcome::of_failures(failures))
}

/// The images and the probability of `class` for each, the highest first.
pub(super) fn likeliest(
    session: &Session<'_>,
    images: &Images,
    class: usize,
    failures: &mut usize,
    output: &Output,
) -> Vec<(f64, usize)> {
    let mut found: Vec<(f64, usize)> = Vec::new();
    output.start(images.names().len(), "looking");
    for (index, name) in images.names().iter().enumerate() {
        match images.photo(index).and_then(|photo| session.see(photo, name)) {
            Ok(seen) => found.push((seen.prediction.probabilities[class], index)),
            Err(error) => {
                *failures += 1;
                output.error(&format!("{name}: {}", crate::failure::text(&error.into())));
            }
        }
        output.advance();
    }
    output.finish();
    found.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    found
}

/// The layers that were named, or the last of each of the deepest resolutions of the features up to the model's target.
fn layers(model: &Model, names: &[String]) -> Result<Vec<LayerRow>> {
    let table = model.layer_table();
    if !names.is_empty() {
        let layer = |name: &String| model::layer(model, name).map(|LayerId(index)| table[index].clone());
        return names.iter().map(layer).collect();
    }
    model::levels(model, "layers", LAYERS)
}

/// As a percentage, with a decimal where it is small.
pub(super) fn percent(share: f64) -> String {
    let percent = 100.0 * share;
    if percent > 0.0 && percent < 0.1 {
        "below 0.1%".into()
    } else if percent < 10.0 {
        format!("{percent:.1}%")
    } else {
        format!("{percent:.0}%")
    }
}

fn gallery(layers: &[LayerRow], photos: Vec<Photo>) -> Gallery {
    let note = |row: &LayerRow| {
        let stride = row.stride.as_ref().and_then(|stride| stride.first()).map_or_else(String::new, |stride| {
            let rounded = (10.0 * stride).round() / 10.0;
            let pixels = if rounded == 1.0 { "pixel".to_owned() } else { format!("{rounded} pixels") };
            format!(", one cell per {pixels} of the network's input")
        });
        let shape: Vec<String> = row.shape.iter().map(ToString::to_string).collect();
        format!("{} {}{stride}", row.kind, shape.join(" × "))
    };
    // Deep layers first: they are the class; shallow ones are what it is made of.
    let groups = layers.iter().enumerate().rev().map(|(column, row)| Group {
        title: row.name.clone(),
        note: Some(note(row)),
        column,
        photos: (0..photos.len()).collect(),
        captions: Vec::new(),
    });
    Gallery {
        columns: layers.iter().map(|row| Column { name: row.name.clone(), note: Some(note(row)) }).collect(),
        groups: groups.collect(),
        group_name: Some("Layer".into()),
        begin_with_region: true,
        opacity: Some(0.75),
        photos,
    }
}
