//! A network, opened and closed: what is known of it, its photos, its predictions.

use crate::array::Values;
use crate::engine::{compute, locked};
use crate::error::{raise, to_python};
use crate::options::{Options, Sides};
use crate::setup::{Inputs, Origin};
use candle_core::{DType, Tensor};
use faithful_core::{Channels, Error, Fit, Network as _, Objective, Probabilities, Resampling, Result, Target};
use faithful_data::Picture;
use faithful_explain::{Classifier, FitKind, ModelOptions, Photo, Read, detections, photo, read_of, shares};
use faithful_model::{Compute, Dense, Model, ModelSource, Precision, Task};
use numpy::{IntoPyArray, PyArrayDyn, PyArrayMethods, PyReadonlyArrayDyn, PyUntypedArrayMethods};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

/// A network as a classifier of photos, until it is closed.
#[pyclass(frozen, module = "faithful_xai._native")]
pub(crate) struct Network {
    held: Mutex<Option<Arc<Classifier>>>,
}

/// A photo as the network sees it: the input `(1, C, H, W)`, the photo `(h, w, 3)`, and left, top, width and height of the part
/// of the photo that the input shows.
type Prepared<'py> = (Bound<'py, PyArrayDyn<f32>>, Bound<'py, PyArrayDyn<u8>>, (f64, f64, f64, f64));

/// Class, score, and left, top, right and bottom.
type FoundBox = (usize, f64, (f64, f64, f64, f64));

/// Name, operation, shape and stride of a layer, and whether it is the usual target layer.
type Layer = (String, String, Vec<usize>, Option<Vec<f64>>, bool);

impl Network {
    /// The classifier; a job that was begun keeps it while the network is closed.
    pub(crate) fn open_classifier(&self) -> PyResult<Arc<Classifier>> {
        locked(&self.held).clone().ok_or_else(|| raise("ClosedError", "the network is closed; load it again"))
    }

    fn with<T>(&self, read: impl FnOnce(&Model) -> T) -> PyResult<T> {
        Ok(read(&self.open_classifier()?.model))
    }
}

impl Network {
    /// What `each` finds at the places of each input for which the network has numbers.
    fn of_places<T: Send + 'static>(
        &self,
        py: Python<'_>,
        input: &PyReadonlyArrayDyn<'_, f32>,
        origins: Vec<Origin>,
        each: impl Fn(&Dense, &dyn faithful_core::Network, &Photo) -> Result<T> + Send + 'static,
    ) -> PyResult<Vec<T>> {
        let classifier = self.open_classifier()?;
        let inputs = Inputs::alone(input, Some(origins))?;
        compute(py, None, move |heard| {
            inputs.check(&classifier)?;
            let dense = classifier.model.dense.as_ref().ok_or_else(|| {
                let reason =
                    "the network is no detection and no segmentation, or it was loaded to explain one box or region";
                Error::parameter("network", reason)
            })?;
            let network = Compute::default().place(&dense.graph)?;
            let network = faithful_core::Watched::new(&*network, heard);
            (0..inputs.count()).map(|place| each(dense, &network, &inputs.photo(place)?)).collect()
        })
    }
}

#[pymethods]
impl Network {
    /// Loads what `source` names; nothing for the built-in model.
    #[staticmethod]
    fn open(py: Python<'_>, source: Option<String>, options: &Bound<'_, PyDict>) -> PyResult<Self> {
        let options = Options::new(options);
        let wanted = model_options(&options)?;
        let labels = options.get::<Vec<String>>("labels")?;
        let precision = options.read("precision", str::parse::<Precision>)?.unwrap_or_default();
        options.finish()?;
        let classifier = compute(py, None, move |_| load(source.as_deref(), &wanted, labels, precision))?;
        Ok(Self { held: Mutex::new(Some(Arc::new(classifier))) })
    }

    /// Lets go of the weights.
    fn close(&self) {
        locked(&self.held).take();
    }

    #[getter]
    fn closed(&self) -> bool {
        locked(&self.held).is_none()
    }

    #[getter]
    fn name(&self) -> PyResult<String> {
        self.with(|model| model.name.clone())
    }

    #[getter]
    fn file(&self) -> PyResult<Option<String>> {
        self.with(|model| model.file.as_ref().map(|file| file.display().to_string()))
    }

    #[getter]
    fn notes(&self) -> PyResult<Vec<String>> {
        self.with(|model| model.notes.clone())
    }

    #[getter]
    fn labels(&self) -> PyResult<Vec<String>> {
        self.with(|model| (0..model.labels.count()).map(|class| model.labels.name(class)).collect())
    }

    #[getter]
    fn input_shape(&self) -> PyResult<Vec<usize>> {
        self.with(|model| model.graph.nominal_input().to_vec())
    }

    #[getter]
    fn activation(&self) -> PyResult<&'static str> {
        self.with(|model| model.probabilities.name())
    }

    #[getter]
    fn target_layer(&self) -> PyResult<Option<String>> {
        self.with(|model| model.target.map(|layer| model.graph.layers()[layer.0].name.clone()))
    }

    /// The place of a class in the output, by its label or synset.
    fn class_index(&self, label: &str) -> PyResult<usize> {
        self.with(|model| model.labels.find(label))?.map_err(to_python)
    }

    fn layers(&self) -> PyResult<Vec<Layer>> {
        self.with(|model| {
            let rows = model.layer_table().into_iter();
            rows.map(|row| (row.name, row.kind, row.shape, row.stride, row.target)).collect()
        })
    }

    /// What photos go through.
    fn preprocessing<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let classifier = self.open_classifier()?;
        let photo = classifier.model.photo_preprocessing().map_err(to_python)?;
        let dictionary = PyDict::new(py);
        dictionary.set_item("input_size", photo.input_size)?;
        dictionary.set_item("resize", photo.resize)?;
        dictionary.set_item("crop", photo.crop)?;
        dictionary.set_item("fit", fit_name(photo.fit))?;
        dictionary.set_item("channels", photo.channels.name())?;
        let filter = Resampling::ALL.iter().find(|(_, filter)| *filter == photo.interpolation);
        dictionary.set_item("interpolation", filter.map(|(name, _)| *name))?;
        dictionary.set_item("mean", &photo.mean)?;
        dictionary.set_item("std", &photo.std)?;
        Ok(dictionary)
    }

    /// A photo of a file as the network sees it.
    fn prepare_file<'py>(&self, py: Python<'py>, path: PathBuf, megapixels: f64) -> PyResult<Prepared<'py>> {
        let classifier = self.open_classifier()?;
        let decoding = photo::decoding(megapixels).map_err(to_python)?;
        prepared(py, move || photo::read(&path, classifier.model.photo_preprocessing()?, &decoding))
    }

    /// A picture `(H, W, 3)` of bytes as the network sees it.
    fn prepare_picture<'py>(&self, py: Python<'py>, pixels: PyReadonlyArrayDyn<'py, u8>) -> PyResult<Prepared<'py>> {
        let classifier = self.open_classifier()?;
        let &[height, width, 3] = pixels.shape() else {
            return Err(to_python(Error::shape("the picture", "(H, W, 3): red, green, blue", pixels.shape())));
        };
        if height == 0 || width == 0 {
            return Err(to_python(Error::shape("the picture", "at least one pixel", pixels.shape())));
        }
        let pixels = pixels.as_array().iter().copied().collect();
        let picture = Picture { height, width, pixels };
        prepared(py, move || photo::prepare(picture, classifier.model.photo_preprocessing()?))
    }

    /// Outputs and probabilities `(N, K)` of inputs `(N, C, …)`.
    #[pyo3(signature = (input, origins = None, batch = None, progress = None))]
    fn predict<'py>(
        &self,
        py: Python<'py>,
        input: PyReadonlyArrayDyn<'py, f32>,
        origins: Option<Vec<Origin>>,
        batch: Option<NonZeroUsize>,
        progress: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<(Bound<'py, PyArrayDyn<f32>>, Bound<'py, PyArrayDyn<f32>>)> {
        let classifier = self.open_classifier()?;
        let inputs = Inputs::alone(&input, origins)?;
        let (outputs, probabilities) = compute(py, progress, move |heard| {
            inputs.check(&classifier)?;
            let network = faithful_core::Watched::new(classifier.network(), heard);
            faithful_core::Network::announce(&network, inputs.count(), 0);
            let first = Target::Output(0);
            let outputs = |network: &dyn faithful_core::Network, rows: &Tensor| {
                let objective = Objective::new(network, &first);
                batch.map_or(objective, |batch| objective.with_batch(batch)).outputs(rows)
            };
            let outputs = if classifier.reads_each_photo() {
                let one = |place| {
                    let reading = inputs.reading(&classifier, &network, place)?;
                    outputs(&*read_of(&network, reading.as_ref()), &inputs.row(place)?)
                };
                Tensor::cat(&(0..inputs.count()).map(one).collect::<Result<Vec<_>>>()?, 0)?
            } else {
                outputs(&network, &inputs.rows)?
            };
            let probabilities = classifier.model.probabilities.log_of(&outputs.to_dtype(DType::F64)?)?.exp()?;
            Ok((Values::of(&outputs)?, Values::of(&probabilities)?))
        })?;
        Ok((outputs.into_array(py)?, probabilities.into_array(py)?))
    }

    /// The boxes that a detection finds in each input, the best first: class, score, and left, top, right, bottom in its photo.
    fn detections(
        &self,
        py: Python<'_>,
        input: PyReadonlyArrayDyn<'_, f32>,
        origins: Vec<Origin>,
    ) -> PyResult<Vec<Vec<FoundBox>>> {
        let boxes = |dense: &Dense, network: &dyn faithful_core::Network, photo: &Photo| {
            let found = detections(dense, network, photo)?;
            Ok(found.into_iter().map(|one| (one.class, one.score, one.corners.into())).collect())
        };
        self.of_places(py, &input, origins, boxes)
    }

    /// The share of each input's places that a segmentation gives each class.
    fn areas(
        &self,
        py: Python<'_>,
        input: PyReadonlyArrayDyn<'_, f32>,
        origins: Vec<Origin>,
    ) -> PyResult<Vec<Vec<f64>>> {
        self.of_places(py, &input, origins, shares)
    }

    /// What a layer gives for inputs `(N, C, …)`, `batch` rows at a time.
    #[pyo3(signature = (input, layer, batch = None))]
    fn activations<'py>(
        &self,
        py: Python<'py>,
        input: PyReadonlyArrayDyn<'py, f32>,
        layer: String,
        batch: Option<NonZeroUsize>,
    ) -> PyResult<Bound<'py, PyArrayDyn<f32>>> {
        let classifier = self.open_classifier()?;
        let inputs = Inputs::alone(&input, None)?;
        let values = compute(py, None, move |_| {
            inputs.check(&classifier)?;
            let layer = classifier.model.layer(&layer)?;
            let batch = batch.map_or(8, NonZeroUsize::get);
            let rows = |start: usize| {
                let some = inputs.rows.narrow(0, start, batch.min(inputs.count() - start))?;
                Ok(classifier.network().activations(&some, &[layer])?.remove(0))
            };
            let parts = (0..inputs.count()).step_by(batch).map(rows).collect::<Result<Vec<_>>>()?;
            Values::of(&Tensor::cat(&parts, 0)?)
        })?;
        values.into_array(py)
    }
}

fn prepared(py: Python<'_>, read: impl FnOnce() -> Result<Photo> + Send + 'static) -> PyResult<Prepared<'_>> {
    let (input, photo) = compute(py, None, move |_| {
        let photo = read()?;
        Ok((Values::of(&photo.tensor)?, photo))
    })?;
    let region = (photo.region.left, photo.region.top, photo.region.width, photo.region.height);
    let shape = [photo.picture.height() as usize, photo.picture.width() as usize, 3];
    let picture = photo.picture.into_raw().into_pyarray(py).reshape(shape.to_vec())?;
    Ok((input.into_array(py)?, picture, region))
}

fn load(
    source: Option<&str>,
    options: &ModelOptions,
    labels: Option<Vec<String>>,
    precision: Precision,
) -> Result<Classifier> {
    let source: ModelSource = match source {
        Some(source) => source.parse()?,
        None => Model::default_source().ok_or_else(|| Error::parameter("model", "no model is built in; name one"))?,
    };
    let mut loading = options.loading()?;
    loading.labels = labels.or(loading.labels);
    let mut model = Model::load(&source, &loading)?;
    options.apply(&mut model)?;
    let compute = Compute::new("cpu", precision)?.unless_slower();
    Classifier::reading_of(model, options.read.clone(), |model| compute.place(&model.graph))
}

/// What is read off the outputs: one thing of all that there are.
fn read(options: &Options<'_, '_>) -> PyResult<Read> {
    let given = [
        options.get("region")?.map(Read::Region),
        options.get("detection")?.map(Read::Detection),
        options.get("similar_to")?.map(Read::SimilarTo),
        options.get("sums")?.map(Read::Sums),
    ];
    let mut given = given.into_iter().flatten();
    match (given.next(), given.next()) {
        (read, None) => Ok(read.unwrap_or_default()),
        _ => Err(to_python(Error::parameter("region", "one of region, detection, similar_to and sums, not several"))),
    }
}

fn fit_name(fit: Fit) -> &'static str {
    match fit {
        Fit::Crop => "crop",
        Fit::Stretch(_) => "stretch",
        Fit::Pad(_) => "pad",
    }
}

fn model_options(options: &Options<'_, '_>) -> PyResult<ModelOptions> {
    let fits = [("crop", FitKind::Crop), ("stretch", FitKind::Stretch), ("pad", FitKind::Pad)];
    let (mean, std) = (options.get::<Vec<f32>>("mean")?, options.get::<Vec<f32>>("std")?);
    if mean.is_some() != std.is_some() {
        return Err(to_python(Error::parameter("mean", "mean and std go together")));
    }
    Ok(ModelOptions {
        output: options.get("output")?,
        input_size: options.get::<Sides>("input_size")?.map(square).transpose()?,
        resize: words(options, "resize")?,
        crop: words(options, "crop")?,
        fit: options.read("fit", |name| faithful_core::value_named("fit", name, &fits))?,
        pad_color: options.get("pad_color")?,
        channels: options.read("channels", Channels::from_name)?,
        mean: mean.unwrap_or_default(),
        std: std.unwrap_or_default(),
        scale: options.get("scale")?,
        interpolation: options.read("interpolation", Resampling::from_name)?,
        activation: options.read("activation", Probabilities::from_name)?,
        task: options.read("task", |name| faithful_core::value_named("task", name, &Task::ALL))?,
        labels: options.get("labels_file")?,
        read: read(options)?,
    })
}

/// An option that the command line has as words.
fn words<T: std::str::FromStr<Err = String>>(options: &Options<'_, '_>, name: &'static str) -> PyResult<Option<T>> {
    let text = options.get::<Sides>(name)?.map(Sides::text);
    text.map(|text| text.parse().map_err(|reason: String| to_python(Error::parameter(name, reason)))).transpose()
}

fn square(sides: Sides) -> PyResult<[usize; 2]> {
    match sides {
        Sides::One(side) => Ok([side; 2]),
        Sides::Both(sides) => Ok(sides),
        Sides::Words(_) => Err(PyTypeError::new_err("input_size: expected a side in pixels, or (height, width)")),
    }
}
