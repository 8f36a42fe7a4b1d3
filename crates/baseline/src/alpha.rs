use crate::data_set::permutation;
use faithful_core::Stream;
use rand::Rng;
use std::ops::Range;

/// Gives the interpolation factors: 0 is the baseline, 1 the input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum AlphaSampler {
    /// Independent and uniform in `[0, 1)`: Expected Gradients as it is defined (Eq. 43). Unbiased after every draw.
    #[default]
    Uniform,
    /// Equally spaced from 0 to 1, both included (the thesis's Figure 11; `random_alpha=False` of the authors'
    /// attribution priors). A single draw takes 1.
    Linear,
    /// Uniform within each of as many equal strata as there are draws: unbiased over all draws, with less variance.
    Stratified,
}

impl AlphaSampler {
    /// The factors of `draws` out of `total`, each in `[0, 1]`.
    ///
    /// Equally spaced and stratified factors come in an order that the stream decides, so that a run that stops early
    /// has seen the whole path. Draws at `total` or above begin another round.
    pub fn alphas(self, stream: &Stream, draws: Range<usize>, total: usize) -> Vec<f64> {
        let total = total.max(1);
        let uniform = stream.derive("alpha");
        if self == Self::Uniform {
            return draws.map(|draw| uniform.draw(draw).random()).collect();
        }
        let stream = stream.derive("alpha order");
        let mut round = (usize::MAX, Vec::new());
        draws
            .map(|draw| {
                if round.0 != draw / total {
                    round = (draw / total, permutation(total, &stream, draw / total));
                }
                let place = round.1[draw % total] as f64;
                match self {
                    Self::Linear if total == 1 => 1.0,
                    Self::Linear => place / (total - 1) as f64,
                    Self::Stratified | Self::Uniform => (place + uniform.draw(draw).random::<f64>()) / total as f64,
                }
            })
            .collect()
    }
}
