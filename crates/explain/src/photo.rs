//! A photo from its file to the network's input, with the way back.

use candle_core::{Device, Tensor};
use faithful_core::{Error, Network, Preprocessing, Result};
use faithful_data::{Decoding, Picture, preprocess, read_photo};
use faithful_report::{Region, image::RgbImage};
use std::path::Path;

/// A photo at its own size, and what the network sees of it.
pub struct Photo {
    /// At its own size.
    pub picture: RgbImage,
    /// `(1, C, H, W)`.
    pub tensor: Tensor,
    /// The part of the photo that the tensor shows.
    pub region: Region,
}

impl Photo {
    /// The photo where `network` takes its input.
    pub fn on(self, network: &dyn Network) -> Result<Self> {
        Ok(Self { tensor: self.tensor.to_device(&network.device())?, ..self })
    }
}

/// Reads and prepares a photo.
pub fn read(path: &Path, preprocessing: &Preprocessing, decoding: &Decoding) -> Result<Photo> {
    prepare(read_photo(path, decoding)?, preprocessing)
}

/// Prepares a picture.
pub fn prepare(picture: Picture, preprocessing: &Preprocessing) -> Result<Photo> {
    let prepared = preprocess(&picture, preprocessing, &Device::Cpu)?;
    let place = prepared.placement;
    let region = Region { left: place.left, top: place.top, width: place.width, height: place.height };
    let (width, height) = (picture.width as u32, picture.height as u32);
    let picture = RgbImage::from_raw(width, height, picture.pixels)
        .ok_or_else(|| Error::shape("picture", "height * width * 3 bytes", &[height as usize, width as usize]))?;
    Ok(Photo { picture, tensor: prepared.tensor, region })
}

/// The limits of a run's photos.
pub fn decoding(max_megapixels: f64) -> Result<Decoding> {
    if !(max_megapixels > 0.0 && max_megapixels <= 10_000.0) {
        let reason = format!("{max_megapixels} is not above 0 and at most 10,000");
        return Err(Error::parameter("max-megapixels", reason));
    }
    Ok(Decoding { pixels: (max_megapixels * 1e6) as u64, ..Decoding::default() })
}
