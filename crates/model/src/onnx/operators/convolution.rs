use crate::Op;
use crate::onnx::call::Call;
use crate::onnx::import::Importer;
use crate::onnx::value::{Size, Value};
use candle_core::Tensor;
use faithful_core::Result;
use faithful_tensor::{Binary, Conv};

/// A window's geometry over one or two axes, as attributes give it; one axis is the second of two.
pub(super) struct Window {
    pub(super) kernel: [usize; 2],
    pub(super) stride: [usize; 2],
    pub(super) dilation: [usize; 2],
    /// `[top, left, bottom, right]`.
    pub(super) padding: [usize; 4],
}

/// Reads kernel, strides, dilations and padding for an input of `sizes` `(N, C, …)`.
pub(super) fn window(call: &Call, kernel: &[usize], sizes: &[Size]) -> Result<Window> {
    let axes = kernel.len();
    if axes != 1 && axes != 2 || sizes.len() != axes + 2 {
        return Err(call.unsupported(format!("{axes} spatial axes for an input of {} axes", sizes.len())));
    }
    let positive = |name: &str| -> Result<[usize; 2]> {
        let Some(values) = call.integers(name).filter(|values| !values.is_empty()) else { return Ok([1, 1]) };
        let bounded: Vec<usize> = values
            .iter()
            .map(|&value| {
                usize::try_from(value)
                    .ok()
                    .filter(|value| (1..=LARGEST_STEP).contains(value))
                    .ok_or_else(|| call.damaged(format!("{name} {values:?} are not between 1 and {LARGEST_STEP}")))
            })
            .collect::<Result<_>>()?;
        two(call, name, &bounded, axes, 1)
    };
    let kernel = two(call, "kernel", kernel, axes, 1)?;
    let (stride, dilation) = (positive("strides")?, positive("dilations")?);
    let mut padding = [0; 4];
    match call.text("auto_pad", "NOTSET").as_str() {
        "NOTSET" => {
            if let Some(pads) = call.integers("pads").filter(|pads| !pads.is_empty()) {
                let pads: Vec<usize> = pads
                    .iter()
                    .map(|&pad| usize::try_from(pad).ok().filter(|&pad| pad <= LARGEST_STEP))
                    .collect::<Option<_>>()
                    .ok_or_else(|| call.unsupported(format!("pads {pads:?}")))?;
                if pads.len() != 2 * axes {
                    return Err(call.damaged(format!("{} pads for {axes} axes", pads.len())));
                }
                let (before, after) = pads.split_at(axes);
                for axis in 0..axes {
                    padding[2 - axes + axis] = before[axis];
                    padding[4 - axes + axis] = after[axis];
                }
            }
        }
        "VALID" => {}
        same @ ("SAME_UPPER" | "SAME_LOWER") => {
            for axis in 2 - axes..2 {
                let size = sizes[axis + axes].fixed().and_then(|size| usize::try_from(size).ok());
                let size = size.ok_or_else(|| call.unsupported("auto_pad on an axis that is the batch"))?;
                let extent = dilation[axis] * (kernel[axis] - 1) + 1;
                let steps = size.div_ceil(stride[axis]).saturating_sub(1);
                let total = (steps * stride[axis] + extent).saturating_sub(size);
                let (less, more) = (total / 2, total - total / 2);
                let [before, after] = if same == "SAME_UPPER" { [less, more] } else { [more, less] };
                padding[axis] = before;
                padding[axis + 2] = after;
            }
        }
        other => return Err(call.damaged(format!("auto_pad `{other}`"))),
    }
    Ok(Window { kernel, stride, dilation, padding })
}

/// No stride, dilation, padding or kernel is larger: products of them must not overflow.
pub(super) const LARGEST_STEP: usize = 1 << 20;

/// One or two entries as two; one axis is the width.
fn two(call: &Call, name: &str, values: &[usize], axes: usize, fill: usize) -> Result<[usize; 2]> {
    match *values {
        [width] if axes == 1 => Ok([fill, width]),
        [height, width] if axes == 2 => Ok([height, width]),
        _ => Err(call.damaged(format!("{name} has {} entries for {axes} axes", values.len()))),
    }
}

/// The kernel's spatial sizes, checked.
fn kernel_of(call: &Call, weight: &Tensor) -> Result<Vec<usize>> {
    let kernel = weight.dims().get(2..).unwrap_or_default().to_vec();
    if weight.elem_count() == 0 || kernel.iter().any(|&size| size > LARGEST_STEP) {
        return Err(call.damaged(format!("a weight of shape {:?}", weight.dims())));
    }
    Ok(kernel)
}

pub(super) fn groups_of(call: &Call) -> Result<usize> {
    let groups = call.integer("group", 1);
    usize::try_from(groups).ok().filter(|&groups| groups > 0).ok_or_else(|| call.damaged(format!("{groups} groups")))
}

pub(super) fn conv(importer: &mut Importer, call: &Call) -> Result<Vec<Value>> {
    let (x, weight, bias) = (call.required(0)?, call.weight(1)?, call.optional_weight(2)?);
    let kernel = kernel_of(call, &weight)?;
    if kernel.len() == 3 {
        return super::volume::conv(importer, call);
    }
    let Window { stride, dilation, padding, .. } = window(call, &kernel, &importer.sizes(&x)?)?;
    let conv = Conv { stride, padding, dilation, groups: groups_of(call)? };
    let op = if kernel.len() == 1 { Op::Conv1d { weight, bias, conv } } else { Op::Conv2d { weight, bias, conv } };
    Ok(vec![importer.emit(&call.name, op, &[x])?])
}

pub(super) fn conv_transpose(importer: &mut Importer, call: &Call) -> Result<Vec<Value>> {
    let (mut x, mut weight, bias) = (call.required(0)?, call.weight(1)?, call.optional_weight(2)?);
    let kernel = kernel_of(call, &weight)?;
    if kernel.len() == 3 {
        return super::volume::conv_transpose(importer, call);
    }
    let sizes = importer.sizes(&x)?;
    let axes = kernel.len();
    let automatic = call.text("auto_pad", "NOTSET");
    // `SAME` says here that the output is the input times the stride, so the window is read without it.
    let explicit = proto_without(call, "auto_pad");
    let explicit =
        Call { node: &explicit, name: call.name.clone(), operands: Vec::new(), read: Vec::new(), opset: call.opset };
    let Window { kernel, stride, dilation, mut padding } = window(&explicit, &kernel, &sizes)?;
    let extra = call.integers("output_padding").unwrap_or_default();
    let extra: Vec<usize> = extra.iter().map(|&e| usize::try_from(e).unwrap_or(usize::MAX)).collect();
    if extra.iter().any(|&e| e > LARGEST_STEP) {
        return Err(call.damaged(format!("output_padding {extra:?}")));
    }
    let output_padding = if extra.is_empty() { [0, 0] } else { two(call, "output_padding", &extra, axes, 0)? };
    let goal = call.integers("output_shape").filter(|goal| !goal.is_empty());
    if goal.is_some() || automatic.starts_with("SAME") {
        for axis in 2 - axes..2 {
            let size = sizes[axis + axes].fixed().unwrap_or(0).clamp(0, LARGEST_STEP as i64) as usize;
            let wanted = match goal {
                // Older files give the batch and the channels too.
                Some(goal) => goal.get((axis + goal.len()).wrapping_sub(2)).copied().unwrap_or(0),
                None => (size * stride[axis]) as i64,
            };
            let extent = dilation[axis] * (kernel[axis] - 1) + 1;
            let whole = stride[axis] * size.saturating_sub(1) + output_padding[axis] + extent;
            let total = usize::try_from(whole as i64 - wanted)
                .map_err(|_| call.unsupported(format!("an output of {wanted} cells on axis {axis}")))?;
            let (less, more) = (total / 2, total - total / 2);
            let [before, after] = if automatic == "SAME_UPPER" { [less, more] } else { [more, less] };
            padding[axis] = before;
            padding[axis + 2] = after;
        }
    }
    let conv = Conv { stride, padding, dilation, groups: groups_of(call)? };
    if axes == 2 {
        let op = Op::ConvTranspose2d { weight, bias, conv, output_padding };
        return Ok(vec![importer.emit(&call.name, op, &[x])?]);
    }
    weight = weight.unsqueeze(2)?;
    x = importer.emit(&format!("{}/unsqueeze", call.name), Op::Unsqueeze(vec![2]), &[x])?;
    let op = Op::ConvTranspose2d { weight, bias, conv, output_padding };
    let y = importer.emit(&format!("{}/conv-transpose2d", call.name), op, &[x])?;
    Ok(vec![importer.emit(&call.name, Op::Squeeze(vec![2]), &[y])?])
}

fn proto_without(call: &Call, attribute: &str) -> crate::onnx::proto::Node {
    let mut node = call.node.clone();
    node.attribute.retain(|own| own.name != attribute);
    node
}

/// `alpha * A * B + beta * C`.
pub(super) fn gemm(importer: &mut Importer, call: &Call) -> Result<Vec<Value>> {
    let (mut a, b, c) = (call.required(0)?, call.required(1)?, call.operand(2));
    let (alpha, beta) = (call.float("alpha", 1.0), call.float("beta", 1.0));
    if call.integer("transA", 0) != 0 {
        a = importer.emit(&format!("{}/transpose", call.name), Op::Transpose(vec![1, 0]), &[a])?;
    }
    let transposed = call.integer("transB", 0) != 0;
    let Value::Constant(b) = b else {
        return general_gemm(importer, call, a, b, c, [alpha, beta]);
    };
    if b.rank() != 2 {
        return Err(call.damaged(format!("a weight of shape {:?}", b.dims())));
    }
    let weight = if transposed { b } else { importer.transposed(&b)? };
    let weight = if alpha == 1.0 { weight } else { (weight * alpha)? };
    let outputs = weight.dim(0)?;
    let bias = match &c {
        Value::Constant(c) if c.elem_count() == outputs && c.dims().last() == Some(&outputs) => {
            let flat = c.flatten_all()?;
            Some(if beta == 1.0 { flat } else { (flat * beta)? })
        }
        _ => None,
    };
    if bias.is_some() || matches!(c, Value::Absent) {
        return Ok(vec![importer.emit(&call.name, Op::Linear { weight, bias }, &[a])?]);
    }
    let product = importer.emit(&format!("{}/linear", call.name), Op::Linear { weight, bias: None }, &[a])?;
    Ok(vec![add_scaled(importer, call, product, c, beta)?])
}

fn general_gemm(
    importer: &mut Importer,
    call: &Call,
    a: Value,
    mut b: Value,
    c: Value,
    [alpha, beta]: [f64; 2],
) -> Result<Vec<Value>> {
    if call.integer("transB", 0) != 0 {
        b = importer.emit(&format!("{}/transpose-b", call.name), Op::Transpose(vec![1, 0]), &[b])?;
    }
    let name =
        if matches!(c, Value::Absent) && alpha == 1.0 { call.name.clone() } else { format!("{}/matmul", call.name) };
    let mut product = importer.emit(&name, Op::MatMul, &[a, b])?;
    if alpha != 1.0 {
        let last = if matches!(c, Value::Absent) { call.name.clone() } else { format!("{}/scaled", call.name) };
        product = importer.emit(&last, Op::Binary(Binary::Mul), &[product, super::scalar(alpha)?])?;
    }
    if matches!(c, Value::Absent) {
        return Ok(vec![product]);
    }
    Ok(vec![add_scaled(importer, call, product, c, beta)?])
}

fn add_scaled(importer: &mut Importer, call: &Call, product: Value, c: Value, beta: f64) -> Result<Value> {
    let c = if beta == 1.0 {
        c
    } else {
        importer.emit(&format!("{}/beta", call.name), Op::Binary(Binary::Mul), &[c, super::scalar(beta)?])?
    };
    importer.emit(&call.name, Op::Binary(Binary::Add), &[product, c])
}

/// A product with a constant matrix is a fully connected layer.
pub(super) fn matmul(importer: &mut Importer, call: &Call) -> Result<Vec<Value>> {
    let (a, b) = (call.required(0)?, call.required(1)?);
    if let (Value::Node(_), Value::Constant(b)) = (&a, &b)
        && b.rank() == 2
    {
        let op = Op::Linear { weight: importer.transposed(b)?, bias: None };
        return Ok(vec![importer.emit(&call.name, op, &[a])?]);
    }
    Ok(vec![importer.emit(&call.name, Op::MatMul, &[a, b])?])
}
