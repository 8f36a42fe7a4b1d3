//! From the places of a layer to the input's pixels.

use candle_core::{DType, Tensor};
use faithful_core::{Error, Grid, Result};

/// A map `(1, h, w)` whose places lie on `grid`, at every pixel of an input of `size` `[H, W]`: straight lines between the centres
/// of the places, and beyond the outermost centres their values.
///
/// With an even grid this is bilinear interpolation with pixel centres at half a pixel.
pub(crate) fn placed(map: &Tensor, grid: &Grid, size: [usize; 2]) -> Result<Tensor> {
    let [1, height, width] = *map.dims() else {
        return Err(Error::shape("a level's map", "(1, h, w)", map.dims()));
    };
    let values: Vec<f64> = map.to_dtype(DType::F64)?.flatten_all()?.to_vec1()?;
    let (down, across) = (neighbours(grid, 0, height, size[0]), neighbours(grid, 1, width, size[1]));
    let mut pixels = Vec::with_capacity(size[0] * size[1]);
    for &(above, below, lower) in &down {
        for &(left, right, farther) in &across {
            let line =
                |row: usize| values[row * width + left] * (1.0 - farther) + values[row * width + right] * farther;
            pixels.push(line(above) * (1.0 - lower) + line(below) * lower);
        }
    }
    Ok(Tensor::from_vec(pixels, (1, size[0], size[1]), map.device())?.to_dtype(map.dtype())?)
}

/// Per pixel of an axis: the places on either side, and the share of the second.
pub(crate) fn neighbours(grid: &Grid, axis: usize, places: usize, pixels: usize) -> Vec<(usize, usize, f64)> {
    let last = places.saturating_sub(1);
    (0..pixels)
        .map(|pixel| {
            let place = ((pixel as f64 - grid.first[axis]) / grid.stride[axis]).clamp(0.0, last as f64);
            let before = (place.floor() as usize).min(last);
            (before, (before + 1).min(last), place - before as f64)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fusion::resize_map;
    use candle_core::Device;

    #[test]
    fn places_lie_at_their_centres() {
        let map = Tensor::new(&[[[1f64, 3.0]]], &Device::Cpu).unwrap();
        let grid = Grid { first: [0.0, 1.0], stride: [1.0, 4.0] };
        let pixels = placed(&map, &grid, [1, 8]).unwrap().flatten_all().unwrap().to_vec1::<f64>().unwrap();
        assert_eq!(pixels, [1.0, 1.0, 1.5, 2.0, 2.5, 3.0, 3.0, 3.0]);
    }

    #[test]
    fn an_even_grid_is_bilinear() {
        let values: Vec<f64> = (0..12).map(|i| f64::from(i * i % 7)).collect();
        let map = Tensor::from_vec(values, (1, 3, 4), &Device::Cpu).unwrap();
        let size = [11, 16];
        let far = (placed(&map, &Grid::even(size, [3, 4]), size).unwrap() - resize_map(&map, size).unwrap()).unwrap();
        assert!(far.abs().unwrap().max_all().unwrap().to_scalar::<f64>().unwrap() < 1e-12);
    }
}
