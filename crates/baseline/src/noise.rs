use crate::sampler::{per_channel, shape_of};
use crate::{BaselineSampler, Origin};
use candle_core::{DType, Tensor};
use faithful_core::{Error, Result, Stream};
use rand::Rng;
use rand::distr::{Distribution, StandardUniform};
use rand_distr::StandardNormal;
use rayon::prelude::*;
use std::ops::Range;

/// How wide a noise is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Spread {
    /// The standard deviation, in the network's input space.
    Absolute(f64),
    /// A fraction of the input's range, its maximum minus its minimum (Smilkov et al. 2017).
    Relative(f64),
}

impl Default for Spread {
    /// 15% of the input's range, `SmoothGrad`'s middle value.
    fn default() -> Self {
        Self::Relative(0.15)
    }
}

impl Spread {
    /// The standard deviation for `input`.
    ///
    /// # Errors
    /// [`Error::Parameter`] for a negative or non-finite number.
    pub fn deviation(self, input: &Tensor) -> Result<f64> {
        let (Self::Absolute(value) | Self::Relative(value)) = self;
        if !value.is_finite() || value < 0.0 {
            return Err(Error::parameter("spread", format!("{value}: a finite number of at least 0 is needed")));
        }
        match self {
            Self::Absolute(deviation) => Ok(deviation),
            Self::Relative(_) if input.elem_count() == 0 => Ok(0.0),
            Self::Relative(fraction) => {
                let all = input.flatten_all()?.to_dtype(DType::F64)?;
                Ok(fraction * (all.max(0)?.to_scalar::<f64>()? - all.min(0)?.to_scalar::<f64>()?))
            }
        }
    }
}

/// Standard normal noise `(draws.len(), …)` of the input's shape, type and device; draw `s` is always the same.
pub fn normal(input: &Tensor, stream: &Stream, draws: Range<usize>) -> Result<Tensor> {
    filled(input, stream, draws, StandardNormal)
}

/// Independent numbers of a distribution, every draw's from a generator of its own.
fn filled(
    input: &Tensor,
    stream: &Stream,
    draws: Range<usize>,
    distribution: impl Distribution<f64> + Copy + Sync,
) -> Result<Tensor> {
    let shape = shape_of(input, draws.len())?;
    let mut values = vec![0.0; draws.len() * input.elem_count()];
    let rows = values.par_chunks_mut(input.elem_count().max(1)).zip(draws);
    rows.for_each(|(row, draw)| {
        row.iter_mut().zip(stream.draw(draw).sample_iter(distribution)).for_each(|(value, drawn)| *value = drawn);
    });
    Ok(Tensor::from_vec(values, shape, &candle_core::Device::Cpu)?
        .to_dtype(input.dtype())?
        .to_device(input.device())?)
}

/// The input plus Gaussian noise, `N(x, sigma^2)` (thesis, Eq. 39).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Gaussian {
    /// The noise's width.
    pub spread: Spread,
}

impl BaselineSampler for Gaussian {
    fn sample(&self, input: &Tensor, stream: &Stream, draws: Range<usize>) -> Result<Tensor> {
        let deviation = self.spread.deviation(input)?;
        Ok((normal(input, &stream.derive("gaussian baseline"), draws)? * deviation)?.broadcast_add(input)?)
    }

    fn origins(&self, _: &Stream, draws: Range<usize>) -> Vec<Origin> {
        vec![Origin::Draw; draws.len()]
    }
}

/// Every value uniform and independent.
#[derive(Clone, Debug, PartialEq)]
pub struct Uniform {
    /// The lowest value: one, or one per channel, in the network's input space.
    pub low: Vec<f64>,
    /// The highest value: one, or one per channel.
    pub high: Vec<f64>,
}

impl Default for Uniform {
    /// Between -1 and 1: one standard deviation about the mean of standardised inputs.
    fn default() -> Self {
        Self { low: vec![-1.0], high: vec![1.0] }
    }
}

impl BaselineSampler for Uniform {
    fn sample(&self, input: &Tensor, stream: &Stream, draws: Range<usize>) -> Result<Tensor> {
        let low = per_channel(input, &self.low, "low")?;
        let range = (per_channel(input, &self.high, "high")? - &low)?;
        let unit = filled(input, &stream.derive("uniform baseline"), draws, StandardUniform)?;
        Ok(unit.broadcast_mul(&range)?.broadcast_add(&low)?)
    }
}
