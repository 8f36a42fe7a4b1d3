//! A photo from its file to the network's input, with the way back.

use candle_core::{Device, Tensor};
use faithful_core::{Error, Network, Preprocessing, Result};
use faithful_data::{Decoding, Picture, Placement, Slices, decode_input, preprocess, read_input};
use faithful_report::{Region, image::RgbImage};
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
    /// The photo where `network` takes its input.
    pub fn on(self, network: &dyn Network) -> Result<Self> {
        Ok(Self { tensor: self.tensor.to_device(&network.device())?, ..self })
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
