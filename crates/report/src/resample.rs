use crate::Map;
use faithful_core::{Error, Result};
use std::ops::Range;

/// The rectangle of a photo that a network saw, in the photo's pixels; it may begin and end between pixels, and reach
/// beyond the photo where the input was padded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Region {
    /// Distance of the left edge from the photo's.
    pub left: f64,
    /// Distance of the upper edge from the photo's.
    pub top: f64,
    /// Width; above 0.
    pub width: f64,
    /// Height; above 0.
    pub height: f64,
}

/// A map at a photo's resolution, for the pixels whose centres lie in the region.
#[derive(Clone, Debug, PartialEq)]
pub struct Resampled {
    /// The columns of the photo that are covered.
    pub columns: Range<usize>,
    /// The rows of the photo that are covered.
    pub rows: Range<usize>,
    /// One value per covered pixel, row after row.
    pub values: Vec<f32>,
}

/// Brings a map that covers `region` of a photo to the photo's pixels.
///
/// Cells are areas, not points (half-pixel centres): the map's left edge is the region's left edge. Enlarging is
/// bilinear, and the outer half of a border cell has the cell's value; reducing averages with the triangle filter
/// stretched by the factor, so that no cell is skipped.
///
/// # Errors
/// [`Error::Parameter`] when the region is empty, not finite or beside the photo.
pub fn resample(map: &Map, region: Region, photo: (u32, u32)) -> Result<Resampled> {
    let columns = Axis::new(photo.0 as usize, region.left, region.width, map.width())?;
    let rows = Axis::new(photo.1 as usize, region.top, region.height, map.height())?;
    let mut narrow = vec![0f32; map.height() * columns.taps.len()];
    for (source, target) in map.values().chunks_exact(map.width()).zip(narrow.chunks_exact_mut(columns.taps.len())) {
        for (value, taps) in target.iter_mut().zip(&columns.taps) {
            *value = taps.weights.iter().zip(&source[taps.first..]).map(|(weight, cell)| weight * cell).sum();
        }
    }
    let mut values = vec![0f32; rows.taps.len() * columns.taps.len()];
    for (target, taps) in values.chunks_exact_mut(columns.taps.len()).zip(&rows.taps) {
        let sources = narrow.chunks_exact(columns.taps.len()).skip(taps.first);
        for (weight, source) in taps.weights.iter().zip(sources) {
            for (value, cell) in target.iter_mut().zip(source) {
                *value += weight * cell;
            }
        }
    }
    Ok(Resampled { columns: columns.pixels, rows: rows.pixels, values })
}

/// What one pixel takes: weights of the cells from `first` on, which sum to 1.
struct Taps {
    first: usize,
    weights: Vec<f32>,
}

struct Axis {
    pixels: Range<usize>,
    taps: Vec<Taps>,
}

impl Axis {
    fn new(length: usize, start: f64, extent: f64, cells: usize) -> Result<Self> {
        let wrong = |reason: &str| {
            let place = format!("from {start} over {extent} on a side of {length} pixels");
            Err(Error::parameter("region", format!("{reason}: {place}")))
        };
        if !(start.is_finite() && extent.is_finite() && extent > 0.0) {
            return wrong("it must be finite and not empty");
        }
        let inside = |edge: f64| (edge - 0.5).ceil().clamp(0.0, length as f64) as usize;
        let pixels = inside(start)..inside(start + extent);
        if pixels.is_empty() {
            return wrong("no pixel of the photo lies in it");
        }
        let cells_per_pixel = cells as f64 / extent;
        let reach = cells_per_pixel.max(1.0);
        let taps = pixels
            .clone()
            .map(|pixel| {
                let centre = (pixel as f64 + 0.5 - start) * cells_per_pixel - 0.5;
                let last = (cells - 1) as f64;
                let first = (centre - reach).floor().clamp(0.0, last) as usize;
                let end = (centre + reach).ceil().clamp(0.0, last) as usize;
                let mut weights: Vec<f32> =
                    (first..=end).map(|cell| (1.0 - (cell as f64 - centre).abs() / reach).max(0.0) as f32).collect();
                let sum: f32 = weights.iter().sum();
                for weight in &mut weights {
                    *weight /= sum;
                }
                Taps { first, weights }
            })
            .collect();
        Ok(Self { pixels, taps })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(width: f64, height: f64) -> Region {
        Region { left: 0.0, top: 0.0, width, height }
    }

    #[test]
    fn enlarging_is_bilinear_with_half_pixel_centres() {
        let map = Map::new(1, 2, vec![0.0, 8.0]).unwrap();
        let result = resample(&map, whole(8.0, 1.0), (8, 1)).unwrap();
        // torch.nn.functional.interpolate(size=(1, 8), mode="bilinear", align_corners=False) gives the same.
        assert_eq!(result.values, [0.0, 0.0, 1.0, 3.0, 5.0, 7.0, 8.0, 8.0]);
        let map = Map::new(2, 2, vec![0.0, 4.0, 8.0, 12.0]).unwrap();
        let result = resample(&map, whole(4.0, 4.0), (4, 4)).unwrap();
        let expected = [0., 1., 3., 4., 2., 3., 5., 6., 6., 7., 9., 10., 8., 9., 11., 12.];
        assert_eq!(result.values, expected);
    }

    #[test]
    fn only_pixels_with_their_centre_in_the_region_are_covered() {
        let map = Map::new(1, 1, vec![3.0]).unwrap();
        let region = Region { left: 1.4, top: 2.0, width: 3.2, height: 2.5 };
        let result = resample(&map, region, (10, 10)).unwrap();
        assert_eq!((result.columns, result.rows), (1..5, 2..4));
        assert_eq!(result.values, [3.0; 8]);
    }

    #[test]
    fn a_region_beyond_the_photo_keeps_its_geometry() {
        // Four cells over 8 pixels, of which the photo has the middle four: the second and third cell.
        let map = Map::new(1, 4, vec![0.0, 4.0, 8.0, 12.0]).unwrap();
        let region = Region { left: -2.0, top: 0.0, width: 8.0, height: 1.0 };
        let result = resample(&map, region, (4, 1)).unwrap();
        assert_eq!(result.columns, 0..4);
        assert_eq!(result.values, [3.0, 5.0, 7.0, 9.0]);
    }

    #[test]
    fn reducing_averages_and_keeps_constants() {
        let map = Map::new(1, 8, vec![0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0]).unwrap();
        let result = resample(&map, whole(2.0, 1.0), (2, 1)).unwrap();
        assert!((result.values[0] + result.values[1] - 1.0).abs() < 1e-6, "{:?}", result.values);
        assert!(result.values[0] < 0.2);
        let map = Map::new(37, 53, vec![0.625; 37 * 53]).unwrap();
        let result = resample(&map, whole(7.0, 5.0), (7, 5)).unwrap();
        assert!(result.values.iter().all(|value| (value - 0.625).abs() < 1e-6));
    }

    #[test]
    fn refuses_regions_that_show_nothing() {
        let map = Map::new(1, 1, vec![0.0]).unwrap();
        for (left, width) in [(0.0, 0.0), (20.0, 5.0), (f64::NAN, 5.0), (0.0, f64::INFINITY), (1.6, 0.5)] {
            let region = Region { left, top: 0.0, width, height: 4.0 };
            assert!(matches!(resample(&map, region, (10, 10)), Err(Error::Parameter { .. })), "{region:?}");
        }
    }
}
