use crate::canvas::Canvas;
use faithful_core::{Error, Result};
use std::fmt;
use std::num::NonZeroUsize;

/// How many cells change per point of a curve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Steps {
    /// This many steps from nothing to everything; step `k` has changed `round(k * cells / steps)` cells.
    Count(NonZeroUsize),
    /// At most this many steps of equally many cells, `cells / steps` rounded up; the last step may be smaller.
    AtMost(NonZeroUsize),
    /// This many cells per step; the last step may be smaller.
    Cells(NonZeroUsize),
    /// Square images of side `n`: `n` cells per step, so `n` steps, as RISE and Poly-CAM.
    Side,
}

impl Steps {
    /// How many points a curve over so many cells has, in an input of that width: as often is the network evaluated.
    pub fn points(self, cells: usize, width: usize) -> usize {
        self.counts(cells, width).len()
    }

    /// The number of changed cells at every point, from 0 to `cells`.
    pub(crate) fn counts(self, cells: usize, width: usize) -> Vec<usize> {
        let per_step = match self {
            Self::Count(steps) => {
                let steps = steps.get();
                return (0..=steps).map(|k| (k * cells + steps / 2) / steps).collect();
            }
            Self::AtMost(steps) => cells.div_ceil(steps.get()).max(1),
            Self::Cells(per_step) => per_step.get(),
            Self::Side => width.max(1),
        };
        (0..cells).step_by(per_step).chain([cells]).collect()
    }
}

/// How points become an area.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Area {
    /// The trapezoid rule over the fraction of changed cells.
    Trapezoid,
    /// The mean of all points but the first, which need not be evaluated (Poly-CAM's code).
    RightSum,
    /// The mean of all points.
    Mean,
}

/// Which number of the network the points of a curve are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CurveScore {
    /// The softmax probability of the explained class.
    #[default]
    Probability,
    /// Its output before the softmax.
    Logit,
}

/// Everything that defines an insertion and deletion measurement.
///
/// As text it says all of it, after the name of the preset that it is, if it is one:
///
/// ```
/// use faithful_metric::{Canvas, Protocol};
/// let blur = "insertion from blur:11:5, deletion to blur:11:5";
/// let rest = "mean of all points but the first, probability";
/// assert_eq!(Protocol::polycam().to_string(), format!("polycam: a side of cells per step, {blur}, {rest}"));
/// let own = Protocol { deletion: Canvas::Mean, ..Protocol::polycam() };
/// assert!(own.to_string().starts_with("own: a side of cells per step"));
/// ```
#[derive(Clone, Debug)]
pub struct Protocol {
    /// How many cells change per point.
    pub steps: Steps,
    /// What insertion starts from.
    pub insertion: Canvas,
    /// What deletion ends in.
    pub deletion: Canvas,
    /// How points become an area.
    pub area: Area,
    /// What the points are. [`insertion_deletion`](crate::insertion_deletion) takes it from the objective it is given, which
    /// must be of this score; [`measure`](crate::measure) and evaluation runs see to that.
    pub score: CurveScore,
    /// Whether scores are divided by the score of the whole input.
    pub normalized: bool,
}

const BLUR: Canvas = Canvas::Blur { taps: 11, sigma: 5.0 };

impl Protocol {
    /// The names that [`Protocol::named`] knows.
    pub const NAMES: [&'static str; 4] = ["thesis", "polycam", "rise", "torchcam"];

    /// The thesis (5.1.3): 1003 steps, insertion from a blurred canvas (11 taps, sigma 5), deletion to zero, trapezoid.
    pub fn thesis() -> Self {
        let steps = Steps::Count(NonZeroUsize::new(1003).expect("not zero"));
        Self {
            steps,
            insertion: BLUR,
            deletion: Canvas::Zero,
            area: Area::Trapezoid,
            score: CurveScore::Probability,
            normalized: false,
        }
    }

    /// The Poly-CAM authors' evaluation: one image side of pixels per step, both canvases blurred, right sum.
    pub fn polycam() -> Self {
        Self {
            steps: Steps::Side,
            insertion: BLUR,
            deletion: BLUR,
            area: Area::RightSum,
            score: CurveScore::Probability,
            normalized: false,
        }
    }

    /// RISE (Petsiuk et al. 2018) as its authors evaluate: one side of pixels per step, their blur, zero, trapezoid.
    pub fn rise() -> Self {
        let (insertion, deletion) = (Canvas::RiseBlur, Canvas::Zero);
        Self {
            steps: Steps::Side,
            insertion,
            deletion,
            area: Area::Trapezoid,
            score: CurveScore::Probability,
            normalized: false,
        }
    }

    /// `TorchCAM` 0.5: at most twenty steps, both canvases zero, trapezoid (on whatever score the user gives).
    pub fn torchcam() -> Self {
        let steps = Steps::AtMost(NonZeroUsize::new(20).expect("not zero"));
        let (insertion, deletion) = (Canvas::Zero, Canvas::Zero);
        Self { steps, insertion, deletion, area: Area::Trapezoid, score: CurveScore::Probability, normalized: false }
    }

    /// The protocol of that name.
    ///
    /// # Errors
    /// [`Error::UnknownName`] with suggestions.
    pub fn named(name: &str) -> Result<Self> {
        match name {
            "thesis" => Ok(Self::thesis()),
            "polycam" => Ok(Self::polycam()),
            "rise" => Ok(Self::rise()),
            "torchcam" => Ok(Self::torchcam()),
            _ => Err(Error::unknown("protocol", name, Self::NAMES)),
        }
    }
}

impl Default for Protocol {
    fn default() -> Self {
        Self::thesis()
    }
}

impl fmt::Display for Steps {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Count(steps) => write!(f, "{steps} steps"),
            Self::AtMost(steps) => write!(f, "at most {steps} steps"),
            Self::Cells(cells) => write!(f, "{cells} cells per step"),
            Self::Side => f.write_str("a side of cells per step"),
        }
    }
}

impl fmt::Display for Area {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Self::Trapezoid => "trapezoid",
            Self::RightSum => "mean of all points but the first",
            Self::Mean => "mean of all points",
        })
    }
}

impl fmt::Display for CurveScore {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Self::Probability => "probability",
            Self::Logit => "logit",
        })
    }
}

impl Protocol {
    fn definition(&self) -> String {
        let Self { steps, insertion, deletion, area, score, normalized } = self;
        let normalized = if *normalized { " over the whole input's" } else { "" };
        format!("{steps}, insertion from {insertion}, deletion to {deletion}, {area}, {score}{normalized}")
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let definition = self.definition();
        let is = |name: &&str| Self::named(name).is_ok_and(|preset| preset.definition() == definition);
        let name = Self::NAMES.iter().find(|name| is(name)).copied().unwrap_or("own");
        write!(f, "{name}: {definition}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_run_from_nothing_to_everything() {
        let steps = |count: usize| NonZeroUsize::new(count).unwrap();
        assert_eq!(Steps::Count(steps(4)).counts(10, 5), [0, 3, 5, 8, 10]);
        assert_eq!(Steps::Cells(steps(4)).counts(10, 5), [0, 4, 8, 10]);
        assert_eq!(Steps::AtMost(steps(4)).counts(10, 5), [0, 3, 6, 9, 10]);
        assert_eq!(Steps::AtMost(steps(4)).counts(0, 0), [0]);
        assert_eq!(Steps::Side.counts(9, 3), [0, 3, 6, 9]);
    }

    #[test]
    fn every_preset_says_its_name_and_a_changed_one_does_not() {
        for name in Protocol::NAMES {
            let text = Protocol::named(name).unwrap().to_string();
            assert!(text.starts_with(&format!("{name}: ")), "{text}");
        }
        let changed = Protocol { score: CurveScore::Logit, normalized: true, ..Protocol::thesis() };
        assert_eq!(
            changed.to_string(),
            "own: 1003 steps, insertion from blur:11:5, deletion to zero, trapezoid, logit over the whole input's"
        );
    }
}
