use crate::{BaselineCache, Difference};
use candle_core::Tensor;
use faithful_baseline::{AlphaSampler, BaselineSampler, Constant, Spread, normal};
use faithful_core::{Error, Propagation, Result, Stop, Stream, find_named};
use faithful_tensor::interpolate;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::Arc;

/// Where the gradient under a rule is taken, and over what it is averaged.
///
/// An estimator only says at which points; one driver differentiates there, multiplies by the difference from the
/// baseline and averages, so that a new estimator is one function and its line in [`ESTIMATORS`].
#[derive(Clone, Copy)]
pub struct GradientEstimator {
    /// The name by which it is asked for.
    pub name: &'static str,
    /// One sentence for people.
    pub summary: &'static str,
    /// Authors, year, equation.
    pub source: &'static str,
    /// Whether it takes one gradient, at the input, whatever the number of draws.
    pub single: bool,
    /// Which draws share a baseline.
    pub baselines: BaselineUse,
    /// How outputs are carried back where it is no derivative.
    pub propagation: Option<Propagation>,
    /// The points `(n, …)` of some draws.
    pub points: fn(&Span<'_>) -> Result<Tensor>,
}

impl std::fmt::Debug for GradientEstimator {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("GradientEstimator").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Which draws of an estimator share a baseline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BaselineUse {
    /// There is no baseline.
    None,
    /// One baseline per path.
    PerPath,
    /// One baseline per draw, or per path where there are several paths.
    PerDraw,
}

/// Some consecutive draws, for an estimator to place.
#[derive(Clone, Debug)]
pub struct Span<'a> {
    /// The input `(1, …)`.
    pub input: &'a Tensor,
    /// The draws' baselines `(n, …)`, where the estimator uses some.
    pub baselines: Option<&'a Tensor>,
    /// The estimator's parameters.
    pub parameters: &'a EstimatorParameters,
    /// The draws' numbers; path `k` has the draws from `k M` to `(k + 1) M`.
    pub draws: Range<usize>,
}

/// What an estimator may be told. Each reads what concerns it.
#[derive(Clone)]
pub struct EstimatorParameters {
    /// Draws `M` per path; 50.
    pub draws: NonZeroUsize,
    /// Paths `K`, the thesis's mini-batches (4.6.2): each gives a map, and the maps are averaged; 1.
    ///
    /// With several paths, all draws of a path share one baseline.
    pub paths: NonZeroUsize,
    /// Where baselines come from; zero, which is the mean colour for standardised inputs.
    pub sampler: Arc<dyn BaselineSampler>,
    /// Where on the way from baseline to input the expectation looks; uniform.
    pub alphas: AlphaSampler,
    /// By what the gradient is multiplied; the difference of activations.
    pub difference: Difference,
    /// The width of the smooth estimators' noise; 15% of the input's range.
    pub spread: Spread,
    /// Noise of unit deviation from elsewhere, in place of the stream's: reproduces another program's draws.
    pub noise: Option<Arc<dyn BaselineSampler>>,
    /// When there were enough draws; never before all of them.
    pub stop: Stop,
    /// The image's random stream.
    pub stream: Stream,
    /// What other images of the run have already computed for this sampler.
    pub cache: Option<Arc<BaselineCache>>,
}

impl Default for EstimatorParameters {
    fn default() -> Self {
        Self {
            draws: NonZeroUsize::new(50).expect("fifty is not zero"),
            paths: NonZeroUsize::MIN,
            sampler: Arc::new(Constant::zero()),
            alphas: AlphaSampler::default(),
            difference: Difference::default(),
            spread: Spread::default(),
            noise: None,
            stop: Stop::default(),
            stream: Stream::new(0, ""),
            cache: None,
        }
    }
}

impl std::fmt::Debug for EstimatorParameters {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("EstimatorParameters")
            .field("draws", &self.draws)
            .field("paths", &self.paths)
            .field("alphas", &self.alphas)
            .field("difference", &self.difference)
            .field("spread", &self.spread)
            .field("stop", &self.stop)
            .finish_non_exhaustive()
    }
}

/// Every estimator, under each of which every rule runs.
pub const ESTIMATORS: &[GradientEstimator] = &[
    GradientEstimator {
        name: "plain",
        summary: "the gradient at the input",
        source: "Selvaraju et al. 2017 (thesis, Eq. 28)",
        single: true,
        baselines: BaselineUse::None,
        propagation: None,
        points: |span| Ok(span.input.clone()),
    },
    GradientEstimator {
        name: "libra",
        summary: "the gradient with attention weights, gates and normalisations taken as given: LibraGrad",
        source: "Mehri et al. 2025 (arXiv 2411.16760)",
        single: true,
        baselines: BaselineUse::None,
        propagation: Some(Propagation::LibraGrad),
        points: |span| Ok(span.input.clone()),
    },
    GradientEstimator {
        name: "smooth",
        summary: "the mean gradient in a noisy neighbourhood of the input",
        source: "Smilkov et al. 2017; Omeiza et al. 2019",
        single: false,
        baselines: BaselineUse::None,
        propagation: None,
        points: |span| perturbed(span.input, span),
    },
    GradientEstimator {
        name: "integrated",
        summary: "the mean of difference times gradient along the straight path from one baseline",
        source: "Sattarzadeh et al. 2021; thesis, Eq. 47-49",
        single: false,
        baselines: BaselineUse::PerPath,
        propagation: None,
        points: |span| between(span, &midpoints(span)),
    },
    GradientEstimator {
        name: "expected",
        summary: "the expectation of difference times gradient over baselines and places on the path",
        source: "Erion et al. 2021; thesis, Eq. 50-56",
        single: false,
        baselines: BaselineUse::PerDraw,
        propagation: None,
        points: |span| between(span, &drawn(span)),
    },
    GradientEstimator {
        name: "expected-smooth",
        summary: "the expected gradient, each point of a path moved within a Gaussian neighbourhood",
        source: "after the abstract of Buono et al. 2024 (arXiv 2406.01274)",
        single: false,
        baselines: BaselineUse::PerDraw,
        propagation: None,
        points: |span| perturbed(&between(span, &drawn(span))?, span),
    },
];

/// The estimator called `name`.
///
/// # Errors
/// [`Error::UnknownName`] with suggestions.
pub fn estimator(name: &str) -> Result<&'static GradientEstimator> {
    find_named("gradient", name, ESTIMATORS, |estimator| estimator.name)
}

/// `x'_s + alpha_s (x - x'_s)`.
fn between(span: &Span<'_>, alphas: &[f64]) -> Result<Tensor> {
    let baselines = span.baselines.ok_or_else(|| Error::internal("an estimator with baselines was given none"))?;
    Ok(interpolate(baselines, span.input, alphas)?)
}

/// `(m + 1/2) / M` for draw `m` of a path: the midpoint rule.
fn midpoints(span: &Span<'_>) -> Vec<f64> {
    let total = span.parameters.draws.get();
    span.draws.clone().map(|draw| ((draw % total) as f64 + 0.5) / total as f64).collect()
}

fn drawn(span: &Span<'_>) -> Vec<f64> {
    let EstimatorParameters { alphas, stream, draws, .. } = span.parameters;
    alphas.alphas(stream, span.draws.clone(), draws.get())
}

/// `points + sigma noise_s`.
fn perturbed(points: &Tensor, span: &Span<'_>) -> Result<Tensor> {
    let EstimatorParameters { spread, stream, .. } = span.parameters;
    let stream = stream.derive("neighbourhood");
    let noise = match &span.parameters.noise {
        Some(noise) => noise.sample(span.input, &stream, span.draws.clone())?,
        None => normal(span.input, &stream, span.draws.clone())?,
    };
    Ok(points.broadcast_add(&(noise * spread.deviation(span.input)?)?)?)
}
