//! Maps of several classes on one photo: a hue per class.

use crate::figure::Color;
use crate::legend::letters;
use crate::lettering;
use crate::{Region, Scaled, resample};
use faithful_core::{Error, Result};
use image::{Rgb, RgbImage};

/// Colours that people with any colour vision tell apart (Okabe and Ito 2008), one per class.
pub const CLASS_COLORS: [Color; 6] = [
    [0xd5, 0x5e, 0x00],
    [0x00, 0x72, 0xb2],
    [0x00, 0x9e, 0x73],
    [0xf0, 0xe4, 0x42],
    [0xcc, 0x79, 0xa7],
    [0x56, 0xb4, 0xe9],
];

/// Draws the maps of several classes on one photo, each in its own of [`CLASS_COLORS`]: the photo in grey, covered by as much
/// colour as the largest of the values says, in the mean hue of the classes, weighted by the squares of their values. Of a
/// signed map, what speaks for the class counts. Below stands which colour is which class.
///
/// # Errors
/// [`Error::Parameter`] for no map or more than there are colours, for an opacity outside 0 to 1, and for a region that has no
/// pixel of the photo; [`Error::Shape`] where there are not as many names as maps.
pub fn overlay_classes(
    photo: &RgbImage,
    maps: &[Scaled],
    names: &[String],
    region: Region,
    opacity: f32,
) -> Result<RgbImage> {
    if maps.is_empty() || maps.len() > CLASS_COLORS.len() {
        let reason =
            format!("{} classes in one picture; from 1 to {} can be told apart", maps.len(), CLASS_COLORS.len());
        return Err(Error::parameter("class", reason));
    }
    if names.len() != maps.len() {
        return Err(Error::shape("the classes' names", format!("{}, one per map", maps.len()), &[names.len()]));
    }
    if !(0.0..=1.0).contains(&opacity) {
        return Err(Error::parameter("opacity", format!("{opacity} is not from 0 to 1")));
    }
    let covered = maps.iter().map(|one| resample(&one.map, region, photo.dimensions())).collect::<Result<Vec<_>>>()?;
    let (columns, rows) = (&covered[0].columns, &covered[0].rows);
    let mut picture = photo.clone();
    for (x, y, pixel) in picture.enumerate_pixels_mut() {
        let (x, y) = (x as usize, y as usize);
        let [red, green, blue] = pixel.0.map(f32::from);
        let grey = 0.299 * red + 0.587 * green + 0.114 * blue;
        if !(columns.contains(&x) && rows.contains(&y)) {
            pixel.0 = [(grey / 2.0).round() as u8; 3];
            continue;
        }
        let place = (y - rows.start) * columns.len() + (x - columns.start);
        let shares = covered.iter().zip(maps).map(|(one, map)| {
            let value = one.values[place];
            if map.signed { (2.0 * value - 1.0).clamp(0.0, 1.0) } else { value.clamp(0.0, 1.0) }
        });
        let shares: Vec<f32> = shares.collect();
        let most = shares.iter().copied().fold(0.0, f32::max);
        let total: f32 = shares.iter().map(|share| share * share).sum();
        for (channel, own) in pixel.0.iter_mut().enumerate() {
            let colors = shares.iter().zip(CLASS_COLORS);
            let hue: f32 = colors.map(|(share, color)| share * share * f32::from(color[channel])).sum();
            let hue = if total > 0.0 { hue / total } else { grey };
            *own = (grey + (hue - grey) * opacity * most).round() as u8;
        }
    }
    Ok(with_key(&picture, names))
}

/// The picture with each class below it: its colour and its name, broken where it is wider than the picture.
fn with_key(picture: &RgbImage, names: &[String]) -> RgbImage {
    let (width, height) = picture.dimensions();
    let size = letters(height);
    let (step, margin) = (size * lettering::LINE, size / 2.0);
    let room = (width as f32 - 2.5 * size).max(size);
    let named = names.iter().zip(CLASS_COLORS).flat_map(|(name, color)| {
        let lines = lettering::lines(name, size, room).into_iter();
        lines.enumerate().map(move |(place, line)| (line, (place == 0).then_some(color)))
    });
    let lines: Vec<(String, Option<Color>)> = named.collect();
    let below = (lines.len() as f32 * step + 2.0 * margin).ceil() as u32;
    let mut result = RgbImage::from_pixel(width, height + below, Rgb([255; 3]));
    image::imageops::replace(&mut result, picture, 0, 0);
    for (place, (line, color)) in lines.iter().enumerate() {
        let at = height as f32 + margin + place as f32 * step + size;
        let [left, top] = [margin as u32, (at - 0.8 * size) as u32];
        let square = (top..top + size as u32).flat_map(|y| (left..left + size as u32).map(move |x| (x, y)));
        for (x, y) in square {
            if let (Some(pixel), Some(color)) = (result.get_pixel_mut_checked(x, y), color) {
                *pixel = Rgb(*color);
            }
        }
        lettering::write(&mut result, [margin + 1.5 * size, at], line, size, Rgb([0x22; 3]));
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Map, Scale, rescale};

    fn scaled(values: &[f32], signed: bool) -> Scaled {
        rescale(&Map::new(1, values.len(), values.to_vec()).unwrap(), &Scale { signed, ..Scale::default() }).unwrap()
    }

    #[test]
    fn every_class_has_its_own_hue() {
        let photo = RgbImage::from_pixel(4, 4, [100; 3].into());
        let region = Region { left: 0.0, top: 0.0, width: 4.0, height: 4.0 };
        let names = ["heron", "crane"].map(String::from);
        let maps = [scaled(&[1.0, 0.0], false), scaled(&[-1.0, 1.0], true)];
        let picture = overlay_classes(&photo, &maps, &names, region, 1.0).unwrap();
        assert_eq!((picture.get_pixel(0, 1).0, picture.get_pixel(3, 1).0), (CLASS_COLORS[0], CLASS_COLORS[1]));
        assert!(picture.height() > 4);
        // Between them, both, and as grey as the photo where neither speaks.
        let none = [scaled(&[0.0, 0.0], false), scaled(&[0.0, 0.0], true)];
        assert_eq!(overlay_classes(&photo, &none, &names, region, 1.0).unwrap().get_pixel(1, 1).0, [100; 3]);
        let half = overlay_classes(&photo, &maps, &names, region, 0.5).unwrap();
        assert_eq!(half.get_pixel(0, 0).0, [157, 97, 50]);
        let many = vec![scaled(&[0.0, 1.0], false); 7];
        let error = overlay_classes(&photo, &many, &vec![String::new(); 7], region, 1.0).unwrap_err().to_string();
        assert!(error.contains("from 1 to 6"), "{error}");
        assert!(overlay_classes(&photo, &maps, &names[..1], region, 1.0).is_err());
        assert!(overlay_classes(&photo, &maps, &names, region, 1.5).is_err());
    }

    #[test]
    fn one_scale_fits_several_maps() {
        let maps = [[0.0, 1.0], [2.0, 4.0]].map(|values| Map::new(1, 2, values.to_vec()).unwrap());
        let scale = Scale::default().over(&maps).unwrap();
        let shown = maps.each_ref().map(|map| rescale(map, &scale).unwrap().map.values().to_vec());
        assert_eq!(shown, [[0.0, 0.25], [0.5, 1.0]]);
    }
}
