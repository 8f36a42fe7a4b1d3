//! Matrix products in memory, on one thread, so that a result depends on the shapes alone.

use crate::function::Real;
use gemm::Parallelism;
use rayon::prelude::*;

/// A matrix in memory: element `(i, j)` is `data[i * row + j * column]`.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a, T> {
    pub(crate) data: &'a [T],
    pub(crate) row: usize,
    pub(crate) column: usize,
}

impl<'a, T> Matrix<'a, T> {
    pub(crate) fn new(data: &'a [T], row: usize, column: usize) -> Self {
        Self { data, row, column }
    }

    fn holds(&self, rows: usize, columns: usize) -> bool {
        rows == 0 || columns == 0 || (rows - 1) * self.row + (columns - 1) * self.column < self.data.len()
    }
}

/// `into[i * row + j] = sum over k of a[i, k] * b[k, j]` for `size = [i, j, k]`; added to what is there if
/// `accumulate`.
pub(crate) fn multiply<T: Real>(
    into: &mut [T],
    row: usize,
    size: [usize; 3],
    a: Matrix<T>,
    b: Matrix<T>,
    accumulate: bool,
) {
    let [m, n, k] = size;
    if m == 0 || n == 0 {
        return;
    }
    if k == 0 {
        if !accumulate {
            into.fill(T::zero());
        }
        return;
    }
    assert!(row >= n && (m - 1) * row + n <= into.len(), "matrix product: the result does not fit");
    assert!(a.holds(m, k) && b.holds(k, n), "matrix product: an operand is shorter than its shape");
    // SAFETY: the asserts bound every element that is read or written by its slice; `into` is borrowed mutably and
    // its rows do not overlap. `T` is `f32` or `f64`, which the crate dispatches on.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            into.as_mut_ptr(),
            1,
            row as isize,
            accumulate,
            a.data.as_ptr(),
            a.column as isize,
            a.row as isize,
            b.data.as_ptr(),
            b.column as isize,
            b.row as isize,
            T::one(),
            T::one(),
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}

/// How many rows are multiplied at once where rows are images: always as many, the last ones filled up with zeros,
/// so that a row's result does not depend on how many there are.
const ROWS: usize = 8;
/// The same where weights are learnt: batches are large, and small products would take most of the time.
const TRAINING_ROWS: usize = 64;
/// How many columns one task computes.
const COLUMNS: usize = 512;

/// `rows` `(m, k)`, contiguous, times `b` `(k, n)`: each row's product as if it were alone, whatever the other rows.
/// `training` allows more rows at once; rows still do not depend on each other.
pub(crate) fn multiply_rows<T: Real>(rows: &[T], [m, n, k]: [usize; 3], b: Matrix<T>, training: bool) -> Vec<T> {
    let mut result = vec![T::zero(); m * n];
    if result.is_empty() {
        return result;
    }
    let block_rows = if training { TRAINING_ROWS } else { ROWS };
    result.par_chunks_mut(block_rows * n).enumerate().for_each(|(block, into)| {
        let count = into.len() / n;
        let first = block * block_rows * k;
        let filled: Vec<T>;
        let part = if count == block_rows {
            &rows[first..first + block_rows * k]
        } else {
            let mut zeros = vec![T::zero(); block_rows * k];
            zeros[..count * k].copy_from_slice(&rows[first..first + count * k]);
            filled = zeros;
            &filled[..]
        };
        let columns: Vec<usize> = (0..n).step_by(COLUMNS).collect();
        let parts: Vec<Vec<T>> = columns
            .par_iter()
            .map(|&column| {
                let width = COLUMNS.min(n - column);
                let mut out = vec![T::zero(); block_rows * width];
                let b = Matrix::new(&b.data[column * b.column..], b.row, b.column);
                multiply(&mut out, width, [block_rows, width, k], Matrix::new(part, k, 1), b, false);
                out
            })
            .collect();
        for (&column, part) in columns.iter().zip(&parts) {
            let width = COLUMNS.min(n - column);
            for row in 0..count {
                into[row * n + column..][..width].copy_from_slice(&part[row * width..][..width]);
            }
        }
    });
    result
}
