//! Linear maps of images that are one matrix for rows and one for columns: resizing and mean pooling, and their gradients.

use super::OnnxWriter;
use super::symbol::Symbol;
use crate::ResizeTo;
use candle_core::{DType, Device, Tensor};
use faithful_core::Result;
use faithful_tensor::{Pool, Resize, avg_pool2d, resize2d, resize2d_by};

/// The matrices `(outputs, inputs)` of rows and columns, read off the operation itself: it is applied to images of one
/// column, or one row, with a single 1.
pub(super) fn matrices(
    writer: &mut OnnxWriter,
    x: &Symbol,
    apply: impl Fn(&Tensor, bool) -> candle_core::Result<Tensor>,
) -> Result<[Tensor; 2]> {
    let rows = writer.size(x.shape[2])?;
    let columns = writer.size(x.shape[3])?;
    let unit = |size: usize| Tensor::eye(size, DType::F64, &Device::Cpu);
    let matrix = |y: Tensor, size: usize| y.reshape((size, ()))?.t()?.contiguous()?.to_dtype(DType::F32);
    let along_rows = apply(&unit(rows)?.reshape((rows, 1, rows, 1))?, true)?;
    let along_columns = apply(&unit(columns)?.reshape((columns, 1, 1, columns))?, false)?;
    Ok([matrix(along_rows, rows)?, matrix(along_columns, columns)?])
}

/// A mean pool's matrices.
pub(super) fn of_pool(writer: &mut OnnxWriter, x: &Symbol, pool: &Pool) -> Result<[Tensor; 2]> {
    matrices(writer, x, |x, rows| {
        let along = |axis: usize, value: usize, other: usize| if rows == (axis == 0) { value } else { other };
        let one = Pool {
            kernel: [along(0, pool.kernel[0], 1), along(1, pool.kernel[1], 1)],
            stride: [along(0, pool.stride[0], 1), along(1, pool.stride[1], 1)],
            padding: [
                along(0, pool.padding[0], 0),
                along(1, pool.padding[1], 0),
                along(0, pool.padding[2], 0),
                along(1, pool.padding[3], 0),
            ],
            ..*pool
        };
        avg_pool2d(x, &one)
    })
}

/// A resize's matrices.
pub(super) fn of_resize(writer: &mut OnnxWriter, x: &Symbol, size: ResizeTo, rules: Resize) -> Result<[Tensor; 2]> {
    matrices(writer, x, |x, rows| match size {
        ResizeTo::Size([height, width]) => resize2d(x, if rows { [height, 1] } else { [1, width] }, &rules),
        ResizeTo::Scale([height, width]) => {
            let (_, _, h, w) = x.dims4()?;
            let scaled = |size: usize, factor: f64| (size as f32 * factor as f32).floor() as usize;
            let (factors, size) =
                if rows { ([height, 1.0], [scaled(h, height), 1]) } else { ([1.0, width], [1, scaled(w, width)]) };
            resize2d_by(x, factors, size, &rules)
        }
    })
}

/// `rows x columns^T`.
pub(super) fn apply(writer: &mut OnnxWriter, x: &Symbol, rows: &Tensor, columns: &Tensor) -> Result<Symbol> {
    let (rows, columns) = (writer.tensor(rows)?, writer.transposed(columns)?);
    let y = writer.matmul(&rows, x)?;
    writer.matmul(&y, &columns)
}

/// The gradient: `rows^T g columns`.
pub(super) fn gradient(writer: &mut OnnxWriter, g: &Symbol, rows: &Tensor, columns: &Tensor) -> Result<Symbol> {
    let (rows, columns) = (writer.transposed(rows)?, writer.tensor(columns)?);
    let y = writer.matmul(&rows, g)?;
    writer.matmul(&y, &columns)
}
