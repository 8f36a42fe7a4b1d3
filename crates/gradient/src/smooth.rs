use crate::Attribution;
use crate::sampled::{Drawn, sample, single};
use candle_core::Tensor;
use faithful_baseline::BaselineSampler;
use faithful_core::{Objective, Result, Stop, Stream};
use std::num::NonZeroUsize;

/// What is made of the gradients `g_s` at noisy copies `x_s` of the input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Statistic {
    /// Their mean: `SmoothGrad` (Smilkov et al. 2017).
    #[default]
    Mean,
    /// The mean of their squares: SmoothGrad-Squared (Hooker et al. 2019).
    Square,
    /// Their variance: `VarGrad` (Adebayo et al. 2018).
    Variance,
    /// The mean of `x_s * g_s`: the thesis's form (Eq. 41).
    TimesNoisyInput,
}

/// The parameters of [`smooth_grad`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SmoothGrad {
    /// How many noisy copies at most.
    pub draws: NonZeroUsize,
    /// What is made of their gradients.
    pub statistic: Statistic,
    /// When to stop earlier. Noise has no completeness: [`Stop::Delta`] is never satisfied.
    pub stop: Stop,
}

impl Default for SmoothGrad {
    /// The mean of 50 draws, the paper's number.
    fn default() -> Self {
        Self { draws: const { NonZeroUsize::new(50).unwrap() }, statistic: Statistic::Mean, stop: Stop::Draws }
    }
}

/// `SmoothGrad` and its relatives: a statistic of the gradients at noisy copies of the input, `(1/M) sum_s g(x_s)`
/// (Smilkov et al. 2017; thesis, Eq. 41).
///
/// `noise` gives the copies `x_s`: usually [`Gaussian`](faithful_baseline::Gaussian). `input` is one `(1, …)`; the map
/// has its shape. The mean and the thesis's form come with their standard error.
pub fn smooth_grad(
    objective: &Objective,
    input: &Tensor,
    noise: &dyn BaselineSampler,
    stream: &Stream,
    parameters: &SmoothGrad,
) -> Result<Attribution> {
    single(input)?;
    let moments = sample(objective, input, parameters.draws, parameters.stop, &mut |draws| {
        let points = noise.sample(input, stream, draws)?;
        let factors = (parameters.statistic == Statistic::TimesNoisyInput).then(|| points.clone());
        Ok(Drawn { points, factors, totals: None })
    })?;
    match parameters.statistic {
        Statistic::Mean | Statistic::TimesNoisyInput => moments.into_mean(),
        Statistic::Square => {
            let map = moments.mean_square()?;
            moments.into_statistic(map)
        }
        Statistic::Variance => {
            let map = moments.variance()?;
            moments.into_statistic(map)
        }
    }
}
