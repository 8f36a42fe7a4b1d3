//! Errors as exceptions: the classes are written in Python (`errors.py`), the texts are the library's.

use faithful_core::Error;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

/// The exception `class` of `faithful_xai.errors`.
pub(crate) fn raise(class: &str, text: &str) -> PyErr {
    Python::attach(|py| {
        let made = py.import("faithful_xai.errors").and_then(|module| module.getattr(class)?.call1((text,)));
        made.map_or_else(|_| PyRuntimeError::new_err(text.to_owned()), PyErr::from_value)
    })
}

/// An error of the library as the exception of its kind.
pub(crate) fn to_python(error: Error) -> PyErr {
    let class = match &error {
        Error::Shape { .. } => "ShapeError",
        Error::UnknownLayer { .. } => "UnknownLayerError",
        Error::UnknownName { .. } => "UnknownNameError",
        Error::Parameter { .. } => "ParameterError",
        Error::NotFinite { .. } => "NotFiniteError",
        Error::Unsupported(_) => "UnsupportedError",
        Error::Format { .. } => "FormatError",
        Error::Io { .. } => "FileError",
        Error::Cancelled(_) => "CancelledError",
        Error::Internal(_) | Error::Tensor(_) => "InternalError",
        _ => "FaithfulError",
    };
    raise(class, &in_python(&error.to_string()))
}

/// The library's texts name options as the command line has them: `--input-size` is `input_size=` here.
fn in_python(text: &str) -> String {
    let mut words = text.split("--");
    let mut result = words.next().unwrap_or_default().to_owned();
    for rest in words {
        let end = rest.find(|letter: char| !(letter.is_ascii_lowercase() || letter == '-')).unwrap_or(rest.len());
        let (name, rest) = rest.split_at(end);
        if name.is_empty() || name.starts_with('-') {
            result.push_str("--");
            result.push_str(name);
        } else {
            result.push_str(&format!("{}=", name.trim_end_matches('-').replace('-', "_")));
        }
        result.push_str(rest);
    }
    result
}
