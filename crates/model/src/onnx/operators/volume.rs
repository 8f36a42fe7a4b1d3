//! Convolutions and pools over three axes.

use super::convolution::{LARGEST_STEP, groups_of};
use crate::Op;
use crate::onnx::call::Call;
use crate::onnx::import::Importer;
use crate::onnx::value::{Size, Value};
use crate::op::volume::{Conv3d, ConvTranspose3d, Pool3d, Window3};
use candle_core::Tensor;
use faithful_core::Result;

/// The attribute `name` as three numbers between `least` and the largest step, `default` where it is left out.
fn three(call: &Call, name: &str, least: usize, default: usize) -> Result<[usize; 3]> {
    let Some(given) = call.integers(name).filter(|values| !values.is_empty()) else { return Ok([default; 3]) };
    let bounded = |&value: &i64| usize::try_from(value).ok().filter(|value| (least..=LARGEST_STEP).contains(value));
    let values: Option<Vec<usize>> = given.iter().map(bounded).collect();
    let values = values.and_then(|values| <[usize; 3]>::try_from(values).ok());
    values.ok_or_else(|| call.damaged(format!("{name} {given:?} for three axes, between {least} and {LARGEST_STEP}")))
}

/// Kernel, strides, dilations and padding for a volume of `sizes` `(N, C, slices, rows, columns)`.
fn window(call: &Call, kernel: [usize; 3], sizes: &[Size]) -> Result<Window3> {
    if sizes.len() != 5 {
        return Err(call.damaged(format!("three spatial axes for an input of {} axes", sizes.len())));
    }
    let (stride, dilation) = (three(call, "strides", 1, 1)?, three(call, "dilations", 1, 1)?);
    let mut padding = [[0; 2]; 3];
    match call.text("auto_pad", "NOTSET").as_str() {
        "NOTSET" => {
            if let Some(pads) = call.integers("pads").filter(|pads| !pads.is_empty()) {
                let bounded = |&pad: &i64| usize::try_from(pad).ok().filter(|&pad| pad <= LARGEST_STEP);
                let all: Option<Vec<usize>> = pads.iter().map(bounded).collect();
                let Some(&[a, b, c, d, e, f]) = all.as_deref() else {
                    return Err(call.unsupported(format!("pads {pads:?} for three axes")));
                };
                padding = [[a, d], [b, e], [c, f]];
            }
        }
        "VALID" => {}
        same @ ("SAME_UPPER" | "SAME_LOWER") => {
            for axis in 0..3 {
                let size = sizes[axis + 2].fixed().and_then(|size| usize::try_from(size).ok());
                let size = size.ok_or_else(|| call.unsupported("auto_pad on an axis that is the batch"))?;
                let extent = dilation[axis] * (kernel[axis] - 1) + 1;
                let steps = size.div_ceil(stride[axis]).saturating_sub(1);
                let total = (steps * stride[axis] + extent).saturating_sub(size);
                let (less, more) = (total / 2, total - total / 2);
                padding[axis] = if same == "SAME_UPPER" { [less, more] } else { [more, less] };
            }
        }
        other => return Err(call.damaged(format!("auto_pad `{other}`"))),
    }
    Ok(Window3 { kernel, stride, dilation, padding })
}

fn kernel_of(call: &Call, weight: &Tensor) -> Result<[usize; 3]> {
    match *weight.dims() {
        [_, _, d, h, w] if [d, h, w].iter().all(|size| (1..=LARGEST_STEP).contains(size)) => Ok([d, h, w]),
        _ => Err(call.damaged(format!("a weight of shape {:?}", weight.dims()))),
    }
}

pub(super) fn conv(importer: &mut Importer, call: &Call) -> Result<Vec<Value>> {
    let (x, weight, bias) = (call.required(0)?, call.weight(1)?, call.optional_weight(2)?);
    let window = window(call, kernel_of(call, &weight)?, &importer.sizes(&x)?)?;
    let op = Op::composed(Conv3d { weight, bias, window, groups: groups_of(call)? });
    Ok(vec![importer.emit(&call.name, op, &[x])?])
}

pub(super) fn conv_transpose(importer: &mut Importer, call: &Call) -> Result<Vec<Value>> {
    if call.text("auto_pad", "NOTSET").starts_with("SAME") || call.integers("output_shape").is_some() {
        return Err(call.unsupported("auto_pad or output_shape over three axes; give pads"));
    }
    let (x, weight, bias) = (call.required(0)?, call.weight(1)?, call.optional_weight(2)?);
    let window = window(call, kernel_of(call, &weight)?, &importer.sizes(&x)?)?;
    let output_padding = three(call, "output_padding", 0, 0)?;
    let op = Op::composed(ConvTranspose3d { weight, bias, window, groups: groups_of(call)?, output_padding });
    Ok(vec![importer.emit(&call.name, op, &[x])?])
}

pub(super) fn pool(importer: &mut Importer, call: &Call) -> Result<Vec<Value>> {
    let x = call.required(0)?;
    let window = window(call, three(call, "kernel_shape", 1, 1)?, &importer.sizes(&x)?)?;
    let mean = call.node.op_type == "AveragePool";
    if mean && window.dilation != [1; 3] {
        return Err(call.unsupported("a dilated mean"));
    }
    let ceil = call.integer("ceil_mode", 0) != 0;
    let count_padding = call.integer("count_include_pad", 0) != 0;
    let op = Op::composed(Pool3d { window, ceil, count_padding, mean });
    Ok(vec![importer.emit(&call.name, op, &[x])?])
}
