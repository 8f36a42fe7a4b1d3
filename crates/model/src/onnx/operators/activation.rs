use crate::onnx::call::Call;
use crate::onnx::import::Importer;
use crate::onnx::value::Value;
use crate::op::choice::{Choose, Truth};
use crate::{Dim, Op};
use faithful_core::Result;
use faithful_tensor::{Activation, Binary};

/// The operators that are one nonlinearity each.
pub(super) fn activation(importer: &mut Importer, call: &Call) -> Result<Vec<Value>> {
    let x = call.required(0)?;
    let kind = match call.node.op_type.as_str() {
        "Relu" => Activation::Relu,
        "LeakyRelu" => Activation::LeakyRelu { slope: call.float("alpha", 0.01) },
        "Elu" => Activation::Elu { alpha: call.float("alpha", 1.0) },
        "Selu" => Activation::Selu {
            alpha: call.float("alpha", 1.673_263_192_176_818_8),
            beta: 1.0,
            gamma: call.float("gamma", 1.050_701_022_148_132_3),
        },
        "Celu" => {
            let alpha = call.float("alpha", 1.0);
            if alpha == 0.0 {
                return Err(call.damaged("alpha 0"));
            }
            Activation::Selu { alpha, beta: alpha, gamma: 1.0 }
        }
        "Gelu" if call.text("approximate", "none") == "tanh" => Activation::GeluTanh,
        "Gelu" => Activation::Gelu,
        "Sigmoid" => Activation::Sigmoid,
        "HardSigmoid" => Activation::HardSigmoid { alpha: call.float("alpha", 0.2), beta: call.float("beta", 0.5) },
        "HardSwish" => Activation::HardSwish,
        "Tanh" => Activation::Tanh,
        "Softplus" => Activation::Softplus,
        "Softsign" => Activation::Softsign,
        "Mish" => Activation::Mish,
        "Clip" => clip(call)?,
        _ => return Err(call.unsupported("these parameters")),
    };
    Ok(vec![importer.emit(&call.name, Op::Activation(kind), &[x])?])
}

/// `x * sigmoid(alpha * x)`: ONNX's `Swish`, and ONNX Runtime's `QuickGelu`, whose alpha is another.
pub(super) fn swish(importer: &mut Importer, call: &Call) -> Result<Vec<Value>> {
    let x = call.required(0)?;
    let alpha = call.float("alpha", if call.node.op_type == "Swish" { 1.0 } else { 1.702 });
    if alpha == 1.0 {
        return Ok(vec![importer.emit(&call.name, Op::Activation(Activation::Silu), &[x])?]);
    }
    let name = |part: &str| format!("{}/{part}", call.name);
    let scaled = importer.emit(&name("scaled"), Op::Binary(Binary::Mul), &[x.clone(), super::scalar(alpha)?])?;
    let gate = importer.emit(&name("gate"), Op::Activation(Activation::Sigmoid), &[scaled])?;
    Ok(vec![importer.emit(&call.name, Op::Binary(Binary::Mul), &[x, gate])?])
}

/// `ThresholdedRelu`: `x` above alpha. `Shrink`: `x - bias` above lambda, `x + bias` below minus lambda. 0 elsewhere.
pub(super) fn thresholded(importer: &mut Importer, call: &Call) -> Result<Vec<Value>> {
    let x = call.required(0)?;
    let name = |part: &str| format!("{}/{part}", call.name);
    let mut emit = |part: String, op: Op, operands: &[Value]| importer.emit(&part, op, operands);
    let zero = super::scalar(0.0)?;
    if call.node.op_type == "ThresholdedRelu" {
        let bound = super::scalar(call.float("alpha", 1.0))?;
        let above = emit(name("above"), Op::composed(Truth::Greater), &[x.clone(), bound])?;
        return Ok(vec![emit(call.name.clone(), Op::composed(Choose), &[above, x, zero])?]);
    }
    let (bias, bound) = (call.float("bias", 0.0), call.float("lambd", 0.5));
    let mut side = |part: &str, truth: Truth, bound: f64, bias: f64, other: Value| -> Result<Value> {
        let holds = emit(name(part), Op::composed(truth), &[x.clone(), super::scalar(bound)?])?;
        let moved = emit(name(&format!("{part}-moved")), Op::Binary(Binary::Add), &[x.clone(), super::scalar(bias)?])?;
        let last = if part == "below" { call.name.clone() } else { name(&format!("{part}-or-zero")) };
        emit(last, Op::composed(Choose), &[holds, moved, other])
    };
    let above = side("above", Truth::Greater, bound, -bias, zero)?;
    Ok(vec![side("below", Truth::Less, -bound, bias, above)?])
}

/// Bounds are attributes before version 11 and operands since.
fn clip(call: &Call) -> Result<Activation> {
    let bound = |index: usize, name: &str, open: f64| -> Result<f64> {
        match call.operand(index) {
            Value::Absent => Ok(call.float(name, open)),
            Value::Integers(_) => {
                let fixed = call.optional_fixed(index)?.and_then(|values| values.first().copied());
                Ok(fixed.map_or(open, |value| value as f64))
            }
            _ => {
                let values = call.weight(index)?.flatten_all()?.to_vec1::<f32>()?;
                values.first().map(|&value| f64::from(value)).ok_or_else(|| call.damaged("an empty bound"))
            }
        }
    };
    let low = bound(1, "min", f64::NEG_INFINITY)?;
    let high = bound(2, "max", f64::INFINITY)?;
    // The standard's own defaults are the largest floats, which bound nothing.
    let open = |value: f64| value.abs() >= f64::from(f32::MAX);
    Ok(match (low, high) {
        (0.0, high) if open(high) => Activation::Relu,
        (low, high) if low <= high => Activation::Clip { low, high },
        _ => return Err(call.damaged(format!("bounds {low} and {high}"))),
    })
}

/// `max(x, 0) + slope * min(x, 0)` with a slope per channel.
pub(super) fn prelu(importer: &mut Importer, call: &Call) -> Result<Vec<Value>> {
    let (x, slope) = (call.required(0)?, call.weight(1)?);
    if slope.elem_count() == 1 {
        let slope = f64::from(slope.flatten_all()?.to_vec1::<f32>()?[0]);
        return Ok(vec![importer.emit(&call.name, Op::Activation(Activation::LeakyRelu { slope }), &[x])?]);
    }
    let zero = super::scalar(0.0)?;
    let name = |part: &str| format!("{}/{part}", call.name);
    let above = importer.emit(&name("above"), Op::Binary(Binary::Max), &[x.clone(), zero.clone()])?;
    let below = importer.emit(&name("below"), Op::Binary(Binary::Min), &[x, zero])?;
    let scaled = importer.emit(&name("scaled"), Op::Binary(Binary::Mul), &[below, Value::Constant(slope)])?;
    Ok(vec![importer.emit(&call.name, Op::Binary(Binary::Add), &[above, scaled])?])
}

pub(super) fn softmax(importer: &mut Importer, call: &Call) -> Result<Vec<Value>> {
    let x = call.required(0)?;
    let sizes = importer.sizes(&x)?;
    let log = call.node.op_type == "LogSoftmax";
    let axis = call.axis(call.integer("axis", if call.opset < 13 { 1 } else { -1 }), sizes.len())?;
    // Before version 13 everything from the axis on is one distribution.
    let behind = sizes[axis + 1..].iter().all(|size| size.fixed() == Some(1));
    if call.opset >= 13 || behind {
        return Ok(vec![importer.emit(&call.name, Op::Softmax { axis, log }, &[x])?]);
    }
    let mut flat: Vec<Dim> = (0..axis).map(Dim::Same).collect();
    flat.push(Dim::Rest);
    let back = super::shaping::stored(call, &sizes)?;
    let x = importer.emit(&format!("{}/flat", call.name), Op::Reshape(flat), &[x])?;
    let y = importer.emit(&format!("{}/softmax", call.name), Op::Softmax { axis, log }, &[x])?;
    Ok(vec![importer.emit(&call.name, Op::Reshape(back), &[y])?])
}
