//! The same operations as compositions of candle's own, of those whose gradients are right: what runs on a GPU.
//!
//! The tests hold these against the CPU kernels, on the CPU.

use crate::convolution::{Geometry, bias_gradient, wanted};
use crate::function::{Value, attach};
use crate::pooling::Window;
use crate::separable::LinearMap;
use candle_core::{Result, Tensor};

pub(crate) fn conv2d(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, geometry: &Geometry) -> Result<Tensor> {
    let y =
        if is_plain(geometry) { plain_conv2d(x, weight, *geometry)? } else { unfolded_conv2d(x, weight, geometry)? };
    match bias {
        Some(bias) => y.broadcast_add(&bias.reshape((1, (), 1, 1))?),
        None => Ok(y),
    }
}

/// Whether candle's own kernels can do it, forward and back.
fn is_plain(g: &Geometry) -> bool {
    let conv = &g.conv;
    let same = |axes: [usize; 2]| axes[0] == axes[1];
    conv.groups == 1
        && same(conv.stride)
        && same(conv.dilation)
        && conv.padding.iter().all(|&padding| padding == conv.padding[0])
        && output_padding(g).is_some_and(same)
}

/// What a transposed convolution must add to reach the input's size again.
fn output_padding(g: &Geometry) -> Option<[usize; 2]> {
    let axis = |axis: usize| {
        let window = (g.kernel[axis] - 1) * g.conv.dilation[axis] + 1;
        let reached = (g.result[axis] - 1) * g.conv.stride[axis] + window;
        (g.size[axis] + g.conv.padding[axis] + g.conv.padding[axis + 2]).checked_sub(reached)
    };
    Some([axis(0)?, axis(1)?])
}

/// candle's kernels with its gradients, but without the kernel's where nobody wants it.
fn plain_conv2d(x: &Tensor, weight: &Tensor, geometry: Geometry) -> Result<Tensor> {
    let (padding, stride, dilation) = (geometry.conv.padding[0], geometry.conv.stride[0], geometry.conv.dilation[0]);
    let (x, weight) = (x.contiguous()?, weight.contiguous()?);
    let value = x.detach().conv2d(&weight.detach(), padding, stride, dilation, 1)?;
    attach("conv2d", &[&x, &weight], Value::Device(value), move |backward| {
        let gradient = backward.gradient;
        let extra = output_padding(&geometry).map_or(0, |extra| extra[0]);
        Ok(vec![
            wanted(backward, 0, |[_, weight]| gradient.conv_transpose2d(weight, padding, extra, stride, dilation))?,
            wanted(backward, 1, |[x, _]| {
                let (x, gradient) = (x.transpose(0, 1)?.contiguous()?, gradient.transpose(0, 1)?.contiguous()?);
                let full = x.conv2d(&gradient, padding, dilation, stride, 1)?.transpose(0, 1)?;
                full.narrow(2, 0, geometry.kernel[0])?.narrow(3, 0, geometry.kernel[1])?.contiguous()
            })?,
            bias_gradient(backward)?,
        ])
    })
}

/// Windows gathered into a matrix, then one batched product for all groups.
fn unfolded_conv2d(x: &Tensor, weight: &Tensor, g: &Geometry) -> Result<Tensor> {
    let conv = &g.conv;
    let [top, left, bottom, right] = conv.padding;
    let x = x.pad_with_zeros(2, top, bottom)?.pad_with_zeros(3, left, right)?;
    let mut taps = Vec::new();
    for ky in 0..g.kernel[0] {
        let places: Vec<usize> = (0..g.result[0]).map(|o| o * conv.stride[0] + ky * conv.dilation[0]).collect();
        let rows = select(&x, 2, &places)?;
        for kx in 0..g.kernel[1] {
            let places: Vec<usize> = (0..g.result[1]).map(|o| o * conv.stride[1] + kx * conv.dilation[1]).collect();
            taps.push(select(&rows, 3, &places)?);
        }
    }
    // (N, C, taps, oh, ow), which is (N, groups, C / groups * taps, oh * ow).
    let windows = Tensor::stack(&taps, 2)?.reshape((g.batch, conv.groups, g.taps(), g.result_pixels()))?;
    let weight = weight.reshape((1, conv.groups, g.outputs_per_group(), g.taps()))?;
    weight.broadcast_matmul(&windows)?.reshape(g.result_shape())
}

pub(crate) fn conv_transpose2d(x: &Tensor, weight: &Tensor, g: &Geometry) -> Result<Tensor> {
    let conv = &g.conv;
    // Per tap, the product of every pixel, put where the tap puts it.
    let x = x.reshape((g.batch, conv.groups, g.outputs_per_group(), g.result_pixels()))?;
    let weight = weight.reshape((1, conv.groups, g.outputs_per_group(), g.taps()))?.transpose(2, 3)?;
    let columns = weight.contiguous()?.broadcast_matmul(&x)?;
    let columns = columns.reshape((g.batch, g.channels, g.kernel[0] * g.kernel[1], g.result[0], g.result[1]))?;
    let mut sum: Option<Tensor> = None;
    for ky in 0..g.kernel[0] {
        for kx in 0..g.kernel[1] {
            let tap = columns.narrow(2, ky * g.kernel[1] + kx, 1)?.squeeze(2)?;
            let placed = place(&place(&tap, 2, g, ky)?, 3, g, kx)?;
            sum = Some(match sum {
                Some(sum) => (sum + placed)?,
                None => placed,
            });
        }
    }
    sum.ok_or_else(|| candle_core::Error::Msg("conv_transpose2d: an empty kernel".into()))
}

/// Spreads the pixels of `axis` by the stride and shifts them to tap `tap`, cropped to the result.
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

fn places(places: &[usize], x: &Tensor) -> Result<Tensor> {
    let places: Vec<u32> = places.iter().map(|&place| place as u32).collect();
    let count = places.len();
    Tensor::from_vec(places, count, x.device())
}

/// Picks `index` along `axis`; the gradient adds up where a place is picked twice.
pub(crate) fn select(x: &Tensor, axis: usize, index: &[usize]) -> Result<Tensor> {
    let x = x.contiguous()?;
    let index = places(index, &x)?;
    let value = x.detach().index_select(&index, axis)?;
    // candle's own gradient is right, but fails where the gradient comes transposed; here it is contiguous.
    attach("gather", &[&x], Value::Device(value), move |backward| {
        let zeros = backward.arguments[0].zeros_like()?;
        Ok(vec![Some(zeros.index_add(&index, backward.gradient, axis)?)])
    })
}

pub(crate) fn separable(x: &Tensor, rows: &LinearMap, columns: &LinearMap) -> Result<Tensor> {
    let matrix = |map: &LinearMap| -> Result<Tensor> {
        let mut dense = vec![0f64; map.outputs() * map.inputs];
        for (row, taps) in dense.chunks_mut(map.inputs.max(1)).zip(&map.taps) {
            for &(input, weight) in taps {
                row[input] += weight;
            }
        }
        Tensor::from_vec(dense, (map.outputs(), map.inputs), x.device())?.to_dtype(x.dtype())
    };
    let across = x.broadcast_matmul(&matrix(columns)?.t()?)?;
    matrix(rows)?.broadcast_matmul(&across)
}

pub(crate) fn max_over(x: &Tensor, rows: &[Window], columns: &[Window]) -> Result<Tensor> {
    // Tap t of every window as one tensor; a window with fewer taps repeats its last, which never beats itself.
    let depth = |windows: &[Window]| windows.iter().map(|window| window.taps().count()).max().unwrap_or(0);
    let tap = |windows: &[Window], t: usize| -> Vec<usize> {
        windows.iter().map(|w| w.taps().nth(t).or_else(|| w.taps().last()).unwrap_or(w.start)).collect()
    };
    let mut best: Option<Tensor> = None;
    for row in 0..depth(rows) {
        let lines = select(x, 2, &tap(rows, row))?;
        for column in 0..depth(columns) {
            let value = select(&lines, 3, &tap(columns, column))?;
            best = Some(match best {
                // Strictly greater: the first of several maxima keeps the gradient.
                Some(best) => value.gt(&best)?.where_cond(&value, &best)?,
                None => value,
            });
        }
    }
    best.ok_or_else(|| candle_core::Error::Msg("max pooling without windows".into()))
}
