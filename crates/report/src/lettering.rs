//! Letters on pictures: `DejaVu Sans`, which this program brings along, so that no font of the machine is asked for.

use ab_glyph::{Font, FontRef, Glyph, PxScale, ScaleFont, point};
use image::{Rgb, RgbImage};
use std::sync::LazyLock;

static REGULAR: LazyLock<Option<FontRef<'static>>> =
    LazyLock::new(|| FontRef::try_from_slice(dejavu::sans::regular()).ok());

/// Lines of writing, per size of letters.
pub(crate) const LINE: f32 = 1.3;

/// A font's scale for letters of so many pixels, as CSS and SVG count them: the square that letters are drawn in.
fn scale(font: &FontRef<'_>, size: f32) -> PxScale {
    let square = font.units_per_em().unwrap_or(2048.0);
    PxScale::from(size * font.height_unscaled() / square)
}

/// The glyphs of a text from the origin on, and where the next would begin. What the font does not have is its sign for that.
fn set(font: &FontRef<'_>, text: &str, size: f32) -> (Vec<Glyph>, f32) {
    let scale = scale(font, size);
    let scaled = font.as_scaled(scale);
    let (mut glyphs, mut along, mut before) = (Vec::new(), 0.0, None);
    for letter in text.chars() {
        let id = scaled.glyph_id(if letter.is_control() { ' ' } else { letter });
        along += before.map_or(0.0, |before| scaled.kern(before, id));
        glyphs.push(id.with_scale_and_position(scale, point(along, 0.0)));
        along += scaled.h_advance(id);
        before = Some(id);
    }
    (glyphs, along)
}

/// How wide a text is in letters of `size` pixels.
pub(crate) fn width(text: &str, size: f32) -> f32 {
    REGULAR.as_ref().map_or(0.0, |font| set(font, text, size).1)
}

/// Gives the pixels `(x, y)` that a text covers, relative to where it begins on its line of writing, and by which share.
pub(crate) fn cover(text: &str, size: f32, mut pixel: impl FnMut(f32, f32, f32)) {
    let Some(font) = REGULAR.as_ref() else { return };
    for glyph in set(font, text, size).0 {
        let Some(outline) = font.outline_glyph(glyph) else { continue };
        let bounds = outline.px_bounds();
        outline.draw(|x, y, share| pixel(bounds.min.x + x as f32, bounds.min.y + y as f32, share.clamp(0.0, 1.0)));
    }
}

/// Mixes a text into a picture; its line of writing begins at `(x, y)`. What lies outside is left out.
pub(crate) fn write(picture: &mut RgbImage, [x, y]: [f32; 2], text: &str, size: f32, Rgb(color): Rgb<u8>) {
    let (x, y) = (x.round(), y.round());
    cover(text, size, |dx, dy, share| {
        let (column, row) = (x + dx, y + dy);
        if column < 0.0 || row < 0.0 {
            return;
        }
        if let Some(pixel) = picture.get_pixel_mut_checked(column as u32, row as u32) {
            for (own, color) in pixel.0.iter_mut().zip(color) {
                *own = (f32::from(*own) * (1.0 - share) + f32::from(color) * share).round() as u8;
            }
        }
    });
}

/// A text in lines of at most `most` pixels, broken between words where it can be.
pub(crate) fn lines(text: &str, size: f32, most: f32) -> Vec<String> {
    let (mut lines, mut line) = (Vec::new(), String::new());
    for word in text.split_whitespace() {
        let longer = if line.is_empty() { word.to_owned() } else { format!("{line} {word}") };
        if line.is_empty() || width(&longer, size) <= most {
            line = longer;
        } else {
            lines.push(std::mem::replace(&mut line, word.to_owned()));
        }
    }
    lines.extend((!line.is_empty()).then_some(line));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_as_wide_as_they_look_and_stand_on_their_line() {
        // Advances of DejaVu Sans 2.37 in 2048ths of its square: W 2025, i 569.
        for (text, units) in [("W", 2025.0), ("i", 569.0)] {
            assert!((width(text, 20.0) - units / 2048.0 * 20.0).abs() < 0.01, "{text}: {}", width(text, 20.0));
        }
        let (mut lowest, mut highest) = (f32::MIN, f32::MAX);
        cover("H", 100.0, |_, y, share| {
            if share > 0.5 {
                (lowest, highest) = (lowest.max(y), highest.min(y));
            }
        });
        // Capitals are 1493 units high.
        assert!((-2.0..=0.0).contains(&lowest) && (highest + 72.9).abs() < 1.5, "{highest} to {lowest}");
    }

    #[test]
    fn words_are_written_within_the_picture_whatever_they_hold() {
        let mut picture = RgbImage::from_pixel(60, 20, Rgb([255; 3]));
        write(&mut picture, [-5.0, 15.0], "\u{e5}\u{3b2}\u{1f600}\n<", 14.0, Rgb([0; 3]));
        write(&mut picture, [50.0, 1e6], "far", 14.0, Rgb([0; 3]));
        assert!(picture.pixels().filter(|pixel| pixel.0[0] < 100).count() > 30);
    }

    #[test]
    fn long_texts_are_broken_between_words() {
        let found = lines("a striped crescent by expected grad-cam", 12.0, 120.0);
        assert!(found.len() > 1 && found.iter().all(|line| width(line, 12.0) <= 120.0), "{found:?}");
        assert_eq!(found.join(" "), "a striped crescent by expected grad-cam");
        assert!(lines("", 12.0, 50.0).is_empty());
    }
}
