use crate::onnx::call::Call;
use crate::onnx::import::{Importer, small};
use crate::onnx::tensor::{self, element};
use crate::onnx::value::{Integers, Size, Value};
use crate::op::choice::Truth;
use crate::{Dim, Op};
use candle_core::{Device, Tensor};
use faithful_core::Result;
use faithful_tensor::{Binary, Unary};

/// Floats stay floats of the network's type; whole numbers and floats change into each other where they are known.
pub(super) fn cast(importer: &mut Importer, call: &Call) -> Result<Vec<Value>> {
    let x = call.required(0)?;
    let to_float = if call.node.op_type == "Cast" {
        element::is_float(call.integer("to", 0) as i32)
    } else {
        !matches!(call.operand(1), Value::Integers(_))
    };
    let to_bool = call.node.op_type == "Cast" && call.integer("to", 0) == i64::from(element::BOOL);
    Ok(vec![match (x, to_float) {
        (Value::Integers(whole), true) if whole.fixed().is_some() => importer.floats(&Value::Integers(whole))?,
        // The batch stays what it is: shapes are computed in floats by some exporters.
        (Value::Integers(whole), false) if to_bool => {
            let bit = |size: &Size| Size::from(i64::from(*size != Size::from(0)));
            Value::Integers(Integers { shape: whole.shape.clone(), values: whole.values.iter().map(bit).collect() })
        }
        (Value::Integers(whole), _) => Value::Integers(whole),
        (Value::Constant(tensor), false) => {
            small(&call.name, tensor.dims())?;
            let floats: Vec<f32> = tensor.flatten_all()?.to_vec1()?;
            let whole = floats.iter().map(|&value| if to_bool { i64::from(value != 0.0) } else { value as i64 });
            Value::Integers(Integers::known(tensor.dims().to_vec(), whole.collect()))
        }
        (x @ Value::Node(_), false) if to_bool => return super::truth::hold(importer, call, Truth::Set, &[x]),
        (x @ Value::Node(_), false) => truncated(importer, &call.name, x)?,
        (x, _) => importer.emit(&call.name, Op::Identity, &[x])?,
    }])
}

/// `x` without what stands behind the point, as a number; its gradient is zero.
pub(super) fn truncated(importer: &mut Importer, of: &str, x: Value) -> Result<Value> {
    let name = |part: &str| format!("{of}/{part}");
    let size = importer.emit(&name("size"), Op::Unary(Unary::Abs), std::slice::from_ref(&x))?;
    let whole = importer.emit(&name("whole"), Op::Unary(Unary::Floor), &[size])?;
    let sign = importer.emit(&name("sign"), Op::Unary(Unary::Sign), &[x])?;
    importer.emit(of, Op::Binary(Binary::Mul), &[whole, sign])
}

/// `Identity`, and `Dropout` in evaluation mode.
pub(super) fn identity(importer: &mut Importer, call: &Call) -> Result<Vec<Value>> {
    if call.node.op_type == "Dropout" && call.gives(1) {
        return Err(call.unsupported("its second output, the mask"));
    }
    let x = call.required(0)?;
    Ok(vec![importer.emit(&call.name, Op::Identity, &[x])?])
}

pub(super) fn constant(importer: &mut Importer, call: &Call) -> Result<Vec<Value>> {
    if let Some(stored) = call.tensor("value") {
        return Ok(vec![tensor::read(stored, &importer.external)?]);
    }
    let floats = |values: &[f32]| -> Result<Value> {
        Ok(Value::Constant(Tensor::from_slice(values, values.len(), &Device::Cpu)?))
    };
    Ok(vec![if let Some(value) = call.optional_float("value_float") {
        super::scalar(value)?
    } else if let Some(values) = call.floats("value_floats") {
        floats(values)?
    } else if let Some(value) = call.optional_integer("value_int") {
        Value::Integers(Integers::scalar(Size::from(value)))
    } else if let Some(values) = call.integers("value_ints") {
        Value::Integers(Integers::known(vec![values.len()], values.to_vec()))
    } else {
        return Err(call.unsupported("a value that is neither numbers nor a tensor"));
    }])
}

pub(super) fn of_shape(importer: &mut Importer, call: &Call) -> Result<Vec<Value>> {
    let goal = call.optional_integers(0)?.ok_or_else(|| call.damaged("it has no shape"))?;
    let value = match call.tensor("value") {
        Some(stored) => tensor::read(stored, &importer.external)?,
        None => super::scalar(0.0)?,
    };
    let dims = super::shaping::stored(call, &goal.values)?;
    let depends = dims.iter().any(|dim| matches!(dim, Dim::Batch | Dim::Times(_)));
    // The value has one element, in an axis of its own.
    let value = match value {
        Value::Integers(whole) if whole.values.len() == 1 => {
            let shape: Option<Vec<usize>> =
                goal.values.iter().map(|size| size.fixed().and_then(|size| usize::try_from(size).ok())).collect();
            let shape = shape.ok_or_else(|| call.unsupported("as many integers as the batch has rows"))?;
            let count = small(&call.name, &shape)?;
            return Ok(vec![Value::Integers(Integers { shape, values: vec![whole.values[0]; count] })]);
        }
        Value::Constant(tensor) if tensor.elem_count() == 1 => {
            Value::Constant(tensor.reshape(vec![1; if depends { dims.len() } else { 0 }])?)
        }
        _ => return Err(call.damaged("its value is not one number")),
    };
    Ok(vec![importer.emit(&call.name, Op::Expand(dims), &[value])?])
}

pub(super) fn range(_: &mut Importer, call: &Call) -> Result<Vec<Value>> {
    if let (Value::Constant(_), _) | (_, Value::Constant(_)) = (call.operand(0), call.operand(2)) {
        let number = |index: usize| -> Result<f64> {
            let values = call.weight(index)?.flatten_all()?.to_vec1::<f32>()?;
            values.first().map(|&value| f64::from(value)).ok_or_else(|| call.damaged("an empty bound"))
        };
        let (start, limit, step) = (number(0)?, number(1)?, number(2)?);
        let count = ((limit - start) / step).ceil().max(0.0);
        if !count.is_finite() {
            return Err(call.damaged(format!("from {start} to {limit} by {step}")));
        }
        let count = small(&call.name, &[count as usize])?;
        let values: Vec<f32> = (0..count).map(|i| (start + step * i as f64) as f32).collect();
        return Ok(vec![Value::Constant(Tensor::from_vec(values, count, &Device::Cpu)?)]);
    }
    let number = |index: usize| -> Result<i64> {
        let first = call.optional_fixed(index)?.and_then(|values| values.first().copied());
        first.ok_or_else(|| call.damaged(format!("operand {index} is missing")))
    };
    let (start, limit, step) = (number(0)?, number(1)?, number(2)?);
    let span = i128::from(limit) - i128::from(start);
    if step == 0 {
        return Err(call.damaged("a step of 0"));
    }
    let count =
        if (span < 0) == (step < 0) { span.unsigned_abs().div_ceil(u128::from(step.unsigned_abs())) } else { 0 };
    let count = small(&call.name, &[usize::try_from(count).unwrap_or(usize::MAX)])?;
    let values: Vec<i64> = (0..count as i64).map(|i| start.wrapping_add(step.wrapping_mul(i))).collect();
    Ok(vec![Value::Integers(Integers::known(vec![count], values))])
}

pub(super) fn shape(importer: &mut Importer, call: &Call) -> Result<Vec<Value>> {
    let sizes = importer.sizes(&call.required(0)?)?;
    let rank = sizes.len() as i64;
    let place = |name: &str, default: i64| -> usize {
        let value = call.integer(name, default);
        let counted = if value < 0 { value.saturating_add(rank) } else { value };
        counted.clamp(0, rank) as usize
    };
    let (start, end) = (place("start", 0), place("end", rank));
    Ok(vec![Value::Integers(Integers::list(sizes.get(start..end).unwrap_or_default().to_vec()))])
}

pub(super) fn size(importer: &mut Importer, call: &Call) -> Result<Vec<Value>> {
    let sizes = importer.sizes(&call.required(0)?)?;
    let count = sizes.into_iter().try_fold(Size::from(1), Size::multiply);
    let count = count.ok_or_else(|| call.unsupported("a size that is not linear in the batch"))?;
    Ok(vec![Value::Integers(Integers::scalar(count))])
}
