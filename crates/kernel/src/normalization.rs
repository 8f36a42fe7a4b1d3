//! Layer normalisation over the channels of each pixel.

use super::isa::Kernel;
use super::map::{Map, MapMut, Source, Target};
use super::simd::Simd;
use super::{Isa, each_task};
use candle_core::{Result, bail};

/// A normalisation of each pixel over its channels (Ba et al. 2016): to mean 0 and variance 1, scaled and shifted per channel.
#[derive(Clone, Debug)]
pub struct LayerNorm {
    weight: Vec<f32>,
    bias: Vec<f32>,
    epsilon: f32,
}

impl LayerNorm {
    /// With a scale and a shift per channel; `epsilon` is added to the variance.
    ///
    /// # Errors
    /// Where they are not as many.
    pub fn new(weight: Vec<f32>, bias: Vec<f32>, epsilon: f64) -> Result<Self> {
        if weight.len() != bias.len() || weight.is_empty() {
            bail!("a normalisation of {} scales and {} shifts", weight.len(), bias.len());
        }
        Ok(Self { weight, bias, epsilon: epsilon as f32 })
    }

    /// Normalises `input` into `out`.
    ///
    /// # Errors
    /// Where the shapes do not go together.
    pub fn run(&self, isa: Isa, input: Map, mut out: MapMut) -> Result<()> {
        self.check(input.shape(), out.shape())?;
        let pixels: usize = input.shape()[..3].iter().product();
        let (from, to, pitches) = (input.pointer(), out.pointer(), [input.pixel(), out.pixel()]);
        self.each_strip(isa, pixels, |isa, first, count| {
            let (from, to) = (Source(from.at(first * pitches[0])), Target(to.at(first * pitches[1])));
            isa.run(Forward { norm: self, count, from, to, pitches });
        });
        Ok(())
    }

    /// The gradient at `input`, from that at its normalisation, into `out`, or added to it.
    ///
    /// # Errors
    /// Where the shapes do not go together.
    pub fn gradient(&self, isa: Isa, input: Map, gradient: Map, mut out: MapMut, accumulate: bool) -> Result<()> {
        self.check(input.shape(), out.shape())?;
        self.check(gradient.shape(), out.shape())?;
        let pixels: usize = input.shape()[..3].iter().product();
        let (from, gradient_from, to) = (input.pointer(), gradient.pointer(), out.pointer());
        let pitches = [input.pixel(), gradient.pixel(), out.pixel()];
        self.each_strip(isa, pixels, |isa, first, count| {
            isa.run(Backward {
                norm: self,
                count,
                from: Source(from.at(first * pitches[0])),
                gradient: Source(gradient_from.at(first * pitches[1])),
                to: Target(to.at(first * pitches[2])),
                pitches,
                accumulate,
            });
        });
        Ok(())
    }

    fn check(&self, input: [usize; 4], out: [usize; 4]) -> Result<()> {
        if input != out || input[3] != self.weight.len() {
            bail!("a map of shape {input:?} is not normalised over {} channels to {out:?}", self.weight.len());
        }
        Ok(())
    }

    fn each_strip(&self, isa: Isa, pixels: usize, work: impl Fn(Isa, usize, usize) + Sync + Send) {
        let step = (TASK / self.weight.len()).max(1);
        let isa = isa.checked();
        each_task(pixels.div_ceil(step), |task| work(isa, task * step, step.min(pixels - task * step)));
    }
}

/// About how many elements a task normalises.
const TASK: usize = 16 * 1024;

/// The mean of a pixel's `count` channels, and one over their deviation.
#[inline(always)]
unsafe fn moments<S: Simd>(from: *const f32, count: usize, epsilon: f32) -> [f32; 2] {
    // SAFETY: the caller's.
    unsafe {
        let mut sum = S::splat(0.0);
        for i in (0..count).step_by(S::LANES) {
            sum = S::add(sum, S::load_up_to(from.wrapping_add(i), count - i));
        }
        let mean = S::sum(sum) / count as f32;
        let mut squares = S::splat(0.0);
        for i in (0..count).step_by(S::LANES) {
            let apart = S::sub(S::load_up_to(from.wrapping_add(i), count - i), S::splat(mean));
            squares = S::add(squares, only::<S>(S::mul(apart, apart), count - i));
        }
        [mean, 1.0 / (S::sum(squares) / count as f32 + epsilon).sqrt()]
    }
}

/// The first `count` lanes, zeros behind them.
#[inline(always)]
unsafe fn only<S: Simd>(value: S::Vector, count: usize) -> S::Vector {
    if count >= S::LANES {
        return value;
    }
    let mut lanes = [0.0; 16];
    // SAFETY: the caller's; there is room for every vector.
    unsafe {
        S::store_partial(lanes.as_mut_ptr(), value, count);
        S::load(lanes.as_ptr())
    }
}

struct Forward<'a> {
    norm: &'a LayerNorm,
    count: usize,
    from: Source,
    to: Target,
    pitches: [usize; 2],
}

impl Kernel for Forward<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let LayerNorm { weight, bias, epsilon } = self.norm;
        let channels = weight.len();
        for pixel in 0..self.count {
            let (from, to) = (self.from.at(pixel * self.pitches[0]), self.to.at(pixel * self.pitches[1]));
            // SAFETY: `run` checked the shapes; the pixels are this task's.
            unsafe {
                let [mean, scale] = moments::<S>(from, channels, *epsilon);
                for i in (0..channels).step_by(S::LANES) {
                    let count = channels - i;
                    let apart = S::sub(S::load_up_to(from.wrapping_add(i), count), S::splat(mean));
                    let weight = S::load_up_to(weight.as_ptr().wrapping_add(i), count);
                    let bias = S::load_up_to(bias.as_ptr().wrapping_add(i), count);
                    let value = S::mul_add(S::mul(apart, S::splat(scale)), weight, bias);
                    S::store_up_to(to.wrapping_add(i), value, count);
                }
            }
        }
    }
}

struct Backward<'a> {
    norm: &'a LayerNorm,
    count: usize,
    from: Source,
    gradient: Source,
    to: Target,
    pitches: [usize; 3],
    accumulate: bool,
}

impl Kernel for Backward<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let LayerNorm { weight, epsilon, .. } = self.norm;
        let channels = weight.len();
        for pixel in 0..self.count {
            let (from, to) = (self.from.at(pixel * self.pitches[0]), self.to.at(pixel * self.pitches[2]));
            let gradient = self.gradient.at(pixel * self.pitches[1]);
            // SAFETY: `gradient` checked the shapes; the pixels are this task's.
            unsafe {
                let [mean, scale] = moments::<S>(from, channels, *epsilon);
                // With `u` the gradient times the weight and `z` the normalised value: `(u - mean u - z mean(u z)) / deviation`.
                let (mut sum, mut product) = (S::splat(0.0), S::splat(0.0));
                for i in (0..channels).step_by(S::LANES) {
                    let count = channels - i;
                    let u = weighted::<S>(gradient, weight, i, count);
                    sum = S::add(sum, u);
                    // `u` is zero behind the last channel.
                    product = S::mul_add(u, normal::<S>(from, i, count, [mean, scale]), product);
                }
                let sum = S::splat(S::sum(sum) / channels as f32);
                let product = S::splat(S::sum(product) / channels as f32);
                for i in (0..channels).step_by(S::LANES) {
                    let count = channels - i;
                    let u = weighted::<S>(gradient, weight, i, count);
                    let along = S::mul(normal::<S>(from, i, count, [mean, scale]), product);
                    let mut value = S::mul(S::sub(S::sub(u, sum), along), S::splat(scale));
                    let to = to.wrapping_add(i);
                    if self.accumulate {
                        value = S::add(S::load_up_to(to, count), value);
                    }
                    S::store_up_to(to, value, count);
                }
            }
        }
    }
}

#[inline(always)]
unsafe fn weighted<S: Simd>(gradient: *const f32, weight: &[f32], i: usize, count: usize) -> S::Vector {
    // SAFETY: the caller's.
    unsafe {
        let weight = S::load_up_to(weight.as_ptr().wrapping_add(i), count);
        S::mul(S::load_up_to(gradient.wrapping_add(i), count), weight)
    }
}

#[inline(always)]
unsafe fn normal<S: Simd>(from: *const f32, i: usize, count: usize, [mean, scale]: [f32; 2]) -> S::Vector {
    // SAFETY: the caller's.
    unsafe { S::mul(S::sub(S::load_up_to(from.wrapping_add(i), count), S::splat(mean)), S::splat(scale)) }
}
