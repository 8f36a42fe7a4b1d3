//! `--model` and the options that go with it; and what errors about a model lead to.

use crate::arguments::{ActivationName, ChannelOrder, Fit, Flag, Interpolation, ModelArguments, TaskName};
use crate::failure::Usage;
use crate::output::Output;
use anyhow::Result;
use faithful_cam::stage_layers;
use faithful_core::{Channels, Error, LayerId, Network, Probabilities, Resampling};
use faithful_explain::model::source;
use faithful_explain::{ClassChoice, Classifier, FitKind, ModelOptions, Read, Session, Setup, class};
use faithful_model::{LayerRow, Loading, Model, ModelSource, Task};

/// Loads the model that was asked for, and puts the user's word above its own; `read` is what is read off its outputs.
pub(crate) fn load<Name: clap::Args>(
    name: Option<&str>,
    arguments: &ModelArguments<Name>,
    read: &Read,
) -> Result<Model> {
    Ok(load_with(name, arguments, read)?.0)
}

/// As [`load`], and how it was loaded.
pub(crate) fn load_with<Name: clap::Args>(
    name: Option<&str>,
    arguments: &ModelArguments<Name>,
    read: &Read,
) -> Result<(Model, Loading)> {
    let source = match name {
        Some(name) => name.parse().map_err(with_list)?,
        None => Model::default_source()
            .ok_or_else(|| Usage::from("no model is built in; name one with --model".to_owned()))?,
    };
    let options = ModelOptions { read: read.clone(), ..options(arguments) };
    let loading = options.loading()?;
    let mut model = Model::load(&source, &loading).map_err(|error| named(error, &source))?;
    options.apply(&mut model)?;
    Ok((model, loading))
}

/// Loads the model that was asked for as a classifier of photos, where its inputs are too.
pub(crate) fn classifier(arguments: &ModelArguments<Flag>, output: &Output) -> Result<Classifier> {
    photos_only(classifier_of_volumes(arguments, output)?)
}

/// A classifier that takes photos, not volumes.
pub(crate) fn photos_only(classifier: Classifier) -> Result<Classifier> {
    if classifier.model.photo_preprocessing()?.slices.is_some() {
        let reason =
            format!("`{}` takes volumes; `predict` and `explain` do, other commands don't", classifier.model.name);
        return Err(Error::parameter("model", reason).into());
    }
    Ok(classifier)
}

/// As [`classifier`], of photos or of volumes.
pub(crate) fn classifier_of_volumes(arguments: &ModelArguments<Flag>, output: &Output) -> Result<Classifier> {
    let compute = arguments.name.compute.compute()?;
    arguments.name.compute.note(&compute).iter().for_each(|note| output.note(note));
    let read = arguments.name.reading.read();
    let model = load(arguments.name.model.as_deref(), arguments, &read)?;
    classifier_of(model, read, output, |model| compute.place(&model.graph))
}

/// As [`classifier`], with inputs on the CPU.
pub(crate) fn classifier_for_cpu(arguments: &ModelArguments<Flag>, output: &Output) -> Result<Classifier> {
    let compute = arguments.name.compute.compute()?;
    arguments.name.compute.note(&compute).iter().for_each(|note| output.note(note));
    let read = arguments.name.reading.read();
    let model = load(arguments.name.model.as_deref(), arguments, &read)?;
    classifier_of(model, read, output, |model| compute.place_for_cpu(&model.graph))
}

/// Refuses what is read of each photo alone, for a command that has none, or another network.
pub(crate) fn refuse_reading(read: &Read, command: &str) -> Result<()> {
    match read.words() {
        Some(words) => Err(Usage::from(format!("`{command}` explains classes, and not {words}")).into()),
        None => Ok(()),
    }
}

/// A loaded model as a classifier of photos, where `read` is read off its outputs.
pub(crate) fn classifier_of(
    model: Model,
    read: Read,
    output: &Output,
    place: impl FnOnce(&Model) -> faithful_core::Result<Box<dyn Network>>,
) -> Result<Classifier> {
    model.notes.iter().for_each(|note| output.note(note));
    Ok(Classifier::reading_of(model, read, place)?)
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
        read: Read::Classes,
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

/// The way out of an error about something that was named: a layer, a class, baselines.
pub(crate) fn with_hint(model: &Model, error: Error) -> anyhow::Error {
    match &error {
        Error::UnknownLayer { .. } => {
            let mut text = error.to_string();
            if let Some(target) = model.target {
                text = format!("{text}; the default is `{}`", model.graph.layers()[target.0].name);
            }
            Usage::with_hint(&text, &format!("`faithful model layers {}` lists all", source(model)))
        }
        // They are looked up in a list that may be long.
        Error::UnknownName { kind: "class", .. } => {
            Usage::with_hint(&error, &format!("an index from 0 to {} also does", model.labels.count().max(1) - 1))
        }
        Error::UnknownName { kind: "baselines", .. } => {
            Usage::with_hint(&error, "give a folder of photos, or one of `faithful baselines`")
        }
        _ => error.into(),
    }
}

/// The layer called `name`.
pub(crate) fn layer(model: &Model, name: &str) -> Result<LayerId> {
    model.layer(name).map_err(|error| with_hint(model, error))
}

/// The last layer of each of the `count` deepest resolutions of the features up to the model's target, the finest first; an error about
/// the option `option` where it has none.
pub(crate) fn levels(model: &Model, option: &'static str, count: usize) -> Result<Vec<LayerRow>> {
    let table = model.layer_table();
    let target = model.target.ok_or_else(|| {
        let reason = format!("`{}` has no convolutional layer with places; name some with --layers", model.name);
        Error::parameter(option, reason)
    })?;
    let mut chosen: Vec<LayerRow> = Vec::new();
    for LayerId(index) in stage_layers(&model.graph, target)?.into_iter().rev() {
        let row = &table[index];
        // A border that a convolution cuts off makes no other resolution.
        let finer = |(own, deeper): (&usize, &usize)| 4 * deeper <= 3 * own;
        let other = |deeper: &LayerRow| row.shape.iter().zip(&deeper.shape).skip(1).any(finer);
        if chosen.last().is_none_or(other) {
            chosen.push(row.clone());
        }
    }
    chosen.truncate(count);
    chosen.reverse();
    Ok(chosen)
}

/// The one class that was asked for.
pub(crate) fn one_class(model: &Model, text: &str) -> Result<usize> {
    let classes = class::parse_classes(&[text.to_owned()], &model.labels).map_err(|error| with_hint(model, error))?;
    match *classes.as_slice() {
        [ClassChoice::Index(class)] => Ok(class),
        _ => Err(Error::parameter("class", format!("`{text}` is not one class: give an index or a label")).into()),
    }
}

/// A setup, checked against a classifier.
pub(crate) fn session<'a>(setup: &Setup, classifier: &'a Classifier, output: &'a Output) -> Result<Session<'a>> {
    setup.session_with(classifier, output).map_err(|error| with_hint(&classifier.model, error))
}
