//! What averaging over many gradients asks of a batch, row by row, without the batch-sized tensors in between.

use crate::composed::has_kernels;
use crate::function::{Elements, Real, Value, by_type, is_half_on_cpu, widen};
use candle_core::{DType, Result, Tensor, WithDType, bail};
use rayon::prelude::*;

/// Sums of several chains, added up in one order: the processor need not wait for each addition.
const CHAINS: usize = 8;

/// `sum_i a_ri b_ri` of every row `r`, in f64; rows lie along the first axis.
///
/// Nothing is tracked.
///
/// # Errors
/// Where the shapes or the types differ, or there is no axis.
pub fn row_dots(a: &Tensor, b: &Tensor) -> Result<Vec<f64>> {
    if a.dims() != b.dims() || a.rank() == 0 {
        bail!("row_dots: rows of shape {:?} and {:?} do not match", a.dims(), b.dims());
    }
    if is_half_on_cpu(a) {
        return row_dots(&widen(a)?, &widen(b)?);
    }
    if !has_kernels(a) {
        let wide = |x: &Tensor| x.flatten_from(1)?.to_dtype(DType::F64);
        return (wide(&a.unsqueeze(1)?)? * wide(&b.unsqueeze(1)?)?)?.sum(1)?.to_vec1();
    }
    let (a, b) = (a.contiguous()?, b.contiguous()?);
    by_type!(a, dots_on_cpu(&a, &b))
}

/// The sum of every row, in f64; rows lie along the first axis.
///
/// Nothing is tracked.
///
/// # Errors
/// Where there is no axis.
pub fn row_sums(x: &Tensor) -> Result<Vec<f64>> {
    if x.rank() == 0 {
        bail!("row_sums: a single number has no rows");
    }
    if is_half_on_cpu(x) {
        return row_sums(&widen(x)?);
    }
    if !has_kernels(x) {
        return x.unsqueeze(1)?.flatten_from(1)?.to_dtype(DType::F64)?.sum(1)?.to_vec1();
    }
    let x = x.contiguous()?;
    by_type!(x, sums_on_cpu(&x))
}

/// `from_r + shares_r (to_r - from_r)`: a place of its own on the way for every row.
///
/// `to` has as many rows as `from`, or one for all. Nothing is tracked.
///
/// ```
/// use candle_core::{Device, Tensor};
/// # fn main() -> candle_core::Result<()> {
/// let from = Tensor::new(&[[0f32, 8.], [0., 8.]], &Device::Cpu)?;
/// let to = Tensor::new(&[[4f32, 4.]], &Device::Cpu)?;
/// let between = faithful_tensor::interpolate(&from, &to, &[0.25, 1.0])?;
/// assert_eq!(between.to_vec2::<f32>()?, [[1., 7.], [4., 4.]]);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// Where the shapes or the types do not match, or there is not one share for each row.
pub fn interpolate(from: &Tensor, to: &Tensor, shares: &[f64]) -> Result<Tensor> {
    let rows = from.dims().first().copied().unwrap_or(0);
    let targets = to.dims().first().copied().unwrap_or(0);
    let alike = from.rank() == to.rank() && from.dims().iter().skip(1).eq(to.dims().iter().skip(1));
    if from.rank() == 0 || !alike || (targets != 1 && targets != rows) || shares.len() != rows {
        bail!("interpolate: {} shares from {:?} to {:?} do not match", shares.len(), from.dims(), to.dims());
    }
    if is_half_on_cpu(from) || !has_kernels(from) {
        let mut shape = vec![1; from.rank()];
        shape[0] = rows;
        let shares = Tensor::from_vec(shares.to_vec(), shape, from.device())?.to_dtype(from.dtype())?;
        return (from + to.broadcast_sub(from)?.broadcast_mul(&shares)?)?.detach().contiguous();
    }
    let (from, to) = (from.contiguous()?, to.contiguous()?);
    Ok(by_type!(from, between_on_cpu(&from, &to, shares))?.into_tensor())
}

/// The elements of a row.
fn length(x: &Tensor) -> usize {
    x.dims()[1..].iter().product()
}

/// `sum_i terms(i)` by [`CHAINS`] sums that take turns.
fn summed(count: usize, term: impl Fn(usize) -> f64) -> f64 {
    let mut sums = [0.0; CHAINS];
    let whole = count - count % CHAINS;
    for start in (0..whole).step_by(CHAINS) {
        for (chain, sum) in sums.iter_mut().enumerate() {
            *sum += term(start + chain);
        }
    }
    sums.iter().sum::<f64>() + (whole..count).map(term).sum::<f64>()
}

fn dots_on_cpu<T: Real>(a: &Tensor, b: &Tensor) -> Result<Vec<f64>> {
    let (rows, length) = (a.dims()[0], length(a));
    let (a, b) = (Elements::of(a)?, Elements::of(b)?);
    let (a, b) = (a.slice::<T>()?, b.slice::<T>()?);
    let row = |row: usize| {
        let (a, b) = (&a[row * length..][..length], &b[row * length..][..length]);
        summed(length, |i| WithDType::to_f64(a[i]) * WithDType::to_f64(b[i]))
    };
    Ok((0..rows).into_par_iter().map(row).collect())
}

fn sums_on_cpu<T: Real>(x: &Tensor) -> Result<Vec<f64>> {
    let (rows, length) = (x.dims()[0], length(x));
    let x = Elements::of(x)?;
    let x = x.slice::<T>()?;
    let row = |row: usize| {
        let x = &x[row * length..][..length];
        summed(length, |i| WithDType::to_f64(x[i]))
    };
    Ok((0..rows).into_par_iter().map(row).collect())
}

fn between_on_cpu<T: Real>(from: &Tensor, to: &Tensor, shares: &[f64]) -> Result<Value> {
    let (shape, length) = (from.shape().clone(), length(from));
    let step = if to.dims()[0] == 1 { 0 } else { length };
    let (from, to) = (Elements::of(from)?, Elements::of(to)?);
    let (from, to) = (from.slice::<T>()?, to.slice::<T>()?);
    let mut between = vec![T::zero(); from.len()];
    if length > 0 {
        between.par_chunks_mut(length).enumerate().for_each(|(row, between)| {
            let (from, to) = (&from[row * length..][..length], &to[row * step..][..length]);
            let share = T::from_f64(shares[row]);
            for ((between, &from), &to) in between.iter_mut().zip(from).zip(to) {
                *between = from + (to - from) * share;
            }
        });
    }
    Ok(Value::new(between, shape))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::by_composition;
    use candle_core::Device;
    use proptest::prelude::*;

    fn tensor(rows: usize, length: usize, seed: usize, dtype: DType) -> Tensor {
        let values: Vec<f64> = (0..rows * length).map(|i| ((i * 31 + seed * 17) % 101) as f64 / 50.0 - 1.0).collect();
        let tensor = Tensor::from_vec(values, (rows, length, 1), &Device::Cpu).unwrap();
        tensor.to_dtype(dtype).unwrap()
    }

    fn close(found: &[f64], wanted: &[f64]) -> bool {
        found.len() == wanted.len() && found.iter().zip(wanted).all(|(a, b)| (a - b).abs() <= 1e-9 * (1.0 + b.abs()))
    }

    proptest! {
        #[test]
        fn rows_are_what_candle_composes_and_alone(rows in 1usize..5, length in 0usize..40, wide: bool) {
            let dtype = if wide { DType::F64 } else { DType::F32 };
            let (a, b) = (tensor(rows, length, 1, dtype), tensor(rows, length, 2, dtype));
            let shares: Vec<f64> = (0..rows).map(|row| row as f64 / 3.0).collect();
            let dots = row_dots(&a, &b).unwrap();
            prop_assert!(close(&dots, &by_composition(|| row_dots(&a, &b)).unwrap()));
            prop_assert!(close(&row_sums(&a).unwrap(), &by_composition(|| row_sums(&a)).unwrap()));
            for to in [&b, &b.narrow(0, 0, 1).unwrap()] {
                let here = interpolate(&a, to, &shares).unwrap();
                let there = by_composition(|| interpolate(&a, to, &shares)).unwrap();
                let far = (here - there).unwrap().abs().unwrap().to_dtype(DType::F64).unwrap();
                let far: Vec<f64> = far.flatten_all().unwrap().to_vec1().unwrap();
                prop_assert!(far.iter().all(|far| *far < 1e-6));
            }
            for (row, dot) in dots.iter().enumerate() {
                let one = |x: &Tensor| x.narrow(0, row, 1).unwrap();
                prop_assert_eq!(row_dots(&one(&a), &one(&b)).unwrap(), [*dot]);
            }
        }
    }

    #[test]
    fn what_does_not_match_is_refused() {
        let (a, b) = (tensor(2, 3, 0, DType::F32), tensor(2, 4, 0, DType::F32));
        assert!(row_dots(&a, &b).is_err());
        assert!(interpolate(&a, &b, &[0.0, 1.0]).is_err());
        assert!(interpolate(&a, &a, &[0.0]).is_err());
        let number = Tensor::new(1f32, &Device::Cpu).unwrap();
        assert!(row_sums(&number).is_err() && row_dots(&number, &number).is_err());
    }
}
