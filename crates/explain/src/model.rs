//! Networks as classifiers of photos.

use crate::reading::{Reader, layer_towards};
use crate::{Method, Photo, PhotoReading, Read, class};
use candle_core::{DType, Tensor};
use faithful_core::{
    Channels, Error, Fit, LayerId, Network, Objective, Preprocessing, Probabilities, ReadOut, Resampling, Result,
    read_file_within,
};
use faithful_model::{Compute, Dense, DenseForm, Labels, Loading, Model, ModelSource, Task};
use std::path::{Path, PathBuf};

/// What the user says of a model's photos and classes, above what its own files say.
#[derive(Clone, Debug, Default)]
pub struct ModelOptions {
    /// The output that is explained, by its name or its number, where an ONNX file has several.
    pub output: Option<String>,
    /// The size `[height, width]` of the network's input, where an ONNX file leaves it free.
    pub input_size: Option<[usize; 2]>,
    /// What photos are resized to.
    pub resize: Option<Resize>,
    /// What is cut out after resizing.
    pub crop: Option<Crop>,
    /// What happens to photos of other proportions.
    pub fit: Option<FitKind>,
    /// The colour of the bars around a padded photo.
    pub pad_color: Option<[u8; 3]>,
    /// The order of the network's channels.
    pub channels: Option<Channels>,
    /// The mean per channel; empty for the model's own.
    pub mean: Vec<f32>,
    /// The standard deviation per channel; as many as there are means.
    pub std: Vec<f32>,
    /// The value of white before mean and deviation are applied: 255 for pixels as they are.
    pub scale: Option<f32>,
    /// How photos are resized.
    pub interpolation: Option<Resampling>,
    /// How outputs become probabilities.
    pub activation: Option<Probabilities>,
    /// What the output is.
    pub task: Option<Task>,
    /// A file with one class name per line.
    pub labels: Option<PathBuf>,
    /// What is read off the outputs.
    pub read: Read,
}

/// `--fit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FitKind {
    /// The shorter side is resized, and the centre cut out.
    Crop,
    /// The whole photo is squashed.
    Stretch,
    /// The whole photo lies between bars.
    Pad,
}

/// `256`, the shorter side, or `256x320`, to which photos are squashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resize {
    /// The shorter side in pixels.
    Shorter(usize),
    /// Height and width.
    Both([usize; 2]),
}

impl std::str::FromStr for Resize {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let wrong = || "expected the shorter side in pixels as `256`, or `HEIGHTxWIDTH`".to_owned();
        let side = |side: &str| side.parse::<usize>().map_err(|_| wrong());
        match text.split_once('x') {
            Some((height, width)) => Ok(Self::Both([side(height)?, side(width)?])),
            None => Ok(Self::Shorter(side(text)?)),
        }
    }
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
    let mut model = Model::load(source, &options.loading()?)?;
    options.apply(&mut model)?;
    Ok(model)
}

/// A network as a classifier of photos, where it is computed. Its outputs are logits, or what else [`Read`] reads off them.
pub struct Classifier {
    /// The model: its labels, its preprocessing, its layers.
    pub model: Model,
    /// What is read off its outputs.
    pub read: Read,
    network: Box<dyn Network>,
    reader: Option<Reader>,
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

    /// The one way from a model to a classifier: its outputs are taken for logits, as [`Model::load`] has made them. `place` puts
    /// the network where it is computed.
    ///
    /// # Errors
    /// [`Error::Parameter`] for a network that takes no photos, and what `place` returns.
    pub fn new(model: Model, place: impl FnOnce(&Model) -> Result<Box<dyn Network>>) -> Result<Self> {
        Self::reading_of(model, Read::Classes, place)
    }

    /// As [`new`](Self::new), where `read` is read off the outputs. The model's labels are then the names of what is read.
    ///
    /// # Errors
    /// [`Error::Parameter`] for what the network's outputs do not have: places, boxes, outputs of such names.
    pub fn reading_of(
        mut model: Model,
        read: Read,
        place: impl FnOnce(&Model) -> Result<Box<dyn Network>>,
    ) -> Result<Self> {
        model.photo_preprocessing()?;
        if read != Read::Classes && model.preprocessing.as_ref().is_some_and(|one| one.slices.is_some()) {
            let reason = "regions, detections, similarity and sums are read of photos, and the network takes volumes";
            return Err(Error::parameter("model", reason));
        }
        let mut reader = Reader::of(&read, &mut model)?;
        let mut network = place(&model)?;
        if let Read::SimilarTo(path) = &read {
            reader = Some(Reader::similar(path, &model, &*network)?);
        }
        if let Some(Reader::Same(reading)) = &reader {
            network = Box::new(ReadOut::new(network, reading.clone()));
        }
        Ok(Self { model, read, network, reader })
    }

    /// The network, where it is computed. Where [what is read](Self::reads_each_photo) of its outputs is known once a photo is, the
    /// outputs are as they were before.
    pub fn network(&self) -> &dyn Network {
        &*self.network
    }

    /// Whether what is read off the outputs is another thing for every photo: one of its boxes, or a region of it.
    pub fn reads_each_photo(&self) -> bool {
        matches!(self.reader, Some(Reader::OfPhoto(_)))
    }

    /// What is read off the outputs of `network`, the classifier's own, for a photo; `None` where that is the same for all photos.
    ///
    /// # Errors
    /// [`Error::Parameter`] for a region or a box that the photo does not have.
    pub fn reading(&self, network: &dyn Network, photo: &Photo) -> Result<Option<PhotoReading>> {
        match &self.reader {
            Some(Reader::OfPhoto(reader)) => reader.of(network, photo).map(Some),
            _ => Ok(None),
        }
    }

    /// Whether what is explained is a detection's boxes, or classes by their best boxes: they come from layers of their own.
    pub fn finds_boxes(&self) -> bool {
        let is_detection = |dense: &Dense| matches!(dense.form, DenseForm::Detection { .. });
        let reads_boxes = matches!(&self.reader, Some(Reader::OfPhoto(reader)) if reader.is_of_boxes());
        reads_boxes || self.model.dense.as_ref().is_some_and(is_detection)
    }

    /// The layer that is explained of `class` of one input `(1, …)` in place of the model's, where it has one of its own: `network` is the
    /// classifier's, or stands before it, with what is read of the input.
    ///
    /// # Errors
    /// What the network returns.
    pub fn layer_of(&self, network: &dyn Network, class: usize, input: &Tensor) -> Result<Option<LayerId>> {
        if self.finds_boxes() { layer_towards(&self.model.graph, network, class, input) } else { Ok(None) }
    }

    /// Another network of the model's architecture, of whose outputs the same is read as of the classifier's: for a photo, `reading`.
    pub fn read_alike(&self, network: Box<dyn Network>, reading: Option<&PhotoReading>) -> Box<dyn Network> {
        match (&self.reader, reading) {
            (Some(Reader::Same(reading)), _) | (_, Some(PhotoReading { reading, .. })) => {
                Box::new(ReadOut::new(network, reading.clone()))
            }
            _ => network,
        }
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
    /// What has to be known while the model is loaded.
    ///
    /// # Errors
    /// [`Error::Io`] for labels that cannot be read.
    pub fn loading(&self) -> Result<Loading> {
        Ok(Loading {
            output: self.output.clone(),
            input_size: self.input_size,
            activation: self.activation,
            task: self.task,
            labels: self.labels.as_deref().map(read_labels).transpose()?,
            values_said: !self.mean.is_empty() || self.scale.is_some(),
            as_they_are: self.read.as_they_are(),
            ..Loading::default()
        })
    }

    /// Puts the user's word above what the model's files say.
    ///
    /// # Errors
    /// [`Error::Parameter`] for what does not fit the network.
    pub fn apply(&self, model: &mut Model) -> Result<()> {
        if let Some(preprocessing) = &mut model.preprocessing {
            self.override_preprocessing(preprocessing)?;
            *preprocessing = preprocessing.clone().validated()?;
            let channels = preprocessing.channels();
            if let [expected, _, _] = *model.graph.nominal_input()
                && expected != channels
            {
                let reason = format!("{channels} values, but the network takes {expected} channels");
                return Err(Error::parameter("mean", reason));
            }
        }
        Ok(())
    }

    fn override_preprocessing(&self, preprocessing: &mut Preprocessing) -> Result<()> {
        let geometry = self.resize.is_some() || self.crop.is_some() || self.fit.is_some() || self.pad_color.is_some();
        if preprocessing.slices.is_some() && (geometry || self.channels.is_some() || self.interpolation.is_some()) {
            let reason = "a volume goes into the network as it is: leave --fit, --resize, --crop, --channels and \
                          --interpolation out";
            return Err(Error::parameter("model", reason));
        }
        let before = preprocessing.fixed_size();
        match self.crop {
            Some(Crop::Whole) => preprocessing.crop = None,
            Some(Crop::Centre(size)) => {
                preprocessing.crop = Some(size);
                preprocessing.input_size = size;
                // A crop that no longer fits enlarges the photo, unless the user said otherwise.
                preprocessing.resize = preprocessing.resize.map(|side| side.max(size[0]).max(size[1]));
                if let Fit::Stretch(whole) = &mut preprocessing.fit
                    && (before == Some(*whole) || whole[0] < size[0] || whole[1] < size[1])
                {
                    *whole = size;
                }
            }
            None => {}
        }
        let input = preprocessing.crop.unwrap_or(preprocessing.input_size);
        let shorter = if let Some(Resize::Shorter(side)) = self.resize { Some(side) } else { None };
        let square = shorter.filter(|_| input[0] == input[1]).map(|side| [side; 2]);
        let kind = self.fit.or(match (self.resize, preprocessing.fit) {
            (Some(Resize::Both(_)), _) => Some(FitKind::Stretch),
            (Some(Resize::Shorter(_)), Fit::Stretch(_)) => Some(FitKind::Stretch),
            (Some(Resize::Shorter(_)), Fit::Crop) => Some(FitKind::Crop),
            _ => None,
        });
        match (kind, self.resize) {
            (Some(FitKind::Stretch), Some(Resize::Both(size))) => {
                preprocessing.fit = Fit::Stretch(size);
                if self.crop.is_none() && (size[0] < input[0] || size[1] < input[1]) {
                    (preprocessing.crop, preprocessing.input_size) = (Some(size), size);
                }
            }
            (Some(FitKind::Stretch), _) => preprocessing.fit = Fit::Stretch(square.unwrap_or(input)),
            (Some(FitKind::Pad), Some(Resize::Both(size))) => {
                preprocessing.fit = Fit::Pad([0; 3]);
                (preprocessing.crop, preprocessing.input_size) = (Some(size), size);
            }
            (Some(FitKind::Pad), _) if !matches!(preprocessing.fit, Fit::Pad(_)) => {
                preprocessing.fit = Fit::Pad([0; 3]);
            }
            (Some(FitKind::Crop), Some(Resize::Both(size))) => {
                let reason =
                    format!("{}x{} squashes photos; --fit crop needs the shorter side alone", size[0], size[1]);
                return Err(Error::parameter("resize", reason));
            }
            (Some(FitKind::Crop), _) => {
                preprocessing.fit = Fit::Crop;
                preprocessing.resize = shorter.or(preprocessing.resize).or(preprocessing.crop.map(|[h, w]| h.max(w)));
            }
            _ => {}
        }
        match (self.pad_color, &mut preprocessing.fit) {
            (Some(color), Fit::Pad(bars)) => *bars = color,
            (Some(_), _) => return Err(Error::parameter("pad-color", "only photos with --fit pad have bars")),
            (None, _) => {}
        }
        if let Some(channels) = self.channels {
            preprocessing.channels = channels;
        }
        if let Some(scale) = self.scale.filter(|scale| !(scale.is_finite() && *scale > 0.0)) {
            return Err(Error::parameter("scale", format!("{scale} is not a number above 0, as 1 or 255")));
        }
        let channels = preprocessing.channels();
        let said = match (self.mean.is_empty(), self.scale) {
            (false, _) => Some((self.mean.clone(), self.std.clone())),
            (true, Some(_)) => Some((vec![0.0; channels], vec![1.0; channels])),
            (true, None) => None,
        };
        if let Some((mean, std)) = said {
            (preprocessing.mean, preprocessing.std) = Preprocessing::of_scale(mean, std, self.scale);
        }
        if let Some(filter) = self.interpolation {
            preprocessing.interpolation = filter;
        }
        Ok(())
    }
}

/// Bytes of a file of labels, at most.
const LONGEST: u64 = 64 << 20;

fn read_labels(path: &Path) -> Result<Vec<String>> {
    let unread = |error| match error {
        Error::Io { source, .. } => Error::Io { path: format!("cannot read labels from `{}`", path.display()), source },
        other => other,
    };
    let bytes = read_file_within(path, LONGEST).map_err(unread)?;
    let text =
        String::from_utf8(bytes).map_err(|_| Error::format(path.display().to_string(), "it is no text in UTF-8"))?;
    Ok(Labels::lines(&text))
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
    /// What they become as probabilities.
    pub probabilities: Vec<f64>,
    /// Classes, the most probable first.
    pub ranked: Vec<usize>,
}

/// Runs the network on one photo `(1, C, H, W)`; `probabilities` is how its outputs become such.
pub fn predict(objective: &Objective<'_>, probabilities: Probabilities, input: &Tensor) -> Result<Prediction> {
    let outputs = objective.outputs(input)?.to_dtype(DType::F64)?;
    if outputs.rank() != 2 {
        return Err(Error::shape("the network's output", "(N, K), one number per class", outputs.dims()));
    }
    let logits: Vec<f64> = outputs.squeeze(0)?.to_vec1()?;
    Ok(Prediction { probabilities: probabilities.of(&logits), ranked: class::rank(&logits), logits })
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;
    use faithful_core::Target;
    use faithful_model::{GraphBuilder, Op};

    /// Each channel's sum as a class, as [`Model::load`] makes it of a network with a softmax at the end where `ends_in_softmax`.
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
        let cut = graph.without_final_activation().unwrap();
        assert_eq!(cut.is_some(), ends_in_softmax);
        let (graph, probabilities) = cut.unwrap_or((graph, Probabilities::Softmax));
        let labels = Labels::new(3, Vec::new(), Vec::new()).unwrap();
        let preprocessing = Some(Preprocessing::default());
        Model {
            name: "sums".into(),
            graph,
            labels,
            probabilities,
            preprocessing,
            target: None,
            file: None,
            data: Vec::new(),
            outputs: Vec::new(),
            modules: std::collections::BTreeMap::new(),
            notes: Vec::new(),
            dense: None,
            parts: Vec::new(),
            sums: std::collections::BTreeMap::new(),
        }
    }

    #[test]
    fn a_classifier_gives_logits_whether_its_network_ends_in_a_softmax_or_not() {
        let place = |model: &Model| Ok(Box::new(model.graph.clone()) as Box<dyn Network>);
        let input = Tensor::new(&[[[[1f32, 1.0], [1.0, 1.0]], [[3.0, 3.0], [2.0, 3.0]], [[0.0; 2]; 2]]], &Device::Cpu);
        let input = input.unwrap();
        for ends_in_softmax in [false, true] {
            let classifier = Classifier::new(sums(ends_in_softmax), place).unwrap();
            let objective = Objective::new(classifier.network(), &Target::Output(0));
            let found = predict(&objective, classifier.model.probabilities, &input).unwrap();
            assert_eq!(found.logits, [4.0, 11.0, 0.0]);
            // The softmax of a softmax would be 0.576.
            assert!((found.probabilities[1] - 0.999_072).abs() < 1e-6, "{found:?}");
            assert_eq!(found.ranked, [1, 0, 2]);
            let alone = predict(&objective, Probabilities::Sigmoid, &input).unwrap();
            assert!((alone.probabilities[0] - 0.982_014).abs() < 1e-6, "{alone:?}");
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

    #[test]
    fn sizes_to_resize_to_are_read() {
        assert_eq!("256".parse(), Ok(Resize::Shorter(256)));
        assert_eq!("32x48".parse(), Ok(Resize::Both([32, 48])));
        assert!("x".parse::<Resize>().is_err() && "stretch".parse::<Resize>().is_err());
    }

    #[test]
    fn the_users_word_goes_above_the_files() {
        let given =
            Preprocessing { input_size: [32, 32], resize: Some(32), crop: Some([32, 32]), ..Default::default() };
        let with = |options: ModelOptions, mut own: Preprocessing| {
            options.override_preprocessing(&mut own).unwrap();
            own.validated().unwrap()
        };
        let none = ModelOptions::default;
        let fit = |fit, resize| with(ModelOptions { resize, fit, ..none() }, given.clone());
        assert_eq!(fit(Some(FitKind::Stretch), None).fit, Fit::Stretch([32, 32]));
        assert_eq!(fit(Some(FitKind::Stretch), Some(Resize::Shorter(40))).fit, Fit::Stretch([40, 40]));
        assert_eq!(fit(None, Some(Resize::Both([40, 50]))).fit, Fit::Stretch([40, 50]));
        assert_eq!(fit(None, Some(Resize::Both([20, 50]))).crop, Some([20, 50]));
        assert_eq!(fit(Some(FitKind::Pad), None).fit, Fit::Pad([0; 3]));
        let squashed = Preprocessing { fit: Fit::Stretch([32, 32]), resize: None, ..given.clone() };
        let cropped = with(ModelOptions { fit: Some(FitKind::Crop), ..none() }, squashed.clone());
        assert_eq!((cropped.fit, cropped.resize), (Fit::Crop, Some(32)));
        let smaller = with(ModelOptions { crop: Some(Crop::Centre([20, 24])), ..none() }, squashed);
        assert_eq!((smaller.fit, smaller.crop), (Fit::Stretch([20, 24]), Some([20, 24])));
        let pixels = with(ModelOptions { scale: Some(255.0), ..none() }, given.clone());
        assert_eq!((pixels.mean, pixels.std), (vec![0.0; 3], vec![1.0 / 255.0; 3]));
        let bars = ModelOptions { pad_color: Some([1; 3]), ..none() }.override_preprocessing(&mut given.clone());
        assert!(bars.unwrap_err().to_string().contains("--fit pad"));
    }
}
