//! What a detection network finds in a photo: boxes with classes, each once; and which of them is meant.

use crate::Photo;
use crate::similar_box::SimilarBox;
use faithful_core::{Error, Linear, Probabilities, Reading, Result};
use faithful_model::{BoxCoding, Dense, DenseForm, Labels};
use faithful_report::Region;
use std::sync::Arc;

/// A box in a photo, with its class.
#[derive(Clone, Debug, PartialEq)]
pub struct Detection {
    /// Its place among the network's boxes.
    pub row: usize,
    /// Its most probable class.
    pub class: usize,
    /// That class's probability, with the probability that there is anything where the network says it apart.
    pub score: f64,
    /// Left, top, right and bottom in the photo's pixels; outside of the photo where the network says so.
    pub corners: [f64; 4],
}

/// Boxes of less are not listed.
const LEAST: f64 = 0.01;
/// So many of the best are looked at.
const CANDIDATES: usize = 3000;
/// So many are listed.
const LISTED: usize = 300;
/// Two boxes of a class that overlap more are one: the value of most networks' own suppression.
const SAME: f64 = 0.5;

/// Which box is meant, and which number of it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Choice {
    which: Which,
    pub(crate) what: Part,
}

#[derive(Clone, Debug, PartialEq)]
enum Which {
    /// In the list's order, from 1 on.
    Number(usize),
    /// The best of a class.
    Class(usize),
    /// The one that overlaps most with these corners.
    Near([f64; 4]),
}

/// Which number of a box is explained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// The class, with whether there is anything.
    Joint,
    /// The class, given that there is anything.
    Class,
    /// Whether there is anything.
    Objectness,
    /// How alike the most similar box is, wherever it stands in the list.
    Similar,
    /// A number of the box in the photo's pixels: left, top, right, bottom, width, height by 0 to 5.
    Coordinate(usize),
}

const PARTS: [(&str, Part); 9] = [
    ("similar", Part::Similar),
    ("class", Part::Class),
    ("objectness", Part::Objectness),
    ("left", Part::Coordinate(0)),
    ("top", Part::Coordinate(1)),
    ("right", Part::Coordinate(2)),
    ("bottom", Part::Coordinate(3)),
    ("width", Part::Coordinate(4)),
    ("height", Part::Coordinate(5)),
];

impl Part {
    /// What the numbers are called that are read of it; nothing for classes.
    pub(crate) fn name(self) -> Option<String> {
        let named = PARTS.iter().find(|(_, part)| *part == self).map(|(name, _)| *name)?;
        match self {
            Self::Objectness => Some("objectness".into()),
            Self::Similar => Some("similarity to the box".into()),
            Self::Coordinate(_) => Some(format!("{named} of the box in pixels")),
            Self::Joint | Self::Class => None,
        }
    }

    /// How the numbers become probabilities.
    pub(crate) fn probabilities(self) -> Probabilities {
        match self {
            Self::Coordinate(_) | Self::Similar => Probabilities::Unchanged,
            Self::Joint | Self::Class | Self::Objectness => Probabilities::Sigmoid,
        }
    }
}

impl Choice {
    /// Reads `2`, `dog` or `box:10,20,200,180`, with `/class`, `/objectness`, `/similar` or `/left` and the like behind it.
    pub(crate) fn parse(text: &str, labels: &Labels, objectness: bool) -> Result<Self> {
        let (which, what) = match text.rsplit_once('/').and_then(|(before, name)| {
            PARTS.iter().find(|(known, _)| *known == name.trim()).map(|(_, part)| (before, *part))
        }) {
            Some(both) => both,
            None => (text, Part::Joint),
        };
        if !objectness && what == Part::Objectness {
            let reason = "the network does not say apart whether there is anything: leave `/objectness` out";
            return Err(Error::parameter("detection", reason));
        }
        let which = which.trim();
        if let Some(numbers) = which.strip_prefix("box:") {
            return Ok(Self { which: Which::Near(corners("detection", numbers)?), what });
        }
        let which = match which.parse::<usize>() {
            Ok(0) => return Err(Error::parameter("detection", "detections are counted from 1 on, the best is `1`")),
            Ok(number) => Which::Number(number),
            Err(_) => Which::Class(labels.find(which)?),
        };
        Ok(Self { which, what })
    }

    /// The one that is meant among those of a photo.
    pub(crate) fn of<'a>(&self, all: &'a [Detection], labels: &Labels) -> Result<&'a Detection> {
        let (found, missing) = match self.which {
            Which::Number(number) => (all.get(number - 1), format!("there is no detection {number}")),
            Which::Class(class) => {
                let found = all.iter().find(|detection| detection.class == class);
                (found, format!("there is no detection of `{}`", labels.name(class)))
            }
            Which::Near(wanted) => {
                let overlaps = |detection: &&Detection| overlap(detection.corners, wanted) > 0.0;
                let by =
                    |a: &&Detection, b: &&Detection| overlap(a.corners, wanted).total_cmp(&overlap(b.corners, wanted));
                (all.iter().filter(overlaps).max_by(by), "no detection overlaps with that box".to_owned())
            }
        };
        found.ok_or_else(|| {
            let count = match all.len() {
                0 => "nothing is found in the photo".to_owned(),
                1 => "one is found in the photo, `1`".to_owned(),
                more => format!("{more} are found in the photo, `1` to `{more}`"),
            };
            Error::parameter("detection", format!("{missing}: {count}; `faithful predict` lists them"))
        })
    }
}

/// Four numbers by commas: left, top, right, bottom.
pub(crate) fn corners(parameter: &'static str, text: &str) -> Result<[f64; 4]> {
    let numbers: Vec<f64> = text.split(',').filter_map(|number| number.trim().parse().ok()).collect();
    match *numbers.as_slice() {
        [left, top, right, bottom]
            if numbers.iter().all(|number| number.is_finite())
                && text.split(',').count() == 4
                && left < right
                && top < bottom =>
        {
            Ok([left, top, right, bottom])
        }
        _ => {
            let reason =
                format!("`box:{text}` is not box:LEFT,TOP,RIGHT,BOTTOM in the photo's pixels, as box:10,20,200,180");
            Err(Error::parameter(parameter, reason))
        }
    }
}

/// How much two boxes overlap: the area of both over the area of either (intersection over union).
pub(crate) fn overlap(a: [f64; 4], b: [f64; 4]) -> f64 {
    let area = |[left, top, right, bottom]: [f64; 4]| (right - left).max(0.0) * (bottom - top).max(0.0);
    let both = area([a[0].max(b[0]), a[1].max(b[1]), a[2].min(b[2]), a[3].min(b[3])]);
    let either = area(a) + area(b) - both;
    if either > 0.0 { both / either } else { 0.0 }
}

/// How the outputs of a detection lie, for one input.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rows {
    pub(crate) boxes: usize,
    pub(crate) classes: usize,
    pub(crate) objectness: bool,
    pub(crate) coding: BoxCoding,
    /// `[height, width]` of the input.
    pub(crate) input: [usize; 2],
    pub(crate) region: Region,
}

impl Rows {
    /// Those of a photo.
    pub(crate) fn of(dense: &Dense, photo: &Photo) -> Result<Self> {
        let DenseForm::Detection { classes, objectness, coding } = dense.form else {
            return Err(Error::parameter("detection", "the network gives no boxes"));
        };
        let (_, _, height, width) = photo.tensor.dims4()?;
        let [boxes, _] = dense.places(&photo.tensor.dims()[1..])?;
        Ok(Self { boxes, classes, objectness, coding, input: [height, width], region: photo.region })
    }

    pub(crate) fn outputs(&self) -> usize {
        let apart = if self.objectness { self.classes + 1 } else { 0 };
        self.boxes * (4 + self.classes + apart)
    }

    /// Where the log-odds of the classes begin, the classes alone where they are said apart.
    pub(crate) fn start_of_classes(&self) -> usize {
        if self.objectness { self.boxes * (4 + self.classes) } else { self.boxes * 4 }
    }

    /// Where the log-odds begin of that there is anything, where they are said apart.
    pub(crate) fn start_of_objectness(&self) -> usize {
        self.boxes * (4 + 2 * self.classes)
    }

    /// Left, top, right and bottom of the box `row`, in the input's pixels.
    fn sides(&self, output: &[f64], row: usize) -> [f64; 4] {
        self.coding.corners([0, 1, 2, 3].map(|number| output[4 * row + number]), self.input)
    }

    /// The box `row` in the photo's pixels.
    fn corners(&self, output: &[f64], row: usize) -> [f64; 4] {
        let [left, top, right, bottom] = self.sides(output, row);
        let [height, width] = self.input.map(|side| side as f64);
        let Region { left: x, top: y, width: columns, height: rows } = self.region;
        [x + left / width * columns, y + top / height * rows, x + right / width * columns, y + bottom / height * rows]
    }

    /// The boxes that are found, the best first, each once.
    ///
    /// # Errors
    /// [`Error::Shape`] for an output of another network.
    pub(crate) fn found(&self, output: &[f64]) -> Result<Vec<Detection>> {
        if output.len() != self.outputs() {
            return Err(Error::shape("the network's output", format!("{} numbers", self.outputs()), &[output.len()]));
        }
        let scores = &output[4 * self.boxes..(4 + self.classes) * self.boxes];
        let mut all: Vec<(usize, usize, f64)> = scores
            .chunks(self.classes)
            .enumerate()
            .map(|(row, scores)| {
                let best =
                    (0..self.classes).fold(0, |best, class| if scores[class] > scores[best] { class } else { best });
                (row, best, 1.0 / (1.0 + (-scores[best]).exp()))
            })
            .filter(|(_, _, score)| *score >= LEAST)
            .collect();
        all.sort_by(|a, b| b.2.total_cmp(&a.2).then(a.0.cmp(&b.0)));
        all.truncate(CANDIDATES);
        let mut kept: Vec<Detection> = Vec::new();
        for (row, class, score) in all {
            let corners = self.corners(output, row);
            let same = |other: &Detection| other.class == class && overlap(other.corners, corners) > SAME;
            let [left, top, right, bottom] = corners;
            if corners.iter().all(|side| side.is_finite()) && left < right && top < bottom && !kept.iter().any(same) {
                kept.push(Detection { row, class, score, corners });
            }
            if kept.len() == LISTED {
                break;
            }
        }
        Ok(kept)
    }

    /// The numbers of a box that are explained, of those that `output` has for the photo.
    pub(crate) fn reading(&self, found: &Detection, what: Part, output: &[f64]) -> Result<Arc<dyn Reading>> {
        let Self { boxes, classes, .. } = *self;
        let row = found.row;
        let of_classes = |start: usize| (start + row * classes..start + (row + 1) * classes).collect::<Vec<_>>();
        let chosen = match what {
            Part::Joint => of_classes(boxes * 4),
            Part::Class => of_classes(self.start_of_classes()),
            Part::Objectness => vec![self.start_of_objectness() + row],
            Part::Coordinate(number) => {
                return Ok(Arc::new(Linear::new(self.outputs(), &[self.coordinate(row, number)])?));
            }
            Part::Similar => {
                let start = self.start_of_classes() + row * classes;
                return Ok(Arc::new(SimilarBox {
                    rows: *self,
                    wanted: self.sides(output, row),
                    log_odds: output[start..start + classes].to_vec(),
                }));
            }
        };
        Ok(Arc::new(Linear::outputs(self.outputs(), &chosen)?))
    }

    /// A number of the box `row` in the photo's pixels, as a sum of outputs.
    fn coordinate(&self, row: usize, number: usize) -> Vec<(usize, f64)> {
        let axis = number % 2;
        let side = |side: usize, sign: f64| {
            let scale = sign * self.pixels(axis);
            self.coding.side(side).into_iter().map(move |(index, weight)| (4 * row + index, weight * scale))
        };
        match number {
            0..4 => side(number, 1.0).collect(),
            _ => side(axis + 2, 1.0).chain(side(axis, -1.0)).collect(),
        }
    }

    /// The photo's pixels that the unit of a coordinate is, across or down.
    fn pixels(&self, axis: usize) -> f64 {
        let (photo, input) =
            if axis == 0 { (self.region.width, self.input[1]) } else { (self.region.height, self.input[0]) };
        if self.coding.normalised { photo } else { photo / input as f64 }
    }
}
