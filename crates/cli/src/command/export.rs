//! `faithful model export`.

use crate::arguments::ExportArguments;
use crate::failure::{Outcome, Usage};
use crate::files::spare;
use crate::model;
use crate::output::Output;
use anyhow::Result;
use faithful_baseline::Spread;
use faithful_cam::{Difference, Layout};
use faithful_core::{Error, LayerId, remove_left_over, write_atomic};
use faithful_data::Decoding;
use faithful_explain::export::{ClassOf, Export, Exported};
use faithful_explain::{CamChoices, Method, Requested, Settings, baseline, class, weight_bytes};
use faithful_model::{FileOutput, Model};
use serde_json::json;
use std::path::{Path, PathBuf};

/// Constants of more bytes go into a file beside: a protobuf message holds 2 GiB.
const MOST_BYTES: u64 = 3 << 29;

pub(crate) fn run(arguments: &ExportArguments, output: &Output) -> Result<Outcome> {
    let method = Method::new(&arguments.method, arguments.gradient.as_deref(), "paper")?;
    let layout = arguments.layout.as_deref().map(str::parse::<Layout>).transpose()?;
    let layers = usize::from(arguments.layer.is_some());
    method.check(&Requested { layers, layout: layout.is_some(), ..Requested::default() })?;
    let out = &arguments.out;
    if out.extension().is_none_or(|extension| extension != "onnx") {
        return Err(Usage::from(format!("`{}` should end in .onnx", out.display())).into());
    }
    let (model, loading) =
        model::load_with(arguments.model.name.model.as_deref(), &arguments.model, &faithful_explain::Read::Classes)?;
    if !model.sums.is_empty() {
        let reason =
            "the file explains a network's classes, and the JSON beside this one's names sums of outputs (`scores`)";
        return Err(Error::parameter("model", reason).into());
    }
    model.notes.iter().for_each(|note| output.note(note));
    let data = format!("{}.data", out.file_name().unwrap_or_default().to_string_lossy());
    for written in [out, &out.with_file_name(&data)] {
        spare(written, model.file.iter().chain(&model.data).map(PathBuf::as_path))?;
    }
    let settings = settings(arguments, &method, layout, &model, output)?;
    let export = Export {
        method,
        layers: target(arguments, &method, &model)?,
        class: class_of(&arguments.class, &model)?,
        score: class::parse_score_or_auto(&arguments.score, &model.labels)
            .map_err(|error| model::with_hint(&model, error))?
            .unwrap_or_else(|| method.score()),
        display: arguments.display,
        settings,
        seed: arguments.seed,
        given: given(arguments),
        properties: properties(&model),
    };
    let original = FileOutput::of(&model, &loading)?;
    if model.outputs.len() > 1 {
        let kept = original.as_ref().map_or("its first", |output| output.name.as_str());
        output.note(&format!("of the file's outputs {} only `{kept}` is kept", model.outputs.join(", ")));
    }
    let beside = (!model.data.is_empty() || weight_bytes(&model.graph) > MOST_BYTES).then_some(data.as_str());
    let exported = export.write(&model, original.as_ref(), beside)?;
    exported.notes.iter().for_each(|note| output.note(note));
    remove_left_over(out.parent().unwrap_or(Path::new("")));
    if let Some(bytes) = &exported.file.data {
        write_atomic(&out.with_file_name(&data), bytes)?;
    }
    write_atomic(out, &exported.file.model)?;
    told(&exported, out, output)?;
    Ok(Outcome::Complete)
}

fn settings(
    arguments: &ExportArguments,
    method: &Method,
    layout: Option<Layout>,
    model: &Model,
    output: &Output,
) -> Result<Settings> {
    let mut settings = Settings {
        draws: arguments.draws,
        alphas: arguments.alphas.into(),
        spread: Spread::Relative(arguments.noise),
        layout: layout.unwrap_or_default(),
        gradient: (&arguments.gradient_options).into(),
        cam: CamChoices { difference: Difference::named(&arguments.difference)?, ..CamChoices::default() },
        probabilities: model.probabilities,
        ..Settings::default()
    };
    match (&arguments.baselines, method.compares()) {
        (Some(_), false) => {
            let reason = format!("`{}` compares with none", method.info().name);
            return Err(Error::parameter("baselines", reason).into());
        }
        (Some(_), true) if given(arguments) => {}
        (Some(text), true) => {
            let photo = model.photo_preprocessing()?;
            settings.sampler = baseline::sampler(text, photo, &Decoding::default(), &|text| output.note(text))
                .map_err(|error| model::with_hint(model, error))?;
        }
        (None, _) => {}
    }
    Ok(settings)
}

/// Whether baselines come into the file by an input of it.
fn given(arguments: &ExportArguments) -> bool {
    arguments.baselines.as_deref() == Some("input")
}

/// The layer that was named, or the model's own for methods with target layers.
fn target(arguments: &ExportArguments, method: &Method, model: &Model) -> Result<Vec<LayerId>> {
    if let Some(name) = &arguments.layer {
        return Ok(vec![model::layer(model, name)?]);
    }
    if !method.needs_layers() {
        return Ok(Vec::new());
    }
    let none = || Error::parameter("layer", "the network has no layer with places; name one with --layer");
    Ok(method.layers_of(&model.graph, model.target.ok_or_else(none)?)?)
}

fn class_of(text: &str, model: &Model) -> Result<ClassOf> {
    match text {
        "top1" => Ok(ClassOf::Top),
        "input" => Ok(ClassOf::Input),
        other => Ok(ClassOf::Index(model::one_class(model, other)?)),
    }
}

/// What a program needs to prepare photos for the file and to name its classes.
fn properties(model: &Model) -> Vec<(String, String)> {
    let labels: Vec<String> = (0..model.labels.count()).map(|index| model.labels.name(index)).collect();
    let mut all = vec![("faithful.labels".to_owned(), json!(labels).to_string())];
    if let Some(photo) = &model.preprocessing {
        let about = json!({
            "size": photo.input_size, "resize": photo.resize, "crop": photo.crop, "fit": super::model::fit(photo), "channels": photo.channels.name(),
            "mean": photo.mean, "std": photo.std,
            "interpolation": format!("{:?}", photo.interpolation).to_lowercase(),
        });
        all.push(("faithful.preprocessing".to_owned(), about.to_string()));
        all.push(("faithful.probabilities".to_owned(), model.probabilities.name().to_owned()));
    }
    all
}

/// Says what was written.
fn told(exported: &Exported, out: &Path, output: &Output) -> Result<()> {
    let bytes = exported.file.model.len() + exported.file.data.as_ref().map_or(0, Vec::len);
    let outputs: Vec<_> =
        exported.outputs.iter().map(|(name, shape)| json!({ "name": name, "shape": shape })).collect();
    output.object(&json!({
        "file": out.display().to_string(), "bytes": bytes, "input": exported.input, "outputs": outputs,
    }))?;
    let sizes = |shape: &[Option<usize>]| {
        let free = |(axis, size): (usize, &Option<usize>)| match (size, axis) {
            (Some(size), _) => size.to_string(),
            (None, 0) => "batch".to_owned(),
            (None, _) => "any".to_owned(),
        };
        shape.iter().enumerate().map(free).collect::<Vec<_>>().join(" x ")
    };
    let named: Vec<String> =
        exported.outputs.iter().map(|(name, shape)| format!("{name} ({})", sizes(shape))).collect();
    let text = format!("{}: {} from {}", out.display(), named.join(" and "), sizes(&exported.input));
    Ok(output.line(&text)?)
}
