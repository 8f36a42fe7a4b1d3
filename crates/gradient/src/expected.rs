use crate::Attribution;
use crate::path::{Integration, Straight, integrate};
use crate::sampled::{Drawn, finite, sample, scores, single};
use candle_core::{DType, Tensor};
use faithful_baseline::{AlphaSampler, BaselineSampler, References};
use faithful_core::{Monitor, Objective, Result, Stop, Stream};
use std::num::NonZeroUsize;
use std::ops::Range;

/// The parameters of [`expected_gradients`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ExpectedGradients {
    /// How many pairs of a baseline and a factor at most.
    pub draws: NonZeroUsize,
    /// Where between baseline and input the gradients are taken.
    pub alphas: AlphaSampler,
    /// When to stop earlier.
    pub stop: Stop,
    /// Whether the completeness gap is computed and reported, which costs one forward pass per different baseline.
    /// [`Stop::Delta`] computes it in any case.
    pub completeness: bool,
}

impl Default for ExpectedGradients {
    /// 200 draws, as the authors advise for explanations; uniform factors; the gap is reported.
    fn default() -> Self {
        Self {
            draws: const { NonZeroUsize::new(200).unwrap() },
            alphas: AlphaSampler::Uniform,
            stop: Stop::Draws,
            completeness: true,
        }
    }
}

/// Expected gradients: `E[(x - x') * dS/dx (x' + a (x - x'))]` over baselines `x'` and factors `a` (Erion et al. 2021;
/// thesis, Eq. 38 and 42-43).
///
/// With [`Gaussian`](faithful_baseline::Gaussian) baselines it is the thesis's Eq. 39, except for a sign: there the
/// noise `e` stands where Eq. 38 has `x - x' = -e`, and only Eq. 38 is complete.
///
/// `input` is one `(1, …)`; the map has its shape, is signed and sums to `S(x) - E[S(x')]` but for sampling error.
/// The standard error treats draws as independent: for stratified factors and shuffled baselines it is an upper bound.
pub fn expected_gradients(
    objective: &Objective,
    input: &Tensor,
    baselines: &dyn BaselineSampler,
    stream: &Stream,
    parameters: &ExpectedGradients,
) -> Result<Attribution> {
    single(input)?;
    let complete = parameters.completeness || matches!(parameters.stop, Stop::Delta(_));
    let own = if complete { scores(objective, input)?[0] } else { 0.0 };
    let mut references = References::new(baselines, stream, input, None);
    let total = parameters.draws.get();
    let moments = sample(objective, input, parameters.draws, parameters.stop, &mut |draws| {
        let indices: Vec<usize> = draws.clone().collect();
        let drawn = references.draw(objective, &indices, &[], complete)?;
        let from = Tensor::cat(&drawn.iter().map(|one| &one.baseline).collect::<Vec<_>>(), 0)?;
        let alphas = parameters.alphas.alphas(stream, draws, total);
        let factors = input.broadcast_sub(&from)?;
        let points = faithful_tensor::interpolate(&from, input, &alphas)?;
        let outputs: Vec<&Tensor> = drawn.iter().filter_map(|one| one.output.as_ref()).collect();
        let totals = if complete {
            let there = finite(&objective.score().score(&Tensor::cat(&outputs, 0)?)?)?;
            Some(there.into_iter().map(|there| own - there).collect())
        } else {
            None
        };
        Ok(Drawn { points, factors: Some(factors), totals })
    })?;
    moments.into_mean()
}

/// The parameters of [`distribution_attribution`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Distribution {
    /// How many baselines at most.
    pub draws: NonZeroUsize,
    /// How the path from each baseline is integrated.
    pub integration: Integration,
    /// When to stop earlier; what is watched per draw is a whole path's result.
    pub stop: Stop,
}

impl Default for Distribution {
    /// 20 baselines with 16 steps each.
    fn default() -> Self {
        let steps = const { NonZeroUsize::new(16).unwrap() };
        let integration = Integration { steps, ..Integration::default() };
        Self { draws: const { NonZeroUsize::new(20).unwrap() }, integration, stop: Stop::Draws }
    }
}

/// Attribution against a distribution of baselines: the mean of integrated gradients over baselines, both integrals of
/// Eq. 36-37 (thesis 4.2.1).
///
/// Expected gradients has the same limit with one gradient per baseline. Here every baseline's path is integrated, so
/// that what varies between draws is the baselines alone: the standard error is that of choosing them.
///
/// `input` is one `(1, …)`; the map has its shape and sums to `S(x) - mean S(x')` up to the quadrature's error.
pub fn distribution_attribution(
    objective: &Objective,
    input: &Tensor,
    baselines: &dyn BaselineSampler,
    stream: &Stream,
    parameters: &Distribution,
) -> Result<Attribution> {
    single(input)?;
    let mut monitor = Monitor::new(parameters.stop)?;
    let zero = Tensor::zeros(input.shape(), DType::F64, input.device())?;
    let (mut sum, mut square_sum, mut count) = (zero.clone(), zero, 0usize);
    let announced = matches!(parameters.integration.stop, Stop::Draws);
    if announced {
        let draws = parameters.draws.get();
        // The ends of every path, and its steps.
        objective.network().announce(2 * draws, draws * parameters.integration.steps.get());
    }
    for draw in 0..parameters.draws.get() {
        let baseline = baselines.sample(input, stream, Range { start: draw, end: draw + 1 })?;
        let path = Straight::new(&baseline, input)?;
        let one = integrate(objective, &path, &parameters.integration, announced)?;
        let map = one.map.to_dtype(DType::F64)?;
        let gap = one.convergence.and_then(|convergence| convergence.delta);
        sum = (sum + &map)?;
        square_sum = (square_sum + map.sqr()?)?;
        count += 1;
        if monitor.record(map.sum_all()?.to_scalar()?, gap) {
            break;
        }
    }
    let mean = (&sum / count as f64)?;
    let variance = ((square_sum / count as f64)? - mean.sqr()?)?.maximum(0.0)?;
    let error = if count < 2 { None } else { Some((variance / (count - 1) as f64)?.sqrt()?.to_dtype(input.dtype())?) };
    Attribution::sampled(mean.to_dtype(input.dtype())?, error, monitor.finish())
}
