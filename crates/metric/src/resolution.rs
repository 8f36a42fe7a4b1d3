use crate::canvas::finite;
use candle_core::Tensor;
use faithful_core::{Error, Result, mean_ranks};
use std::f64::consts::PI;

/// Into how many regions the shorter side is divided: a VGG's or `ResNet`'s last layer has one place in each.
const REGIONS: f64 = 7.0;

/// Resolution: how much of a map is finer than a seventh of its shorter side, the share of the power of its ranks above half a cycle in
/// that length. In `[0, 1]`: 0 for a map without contrast, next to 0 for what was enlarged smoothly from 7 by 7 places, near 1
/// for a map of single pixels.
///
/// Ranks (ties with their mean) are taken first, so that no monotone change of a map moves it, as none moves insertion and
/// deletion; the spectrum is that of the cosine transform, which continues a map beyond its edges by reflection and so sees no edge
/// there. It tells how fine a map is, not whether what is fine is right.
///
/// # Errors
/// [`Error::Shape`] unless the map has one or two axes, or three of which the first, channels, is summed;
/// [`Error::NotFinite`] where it has NaN or infinity.
pub fn resolution(map: &Tensor) -> Result<f64> {
    let plane = if map.rank() == 3 { map.sum(0)? } else { map.clone() };
    let [height, width] = match *plane.dims() {
        [width] if width > 0 => [1, width],
        [height, width] if height * width > 0 => [height, width],
        _ => return Err(Error::shape("the map", "(H, W), (C, H, W) or (T)", map.dims())),
    };
    let values = finite(&plane)?;
    let ranks = mean_ranks(&values);
    let middle = (ranks.len() as f64 - 1.0) / 2.0;
    let centred: Vec<f64> = ranks.iter().map(|rank| rank - middle).collect();
    let spectrum = along_rows(&transposed(&along_rows(&centred, width), width), height);
    // Half a cycle of the cosine transform's entry `k` is the side over `k`.
    let shorter = if height == 1 { width } else { height.min(width) } as f64;
    let cutoff = REGIONS / shorter;
    let (mut above, mut total) = (0.0, 0.0);
    for (entry, value) in spectrum.iter().enumerate() {
        let (across, down) = ((entry / height) as f64 / width as f64, (entry % height) as f64 / height as f64);
        let power = value * value;
        total += power;
        if across.hypot(down) > cutoff {
            above += power;
        }
    }
    Ok(if total > 0.0 { above / total } else { 0.0 })
}

/// The orthonormal cosine transform (type 2) of each row of `length` values.
fn along_rows(values: &[f64], length: usize) -> Vec<f64> {
    let angles: Vec<f64> = (0..4 * length).map(|step| (PI * step as f64 / (2 * length) as f64).cos()).collect();
    let norm = (2.0 / length as f64).sqrt();
    let row = |row: &[f64]| -> Vec<f64> {
        (0..length)
            .map(|k| {
                let term = |(n, value): (usize, &f64)| value * angles[k * (2 * n + 1) % (4 * length)];
                let sum: f64 = row.iter().enumerate().map(term).sum();
                sum * if k == 0 { norm * 0.5f64.sqrt() } else { norm }
            })
            .collect()
    };
    values.chunks(length).flat_map(row).collect()
}

fn transposed(values: &[f64], width: usize) -> Vec<f64> {
    let height = values.len() / width;
    (0..values.len()).map(|entry| values[entry % height * width + entry / height]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    fn measured(height: usize, width: usize, value: impl Fn(usize, usize) -> f64) -> f64 {
        let values: Vec<f64> = (0..height * width).map(|i| value(i / width, i % width)).collect();
        resolution(&Tensor::from_vec(values, (height, width), &Device::Cpu).unwrap()).unwrap()
    }

    #[test]
    fn single_pixels_are_fine_and_slow_waves_are_not() {
        assert!(measured(56, 42, |y, x| ((y + x) % 2) as f64) > 0.98);
        assert!(measured(56, 42, |y, x| (y as f64 / 56.0 * PI).cos() + (x as f64 / 42.0 * PI).cos()) < 0.02);
        assert_eq!(measured(9, 9, |_, _| 3.0), 0.0);
    }

    #[test]
    fn one_cosine_is_seen_at_its_own_place_whatever_the_maps_unit() {
        // Entry 3 of 64: one and a half cycles, below the limit of three and a half; entry 9 is above it.
        let wave = |k: f64| move |_: usize, x: usize| (PI * k * (2 * x + 1) as f64 / 128.0).cos();
        assert!(measured(64, 64, wave(3.0)) < 0.1 && measured(64, 64, wave(9.0)) > 0.9);
        let plain = measured(64, 64, wave(9.0));
        assert!((measured(64, 64, |y, x| wave(9.0)(y, x).exp()) - plain).abs() < 1e-6);
    }

    #[test]
    fn the_transform_keeps_the_energy() {
        let values: Vec<f64> = (0..35).map(|i| f64::from(i * i % 13)).collect();
        let energy = |values: &[f64]| values.iter().map(|x| x * x).sum::<f64>();
        let spectrum = along_rows(&transposed(&along_rows(&values, 7), 7), 5);
        assert!((energy(&spectrum) - energy(&values)).abs() < 1e-9);
    }
}
