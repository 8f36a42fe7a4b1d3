//! Hyper Expected Grad-CAM as ONNX's operators: the formula of the qualities `draft` and `standard` once more, beside
//! `faithful_cam`'s own; the tests compare the two. The rounds that `explain` adds where two of them disagree are not written: how
//! many there are depends on the photo.

use super::Export;
use super::draws::{baked, between, drawn, one_more, rows};
use super::file::value;
use super::layout::{channels_first, resolved};
use super::map::Explained;
use crate::ScoreKind;
use candle_core::{DType, Device, Tensor};
use faithful_baseline::{AlphaSampler, BaselineSampler, blur};
use faithful_cam::hyper_formula::{SILENT, is_blurred, neighbourhood_matrix, placement_matrix, rounds as hyper_rounds};
use faithful_cam::{
    BaseMap, Combination, Evidence, Filter, HyperParameters, Layout, Refinement, SOFT_STEEPNESS, decomposition_layers,
};
use faithful_core::{BackwardRule, Error, Grid, LayerId, Network, Probabilities, Result, Stream};
use faithful_model::NodeId;
use faithful_model::export::{OnnxWriter, Symbol};
use std::ops::Range;

fn parameters(export: &Export) -> HyperParameters {
    let cam = &export.settings.cam;
    HyperParameters { probabilities: export.settings.probabilities, ..cam.hyper.parameters(cam.quality) }
}

/// Why what is asked has no form in a file.
pub(super) fn refusal(export: &Export) -> Option<&'static str> {
    let hyper = parameters(export);
    let plain = hyper.stages.count == Some(0)
        && hyper.base == BaseMap::Difference
        && (hyper.decomposition.evidence, hyper.decomposition.filter) == (Evidence::Neighbourhood, Filter::Whole)
        && hyper.fusion.combination == Combination::Sum
        && hyper.refinement == Refinement::None;
    if !plain {
        return Some("its qualities but `draft` and `standard` look at what they have found so far");
    }
    if export.given {
        return Some("every second of its baselines is the blurred photo; they cannot be inputs of the file");
    }
    contrasted(export.score, &hyper).is_none().then_some("that score of a probability's logarithm is not written")
}

/// The score whose gradient is that of a score of the probabilities' logarithms, up to a factor.
fn contrasted(score: ScoreKind, hyper: &HyperParameters) -> Option<ScoreKind> {
    match (score, hyper.probabilities) {
        _ if !hyper.contrast => Some(score),
        (_, Probabilities::Unchanged) => Some(score),
        (ScoreKind::Logit | ScoreKind::LogProbability | ScoreKind::LogitAndLogProbability, _) => {
            Some(ScoreKind::LogProbability)
        }
        // What all classes share is no part of a difference, and the softmax of a log-softmax is the softmax.
        (ScoreKind::MarginAgainst(_) | ScoreKind::Probability, Probabilities::Softmax) => Some(score),
        _ => None,
    }
}

/// Some draws of one round, one after the other in the batch of all.
struct Segment {
    round: usize,
    /// Which of the sampler's baselines they start from; the blurred input where there are none.
    own: Option<Range<usize>>,
    /// How far they lie on the way to the input.
    places: Vec<f64>,
}

/// The sampler's draws that are taken, each by its round's stream and its number there.
struct Chosen<'a> {
    sampler: &'a dyn BaselineSampler,
    draws: Vec<(Stream, usize)>,
}

impl BaselineSampler for Chosen<'_> {
    fn sample(&self, input: &Tensor, _: &Stream, draws: Range<usize>) -> Result<Tensor> {
        let one = |(stream, draw): &(Stream, usize)| self.sampler.sample(input, stream, *draw..draw + 1);
        Ok(Tensor::cat(&self.draws[draws].iter().map(one).collect::<Result<Vec<_>>>()?, 0)?)
    }
}

/// What all draws of a round say of one layer, `(N, C, h, w)` each.
struct Evident {
    /// The mean of difference times gradient.
    expected: Symbol,
    /// The mean difference from the baselines.
    difference: Symbol,
}

impl Explained<'_> {
    /// The map `(N, H, W)` on its soft scale.
    pub(super) fn hyper(&self, writer: &mut OnnxWriter) -> Result<Symbol> {
        let hyper = parameters(self.export);
        let missing = || Error::internal("a score that was to be refused");
        let export =
            Export { score: contrasted(self.export.score, &hyper).ok_or_else(missing)?, ..self.export.clone() };
        let size = match *self.input.shape() {
            [_, _, height, width] => [writer.size(height)?, writer.size(width)?],
            _ => return Err(Error::shape("the input", "images (N, C, H, W)", &self.input.nominal())),
        };
        let this = Explained { export: &export, ..*self };
        let levels = decomposition_layers(self.graph(), LayerId(self.layer()?.0))?;
        let layers: Vec<(NodeId, Layout)> = levels
            .iter()
            .flatten()
            .map(|layer| {
                let node = NodeId::from(*layer);
                Ok((node, resolved(self.export.settings.layout, self.input, &value(self.values, node)?)?))
            })
            .collect::<Result<_>>()?;
        let rounds = this.rounds(writer, &layers, &hyper, size)?;

        writer.enter("map");
        let all: usize = rounds.iter().map(|(draws, _)| draws).sum();
        let mut base: Option<Symbol> = None;
        let mut maps: Vec<Option<Symbol>> = vec![None; levels.len()];
        for (draws, evidence) in &rounds {
            let share = *draws as f64 / all as f64;
            let target = evidence.last().ok_or_else(|| Error::internal("levels without a target layer"))?;
            let map = base_map(writer, target)?;
            accumulate(writer, &mut base, &map, share)?;
            let mut next = 0;
            for (level, layers) in levels.iter().enumerate() {
                for evident in &evidence[next..next + layers.len()] {
                    let map = shared_out(writer, evident)?;
                    accumulate(writer, &mut maps[level], &map, share / layers.len() as f64)?;
                }
                next += layers.len();
            }
        }
        let missing = || Error::internal("a level without layers");
        let mut sum: Option<Symbol> = None;
        let mut grid = Grid::even(size, [1, 1]);
        // From the coarsest on.
        for (place, (level, map)) in levels.iter().zip(maps).rev().enumerate() {
            let map = map.ok_or_else(missing)?;
            let own = self.grid(writer, level[0], &map, size)?;
            if place == 0 {
                grid = own;
            }
            let map = placed(writer, &map, &own, size)?;
            let map = standardised(writer, &map)?;
            accumulate(writer, &mut sum, &map, hyper.decomposition.injection.powi(place as i32))?;
        }
        let detail = standardised(writer, &sum.ok_or_else(missing)?)?;
        let base = placed(writer, &base.ok_or_else(missing)?, &grid, size)?;
        let base = standardised(writer, &base)?;
        let base = writer.affine(&base, hyper.fusion.base, 0.0)?;
        let map = writer.add(&detail, &base)?;
        soft_scale(writer, &map)
    }

    /// Where the places of a level's map lie.
    fn grid(&self, writer: &mut OnnxWriter, layer: LayerId, map: &Symbol, size: [usize; 2]) -> Result<Grid> {
        let places = [writer.size(map.shape()[1])?, writer.size(map.shape()[2])?];
        Ok(self.graph().grid(layer).unwrap_or_else(|| Grid::even(size, places)))
    }

    /// Per round its number of draws, and what they say of every layer.
    fn rounds(
        &self,
        writer: &mut OnnxWriter,
        layers: &[(NodeId, Layout)],
        hyper: &HyperParameters,
        size: [usize; 2],
    ) -> Result<Vec<(usize, Vec<Evident>)>> {
        let settings = &self.export.settings;
        let share = if size.iter().all(|pixels| *pixels > 1) { hyper.blurred } else { 0.0 };
        let stratifies = hyper.stratified && settings.alphas == AlphaSampler::Uniform;
        let alphas = if stratifies { AlphaSampler::Stratified } else { settings.alphas };
        let mut chosen = Chosen { sampler: &*settings.sampler, draws: Vec::new() };
        let mut segments: Vec<Segment> = Vec::new();
        let count = settings.draws.unwrap_or_else(|| settings.cam.quality.draws());
        let planned = hyper_rounds(count, &self.export.stream());
        for (round, (draws, stream)) in planned.iter().enumerate() {
            let places = drawn(alphas, stream, *draws);
            let (blurred, own): (Vec<usize>, Vec<usize>) = (0..*draws).partition(|draw| is_blurred(*draw, share));
            let of = |which: &[usize]| which.iter().map(|draw| places[*draw]).collect::<Vec<f64>>();
            let first = chosen.draws.len();
            chosen.draws.extend(own.iter().map(|draw| (stream.clone(), *draw)));
            segments.push(Segment { round, own: Some(first..chosen.draws.len()), places: of(&own) });
            segments.push(Segment { round, own: None, places: of(&blurred) });
        }
        segments.retain(|segment| !segment.places.is_empty());

        writer.enter("draws");
        let shape = self.input.nominal();
        let input = writer.reshape(self.input, &one_more(self.input, 1))?;
        let own = match chosen.draws.len() {
            0 => None,
            count => {
                let stored = baked(&chosen, &self.export.stream(), count, &shape[1..])?;
                Some(writer.tensor(&stored)?)
            }
        };
        let blurred = if segments.iter().any(|segment| segment.own.is_none()) {
            let blurred = self.blurred(writer, hyper.blur, size)?;
            Some(writer.reshape(&blurred, &one_more(&blurred, 1))?)
        } else {
            None
        };
        let mut points = Vec::with_capacity(segments.len());
        for segment in &segments {
            let baselines = part(writer, segment, own.as_ref(), blurred.as_ref())?;
            let mut dims = vec![1; shape.len() + 1];
            dims[1] = segment.places.len();
            let places: Vec<f32> = segment.places.iter().map(|place| *place as f32).collect();
            let places = writer.numbers(&dims, &places);
            points.push(between(writer, &input, &baselines, &places)?);
        }
        let points = writer.concat(&points.iter().collect::<Vec<_>>(), 1);
        let all: usize = segments.iter().map(|segment| segment.places.len()).sum();
        let points = writer.reshape(&points, &rows(self.input, all))?;
        let taps: Vec<NodeId> = layers.iter().map(|(layer, _)| *layer).collect();
        let wanted: Vec<NodeId> = taps.iter().copied().chain([self.graph().output()]).collect();
        let values = writer.forward(self.graph(), &points, &wanted, "draws/")?;
        let found = self.gradients(writer, &values, (all, BackwardRule::Plain, "draws/"), &taps)?;
        let at_own = own.as_ref().map(|own| self.layers_of(writer, own, layers, "baselines")).transpose()?;
        let at_blurred =
            blurred.as_ref().map(|blurred| self.layers_of(writer, blurred, layers, "blurred")).transpose()?;

        writer.enter("draws/map");
        let mut rounds: Vec<(usize, Vec<Evident>)> = planned.iter().map(|(draws, _)| (*draws, Vec::new())).collect();
        for (place, ((layer, layout), gradient)) in layers.iter().zip(found).enumerate() {
            let active = channels_first(writer, &value(self.values, *layer)?, *layout)?;
            let gradient = channels_first(writer, &gradient, *layout)?;
            let gradient = writer.reshape(&gradient, &one_more(&active, all))?;
            let active = writer.reshape(&active, &one_more(&active, 1))?;
            let mut differences = [None, None];
            for (difference, there) in differences.iter_mut().zip([&at_own, &at_blurred]) {
                if let Some(there) = there {
                    *difference = Some(writer.sub(&active, &there[place])?);
                }
            }
            let [of_own, of_blurred] = &differences;
            let mut sums: Vec<[Option<Symbol>; 2]> = rounds.iter().map(|_| [None, None]).collect();
            let mut first = 0;
            for segment in &segments {
                let count = segment.places.len();
                let gradient = writer.narrow(&gradient, 1, first, count);
                first += count;
                let difference = part(writer, segment, of_own.as_ref(), of_blurred.as_ref())?;
                let product = writer.mul(&gradient, &difference)?;
                let [expected, apart] = &mut sums[segment.round];
                // A mean over the segment's draws, or the one difference that all of them have.
                let share = count as f64 / rounds[segment.round].0 as f64;
                let mean = writer.reduce("ReduceMean", &product, &[1], false);
                accumulate(writer, expected, &mean, share)?;
                let mean = writer.reduce("ReduceMean", &difference, &[1], false);
                accumulate(writer, apart, &mean, share)?;
            }
            for ((_, evidence), sums) in rounds.iter_mut().zip(sums) {
                let [Some(expected), Some(difference)] = sums else {
                    return Err(Error::internal("a round without draws"));
                };
                evidence.push(Evident { expected, difference });
            }
        }
        Ok(rounds)
    }

    /// The input blurred by a Gaussian, `(N, C, H, W)`.
    fn blurred(&self, writer: &mut OnnxWriter, sigma: f64, [height, width]: [usize; 2]) -> Result<Symbol> {
        let matrix = |size: usize| -> Result<Tensor> {
            let units = Tensor::eye(size, DType::F64, &Device::Cpu)?.reshape((size, 1, size, 1))?;
            Ok(blur(&units, sigma, sigma)?.reshape((size, size))?.t()?.contiguous()?)
        };
        along_both(writer, self.input, &matrix(height)?, &matrix(width)?)
    }
}

/// What of the sampler's values `(…, R, …)`, or of the blurred input's `(…, 1, …)`, belongs to a segment.
fn part(writer: &mut OnnxWriter, segment: &Segment, own: Option<&Symbol>, blurred: Option<&Symbol>) -> Result<Symbol> {
    let missing = || Error::internal("a segment without its baselines");
    match &segment.own {
        None => blurred.cloned().ok_or_else(missing),
        Some(range) => {
            let own = own.ok_or_else(missing)?;
            let same = own.shape()[1] == [1; 3];
            Ok(if same { own.clone() } else { writer.narrow(own, 1, range.start, range.len()) })
        }
    }
}

/// `sum + weight x`.
fn accumulate(writer: &mut OnnxWriter, sum: &mut Option<Symbol>, x: &Symbol, weight: f64) -> Result<()> {
    let weighted = writer.affine(x, weight, 0.0)?;
    *sum = Some(match sum.take() {
        Some(sum) => writer.add(&sum, &weighted)?,
        None => weighted,
    });
    Ok(())
}

/// `rows x columns^T`.
fn along_both(writer: &mut OnnxWriter, x: &Symbol, rows: &Tensor, columns: &Tensor) -> Result<Symbol> {
    let single = |matrix: &Tensor| matrix.to_dtype(DType::F32)?.contiguous();
    let (rows, columns) = (writer.tensor(&single(rows)?)?, writer.tensor(&single(&columns.t()?)?)?);
    let y = writer.matmul(&rows, x)?;
    writer.matmul(&y, &columns)
}

/// `ReLU(sum_k w_k D_k)`, `w_k` the mean of `E_k` over places.
fn base_map(writer: &mut OnnxWriter, evident: &Evident) -> Result<Symbol> {
    let weights = writer.reduce("ReduceMean", &evident.expected, &[2, 3], true);
    let weighted = writer.mul(&weights, &evident.difference)?;
    let map = writer.reduce("ReduceSum", &weighted, &[1], false);
    Ok(writer.unary("Relu", &map))
}

/// `sum_k |D_k| G(E_k) / (G(|D_k|) + 0.001 mean |D_k|)`.
fn shared_out(writer: &mut OnnxWriter, evident: &Evident) -> Result<Symbol> {
    let [height, width] = [2, 3].map(|axis: usize| evident.expected.shape()[axis]);
    let rows = neighbourhood_matrix(writer.size(height)?)?;
    let columns = neighbourhood_matrix(writer.size(width)?)?;
    let answer = writer.unary("Abs", &evident.difference);
    let floor = writer.reduce("ReduceMean", &answer, &[2, 3], true);
    let floor = writer.affine(&floor, SILENT, 0.0)?;
    let around = along_both(writer, &answer, &rows, &columns)?;
    let around = writer.add(&around, &floor)?;
    let gathered = along_both(writer, &evident.expected, &rows, &columns)?;
    let share = writer.divide_or_zero(&gathered, &around)?;
    let map = writer.mul(&share, &answer)?;
    Ok(writer.reduce("ReduceSum", &map, &[1], false))
}

/// A level's map `(N, h, w)` at the input's size `(N, H, W)`.
fn placed(writer: &mut OnnxWriter, map: &Symbol, grid: &Grid, size: [usize; 2]) -> Result<Symbol> {
    let places = [writer.size(map.shape()[1])?, writer.size(map.shape()[2])?];
    let matrix = |axis: usize| placement_matrix(grid, axis, places[axis], size[axis]);
    along_both(writer, map, &matrix(0)?, &matrix(1)?)
}

/// Divided by the standard deviation over pixels; zero where there is no contrast.
fn standardised(writer: &mut OnnxWriter, map: &Symbol) -> Result<Symbol> {
    let mean = writer.reduce("ReduceMean", map, &[1, 2], true);
    let apart = writer.sub(map, &mean)?;
    let square = writer.mul(&apart, &apart)?;
    let variance = writer.reduce("ReduceMean", &square, &[1, 2], true);
    let deviation = writer.unary("Sqrt", &variance);
    let size = writer.unary("Abs", map);
    let largest = writer.reduce("ReduceMax", &size, &[1, 2], true);
    let least = writer.affine(&largest, 1e-6, 0.0)?;
    let varies = writer.binary("Greater", &deviation, &least)?;
    let divided = writer.divide_or_zero(map, &deviation)?;
    writer.only_where(&varies, &divided)
}

/// `t / sqrt(1 + t^2)` of the standardised map.
fn soft_scale(writer: &mut OnnxWriter, map: &Symbol) -> Result<Symbol> {
    let map = standardised(writer, map)?;
    let t = writer.affine(&map, SOFT_STEEPNESS, 0.0)?;
    let square = writer.mul(&t, &t)?;
    let under = writer.affine(&square, 1.0, 1.0)?;
    let root = writer.unary("Sqrt", &under);
    writer.div(&t, &root)
}
