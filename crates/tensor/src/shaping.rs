use crate::composed::{self, has_kernels};
use crate::function::{Elements, Real, Value, attach, by_type, is_half_on_cpu, widen};
use crate::resampling::reflect;
use candle_core::{DType, Result, Tensor, bail};
use rayon::prelude::*;

/// What fills padding.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum PadMode {
    /// A value.
    Constant(f64),
    /// The interior mirrored, without repeating the edge.
    Reflect,
    /// The edge repeated.
    Edge,
}

/// Joins tensors along `axis`.
///
/// # Errors
/// Where there are none, or their other axes differ.
pub fn concat(parts: &[&Tensor], axis: usize) -> Result<Tensor> {
    let Some(first) = parts.first() else { bail!("concat: no tensors to join") };
    for part in parts {
        let fits = part.rank() == first.rank()
            && axis < first.rank()
            && (0..first.rank()).all(|other| other == axis || part.dims()[other] == first.dims()[other]);
        if !fits {
            bail!("concat: shapes {:?} and {:?} cannot be joined along axis {axis}", first.dims(), part.dims());
        }
    }
    let parts: Vec<Tensor> = parts.iter().map(|part| part.contiguous()).collect::<Result<_>>()?;
    Tensor::cat(&parts, axis)
}

/// The elements `start, start + step, …` before `end` along `axis`; a negative step walks backwards, and `end` is
/// then exclusive below (`None`: to the first element).
///
/// `start` and `end` beyond the axis are taken as its ends.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use faithful_tensor::slice;
/// # fn main() -> candle_core::Result<()> {
/// let x = Tensor::new(&[0f32, 1., 2., 3., 4.], &Device::Cpu)?;
/// assert_eq!(slice(&x, 0, 1, None, 2)?.to_vec1::<f32>()?, [1., 3.]);
/// assert_eq!(slice(&x, 0, 4, None, -2)?.to_vec1::<f32>()?, [4., 2., 0.]);
/// assert_eq!(slice(&x, 0, 3, Some(1), -1)?.to_vec1::<f32>()?, [3., 2.]);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// Where there is no such axis or the step is zero.
pub fn slice(x: &Tensor, axis: usize, start: usize, end: Option<usize>, step: isize) -> Result<Tensor> {
    let Some(&size) = x.dims().get(axis) else { bail!("slice: no axis {axis} in shape {:?}", x.dims()) };
    let stride = step.unsigned_abs();
    if step == 0 {
        bail!("slice: the step must not be 0");
    }
    if step == 1 {
        let end = end.unwrap_or(size).min(size);
        let start = start.min(end);
        // Narrowed tensors without elements make candle panic where they are read.
        let is_empty = x.elem_count() == 0 || start == end;
        let places = start..end;
        return if is_empty {
            gather(x, axis, &places.collect::<Vec<_>>())
        } else {
            x.narrow(axis, start, end - start)
        };
    }
    let places: Vec<usize> = if step > 0 {
        (start..end.unwrap_or(size).min(size)).step_by(stride).collect()
    } else {
        let below = end.map_or(0, |end| end + 1);
        let above = size.min(start.saturating_add(1));
        (below..above).rev().step_by(stride).collect()
    };
    gather(x, axis, &places)
}

/// Adds `pads[axis] = [before, after]` on every axis; negative numbers crop.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use faithful_tensor::{PadMode, pad};
/// # fn main() -> candle_core::Result<()> {
/// let x = Tensor::new(&[1f32, 2., 3.], &Device::Cpu)?;
/// assert_eq!(pad(&x, &[[2, 0]], PadMode::Reflect)?.to_vec1::<f32>()?, [3., 2., 1., 2., 3.]);
/// assert_eq!(pad(&x, &[[-1, 1]], PadMode::Constant(9.))?.to_vec1::<f32>()?, [2., 3., 9.]);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// Where `pads` has not one entry per axis, more is cropped than there is, or reflection reaches beyond the interior.
pub fn pad(x: &Tensor, pads: &[[isize; 2]], mode: PadMode) -> Result<Tensor> {
    if pads.len() != x.rank() {
        bail!("pad: expected {} pairs for shape {:?}, got {}", x.rank(), x.dims(), pads.len());
    }
    let mut y = x.clone();
    for (axis, &[before, after]) in pads.iter().enumerate() {
        let size = y.dims()[axis];
        let crop = [before.min(0).unsigned_abs(), after.min(0).unsigned_abs()];
        let Some(left) = size.checked_sub(crop[0]).and_then(|size| size.checked_sub(crop[1])) else {
            bail!("pad: {pads:?} crops more than there is of {:?} (axis {axis})", x.dims())
        };
        if crop != [0, 0] {
            y = slice(&y, axis, crop[0], Some(crop[0] + left), 1)?;
        }
        let (before, after) = (before.max(0) as usize, after.max(0) as usize);
        if before == 0 && after == 0 {
            continue;
        }
        let range = -(before as isize)..(left + after) as isize;
        y = match mode {
            PadMode::Constant(value) => constant(&y, axis, before, after, value)?,
            PadMode::Edge if left == 0 => bail!("pad: axis {axis} of {:?} has no edge to repeat", y.dims()),
            PadMode::Edge => {
                let places: Vec<usize> = range.map(|place| place.clamp(0, left as isize - 1) as usize).collect();
                gather(&y, axis, &places)?
            }
            PadMode::Reflect if before.max(after) >= left => {
                bail!("pad: reflecting {pads:?} needs more pixels than shape {:?} has on axis {axis}", y.dims())
            }
            PadMode::Reflect => gather(&y, axis, &range.map(|place| reflect(place, left)).collect::<Vec<_>>())?,
        };
    }
    Ok(y)
}

fn constant(x: &Tensor, axis: usize, before: usize, after: usize, value: f64) -> Result<Tensor> {
    let filled = |count: usize| -> Result<Tensor> {
        let mut shape = x.dims().to_vec();
        shape[axis] = count;
        Tensor::full(value, shape, x.device())?.to_dtype(x.dtype())
    };
    // A GPU refuses to fill a tensor without elements.
    let some = |count: usize| (count > 0).then(|| filled(count)).transpose();
    let (before, after) = (some(before)?, some(after)?);
    let inside = (x.dims()[axis] > 0).then_some(x);
    let parts: Vec<&Tensor> = before.iter().chain(inside).chain(&after).collect();
    if parts.is_empty() { Ok(x.clone()) } else { concat(&parts, axis) }
}

/// Picks `index` along `axis`.
///
/// The gradients of a place that is picked several times add up.
///
/// # Errors
/// Where there is no such axis or an index is outside it.
pub fn gather(x: &Tensor, axis: usize, index: &[usize]) -> Result<Tensor> {
    let Some(&size) = x.dims().get(axis) else { bail!("gather: no axis {axis} in shape {:?}", x.dims()) };
    if let Some(outside) = index.iter().find(|&&place| place >= size) {
        bail!("gather: index {outside} is outside axis {axis} of shape {:?}", x.dims());
    }
    if is_half_on_cpu(x) {
        return gather(&widen(x)?, axis, index)?.to_dtype(x.dtype());
    }
    if !has_kernels(x) || !matches!(x.dtype(), DType::F32 | DType::F64) {
        return composed::select(x, axis, index);
    }
    let x = x.contiguous()?;
    let value = by_type!(x, gather_on_cpu(&x, axis, index))?;
    let index = index.to_vec();
    attach("gather", &[&x], value, move |backward| {
        let (x, gradient) = (&backward.arguments[0], backward.gradient);
        Ok(vec![Some(by_type!(x, gather_gradient_on_cpu(x, gradient, axis, &index))?)])
    })
}

fn gather_on_cpu<T: Real>(x: &Tensor, axis: usize, index: &[usize]) -> Result<Value> {
    let mut shape = x.dims().to_vec();
    let inner: usize = shape[axis + 1..].iter().product();
    let size = shape[axis];
    shape[axis] = index.len();
    let elements = Elements::of(x)?;
    let from = elements.slice::<T>()?;
    let mut y = vec![T::zero(); shape.iter().product()];
    if !y.is_empty() {
        y.par_chunks_mut(index.len() * inner).zip(from.par_chunks(size * inner)).for_each(|(y, x)| {
            for (y, &place) in y.chunks_mut(inner).zip(index) {
                y.copy_from_slice(&x[place * inner..][..inner]);
            }
        });
    }
    Ok(Value::new(y, shape))
}

fn gather_gradient_on_cpu<T: Real>(x: &Tensor, gradient: &Tensor, axis: usize, index: &[usize]) -> Result<Tensor> {
    let inner: usize = x.dims()[axis + 1..].iter().product();
    let size = x.dims()[axis];
    let elements = Elements::of(gradient)?;
    let gradient = elements.slice::<T>()?;
    let mut dx = vec![T::zero(); x.elem_count()];
    if !gradient.is_empty() {
        let runs = gradient.par_chunks(index.len() * inner);
        dx.par_chunks_mut(size * inner).zip(runs).for_each(|(dx, gradient)| {
            for (gradient, &place) in gradient.chunks(inner).zip(index) {
                for (dx, &gradient) in dx[place * inner..][..inner].iter_mut().zip(gradient) {
                    *dx += gradient;
                }
            }
        });
    }
    Ok(Value::new(dx, x.shape().clone()).into_tensor())
}
