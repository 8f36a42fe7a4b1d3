use candle_core::{DType, Tensor};
use faithful_core::{Error, Result, value_named};
use faithful_tensor::{Resize, resize2d};

/// How the maps of several layers become one.
///
/// Maps of different layers have different units, so each is first divided by its largest absolute value; a map that
/// is zero everywhere stays so. The result has the size of the largest map.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Fusion {
    /// The mean, as pytorch-grad-cam fuses.
    Mean,
    /// The product: what all layers agree on.
    Product,
    /// The largest, as `LayerCAM` (Jiang et al. 2021) and `TorchCAM` fuse; the default.
    #[default]
    Maximum,
}

impl Fusion {
    /// Every fusion by the name under which it is asked for.
    pub const NAMES: &'static [(&'static str, Self)] =
        &[("mean", Self::Mean), ("product", Self::Product), ("maximum", Self::Maximum)];

    /// The fusion called `name`.
    ///
    /// # Errors
    /// [`Error::UnknownName`] with suggestions.
    pub fn named(name: &str) -> Result<Self> {
        value_named("fusion", name, Self::NAMES)
    }
}

/// One map `(N, h, w)` from several; a single one is returned as it is.
///
/// # Errors
/// [`Error::Shape`] where there is none, or several that are not `(N, h, w)`.
pub fn fuse(maps: &[Tensor], fusion: Fusion) -> Result<Tensor> {
    if let [one] = maps {
        return Ok(one.clone());
    }
    let sizes = maps
        .iter()
        .map(|map| map.dims3().map_err(|_| Error::shape("a map to fuse", "(N, h, w)", map.dims())))
        .collect::<Result<Vec<_>>>()?;
    let Some(height) = sizes.iter().map(|(_, height, _)| *height).max() else {
        return Err(Error::shape("the maps to fuse", "at least one", &[]));
    };
    let width = sizes.iter().map(|(_, _, width)| *width).max().unwrap_or(1);
    let scaled = maps.iter().map(|map| resize_map(&unit(map)?, [height, width])).collect::<Result<Vec<_>>>()?;
    let mut fused = scaled[0].clone();
    for map in &scaled[1..] {
        fused = match fusion {
            Fusion::Mean => (fused + map)?,
            Fusion::Product => (fused * map)?,
            Fusion::Maximum => fused.maximum(map)?,
        };
    }
    Ok(if fusion == Fusion::Mean { (fused / maps.len() as f64)? } else { fused })
}

/// Each map `(N, h, w)` divided by its largest absolute value.
fn unit(map: &Tensor) -> Result<Tensor> {
    let largest = map.abs()?.max_keepdim(2)?.max_keepdim(1)?;
    crate::rule::divide_or_zero(map, &largest)
}

/// Bilinear, pixel centres aligned at half a pixel: `(N, h, w)` to `(N, H, W)`.
pub(crate) fn resize_map(map: &Tensor, size: [usize; 2]) -> Result<Tensor> {
    let (_, height, width) = map.dims3()?;
    if [height, width] == size {
        return Ok(map.clone());
    }
    let wide = if map.dtype() == DType::F64 { map.clone() } else { map.to_dtype(DType::F32)? };
    Ok(resize2d(&wide.unsqueeze(1)?, size, &Resize::default())?.squeeze(1)?.to_dtype(map.dtype())?)
}
/// Trilinear, as [`resize_map`]: `(N, d, h, w)` to `(N, D, H, W)`, slices by slices and then along them.
pub(crate) fn resize_volume(map: &Tensor, [slices, height, width]: [usize; 3]) -> Result<Tensor> {
    let (n, depth, rows, columns) = map.dims4()?;
    let flat = resize_map(&map.reshape((n * depth, rows, columns))?, [height, width])?;
    let along = resize_map(&flat.reshape((n, depth, height * width))?, [slices, height * width])?;
    Ok(along.reshape((n, slices, height, width))?)
}
