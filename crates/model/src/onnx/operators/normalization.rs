use crate::Op;
use crate::onnx::call::Call;
use crate::onnx::import::Importer;
use crate::onnx::value::Value;
use candle_core::{DType, Tensor};
use faithful_core::Result;
use faithful_tensor::{Binary, Reduction, Unary};

/// Running statistics and affine parameters become one scale and one shift, computed in `f64`.
pub(super) fn batch(importer: &mut Importer, call: &Call) -> Result<Vec<Value>> {
    let x = call.required(0)?;
    if call.integer("training_mode", 0) != 0 {
        let Value::Constant(x) = x else {
            return Err(call.unsupported("training mode; export the model in evaluation mode"));
        };
        return of_weights(call, &x);
    }
    if call.gives(1) {
        return Err(call.unsupported("training mode; export the model in evaluation mode"));
    }
    let wide = |index: usize| -> Result<Tensor> { Ok(call.weight(index)?.to_dtype(DType::F64)?) };
    let [scale, shift, mean, variance] = [wide(1)?, wide(2)?, wide(3)?, wide(4)?];
    if [&shift, &mean, &variance].iter().any(|other| other.dims() != scale.dims()) || scale.rank() != 1 {
        return Err(call.damaged("its parameters differ in shape"));
    }
    let scale = (scale / (variance + call.float("epsilon", 1e-5))?.sqrt()?)?;
    let shift = (shift - (mean * &scale)?)?;
    let op = Op::BatchNorm { scale: scale.to_dtype(DType::F32)?, shift: shift.to_dtype(DType::F32)? };
    Ok(vec![importer.emit(&call.name, op, &[x])?])
}

/// Training mode on constant weights, as weight-standardised convolutions (Qiao et al. 2019, arXiv:1903.10520) are
/// exported: normalised by their own mean and variance per channel, once.
fn of_weights(call: &Call, x: &Tensor) -> Result<Vec<Value>> {
    let wide = |index: usize| -> Result<Tensor> { Ok(call.weight(index)?.to_dtype(DType::F64)?) };
    let [scale, shift, mean, variance] = [wide(1)?, wide(2)?, wide(3)?, wide(4)?];
    let channels = x.dims().get(1).copied().unwrap_or(0);
    if channels == 0 || x.elem_count() == 0 || [&scale, &shift].iter().any(|own| own.dims() != [channels]) {
        return Err(call.damaged(format!("parameters that do not fit an operand of shape {:?}", x.dims())));
    }
    let mut shape = vec![1; x.rank()];
    shape[1] = channels;
    let others: Vec<usize> = (0..x.rank()).filter(|&axis| axis != 1).collect();
    let wide_x = x.to_dtype(DType::F64)?;
    let own_mean = wide_x.mean_keepdim(others.as_slice())?;
    let centred = wide_x.broadcast_sub(&own_mean)?;
    let own_variance = centred.sqr()?.mean_keepdim(others.as_slice())?;
    let deviation = (&own_variance + call.float("epsilon", 1e-5))?.sqrt()?;
    let y = centred.broadcast_div(&deviation)?.broadcast_mul(&scale.reshape(shape.as_slice())?)?;
    let y = y.broadcast_add(&shift.reshape(shape.as_slice())?)?;
    let momentum = call.float("momentum", 0.9);
    let running = |before: Tensor, own: Tensor| -> Result<Value> {
        let after = ((before * momentum)? + (own.flatten_all()? * (1.0 - momentum))?)?;
        Ok(Value::Constant(after.to_dtype(DType::F32)?))
    };
    let y = Value::Constant(y.to_dtype(DType::F32)?);
    if !call.gives(1) && !call.gives(2) {
        return Ok(vec![y]);
    }
    Ok(vec![y, running(mean, own_mean)?, running(variance, own_variance)?])
}

/// `x / sqrt(mean(x^2) + epsilon) * scale` over the last axes.
pub(super) fn root_mean_square(importer: &mut Importer, call: &Call) -> Result<Vec<Value>> {
    let x = call.required(0)?;
    if call.gives(1) {
        return Err(call.unsupported("its second output, the deviation"));
    }
    let sizes = importer.sizes(&x)?;
    let axis = call.axis(call.integer("axis", -1), sizes.len())?;
    if sizes[axis..].iter().any(|size| size.batches != 0) {
        return Err(call.unsupported("normalising over the batch"));
    }
    let name = |part: &str| format!("{}/{part}", call.name);
    let mut emit = |part: String, op: Op, operands: &[Value]| importer.emit(&part, op, operands);
    let squares = emit(name("squares"), Op::Binary(Binary::Mul), &[x.clone(), x.clone()])?;
    let axes = (axis..sizes.len()).collect();
    let mean = emit(name("mean"), Op::Reduce { axes, keep: true, reduction: Reduction::Mean }, &[squares])?;
    let epsilon = super::scalar(call.float("epsilon", 1e-5))?;
    let raised = emit(name("raised"), Op::Binary(Binary::Add), &[mean, epsilon])?;
    let root = emit(name("root"), Op::Unary(Unary::Sqrt), &[raised])?;
    let normal = emit(name("normal"), Op::Binary(Binary::Div), &[x, root])?;
    Ok(vec![emit(call.name.clone(), Op::Binary(Binary::Mul), &[normal, call.required(1)?])?])
}

/// `(x - mean) / sqrt(variance)` over axes that are not the batch's.
pub(super) fn mean_variance(importer: &mut Importer, call: &Call) -> Result<Vec<Value>> {
    let x = call.required(0)?;
    let sizes = importer.sizes(&x)?;
    let axes = call.axes(call.integers("axes").unwrap_or(&[0, 2, 3]), sizes.len())?;
    if axes.iter().any(|&axis| sizes[axis].batches != 0) {
        return Err(call.unsupported("over the batch"));
    }
    let name = |part: &str| format!("{}/{part}", call.name);
    let mut emit = |part: String, op: Op, operands: &[Value]| importer.emit(&part, op, operands);
    let mean = |axes: &[usize]| Op::Reduce { axes: axes.to_vec(), keep: true, reduction: Reduction::Mean };
    let middle = emit(name("mean"), mean(&axes), std::slice::from_ref(&x))?;
    let centred = emit(name("centred"), Op::Binary(Binary::Sub), &[x, middle])?;
    let squares = emit(name("squares"), Op::Binary(Binary::Mul), &[centred.clone(), centred.clone()])?;
    let variance = emit(name("variance"), mean(&axes), &[squares])?;
    let root = emit(name("root"), Op::Unary(Unary::Sqrt), &[variance])?;
    let raised = emit(name("raised"), Op::Binary(Binary::Add), &[root, super::scalar(1e-9)?])?;
    Ok(vec![emit(call.name.clone(), Op::Binary(Binary::Div), &[centred, raised])?])
}

pub(super) fn layer(importer: &mut Importer, call: &Call) -> Result<Vec<Value>> {
    let x = call.required(0)?;
    if call.gives(1) {
        return Err(call.unsupported("its second output, the mean"));
    }
    let sizes = importer.sizes(&x)?;
    let axis = call.axis(call.integer("axis", -1), sizes.len())?;
    let inner: Option<Vec<usize>> =
        sizes[axis..].iter().map(|size| size.fixed().and_then(|size| usize::try_from(size).ok())).collect();
    let inner = inner.ok_or_else(|| call.unsupported("normalising over the batch"))?;
    let parameter = |index: usize| -> Result<Option<Tensor>> {
        let Some(tensor) = call.optional_weight(index)? else { return Ok(None) };
        if tensor.elem_count() == inner.iter().product::<usize>() {
            return Ok(Some(tensor.reshape(inner.as_slice())?));
        }
        Ok(Some(tensor.broadcast_as(inner.as_slice())?.contiguous()?))
    };
    let op = Op::LayerNorm { axis, weight: parameter(1)?, bias: parameter(2)?, epsilon: call.float("epsilon", 1e-5) };
    Ok(vec![importer.emit(&call.name, op, &[x])?])
}

pub(super) fn group(importer: &mut Importer, call: &Call) -> Result<Vec<Value>> {
    let x = call.required(0)?;
    let channels = channels(importer, call, &x)?;
    let groups = usize::try_from(call.integer("num_groups", 0)).unwrap_or(0);
    if groups == 0 || channels % groups != 0 {
        return Err(call.damaged(format!("{groups} groups for {channels} channels")));
    }
    // Before version 21 there is one parameter per group.
    let per_channel = |tensor: Tensor| -> Result<Tensor> {
        if tensor.dims() == [groups] && groups != channels {
            let each = tensor.unsqueeze(1)?.broadcast_as((groups, channels / groups))?;
            return Ok(each.contiguous()?.flatten_all()?);
        }
        Ok(tensor)
    };
    let (weight, bias) = (per_channel(call.weight(1)?)?, per_channel(call.weight(2)?)?);
    let epsilon = call.float("epsilon", 1e-5);
    let op = Op::GroupNorm { groups, weight: Some(weight), bias: Some(bias), epsilon };
    Ok(vec![importer.emit(&call.name, op, &[x])?])
}

pub(super) fn instance(importer: &mut Importer, call: &Call) -> Result<Vec<Value>> {
    let x = call.required(0)?;
    let groups = channels(importer, call, &x)?;
    let epsilon = call.float("epsilon", 1e-5);
    let op = Op::GroupNorm { groups, weight: Some(call.weight(1)?), bias: Some(call.weight(2)?), epsilon };
    Ok(vec![importer.emit(&call.name, op, &[x])?])
}

fn channels(importer: &Importer, call: &Call, x: &Value) -> Result<usize> {
    let size = importer.sizes(x)?.get(1).and_then(|size| size.fixed());
    size.and_then(|size| usize::try_from(size).ok()).ok_or_else(|| call.damaged("an input without channels"))
}

/// `x / ||x||_p` along an axis.
pub(super) fn lp(importer: &mut Importer, call: &Call) -> Result<Vec<Value>> {
    let x = call.required(0)?;
    let axis = call.axis(call.integer("axis", -1), importer.rank(&x)?)?;
    let reduction = match call.integer("p", 2) {
        1 => Reduction::L1,
        2 => Reduction::L2,
        other => return Err(call.damaged(format!("p {other}"))),
    };
    let op = Op::Reduce { axes: vec![axis], keep: true, reduction };
    let norm = importer.emit(&format!("{}/norm", call.name), op, std::slice::from_ref(&x))?;
    Ok(vec![importer.emit(&call.name, Op::Binary(Binary::Div), &[x, norm])?])
}
