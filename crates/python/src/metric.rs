//! Metrics of maps, whoever made them.

use crate::array::{Values, to_tensor};
use crate::engine::{Progress, compute};
use crate::error::{raise, to_python};
use crate::network::Network;
use crate::options::Options;
use crate::setup::{Inputs, Origin, Question};
use candle_core::{Device, Tensor};
use faithful_core::{Error, Objective, Preprocessing, Result, Stream, Target, Watched};
use faithful_evaluate::fitted;
use faithful_explain::{Classifier, read_of};
use faithful_metric::{Canvas, CurveScore, Explanation, Measured, Metric, Protocol, Steps};
use numpy::{PyReadonlyArrayDyn, PyUntypedArrayMethods};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use std::num::NonZeroUsize;

/// What is measured, and how.
struct Task {
    metrics: Vec<Metric>,
    protocol: Protocol,
    score: String,
    seed: u64,
    batch: NonZeroUsize,
    maps: Tensor,
    /// Per input, one flag per cell of the input.
    objects: Option<Vec<Vec<bool>>>,
    /// Makes the map of another input, for metrics that need the method.
    explainer: Option<Py<PyAny>>,
}

/// Measures a map per row of `input`. Gives per row, for each metric, its name, its value and its curve.
#[pyfunction]
#[pyo3(signature = (network, input, targets, origins, maps, metrics, options, objects = None, explainer = None, progress = None))]
pub(crate) fn measure<'py>(
    py: Python<'py>,
    network: &Network,
    input: PyReadonlyArrayDyn<'py, f32>,
    targets: Vec<(Option<usize>, Option<String>)>,
    origins: Vec<Origin>,
    maps: PyReadonlyArrayDyn<'py, f32>,
    metrics: Vec<String>,
    options: &Bound<'py, PyDict>,
    objects: Option<PyReadonlyArrayDyn<'py, bool>>,
    explainer: Option<Py<PyAny>>,
    progress: Option<&Bound<'py, PyAny>>,
) -> PyResult<Vec<Vec<(String, f64, Option<(Vec<f64>, Vec<f64>)>)>>> {
    let classifier = network.open_classifier()?;
    let inputs = Inputs::new(&input, targets, origins)?;
    let options = Options::new(options);
    let preprocessing = classifier.model.photo_preprocessing().map_err(to_python)?;
    let task = Task {
        metrics: metrics.iter().map(|name| Metric::parse(name)).collect::<Result<_>>().map_err(to_python)?,
        protocol: protocol(&options, preprocessing)?,
        score: options.get("score")?.unwrap_or_else(|| "probability".into()),
        seed: options.get("seed")?.unwrap_or(0),
        batch: options.count("batch")?.unwrap_or(NonZeroUsize::MIN.saturating_add(7)),
        maps: to_tensor("the maps", &maps)?,
        objects: objects.map(|objects| flags(&objects, inputs.count())).transpose()?,
        explainer,
    };
    options.finish()?;
    let measured = compute(py, progress, move |heard| task.run(&classifier, &inputs, heard))?;
    let one = |one: Measured| (one.name, one.value, one.curve);
    Ok(measured.into_iter().map(|row| row.into_iter().map(one).collect()).collect())
}

/// The named protocol, with what is said otherwise.
fn protocol(options: &Options<'_, '_>, preprocessing: &Preprocessing) -> PyResult<Protocol> {
    let mut protocol = options.read("protocol", Protocol::named)?.unwrap_or_default();
    if let Some(steps) = options.count("steps")? {
        protocol.steps = Steps::Count(steps);
    }
    let grey: Vec<f32> =
        preprocessing.mean.iter().zip(&preprocessing.std).map(|(mean, std)| (0.5 - mean) / std).collect();
    let canvas = |name: &str| Canvas::parse(name, &grey);
    if let Some(canvas) = options.read("insertion_canvas", canvas)? {
        protocol.insertion = canvas;
    }
    if let Some(canvas) = options.read("deletion_canvas", canvas)? {
        protocol.deletion = canvas;
    }
    let scores = [("probability", CurveScore::Probability), ("logit", CurveScore::Logit)];
    if let Some(score) = options.read("curve_score", |name| faithful_core::value_named("curve score", name, &scores))? {
        protocol.score = score;
    }
    protocol.normalized |= options.get("relative_curves")?.unwrap_or(false);
    Ok(protocol)
}

fn flags(objects: &PyReadonlyArrayDyn<'_, bool>, count: usize) -> PyResult<Vec<Vec<bool>>> {
    let all: Vec<bool> = objects.as_array().iter().copied().collect();
    if objects.shape().first() != Some(&count) || all.is_empty() {
        let wanted = format!("({count}, H, W), a mask per input");
        return Err(to_python(Error::shape("the objects' masks", wanted, objects.shape())));
    }
    Ok(all.chunks(all.len() / count).map(<[bool]>::to_vec).collect())
}

impl Task {
    fn run(&self, classifier: &Classifier, inputs: &Inputs, heard: &Progress) -> Result<Vec<Vec<Measured>>> {
        inputs.check(classifier)?;
        if self.maps.dims().first() != Some(&inputs.count()) {
            return Err(Error::shape("the maps", format!("({}, …), one per input", inputs.count()), self.maps.dims()));
        }
        let network = Watched::new(classifier.network(), heard);
        let questions = inputs.questions(classifier, &network, self.batch)?.into_iter().enumerate();
        questions
            .map(|(place, Question { class, reading })| {
                self.one(classifier, &*read_of(&network, reading.as_ref()), inputs, place, class)
            })
            .collect()
    }

    fn one(
        &self,
        classifier: &Classifier,
        network: &dyn faithful_core::Network,
        inputs: &Inputs,
        place: usize,
        class: usize,
    ) -> Result<Vec<Measured>> {
        let input = inputs.row(place)?;
        let labels = &classifier.model.labels;
        let score = faithful_explain::class::parse_score(&self.score, labels)?;
        let target = inputs.aims[place].target(class, score, classifier)?;
        let objective = Objective::new(network, &target).with_batch(self.batch);
        let logit = Target::Output(class);
        let logit_objective = objective.with_score(&logit);
        let curve_objective = match self.protocol.score {
            CurveScore::Probability => objective,
            CurveScore::Logit => logit_objective,
        };
        let map = fitted(&self.maps.get(place)?, &input)?;
        let stream = Stream::new(self.seed, inputs.origins[place].0.as_bytes());
        let mut explain = |input: &Tensor| fitted(&self.explain(input, class)?, input);
        let mut explanation = Explanation {
            objective: &objective,
            curve_objective: &curve_objective,
            logit_objective: &logit_objective,
            input: &input,
            map: &map,
            object: self.objects.as_ref().map(|objects| objects[place].as_slice()),
            stream: &stream,
            explain: None,
        };
        if self.explainer.is_some() {
            explanation.explain = Some(&mut explain);
        }
        faithful_metric::measure(&mut explanation, &self.metrics, &self.protocol)
    }

    /// Asks Python for the map of an input `(1, C, …)`.
    fn explain(&self, input: &Tensor, class: usize) -> Result<Tensor> {
        let asked = || -> PyResult<Tensor> {
            Python::attach(|py| {
                let explainer = self.explainer.as_ref().ok_or_else(|| raise("InternalError", "no explainer"))?;
                let array = Values::of(input).map_err(to_python)?.into_array(py)?;
                let map = explainer.call1(py, (array, class))?;
                to_tensor("the explainer's map", &map.extract::<PyReadonlyArrayDyn<'_, f32>>(py)?)
            })
        };
        let map = asked().map_err(|error| Error::format("the explainer", error.to_string()))?;
        match map.dims() {
            &[1, _, _] => Ok(map.squeeze(0)?),
            _ => Ok(map.to_device(&Device::Cpu)?),
        }
    }
}
