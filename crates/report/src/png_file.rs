//! Pictures as PNG files, with a note of what they show.

use faithful_core::{Error, Result};
use image::RgbImage;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

/// The keyword of the text chunk that holds a note.
const KEYWORD: &str = "faithful";

/// A picture as the bytes of a PNG file.
pub fn encode_png(picture: &RgbImage) -> Result<Vec<u8>> {
    encoded(picture, None).map_err(|error| Error::format_from("PNG", error))
}

/// As [`encode_png`], with a note in an `iTXt` chunk called `faithful`, which [`read_png_note`] finds.
pub fn encode_png_with_note(picture: &RgbImage, note: &str) -> Result<Vec<u8>> {
    encoded(picture, Some(note)).map_err(|error| Error::format_from("PNG", error))
}

fn encoded(picture: &RgbImage, note: Option<&str>) -> std::result::Result<Vec<u8>, png::EncodingError> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, picture.width(), picture.height());
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_filter(png::Filter::Adaptive);
    if let Some(note) = note {
        encoder.add_itxt_chunk(KEYWORD.to_owned(), note.to_owned())?;
    }
    let mut writer = encoder.write_header()?;
    writer.write_image_data(picture.as_raw())?;
    writer.finish()?;
    Ok(bytes)
}

/// The note of the PNG file at `path` that [`encode_png_with_note`] wrote; nothing where there is none, or no PNG. Only what
/// stands before the pixels is read.
pub fn read_png_note(path: &Path) -> Option<String> {
    // A pipe would never end.
    path.metadata().ok().filter(std::fs::Metadata::is_file)?;
    let reader = png::Decoder::new(BufReader::new(File::open(path).ok()?)).read_info().ok()?;
    let chunk = reader.info().utf8_text.iter().find(|chunk| chunk.keyword == KEYWORD)?;
    chunk.get_text().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn png_files_are_read_back_pixel_for_pixel_with_their_note() {
        let photo = RgbImage::from_fn(33, 17, |x, y| [x as u8 * 7, y as u8 * 11, (x * y) as u8].into());
        let note = "{\"class\": \"häger\"}";
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.png");
        for (bytes, expected) in
            [(encode_png(&photo).unwrap(), None), (encode_png_with_note(&photo, note).unwrap(), Some(note))]
        {
            assert_eq!(image::load_from_memory(&bytes).unwrap().to_rgb8(), photo);
            std::fs::write(&path, &bytes).unwrap();
            assert_eq!(read_png_note(&path).as_deref(), expected);
            for length in 0..bytes.len().min(200) {
                std::fs::write(&path, &bytes[..length]).unwrap();
                let _ = read_png_note(&path);
            }
        }
        std::fs::write(&path, b"no picture").unwrap();
        assert_eq!((read_png_note(&path), read_png_note(folder.path())), (None, None));
    }
}
