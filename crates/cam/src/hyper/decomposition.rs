//! Part III: the details that early layers know, injected into the map of the last one (thesis, 4.8.5).

use crate::expectation::PathExpectation;
use crate::fusion::resize_map;
use crate::stages::{feature_size, places};
use candle_core::{DType, Tensor};
use faithful_core::{Error, LayerId, Network, Result};
use faithful_frequency::{Band, Edge, band_pass, gaussian_high_pass, laplacian_pyramid, sigma_of_cutoff};

/// How part III takes details from early layers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DecompositionParameters {
    /// What of a level's map is injected; [`Filter::Whole`].
    pub filter: Filter,
    /// The weight of each level beside the next coarser one, above 0; 1. Below 1 the coarse levels rule, so that the map holds
    /// together; above 1 the details do.
    pub injection: f64,
}

impl Default for DecompositionParameters {
    fn default() -> Self {
        Self { filter: Filter::default(), injection: 1.0 }
    }
}

/// What of a level's map is injected into the coarser one. The cut-off is the highest frequency that the coarser
/// level's grid can hold, half a cycle per inflate region: the stronger the compression between two levels, the
/// more is taken for detail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Filter {
    /// All of it; the default. On an `ImageNet` `MobileNetV2` it is the most faithful: an early layer also corrects
    /// where coarse evidence lies, not only its outlines.
    #[default]
    Whole,
    /// What a Gaussian takes away that halves the amplitude at the cut-off.
    Gaussian,
    /// The exact band above the cut-off.
    BandPass,
    /// The Laplacian pyramid's levels above the cut-off, in whole octaves.
    Laplacian,
}

/// One resolution of the network.
#[derive(Clone, Debug)]
pub struct Level {
    /// The layers: where the spatial size changes, and the relu that follows; for the coarsest the target layer alone.
    pub layers: Vec<LayerId>,
    /// The inflate region: how many pixels of the input one place stands for, down and across.
    pub inflate: [f64; 2],
    /// `(1, h, w)`, signed, in units of the score: per place, the sum over channels of the expected difference times
    /// gradient, averaged over the layers.
    pub map: Tensor,
    /// Above which frequency, in cycles per pixel, the map was injected; all of it where there is none.
    pub cutoff: Option<f64>,
    /// `(1, H, W)`: what was injected, weighted.
    pub detail: Tensor,
}

/// What the levels say together.
#[derive(Clone, Debug)]
pub struct FrequencyMap {
    /// From the coarsest to the finest.
    pub levels: Vec<Level>,
    /// `(1, H, W)`, signed, without a unit.
    pub map: Tensor,
}

/// The layers of part III, from the finest resolution to the target layer: every one at which the spatial size shrinks,
/// plus the relu that follows it at once or after a normalisation (the thesis's `1 + 1` policy).
///
/// A size has shrunk where both axes, or the one that has more than one place, are at most three quarters of the last level's: padding by
/// a pixel is no change. The target layer is the coarsest level; earlier layers of its size belong to that level and
/// are left out, as are the input, pads and constants.
///
/// # Errors
/// [`Error::UnknownLayer`] for a target that is not there.
pub fn decomposition_layers(network: &dyn Network, target: LayerId) -> Result<Vec<Vec<LayerId>>> {
    let layers = network.layers();
    let Some(own) = layers.get(target.0) else {
        return Err(Error::UnknownLayer { name: format!("#{}", target.0), suggestions: Vec::new() });
    };
    let Some(own_size) = places(own) else { return Ok(vec![vec![target]]) };
    let of_input = network.input_shape().and_then(|shape| match *shape {
        [_, height, width] => Some([height, width]),
        _ => None,
    });
    let mut current = of_input.or_else(|| layers.iter().find(|layer| layer.kind == "input").and_then(places));
    let mut levels = Vec::new();
    for index in 0..target.0 {
        let Some(size) = feature_size(network, &layers[index]) else { continue };
        let Some(before) =
            current.replace(current.map_or(size, |before| [0, 1].map(|axis: usize| before[axis].min(size[axis]))))
        else {
            continue;
        };
        let shrinks = |axis: usize| 4 * size[axis] <= 3 * before[axis];
        let stays = |axis: usize| before[axis] == 1;
        let shrunk = (0..2).all(|axis| shrinks(axis) || stays(axis)) && (0..2).any(shrinks);
        if !shrunk || size == own_size {
            continue;
        }
        let mut level = vec![LayerId(index)];
        let behind = layers[index + 1..target.0].iter().enumerate();
        let next = behind
            .skip_while(|(_, layer)| layer.kind.ends_with("-norm"))
            .map(|(offset, layer)| (index + 1 + offset, layer))
            .next();
        if let Some((place, _)) =
            next.filter(|(_, layer)| layer.kind.starts_with("relu") && layer.shape == layers[index].shape)
        {
            level.push(LayerId(place));
        }
        levels.push(level);
    }
    levels.push(vec![target]);
    Ok(levels)
}

/// The element-wise maps of every level of one expectation, finest first: `sum_k E[d g]` per place, averaged over
/// the level's layers and over paths. `layers` are the levels' layers in the expectation's order.
pub(crate) fn level_maps(paths: &[PathExpectation], levels: &[Vec<LayerId>]) -> Result<Vec<Tensor>> {
    let mut next = 0;
    levels
        .iter()
        .map(|layers| {
            let mut sum: Option<Tensor> = None;
            for path in paths {
                for estimate in &path.layers[next..next + layers.len()] {
                    let map = estimate.gradient()?.sum(1)?;
                    sum = Some(match sum.take() {
                        Some(sum) => (sum + map)?,
                        None => map,
                    });
                }
            }
            next += layers.len();
            let sum = sum.ok_or_else(|| Error::internal("a level without layers"))?;
            Ok((sum / (paths.len() * layers.len()) as f64)?)
        })
        .collect()
}

/// Part III of Hyper Expected Grad-CAM: injects each level's details into the map of the coarser ones
/// (Buono and Åkesson 2023, 4.8.5).
///
/// `maps` are `(1, h, w)` and signed, finest first as [`decomposition_layers`] names them. From the coarsest on,
/// `F <- F + w_i H_i(M_i / s_i)`, with `M_i` the level's map scaled bilinearly to the input's `size`
/// `[height, width]`, `s_i` its standard deviation over pixels (layers differ in units), `H_i` the
/// [filter](DecompositionParameters::filter) and `w_i` the injection's power. A level without contrast adds nothing.
///
/// # Errors
/// [`Error::Shape`] for maps that are not `(1, h, w)`, [`Error::Parameter`] for an injection that is not positive.
pub fn decompose(
    layers: &[Vec<LayerId>],
    maps: &[Tensor],
    size: [usize; 2],
    parameters: &DecompositionParameters,
) -> Result<FrequencyMap> {
    let DecompositionParameters { filter, injection } = *parameters;
    if !(injection > 0.0 && injection.is_finite()) {
        return Err(Error::parameter("injection", format!("{injection} is not positive")));
    }
    let mut levels: Vec<Level> = Vec::with_capacity(maps.len());
    let mut running: Option<Tensor> = None;
    for (place, (layers, map)) in layers.iter().zip(maps).rev().enumerate() {
        let [1, height, width] = *map.dims() else {
            return Err(Error::shape("a level's map", "(1, h, w)", map.dims()));
        };
        let inflate = [size[0] as f64 / height as f64, size[1] as f64 / width as f64];
        let whole = standardised(&resize_map(map, size)?)?;
        let rate = levels.last().map(|coarser| (coarser.inflate[0] * coarser.inflate[1]).sqrt());
        // The coarsest map is injected whole: there is nothing below it.
        let (cutoff, detail) = match rate.filter(|_| filter != Filter::Whole) {
            Some(rate) => (Some(0.5 / rate), high_pass(&whole, rate, filter)?),
            None => (None, whole),
        };
        let detail = (detail * injection.powi(place as i32))?;
        running = Some(match running.take() {
            Some(running) => (running + &detail)?,
            None => detail.clone(),
        });
        levels.push(Level { layers: layers.clone(), inflate, map: map.clone(), cutoff, detail });
    }
    let map = running.ok_or_else(|| Error::shape("the levels", "at least one", &[]))?;
    Ok(FrequencyMap { levels, map })
}

/// What of `map` a grid of one place per `rate` pixels cannot hold.
fn high_pass(map: &Tensor, rate: f64, filter: Filter) -> Result<Tensor> {
    let cutoff = 0.5 / rate;
    Ok(match filter {
        Filter::Whole => map.clone(),
        Filter::Gaussian => gaussian_high_pass(map, sigma_of_cutoff(cutoff))?,
        Filter::BandPass => band_pass(map, Band::high_pass(cutoff), Edge::Mirror)?,
        Filter::Laplacian => {
            let mut pyramid = laplacian_pyramid(map, rate.log2().round().max(0.0) as usize)?;
            pyramid.coarsest = pyramid.coarsest.zeros_like()?;
            pyramid.reconstruct()?
        }
    })
}

/// A map without unit: divided by its standard deviation over pixels; zero where it has no contrast.
pub(crate) fn standardised(map: &Tensor) -> Result<Tensor> {
    let values: Vec<f64> = map.to_dtype(DType::F64)?.flatten_all()?.to_vec1()?;
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let deviation = (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / values.len() as f64).sqrt();
    let largest = values.iter().fold(0.0, |largest: f64, value| largest.max(value.abs()));
    // Rounding gives a flat map some contrast too.
    if deviation <= 1e-6 * largest { Ok(map.zeros_like()?) } else { Ok((map / deviation)?) }
}
