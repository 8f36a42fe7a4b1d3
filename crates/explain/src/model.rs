//! Networks as classifiers of photos.

use crate::{Method, class};
use candle_core::{DType, Tensor};
use faithful_core::{Error, LayerId, Network, Objective, Preprocessing, Resampling, Result, read_file_within};
use faithful_model::{Compute, Labels, Loading, Model, ModelSource};
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

/// A network as a classifier of photos, where it is computed. Its outputs are logits.
pub struct Classifier {
    /// The model: its labels, its preprocessing, its layers.
    pub model: Model,
    /// Whether a softmax at the network's end was taken off.
    pub was_cut: bool,
    network: Box<dyn Network>,
}

impl Classifier {
    /// The model that `name` names, on the CPU: a built-in or fetched one, `FILE.onnx`, or
    /// `ARCHITECTURE:FILE.safetensors`.
    ///
    /// # Errors
    /// What [`load`] and [`new`](Self::new) say.
    pub fn open(name: &str) -> Result<Self> {
        let compute = Compute::default();
        Self::new(load(&name.parse()?, &ModelOptions::default())?, |model| compute.place(&model.graph))
    }

    /// The built-in model, on the CPU.
    ///
    /// # Errors
    /// [`Error::Parameter`] where none is built in.
    pub fn built_in() -> Result<Self> {
        let source = Model::default_source().ok_or_else(|| Error::parameter("model", "no model is built in"))?;
        Self::open(&source.to_string())
    }

    /// The one way from a model to a classifier: a softmax at its end is taken off, as where it is sure its gradient
    /// vanishes, and scores take the softmax of logits themselves. `place` puts the network where it is computed.
    ///
    /// # Errors
    /// [`Error::Parameter`] for a network that takes no photos, and what `place` returns.
    pub fn new(mut model: Model, place: impl FnOnce(&Model) -> Result<Box<dyn Network>>) -> Result<Self> {
        model.photo_preprocessing()?;
        let shorter = model.graph.without_final_softmax()?;
        let was_cut = shorter.is_some();
        if let Some(graph) = shorter {
            model.graph = graph;
        }
        let network = place(&model)?;
        Ok(Self { model, was_cut, network })
    }

    /// The network, where it is computed.
    pub fn network(&self) -> &dyn Network {
        &*self.network
    }

    /// The layers where `method` explains unless some are named; none where it explains at the input.
    ///
    /// # Errors
    /// [`Error::Parameter`] for a network without a layer that has places.
    pub fn layers_of(&self, method: &Method) -> Result<Vec<LayerId>> {
        if !method.needs_layers() {
            return Ok(Vec::new());
        }
        let target = self.model.target.ok_or_else(|| {
            let reason = format!("`{}` has no convolutional layer with places; name one with --layer", self.model.name);
            Error::parameter("layer", reason)
        })?;
        method.layers_of(&self.model.graph, target)
    }
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
#[derive(Clone, Debug)]
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
    use candle_core::Device;
    use faithful_core::Target;
    use faithful_model::{GraphBuilder, Op};

    /// Each channel's sum as a class, with a softmax at the end where `ends_in_softmax`.
    fn sums(ends_in_softmax: bool) -> Model {
        let mut builder = GraphBuilder::new(&[3, 2, 2]);
        let flat = builder.add("flat", Op::Flatten { axis: 1 }, &[builder.input()]);
        let weight: Vec<f32> = (0..36).map(|place| if place / 12 == place % 12 / 4 { 1.0 } else { 0.0 }).collect();
        let weight = Tensor::from_vec(weight, (3, 12), &Device::Cpu).unwrap();
        let mut last = builder.add("head", Op::Linear { weight, bias: None }, &[flat]);
        if ends_in_softmax {
            last = builder.add("softmax", Op::Softmax { axis: 1, log: false }, &[last]);
        }
        let graph = builder.finish(last).unwrap();
        let labels = Labels::new(3, Vec::new(), Vec::new()).unwrap();
        let preprocessing = Some(Preprocessing::default());
        Model {
            name: "sums".into(),
            graph,
            labels,
            preprocessing,
            target: None,
            file: None,
            data: Vec::new(),
            outputs: Vec::new(),
            notes: Vec::new(),
        }
    }

    #[test]
    fn a_classifier_gives_logits_whether_its_network_ends_in_a_softmax_or_not() {
        let place = |model: &Model| Ok(Box::new(model.graph.clone()) as Box<dyn Network>);
        let input = Tensor::new(&[[[[1f32, 1.0], [1.0, 1.0]], [[3.0, 3.0], [2.0, 3.0]], [[0.0; 2]; 2]]], &Device::Cpu);
        let input = input.unwrap();
        for ends_in_softmax in [false, true] {
            let classifier = Classifier::new(sums(ends_in_softmax), place).unwrap();
            assert_eq!(classifier.was_cut, ends_in_softmax);
            let objective = Objective::new(classifier.network(), &Target::Output(0));
            let found = predict(&objective, &input).unwrap();
            assert_eq!(found.logits, [4.0, 11.0, 0.0]);
            // The softmax of a softmax would be 0.576.
            assert!((found.probabilities[1] - 0.999_072).abs() < 1e-6, "{found:?}");
            assert_eq!(found.ranked, [1, 0, 2]);
        }
    }

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
