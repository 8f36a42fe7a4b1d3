use crate::composed::{self, has_kernels};
use crate::function::{Elements, Real, Value, attach, by_type, is_half_on_cpu, widen, widen_optional};
use crate::product::{Matrix, multiply, multiply_rows};
use candle_core::{Result, Shape, Tensor, bail};
use rayon::prelude::*;

/// `x` `(…, I)` times the transposed `weight` `(O, I)` plus `bias` `(O,)`.
///
/// Each row's result is the same whatever the other rows are and however many: on the CPU to the last bit.
///
/// ```
/// use candle_core::{Device, Tensor};
/// # fn main() -> candle_core::Result<()> {
/// let x = Tensor::new(&[[1f32, 2.]], &Device::Cpu)?;
/// let weight = Tensor::new(&[[3f32, 4.], [5., 6.]], &Device::Cpu)?;
/// let bias = Tensor::new(&[0f32, 1.], &Device::Cpu)?;
/// assert_eq!(faithful_tensor::linear(&x, &weight, Some(&bias))?.to_vec2::<f32>()?, [[11., 18.]]);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// Where the shapes do not fit.
pub fn linear(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    let (&[outputs, inputs], Some(&width)) = (weight.dims(), x.dims().last()) else {
        bail!("linear: expected x (…, I) and weight (O, I), got {:?} and {:?}", x.dims(), weight.dims())
    };
    if width != inputs || bias.is_some_and(|bias| bias.dims() != [outputs]) {
        bail!(
            "linear: x {:?} and bias {:?} do not fit a weight of shape {:?}",
            x.dims(),
            bias.map(Tensor::dims),
            weight.dims()
        );
    }
    if is_half_on_cpu(x) {
        let bias = widen_optional(bias)?;
        return linear(&widen(x)?, &widen(weight)?, bias.as_ref())?.to_dtype(x.dtype());
    }
    let mut shape = x.dims().to_vec();
    shape[x.rank() - 1] = outputs;
    let rows: usize = shape[..x.rank() - 1].iter().product();
    let x = x.contiguous()?.reshape((rows, inputs))?;
    let y = if has_kernels(&x) {
        let (weight, training) = (weight.contiguous()?, weight.track_op());
        let value = by_type!(x, rows_times(&x, &weight, true, training))?;
        attach("linear", &[&x, &weight], value, move |backward| {
            let [x, weight] = backward.arguments else { unreachable!("two arguments were attached") };
            let gradient = backward.gradient;
            Ok(vec![
                if backward.wanted[0] {
                    Some(by_type!(gradient, rows_times(gradient, weight, false, training))?.into_tensor())
                } else {
                    None
                },
                if backward.wanted[1] { Some(by_type!(x, sum_of_products(gradient, x))?) } else { None },
            ])
        })?
    } else {
        composed::product::linear(&x, weight)?
    };
    let y = match bias {
        Some(bias) => y.broadcast_add(bias)?,
        None => y,
    };
    y.reshape(shape)
}

/// `rows` `(m, k)` times `matrix` `(k, n)`, or its transposition where it is `(n, k)`; row by row.
fn rows_times<T: Real>(rows: &Tensor, matrix: &Tensor, transposed: bool, training: bool) -> Result<Value> {
    let ((m, k), (first, second)) = (rows.dims2()?, matrix.dims2()?);
    let (rows, elements) = (Elements::of(rows)?, Elements::of(matrix)?);
    let data = elements.slice::<T>()?;
    let (n, matrix) =
        if transposed { (first, Matrix::new(data, 1, second)) } else { (second, Matrix::new(data, second, 1)) };
    Ok(Value::new(multiply_rows(rows.slice::<T>()?, [m, n, k], matrix, training), (m, n)))
}

/// How many rows of a weight's gradient one task computes.
const ROWS: usize = 64;

/// The transposed `a` `(k, m)` times `b` `(k, n)`: the sum over rows of their outer products.
fn sum_of_products<T: Real>(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let ((k, m), (_, n)) = (a.dims2()?, b.dims2()?);
    let (a, b) = (Elements::of(a)?, Elements::of(b)?);
    let (a, b) = (a.slice::<T>()?, b.slice::<T>()?);
    let mut sum = vec![T::zero(); m * n];
    if !sum.is_empty() && k > 0 {
        sum.par_chunks_mut(ROWS * n).enumerate().for_each(|(chunk, sum)| {
            let a = Matrix::new(&a[chunk * ROWS..], 1, m);
            multiply(sum, n, [sum.len() / n, n, k], a, Matrix::new(b, n, 1), false);
        });
    }
    Ok(Value::new(sum, (m, n)).into_tensor())
}

/// The matrix product with `NumPy`'s rules: leading axes broadcast.
///
/// A vector on the left is a row, on the right a column; its axis of size 1 is dropped again. Where both are matrices,
/// or only the right one is broadcast, the rows of the left one are computed as if each were alone (they may be a
/// batch).
///
/// ```
/// use candle_core::{Device, Tensor};
/// # fn main() -> candle_core::Result<()> {
/// let a = Tensor::new(&[[1f32, 2.], [3., 4.]], &Device::Cpu)?;
/// let b = Tensor::new(&[10f32, 1.], &Device::Cpu)?;
/// assert_eq!(faithful_tensor::matmul(&a, &b)?.to_vec1::<f32>()?, [12., 34.]);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// Where the inner sizes differ, the leading axes do not broadcast, or an operand is a scalar.
pub fn matmul(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    if a.rank() == 0 || b.rank() == 0 {
        bail!("matmul: expected at least one axis each, got {:?} and {:?}", a.dims(), b.dims());
    }
    if a.rank() == 1 {
        let y = matmul(&a.unsqueeze(0)?, b)?;
        let axis = if b.rank() == 1 { 0 } else { y.rank() - 2 };
        return y.squeeze(axis);
    }
    if b.rank() == 1 {
        let y = matmul(a, &b.unsqueeze(1)?)?;
        return y.squeeze(y.rank() - 1);
    }
    let (m, k) = (a.dims()[a.rank() - 2], a.dims()[a.rank() - 1]);
    let (inner, n) = (b.dims()[b.rank() - 2], b.dims()[b.rank() - 1]);
    if k != inner {
        bail!("matmul: {:?} times {:?}: the inner sizes {k} and {inner} differ", a.dims(), b.dims());
    }
    if is_half_on_cpu(a) {
        return matmul(&widen(a)?, &widen(b)?)?.to_dtype(a.dtype());
    }
    if b.rank() == 2 {
        // Rows of all leading axes times one matrix.
        return linear(a, &b.t()?, None);
    }
    let leading_of = |x: &Tensor| Shape::from(&x.dims()[..x.rank() - 2]);
    let leading = leading_of(a).broadcast_shape_binary_op(&leading_of(b), "matmul")?;
    let full = |rows: usize, columns: usize| [leading.dims(), &[rows, columns]].concat();
    let (a, b) = (a.broadcast_as(full(m, k))?, b.broadcast_as(full(k, n))?);
    let count = leading.elem_count();
    let a = a.contiguous()?.reshape((count, m, k))?;
    let b = b.contiguous()?.reshape((count, k, n))?;
    let y = if has_kernels(&a) {
        let value = by_type!(a, products(&a, false, &b, false))?;
        attach("matmul", &[&a, &b], value, |backward| {
            let [a, b] = backward.arguments else { unreachable!("two arguments were attached") };
            let gradient = backward.gradient;
            Ok(vec![
                if backward.wanted[0] {
                    Some(by_type!(a, products(gradient, false, b, true))?.into_tensor())
                } else {
                    None
                },
                if backward.wanted[1] {
                    Some(by_type!(a, products(a, true, gradient, false))?.into_tensor())
                } else {
                    None
                },
            ])
        })?
    } else {
        composed::product::matmul(&a, &b)?
    };
    y.reshape(full(m, n))
}

/// The products of the matrices of two stacks, each transposed first where said.
fn products<T: Real>(a: &Tensor, transpose_a: bool, b: &Tensor, transpose_b: bool) -> Result<Value> {
    let ((count, a0, a1), (_, b0, b1)) = (a.dims3()?, b.dims3()?);
    let (m, k) = if transpose_a { (a1, a0) } else { (a0, a1) };
    let n = if transpose_b { b0 } else { b1 };
    let (a, b) = (Elements::of(a)?, Elements::of(b)?);
    let (a, b) = (a.slice::<T>()?, b.slice::<T>()?);
    let view = |data, columns, transposed| {
        if transposed { Matrix::new(data, 1, columns) } else { Matrix::new(data, columns, 1) }
    };
    let mut y = vec![T::zero(); count * m * n];
    if !y.is_empty() {
        y.par_chunks_mut(m * n).enumerate().for_each(|(i, y)| {
            let a = view(&a[i * a0 * a1..][..a0 * a1], a1, transpose_a);
            let b = view(&b[i * b0 * b1..][..b0 * b1], b1, transpose_b);
            multiply(y, n, [m, n, k], a, b, false);
        });
    }
    Ok(Value::new(y, (count, m, n)))
}
