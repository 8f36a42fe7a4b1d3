//! `faithful model list`, `info` and `layers`.

use crate::arguments::{InfoArguments, ModelArguments, Positional};
use crate::exhibit;
use crate::failure::Outcome;
use crate::model;
use crate::output::Output;
use crate::table::{Column, lines_within};
use anyhow::Result;
use faithful_core::{Fit, Network, Preprocessing};
use faithful_explain::Read;
use faithful_model::{Model, Place, faithful_home, known_models};
use faithful_page::{Page, Section};
use serde_json::json;
use std::path::Path;

pub(crate) fn list(output: &Output) -> Result<Outcome> {
    let mut rows = Vec::new();
    for known in known_models(faithful_home().as_deref()) {
        let (place, file, words) = match known.place {
            Place::Shipped => ("built-in", None, "built in".to_owned()),
            Place::Pulled(file) => ("file", Some(file.display().to_string()), file.display().to_string()),
            Place::Absent if faithful_fetch::item(&known.name).is_some() => {
                ("absent", None, format!("faithful model pull {0}, or --model {0}:FILE.safetensors", known.name))
            }
            Place::Absent => ("absent", None, format!("give weights: --model {}:FILE.safetensors", known.name)),
        };
        output.object(&json!({ "name": known.name, "place": place, "file": file }))?;
        rows.push(vec![known.name, words]);
    }
    for line in lines_within(&[Column::left("model"), Column::left("where it is")], &rows, output.width()) {
        output.line(&line)?;
    }
    output.line("Any other network: --model FILE.onnx")?;
    Ok(Outcome::Complete)
}

pub(crate) fn info(arguments: &InfoArguments, output: &Output) -> Result<Outcome> {
    let InfoArguments { model: arguments, html } = arguments;
    if let Some(html) = html {
        exhibit::prepare(html, arguments.name.model.iter().map(Path::new))?;
        output.writes_files();
    }
    let model = model::load(arguments.name.model.as_deref(), arguments, &Read::Classes)?;
    let target = model.target.map(|target| &model.graph.layers()[target.0]);
    let photo = model.preprocessing.as_ref();
    let labels: Vec<String> = (0..model.labels.count()).map(|index| model.labels.name(index)).collect();
    let file = model.file.as_ref().map(|file| file.display().to_string());
    output.object(&json!({
        "name": model.name,
        "file": file,
        "input": model.graph.nominal_input(),
        "outputs": labels.len(),
        "layers": model.graph.layers().len(),
        "target": target.map(|target| &target.name),
        "target_shape": target.map(|target| &target.shape),
        "preprocessing": photo.map(|photo| json!({
            "resize": photo.resize, "crop": photo.crop, "fit": fit(photo), "channels": photo.channels.name(),
            "mean": photo.mean, "std": photo.std,
            "interpolation": format!("{:?}", photo.interpolation).to_lowercase(),
        })),
        "activation": photo.map(|_| model.probabilities.name()),
        "labels": labels,
        "file_outputs": model.outputs,
        "notes": model.notes,
        "page": html.as_ref().map(|page| page.display().to_string()),
    }))?;
    let words = |values: &[f32]| values.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let mut rows = vec![
        ("model", model.name.clone()),
        ("file", file.unwrap_or_else(|| "built in".to_owned())),
        ("input", shape(model.graph.nominal_input())),
        ("layers", model.graph.layers().len().to_string()),
        ("target layer", target.map_or("none with places".into(), |t| format!("{} ({})", t.name, shape(&t.shape)))),
    ];
    if let Some(photo) = photo {
        let resize = match (photo.fit, photo.resize) {
            (Fit::Stretch([h, w]), _) => format!("squashed to {h} x {w}"),
            (Fit::Pad([r, g, b]), _) => format!("whole between bars of the colour {r}, {g}, {b}"),
            (Fit::Crop, None) => "photos keep their size".into(),
            (Fit::Crop, Some(side)) => format!("shorter side to {side}"),
        };
        let crop = photo.crop.map_or("whole photo".into(), |[h, w]| format!("centre {h} x {w}"));
        rows.push(("photos", format!("{resize}, {crop}, {} channels", photo.channels.name())));
        rows.push(("mean, std", format!("{}; {}", words(&photo.mean), words(&photo.std))));
    }
    let few: Vec<&str> = labels.iter().take(3).map(String::as_str).collect();
    let more = if labels.len() > few.len() { ", …" } else { "" };
    rows.push(("outputs", format!("{}: {}{more}", labels.len(), few.join(", "))));
    if model.outputs.len() > 1 {
        rows.push(("of the file", model.outputs.join(", ")));
    }
    if photo.is_some() {
        rows.push(("probabilities", format!("by {}", model.probabilities.name())));
    }
    rows.extend(model.notes.iter().map(|note| ("note", note.clone())));
    for (name, value) in &rows {
        output.line(&format!("{name:<13} {value}"))?;
    }
    if let Some(html) = html {
        let bytes = exhibit::write(&page(&model, rows), html)?;
        output.line(&format!("{}: {:.1} MB", html.display(), bytes as f64 / 1e6))?;
    }
    Ok(Outcome::Complete)
}

/// The network as boxes, and what `info` says of it.
fn page(model: &Model, facts: Vec<(&str, String)>) -> Page {
    let mut page = Page::new(model.name.clone());
    page.lede("The network, layer by layer: choose a box to see what it gives and how to explain there.");
    page.push(Section::diagram("Layers", exhibit::diagram(model)));
    for (name, value) in facts {
        let mut letters = name.chars();
        let name: String = letters.next().into_iter().flat_map(char::to_uppercase).chain(letters).collect();
        page.fact(name, value);
    }
    exhibit::closing_facts(&mut page);
    page
}

pub(crate) fn layers(arguments: &ModelArguments<Positional>, output: &Output) -> Result<Outcome> {
    let model = model::load(arguments.name.model.as_deref(), arguments, &Read::Classes)?;
    let mut rows = Vec::new();
    for row in model.layer_table() {
        output.object(&json!({
            "index": row.layer.0, "name": row.name, "kind": row.kind, "shape": row.shape,
            "stride": row.stride, "target": row.target,
        }))?;
        let stride = row.stride.map_or(String::new(), |stride| spaced(&stride));
        let mark = if row.target { "default target" } else { "" };
        rows.push(vec![row.name, row.kind, shape(&row.shape), stride, mark.to_owned()]);
    }
    let columns =
        [Column::left("layer"), Column::left("kind"), Column::left("shape"), Column::right("stride"), Column::left("")];
    for line in lines_within(&columns, &rows, output.width()) {
        output.line(&line)?;
    }
    Ok(Outcome::Complete)
}

/// `32`, or `32 x 16` where the axes differ.
fn spaced(stride: &[f64]) -> String {
    match stride {
        [first, rest @ ..] if rest.iter().all(|other| other == first) => number(*first),
        all => all.iter().map(|one| number(*one)).collect::<Vec<_>>().join(" x "),
    }
}

fn number(value: f64) -> String {
    if value.fract() == 0.0 { format!("{value}") } else { format!("{value:.2}") }
}

fn shape(sides: &[usize]) -> String {
    sides.iter().map(ToString::to_string).collect::<Vec<_>>().join(" x ")
}

/// How photos fit, for programs.
pub(super) fn fit(photo: &Preprocessing) -> serde_json::Value {
    match photo.fit {
        Fit::Crop => json!("crop"),
        Fit::Stretch(size) => json!({ "stretch": size }),
        Fit::Pad(color) => json!({ "pad": color }),
    }
}
