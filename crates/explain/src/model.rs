//! Networks as classifiers of photos.

use crate::class;
use candle_core::{DType, Tensor};
use faithful_core::{Error, Objective, Preprocessing, Resampling, Result, read_file_within};
use faithful_model::{Labels, Loading, Model, ModelSource};
use std::path::{Path, PathBuf};

/// What the user says of a model's photos and classes, above what its own files say.
#[derive(Clone, Debug, Default)]
pub struct ModelOptions {
    /// The output that is explained, by its name or its number, where an ONNX file has several.
    pub output: Option<String>,
    /// The size `[height, width]` of the network's input, where an ONNX file leaves it free.
    pub input_size: Option<[usize; 2]>,
    /// The shorter side in pixels that photos are resized to.
    pub resize: Option<usize>,
    /// What is cut out after resizing.
    pub crop: Option<Crop>,
    /// The mean per channel, in 0 to 1; empty for the model's own.
    pub mean: Vec<f32>,
    /// The standard deviation per channel; as many as there are means.
    pub std: Vec<f32>,
    /// How photos are resized.
    pub interpolation: Option<Resampling>,
    /// A file with one class name per line.
    pub labels: Option<PathBuf>,
}

/// `224`, `224x298` or `none`: what is cut out of a photo after resizing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crop {
    /// Nothing is cut off.
    Whole,
    /// The centre, height by width.
    Centre([usize; 2]),
}

impl std::str::FromStr for Crop {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        if text == "none" {
            return Ok(Self::Whole);
        }
        let side = |side: &str| side.parse::<usize>().ok().filter(|side| *side > 0);
        let sides = match text.split_once('x') {
            Some((height, width)) => side(height).zip(side(width)).map(|(height, width)| [height, width]),
            None => side(text).map(|side| [side; 2]),
        };
        sides.map(Self::Centre).ok_or_else(|| "expected pixels as `224` or `224x298`, or `none`".to_owned())
    }
}

/// Loads what `source` names, and puts the user's word above its own.
///
/// # Errors
/// What [`Model::load`] and [`ModelOptions::apply`] say.
pub fn load(source: &ModelSource, options: &ModelOptions) -> Result<Model> {
    let mut model = Model::load(source, &options.loading())?;
    options.apply(&mut model)?;
    Ok(model)
}

/// Makes a classifier of photos of a network: its outputs are logits. Whether a softmax at its end was taken off.
///
/// # Errors
/// [`Error::Parameter`] for a network that takes no photos.
pub fn as_classifier(model: &mut Model) -> Result<bool> {
    model.photo_preprocessing()?;
    let shorter = model.graph.without_final_softmax()?;
    let was_cut = shorter.is_some();
    if let Some(graph) = shorter {
        model.graph = graph;
    }
    Ok(was_cut)
}

impl ModelOptions {
    /// What must be known while a model is read.
    pub fn loading(&self) -> Loading {
        Loading { output: self.output.clone(), input_size: self.input_size, ..Loading::default() }
    }

    /// Puts the user's word above what the model's files say.
    ///
    /// # Errors
    /// [`Error::Parameter`] for what does not fit the network; [`Error::Io`] for labels that cannot be read.
    pub fn apply(&self, model: &mut Model) -> Result<()> {
        if let Some(preprocessing) = &mut model.preprocessing {
            self.override_preprocessing(preprocessing);
            *preprocessing = preprocessing.clone().validated()?;
            let channels = preprocessing.channels();
            if let [expected, _, _] = *model.graph.nominal_input()
                && expected != channels
            {
                let reason = format!("{channels} values, but the network takes {expected} channels");
                return Err(Error::parameter("mean", reason));
            }
        }
        if let Some(path) = &self.labels {
            model.labels = read_labels(path, model.labels.count())?;
        }
        Ok(())
    }

    fn override_preprocessing(&self, preprocessing: &mut Preprocessing) {
        match self.crop {
            Some(Crop::Whole) => preprocessing.crop = None,
            Some(Crop::Centre(size)) => {
                preprocessing.crop = Some(size);
                preprocessing.input_size = size;
                // A crop that no longer fits enlarges the photo, unless the user said otherwise.
                preprocessing.resize = preprocessing.resize.map(|side| side.max(size[0]).max(size[1]));
            }
            None => {}
        }
        if let Some(side) = self.resize {
            preprocessing.resize = Some(side);
        }
        if !self.mean.is_empty() {
            preprocessing.mean.clone_from(&self.mean);
            preprocessing.std.clone_from(&self.std);
        }
        if let Some(filter) = self.interpolation {
            preprocessing.interpolation = filter;
        }
    }
}

/// Bytes of a file of labels, at most.
const LONGEST: u64 = 64 << 20;

fn read_labels(path: &Path, outputs: usize) -> Result<Labels> {
    let unread = |error| match error {
        Error::Io { source, .. } => Error::Io { path: format!("cannot read labels from `{}`", path.display()), source },
        other => other,
    };
    let bytes = read_file_within(path, LONGEST).map_err(unread)?;
    let text =
        String::from_utf8(bytes).map_err(|_| Error::format(path.display().to_string(), "it is no text in UTF-8"))?;
    let names = text.lines().map(|line| line.trim().to_owned()).collect();
    Labels::new(outputs, names, Vec::new())
}

/// How the model is named on a command line.
pub fn source(model: &Model) -> String {
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
pub struct Prediction {
    /// The network's outputs.
    pub logits: Vec<f64>,
    /// Their softmax.
    pub probabilities: Vec<f64>,
    /// Classes, the most probable first.
    pub ranked: Vec<usize>,
}

/// Runs the network on one photo `(1, C, H, W)`.
pub fn predict(objective: &Objective<'_>, input: &Tensor) -> Result<Prediction> {
    let outputs = objective.outputs(input)?.to_dtype(DType::F64)?;
    if outputs.rank() != 2 {
        return Err(Error::shape("the network's output", "(N, K), one number per class", outputs.dims()));
    }
    let logits: Vec<f64> = outputs.squeeze(0)?.to_vec1()?;
    Ok(Prediction { probabilities: class::probabilities(&logits), ranked: class::rank(&logits), logits })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crops_are_read() {
        assert_eq!("224".parse(), Ok(Crop::Centre([224, 224])));
        assert_eq!("224x298".parse(), Ok(Crop::Centre([224, 298])));
        assert_eq!("none".parse(), Ok(Crop::Whole));
        for wrong in ["", "0", "x", "224x", "-3", "2x3x4"] {
            assert!(wrong.parse::<Crop>().is_err(), "{wrong}");
        }
    }
}
