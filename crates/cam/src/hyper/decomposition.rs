//! Part III: the details that early layers know, injected into the map of the last one (thesis, 4.8.5).

use super::evidence::{Evidence, layer_evidence};
use super::placement::placed;
use crate::accumulation::accumulate;
use crate::expectation::PathExpectation;
use crate::stages::{feature_size, places};
use candle_core::{DType, Tensor};
use faithful_core::{Error, Grid, LayerId, Network, Result, value_named};
use faithful_frequency::{
    Band, Edge, band_pass, difference_of_gaussians, gabor_high_pass, gaussian_high_pass, laplacian_pyramid,
    sigma_of_cutoff,
};

/// How part III takes details from early layers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DecompositionParameters {
    /// How a level's layers become its map; [`Evidence::Neighbourhood`].
    pub evidence: Evidence,
    /// What of a level's map is injected; [`Filter::Whole`].
    pub filter: Filter,
    /// The weight of each level beside the next coarser one, above 0; 1.3. Below 1 the coarse levels rule, so that the map holds
    /// together; above 1 the details do.
    pub injection: f64,
}

impl Default for DecompositionParameters {
    fn default() -> Self {
        Self { evidence: Evidence::default(), filter: Filter::default(), injection: 1.3 }
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
    /// The exact band above the cut-off, by the Fourier transform.
    BandPass,
    /// The Laplacian pyramid's levels above the cut-off, in whole octaves.
    Laplacian,
    /// The difference of the map's own Gaussian, of half a pixel, and the one that halves the amplitude at the cut-off: what is
    /// finer than the map's own pixels goes as well.
    DifferenceOfGaussians,
    /// Waves of all directions above the cut-off, an octave apart ([`gabor_high_pass`]).
    Gabor,
}

impl Filter {
    /// Every filter by the name under which it is asked for.
    pub const NAMES: &'static [(&'static str, Self)] = &[
        ("whole", Self::Whole),
        ("gaussian", Self::Gaussian),
        ("fft", Self::BandPass),
        ("laplacian", Self::Laplacian),
        ("dog", Self::DifferenceOfGaussians),
        ("gabor", Self::Gabor),
    ];

    /// The filter called `name`.
    ///
    /// # Errors
    /// [`Error::UnknownName`] with suggestions.
    pub fn named(name: &str) -> Result<Self> {
        value_named("filter", name, Self::NAMES)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, filter)| *filter == self).map_or("", |(name, _)| name)
    }
}

/// One resolution of the network.
#[derive(Clone, Debug)]
pub struct Level {
    /// The layers: where the spatial size changes, and the relu that follows; for the coarsest the target layer alone.
    pub layers: Vec<LayerId>,
    /// The inflate region: how many pixels of the input one place stands for, down and across.
    pub inflate: [f64; 2],
    /// Where the places lie on the input.
    pub grid: Grid,
    /// `(1, h, w)`, signed, in units of the score: the layers' [evidence](Evidence), averaged over them.
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

/// What is known of the network's levels before its maps: finest first.
pub(crate) struct Levels {
    /// As [`decomposition_layers`] names them.
    pub(crate) layers: Vec<Vec<LayerId>>,
    /// Where each level's places lie, once the size of its map is known; none where the network does not know it.
    pub(crate) grids: Vec<Option<Grid>>,
}

impl Levels {
    pub(crate) fn of(network: &dyn Network, target: LayerId) -> Result<Self> {
        let layers = decomposition_layers(network, target)?;
        let grids = layers.iter().map(|level| level.first().and_then(|layer| network.grid(*layer))).collect();
        Ok(Self { layers, grids })
    }
}

/// The maps of every level of one expectation, finest first: the [evidence](Evidence) of its layers, averaged over them.
pub(crate) fn level_maps(paths: &[PathExpectation], levels: &Levels, evidence: Evidence) -> Result<Vec<Tensor>> {
    let mut next = 0;
    let mut maps: Vec<Tensor> = Vec::with_capacity(levels.layers.len());
    for layers in &levels.layers {
        let mut sum: Option<Tensor> = None;
        for place in next..next + layers.len() {
            accumulate(&mut sum, &layer_evidence(paths, place, evidence)?, 1.0)?;
        }
        next += layers.len();
        let sum = sum.ok_or_else(|| Error::internal("a level without layers"))?;
        maps.push((sum / layers.len() as f64)?);
    }
    Ok(maps)
}

/// Part III of Hyper Expected Grad-CAM: injects each level's details into the map of the coarser ones
/// (Buono and Åkesson 2023, 4.8.5).
///
/// `maps` are `(1, h, w)` and signed, finest first as [`decomposition_layers`] names them; `grids` say where their places lie, and
/// where that is not known they divide the input evenly. From the coarsest on, `F <- F + w_i H_i(M_i / s_i)`, with `M_i` the
/// level's map brought to the input's `size` `[height, width]` by straight lines between the centres of its places, `s_i` its standard deviation over pixels (layers differ in units), `H_i` the
/// [filter](DecompositionParameters::filter) and `w_i` the injection's power. A level without contrast adds nothing.
///
/// # Errors
/// [`Error::Shape`] for maps that are not `(1, h, w)`, [`Error::Parameter`] for an injection that is not positive.
pub fn decompose(
    layers: &[Vec<LayerId>],
    maps: &[Tensor],
    grids: &[Option<Grid>],
    size: [usize; 2],
    parameters: &DecompositionParameters,
) -> Result<FrequencyMap> {
    let DecompositionParameters { filter, injection, .. } = *parameters;
    if !(injection > 0.0 && injection.is_finite()) {
        return Err(Error::parameter("injection", format!("{injection} is not positive")));
    }
    let mut levels: Vec<Level> = Vec::with_capacity(maps.len());
    let mut running: Option<Tensor> = None;
    for (place, ((layers, map), known)) in layers.iter().zip(maps).zip(grids).rev().enumerate() {
        let [1, height, width] = *map.dims() else {
            return Err(Error::shape("a level's map", "(1, h, w)", map.dims()));
        };
        let inflate = [size[0] as f64 / height as f64, size[1] as f64 / width as f64];
        let grid = known.unwrap_or_else(|| Grid::even(size, [height, width]));
        let whole = standardised(&placed(map, &grid, size)?)?;
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
        levels.push(Level { layers: layers.clone(), inflate, grid, map: map.clone(), cutoff, detail });
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
        Filter::DifferenceOfGaussians => {
            let outer = sigma_of_cutoff(cutoff);
            difference_of_gaussians(map, &[0.5 * outer.min(1.0), outer])?.swap_remove(1)
        }
        Filter::Gabor => gabor_high_pass(map, cutoff)?,
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
