use crate::Picture;
use crate::resample::{Window, resize};
use candle_core::{Device, Tensor};
use faithful_core::{Error, Fit, Preprocessing, Result};
use std::num::NonZeroUsize;

/// Where the network's input lies on the photo, so that a map can be laid over the photo's own pixels.
///
/// Pixels are areas: the photo's first pixel covers 0 to 1. The rectangle may begin and end between pixels, and it
/// reaches beyond the photo where a small photo was padded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Placement {
    /// The photo, `[height, width]`.
    pub photo: [usize; 2],
    /// The network's input, `[height, width]`.
    pub input: [usize; 2],
    /// The rectangle's upper edge on the photo.
    pub top: f64,
    /// The rectangle's left edge on the photo.
    pub left: f64,
    /// The rectangle's height on the photo.
    pub height: f64,
    /// The rectangle's width on the photo.
    pub width: f64,
}

impl Placement {
    /// The point `[y, x]` of the photo that a point `[y, x]` of the input shows.
    pub fn to_photo(&self, [y, x]: [f64; 2]) -> [f64; 2] {
        [self.top + y * self.height / self.input[0] as f64, self.left + x * self.width / self.input[1] as f64]
    }

    /// The point `[y, x]` of the input that shows a point `[y, x]` of the photo.
    pub fn to_input(&self, [y, x]: [f64; 2]) -> [f64; 2] {
        [(y - self.top) * self.input[0] as f64 / self.height, (x - self.left) * self.input[1] as f64 / self.width]
    }
}

/// A photo as a network sees it.
#[derive(Clone, Debug)]
pub struct Preprocessed {
    /// The network's input, `(1, C, H, W)` f32, normalised.
    pub tensor: Tensor,
    /// The same before normalisation.
    pub picture: Picture,
    /// Where it lies on the photo.
    pub placement: Placement,
}

/// Brings a photo to the network's size and normalises it, as torchvision's `Resize`, `CenterCrop`, `ToTensor` and
/// `Normalize` do on a Pillow image (see [`resize_picture`](crate::resize_picture) for the one grey level that Pillow 13
/// may differ by).
///
/// With [`Fit::Crop`], the shorter side becomes `resize` long and the other `floor(resize * long / short)`; the centre
/// crop starts at half of the rest, rounded to even as in Python; where the crop is larger than the photo, black
/// surrounds it. Without `resize` and `crop`, the network sees the photo as it is, whatever its aspect ratio. With
/// [`Fit::Stretch`], both sides become what they are said to be. With [`Fit::Pad`], the photo becomes as large as fits,
/// sides rounded to whole pixels, with half of the rest before it, rounded down.
///
/// For a channel that is grey, colours become grey by the weights of ITU-R BT.601 as Pillow's `convert("L")` computes
/// them, after resizing; opacity is full.
///
/// # Errors
/// [`Error::Parameter`] where the preprocessing is not valid, the input would have more than 64 million pixels, or its
/// channels are bands, which a photo has not.
pub fn preprocess(photo: &Picture, preprocessing: &Preprocessing, device: &Device) -> Result<Preprocessed> {
    let preprocessing = preprocessing.clone().validated()?;
    photo.check()?;
    let Geometry { resized, window, inner, placement } = geometry([photo.height, photo.width], &preprocessing)?;
    let mut picture = resize(photo, resized, window, preprocessing.interpolation);
    if [picture.height, picture.width] != placement.input {
        let bars = if let Fit::Pad(color) = preprocessing.fit { color } else { [0; 3] };
        picture = padded(&picture, placement.input, inner, bars);
    }
    Ok(Preprocessed { tensor: picture_tensor(&picture, &preprocessing, device)?, picture, placement })
}

/// Where a photo goes on its way into a network.
pub(crate) struct Geometry {
    /// The size of the whole photo after resizing.
    pub(crate) resized: [usize; 2],
    /// The part of it that is used.
    pub(crate) window: Window,
    /// Where that part begins in the input.
    pub(crate) inner: [usize; 2],
    pub(crate) placement: Placement,
}

/// The way of a photo of `[height, width]` into the network.
pub(crate) fn geometry([height, width]: [usize; 2], preprocessing: &Preprocessing) -> Result<Geometry> {
    let size = preprocessing.fixed_size();
    let resized = match (preprocessing.fit, preprocessing.resize) {
        (Fit::Stretch(size), _) => size,
        (Fit::Pad(_), _) => inside([height, width], size.unwrap_or(preprocessing.input_size)),
        (Fit::Crop, Some(side)) if height <= width => [side, longer(side, width, height)],
        (Fit::Crop, Some(side)) => [longer(side, height, width), side],
        (Fit::Crop, None) => [height, width],
    };
    let input = size.unwrap_or(resized);
    if input[0].saturating_mul(input[1]) > MOST {
        let reason =
            format!("{} x {} pixels are too many for a network's input; resize or crop the photo", input[0], input[1]);
        return Err(Error::parameter("input size", reason));
    }
    let (top, inner_top, inner_height) = centre(resized[0], input[0]);
    let (left, inner_left, inner_width) = centre(resized[1], input[1]);
    let window =
        Window { top: top.max(0) as usize, left: left.max(0) as usize, height: inner_height, width: inner_width };
    let scale = [height as f64 / resized[0] as f64, width as f64 / resized[1] as f64];
    let placement = Placement {
        photo: [height, width],
        input,
        top: top as f64 * scale[0],
        left: left as f64 * scale[1],
        height: input[0] as f64 * scale[0],
        width: input[1] as f64 * scale[1],
    };
    Ok(Geometry { resized, window, inner: [inner_top, inner_left], placement })
}

/// The largest size of a photo's proportions inside `size`.
fn inside([height, width]: [usize; 2], size: [usize; 2]) -> [usize; 2] {
    let scale = (size[0] as f64 / height as f64).min(size[1] as f64 / width as f64);
    let side = |own: usize, most: usize| ((own as f64 * scale).round() as usize).clamp(1, most);
    [side(height, size[0]), side(width, size[1])]
}

/// Normalises a photo at its own size, for networks whose input size is free: no pixel is resampled. Sides that are no
/// multiple of `multiple` lose up to `multiple - 1` pixels, evenly at both ends; shorter sides stay as they are.
///
/// # Errors
/// As [`preprocess`].
pub fn preprocess_unresized(
    photo: &Picture,
    preprocessing: &Preprocessing,
    multiple: NonZeroUsize,
    device: &Device,
) -> Result<Preprocessed> {
    let rounded = |side: usize| if side < multiple.get() { side } else { side - side % multiple };
    let crop = (multiple.get() > 1).then(|| [rounded(photo.height), rounded(photo.width)]);
    preprocess(photo, &Preprocessing { resize: None, crop, fit: Fit::Crop, ..preprocessing.clone() }, device)
}

/// A picture, which has the network's size already, as its input `(1, C, H, W)`: `(value / 255 - mean) / std`.
///
/// # Errors
/// [`Error::Parameter`] where the preprocessing is not valid; [`Error::Shape`] for a picture without pixels.
pub fn picture_tensor(picture: &Picture, preprocessing: &Preprocessing, device: &Device) -> Result<Tensor> {
    picture.check()?;
    let Preprocessing { mean, std, .. } = preprocessing;
    if mean.len() != std.len() {
        return Err(Error::parameter(
            "mean",
            format!("{} values, and std {}; both need as many", mean.len(), std.len()),
        ));
    }
    let count = picture.height * picture.width;
    let mut values = Vec::with_capacity(count * mean.len());
    for (channel, source) in preprocessing.sources().into_iter().enumerate() {
        // 256 possible values: a table is quicker than dividing twice per pixel.
        let normalise = |value: u8| (f32::from(value) / 255.0 - mean[channel]) / std[channel];
        let table: Vec<f32> = (0..=255).map(normalise).collect();
        match source {
            Some(color @ 0..=2) => {
                values.extend(picture.pixels[color..].iter().step_by(3).map(|&value| table[usize::from(value)]));
            }
            Some(3) => values.extend(picture.pixels.chunks_exact(3).map(|pixel| table[usize::from(grey(pixel))])),
            Some(_) => values.extend(std::iter::repeat_n(table[255], count)),
            None => {
                let reason = format!(
                    "the network takes {} channels, which a picture of red, green and blue has not; give a TIFF or an \
                     .npy array of as many",
                    mean.len()
                );
                return Err(Error::parameter("channels", reason));
            }
        }
    }
    Ok(Tensor::from_vec(values, (1, mean.len(), picture.height, picture.width), device)?)
}

/// More pixels than any network takes: 64 million are 800 MB as a tensor.
const MOST: usize = 1 << 26;

fn longer(side: usize, long: usize, short: usize) -> usize {
    side.saturating_mul(long) / short
}

/// Where a crop of length `crop` starts on a side (below 0 where the side is padded), where the side starts in the
/// crop, and how much of it is there.
fn centre(side: usize, crop: usize) -> (isize, usize, usize) {
    if crop > side {
        let before = (crop - side) / 2;
        return (-(before as isize), before, side);
    }
    let rest = side - crop;
    // Half of it, halves to even: Python's `round`.
    let start = rest / 2 + usize::from(rest % 4 == 3);
    (start as isize, 0, crop)
}

fn padded(picture: &Picture, [height, width]: [usize; 2], [top, left]: [usize; 2], bars: [u8; 3]) -> Picture {
    let mut all = Picture::filled(height, width, bars);
    let stride = picture.width * 3;
    for (row, from) in picture.pixels.chunks_exact(stride).enumerate() {
        let start = ((top + row) * width + left) * 3;
        all.pixels[start..start + stride].copy_from_slice(from);
    }
    all
}

/// Pillow's luminance in fixed point.
pub(crate) fn grey(pixel: &[u8]) -> u8 {
    let [red, green, blue] = [0, 1, 2].map(|channel| u32::from(pixel[channel]));
    ((red * 19_595 + green * 38_470 + blue * 7_471 + 0x8000) >> 16) as u8
}

#[cfg(test)]
mod tests {
    use super::*;
    use faithful_core::Channels;

    fn free() -> Preprocessing {
        Preprocessing { resize: None, crop: None, ..Preprocessing::default() }
    }

    #[test]
    fn the_centre_is_pythons() {
        // int(round((side - crop) / 2)): 0.5 -> 0, 1.5 -> 2, 2.5 -> 2, 3.5 -> 4.
        assert_eq!([1, 3, 5, 7].map(|rest| centre(10 + rest, 10).0), [0, 2, 2, 4]);
        assert_eq!(centre(10, 13), (-1, 1, 10));
    }

    #[test]
    fn a_placement_maps_corners_to_corners() {
        let photo = Picture::filled(300, 400, [10; 3]);
        let seen = preprocess(&photo, &Preprocessing::default(), &Device::Cpu).unwrap();
        assert_eq!(seen.tensor.dims(), [1, 3, 224, 224]);
        let Placement { top, left, height, width, .. } = seen.placement;
        // 300 x 400 becomes 256 x 341; the crop starts at 16 and round(58.5) = 58.
        assert!((top - 16.0 * 300.0 / 256.0).abs() < 1e-9 && (left - 58.0 * 400.0 / 341.0).abs() < 1e-9);
        assert!((height - 262.5).abs() < 1e-9 && (width - 224.0 * 400.0 / 341.0).abs() < 1e-9);
        assert_eq!(seen.placement.to_photo([0.0, 0.0]), [top, left]);
        let [y, x] = seen.placement.to_input(seen.placement.to_photo([100.0, 7.5]));
        assert!((y - 100.0).abs() < 1e-9 && (x - 7.5).abs() < 1e-9);
    }

    #[test]
    fn small_photos_are_surrounded_by_black_when_nothing_resizes_them() {
        let photo = Picture::filled(1, 3, [255; 3]);
        let crop = Preprocessing { resize: None, crop: Some([3, 2]), ..Preprocessing::default() };
        let seen = preprocess(&photo, &crop, &Device::Cpu).unwrap();
        assert_eq!(seen.picture.at(0, 0), [0; 3]);
        assert_eq!(seen.picture.at(1, 1), [255; 3]);
        assert_eq!((seen.placement.top, seen.placement.height), (-1.0, 3.0));
    }

    #[test]
    fn free_size_keeps_pixels_and_trims_to_multiples() {
        let mut photo = Picture::filled(33, 57, [0; 3]);
        photo.set(1, 5, [255, 0, 51]);
        let whole = preprocess(&photo, &free(), &Device::Cpu).unwrap();
        assert_eq!(whole.picture, photo);
        let eight = NonZeroUsize::new(8).unwrap();
        let trimmed = preprocess_unresized(&photo, &free(), eight, &Device::Cpu).unwrap();
        assert_eq!(trimmed.tensor.dims(), [1, 3, 32, 56]);
        assert_eq!((trimmed.placement.top, trimmed.placement.left), (0.0, 0.0));
        assert_eq!(trimmed.picture.at(1, 5), [255, 0, 51]);
        let thin = preprocess_unresized(&Picture::filled(1, 20, [0; 3]), &free(), eight, &Device::Cpu).unwrap();
        assert_eq!(thin.tensor.dims(), [1, 3, 1, 16]);
        let value = |tensor: &Tensor, channel: usize| {
            tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap()[channel * 33 * 57 + 57 + 5]
        };
        assert_eq!(value(&whole.tensor, 0), (1.0 - 0.485) / 0.229);
        assert_eq!(value(&whole.tensor, 2), (51.0 / 255.0 - 0.406) / 0.225);
    }

    #[test]
    fn grey_networks_see_luminance() {
        let one = Preprocessing { mean: vec![0.0], std: vec![1.0], ..free() };
        let seen = preprocess(&Picture::filled(2, 2, [255, 0, 0]), &one, &Device::Cpu).unwrap();
        assert_eq!(seen.tensor.dims(), [1, 1, 2, 2]);
        assert_eq!(seen.tensor.max_all().unwrap().to_scalar::<f32>().unwrap(), 76.0 / 255.0);
    }

    #[test]
    fn a_squashed_photo_is_seen_whole() {
        let mut photo = Picture::filled(20, 60, [0; 3]);
        photo.set(19, 59, [255; 3]);
        let squash = Preprocessing { fit: Fit::Stretch([20, 60]), crop: None, ..free() };
        assert_eq!(preprocess(&photo, &squash, &Device::Cpu).unwrap().picture, photo);
        let squash = Preprocessing { fit: Fit::Stretch([40, 30]), crop: None, ..free() };
        let seen = preprocess(&photo, &squash, &Device::Cpu).unwrap();
        let place = seen.placement;
        assert_eq!((place.input, place.top, place.left, place.height, place.width), ([40, 30], 0.0, 0.0, 20.0, 60.0));
        let centre = Preprocessing { fit: Fit::Stretch([40, 30]), crop: Some([20, 20]), ..free() };
        let place = preprocess(&photo, &centre, &Device::Cpu).unwrap().placement;
        assert_eq!((place.top, place.left, place.height, place.width), (5.0, 10.0, 10.0, 40.0));
    }

    #[test]
    fn bars_are_no_part_of_the_photo() {
        let photo = Picture::filled(20, 60, [200, 100, 50]);
        let pad = Preprocessing { fit: Fit::Pad([114, 0, 7]), crop: Some([30, 30]), ..free() };
        let seen = preprocess(&photo, &pad, &Device::Cpu).unwrap();
        // 20 x 60 becomes 10 x 30, between bars of 10 rows.
        assert_eq!((seen.picture.at(9, 0), seen.picture.at(10, 0)), ([114, 0, 7], [200, 100, 50]));
        assert_eq!((seen.picture.at(19, 29), seen.picture.at(20, 29)), ([200, 100, 50], [114, 0, 7]));
        let place = seen.placement;
        assert_eq!((place.top, place.left, place.height, place.width), (-20.0, 0.0, 60.0, 60.0));
        assert_eq!(place.to_input([0.0, 0.0]), [10.0, 0.0]);
        assert_eq!(place.to_input([20.0, 60.0]), [20.0, 30.0]);
        // A tall one; what fits is rounded, and never nothing.
        assert_eq!(inside([100, 33], [30, 30]), [30, 10]);
        assert_eq!(inside([5000, 1], [30, 30]), [30, 1]);
    }

    #[test]
    fn channels_come_in_the_networks_order() {
        let photo = Picture::filled(1, 1, [255, 0, 51]);
        let of = |channels, mean: &[f32]| {
            let std = vec![1.0; mean.len()];
            let own = Preprocessing { channels, mean: mean.to_vec(), std, ..free() };
            preprocess(&photo, &own, &Device::Cpu)
                .map(|seen| seen.tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap())
        };
        assert_eq!(of(Channels::Bgr, &[0.2, 0.0, 0.5]).unwrap(), [0.0, 0.0, 0.5]);
        let grey = 82.0 / 255.0;
        assert_eq!(of(Channels::Grey, &[0.0; 3]).unwrap(), [grey; 3]);
        assert_eq!(of(Channels::Rgb, &[0.0; 2]).unwrap(), [grey, 1.0]);
        assert_eq!(of(Channels::Rgb, &[0.0; 4]).unwrap(), [1.0, 0.0, 0.2, 1.0]);
        assert!(of(Channels::Rgb, &[0.0; 6]).unwrap_err().to_string().contains("takes 6 channels"));
    }

    #[test]
    fn extreme_photos_give_an_input_or_a_word() {
        let line = Picture::filled(1, 5000, [9; 3]);
        let seen = preprocess(&line, &Preprocessing::default(), &Device::Cpu).unwrap();
        assert_eq!(seen.tensor.dims(), [1, 3, 224, 224]);
        let uncropped = Preprocessing { crop: None, ..Preprocessing::default() };
        let error = preprocess(&line, &uncropped, &Device::Cpu).unwrap_err().to_string();
        assert!(error.contains("too many"), "{error}");
        let nothing = Picture { height: 0, width: 4, pixels: vec![] };
        assert!(preprocess(&nothing, &free(), &Device::Cpu).is_err());
    }
}
