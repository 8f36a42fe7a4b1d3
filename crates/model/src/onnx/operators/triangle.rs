//! Operators that are a triangle or a diagonal of ones: `CumSum`, `EyeLike`, `Trilu`.

use crate::Op;
use crate::onnx::call::Call;
use crate::onnx::import::{Importer, small};
use crate::onnx::tensor::element;
use crate::onnx::value::{Integers, Size, Value};
use candle_core::{Device, Tensor};
use faithful_core::Result;
use faithful_tensor::Binary;

/// The sums up to each place of an axis: a product with a triangle of ones.
pub(super) fn cumulative_sum(importer: &mut Importer, call: &Call) -> Result<Vec<Value>> {
    let x = call.required(0)?;
    let sizes = importer.sizes(&x)?;
    let axis = match call.operand(1) {
        Value::Constant(axis) if axis.elem_count() == 1 => axis.flatten_all()?.to_vec1::<f32>()?[0] as i64,
        _ => call.optional_fixed(1)?.and_then(|axes| axes.first().copied()).ok_or_else(|| call.damaged("no axis"))?,
    };
    let axis = call.axis(axis, sizes.len())?;
    let (exclusive, reverse) = (call.integer("exclusive", 0) != 0, call.integer("reverse", 0) != 0);
    let counts = |from: usize, to: usize| {
        let (from, to) = if reverse { (to, from) } else { (from, to) };
        from < to || (from == to && !exclusive)
    };
    if let Value::Integers(whole) = &x {
        return sums(call, whole, axis, &counts).map(|sums| vec![Value::Integers(sums)]);
    }
    let size = sizes[axis].fixed().and_then(|size| usize::try_from(size).ok());
    let size = size.ok_or_else(|| call.unsupported("along the batch"))?;
    small(&call.name, &[size, size])?;
    let ones = (0..size).flat_map(|to| (0..size).map(move |from| (from, to)));
    let weight: Vec<f32> = ones.map(|(from, to)| f32::from(u8::from(counts(from, to)))).collect();
    let weight = Tensor::from_vec(weight, (size, size), &Device::Cpu)?;
    let op = Op::Linear { weight, bias: None };
    if axis + 1 == sizes.len() {
        return Ok(vec![importer.emit(&call.name, op, &[x])?]);
    }
    let mut order: Vec<usize> = (0..sizes.len()).collect();
    order.swap(axis, sizes.len() - 1);
    let last = importer.emit(&format!("{}/last", call.name), Op::Transpose(order.clone()), &[x])?;
    let sums = importer.emit(&format!("{}/sums", call.name), op, &[last])?;
    Ok(vec![importer.emit(&call.name, Op::Transpose(order), &[sums])?])
}

/// The sums of whole numbers along `axis`.
fn sums(call: &Call, x: &Integers, axis: usize, counts: &dyn Fn(usize, usize) -> bool) -> Result<Integers> {
    let size = x.shape[axis];
    if size > 1 << 12 {
        return Err(call.unsupported(format!("{size} whole numbers")));
    }
    let behind: usize = x.shape[axis + 1..].iter().product();
    let value = |place: usize| {
        let (inner, to, outer) = (place % behind, place / behind % size, place / behind / size);
        let from =
            (0..size).filter(|&from| counts(from, to)).map(|from| x.values[(outer * size + from) * behind + inner]);
        from.into_iter().try_fold(Size::from(0), Size::add)
    };
    let values: Option<Vec<Size>> = (0..x.values.len()).map(value).collect();
    let values = values.ok_or_else(|| call.unsupported("sums that are too large"))?;
    Ok(Integers { shape: x.shape.clone(), values })
}

/// Ones on a diagonal of a matrix of the operand's shape.
pub(super) fn eye_like(importer: &mut Importer, call: &Call) -> Result<Vec<Value>> {
    let x = call.required(0)?;
    let sizes = importer.sizes(&x)?;
    let dims: Option<Vec<usize>> =
        sizes.iter().map(|size| size.fixed().and_then(|size| usize::try_from(size).ok())).collect();
    let dims = dims.ok_or_else(|| call.unsupported("of the shape of the batch"))?;
    let &[rows, columns] = dims.as_slice() else {
        return Err(call.damaged(format!("an operand of {} axes", dims.len())));
    };
    let count = small(&call.name, &dims)?;
    let shift = call.integer("k", 0);
    let one = |place: usize| (place / columns.max(1)) as i64 + shift == (place % columns.max(1)) as i64;
    let kind = call.optional_integer("dtype");
    let floats = kind.map_or(!matches!(x, Value::Integers(_)), |kind| element::is_float(kind as i32));
    Ok(vec![if floats {
        let values: Vec<f32> = (0..count).map(|place| f32::from(u8::from(one(place)))).collect();
        Value::Constant(Tensor::from_vec(values, (rows, columns), &Device::Cpu)?)
    } else {
        Value::Integers(Integers::known(dims.clone(), (0..count).map(|place| i64::from(one(place))).collect()))
    }])
}

/// The upper or lower triangle of the last two axes, zeros elsewhere.
pub(super) fn triangle(importer: &mut Importer, call: &Call) -> Result<Vec<Value>> {
    let x = call.required(0)?;
    let sizes = importer.sizes(&x)?;
    let upper = call.integer("upper", 1) != 0;
    let shift = call.optional_fixed(1)?.and_then(|values| values.first().copied()).unwrap_or(0);
    let fixed = |place: usize| {
        let axis = sizes.len().checked_sub(place)?;
        sizes[axis].fixed().and_then(|size| usize::try_from(size).ok())
    };
    let (rows, columns) = fixed(2).zip(fixed(1)).ok_or_else(|| call.unsupported("of axes that are not fixed"))?;
    small(&call.name, &[rows, columns])?;
    let kept = |row: usize, column: usize| {
        let distance = column as i64 - row as i64;
        if upper { distance >= shift } else { distance <= shift }
    };
    if let Value::Integers(whole) = &x {
        let plane = (rows * columns).max(1);
        let value = |(place, value): (usize, &Size)| {
            let place = place % plane;
            if kept(place / columns, place % columns) { *value } else { Size::from(0) }
        };
        let values = whole.values.iter().enumerate().map(value).collect();
        return Ok(vec![Value::Integers(Integers { shape: whole.shape.clone(), values })]);
    }
    let places = (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column)));
    let mask: Vec<f32> = places.map(|(row, column)| f32::from(u8::from(kept(row, column)))).collect();
    let mask = Value::Constant(Tensor::from_vec(mask, (rows, columns), &Device::Cpu)?);
    if let Value::Constant(_) = x {
        // Minus infinity may stand in what is left out.
        let choose = Op::composed(crate::op::choice::Choose);
        return Ok(vec![importer.emit(&call.name, choose, &[mask, x, super::scalar(0.0)?])?]);
    }
    Ok(vec![importer.emit(&call.name, Op::Binary(Binary::Mul), &[x, mask])?])
}
