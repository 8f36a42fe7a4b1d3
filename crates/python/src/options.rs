//! Keyword arguments as the library's parameters. A name that nobody reads is an error, with what may have been meant.

use crate::error::{raise, to_python};
use faithful_core::{Error, Result};
use pyo3::conversion::FromPyObjectOwned;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use std::cell::RefCell;
use std::num::NonZeroUsize;

/// Keyword arguments; `None` is as good as none.
pub(crate) struct Options<'a, 'py> {
    given: &'a Bound<'py, PyDict>,
    known: RefCell<Vec<&'static str>>,
}

/// More draws, rows or steps than anybody means.
const MOST: i64 = 1_000_000;

impl<'a, 'py> Options<'a, 'py> {
    pub(crate) fn new(given: &'a Bound<'py, PyDict>) -> Self {
        Self { given, known: RefCell::default() }
    }

    /// The value of `name`.
    pub(crate) fn get<T: FromPyObjectOwned<'py>>(&self, name: &'static str) -> PyResult<Option<T>> {
        self.known.borrow_mut().push(name);
        let value = self.given.get_item(name)?.filter(|value| !value.is_none());
        let Some(value) = value else { return Ok(None) };
        let wrong = |error: PyErr| {
            let text = format!("{name}: {}", error.value(self.given.py()));
            raise("ArgumentTypeError", &text)
        };
        value.extract::<T>().map(Some).map_err(|error| wrong(error.into()))
    }

    /// A count above 0.
    pub(crate) fn count(&self, name: &'static str) -> PyResult<Option<NonZeroUsize>> {
        let Some(value) = self.get::<i64>(name)? else { return Ok(None) };
        let count = usize::try_from(value).ok().filter(|_| value <= MOST).and_then(NonZeroUsize::new);
        let wrong = || to_python(Error::parameter(name, format!("{value} is not from 1 to {MOST}")));
        count.map(Some).ok_or_else(wrong)
    }

    /// What `read` makes of a text.
    pub(crate) fn read<T>(&self, name: &'static str, read: impl FnOnce(&str) -> Result<T>) -> PyResult<Option<T>> {
        let text = self.get::<String>(name)?;
        text.map(|text| read(&text)).transpose().map_err(to_python)
    }

    /// Refuses what was given and not asked for.
    pub(crate) fn finish(self) -> PyResult<()> {
        let known = self.known.into_inner();
        for name in self.given.keys() {
            let name: String = name.extract()?;
            if !known.contains(&name.as_str()) {
                return Err(to_python(Error::unknown("option", &name, known)));
            }
        }
        Ok(())
    }
}

/// Reads what is given as its words: `3`, `0.5` or `"3x3"`.
#[derive(FromPyObject)]
pub(crate) enum Sides {
    One(usize),
    Both([usize; 2]),
    Words(String),
}

impl Sides {
    /// The words for it.
    pub(crate) fn text(self) -> String {
        match self {
            Self::One(side) => side.to_string(),
            Self::Both([height, width]) => format!("{height}x{width}"),
            Self::Words(text) => text,
        }
    }
}
