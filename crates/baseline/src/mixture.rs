use crate::sampler::shape_of;
use crate::{BaselineSampler, Origin};
use candle_core::Tensor;
use faithful_core::{Error, Result, Stream};
use rand::Rng;
use std::num::NonZeroUsize;
use std::ops::Range;

/// Each draw comes from one of several samplers, with given probabilities.
pub struct Mixture {
    parts: Vec<(f64, Box<dyn BaselineSampler>)>,
}

/// A draw of a mixture: which part, and that part's own draw.
struct Share {
    part: usize,
    draw: usize,
}

impl Mixture {
    /// A mixture of weighted samplers; weights need not sum to one.
    ///
    /// # Errors
    /// [`Error::Parameter`] unless all weights are finite and at least 0 and one is above 0.
    pub fn new(parts: Vec<(f64, Box<dyn BaselineSampler>)>) -> Result<Self> {
        let valid = parts.iter().all(|(weight, _)| weight.is_finite() && *weight >= 0.0);
        if !valid || parts.iter().map(|(weight, _)| weight).sum::<f64>() <= 0.0 {
            let weights: Vec<f64> = parts.iter().map(|(weight, _)| *weight).collect();
            let reason = format!("{weights:?}: finite weights of at least 0 are needed, one of them above 0");
            return Err(Error::parameter("mixture", reason));
        }
        Ok(Self { parts })
    }

    /// A part's draws are numbered on their own, so that a data set in a mixture still goes through its order.
    fn shares(&self, stream: &Stream, draws: Range<usize>) -> Vec<Share> {
        let total: f64 = self.parts.iter().map(|(weight, _)| weight).sum();
        let stream = stream.derive("mixture");
        let mut counts = vec![0; self.parts.len()];
        let shares = (0..draws.end).map(|draw| {
            let mut left = stream.draw(draw).random::<f64>() * total;
            let below = self.parts.iter().position(|(weight, _)| {
                left -= weight;
                left < 0.0
            });
            // Rounding can leave nothing below zero: the last part that has a weight.
            let last = || self.parts.iter().rposition(|(weight, _)| *weight > 0.0).unwrap_or(0);
            let part = below.unwrap_or_else(last);
            counts[part] += 1;
            Share { part, draw: counts[part] - 1 }
        });
        shares.skip(draws.start).collect()
    }

    fn stream_of(stream: &Stream, part: usize) -> Stream {
        stream.derive(format!("mixture part {part}"))
    }
}

impl BaselineSampler for Mixture {
    fn sample(&self, input: &Tensor, stream: &Stream, draws: Range<usize>) -> Result<Tensor> {
        if draws.is_empty() {
            return Ok(Tensor::zeros(shape_of(input, 0)?, input.dtype(), input.device())?);
        }
        let rows = self
            .shares(stream, draws)
            .into_iter()
            .map(|Share { part, draw }| {
                self.parts[part].1.sample(input, &Self::stream_of(stream, part), draw..draw + 1)
            })
            .collect::<Result<Vec<_>>>()?;
        Ok(Tensor::cat(&rows, 0)?)
    }

    fn origins(&self, stream: &Stream, draws: Range<usize>) -> Vec<Origin> {
        let count = self.parts.len();
        self.shares(stream, draws)
            .into_iter()
            .map(|Share { part, draw }| {
                // Members of different parts stay apart: interleaved numbers.
                match self.parts[part].1.origins(&Self::stream_of(stream, part), draw..draw + 1).first() {
                    Some(Origin::Fixed(member)) => Origin::Fixed(member * count + part),
                    Some(Origin::Input(member)) => Origin::Input(member * count + part),
                    Some(Origin::Draw) | None => Origin::Draw,
                }
            })
            .collect()
    }
}

/// Holds each baseline for several draws: `K` paths of `M` draws each, the thesis's mini-batches (4.6.2).
///
/// Draw `s` has the baseline of the inner sampler's draw `s / times`.
#[derive(Clone, Copy, Debug)]
pub struct Repeated<S> {
    /// Whose baselines are held.
    pub sampler: S,
    /// For how many draws.
    pub times: NonZeroUsize,
}

impl<S> Repeated<S> {
    fn inner(&self, draws: &Range<usize>) -> Range<usize> {
        draws.start / self.times..if draws.is_empty() {
            draws.start / self.times
        } else {
            (draws.end - 1) / self.times + 1
        }
    }
}

impl<S: BaselineSampler> BaselineSampler for Repeated<S> {
    fn sample(&self, input: &Tensor, stream: &Stream, draws: Range<usize>) -> Result<Tensor> {
        let inner = self.inner(&draws);
        let few = self.sampler.sample(input, stream, inner.clone())?;
        let rows: Vec<u32> = draws.map(|draw| (draw / self.times - inner.start) as u32).collect();
        Ok(few.index_select(&Tensor::new(rows, few.device())?, 0)?)
    }

    fn origins(&self, stream: &Stream, draws: Range<usize>) -> Vec<Origin> {
        let inner = self.inner(&draws);
        let few = self.sampler.origins(stream, inner.clone());
        draws.map(|draw| few[draw / self.times - inner.start]).collect()
    }
}
