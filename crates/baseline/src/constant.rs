use crate::sampler::{per_channel, repeat, shape_of};
use crate::{BaselineSampler, Origin, blur};
use candle_core::Tensor;
use faithful_core::{Error, Result, Stream};
use std::ops::Range;

/// One colour everywhere: zero, grey, or any other.
#[derive(Clone, Debug, PartialEq)]
pub struct Constant {
    /// One value, or one per channel, in the network's input space (after mean and standard deviation).
    pub color: Vec<f64>,
}

impl Constant {
    /// Zero: for a network whose inputs are standardised, the data's mean colour.
    pub fn zero() -> Self {
        Self { color: vec![0.0] }
    }
}

impl BaselineSampler for Constant {
    fn sample(&self, input: &Tensor, _: &Stream, draws: Range<usize>) -> Result<Tensor> {
        let color = per_channel(input, &self.color, "color")?;
        Ok(color.broadcast_as(shape_of(input, draws.len())?)?.contiguous()?)
    }

    fn origins(&self, _: &Stream, draws: Range<usize>) -> Vec<Origin> {
        vec![Origin::Fixed(0); draws.len()]
    }
}

/// The input's own mean colour, per channel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InputMean;

impl BaselineSampler for InputMean {
    fn sample(&self, input: &Tensor, _: &Stream, draws: Range<usize>) -> Result<Tensor> {
        let shape = shape_of(input, draws.len())?;
        let axes: Vec<usize> = (2..shape.len()).collect();
        let mean = if axes.is_empty() { input.clone() } else { input.mean_keepdim(axes)? };
        Ok(mean.broadcast_as(shape)?.contiguous()?)
    }

    fn origins(&self, _: &Stream, draws: Range<usize>) -> Vec<Origin> {
        vec![Origin::Input(0); draws.len()]
    }
}

/// The input itself, blurred: keeps its colours, drops its details (Fong and Vedaldi 2017).
///
/// Several widths take turns: draw `s` has width `s mod sigmas.len()`.
#[derive(Clone, Debug, PartialEq)]
pub struct Blurred {
    /// Standard deviations of the Gaussian in pixels, or in steps of a series' time; above 0.
    pub sigmas: Vec<f64>,
}

impl Default for Blurred {
    /// One width of 10 pixels.
    fn default() -> Self {
        Self { sigmas: vec![10.0] }
    }
}

impl BaselineSampler for Blurred {
    fn sample(&self, input: &Tensor, _: &Stream, draws: Range<usize>) -> Result<Tensor> {
        shape_of(input, 1)?;
        if self.sigmas.is_empty() || self.sigmas.iter().any(|sigma| !sigma.is_finite() || *sigma <= 0.0) {
            return Err(Error::parameter("sigmas", format!("{:?}: at least one width above 0 is needed", self.sigmas)));
        }
        let mut blurred: Vec<Option<Tensor>> = vec![None; self.sigmas.len()];
        let rows = draws
            .map(|draw| {
                let which = draw % self.sigmas.len();
                if let Some(known) = &blurred[which] {
                    return Ok(known.clone());
                }
                let sigma = self.sigmas[which];
                let made = blur(input, sigma, sigma)?;
                blurred[which] = Some(made.clone());
                Ok(made)
            })
            .collect::<Result<Vec<_>>>()?;
        match rows.as_slice() {
            [] => repeat(input, 0),
            rows => Ok(Tensor::cat(rows, 0)?),
        }
    }

    fn origins(&self, _: &Stream, draws: Range<usize>) -> Vec<Origin> {
        draws.map(|draw| Origin::Input(draw % self.sigmas.len().max(1))).collect()
    }
}
