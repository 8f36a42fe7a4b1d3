use crate::Op;
use crate::onnx::call::Call;
use crate::onnx::import::Importer;
use crate::onnx::value::{Size, Value};
use candle_core::Tensor;
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

pub(super) fn fixed_size(call: &Call, size: Size) -> Result<usize> {
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

/// `ReverseSequence`, as tf2onnx writes what goes through a series backwards: the same length for all rows.
pub(super) fn reverse_sequence(importer: &mut Importer, call: &Call) -> Result<Vec<Value>> {
    let x = call.required(0)?;
    let sizes = importer.sizes(&x)?;
    let axis = call.axis(call.integer("time_axis", 0), sizes.len())?;
    let size = fixed_size(call, sizes[axis])?;
    let lengths = call.optional_integers(1)?.ok_or_else(|| call.damaged("it has no lengths"))?;
    let lengths = lengths.fixed().ok_or_else(|| call.unsupported("lengths that depend on the size of the batch"))?;
    let first = lengths.first().copied().unwrap_or(0);
    if lengths.iter().any(|length| *length != first) {
        return Err(call.unsupported("rows of several lengths"));
    }
    let length = usize::try_from(first).ok().filter(|length| (1..=size).contains(length));
    let length = length.ok_or_else(|| call.damaged(format!("a length of {first} on an axis of size {size}")))?;
    let reversed = Op::Slice { axis, start: length - 1, end: None, step: -1 };
    if length == size {
        return Ok(vec![importer.emit(&call.name, reversed, &[x])?]);
    }
    let begin = importer.emit(&format!("{}/reversed", call.name), reversed, std::slice::from_ref(&x))?;
    let rest = Op::Slice { axis, start: length, end: None, step: 1 };
    let rest = importer.emit(&format!("{}/rest", call.name), rest, &[x])?;
    Ok(vec![importer.emit(&call.name, Op::Concat { axis }, &[begin, rest])?])
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
        "wrap" => return wrapped(importer, call, x, &around),
        other => return Err(call.unsupported(format!("mode {other}"))),
    };
    let nothing = around.iter().all(|pads| *pads == [0, 0]);
    let op = if nothing { Op::Identity } else { Op::Pad { pads: around, mode } };
    Ok(vec![importer.emit(&call.name, op, &[x])?])
}

/// A border that goes on at the other side: what stands there, before and behind.
fn wrapped(importer: &mut Importer, call: &Call, x: Value, around: &[[isize; 2]]) -> Result<Vec<Value>> {
    let sizes = importer.sizes(&x)?;
    let mut wrapped = x;
    for (axis, &[before, behind]) in around.iter().enumerate().filter(|(_, pads)| **pads != [0, 0]) {
        let size = fixed_size(call, sizes[axis])?;
        let width = |pad: isize| usize::try_from(pad).ok().filter(|pad| *pad <= size);
        let (Some(before), Some(behind)) = (width(before), width(behind)) else {
            return Err(call.unsupported("a wrapped border that is negative or wider than the value"));
        };
        let mut parts = vec![wrapped.clone()];
        if before > 0 {
            let op = Op::Slice { axis, start: size - before, end: None, step: 1 };
            parts
                .insert(0, importer.emit(&format!("{}/{axis}/before", call.name), op, std::slice::from_ref(&wrapped))?);
        }
        if behind > 0 {
            let op = Op::Slice { axis, start: 0, end: Some(behind), step: 1 };
            parts.push(importer.emit(&format!("{}/{axis}/behind", call.name), op, std::slice::from_ref(&wrapped))?);
        }
        wrapped = importer.emit(&format!("{}/{axis}", call.name), Op::Concat { axis }, &parts)?;
    }
    Ok(vec![importer.emit(&call.name, Op::Identity, &[wrapped])?])
}
