use crate::Op;
use crate::onnx::call::Call;
use crate::onnx::import::Importer;
use crate::onnx::value::Value;
use candle_core::{DType, Tensor};
use faithful_core::Result;
use faithful_tensor::{Binary, Reduction};

/// Running statistics and affine parameters become one scale and one shift, computed in `f64`.
pub(super) fn batch(importer: &mut Importer, call: &Call) -> Result<Vec<Value>> {
    let x = call.required(0)?;
    if call.integer("training_mode", 0) != 0 || call.gives(1) {
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
