//! Convolution of any element type, stride, dilation, padding and grouping: the windows' pixels as a matrix
//! ("image to columns"), then a matrix product per group. The reference for every faster kernel.

use crate::convolution::Geometry;
use crate::function::Real;
use crate::product::{Matrix, multiply};
use rayon::prelude::*;

/// About how many elements a matrix of windows may have: 1 MiB of `f32` stays in cache.
const COLUMN_ELEMENTS: usize = 1 << 18;
/// How many output channels one task computes.
const CHANNELS: usize = 64;
/// Into how many partial sums a batch's kernel gradient is split; fixed, so that threads do not change the sum.
const PARTS: usize = 8;

/// `y` `(N, O, oh, ow)` of `x` `(N, C, H, W)`.
pub(crate) fn forward<T: Real>(x: &[T], weight: &[T], bias: Option<&[T]>, geometry: &Geometry) -> Vec<T> {
    let g = geometry;
    let mut y = vec![T::zero(); g.batch * g.outputs * g.result_pixels()];
    if y.is_empty() {
        return y;
    }
    let per_group = g.outputs_per_group() * g.result_pixels();
    y.par_chunks_mut(per_group).enumerate().for_each(|(task, y)| {
        let (image, group) = (task / g.conv.groups, task % g.conv.groups);
        let x = g.group_of_x(x, image, group);
        let weight = g.group_of_weight(weight, group);
        if g.is_depthwise() {
            forward_depthwise(y, x, weight, g);
        } else {
            forward_group(y, x, weight, g);
        }
        if let Some(bias) = bias {
            let bias = &bias[group * g.outputs_per_group()..];
            for (plane, &bias) in y.chunks_mut(g.result_pixels()).zip(bias) {
                for value in plane {
                    *value += bias;
                }
            }
        }
    });
    y
}

/// The gradient `(N, C, H, W)` of the input from that of the result: also the transposed convolution.
pub(crate) fn input_gradient<T: Real>(gradient: &[T], weight: &[T], geometry: &Geometry) -> Vec<T> {
    let g = geometry;
    let mut dx = vec![T::zero(); g.batch * g.channels * g.pixels()];
    if dx.is_empty() || gradient.is_empty() {
        return dx;
    }
    let per_group = g.channels_per_group() * g.pixels();
    dx.par_chunks_mut(per_group).enumerate().for_each(|(task, dx)| {
        let (image, group) = (task / g.conv.groups, task % g.conv.groups);
        let gradient = g.group_of_result(gradient, image, group);
        let weight = g.group_of_weight(weight, group);
        if g.is_depthwise() {
            input_gradient_depthwise(dx, gradient, weight, g);
        } else {
            input_gradient_group(dx, gradient, weight, g);
        }
    });
    dx
}

/// The gradient `(O, C / groups, kh, kw)` of the kernel, summed over the batch.
pub(crate) fn weight_gradient<T: Real>(x: &[T], gradient: &[T], geometry: &Geometry) -> Vec<T> {
    let g = geometry;
    let size = g.outputs * g.taps();
    if size == 0 || g.batch == 0 {
        return vec![T::zero(); size];
    }
    let images = g.batch.div_ceil(PARTS);
    let parts: Vec<Vec<T>> = (0..g.batch.div_ceil(images))
        .into_par_iter()
        .map(|part| {
            let mut sum = vec![T::zero(); size];
            for image in part * images..g.batch.min((part + 1) * images) {
                let per_group = g.outputs_per_group() * g.taps();
                sum.par_chunks_mut(per_group).enumerate().for_each(|(group, sum)| {
                    let x = g.group_of_x(x, image, group);
                    weight_gradient_group(sum, x, g.group_of_result(gradient, image, group), g);
                });
            }
            sum
        })
        .collect();
    let mut parts = parts.into_iter();
    let mut total = parts.next().unwrap_or_default();
    for part in parts {
        for (total, part) in total.iter_mut().zip(part) {
            *total += part;
        }
    }
    total
}

/// How many result pixels are computed at once.
fn block(g: &Geometry) -> usize {
    (COLUMN_ELEMENTS / g.taps().max(1)).max(64).min(g.result_pixels())
}

fn forward_group<T: Real>(y: &mut [T], x: &[T], weight: &[T], g: &Geometry) {
    let (taps, pixels) = (g.taps(), g.result_pixels());
    let mut columns = Vec::new();
    let block = if g.is_pointwise() { pixels } else { block(g) };
    for start in (0..pixels).step_by(block) {
        let width = block.min(pixels - start);
        let windows = if g.is_pointwise() {
            Matrix::new(x, pixels, 1)
        } else {
            fill_columns(&mut columns, x, start, width, g);
            Matrix::new(&columns, width, 1)
        };
        y.par_chunks_mut(CHANNELS * pixels).enumerate().for_each(|(chunk, y)| {
            let weight = Matrix::new(&weight[chunk * CHANNELS * taps..], taps, 1);
            let channels = y.len() / pixels;
            multiply(&mut y[start..], pixels, [channels, width, taps], weight, windows, false);
        });
    }
}

/// `columns[tap, pixel]` for result pixels `start..start + width`.
fn fill_columns<T: Real>(columns: &mut Vec<T>, x: &[T], start: usize, width: usize, g: &Geometry) {
    columns.clear();
    columns.resize(g.taps() * width, T::zero());
    let [_, kw] = g.kernel;
    let window = g.kernel[0] * kw;
    columns.par_chunks_mut(width).enumerate().for_each(|(tap, row)| {
        let (channel, ky, kx) = (tap / window, tap % window / kw, tap % kw);
        let plane = &x[channel * g.pixels()..][..g.pixels()];
        let mut done = 0;
        while done < width {
            let (oy, ox) = ((start + done) / g.result[1], (start + done) % g.result[1]);
            let count = (g.result[1] - ox).min(width - done);
            if let Some(iy) = g.row(oy, ky) {
                let line = &plane[iy * g.size[1]..][..g.size[1]];
                let valid = g.valid_columns(kx);
                let valid = ox.max(valid.start)..(ox + count).min(valid.end);
                if !valid.is_empty() {
                    let into = &mut row[done + valid.start - ox..][..valid.len()];
                    let from = &line[g.column(valid.start, kx)..];
                    match g.conv.stride[1] {
                        1 => into.copy_from_slice(&from[..into.len()]),
                        stride => into.iter_mut().zip(from.iter().step_by(stride)).for_each(|(into, &x)| *into = x),
                    }
                }
            }
            done += count;
        }
    });
}

/// One channel per group, `outputs_per_group` results of it.
fn forward_depthwise<T: Real>(y: &mut [T], x: &[T], weight: &[T], g: &Geometry) {
    for (plane, weight) in y.chunks_mut(g.result_pixels()).zip(weight.chunks(g.taps())) {
        for (ky, weights) in weight.chunks(g.kernel[1]).enumerate() {
            for (oy, into) in plane.chunks_mut(g.result[1]).enumerate() {
                let Some(iy) = g.row(oy, ky) else { continue };
                let line = &x[iy * g.size[1]..][..g.size[1]];
                for (kx, &weight) in weights.iter().enumerate() {
                    for o in g.valid_columns(kx) {
                        into[o] += weight * line[g.column(o, kx)];
                    }
                }
            }
        }
    }
}

fn input_gradient_group<T: Real>(dx: &mut [T], gradient: &[T], weight: &[T], g: &Geometry) {
    let (window, pixels) = (g.kernel[0] * g.kernel[1], g.result_pixels());
    let channels = (4 * COLUMN_ELEMENTS / (window * pixels).max(1)).clamp(1, CHANNELS);
    dx.par_chunks_mut(channels * g.pixels()).enumerate().for_each(|(chunk, dx)| {
        let rows = dx.len() / g.pixels() * window;
        // The kernel transposed: rows are taps of these channels, columns the result's channels.
        let weight = Matrix::new(&weight[chunk * channels * window..], 1, g.taps());
        let mut columns = vec![T::zero(); rows * pixels];
        let size = [rows, pixels, g.outputs_per_group()];
        multiply(&mut columns, pixels, size, weight, Matrix::new(gradient, pixels, 1), false);
        for (tap, row) in columns.chunks(pixels).enumerate() {
            let (channel, ky, kx) = (tap / window, tap % window / g.kernel[1], tap % g.kernel[1]);
            let plane = &mut dx[channel * g.pixels()..][..g.pixels()];
            for (oy, from) in row.chunks(g.result[1]).enumerate() {
                let Some(iy) = g.row(oy, ky) else { continue };
                let valid = g.valid_columns(kx);
                if !valid.is_empty() {
                    let line = &mut plane[iy * g.size[1]..][g.column(valid.start, kx)..g.size[1]];
                    add_every(line, g.conv.stride[1], &from[valid]);
                }
            }
        }
    });
}

/// Adds `from` to every `stride`-th element; without a step it is one loop over two slices, which vectorises.
fn add_every<T: Real>(into: &mut [T], stride: usize, from: &[T]) {
    match stride {
        1 => into.iter_mut().zip(from).for_each(|(into, &x)| *into += x),
        stride => into.iter_mut().step_by(stride).zip(from).for_each(|(into, &x)| *into += x),
    }
}

fn input_gradient_depthwise<T: Real>(dx: &mut [T], gradient: &[T], weight: &[T], g: &Geometry) {
    for (plane, weight) in gradient.chunks(g.result_pixels()).zip(weight.chunks(g.taps())) {
        for (ky, weights) in weight.chunks(g.kernel[1]).enumerate() {
            for (oy, from) in plane.chunks(g.result[1]).enumerate() {
                let Some(iy) = g.row(oy, ky) else { continue };
                let line = &mut dx[iy * g.size[1]..][..g.size[1]];
                for (kx, &weight) in weights.iter().enumerate() {
                    for o in g.valid_columns(kx) {
                        line[g.column(o, kx)] += weight * from[o];
                    }
                }
            }
        }
    }
}

fn weight_gradient_group<T: Real>(sum: &mut [T], x: &[T], gradient: &[T], g: &Geometry) {
    let (taps, pixels) = (g.taps(), g.result_pixels());
    if pixels == 0 {
        return;
    }
    let mut columns = Vec::new();
    let block = block(g);
    for start in (0..pixels).step_by(block) {
        let width = block.min(pixels - start);
        fill_columns(&mut columns, x, start, width, g);
        let from = Matrix::new(&gradient[start..], pixels, 1);
        let size = [g.outputs_per_group(), taps, width];
        multiply(sum, taps, size, from, Matrix::new(&columns, 1, width), true);
    }
}
