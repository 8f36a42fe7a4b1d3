use crate::photo::{Decoding, decode_image, decode_photo, sniff};
use crate::preprocess::{Geometry, Placement, geometry};
use crate::resample::{Window, resize_plane};
use crate::volume::{Slices, Volume};
use crate::{Picture, nifti, preprocess, tiff};
use candle_core::{Device, Tensor};
use faithful_core::{Array, Error, Fit, Preprocessing, Result, caught};
use image::ImageFormat;
use rayon::prelude::*;
use std::path::Path;

/// A picture of any number of channels: grey with opacity, the bands of a satellite, two photos on each other.
#[derive(Clone, Debug, PartialEq)]
pub struct Bands {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// A channel's values from the first row on, `height * width` each. Bytes and other whole numbers without a sign
    /// are shares of their largest; floats are what the file has.
    pub planes: Vec<Vec<f32>>,
}

/// What a network sees of a file, and what people see of it.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The network's input, `(1, C, H, W)` f32, normalised.
    pub tensor: Tensor,
    /// The file at its own size. Of bands that are no colours, the first three are red, green and blue.
    pub photo: Picture,
    /// Where the network's input lies on the photo.
    pub placement: Placement,
    /// How a volume's slices lie on the photo; there, the tensor is `(1, C, slices, H, W)`.
    pub slices: Option<Slices>,
}

/// Reads a file for a network and prepares it: a photo, or where the network takes other channels, an `.npy` array or a
/// TIFF of as many bands or pages. An array is `(H, W)`, `(H, W, C)`, `(C, H, W)` or `(1, C, H, W)`. For a network of volumes
/// an array has slices before its rows, and a TIFF a page per slice.
///
/// # Errors
/// As [`read_photo`](crate::read_photo) and [`preprocess`]; [`Error::Format`] where a file has other channels than the
/// network, or values that are not finite.
pub fn read_input(path: &Path, preprocessing: &Preprocessing, decoding: &Decoding, device: &Device) -> Result<Seen> {
    let name = path.display().to_string();
    let bytes = crate::read_photo_bytes(path, decoding)?;
    decode_input(&name, &bytes, preprocessing, decoding, device)
}

/// As [`read_input`], of the bytes of a file that errors call `name`.
///
/// # Errors
/// As [`read_input`].
pub fn decode_input(
    name: &str,
    bytes: &[u8],
    preprocessing: &Preprocessing,
    decoding: &Decoding,
    device: &Device,
) -> Result<Seen> {
    if let Some(slices) = preprocessing.slices {
        return Volume::decode(name, bytes, slices, preprocessing, decoding)?.seen(preprocessing, device);
    }
    if nifti::is_one(bytes) {
        return Err(Error::format(
            name,
            "a NIfTI scan; the network takes photos: save a slice as a picture or an .npy array",
        ));
    }
    let wanted = preprocessing.channels();
    let bands = if bytes.starts_with(Array::MAGIC) {
        Some(Bands::of_array(name, bytes, wanted, decoding)?)
    } else if wanted > 4 {
        Some(Bands::of_pages(name, bytes, wanted, decoding)?)
    } else if wanted == 2 || wanted == 4 {
        // As many bands or pages of a TIFF are the channels; colours without opacity are opaque.
        let pages = if sniff(bytes) == Some(ImageFormat::Tiff) {
            caught(|| Bands::of_pages(name, bytes, wanted, decoding).ok()).flatten()
        } else {
            None
        };
        Some(pages.map_or_else(|| Bands::of_opacity(name, bytes, wanted, decoding), Ok)?)
    } else {
        None
    };
    let Some(bands) = bands else {
        let photo = decode_photo(name, bytes, decoding)?;
        let seen = preprocess(&photo, preprocessing, device)?;
        return Ok(Seen { tensor: seen.tensor, placement: seen.placement, photo, slices: None });
    };
    bands.seen(name, preprocessing, device)
}

impl Bands {
    /// The array in an `.npy` file, as the number of channels that are wanted makes sense of it.
    fn of_array(name: &str, bytes: &[u8], wanted: usize, decoding: &Decoding) -> Result<Self> {
        let array = Array::decode(bytes).map_err(|error| Error::format(name, error.to_string()))?;
        let shape = match array.shape.as_slice() {
            [1, rest @ ..] if rest.len() == 3 => rest,
            shape => shape,
        };
        // A photo of three channels may stand for one of grey, and the other way round.
        let fits =
            |channels: usize| channels == wanted || (wanted == 1 && channels == 3) || (wanted == 3 && channels == 1);
        let (height, width, channels, last) = match *shape {
            [height, width] if fits(1) => (height, width, 1, false),
            [first, height, width] if first == wanted => (height, width, first, false),
            [height, width, last] if last == wanted => (height, width, last, true),
            [first, height, width] if fits(first) => (height, width, first, false),
            [height, width, last] if fits(last) => (height, width, last, true),
            _ => {
                let reason = format!(
                    "an array of the shape {:?}; the network takes (H, W, {wanted}) or ({wanted}, H, W)",
                    array.shape
                );
                return Err(Error::format(name, reason));
            }
        };
        let count = height.saturating_mul(width);
        if count == 0 || count as u64 > decoding.pixels {
            return Err(Error::format(
                name,
                format!("an array of {height} x {width} pixels; 1 to {} are read", decoding.pixels),
            ));
        }
        let scale = array.largest.map_or(1.0, |largest| 1.0 / largest);
        let scaled = |value: &f32| value * scale;
        let planes = (0..channels).map(|channel| {
            if last {
                array.values[channel..].iter().step_by(channels).map(scaled).collect()
            } else {
                array.values[channel * count..(channel + 1) * count].iter().map(scaled).collect()
            }
        });
        Ok(Self { height, width, planes: planes.collect() })
    }

    /// The bands or pages of a TIFF.
    fn of_pages(name: &str, bytes: &[u8], wanted: usize, decoding: &Decoding) -> Result<Self> {
        if sniff(bytes) != Some(ImageFormat::Tiff) {
            let reason = format!("the network takes {wanted} channels; give a TIFF or an .npy array of as many");
            return Err(Error::format(name, reason));
        }
        let damaged = || Error::format(name, format!("damaged TIFF ({} bytes): its decoder gave up", bytes.len()));
        let samples = caught(|| tiff::read(name, bytes, decoding.pixels, wanted)).ok_or_else(damaged)??;
        if samples.planes.len() != wanted {
            let reason =
                format!("it has {} channels on all its pages, and the network takes {wanted}", samples.planes.len());
            return Err(Error::format(name, reason));
        }
        Ok(Self { height: samples.height, width: samples.width, planes: samples.planes })
    }

    /// A photo's grey or colours, and its opacity.
    fn of_opacity(name: &str, bytes: &[u8], wanted: usize, decoding: &Decoding) -> Result<Self> {
        let image = decode_image(name, bytes, decoding)?;
        let (height, width) = (image.height() as usize, image.width() as usize);
        let is_grey = matches!(image.color(), image::ColorType::La8 | image::ColorType::La16);
        // Eight bits, unless there are sixteen.
        let deep = image.color().bytes_per_pixel() / image.color().channel_count() > 1;
        let all: Vec<f32> = if deep {
            image.into_rgba16().into_raw().into_iter().map(|value| f32::from(value) / 65_535.0).collect()
        } else {
            image.into_rgba8().into_raw().into_iter().map(|value| f32::from(value) / 255.0).collect()
        };
        let plane = |channel: usize| all[channel..].iter().step_by(4).copied().collect::<Vec<f32>>();
        let planes = if wanted == 4 {
            (0..4).map(plane).collect()
        } else if is_grey {
            vec![plane(0), plane(3)]
        } else {
            let grey = all.chunks_exact(4).map(|pixel| luminance([pixel[0], pixel[1], pixel[2]])).collect();
            vec![grey, plane(3)]
        };
        Ok(Self { height, width, planes })
    }

    /// What the network sees.
    fn seen(&self, name: &str, preprocessing: &Preprocessing, device: &Device) -> Result<Seen> {
        if let Some(channel) = self.planes.iter().position(|plane| plane.iter().any(|value| !value.is_finite())) {
            return Err(Error::format(name, format!("channel {channel} has values that are not finite")));
        }
        let preprocessing = preprocessing.clone().validated()?;
        let Geometry { resized, window, inner, placement } = geometry([self.height, self.width], &preprocessing)?;
        let [height, width] = placement.input;
        let (sources, bars) = (preprocessing.sources(), bars(&preprocessing));
        let channel = |(channel, source): (usize, &Option<usize>)| -> Vec<f32> {
            let plane = self.plane(channel, *source, preprocessing.channels());
            let part = resize_plane(&plane, [self.height, self.width], resized, window, preprocessing.interpolation);
            let mut all = vec![bars[channel]; height * width];
            let Window { height: rows, width: columns, .. } = window;
            for row in 0..rows {
                let start = (inner[0] + row) * width + inner[1];
                all[start..start + columns].copy_from_slice(&part[row * columns..(row + 1) * columns]);
            }
            let (mean, std) = (preprocessing.mean[channel], preprocessing.std[channel]);
            all.into_iter().map(|value| (value - mean) / std).collect()
        };
        let values: Vec<f32> = sources.par_iter().enumerate().flat_map_iter(channel).collect();
        let tensor = Tensor::from_vec(values, (1, sources.len(), height, width), device)?;
        Ok(Seen { tensor, photo: self.picture(), placement, slices: None })
    }

    /// The values of one of the network's channels.
    fn plane(&self, channel: usize, source: Option<usize>, wanted: usize) -> Vec<f32> {
        match (source, self.planes.as_slice()) {
            // Grey of colours, and colours of grey.
            (Some(3), [red, green, blue, ..]) => {
                red.iter().zip(green).zip(blue).map(|((r, g), b)| luminance([*r, *g, *b])).collect()
            }
            (_, [grey]) => grey.clone(),
            (Some(4), planes) => planes[planes.len() - 1].clone(),
            (Some(color @ 0..=2), planes) if wanted <= 4 && planes.len() > color => planes[color].clone(),
            (_, planes) => planes[channel.min(planes.len() - 1)].clone(),
        }
    }

    /// What people see: colours of the first three channels, or grey. Values beyond 0 to 1 are stretched to it.
    fn picture(&self) -> Picture {
        let shown = if self.planes.len() < 3 { [0; 3] } else { [0, 1, 2] };
        let values = || shown.iter().flat_map(|&channel| &self.planes[channel]);
        let (low, high) = values().fold((f32::MAX, f32::MIN), |(low, high), &value| (low.min(value), high.max(value)));
        let (low, high) = if low >= 0.0 && high <= 1.0 { (0.0, 1.0) } else { (low, high) };
        let byte =
            |value: f32| ((value - low) / (high - low).max(f32::MIN_POSITIVE) * 255.0).round().clamp(0.0, 255.0) as u8;
        let pixels = (0..self.height * self.width).flat_map(|at| shown.map(|channel| byte(self.planes[channel][at])));
        Picture { height: self.height, width: self.width, pixels: pixels.collect() }
    }
}

/// The bars' values per channel, before normalisation; nothing is opaque there.
fn bars(preprocessing: &Preprocessing) -> Vec<f32> {
    let color = if let Fit::Pad(color) = preprocessing.fit { color } else { [0; 3] };
    let color = color.map(|value| f32::from(value) / 255.0);
    let of = |source: Option<usize>| match source {
        Some(4) => 0.0,
        Some(channel @ 0..=2) => color[channel],
        _ => luminance(color),
    };
    preprocessing.sources().into_iter().map(of).collect()
}

/// ITU-R BT.601.
fn luminance([red, green, blue]: [f32; 3]) -> f32 {
    0.299 * red + 0.587 * green + 0.114 * blue
}

#[cfg(test)]
mod tests {
    use super::*;
    use faithful_core::Channels;

    fn npy(shape: &str, kind: &str, body: &[u8]) -> Vec<u8> {
        let header = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}\n");
        let mut bytes = Array::MAGIC.to_vec();
        bytes.extend([1, 0]);
        bytes.extend((header.len() as u16).to_le_bytes());
        bytes.extend(header.as_bytes());
        bytes.extend(body);
        bytes
    }

    fn plain(channels: usize) -> Preprocessing {
        Preprocessing {
            resize: None,
            crop: None,
            mean: vec![0.0; channels],
            std: vec![1.0; channels],
            ..Preprocessing::default()
        }
    }

    fn values(bytes: &[u8], preprocessing: &Preprocessing) -> Result<Vec<f32>> {
        let seen = decode_input("x", bytes, preprocessing, &Decoding::default(), &Device::Cpu)?;
        Ok(seen.tensor.flatten_all()?.to_vec1()?)
    }

    #[test]
    fn arrays_have_their_channels_first_or_last() {
        let body: Vec<u8> = (0..10).map(|value| value * 25).collect();
        let share = |value: u8| f32::from(value * 25) * (1.0 / 255.0);
        let last = values(&npy("(1, 2, 5)", "|u1", &body), &plain(5)).unwrap();
        assert_eq!(last, [0, 5, 1, 6, 2, 7, 3, 8, 4, 9].map(share));
        let first = values(&npy("(5, 1, 2)", "|u1", &body), &plain(5)).unwrap();
        assert_eq!(first, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9].map(share));
        assert_eq!(values(&npy("(1, 5, 1, 2)", "|u1", &body), &plain(5)).unwrap(), first);
        let error = values(&npy("(5, 1, 2)", "|u1", &body), &plain(6)).unwrap_err().to_string();
        assert!(error.contains("[5, 1, 2]") && error.contains("(H, W, 6)"), "{error}");
        let infinite = npy("(1, 1, 5)", "<f4", &[[0, 0, 0x80, 0x7f]; 5].concat());
        assert!(values(&infinite, &plain(5)).unwrap_err().to_string().contains("not finite"));
    }

    #[test]
    fn floats_are_as_they_are_and_colours_stand_for_grey() {
        let body: Vec<u8> = [2.0f32, -1.0, 0.5].iter().flat_map(|value| value.to_le_bytes()).collect();
        let grey = Preprocessing { mean: vec![1.0], std: vec![0.5], ..plain(1) };
        assert_eq!(values(&npy("(1, 3)", "<f4", &body), &grey).unwrap(), [2.0, -4.0, -1.0]);
        assert_eq!(
            values(&npy("(1, 3)", "<f4", &body), &plain(3)).unwrap(),
            [2.0, -1.0, 0.5, 2.0, -1.0, 0.5, 2.0, -1.0, 0.5]
        );
        let bgr = Preprocessing { channels: Channels::Bgr, ..plain(3) };
        assert_eq!(values(&npy("(1, 1, 3)", "<f4", &body), &bgr).unwrap(), [0.5, -1.0, 2.0]);
    }

    #[test]
    fn opacity_is_a_channel() {
        let mut png = std::io::Cursor::new(Vec::new());
        let pixels = vec![255, 0, 51, 102, 0, 255, 0, 0];
        image::RgbaImage::from_raw(2, 1, pixels).unwrap().write_to(&mut png, ImageFormat::Png).unwrap();
        let png = png.into_inner();
        assert_eq!(values(&png, &plain(4)).unwrap(), [1.0, 0.0, 0.0, 1.0, 0.2, 0.0, 0.4, 0.0]);
        let grey = values(&png, &plain(2)).unwrap();
        assert!((grey[0] - 0.3218).abs() < 1e-6 && grey[2..] == [0.4, 0.0], "{grey:?}");
        assert!(values(&png, &plain(5)).unwrap_err().to_string().contains("5 channels"));
    }

    #[test]
    fn bands_are_resized_cropped_and_padded_as_photos_are() {
        // A ramp along the columns, in each of five bands.
        let body: Vec<u8> = (0..8_u8).flat_map(|column| [column * 10; 5]).collect();
        let bytes = npy("(1, 8, 5)", "|u1", &body);
        let squash = Preprocessing { fit: Fit::Stretch([1, 4]), ..plain(5) };
        let halved = values(&bytes, &squash).unwrap();
        // The triangle of radius 2 at a distance of half a pixel: (1 3 3 1) / 8.
        assert!((halved[1] * 255.0 - 25.0).abs() < 1e-3, "{halved:?}");
        let pad = Preprocessing { fit: Fit::Pad([255; 3]), crop: Some([4, 4]), ..plain(5) };
        let seen = decode_input("x", &bytes, &pad, &Decoding::default(), &Device::Cpu).unwrap();
        assert_eq!((seen.placement.input, seen.placement.height), ([4, 4], 4.0));
        let all = seen.tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert!(all[..4].iter().all(|value| (value - 1.0).abs() < 1e-6) && all[5] < 0.2, "{all:?}");
    }
}
