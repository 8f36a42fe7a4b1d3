use crate::canvas::finite;
use candle_core::Tensor;
use faithful_core::Result;

/// Sparseness: the Gini index of the magnitudes (Chalasani et al. 2020). Higher is sparser, in `[0, 1)`; 0 for a map
/// whose cells are all alike.
///
/// # Errors
/// [`NotFinite`](faithful_core::Error::NotFinite) where the map has NaN or infinity.
pub fn sparseness(map: &Tensor) -> Result<f64> {
    let mut magnitudes = magnitudes(map)?;
    magnitudes.sort_by(f64::total_cmp);
    let count = magnitudes.len() as f64;
    let total: f64 = magnitudes.iter().sum();
    if total <= 0.0 {
        return Ok(0.0);
    }
    let weighted = magnitudes.iter().enumerate().map(|(i, value)| (2.0 * (i + 1) as f64 - count - 1.0) * value);
    Ok(weighted.sum::<f64>() / (count * total))
}

/// Complexity: the entropy in nats of the magnitudes' shares (Bhatt et al. 2020). Lower is simpler, in
/// `[0, ln(cells)]`; 0 for a map of one cell and for an all-zero map.
///
/// # Errors
/// [`NotFinite`](faithful_core::Error::NotFinite) where the map has NaN or infinity.
pub fn complexity(map: &Tensor) -> Result<f64> {
    let magnitudes = magnitudes(map)?;
    let total: f64 = magnitudes.iter().sum();
    if total <= 0.0 {
        return Ok(0.0);
    }
    let shares = magnitudes.iter().map(|value| value / total).filter(|share| *share > 0.0);
    Ok(-shares.map(|share| share * share.ln()).sum::<f64>())
}

fn magnitudes(map: &Tensor) -> Result<Vec<f64>> {
    Ok(finite(map)?.into_iter().map(f64::abs).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    fn map(values: &[f32]) -> Tensor {
        Tensor::new(values, &Device::Cpu).unwrap()
    }

    #[test]
    fn one_cell_is_as_sparse_and_simple_as_can_be_and_a_flat_map_the_opposite() {
        let point = map(&[0.0, 0.0, -5.0, 0.0]);
        assert_eq!(sparseness(&point).unwrap(), 0.75);
        assert_eq!(complexity(&point).unwrap(), 0.0);
        let flat = map(&[2.0; 4]);
        assert!(sparseness(&flat).unwrap().abs() < 1e-12);
        assert!((complexity(&flat).unwrap() - 4f64.ln()).abs() < 1e-12);
    }

    #[test]
    fn an_all_zero_map_is_no_nan() {
        assert_eq!((sparseness(&map(&[0.0; 3])).unwrap(), complexity(&map(&[0.0; 3])).unwrap()), (0.0, 0.0));
    }
}
