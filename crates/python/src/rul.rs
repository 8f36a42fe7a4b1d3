//! Remaining useful life: training, predictions and explanations of machines in a table.

use crate::array::Values;
use crate::engine::{Progress, compute};
use crate::error::to_python;
use crate::options::Options;
use faithful_baseline::{BaselineSampler, DataSet};
use faithful_core::{Error, Network as _, Objective, Result, Score, SeriesLayout, SeriesView, Stream, Watch, Watched};
use faithful_explain::{Method, Settings, parse_stop};
use faithful_model::{Graph, SeriesNetwork};
use faithful_rul::{
    Columns, Cycles, Event, Fleet, PreparationOptions, RulModel, Scores, Training, Windows, read_columns, train,
};
use numpy::PyArrayDyn;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

/// A network of the remaining life, with its preparation.
#[pyclass(frozen, module = "faithful_xai._native")]
pub(crate) struct RulNetwork {
    model: Arc<RulModel>,
}

/// Machines, the cycle of each one's last reading, the predicted life, and the true one where it is known.
type Predicted = (Vec<String>, Vec<u32>, Vec<f32>, Vec<Option<f32>>);

/// Maps `(N, sensors, window)`, or `(N, window)` of a method that does not tell sensors apart, and the scores.
type Explained<'py> = (Bound<'py, PyArrayDyn<f32>>, Vec<f64>);

/// What explains a window.
struct Asked {
    method: Method,
    settings: Settings,
    layer: Option<String>,
    /// `healthy`, `healthy-mean`, `typical` or `zero`.
    baselines: Option<String>,
    wear: bool,
    seed: u64,
}

#[pymethods]
impl RulNetwork {
    /// The network in a safetensors file; nothing for the built-in one, of drawn pumps.
    #[staticmethod]
    fn open(py: Python<'_>, path: Option<PathBuf>) -> PyResult<Self> {
        let model = compute(py, None, move |_| path.map_or_else(RulModel::shipped, |path| RulModel::load(&path)))?;
        Ok(Self { model: Arc::new(model) })
    }

    /// Trains on the machines of a table.
    #[staticmethod]
    #[pyo3(signature = (table, columns, kind, options, progress = None))]
    fn train(
        py: Python<'_>,
        table: PathBuf,
        columns: &Bound<'_, PyDict>,
        kind: &str,
        options: &Bound<'_, PyDict>,
        progress: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        let columns = read(columns)?;
        let training = training(kind, Options::new(options))?;
        let model = compute(py, progress, move |heard| {
            train(&read_columns(&table, &columns)?, &training, None, &mut |event| match event {
                Event::Start { steps, done, .. } => {
                    heard.announce((steps - done.min(steps)) as u64);
                    Ok(())
                }
                Event::Step { .. } => heard.advance(1),
                Event::Epoch(_) => heard.advance(0),
            })
        })?;
        Ok(Self { model: Arc::new(model) })
    }

    /// Writes the weights, and the JSON beside them.
    fn save(&self, py: Python<'_>, path: PathBuf) -> PyResult<()> {
        let model = self.model.clone();
        compute(py, None, move |_| model.save(&path))
    }

    #[getter]
    fn kind(&self) -> &str {
        &self.model.about.kind
    }

    #[getter]
    fn sensors(&self) -> Vec<String> {
        self.model.about.preparation.sensors.clone()
    }

    #[getter]
    fn window(&self) -> usize {
        self.model.about.preparation.window
    }

    #[getter]
    fn cap(&self) -> f32 {
        self.model.about.preparation.cap
    }

    /// How far it was off on machines that were held out: root of the mean squared error, in cycles.
    #[getter]
    fn validation(&self) -> Option<f64> {
        self.model.about.validation.map(|scores: Scores| scores.rmse)
    }

    /// What remains of the machines of a table, after their last readings.
    fn predict(&self, py: Python<'_>, table: PathBuf, columns: &Bound<'_, PyDict>) -> PyResult<Predicted> {
        let (model, columns) = (self.model.clone(), read(columns)?);
        compute(py, None, move |_| {
            let fleet = read_columns(&table, &columns)?;
            let windows = Windows::last(&fleet, &model.about.preparation)?;
            let predicted = model.predict(&windows.inputs)?;
            let remaining = windows.remaining.iter().map(|value| value.is_finite().then_some(*value)).collect();
            let ends = fleet.units.iter().zip(&windows.ends).map(|(unit, end)| unit.cycles[*end]).collect();
            Ok((names(&fleet), ends, predicted, remaining))
        })
    }

    /// Explains the last window of each machine of a table.
    #[pyo3(signature = (table, columns, name, options, progress = None))]
    fn explain<'py>(
        &self,
        py: Python<'py>,
        table: PathBuf,
        columns: &Bound<'py, PyDict>,
        name: &str,
        options: &Bound<'py, PyDict>,
        progress: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Explained<'py>> {
        let (model, columns) = (self.model.clone(), read(columns)?);
        let asked = Asked::read(name, Options::new(options))?;
        let (maps, scores) = compute(py, progress, move |heard| {
            let fleet = read_columns(&table, &columns)?;
            asked.explain(&model, &fleet, heard)
        })?;
        Ok((maps.into_array(py)?, scores))
    }
}

fn names(fleet: &Fleet) -> Vec<String> {
    fleet.units.iter().map(|unit| unit.name.clone()).collect()
}

/// Which columns are what.
fn read(given: &Bound<'_, PyDict>) -> PyResult<Columns> {
    let options = Options::new(given);
    let usual = Columns::default();
    let columns = Columns {
        unit: options.get("unit")?.unwrap_or(usual.unit),
        cycle: options.get("cycle")?.unwrap_or(usual.cycle),
        rul: options.get("rul")?.unwrap_or(usual.rul),
        fault: options.get("fault")?.unwrap_or(usual.fault),
        settings: options.get("settings")?.unwrap_or_default(),
        sensors: options.get("sensors")?.unwrap_or_default(),
        to_failure: options.get("to_failure")?.unwrap_or(false),
        gaps: options.get("gaps")?.unwrap_or(false),
    };
    options.finish()?;
    Ok(columns)
}

fn training(kind: &str, options: Options<'_, '_>) -> PyResult<Training> {
    let usual = Training::of(kind).map_err(to_python)?;
    let count = |name, usual: usize| Ok::<_, PyErr>(options.count(name)?.map_or(usual, NonZeroUsize::get));
    let window = count("window", usual.preparation.window)?;
    let shortest = options.count("shortest")?.map(NonZeroUsize::get);
    let training = Training {
        kind: kind.to_owned(),
        seed: options.get("seed")?.unwrap_or(usual.seed),
        preparation: PreparationOptions {
            window,
            // A shorter window asks for no more than its own cycles.
            shortest: shortest.or(usual.preparation.shortest.map(|shortest| shortest.min(window))),
            cap: options.get("cap")?.unwrap_or(usual.preparation.cap),
            smoothing: options.get("smoothing")?.unwrap_or(usual.preparation.smoothing),
            conditions: options.count("conditions")?.map(Into::into),
            age: options.get("age")?.unwrap_or(usual.preparation.age),
            ..usual.preparation.clone()
        },
        stride: count("stride", usual.stride)?,
        members: count("members", usual.members)?,
        crossed: options.get::<f64>("validation")?.is_none(),
        validation: options.get("validation")?.unwrap_or(usual.validation),
        refit: options.get("refit")?.unwrap_or(usual.refit),
        epochs: count("epochs", usual.epochs)?,
        batch: count("batch", usual.batch)?,
        ..usual.clone()
    };
    options.finish()?;
    Ok(training)
}

impl Asked {
    fn read(name: &str, options: Options<'_, '_>) -> PyResult<Self> {
        let method = Method::new(name, options.get::<String>("gradient")?.as_deref(), "paper").map_err(to_python)?;
        let asked = Self {
            method,
            settings: Settings {
                draws: options.count("draws")?,
                stop: options.read("stop", parse_stop)?.unwrap_or_default(),
                ..Settings::default()
            },
            layer: options.get("layer")?,
            baselines: options.get("baselines")?,
            wear: options
                .read("score", |score| faithful_core::value_named("score", score, &[("wear", true), ("life", false)]))?
                .unwrap_or(true),
            seed: options.get("seed")?.unwrap_or(0),
        };
        options.finish()?;
        Ok(asked)
    }

    fn sampler(&self, model: &RulModel, picture: bool) -> Result<Option<Arc<dyn BaselineSampler>>> {
        // A method with one baseline compares with the mean of the healthy windows rather than with one of them.
        let usual = if self.method.has_one_baseline() { "healthy-mean" } else { "healthy" };
        let known = [
            ("healthy", Some(model.healthy.clone())),
            ("healthy-mean", Some(model.healthy.mean_keepdim(0)?)),
            ("typical", Some(model.typical.clone())),
            ("zero", None),
        ];
        let wanted = self.baselines.as_deref().unwrap_or(usual);
        let (_, windows) = faithful_core::find_named("baselines", wanted, &known, |(name, _)| name)?;
        let Some(windows) = windows else { return Ok(None) };
        let windows = if picture { windows.unsqueeze(2)? } else { windows.clone() };
        Ok(Some(Arc::new(DataSet::new(windows)?)))
    }

    fn explain(&self, model: &RulModel, fleet: &Fleet, heard: &Progress) -> Result<(Values, Vec<f64>)> {
        let preparation = &model.about.preparation;
        let windows = Windows::last(fleet, preparation)?;
        let view: SeriesView<&Graph> = SeriesView::new(&model.graph, SeriesLayout::SensorsTime)?;
        let picture = self.method.images_only();
        let view = if picture { view.as_picture() } else { view };
        let network = Watched::new(&view, heard);
        let layers = if self.method.needs_layers() {
            vec![network.layer(self.layer.as_deref().unwrap_or(SeriesNetwork::TARGET))?]
        } else {
            Vec::new()
        };
        let sampler = self.sampler(model, picture)?.unwrap_or_else(|| self.settings.sampler.clone());
        let settings = Settings { sampler, ..self.settings.clone() };
        let score = if self.wear { Cycles::LIFE.wear(preparation.cap) } else { Cycles::LIFE };
        let scores: [&dyn Score; 1] = [&score];
        let objective = Objective::new(&network, &score).with_batch(NonZeroUsize::MIN.saturating_add(63));
        let (mut maps, mut values) = (Vec::new(), Vec::new());
        for (place, unit) in fleet.units.iter().enumerate() {
            let window = windows.inputs.narrow(0, place, 1)?;
            let input = if picture { window.unsqueeze(2)? } else { window };
            let stream = Stream::new(self.seed, unit.name.as_bytes());
            let found = self.method.explain(&objective, &input, &layers, &scores, &settings, stream)?;
            let found = found.into_iter().next().ok_or_else(|| Error::internal("a method found nothing"))?;
            maps.push(found.map);
            values.push(found.score);
        }
        Ok((Values::of(&candle_core::Tensor::stack(&maps, 0)?)?, values))
    }
}
