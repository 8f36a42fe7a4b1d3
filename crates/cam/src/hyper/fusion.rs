//! Part IV: supermaps and the frequency map become one (thesis, 4.8.6).

use super::decomposition::standardised;
use candle_core::{DType, Tensor};
use faithful_core::{Error, Result};

/// How part IV puts the stages and the frequency map together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FusionParameters {
    /// Added or multiplied; added.
    pub combination: Combination,
    /// The weight of each supermap beside a level of the frequency map where they are added, not negative; 1.
    pub weight: f64,
    /// The weight of the base map beside part III's (with the stages, where these are added), each divided by its standard
    /// deviation over pixels, not negative; 0.25. It says where, in one piece, where detail is scattered. Not in the product,
    /// where the thesis has none.
    pub base: f64,
    /// How strongly supermaps modulate the frequency map where they are multiplied, in `[0, 1]`; 0.95, the thesis's.
    pub modulation: f64,
}

impl Default for FusionParameters {
    fn default() -> Self {
        Self { combination: Combination::default(), weight: 1.0, base: 0.25, modulation: 0.95 }
    }
}

/// How the stages join the frequency map.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Combination {
    /// `(F + w sum_i S_i / s_i) / s + b B / s_B`, every `s` a standard deviation over pixels: a supermap is one more level, and the
    /// base map `B` joins all of them. The default: the product, which lets every supermap veto a pixel, costs much in insertion
    /// and deletion.
    #[default]
    Sum,
    /// The thesis's (4.8.6): the sum of the supermaps from finer to coarser, each normalised by its maximum, is normalised
    /// again and multiplied by each from coarser to finer, every factor `f` tempered to `(1 - m) + m f`; the
    /// frequency map, moved to start at 0 so that a product keeps its order, is multiplied by the result.
    Product,
}

/// What part IV made on its way.
#[derive(Clone, Debug)]
pub struct Fused {
    /// `(1, H, W)`: what the stages say together; added to the frequency map, or multiplied with it. None without
    /// stages.
    pub stages: Option<Tensor>,
    /// `(1, H, W)`: stages, frequency map and base map together; signed where they are added, what speaks against the score below 0.
    pub combined: Tensor,
}

/// Part IV of Hyper Expected Grad-CAM (Buono and Åkesson 2023, 4.8.6).
///
/// `supermaps` `(1, H, W)`, not negative, go from the coarsest to the finest stage; `frequency` `(1, H, W)` is signed; `base`
/// `(1, H, W)`, not negative, is the first map of all, Expected Grad-CAM's at the target layer.
///
/// The map is not scaled yet: see [`soft_scale`](super::soft_scale).
///
/// # Errors
/// [`Error::Parameter`] for a modulation outside `[0, 1]` or a weight that is negative or not finite.
pub fn fuse_parts(
    supermaps: &[Tensor],
    frequency: &Tensor,
    base: &Tensor,
    parameters: &FusionParameters,
) -> Result<Fused> {
    let FusionParameters { combination, weight, base: base_weight, modulation } = *parameters;
    if !(0.0..=1.0).contains(&modulation) {
        return Err(Error::parameter("modulation", format!("{modulation} is outside [0, 1]")));
    }
    for (name, weight) in [("weight", weight), ("base weight", base_weight)] {
        if !(weight >= 0.0 && weight.is_finite()) {
            return Err(Error::parameter(name, format!("{weight} is negative or not finite")));
        }
    }
    let stages = match combination {
        _ if supermaps.is_empty() => None,
        Combination::Sum => {
            let mut sum = frequency.zeros_like()?;
            for supermap in supermaps {
                sum = (sum + (standardised(supermap)? * weight)?)?;
            }
            Some(sum)
        }
        Combination::Product => Some(modulating(supermaps, modulation)?),
    };
    let combined = match (&stages, combination) {
        (None, Combination::Product) => frequency.clone(),
        (stages, Combination::Sum) => {
            let levels = match stages {
                Some(stages) => (frequency + stages)?,
                None => frequency.clone(),
            };
            (standardised(&levels)? + (standardised(base)? * base_weight)?)?
        }
        (Some(stages), Combination::Product) => {
            let low = frequency.to_dtype(DType::F64)?.min_all()?.to_scalar::<f64>()?;
            ((frequency - low)? * stages)?
        }
    };
    Ok(Fused { stages, combined })
}

/// The product of tempered supermaps by which the thesis multiplies, in `[0, 1]`.
fn modulating(supermaps: &[Tensor], modulation: f64) -> Result<Tensor> {
    let tempered = |factor: &Tensor| -> Result<Tensor> { Ok(((factor * modulation)? + (1.0 - modulation))?) };
    let normalised = supermaps.iter().map(normalise).collect::<Result<Vec<_>>>()?;
    let Some((finest, coarser)) = normalised.split_last() else {
        return Err(Error::shape("the supermaps", "at least one", &[]));
    };
    let sum = coarser.iter().rev().try_fold(finest.clone(), |sum, supermap| sum + supermap)?;
    let mut product = tempered(&normalise(&sum)?)?;
    for supermap in &normalised {
        product = (product * tempered(supermap)?)?;
    }
    Ok(product)
}

/// A map that is not negative, divided by its maximum; ones where it is zero everywhere, for it has nothing to say.
fn normalise(map: &Tensor) -> Result<Tensor> {
    let highest = map.to_dtype(DType::F64)?.max_all()?.to_scalar::<f64>()?;
    if highest > 0.0 { Ok((map / highest)?) } else { Ok(map.ones_like()?) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    fn row(values: &[f64]) -> Tensor {
        Tensor::from_vec(values.to_vec(), (1, 1, values.len()), &Device::Cpu).unwrap()
    }

    fn values(map: &Tensor) -> Vec<f64> {
        map.flatten_all().unwrap().to_vec1().unwrap()
    }

    fn product(modulation: f64) -> FusionParameters {
        FusionParameters { combination: Combination::Product, modulation, ..FusionParameters::default() }
    }

    #[test]
    fn factors_are_tempered() {
        // Normalised: [0.5, 1] and [1, 1], their sum [0.75, 1]; at half modulation 0.875 * 0.75 * 1 for the first.
        let fused =
            fuse_parts(&[row(&[2.0, 4.0]), row(&[1.0, 1.0])], &row(&[3.0, 1.0]), &row(&[9.0, 0.0]), &product(0.5))
                .unwrap();
        assert_eq!(values(fused.stages.as_ref().unwrap()), [0.875 * 0.75, 1.0]);
        assert_eq!(values(&fused.combined), [2.0 * 0.875 * 0.75, 0.0]);
    }

    #[test]
    fn supermaps_are_added_as_levels() {
        // Its standard deviation is 2, that of the sum 1.5, and the base map's 3.
        let doubled = FusionParameters { weight: 2.0, base: 0.5, ..FusionParameters::default() };
        let fused = fuse_parts(&[row(&[4.0, 0.0])], &row(&[1.0, 2.0]), &row(&[0.0, 6.0]), &doubled).unwrap();
        assert_eq!(values(fused.stages.as_ref().unwrap()), [4.0, 0.0]);
        for (found, wanted) in values(&fused.combined).iter().zip([5.0 / 1.5, 2.0 / 1.5 + 0.5 * 6.0 / 3.0]) {
            assert!((found - wanted).abs() < 1e-12, "{found} for {wanted}");
        }
    }

    #[test]
    fn without_modulation_or_stages_the_frequency_map_decides() {
        let frequency = row(&[-1.0, 0.5, 3.0, 0.0]);
        let stages = [row(&[1.0, 0.0, 0.0, 1.0])];
        let base = frequency.zeros_like().unwrap();
        for fused in
            [fuse_parts(&stages, &frequency, &base, &product(0.0)), fuse_parts(&[], &frequency, &base, &product(0.95))]
        {
            let map = values(&fused.unwrap().combined);
            assert!(map[2] > map[1] && map[1] > map[3] && map[3] > map[0], "{map:?}");
        }
        assert!(fuse_parts(&[], &frequency, &base, &product(1.5)).is_err());
        assert!(fuse_parts(&[], &frequency, &base, &product(f64::NAN)).is_err());
        for (weight, of_base) in [(-1.0, 0.5), (1.0, -0.5), (1.0, f64::INFINITY)] {
            let wrong = FusionParameters { weight, base: of_base, ..FusionParameters::default() };
            assert!(fuse_parts(&[], &frequency, &base, &wrong).is_err());
        }
    }

    #[test]
    fn nothing_seen_gives_a_zero_map() {
        let zero = row(&[0.0, 0.0]);
        for parameters in [product(0.95), FusionParameters::default()] {
            let fused = fuse_parts(std::slice::from_ref(&zero), &zero, &zero, &parameters).unwrap();
            assert_eq!(values(&fused.combined), [0.0, 0.0]);
        }
    }
}
