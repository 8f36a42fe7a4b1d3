//! How alike two lists of numbers are ordered.

/// Spearman's rank correlation: Pearson's of the ranks, ties with their mean rank (as `scipy.stats.spearmanr`). In
/// `[-1, 1]`; 0 where one of the lists is constant, for which it is not defined.
///
/// ```
/// let found = faithful_core::rank_correlation(&[1.0, 2.0, 2.0, 4.0], &[4.0, 1.0, 3.0, 2.0]);
/// assert!((found + 0.632_455_532_033_676).abs() < 1e-12);
/// ```
pub fn rank_correlation(a: &[f64], b: &[f64]) -> f64 {
    correlation(&mean_ranks(a), &mean_ranks(b))
}

/// Pearson's correlation, in `[-1, 1]`; 0 where one of the two is constant, for which it is not defined.
pub fn correlation(a: &[f64], b: &[f64]) -> f64 {
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len().max(1) as f64;
    let (middle_a, middle_b) = (mean(a), mean(b));
    let pairs = || a.iter().zip(b).map(|(a, b)| (a - middle_a, b - middle_b));
    let length = (pairs().map(|(a, _)| a * a).sum::<f64>() * pairs().map(|(_, b)| b * b).sum::<f64>()).sqrt();
    if length > 0.0 { (pairs().map(|(a, b)| a * b).sum::<f64>() / length).clamp(-1.0, 1.0) } else { 0.0 }
}

/// The rank of each value from 0 on, ties with their mean.
pub fn mean_ranks(values: &[f64]) -> Vec<f64> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_have_their_mean_rank() {
        assert_eq!(mean_ranks(&[1.0, 0.0, -0.0, 1.0, 1.0]), [3.0, 0.5, 0.5, 3.0, 3.0]);
        assert_eq!(rank_correlation(&[1.0, 2.0, 9.0], &[-3.0, 0.0, 0.5]), 1.0);
        assert_eq!(rank_correlation(&[1.0, 2.0], &[5.0, 5.0]), 0.0);
    }
}
