//! Maps: one per input and class, by any method of the registry.

use crate::array::Values;
use crate::engine::{Progress, compute};
use crate::network::Network;
use crate::options::Options;
use crate::setup::{Asked, Inputs, Origin, Question, one};
use faithful_core::{Convergence, Objective, Result, Target};
use faithful_explain::{Classifier, MethodResult, read_of};
use numpy::PyReadonlyArrayDyn;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use std::sync::Arc;

/// One map, outside of Python.
struct Found {
    class: usize,
    result: MethodResult,
    map: Values,
    parts: Vec<(String, Values)>,
}

/// All maps of a call.
struct Maps {
    found: Vec<Found>,
    layers: Option<String>,
    notes: Vec<String>,
}

/// Explains each row of `input` `(N, C, …)` by the method called `name`. Gives a dictionary per row.
#[pyfunction]
#[pyo3(signature = (network, input, targets, origins, name, options, baselines = None, paired = false, progress = None))]
pub(crate) fn explain<'py>(
    py: Python<'py>,
    network: &Network,
    input: PyReadonlyArrayDyn<'py, f32>,
    targets: Vec<(Option<usize>, Option<String>)>,
    origins: Vec<Origin>,
    name: &str,
    options: &Bound<'py, PyDict>,
    baselines: Option<PyReadonlyArrayDyn<'py, f32>>,
    paired: bool,
    progress: Option<&Bound<'py, PyAny>>,
) -> PyResult<Vec<Bound<'py, PyDict>>> {
    let classifier = network.open_classifier()?;
    let asked = Asked::read(name, Options::new(options), baselines.as_ref(), paired)?;
    let inputs = Inputs::new(&input, targets, origins)?;
    let maps = compute(py, progress, move |heard| maps_of(&classifier, &asked, &inputs, heard))?;
    let layers = maps.layers;
    let mut dictionaries = Vec::with_capacity(maps.found.len());
    for found in maps.found {
        let dictionary = found.into_dictionary(py)?;
        dictionary.set_item("layer", layers.as_deref())?;
        dictionary.set_item("heard", &maps.notes)?;
        dictionaries.push(dictionary);
    }
    Ok(dictionaries)
}

fn maps_of(classifier: &Classifier, asked: &Asked, inputs: &Inputs, heard: &Progress) -> Result<Maps> {
    inputs.check(classifier)?;
    let session = asked.session(classifier, heard)?;
    let method = &session.methods[0];
    let pixels = inputs.rows.dims().iter().skip(2).product::<usize>() as u64;
    let batch = session.batch_for(&inputs.rows.dims()[1..], pixels)?;
    let questions = inputs.questions(classifier, &session.network, batch)?;
    let mut settings = method.spec.settings(&session.settings);
    let mut found = Vec::with_capacity(inputs.count());
    let mut layers = None;
    for (place, (Question { class, reading }, aim)) in questions.into_iter().zip(&inputs.aims).enumerate() {
        if let Some(own) = asked.sampler(place)? {
            settings.sampler = own;
        }
        let target = aim.target(class, session.score_of(&method.spec.method), classifier)?;
        let stream = asked.stream(&inputs.origins[place].0);
        let row = inputs.row(place)?;
        if reading.is_some() {
            settings.cache = Arc::default();
        }
        let network = read_of(&session.network, reading.as_ref());
        let first = Target::Output(0);
        let objective = Objective::new(&*network, &first).with_batch(batch);
        let takes_own = method.takes_own_layer();
        let layer = if takes_own { classifier.layer_of(&*network, class, &row)? } else { None };
        let own = method.for_image(layer, &session.network)?;
        let results = own.spec.method.explain(&objective, &row, &own.layers, &one(&target), &settings, stream)?;
        layers = own.layer_names(classifier.network());
        for result in results {
            let parts = result.parts.iter().map(|(name, map)| Ok((name.clone(), Values::of(map)?)));
            found.push(Found { class, map: Values::of(&result.map)?, parts: parts.collect::<Result<_>>()?, result });
        }
    }
    Ok(Maps { found, layers, notes: heard.notes() })
}

impl Found {
    fn into_dictionary(self, py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
        let Self { class, result, map, parts } = self;
        let dictionary = PyDict::new(py);
        dictionary.set_item("map", map.into_array(py)?)?;
        dictionary.set_item("class", class)?;
        dictionary.set_item("score", result.score)?;
        dictionary.set_item("at_layer", result.at_layer)?;
        dictionary.set_item("signed", result.scale.signed)?;
        dictionary.set_item("percentile", result.scale.percentile)?;
        let convergence = result.convergence.as_ref().map(|found| convergence(py, found)).transpose()?;
        dictionary.set_item("convergence", convergence)?;
        dictionary.set_item("completeness", result.completeness)?;
        dictionary.set_item("notes", &result.notes)?;
        let planes = PyDict::new(py);
        for (name, plane) in parts {
            planes.set_item(name, plane.into_array(py)?)?;
        }
        dictionary.set_item("parts", planes)?;
        Ok(dictionary)
    }
}

/// How the draws went, as a dictionary.
pub(crate) fn convergence<'py>(py: Python<'py>, found: &Convergence) -> PyResult<Bound<'py, PyDict>> {
    let dictionary = PyDict::new(py);
    dictionary.set_item("draws", found.draws)?;
    dictionary.set_item("satisfied", found.satisfied)?;
    dictionary.set_item("value", found.value)?;
    dictionary.set_item("difference", found.difference)?;
    dictionary.set_item("delta", found.delta)?;
    dictionary.set_item("standard_error", found.standard_error)?;
    Ok(dictionary)
}
