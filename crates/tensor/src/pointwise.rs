//! Functions of one element, or of two, and their derivatives, over whole tensors on the CPU.

use crate::function::{Elements, Real, Value};
use candle_core::{Result, Tensor};
pub(crate) use faithful_kernel::Pointwise;
use rayon::prelude::*;

/// How many elements one task takes.
const CHUNK: usize = 1 << 15;

pub(crate) fn map<T: Real>(x: &Tensor, function: impl Fn(T) -> T + Send + Sync) -> Result<Value> {
    let elements = Elements::of(x)?;
    let from = elements.slice::<T>()?;
    let mut y = vec![T::zero(); from.len()];
    y.par_chunks_mut(CHUNK).zip(from.par_chunks(CHUNK)).for_each(|(y, x)| {
        for (y, &x) in y.iter_mut().zip(x) {
            *y = function(x);
        }
    });
    Ok(Value::new(y, x.shape().clone()))
}

/// `function` of two tensors of one shape.
pub(crate) fn zip<T: Real>(a: &Tensor, b: &Tensor, function: impl Fn(T, T) -> T + Send + Sync) -> Result<Value> {
    let (first, second) = (Elements::of(a)?, Elements::of(b)?);
    let (first, second) = (first.slice::<T>()?, second.slice::<T>()?);
    let mut y = vec![T::zero(); first.len()];
    y.par_chunks_mut(CHUNK).zip(first.par_chunks(CHUNK)).zip(second.par_chunks(CHUNK)).for_each(|((y, a), b)| {
        for ((y, &a), &b) in y.iter_mut().zip(a).zip(b) {
            *y = function(a, b);
        }
    });
    Ok(Value::new(y, a.shape().clone()))
}
