//! Drawings of lines, boxes and words that become SVG as well as PNG, without fonts on the machine.

use crate::lettering;
use crate::png_file::encode_png;
use faithful_core::Result;
use image::{Rgb, RgbImage};
use std::fmt::Write as _;

/// An sRGB colour.
pub type Color = [u8; 3];

/// Where a word stands at its point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anchor {
    /// It begins there.
    Start,
    /// Its middle is there.
    Middle,
    /// It ends there.
    End,
}

#[derive(Clone, Debug)]
enum Shape {
    Rectangle { place: [f32; 4], color: Color },
    Line { points: Vec<[f32; 2]>, width: f32, color: Color },
    Dot { centre: [f32; 2], radius: f32, color: Color },
    Area { points: Vec<[f32; 2]>, color: Color, opacity: f32 },
    Text { at: [f32; 2], text: String, anchor: Anchor, color: Color, upwards: bool },
}

/// A drawing, in pixels from its upper left corner.
///
/// ```
/// use faithful_report::{Anchor, Figure};
/// # fn main() -> faithful_core::Result<()> {
/// let mut figure = Figure::new(120.0, 40.0);
/// figure.line(&[[10.0, 30.0], [60.0, 5.0], [110.0, 30.0]], 1.5, [180, 40, 40]);
/// figure.text([60.0, 38.0], "T30 & T50", Anchor::Middle, [0; 3]);
/// assert!(figure.svg().contains("T30 &amp; T50"));
/// assert!(figure.png()?.starts_with(b"\x89PNG"));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Figure {
    width: f32,
    height: f32,
    shapes: Vec<Shape>,
}

/// How many pixels of a PNG stand for one of the drawing.
const ZOOM: f32 = 2.0;
/// The size of letters.
const LETTERS: f32 = 11.0;

impl Figure {
    /// How wide a text is. SVG files are shown in a font of the reader's, which may be a little narrower or wider.
    pub fn width_of(text: &str) -> f32 {
        lettering::width(text, LETTERS)
    }

    /// An empty drawing on white.
    pub fn new(width: f32, height: f32) -> Self {
        // A bound on what a drawing may take.
        let side = |side: f32| if side.is_finite() { side.clamp(1.0, 8000.0) } else { 1.0 };
        Self { width: side(width), height: side(height), shapes: Vec::new() }
    }

    /// A filled box `[left, top, width, height]`.
    pub fn rectangle(&mut self, place: [f32; 4], color: Color) {
        self.shapes.push(Shape::Rectangle { place, color });
    }

    /// A line through points.
    pub fn line(&mut self, points: &[[f32; 2]], width: f32, color: Color) {
        self.shapes.push(Shape::Line { points: points.to_vec(), width, color });
    }

    /// A filled circle.
    pub fn dot(&mut self, centre: [f32; 2], radius: f32, color: Color) {
        self.shapes.push(Shape::Dot { centre, radius, color });
    }

    /// Words whose line of writing is at `at`.
    pub fn text(&mut self, at: [f32; 2], text: &str, anchor: Anchor, color: Color) {
        let text = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        self.shapes.push(Shape::Text { at, text, anchor, color, upwards: false });
    }

    /// Words that are read upwards, whose line of writing is at `at`.
    pub fn upward_text(&mut self, at: [f32; 2], text: &str, anchor: Anchor, color: Color) {
        self.text(at, text, anchor, color);
        if let Some(Shape::Text { upwards, .. }) = self.shapes.last_mut() {
            *upwards = true;
        }
    }

    /// A filled shape between corners, through which what lies below is seen.
    pub fn area(&mut self, points: &[[f32; 2]], color: Color, opacity: f32) {
        self.shapes.push(Shape::Area { points: points.to_vec(), color, opacity });
    }

    /// The drawing as an SVG file.
    pub fn svg(&self) -> String {
        let Self { width, height, .. } = self;
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" \
             font-family=\"DejaVu Sans, Verdana, sans-serif\" font-size=\"11\">\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n"
        );
        for shape in &self.shapes {
            let _ = match shape {
                Shape::Rectangle { place: [x, y, w, h], color } => {
                    writeln!(
                        svg,
                        "<rect x=\"{x:.2}\" y=\"{y:.2}\" width=\"{w:.2}\" height=\"{h:.2}\" fill=\"{}\"/>",
                        hex(*color)
                    )
                }
                Shape::Line { points, width, color } => {
                    let points: Vec<String> = points.iter().map(|[x, y]| format!("{x:.2},{y:.2}")).collect();
                    let (points, color) = (points.join(" "), hex(*color));
                    writeln!(
                        svg,
                        "<polyline points=\"{points}\" fill=\"none\" stroke=\"{color}\" stroke-width=\"{width}\"/>"
                    )
                }
                Shape::Dot { centre: [x, y], radius, color } => {
                    writeln!(svg, "<circle cx=\"{x:.2}\" cy=\"{y:.2}\" r=\"{radius}\" fill=\"{}\"/>", hex(*color))
                }
                Shape::Area { points, color, opacity } => {
                    let points: Vec<String> = points.iter().map(|[x, y]| format!("{x:.2},{y:.2}")).collect();
                    let (points, color) = (points.join(" "), hex(*color));
                    writeln!(svg, "<polygon points=\"{points}\" fill=\"{color}\" fill-opacity=\"{opacity}\"/>")
                }
                Shape::Text { at: [x, y], text, anchor, color, upwards } => {
                    let anchor = match anchor {
                        Anchor::Start => "start",
                        Anchor::Middle => "middle",
                        Anchor::End => "end",
                    };
                    let (color, text) = (hex(*color), escape(text));
                    let turn =
                        if *upwards { format!(" transform=\"rotate(-90 {x:.2} {y:.2})\"") } else { String::new() };
                    writeln!(
                        svg,
                        "<text x=\"{x:.2}\" y=\"{y:.2}\" text-anchor=\"{anchor}\" fill=\"{color}\"{turn}>{text}</text>"
                    )
                }
            };
        }
        svg.push_str("</svg>\n");
        svg
    }

    /// The drawing as a PNG file, twice as large.
    ///
    /// # Errors
    /// Where the picture cannot be encoded.
    pub fn png(&self) -> Result<Vec<u8>> {
        let (width, height) = ((self.width * ZOOM).ceil() as u32, (self.height * ZOOM).ceil() as u32);
        let mut picture = RgbImage::from_pixel(width, height, Rgb([255; 3]));
        for shape in &self.shapes {
            match shape {
                Shape::Rectangle { place: [x, y, w, h], color } => {
                    let inside = |at: [f32; 2]| {
                        let along = |at: f32, from: f32, length: f32| (at - from + 0.5).min(from + length - at + 0.5);
                        along(at[0], x * ZOOM, w * ZOOM).min(along(at[1], y * ZOOM, h * ZOOM)).clamp(0.0, 1.0)
                    };
                    cover(&mut picture, [*x, *y, x + w, y + h], *color, &inside);
                }
                Shape::Line { points, width, color } => {
                    for pair in points.windows(2) {
                        let [[x, y], [u, v]] = [pair[0], pair[1]];
                        let around = [x.min(u) - width, y.min(v) - width, x.max(u) + width, y.max(v) + width];
                        let near = |at: [f32; 2]| {
                            let distance = distance(at, [x * ZOOM, y * ZOOM], [u * ZOOM, v * ZOOM]);
                            (width * ZOOM / 2.0 + 0.5 - distance).clamp(0.0, 1.0)
                        };
                        cover(&mut picture, around, *color, &near);
                    }
                }
                Shape::Dot { centre: [x, y], radius, color } => {
                    let near = |at: [f32; 2]| {
                        let distance = (at[0] - x * ZOOM).hypot(at[1] - y * ZOOM);
                        (radius * ZOOM + 0.5 - distance).clamp(0.0, 1.0)
                    };
                    cover(&mut picture, [x - radius, y - radius, x + radius, y + radius], *color, &near);
                }
                Shape::Area { points, color, opacity } => fill(&mut picture, points, *color, *opacity),
                Shape::Text { at, text, anchor, color, upwards } => {
                    write(&mut picture, *at, text, *anchor, *color, *upwards);
                }
            }
        }
        encode_png(&picture)
    }
}

fn hex([r, g, b]: Color) -> String {
    format!("#{r:02x}{g:02x}{b:02x}")
}

pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// The distance of a point from a line's piece.
fn distance([px, py]: [f32; 2], [x, y]: [f32; 2], [u, v]: [f32; 2]) -> f32 {
    let (dx, dy) = (u - x, v - y);
    let square = dx * dx + dy * dy;
    let along = if square > 0.0 { (((px - x) * dx + (py - y) * dy) / square).clamp(0.0, 1.0) } else { 0.0 };
    (px - x - along * dx).hypot(py - y - along * dy)
}

/// Mixes a colour into the pixels of a region `[left, top, right, bottom]` by the share that `share` says of each centre.
fn cover(picture: &mut RgbImage, region: [f32; 4], color: Color, share: &dyn Fn([f32; 2]) -> f32) {
    let (width, height) = picture.dimensions();
    let clamp = |value: f32, most: u32| (value * ZOOM).clamp(0.0, most as f32) as u32;
    let [left, top] = [clamp(region[0] - 1.0, width), clamp(region[1] - 1.0, height)];
    let [right, bottom] = [clamp(region[2] + 2.0, width), clamp(region[3] + 2.0, height)];
    for y in top..bottom {
        for x in left..right {
            let share = share([x as f32 + 0.5, y as f32 + 0.5]);
            if share > 0.0 {
                mix(picture, x, y, color, share);
            }
        }
    }
}

fn mix(picture: &mut RgbImage, x: u32, y: u32, color: Color, share: f32) {
    if let Some(pixel) = picture.get_pixel_mut_checked(x, y) {
        for (own, color) in pixel.0.iter_mut().zip(color) {
            *own = (f32::from(*own) * (1.0 - share) + f32::from(color) * share).round() as u8;
        }
    }
}

/// Mixes a colour into the pixels whose centres lie between corners.
fn fill(picture: &mut RgbImage, corners: &[[f32; 2]], color: Color, opacity: f32) {
    let (width, height) = picture.dimensions();
    if corners.iter().flatten().any(|place| !place.is_finite()) {
        return;
    }
    let [lowest, highest] =
        [f32::min, f32::max].map(|pick| corners.iter().map(|[_, y]| *y).reduce(pick).unwrap_or(0.0));
    let rows =
        (lowest * ZOOM).clamp(0.0, height as f32) as u32..(highest * ZOOM + 1.0).clamp(0.0, height as f32) as u32;
    for row in rows {
        let y = (row as f32 + 0.5) / ZOOM;
        let sides = corners.iter().zip(corners.iter().cycle().skip(1));
        let crossing = |([x, top], [u, bottom]): (&[f32; 2], &[f32; 2])| {
            ((*top <= y) != (*bottom <= y)).then(|| (x + (y - top) / (bottom - top) * (u - x)) * ZOOM)
        };
        let mut crossings: Vec<f32> = sides.filter_map(crossing).collect();
        crossings.sort_by(f32::total_cmp);
        for pair in crossings.chunks_exact(2) {
            let [from, to] = [pair[0], pair[1]].map(|x| (x + 0.5).clamp(0.0, width as f32) as u32);
            (from..to).for_each(|column| mix(picture, column, row, color, opacity));
        }
    }
}

/// Words in the font that this program brings along.
fn write(picture: &mut RgbImage, [x, y]: [f32; 2], text: &str, anchor: Anchor, color: Color, upwards: bool) {
    let length = lettering::width(text, LETTERS * ZOOM);
    let before = match anchor {
        Anchor::Start => 0.0,
        Anchor::Middle => length / 2.0,
        Anchor::End => length,
    };
    let (x, y, before) = ((x * ZOOM).round(), (y * ZOOM).round(), before.round());
    lettering::cover(text, LETTERS * ZOOM, |along, below, share| {
        let along = along - before;
        // A turned pixel's upper left corner is where its upper right one was.
        let (across, down) = if upwards { (x + below, y - along - 1.0) } else { (x + along, y + below) };
        if across >= 0.0 && down >= 0.0 {
            mix(picture, across as u32, down as u32, color, share);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(figure: &Figure) -> RgbImage {
        image::load_from_memory(&figure.png().unwrap()).unwrap().to_rgb8()
    }

    #[test]
    fn shapes_are_where_they_belong() {
        let mut figure = Figure::new(40.0, 20.0);
        figure.rectangle([0.0, 0.0, 10.0, 10.0], [255, 0, 0]);
        figure.line(&[[20.0, 10.0], [39.0, 10.0]], 2.0, [0, 0, 255]);
        figure.dot([30.0, 4.0], 2.0, [0, 255, 0]);
        let picture = drawn(&figure);
        assert_eq!(picture.dimensions(), (80, 40));
        assert_eq!(picture.get_pixel(10, 10).0, [255, 0, 0]);
        assert_eq!(picture.get_pixel(24, 10).0, [255; 3]);
        assert_eq!(picture.get_pixel(60, 20).0, [0, 0, 255]);
        assert_eq!(picture.get_pixel(60, 8).0, [0, 255, 0]);
        let svg = figure.svg();
        assert!(svg.contains("<rect x=\"0.00\"") && svg.contains("#0000ff") && svg.ends_with("</svg>\n"), "{svg}");
    }

    #[test]
    fn areas_are_seen_through_and_words_can_be_turned() {
        let mut figure = Figure::new(40.0, 40.0);
        figure.area(&[[10.0, 10.0], [30.0, 10.0], [30.0, 30.0], [10.0, 30.0]], [255, 0, 0], 0.5);
        let picture = drawn(&figure);
        assert_eq!(picture.get_pixel(40, 40).0, [255, 128, 128]);
        assert_eq!([picture.get_pixel(18, 40).0, picture.get_pixel(62, 40).0], [[255; 3]; 2]);
        assert!(figure.svg().contains("fill-opacity=\"0.5\""));
        figure.area(&[[f32::NAN, 0.0], [1.0, 1e30], [3.0, 3.0]], [0; 3], 1.0);
        assert_eq!(drawn(&figure), picture);

        let dark = |figure: &Figure| -> Vec<(u32, u32)> {
            let picture = drawn(figure);
            picture.enumerate_pixels().filter(|(_, _, pixel)| pixel.0 == [0; 3]).map(|(x, y, _)| (x, y)).collect()
        };
        let (mut flat, mut turned) = (Figure::new(40.0, 40.0), Figure::new(40.0, 40.0));
        flat.text([20.0, 20.0], "Lf", Anchor::Middle, [0; 3]);
        turned.upward_text([20.0, 20.0], "Lf", Anchor::Middle, [0; 3]);
        assert!(turned.svg().contains("rotate(-90 20.00 20.00)"));
        // Turned about its point: right becomes up, down becomes right.
        let mut expected: Vec<(u32, u32)> = dark(&flat).into_iter().map(|(x, y)| (y, 79 - x)).collect();
        let mut found = dark(&turned);
        expected.sort_unstable();
        found.sort_unstable();
        assert_eq!(found, expected);
    }

    #[test]
    fn words_are_drawn_whatever_they_hold() {
        let mut figure = Figure::new(60.0, 12.0);
        figure.text([30.0, 10.0], "a<é\u{1F600}\n", Anchor::Middle, [0; 3]);
        let dark = drawn(&figure).pixels().filter(|pixel| pixel.0 == [0; 3]).count();
        assert!(dark > 20, "{dark}");
        assert!(figure.svg().contains("a&lt;é"));
        figure.text([-500.0, 1e9], "far away", Anchor::End, [0; 3]);
        figure.line(&[[f32::NAN, 0.0], [1e30, 3.0]], 1.0, [0; 3]);
        assert_eq!(drawn(&figure).dimensions(), (120, 24));
    }
}
