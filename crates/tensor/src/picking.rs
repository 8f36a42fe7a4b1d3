//! Values at places that other values name.

use crate::function::{Value, attach};
use candle_core::{DType, Result, Tensor, bail};
use rayon::prelude::*;

/// What `x` has along `axis` at the places that `index` names; negative ones count from the end.
///
/// The other axes broadcast. Gradients go to `x` alone, and add up where a place is named twice.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use faithful_tensor::gather_elements;
/// # fn main() -> candle_core::Result<()> {
/// let x = Tensor::new(&[[1f32, 2., 3.], [4., 5., 6.]], &Device::Cpu)?;
/// let index = Tensor::new(&[[2f32, 0.], [-1., 1.]], &Device::Cpu)?;
/// assert_eq!(gather_elements(&x, &index, 1)?.to_vec2::<f32>()?, [[3., 1.], [6., 5.]]);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// Where there is no such axis, the other axes do not broadcast, or a place is outside the axis.
pub fn gather_elements(x: &Tensor, index: &Tensor, axis: usize) -> Result<Tensor> {
    let (dims, places) = (x.dims(), index.dims());
    let fits = |other: usize| other == axis || dims[other] == places[other] || dims[other] == 1 || places[other] == 1;
    if dims.len() != places.len() || axis >= dims.len() || !(0..dims.len()).all(fits) {
        bail!("gather_elements: places of shape {places:?} along axis {axis} of shape {dims:?}");
    }
    let shape = |own: &[usize]| -> Vec<usize> {
        (0..dims.len()).map(|at| if at == axis { own[at] } else { dims[at].max(places[at]) }).collect()
    };
    let x = x.broadcast_as(shape(dims))?.contiguous()?;
    let index = index.detach().broadcast_as(shape(places))?;
    let index = counted(&index.contiguous()?, dims[axis])?;
    let value = x.detach().gather(&index, axis)?;
    attach("gather_elements", &[&x], Value::Device(value), move |backward| {
        let zeros = backward.arguments[0].zeros_like()?;
        Ok(vec![Some(zeros.scatter_add(&index, backward.gradient, axis)?)])
    })
}

/// Places on an axis of `size`, counted from its start.
fn counted(index: &Tensor, size: usize) -> Result<Tensor> {
    let numbers: Vec<f64> = index.to_dtype(DType::F64)?.flatten_all()?.to_vec1()?;
    let count = |number: &f64| {
        let place = if *number < 0.0 { number + size as f64 } else { *number };
        if (0.0..size as f64).contains(&place) { Ok(place as u32) } else { Err(*number) }
    };
    match numbers.iter().map(count).collect::<std::result::Result<Vec<u32>, f64>>() {
        Ok(places) => Tensor::from_vec(places, index.dims(), index.device()),
        Err(outside) => bail!("gather_elements: place {outside} is outside an axis of size {size}"),
    }
}

/// The places of the `count` highest values along `axis` (the lowest, where `lowest` says so), the best first; of equal
/// values the one with the lower place. They have no gradient.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use faithful_tensor::top_places;
/// # fn main() -> candle_core::Result<()> {
/// let x = Tensor::new(&[1f32, 7., 3., 7.], &Device::Cpu)?;
/// assert_eq!(top_places(&x, 0, 3, false)?.to_vec1::<f32>()?, [1., 3., 2.]);
/// assert_eq!(top_places(&x, 0, 1, true)?.to_vec1::<f32>()?, [0.]);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// Where there is no such axis, or fewer values along it.
pub fn top_places(x: &Tensor, axis: usize, count: usize, lowest: bool) -> Result<Tensor> {
    let Some(&size) = x.dims().get(axis).filter(|size| count <= **size) else {
        bail!("top_places: {count} values along axis {axis} of shape {:?}", x.dims())
    };
    let last = x.rank() - 1;
    let rows = x.detach().transpose(axis, last)?.contiguous()?;
    let mut shape = rows.dims().to_vec();
    shape[last] = count;
    let values: Vec<f64> = rows.to_dtype(DType::F64)?.flatten_all()?.to_vec1()?;
    // An axis without places has no rows either.
    let places: Vec<Vec<f64>> = values.par_chunks(size.max(1)).map(|row| best(row, count, lowest)).collect();
    let places = Tensor::from_vec(places.concat(), shape, x.device())?;
    places.transpose(axis, last)?.contiguous()?.to_dtype(x.dtype())
}

fn best(row: &[f64], count: usize, lowest: bool) -> Vec<f64> {
    let mut places: Vec<usize> = (0..row.len()).collect();
    // Zeros of either sign are equal.
    let value = |place: usize| row[place] + 0.0;
    places.sort_by(|&a, &b| {
        let order = value(a).total_cmp(&value(b));
        if lowest { order } else { order.reverse() }
    });
    places.into_iter().take(count).map(|place| place as f64).collect()
}
