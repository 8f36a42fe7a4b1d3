//! `GridSample` and its gradient.

use super::attribute::{integer, text};
use super::reverse::Backward;
use super::symbol::{Extent, Symbol, TRIALS};
use super::writer::OnnxWriter;
use crate::op::sampling::{Outside, Sample};
use faithful_core::{Error, Result};

/// `GridSample`, of `shape`.
pub(crate) fn write(writer: &mut OnnxWriter, operands: &[&Symbol], sample: Sample, shape: &[Extent]) -> Symbol {
    let outside = match sample.outside {
        Outside::Zeros => "zeros",
        Outside::Border => "border",
        Outside::Reflection => "reflection",
    };
    let attributes = vec![
        text("mode", if sample.nearest { "nearest" } else { "bilinear" }),
        text("padding_mode", outside),
        integer("align_corners", i64::from(sample.corners)),
    ];
    writer.node("GridSample", operands, attributes, shape.to_vec())
}

/// The pixels along one axis, `(N, 1, P)`, and their derivative with respect to the place.
struct Axis {
    pixels: Symbol,
    slope: Symbol,
}

/// One of the pixels around each place: its row or column, its share, and the share's derivative.
struct Side {
    pixel: Symbol,
    share: Symbol,
    slope: Symbol,
}

/// The gradients of the picture and of the places.
pub(crate) fn gradient(writer: &mut OnnxWriter, of: &Backward<'_>, sample: Sample) -> Result<Vec<Option<Symbol>>> {
    let (x, places) = (of.operands[0], of.operands[1]);
    let [n, c, height, width] = *x.shape() else { return Err(Error::internal("pictures of another rank")) };
    let count: Extent = std::array::from_fn(|trial| places.shape()[1][trial] * places.shape()[2][trial]);
    let [rows, columns] = [writer.size(height)?, writer.size(width)?];
    let flat = writer.reshape(x, &[n, c, [rows * columns; TRIALS]])?;
    let g = writer.reshape(of.g, &[n, c, count])?;
    let all = writer.reshape(places, &[n, count, [2; TRIALS]])?;
    let vertical = axis(writer, &all, 1, rows, sample)?;
    let horizontal = axis(writer, &all, 0, columns, sample)?;
    let (tops, lefts) = (sides(writer, &vertical, sample)?, sides(writer, &horizontal, sample)?);
    let (mut picture, mut down, mut right): (Option<Symbol>, Option<Symbol>, Option<Symbol>) = (None, None, None);
    for row in &tops {
        for column in &lefts {
            let share = writer.mul(&row.share, &column.share)?;
            let inside = [inside(writer, &row.pixel, rows)?, inside(writer, &column.pixel, columns)?];
            let inside = writer.mul(&inside[0], &inside[1])?;
            let [y, z] = [bounded(writer, &row.pixel, rows)?, bounded(writer, &column.pixel, columns)?];
            let place = writer.affine(&y, columns as f64, 0.0)?;
            let place = writer.add(&place, &z)?;
            let place = writer.expand(&place, g.shape())?;
            if of.wanted[0] {
                let weight = writer.mul(&share, &inside)?;
                let sent = writer.mul(&g, &weight)?;
                let part = writer.scatter_sum(&flat, &place, &sent, 2)?;
                picture = Some(sum(writer, picture, part)?);
            }
            if of.wanted[1] && !sample.nearest {
                let value = writer.gather_elements(&flat, &place, 2);
                let value = writer.mul(&value, &g)?;
                let value = writer.reduce("ReduceSum", &value, &[1], true);
                let value = writer.mul(&value, &inside)?;
                for (total, [slope, share]) in
                    [(&mut down, [&row.slope, &column.share]), (&mut right, [&column.slope, &row.share])]
                {
                    let change = writer.mul(slope, share)?;
                    let part = writer.mul(&change, &value)?;
                    *total = Some(sum(writer, total.take(), part)?);
                }
            }
        }
    }
    let picture = picture.map(|gradient| writer.reshape(&gradient, x.shape())).transpose()?;
    let (Some(down), Some(right)) = (down, right) else { return Ok(vec![picture, None]) };
    let both = writer.concat(&[&right, &down], 1);
    let both = writer.transpose(&both, &[0, 2, 1]);
    Ok(vec![picture, Some(writer.reshape(&both, places.shape())?)])
}

fn sum(writer: &mut OnnxWriter, total: Option<Symbol>, part: Symbol) -> Result<Symbol> {
    match total {
        Some(total) => writer.add(&total, &part),
        None => Ok(part),
    }
}

/// `x` (0) or `y` (1) of all places as pixels, as [`Sample`] takes them.
fn axis(writer: &mut OnnxWriter, places: &Symbol, number: usize, size: usize, sample: Sample) -> Result<Axis> {
    let whole = size as f64;
    let [scale, low, high] =
        if sample.corners { [(whole - 1.0) / 2.0, 0.0, whole - 1.0] } else { [whole / 2.0, -0.5, whole - 0.5] };
    let place = writer.narrow(places, 2, number, 1);
    let place = writer.transpose(&place, &[0, 2, 1]);
    let pixels = writer.affine(&place, scale, (whole - 1.0) / 2.0)?;
    let slope = writer.number(scale);
    let (pixels, slope) = match sample.outside {
        Outside::Zeros => return Ok(Axis { pixels, slope }),
        Outside::Border => (pixels, slope),
        Outside::Reflection if high <= low => {
            let zero = writer.number(0.0);
            return Ok(Axis { pixels: writer.expand_like(&zero, &pixels)?, slope: zero });
        }
        Outside::Reflection => {
            let span = high - low;
            let from = writer.affine(&pixels, 1.0, -low)?;
            let away = writer.unary("Abs", &from);
            let times = writer.affine(&away, 1.0 / (2.0 * span), 0.0)?;
            let times = writer.unary("Floor", &times);
            let there = writer.affine(&times, 2.0 * span, 0.0)?;
            let rest = writer.sub(&away, &there)?;
            let rest = writer.affine(&rest, 1.0, -span)?;
            let back = writer.unary("Abs", &rest);
            let pixels = writer.affine(&back, -1.0, span + low)?;
            let signs = [writer.unary("Sign", &from), writer.unary("Sign", &rest)];
            let sign = writer.mul(&signs[0], &signs[1])?;
            (pixels, writer.affine(&sign, -scale, 0.0)?)
        }
    };
    // What is moved to the edge does not change with its place.
    let moves = inside_of(writer, &pixels, 0.0, whole - 1.0)?;
    let slope = writer.mul(&slope, &moves)?;
    Ok(Axis { pixels: bounded(writer, &pixels, size)?, slope })
}

/// The pixels before and behind each place, or the nearest.
fn sides(writer: &mut OnnxWriter, axis: &Axis, sample: Sample) -> Result<Vec<Side>> {
    if sample.nearest {
        let [share, slope] = [writer.number(1.0), writer.number(0.0)];
        return Ok(vec![Side { pixel: writer.unary("Round", &axis.pixels), share, slope }]);
    }
    let before = writer.unary("Floor", &axis.pixels);
    let behind = writer.affine(&before, 1.0, 1.0)?;
    let rest = writer.sub(&axis.pixels, &before)?;
    let less = writer.affine(&rest, -1.0, 1.0)?;
    let falls = writer.affine(&axis.slope, -1.0, 0.0)?;
    Ok(vec![
        Side { pixel: before, share: less, slope: falls },
        Side { pixel: behind, share: rest, slope: axis.slope.clone() },
    ])
}

/// 1 where a pixel lies in the picture, 0 elsewhere.
fn inside(writer: &mut OnnxWriter, pixel: &Symbol, size: usize) -> Result<Symbol> {
    inside_of(writer, pixel, 0.0, size as f64 - 1.0)
}

fn inside_of(writer: &mut OnnxWriter, x: &Symbol, low: f64, high: f64) -> Result<Symbol> {
    let [low, high] = [writer.number(low), writer.number(high)];
    let above = writer.binary("GreaterOrEqual", x, &low)?;
    let below = writer.binary("LessOrEqual", x, &high)?;
    let both = writer.binary("And", &above, &below)?;
    Ok(writer.as_number(&both))
}

fn bounded(writer: &mut OnnxWriter, pixel: &Symbol, size: usize) -> Result<Symbol> {
    let [zero, last] = [writer.number(0.0), writer.number(size as f64 - 1.0)];
    let raised = writer.binary("Max", pixel, &zero)?;
    writer.binary("Min", &raised, &last)
}
