use super::integers;
use crate::Op;
use crate::onnx::call::Call;
use crate::onnx::import::Importer;
use crate::onnx::value::{Integers, Value};
use crate::op::choice::{Choose, Truth};
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
    if Truth::named(operator).is_some() {
        return super::truth::truth(importer, call);
    }
    if operator == "Mod" {
        return remainder(importer, call);
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

/// `Mod`: what is left of a division that is rounded down, or to zero where `fmod` says so.
fn remainder(importer: &mut Importer, call: &Call) -> Result<Vec<Value>> {
    let (x, y) = (call.required(0)?, call.required(1)?);
    let name = |part: &str| format!("{}/{part}", call.name);
    let quotient = importer.emit(&name("quotient"), Op::Binary(Binary::Div), &[x.clone(), y.clone()])?;
    let times = if call.integer("fmod", 0) == 0 {
        importer.emit(&name("times"), Op::Unary(Unary::Floor), &[quotient])?
    } else {
        super::constant::truncated(importer, &name("times"), quotient)?
    };
    let whole = importer.emit(&name("whole"), Op::Binary(Binary::Mul), &[times, y])?;
    Ok(vec![importer.emit(&call.name, Op::Binary(Binary::Sub), &[x, whole])?])
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
    if Truth::named(operator).is_some() {
        return super::truth::truth(importer, call);
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

/// `Where`: the branch that is not taken may be infinite, or no number.
pub(super) fn choose(importer: &mut Importer, call: &Call) -> Result<Vec<Value>> {
    let (condition, x, y) = (call.required(0)?, call.required(1)?, call.required(2)?);
    if let (Value::Integers(condition), Value::Integers(x), Value::Integers(y)) = (&condition, &x, &y) {
        return Ok(vec![Value::Integers(integers::choose(call, condition, x, y)?)]);
    }
    if matches!(&condition, Value::Integers(condition) if condition.fixed().is_none()) {
        return Err(call.unsupported("a condition that depends on the batch"));
    }
    Ok(vec![importer.emit(&call.name, Op::composed(Choose), &[condition, x, y])?])
}
