//! A photo from its file to the network's input, with the way back.

use candle_core::{Device, Tensor};
use faithful_core::{Error, Network, Preprocessing, Result};
use faithful_data::{Decoding, Picture, Placement, Slices, decode_input, preprocess, read_input};
use faithful_report::Region;
use faithful_report::image::{RgbImage, imageops};
use std::path::Path;

/// A photo at its own size, and what the network sees of it.
pub struct Photo {
    /// At its own size.
    pub picture: RgbImage,
    /// `(1, C, H, W)`; of a volume, `(1, C, slices, H, W)`.
    pub tensor: Tensor,
    /// The part of the photo that the tensor shows.
    pub region: Region,
    /// How a volume's slices lie on the picture.
    pub slices: Option<Slices>,
}

impl Photo {
    /// How many pixels it has at its own size.
    pub fn pixels(&self) -> u64 {
        u64::from(self.picture.width()) * u64::from(self.picture.height())
    }

    /// The photo where `network` takes its input.
    pub fn on(self, network: &dyn Network) -> Result<Self> {
        Ok(Self { tensor: self.tensor.to_device(&network.device())?, ..self })
    }

    /// Of `[rows, columns]` that lie evenly over what the network sees, those whose centres are in pixels of which `inside` says so
    /// by column and row; row by row. Bars around the photo are no part of it.
    pub(crate) fn cells(&self, [rows, columns]: [usize; 2], inside: &dyn Fn(usize, usize) -> bool) -> Vec<bool> {
        let Region { left, top, width, height } = self.region;
        let (across, down) = (self.picture.width() as usize, self.picture.height() as usize);
        let cell = |row: usize, column: usize| {
            let y = top + (row as f64 + 0.5) / rows as f64 * height;
            let x = left + (column as f64 + 0.5) / columns as f64 * width;
            y >= 0.0 && x >= 0.0 && (y as usize) < down && (x as usize) < across && inside(x as usize, y as usize)
        };
        (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column))).map(|(r, c)| cell(r, c)).collect()
    }

    /// Of `[rows, columns]` as above, the number of the one that holds a point of the photo, by column and row; `None` where the
    /// network does not see it.
    pub(crate) fn cell(&self, [rows, columns]: [usize; 2], [x, y]: [f64; 2]) -> Option<usize> {
        let Region { left, top, width, height } = self.region;
        let place = |at: f64, count: usize| {
            let cell = (at * count as f64).floor();
            (cell >= 0.0 && cell < count as f64).then_some(cell as usize)
        };
        Some(place((y - top) / height, rows)? * columns + place((x - left) / width, columns)?)
    }

    /// The same photo, of whose picture only the part is kept that the network sees, in whole pixels. A volume is seen whole.
    #[must_use]
    pub fn cropped(self) -> Self {
        if self.slices.is_some() {
            return self;
        }
        let Region { left, top, width, height } = self.region;
        let within = |from: f64, length: f64, most: u32| {
            let first = from.round().clamp(0.0, f64::from(most)) as u32;
            (first, (from + length).round().clamp(0.0, f64::from(most)) as u32 - first)
        };
        let (x, columns) = within(left, width, self.picture.width());
        let (y, rows) = within(top, height, self.picture.height());
        if columns == 0 || rows == 0 {
            return self;
        }
        let picture = imageops::crop_imm(&self.picture, x, y, columns, rows).to_image();
        let region = Region { left: left - f64::from(x), top: top - f64::from(y), width, height };
        Self { picture, region, ..self }
    }
}

/// Reads and prepares a photo, or an array or a TIFF of as many channels or slices as the network takes.
pub fn read(path: &Path, preprocessing: &Preprocessing, decoding: &Decoding) -> Result<Photo> {
    let seen = read_input(path, preprocessing, decoding, &Device::Cpu)?;
    placed(seen.photo, seen.tensor, seen.placement, seen.slices)
}

/// As [`read`], of the bytes of a file that errors call `name`.
pub fn of_bytes(name: &str, bytes: &[u8], preprocessing: &Preprocessing, decoding: &Decoding) -> Result<Photo> {
    let seen = decode_input(name, bytes, preprocessing, decoding, &Device::Cpu)?;
    placed(seen.photo, seen.tensor, seen.placement, seen.slices)
}

/// Prepares a picture.
pub fn prepare(picture: Picture, preprocessing: &Preprocessing) -> Result<Photo> {
    if let Some(slices) = preprocessing.slices {
        let reason = format!("the network takes volumes of {slices} slices, and this is one picture");
        return Err(Error::parameter("model", reason));
    }
    let prepared = preprocess(&picture, preprocessing, &Device::Cpu)?;
    placed(picture, prepared.tensor, prepared.placement, None)
}

fn placed(picture: Picture, tensor: Tensor, place: Placement, slices: Option<Slices>) -> Result<Photo> {
    let region = Region { left: place.left, top: place.top, width: place.width, height: place.height };
    let (width, height) = (picture.width as u32, picture.height as u32);
    let picture = RgbImage::from_raw(width, height, picture.pixels)
        .ok_or_else(|| Error::shape("picture", "height * width * 3 bytes", &[height as usize, width as usize]))?;
    Ok(Photo { picture, tensor, region, slices })
}

/// The limits of a run's photos.
pub fn decoding(max_megapixels: f64) -> Result<Decoding> {
    if !(max_megapixels > 0.0 && max_megapixels <= 10_000.0) {
        let reason = format!("{max_megapixels} is not above 0 and at most 10,000");
        return Err(Error::parameter("max-megapixels", reason));
    }
    Ok(Decoding { pixels: (max_megapixels * 1e6) as u64, ..Decoding::default() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::DType;

    #[test]
    fn a_cropped_photo_shows_what_the_network_sees() {
        let picture = RgbImage::from_fn(10, 6, |x, y| [x as u8, y as u8, 0].into());
        let region = Region { left: 2.0, top: -1.0, width: 6.0, height: 8.0 };
        let tensor = Tensor::zeros((1, 3, 4, 4), DType::F32, &Device::Cpu).unwrap();
        let cropped = Photo { picture, tensor, region, slices: None }.cropped();
        assert_eq!((cropped.picture.dimensions(), cropped.picture.get_pixel(0, 0).0), ((6, 6), [2, 0, 0]));
        assert_eq!(cropped.region, Region { left: 0.0, ..region });
    }
}
