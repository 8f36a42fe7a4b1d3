//! Pictures sampled at places that depend on the input.

use super::Composition;
use crate::export::{Backward, Extent, OnnxWriter, Symbol, sampling};
use candle_core::{DType, Result, Tensor};
use faithful_core::BackwardRule;
use faithful_tensor::{Unary, gather_elements, unary};
use std::sync::Arc;

/// What stands outside a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outside {
    Zeros,
    /// The edge repeated.
    Border,
    /// The picture mirrored.
    Reflection,
}

/// ONNX's `GridSample`: `(N, C, H, W)` at `(N, H', W', 2)` places, x before y, from -1 at one edge to 1 at the other.
///
/// Differentiable in the picture and, but for the nearest value, in the places.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    /// The nearest value in place of the bilinear mean of four.
    pub(crate) nearest: bool,
    pub(crate) outside: Outside,
    /// Whether -1 and 1 are the centres of the outermost pixels, and not the picture's edges.
    pub(crate) corners: bool,
}

impl Sample {
    /// Places from -1 to 1 as numbers of pixels on an axis of `size`.
    fn pixels(self, places: &Tensor, size: usize) -> Result<Tensor> {
        let size = size as f64;
        let pixels = if self.corners {
            places.affine((size - 1.0) / 2.0, (size - 1.0) / 2.0)?
        } else {
            places.affine(size / 2.0, (size - 1.0) / 2.0)?
        };
        match self.outside {
            Outside::Zeros => Ok(pixels),
            Outside::Border => bounded(&pixels, size),
            Outside::Reflection => {
                let [low, high] = if self.corners { [0.0, size - 1.0] } else { [-0.5, size - 0.5] };
                bounded(&reflected(&pixels, low, high)?, size)
            }
        }
    }

    /// The values at whole numbers of pixels, and 0 outside.
    fn at(x: &Tensor, row: &Tensor, column: &Tensor) -> Result<Tensor> {
        let (n, c, height, width) = x.dims4()?;
        let inside = |places: &Tensor, size: usize| {
            places.ge(0.)?.to_dtype(DType::U8)?.mul(&places.lt(size as f64)?.to_dtype(DType::U8)?)
        };
        let inside = inside(row, height)?.mul(&inside(column, width)?)?.to_dtype(x.dtype())?;
        // In `f64`, which counts every pixel of a large picture.
        let row = bounded(&row.to_dtype(DType::F64)?, height as f64)?;
        let column = bounded(&column.to_dtype(DType::F64)?, width as f64)?;
        let place = (row * width as f64)?.add(&column)?;
        let (_, rows, columns) = place.dims3()?;
        let place = place.reshape((n, 1, rows * columns))?;
        let values = gather_elements(&x.reshape((n, c, height * width))?, &place, 2)?;
        values.reshape((n, c, rows, columns))?.broadcast_mul(&inside.unsqueeze(1)?)
    }
}

/// Within the picture; NaN becomes the first pixel.
fn bounded(pixels: &Tensor, size: f64) -> Result<Tensor> {
    pixels.maximum(0.0)?.minimum((size - 1.0).max(0.0))
}

/// Mirrored at `low` and `high` until it lies between them.
fn reflected(pixels: &Tensor, low: f64, high: f64) -> Result<Tensor> {
    let span = high - low;
    if span <= 0.0 {
        return pixels.zeros_like();
    }
    let away = unary(&(pixels - low)?, Unary::Abs)?;
    let times = (unary(&(&away / (2.0 * span))?.detach(), Unary::Floor)? * (2.0 * span))?;
    // From 0 to twice the span: there and back.
    let rest = (away - times)?;
    let back = unary(&(rest - span)?, Unary::Abs)?;
    back.neg()? + (span + low)
}

impl Composition for Sample {
    fn kind(&self) -> &'static str {
        "grid-sample"
    }

    fn arity(&self) -> (usize, usize) {
        (2, 2)
    }

    fn weights(&self) -> Vec<&Tensor> {
        Vec::new()
    }

    fn with_weights(&self, _: Vec<Tensor>) -> Arc<dyn Composition> {
        Arc::new(*self)
    }

    fn shape(&self, operands: &[&[usize]]) -> std::result::Result<Vec<usize>, String> {
        match (operands[0], operands[1]) {
            ([n, c, height, width], [m, rows, columns, 2]) if n == m && *height > 0 && *width > 0 => {
                Ok(vec![*n, *c, *rows, *columns])
            }
            (_, places) => Err(format!("pictures (N, C, H, W) for places (N, H', W', 2), which are {places:?}")),
        }
    }

    fn evaluate(&self, operands: &[&Tensor], _: BackwardRule) -> Result<Tensor> {
        let [x, places] = [operands[0], operands[1]];
        let (_, _, height, width) = x.dims4()?;
        let axis = |at: usize, size: usize| self.pixels(&places.narrow(3, at, 1)?.squeeze(3)?.contiguous()?, size);
        let (column, row) = (axis(0, width)?, axis(1, height)?);
        if self.nearest {
            let [row, column] = [unary(&row, Unary::Round)?, unary(&column, Unary::Round)?];
            return Self::at(x, &row.detach(), &column.detach());
        }
        let [top, left] = [unary(&row, Unary::Floor)?.detach(), unary(&column, Unary::Floor)?.detach()];
        let [down, right] = [(&row - &top)?, (&column - &left)?];
        let mut sum: Option<Tensor> = None;
        for (lower, further) in [(0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (1.0, 1.0)] {
            let share =
                |part: &Tensor, second: f64| if second == 0.0 { part.affine(-1.0, 1.0) } else { Ok(part.clone()) };
            let weight = (share(&down, lower)? * share(&right, further)?)?;
            let values = Self::at(x, &(&top + lower)?, &(&left + further)?)?.broadcast_mul(&weight.unsqueeze(1)?)?;
            sum = Some(match sum {
                Some(sum) => (sum + values)?,
                None => values,
            });
        }
        sum.ok_or_else(|| candle_core::Error::Msg("grid-sample: no corners".into()))
    }

    fn write(&self, writer: &mut OnnxWriter, operands: &[&Symbol], shape: &[Extent]) -> faithful_core::Result<Symbol> {
        Ok(sampling::write(writer, operands, *self, shape))
    }

    fn write_gradient(&self, writer: &mut OnnxWriter, of: &Backward<'_>) -> faithful_core::Result<Vec<Option<Symbol>>> {
        sampling::gradient(writer, of, *self)
    }
}
