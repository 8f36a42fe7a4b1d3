//! What averaging over many gradients asks of a batch, row by row, without the batch-sized tensors in between.

mod running;

pub use running::{add_row_moments, add_weighted_rows};

use crate::composed::has_kernels;
use crate::function::{Elements, Real, Value, by_type, is_half_on_cpu, widen};
use candle_core::{DType, Result, Tensor, WithDType, bail};
use rayon::prelude::*;
use std::ops::Range;

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

/// By what each row `r` of a batch is multiplied.
#[derive(Clone, Copy, Debug)]
pub enum RowFactors<'a> {
    /// By 1.
    One,
    /// By the row `r` of a tensor of the batch's shape.
    Rows(&'a Tensor),
    /// By `own - there_r`, each `(1, …)`, `there` with one for each row: a path's derivative, without a tensor of the batch's
    /// size for it.
    Between {
        /// Where all paths end.
        own: &'a Tensor,
        /// Where the rows' paths begin.
        there: &'a [Tensor],
    },
}

/// The sum of the elements of `x_r f_r`, and that of their squares, for every row `r`, in f64; rows lie along the first axis.
///
/// Nothing is tracked.
///
/// # Errors
/// Where shapes or types differ, or there is no axis.
pub fn row_moments(x: &Tensor, factors: RowFactors) -> Result<Vec<[f64; 2]>> {
    factors.check(x)?;
    if is_half_on_cpu(x) || !has_kernels(x) {
        let terms = factors.terms(x)?;
        let wide = terms.unsqueeze(1)?.flatten_from(1)?.to_dtype(DType::F64)?;
        let (sums, squares) = (wide.sum(1)?.to_vec1()?, wide.sqr()?.sum(1)?.to_vec1()?);
        return Ok(sums.into_iter().zip(squares).map(|(sum, square)| [sum, square]).collect());
    }
    let (x, kept) = (x.contiguous()?, factors.contiguous()?);
    by_type!(x, moments_on_cpu(&x, &kept))
}

/// `sum + sum_r x_r f_r` for the `rows` of `x`, added one after the other, of the shape of one row `(1, …)`.
///
/// Nothing is tracked.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use faithful_tensor::{RowFactors, add_rows};
/// # fn main() -> candle_core::Result<()> {
/// let x = Tensor::new(&[[1f32, 2.], [3., 4.]], &Device::Cpu)?;
/// let (own, there) = (Tensor::new(&[[1f32, 1.]], &Device::Cpu)?, Tensor::new(&[[0f32, -1.]], &Device::Cpu)?);
/// let sum = add_rows(None, &x, RowFactors::Between { own: &own, there: &[there.clone(), there] }, 0..2)?;
/// assert_eq!(sum.to_vec2::<f32>()?, [[4., 12.]]);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// Where shapes or types differ, there is no axis, or `x` has not so many rows.
pub fn add_rows(sum: Option<&Tensor>, x: &Tensor, factors: RowFactors, rows: Range<usize>) -> Result<Tensor> {
    factors.check(x)?;
    let fits = |sum: &Tensor| sum.dims()[1..] == x.dims()[1..] && sum.dims()[0] == 1 && sum.dtype() == x.dtype();
    if rows.start > rows.end || rows.end > x.dims()[0] || sum.is_some_and(|sum| sum.rank() != x.rank() || !fits(sum)) {
        bail!("add_rows: rows {rows:?} of {:?} do not go into {:?}", x.dims(), sum.map(Tensor::dims));
    }
    if is_half_on_cpu(x) || !has_kernels(x) {
        let mut sum = match sum {
            Some(sum) => sum.detach(),
            None => x.narrow(0, 0, 1)?.zeros_like()?,
        };
        let terms = factors.terms(x)?;
        for row in rows {
            sum = (sum + terms.narrow(0, row, 1)?)?;
        }
        return Ok(sum);
    }
    let (x, kept) = (x.contiguous()?, factors.contiguous()?);
    let sum = sum.map(Tensor::contiguous).transpose()?;
    Ok(by_type!(x, added_on_cpu(sum.as_ref(), &x, &kept, rows))?.into_tensor())
}

impl RowFactors<'_> {
    fn check(&self, x: &Tensor) -> Result<()> {
        let row = |one: &Tensor| {
            one.rank() == x.rank() && one.dims()[0] == 1 && one.dims()[1..] == x.dims()[1..] && one.dtype() == x.dtype()
        };
        let fits = x.rank() > 0
            && match self {
                Self::One => true,
                Self::Rows(rows) => rows.dims() == x.dims() && rows.dtype() == x.dtype(),
                Self::Between { own, there } => row(own) && there.len() == x.dims()[0] && there.iter().all(row),
            };
        if fits { Ok(()) } else { bail!("rows of shape {:?} do not match their factors", x.dims()) }
    }

    /// All `x_r f_r` as a tensor.
    fn terms(&self, x: &Tensor) -> Result<Tensor> {
        let x = x.detach();
        match self {
            Self::One => Ok(x),
            Self::Rows(rows) => x * rows.detach(),
            Self::Between { there: [], .. } => Ok(x),
            Self::Between { own, there } => x * own.detach().broadcast_sub(&Tensor::cat(there, 0)?.detach())?,
        }
    }

    fn contiguous(&self) -> Result<Contiguous> {
        Ok(match self {
            Self::One => Contiguous { own: None, rows: Vec::new() },
            Self::Rows(rows) => Contiguous { own: None, rows: vec![rows.contiguous()?] },
            Self::Between { own, there } => {
                let there = there.iter().map(Tensor::contiguous).collect::<Result<_>>()?;
                Contiguous { own: Some(own.contiguous()?), rows: there }
            }
        })
    }
}

/// [`RowFactors`] as kernels read them: with `own`, a tensor per row; without, one for all rows or none.
struct Contiguous {
    own: Option<Tensor>,
    rows: Vec<Tensor>,
}

/// The elements of [`Contiguous`].
struct FactorElements<'a> {
    own: Option<Elements<'a>>,
    rows: Vec<Elements<'a>>,
}

impl Contiguous {
    fn elements(&self) -> Result<FactorElements<'_>> {
        let own = self.own.as_ref().map(Elements::of).transpose()?;
        Ok(FactorElements { own, rows: self.rows.iter().map(Elements::of).collect::<Result<_>>()? })
    }
}

/// One row's factors in memory.
#[derive(Clone, Copy)]
enum Factor<'a, T> {
    One,
    By(&'a [T]),
    Between(&'a [T], &'a [T]),
}

impl FactorElements<'_> {
    fn slices<T: Real>(&self, rows: usize, length: usize) -> Result<Vec<Factor<'_, T>>> {
        let all: Vec<&[T]> = self.rows.iter().map(Elements::slice).collect::<Result<_>>()?;
        let own = self.own.as_ref().map(Elements::slice).transpose()?;
        let row = |row: usize| match (own, all.as_slice()) {
            (Some(own), there) => Factor::Between(own, there[row]),
            (None, [one, ..]) => Factor::By(&one[row * length..][..length]),
            (None, []) => Factor::One,
        };
        Ok((0..rows).map(row).collect())
    }
}

fn moments_on_cpu<T: Real>(x: &Tensor, factors: &Contiguous) -> Result<Vec<[f64; 2]>> {
    let (rows, length) = (x.dims()[0], length(x));
    let (x, factors) = (Elements::of(x)?, factors.elements()?);
    let (x, factors) = (x.slice::<T>()?, factors.slices::<T>(rows, length)?);
    let row = |row: usize| {
        let x = &x[row * length..][..length];
        match factors[row] {
            Factor::One => moments(length, |i| x[i]),
            Factor::By(factor) => moments(length, |i| x[i] * factor[i]),
            Factor::Between(own, there) => moments(length, |i| x[i] * (own[i] - there[i])),
        }
    };
    Ok((0..rows).into_par_iter().map(row).collect())
}

/// The sums of `term(i)` and of its squares by [`CHAINS`] sums each that take turns.
#[inline(always)]
fn moments<T: Real>(count: usize, term: impl Fn(usize) -> T) -> [f64; 2] {
    let (mut sums, mut squares) = ([0.0; CHAINS], [0.0; CHAINS]);
    let whole = count - count % CHAINS;
    for start in (0..whole).step_by(CHAINS) {
        for (chain, (sum, square)) in sums.iter_mut().zip(&mut squares).enumerate() {
            let term = WithDType::to_f64(term(start + chain));
            *sum += term;
            *square += term * term;
        }
    }
    let rest = |of: fn(f64) -> f64| (whole..count).map(|i| of(WithDType::to_f64(term(i)))).sum::<f64>();
    [sums.iter().sum::<f64>() + rest(|term| term), squares.iter().sum::<f64>() + rest(|term| term * term)]
}

fn added_on_cpu<T: Real>(sum: Option<&Tensor>, x: &Tensor, factors: &Contiguous, rows: Range<usize>) -> Result<Value> {
    /// Elements that stay in the nearest cache while row after row is added to them.
    const PIECE: usize = 4096;
    let (count, length) = (x.dims()[0], length(x));
    let mut shape = x.dims().to_vec();
    shape[0] = 1;
    let (x, factors) = (Elements::of(x)?, factors.elements()?);
    let (x, factors) = (x.slice::<T>()?, factors.slices::<T>(count, length)?);
    let mut added = match sum {
        Some(sum) => Elements::of(sum)?.slice::<T>()?.to_vec(),
        None => vec![T::zero(); length],
    };
    added.par_chunks_mut(PIECE).enumerate().for_each(|(piece, added)| {
        let part = piece * PIECE..piece * PIECE + added.len();
        for row in rows.clone() {
            let x = &x[row * length..][part.clone()];
            match factors[row] {
                Factor::One => added.iter_mut().zip(x).for_each(|(sum, &x)| *sum += x),
                Factor::By(factor) => {
                    let pairs = x.iter().zip(&factor[part.clone()]);
                    added.iter_mut().zip(pairs).for_each(|(sum, (&x, &factor))| *sum += x * factor);
                }
                Factor::Between(own, there) => {
                    let pairs = own[part.clone()].iter().zip(&there[part.clone()]);
                    let terms = x.iter().zip(pairs).map(|(&x, (&own, &there))| x * (own - there));
                    added.iter_mut().zip(terms).for_each(|(sum, term)| *sum += term);
                }
            }
        }
    });
    Ok(Value::new(added, shape))
}

/// `from_r + shares_r (to_r - from_r)`: a place of its own on the way for every row.
///
/// `from` and `to` have a row for each share, or one for all. Nothing is tracked.
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
    let rows = shares.len();
    let fits = |x: &Tensor| x.dims().first().is_some_and(|count| *count == 1 || *count == rows);
    let alike = from.rank() == to.rank() && from.dims().iter().skip(1).eq(to.dims().iter().skip(1));
    if !alike || !fits(from) || !fits(to) {
        bail!("interpolate: {} shares from {:?} to {:?} do not match", shares.len(), from.dims(), to.dims());
    }
    if is_half_on_cpu(from) || !has_kernels(from) {
        let mut shape = vec![1; from.rank()];
        shape[0] = rows;
        let shares = Tensor::from_vec(shares.to_vec(), shape, from.device())?.to_dtype(from.dtype())?;
        return from.broadcast_add(&to.broadcast_sub(from)?.broadcast_mul(&shares)?)?.detach().contiguous();
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
    let (mut shape, length) = (from.dims().to_vec(), length(from));
    shape[0] = shares.len();
    let [from_step, to_step] = [from, to].map(|x| if x.dims()[0] == 1 { 0 } else { length });
    let (from, to) = (Elements::of(from)?, Elements::of(to)?);
    let (from, to) = (from.slice::<T>()?, to.slice::<T>()?);
    let mut between = vec![T::zero(); shares.len() * length];
    if length > 0 {
        between.par_chunks_mut(length).enumerate().for_each(|(row, between)| {
            let (from, to) = (&from[row * from_step..][..length], &to[row * to_step..][..length]);
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
            let (one, rows_of_one) = (b.narrow(0, 0, 1).unwrap(), b.narrow(0, 0, 1).unwrap().broadcast_as(a.dims()).unwrap());
            let numbers = |x: Tensor| x.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1::<f64>().unwrap();
            let from_one = numbers(interpolate(&one, &a, &shares).unwrap());
            prop_assert_eq!(&from_one, &numbers(interpolate(&rows_of_one, &a, &shares).unwrap()));
            prop_assert_eq!(&from_one, &numbers(by_composition(|| interpolate(&one, &a, &shares)).unwrap()));
            for (row, dot) in dots.iter().enumerate() {
                let one = |x: &Tensor| x.narrow(0, row, 1).unwrap();
                prop_assert_eq!(row_dots(&one(&a), &one(&b)).unwrap(), [*dot]);
            }
        }
    }

    proptest! {
        #[test]
        fn sums_and_moments_of_products_are_what_candle_composes(rows in 1usize..5, length in 0usize..40, wide: bool) {
            let dtype = if wide { DType::F64 } else { DType::F32 };
            let all = |x: &Tensor| x.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1::<f64>().unwrap();
            let near = |a: &[f64], b: &[f64]| {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() <= 1e-5 * (1.0 + b.abs()))
            };
            let (x, factor) = (tensor(rows, length, 1, dtype), tensor(rows, length, 2, dtype));
            let own = tensor(1, length, 3, dtype);
            let there: Vec<Tensor> = (0..rows).map(|row| tensor(1, length, 4 + row, dtype)).collect();
            let between = RowFactors::Between { own: &own, there: &there };
            for factors in [RowFactors::One, RowFactors::Rows(&factor), between] {
                let moments = row_moments(&x, factors).unwrap().concat();
                prop_assert!(near(&moments, &by_composition(|| row_moments(&x, factors)).unwrap().concat()));
                for (before, taken) in [(None, 0..rows), (Some(&own), 1..rows), (Some(&own), 0..0)] {
                    let here = add_rows(before, &x, factors, taken.clone()).unwrap();
                    prop_assert_eq!(here.dims(), own.dims());
                    let there = by_composition(|| add_rows(before, &x, factors, taken)).unwrap();
                    prop_assert!(near(&all(&here), &all(&there)));
                }
                // A row at a time or all at once: the same bits.
                let mut sum = own.clone();
                for row in 0..rows {
                    sum = add_rows(Some(&sum), &x, factors, row..row + 1).unwrap();
                }
                prop_assert_eq!(all(&sum), all(&add_rows(Some(&own), &x, factors, 0..rows).unwrap()));
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
        assert!(row_moments(&a, RowFactors::Rows(&b)).is_err() && row_moments(&number, RowFactors::One).is_err());
        let row = a.narrow(0, 0, 1).unwrap();
        let one = RowFactors::Between { own: &row, there: std::slice::from_ref(&row) };
        assert!(add_rows(None, &a, one, 0..1).is_err() && add_rows(None, &a, RowFactors::One, 1..3).is_err());
        assert!(add_rows(Some(&a), &a, RowFactors::One, 0..1).is_err());
    }
}
