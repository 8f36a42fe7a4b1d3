use crate::{Colormap, lettering};
use image::{Rgb, RgbImage};

/// The size of letters beside or below a picture of that height.
pub(crate) fn letters(height: u32) -> f32 {
    (height as f32 / 24.0).clamp(9.0, 64.0)
}

/// The picture with a strip at its right: the colours from low (bottom) to high (top) and the raw values of both ends.
pub(crate) fn beside(picture: &RgbImage, colormap: Colormap, low: f32, high: f32) -> RgbImage {
    let (width, height) = picture.dimensions();
    let size = letters(height);
    let margin = (size / 2.0).round() as u32;
    let texts = [number(high), number(low)];
    let longest = texts.iter().map(|text| lettering::width(text, size)).fold(size, f32::max).ceil() as u32;
    let strip = longest + 2 * margin;
    let mut result = RgbImage::from_pixel(width + strip, height, Rgb([255; 3]));
    image::imageops::replace(&mut result, picture, 0, 0);
    let line = (size * lettering::LINE).round() as u32 + margin / 2;
    let left = width + margin;
    // A picture too low for both numbers shows the colours alone.
    let with_text = height > 3 * line;
    let (top, bottom) = if with_text { (line, height - line) } else { (0, height) };
    for y in top..bottom {
        let value = 1.0 - (y - top) as f32 / (bottom - top).saturating_sub(1).max(1) as f32;
        let color = Rgb(colormap.color(value));
        (left..width + strip - margin).for_each(|x| result.put_pixel(x, y, color));
    }
    if with_text {
        let rest = margin / 2;
        lettering::write(&mut result, [left as f32, (line - rest) as f32 - size * 0.2], &texts[0], size, INK);
        lettering::write(&mut result, [left as f32, (height - rest) as f32 - size * 0.2], &texts[1], size, INK);
    }
    result
}

/// What words are written in.
const INK: Rgb<u8> = Rgb([0x22; 3]);

/// The picture with these lines of words below it, broken where they are wider than it.
pub fn with_caption(picture: &RgbImage, text: &[String]) -> RgbImage {
    let (width, height) = picture.dimensions();
    let size = letters(height);
    let margin = (size / 2.0).round();
    let lines: Vec<String> =
        text.iter().flat_map(|line| lettering::lines(line, size, (width as f32 - 2.0 * margin).max(size))).collect();
    let step = size * lettering::LINE;
    let below = (lines.len() as f32 * step + 2.0 * margin).ceil() as u32;
    let mut result = RgbImage::from_pixel(width, height + below, Rgb([255; 3]));
    image::imageops::replace(&mut result, picture, 0, 0);
    for (place, line) in lines.iter().enumerate() {
        let at = height as f32 + margin + place as f32 * step + size;
        lettering::write(&mut result, [margin, at], line, size, INK);
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
        let x = result.width() - 8;
        let colors: Vec<[u8; 3]> = (0..100).map(|y| result.get_pixel(x, y).0).collect();
        let place = |color| colors.iter().position(|one| *one == color).unwrap();
        let (top, bottom) = (place(Colormap::Viridis.color(1.0)), place(Colormap::Viridis.color(0.0)));
        assert!(top < 20 && bottom > 80, "{top} to {bottom}");
        let dark = |rows: std::ops::Range<u32>| {
            rows.flat_map(|y| (10..result.width()).map(move |x| (x, y))).any(|(x, y)| result.get_pixel(x, y).0[0] < 90)
        };
        assert!(dark(0..top as u32 - 1) && dark(bottom as u32 + 1..100));
    }

    #[test]
    fn a_caption_stands_below_the_picture_and_is_broken_where_it_is_wide() {
        let picture = RgbImage::from_pixel(120, 90, Rgb([9; 3]));
        let text = |text: &str| with_caption(&picture, &[text.to_owned()]);
        let (short, long) = (text("crane"), text("an uncommonly long name of a class that nobody has heard of so far"));
        assert!(short.width() == 120 && short.height() > 90 && long.height() > short.height());
        assert!((0..90).all(|y| (0..120).all(|x| long.get_pixel(x, y).0 == [9; 3])));
        assert!(short.enumerate_pixels().any(|(_, y, pixel)| y >= 90 && pixel.0[0] < 90));
        assert_eq!(with_caption(&RgbImage::new(1, 1), &["crane".into()]).width(), 1);
    }

    #[test]
    fn pictures_of_any_size_get_one() {
        for (width, height) in [(1, 1), (3, 12), (500, 2000)] {
            let result = beside(&RgbImage::new(width, height), Colormap::Inferno, -1e30, 1e30);
            assert!(result.width() > width && result.height() == height);
        }
    }
}
