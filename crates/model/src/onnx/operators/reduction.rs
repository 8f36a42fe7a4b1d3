use super::slicing::fixed_size;
use crate::Op;
use crate::onnx::call::Call;
use crate::onnx::import::Importer;
use crate::onnx::value::{Integers, Size, Value};
use crate::op::highest::Highest;
use faithful_core::Result;
use faithful_tensor::{Binary, Reduction};

pub(super) fn reduce(importer: &mut Importer, call: &Call) -> Result<Vec<Value>> {
    let x = call.required(0)?;
    let rank = importer.rank(&x)?;
    let keep = call.integer("keepdims", 1) != 0;
    let given = call.fixed_or_attribute(1, "axes")?.filter(|axes| !axes.is_empty());
    if given.is_none() && call.integer("noop_with_empty_axes", 0) != 0 {
        return Ok(vec![importer.emit(&call.name, Op::Identity, &[x])?]);
    }
    let axes = match given {
        Some(axes) => call.axes(&axes, rank)?,
        None => (0..rank).collect(),
    };
    if let Value::Integers(whole) = &x {
        return whole_numbers(call, whole, &axes, keep).map(|value| vec![Value::Integers(value)]);
    }
    if importer.sizes(&x)?.iter().enumerate().any(|(axis, size)| size.batches != 0 && axes.contains(&axis)) {
        return Err(call.unsupported("over the batch"));
    }
    if call.node.op_type == "ReduceProd" {
        return product(importer, call, x, &axes, keep);
    }
    let reduction = match call.node.op_type.as_str() {
        "ReduceMean" => Reduction::Mean,
        "ReduceSum" => Reduction::Sum,
        "ReduceMax" => Reduction::Max,
        "ReduceMin" => Reduction::Min,
        "ReduceL1" => Reduction::L1,
        "ReduceL2" => Reduction::L2,
        "ReduceSumSquare" => Reduction::SumSquare,
        "ReduceLogSumExp" => Reduction::LogSumExp,
        _ => return Err(call.unsupported("on values that depend on the input")),
    };
    Ok(vec![importer.emit(&call.name, Op::Reduce { axes, keep, reduction }, &[x])?])
}

/// The product along axes: of one half with the other, until one is left.
fn product(importer: &mut Importer, call: &Call, mut x: Value, axes: &[usize], keep: bool) -> Result<Vec<Value>> {
    for &axis in axes {
        let mut size = fixed_size(call, importer.sizes(&x)?[axis])?;
        if size == 0 {
            return Err(call.unsupported("of nothing"));
        }
        while size > 1 {
            let half = size / 2;
            let name = format!("{}/{axis}-{half}", call.name);
            let mut part = |start: usize, end: usize| {
                importer.emit(&name, Op::Slice { axis, start, end: Some(end), step: 1 }, std::slice::from_ref(&x))
            };
            let (first, second) = (part(0, half)?, part(half, 2 * half)?);
            let left = (size % 2 == 1).then(|| part(2 * half, size)).transpose()?;
            x = importer.emit(&name, Op::Binary(Binary::Mul), &[first, second])?;
            if let Some(left) = left {
                x = importer.emit(&name, Op::Concat { axis }, &[x, left])?;
            }
            size = half + size % 2;
        }
    }
    let op = if keep { Op::Identity } else { Op::Squeeze(axes.to_vec()) };
    Ok(vec![importer.emit(&call.name, op, &[x])?])
}

/// `ArgMax` and `ArgMin`.
pub(super) fn place(importer: &mut Importer, call: &Call) -> Result<Vec<Value>> {
    let x = call.required(0)?;
    let rank = importer.rank(&x)?;
    let axis = call.axis(call.integer("axis", 0), rank)?;
    if importer.sizes(&x)?.get(axis).is_some_and(|size| size.batches != 0) {
        return Err(call.unsupported("over the batch"));
    }
    let op = Op::composed(Highest {
        axis,
        keep: call.integer("keepdims", 1) != 0,
        last: call.integer("select_last_index", 0) != 0,
        lowest: call.node.op_type == "ArgMin",
    });
    Ok(vec![super::as_whole(importer.emit(&call.name, op, &[x])?)?])
}

/// The product, sum or extreme of a list of sizes.
fn whole_numbers(call: &Call, x: &Integers, axes: &[usize], keep: bool) -> Result<Integers> {
    if x.shape.len() > 1 || axes.len() != x.shape.len() {
        return Err(call.unsupported("on a table of integers"));
    }
    let join = |a: Size, b: Size| match call.node.op_type.as_str() {
        "ReduceProd" => a.multiply(b),
        "ReduceSum" => a.add(b),
        "ReduceMax" => Some(if a.order(b).is_lt() { b } else { a }),
        "ReduceMin" => Some(if a.order(b).is_gt() { b } else { a }),
        _ => None,
    };
    let empty = match call.node.op_type.as_str() {
        "ReduceProd" => Some(Size::from(1)),
        "ReduceSum" => Some(Size::from(0)),
        _ => None,
    };
    let first = x.values.first().copied().or(empty);
    let all = first.and_then(|first| x.values.iter().skip(1).try_fold(first, |total, &size| join(total, size)));
    let all = all.ok_or_else(|| call.unsupported("this arithmetic on the size of the batch"))?;
    Ok(Integers { shape: if keep { vec![1; x.shape.len()] } else { Vec::new() }, values: vec![all] })
}
