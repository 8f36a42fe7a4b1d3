//! What shape a node has, given its operands' shapes; the batch is an axis like any other here.

use super::{Dim, Op, ResizeTo};
use crate::Node;
use faithful_core::{Error, Result};
use faithful_tensor::{Conv, PadMode, Pool};

/// Every node's shape for an input of `input` `(N, …)`.
pub(crate) fn infer_all(nodes: &[Node], input: &[usize]) -> Result<Vec<Vec<usize>>> {
    let batch = *input.first().ok_or_else(|| Error::shape("network input", "(N, …)", input))?;
    let mut shapes: Vec<Vec<usize>> = Vec::with_capacity(nodes.len());
    for node in nodes {
        let shape = if matches!(node.op, Op::Input) {
            input.to_vec()
        } else {
            let operands: Vec<&[usize]> = node.inputs.iter().map(|id| shapes[id.0].as_slice()).collect();
            infer(node, &operands, batch)?
        };
        shapes.push(shape);
    }
    Ok(shapes)
}

/// The shape of `node` for operands of these shapes; there are as many as the operation takes.
pub(crate) fn infer(node: &Node, operands: &[&[usize]], batch: usize) -> Result<Vec<usize>> {
    let x = operands.first().copied().unwrap_or_default();
    let wrong = |expected: String, got: &[usize]| Error::shape(describe(node), expected, got);
    let shape = match &node.op {
        Op::Input => return Err(Error::format(describe(node), "the input's shape comes from outside")),
        Op::Constant(value) => value.dims().to_vec(),
        Op::Conv2d { weight, bias, conv } => {
            let w = weight.dims();
            check_bias(node, bias.as_ref().map(candle_core::Tensor::dims), w.first().copied())?;
            conv_shape::<2>(x, w, conv, [0, 1]).map_err(|expected| wrong(expected, x))?
        }
        Op::Conv1d { weight, bias, conv } => {
            let w = weight.dims();
            check_bias(node, bias.as_ref().map(candle_core::Tensor::dims), w.first().copied())?;
            conv_shape::<1>(x, w, conv, [1, 1]).map_err(|expected| wrong(expected, x))?
        }
        Op::ConvTranspose2d { weight, bias, conv, output_padding } => {
            let outputs = weight.dims().get(1).and_then(|o| o.checked_mul(conv.groups));
            check_bias(node, bias.as_ref().map(candle_core::Tensor::dims), outputs)?;
            transposed_shape(x, weight.dims(), conv, *output_padding).map_err(|expected| wrong(expected, x))?
        }
        Op::Linear { weight, bias } => {
            let [outputs, inputs] = *weight.dims() else {
                return Err(Error::shape(format!("{}, its weight", describe(node)), "(O, I)", weight.dims()));
            };
            check_bias(node, bias.as_ref().map(candle_core::Tensor::dims), Some(outputs))?;
            match x.split_last() {
                Some((&last, leading)) if last == inputs => with_last(leading, &[outputs]),
                _ => return Err(wrong(format!("(…, {inputs})"), x)),
            }
        }
        Op::MatMul => matmul_shape(operands[0], operands[1])
            .ok_or_else(|| wrong(format!("a matrix that multiplies {:?}", operands[0]), operands[1]))?,
        Op::BatchNorm { scale, shift } => {
            let channels = x.get(1).copied().unwrap_or(0);
            if scale.dims() != [channels] || shift.dims() != [channels] || x.len() < 2 {
                return Err(wrong(format!("(N, {}, …)", scale.elem_count()), x));
            }
            x.to_vec()
        }
        Op::LayerNorm { axis, weight, bias, .. } => {
            let inner = x
                .get(*axis..)
                .filter(|inner| !inner.is_empty())
                .ok_or_else(|| wrong(format!("more than {axis} axes"), x))?;
            for parameter in weight.iter().chain(bias) {
                if parameter.dims() != inner {
                    return Err(wrong(format!("(…, {:?})", parameter.dims()), x));
                }
            }
            x.to_vec()
        }
        Op::GroupNorm { groups, weight, bias, .. } => {
            let channels = x.get(1).copied().unwrap_or(0);
            if *groups == 0 || channels == 0 || channels % groups != 0 {
                return Err(wrong(format!("channels that {groups} groups divide"), x));
            }
            for parameter in weight.iter().chain(bias) {
                if parameter.dims() != [channels] {
                    return Err(wrong(format!("(N, {}, …)", parameter.elem_count()), x));
                }
            }
            x.to_vec()
        }
        Op::Activation(_) | Op::Unary(_) | Op::Identity => x.to_vec(),
        Op::Softmax { axis, .. } => {
            at(x, *axis).ok_or_else(|| wrong(format!("more than {axis} axes"), x))?;
            x.to_vec()
        }
        Op::MaxPool2d(pool) => pool_shape(x, pool).map_err(|expected| wrong(expected, x))?,
        Op::AvgPool2d(pool) => pool_shape(x, pool).map_err(|expected| wrong(expected, x))?,
        Op::AdaptiveAvgPool2d(size) | Op::AdaptiveMaxPool2d(size) => match *x {
            [n, c, h, w] if h > 0 && w > 0 => vec![n, c, size[0], size[1]],
            _ => return Err(wrong("(N, C, H, W), none of them 0".into(), x)),
        },
        Op::Lstm { weights, .. } => recurrent_shape(weights, 4, x).map_err(|expected| wrong(expected, x))?,
        Op::Gru { weights, .. } => recurrent_shape(weights, 3, x).map_err(|expected| wrong(expected, x))?,
        Op::Binary(_) => broadcast(operands[0], operands[1])
            .ok_or_else(|| wrong(format!("one that broadcasts with {:?}", operands[0]), operands[1]))?,
        Op::Concat { axis } => {
            let mut joined = x.to_vec();
            at(x, *axis).ok_or_else(|| wrong(format!("more than {axis} axes"), x))?;
            for other in &operands[1..] {
                let same = other.len() == x.len() && (0..x.len()).all(|i| i == *axis || other[i] == x[i]);
                if !same {
                    return Err(wrong(format!("{x:?} except for axis {axis}"), other));
                }
                joined[*axis] = joined[*axis]
                    .checked_add(other[*axis])
                    .ok_or_else(|| wrong("sizes that can be added".into(), other))?;
            }
            joined
        }
        Op::Slice { axis, start, end, step } => {
            let size = at(x, *axis).ok_or_else(|| wrong(format!("more than {axis} axes"), x))?;
            let mut sliced = x.to_vec();
            sliced[*axis] = slice_size(size, *start, *end, *step)
                .ok_or_else(|| wrong(format!("an axis {axis} that holds {start} to {end:?}"), x))?;
            sliced
        }
        Op::Pad { pads, mode } => pad_shape(x, pads, *mode).map_err(|expected| wrong(expected, x))?,
        Op::Reshape(dims) => reshape(x, dims, batch).map_err(|expected| wrong(expected, x))?,
        Op::Flatten { axis } => {
            if *axis > x.len() {
                return Err(wrong(format!("at least {axis} axes"), x));
            }
            let rest = elements(&x[*axis..]).ok_or_else(|| wrong("a countable size".into(), x))?;
            with_last(&x[..*axis], &[rest])
        }
        Op::Transpose(axes) => {
            let mut seen = vec![false; x.len()];
            let all = axes.len() == x.len()
                && axes.iter().all(|&axis| axis < x.len() && !std::mem::replace(&mut seen[axis], true));
            if !all {
                return Err(wrong(format!("{} axes for the order {axes:?}", axes.len()), x));
            }
            axes.iter().map(|&axis| x[axis]).collect()
        }
        Op::Squeeze(axes) => {
            if axes.iter().any(|&axis| at(x, axis) != Some(1)) {
                return Err(wrong(format!("size 1 on the axes {axes:?}"), x));
            }
            (0..x.len()).filter(|axis| !axes.contains(axis)).map(|axis| x[axis]).collect()
        }
        Op::Unsqueeze(axes) => {
            let rank = x.len() + axes.len();
            let mut rest = x.iter();
            let mut shape = Vec::with_capacity(rank);
            for axis in 0..rank {
                shape.push(if axes.contains(&axis) { 1 } else { rest.next().copied().unwrap_or(1) });
            }
            if axes.iter().any(|&axis| axis >= rank) || rest.next().is_some() {
                return Err(wrong(format!("other axes than {axes:?}, which do not exist or repeat"), x));
            }
            shape
        }
        Op::Expand(dims) => {
            let goal = expand_goal(x, dims, batch).map_err(|expected| wrong(expected, x))?;
            broadcast(x, &goal).ok_or_else(|| wrong(format!("one that broadcasts to {goal:?}"), x))?
        }
        Op::Reduce { axes, keep, .. } => {
            if axes.iter().any(|&axis| axis >= x.len()) {
                return Err(wrong(format!("axes {axes:?}"), x));
            }
            let reduced = |axis: usize| axes.is_empty() || axes.contains(&axis);
            let size = |axis: usize| if reduced(axis) { keep.then_some(1) } else { Some(x[axis]) };
            (0..x.len()).filter_map(size).collect()
        }
        Op::Gather { axis, index } => {
            let size = at(x, *axis).ok_or_else(|| wrong(format!("more than {axis} axes"), x))?;
            if let Some(outside) = index.iter().find(|&&i| i >= size) {
                return Err(wrong(format!("an axis {axis} that holds index {outside}"), x));
            }
            let mut gathered = x.to_vec();
            gathered[*axis] = index.len();
            gathered
        }
        Op::Resize { size, .. } => match *x {
            [n, c, h, w] if h > 0 && w > 0 => {
                let [height, width] = match *size {
                    ResizeTo::Size(size) => size,
                    ResizeTo::Scale([y, x]) => [scaled(h, y), scaled(w, x)],
                };
                if height == 0 || width == 0 {
                    return Err(wrong("a larger image: the result has no pixels".into(), x));
                }
                vec![n, c, height, width]
            }
            _ => return Err(wrong("(N, C, H, W)".into(), x)),
        },
        Op::Composed(composition) => composition.shape(operands).map_err(|expected| wrong(expected, x))?,
    };
    match elements(&shape) {
        Some(count) if count <= LARGEST => Ok(shape),
        _ => Err(Error::shape(describe(node), format!("a result of at most {LARGEST} elements"), &shape)),
    }
}

/// No activation is larger than this (64 GiB of `f32`): a file that says so is damaged.
pub(crate) const LARGEST: usize = 1 << 34;

fn describe(node: &Node) -> String {
    format!("layer `{}` ({})", node.name, node.op.kind())
}

fn check_bias(node: &Node, bias: Option<&[usize]>, outputs: Option<usize>) -> Result<()> {
    match (bias, outputs) {
        (None, _) => Ok(()),
        (Some(&[size]), Some(outputs)) if size == outputs => Ok(()),
        (Some(got), _) => Err(Error::shape(format!("{}, its bias", describe(node)), "(outputs,)", got)),
    }
}

fn at(shape: &[usize], axis: usize) -> Option<usize> {
    shape.get(axis).copied()
}

fn with_last(leading: &[usize], last: &[usize]) -> Vec<usize> {
    leading.iter().chain(last).copied().collect()
}

/// The number of elements, unless it overflows. It does so beside a size of 0 too: who multiplies in order meets the 0 too late.
pub(crate) fn elements(shape: &[usize]) -> Option<usize> {
    let others =
        shape.iter().filter(|size| **size > 0).try_fold(1_usize, |product, &size| product.checked_mul(size))?;
    Some(if shape.contains(&0) { 0 } else { others })
}

/// `NumPy`'s broadcasting.
pub(crate) fn broadcast(a: &[usize], b: &[usize]) -> Option<Vec<usize>> {
    let rank = a.len().max(b.len());
    let size = |shape: &[usize], axis: usize| (axis + shape.len()).checked_sub(rank).map_or(1, |i| shape[i]);
    (0..rank)
        .map(|axis| match (size(a, axis), size(b, axis)) {
            (x, y) if x == y => Some(x),
            (1, y) => Some(y),
            (x, 1) => Some(x),
            _ => None,
        })
        .collect()
}

/// The places of a window of `kernel` taps over `size` cells with `before` and `after` cells around.
pub(crate) fn windows(
    size: usize,
    kernel: usize,
    stride: usize,
    dilation: usize,
    pads: [usize; 2],
    ceil: bool,
) -> Option<usize> {
    let extent = dilation.checked_mul(kernel.checked_sub(1)?)?.checked_add(1)?;
    let padded = size.checked_add(pads[0])?.checked_add(pads[1])?;
    let room = padded.checked_sub(extent)?;
    if stride == 0 || size == 0 {
        return None;
    }
    let mut count = if ceil { room.div_ceil(stride) } else { room / stride } + 1;
    // A window that would start in the right padding does not count.
    if ceil && (count - 1).checked_mul(stride)? >= size.checked_add(pads[0])? {
        count -= 1;
    }
    Some(count)
}

fn conv_shape<const AXES: usize>(
    x: &[usize],
    w: &[usize],
    conv: &Conv,
    axes: [usize; 2],
) -> std::result::Result<Vec<usize>, String> {
    if w.len() != AXES + 2 || conv.groups == 0 || w.contains(&0) || !w[0].is_multiple_of(conv.groups) {
        return Err(format!("a weight with {} axes that {} groups divide, not {w:?}", AXES + 2, conv.groups));
    }
    let channels = w[1].checked_mul(conv.groups);
    if x.len() != AXES + 2 || Some(x[1]) != channels {
        let spatial = if AXES == 1 { "T" } else { "H, W" };
        return Err(format!("(N, {}, {spatial})", channels.unwrap_or(0)));
    }
    let mut shape = vec![x[0], w[0]];
    for i in 0..AXES {
        let axis = axes[i];
        let pads = [conv.padding[axis], conv.padding[axis + 2]];
        let size = windows(x[i + 2], w[i + 2], conv.stride[axis], conv.dilation[axis], pads, false);
        shape.push(size.ok_or_else(|| format!("room for a window of {:?}", &w[2..]))?);
    }
    Ok(shape)
}

fn transposed_shape(
    x: &[usize],
    w: &[usize],
    conv: &Conv,
    extra: [usize; 2],
) -> std::result::Result<Vec<usize>, String> {
    let ([n, c, h, width], [inputs, outputs, kh, kw]) = (x, w) else { return Err("(N, C, H, W)".into()) };
    if c != inputs || conv.groups == 0 || c % conv.groups != 0 || w.contains(&0) || *h == 0 || *width == 0 {
        return Err(format!("(N, {inputs}, H, W)"));
    }
    let size = |axis: usize, cells: usize, kernel: usize| -> Option<usize> {
        let steps = (cells - 1).checked_mul(conv.stride[axis])?;
        let whole = conv.dilation[axis]
            .checked_mul(kernel - 1)?
            .checked_add(steps)?
            .checked_add(extra[axis])?
            .checked_add(1)?;
        whole.checked_sub(conv.padding[axis].checked_add(conv.padding[axis + 2])?).filter(|&size| size > 0)
    };
    match (outputs.checked_mul(conv.groups), size(0, *h, *kh), size(1, *width, *kw)) {
        (Some(outputs), Some(height), Some(width)) => Ok(vec![*n, outputs, height, width]),
        _ => Err("a larger input: the result has no pixels".into()),
    }
}

fn pool_shape(x: &[usize], pool: &Pool) -> std::result::Result<Vec<usize>, String> {
    let [n, c, h, w] = *x else { return Err("(N, C, H, W)".into()) };
    let size = |axis: usize, cells: usize| {
        let pads = [pool.padding[axis], pool.padding[axis + 2]];
        windows(cells, pool.kernel[axis], pool.stride[axis], pool.dilation[axis], pads, pool.ceil)
    };
    match (size(0, h), size(1, w)) {
        (Some(height), Some(width)) => Ok(vec![n, c, height, width]),
        _ => Err(format!("room for a window of {:?}", pool.kernel)),
    }
}

/// A size times a file's factor, rounded down. The factor is an `f32`, and so is ONNX's product: 10 times 1.1 is 11.
fn scaled(size: usize, factor: f64) -> usize {
    (size as f32 * factor as f32).floor() as usize
}

fn recurrent_shape(
    weights: &faithful_tensor::Recurrent,
    gates: usize,
    x: &[usize],
) -> std::result::Result<Vec<usize>, String> {
    let (input, hidden) = (weights.input_weight.dims(), weights.hidden_weight.dims());
    let ([rows, features], [hidden_rows, width]) = (input, hidden) else {
        return Err(format!("weights (G * H, I) and (G * H, H), not {input:?} and {hidden:?}"));
    };
    if rows != hidden_rows || width.checked_mul(gates) != Some(*rows) {
        return Err(format!("weights of {gates} gates, not {input:?} and {hidden:?}"));
    }
    for bias in weights.input_bias.iter().chain(&weights.hidden_bias) {
        if bias.dims() != [*rows] {
            return Err(format!("biases ({rows},), not {:?}", bias.dims()));
        }
    }
    match *x {
        [n, t, i] if i == *features => Ok(vec![n, t, *width]),
        _ => Err(format!("(N, T, {features})")),
    }
}

fn matmul_shape(a: &[usize], b: &[usize]) -> Option<Vec<usize>> {
    // NumPy: a vector gets an axis that the result does not have.
    let left = if a.len() == 1 { vec![1, a[0]] } else { a.to_vec() };
    let right = if b.len() == 1 { vec![b[0], 1] } else { b.to_vec() };
    let (leading_left, [rows, inner]) = left.split_last_chunk::<2>()?;
    let (leading_right, [other, columns]) = right.split_last_chunk::<2>()?;
    if inner != other {
        return None;
    }
    let mut shape = broadcast(leading_left, leading_right)?;
    if a.len() != 1 {
        shape.push(*rows);
    }
    if b.len() != 1 {
        shape.push(*columns);
    }
    Some(shape)
}

fn slice_size(size: usize, start: usize, end: Option<usize>, step: isize) -> Option<usize> {
    match step {
        0 => None,
        1.. => {
            let end = end.unwrap_or(size).min(size);
            Some(end.saturating_sub(start).div_ceil(step.unsigned_abs()))
        }
        _ => {
            if start >= size {
                return None;
            }
            let cells = end.map_or(start + 1, |end| start.saturating_sub(end));
            Some(cells.div_ceil(step.unsigned_abs()))
        }
    }
}

fn pad_shape(x: &[usize], pads: &[[isize; 2]], mode: PadMode) -> std::result::Result<Vec<usize>, String> {
    if pads.len() != x.len() {
        return Err(format!("{} axes", pads.len()));
    }
    let size = |(&size, &[before, after]): (&usize, &[isize; 2])| {
        let reach = match mode {
            PadMode::Constant(_) => isize::MAX,
            PadMode::Reflect => size as isize - 1,
            PadMode::Edge => {
                if size == 0 {
                    0
                } else {
                    isize::MAX
                }
            }
        };
        if before > reach || after > reach {
            return None;
        }
        size.checked_add_signed(before)?.checked_add_signed(after)
    };
    x.iter().zip(pads).map(size).collect::<Option<_>>().ok_or_else(|| format!("room for the padding {pads:?}"))
}

fn reshape(x: &[usize], dims: &[Dim], batch: usize) -> std::result::Result<Vec<usize>, String> {
    let mut rest = None;
    let mut shape = Vec::with_capacity(dims.len());
    for (axis, dim) in dims.iter().enumerate() {
        shape.push(match *dim {
            Dim::Batch => batch,
            Dim::Times(factor) => batch.checked_mul(factor).ok_or("a countable size")?,
            Dim::Fixed(size) => size,
            Dim::Same(axis) => at(x, axis).ok_or_else(|| format!("more than {axis} axes"))?,
            Dim::Rest if rest.is_none() => {
                rest = Some(axis);
                1
            }
            Dim::Rest => return Err("one free axis at most".into()),
        });
    }
    let all = elements(x).ok_or("a countable size")?;
    let known = elements(&shape).ok_or("a countable size")?;
    if let Some(axis) = rest {
        if known == 0 || all % known != 0 {
            return Err(format!("a size that {known} divides, for the shape {dims:?}"));
        }
        shape[axis] = all / known;
    } else if known != all {
        return Err(format!("{known} elements, for the shape {shape:?}"));
    }
    Ok(shape)
}

fn expand_goal(x: &[usize], dims: &[Dim], batch: usize) -> std::result::Result<Vec<usize>, String> {
    dims.iter()
        .map(|dim| match *dim {
            Dim::Batch => Ok(batch),
            Dim::Times(factor) => batch.checked_mul(factor).ok_or_else(|| "a countable size".into()),
            Dim::Fixed(size) => Ok(size),
            Dim::Same(axis) => at(x, axis).ok_or_else(|| format!("more than {axis} axes")),
            Dim::Rest => Err("a goal without a free axis".into()),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::elements;

    #[test]
    fn elements_are_counted_unless_any_order_overflows() {
        assert_eq!(elements(&[2, 3, 4]), Some(24));
        assert_eq!(elements(&[]), Some(1));
        assert_eq!(elements(&[2, 0, 4]), Some(0));
        assert_eq!(elements(&[usize::MAX, 2]), None);
        assert_eq!(elements(&[usize::MAX, 2, 0]), None);
    }
}
