use crate::function::{Elements, Real, by_type};
use candle_core::{DType, Result, Tensor};
use rayon::prelude::*;

/// Whether no element is NaN or infinite.
///
/// # Errors
/// Those of candle.
pub fn all_finite(x: &Tensor) -> Result<bool> {
    let x = x.detach();
    if x.device().is_cpu() && x.is_contiguous() && matches!(x.dtype(), DType::F32 | DType::F64) {
        return by_type!(x, finite_on_cpu(&x));
    }
    if x.elem_count() == 0 {
        return Ok(true);
    }
    // NaN and infinity stay in a sum. Finite values may overflow it, so that only the values themselves condemn.
    if x.sum_all()?.to_dtype(DType::F64)?.to_scalar::<f64>()?.is_finite() {
        return Ok(true);
    }
    Ok(x.flatten_all()?.to_dtype(DType::F64)?.to_vec1::<f64>()?.iter().all(|value| value.is_finite()))
}

fn finite_on_cpu<T: Real>(x: &Tensor) -> Result<bool> {
    /// Elements that are worth a task.
    const PIECE: usize = 64 * 1024;
    let x = Elements::of(x)?;
    // Without an early end, which would keep the processor from looking at several at once.
    let piece = |piece: &[T]| piece.iter().fold(true, |all, value| all & value.is_finite());
    Ok(x.slice::<T>()?.par_chunks(PIECE).all(piece))
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn one_number_that_is_none_is_found(length in 1usize..200_000, place: prop::sample::Index, which in 0usize..3) {
            let mut values = vec![f32::MAX; length];
            for dtype in [DType::F32, DType::F64] {
                let finite = Tensor::from_slice(&values, length, &Device::Cpu).unwrap().to_dtype(dtype).unwrap();
                prop_assert!(all_finite(&finite).unwrap());
            }
            values[place.index(length)] = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY][which];
            for dtype in [DType::F32, DType::F64, DType::BF16] {
                let broken = Tensor::from_slice(&values, length, &Device::Cpu).unwrap().to_dtype(dtype).unwrap();
                prop_assert!(!all_finite(&broken).unwrap());
            }
        }
    }
}
