//! Values that are picked, or put, by their places.

use super::slicing::fixed_size;
use crate::onnx::call::Call;
use crate::onnx::import::Importer;
use crate::onnx::value::{Integers, Value};
use crate::{Dim, Op};
use candle_core::{Device, Tensor};
use faithful_core::Result;

pub(super) fn gather(importer: &mut Importer, call: &Call) -> Result<Vec<Value>> {
    let x = call.required(0)?;
    let sizes = importer.sizes(&x)?;
    let axis = call.axis(call.integer("axis", 0), sizes.len())?;
    let size = fixed_size(call, sizes[axis])? as i64;
    let index = call.optional_integers(1)?.ok_or_else(|| call.damaged("it has no indices"))?;
    let fixed = index.fixed().ok_or_else(|| call.unsupported("indices that depend on the size of the batch"))?;
    let mut places = Vec::with_capacity(fixed.len());
    for number in fixed {
        let counted = if number < 0 { number.saturating_add(size) } else { number };
        if !(0..size).contains(&counted) {
            return Err(call.damaged(format!("index {number} on an axis of size {size}")));
        }
        places.push(counted as usize);
    }
    let gathered = |index: Vec<usize>| Op::Gather { axis, index };
    if index.shape.len() == 1 {
        return Ok(vec![importer.emit(&call.name, gathered(places), &[x])?]);
    }
    let y = importer.emit(&format!("{}/gather", call.name), gathered(places), &[x])?;
    let op = if index.shape.is_empty() {
        Op::Squeeze(vec![axis])
    } else {
        let new = index.shape.iter().map(|&size| Dim::Fixed(size));
        Op::Reshape((0..axis).map(Dim::Same).chain(new).chain((axis + 1..sizes.len()).map(Dim::Same)).collect())
    };
    Ok(vec![importer.emit(&call.name, op, &[y])?])
}

/// `GatherND` along the first axes, as dynamo's exporter writes indices.
pub(super) fn gather_nd(importer: &mut Importer, call: &Call) -> Result<Vec<Value>> {
    let mut x = call.required(0)?;
    let index = call.optional_integers(1)?.ok_or_else(|| call.damaged("it has no indices"))?;
    if call.integer("batch_dims", 0) != 0 {
        return Err(call.unsupported("indices of each row of a batch"));
    }
    let sizes = importer.sizes(&x)?;
    let Some((&depth, shape)) = index.shape.split_last().filter(|(depth, _)| (1..=sizes.len()).contains(*depth)) else {
        return Err(call.damaged(format!("indices of the shape {:?} for {} axes", index.shape, sizes.len())));
    };
    let dims = sizes[..depth].iter().map(|size| fixed_size(call, *size)).collect::<Result<Vec<_>>>()?;
    let fixed = index.fixed().ok_or_else(|| call.unsupported("indices that depend on the size of the batch"))?;
    let places: Option<Vec<usize>> = fixed.chunks(depth).map(|numbers| place_of(numbers, &dims)).collect();
    let places = places.ok_or_else(|| call.damaged(format!("an index outside axes of the sizes {dims:?}")))?;
    if depth > 1 {
        let rest = (depth..sizes.len()).map(Dim::Same);
        let flat = [Dim::Fixed(dims.iter().product())].into_iter().chain(rest).collect();
        x = importer.emit(&format!("{}/flat", call.name), Op::Reshape(flat), &[x])?;
    }
    let gather = Op::Gather { axis: 0, index: places };
    if let [_] = shape {
        return Ok(vec![importer.emit(&call.name, gather, &[x])?]);
    }
    x = importer.emit(&format!("{}/gather", call.name), gather, &[x])?;
    let rest = (1..=sizes.len() - depth).map(Dim::Same);
    let shape = shape.iter().map(|&size| Dim::Fixed(size)).chain(rest).collect();
    Ok(vec![importer.emit(&call.name, Op::Reshape(shape), &[x])?])
}

/// The place of an index among all that `dims` have, row by row; `None` outside of them.
fn place_of(index: &[i64], dims: &[usize]) -> Option<usize> {
    index.iter().zip(dims).try_fold(0, |place, (&number, &size)| {
        let counted = if number < 0 { number.checked_add(size as i64)? } else { number };
        let counted = usize::try_from(counted).ok().filter(|counted| *counted < size)?;
        Some(place * size + counted)
    })
}

/// `ScatterND` among constants, as exporters write the windows' mask of Swin: an assignment to part of a tensor.
pub(super) fn scatter_nd(importer: &mut Importer, call: &Call) -> Result<Vec<Value>> {
    if call.text("reduction", "none") != "none" {
        return Err(call.unsupported("with a reduction"));
    }
    let (data, updates) = (call.required(0)?, call.required(2)?);
    if matches!((&data, &updates), (Value::Node(_), _) | (_, Value::Node(_))) {
        return Err(call.unsupported("on a value that depends on the input"));
    }
    let index = call.optional_integers(1)?.ok_or_else(|| call.damaged("it has no indices"))?;
    let fixed = index.fixed().ok_or_else(|| call.unsupported("indices that depend on the size of the batch"))?;
    let sizes = importer.sizes(&data)?;
    let dims = sizes.iter().map(|size| fixed_size(call, *size)).collect::<Result<Vec<_>>>()?;
    let depth = index.shape.last().copied().unwrap_or(0);
    if depth == 0 || depth > dims.len() {
        return Err(call.damaged(format!("indices of {depth} numbers for {} axes", dims.len())));
    }
    let part: usize = dims[depth..].iter().product();
    // Where each update begins.
    let begin = |numbers: &[i64]| place_of(numbers, &dims).map(|place| place * part);
    let places: Option<Vec<usize>> = fixed.chunks(depth).map(begin).collect();
    let places = places.ok_or_else(|| call.damaged("an index outside its axis"))?;
    let scatter = |count: usize, assign: &mut dyn FnMut(usize, usize)| {
        if count != places.len() * part {
            return Err(call.damaged(format!("{count} updates for {} places", places.len() * part)));
        }
        for (update, place) in places.iter().enumerate() {
            (0..part).for_each(|offset| assign(place + offset, update * part + offset));
        }
        Ok(())
    };
    if let (Value::Integers(data), Value::Integers(updates)) = (&data, &updates) {
        let mut values = data.values.clone();
        scatter(updates.values.len(), &mut |to, from| values[to] = updates.values[from])?;
        return Ok(vec![Value::Integers(Integers { shape: dims, values })]);
    }
    let flat = |value: &Value| -> Result<Vec<f32>> {
        match importer.floats(value)? {
            Value::Constant(tensor) => Ok(tensor.flatten_all()?.to_vec1()?),
            _ => Err(call.unsupported("on a value that is not constant")),
        }
    };
    let (mut values, updates) = (flat(&data)?, flat(&updates)?);
    scatter(updates.len(), &mut |to, from| values[to] = updates[from])?;
    Ok(vec![Value::Constant(Tensor::from_vec(values, dims, &Device::Cpu)?)])
}
