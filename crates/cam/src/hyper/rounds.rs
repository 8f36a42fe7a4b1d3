//! Draws in rounds, whose maps tell how sure the map of all of them is.

use super::decomposition::{Levels, level_maps};
use super::{HyperParameters, base_map, put_together, soft_scale};
use crate::expectation::{Expectation, Request, expectations};
use crate::{EstimatorParameters, estimator};
use candle_core::{DType, Tensor};
use faithful_core::{Convergence, Error, Result, Score, Stop, Stream, correlation, mean_ranks};
use std::num::NonZeroUsize;

/// With fewer draws there is one round: a map of a single draw says nothing of others.
const FEWEST_TO_SPLIT: usize = 4;

/// How many rounds of half the draws there are at most: twice the draws that were asked for.
const MOST_ROUNDS: usize = 4;

/// What is asked of the draws.
pub(crate) struct Asked<'a> {
    pub(crate) request: Request<'a>,
    pub(crate) estimator: &'a EstimatorParameters,
    pub(crate) levels: &'a Levels,
    pub(crate) hyper: &'a HyperParameters,
    /// Of the input, in pixels.
    pub(crate) size: [usize; 2],
}

/// What all draws say of one score.
pub(crate) struct Drawn {
    /// `(1, h, w)`.
    pub(crate) base: Tensor,
    /// `(1, h, w)` per level, finest first.
    pub(crate) maps: Vec<Tensor>,
    /// Its standard error is that of what is shown, the positive part of the map on its soft scale.
    pub(crate) convergence: Convergence,
    /// The rank correlation that another seed's map would have with this one, as the rounds' maps have it among each other; none
    /// with one round.
    pub(crate) agreement: Option<f64>,
}

/// What one round says of one score.
struct Round {
    base: Tensor,
    maps: Vec<Tensor>,
    convergence: Convergence,
    /// The positive part of the map on its soft scale, per pixel.
    shown: Vec<f64>,
    /// The ranks of the map's pixels.
    ranks: Vec<f64>,
}

/// In which rounds so many draws are taken at first, and each round's random stream.
pub fn rounds(draws: NonZeroUsize, stream: &Stream) -> Vec<(usize, Stream)> {
    let half = if draws.get() < FEWEST_TO_SPLIT { 0 } else { draws.get() / 2 };
    let sizes = [draws.get() - half, half].into_iter().filter(|size| *size > 0);
    sizes.enumerate().map(|(number, size)| (size, of_round(stream, number))).collect()
}

fn of_round(stream: &Stream, number: usize) -> Stream {
    if number == 0 { stream.clone() } else { stream.derive(format!("round {number}")) }
}

/// Takes the draws in two rounds, each half of them with random places of its own, and goes on with rounds of that size for every score
/// for as long as another seed's map would agree less than [`HyperParameters::agreement`] wants, up to twice the draws.
///
/// There is one round of all draws where they are few, where a stopping rule watches them one by one, and where there are several
/// paths. What a score gets does not depend on the others.
pub(crate) fn draw_in_rounds(asked: &Asked<'_>) -> Result<Vec<Drawn>> {
    let EstimatorParameters { draws, paths, stop, stream, .. } = asked.estimator;
    let whole = draws.get() < FEWEST_TO_SPLIT || paths.get() > 1 || *stop != Stop::Draws;
    let half = draws.get() / 2;
    let planned = if whole { vec![(draws.get(), stream.clone())] } else { rounds(*draws, stream) };
    let mut found: Vec<Vec<Round>> = asked.request.scores.iter().map(|_| Vec::new()).collect();
    let all: Vec<usize> = (0..found.len()).collect();
    for round in planned {
        take_round(asked, round, &all, &mut found)?;
    }
    if let Some(wanted) = asked.hyper.agreement.filter(|_| !whole) {
        for number in 2..MOST_ROUNDS {
            let open = |score: &usize| found[*score].len() == number && agreement(&found[*score]) < Some(wanted);
            let open: Vec<usize> = all.iter().copied().filter(open).collect();
            if open.is_empty() {
                break;
            }
            take_round(asked, (half, of_round(stream, number)), &open, &mut found)?;
        }
    }
    found.iter().map(|of_score| together(of_score)).collect()
}

/// One more round of so many draws from its own stream, for some of the scores.
fn take_round(
    asked: &Asked<'_>,
    (draws, stream): (usize, Stream),
    scores: &[usize],
    rounds: &mut [Vec<Round>],
) -> Result<()> {
    let Asked { request, estimator: every, levels, .. } = asked;
    let draws = NonZeroUsize::new(draws).ok_or_else(|| Error::internal("a round without draws"))?;
    let own = EstimatorParameters { draws, stream, ..(*every).clone() };
    let of_round: Vec<&dyn Score> = scores.iter().map(|score| request.scores[*score]).collect();
    let request = Request { scores: &of_round, ..*request };
    for (score, found) in scores.iter().zip(expectations(estimator("expected")?, &own, &request)?) {
        let Expectation { paths, convergence, .. } = found;
        let convergence = convergence.ok_or_else(|| Error::internal("draws of which nothing is known"))?;
        let base = base_map(&paths, asked.hyper.base)?;
        let maps = level_maps(&paths, levels, asked.hyper.decomposition.evidence)?;
        let map = soft_scale(&put_together(&base, &maps, levels, asked.size, asked.hyper)?.fused.combined)?;
        let values: Vec<f64> = map.to_dtype(DType::F64)?.flatten_all()?.to_vec1()?;
        let ranks = mean_ranks(&values);
        let shown = values.into_iter().map(|value| value.max(0.0)).collect();
        rounds[*score].push(Round { base, maps, convergence, shown, ranks });
    }
    Ok(())
}

/// By Spearman and Brown: what parts that correlate by `rho` say of the mean of `n` of them, `n rho / (1 + (n - 1) rho)`.
fn agreement(rounds: &[Round]) -> Option<f64> {
    let count = rounds.len() as f64;
    let pairs = || rounds.iter().enumerate().flat_map(|(at, one)| rounds[..at].iter().map(move |other| (one, other)));
    let among: f64 = pairs().map(|(one, other)| correlation(&one.ranks, &other.ranks)).sum();
    let mean = (among / (count * (count - 1.0) / 2.0)).max(0.0);
    (rounds.len() > 1).then(|| count * mean / (1.0 + (count - 1.0) * mean))
}

/// The standard error of the mean of what the rounds show, relative to it: L2 norms over pixels.
fn standard_error(rounds: &[Round]) -> Option<f64> {
    let count = rounds.len() as f64;
    let (mut squares, mut errors) = (0.0, 0.0);
    for pixel in 0..rounds.first()?.shown.len() {
        let mean = rounds.iter().map(|round| round.shown[pixel]).sum::<f64>() / count;
        squares += mean * mean;
        errors += rounds.iter().map(|round| (round.shown[pixel] - mean).powi(2)).sum::<f64>();
    }
    (rounds.len() > 1 && squares > 0.0).then(|| (errors / (count * (count - 1.0)) / squares).sqrt())
}

/// The rounds' maps averaged, each by its draws.
fn together(rounds: &[Round]) -> Result<Drawn> {
    let [first, others @ ..] = rounds else { return Err(Error::internal("an explanation without draws")) };
    let all: usize = rounds.iter().map(|round| round.convergence.draws).sum();
    let mean = |of: &dyn Fn(&Round) -> &Tensor| -> Result<Tensor> {
        let weighted = |round: &Round| of(round) * (round.convergence.draws as f64 / all as f64);
        let mut sum = weighted(first)?;
        for round in others {
            sum = (sum + weighted(round)?)?;
        }
        Ok(sum)
    };
    if others.is_empty() {
        let convergence = Convergence { standard_error: None, ..first.convergence.clone() };
        return Ok(Drawn { base: first.base.clone(), maps: first.maps.clone(), convergence, agreement: None });
    }
    let mut convergence = first.convergence.clone();
    for round in others {
        convergence = convergence.followed_by(&round.convergence)?;
    }
    convergence.standard_error = standard_error(rounds);
    Ok(Drawn {
        base: mean(&|round| &round.base)?,
        maps: (0..first.maps.len()).map(|level| mean(&|round| &round.maps[level])).collect::<Result<_>>()?,
        convergence,
        agreement: agreement(rounds),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    fn round(shown: &[f64]) -> Round {
        let map = Tensor::new(shown, &Device::Cpu).unwrap();
        let convergence = Convergence { draws: 2, ..Convergence::default() };
        Round { base: map.clone(), maps: vec![map], convergence, shown: shown.to_vec(), ranks: mean_ranks(shown) }
    }

    #[test]
    fn equal_rounds_are_sure_and_opposite_ones_are_not() {
        let (up, down) = (round(&[1.0, 2.0, 3.0]), round(&[3.0, 2.0, 1.0]));
        let equal = [round(&[1.0, 2.0, 3.0]), round(&[1.0, 2.0, 3.0])];
        assert_eq!((agreement(&equal), standard_error(&equal)), (Some(1.0), Some(0.0)));
        let opposite = [up, down];
        assert_eq!(agreement(&opposite), Some(0.0));
        // Means of 2 with standard errors of 1, 0 and 1.
        let error = standard_error(&opposite).unwrap();
        assert!((error - (2.0f64 / 12.0).sqrt()).abs() < 1e-12, "{error}");
        assert_eq!((agreement(&opposite[..1]), standard_error(&opposite[..1])), (None, None));
    }

    #[test]
    fn rounds_are_averaged_by_their_draws() {
        let mut rounds = [round(&[0.0]), round(&[6.0])];
        rounds[1].convergence.draws = 1;
        let mean = together(&rounds).unwrap().base.to_vec1::<f64>().unwrap();
        assert!((mean[0] - 2.0).abs() < 1e-12, "{mean:?}");
    }
}
