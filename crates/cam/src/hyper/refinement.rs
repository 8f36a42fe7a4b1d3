//! After part IV, for the compact map: how coarse it should be, asked of the network itself.
//!
//! Not in the thesis, and not the default. What a map of fine details keeps of a photo is scattered, which a network takes badly
//! where all else is hidden; a smooth map is the other way round. Which mixture serves depends on the photo, so a few are tried,
//! and the one that explains the network's own answers best is kept. It asks what drop, increase and ADD ask.

use super::decomposition::standardised;
use super::scale::soft_scale;
use candle_core::{DType, Tensor};
use faithful_core::{Error, Objective, Result};
use faithful_frequency::gaussian_blur;

/// How the map of part IV is mixed with its own low frequencies.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Refinement {
    /// Not at all; the default. The map has the [soft scale](soft_scale).
    #[default]
    None,
    /// Always in one way.
    Mixed(Mixture),
    /// In each of these ways, and in none; the network chooses.
    Asked {
        /// What is tried beside the map as it is.
        mixtures: Vec<Mixture>,
        /// Which shares of the most important pixels, in `(0, 1]`, are kept alone, and removed, to see how the score
        /// answers.
        shares: Vec<f64>,
    },
}

/// `(1 - m) F + m G F`, with `F` the map and `G F` what a Gaussian leaves of it, each divided by its standard deviation
/// over pixels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mixture {
    /// The Gaussian's standard deviation in inflate regions of the target layer, above 0.
    pub width: f64,
    /// The share `m` of the low frequencies, in `[0, 1]`.
    pub share: f64,
}

/// How a map's order becomes values in `[0, 1]`: `t / sqrt(1 + t^2)` of `t = k (z - c)`, with `z` the map's standard score,
/// scaled so that the lowest is 0 and the highest 1.
///
/// It is monotone, and saturates so slowly that single precision keeps the order: insertion, deletion and percentile
/// masks, which see only the order of pixels, do not change. A map without contrast becomes zero.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Calibration {
    /// The standard score `c` at which values change most.
    pub centre: f64,
    /// How sharply values change there, `k`, above 0.
    pub steepness: f64,
}

impl Calibration {
    /// From the tightest to the widest. Where the network is asked, the map has the tightest under which the network
    /// still gives [most](Self::ENOUGH) of its score when the photo is multiplied with it; else it has the widest.
    pub const TRIED: [Self; 6] = [
        Self { centre: 2.0, steepness: 4.0 },
        Self { centre: 1.5, steepness: 4.0 },
        Self { centre: 1.0, steepness: 4.0 },
        Self { centre: 0.5, steepness: 4.0 },
        Self { centre: 0.5, steepness: 1.0 },
        Self::WIDEST,
    ];

    /// Steepest where most pixels are.
    pub const WIDEST: Self = Self { centre: 0.0, steepness: 0.5 };

    /// The share of the score, from that of a hidden photo to that of the photo, that is most of it.
    pub const ENOUGH: f64 = 0.9;

    fn apply(self, map: &Tensor) -> Result<Tensor> {
        let values: Vec<f64> = standardised(map)?.to_dtype(DType::F64)?.flatten_all()?.to_vec1()?;
        let mean = values.iter().sum::<f64>() / values.len().max(1) as f64;
        let squash = |score: &f64| {
            let t = self.steepness * (score - mean - self.centre);
            t / (1.0 + t * t).sqrt()
        };
        let squashed: Vec<f64> = values.iter().map(squash).collect();
        let low = squashed.iter().copied().fold(f64::INFINITY, f64::min);
        let range = squashed.iter().copied().fold(f64::NEG_INFINITY, f64::max) - low;
        let scaled = squashed.iter().map(|value| if range > 0.0 { (value - low) / range } else { 0.0 }).collect();
        Ok(Tensor::from_vec(scaled, map.shape(), map.device())?.to_dtype(map.dtype())?)
    }
}

impl Refinement {
    /// Twelve mixtures, and 15, 30 and 50% of pixels.
    pub fn asked() -> Self {
        Self::Asked { mixtures: Self::tried(), shares: vec![0.15, 0.3, 0.5] }
    }

    /// The mixtures that [`Refinement::asked`] tries.
    fn tried() -> Vec<Mixture> {
        let widths = [0.5, 0.75, 1.0];
        let shares = [0.5, 2.0 / 3.0, 0.8, 1.0];
        widths.iter().flat_map(|&width| shares.map(|share| Mixture { width, share })).collect()
    }

    /// How many rows are evaluated.
    pub(crate) fn rows(&self) -> usize {
        match self {
            Self::None | Self::Mixed(_) => 0,
            // Kept and left, per share; then the calibrations beside the hidden and the whole photo.
            Self::Asked { mixtures, shares } => 2 * shares.len() * (mixtures.len() + 1) + Calibration::TRIED.len() + 2,
        }
    }

    fn check(&self) -> Result<()> {
        let (mixtures, shares): (&[Mixture], &[f64]) = match self {
            Self::None => (&[], &[]),
            Self::Mixed(mixture) => (std::slice::from_ref(mixture), &[]),
            Self::Asked { mixtures, shares } => (mixtures, shares),
        };
        for Mixture { width, share } in mixtures {
            if !(*width > 0.0 && width.is_finite()) {
                return Err(Error::parameter("refinement width", format!("{width} is not above 0")));
            }
            if !(0.0..=1.0).contains(share) {
                return Err(Error::parameter("refinement share", format!("{share} is outside [0, 1]")));
            }
        }
        match shares.iter().find(|share| !(**share > 0.0 && **share <= 1.0)) {
            Some(share) => Err(Error::parameter("refinement shares", format!("{share} is outside (0, 1]"))),
            None => Ok(()),
        }
    }
}

/// What the refinement came to.
#[derive(Clone, Debug)]
pub struct Refined {
    /// `(1, H, W)`: the map, without a unit.
    pub map: Tensor,
    /// `(1, H, W)`: the explanation, in `(-1, 1)` on the soft scale, in `[0, 1]` where the network was asked.
    pub calibrated: Tensor,
    /// How it was calibrated where the network was asked; none where it has the [soft scale](soft_scale).
    pub calibration: Option<Calibration>,
    /// The mixture it is; none where the map stayed as it was.
    pub mixture: Option<Mixture>,
    /// What was tried and how much each explains: the score of what is kept minus the score of what is left, summed over
    /// the shares. The first is the map as it is.
    pub tried: Vec<(Option<Mixture>, f64)>,
}

/// The inputs that the network is evaluated on.
pub(crate) struct Scorer<'a> {
    /// The network with the score that counts: a probability, where there are several classes.
    pub(crate) objective: Objective<'a>,
    /// `(1, C, H, W)`.
    pub(crate) input: &'a Tensor,
    /// `(1, C, H, W)`: what stands where pixels are hidden.
    pub(crate) hidden: &'a Tensor,
}

/// Mixes `map` `(1, H, W)`, with `inflate` pixels of the input per place of the target layer, as `refinement` says.
///
/// # Errors
/// [`Error::Parameter`] for invalid widths and shares.
pub(crate) fn refine(scorer: &Scorer<'_>, map: &Tensor, inflate: [f64; 2], refinement: &Refinement) -> Result<Refined> {
    refinement.check()?;
    let pixels = (inflate[0] * inflate[1]).sqrt();
    let whole = standardised(map)?;
    let mixed = |Mixture { width, share }: Mixture| -> Result<Tensor> {
        let low = standardised(&gaussian_blur(map, width * pixels)?)?;
        Ok(((&whole * (1.0 - share))? + (low * share)?)?)
    };
    let kept = |map: Tensor, mixture| {
        Ok(Refined { calibrated: soft_scale(&map)?, map, calibration: None, mixture, tried: Vec::new() })
    };
    match refinement {
        Refinement::None => kept(map.clone(), None),
        Refinement::Mixed(mixture) => kept(mixed(*mixture)?, Some(*mixture)),
        Refinement::Asked { mixtures, shares } => {
            let mut candidates = vec![(None, whole.clone())];
            for &mixture in mixtures {
                candidates.push((Some(mixture), mixed(mixture)?));
            }
            let gains = scorer.gains(candidates.iter().map(|(_, map)| map), shares)?;
            // The first of equals: the finest.
            let best = (0..gains.len()).fold(0, |best, at| if gains[at] > gains[best] { at } else { best });
            let tried = candidates.iter().zip(&gains).map(|((mixture, _), gain)| (*mixture, *gain)).collect();
            let (mixture, map) = candidates.swap_remove(best);
            let (calibrated, calibration) = scorer.calibrate(&map)?;
            Ok(Refined { map, calibrated, calibration: Some(calibration), mixture, tried })
        }
    }
}

impl Scorer<'_> {
    /// Per map, the score of what its highest places keep minus the score of what they leave, summed over `shares`.
    fn gains<'t>(&self, maps: impl Iterator<Item = &'t Tensor>, shares: &[f64]) -> Result<Vec<f64>> {
        let (_, _, height, width) = self.input.dims4()?;
        let cells = height * width;
        // One map's masks at a time are in memory, besides those of the batch under way: of all maps, they would take
        // hundreds of times the photo.
        let of_map = |map: &Tensor| -> Result<Vec<Vec<f32>>> {
            let values: Vec<f64> = map.to_dtype(DType::F64)?.flatten_all()?.to_vec1()?;
            let mut order: Vec<u32> = (0..cells as u32).collect();
            order.sort_by(|&a, &b| values[b as usize].total_cmp(&values[a as usize]).then(a.cmp(&b)));
            let kept = shares.iter().map(|share| {
                let count = ((share * cells as f64).round() as usize).clamp(1, cells);
                let mut mask = vec![0.0; cells];
                order[..count].iter().for_each(|&cell| mask[cell as usize] = 1.0);
                mask
            });
            Ok(kept.flat_map(|mask| [mask.iter().map(|kept| 1.0 - kept).collect(), mask].into_iter().rev()).collect())
        };
        let scores = self.masked(maps.map(of_map))?;
        let gain = |scores: &[f64]| scores.chunks_exact(2).map(|pair| pair[0] - pair[1]).sum();
        Ok(scores.chunks((2 * shares.len()).max(1)).map(gain).collect())
    }

    /// The tightest map that keeps most of the score.
    fn calibrate(&self, map: &Tensor) -> Result<(Tensor, Calibration)> {
        let maps = Calibration::TRIED.iter().map(|calibration| calibration.apply(map)).collect::<Result<Vec<_>>>()?;
        let (_, _, height, width) = self.input.dims4()?;
        let cells = height * width;
        let ends = [0f32, 1.0].map(|kept| Ok(vec![vec![kept; cells]]));
        let tried = maps.iter().map(|map| Ok(vec![map.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?]));
        let scores = self.masked(ends.into_iter().chain(tried))?;
        let enough = scores[0] + Calibration::ENOUGH * (scores[1] - scores[0]);
        let tightest = scores[2..].iter().position(|score| *score >= enough).unwrap_or(maps.len() - 1);
        Ok((maps[tightest].clone(), Calibration::TRIED[tightest]))
    }

    /// The scores of the input under masks, one value per cell and mask; they come in sets, and go through the network
    /// as many at a time as its batch allows.
    fn masked(&self, sets: impl Iterator<Item = Result<Vec<Vec<f32>>>>) -> Result<Vec<f64>> {
        let (_, _, height, width) = self.input.dims4()?;
        let difference = (self.input - self.hidden)?;
        let batch = self.objective.batch().get();
        let mut scores = Vec::new();
        let mut score = |group: Vec<f32>| -> Result<()> {
            let shape = (group.len() / (height * width), 1, height, width);
            let masks = Tensor::from_vec(group, shape, self.input.device())?.to_dtype(self.input.dtype())?;
            let points = masks.broadcast_mul(&difference)?.broadcast_add(self.hidden)?;
            scores.extend(self.objective.scores(&points)?.to_dtype(DType::F64)?.to_vec1::<f64>()?);
            Ok(())
        };
        let (mut group, mut rows) = (Vec::new(), 0);
        for set in sets {
            for mask in set? {
                group.extend(mask);
                rows += 1;
                if rows == batch {
                    score(std::mem::take(&mut group))?;
                    rows = 0;
                }
            }
        }
        if rows > 0 {
            score(group)?;
        }
        Ok(scores)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;
    use faithful_core::{CandleModel, CandleNetwork, LayerInfo, Probe, Target};

    /// Its only output is the mean of the first row.
    struct FirstRow;

    impl CandleModel for FirstRow {
        fn layers(&self) -> &[LayerInfo] {
            &[]
        }

        fn forward(&self, input: &Tensor, _: &mut dyn Probe) -> Result<Tensor> {
            Ok(input.narrow(2, 0, 1)?.flatten_from(1)?.mean_keepdim(1)?)
        }
    }

    fn judged(map: &Tensor, refinement: &Refinement) -> Result<Refined> {
        let input = Tensor::ones((1, 1, 8, 8), DType::F32, &Device::Cpu).unwrap();
        let hidden = input.zeros_like().unwrap();
        let score = Target::Output(0);
        let objective = Objective::new(&CandleNetwork(FirstRow), &score);
        refine(&Scorer { objective, input: &input, hidden: &hidden }, map, [2.0, 2.0], refinement)
    }

    fn map(value: impl Fn(usize, usize) -> f64) -> Tensor {
        let values: Vec<f64> = (0..64).map(|cell| value(cell / 8, cell % 8)).collect();
        Tensor::from_vec(values, (1, 8, 8), &Device::Cpu).unwrap()
    }

    #[test]
    fn a_map_that_explains_all_stays() {
        let perfect = map(|row, _| f64::from(u8::from(row == 0)));
        let asked = Refinement::Asked { mixtures: Refinement::tried(), shares: vec![0.125] };
        let refined = judged(&perfect, &asked).unwrap();
        assert_eq!((refined.mixture, refined.tried[0].1), (None, 1.0));
        assert_eq!(refined.tried.len(), 13);
    }

    #[test]
    fn scattered_evidence_is_gathered() {
        // Every other pixel of the first row, and one that stands out far from it.
        let scattered = map(|row, column| match (row, column) {
            (0, column) if column % 2 == 0 => 1.0,
            (0, _) => -0.01,
            (5, 4) => 1.2,
            _ => 0.0,
        });
        let asked = Refinement::Asked { mixtures: vec![Mixture { width: 0.5, share: 1.0 }], shares: vec![0.125] };
        let refined = judged(&scattered, &asked).unwrap();
        assert!(refined.mixture.is_some(), "{:?}", refined.tried);
        assert!(refined.tried[1].1 > refined.tried[0].1);
    }

    #[test]
    fn one_mixture_asks_nothing() {
        let some = map(|row, column| (row * 3 + column) as f64);
        let mixture = Mixture { width: 1.0, share: 1.0 };
        let refined = judged(&some, &Refinement::Mixed(mixture)).unwrap();
        assert!(refined.tried.is_empty() && refined.mixture == Some(mixture));
        let low = standardised(&gaussian_blur(&some, 2.0).unwrap()).unwrap();
        let far = (refined.map - low).unwrap().abs().unwrap().max_all().unwrap().to_scalar::<f64>().unwrap();
        assert!(far < 1e-12);
        assert_eq!(judged(&some, &Refinement::None).unwrap().mixture, None);
    }

    #[test]
    fn a_map_is_as_tight_as_the_network_allows() {
        // The network sees the first row alone, so the tightest map that has all of it serves.
        let perfect = map(|row, column| if row == 0 { 1.0 } else { 0.001 * column as f64 });
        let refined = judged(&perfect, &Refinement::asked()).unwrap();
        assert_eq!(refined.calibration, Some(Calibration::TRIED[0]));
        let values: Vec<f64> = refined.calibrated.flatten_all().unwrap().to_vec1().unwrap();
        assert!(values[..8].iter().all(|value| *value > 0.99) && values[8..].iter().all(|value| *value < 0.01));
        // A map that points elsewhere keeps nothing, whatever its calibration.
        let wrong = judged(&map(|row, _| row as f64), &Refinement::asked()).unwrap();
        assert_eq!(wrong.calibration, Some(Calibration::WIDEST));
        let flat = judged(&map(|_, _| 3.0), &Refinement::None).unwrap();
        assert_eq!(flat.calibration, None);
        assert_eq!(flat.calibrated.abs().unwrap().max_all().unwrap().to_scalar::<f64>().unwrap(), 0.0);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let some = map(|row, _| row as f64);
        for (width, share) in [(0.0, 0.5), (f64::NAN, 0.5), (1.0, 1.5), (1.0, -0.1)] {
            assert!(judged(&some, &Refinement::Mixed(Mixture { width, share })).is_err());
        }
        assert!(judged(&some, &Refinement::Asked { mixtures: Vec::new(), shares: vec![0.0] }).is_err());
    }
}
