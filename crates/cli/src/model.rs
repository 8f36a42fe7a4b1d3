//! `--model` and the options that go with it.

use crate::arguments::{Crop, Flag, Interpolation, ModelArguments};
use crate::class;
use crate::failure::Usage;
use crate::output::Output;
use anyhow::{Context, Result};
use candle_core::{DType, Tensor};
use faithful_core::{Error, LayerId, Network, Objective, Preprocessing, Resampling};
use faithful_model::{Labels, Loading, Model, ModelSource};
use std::path::Path;

/// Loads the model that was asked for, and puts the user's word above its own.
pub(crate) fn load<Name: clap::Args>(name: Option<&str>, arguments: &ModelArguments<Name>) -> Result<Model> {
    let source = match name {
        Some(name) => name.parse().map_err(with_list)?,
        None => Model::default_source()
            .ok_or_else(|| Usage::from("no model is built in; name one with --model".to_owned()))?,
    };
    let mut model = Model::load(&source, &Loading::default()).map_err(|error| named(error, &source))?;
    if let Some(preprocessing) = &mut model.preprocessing {
        override_preprocessing(preprocessing, arguments);
        *preprocessing = preprocessing.clone().validated()?;
        let channels = preprocessing.channels();
        if let [expected, _, _] = *model.graph.nominal_input()
            && expected != channels
        {
            let reason = format!("{channels} values, but the network takes {expected} channels");
            return Err(Error::parameter("mean", reason).into());
        }
    }
    if let Some(path) = &arguments.labels {
        model.labels = read_labels(path, model.labels.count())?;
    }
    Ok(model)
}

/// Loads the model that was asked for as a classifier of photos: its outputs are logits.
pub(crate) fn classifier(arguments: &ModelArguments<Flag>, output: &Output) -> Result<Model> {
    let mut model = load(arguments.name.model.as_deref(), arguments)?;
    model.photo_preprocessing()?;
    if let Some(graph) = model.graph.without_final_softmax()? {
        output.note("the network ends in a softmax; what comes before it is taken for its logits");
        model.graph = graph;
    }
    Ok(model)
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

fn override_preprocessing<Name: clap::Args>(preprocessing: &mut Preprocessing, arguments: &ModelArguments<Name>) {
    match arguments.crop {
        Some(Crop::Whole) => preprocessing.crop = None,
        Some(Crop::Centre(size)) => {
            preprocessing.crop = Some(size);
            preprocessing.input_size = size;
            // A crop that no longer fits enlarges the photo, unless the user said otherwise.
            preprocessing.resize = preprocessing.resize.map(|side| side.max(size[0]).max(size[1]));
        }
        None => {}
    }
    if let Some(side) = arguments.resize {
        preprocessing.resize = Some(side);
    }
    if !arguments.mean.is_empty() {
        preprocessing.mean.clone_from(&arguments.mean);
        preprocessing.std.clone_from(&arguments.std);
    }
    if let Some(filter) = arguments.interpolation {
        preprocessing.interpolation = match filter {
            Interpolation::Nearest => Resampling::Nearest,
            Interpolation::Bilinear => Resampling::Bilinear,
            Interpolation::Bicubic => Resampling::Bicubic,
            Interpolation::Lanczos => Resampling::Lanczos,
        };
    }
}

fn read_labels(path: &Path, outputs: usize) -> Result<Labels> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("cannot read labels from `{}`", path.display()))?;
    let names = text.lines().map(|line| line.trim().to_owned()).collect();
    Ok(Labels::new(outputs, names, Vec::new())?)
}

/// The layer called `name`.
pub(crate) fn layer(model: &Model, name: &str) -> Result<LayerId> {
    model.graph.layer(name).map_err(|error| {
        let mut text = error.to_string();
        if let Some(target) = model.target {
            text = format!("{text}; the default is `{}`", model.graph.layers()[target.0].name);
        }
        Usage::with_hint(&text, &format!("`faithful model layers {}` lists all", source(model)))
    })
}

/// Which number of a class is explained, as it was asked for.
pub(crate) fn number(model: &Model, score: &str) -> anyhow::Result<class::Number> {
    class::parse_score(score, &model.labels).map_err(|error| class_error(model, error))
}

/// The class that an error was about is looked up in a list that may be long: say which.
pub(crate) fn class_error(model: &Model, error: Error) -> anyhow::Error {
    match error {
        Error::UnknownName { .. } => {
            Usage::with_hint(&error, &format!("an index from 0 to {} also does", model.labels.count().max(1) - 1))
        }
        other => other.into(),
    }
}

/// How the model is named on a command line.
pub(crate) fn source(model: &Model) -> String {
    match &model.file {
        Some(file) if file.extension().is_some_and(|extension| extension == "onnx") => file.display().to_string(),
        Some(file) => ModelSource::Weights {
            architecture: match faithful_model::architecture(&model.name) {
                Ok(architecture) => architecture,
                Err(_) => return file.display().to_string(),
            },
            path: file.clone(),
        }
        .to_string(),
        None => model.name.clone(),
    }
}

/// What a network gives for one photo.
pub(crate) struct Prediction {
    pub(crate) logits: Vec<f64>,
    pub(crate) probabilities: Vec<f64>,
    /// Classes, the most probable first.
    pub(crate) ranked: Vec<usize>,
}

/// Runs the network on one photo `(1, C, H, W)`.
pub(crate) fn predict(objective: &Objective<'_>, input: &Tensor) -> Result<Prediction> {
    let outputs = objective.outputs(input)?.to_dtype(DType::F64)?;
    if outputs.rank() != 2 {
        return Err(Error::shape("the network's output", "(N, K), one number per class", outputs.dims()).into());
    }
    let logits: Vec<f64> = outputs.squeeze(0)?.to_vec1()?;
    Ok(Prediction { probabilities: class::probabilities(&logits), ranked: class::rank(&logits), logits })
}
