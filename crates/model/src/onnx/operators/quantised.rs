//! Quantised networks: whole numbers of 4 to 16 bits that stand for `scale * (number - zero_point)`.
//!
//! Constants become the floats that they stand for. Values that depend on the input are whole numbers in floats, and
//! gradients pass the rounding by the straight-through estimator.

use super::scalar;
use crate::Op;
use crate::onnx::call::Call;
use crate::onnx::import::Importer;
use crate::onnx::tensor::element;
use crate::onnx::value::Value;
use crate::op::quantise::Quantise;
use candle_core::{Device, Tensor};
use faithful_core::Result;
use faithful_tensor::{Activation, Binary, Reduction, Unary};

/// The smallest and the largest number of an element type.
fn bounds(call: &Call, kind: i32) -> Result<[f64; 2]> {
    Ok(match kind {
        element::UINT8 => [0.0, 255.0],
        element::INT8 => [-128.0, 127.0],
        element::UINT16 => [0.0, 65535.0],
        element::INT16 => [-32768.0, 32767.0],
        element::UINT4 => [0.0, 15.0],
        element::INT4 => [-8.0, 7.0],
        other => return Err(call.unsupported(format!("numbers of element type {other}"))),
    })
}

/// The element type that operand `zero_point` has, or that the attribute names.
fn kind(importer: &Importer, call: &Call, zero_point: usize) -> Result<i32> {
    let attribute = call.integer("output_dtype", 0) as i32;
    match call.node.input.get(zero_point).filter(|name| !name.is_empty()) {
        None if attribute != 0 => Ok(attribute),
        None => Ok(element::UINT8),
        Some(name) => importer
            .element(name)
            .ok_or_else(|| call.unsupported("a zero point that is computed, so that its type is not known")),
    }
}

/// A constant's numbers as floats.
fn numbers(importer: &Importer, call: &Call, value: &Value) -> Result<Tensor> {
    match importer.floats(value)? {
        Value::Constant(tensor) => Ok(tensor),
        _ => Err(call.unsupported("a scale or zero point that depends on the input")),
    }
}

/// A scale or zero point in the shape in which it broadcasts to operand 0, whose sizes are `dims` where they are known.
fn along(call: &Call, parameter: &Tensor, rank: usize, dims: Option<&[usize]>, axis: i64) -> Result<Tensor> {
    if parameter.elem_count() == 1 {
        return Ok(parameter.reshape(())?);
    }
    let axis = call.axis(axis, rank)?;
    let block = usize::try_from(call.integer("block_size", 0)).unwrap_or(0);
    if block > 0 {
        // One per block along the axis.
        let Some(dims) = dims.filter(|_| parameter.rank() == rank) else {
            return Err(call.unsupported("blocks of values that depend on the input"));
        };
        let blocks = parameter.dims()[axis];
        if blocks != dims[axis].div_ceil(block) {
            return Err(call.damaged(format!("{blocks} blocks of {block} on an axis of size {}", dims[axis])));
        }
        let index: Vec<u32> = (0..dims[axis]).map(|place| (place / block) as u32).collect();
        return Ok(parameter.index_select(&Tensor::from_vec(index, dims[axis], &Device::Cpu)?, axis)?);
    }
    if parameter.rank() != 1 {
        return Err(call.damaged(format!("a scale or zero point of shape {:?}", parameter.dims())));
    }
    let mut shape = vec![1; rank];
    shape[axis] = parameter.elem_count();
    Ok(parameter.reshape(shape)?)
}

/// The scale and the zero point that are the operands `at`, to broadcast to `x` along `axis`.
fn parameters(importer: &Importer, call: &Call, x: &Value, at: [usize; 2], axis: i64) -> Result<[Value; 2]> {
    let sizes = importer.sizes(x)?;
    let dims: Option<Vec<usize>> =
        sizes.iter().map(|size| size.fixed().and_then(|size| usize::try_from(size).ok())).collect();
    let of = |index: usize| -> Result<Value> {
        match call.operand(index) {
            Value::Absent if index == at[1] => scalar(0.0),
            Value::Absent if index == usize::MAX => scalar(1.0),
            // One per row of a batch.
            value @ Value::Node(_) => Ok(value),
            value => {
                let parameter = numbers(importer, call, &value)?;
                along(call, &parameter, sizes.len(), dims.as_deref(), axis).map(Value::Constant)
            }
        }
    };
    Ok([of(at[0])?, of(at[1])?])
}

fn is_zero(value: &Value) -> Result<bool> {
    match value {
        Value::Constant(tensor) => Ok(tensor.flatten_all()?.to_vec1::<f32>()?.iter().all(|&number| number == 0.0)),
        _ => Ok(false),
    }
}

/// `scale * (x - zero_point)`.
fn dequantised(importer: &mut Importer, name: &str, x: Value, [scale, zero_point]: [Value; 2]) -> Result<Value> {
    let x = match x {
        Value::Integers(_) => importer.floats(&x)?,
        other => other,
    };
    let shifted = if is_zero(&zero_point)? {
        x
    } else {
        importer.emit(&format!("{name}/shifted"), Op::Binary(Binary::Sub), &[x, zero_point])?
    };
    if matches!(&scale, Value::Constant(one) if one.rank() == 0 && one.to_scalar::<f32>()? == 1.0) {
        return Ok(shifted);
    }
    importer.emit(name, Op::Binary(Binary::Mul), &[shifted, scale])
}

/// `x` quantised by the scale and the zero point that are the operands `at`.
fn quantised(importer: &mut Importer, call: &Call, x: Value, at: [usize; 2]) -> Result<Value> {
    let bounds = bounds(call, kind(importer, call, at[1])?)?;
    let [scale, zero_point] = parameters(importer, call, &x, at, call.integer("axis", 1))?;
    importer.emit(&call.name, Op::composed(Quantise { bounds }), &[x, scale, zero_point])
}

pub(super) fn quantize(importer: &mut Importer, call: &Call) -> Result<Vec<Value>> {
    let x = call.required(0)?;
    if !matches!(x, Value::Node(_)) && call.integer("block_size", 0) != 0 {
        return Err(call.unsupported("blocks"));
    }
    Ok(vec![quantised(importer, call, x, [1, 2])?])
}

pub(super) fn dequantize(importer: &mut Importer, call: &Call) -> Result<Vec<Value>> {
    let x = call.required(0)?;
    let parameters = parameters(importer, call, &x, [1, 2], call.integer("axis", 1))?;
    Ok(vec![dequantised(importer, &call.name, x, parameters)?])
}

/// Eight bits without sign over the range that each row of the batch has; ONNX takes the range of all of them.
pub(super) fn dynamic(importer: &mut Importer, call: &Call) -> Result<Vec<Value>> {
    let x = call.required(0)?;
    let name = |part: &str| format!("{}/{part}", call.name);
    let axes: Vec<usize> =
        importer.sizes(&x)?.iter().enumerate().filter(|(_, size)| size.batches == 0).map(|(axis, _)| axis).collect();
    let mut extreme = |part: &str, reduction: Reduction, bound: Binary| -> Result<Value> {
        let op = Op::Reduce { axes: axes.clone(), keep: true, reduction };
        let found = importer.emit(&name(part), op, std::slice::from_ref(&x))?;
        importer.emit(&name(&format!("{part}-or-zero")), Op::Binary(bound), &[found, scalar(0.0)?])
    };
    let (high, low) = (extreme("high", Reduction::Max, Binary::Max)?, extreme("low", Reduction::Min, Binary::Min)?);
    let range = importer.emit(&name("range"), Op::Binary(Binary::Sub), &[high, low.clone()])?;
    let step = importer.emit(&name("step"), Op::Binary(Binary::Div), &[range, scalar(255.0)?])?;
    // A row of zeros has no range; any scale will do.
    let scale = importer.emit(&name("scale"), Op::Binary(Binary::Max), &[step, scalar(1e-30)?])?;
    let place = importer.emit(&name("place"), Op::Binary(Binary::Div), &[low, scale.clone()])?;
    let zero = importer.emit(&name("zero"), Op::Unary(Unary::Neg), &[place])?;
    let zero = importer.emit(&name("rounded"), Op::Unary(Unary::Round), &[zero])?;
    let clip = Op::Activation(Activation::Clip { low: 0.0, high: 255.0 });
    let zero = importer.emit(&name("zero-point"), clip, &[zero])?;
    let op = Op::composed(Quantise { bounds: [0.0, 255.0] });
    let y = importer.emit(&call.name, op, &[x, scale.clone(), zero.clone()])?;
    Ok(vec![y, scale, zero])
}

/// Operand `index`, with its scale and zero point at `at`, as the floats that it stands for.
fn floats_of(importer: &mut Importer, call: &Call, index: usize, at: [usize; 2], axis: i64) -> Result<Value> {
    let x = call.required(index)?;
    let parameters = parameters(importer, call, &x, at, axis)?;
    dequantised(importer, &format!("{}/operand-{index}", call.name), x, parameters)
}

/// A bias of 32-bit numbers whose scale is the product of the two scales at `scales`; nothing where it is left out.
fn bias(importer: &Importer, call: &Call, index: usize, scales: [usize; 2]) -> Result<Value> {
    let bias = match call.operand(index) {
        Value::Absent => return Ok(Value::Absent),
        value => numbers(importer, call, &value)?,
    };
    let [a, b] = scales.map(|scale| numbers(importer, call, &call.operand(scale)));
    let (a, b) = (a?.flatten_all()?, b?.flatten_all()?);
    Ok(Value::Constant(bias.broadcast_mul(&a.broadcast_mul(&b)?)?))
}

/// `QLinearConv` and other operators whose operands and result are quantised: the operator on the floats they stand for.
pub(super) fn linear(importer: &mut Importer, call: &Call) -> Result<Vec<Value>> {
    let name = format!("{}/float", call.name);
    let unary = |importer: &mut Importer, operator: &str| -> Result<Vec<Value>> {
        let x = floats_of(importer, call, 0, [1, 2], 1)?;
        let y = super::run(importer, call, operator, &name, vec![x])?;
        Ok(vec![quantised(importer, call, y, [3, 4])?])
    };
    let two = |importer: &mut Importer, operator: &str, rows: i64, columns: i64| -> Result<Vec<Value>> {
        let a = floats_of(importer, call, 0, [1, 2], rows)?;
        let b = floats_of(importer, call, 3, [4, 5], columns)?;
        let y = super::run(importer, call, operator, &name, vec![a, b])?;
        Ok(vec![quantised(importer, call, y, [6, 7])?])
    };
    let operator = call.node.op_type.as_str();
    match operator {
        "QLinearConv" => {
            let x = floats_of(importer, call, 0, [1, 2], 1)?;
            let weight = floats_of(importer, call, 3, [4, 5], 0)?;
            let bias = bias(importer, call, 8, [1, 4])?;
            let y = super::run(importer, call, "Conv", &name, vec![x, weight, bias])?;
            Ok(vec![quantised(importer, call, y, [6, 7])?])
        }
        "QLinearMatMul" => two(importer, "MatMul", -2, -1),
        "QLinearAdd" => two(importer, "Add", 1, 1),
        "QLinearMul" => two(importer, "Mul", 1, 1),
        "QGemm" => {
            let a = floats_of(importer, call, 0, [1, 2], 0)?;
            let columns = i64::from(call.integer("transB", 0) == 0);
            let b = floats_of(importer, call, 3, [4, 5], columns)?;
            let c = bias(importer, call, 6, [1, 4])?;
            let y = super::run(importer, call, "Gemm", &name, vec![a, b, c])?;
            // Without a scale the result stays a float.
            let whole = matches!(call.operand(7), Value::Absent);
            Ok(vec![if whole { y } else { quantised(importer, call, y, [7, 8])? }])
        }
        "QLinearConcat" => {
            let parts = (2..call.operands.len())
                .step_by(3)
                .map(|place| floats_of(importer, call, place, [place + 1, place + 2], 1))
                .collect::<Result<Vec<_>>>()?;
            let y = super::run(importer, call, "Concat", &name, parts)?;
            Ok(vec![quantised(importer, call, y, [0, 1])?])
        }
        "QLinearGlobalAveragePool" | "QLinearAveragePool" if call.integer("channels_last", 0) != 0 => {
            Err(call.unsupported("channels last"))
        }
        _ => match operator.strip_prefix("QLinear") {
            Some(float @ ("GlobalAveragePool" | "AveragePool" | "Sigmoid" | "LeakyRelu" | "Softmax")) => {
                unary(importer, float)
            }
            _ => Err(call.unsupported("on quantised numbers")),
        },
    }
}

/// `ConvInteger` and `MatMulInteger`: the float operator on whole numbers, their zero points taken off.
pub(super) fn integer(importer: &mut Importer, call: &Call) -> Result<Vec<Value>> {
    let convolution = call.node.op_type == "ConvInteger";
    let mut shifted = |index: usize, axis: i64| -> Result<Value> {
        let x = call.required(index)?;
        // No scale: only the zero point counts.
        let [_, zero_point] = parameters(importer, call, &x, [usize::MAX, index + 2], axis)?;
        dequantised(importer, &format!("{}/operand-{index}", call.name), x, [scalar(1.0)?, zero_point])
    };
    let (a, b) = (shifted(0, if convolution { 1 } else { -2 })?, shifted(1, if convolution { 0 } else { -1 })?);
    let operator = if convolution { "Conv" } else { "MatMul" };
    Ok(vec![super::run(importer, call, operator, &call.name, vec![a, b])?])
}

/// `DynamicQuantizeLSTM` of ONNX Runtime: an LSTM whose weights are whole numbers, inputs before gates. What is rounded on the way is
/// not rounded here.
pub(super) fn lstm(importer: &mut Importer, call: &Call) -> Result<Vec<Value>> {
    let mut plain = call.again();
    for (weight, scale) in [(1, 8), (2, 10)] {
        let operand = |index: usize| numbers(importer, call, &call.required(index)?);
        let values = operand(weight)?;
        let (directions, _, gates) = values.dims3().map_err(|_| call.damaged("weights that have no three axes"))?;
        // One for each direction, or for each of its gates' rows.
        let shaped = |parameter: Tensor| match *parameter.dims() {
            [count] if count == directions => Ok(parameter.reshape((directions, 1, 1))?),
            [count, rows] if count == directions && rows == gates => Ok(parameter.reshape((directions, 1, gates))?),
            ref other => Err(call.damaged(format!("a scale or zero point of shape {other:?}"))),
        };
        let shifted = values.broadcast_sub(&shaped(operand(scale + 1)?)?)?;
        let floats = shifted.broadcast_mul(&shaped(operand(scale)?)?)?;
        plain.operands[weight] = Value::Constant(floats.transpose(1, 2)?.contiguous()?);
    }
    plain.operands.truncate(8);
    super::recurrent::lstm(importer, &plain)
}

/// `MatMulIntegerToFloat` and `DynamicQuantizeMatMul` of ONNX Runtime, with a bias.
pub(super) fn product_to_float(importer: &mut Importer, call: &Call) -> Result<Vec<Value>> {
    let dynamic_range = call.node.op_type == "DynamicQuantizeMatMul";
    let (a, b, bias) = if dynamic_range {
        let name = format!("{}/quantised", call.name);
        let parts = dynamic(importer, &Call { name: name.clone(), operands: vec![call.required(0)?], ..call.again() })?;
        let [y, scale, zero_point] = <[Value; 3]>::try_from(parts).map_err(|_| call.damaged("no operand"))?;
        let a = dequantised(importer, &format!("{name}/back"), y, [scale, zero_point])?;
        (a, floats_of(importer, call, 1, [2, 3], -1)?, 4)
    } else {
        (floats_of(importer, call, 0, [2, 4], -2)?, floats_of(importer, call, 1, [3, 5], -1)?, 6)
    };
    let bias = call.operand(bias);
    if matches!(bias, Value::Absent) {
        return Ok(vec![super::run(importer, call, "MatMul", &call.name, vec![a, b])?]);
    }
    let product = super::run(importer, call, "MatMul", &format!("{}/product", call.name), vec![a, b])?;
    Ok(vec![importer.emit(&call.name, Op::Binary(Binary::Add), &[product, bias])?])
}
