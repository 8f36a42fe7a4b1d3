use crate::canvas::finite;
use candle_core::Tensor;
use faithful_core::{Error, Result, rank_correlation};

/// How alike two maps are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Similarity {
    /// Spearman's rank correlation of the maps, in `[-1, 1]`.
    pub spearman: f64,
    /// Spearman's rank correlation of their magnitudes, in `[-1, 1]`: a map that merely changes its sign stays alike.
    pub spearman_of_magnitudes: f64,
    /// The structural similarity of the maps, each over its largest magnitude, in `[-1, 1]`.
    pub structural: f64,
}

/// The similarities of two maps of one shape that Adebayo et al. (2018) compare maps by.
///
/// # Errors
/// [`Error::Shape`] where the shapes differ, [`Error::NotFinite`] where a map has NaN or infinity.
pub fn similarity(a: &Tensor, b: &Tensor) -> Result<Similarity> {
    if a.dims() != b.dims() {
        return Err(Error::shape("the second map", format!("{:?}, as the first", a.dims()), b.dims()));
    }
    let (first, second) = (finite(a)?, finite(b)?);
    let magnitudes = |map: &[f64]| -> Vec<f64> { map.iter().map(|value| value.abs()).collect() };
    Ok(Similarity {
        spearman: rank_correlation(&first, &second),
        spearman_of_magnitudes: rank_correlation(&magnitudes(&first), &magnitudes(&second)),
        structural: structural(&unit(&first), &unit(&second), a.dims()),
    })
}

fn unit(map: &[f64]) -> Vec<f64> {
    let largest = map.iter().fold(0.0, |largest: f64, value| largest.max(value.abs()));
    map.iter().map(|value| if largest > 0.0 { value / largest } else { 0.0 }).collect()
}

/// Structural similarity (Wang et al. 2004) as `skimage.metrics.structural_similarity` has it by default: means of
/// square windows of seven cells that lie wholly inside (fewer where the map is smaller), sample covariances, constants
/// 0.01 and 0.03 of the range of both maps together. Channels are compared one by one. 1 for equal maps.
fn structural(a: &[f64], b: &[f64], dims: &[usize]) -> f64 {
    let all = a.iter().chain(b);
    let (low, high) = all.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), value| (l.min(*value), h.max(*value)));
    if high <= low {
        return 1.0;
    }
    let [.., height, width] = *[&[1], dims].concat() else { return 1.0 };
    let odd = |size: usize| if size >= 7 { 7 } else { size - (size + 1) % 2 };
    let (tall, wide) = (odd(height), odd(width));
    let constants = [0.01, 0.03].map(|share: f64| (share * (high - low)).powi(2));
    let count = (tall * wide) as f64;
    // Of a window of one cell there is no covariance.
    let sample = if count > 1.0 { count / (count - 1.0) } else { 1.0 };
    let (mut sum, mut windows) = (0.0, 0usize);
    for (a, b) in a.chunks_exact(height * width).zip(b.chunks_exact(height * width)) {
        for corner in (0..=height - tall).flat_map(|y| (0..=width - wide).map(move |x| y * width + x)) {
            let mut moments = [0.0; 5];
            for row in 0..tall {
                let cells = corner + row * width..corner + row * width + wide;
                for (a, b) in a[cells.clone()].iter().zip(&b[cells]) {
                    for (moment, value) in moments.iter_mut().zip([*a, *b, a * a, b * b, a * b]) {
                        *moment += value;
                    }
                }
            }
            let [mean_a, mean_b, aa, bb, ab] = moments.map(|moment| moment / count);
            let (variances, covariance) =
                (sample * (aa - mean_a * mean_a + bb - mean_b * mean_b), sample * (ab - mean_a * mean_b));
            sum += (2.0 * mean_a * mean_b + constants[0]) * (2.0 * covariance + constants[1])
                / ((mean_a * mean_a + mean_b * mean_b + constants[0]) * (variances + constants[1]));
            windows += 1;
        }
    }
    sum / windows.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{DType, Device};

    fn wave(shape: &[usize], step: usize) -> Tensor {
        let count: usize = shape.iter().product();
        let values: Vec<f32> = (0..count).map(|i| ((i * step) % 19) as f32 - 9.0).collect();
        Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
    }

    #[test]
    fn equal_maps_are_alike_and_opposite_ones_only_in_magnitude() {
        for shape in [&[9, 12][..], &[5, 3], &[30], &[2, 8, 8], &[1, 1]] {
            let map = wave(shape, 5);
            let same = similarity(&map, &(&map * 3.0).unwrap()).unwrap();
            if map.elem_count() > 1 {
                assert!((same.spearman - 1.0).abs() < 1e-12 && (same.spearman_of_magnitudes - 1.0).abs() < 1e-12);
                let opposite = similarity(&map, &map.neg().unwrap()).unwrap();
                assert!((opposite.spearman + 1.0).abs() < 1e-12, "{opposite:?}");
                assert!((opposite.spearman_of_magnitudes - 1.0).abs() < 1e-12);
                assert!(opposite.structural < 1.0 - 1e-6, "{shape:?} {opposite:?}");
            }
            assert!((same.structural - 1.0).abs() < 1e-9, "{shape:?} {same:?}");
        }
    }

    #[test]
    fn a_flat_map_correlates_with_nothing() {
        let flat = Tensor::ones((9, 9), DType::F32, &Device::Cpu).unwrap();
        let found = similarity(&flat, &wave(&[9, 9], 7)).unwrap();
        assert_eq!((found.spearman, found.spearman_of_magnitudes), (0.0, 0.0));
        let zero = flat.zeros_like().unwrap();
        assert_eq!(similarity(&zero, &zero).unwrap().structural, 1.0);
    }

    #[test]
    fn other_shapes_and_nan_are_errors() {
        assert!(similarity(&wave(&[2, 3], 1), &wave(&[3, 2], 1)).is_err());
        let nan = Tensor::new(&[f32::NAN], &Device::Cpu).unwrap();
        assert!(similarity(&nan, &nan).is_err());
    }
}
