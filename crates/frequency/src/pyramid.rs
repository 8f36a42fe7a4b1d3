use crate::gaussian::gaussian_blur;
use candle_core::{Result, Tensor, bail};
use faithful_tensor::{Resize, resize2d};

/// A map as details of ever coarser grids (Burt and Adelson 1983).
#[derive(Clone, Debug)]
pub struct LaplacianPyramid {
    /// What each grid knows beyond the next coarser one, finest first, each at its own size.
    pub details: Vec<Tensor>,
    /// What is left, on the coarsest grid.
    pub coarsest: Tensor,
}

/// Splits maps `(H, W)` or `(N, H, W)` into `levels` octaves: `L_i = G_i - expand(G_(i+1))`, where `G_0` is the map
/// and `G_(i+1)` every second pixel of `G_i` after a Gaussian of `sigma = 1`.
///
/// Sizes are halved rounding up, so any size will do, and a map that has become a single pixel stays one. `expand` is
/// bilinear. [`LaplacianPyramid::reconstruct`] gives the map back exactly, up to rounding.
///
/// ```
/// use candle_core::{Device, Tensor};
/// # fn main() -> candle_core::Result<()> {
/// let map = Tensor::new(&[[1f64, 5., 2.], [0., 3., 3.], [4., 4., 4.]], &Device::Cpu)?;
/// let pyramid = faithful_frequency::laplacian_pyramid(&map, 2)?;
/// assert_eq!(pyramid.details[1].dims(), [2, 2]);
/// assert_eq!(pyramid.coarsest.dims(), [1, 1]);
/// let back = pyramid.reconstruct()?;
/// assert!((back - map)?.abs()?.max_all()?.to_scalar::<f64>()? < 1e-12);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// Where the map has another shape or no pixels.
pub fn laplacian_pyramid(map: &Tensor, levels: usize) -> Result<LaplacianPyramid> {
    let mut current = map.clone();
    let mut details = Vec::with_capacity(levels);
    for _ in 0..levels {
        let size = size_of(&current)?;
        let coarser = halve(&gaussian_blur(&current, 1.0)?)?;
        details.push((&current - expand(&coarser, size)?)?);
        current = coarser;
    }
    size_of(&current)?;
    Ok(LaplacianPyramid { details, coarsest: current })
}

impl LaplacianPyramid {
    /// The map that was split: `G_i = L_i + expand(G_(i+1))`.
    ///
    /// Details may be weighted or filtered before.
    ///
    /// # Errors
    /// Where a level does not have the shape that it was made with.
    pub fn reconstruct(&self) -> Result<Tensor> {
        self.details
            .iter()
            .rev()
            .try_fold(self.coarsest.clone(), |coarser, detail| detail + expand(&coarser, size_of(detail)?)?)
    }
}

fn size_of(map: &Tensor) -> Result<[usize; 2]> {
    match *map.dims() {
        [height, width] | [_, height, width] if height > 0 && width > 0 => Ok([height, width]),
        _ => bail!("laplacian_pyramid: expected a map (H, W) or (N, H, W) with pixels, got {:?}", map.dims()),
    }
}

/// Every second pixel, the first one included.
fn halve(map: &Tensor) -> Result<Tensor> {
    let [height, width] = size_of(map)?;
    let every_second = |size: usize| Tensor::arange_step(0u32, size as u32, 2, map.device());
    let rank = map.rank();
    map.index_select(&every_second(height)?, rank - 2)?.index_select(&every_second(width)?, rank - 1)
}

/// Bilinear, with pixel `i` of the coarse grid where pixel `2 i` of the fine one is.
fn expand(map: &Tensor, size: [usize; 2]) -> Result<Tensor> {
    let [height, width] = size_of(map)?;
    let planes = map.reshape(((), 1, height, width))?;
    let rules = Resize { coordinates: faithful_tensor::CoordinateRule::Asymmetric, ..Resize::default() };
    // Twice the size puts coarse pixel `i` exactly on `2 i`; where the fine size is odd the last one is cut off.
    let doubled = resize2d(&planes.contiguous()?, [2 * height, 2 * width], &rules)?;
    let mut shape = map.dims().to_vec();
    let rank = shape.len();
    shape[rank - 2] = size[0];
    shape[rank - 1] = size[1];
    doubled.narrow(2, 0, size[0])?.narrow(3, 0, size[1])?.contiguous()?.reshape(shape)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn a_flat_map_has_no_details() {
        let flat = Tensor::full(3f64, (2, 5, 7), &Device::Cpu).unwrap();
        let pyramid = laplacian_pyramid(&flat, 3).unwrap();
        for detail in &pyramid.details {
            assert!(detail.abs().unwrap().max_all().unwrap().to_scalar::<f64>().unwrap() < 1e-12);
        }
        assert_eq!(pyramid.coarsest.dims(), [2, 1, 1]);
    }

    #[test]
    fn a_ramp_is_kept_by_the_coarse_grid_inside() {
        let ramp = Tensor::arange(0f64, 32., &Device::Cpu).unwrap().reshape((1, 32)).unwrap();
        let detail = laplacian_pyramid(&ramp, 1).unwrap().details.remove(0).to_vec2::<f64>().unwrap();
        assert!(detail[0][8..24].iter().all(|value| value.abs() < 1e-3), "{detail:?}");
    }

    #[test]
    fn single_pixels_stay_single() {
        let one = Tensor::new(&[[2f32]], &Device::Cpu).unwrap();
        let pyramid = laplacian_pyramid(&one, 4).unwrap();
        assert_eq!(pyramid.coarsest.to_vec2::<f32>().unwrap(), [[2.0]]);
        assert_eq!(pyramid.reconstruct().unwrap().to_vec2::<f32>().unwrap(), [[2.0]]);
        assert!(laplacian_pyramid(&Tensor::new(&[1f32], &Device::Cpu).unwrap(), 1).is_err());
    }
}
