use faithful_core::{Error, Result};
use faithful_report::encode_png;
use image::codecs::jpeg::JpegEncoder;
use image::codecs::webp::WebPEncoder;
use image::imageops::FilterType;
use image::{ExtendedColorType, RgbImage};
use std::borrow::Cow;
use std::sync::Arc;

/// Below this many bytes a picture is kept without loss, whatever JPEG would need.
const SMALL: usize = 16 << 10;
/// The qualities of JPEG that are tried, the first that is small enough taken.
const QUALITIES: [u8; 4] = [86, 78, 68, 56];
/// What the photos of a page may have together, as text: half of what a page may have, less what surrounds it.
const PHOTOS: usize = 28_000_000;

/// A picture as the bytes of an image file, as small as it may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    pub(crate) bytes: Arc<[u8]>,
    pub(crate) media: &'static str,
}

impl Encoded {
    /// The longer side in pixels that keeps so many photos within about 28 MB of a page.
    pub fn longest_of(count: usize) -> u32 {
        match count {
            0..=60 => 640,
            61..=200 => 480,
            201..=500 => 384,
            501..=1000 => 288,
            _ => 224,
        }
    }

    /// The bytes that each of so many photos may have, so that all have about 28 MB of a page, however little they can be
    /// packed.
    pub fn most_of(count: usize) -> usize {
        // Base64 writes four letters for three bytes.
        PHOTOS / 4 * 3 / count.max(1)
    }

    /// As [`Encoded::picture`], in at most `most` bytes: where a JPEG of quality 86 is larger, of a lower one down to 56,
    /// then with a shorter side. A picture of a few pixels may still be larger than very few bytes.
    pub fn within(picture: &RgbImage, longest: u32, most: usize) -> Result<Self> {
        let mut longest = longest.min(picture.width().max(picture.height()));
        loop {
            let reduced = reduce(picture, longest)?;
            let mut found = Self::encode(&reduced, QUALITIES[0])?;
            for quality in &QUALITIES[1..] {
                if found.size() > most {
                    found = Self::encode(&reduced, *quality)?;
                }
            }
            if found.size() <= most || longest <= 16 {
                return Ok(found);
            }
            longest = longest * 4 / 5;
        }
    }

    /// Encodes a picture whose longer side is reduced to `longest` pixels where it is longer: without loss as WebP or
    /// PNG where that is small or smaller than a JPEG of quality 86, and as that JPEG otherwise.
    ///
    /// # Errors
    /// [`Error::Parameter`] for a picture without pixels.
    pub fn picture(picture: &RgbImage, longest: u32) -> Result<Self> {
        let reduced = reduce(picture, longest)?;
        Self::encode(&reduced, QUALITIES[0])
    }

    fn encode(picture: &RgbImage, quality: u8) -> Result<Self> {
        let failed = |error: image::ImageError| Error::format_from("picture", error);
        let (width, height) = picture.dimensions();
        let mut webp = Vec::new();
        let encoder = WebPEncoder::new_lossless(&mut webp);
        encoder.encode(picture, width, height, ExtendedColorType::Rgb8).map_err(failed)?;
        let mut best = (webp, "image/webp");
        if best.0.len() > SMALL {
            let mut jpeg = Vec::new();
            JpegEncoder::new_with_quality(&mut jpeg, quality).encode_image(picture).map_err(failed)?;
            if jpeg.len() < best.0.len() {
                best = (jpeg, "image/jpeg");
            }
        } else {
            let png = encode_png(picture)?;
            if png.len() < best.0.len() {
                best = (png, "image/png");
            }
        }
        Ok(Self { bytes: best.0.into(), media: best.1 })
    }

    /// How many bytes it has.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// The bytes of the file.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// The picture with no side longer than `longest`.
fn reduce(picture: &RgbImage, longest: u32) -> Result<Cow<'_, RgbImage>> {
    let (width, height) = picture.dimensions();
    if width == 0 || height == 0 {
        return Err(Error::parameter("picture", "it has no pixels"));
    }
    let share = f64::from(longest.max(1)) / f64::from(width.max(height));
    if share >= 1.0 {
        return Ok(Cow::Borrowed(picture));
    }
    let side = |side: u32| (f64::from(side) * share).round().max(1.0) as u32;
    Ok(Cow::Owned(image::imageops::resize(picture, side(width), side(height), FilterType::CatmullRom)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(side: u32) -> RgbImage {
        let mut state = 7u32;
        RgbImage::from_fn(side, side, |_, _| {
            image::Rgb([0; 3].map(|_: u8| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 24) as u8
            }))
        })
    }

    #[test]
    fn small_pictures_come_back_pixel_for_pixel() {
        let picture = noise(40);
        let encoded = Encoded::picture(&picture, 640).unwrap();
        assert_eq!(image::load_from_memory(encoded.bytes()).unwrap().to_rgb8(), picture);
    }

    #[test]
    fn large_pictures_are_reduced_and_become_jpeg() {
        let encoded = Encoded::picture(&noise(600), 300).unwrap();
        assert_eq!(encoded.media, "image/jpeg");
        let back = image::load_from_memory(encoded.bytes()).unwrap();
        assert_eq!((back.width(), back.height()), (300, 300));
        assert!(Encoded::picture(&RgbImage::new(0, 5), 300).is_err());
    }

    #[test]
    fn a_thousand_photos_have_their_half_of_a_page_even_if_they_are_noise() {
        let most = Encoded::most_of(1000);
        assert_eq!(most, 21_000);
        let encoded = Encoded::within(&noise(600), Encoded::longest_of(1000), most).unwrap();
        assert!(encoded.size() <= most && encoded.size() > most / 3, "{}", encoded.size());
        let back = image::load_from_memory(encoded.bytes()).unwrap();
        assert!(back.width() > 100, "{}", back.width());
        // Where there is room, nothing changes.
        let easy = RgbImage::from_pixel(300, 200, image::Rgb([9, 90, 9]));
        assert_eq!(Encoded::within(&easy, 288, most).unwrap(), Encoded::picture(&easy, 288).unwrap());
        assert!(Encoded::within(&RgbImage::new(5, 0), 288, most).is_err());
        assert_eq!(Encoded::within(&noise(3), 288, 0).unwrap(), Encoded::picture(&noise(3), 288).unwrap());
    }

    #[test]
    fn thin_pictures_keep_a_pixel() {
        let encoded = Encoded::picture(&RgbImage::new(2000, 1), 100).unwrap();
        assert_eq!(image::load_from_memory(encoded.bytes()).unwrap().height(), 1);
    }
}
