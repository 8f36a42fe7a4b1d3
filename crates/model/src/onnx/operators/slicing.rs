use crate::onnx::call::Call;
use crate::onnx::import::Importer;
use crate::onnx::value::{Integers, Size, Value};
use crate::{Dim, Op};
use candle_core::{Device, Tensor};
use faithful_core::Result;
use faithful_tensor::PadMode;

pub(super) fn concat(importer: &mut Importer, call: &Call) -> Result<Vec<Value>> {
    let operands = &call.operands;
    let Some(first) = operands.first() else { return Err(call.damaged("no operands")) };
    let axis = call.axis(call.integer("axis", 0), importer.rank(first)?)?;
    if let [one] = operands.as_slice() {
        return Ok(vec![importer.emit(&call.name, Op::Identity, std::slice::from_ref(one))?]);
    }
    Ok(vec![importer.emit(&call.name, Op::Concat { axis }, operands)?])
}

pub(super) fn split(importer: &mut Importer, call: &Call) -> Result<Vec<Value>> {
    let x = call.required(0)?;
    let sizes = importer.sizes(&x)?;
    let axis = call.axis(call.integer("axis", 0), sizes.len())?;
    let size = fixed_size(call, sizes[axis])?;
    let outputs = call.node.output.len();
    let parts: Vec<usize> = if let Some(parts) = call.fixed_or_attribute(1, "split")? {
        parts.iter().map(|&part| usize::try_from(part).unwrap_or(usize::MAX)).collect()
    } else {
        // Equal parts, the last of which may be smaller.
        let part = size.div_ceil(outputs.max(1));
        (0..outputs).map(|i| part.min(size.saturating_sub(i * part))).collect()
    };
    let whole = parts.iter().try_fold(0_usize, |sum, &part| sum.checked_add(part));
    if whole != Some(size) || parts.len() != outputs {
        return Err(call.damaged(format!("parts {parts:?} of an axis of size {size} for {outputs} outputs")));
    }
    let mut start = 0;
    let mut values = Vec::with_capacity(outputs);
    for (place, part) in parts.into_iter().enumerate() {
        let op = Op::Slice { axis, start, end: Some(start + part), step: 1 };
        let name = if place == 0 { call.name.clone() } else { format!("{}:{place}", call.name) };
        values.push(importer.emit(&name, op, std::slice::from_ref(&x))?);
        start += part;
    }
    Ok(values)
}

fn fixed_size(call: &Call, size: Size) -> Result<usize> {
    let fixed = size.fixed().and_then(|size| usize::try_from(size).ok());
    fixed.ok_or_else(|| call.unsupported("along the batch"))
}

pub(super) fn slice(importer: &mut Importer, call: &Call) -> Result<Vec<Value>> {
    let mut x = call.required(0)?;
    let sizes = importer.sizes(&x)?;
    let bound = |index: usize, name: &str| -> Result<Vec<Size>> {
        match call.optional_integers(index)? {
            Some(values) => Ok(values.values),
            None => Ok(call.integers(name).unwrap_or_default().iter().map(|&value| Size::from(value)).collect()),
        }
    };
    let (starts, ends) = (bound(1, "starts")?, bound(2, "ends")?);
    let axes = match call.fixed_or_attribute(3, "axes")? {
        Some(axes) => axes.iter().map(|&axis| call.axis(axis, sizes.len())).collect::<Result<Vec<_>>>()?,
        None => (0..starts.len()).collect(),
    };
    let steps = call.optional_fixed(4)?.unwrap_or_else(|| vec![1; starts.len()]);
    let count = starts.len();
    if ends.len() != count || axes.len() != count || steps.len() != count || axes.iter().any(|&a| a >= sizes.len()) {
        return Err(call.damaged("starts, ends, axes and steps differ in number"));
    }
    let mut cuts = Vec::new();
    for place in 0..count {
        let (axis, step) = (axes[place], steps[place]);
        let whole = sizes[axis];
        let all_rows = starts[place].fixed() == Some(0)
            && step == 1
            && (ends[place] == whole || ends[place].fixed().is_some_and(|end| end >= i64::from(i32::MAX)));
        if whole.batches != 0 {
            if all_rows {
                continue;
            }
            return Err(call.unsupported("along the batch"));
        }
        let size = fixed_size(call, whole)? as i64;
        let (Some(start), Some(end)) = (starts[place].fixed(), ends[place].fixed()) else {
            return Err(call.unsupported("bounds that depend on the size of the batch"));
        };
        let counted = |value: i64| if value < 0 { value.saturating_add(size) } else { value };
        let cut = match step {
            0 => return Err(call.damaged("a step of 0")),
            1.. => {
                let start = counted(start).clamp(0, size);
                let end = counted(end).clamp(start, size);
                if start == 0 && end == size && step == 1 {
                    continue;
                }
                // An open end stays open, so that other input sizes work.
                let end = (end < size || end == start).then_some(end as usize);
                Op::Slice { axis, start: start as usize, end, step: step as isize }
            }
            _ => {
                let start = counted(start).clamp(-1, size - 1);
                let end = counted(end).clamp(-1, size - 1);
                let stop = if end < 0 { None } else { Some(end as usize) };
                if start <= end {
                    Op::Slice { axis, start: 0, end: Some(0), step: 1 }
                } else {
                    Op::Slice { axis, start: start as usize, end: stop, step: step as isize }
                }
            }
        };
        cuts.push(cut);
    }
    if cuts.is_empty() {
        return Ok(vec![importer.emit(&call.name, Op::Identity, &[x])?]);
    }
    let last = cuts.len() - 1;
    for (place, cut) in cuts.into_iter().enumerate() {
        let name = if place == last { call.name.clone() } else { format!("{}/{place}", call.name) };
        x = importer.emit(&name, cut, &[x])?;
    }
    Ok(vec![x])
}

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

/// `GatherND` along one axis, as dynamo's exporter writes an index.
pub(super) fn gather_nd(importer: &mut Importer, call: &Call) -> Result<Vec<Value>> {
    let x = call.required(0)?;
    let index = call.optional_integers(1)?.ok_or_else(|| call.damaged("it has no indices"))?;
    if index.shape.len() != 2 || index.shape[1] != 1 || call.integer("batch_dims", 0) != 0 {
        return Err(call.unsupported("indices along several axes"));
    }
    let sizes = importer.sizes(&x)?;
    let size = fixed_size(call, sizes.first().copied().unwrap_or(Size::from(0)))? as i64;
    let fixed = index.fixed().ok_or_else(|| call.unsupported("indices that depend on the size of the batch"))?;
    let place = |number: i64| {
        let counted = if number < 0 { number.saturating_add(size) } else { number };
        (0..size).contains(&counted).then_some(counted as usize)
    };
    let places: Option<Vec<usize>> = fixed.into_iter().map(place).collect();
    let index = places.ok_or_else(|| call.damaged(format!("an index outside an axis of size {size}")))?;
    Ok(vec![importer.emit(&call.name, Op::Gather { axis: 0, index }, &[x])?])
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
    let begin = |numbers: &[i64]| {
        let place = numbers.iter().zip(&dims).try_fold(0, |place, (&number, &size)| {
            let counted = if number < 0 { number.checked_add(size as i64)? } else { number };
            let counted = usize::try_from(counted).ok().filter(|counted| *counted < size)?;
            Some(place * size + counted)
        });
        place.map(|place| place * part)
    };
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

pub(super) fn pad(importer: &mut Importer, call: &Call) -> Result<Vec<Value>> {
    let x = call.required(0)?;
    let rank = importer.rank(&x)?;
    let pads = call.fixed_or_attribute(1, "pads")?.or_else(|| call.integers("paddings").map(<[i64]>::to_vec));
    let pads = pads.ok_or_else(|| call.damaged("it has no pads"))?;
    let axes = match call.optional_fixed(3)? {
        Some(axes) => axes.iter().map(|&axis| call.axis(axis, rank)).collect::<Result<Vec<_>>>()?,
        None => (0..rank).collect(),
    };
    if pads.len() != 2 * axes.len() || pads.iter().any(|pad| pad.unsigned_abs() > 1 << 20) {
        return Err(call.damaged(format!("pads {pads:?} for {} axes", axes.len())));
    }
    let mut around = vec![[0_isize; 2]; rank];
    for (place, &axis) in axes.iter().enumerate() {
        around[axis] = [pads[place] as isize, pads[axes.len() + place] as isize];
    }
    let mode = match call.text("mode", "constant").as_str() {
        "constant" => PadMode::Constant(match call.operand(2) {
            Value::Absent => call.float("value", 0.0),
            Value::Integers(_) => {
                call.optional_fixed(2)?.and_then(|values| values.first().copied()).unwrap_or(0) as f64
            }
            _ => {
                let value: Tensor = call.weight(2)?;
                f64::from(value.flatten_all()?.to_vec1::<f32>()?.first().copied().unwrap_or(0.0))
            }
        }),
        "reflect" => PadMode::Reflect,
        "edge" => PadMode::Edge,
        other => return Err(call.unsupported(format!("mode {other}"))),
    };
    let nothing = around.iter().all(|pads| *pads == [0, 0]);
    let op = if nothing { Op::Identity } else { Op::Pad { pads: around, mode } };
    Ok(vec![importer.emit(&call.name, op, &[x])?])
}
