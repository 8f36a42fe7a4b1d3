//! Part II: local explanations of neighbourhoods, put back where they were (thesis, 4.8.4).

use super::stage::Stage;
use crate::expectation::laid_out_activation;
use crate::fusion::resize_map;
use crate::rule::{sum_places, weigh};
use crate::{BaselineCache, EstimatorParameters, Layout};
use candle_core::{DType, Tensor};
use faithful_baseline::References;
use faithful_core::{Error, LayerId, Objective, Result, Score};
use faithful_tensor::{Resize, RowFactors, add_rows, resize2d};
use std::num::NonZeroUsize;

/// How neighbourhoods are explained.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DependencyParameters {
    /// Draws of Expected Grad-CAM per neighbourhood; 1. There are many neighbourhoods and they overlap, so one does.
    pub draws: NonZeroUsize,
    /// How a neighbourhood's map counts where it overlaps others.
    pub weighting: Weighting,
}

impl Default for DependencyParameters {
    fn default() -> Self {
        Self { draws: NonZeroUsize::MIN, weighting: Weighting::default() }
    }
}

/// How a neighbourhood's map counts where it overlaps others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Weighting {
    /// Alike everywhere.
    Even,
    /// Falling linearly from the centre to the edge, where the network sees least around a pixel; the default.
    #[default]
    Tent,
}

/// What the neighbourhoods of one stage say together.
#[derive(Clone, Debug)]
pub struct Supermap {
    /// The stage.
    pub stage: Stage,
    /// `(1, H, W)`, not negative, in units of the score.
    pub map: Tensor,
}

/// What is asked of part II.
pub(crate) struct Neighbourhoods<'a> {
    pub(crate) objective: Objective<'a>,
    pub(crate) scores: &'a [&'a dyn Score],
    /// `(1, C, H, W)`.
    pub(crate) input: &'a Tensor,
    pub(crate) layer: LayerId,
    pub(crate) layout: Layout,
    pub(crate) estimator: &'a EstimatorParameters,
    pub(crate) parameters: DependencyParameters,
}

/// Part II of Hyper Expected Grad-CAM: per score, one supermap per stage.
///
/// Every neighbourhood is scaled to the input's own size, so that the network sees as many pixels as ever, in the
/// input's aspect ratio (constraint 1), and is explained by Expected Grad-CAM by itself. Local maps keep the score's
/// units, are scaled back to the neighbourhood and added where it was, weighted; each pixel is divided by the weights
/// it got. Relative positions are preserved (constraint 3). The neighbourhoods of all stages and their draws stand in
/// one queue that fills the network's batch.
pub(crate) fn feature_dependencies(asked: &Neighbourhoods<'_>, stages: &[Stage]) -> Result<Vec<Vec<Supermap>>> {
    let (_, _, height, width) = asked.input.dims4()?;
    let size = [height, width];
    let queue: Vec<(usize, [usize; 2])> = stages
        .iter()
        .enumerate()
        .flat_map(|(index, stage)| stage.corners().map(move |corner| (index, corner)))
        .collect();
    let mut canvases: Vec<Vec<Canvas>> =
        asked.scores.iter().map(|_| stages.iter().map(|_| Canvas::new(size)).collect()).collect();
    // What the sampler alone determines is computed once for all neighbourhoods, whether or not the run shares it.
    let own_cache = BaselineCache::default();
    let cache = asked.estimator.cache.as_deref().unwrap_or(&own_cache);
    let draws = asked.parameters.draws.get();
    let at_once = (asked.objective.batch().get() / draws).max(1);
    asked.objective.network().announce(queue.len(), queue.len() * draws);
    for (turn, group) in queue.chunks(at_once).enumerate() {
        let blocks = group.iter().map(|(index, corner)| cut(asked.input, *corner, stages[*index].side, size));
        let blocks = blocks.collect::<Result<Vec<_>>>()?;
        let maps = explain_blocks(asked, &blocks, turn * at_once, cache)?;
        for (canvases, maps) in canvases.iter_mut().zip(maps) {
            for ((index, corner), map) in group.iter().zip(maps) {
                let side = stages[*index].side;
                canvases[*index].add(&resize_map(&map, side)?, *corner, side, asked.parameters.weighting)?;
            }
        }
    }
    canvases
        .into_iter()
        .map(|canvases| {
            let pairs = stages.iter().zip(canvases);
            pairs
                .map(|(stage, canvas)| Ok(Supermap { stage: stage.clone(), map: canvas.finish(asked.input)? }))
                .collect()
        })
        .collect()
}

/// A neighbourhood `(1, C, H, W)`, scaled to the input's own size.
fn cut(input: &Tensor, [row, column]: [usize; 2], [high, wide]: [usize; 2], size: [usize; 2]) -> Result<Tensor> {
    let block = input.narrow(2, row, high)?.narrow(3, column, wide)?.contiguous()?;
    Ok(if [high, wide] == size { block } else { resize2d(&block, size, &Resize::default())? })
}

/// Expected Grad-CAM (Eq. 54-57) of several inputs at once: per score, one `(1, h, w)` per block.
///
/// `first` is the number of the first block: each block has draws of its own.
fn explain_blocks(
    asked: &Neighbourhoods<'_>,
    blocks: &[Tensor],
    first: usize,
    cache: &BaselineCache,
) -> Result<Vec<Vec<Tensor>>> {
    let Neighbourhoods { objective, scores, input, layer, layout, estimator, parameters } = asked;
    let draws = parameters.draws.get();
    let laid_out = |x: &Tensor| laid_out_activation(x, input, *layout);
    let own = laid_out(&objective.activations(&Tensor::cat(blocks, 0)?, &[*layer])?[0])?;
    let mut points = Vec::new();
    let mut there = Vec::new();
    for (place, block) in blocks.iter().enumerate() {
        let stream = estimator.stream.derive(format!("neighbourhood {}", first + place));
        let mut references = References::new(&*estimator.sampler, &stream, block, Some(cache));
        let indices: Vec<usize> = (0..draws).collect();
        let references = references.draw(objective, &indices, &[*layer], true)?;
        let alphas = estimator.alphas.alphas(&stream, 0..draws, draws);
        for (reference, alpha) in references.iter().zip(alphas) {
            points.push((&reference.baseline + ((block - &reference.baseline)? * alpha)?)?);
            let activation = reference.activations.get(layer);
            let activation = activation.ok_or_else(|| Error::internal("a baseline whose activation was not kept"))?;
            there.push(laid_out(activation)?);
        }
    }
    let all = objective.differentiate_scores(&Tensor::cat(&points, 0)?, &[*layer], false, scores)?;
    all.iter()
        .map(|differentiated| {
            let gradient = laid_out(&differentiated.traces[0].gradient)?;
            (0..blocks.len())
                .map(|place| {
                    let own = own.narrow(0, place, 1)?;
                    let between = RowFactors::Between { own: &own, there: &there };
                    let moved = add_rows(None, &gradient, between, place * draws..(place + 1) * draws)?;
                    let cells = (moved.dim(2)? * moved.dim(3)?) as f64;
                    let weights = (sum_places(&moved)? / (cells * draws as f64))?;
                    Ok(weigh(&weights, &own)?.relu()?)
                })
                .collect()
        })
        .collect()
}

/// A weighted overlap-add under way.
struct Canvas {
    size: [usize; 2],
    sum: Vec<f64>,
    weight: Vec<f64>,
}

impl Canvas {
    fn new(size: [usize; 2]) -> Self {
        Self { size, sum: vec![0.0; size[0] * size[1]], weight: vec![0.0; size[0] * size[1]] }
    }

    fn add(&mut self, map: &Tensor, corner: [usize; 2], side: [usize; 2], weighting: Weighting) -> Result<()> {
        let values: Vec<f64> = map.to_dtype(DType::F64)?.flatten_all()?.to_vec1()?;
        let along = |axis: usize| -> Vec<f64> { (0..side[axis]).map(|at| weighting.at(at, side[axis])).collect() };
        let (down, across) = (along(0), along(1));
        for (cell, value) in values.into_iter().enumerate() {
            let (row, column) = (cell / side[1], cell % side[1]);
            let place = (corner[0] + row) * self.size[1] + corner[1] + column;
            let weight = down[row] * across[column];
            self.sum[place] += weight * value;
            self.weight[place] += weight;
        }
        Ok(())
    }

    fn finish(self, like: &Tensor) -> Result<Tensor> {
        // A pixel that no neighbourhood covers has nothing to be divided by.
        let pairs = self.sum.into_iter().zip(self.weight);
        let values: Vec<f64> = pairs.map(|(sum, weight)| if weight > 0.0 { sum / weight } else { 0.0 }).collect();
        let map = Tensor::from_vec(values, (1, self.size[0], self.size[1]), like.device())?;
        Ok(map.to_dtype(like.dtype())?)
    }
}

impl Weighting {
    /// The weight of place `at` of `side`, above zero.
    fn at(self, at: usize, side: usize) -> f64 {
        match self {
            Self::Even => 1.0,
            Self::Tent => (at + 1).min(side - at) as f64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn overlapping_maps_are_averaged_where_they_were() {
        let mut canvas = Canvas::new([1, 4]);
        let map = |value: f64| Tensor::full(value, (1, 1, 2), &Device::Cpu).unwrap();
        canvas.add(&map(1.0), [0, 0], [1, 2], Weighting::Even).unwrap();
        canvas.add(&map(3.0), [0, 1], [1, 2], Weighting::Even).unwrap();
        let like = Tensor::zeros((1, 3, 1, 4), DType::F64, &Device::Cpu).unwrap();
        let sum = canvas.finish(&like).unwrap();
        assert_eq!(sum.to_vec3::<f64>().unwrap(), [[[1.0, 2.0, 3.0, 0.0]]]);
    }

    #[test]
    fn a_tent_is_highest_in_the_middle() {
        let weights = |side: usize| (0..side).map(|at| Weighting::Tent.at(at, side)).collect::<Vec<_>>();
        assert_eq!(weights(5), [1.0, 2.0, 3.0, 2.0, 1.0]);
        assert_eq!(weights(4), [1.0, 2.0, 2.0, 1.0]);
        assert_eq!(weights(1), [1.0]);
    }

    /// Constraint 1: whatever the neighbourhood, the network sees the input's own number of pixels; constraint 3:
    /// neighbours stay neighbours in the same order.
    #[test]
    fn neighbourhoods_have_the_inputs_size_and_keep_their_order() {
        let input = Tensor::arange(0f32, 33.0 * 57.0, &Device::Cpu).unwrap().reshape((1, 1, 33, 57)).unwrap();
        let block = cut(&input, [16, 28], [17, 29], [33, 57]).unwrap();
        assert_eq!(block.dims(), [1, 1, 33, 57]);
        let rows = block.squeeze(0).unwrap().squeeze(0).unwrap().to_vec2::<f32>().unwrap();
        assert!(rows.iter().all(|row| row.windows(2).all(|pair| pair[0] <= pair[1])));
        assert!(rows.windows(2).all(|pair| pair[0][0] <= pair[1][0]));
        // The corners are the neighbourhood's own.
        assert_eq!((rows[0][0], rows[32][56]), (16.0 * 57.0 + 28.0, 33.0 * 57.0 - 1.0));
        let whole = cut(&input, [0, 0], [33, 57], [33, 57]).unwrap();
        assert_eq!((whole - input).unwrap().abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap(), 0.0);
    }
}
