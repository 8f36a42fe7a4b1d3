//! The Python package `faithful_xai`: the application layer on numpy arrays. What people call is written in Python, in
//! `python/faithful_xai`; this is the module `_native` under it.

// What Python hands over is owned, and has as many parts as the call has keywords.
#![allow(clippy::needless_pass_by_value, clippy::too_many_arguments, clippy::type_complexity)]

mod array;
mod attribution;
mod display;
mod engine;
mod error;
mod evaluation;
mod explanation;
mod metric;
mod network;
mod options;
mod registry;
mod rul;
mod setup;

use pyo3::prelude::*;

/// What is computed. People use `faithful_xai`.
#[pymodule(gil_used = true)]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_class::<network::Network>()?;
    module.add_class::<rul::RulNetwork>()?;
    module.add_function(wrap_pyfunction!(explanation::explain, module)?)?;
    module.add_function(wrap_pyfunction!(attribution::attribute, module)?)?;
    module.add_function(wrap_pyfunction!(metric::measure, module)?)?;
    module.add_function(wrap_pyfunction!(evaluation::evaluate, module)?)?;
    module.add_function(wrap_pyfunction!(engine::set_threads, module)?)?;
    module.add_function(wrap_pyfunction!(engine::threads, module)?)?;
    module.add_function(wrap_pyfunction!(registry::methods, module)?)?;
    module.add_function(wrap_pyfunction!(registry::gradients, module)?)?;
    module.add_function(wrap_pyfunction!(registry::metrics, module)?)?;
    module.add_function(wrap_pyfunction!(registry::models, module)?)?;
    module.add_function(wrap_pyfunction!(display::overlay, module)?)?;
    module.add_function(wrap_pyfunction!(display::png, module)?)?;
    module.add_function(wrap_pyfunction!(display::colors, module)?)?;
    module.add_function(wrap_pyfunction!(display::enlarge, module)?)?;
    module.add_function(wrap_pyfunction!(display::normalise, module)?)?;
    Ok(())
}
