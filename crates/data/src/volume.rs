use crate::photo::{Decoding, sniff};
use crate::preprocess::Placement;
use crate::{Picture, nifti, tiff};
use candle_core::{Device, Tensor};
use faithful_core::{Array, Error, Preprocessing, Result, caught};
use image::ImageFormat;

/// How the slices of a volume lie on one picture: row by row from the top left, as nearly square as they can.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slices {
    /// How many there are.
    pub count: usize,
    /// Rows of pixels of each.
    pub height: usize,
    /// Columns of pixels of each.
    pub width: usize,
}

impl Slices {
    /// How many slices stand beside each other.
    pub fn columns(&self) -> usize {
        let columns = (self.count as f64 * self.height as f64 / self.width as f64).sqrt().round() as usize;
        columns.clamp(1, self.count.max(1))
    }

    /// The picture's height and width.
    pub fn picture(&self) -> [usize; 2] {
        [self.count.div_ceil(self.columns()) * self.height, self.columns() * self.width]
    }

    /// Where a slice begins on the picture, `[top, left]`.
    pub fn place(&self, slice: usize) -> [usize; 2] {
        [slice / self.columns() * self.height, slice % self.columns() * self.width]
    }
}

/// A volume of `channels`, each of `slices * height * width` values.
pub(crate) struct Volume {
    slices: Slices,
    channels: Vec<Vec<f32>>,
}

impl Volume {
    /// The volume in a file for a network whose input is `(C, slices, height, width)`: an `.npy` array `(slices, H, W)`,
    /// `(C, slices, H, W)`, `(slices, H, W, C)` or with a batch of one before, a TIFF with a page per slice, or a NIfTI file.
    ///
    /// # Errors
    /// [`Error::Format`] for other files and other sizes.
    pub(crate) fn decode(
        name: &str,
        bytes: &[u8],
        count: usize,
        preprocessing: &Preprocessing,
        decoding: &Decoding,
    ) -> Result<Self> {
        let ([height, width], channels) = (preprocessing.input_size, preprocessing.channels());
        let slices = Slices { count, height, width };
        let wanted = || match channels {
            1 => format!("({count}, {height}, {width})"),
            more => format!("({more}, {count}, {height}, {width})"),
        };
        let channels = if bytes.starts_with(Array::MAGIC) {
            let array = Array::decode(bytes).map_err(|error| Error::format(name, error.to_string()))?;
            let scale = array.largest.map_or(1.0, |largest| 1.0 / largest);
            let last = of_shape(&array.shape, [channels, count, height, width]).ok_or_else(|| {
                let reason = format!(
                    "an array of the shape {:?}; the network takes a volume of {}: resample it",
                    array.shape,
                    wanted()
                );
                Error::format(name, reason)
            })?;
            let all = count * height * width;
            let channel = |channel: usize| -> Vec<f32> {
                let of = |at: usize| array.values[if last { at * channels + channel } else { channel * all + at }];
                (0..all).map(|at| of(at) * scale).collect()
            };
            (0..channels).map(channel).collect()
        } else if sniff(bytes) == Some(ImageFormat::Tiff) {
            let damaged = || Error::format(name, format!("damaged TIFF ({} bytes): its decoder gave up", bytes.len()));
            let pages = caught(|| tiff::read(name, bytes, decoding.pixels, count)).ok_or_else(damaged)??;
            if pages.planes.len() != count * channels || [pages.height, pages.width] != [height, width] {
                let reason = format!(
                    "a TIFF of {} planes of {} x {} pixels; the network takes a volume of {}: resample it",
                    pages.planes.len(),
                    pages.height,
                    pages.width,
                    wanted()
                );
                return Err(Error::format(name, reason));
            }
            // A page has all channels of its slice.
            (0..channels)
                .map(|channel| pages.planes.iter().skip(channel).step_by(channels).flatten().copied().collect())
                .collect()
        } else if nifti::is_one(bytes) {
            let scan = nifti::Scan::open(name, bytes)?;
            let sides = scan.sides()?;
            let fits = |sides_of_volume: [usize; 3]| {
                sides.get(..3) == Some(&sides_of_volume[..])
                    && sides.get(3).copied().unwrap_or(1) == channels
                    && sides.len() <= 4
            };
            // Columns first, as scanners write them; or slices first, as what was saved from Python's arrays.
            let turned = !fits([width, height, count]) && fits([count, height, width]);
            if !turned && !fits([width, height, count]) {
                let reason = format!(
                    "a NIfTI scan of the sides {sides:?}; the network takes a volume of {}: resample it to {width} columns, {height} \
                     rows and {count} slices",
                    wanted()
                );
                return Err(Error::format(name, reason));
            }
            scan.channels(turned)?
        } else {
            let reason = format!(
                "the network takes a volume of {}; give an .npy array, a TIFF with a page per slice, or a NIfTI file",
                wanted()
            );
            return Err(Error::format(name, reason));
        };
        let volume = Self { slices, channels };
        if let Some(channel) = volume.channels.iter().position(|values| values.iter().any(|value| !value.is_finite())) {
            return Err(Error::format(name, format!("channel {channel} has values that are not finite")));
        }
        Ok(volume)
    }

    /// What the network sees, `(1, C, slices, H, W)`, and what people see: all slices on one picture.
    pub(crate) fn seen(&self, preprocessing: &Preprocessing, device: &Device) -> Result<crate::Seen> {
        let Slices { count, height, width } = self.slices;
        let mut values = Vec::with_capacity(self.channels.len() * count * height * width);
        for (channel, (mean, std)) in self.channels.iter().zip(preprocessing.mean.iter().zip(&preprocessing.std)) {
            values.extend(channel.iter().map(|value| (value - mean) / std));
        }
        let tensor = Tensor::from_vec(values, (1, self.channels.len(), count, height, width), device)?;
        let [rows, columns] = self.slices.picture();
        let (height, width) = (rows as f64, columns as f64);
        let photo = [rows, columns];
        let placement = Placement { photo, left: 0.0, top: 0.0, width, height, input: preprocessing.input_size };
        Ok(crate::Seen { tensor, photo: self.picture(), placement, slices: Some(self.slices) })
    }

    /// The slices of the first channel in grey; values beyond 0 to 1 are stretched to it.
    fn picture(&self) -> Picture {
        let Slices { count, height, width } = self.slices;
        let [rows, columns] = self.slices.picture();
        let values = &self.channels[0];
        let (low, high) = values.iter().fold((f32::MAX, f32::MIN), |(low, high), &v| (low.min(v), high.max(v)));
        let (low, high) = if low >= 0.0 && high <= 1.0 { (0.0, 1.0) } else { (low, high) };
        let byte =
            |value: f32| ((value - low) / (high - low).max(f32::MIN_POSITIVE) * 255.0).round().clamp(0.0, 255.0) as u8;
        let mut pixels = vec![0; rows * columns * 3];
        for slice in 0..count {
            let [top, left] = self.slices.place(slice);
            for row in 0..height {
                for column in 0..width {
                    let value = byte(values[(slice * height + row) * width + column]);
                    let at = ((top + row) * columns + left + column) * 3;
                    pixels[at..at + 3].fill(value);
                }
            }
        }
        Picture { height: rows, width: columns, pixels }
    }
}

/// Whether the channels of an array of this shape come last; `None` where it is no such volume.
fn of_shape(shape: &[usize], [channels, slices, height, width]: [usize; 4]) -> Option<bool> {
    let shape = if let [1, rest @ ..] = shape
        && rest.len() >= 4
    {
        rest
    } else {
        shape
    };
    match *shape {
        [a, b, c] if channels == 1 && [a, b, c] == [slices, height, width] => Some(false),
        [first, a, b, c] if first == channels && [a, b, c] == [slices, height, width] => Some(false),
        [a, b, c, last] if last == channels && [a, b, c] == [slices, height, width] => Some(true),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_lie_in_rows_that_are_nearly_square() {
        let slices = Slices { count: 8, height: 16, width: 16 };
        assert_eq!((slices.columns(), slices.picture(), slices.place(4)), (3, [48, 48], [16, 16]));
        let flat = Slices { count: 2, height: 1, width: 400 };
        assert_eq!((flat.columns(), flat.picture()), (1, [2, 400]));
        assert_eq!(Slices { count: 1, height: 9, width: 4 }.picture(), [9, 4]);
    }

    #[test]
    fn an_arrays_channels_are_first_or_last() {
        assert_eq!(of_shape(&[4, 2, 3], [1, 4, 2, 3]), Some(false));
        assert_eq!(of_shape(&[1, 4, 2, 3], [1, 4, 2, 3]), Some(false));
        assert_eq!(of_shape(&[1, 1, 4, 2, 3], [1, 4, 2, 3]), Some(false));
        assert_eq!(of_shape(&[4, 2, 3, 1], [1, 4, 2, 3]), Some(true));
        assert_eq!(of_shape(&[2, 4, 5, 3], [2, 4, 5, 3]), Some(false));
        assert_eq!(of_shape(&[4, 5, 3, 2], [2, 4, 5, 3]), Some(true));
        assert_eq!(of_shape(&[4, 3, 2], [1, 4, 2, 3]), None);
        assert_eq!(of_shape(&[4, 2, 3], [2, 4, 2, 3]), None);
    }

    #[test]
    fn what_is_no_such_volume_is_refused() {
        let preprocessing = Preprocessing {
            input_size: [2, 3],
            slices: Some(4),
            mean: vec![0.5],
            std: vec![0.5],
            ..Preprocessing::default()
        };
        let decode = |bytes: &[u8]| Volume::decode("x", bytes, 4, &preprocessing, &Decoding::default());
        let error = |bytes: &[u8]| decode(bytes).err().unwrap().to_string();
        assert!(error(b"\x89PNG").contains("a volume of (4, 2, 3)"), "{}", error(b"\x89PNG"));
        let npy = |shape: &str, body: &[u8]| {
            let header = format!("{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}\n");
            let mut bytes = Array::MAGIC.to_vec();
            bytes.extend([1, 0]);
            bytes.extend((header.len() as u16).to_le_bytes());
            bytes.extend(header.as_bytes());
            bytes.extend(body);
            bytes
        };
        assert!(error(&npy("(4, 3, 2)", &[0; 24])).contains("[4, 3, 2]"));
        let body: Vec<u8> = (0..24).map(|value| value * 10).collect();
        let seen = decode(&npy("(1, 4, 2, 3)", &body)).unwrap().seen(&preprocessing, &Device::Cpu).unwrap();
        assert_eq!((seen.tensor.dims(), seen.photo.height, seen.photo.width), (&[1, 1, 4, 2, 3][..], 4, 6));
        let values: Vec<f32> = seen.tensor.flatten_all().unwrap().to_vec1().unwrap();
        assert!((values[23] - (230.0 / 255.0 - 0.5) / 0.5).abs() < 1e-6, "{values:?}");
    }
}
