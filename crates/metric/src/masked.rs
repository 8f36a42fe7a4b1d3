use crate::canvas::{Canvas, values};
use crate::rank::{Cover, Rank};
use candle_core::Tensor;
use faithful_core::{Error, Objective, Result};

/// How a map becomes a mask `T` of the input (thesis Eq. 63-65).
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Masking {
    /// The map scaled to `[0, 1]` by its extremes. A map without contrast hides everything.
    ///
    /// It rewards bright maps: an all-ones mask has no drop at all. Report it beside a percentile mask.
    Soft,
    /// One for the highest share of the cells, in `(0, 1]`, zero elsewhere; ties keep scan order. Equal areas make
    /// methods comparable whatever their calibration.
    Top(f64),
}

/// A network's scores with the mask kept and with the mask removed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Masked {
    /// The score of the whole input, `y`.
    pub original: f64,
    /// The score with only the mask shown, `o`: `f(x * T)`.
    pub kept: f64,
    /// The score with the mask hidden, `d`: `f(x * (1 - T))`.
    pub removed: f64,
}

impl Masked {
    /// Drop (Chattopadhay et al. 2018; Eq. 63): `max(y - o, 0) / |y|`. Lower is better, in `[0, 1]` for probabilities and at
    /// least 0 for activation scores (logits), which may fall below 0.
    pub fn drop(&self) -> f64 {
        ratio((self.original - self.kept).max(0.0), self.original.abs())
    }

    /// Whether the score rises when only the mask is shown; its mean is the increase (ratio) of Eq. 65. Higher is better.
    pub fn increase(&self) -> f64 {
        f64::from(u8::from(self.kept > self.original))
    }

    /// The sign of the change, whose mean is Eq. 64 as it is written: higher is better, in `[-1, 1]`.
    pub fn increase_sign(&self) -> f64 {
        let change = self.kept - self.original;
        if change == 0.0 { 0.0 } else { change.signum() }
    }

    /// Average gain (Zhang et al. 2023): `max(o - y, 0) / (1 - y)` for probabilities. Higher is better, in `[0, 1]`.
    pub fn gain(&self) -> f64 {
        ratio((self.kept - self.original).max(0.0), 1.0 - self.original)
    }

    /// Average drop in deletion (Jung and Oh 2021): `(y - d) / |y|`. Higher is better, at most 1 for probabilities.
    pub fn drop_in_deletion(&self) -> f64 {
        ratio(self.original - self.removed, self.original.abs())
    }
}

fn ratio(numerator: f64, denominator: f64) -> f64 {
    if denominator.abs() < 1e-12 { 0.0 } else { numerator / denominator }
}

/// The mask of a map, one value in `[0, 1]` per cell, in scan order.
///
/// # Errors
/// [`Error::Parameter`] for a share outside `(0, 1]`, [`Error::NotFinite`] where the map has NaN.
pub fn mask_of(map: &Tensor, masking: Masking) -> Result<Vec<f32>> {
    let rank = Rank::of(map)?;
    match masking {
        Masking::Top(share) if share > 0.0 && share <= 1.0 => {
            let count = (share * rank.cells() as f64).round().max(1.0) as usize;
            Ok((0..rank.cells()).map(|cell| f32::from(u8::from(rank.is_top(cell, count)))).collect())
        }
        Masking::Top(share) => Err(Error::parameter("mask share", format!("{share} is outside (0, 1]"))),
        Masking::Soft => {
            let map = values(map)?;
            let low = map.iter().copied().fold(f32::INFINITY, f32::min);
            let high = map.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let range = high - low;
            Ok(map.iter().map(|value| if range > 0.0 { (value - low) / range } else { 0.0 }).collect())
        }
    }
}

/// The scores of `input` `(1, C, …)` under several masks of one map; hidden cells show `canvas`.
///
/// The whole input is evaluated once.
pub fn masked_scores(
    objective: &Objective,
    input: &Tensor,
    map: &Tensor,
    maskings: &[Masking],
    canvas: &Canvas,
) -> Result<Vec<Masked>> {
    let cover = Cover::new(input, map)?;
    let photo = values(input)?;
    let canvas = values(&canvas.paint(input)?)?;
    let blend = |shown: &dyn Fn(usize) -> f32| -> Vec<f32> {
        let pairs = photo.iter().zip(&canvas).enumerate();
        pairs
            .map(|(i, (x, hidden))| {
                let share = shown(i % cover.cells);
                x * share + hidden * (1.0 - share)
            })
            .collect()
    };
    let mut rows = vec![photo.clone()];
    for &masking in maskings {
        let mask = mask_of(map, masking)?;
        rows.push(blend(&|cell| mask[cell]));
        rows.push(blend(&|cell| 1.0 - mask[cell]));
    }
    let mut scores = Vec::with_capacity(rows.len());
    for chunk in rows.chunks(objective.batch().get()) {
        let mut shape = input.dims().to_vec();
        shape[0] = chunk.len();
        let batch = Tensor::from_vec(chunk.concat(), shape, input.device())?.to_dtype(input.dtype())?;
        scores.extend(values(&objective.scores(&batch)?)?.into_iter().map(f64::from));
    }
    let original = scores[0];
    Ok(scores[1..].chunks_exact(2).map(|pair| Masked { original, kept: pair[0], removed: pair[1] }).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Sum;
    use candle_core::Device;
    use faithful_core::Target;

    #[test]
    fn scores_under_masks_are_the_known_sums() {
        let input = Tensor::new(&[[[[4f32, 3.0], [2.0, 1.0]]]], &Device::Cpu).unwrap();
        let map = Tensor::new(&[[3f32, 2.0], [1.0, -1.0]], &Device::Cpu).unwrap();
        let network = Sum::default();
        let objective = Objective::new(&network, &Target::Output(0));
        let all = [Masking::Top(0.5), Masking::Soft];
        let [top, soft] = masked_scores(&objective, &input, &map, &all, &Canvas::Zero).unwrap()[..] else {
            panic!("one result per mask")
        };
        assert_eq!(top, Masked { original: 10.0, kept: 7.0, removed: 3.0 });
        assert!((soft.kept - (4.0 + 3.0 * 0.75 + 2.0 * 0.5)).abs() < 1e-6);
        assert!((top.drop() - 0.3).abs() < 1e-12);
        assert!((top.drop_in_deletion() - 0.7).abs() < 1e-12);
        assert_eq!((top.increase(), top.increase_sign()), (0.0, -1.0));
        assert_eq!(network.0.rows(), 5);
    }

    #[test]
    fn perfect_and_worst_masks_have_the_extreme_scores() {
        let best = Masked { original: 0.5, kept: 0.9, removed: 0.0 };
        assert_eq!((best.drop(), best.increase(), best.drop_in_deletion()), (0.0, 1.0, 1.0));
        assert!((best.gain() - 0.8).abs() < 1e-12);
        let worst = Masked { original: 0.5, kept: 0.0, removed: 0.5 };
        assert_eq!((worst.drop(), worst.increase(), worst.drop_in_deletion()), (1.0, 0.0, 0.0));
    }

    #[test]
    fn activation_scores_below_zero_fall_and_rise_like_others() {
        let negative = Masked { original: -2.0, kept: -5.0, removed: -1.0 };
        assert_eq!((negative.drop(), negative.increase(), negative.drop_in_deletion()), (1.5, 0.0, -0.5));
        let through_zero = Masked { original: 4.0, kept: 5.0, removed: -4.0 };
        assert_eq!((through_zero.drop(), through_zero.increase(), through_zero.drop_in_deletion()), (0.0, 1.0, 2.0));
    }

    #[test]
    fn a_flat_map_hides_everything_and_a_share_is_checked() {
        let flat = Tensor::new(&[[2f32, 2.0]], &Device::Cpu).unwrap();
        assert_eq!(mask_of(&flat, Masking::Soft).unwrap(), [0.0, 0.0]);
        assert_eq!(mask_of(&flat, Masking::Top(0.5)).unwrap(), [1.0, 0.0]);
        assert!(mask_of(&flat, Masking::Top(0.0)).is_err());
        assert!(mask_of(&flat, Masking::Top(1.5)).is_err());
    }
}
