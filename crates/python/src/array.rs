//! Arrays of numpy as tensors, and back.

use crate::error::to_python;
use candle_core::{DType, Device, Tensor};
use faithful_core::{Error, Result};
use numpy::{IntoPyArray, PyArrayDyn, PyArrayMethods, PyReadonlyArrayDyn, PyUntypedArrayMethods};
use pyo3::prelude::*;

/// The values of an array in C order. They are copied once: a tensor owns its memory.
pub(crate) fn to_tensor(what: &str, array: &PyReadonlyArrayDyn<'_, f32>) -> PyResult<Tensor> {
    let shape = array.shape().to_vec();
    if shape.contains(&0) {
        return Err(to_python(Error::shape(what, "at least one value on each axis", &shape)));
    }
    let values = match array.as_slice() {
        Ok(values) => values.to_vec(),
        Err(_) => array.as_array().iter().copied().collect(),
    };
    Tensor::from_vec(values, shape, &Device::Cpu).map_err(|error| to_python(error.into()))
}

/// A tensor's values as `f32`, outside of Python.
#[derive(Clone, Debug)]
pub(crate) struct Values {
    shape: Vec<usize>,
    values: Vec<f32>,
}

impl Values {
    pub(crate) fn of(tensor: &Tensor) -> Result<Self> {
        let values = tensor.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?;
        Ok(Self { shape: tensor.dims().to_vec(), values })
    }

    /// The array, which takes the memory as it is.
    pub(crate) fn into_array(self, py: Python<'_>) -> PyResult<Bound<'_, PyArrayDyn<f32>>> {
        self.values.into_pyarray(py).reshape(self.shape)
    }
}
