//! Attributions: a number for each value of the input, or of a layer.

use crate::array::Values;
use crate::engine::{Progress, compute};
use crate::error::to_python;
use crate::explanation::convergence;
use crate::network::Network;
use crate::options::Options;
use crate::setup::{Asked, Inputs, Origin, Question};
use candle_core::Tensor;
use faithful_core::{Convergence, Error, Objective, Result};
use faithful_explain::{Classifier, Method, read_of};
use faithful_gradient::{GradientParameters, attribute_at_layer};
use numpy::{PyArrayDyn, PyReadonlyArrayDyn};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

/// Attributions `(N, …)`, the classes they are of, how the draws went, and what a reader should know.
struct Attributed {
    values: Values,
    classes: Vec<usize>,
    convergence: Vec<Option<Convergence>>,
    notes: Vec<String>,
}

/// As Python takes it apart.
type Answer<'py> = (Bound<'py, PyArrayDyn<f32>>, Vec<usize>, Bound<'py, PyList>, Vec<String>);

/// Attributes each row's score to the row's values, or to those of a layer, by the gradient method called `name`.
#[pyfunction]
#[pyo3(signature = (network, input, targets, origins, name, options, baselines = None, paired = false, progress = None))]
pub(crate) fn attribute<'py>(
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
) -> PyResult<Answer<'py>> {
    let classifier = network.open_classifier()?;
    let asked = Asked::read(name, Options::new(options), baselines.as_ref(), paired)?;
    let Method::Gradient(method) = *asked.method() else {
        let reason = format!("`{name}` gives a map of places; attributions of values are gradient methods'");
        return Err(to_python(Error::parameter("method", reason)));
    };
    let inputs = Inputs::new(&input, targets, origins)?;
    let found = compute(py, progress, move |heard| attributions_of(&classifier, method, &asked, &inputs, heard))?;
    let settled = PyList::empty(py);
    for one in &found.convergence {
        settled.append(one.as_ref().map(|one| convergence(py, one)).transpose()?)?;
    }
    Ok((found.values.into_array(py)?, found.classes, settled, found.notes))
}

fn attributions_of(
    classifier: &Classifier,
    method: &faithful_gradient::Method,
    asked: &Asked,
    inputs: &Inputs,
    heard: &Progress,
) -> Result<Attributed> {
    inputs.check(classifier)?;
    let session = asked.session(classifier, heard)?;
    let at = &session.methods[0];
    let pixels = inputs.rows.dims().iter().skip(2).product::<usize>() as u64;
    let batch = session.batch_for(&inputs.rows.dims()[1..], pixels)?;
    let questions = inputs.questions(classifier, &session.network, batch)?;
    let settings = at.spec.settings(&session.settings);
    let (mut maps, mut settled, mut notes, mut classes) = (Vec::new(), Vec::new(), heard.notes(), Vec::new());
    for (place, (Question { class, reading }, aim)) in questions.into_iter().zip(&inputs.aims).enumerate() {
        let target = aim.target(class, session.score_of(&at.spec.method), classifier)?;
        let network = read_of(&session.network, reading.as_ref());
        let objective = Objective::new(&*network, &target).with_batch(batch);
        classes.push(class);
        let parameters = GradientParameters {
            draws: settings.draws,
            stop: settings.stop,
            sampler: asked.sampler(place)?.unwrap_or_else(|| settings.sampler.clone()),
            alphas: settings.alphas,
            spread: settings.spread,
            stream: asked.stream(&inputs.origins[place].0),
            ..settings.gradient.clone()
        };
        let row = inputs.row(place)?;
        let attribution = match *at.layers {
            [] => (method.attribute)(&objective, &row, &parameters)?,
            [layer] => attribute_at_layer(method, &objective, &row, layer, &parameters)?,
            _ => return Err(Error::parameter("layer", format!("`{}` explains one layer at a time", method.info.name))),
        };
        maps.push(attribution.map);
        settled.push(attribution.convergence);
        for note in attribution.notes.iter().map(ToString::to_string) {
            if !notes.contains(&note) {
                notes.push(note);
            }
        }
    }
    Ok(Attributed { values: Values::of(&Tensor::cat(&maps, 0)?)?, classes, convergence: settled, notes })
}
