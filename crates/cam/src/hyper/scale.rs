//! What the values of an explanation mean.

use super::decomposition::standardised;
use candle_core::{DType, Tensor};
use faithful_core::Result;

/// How fast the soft scale rises at 0, per standard deviation of the map.
pub const SOFT_STEEPNESS: f64 = 0.5;

/// A signed map's values in `(-1, 1)`: `t / sqrt(1 + t^2)` of `t = k m / s`, with `s` the map's standard deviation over pixels and `k`
/// [`SOFT_STEEPNESS`].
///
/// One function for every photo: 0 is neither for nor against, two standard deviations are 0.71, six 0.95. It rises everywhere, so
/// slowly at its ends that single precision keeps the order of pixels, and it has no plateau. A map without contrast becomes
/// zero.
///
/// ```
/// use candle_core::{Device, Tensor};
/// # fn main() -> faithful_core::Result<()> {
/// // Its standard deviation is 1.
/// let map = Tensor::new(&[[[-1f64, 1.0, 1.0, -1.0]]], &Device::Cpu)?;
/// let soft: Vec<f64> = faithful_cam::soft_scale(&map)?.flatten_all()?.to_vec1()?;
/// assert!((soft[1] - 0.5 / 1.25f64.sqrt()).abs() < 1e-12 && soft[0] == -soft[1]);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// Those of tensors.
pub fn soft_scale(map: &Tensor) -> Result<Tensor> {
    let values: Vec<f64> = standardised(map)?.to_dtype(DType::F64)?.flatten_all()?.to_vec1()?;
    let soft = |score: f64| {
        let t = SOFT_STEEPNESS * score;
        t / (1.0 + t * t).sqrt()
    };
    let values: Vec<f64> = values.into_iter().map(soft).collect();
    Ok(Tensor::from_vec(values, map.shape(), map.device())?.to_dtype(map.dtype())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn the_order_stays_and_nothing_saturates() {
        let values: Vec<f32> = (0..4096).map(|i| ((i * 37 % 4096) as f32 - 1500.0).powi(3)).collect();
        let map = Tensor::from_vec(values.clone(), (1, 64, 64), &Device::Cpu).unwrap();
        let soft: Vec<f32> = soft_scale(&map).unwrap().flatten_all().unwrap().to_vec1().unwrap();
        let mut order: Vec<usize> = (0..values.len()).collect();
        order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
        assert!(order.windows(2).all(|pair| soft[pair[0]] < soft[pair[1]]));
        assert!(soft.iter().zip(&values).all(|(soft, value)| (*soft > 0.0) == (*value > 0.0) && soft.abs() < 1.0));
        let flat = soft_scale(&map.ones_like().unwrap()).unwrap();
        assert_eq!(flat.abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap(), 0.0);
    }
}
