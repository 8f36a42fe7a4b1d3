use crate::composed::{has_kernels, reduction as composed};
use crate::function::{Elements, Real, Value, attach, by_type, is_half_on_cpu, widen};
use candle_core::{Result, Tensor, WithDType, bail};
use rayon::prelude::*;

/// How values along axes become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // ONNX's names.
pub enum Reduction {
    Mean,
    Sum,
    Max,
    Min,
    L1,
    L2,
    SumSquare,
    LogSumExp,
}

/// Reduces `axes` (all where empty); `keep` leaves them with size 1. A maximum's gradient goes to its first place.
///
/// Sums are taken in f64. NaN counts as the highest and as the lowest, so that it is seen; the gradient of `L2` at
/// zero is 0.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use faithful_tensor::{Reduction, reduce};
/// # fn main() -> candle_core::Result<()> {
/// let x = Tensor::new(&[[3f32, 4.], [6., 8.]], &Device::Cpu)?;
/// assert_eq!(reduce(&x, &[1], false, Reduction::L2)?.to_vec1::<f32>()?, [5., 10.]);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// Where an axis does not exist or is named twice, or the maximum or minimum of nothing is asked for.
pub fn reduce(x: &Tensor, axes: &[usize], keep: bool, reduction: Reduction) -> Result<Tensor> {
    let rank = x.rank();
    let reduced: Vec<usize> = if axes.is_empty() { (0..rank).collect() } else { axes.to_vec() };
    for (i, axis) in reduced.iter().enumerate() {
        if *axis >= rank || reduced[..i].contains(axis) {
            bail!("reduce: axes {axes:?} of a tensor of shape {:?}: no such axis, or named twice", x.dims());
        }
    }
    let kept: Vec<usize> = (0..rank).filter(|axis| !reduced.contains(axis)).collect();
    let shape: Vec<usize> = if keep {
        (0..rank).map(|axis| if reduced.contains(&axis) { 1 } else { x.dims()[axis] }).collect()
    } else {
        kept.iter().map(|&axis| x.dims()[axis]).collect()
    };
    let length: usize = reduced.iter().map(|&axis| x.dims()[axis]).product();
    if length == 0 && matches!(reduction, Reduction::Max | Reduction::Min) {
        bail!("reduce: the {reduction:?} over axes {reduced:?} of shape {:?} has no elements", x.dims());
    }
    if is_half_on_cpu(x) {
        return reduce(&widen(x)?, axes, keep, reduction)?.to_dtype(x.dtype());
    }
    // In memory's order, so that "first" means what it says.
    let mut order = kept;
    order.extend((0..rank).filter(|axis| reduced.contains(axis)));
    let rows = x.elem_count().checked_div(length).unwrap_or_else(|| shape.iter().product());
    let x = x.permute(order)?.contiguous()?.reshape((rows, length))?;
    let y = if has_kernels(&x) { reduce_rows(&x, reduction)? } else { composed::reduce_rows(&x, reduction)? };
    y.reshape(shape)
}

/// `(rows, length)` to `(rows,)`.
fn reduce_rows(x: &Tensor, reduction: Reduction) -> Result<Tensor> {
    let value = by_type!(x, rows_on_cpu(x, reduction))?;
    attach("reduce", &[x], value, move |backward| {
        let (x, y, gradient) = (&backward.arguments[0], backward.result, backward.gradient);
        Ok(vec![Some(by_type!(x, rows_gradient_on_cpu(x, y, gradient, reduction))?)])
    })
}

/// Where the first extreme of a row is; NaN before all.
fn extreme<T: Real>(row: &[T], beats: impl Fn(T, T) -> bool) -> usize {
    let mut place = 0;
    for (i, &x) in row.iter().enumerate() {
        if beats(x, row[place]) || (x.is_nan() && !row[place].is_nan()) {
            place = i;
        }
    }
    place
}

fn rows_on_cpu<T: Real>(x: &Tensor, reduction: Reduction) -> Result<Value> {
    let (rows, length) = x.dims2()?;
    let elements = Elements::of(x)?;
    let from = elements.slice::<T>()?;
    let wide = |x: &T| WithDType::to_f64(*x);
    let one = |row: usize| {
        let row = &from[row * length..][..length];
        let sum = |term: &dyn Fn(f64) -> f64| row.iter().map(|x| term(wide(x))).sum::<f64>();
        T::from_f64(match reduction {
            Reduction::Mean => sum(&|x| x) / length as f64,
            Reduction::Sum => sum(&|x| x),
            Reduction::Max => return row[extreme(row, |a, b| a > b)],
            Reduction::Min => return row[extreme(row, |a, b| a < b)],
            Reduction::L1 => sum(&f64::abs),
            Reduction::L2 => sum(&|x| x * x).sqrt(),
            Reduction::SumSquare => sum(&|x| x * x),
            Reduction::LogSumExp => {
                let highest = row.iter().map(wide).fold(f64::NEG_INFINITY, f64::max);
                if highest.is_finite() { highest + sum(&|x| (x - highest).exp()).ln() } else { sum(&|x| x.exp()).ln() }
            }
        })
    };
    let y: Vec<T> = (0..rows).into_par_iter().with_min_len(16).map(one).collect();
    Ok(Value::new(y, rows))
}

fn rows_gradient_on_cpu<T: Real>(x: &Tensor, y: &Tensor, gradient: &Tensor, reduction: Reduction) -> Result<Tensor> {
    let (rows, length) = x.dims2()?;
    let (x, y, gradient) = (Elements::of(x)?, Elements::of(y)?, Elements::of(gradient)?);
    let (x, y, gradient) = (x.slice::<T>()?, y.slice::<T>()?, gradient.slice::<T>()?);
    let mut dx = vec![T::zero(); x.len()];
    if !dx.is_empty() {
        dx.par_chunks_mut(length).zip(x.par_chunks(length)).enumerate().for_each(|(row, (dx, x))| {
            let (y, g) = (y[row], gradient[row]);
            let mut each = |partial: &dyn Fn(T) -> T| {
                for (dx, &x) in dx.iter_mut().zip(x) {
                    *dx = partial(x) * g;
                }
            };
            match reduction {
                Reduction::Mean => each(&|_| T::from_f64(1. / length as f64)),
                Reduction::Sum => each(&|_| T::one()),
                Reduction::Max => dx[extreme(x, |a, b| a > b)] = g,
                Reduction::Min => dx[extreme(x, |a, b| a < b)] = g,
                Reduction::L1 => each(&|x| if x == T::zero() { x } else { x.signum() }),
                Reduction::L2 => each(&|x| if y == T::zero() { y } else { x / y }),
                Reduction::SumSquare => each(&|x| x + x),
                Reduction::LogSumExp => each(&|x| (x - y).exp()),
            }
        });
    }
    Ok(Value::new(dx, (rows, length)).into_tensor())
}
