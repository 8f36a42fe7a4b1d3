//! A map as it is written to files: its raw values, and the picture of it on the photo or on a volume's slices.

use crate::Photo;
use candle_core::{DType, Tensor};
use faithful_core::{Error, Result};
use faithful_report::image::{RgbImage, imageops};
use faithful_report::{Map, Region, Scale, Scaled, Style, encode_npy, encode_npy_slices, overlay, rescale};

/// What is written of one map.
#[derive(Clone, Debug)]
pub struct Drawing {
    /// The map on the photo, at the photo's own size; of a volume, on each of its slices.
    pub picture: RgbImage,
    /// The raw values as an `.npy` file, `(h, w)` or `(slices, h, w)`.
    pub array: Vec<u8>,
    /// The raw map's axes.
    pub size: Vec<usize>,
    /// The raw values that are shown as the lowest and highest colour.
    pub shown: [f32; 2],
    /// Whether the middle colour stands for zero.
    pub signed: bool,
    /// What a reader of the picture must know: that the map is constant.
    pub note: Option<String>,
}

impl Drawing {
    /// Draws the raw map `(h, w)`, or of a volume `(slices, h, w)`, on `photo`. All slices share one scale.
    ///
    /// # Errors
    /// [`Error::Shape`] for other maps, [`Error::NotFinite`] for values that are not finite, and what
    /// [`overlay`] and [`rescale`] refuse.
    pub fn new(map: &Tensor, photo: &Photo, scale: &Scale, style: &Style) -> Result<Self> {
        let map = map.to_dtype(DType::F32)?;
        let size = map.dims().to_vec();
        let (slices, flat) = match (size.as_slice(), photo.slices) {
            (&[_, _], None) => (1, map),
            (&[slices, height, width], Some(_)) => (slices, map.reshape((slices * height, width))?),
            _ => return Err(Error::shape("the map", "(h, w), or (slices, h, w) for a volume", &size)),
        };
        let flat = Map::from_tensor(&flat)?;
        let scaled = rescale(&flat, scale)?;
        let (picture, array) = if photo.slices.is_some() {
            (on_slices(photo, &scaled, slices, *style)?, encode_npy_slices(&cut(&flat, slices)?))
        } else {
            (overlay(&photo.picture, &scaled, photo.region, style)?, encode_npy(&flat))
        };
        let Scaled { low, high, signed, note, .. } = scaled;
        Ok(Self { picture, array, size, shown: [low, high], signed, note })
    }
}

/// The rows of a map that lie on each other, as maps of their own.
fn cut(map: &Map, count: usize) -> Result<Vec<Map>> {
    let height = map.height() / count.max(1);
    map.values().chunks(height * map.width()).map(|part| Map::new(height, map.width(), part.to_vec())).collect()
}

/// Every slice of a volume under its own part of the map, which has `count` slices: between them, linearly.
fn on_slices(photo: &Photo, scaled: &Scaled, count: usize, style: Style) -> Result<RgbImage> {
    let slices = photo.slices.ok_or_else(|| Error::internal("a volume without slices"))?;
    let maps = cut(&scaled.map, count)?;
    let plain = Style { legend: false, ..style };
    let (height, width) = (slices.height as u32, slices.width as u32);
    let region = Region { left: 0.0, top: 0.0, width: f64::from(width), height: f64::from(height) };
    let mut picture = photo.picture.clone();
    for slice in 0..slices.count {
        let at = ((slice as f64 + 0.5) * count as f64 / slices.count as f64 - 0.5).clamp(0.0, count as f64 - 1.0);
        let (below, share) = (at.floor() as usize, (at - at.floor()) as f32);
        let (first, second) = (&maps[below], &maps[(below + 1).min(count - 1)]);
        let between = first.values().iter().zip(second.values()).map(|(a, b)| a + (b - a) * share);
        let map = Map::new(first.height(), first.width(), between.collect())?;
        let [top, left] = slices.place(slice).map(|side| side as u32);
        let part = imageops::crop_imm(&photo.picture, left, top, width, height).to_image();
        let drawn = overlay(&part, &Scaled { map, ..scaled.clone() }, region, &plain)?;
        imageops::replace(&mut picture, &drawn, i64::from(left), i64::from(top));
    }
    if style.legend {
        // The strip beside the picture alone: nothing is drawn over it a second time.
        let whole =
            Region { left: 0.0, top: 0.0, width: f64::from(picture.width()), height: f64::from(picture.height()) };
        return overlay(&picture, scaled, whole, &Style { opacity: 0.0, ..style });
    }
    Ok(picture)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;
    use faithful_data::Slices;

    #[test]
    fn a_volumes_slices_are_drawn_each_under_its_own_part() {
        let slices = Slices { count: 2, height: 4, width: 4 };
        let picture = RgbImage::from_pixel(slices.picture()[1] as u32, slices.picture()[0] as u32, [100; 3].into());
        let region = Region { left: 0.0, top: 0.0, width: 4.0, height: 8.0 };
        let tensor = Tensor::zeros((1, 1, 2, 4, 4), DType::F32, &Device::Cpu).unwrap();
        let photo = Photo { picture, tensor, region, slices: Some(slices) };
        let map = Tensor::new(&[[[0f64]], [[2.0]]], &Device::Cpu).unwrap();
        let style = Style { opacity: 1.0, ..Style::default() };
        let drawing = Drawing::new(&map, &photo, &Scale::default(), &style).unwrap();
        let [first, second] = [0, 1].map(|slice| slices.place(slice).map(|side| side as u32));
        let (low, high) =
            (drawing.picture.get_pixel(first[1], first[0]), drawing.picture.get_pixel(second[1], second[0]));
        // Viridis from end to end.
        assert_eq!((low.0, high.0), ([68, 1, 84], [253, 231, 37]));
        assert_eq!((drawing.size.as_slice(), drawing.shown), (&[2, 1, 1][..], [0.0, 2.0]));
        assert!(String::from_utf8_lossy(&drawing.array).contains("'shape': (2, 1, 1)"));
        let legend = Style { legend: true, ..style };
        assert!(Drawing::new(&map, &photo, &Scale::default(), &legend).unwrap().picture.width() > 4);
        let flat = Tensor::zeros((2, 2), DType::F32, &Device::Cpu).unwrap();
        assert!(Drawing::new(&flat, &photo, &Scale::default(), &style).is_err());
    }
}
