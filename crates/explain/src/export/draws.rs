//! The draws of an estimator, stored in the file: every input sees the same.

use candle_core::{DType, Device, Tensor};
use faithful_baseline::{AlphaSampler, BaselineSampler, Spread, normal};
use faithful_core::{Error, Result, Stream};
use faithful_model::export::{Extent, OnnxWriter, Symbol};

/// Points for each input, and what they are compared with.
pub(super) struct Draws {
    /// `(N S, …)`.
    pub(super) points: Symbol,
    /// `(1, R, …)`: one baseline for all draws, or one for each.
    pub(super) baselines: Option<Symbol>,
    /// How many points there are for an input.
    pub(super) count: usize,
}

/// What is drawn.
pub(super) struct Plan<'a> {
    pub(super) count: usize,
    /// Where between baseline and input the points lie; none for points at the input.
    pub(super) places: Option<Vec<f64>>,
    /// Where baselines come from, and whether all draws share the first.
    pub(super) baselines: Option<(&'a dyn BaselineSampler, bool)>,
    /// The noise's width and stream.
    pub(super) noise: Option<(Spread, Stream)>,
    pub(super) stream: Stream,
    pub(super) given: Given,
}

/// What is an input of the file in place of a constant in it.
#[derive(Clone, Copy, Default)]
pub(super) struct Given {
    pub(super) baselines: bool,
    pub(super) places: bool,
}

impl Plan<'_> {
    /// Writes the points for the input `x`.
    pub(super) fn write(&self, writer: &mut OnnxWriter, x: &Symbol) -> Result<Draws> {
        writer.enter("draws");
        let shape = x.nominal();
        let own = one_more(x, 1);
        let own = writer.reshape(x, &own)?;
        let mut points = own.clone();
        let mut stored = None;
        if let (Some((sampler, shared)), Some(places)) = (&self.baselines, &self.places) {
            let count = if *shared { 1 } else { self.count };
            let baselines = if self.given.baselines {
                given_baselines(writer, x, count)?
            } else {
                let baselines = baked(*sampler, &self.stream, count, &shape[1..])?;
                writer.tensor(&baselines)?
            };
            let mut dims = vec![1; x.rank() + 1];
            dims[1] = self.count;
            let places = if self.given.places {
                let places = writer.given("alphas", vec![[self.count; 3]]);
                writer.reshape(&places, &faithful_model::export::sizes(&dims))?
            } else {
                let places: Vec<f32> = places.iter().map(|&place| place as f32).collect();
                writer.numbers(&dims, &places)
            };
            points = between(writer, &own, &baselines, &places)?;
            stored = Some(baselines);
        }
        if let Some((spread, stream)) = &self.noise {
            let noise = noise(stream, self.count, &shape[1..])?;
            let noise = writer.tensor(&noise)?;
            let width = width(writer, x, *spread)?;
            let noise = writer.mul(&noise, &width)?;
            points = writer.add(&points, &noise)?;
        }
        let rows: Vec<Extent> = rows(x, self.count);
        let points = writer.expand(&points, &one_more(x, self.count))?;
        let points = writer.reshape(&points, &rows)?;
        Ok(Draws { points, baselines: stored, count: self.count })
    }
}

/// The points at `places` on the way from the baselines to the input.
pub(super) fn between(writer: &mut OnnxWriter, own: &Symbol, baselines: &Symbol, places: &Symbol) -> Result<Symbol> {
    let difference = writer.sub(own, baselines)?;
    let moved = writer.mul(&difference, places)?;
    writer.add(baselines, &moved)
}

/// An input `baselines` `(R, …)` as `(1, R, …)`.
fn given_baselines(writer: &mut OnnxWriter, x: &Symbol, count: usize) -> Result<Symbol> {
    let mut shape = x.shape().to_vec();
    shape[0] = [count; 3];
    let baselines = writer.given("baselines", shape.clone());
    shape.insert(0, [1; 3]);
    writer.reshape(&baselines, &shape)
}

/// The alphas of expected gradients.
pub(super) fn drawn(alphas: AlphaSampler, stream: &Stream, count: usize) -> Vec<f64> {
    alphas.alphas(stream, 0..count, count)
}

/// The middles of so many steps.
pub(super) fn midpoints(count: usize) -> Vec<f64> {
    (0..count).map(|draw| (draw as f64 + 0.5) / count as f64).collect()
}

/// `(N, count, …)` of `x` `(N, …)`.
pub(super) fn one_more(x: &Symbol, count: usize) -> Vec<Extent> {
    let mut shape = x.shape().to_vec();
    shape.insert(1, [count; 3]);
    shape
}

/// `(N count, …)` of `x` `(N, …)`.
pub(super) fn rows(x: &Symbol, count: usize) -> Vec<Extent> {
    let mut shape = x.shape().to_vec();
    shape[0] = shape[0].map(|rows| rows * count);
    shape
}

/// A file holds at most so many numbers of draws: a gigabyte.
const MOST: usize = 1 << 28;

fn check_size(count: usize, shape: &[usize]) -> Result<()> {
    let numbers = shape.iter().try_fold(count, |all, &size| all.checked_mul(size));
    if numbers.is_some_and(|numbers| numbers <= MOST) {
        return Ok(());
    }
    let reason = format!("{count} draws of inputs {shape:?} are more than a gigabyte in the file; ask for fewer");
    Err(Error::parameter("draws", reason))
}

/// Standard normal noise `(1, S, …)`.
fn noise(stream: &Stream, count: usize, shape: &[usize]) -> Result<Tensor> {
    check_size(count, shape)?;
    let whole: Vec<usize> = std::iter::once(1).chain(shape.iter().copied()).collect();
    let blank = Tensor::zeros(whole, DType::F32, &Device::Cpu)?;
    Ok(normal(&blank, stream, 0..count)?.unsqueeze(0)?)
}

/// The noise's deviation for each input, `(N, 1, …)`.
fn width(writer: &mut OnnxWriter, x: &Symbol, spread: Spread) -> Result<Symbol> {
    let fraction = match spread {
        Spread::Absolute(width) => return Ok(writer.number(width)),
        Spread::Relative(fraction) => fraction,
    };
    let axes: Vec<usize> = (1..x.rank()).collect();
    let highest = writer.reduce("ReduceMax", x, &axes, true);
    let lowest = writer.reduce("ReduceMin", x, &axes, true);
    let range = writer.sub(&highest, &lowest)?;
    let width = writer.affine(&range, fraction, 0.0)?;
    let shape = one_more(&width, 1);
    writer.reshape(&width, &shape)
}

/// The baselines `(1, R, …)`: one where all draws have the same, and one number per channel where there is no more to it.
pub(super) fn baked(sampler: &dyn BaselineSampler, stream: &Stream, count: usize, shape: &[usize]) -> Result<Tensor> {
    let whole: Vec<usize> = std::iter::once(1).chain(shape.iter().copied()).collect();
    let blank = Tensor::zeros(whole, DType::F32, &Device::Cpu)?;
    check_size(count, shape)?;
    let all = sampler.sample(&blank, stream, 0..count)?;
    let size = blank.elem_count();
    let values: Vec<f32> = all.flatten_all()?.to_vec1()?;
    // A ramp tells a blurred picture, a mean colour or noise about the picture from what does not depend on it.
    let ramp = Tensor::arange(0f32, size as f32, &Device::Cpu)?.reshape(blank.shape())?;
    let other: Vec<f32> = sampler.sample(&ramp, stream, 0..count)?.flatten_all()?.to_vec1()?;
    if values != other {
        let reason =
            "these are made of the photo itself and cannot be stored in a file; choose others, as `zero` or a folder";
        return Err(Error::parameter("baselines", reason));
    }
    let same = values.chunks(size).all(|row| *row == values[..size]);
    let kept = if same { all.narrow(0, 0, 1)? } else { all };
    let places: usize = shape[1..].iter().product();
    let flat = same && values[..size].chunks(places).all(|channel| channel.iter().all(|value| *value == channel[0]));
    let kept = if flat {
        let channels: Vec<f32> = values[..size].iter().step_by(places).copied().collect();
        let mut dims = vec![1; shape.len() + 1];
        dims[1] = shape[0];
        Tensor::from_vec(channels, dims, &Device::Cpu)?
    } else {
        kept
    };
    Ok(kept.unsqueeze(0)?)
}
