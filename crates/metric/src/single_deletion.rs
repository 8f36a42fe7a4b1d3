use crate::patches::Patches;
use candle_core::Tensor;
use faithful_core::{Objective, Result, rank_correlation};

/// How many patches there are along each axis.
const SIDE: usize = 4;

/// Single deletion (IDSDS, Hesse et al. 2024): Spearman's rank correlation, over 4 by 4 patches, of the map's sum in a patch and the
/// fall of the score when that patch alone is hidden. Higher is better, in `[-1, 1]`; 0 where either is the same for all patches.
///
/// It is in the network's domain, as the paper wants it, only for networks that were trained on pictures with a patch of zeros;
/// others see something they do not know, if little of it: one patch of sixteen.
///
/// # Errors
/// [`Error::Shape`](faithful_core::Error::Shape) where map and input do not fit, [`Error::NotFinite`](faithful_core::Error::NotFinite)
/// where the map has NaN or infinity.
pub fn single_deletion(objective: &Objective, input: &Tensor, map: &Tensor) -> Result<f64> {
    let patches = Patches::new(input, map, SIDE)?;
    let each: Vec<Vec<usize>> = (0..patches.count()).map(|patch| vec![patch]).collect();
    Ok(rank_correlation(&patches.promised, &patches.falls(objective, input, &each)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Sum;
    use candle_core::Device;
    use faithful_core::Target;

    #[test]
    fn the_order_of_what_patches_hold_is_perfect_and_its_reverse_the_worst() {
        let values: Vec<f32> = (0..64).map(|i| (i * i) as f32).collect();
        let input = Tensor::from_vec(values, (1, 1, 8, 8), &Device::Cpu).unwrap();
        let network = Sum::default();
        let objective = Objective::new(&network, &Target::Output(0));
        let plane = input.squeeze(0).unwrap().squeeze(0).unwrap();
        let measured = |map: &Tensor| single_deletion(&objective, &input, map).unwrap();
        // Any monotone change of the patches' order is as good.
        assert!((measured(&plane) - 1.0).abs() < 1e-12);
        assert!((measured(&plane.neg().unwrap()) + 1.0).abs() < 1e-12);
        assert_eq!(measured(&plane.zeros_like().unwrap()), 0.0);
        assert_eq!(network.0.rows(), 3 * 17);
        // A map of entries, and a series.
        assert!((measured(&input.squeeze(0).unwrap()) - 1.0).abs() < 1e-12);
        let series = plane.reshape((1, 1, 64)).unwrap();
        let found = single_deletion(&objective, &series, &plane.reshape(64).unwrap()).unwrap();
        assert!((found - 1.0).abs() < 1e-12);
    }
}
