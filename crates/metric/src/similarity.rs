use crate::canvas::finite;
use candle_core::Tensor;
use faithful_core::{Error, Result};

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

/// Spearman's rank correlation: Pearson's of the ranks, ties with their mean rank (as `scipy.stats.spearmanr`). In
/// `[-1, 1]`; 0 where one of the maps is constant, for which it is not defined.
pub(crate) fn rank_correlation(a: &[f64], b: &[f64]) -> f64 {
    correlation(&mean_ranks(a), &mean_ranks(b))
}

/// Pearson's correlation, in `[-1, 1]`; 0 where one of the two is constant, for which it is not defined.
pub(crate) fn correlation(a: &[f64], b: &[f64]) -> f64 {
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len().max(1) as f64;
    let (middle_a, middle_b) = (mean(a), mean(b));
    let pairs = || a.iter().zip(b).map(|(a, b)| (a - middle_a, b - middle_b));
    let length = (pairs().map(|(a, _)| a * a).sum::<f64>() * pairs().map(|(_, b)| b * b).sum::<f64>()).sqrt();
    if length > 0.0 { (pairs().map(|(a, b)| a * b).sum::<f64>() / length).clamp(-1.0, 1.0) } else { 0.0 }
}

pub(crate) fn mean_ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    let mut ranks = vec![0.0; values.len()];
    let mut start = 0;
    // Equality, not total_cmp: zero and negative zero tie.
    for tied in order.chunk_by(|&a, &b| values[a] == values[b]) {
        let rank = start as f64 + (tied.len() as f64 - 1.0) / 2.0;
        for &cell in tied {
            ranks[cell] = rank;
        }
        start += tied.len();
    }
    ranks
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
    fn ties_have_their_mean_rank() {
        assert_eq!(mean_ranks(&[1.0, 0.0, -0.0, 1.0, 1.0]), [3.0, 0.5, 0.5, 3.0, 3.0]);
        // scipy.stats.spearmanr([1, 2, 2, 4], [4, 1, 3, 2])
        let expected = -0.632_455_532_033_676;
        assert!((rank_correlation(&[1.0, 2.0, 2.0, 4.0], &[4.0, 1.0, 3.0, 2.0]) - expected).abs() < 1e-12);
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
