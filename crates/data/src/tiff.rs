//! TIFF files beyond what the crate `image` takes: floats, palettes, YCbCr, bands and pages.

use faithful_core::{Error, Result};
use std::io::Cursor;
use tiff::ColorType;
use tiff::decoder::{Decoder, DecodingResult, Limits};
use tiff::tags::Tag;

/// The samples of one or more pages, each of which has the same size.
pub(crate) struct Samples {
    pub(crate) height: usize,
    pub(crate) width: usize,
    pub(crate) color: ColorType,
    /// Channel by channel, rows from the top, a page's channels after those of the page before; whole numbers without
    /// a sign are shares of their type's largest.
    pub(crate) planes: Vec<Vec<f32>>,
    /// Of a palette, red, green and blue of each index.
    palette: Option<Vec<[u8; 3]>>,
}

/// The photometric interpretation of a palette.
const PALETTE: u64 = 3;

/// Reads all pages, `pixels` in all at most; an error says why in words.
pub(crate) fn read(name: &str, bytes: &[u8], pixels: u64, most_pages: usize) -> Result<Samples> {
    let wrong = |reason: String| Error::format(name, reason);
    let failed = |error: tiff::TiffError| {
        let text = error.to_string();
        match error {
            tiff::TiffError::UnsupportedError(_) => wrong(format!(
                "a TIFF of a kind that is not read ({text}); convert it to PNG, or to an uncompressed TIFF"
            )),
            tiff::TiffError::IoError(io) if io.kind() == std::io::ErrorKind::UnexpectedEof => {
                wrong(format!("truncated TIFF ({} bytes): {text}", bytes.len()))
            }
            _ => wrong(format!("damaged or unusual TIFF ({} bytes): {text}; convert it to PNG", bytes.len())),
        }
    };
    let changed = without_palette(bytes);
    let is_palette = changed.is_some();
    let source = changed.as_deref().unwrap_or(bytes);
    let mut limits = Limits::default();
    limits.decoding_buffer_size = usize::try_from(pixels.saturating_mul(16)).unwrap_or(usize::MAX);
    limits.intermediate_buffer_size = limits.decoding_buffer_size;
    let mut decoder = Decoder::new(Cursor::new(source)).map_err(failed)?.with_limits(limits);
    let (width, height) = decoder.dimensions().map_err(failed)?;
    let color = decoder.colortype().map_err(failed)?;
    let mut samples =
        Samples { height: height as usize, width: width as usize, color, planes: Vec::new(), palette: None };
    if width == 0 || height == 0 {
        return Err(wrong(format!("the TIFF says that it is {width} x {height} pixels")));
    }
    if is_palette {
        let colors = decoder.get_tag_u16_vec(Tag::ColorMap).map_err(failed)?;
        let count = colors.len() / 3;
        let byte = |value: u16| (value >> 8) as u8;
        let of = |index: usize| [0, 1, 2].map(|channel: usize| byte(colors[channel * count + index]));
        samples.palette = Some((0..count).map(of).collect());
    }
    let mut left = pixels;
    for page in 1.. {
        let own = decoder.dimensions().map_err(failed)?;
        if own != (width, height) || decoder.colortype().map_err(failed)? != color {
            // Thumbnails and masks have pages of their own.
            if page > 1 && most_pages > 1 {
                break;
            }
        }
        let count = u64::from(width) * u64::from(height) * u64::from(color.num_samples());
        left = left.checked_sub(count).ok_or_else(|| {
            let reason = format!("{width} x {height} pixels on page {page} are more than the limit of {pixels} in all");
            wrong(reason)
        })?;
        let mut result = DecodingResult::U8(Vec::new());
        let layout = decoder.read_image_to_buffer(&mut result).map_err(failed)?;
        let channels = usize::from(color.num_samples());
        let values = match (&result, color.bit_depth()) {
            (DecodingResult::U8(packed), bits @ 1..8) => {
                let largest = if is_palette { 1.0 } else { f32::from((1_u16 << bits) - 1) };
                unpacked(packed, samples.width * channels, usize::from(bits), largest)
            }
            _ => floats(result, is_palette),
        };
        samples
            .add(&values, channels, layout.planes > 1)
            .ok_or_else(|| wrong("a TIFF whose samples do not fill its pixels; convert it to PNG".into()))?;
        if page >= most_pages || !decoder.more_images() {
            break;
        }
        decoder.next_image().map_err(failed)?;
    }
    Ok(samples)
}

impl Samples {
    /// Adds a page's channels; `None` where there are not enough values.
    fn add(&mut self, values: &[f32], channels: usize, planar: bool) -> Option<()> {
        let count = self.height.checked_mul(self.width)?;
        if channels == 0 || values.len() < count.checked_mul(channels)? {
            return None;
        }
        for channel in 0..channels {
            self.planes.push(if planar {
                values[channel * count..(channel + 1) * count].to_vec()
            } else {
                values[channel..].iter().step_by(channels).take(count).copied().collect()
            });
        }
        Some(())
    }

    /// The first page as red, green and blue, three bytes per pixel.
    ///
    /// # Errors
    /// [`Error::Format`] where its channels are no colours, or its numbers reach beyond 0 to 1.
    pub(crate) fn colors(&self, name: &str) -> Result<Vec<u8>> {
        let unread = |what: &str| {
            Error::format(
                name,
                format!("a TIFF of {what} is no photo of colours; convert it to PNG, or to grey or RGB"),
            )
        };
        let byte = |value: f32| (value * 255.0).round().clamp(0.0, 255.0) as u8;
        if let Some(palette) = &self.palette {
            let color = |index: &f32| palette.get(*index as usize).copied().unwrap_or_default();
            return Ok(self.planes[0].iter().flat_map(color).collect());
        }
        // A mask of opacity behind the colours is not looked at: these files have no background.
        let channels = match self.color {
            ColorType::Gray(_) | ColorType::GrayA(_) => [0; 3],
            ColorType::RGB(_) | ColorType::RGBA(_) | ColorType::YCbCr(_) => [0, 1, 2],
            ColorType::Multiband { num_samples, .. } => return Err(unread(&format!("{num_samples} bands"))),
            other => return Err(unread(&format!("{other:?}"))),
        };
        let [first, second, third] = channels.map(|channel| self.planes[channel].as_slice());
        let (lowest, highest) =
            self.planes[0].iter().fold((f32::MAX, f32::MIN), |(low, high), &value| (low.min(value), high.max(value)));
        if !(lowest >= 0.0 && highest <= 1.0) {
            return Err(Error::format(
                name,
                format!(
                    "a TIFF whose values reach from {lowest} to {highest}; save it as 0 to 1, or convert it to PNG"
                ),
            ));
        }
        let pixel = |((&a, &b), &c): ((&f32, &f32), &f32)| {
            if !matches!(self.color, ColorType::YCbCr(_)) {
                return [byte(a), byte(b), byte(c)];
            }
            // ITU-R BT.601 at full range.
            let (blue, red) = (b - 128.0 / 255.0, c - 128.0 / 255.0);
            [a + 1.402 * red, a - 0.344_136 * blue - 0.714_136 * red, a + 1.772 * blue].map(byte)
        };
        Ok(first.iter().zip(second).zip(third).flat_map(pixel).collect())
    }
}

/// The file with its palette's indices called grey, because the decoder knows no palettes; `None` where it has none.
fn without_palette(bytes: &[u8]) -> Option<Vec<u8>> {
    let little = match bytes.get(..4)? {
        [b'I', b'I', 42, 0] => true,
        [b'M', b'M', 0, 42] => false,
        _ => return None,
    };
    let two = |at: usize| {
        let bytes = bytes.get(at..at + 2)?.try_into().ok()?;
        Some(if little { u16::from_le_bytes(bytes) } else { u16::from_be_bytes(bytes) })
    };
    let four = |at: usize| {
        let bytes = bytes.get(at..at.checked_add(4)?)?.try_into().ok()?;
        Some(if little { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) } as usize)
    };
    let first = four(4)?;
    let entries = usize::from(two(first)?);
    let place = (0..entries).map(|entry| first + 2 + 12 * entry).find(|&at| two(at) == Some(262))?;
    if two(place + 8).map(u64::from) != Some(PALETTE) {
        return None;
    }
    let mut changed = bytes.to_vec();
    changed[place + 8..place + 10].copy_from_slice(&if little { 1u16.to_le_bytes() } else { 1u16.to_be_bytes() });
    Some(changed)
}

/// Samples of less than a byte, rows of which begin at bytes, as shares of `largest`.
fn unpacked(packed: &[u8], per_row: usize, bits: usize, largest: f32) -> Vec<f32> {
    let row_bytes = (per_row * bits).div_ceil(8).max(1);
    let sample = |row: &[u8], place: usize| {
        let value = (0..bits).fold(0_u8, |value, bit| {
            let at = place * bits + bit;
            value << 1 | row.get(at / 8).map_or(0, |byte| byte >> (7 - at % 8) & 1)
        });
        f32::from(value) / largest
    };
    packed.chunks(row_bytes).flat_map(|row| (0..per_row).map(move |place| sample(row, place))).collect()
}

fn of<T: Copy>(values: &[T], number: impl Fn(T) -> f64) -> Vec<f32> {
    values.iter().map(|&value| number(value) as f32).collect()
}

/// Samples as numbers: whole ones without a sign as shares of their largest, unless they are indices.
fn floats(result: DecodingResult, indices: bool) -> Vec<f32> {
    let share = |largest: f64| if indices { 1.0 } else { 1.0 / largest };
    match result {
        DecodingResult::U8(values) => of(&values, |value| f64::from(value) * share(255.0)),
        DecodingResult::U16(values) => of(&values, |value| f64::from(value) * share(65_535.0)),
        DecodingResult::U32(values) => of(&values, |value| f64::from(value) * share(f64::from(u32::MAX))),
        DecodingResult::U64(values) => of(&values, |value| value as f64 * share(u64::MAX as f64)),
        DecodingResult::I8(values) => of(&values, f64::from),
        DecodingResult::I16(values) => of(&values, f64::from),
        DecodingResult::I32(values) => of(&values, f64::from),
        DecodingResult::I64(values) => of(&values, |value| value as f64),
        DecodingResult::F16(values) => of(&values, |value| f64::from(value.to_f32())),
        DecodingResult::F32(values) => of(&values, f64::from),
        DecodingResult::F64(values) => of(&values, |value| value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Decoding, decode_photo};

    /// A page: its tags' numbers and values, 16 bits each, and its pixels' bytes.
    struct Page<'a> {
        tags: &'a [(u16, &'a [u16])],
        pixels: &'a [u8],
    }

    /// A little-endian file of these pages, one strip each; every page says its own width, height and kind.
    fn file(pages: &[Page<'_>]) -> Vec<u8> {
        let mut bytes = b"II\x2a\0\0\0\0\0".to_vec();
        let mut pointer = 4;
        for page in pages {
            let strip = bytes.len() as u32;
            bytes.extend(page.pixels);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
            let mut tags: Vec<(u16, u16, u32, u32)> = Vec::new();
            for &(tag, values) in page.tags {
                let value = match values {
                    [one] => u32::from(*one),
                    [one, two] => u32::from(*one) | u32::from(*two) << 16,
                    many => {
                        let place = bytes.len() as u32;
                        for value in many {
                            bytes.extend(value.to_le_bytes());
                        }
                        bytes.resize(bytes.len().next_multiple_of(4), 0);
                        place
                    }
                };
                tags.push((tag, 3, values.len() as u32, value));
            }
            tags.push((273, 4, 1, strip));
            tags.push((279, 4, 1, page.pixels.len() as u32));
            tags.sort_unstable();
            let directory = bytes.len() as u32;
            bytes[pointer..pointer + 4].copy_from_slice(&directory.to_le_bytes());
            bytes.extend((tags.len() as u16).to_le_bytes());
            for (tag, kind, count, value) in tags {
                bytes.extend(tag.to_le_bytes());
                bytes.extend(u16::to_le_bytes(kind));
                bytes.extend(count.to_le_bytes());
                bytes.extend(value.to_le_bytes());
            }
            pointer = bytes.len();
            bytes.extend([0; 4]);
        }
        bytes
    }

    fn photo(bytes: &[u8]) -> Result<Vec<u8>> {
        decode_photo("x.tif", bytes, &Decoding::default()).map(|picture| picture.pixels)
    }

    /// Two by one pixels of one strip, uncompressed, with what else is said.
    fn with<'a>(more: &[(u16, &'a [u16])]) -> Vec<(u16, &'a [u16])> {
        let mut tags: Vec<(u16, &[u16])> = vec![(256, &[2]), (257, &[1]), (259, &[1]), (278, &[1])];
        tags.extend(more);
        tags
    }

    #[test]
    fn floats_are_grey() {
        let tags = with(&[(258, &[32]), (262, &[1]), (277, &[1]), (339, &[3])]);
        let values = |a: f32, b: f32| [a.to_le_bytes(), b.to_le_bytes()].concat();
        let tiff = |a, b| file(&[Page { tags: &tags, pixels: &values(a, b) }]);
        assert_eq!(photo(&tiff(0.0, 0.6)).unwrap(), [0, 0, 0, 153, 153, 153]);
        let error = photo(&tiff(-3.0, 900.0)).unwrap_err().to_string();
        assert!(error.contains("from -3 to 900") && error.contains("convert it to PNG"), "{error}");
    }

    #[test]
    fn palettes_are_colours() {
        // Sixteen colours of which the second is 10, 20, 30 and the last 255, 0, 7; each pixel has half a byte.
        let mut map = [0_u16; 48];
        (map[1], map[17], map[33]) = (10 << 8, 20 << 8, 30 << 8);
        (map[15], map[31], map[47]) = (255 << 8, 0, 7 << 8);
        let tags = with(&[(258, &[4]), (262, &[3]), (277, &[1]), (320, &map)]);
        assert_eq!(photo(&file(&[Page { tags: &tags, pixels: &[0x1f] }])).unwrap(), [10, 20, 30, 255, 0, 7]);
        let mut map = [0_u16; 768];
        (map[200], map[456], map[712]) = (0xffff, 0x8000, 0x0100);
        let tags = with(&[(258, &[8]), (262, &[3]), (277, &[1]), (320, &map)]);
        assert_eq!(photo(&file(&[Page { tags: &tags, pixels: &[200, 0] }])).unwrap(), [255, 128, 1, 0, 0, 0]);
    }

    #[test]
    fn luminance_and_chrominance_are_colours() {
        let tags = with(&[(258, &[8, 8, 8]), (262, &[6]), (277, &[3]), (530, &[1, 1])]);
        // Grey, and JFIF's pure red.
        let pixels = photo(&file(&[Page { tags: &tags, pixels: &[90, 128, 128, 76, 85, 255] }])).unwrap();
        assert_eq!(pixels, [90, 90, 90, 254, 0, 0]);
        let tags = with(&[(258, &[8, 8, 8]), (262, &[6]), (277, &[3]), (530, &[2, 2])]);
        let error = photo(&file(&[Page { tags: &tags, pixels: &[90; 6] }])).unwrap_err().to_string();
        assert!(error.contains("convert it to PNG") && !error.contains("damaged"), "{error}");
    }

    #[test]
    fn bands_and_pages_are_channels() {
        let six = with(&[(258, &[8; 6]), (262, &[1]), (277, &[6]), (338, &[0; 5])]);
        let bytes = file(&[Page { tags: &six, pixels: &[0, 51, 102, 153, 204, 255, 255, 204, 153, 102, 51, 0] }]);
        let samples = read("x.tif", &bytes, 1000, 6).unwrap();
        assert_eq!((samples.planes.len(), &samples.planes[1]), (6, &vec![0.2, 0.8]));
        assert!(photo(&bytes).unwrap_err().to_string().contains("6 bands"));
        let grey = with(&[(258, &[16]), (262, &[1]), (277, &[1])]);
        let page = |value: u16| [value.to_le_bytes(), u16::MAX.to_le_bytes()].concat();
        let pages: Vec<Vec<u8>> = [0, 13_107].map(page).to_vec();
        let pages: Vec<Page> = pages.iter().map(|pixels| Page { tags: &grey, pixels }).collect();
        let samples = read("x.tif", &file(&pages), 1000, 6).unwrap();
        assert_eq!(samples.planes, [[0.0, 1.0], [0.2, 1.0]]);
        assert_eq!(read("x.tif", &file(&pages), 1000, 1).unwrap().planes.len(), 1);
        let error = read("x.tif", &file(&pages), 3, 6).err().unwrap().to_string();
        assert!(error.contains("page 2"), "{error}");
    }

    #[test]
    fn damage_is_an_error() {
        let mut map = [0_u16; 768];
        map[3] = 9;
        let tags = with(&[(258, &[8]), (262, &[3]), (277, &[1]), (320, &map)]);
        let good = file(&[Page { tags: &tags, pixels: &[200, 0] }]);
        for length in 0..good.len() {
            let _ = photo(&good[..length]);
        }
        for place in 0..64.min(good.len()) {
            for value in [0, 1, 0x7f, 0xff] {
                let mut damaged = good.clone();
                damaged[place] = value;
                let _ = photo(&damaged);
            }
        }
    }
}
