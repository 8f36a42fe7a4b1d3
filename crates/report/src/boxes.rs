use crate::lettering;
use image::{Rgb, RgbImage};

/// A box in a picture, and what is written at its upper left corner.
#[derive(Clone, Debug, PartialEq)]
pub struct Boxed {
    /// Left, top, right and bottom in pixels; they may lie outside of the picture.
    pub corners: [f64; 4],
    /// A number or a word; empty for none.
    pub text: String,
}

/// Draws boxes on a picture, the first on top: lines of white between black, which are seen on every ground.
pub fn draw_boxes(picture: &mut RgbImage, boxes: &[Boxed]) {
    let thin = (f64::from(picture.width().min(picture.height())) / 240.0).round().max(1.0);
    for Boxed { corners: [left, top, right, bottom], text } in boxes.iter().rev() {
        for (out, wide, color) in [(1.5, 3.0, [0; 3]), (0.5, 1.0, [255; 3])] {
            let out = out * thin;
            frame(picture, [left - out, top - out, right + out, bottom + out], (wide * thin) as u32, Rgb(color));
        }
        if !text.is_empty() {
            label(picture, [*left, *top], text);
        }
    }
}

/// The border of a rectangle, so many pixels wide; what lies outside of the picture is drawn at its edge.
fn frame(picture: &mut RgbImage, [left, top, right, bottom]: [f64; 4], wide: u32, color: Rgb<u8>) {
    let within = |at: f64, most: u32| at.round().clamp(0.0, f64::from(most)) as u32;
    let (x0, x1) = (within(left, picture.width()), within(right, picture.width()));
    let (y0, y1) = (within(top, picture.height()), within(bottom, picture.height()));
    for y in y0..y1 {
        for x in x0..x1 {
            if x < x0 + wide || x + wide >= x1 || y < y0 + wide || y + wide >= y1 {
                picture.put_pixel(x, y, color);
            }
        }
    }
}

/// White letters on black, inside of a corner.
fn label(picture: &mut RgbImage, [x, y]: [f64; 2], text: &str) {
    let size = (picture.width().min(picture.height()) as f32 / 18.0).clamp(10.0, 40.0);
    let (width, height) = (lettering::width(text, size) + size * 0.5, size * 1.3);
    let place = |at: f64, length: f32, most: u32| (at as f32).min(most as f32 - length).max(0.0);
    let (left, top) = (place(x, width, picture.width()), place(y, height, picture.height()));
    let (right, bottom) = ((left + width) as u32, (top + height) as u32);
    for row in top as u32..bottom.min(picture.height()) {
        for column in left as u32..right.min(picture.width()) {
            picture.put_pixel(column, row, Rgb([0; 3]));
        }
    }
    lettering::write(picture, [left + size * 0.25, top + size * 1.05], text, size, Rgb([255; 3]));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_box_is_white_between_black_and_what_lies_outside_is_cut() {
        let mut picture = RgbImage::from_pixel(60, 40, Rgb([90; 3]));
        let of = |corners| Boxed { corners, text: String::new() };
        draw_boxes(&mut picture, &[of([10.0, 10.0, 30.0, 30.0]), of([-50.0, -1e9, 1e9, 500.0])]);
        let column: Vec<u8> = (6..14).map(|x| picture.get_pixel(x, 20).0[0]).collect();
        assert!(column.contains(&255) && column.contains(&0) && column[0] == 90, "{column:?}");
        assert_eq!(picture.get_pixel(20, 20).0, [90; 3]);
        assert_ne!(picture.get_pixel(0, 20).0, [90; 3]);
        draw_boxes(&mut picture, &[Boxed { corners: [55.0, 35.0, 70.0, 80.0], text: "12 heron".into() }]);
        let mut tiny = RgbImage::new(1, 1);
        draw_boxes(&mut tiny, &[Boxed { corners: [f64::MIN, 0.0, f64::MAX, 1.0], text: "1".into() }]);
    }
}
