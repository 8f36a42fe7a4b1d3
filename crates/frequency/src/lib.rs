//! Frequency decomposition of maps: which details are fine and which are coarse.
//!
//! Every function takes maps `(H, W)` or `(N, H, W)` of any size (odd, not square, one pixel wide), and counts
//! frequencies in cycles per pixel, of which 0.5 is the highest along an axis. [`laplacian_pyramid`],
//! [`difference_of_gaussians`] and [`split_bands`] lose nothing: their parts give the map back. [`band_pass`] keeps
//! one band, [`forgrad`] is Xplique's preset of it, [`gabor_responses`] tells waves by their direction too.
//! `faithful-cam` injects the details of a network's early layers into its class activation maps with this.
//!
//! ```
//! use candle_core::{Device, Tensor};
//! use faithful_frequency::{gaussian_high_pass, sigma_of_cutoff};
//! # fn main() -> candle_core::Result<()> {
//! // What of a map no grid of every eighth pixel can hold: all above 1/16 cycle per pixel.
//! let map = Tensor::rand(0f32, 1., (57, 33), &Device::Cpu)?;
//! let details = gaussian_high_pass(&map, sigma_of_cutoff(1. / 16.))?;
//! assert_eq!(details.dims(), [57, 33]);
//! assert!(details.mean_all()?.to_scalar::<f32>()?.abs() < 1e-6);
//! # Ok(())
//! # }
//! ```

mod fourier;
mod gabor;
mod gaussian;
mod planes;
mod pyramid;

pub use fourier::{Band, Edge, band_pass, forgrad, split_bands};
pub use gabor::{GaborBank, GaborResponse, gabor_high_pass, gabor_responses};
pub use gaussian::{difference_of_gaussians, gaussian_blur, gaussian_high_pass, sigma_of_cutoff};
pub use pyramid::{LaplacianPyramid, laplacian_pyramid};

#[cfg(test)]
mod laws {
    use super::*;
    use candle_core::{Device, Tensor};
    use proptest::prelude::*;

    fn map() -> impl Strategy<Value = Tensor> {
        (1usize..3, 1usize..20, 1usize..20).prop_flat_map(|(count, height, width)| {
            prop::collection::vec(-5f64..5.0, count * height * width)
                .prop_map(move |values| Tensor::from_vec(values, (count, height, width), &Device::Cpu).unwrap())
        })
    }

    fn distance(a: &Tensor, b: &Tensor) -> f64 {
        (a - b).unwrap().abs().unwrap().max_all().unwrap().to_scalar::<f64>().unwrap()
    }

    fn sum(parts: &[Tensor]) -> Tensor {
        parts[1..].iter().fold(parts[0].clone(), |sum, part| (sum + part).unwrap())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn nothing_is_lost(map in map(), levels in 0usize..4, periodic: bool) {
            prop_assert!(distance(&laplacian_pyramid(&map, levels).unwrap().reconstruct().unwrap(), &map) < 1e-12);
            prop_assert!(distance(&sum(&difference_of_gaussians(&map, &[0.7, 1.5, 4.0]).unwrap()), &map) < 1e-12);
            let edge = if periodic { Edge::Periodic } else { Edge::Mirror };
            prop_assert!(distance(&sum(&split_bands(&map, &[0.05, 0.2], edge).unwrap()), &map) < 1e-12);
            prop_assert!(distance(&band_pass(&map, Band::low_pass(f64::INFINITY), edge).unwrap(), &map) < 1e-12);
        }

        /// A band taken twice is the band, and bands have nothing in common.
        #[test]
        fn bands_are_projections(map in map(), cutoff in 0.0f64..0.7) {
            let low = band_pass(&map, Band::low_pass(cutoff), Edge::Periodic).unwrap();
            prop_assert!(distance(&band_pass(&low, Band::low_pass(cutoff), Edge::Periodic).unwrap(), &low) < 1e-12);
            let high = (&map - &low).unwrap();
            let inner = (high * &low).unwrap().sum_all().unwrap().to_scalar::<f64>().unwrap();
            prop_assert!(inner.abs() < 1e-9);
        }

        /// Each map of a batch is filtered by itself.
        #[test]
        fn maps_of_a_batch_are_independent(map in map()) {
            let one = map.get(0).unwrap();
            prop_assert_eq!(distance(&gaussian_blur(&map, 1.3).unwrap().get(0).unwrap(), &gaussian_blur(&one, 1.3).unwrap()), 0.0);
            let band = Band { low: 0.1, high: 0.3 };
            let together = band_pass(&map, band, Edge::Mirror).unwrap().get(0).unwrap();
            prop_assert_eq!(distance(&together, &band_pass(&one, band, Edge::Mirror).unwrap()), 0.0);
        }
    }
}
