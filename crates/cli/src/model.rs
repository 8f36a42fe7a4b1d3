//! `--model` and the options that go with it; and what errors about a model lead to.

use crate::arguments::{ActivationName, ChannelOrder, Fit, Flag, Interpolation, ModelArguments, TaskName};
use crate::failure::Usage;
use crate::output::Output;
use anyhow::Result;
use faithful_core::{Channels, Error, LayerId, Network, Preprocessing, Probabilities, Resampling};
use faithful_data::Decoding;
use faithful_explain::class::{self, Number, Wanted};
pub(crate) use faithful_explain::model::predict;
use faithful_explain::model::{FitKind, ModelOptions, source};
use faithful_model::{Model, ModelSource, Task};
use std::path::PathBuf;
use std::sync::Arc;

/// Loads the model that was asked for, and puts the user's word above its own.
pub(crate) fn load<Name: clap::Args>(name: Option<&str>, arguments: &ModelArguments<Name>) -> Result<Model> {
    let source = match name {
        Some(name) => name.parse().map_err(with_list)?,
        None => Model::default_source()
            .ok_or_else(|| Usage::from("no model is built in; name one with --model".to_owned()))?,
    };
    let options = options(arguments);
    let mut model = Model::load(&source, &options.loading()?).map_err(|error| named(error, &source))?;
    options.apply(&mut model)?;
    Ok(model)
}

/// Loads the model that was asked for as a classifier of photos: its outputs are logits.
pub(crate) fn classifier(arguments: &ModelArguments<Flag>, output: &Output) -> Result<Model> {
    let model = load(arguments.name.model.as_deref(), arguments)?;
    model.photo_preprocessing()?;
    model.notes.iter().for_each(|note| output.note(note));
    Ok(model)
}

fn options<Name: clap::Args>(arguments: &ModelArguments<Name>) -> ModelOptions {
    ModelOptions {
        output: arguments.output.clone(),
        input_size: arguments.input_size,
        resize: arguments.resize,
        crop: arguments.crop,
        fit: arguments.fit.map(|fit| match fit {
            Fit::Crop => FitKind::Crop,
            Fit::Stretch => FitKind::Stretch,
            Fit::Pad => FitKind::Pad,
        }),
        pad_color: arguments.pad_color,
        channels: arguments.channels.map(|channels| match channels {
            ChannelOrder::Rgb => Channels::Rgb,
            ChannelOrder::Bgr => Channels::Bgr,
            ChannelOrder::Grey => Channels::Grey,
        }),
        scale: arguments.scale,
        activation: arguments.activation.map(|activation| match activation {
            ActivationName::Softmax => Probabilities::Softmax,
            ActivationName::Sigmoid => Probabilities::Sigmoid,
        }),
        task: arguments.task.map(|task| match task {
            TaskName::Classification => Task::Classification,
            TaskName::Segmentation => Task::Segmentation,
            TaskName::Detection => Task::Detection,
        }),
        mean: arguments.mean.clone(),
        std: arguments.std.clone(),
        interpolation: arguments.interpolation.map(|filter| match filter {
            Interpolation::Nearest => Resampling::Nearest,
            Interpolation::Bilinear => Resampling::Bilinear,
            Interpolation::Bicubic => Resampling::Bicubic,
            Interpolation::Lanczos => Resampling::Lanczos,
        }),
        labels: arguments.labels.clone(),
    }
}

/// Some errors of a model's content do not say which file it is about.
fn named(error: Error, source: &ModelSource) -> anyhow::Error {
    let path = match source {
        ModelSource::Onnx(path) | ModelSource::Weights { path, .. } => path.display().to_string(),
        ModelSource::Named(name) => name.clone(),
    };
    let says_it = error.to_string().contains(&path);
    let error = with_list(error);
    if says_it { error } else { error.context(path) }
}

fn with_list(error: Error) -> anyhow::Error {
    match error {
        Error::UnknownName { .. } => Usage::with_hint(&error, "`faithful model list` shows what there is"),
        other => other.into(),
    }
}

/// A layer that was named and is not there: say which one is used unless one is, and where all are listed.
pub(crate) fn layer_error(model: &Model, error: Error) -> anyhow::Error {
    let Error::UnknownLayer { .. } = error else { return error.into() };
    let mut text = error.to_string();
    if let Some(target) = model.target {
        text = format!("{text}; the default is `{}`", model.graph.layers()[target.0].name);
    }
    Usage::with_hint(&text, &format!("`faithful model layers {}` lists all", source(model)))
}

/// The layer called `name`.
pub(crate) fn layer(model: &Model, name: &str) -> Result<LayerId> {
    model.graph.layer(name).map_err(|error| layer_error(model, error))
}

/// The class that an error was about is looked up in a list that may be long: say which.
fn class_error(model: &Model, error: Error) -> anyhow::Error {
    match error {
        Error::UnknownName { .. } => {
            Usage::with_hint(&error, &format!("an index from 0 to {} also does", model.labels.count().max(1) - 1))
        }
        other => other.into(),
    }
}

/// The classes that were asked for.
pub(crate) fn classes(model: &Model, texts: &[String]) -> Result<Vec<Wanted>> {
    class::parse_classes(texts, &model.labels).map_err(|error| class_error(model, error))
}

/// Which number of a class is explained, as it was asked for.
pub(crate) fn number(model: &Model, score: &str) -> Result<Number> {
    class::parse_score(score, &model.labels).map_err(|error| class_error(model, error))
}

/// What photos are compared with, as it was asked for.
pub(crate) fn baselines(
    text: &str,
    preprocessing: &Preprocessing,
    decoding: &Decoding,
    output: &Output,
) -> Result<Arc<dyn faithful_baseline::BaselineSampler>> {
    baselines_and_photos(text, preprocessing, decoding, output).map(|(sampler, _)| sampler)
}

/// As [`baselines`], with the photos that serve as such.
pub(crate) fn baselines_and_photos(
    text: &str,
    preprocessing: &Preprocessing,
    decoding: &Decoding,
    output: &Output,
) -> Result<(Arc<dyn faithful_baseline::BaselineSampler>, Vec<PathBuf>)> {
    let note = |note: &str| output.note(note);
    let sampler = faithful_explain::baseline::sampler_and_photos(text, preprocessing, decoding, &note);
    sampler.map_err(|error| match error {
        Error::UnknownName { .. } => {
            Usage::with_hint(&error, "give a folder of photos, or one of `faithful baselines`")
        }
        other => other.into(),
    })
}
