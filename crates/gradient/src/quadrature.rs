use std::num::NonZeroUsize;

/// A rule that replaces the integral over `[0, 1]` by a weighted sum.
///
/// The error's order holds for smooth paths of smooth networks. Piecewise linear networks (relu, max pooling) have
/// gradients with jumps, and no rule is better than first order there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Quadrature {
    /// The left end of each step: order 1.
    Left,
    /// The right end of each step: the thesis's Eq. 33, order 1.
    Right,
    /// The middle of each step: order 2.
    Midpoint,
    /// Both ends, half each: order 2. Captum 0.9's rule of that name divides by the points instead of the steps
    /// between them, and so loses the share `1 / points` of every attribution.
    Trapezoid,
    /// Gauss and Legendre's points: exact for polynomials of degree `2 * points - 1`.
    #[default]
    GaussLegendre,
}

impl Quadrature {
    /// `points` pairs of a place in `[0, 1]` and its weight, places ascending; the weights sum to 1.
    ///
    /// A trapezoid of a single point is the midpoint.
    ///
    /// ```
    /// use faithful_gradient::Quadrature;
    /// use std::num::NonZeroUsize;
    /// let three = NonZeroUsize::new(3).unwrap();
    /// assert_eq!(Quadrature::Trapezoid.nodes(three), [(0.0, 0.25), (0.5, 0.5), (1.0, 0.25)]);
    /// // Exact for x^5.
    /// let integral: f64 = Quadrature::GaussLegendre.nodes(three).iter().map(|(x, weight)| weight * x.powi(5)).sum();
    /// assert!((integral - 1.0 / 6.0).abs() < 1e-15);
    /// ```
    pub fn nodes(self, points: NonZeroUsize) -> Vec<(f64, f64)> {
        let count = points.get();
        let weight = 1.0 / count as f64;
        let spaced = |shift: f64| (0..count).map(|k| ((k as f64 + shift) * weight, weight)).collect();
        match self {
            Self::Left => spaced(0.0),
            Self::Right => spaced(1.0),
            Self::Midpoint => spaced(0.5),
            Self::Trapezoid if count == 1 => spaced(0.5),
            Self::Trapezoid => {
                let step = 1.0 / (count - 1) as f64;
                let end = |k| k == 0 || k == count - 1;
                (0..count).map(|k| (k as f64 * step, if end(k) { 0.5 * step } else { step })).collect()
            }
            Self::GaussLegendre => gauss_legendre(count),
        }
    }

    /// Numbers of points to try one after the other when the integration may stop early, the largest at most `points`,
    /// and whether each keeps all points of the one before (so that only the new ones cost).
    pub(crate) fn levels(self, points: NonZeroUsize) -> (Vec<NonZeroUsize>, bool) {
        let (levels, nested) = self.level_sizes(points.get());
        (levels.into_iter().filter_map(NonZeroUsize::new).collect(), nested)
    }

    fn level_sizes(self, points: usize) -> (Vec<usize>, bool) {
        /// Fewer points than this are no estimate worth looking at.
        const FEWEST: usize = 4;
        let geometric = |limit: usize, factor: usize| {
            let mut first = limit;
            while first / factor >= FEWEST {
                first /= factor;
            }
            std::iter::successors(Some(first.max(1)), move |level| Some(level * factor))
                .take_while(move |l| *l <= limit)
        };
        match self {
            Self::Left | Self::Right => (geometric(points, 2).collect(), true),
            Self::Midpoint => (geometric(points, 3).collect(), true),
            Self::Trapezoid if points < 3 => (vec![points], true),
            Self::Trapezoid => (geometric(points - 1, 2).map(|steps| steps + 1).collect(), true),
            Self::GaussLegendre => {
                // Gauss points of different numbers have nothing in common: together they must stay within the budget.
                let mut levels = Vec::new();
                let mut left = points;
                let mut next = FEWEST;
                while left > 0 {
                    // What would be left after this level must be enough for a larger one, or goes into this one.
                    let level = if left < next + 2 * next { left } else { next };
                    levels.push(level);
                    left -= level;
                    next *= 2;
                }
                (levels, false)
            }
        }
    }
}

/// Newton's method on the Legendre polynomial, from Tricomi's guess; symmetric, so half of the roots suffice.
fn gauss_legendre(count: usize) -> Vec<(f64, f64)> {
    let mut nodes = vec![(0.5, 1.0); count];
    for i in 0..count.div_ceil(2) {
        let mut root = (std::f64::consts::PI * (i as f64 + 0.75) / (count as f64 + 0.5)).cos();
        let mut slope = 1.0;
        for _ in 0..100 {
            let (value, derivative) = legendre(count, root);
            slope = derivative;
            let step = value / derivative;
            root -= step;
            if step.abs() < 1e-15 {
                slope = legendre(count, root).1;
                break;
            }
        }
        let weight = 1.0 / ((1.0 - root * root) * slope * slope);
        nodes[i] = (0.5 - 0.5 * root, weight);
        nodes[count - 1 - i] = (0.5 + 0.5 * root, weight);
    }
    nodes
}

/// The Legendre polynomial of degree `degree` and its derivative.
fn legendre(degree: usize, x: f64) -> (f64, f64) {
    let (mut before, mut value) = (1.0, x);
    for k in 2..=degree {
        let k = k as f64;
        (before, value) = (value, ((2.0 * k - 1.0) * x * value - (k - 1.0) * before) / k);
    }
    (value, degree as f64 * (x * value - before) / (x * x - 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Quadrature; 5] =
        [Quadrature::Left, Quadrature::Right, Quadrature::Midpoint, Quadrature::Trapezoid, Quadrature::GaussLegendre];

    fn integral(rule: Quadrature, points: usize, f: impl Fn(f64) -> f64) -> f64 {
        rule.nodes(NonZeroUsize::new(points).unwrap()).iter().map(|(x, weight)| weight * f(*x)).sum()
    }

    #[test]
    fn weights_sum_to_one_and_places_ascend_within_the_path() {
        for rule in ALL {
            for points in [1, 2, 3, 7, 50, 301] {
                let nodes = rule.nodes(NonZeroUsize::new(points).unwrap());
                assert_eq!(nodes.len(), points);
                assert!((nodes.iter().map(|(_, weight)| weight).sum::<f64>() - 1.0).abs() < 1e-12, "{rule:?} {points}");
                assert!(nodes.windows(2).all(|pair| pair[0].0 < pair[1].0));
                assert!(nodes.iter().all(|(x, weight)| (0.0..=1.0).contains(x) && *weight > 0.0));
            }
        }
    }

    #[test]
    fn errors_shrink_at_each_rules_order() {
        let exact = 1f64.exp() - 1.0;
        for (rule, order) in [
            (Quadrature::Left, 1.0),
            (Quadrature::Right, 1.0),
            (Quadrature::Midpoint, 2.0),
            (Quadrature::Trapezoid, 2.0),
        ] {
            let error = |steps: usize| {
                let points = if rule == Quadrature::Trapezoid { steps + 1 } else { steps };
                (integral(rule, points, f64::exp) - exact).abs()
            };
            let measured = (error(50) / error(100)).log2();
            assert!((measured - order).abs() < 0.02, "{rule:?}: {measured}");
        }
        for points in 1..40 {
            let degree = 2 * points as i32 - 1;
            let polynomial = integral(Quadrature::GaussLegendre, points, |x| x.powi(degree));
            assert!((polynomial - 1.0 / f64::from(degree + 1)).abs() < 1e-14, "{points}");
        }
    }

    #[test]
    fn levels_stay_within_the_budget() {
        for rule in ALL {
            for points in 1..200 {
                let (levels, nested) = rule.level_sizes(points);
                let cost: usize = if nested { *levels.last().unwrap() } else { levels.iter().sum() };
                assert!(cost <= points && cost > 0, "{rule:?} {points} {levels:?}");
                assert!(levels.windows(2).all(|pair| pair[0] < pair[1]), "{rule:?} {points} {levels:?}");
                if nested && rule != Quadrature::Left {
                    for pair in levels.windows(2) {
                        let places = |n| rule.nodes(NonZeroUsize::new(n).unwrap());
                        let fine = places(pair[1]);
                        let kept = |x: f64| fine.iter().any(|(y, _)| (x - y).abs() < 1e-12);
                        assert!(places(pair[0]).iter().all(|(x, _)| kept(*x)), "{rule:?} {pair:?}");
                    }
                }
            }
        }
        assert_eq!(Quadrature::Left.level_sizes(64).0, [4, 8, 16, 32, 64]);
        assert_eq!(Quadrature::GaussLegendre.level_sizes(64).0, [4, 8, 16, 36]);
    }
}
