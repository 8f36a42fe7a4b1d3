use crate::Colormap;
use image::{Rgb, RgbImage};

/// The picture with a strip at its right: the colours from low (bottom) to high (top) and the raw values of both ends.
pub(crate) fn beside(picture: &RgbImage, colormap: Colormap, low: f32, high: f32) -> RgbImage {
    const MARGIN: u32 = 4;
    let (width, height) = picture.dimensions();
    let zoom = (height / 240).clamp(1, 8);
    let texts = [number(high), number(low)];
    let longest = texts.iter().map(|text| text.len() as u32 * ADVANCE).max().unwrap_or(0);
    let strip = (longest.max(12) + 2 * MARGIN) * zoom;
    let mut result = RgbImage::from_pixel(width + strip, height, Rgb([255; 3]));
    image::imageops::replace(&mut result, picture, 0, 0);
    let line = (GLYPH_HEIGHT + 2 * MARGIN) * zoom;
    let left = width + MARGIN * zoom;
    // A picture too low for both numbers shows the colours alone.
    let with_text = height > 3 * line;
    let (top, bottom) = if with_text { (line, height - line) } else { (0, height) };
    for y in top..bottom {
        let value = 1.0 - (y - top) as f32 / (bottom - top).saturating_sub(1).max(1) as f32;
        let color = Rgb(colormap.color(value));
        (left..width + strip - MARGIN * zoom).for_each(|x| result.put_pixel(x, y, color));
    }
    if with_text {
        write(&mut result, &texts[0], left, MARGIN * zoom, zoom);
        write(&mut result, &texts[1], left, height - line + MARGIN * zoom, zoom);
    }
    result
}

/// Three significant digits, short enough for a strip.
fn number(value: f32) -> String {
    let magnitude = value.abs();
    if value == 0.0 {
        "0".into()
    } else if (0.01..1000.0).contains(&magnitude) {
        let decimals = (2.0 - magnitude.log10().floor()).clamp(0.0, 4.0) as usize;
        format!("{value:.decimals$}")
    } else {
        format!("{value:.1e}")
    }
}

const GLYPH_HEIGHT: u32 = 5;
const ADVANCE: u32 = 4;

/// Rows of three pixels, the leftmost in the highest bit; enough letters for numbers.
fn glyph(letter: char) -> [u8; GLYPH_HEIGHT as usize] {
    match letter {
        '0' => [0b111, 0b101, 0b101, 0b101, 0b111],
        '1' => [0b010, 0b110, 0b010, 0b010, 0b111],
        '2' => [0b111, 0b001, 0b111, 0b100, 0b111],
        '3' => [0b111, 0b001, 0b011, 0b001, 0b111],
        '4' => [0b101, 0b101, 0b111, 0b001, 0b001],
        '5' => [0b111, 0b100, 0b111, 0b001, 0b111],
        '6' => [0b111, 0b100, 0b111, 0b101, 0b111],
        '7' => [0b111, 0b001, 0b010, 0b010, 0b010],
        '8' => [0b111, 0b101, 0b111, 0b101, 0b111],
        '9' => [0b111, 0b101, 0b111, 0b001, 0b111],
        '-' => [0b000, 0b000, 0b111, 0b000, 0b000],
        '.' => [0b000, 0b000, 0b000, 0b000, 0b010],
        'e' => [0b000, 0b111, 0b101, 0b110, 0b111],
        _ => [0; GLYPH_HEIGHT as usize],
    }
}

fn write(picture: &mut RgbImage, text: &str, left: u32, top: u32, zoom: u32) {
    for (index, letter) in text.chars().enumerate() {
        for (row, bits) in glyph(letter).into_iter().enumerate() {
            for column in (0..3).filter(|column| bits >> (2 - column) & 1 == 1) {
                let (x, y) = (left + (index as u32 * ADVANCE + column) * zoom, top + row as u32 * zoom);
                for (dx, dy) in (0..zoom).flat_map(|dx| (0..zoom).map(move |dy| (dx, dy))) {
                    if let Some(pixel) = picture.get_pixel_mut_checked(x + dx, y + dy) {
                        *pixel = Rgb([0; 3]);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        let cases = [(0.0, "0"), (1.0, "1.00"), (-0.5, "-0.500"), (12.25, "12.2"), (999.0, "999")];
        let small = [(0.000_123, "1.2e-4"), (54_321.0, "5.4e4"), (-1e-9, "-1.0e-9"), (0.0123, "0.0123")];
        for (value, text) in cases.into_iter().chain(small) {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn the_strip_runs_from_high_at_the_top_to_low_at_the_bottom() {
        let picture = RgbImage::from_pixel(10, 100, Rgb([9; 3]));
        let result = beside(&picture, Colormap::Viridis, 0.0, 1.0);
        let x = result.width() - 6;
        assert_eq!(result.get_pixel(x, 13).0, Colormap::Viridis.color(1.0));
        assert_eq!(result.get_pixel(x, 86).0, Colormap::Viridis.color(0.0));
        // A dark pixel of the "1" of "1.00": its stem is the second column.
        assert_eq!(result.get_pixel(10 + 4 + 1, 4).0, [0; 3]);
    }

    #[test]
    fn pictures_of_any_size_get_one() {
        for (width, height) in [(1, 1), (3, 12), (500, 2000)] {
            let result = beside(&RgbImage::new(width, height), Colormap::Inferno, -1e30, 1e30);
            assert!(result.width() > width && result.height() == height);
        }
    }
}
