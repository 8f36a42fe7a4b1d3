use crate::canvas::values;
use candle_core::Tensor;
use faithful_core::{Error, Result};

/// The share of a map's positive part that lies inside `mask`, one flag per cell in scan order: the energy-based
/// pointing game (Wang et al. 2020). Higher is better, in `[0, 1]`; 0 where the map has no positive part.
///
/// # Errors
/// [`Error::Shape`] where mask and map differ in size, [`Error::Parameter`] for an empty mask: there is nothing to find
/// (Quantus 0.6 gives NaN, which other code then counts as a hit).
pub fn energy_inside(map: &Tensor, mask: &[bool]) -> Result<f64> {
    let map = checked(map, mask)?;
    let positive = |value: &f32| f64::from(value.max(0.0));
    let total: f64 = map.iter().map(positive).sum();
    let inside: f64 = map.iter().zip(mask).filter(|(_, inside)| **inside).map(|(value, _)| positive(value)).sum();
    Ok(if total > 0.0 { inside / total } else { 0.0 })
}

/// Whether a highest cell of the map lies inside `mask` (Zhang et al. 2018). 1 is a hit, 0 a miss; a map without any
/// contrast points nowhere and misses.
///
/// # Errors
/// As [`energy_inside`].
pub fn pointing_game(map: &Tensor, mask: &[bool]) -> Result<f64> {
    let map = checked(map, mask)?;
    let highest = map.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let lowest = map.iter().copied().fold(f32::INFINITY, f32::min);
    let hit = map.iter().zip(mask).any(|(value, inside)| *inside && *value == highest);
    Ok(f64::from(u8::from(hit && highest > lowest)))
}

/// Intersection over union of `mask` and the cells above `threshold`, a share of the map's range. Higher is better, in
/// `[0, 1]`.
///
/// # Errors
/// As [`energy_inside`].
pub fn intersection_over_union(map: &Tensor, mask: &[bool], threshold: f64) -> Result<f64> {
    let map = checked(map, mask)?;
    Ok(overlap(&map, mask, threshold))
}

/// The best [`intersection_over_union`] over the thresholds 0.01, 0.02 … 0.99, and that threshold.
///
/// # Errors
/// As [`energy_inside`].
pub fn best_intersection_over_union(map: &Tensor, mask: &[bool]) -> Result<(f64, f64)> {
    let map = checked(map, mask)?;
    let all = (1..100).map(|percent| f64::from(percent) / 100.0).map(|t| (overlap(&map, mask, t), t));
    Ok(all.fold((0.0, 0.01), |best, next| if next.0 > best.0 { next } else { best }))
}

fn overlap(map: &[f32], mask: &[bool], threshold: f64) -> f64 {
    let low = map.iter().copied().fold(f32::INFINITY, f32::min);
    let high = map.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    if high <= low {
        return 0.0;
    }
    let bound = f64::from(low) + threshold * f64::from(high - low);
    let (mut both, mut either) = (0usize, 0usize);
    for (value, inside) in map.iter().zip(mask) {
        let above = f64::from(*value) > bound;
        both += usize::from(above && *inside);
        either += usize::from(above || *inside);
    }
    both as f64 / either.max(1) as f64
}

fn checked(map: &Tensor, mask: &[bool]) -> Result<Vec<f32>> {
    let map = values(map)?;
    if map.len() != mask.len() {
        return Err(Error::shape("the mask", format!("{} cells, as the map", map.len()), &[mask.len()]));
    }
    if !mask.contains(&true) {
        return Err(Error::parameter("mask", "it is empty, so there is nothing to find"));
    }
    if let Some(cell) = map.iter().position(|value| !value.is_finite()) {
        return Err(Error::NotFinite { what: "the map".into(), place: Some(format!("cell {cell}")) });
    }
    Ok(map)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    fn map(values: &[f32]) -> Tensor {
        Tensor::new(values, &Device::Cpu).unwrap()
    }

    const MASK: [bool; 4] = [true, true, false, false];

    #[test]
    fn a_perfect_map_scores_one_and_an_opposite_map_zero() {
        let perfect = map(&[1.0, 1.0, 0.0, 0.0]);
        assert_eq!(energy_inside(&perfect, &MASK).unwrap(), 1.0);
        assert_eq!(pointing_game(&perfect, &MASK).unwrap(), 1.0);
        assert_eq!(intersection_over_union(&perfect, &MASK, 0.5).unwrap(), 1.0);
        assert_eq!(best_intersection_over_union(&perfect, &MASK).unwrap().0, 1.0);
        let opposite = map(&[0.0, 0.0, 1.0, 1.0]);
        assert_eq!(energy_inside(&opposite, &MASK).unwrap(), 0.0);
        assert_eq!(pointing_game(&opposite, &MASK).unwrap(), 0.0);
        assert_eq!(intersection_over_union(&opposite, &MASK, 0.5).unwrap(), 0.0);
    }

    #[test]
    fn negative_values_carry_no_energy_and_a_flat_map_points_nowhere() {
        assert_eq!(energy_inside(&map(&[3.0, -9.0, 1.0, 0.0]), &MASK).unwrap(), 0.75);
        assert_eq!(pointing_game(&map(&[1.0; 4]), &MASK).unwrap(), 0.0);
        assert_eq!(energy_inside(&map(&[0.0; 4]), &MASK).unwrap(), 0.0);
    }

    #[test]
    fn an_empty_mask_and_another_size_are_errors() {
        assert!(energy_inside(&map(&[1.0; 4]), &[false; 4]).is_err());
        assert!(pointing_game(&map(&[1.0; 3]), &MASK).is_err());
    }
}
