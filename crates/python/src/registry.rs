//! What there is: methods, gradients, metrics and models by name.

use faithful_cam::ESTIMATORS;
use faithful_core::{Family, MethodInfo, Resolution};
use faithful_explain::{Method, methods as all_methods};
use faithful_metric::{Direction, METRICS};
use faithful_model::{Place, faithful_home, known_models};
use pyo3::prelude::*;
use pyo3::types::PyDict;

/// Every method, a dictionary each.
#[pyfunction]
pub(crate) fn methods(py: Python<'_>) -> PyResult<Vec<Bound<'_, PyDict>>> {
    all_methods().into_iter().map(|info| method(py, info)).collect()
}

fn method<'py>(py: Python<'py>, info: &MethodInfo) -> PyResult<Bound<'py, PyDict>> {
    let family = match info.family {
        Family::Cam => "cam",
        Family::Perturbation => "perturbation",
        Family::Attention => "attention",
        Family::Gradient => "gradient",
    };
    let found = Method::new(info.name, None, "paper").map_err(crate::error::to_python)?;
    let dictionary = PyDict::new(py);
    dictionary.set_item("name", info.name)?;
    dictionary.set_item("summary", info.summary)?;
    dictionary.set_item("source", info.source)?;
    dictionary.set_item("family", family)?;
    dictionary.set_item("at_layer", info.resolution == Resolution::Layer)?;
    dictionary.set_item("class_agnostic", info.class_agnostic)?;
    dictionary.set_item("signed", info.signed)?;
    dictionary.set_item("draws", info.draws)?;
    dictionary.set_item("compares", found.compares())?;
    dictionary.set_item("fuses", matches!(found, Method::Cam { method, .. } if method.fuses()))?;
    Ok(dictionary)
}

/// The gradients that can be put under a class activation map: name, summary, source.
#[pyfunction]
pub(crate) fn gradients() -> Vec<(&'static str, &'static str, &'static str)> {
    ESTIMATORS.iter().map(|estimator| (estimator.name, estimator.summary, estimator.source)).collect()
}

/// Every metric, a dictionary each.
#[pyfunction]
pub(crate) fn metrics(py: Python<'_>) -> PyResult<Vec<Bound<'_, PyDict>>> {
    let one = |info: &faithful_metric::MetricInfo| {
        let dictionary = PyDict::new(py);
        dictionary.set_item("name", info.name)?;
        dictionary.set_item("summary", info.summary)?;
        dictionary.set_item("source", info.source)?;
        dictionary.set_item("higher_is_better", info.direction == Direction::Higher)?;
        dictionary.set_item("range", info.range)?;
        dictionary.set_item("masked", info.masked)?;
        dictionary.set_item("needs_mask", info.needs_mask)?;
        dictionary.set_item("needs_explainer", info.needs_explainer)?;
        Ok(dictionary)
    };
    METRICS.iter().map(one).collect()
}

/// Models that can be loaded by name: the name, and whether its weights are `built in`, `fetched` or `absent`.
#[pyfunction]
pub(crate) fn models() -> Vec<(String, &'static str)> {
    let place = |place: &Place| match place {
        Place::Shipped => "built in",
        Place::Pulled(_) => "fetched",
        Place::Absent => "absent",
    };
    known_models(faithful_home().as_deref()).into_iter().map(|known| (known.name, place(&known.place))).collect()
}
