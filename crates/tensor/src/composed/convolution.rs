//! Convolutions as compositions of candle's kernels; see [`crate::composed`].
//!
//! candle's `conv2d` is a matrix product (or cuDNN's kernel), its `conv_transpose2d` a loop without one on a GPU. So the
//! gradient with respect to the input is computed as what it is, a convolution of step 1 with the turned kernel.

use super::{places, select};
use crate::convolution::{Geometry, bias_gradient, wanted};
use crate::function::{Value, attach};
use crate::shaping::{PadMode, pad};
use candle_core::{Result, Tensor};

pub(crate) fn conv2d(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, geometry: Geometry) -> Result<Tensor> {
    let (x, weight) = (x.contiguous()?, weight.contiguous()?);
    let mut value = forward(&x.detach(), &weight.detach(), &geometry)?;
    if let Some(bias) = bias {
        value = value.broadcast_add(&bias.detach().reshape((1, (), 1, 1))?)?;
    }
    let mut arguments = vec![&x, &weight];
    arguments.extend(bias);
    attach("conv2d", &arguments, Value::Device(value), move |backward| {
        let gradient = backward.gradient;
        Ok(vec![
            wanted(backward, 0, |[_, weight]| input_gradient(gradient, weight, &geometry))?,
            wanted(backward, 1, |[x, _]| weight_gradient(x, gradient, &geometry))?,
            bias_gradient(backward)?,
        ])
    })
}

pub(crate) fn conv_transpose2d(x: &Tensor, weight: &Tensor, geometry: Geometry) -> Result<Tensor> {
    let (x, weight) = (x.contiguous()?, weight.contiguous()?);
    let value = input_gradient(&x.detach(), &weight.detach(), &geometry)?;
    attach("conv_transpose2d", &[&x, &weight], Value::Device(value), move |backward| {
        let gradient = backward.gradient;
        Ok(vec![
            wanted(backward, 0, |[_, weight]| forward(gradient, weight, &geometry))?,
            wanted(backward, 1, |[x, _]| weight_gradient(gradient, x, &geometry))?,
        ])
    })
}

/// One step and one dilation for both axes, which is what candle's kernels know.
struct Plain {
    stride: usize,
    dilation: usize,
}

/// The geometry as candle's kernels can compute it, if they can.
fn plain(g: &Geometry) -> Option<Plain> {
    // A window that fills its axis has no step to take, a kernel of one tap no distance between taps.
    let is_filled = |axis: usize| {
        let window = (g.kernel[axis] - 1) * g.conv.dilation[axis] + 1;
        g.size[axis] + g.conv.padding[axis] + g.conv.padding[axis + 2] == window
    };
    let one_of = |values: [usize; 2], is_free: [bool; 2]| match is_free {
        [true, _] => Some(values[1]),
        [_, true] => Some(values[0]),
        _ => (values[0] == values[1]).then_some(values[0]),
    };
    let stride = one_of(g.conv.stride, [is_filled(0), is_filled(1)])?;
    let dilation = one_of(g.conv.dilation, [g.kernel[0] == 1, g.kernel[1] == 1])?;
    (g.conv.groups == 1).then_some(Plain { stride, dilation })
}

/// `x` with `[top, left, bottom, right]` zeros around, fewer pixels where negative.
fn padded(x: &Tensor, [top, left, bottom, right]: [isize; 4]) -> Result<Tensor> {
    // What is cropped on one side may have to come from the zeros of the other.
    let zeros = |side: isize| side.max(0);
    let crops = |side: isize| side.min(0);
    let x = pad(x, &[[0; 2], [0; 2], [top, bottom].map(zeros), [left, right].map(zeros)], PadMode::Constant(0.))?;
    pad(&x, &[[0; 2], [0; 2], [top, bottom].map(crops), [left, right].map(crops)], PadMode::Constant(0.))
}

/// candle's convolution of step `stride` with any padding.
fn convolve(x: &Tensor, weight: &Tensor, padding: [isize; 4], stride: usize, dilation: usize) -> Result<Tensor> {
    let [first, ..] = padding;
    if first >= 0 && padding.iter().all(|&side| side == first) {
        return x.conv2d(weight, first as usize, stride, dilation, 1);
    }
    padded(x, padding)?.contiguous()?.conv2d(weight, 0, stride, dilation, 1)
}

/// candle's kernels panic where there is nothing to convolve.
fn is_empty(g: &Geometry) -> bool {
    g.batch == 0 || g.channels == 0 || g.outputs == 0
}

fn forward(x: &Tensor, weight: &Tensor, g: &Geometry) -> Result<Tensor> {
    if is_empty(g) {
        return Tensor::zeros(g.result_shape(), x.dtype(), x.device());
    }
    if let Some(Plain { stride, dilation }) = plain(g) {
        let y = convolve(x, weight, g.conv.padding.map(|side| side as isize), stride, dilation)?;
        // Behind a transposed convolution with output padding there is room for more windows than it had pixels.
        return y.narrow(2, 0, g.result[0])?.narrow(3, 0, g.result[1])?.contiguous();
    }
    // Windows gathered into a matrix, then one batched product for all groups.
    let weight = weight.reshape((1, g.conv.groups, g.outputs_per_group(), g.taps()))?;
    weight.broadcast_matmul(&unfold(x, g)?)?.reshape(g.result_shape())
}

/// The windows of `x` as `(N, groups, C / groups * taps, oh * ow)`.
fn unfold(x: &Tensor, g: &Geometry) -> Result<Tensor> {
    let conv = &g.conv;
    let x = padded(x, conv.padding.map(|side| side as isize))?;
    let mut taps = Vec::new();
    for ky in 0..g.kernel[0] {
        let places: Vec<usize> = (0..g.result[0]).map(|o| o * conv.stride[0] + ky * conv.dilation[0]).collect();
        let rows = select(&x, 2, &places)?;
        for kx in 0..g.kernel[1] {
            let places: Vec<usize> = (0..g.result[1]).map(|o| o * conv.stride[1] + kx * conv.dilation[1]).collect();
            taps.push(select(&rows, 3, &places)?);
        }
    }
    Tensor::stack(&taps, 2)?.reshape((g.batch, conv.groups, g.taps(), g.result_pixels()))
}

fn input_gradient(gradient: &Tensor, weight: &Tensor, g: &Geometry) -> Result<Tensor> {
    if is_empty(g) {
        return Tensor::zeros(g.input_shape(), gradient.dtype(), gradient.device());
    }
    let Some(Plain { stride, dilation }) = plain(g) else { return folded_input_gradient(gradient, weight, g) };
    let spread = spread(&spread(gradient, 2, stride)?, 3, stride)?;
    // So many zeros around that step 1 gives exactly the input's pixels.
    let mut padding = [0; 4];
    for axis in 0..2 {
        let reach = ((g.kernel[axis] - 1) * dilation) as isize;
        let before = reach - g.conv.padding[axis] as isize;
        padding[axis] = before;
        padding[axis + 2] =
            (g.size[axis] + (g.kernel[axis] - 1) * dilation) as isize - before - spread.dims()[axis + 2] as isize;
    }
    let backwards = |size: usize| (0..size).rev().collect::<Vec<usize>>();
    let turned = select(&select(weight, 2, &backwards(g.kernel[0]))?, 3, &backwards(g.kernel[1]))?;
    convolve(&spread, &turned.transpose(0, 1)?.contiguous()?, padding, 1, dilation)
}

/// `step - 1` zeros between the pixels of `axis`.
fn spread(x: &Tensor, axis: usize, step: usize) -> Result<Tensor> {
    let mut dims = x.dims().to_vec();
    let size = dims[axis];
    if step == 1 || size < 2 {
        return Ok(x.clone());
    }
    dims[axis] = size * step;
    let apart = x.unsqueeze(axis + 1)?.pad_with_zeros(axis + 1, 0, step - 1)?.reshape(dims)?;
    apart.narrow(axis, 0, (size - 1) * step + 1)?.contiguous()
}

/// Per tap, the product of every pixel, put where the tap puts it.
fn folded_input_gradient(gradient: &Tensor, weight: &Tensor, g: &Geometry) -> Result<Tensor> {
    let conv = &g.conv;
    let gradient = gradient.reshape((g.batch, conv.groups, g.outputs_per_group(), g.result_pixels()))?;
    let weight = weight.reshape((1, conv.groups, g.outputs_per_group(), g.taps()))?.transpose(2, 3)?;
    let columns = weight.contiguous()?.broadcast_matmul(&gradient)?;
    let columns = columns.reshape((g.batch, g.channels, g.kernel[0] * g.kernel[1], g.result[0], g.result[1]))?;
    let mut sum = Tensor::zeros(g.input_shape(), gradient.dtype(), gradient.device())?;
    for ky in 0..g.kernel[0] {
        for kx in 0..g.kernel[1] {
            let tap = columns.narrow(2, ky * g.kernel[1] + kx, 1)?.squeeze(2)?;
            sum = (sum + place(&place(&tap, 2, g, ky)?, 3, g, kx)?)?;
        }
    }
    Ok(sum)
}

/// Spreads the pixels of `axis` by the stride and shifts them to tap `tap`, cropped to the input's size.
fn place(x: &Tensor, axis: usize, g: &Geometry, tap: usize) -> Result<Tensor> {
    let spatial = axis - 2;
    let (stride, offset) = (g.conv.stride[spatial], tap * g.conv.dilation[spatial]);
    let (before, size) = (g.conv.padding[spatial], g.size[spatial]);
    let targets = (0..g.result[spatial]).map(|o| (o, (o * stride + offset).checked_sub(before)));
    let kept: Vec<(usize, usize)> =
        targets.filter_map(|(o, target)| target.filter(|&t| t < size).map(|t| (o, t))).collect();
    let mut shape = x.dims().to_vec();
    shape[axis] = size;
    let zeros = Tensor::zeros(shape, x.dtype(), x.device())?;
    if kept.is_empty() {
        return Ok(zeros);
    }
    let (from, to): (Vec<usize>, Vec<usize>) = kept.into_iter().unzip();
    zeros.index_add(&places(&to, x)?, &select(x, axis, &from)?.contiguous()?, axis)
}

fn weight_gradient(x: &Tensor, gradient: &Tensor, g: &Geometry) -> Result<Tensor> {
    if is_empty(g) {
        return Tensor::zeros(g.weight_shape(), x.dtype(), x.device());
    }
    let Some(Plain { stride, dilation }) = plain(g) else {
        let gradient = gradient.reshape((g.batch, g.conv.groups, g.outputs_per_group(), g.result_pixels()))?;
        let windows = unfold(x, g)?.transpose(2, 3)?.contiguous()?;
        return gradient.matmul(&windows)?.sum(0)?.reshape(g.weight_shape());
    };
    // A convolution over the batch: the gradient is the kernel, and steps and distances change places.
    let x = padded(x, g.conv.padding.map(|side| side as isize))?.transpose(0, 1)?.contiguous()?;
    let full = x.conv2d(&gradient.transpose(0, 1)?.contiguous()?, 0, dilation, stride, 1)?.transpose(0, 1)?;
    full.narrow(2, 0, g.kernel[0])?.narrow(3, 0, g.kernel[1])?.contiguous()
}
