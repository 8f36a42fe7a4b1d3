//! What a chart is drawn on: the SVG and, stroke by stroke beside it, the drawing that becomes a PNG.

use crate::figure::{Anchor, Color, Figure};
use std::fmt::Write as _;

/// A chart under way.
pub(super) struct Sheet {
    svg: String,
    figure: Figure,
}

/// How words stand.
#[derive(Clone, Copy)]
pub(super) struct Words {
    pub(super) anchor: Anchor,
    pub(super) color: Color,
    pub(super) bold: bool,
    pub(super) upwards: bool,
}

impl Words {
    pub(super) const PLAIN: Self = Self { anchor: Anchor::Start, color: INK, bold: false, upwards: false };
}

/// What words are written in.
pub(super) const INK: Color = [0x33; 3];

impl Sheet {
    pub(super) fn new(width: f64, height: f64) -> Self {
        Self { svg: String::new(), figure: Figure::new(width as f32, height as f32) }
    }

    /// The SVG's shapes, and the drawing.
    pub(super) fn finish(self) -> (String, Figure) {
        (self.svg, self.figure)
    }

    /// A line through points, of dashes and gaps in pixels; a whole one for none.
    pub(super) fn line(&mut self, points: &[[f64; 2]], color: Color, width: f64, dashes: &[f64]) {
        let corners: Vec<String> = points.iter().map(|[x, y]| format!("{x:.1} {y:.1}")).collect();
        let dash: Vec<String> = dashes.iter().map(f64::to_string).collect();
        let dash = if dash.is_empty() { String::new() } else { format!(" stroke-dasharray=\"{}\"", dash.join(" ")) };
        let join = if points.len() > 2 { " stroke-linejoin=\"round\"" } else { "" };
        let (path, color_name) = (corners.join("L"), name(color));
        let _ = writeln!(
            self.svg,
            "<path d=\"M{path}\" fill=\"none\" stroke=\"{color_name}\" stroke-width=\"{width}\"{join}{dash}/>"
        );
        for piece in dashed(points, dashes) {
            self.figure.line(&piece, width as f32, color);
        }
    }

    pub(super) fn dot(&mut self, [x, y]: [f64; 2], radius: f64, color: Color) {
        let _ = writeln!(self.svg, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius}\" fill=\"{}\"/>", name(color));
        self.figure.dot([x as f32, y as f32], radius as f32, color);
    }

    pub(super) fn area(&mut self, corners: &[[f64; 2]], color: Color, opacity: f64) {
        let path: Vec<String> = corners.iter().map(|[x, y]| format!("{x:.1} {y:.1}")).collect();
        let (path, color_name) = (path.join("L"), name(color));
        let _ = writeln!(self.svg, "<path d=\"M{path}Z\" fill=\"{color_name}\" fill-opacity=\"{opacity}\"/>");
        self.figure.area(&single(corners), color, opacity as f32);
    }

    pub(super) fn text(&mut self, [x, y]: [f64; 2], text: &str, words: Words) {
        if text.is_empty() {
            return;
        }
        let mut attributes = match words.anchor {
            Anchor::Start => String::new(),
            Anchor::Middle => " text-anchor=\"middle\"".into(),
            Anchor::End => " text-anchor=\"end\"".into(),
        };
        if words.bold {
            attributes += " font-weight=\"600\"";
        }
        if words.color != INK {
            attributes += &format!(" fill=\"{}\"", name(words.color));
        }
        if words.upwards {
            attributes += &format!(" transform=\"rotate(-90 {x:.1} {y:.1})\"");
        }
        let _ = writeln!(self.svg, "<text x=\"{x:.1}\" y=\"{y:.1}\"{attributes}>{}</text>", escaped(text));
        let at = [x as f32, y as f32];
        if words.upwards {
            self.figure.upward_text(at, text, words.anchor, words.color);
        } else {
            self.figure.text(at, text, words.anchor, words.color);
        }
    }
}

fn name([r, g, b]: Color) -> String {
    format!("#{r:02x}{g:02x}{b:02x}")
}

fn single(points: &[[f64; 2]]) -> Vec<[f32; 2]> {
    points.iter().map(|point| point.map(|place| place as f32)).collect()
}

/// A line's dashes, as lines of their own.
fn dashed(points: &[[f64; 2]], dashes: &[f64]) -> Vec<Vec<[f32; 2]>> {
    if dashes.is_empty() || dashes.iter().any(|length| *length <= 0.0) {
        return vec![single(points)];
    }
    let mut pieces = Vec::new();
    let (mut place, mut left) = (0, dashes[0]);
    for pair in points.windows(2) {
        let [[x, y], [u, v]] = [pair[0], pair[1]];
        let length = (u - x).hypot(v - y);
        let at = |done: f64| [x + done / length * (u - x), y + done / length * (v - y)];
        let mut done = 0.0;
        while done < length {
            let step = left.min(length - done);
            if place % 2 == 0 {
                pieces.push(single(&[at(done), at(done + step)]));
            }
            (done, left) = (done + step, left - step);
            if left <= 0.0 {
                place = (place + 1) % dashes.len();
                left = dashes[place];
            }
        }
    }
    pieces
}

/// Text as XML has it. Characters that XML does not allow become spaces.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\u{fffe}' | '\u{ffff}' => out.push(' '),
            control if control.is_control() => out.push(' '),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dashes_go_round_corners() {
        let pieces = dashed(&[[0.0, 0.0], [4.0, 0.0], [4.0, 5.0]], &[3.0, 2.0]);
        assert_eq!(pieces, [[[0.0, 0.0], [3.0, 0.0]], [[4.0, 1.0], [4.0, 4.0]]]);
        assert_eq!(dashed(&[[0.0, 0.0], [4.0, 0.0]], &[]), [[[0.0, 0.0], [4.0, 0.0]]]);
        assert!(dashed(&[[1.0, 1.0], [1.0, 1.0]], &[3.0, 2.0]).is_empty());
    }
}
