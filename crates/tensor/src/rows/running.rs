//! Sums over many draws, in `f64` and row after row: however the draws were put together, the same bits come out.

use super::{Factor, RowFactors, length};
use crate::composed::has_kernels;
use crate::function::{Elements, Real, Value, is_half_on_cpu};
use candle_core::{DType, Result, Tensor, WithDType, bail};
use rayon::prelude::*;
use std::ops::Range;

/// Elements that stay in the nearest cache while row after row is added to them.
const PIECE: usize = 1024;

/// `sum + sum_r t_r` and `square_sum + sum_r t_r^2` with `t_r = x_r f_r`, for the `rows` of `x`; both sums are `(1, …)` of one row's
/// shape and `f64`.
///
/// Nothing is tracked.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use faithful_tensor::{RowFactors, add_row_moments};
/// # fn main() -> candle_core::Result<()> {
/// let x = Tensor::new(&[[1f32, 2.], [3., 4.]], &Device::Cpu)?;
/// let zero = Tensor::zeros((1, 2), candle_core::DType::F64, &Device::Cpu)?;
/// let [sum, square_sum] = add_row_moments([&zero, &zero], &x, RowFactors::One, 0..2)?;
/// assert_eq!((sum.to_vec2::<f64>()?, square_sum.to_vec2::<f64>()?), (vec![vec![4., 6.]], vec![vec![10., 20.]]));
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// Where shapes do not match, the sums are not `f64`, there is no axis, or `x` has not so many rows.
pub fn add_row_moments(sums: [&Tensor; 2], x: &Tensor, factors: RowFactors, rows: Range<usize>) -> Result<[Tensor; 2]> {
    factors.check(x)?;
    check("add_row_moments", sums[0], x)?;
    check("add_row_moments", sums[1], x)?;
    if rows.start > rows.end || rows.end > x.dims()[0] {
        bail!("add_row_moments: {:?} has no rows {rows:?}", x.dims());
    }
    let [sum, square_sum] = sums;
    if is_half_on_cpu(x) || !has_kernels(x) {
        let terms = factors.wide_terms(x)?;
        let (mut sum, mut square_sum) = (sum.detach(), square_sum.detach());
        for row in rows {
            let term = terms.narrow(0, row, 1)?;
            sum = (sum + &term)?;
            square_sum = (square_sum + term.sqr()?)?;
        }
        return Ok([sum, square_sum]);
    }
    let (mut sum, mut square_sum) = (numbers(sum)?, numbers(square_sum)?);
    let pieces = sum.par_chunks_mut(PIECE).zip(square_sum.par_chunks_mut(PIECE));
    let pieces = pieces.map(|(sum, square_sum)| [sum, square_sum]);
    let add = |[sum, square_sum]: &mut [&mut [f64]; 2], _: usize, terms: &[f64]| {
        for ((sum, square_sum), term) in sum.iter_mut().zip(square_sum.iter_mut()).zip(terms) {
            *sum += term;
            *square_sum += term * term;
        }
    };
    each_row(x, factors, rows, pieces, &add)?;
    let tensor = |values: Vec<f64>| Value::new(values, sums[0].dims()).into_tensor();
    Ok([tensor(sum), tensor(square_sum)])
}

/// `sum + sum_r w_r x_r f_r` for all rows of `x`, with a weight for each; `sum` is `(1, …)` of one row's shape and `f64`.
///
/// Nothing is tracked.
///
/// # Errors
/// As [`add_row_moments`], and where there is not one weight for each row.
pub fn add_weighted_rows(sum: &Tensor, x: &Tensor, factors: RowFactors, weights: &[f64]) -> Result<Tensor> {
    factors.check(x)?;
    check("add_weighted_rows", sum, x)?;
    if weights.len() != x.dims()[0] {
        bail!("add_weighted_rows: {} weights for {:?}", weights.len(), x.dims());
    }
    if is_half_on_cpu(x) || !has_kernels(x) {
        let terms = factors.wide_terms(x)?;
        let mut sum = sum.detach();
        for (row, weight) in weights.iter().enumerate() {
            sum = (sum + (terms.narrow(0, row, 1)? * *weight)?)?;
        }
        return Ok(sum);
    }
    let mut added = numbers(sum)?;
    let add = |[sum]: &mut [&mut [f64]; 1], row: usize, terms: &[f64]| {
        sum.iter_mut().zip(terms).for_each(|(sum, term)| *sum += term * weights[row]);
    };
    each_row(x, factors, 0..weights.len(), added.par_chunks_mut(PIECE).map(|sum| [sum]), &add)?;
    Ok(Value::new(added, sum.dims()).into_tensor())
}

fn check(name: &str, sum: &Tensor, x: &Tensor) -> Result<()> {
    let fits = sum.rank() == x.rank() && sum.dims()[0] == 1 && sum.dims()[1..] == x.dims()[1..];
    if fits && sum.dtype() == DType::F64 {
        Ok(())
    } else {
        bail!("{name}: rows of {:?} do not go into {:?} of {:?}", x.dims(), sum.dims(), sum.dtype())
    }
}

fn numbers(x: &Tensor) -> Result<Vec<f64>> {
    let x = x.contiguous()?;
    Ok(Elements::of(&x)?.slice::<f64>()?.to_vec())
}

/// Gives the terms of row after row to `add`, [`PIECE`] elements at a time, with the piece of the sums that they go into.
fn each_row<P: Send>(
    x: &Tensor,
    factors: RowFactors,
    rows: Range<usize>,
    pieces: impl IndexedParallelIterator<Item = P>,
    add: &(impl Fn(&mut P, usize, &[f64]) + Sync),
) -> Result<()> {
    match x.dtype() {
        DType::F32 => each_row_of::<f32, P>(x, factors, rows, pieces, add),
        DType::F64 => each_row_of::<f64, P>(x, factors, rows, pieces, add),
        other => bail!("elements of type {other:?} are not supported; convert them to f32"),
    }
}

fn each_row_of<T: Real, P: Send>(
    x: &Tensor,
    factors: RowFactors,
    rows: Range<usize>,
    pieces: impl IndexedParallelIterator<Item = P>,
    add: &(impl Fn(&mut P, usize, &[f64]) + Sync),
) -> Result<()> {
    let (count, length) = (x.dims()[0], length(x));
    let (x, kept) = (x.contiguous()?, factors.contiguous()?);
    let (x, factors) = (Elements::of(&x)?, kept.elements()?);
    let (x, factors) = (x.slice::<T>()?, factors.slices::<T>(count, length)?);
    pieces.enumerate().for_each(|(piece, mut sums)| {
        let part = piece * PIECE..length.min((piece + 1) * PIECE);
        let mut terms = [0.0; PIECE];
        let terms = &mut terms[..part.len()];
        for row in rows.clone() {
            let x = &x[row * length..][part.clone()];
            let wide = |value: T| WithDType::to_f64(value);
            match factors[row] {
                Factor::One => terms.iter_mut().zip(x).for_each(|(term, &x)| *term = wide(x)),
                Factor::By(factor) => {
                    let pairs = x.iter().zip(&factor[part.clone()]);
                    terms.iter_mut().zip(pairs).for_each(|(term, (&x, &factor))| *term = wide(x) * wide(factor));
                }
                Factor::Between(own, there) => {
                    let pairs = own[part.clone()].iter().zip(&there[part.clone()]);
                    let products = x.iter().zip(pairs).map(|(&x, (&own, &there))| wide(x) * wide(own - there));
                    terms.iter_mut().zip(products).for_each(|(term, product)| *term = product);
                }
            }
            add(&mut sums, row, terms);
        }
    });
    Ok(())
}

impl RowFactors<'_> {
    /// All `x_r f_r` as a tensor of `f64`.
    fn wide_terms(&self, x: &Tensor) -> Result<Tensor> {
        let wide = |x: &Tensor| x.detach().to_dtype(DType::F64);
        match self {
            Self::One | Self::Between { there: [], .. } => wide(x),
            Self::Rows(rows) => wide(x)? * wide(rows)?,
            Self::Between { own, there } => {
                wide(x)? * wide(&own.detach().broadcast_sub(&Tensor::cat(there, 0)?.detach())?)?
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::by_composition;
    use candle_core::Device;
    use proptest::prelude::*;

    fn tensor(rows: usize, length: usize, seed: usize, dtype: DType) -> Tensor {
        let values: Vec<f64> = (0..rows * length).map(|i| ((i * 31 + seed * 17) % 101) as f64 / 50.0 - 1.0).collect();
        Tensor::from_vec(values, (rows, length, 1), &Device::Cpu).unwrap().to_dtype(dtype).unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn rows_are_added_as_candle_composes_it_whatever_the_batch(rows in 1usize..5, length in 0usize..2500, wide: bool) {
            let dtype = if wide { DType::F64 } else { DType::F32 };
            let all = |x: &Tensor| x.flatten_all().unwrap().to_vec1::<f64>().unwrap();
            let (x, factor) = (tensor(rows, length, 1, dtype), tensor(rows, length, 2, dtype));
            let own = tensor(1, length, 3, dtype);
            let there: Vec<Tensor> = (0..rows).map(|row| tensor(1, length, 4 + row, dtype)).collect();
            let weights: Vec<f64> = (0..rows).map(|row| 0.3 - row as f64).collect();
            let [sum, square_sum] = [5, 6].map(|seed| tensor(1, length, seed, DType::F64));
            let between = RowFactors::Between { own: &own, there: &there };
            for factors in [RowFactors::One, RowFactors::Rows(&factor), between] {
                let moments = || add_row_moments([&sum, &square_sum], &x, factors, 0..rows).unwrap();
                let (here, composed) = (moments(), by_composition(moments));
                for (here, composed) in here.iter().zip(&composed) {
                    prop_assert_eq!(all(here), all(composed));
                }
                let mut alone = [sum.clone(), square_sum.clone()];
                for row in 0..rows {
                    alone = add_row_moments([&alone[0], &alone[1]], &x, factors, row..row + 1).unwrap();
                }
                prop_assert_eq!(alone.map(|x| all(&x)), here.map(|x| all(&x)));
                let weighted = || add_weighted_rows(&sum, &x, factors, &weights).unwrap();
                prop_assert_eq!(all(&weighted()), all(&by_composition(weighted)));
            }
        }
    }

    #[test]
    fn what_does_not_match_is_refused() {
        let (x, sum) = (tensor(2, 3, 0, DType::F32), tensor(1, 3, 0, DType::F64));
        let moments = |sum: &Tensor, rows| add_row_moments([sum, sum], &x, RowFactors::One, rows);
        assert!(moments(&sum, 0..2).is_ok() && moments(&sum, 0..3).is_err());
        for wrong in [tensor(1, 3, 0, DType::F32), tensor(1, 4, 0, DType::F64), tensor(2, 3, 0, DType::F64)] {
            assert!(moments(&wrong, 0..1).is_err());
            assert!(add_weighted_rows(&wrong, &x, RowFactors::One, &[1.0, 1.0]).is_err());
        }
        assert!(add_weighted_rows(&sum, &x, RowFactors::One, &[1.0]).is_err());
    }
}
