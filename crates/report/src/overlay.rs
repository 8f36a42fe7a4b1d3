use crate::{Colormap, Region, Scaled, legend, resample};
use faithful_core::{Error, Result};
use image::RgbImage;

/// How a map is drawn on a photo.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Style {
    /// The colours; `None` takes viridis, or the diverging map where the map is signed.
    pub colormap: Option<Colormap>,
    /// From 0 (only the photo) to 1 (only the map).
    pub opacity: f32,
    /// Adds a strip with the colours and the raw values of its ends at the right; the picture becomes wider by it.
    pub legend: bool,
}

impl Default for Style {
    fn default() -> Self {
        Self { colormap: None, opacity: 0.55, legend: false }
    }
}

/// Draws a map on the photo's own pixels, at the photo's size.
///
/// Inside `region` every pixel is a blend of the photo and the map's colour; what lies outside was never shown to
/// the network and is drawn grey and half as bright, so that nobody reads "unimportant" where it says "unseen".
///
/// # Errors
/// [`Error::Parameter`] for an opacity outside 0 to 1 or a region that has no pixel of the photo.
pub fn overlay(photo: &RgbImage, map: &Scaled, region: Region, style: &Style) -> Result<RgbImage> {
    if !(0.0..=1.0).contains(&style.opacity) {
        return Err(Error::parameter("opacity", format!("{} is not from 0 to 1", style.opacity)));
    }
    let colormap = style.colormap.unwrap_or(if map.signed { Colormap::Diverging } else { Colormap::Viridis });
    let covered = resample(&map.map, region, photo.dimensions())?;
    let mut picture = photo.clone();
    let width = covered.columns.len();
    for (x, y, pixel) in picture.enumerate_pixels_mut() {
        let (x, y) = (x as usize, y as usize);
        if !(covered.columns.contains(&x) && covered.rows.contains(&y)) {
            pixel.0 = [(luma(pixel.0) / 2.0).round() as u8; 3];
            continue;
        }
        let value = covered.values[(y - covered.rows.start) * width + (x - covered.columns.start)];
        for (channel, color) in pixel.0.iter_mut().zip(colormap.color(value)) {
            let blended = f32::from(*channel) * (1.0 - style.opacity) + f32::from(color) * style.opacity;
            *channel = blended.round() as u8;
        }
    }
    Ok(if style.legend { legend::beside(&picture, colormap, map.low, map.high) } else { picture })
}

/// Brightness by the weights of ITU-R BT.601, 0 to 255.
fn luma([red, green, blue]: [u8; 3]) -> f32 {
    0.299 * f32::from(red) + 0.587 * f32::from(green) + 0.114 * f32::from(blue)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Map, Scale, rescale};

    fn scaled(height: usize, width: usize, values: &[f32], signed: bool) -> Scaled {
        let map = Map::new(height, width, values.to_vec()).unwrap();
        rescale(&map, &Scale { signed, ..Scale::default() }).unwrap()
    }

    #[test]
    fn pixels_are_blends_inside_and_grey_outside() {
        let photo = RgbImage::from_fn(6, 4, |x, y| [x as u8 * 40, y as u8 * 60, 100].into());
        let region = Region { left: 1.0, top: 0.0, width: 4.0, height: 4.0 };
        let style = Style { opacity: 0.25, ..Style::default() };
        let picture = overlay(&photo, &scaled(1, 2, &[0.0, 1.0], false), region, &style).unwrap();
        assert_eq!(picture.dimensions(), (6, 4));
        // Photo (40, 120, 100), value 0: viridis starts at (68, 1, 84).
        assert_eq!(picture.get_pixel(1, 2).0, [47, 90, 96]);
        // Photo (160, 120, 100), value 1: viridis ends at (253, 231, 37).
        assert_eq!(picture.get_pixel(4, 2).0, [183, 148, 84]);
        // Outside, photo (200, 120, 100): brightness 141.64, half of it.
        assert_eq!(picture.get_pixel(5, 2).0, [71; 3]);
    }

    #[test]
    fn opacity_reaches_from_the_photo_to_the_map() {
        let photo = RgbImage::from_fn(5, 3, |x, y| [x as u8 * 50, 7, y as u8 * 80].into());
        let region = Region { left: 0.0, top: 0.0, width: 5.0, height: 3.0 };
        let map = scaled(1, 1, &[0.0], true);
        let draw = |opacity| overlay(&photo, &map, region, &Style { opacity, ..Style::default() });
        assert_eq!(draw(0.0).unwrap(), photo);
        let neutral = Colormap::Diverging.color(0.5);
        assert!(draw(1.0).unwrap().pixels().all(|pixel| pixel.0 == neutral));
        assert!(draw(1.1).is_err() && draw(f32::NAN).is_err());
    }

    #[test]
    fn the_legend_makes_the_picture_wider_and_leaves_the_rest() {
        let photo = RgbImage::from_pixel(80, 60, [10, 20, 30].into());
        let region = Region { left: 0.0, top: 0.0, width: 80.0, height: 60.0 };
        let map = scaled(1, 2, &[-0.5, 12.25], false);
        let plain = overlay(&photo, &map, region, &Style::default()).unwrap();
        let with = overlay(&photo, &map, region, &Style { legend: true, ..Style::default() }).unwrap();
        assert!(with.width() > 80 && with.height() == 60);
        assert!(plain.enumerate_pixels().all(|(x, y, pixel)| with.get_pixel(x, y) == pixel));
    }
}
