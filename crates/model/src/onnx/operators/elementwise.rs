use super::integers;
use crate::Op;
use crate::onnx::call::Call;
use crate::onnx::import::Importer;
use crate::onnx::value::{Integers, Value};
use candle_core::{Device, Tensor};
use faithful_core::Result;
use faithful_tensor::{Binary, Unary};

/// Operators of two or more operands that broadcast.
pub(super) fn several(importer: &mut Importer, call: &Call) -> Result<Vec<Value>> {
    let operator = call.node.op_type.as_str();
    let mut operands = call.operands.clone();
    if operands.iter().any(|operand| matches!(operand, Value::Integers(_)))
        && let Some(whole) = operands.iter().map(as_integers).collect::<Option<Vec<_>>>()
    {
        return integers::several(call, &whole).map(|value| vec![Value::Integers(value)]);
    }
    if let ("Equal", [a @ Value::Constant(_), b @ Value::Constant(_)]) = (operator, operands.as_slice()) {
        return equal(call, &importer.floats(a)?, &importer.floats(b)?);
    }
    if matches!(operator, "Greater" | "Less" | "GreaterOrEqual" | "LessOrEqual") {
        return compare(importer, call);
    }
    let binary = match operator {
        "Add" | "Sum" | "Mean" => Binary::Add,
        "Sub" => Binary::Sub,
        "Mul" => Binary::Mul,
        "Div" => Binary::Div,
        "Pow" => Binary::Pow,
        "Min" => Binary::Min,
        "Max" => Binary::Max,
        _ => return Err(call.unsupported("on values that depend on the input")),
    };
    let count = operands.len();
    if count == 0 || (count != 2 && !matches!(operator, "Sum" | "Mean" | "Min" | "Max")) {
        return Err(call.damaged(format!("{count} operands")));
    }
    if count == 1 {
        return Ok(vec![importer.emit(&call.name, Op::Identity, &operands)?]);
    }
    let mut total = operands.remove(0);
    let last = operands.len() - 1;
    for (place, operand) in operands.into_iter().enumerate() {
        let whole = place == last && operator != "Mean";
        let name = if whole { call.name.clone() } else { format!("{}/{place}", call.name) };
        total = importer.emit(&name, Op::Binary(binary), &[total, operand])?;
    }
    if operator == "Mean" {
        let share = super::scalar(1.0 / count as f64)?;
        total = importer.emit(&call.name, Op::Binary(Binary::Mul), &[total, share])?;
    }
    Ok(vec![total])
}

/// Where two constants are equal, as the mask of Swin's windows is made.
fn equal(call: &Call, a: &Value, b: &Value) -> Result<Vec<Value>> {
    let (Value::Constant(a), Value::Constant(b)) = (a, b) else {
        return Err(call.unsupported("on values that depend on the input"));
    };
    let shape = crate::shape::broadcast(a.dims(), b.dims());
    let shape = shape.ok_or_else(|| call.damaged("operands that do not broadcast"))?;
    crate::onnx::import::small(&call.name, &shape)?;
    let bits = a.broadcast_as(shape.as_slice())?.eq(&b.broadcast_as(shape.as_slice())?)?;
    let bits: Vec<u8> = bits.flatten_all()?.to_vec1()?;
    Ok(vec![Value::Integers(Integers::known(shape, bits.into_iter().map(i64::from).collect()))])
}

/// 1 where the comparison holds, 0 elsewhere; its gradient is zero.
fn compare(importer: &mut Importer, call: &Call) -> Result<Vec<Value>> {
    let (a, b) = (call.required(0)?, call.required(1)?);
    let operator = call.node.op_type.as_str();
    // `a > b` is whether the sign of `a - b` is 1, and `a >= b` is not `b > a`.
    let (strict, swapped) = (!operator.ends_with("OrEqual"), operator.starts_with("Less"));
    let (high, low) = if swapped == strict { (b, a) } else { (a, b) };
    let name = |part: &str| format!("{}/{part}", call.name);
    let difference = importer.emit(&name("difference"), Op::Binary(Binary::Sub), &[high, low])?;
    let sign = importer.emit(&name("sign"), Op::Unary(Unary::Sign), &[difference])?;
    let last = if strict { call.name.clone() } else { name("opposite") };
    let holds = importer.emit(&last, Op::Binary(Binary::Max), &[sign, super::scalar(0.0)?])?;
    if strict {
        return Ok(vec![holds]);
    }
    Ok(vec![importer.emit(&call.name, Op::Binary(Binary::Sub), &[super::scalar(1.0)?, holds])?])
}

/// Integers, or whole numbers that were cast to floats for shape arithmetic.
fn as_integers(value: &Value) -> Option<Integers> {
    match value {
        Value::Integers(integers) => Some(integers.clone()),
        Value::Constant(tensor) if tensor.elem_count() <= 64 => {
            let floats: Vec<f32> = tensor.flatten_all().ok()?.to_vec1().ok()?;
            let whole = floats.iter().all(|value| value.fract() == 0.0 && value.abs() < 1e9);
            whole.then(|| Integers::known(tensor.dims().to_vec(), floats.iter().map(|&v| v as i64).collect()))
        }
        _ => None,
    }
}

/// Operators of one operand.
pub(super) fn one(importer: &mut Importer, call: &Call) -> Result<Vec<Value>> {
    let x = call.required(0)?;
    let operator = call.node.op_type.as_str();
    if let Value::Integers(whole) = &x
        && matches!(operator, "Neg" | "Abs" | "Sign" | "Not" | "Floor" | "Ceil" | "Round")
    {
        return integers::one(call, whole).map(|value| vec![Value::Integers(value)]);
    }
    let unary = match operator {
        "Neg" => Unary::Neg,
        "Abs" => Unary::Abs,
        "Exp" => Unary::Exp,
        "Log" => Unary::Log,
        "Sqrt" => Unary::Sqrt,
        "Reciprocal" => Unary::Reciprocal,
        "Erf" => Unary::Erf,
        "Sin" => Unary::Sin,
        "Cos" => Unary::Cos,
        "Floor" => Unary::Floor,
        "Ceil" => Unary::Ceil,
        "Round" => Unary::Round,
        "Sign" => Unary::Sign,
        _ => return Err(call.unsupported("on values that depend on the input")),
    };
    Ok(vec![importer.emit(&call.name, Op::Unary(unary), &[x])?])
}

/// `Where`: by choice with a constant condition, by a mask of 0 and 1 with one that depends on the input.
pub(super) fn choose(importer: &mut Importer, call: &Call) -> Result<Vec<Value>> {
    if let mask @ Value::Node(_) = call.operand(0) {
        let (x, y) = (call.required(1)?, call.required(2)?);
        let name = |part: &str| format!("{}/{part}", call.name);
        let rest = importer.emit(&name("mask"), Op::Binary(Binary::Sub), &[super::scalar(1.0)?, mask.clone()])?;
        let x = importer.emit(&name("then"), Op::Binary(Binary::Mul), &[x, mask])?;
        let y = importer.emit(&name("else"), Op::Binary(Binary::Mul), &[y, rest])?;
        return Ok(vec![importer.emit(&call.name, Op::Binary(Binary::Add), &[x, y])?]);
    }
    let condition = call.optional_integers(0)?.ok_or_else(|| call.damaged("it has no condition"))?;
    let (x, y) = (call.required(1)?, call.required(2)?);
    if let (Value::Integers(x), Value::Integers(y)) = (&x, &y) {
        return Ok(vec![Value::Integers(integers::choose(call, &condition, x, y)?)]);
    }
    let fixed = condition.fixed().ok_or_else(|| call.unsupported("a condition that depends on the batch"))?;
    let floats = |value: &dyn Fn(bool) -> f32| -> Result<Value> {
        let mask: Vec<f32> = fixed.iter().map(|&bit| value(bit != 0)).collect();
        Ok(Value::Constant(Tensor::from_vec(mask, condition.shape.as_slice(), &Device::Cpu)?))
    };
    // Zero times infinity is not a number, so a constant branch is masked by choice, not by a product.
    let masked = |importer: &mut Importer, part: &str, value: Value, when: bool| -> Result<Value> {
        let mask = floats(&|bit| f32::from(u8::from(bit == when)))?;
        let value = match value {
            Value::Integers(_) => importer.floats(&value)?,
            other => other,
        };
        if let (Value::Constant(value), Value::Constant(mask)) = (&value, &mask) {
            let shape = crate::shape::broadcast(value.dims(), mask.dims())
                .ok_or_else(|| call.damaged("operands that do not broadcast"))?;
            crate::onnx::import::small(part, &shape)?;
            let (value, mask) = (value.broadcast_as(shape.as_slice())?, mask.broadcast_as(shape.as_slice())?);
            return Ok(Value::Constant(mask.ne(0f32)?.where_cond(&value, &value.zeros_like()?)?));
        }
        importer.emit(part, Op::Binary(Binary::Mul), &[value, mask])
    };
    let x = masked(importer, &format!("{}/then", call.name), x, true)?;
    let y = masked(importer, &format!("{}/else", call.name), y, false)?;
    Ok(vec![importer.emit(&call.name, Op::Binary(Binary::Add), &[x, y])?])
}
