use faithful_core::{Error, Result, Stream};
use rand::Rng;

/// What [`k_means`] found.
#[derive(Clone, Debug, PartialEq)]
pub struct Clusters {
    /// The centres, the most populous first.
    pub centres: Vec<Vec<f64>>,
    /// Each point's centre.
    pub labels: Vec<usize>,
    /// The sum of squared distances to the centres.
    pub spread: f64,
}

const RESTARTS: usize = 8;
const STEPS: usize = 100;

/// Lloyd's algorithm from the seeds of k-means++ (Arthur and Vassilvitskii 2007), the best of eight starts.
///
/// ```
/// use faithful_core::Stream;
/// let points: Vec<Vec<f64>> = [0.0, 0.1, 9.0, 9.1, 9.2].iter().map(|x| vec![*x]).collect();
/// let found = faithful_rul::k_means(&points, 2, &Stream::new(0, "settings"))?;
/// assert_eq!(found.labels, [1, 1, 0, 0, 0]);
/// # Ok::<(), faithful_core::Error>(())
/// ```
///
/// # Errors
/// [`Error::Parameter`] for no clusters or more clusters than different points.
pub fn k_means(points: &[Vec<f64>], count: usize, stream: &Stream) -> Result<Clusters> {
    let starts = (0..RESTARTS).map(|start| {
        let mut centres = seeds(points, count, &mut stream.draw(start))?;
        let mut labels = vec![usize::MAX; points.len()];
        for _ in 0..STEPS {
            let next: Vec<usize> = points.iter().map(|point| nearest(&centres, point).0).collect();
            if next == labels {
                break;
            }
            labels = next;
            move_centres(&mut centres, points, &labels);
        }
        let spread = points.iter().map(|point| nearest(&centres, point).1).sum();
        Some(Clusters { centres, labels, spread })
    });
    let best = starts.flatten().min_by(|a, b| a.spread.total_cmp(&b.spread));
    let mut best = best.ok_or_else(|| {
        Error::parameter("clusters", format!("{count} of them cannot be made of these {} points", points.len()))
    })?;
    let mut order: Vec<usize> = (0..count).collect();
    let members = |label: usize| best.labels.iter().filter(|own| **own == label).count();
    order.sort_by_key(|&label| std::cmp::Reverse(members(label)));
    let place = |label: usize| order.iter().position(|own| *own == label).unwrap_or(label);
    best.labels = best.labels.iter().map(|&label| place(label)).collect();
    best.centres = order.iter().map(|&label| best.centres[label].clone()).collect();
    Ok(best)
}

/// The nearest centre and the squared distance to it.
pub(crate) fn nearest(centres: &[Vec<f64>], point: &[f64]) -> (usize, f64) {
    let distance = |centre: &[f64]| centre.iter().zip(point).map(|(a, b)| (a - b).powi(2)).sum::<f64>();
    let pairs = centres.iter().map(|centre| distance(centre)).enumerate();
    pairs.min_by(|a, b| a.1.total_cmp(&b.1)).unwrap_or((0, f64::INFINITY))
}

/// Points drawn with probability proportional to the squared distance to those drawn before.
fn seeds(points: &[Vec<f64>], count: usize, random: &mut impl Rng) -> Option<Vec<Vec<f64>>> {
    if count == 0 || points.is_empty() {
        return None;
    }
    let mut centres = vec![points[random.random_range(0..points.len())].clone()];
    while centres.len() < count {
        let distances: Vec<f64> = points.iter().map(|point| nearest(&centres, point).1).collect();
        let mut left = random.random::<f64>() * distances.iter().sum::<f64>();
        let chosen = distances.iter().position(|distance| {
            left -= distance;
            *distance > 0.0 && left <= 0.0
        });
        let chosen = chosen.or_else(|| distances.iter().rposition(|distance| *distance > 0.0))?;
        centres.push(points[chosen].clone());
    }
    Some(centres)
}

fn move_centres(centres: &mut [Vec<f64>], points: &[Vec<f64>], labels: &[usize]) {
    for (label, centre) in centres.iter_mut().enumerate() {
        let own: Vec<&Vec<f64>> = points.iter().zip(labels).filter(|(_, own)| **own == label).map(|(p, _)| p).collect();
        // A centre that lost all its points stays where it is.
        if !own.is_empty() {
            for (axis, value) in centre.iter_mut().enumerate() {
                *value = own.iter().map(|point| point[axis]).sum::<f64>() / own.len() as f64;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn six_conditions_are_found_and_the_most_frequent_comes_first() {
        let centres = [[0.0, 0.0], [10.0, 0.25], [20.0, 0.7], [25.0, 0.62], [35.0, 0.84], [42.0, 0.84]];
        let points: Vec<Vec<f64>> = (0..300)
            .map(|i| {
                let centre = centres[if i % 7 == 6 { 5 } else { i % 7 }];
                vec![centre[0] + 0.001 * (i % 5) as f64, centre[1] + 0.0001 * (i % 3) as f64]
            })
            .collect();
        let found = k_means(&points, 6, &Stream::new(1, "settings")).unwrap();
        assert!((found.centres[0][0] - 42.0).abs() < 0.1, "{:?}", found.centres);
        assert!(found.spread < 1e-2, "{}", found.spread);
        for (label, index) in found.labels.iter().zip(0..) {
            assert_eq!(found.labels[index % 7], *label);
        }
    }

    #[test]
    fn too_many_clusters_are_refused() {
        let points = vec![vec![1.0], vec![1.0]];
        assert!(k_means(&points, 2, &Stream::new(0, "")).is_err());
        assert!(k_means(&points, 0, &Stream::new(0, "")).is_err());
        assert!(k_means(&[], 1, &Stream::new(0, "")).is_err());
        assert_eq!(k_means(&points, 1, &Stream::new(0, "")).unwrap().labels, [0, 0]);
    }
}
