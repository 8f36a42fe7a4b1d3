use crate::canvas::values;
use crate::imputation::{Grid, Holes};
use crate::rank::{Cover, Rank};
use candle_core::Tensor;
use faithful_core::{Error, Objective, Result, Stream};
use rand::Rng;
use rand_distr::StandardNormal;
use rayon::prelude::*;

/// Which cells a percentile takes away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removal {
    /// Exactly that share of the cells, ties in scan order as [`Rank`] has them: every map loses the same area.
    Area,
    /// Every cell at or above the map's percentile as numpy interpolates it, ties together (`pytorch-grad-cam`). Least
    /// relevant first does the same with one minus the map. A map with many equal cells loses more than the percentage.
    Threshold,
}

/// The parameters of [`road`].
#[derive(Clone, Debug)]
pub struct Road {
    /// The percentiles, each in `(0, 100)`: at `p` the upper `100 - p` percent of the cells are removed.
    pub percentiles: Vec<f64>,
    /// The standard deviation of the noise on imputed values, in the network's input space. Without it a network could
    /// tell imputed cells by their smoothness.
    pub noise: f64,
    /// Which cells a percentile takes away.
    pub removal: Removal,
}

impl Default for Road {
    /// 10, 20 … 90 percent and noise 0.01, as the authors and `pytorch-grad-cam`; equal areas.
    fn default() -> Self {
        Self { percentiles: (1..10).map(|tenth| f64::from(10 * tenth)).collect(), noise: 0.01, removal: Removal::Area }
    }
}

/// The scores that [`road`] saw.
#[derive(Clone, Debug, PartialEq)]
pub struct RoadScores {
    /// The score of the whole input.
    pub original: f64,
    /// Per percentile, the score without the most relevant cells.
    pub most_relevant_first: Vec<f64>,
    /// Per percentile, the score without the least relevant cells.
    pub least_relevant_first: Vec<f64>,
}

impl RoadScores {
    /// `MoRF`: the mean change of the score when the most relevant cells go. Lower is better, in `[-1, 1]` for
    /// probabilities.
    pub fn morf(&self) -> f64 {
        mean(&self.most_relevant_first) - self.original
    }

    /// `LeRF`: the mean change of the score when the least relevant cells go. Higher is better, in `[-1, 1]` for
    /// probabilities.
    pub fn lerf(&self) -> f64 {
        mean(&self.least_relevant_first) - self.original
    }

    /// `(LeRF - MoRF) / 2`: higher is better, in `[-0.5, 0.5]` for probabilities; 0 for a map that says nothing.
    pub fn combined(&self) -> f64 {
        (mean(&self.least_relevant_first) - mean(&self.most_relevant_first)) / 2.0
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

/// ROAD, remove and debias (Rong et al. 2022): the score after the most and the least relevant cells were removed and
/// imputed from their neighbours, so that the shape of the removed area tells the network nothing.
///
/// `input` is one image or series `(1, C, …)` with one or two spatial axes; `map` has its cells `(…)`, which go in all
/// channels together, or its entries `(C, …)`. The noise of the `i`-th picture is draw `i` of `stream`.
///
/// # Errors
/// [`Error::Shape`] where map and input do not fit, [`Error::NotFinite`] where one of them has NaN or infinity,
/// [`Error::Parameter`] for a percentile outside `(0, 100)`, none at all, or a negative noise.
pub fn road(
    objective: &Objective,
    input: &Tensor,
    map: &Tensor,
    parameters: &Road,
    stream: &Stream,
) -> Result<RoadScores> {
    let Road { percentiles, noise, removal } = parameters;
    if percentiles.is_empty() || percentiles.iter().any(|percentile| !(*percentile > 0.0 && *percentile < 100.0)) {
        return Err(Error::parameter("ROAD percentiles", format!("{percentiles:?}: at least one, all in (0, 100)")));
    }
    if !noise.is_finite() || *noise < 0.0 {
        return Err(Error::parameter("ROAD noise", format!("{noise}: a finite number of at least 0 is needed")));
    }
    let grid = match *input.dims() {
        [_, _, height, width] if height * width > 0 => Grid { height, width },
        [_, _, width] if width > 0 => Grid { height: 1, width },
        _ => return Err(Error::shape("ROAD's input", "(1, C, H, W) or (1, C, T)", input.dims())),
    };
    let cover = Cover::new(input, map)?;
    let order = Order { rank: Rank::of(map)?, map: values(map)?, removal: *removal };
    let photo = values(input)?;
    if let Some(entry) = photo.iter().position(|value| !value.is_finite()) {
        return Err(Error::NotFinite { what: "the explained input".into(), place: Some(format!("entry {entry}")) });
    }
    let most = percentiles.iter().map(|percentile| order.removed(*percentile, false));
    let least = percentiles.iter().map(|percentile| order.removed(*percentile, true));
    let mut pictures = vec![vec![false; cover.cells]];
    pictures.extend(most.chain(least));

    let mut scores = Vec::with_capacity(pictures.len());
    let batch = objective.batch().get();
    for (chunk, start) in pictures.chunks(batch).zip((0..).step_by(batch)) {
        let rows = chunk.par_iter().enumerate();
        let rows = rows.map(|(index, removed)| imputed(&photo, removed, grid, *noise, stream, start + index));
        let rows = rows.collect::<Vec<_>>().concat();
        let mut shape = input.dims().to_vec();
        shape[0] = chunk.len();
        let rows = Tensor::from_vec(rows, shape, input.device())?.to_dtype(input.dtype())?;
        scores.extend(values(&objective.scores(&rows)?)?.into_iter().map(f64::from));
    }
    let (most, least) = scores[1..].split_at(percentiles.len());
    Ok(RoadScores { original: scores[0], most_relevant_first: most.to_vec(), least_relevant_first: least.to_vec() })
}

struct Order {
    rank: Rank,
    map: Vec<f32>,
    removal: Removal,
}

impl Order {
    /// The cells that go at `percentile`: the most relevant, or the `least`.
    fn removed(&self, percentile: f64, least: bool) -> Vec<bool> {
        let cells = self.map.len();
        match self.removal {
            Removal::Area => {
                let count = ((1.0 - percentile / 100.0) * cells as f64).round() as usize;
                let is_removed = |cell| {
                    if least { !self.rank.is_top(cell, cells - count) } else { self.rank.is_top(cell, count) }
                };
                (0..cells).map(is_removed).collect()
            }
            Removal::Threshold => {
                let order: Vec<f32> = self.map.iter().map(|value| if least { 1.0 - value } else { *value }).collect();
                let threshold = quantile(&order, percentile / 100.0);
                order.iter().map(|value| f64::from(*value) >= threshold).collect()
            }
        }
    }
}

/// The value below which the share `q` lies, interpolated between neighbours as numpy does by default.
fn quantile(values: &[f32], q: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f32::total_cmp);
    let place = q * (sorted.len() - 1) as f64;
    let (low, high) = (f64::from(sorted[place.floor() as usize]), f64::from(sorted[place.ceil() as usize]));
    low + (high - low) * place.fract()
}

/// `photo` with its `removed` cells imputed. Where a map has entries, `removed` has one flag per entry.
fn imputed(photo: &[f32], removed: &[bool], grid: Grid, noise: f64, stream: &Stream, picture: usize) -> Vec<f32> {
    let cells = grid.height * grid.width;
    let mut generator = stream.draw(picture);
    let mut row = Vec::with_capacity(photo.len());
    let holes: Vec<Holes> = removed.chunks_exact(cells).map(|removed| Holes::new(removed, grid)).collect();
    for (channel, plane) in photo.chunks_exact(cells).enumerate() {
        let removed = &removed[channel * cells % removed.len()..][..cells];
        let mut plane: Vec<f64> = plane.iter().map(|value| f64::from(*value)).collect();
        holes[channel % holes.len()].fill(&mut plane);
        row.extend(plane.iter().zip(removed).map(|(value, removed)| {
            let added = if *removed && noise > 0.0 { noise * generator.sample::<f64, _>(StandardNormal) } else { 0.0 };
            (value + added) as f32
        }));
    }
    row
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Sum;
    use candle_core::Device;
    use faithful_core::Target;

    fn run(map: &Tensor, parameters: &Road) -> Result<RoadScores> {
        let network = Sum::default();
        let objective = Objective::new(&network, &Target::Output(0));
        road(&objective, &bright_corner(), map, parameters, &Stream::new(3, "road"))
    }

    /// Ten bright cells of a hundred.
    fn bright_corner() -> Tensor {
        let values: Vec<f32> = (0..100).map(|cell| if cell < 10 { 1.0 } else { 0.0 }).collect();
        Tensor::from_vec(values, (1, 1, 10, 10), &Device::Cpu).unwrap()
    }

    fn silent(percentiles: &[f64]) -> Road {
        Road { percentiles: percentiles.to_vec(), noise: 0.0, ..Road::default() }
    }

    #[test]
    fn a_perfect_and_a_worst_map_have_the_known_scores() {
        let perfect = bright_corner().reshape((10, 10)).unwrap();
        for removal in [Removal::Area, Removal::Threshold] {
            let parameters = Road { removal, ..silent(&[90.0]) };
            let scores = run(&perfect, &parameters).unwrap();
            // Without the bright cells everything is dark; with nothing but them everything becomes bright.
            assert_eq!(scores.original, 10.0);
            assert!(scores.most_relevant_first[0].abs() < 1e-4, "{scores:?}");
            if removal == Removal::Area {
                // The least relevant tenth is dark cells among dark cells.
                assert!((scores.least_relevant_first[0] - 10.0).abs() < 1e-4, "{scores:?}");
                assert!((scores.combined() - 5.0).abs() < 1e-4);
            } else {
                // All dark cells tie, so they go together.
                assert!((scores.least_relevant_first[0] - 100.0).abs() < 1e-3, "{scores:?}");
                assert!((scores.morf() + 10.0).abs() < 1e-4 && (scores.lerf() - 90.0).abs() < 1e-3);
            }
        }
        // The opposite map first removes the dark row below the bright one, which becomes their mean.
        let scores = run(&perfect.neg().unwrap(), &silent(&[90.0])).unwrap();
        assert!((scores.most_relevant_first[0] - 15.0).abs() < 1e-4, "{scores:?}");
        assert!((scores.combined() + 7.5).abs() < 1e-4, "{scores:?}");
    }

    #[test]
    fn noise_is_the_streams_and_only_on_removed_cells() {
        let map = bright_corner().reshape((10, 10)).unwrap();
        let noisy = Road { percentiles: vec![90.0], ..Road::default() };
        let scores = run(&map, &noisy).unwrap();
        assert_eq!(scores, run(&map, &noisy).unwrap());
        assert_eq!(scores.original, 10.0);
        // Ten values of deviation 0.01.
        assert!(scores.most_relevant_first[0] != 0.0 && scores.most_relevant_first[0].abs() < 0.2, "{scores:?}");
    }

    #[test]
    fn a_flat_map_of_threshold_loses_everything_and_of_area_its_share() {
        let flat = Tensor::ones((10, 10), candle_core::DType::F32, &Device::Cpu).unwrap();
        let scores = run(&flat, &Road { removal: Removal::Threshold, ..silent(&[50.0]) }).unwrap();
        // Nothing is known, so all is the mean.
        assert!((scores.most_relevant_first[0] - 10.0).abs() < 1e-4 && scores.combined().abs() < 1e-6, "{scores:?}");
        let scores = run(&flat, &silent(&[50.0])).unwrap();
        assert!(scores.most_relevant_first[0].abs() < 1e-4, "{scores:?}");
    }

    #[test]
    fn entries_and_series_are_imputed_alone() {
        let network = Sum::default();
        let objective = Objective::new(&network, &Target::Output(0));
        let input = Tensor::new(&[[[1f32, 5.0, 3.0], [7.0, 7.0, 7.0]]], &Device::Cpu).unwrap();
        let map = Tensor::new(&[[0f32, 9.0, 0.0], [0.0, 0.0, 0.0]], &Device::Cpu).unwrap();
        let parameters = silent(&[80.0]);
        let scores = road(&objective, &input, &map, &parameters, &Stream::new(0, "")).unwrap();
        // 5 becomes the mean of 1 and 3.
        assert!((scores.most_relevant_first[0] - 27.0).abs() < 1e-5, "{scores:?}");
        assert!((scores.original - 30.0).abs() < 1e-5);
    }

    #[test]
    fn wrong_parameters_are_errors() {
        let map = bright_corner().reshape((10, 10)).unwrap();
        for percentiles in [vec![], vec![0.0], vec![100.0], vec![f64::NAN]] {
            assert!(run(&map, &Road { percentiles, ..Road::default() }).is_err());
        }
        assert!(run(&map, &Road { noise: -1.0, ..Road::default() }).is_err());
        assert!(run(&Tensor::zeros((3, 3), candle_core::DType::F32, &Device::Cpu).unwrap(), &Road::default()).is_err());
    }
}
