use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// A mean with its 95% interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// The mean.
    pub mean: f64,
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

const RESAMPLES: usize = 2000;
const FLIPS: usize = 10_000;

/// The mean of `values` with the 95% percentile bootstrap interval (Efron 1979) over 2000 seeded resamples.
///
/// `None` for no values; an interval of no width for one.
pub fn bootstrap_mean(values: &[f64]) -> Option<Interval> {
    bootstrap(values.len(), |places| places.iter().map(|place| values[*place]).sum::<f64>() / places.len() as f64)
}

/// A statistic of `0..count` with the 95% percentile bootstrap interval (Efron 1979) over 2000 seeded resamples of those
/// places; `mean` is the statistic of all of them. `None` for no places.
pub(crate) fn bootstrap(count: usize, statistic: impl Fn(&[usize]) -> f64) -> Option<Interval> {
    if count == 0 {
        return None;
    }
    let mut generator = ChaCha8Rng::seed_from_u64(0x626f_6f74);
    let mut resampled: Vec<f64> = (0..RESAMPLES)
        .map(|_| statistic(&(0..count).map(|_| generator.random_range(0..count)).collect::<Vec<_>>()))
        .collect();
    resampled.sort_by(f64::total_cmp);
    let quantile = |share: f64| resampled[((share * RESAMPLES as f64) as usize).min(RESAMPLES - 1)];
    let all: Vec<usize> = (0..count).collect();
    Some(Interval { mean: statistic(&all), low: quantile(0.025), high: quantile(0.975) })
}

/// The two-sided p value of the paired differences' mean: the share of sign flips (Fisher's randomisation test, 10,000
/// seeded flips, counting the data themselves) whose mean is at least as far from zero. 1 for no differences.
pub fn paired_p(differences: &[f64]) -> f64 {
    let observed = differences.iter().sum::<f64>().abs();
    let mut generator = ChaCha8Rng::seed_from_u64(0x666c_6970);
    let extreme = (0..FLIPS).filter(|_| {
        let flipped: f64 = differences.iter().map(|d| if generator.random::<bool>() { *d } else { -d }).sum();
        flipped.abs() >= observed - 1e-12
    });
    (extreme.count() + 1) as f64 / (FLIPS + 1) as f64
}

/// Holm's correction (1979) of p values for their number, in their order.
pub fn holm(p: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|&a, &b| p[a].total_cmp(&p[b]));
    let mut corrected = vec![0.0; p.len()];
    let mut highest: f64 = 0.0;
    for (place, &i) in order.iter().enumerate() {
        highest = highest.max((p[i] * (p.len() - place) as f64).min(1.0));
        corrected[i] = highest;
    }
    corrected
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_holds_the_mean_and_narrows() {
        let values: Vec<f64> = (0..50).map(|i| f64::from(i % 10)).collect();
        let few = bootstrap_mean(&values[..10]).unwrap();
        let many = bootstrap_mean(&values).unwrap();
        assert_eq!((few.mean, many.mean), (4.5, 4.5));
        assert!(few.low < 4.5 && 4.5 < few.high);
        assert!(many.high - many.low < few.high - few.low);
        // The normal approximation: 1.96 * 2.87 / sqrt(50) = 0.80 on either side.
        assert!((many.high - 5.3).abs() < 0.1, "{many:?}");
        assert_eq!(bootstrap_mean(&[]), None);
    }

    #[test]
    fn a_constant_lead_is_significant_and_no_difference_is_not() {
        assert!(paired_p(&[0.1; 20]) < 0.001);
        assert_eq!(paired_p(&[0.0; 20]), 1.0);
        let mixed: Vec<f64> = (0..20).map(|i| if i % 2 == 0 { 0.1 } else { -0.1 }).collect();
        assert!(paired_p(&mixed) > 0.9);
    }

    #[test]
    fn holm_is_the_textbook_example() {
        let corrected = holm(&[0.01, 0.04, 0.03, 0.005]);
        for (found, expected) in corrected.iter().zip([0.03, 0.06, 0.06, 0.02]) {
            assert!((found - expected).abs() < 1e-12, "{corrected:?}");
        }
    }
}
