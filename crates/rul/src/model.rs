//! A trained network with all that is needed to use it.

use crate::{Calibration, Familiarity, Fleet, Interval, Preparation, Scores, Windows};
use candle_core::{Device, Tensor};
use faithful_core::{Error, Network, Result, open_file, read_file, write_atomic};
use faithful_model::{Graph, SeriesNetwork, read_tensors};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::io::Cursor;
use std::path::Path;

/// What stands in the JSON beside the weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct About {
    /// `cnn-lstm`, `cnn-bilstm`.
    pub kind: String,
    /// What it was trained on: `train_FD001`.
    pub trained_on: String,
    /// Its sizes.
    pub network: SeriesNetwork,
    /// How readings become its input.
    pub preparation: Preparation,
    /// How it was trained, for people.
    #[serde(default)]
    pub training: serde_json::Value,
    /// How far it is off on the engines that were held out, where some were.
    #[serde(default)]
    pub validation: Option<Scores>,
}

/// A trained network with its preparation, and typical windows to compare others with.
#[derive(Clone, Debug)]
pub struct RulModel {
    /// What is known of it.
    pub about: About,
    /// The network: series `(N, sensors, window)` to remaining lives in cycles `(N, 1)`.
    pub graph: Graph,
    /// Prepared windows of healthy machines, the first cycles of training engines, `(N, sensors, window)`.
    pub healthy: Tensor,
    /// Prepared windows from everywhere in the training engines' lives, `(N, sensors, window)`.
    pub typical: Tensor,
    /// How far it was off on machines that it, or the member that judged them, had not learnt from: what prediction intervals are
    /// made of. Nothing for a network that was trained without such machines.
    pub calibration: Option<Calibration>,
    /// What machines it knows; nothing for a network of before.
    pub familiarity: Option<Familiarity>,
    weights: HashMap<String, Tensor>,
}

/// How windows to compare with are called among the tensors.
const HEALTHY: &str = "baseline.healthy";
const TYPICAL: &str = "baseline.typical";
const CALIBRATION: &str = "calibration";
const FAMILIARITY: [&str; 3] = ["familiarity.mean", "familiarity.precision", "familiarity.distances"];
/// How many of each are kept: few enough for a small file.
const BASELINES: usize = 32;

/// The shipped weights: what `cargo xtask train-rul-demo` makes.
const SHIPPED: (&[u8], &str) = (include_bytes!("../shipped/pumps.safetensors"), include_str!("../shipped/pumps.json"));

impl RulModel {
    /// Puts a trained network together; the windows to compare with are drawn evenly from `fleet`, which is that of the
    /// training.
    pub(crate) fn new(
        about: About,
        weights: HashMap<String, Tensor>,
        fleet: &Fleet,
        calibration: Option<Calibration>,
    ) -> Result<Self> {
        let evenly = |windows: Windows| {
            let count = windows.len().min(BASELINES);
            let places: Vec<usize> = (0..count).map(|place| place * windows.len() / count).collect();
            Ok::<_, Error>(windows.select(&places)?.inputs)
        };
        let healthy = evenly(Windows::first(fleet, &about.preparation, 1)?)?;
        let typical = evenly(Windows::all(fleet, &about.preparation, 7)?)?;
        let familiarity = Some(Familiarity::fit(fleet, &about.preparation)?);
        let graph = about.network.graph(&weights)?;
        Ok(Self { about, graph, healthy, typical, calibration, familiarity, weights })
    }

    /// The model that is part of this program: it is trained on the fault modes of drawn pumps.
    ///
    /// # Errors
    /// None are expected; it is read like any other.
    pub fn shipped() -> Result<Self> {
        Self::read("shipped pumps model", Cursor::new(SHIPPED.0), SHIPPED.1.as_bytes())
    }

    /// The model in a safetensors file with its JSON beside it.
    ///
    /// # Errors
    /// [`Error::Io`] where one cannot be read, [`Error::Format`] for what is wrong with their content,
    /// [`Error::NotFinite`] for weights that are no numbers.
    pub fn load(path: &Path) -> Result<Self> {
        let what = path.display().to_string();
        let file = open_file(path)?;
        let text = read_file(&path.with_extension("json"))?;
        Self::read(&what, file, &text)
    }

    fn read(what: &str, weights: impl std::io::Read + std::io::Seek, side: &[u8]) -> Result<Self> {
        let broken = |reason: String| Error::format(format!("the JSON beside {what}"), reason);
        let unreadable = |error| Error::format_from(format!("the JSON beside {what}"), error);
        let mut about: About = serde_json::from_slice::<About>(side).map_err(unreadable)?;
        about.preparation = about.preparation.checked().map_err(broken)?;
        let shape = [about.preparation.sensors.len(), about.preparation.window];
        if [about.network.sensors, about.network.window] != shape {
            return Err(broken("the network and the preparation have other sensors or windows".into()));
        }
        let mut tensors = read_tensors(what, weights)?;
        let mut baseline = |name: &str| {
            let tensor = tensors.remove(name);
            tensor
                .filter(|tensor| tensor.rank() == 3 && tensor.dims()[1..] == shape && tensor.dims()[0] > 0)
                .ok_or_else(|| {
                    Error::format(what, format!("there is no tensor `{name}` of shape (N, {}, {})", shape[0], shape[1]))
                })
        };
        let (healthy, typical) = (baseline(HEALTHY)?, baseline(TYPICAL)?);
        let calibration = tensors.remove(CALIBRATION);
        let calibration = calibration.map(|rows| Calibration::read(what, &rows, about.network.members)).transpose()?;
        let known = FAMILIARITY.map(|name| tensors.remove(name));
        let familiarity = if let [Some(mean), Some(precision), Some(distances)] = known {
            Some(Familiarity::read(what, &[mean, precision, distances], shape[0])?)
        } else {
            None
        };
        let graph = about.network.graph(&tensors).map_err(|error| match error {
            Error::Format { reason, cause, .. } => Error::Format { what: what.into(), reason, cause },
            other => other,
        })?;
        Ok(Self { about, graph, healthy, typical, calibration, familiarity, weights: tensors })
    }

    /// Writes the weights to `path` and what is known of them to the JSON beside it, each as a whole or not at all.
    ///
    /// # Errors
    /// [`Error::Io`] where that fails.
    pub fn save(&self, path: &Path) -> Result<()> {
        let mut tensors = self.weights.clone();
        tensors.insert(HEALTHY.into(), self.healthy.clone());
        tensors.insert(TYPICAL.into(), self.typical.clone());
        if let Some(calibration) = &self.calibration {
            tensors.insert(CALIBRATION.into(), calibration.tensor()?);
        }
        if let Some(familiarity) = &self.familiarity {
            tensors.extend(FAMILIARITY.map(String::from).into_iter().zip(familiarity.tensors()?));
        }
        let mut text =
            serde_json::to_string_pretty(&self.about).map_err(|error| Error::format_from("the model's JSON", error))?;
        text.push('\n');
        write_atomic(path, &encode(&tensors, None)?)?;
        write_atomic(&path.with_extension("json"), text.as_bytes())
    }

    /// The remaining lives that the network sees in windows `(N, sensors, window)`, in cycles, from 0 to the cap.
    ///
    /// # Errors
    /// Shapes that do not fit.
    pub fn predict(&self, inputs: &Tensor) -> Result<Vec<f32>> {
        predict(&self.graph, inputs, self.about.preparation.cap)
    }

    /// For each of the windows the interval that holds the life of a new machine with probability `level`; nothing where the network
    /// was trained without machines to calibrate on. [`Calibration::interval`] says what is promised.
    ///
    /// # Errors
    /// [`Error::Parameter`] for a level outside of `(0, 1)`, shapes that do not fit.
    pub fn intervals(&self, inputs: &Tensor, level: f64) -> Result<Option<Vec<Interval>>> {
        let Some(calibration) = &self.calibration else { return Ok(None) };
        let said = members(&self.graph, inputs, self.about.network.scale)?;
        calibration.intervals(&said, level, self.about.preparation.cap).map(Some)
    }
}

/// What every member says of windows `(N, sensors, window)`, in cycles and not cut off: a row per window. `scale` is the network's.
///
/// # Errors
/// A network without members, shapes that do not fit.
pub fn members(network: &dyn Network, inputs: &Tensor, scale: f32) -> Result<Vec<Vec<f32>>> {
    let layer = network.layer(SeriesNetwork::MEMBERS)?;
    let rows = inputs.dim(0)?;
    let mut said = Vec::with_capacity(rows);
    for start in (0..rows).step_by(ROWS) {
        let (_, mut layers) = network.evaluate(&inputs.narrow(0, start, ROWS.min(rows - start))?, &[layer])?;
        let own = layers.pop().ok_or_else(|| Error::internal("the members' layer was not kept"))?;
        said.extend((own * f64::from(scale))?.to_device(&Device::Cpu)?.to_vec2::<f32>()?);
    }
    Ok(said)
}

/// How many windows go through a network at a time.
const ROWS: usize = 256;

/// As [`RulModel::predict`], for a network alone.
pub(crate) fn predict(network: &dyn Network, inputs: &Tensor, cap: f32) -> Result<Vec<f32>> {
    let rows = inputs.dim(0)?;
    let mut predicted = Vec::with_capacity(rows);
    for start in (0..rows).step_by(ROWS) {
        let output = network.evaluate(&inputs.narrow(0, start, ROWS.min(rows - start))?, &[])?.0;
        predicted.extend(output.flatten_all()?.to_vec1::<f32>()?);
    }
    for value in &mut predicted {
        *value = value.clamp(0.0, cap);
    }
    Ok(predicted)
}

/// Tensors as a safetensors file, in the order of their names: the same tensors give the same bytes.
pub(crate) fn encode(tensors: &HashMap<String, Tensor>, notes: Option<HashMap<String, String>>) -> Result<Vec<u8>> {
    use safetensors::tensor::{Dtype, TensorView};
    let mut raw: Vec<(&String, Vec<usize>, Vec<u8>)> = tensors
        .iter()
        .map(|(name, tensor)| {
            let values = tensor.to_device(&Device::Cpu)?.flatten_all()?.to_vec1::<f32>()?;
            let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            Ok((name, tensor.dims().to_vec(), bytes))
        })
        .collect::<Result<_>>()?;
    raw.sort_by_key(|(name, ..)| *name);
    let broken = |error: safetensors::SafeTensorError| Error::format_from("weights", error);
    let views = raw
        .iter()
        .map(|(name, shape, bytes)| {
            Ok((name.as_str(), TensorView::new(Dtype::F32, shape.clone(), bytes).map_err(broken)?))
        })
        .collect::<Result<Vec<_>>>()?;
    safetensors::serialize(views, notes).map_err(broken)
}
