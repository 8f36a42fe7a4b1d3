//! A machine's predictions over its life, made steadier.

/// The mean of the last `count` predictions, each brought forward by the cycles that have passed since: a machine that runs one
/// cycle has one cycle less. Predictions at the cap say only that there is more, and count as they are.
///
/// `cycles` rise; the result has a life per cycle, from 0 to `cap`, that depends on nothing later.
///
/// ```
/// // Two predictions that agree on the end, and one that is off by six.
/// let steady = faithful_rul::smoothed_course(&[10, 11, 12], &[50.0, 49.0, 54.0], 3, 125.0);
/// assert_eq!(steady, [50.0, 49.0, 50.0]);
/// ```
pub fn smoothed_course(cycles: &[u32], lives: &[f32], count: usize, cap: f32) -> Vec<f32> {
    let forward = |place: usize, now: u32| {
        let passed = (now - cycles[place]) as f32;
        if lives[place] < cap { (lives[place] - passed).max(0.0) } else { cap }
    };
    let at = |place: usize| {
        let first = (place + 1).saturating_sub(count.max(1));
        let sum: f32 = (first..=place).map(|before| forward(before, cycles[place])).sum();
        sum / (place + 1 - first) as f32
    };
    (0..cycles.len().min(lives.len())).map(at).collect()
}

/// The course that never rises and is nearest to `lives` in the mean of squares: isotonic regression by pooling adjacent violators
/// (Ayer et al. 1955). Early values depend on later ones; the last one does not.
///
/// ```
/// assert_eq!(faithful_rul::monotone_course(&[100.0, 80.0, 90.0, 20.0]), [100.0, 85.0, 85.0, 20.0]);
/// ```
pub fn monotone_course(lives: &[f32]) -> Vec<f32> {
    // Pools of a mean and a number.
    let mut pools: Vec<(f64, usize)> = Vec::new();
    for life in lives {
        let mut own = (f64::from(*life), 1);
        while let Some(before) = pools.pop_if(|before| before.0 < own.0) {
            let count = before.1 + own.1;
            own = ((before.0 * before.1 as f64 + own.0 * own.1 as f64) / count as f64, count);
        }
        pools.push(own);
    }
    pools.into_iter().flat_map(|(mean, count)| std::iter::repeat_n(mean as f32, count)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_monotone_course_never_rises_and_is_the_nearest() {
        let lives: Vec<f32> = (0..60).map(|i| 120.0 - i as f32 + ((i * 37) % 23) as f32).collect();
        let found = monotone_course(&lives);
        assert!(found.is_sorted_by(|a, b| a >= b) && found.len() == 60);
        let distance = |course: &[f32]| course.iter().zip(&lives).map(|(a, b)| (a - b).powi(2)).sum::<f32>();
        // No step up or down of a pool that keeps the order is nearer.
        for place in 0..60 {
            for by in [-0.05f32, 0.05] {
                let mut other = found.clone();
                other[place..].iter_mut().for_each(|life| *life += by);
                if other.is_sorted_by(|a, b| a >= b) {
                    assert!(distance(&other) >= distance(&found) - 1e-2, "{place}");
                }
            }
        }
        assert_eq!(monotone_course(&found), found);
    }

    #[test]
    fn a_smoothed_course_knows_nothing_later_and_keeps_the_cap() {
        let cycles: Vec<u32> = (5..30).collect();
        let lives: Vec<f32> = cycles.iter().map(|cycle| 125.0f32.min(140.0 - *cycle as f32)).collect();
        let whole = smoothed_course(&cycles, &lives, 10, 125.0);
        assert_eq!(smoothed_course(&cycles[..8], &lives[..8], 10, 125.0), whole[..8]);
        assert_eq!((whole[0], whole[24]), (125.0, lives[24]));
    }
}
