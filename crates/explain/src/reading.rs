//! What is read off a network's outputs in place of one number per class: a region of a segmentation, a box of a detection, how alike
//! two photos are, sums of outputs.

use crate::detection::{Choice, Detection, Rows};
use crate::region::Place;
use crate::{Photo, expression, photo};
use candle_core::{DType, Tensor};
use faithful_core::{
    Array, Cosine, Error, LayerId, Network, Probabilities, ReadOut, Reading, Result, Tap, read_file_within,
};
use faithful_data::Decoding;
use faithful_model::{Dense, DenseForm, Graph, Labels, Model};
use faithful_report::{Boxed, draw_boxes};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What is read off a network's outputs, in a user's words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Read {
    /// One number per class, as the network or its file has them.
    #[default]
    Classes,
    /// The classes of one region of a segmentation: `class`, `box:10,20,200,180`, `point:64,80`, or the path of a mask.
    Region(String),
    /// The classes of one box of a detection: `2`, `dog`, `box:10,20,200,180`; with `/class`, `/objectness`, `/left`, `/top`,
    /// `/right`, `/bottom`, `/width` or `/height` behind it, that number of it; with `/similar`, how alike the most similar box is.
    Detection(String),
    /// How alike the network's output is to that of another photo, or to a vector in an .npy file: the cosine.
    SimilarTo(PathBuf),
    /// Sums of outputs, as `mean(density)` or `age=0.5*output[0] + output[1]`.
    Sums(Vec<String>),
}

impl Read {
    /// Whether the outputs are wanted as the model's file has them.
    pub(crate) fn as_they_are(&self) -> bool {
        matches!(self, Self::SimilarTo(_) | Self::Sums(_))
    }

    /// In words that tell it from any other: nothing for classes.
    pub fn words(&self) -> Option<String> {
        match self {
            Self::Classes => None,
            Self::Region(text) => Some(format!("region {text}")),
            Self::Detection(text) => Some(format!("detection {text}")),
            Self::SimilarTo(path) => Some(format!("similar to {}", path.display())),
            Self::Sums(sums) => Some(format!("sums {}", sums.join("; "))),
        }
    }
}

/// What is read of every photo: the same numbers, or such as depend on the photo.
#[derive(Clone, Debug)]
pub(crate) enum Reader {
    Same(Arc<dyn Reading>),
    OfPhoto(Box<PhotoReader>),
}

/// What is read of a photo, by what the network gives for it.
#[derive(Clone, Debug)]
pub(crate) struct PhotoReader {
    dense: Dense,
    labels: Labels,
    what: What,
}

#[derive(Clone, Debug)]
enum What {
    Region(Place),
    Detection(Choice),
}

/// What is read of one photo.
#[derive(Clone, Debug)]
pub struct PhotoReading {
    /// The numbers.
    pub reading: Arc<dyn Reading>,
    /// The box in the photo that they are of, where there is one: left, top, right and bottom.
    pub corners: Option<[f64; 4]>,
}

impl PhotoReading {
    /// Draws the box on the photo, whose input is made already.
    pub fn draw_on(&self, photo: &mut Photo) {
        let boxed = self.corners.map(|corners| Boxed { corners, text: String::new() });
        draw_boxes(&mut photo.picture, boxed.as_slice());
    }
}

/// `network` with what is read off its outputs for a photo, where something is.
pub fn read_of<'a>(network: &'a dyn Network, reading: Option<&PhotoReading>) -> Box<dyn Network + 'a> {
    match reading {
        Some(reading) => Box::new(ReadOut::new(network, reading.reading.clone())),
        None => Box::new(network),
    }
}

/// Bytes of a vector's file, at most.
const LONGEST: u64 = 256 << 20;

impl Reader {
    /// Checks what is to be read against a model, and makes the model's outputs and labels those that it is read from.
    pub(crate) fn of(read: &Read, model: &mut Model) -> Result<Option<Self>> {
        let sums: Vec<String> = match read {
            Read::Sums(sums) => sums.clone(),
            Read::Classes => model.sums.iter().map(|(name, sum)| format!("{name}={sum}")).collect(),
            Read::Region(_) | Read::Detection(_) => return Self::dense(read, model).map(Some),
            Read::SimilarTo(path) => {
                let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
                unchanged(model, vec![format!("similarity to {name}")])?;
                return Ok(None);
            }
        };
        if sums.is_empty() {
            return Ok(None);
        }
        let (names, sums): (Vec<String>, Vec<String>) = sums.iter().map(|sum| named(sum)).unzip();
        let reading = expression::read_sums(&sums, &model.parts)?;
        unchanged(model, names)?;
        Ok(Some(Self::Same(Arc::new(reading))))
    }

    fn dense(read: &Read, model: &mut Model) -> Result<Self> {
        let dense = model.dense.take();
        let (what, dense) = match (read, dense) {
            (Read::Region(text), Some(dense)) if matches!(dense.form, DenseForm::Segmentation { .. }) => {
                (What::Region(Place::parse(text)?), dense)
            }
            (Read::Detection(text), Some(dense)) if matches!(dense.form, DenseForm::Detection { .. }) => {
                let objectness = matches!(dense.form, DenseForm::Detection { objectness: true, .. });
                (What::Detection(Choice::parse(text, &model.labels, objectness)?), dense)
            }
            (Read::Region(_), _) => {
                let reason = "the network gives no class per place; a segmentation does (--task segmentation, where its \
                              output is one that is not seen to be)";
                return Err(Error::parameter("region", reason));
            }
            _ => {
                let reason = "the network gives no boxes; a detection does, whose classes are known: --labels, or `labels` \
                              in the JSON beside the file (--task detection, where it has none)";
                return Err(Error::parameter("detection", reason));
            }
        };
        model.graph = dense.graph.clone();
        model.target = model.graph.target_layer();
        let labels = model.labels.clone();
        if let What::Detection(choice) = &what
            && let Some(name) = choice.what.name()
        {
            model.labels = Labels::new(1, vec![name], Vec::new())?;
            model.probabilities = choice.what.probabilities();
        }
        Ok(Self::OfPhoto(Box::new(PhotoReader { dense, labels, what })))
    }

    /// The cosine to the network's output for a photo, or to a vector.
    pub(crate) fn similar(path: &Path, model: &Model, network: &dyn Network) -> Result<Self> {
        let outputs: usize = model.parts.iter().map(|(_, shape)| shape.iter().product::<usize>()).sum();
        let is_vector = path.extension().is_some_and(|end| end.eq_ignore_ascii_case("npy"));
        let vector = if is_vector { vector(path)? } else { embedded(path, model, network)? };
        if vector.len() != outputs {
            let (path, length) = (path.display(), vector.len());
            let reason =
                format!("`{path}` has {length} numbers, and the network's output {outputs}: they cannot be compared");
            return Err(Error::parameter("similar-to", reason));
        }
        Ok(Self::Same(Arc::new(Cosine::to(&vector)?)))
    }
}

impl PhotoReader {
    /// Whether it is a box of a detection.
    pub(crate) fn is_of_boxes(&self) -> bool {
        matches!(self.what, What::Detection(_))
    }

    /// What is read of a photo: `network` is the one whose outputs it is read from.
    pub(crate) fn of(&self, network: &dyn Network, photo: &Photo) -> Result<PhotoReading> {
        let output = outputs(network, &photo.tensor)?;
        match &self.what {
            What::Region(place) => {
                let size = self.dense.places(&photo.tensor.dims()[1..])?;
                let (reading, corners) = place.reading(self.dense.classes(), size, photo, &output)?;
                Ok(PhotoReading { reading: Arc::new(reading), corners })
            }
            What::Detection(choice) => {
                let rows = Rows::of(&self.dense, photo)?;
                let all = rows.found(&output)?;
                let chosen = choice.of(&all, &self.labels)?;
                let reading = rows.reading(chosen, choice.what, &output)?;
                Ok(PhotoReading { reading, corners: Some(chosen.corners) })
            }
        }
    }
}

/// The layer to explain for output number `class` of `network`, which is `graph` or stands before it, where only a part of the graph leads there.
///
/// # Errors
/// What the network returns.
pub(crate) fn layer_towards(
    graph: &Graph,
    network: &dyn Network,
    class: usize,
    input: &Tensor,
) -> Result<Option<LayerId>> {
    let joined = graph.joined();
    if joined.is_empty() {
        return Ok(None);
    }
    let taps: Vec<Tap> = joined.iter().copied().map(Tap::Layer).collect();
    let mut cotangents = |output: &Tensor| {
        let one: Vec<f64> = (0..output.elem_count()).map(|at| f64::from(u8::from(at == class))).collect();
        Ok(vec![Tensor::from_vec(one, output.dims(), output.device())?.to_dtype(output.dtype())?])
    };
    let found = network.vjp(&input.to_device(&network.device())?, &taps, &mut cotangents)?;
    let mut reached = Vec::new();
    for (layer, gradient) in joined.iter().zip(found.gradients.first().into_iter().flatten()) {
        if gradient.abs()?.max_all()?.to_dtype(DType::F64)?.to_scalar::<f64>()? > 0.0 {
            reached.push(*layer);
        }
    }
    let is_part = !reached.is_empty() && reached.len() < joined.len();
    Ok(is_part.then(|| graph.target_layer_towards(&reached)).flatten())
}

/// What a detection network finds in a photo, the best first; `network` is `dense`'s, where it is computed.
///
/// # Errors
/// [`Error::Parameter`] where `dense` is no detection.
pub fn detections(dense: &Dense, network: &dyn Network, photo: &Photo) -> Result<Vec<Detection>> {
    Rows::of(dense, photo)?.found(&outputs(network, &photo.tensor)?)
}

/// The share of a photo's places that a segmentation network gives each class.
///
/// # Errors
/// What the network returns.
pub fn shares(dense: &Dense, network: &dyn Network, photo: &Photo) -> Result<Vec<f64>> {
    Ok(crate::region::shares(dense.classes(), &outputs(network, &photo.tensor)?))
}

/// The network's outputs for one photo.
fn outputs(network: &dyn Network, tensor: &Tensor) -> Result<Vec<f64>> {
    let tensor = tensor.to_device(&network.device())?;
    Ok(network.evaluate(&tensor, &[])?.0.to_dtype(DType::F64)?.flatten_all()?.to_vec1()?)
}

/// Names the numbers that are read of a model; they are taken as they are.
fn unchanged(model: &mut Model, names: Vec<String>) -> Result<()> {
    model.labels = Labels::new(names.len(), names, Vec::new())?;
    model.probabilities = Probabilities::Unchanged;
    Ok(())
}

/// `age=0.5*output[0]` as its name and its words; without a name, it is called by its words.
fn named(sum: &str) -> (String, String) {
    match sum.split_once('=') {
        Some((name, words)) => (name.trim().to_owned(), words.trim().to_owned()),
        None => (sum.trim().to_owned(), sum.trim().to_owned()),
    }
}

fn vector(path: &Path) -> Result<Vec<f64>> {
    let bytes = read_file_within(path, LONGEST)?;
    let array = Array::decode(&bytes).map_err(|error| match error {
        Error::Format { reason, .. } => Error::format(path.display().to_string(), reason),
        other => other,
    })?;
    Ok(array.values.into_iter().map(f64::from).collect())
}

/// The network's output for a photo.
fn embedded(path: &Path, model: &Model, network: &dyn Network) -> Result<Vec<f64>> {
    let photo = photo::read(path, model.photo_preprocessing()?, &Decoding::default())?;
    outputs(network, &photo.tensor)
}
