//! Values that are picked, or put, by their places.

use super::slicing::fixed_size;
use crate::onnx::call::Call;
use crate::onnx::import::Importer;
use crate::onnx::value::Value;
use crate::{Dim, Op};
use faithful_core::Result;

pub(super) fn gather(importer: &mut Importer, call: &Call) -> Result<Vec<Value>> {
    let x = call.required(0)?;
    let sizes = importer.sizes(&x)?;
    let axis = call.axis(call.integer("axis", 0), sizes.len())?;
    let size = fixed_size(call, sizes[axis])? as i64;
    if let index @ Value::Node(_) = call.operand(1) {
        return super::picking::embedding(importer, call, &x, index);
    }
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
pub(super) fn place_of(index: &[i64], dims: &[usize]) -> Option<usize> {
    index.iter().zip(dims).try_fold(0, |place, (&number, &size)| {
        let counted = if number < 0 { number.checked_add(size as i64)? } else { number };
        let counted = usize::try_from(counted).ok().filter(|counted| *counted < size)?;
        Some(place * size + counted)
    })
}
