use crate::{Picture, tiff};
use faithful_core::{Error, Result, caught, read_file_within};
use image::codecs::png::PngEncoder;
use image::metadata::Orientation;
use image::{DynamicImage, ExtendedColorType, ImageDecoder, ImageEncoder, ImageFormat, ImageReader, Limits};
use std::io::Cursor;
use std::path::Path;

/// How a file becomes a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decoding {
    /// Photos with more pixels are refused before their pixels are read. The default, 150 million, takes at most about
    /// 2 GiB while decoding (16-bit colour with transparency) and 450 MB afterwards.
    pub pixels: u64,
    /// What transparent pixels are laid on. The default is white, as viewers show them; Pillow's `convert("RGB")`
    /// would show whatever colour lies hidden under the transparency.
    pub background: [u8; 3],
}

impl Default for Decoding {
    fn default() -> Self {
        Self { pixels: 150_000_000, background: [255; 3] }
    }
}

/// Reads a JPEG, PNG, WebP, BMP, GIF or TIFF file as RGB, upright.
///
/// The content decides the format, not the file's name. The EXIF orientation is applied; grey is repeated, palettes
/// and CMYK are converted, 16 bits are rounded to 8, transparency is laid on [`Decoding::background`], and of an
/// animation the first frame counts. Colour profiles are ignored, as torchvision ignores them.
///
/// # Errors
/// [`Error::Io`] where the file cannot be read; [`Error::Format`], which says what is wrong, where it is empty,
/// truncated, damaged, no photo, or larger than [`Decoding::pixels`].
pub fn read_photo(path: &Path, decoding: &Decoding) -> Result<Picture> {
    decode_photo(&path.display().to_string(), &read_photo_bytes(path, decoding)?, decoding)
}

/// The bytes of a photo's file, for [`decode_photo`].
///
/// # Errors
/// [`Error::Io`] where the file cannot be read or is no regular file; [`Error::Format`] where it is longer than any photo of
/// [`Decoding::pixels`].
pub fn read_photo_bytes(path: &Path, decoding: &Decoding) -> Result<Vec<u8>> {
    // No format needs more than 16 bytes per pixel: a longer file is not worth its memory.
    let most = decoding.pixels.saturating_mul(16).saturating_add(1 << 26);
    read_file_within(path, most).map_err(|error| match error {
        Error::Format { what, reason, .. } => {
            Error::format(what, format!("{reason}: too many for a photo of {} pixels", decoding.pixels))
        }
        other => other,
    })
}

/// Decodes the bytes of a photo as [`read_photo`] does; `name` is what errors call it.
///
/// # Errors
/// [`Error::Format`], as [`read_photo`].
pub fn decode_photo(name: &str, bytes: &[u8], decoding: &Decoding) -> Result<Picture> {
    if sniff(bytes) == Some(ImageFormat::Tiff)
        && let Some(other) = caught(|| other_tiff(name, bytes, decoding)).flatten()
    {
        return other;
    }
    Ok(flatten(decode_image(name, bytes, decoding)?, decoding.background))
}

/// A TIFF whose kind the crate `image` does not take, upright as it is stored; `None` where it takes it.
fn other_tiff(name: &str, bytes: &[u8], decoding: &Decoding) -> Option<Result<Picture>> {
    let taken = ImageReader::with_format(Cursor::new(bytes), ImageFormat::Tiff).into_decoder();
    if !matches!(taken, Err(image::ImageError::Unsupported(_))) {
        return None;
    }
    Some(tiff::read(name, bytes, decoding.pixels, 1).and_then(|samples| {
        let pixels = samples.colors(name)?;
        Ok(Picture { height: samples.height, width: samples.width, pixels })
    }))
}

/// The image in a photo's bytes, upright, with whatever channels it has.
pub(crate) fn decode_image(name: &str, bytes: &[u8], decoding: &Decoding) -> Result<DynamicImage> {
    let wrong = |reason: String| Error::format(name, reason);
    if bytes.is_empty() {
        return Err(wrong("the file is empty (0 bytes)".into()));
    }
    let format = sniff(bytes).ok_or_else(|| wrong(format!("not a photo: {}", what_it_looks_like(bytes))))?;
    let word = format!("{format:?}").to_uppercase();
    let undecodable = |error: image::ImageError| {
        let text = error.to_string();
        let lower = text.to_lowercase();
        let cut = matches!(&error, image::ImageError::IoError(io) if io.kind() == std::io::ErrorKind::UnexpectedEof)
            || ["unexpected end", "unexpectedeof", "fill whole buffer", "eof"].iter().any(|sign| lower.contains(sign));
        if matches!(error, image::ImageError::Unsupported(_)) {
            return wrong(format!("a {word} of a kind that is not read ({text}); convert it to PNG"));
        }
        let state = if cut { "truncated" } else { "damaged or unusual" };
        Error::format_because(name, format!("{state} {word} ({} bytes): {text}", bytes.len()), error)
    };
    // Some decoders panic where a damaged file's numbers are out of all bounds: that is an error like any other.
    let work = |bytes: &[u8]| decoded(bytes, format, &word, decoding, &wrong, &undecodable);
    let panicked = || Err(wrong(format!("damaged or unusual {word} ({} bytes): its decoder gave up", bytes.len())));
    // Of these two, the decoders do not say it: one fills the missing part with grey, the other finds nonsense in it.
    let length = bytes.len();
    let cut = || wrong(format!("truncated {word}: the file ends after {length} bytes, before the picture does"));
    match format {
        ImageFormat::Jpeg if !jpeg_has_its_end(bytes) => {
            whole_without_its_end(bytes, |bytes| caught(|| work(bytes))?.ok()).ok_or_else(cut)
        }
        ImageFormat::WebP if !webp_is_complete(bytes) => Err(cut()),
        _ => caught(|| work(bytes)).unwrap_or_else(panicked),
    }
}

/// The picture in `bytes`, upright; `word` is the format's name, `wrong` and `undecodable` make errors.
fn decoded(
    bytes: &[u8],
    format: ImageFormat,
    word: &str,
    decoding: &Decoding,
    wrong: &dyn Fn(String) -> Error,
    undecodable: &dyn Fn(image::ImageError) -> Error,
) -> Result<DynamicImage> {
    let mut decoder = ImageReader::with_format(Cursor::new(bytes), format).into_decoder().map_err(undecodable)?;
    let (width, height) = decoder.dimensions();
    let pixels = u64::from(width) * u64::from(height);
    if pixels == 0 {
        return Err(wrong(format!("the {word} says that it is {width} x {height} pixels")));
    }
    if pixels > decoding.pixels {
        let millions = |count: u64| count as f64 / 1e6;
        return Err(wrong(format!(
            "{width} x {height} pixels are {:.1} million, more than the limit of {:.1} million; scale the photo down or \
             raise the limit",
            millions(pixels),
            millions(decoding.pixels)
        )));
    }
    // Decoders keep one more copy and some tables.
    let memory = decoder.total_bytes().saturating_mul(2).saturating_add(64 << 20);
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(memory);
    decoder.set_limits(limits).map_err(undecodable)?;
    // A broken EXIF block is no reason to refuse the photo.
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let mut decoded = DynamicImage::from_decoder(decoder).map_err(undecodable)?;
    decoded.apply_orientation(orientation);
    Ok(decoded)
}

/// The formats that are built in, by the first bytes.
pub(crate) fn sniff(bytes: &[u8]) -> Option<ImageFormat> {
    const READ: [ImageFormat; 6] =
        [ImageFormat::Jpeg, ImageFormat::Png, ImageFormat::WebP, ImageFormat::Bmp, ImageFormat::Gif, ImageFormat::Tiff];
    image::guess_format(bytes).ok().filter(|format| READ.contains(format))
}

fn what_it_looks_like(bytes: &[u8]) -> String {
    const READ: &str = "only JPEG, PNG, WebP, BMP, GIF and TIFF are read";
    if let Ok(other) = image::guess_format(bytes) {
        return format!("it is {other:?}; {READ}");
    }
    if bytes.get(4..8) == Some(b"ftyp") {
        return format!("it looks like HEIC, AVIF or a video; {READ}");
    }
    let start = &bytes[..bytes.len().min(24)];
    if start.iter().all(|byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace()) {
        let text: String = start.iter().map(|&byte| if byte.is_ascii_graphic() { byte as char } else { ' ' }).collect();
        return format!("it starts with the text `{}`; {READ}", text.trim());
    }
    format!("its first bytes are no format's; {READ}")
}

/// Whether the end-of-image marker comes after all segments and scans.
fn jpeg_has_its_end(bytes: &[u8]) -> bool {
    let mut at = 2;
    while at + 1 < bytes.len() {
        // Inside a scan, 0xff 0x00 is a data byte and 0xd0 to 0xd7 restart the decoder.
        match (bytes[at], bytes[at + 1]) {
            (0xff, 0xd9) => return true,
            (0xff, 0x00 | 0x01 | 0xd0..=0xd8) => at += 2,
            (0xff, 0x02..=0xfe) => {
                let Some(length) = bytes.get(at + 2..at + 4) else { return false };
                at += 2 + usize::from(u16::from_be_bytes([length[0], length[1]])).max(2);
            }
            // Fill bytes before a marker, and data. Outside a scan, data is damage: the decoder finds words for it.
            _ => at += 1,
        }
    }
    false
}

/// Whether scans give every coefficient of every component to its last bit (ITU-T T.81, B.2.3): a progressive photo that
/// ends between two scans is one of less detail.
fn jpeg_has_its_scans(bytes: &[u8]) -> bool {
    let mut left: Vec<(u8, [bool; 64])> = Vec::new();
    let mut at = 2;
    while at + 3 < bytes.len() {
        match (bytes[at], bytes[at + 1]) {
            (0xff, 0x00 | 0x01 | 0xd0..=0xd9) => at += 2,
            (0xff, marker @ 0x02..=0xfe) => {
                let length = usize::from(u16::from_be_bytes([bytes[at + 2], bytes[at + 3]])).max(2);
                let segment = bytes.get(at + 4..at + 2 + length).unwrap_or_default();
                match (marker, segment) {
                    // A frame: depth, height, width, and three bytes for each component.
                    (0xc0..=0xc3, [_, _, _, _, _, _, components @ ..]) if left.is_empty() => {
                        left = components.chunks_exact(3).map(|component| (component[0], [true; 64])).collect();
                    }
                    // A scan: its components, two bytes each, the first and last coefficient, and the bits' places.
                    (0xda, [count, rest @ ..]) if rest.len() >= 2 * usize::from(*count) + 3 => {
                        let (components, form) = rest.split_at(2 * usize::from(*count));
                        let (first, last, place) = (usize::from(form[0]), usize::from(form[1]).min(63), form[2] & 15);
                        for (name, missing) in &mut left {
                            let is_in = components.chunks_exact(2).any(|component| component[0] == *name);
                            if is_in && place == 0 && first <= last {
                                missing[first..=last].fill(false);
                            }
                        }
                    }
                    _ => {}
                }
                at += 2 + length;
            }
            _ => at += 1,
        }
    }
    !left.is_empty() && left.iter().all(|(_, missing)| !missing.contains(&true))
}

/// The picture of a JPEG without its end marker, where all of it is there: small cameras leave the marker out, and
/// phones write their own data in its place. `None` where the picture is cut off.
///
/// A decoder of a picture that is whole does not read what comes behind it, so whatever is put there, the pixels are the
/// same; where data is missing, it makes pixels of it.
fn whole_without_its_end(bytes: &[u8], decode: impl Fn(&[u8]) -> Option<DynamicImage>) -> Option<DynamicImage> {
    if !jpeg_has_its_scans(bytes) {
        return None;
    }
    let with = |behind: &[u8]| decode(&[bytes, behind, &[0xff, 0xd9]].concat());
    let picture = with(&[])?;
    // Bits of many kinds, and what the file itself is like: a decoder that misses something reads them as such.
    let own: Vec<u8> =
        bytes[bytes.len() - bytes.len().min(2048)..].iter().copied().filter(|&byte| byte != 0xff).collect();
    let ones = [0xfe_u8, 0x7f, 0xbf].repeat(64);
    let mixed: Vec<u8> = (0..255_u8).map(|value| value.wrapping_mul(151) & 0xfe).collect();
    [own, ones, mixed, vec![0; 256]].iter().all(|behind| with(behind).as_ref() == Some(&picture)).then_some(picture)
}

/// Whether as many bytes are there as the RIFF header announces.
fn webp_is_complete(bytes: &[u8]) -> bool {
    let announced = bytes.get(4..8).map_or(u32::MAX, |size| u32::from_le_bytes([size[0], size[1], size[2], size[3]]));
    bytes.len() as u64 >= u64::from(announced) + 8
}

fn flatten(decoded: DynamicImage, background: [u8; 3]) -> Picture {
    let (height, width) = (decoded.height() as usize, decoded.width() as usize);
    if !decoded.color().has_alpha() {
        return Picture { height, width, pixels: decoded.into_rgb8().into_raw() };
    }
    let mut pixels = Vec::with_capacity(height * width * 3);
    for pixel in decoded.into_rgba8().pixels() {
        let [red, green, blue, alpha] = pixel.0;
        let alpha = u32::from(alpha);
        for (value, below) in [red, green, blue].into_iter().zip(background) {
            pixels.push(((u32::from(value) * alpha + u32::from(below) * (255 - alpha) + 127) / 255) as u8);
        }
    }
    Picture { height, width, pixels }
}

/// Writes a picture as PNG.
///
/// # Errors
/// [`Error::Io`] where the file cannot be written; [`Error::Shape`] for a picture without pixels.
pub fn write_picture(path: &Path, picture: &Picture) -> Result<()> {
    picture.check()?;
    write_png(path, &picture.pixels, picture.height, picture.width, ExtendedColorType::Rgb8)
}

pub(crate) fn write_png(
    path: &Path,
    bytes: &[u8],
    height: usize,
    width: usize,
    colour: ExtendedColorType,
) -> Result<()> {
    let io = |source| Error::Io { path: path.display().to_string(), source };
    let mut encoded = Vec::new();
    PngEncoder::new(&mut encoded)
        .write_image(bytes, width as u32, height as u32, colour)
        .map_err(|error| io(std::io::Error::other(error)))?;
    // Under another name first: a file appears whole or not at all.
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}.part", std::process::id()));
    let written = std::fs::write(&beside, encoded).and_then(|()| std::fs::rename(&beside, path));
    if written.is_err() {
        let _ = std::fs::remove_file(&beside);
    }
    written.map_err(io)
}
