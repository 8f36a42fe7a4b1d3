use crate::canvas::{Canvas, Reveal, values};
use crate::rank::{Cover, Rank};
use candle_core::Tensor;
use faithful_core::{Error, Objective, Result};
use std::collections::BTreeMap;
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
    /// The number of changed cells at every point, from 0 to `cells`.
    fn counts(self, cells: usize, width: usize) -> Vec<usize> {
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

/// Everything that defines an insertion and deletion measurement.
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
        Self { steps, insertion: BLUR, deletion: Canvas::Zero, area: Area::Trapezoid, normalized: false }
    }

    /// The Poly-CAM authors' evaluation: one image side of pixels per step, both canvases blurred, right sum.
    pub fn polycam() -> Self {
        Self { steps: Steps::Side, insertion: BLUR, deletion: BLUR, area: Area::RightSum, normalized: false }
    }

    /// RISE (Petsiuk et al. 2018) as its authors evaluate: one side of pixels per step, their blur, zero, trapezoid.
    pub fn rise() -> Self {
        let (insertion, deletion) = (Canvas::RiseBlur, Canvas::Zero);
        Self { steps: Steps::Side, insertion, deletion, area: Area::Trapezoid, normalized: false }
    }

    /// `TorchCAM` 0.5: at most twenty steps, both canvases zero, trapezoid (on whatever score the user gives).
    pub fn torchcam() -> Self {
        let steps = Steps::AtMost(NonZeroUsize::new(20).expect("not zero"));
        let (insertion, deletion) = (Canvas::Zero, Canvas::Zero);
        Self { steps, insertion, deletion, area: Area::Trapezoid, normalized: false }
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

/// Insertion and deletion of one map.
#[derive(Clone, Debug, PartialEq)]
pub struct Curves {
    /// The fraction of changed cells at each point, from 0 to 1.
    pub fractions: Vec<f64>,
    /// The score when that fraction of the most important cells is shown on the insertion canvas.
    pub insertion: Vec<f64>,
    /// The score when that fraction of the most important cells is replaced by the deletion canvas.
    pub deletion: Vec<f64>,
    /// How points become an area.
    pub area: Area,
}

impl Curves {
    /// The area under the insertion curve: higher is better, in the score's range.
    pub fn insertion_area(&self) -> f64 {
        area_under(&self.fractions, &self.insertion, self.area)
    }

    /// The area under the deletion curve: lower is better, in the score's range.
    pub fn deletion_area(&self) -> f64 {
        area_under(&self.fractions, &self.deletion, self.area)
    }

    /// Insertion minus deletion (Englebert et al. 2022): higher is better.
    pub fn difference(&self) -> f64 {
        self.insertion_area() - self.deletion_area()
    }
}

/// The area under points `(x, y)` with `x` ascending from 0 to 1.
pub fn area_under(x: &[f64], y: &[f64], area: Area) -> f64 {
    let mean = |points: &[f64]| points.iter().sum::<f64>() / points.len().max(1) as f64;
    match area {
        Area::Trapezoid => {
            let pairs = x.windows(2).zip(y.windows(2));
            pairs.map(|(x, y)| (x[1] - x[0]) * (y[0] + y[1]) / 2.0).sum()
        }
        Area::RightSum => mean(y.get(1..).unwrap_or_default()),
        Area::Mean => mean(y),
    }
}

/// One picture to evaluate: the `changed` most important cells inserted into, or deleted towards, a canvas.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Picture {
    Inserted(usize),
    Deleted(usize),
}

/// Insertion and deletion (Petsiuk, Das and Saenko 2018) of a map.
///
/// `input` is one image or series `(1, C, …)`; `map` has its cells `(…)`, whose channels move together, or its entries
/// `(C, …)`. The curves share what they can: the whole input is evaluated once for both, points with the same number
/// of changed cells once, and all pictures go through the network in one stream of full batches.
///
/// # Errors
/// [`Error::Shape`] where map and input do not fit, [`Error::NotFinite`] where the map has NaN.
pub fn insertion_deletion(objective: &Objective, input: &Tensor, map: &Tensor, protocol: &Protocol) -> Result<Curves> {
    let cover = Cover::new(input, map)?;
    let rank = Rank::of(map)?;
    let counts = protocol.steps.counts(cover.cells, *map.dims().last().unwrap_or(&1));
    let photo = values(input)?;
    let insertion = values(&protocol.insertion.paint(input)?)?;
    let deletion = values(&protocol.deletion.paint(input)?)?;

    let inserted = |count| Picture::Inserted(count);
    // All cells shown and no cell hidden are the same picture: the input.
    let deleted = |count| if count == 0 { Picture::Inserted(cover.cells) } else { Picture::Deleted(count) };
    let mut scores: BTreeMap<Picture, f64> = BTreeMap::new();
    let skipped = usize::from(protocol.area == Area::RightSum);
    for &count in counts.iter().skip(skipped) {
        scores.insert(inserted(count), 0.0);
        scores.insert(deleted(count), 0.0);
    }
    scores.insert(inserted(cover.cells), 0.0);

    let pictures: Vec<Picture> = scores.keys().copied().collect();
    // They come insertion first, each by ascending counts, so that each is made from the one before.
    let mut inserting = Reveal::new(&photo, insertion, rank.order());
    let mut deleting = Reveal::new(&deletion, photo.clone(), rank.order());
    let mut shape = input.dims().to_vec();
    for chunk in pictures.chunks(objective.batch().get()) {
        let mut rows = Vec::with_capacity(chunk.len() * photo.len());
        for picture in chunk {
            rows.extend_from_slice(match *picture {
                Picture::Inserted(count) => inserting.until(count),
                Picture::Deleted(count) => deleting.until(count),
            });
        }
        shape[0] = chunk.len();
        let rows = Tensor::from_vec(rows, shape.as_slice(), input.device())?.to_dtype(input.dtype())?;
        for (picture, score) in chunk.iter().zip(values(&objective.scores(&rows)?)?) {
            scores.insert(*picture, f64::from(score));
        }
    }

    let whole = scores[&inserted(cover.cells)];
    let scale = if protocol.normalized { whole } else { 1.0 };
    // Where the first point is not evaluated it has no part in the area; it repeats its neighbour for plots.
    let read = |picture: Picture, next: Picture| scores.get(&picture).unwrap_or(&scores[&next]) / scale;
    let first = counts[counts.len().min(2) - 1];
    Ok(Curves {
        fractions: counts.iter().map(|&count| count as f64 / cover.cells as f64).collect(),
        insertion: counts.iter().map(|&count| read(inserted(count), inserted(first))).collect(),
        deletion: counts.iter().map(|&count| read(deleted(count), deleted(first))).collect(),
        area: protocol.area,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Sum;
    use candle_core::Device;
    use faithful_core::Target;

    fn steps(count: usize) -> Steps {
        Steps::Count(NonZeroUsize::new(count).unwrap())
    }

    fn zero_protocol(count: usize) -> Protocol {
        Protocol { steps: steps(count), insertion: Canvas::Zero, ..Protocol::thesis() }
    }

    #[test]
    fn counts_run_from_nothing_to_everything() {
        assert_eq!(steps(4).counts(10, 5), [0, 3, 5, 8, 10]);
        assert_eq!(Steps::Cells(NonZeroUsize::new(4).unwrap()).counts(10, 5), [0, 4, 8, 10]);
        assert_eq!(Steps::AtMost(NonZeroUsize::new(4).unwrap()).counts(10, 5), [0, 3, 6, 9, 10]);
        assert_eq!(Steps::AtMost(NonZeroUsize::new(4).unwrap()).counts(0, 0), [0]);
        assert_eq!(Steps::Side.counts(9, 3), [0, 3, 6, 9]);
    }

    /// The score is the sum of the input, so each curve is known in closed form.
    #[test]
    fn a_linear_score_has_the_known_curves() {
        let input = Tensor::new(&[[[[4f32, 3.0], [2.0, 1.0]]]], &Device::Cpu).unwrap();
        let network = Sum::default();
        let objective = Objective::new(&network, &Target::Output(0));
        let perfect = input.squeeze(0).unwrap().squeeze(0).unwrap();
        let curves = insertion_deletion(&objective, &input, &perfect, &zero_protocol(4)).unwrap();
        assert_eq!(curves.insertion, [0.0, 4.0, 7.0, 9.0, 10.0]);
        assert_eq!(curves.deletion, [10.0, 6.0, 3.0, 1.0, 0.0]);
        assert_eq!(curves.difference(), 6.25 - 3.75);
        let worst = perfect.neg().unwrap();
        let curves = insertion_deletion(&objective, &input, &worst, &zero_protocol(4)).unwrap();
        assert_eq!(curves.difference(), 3.75 - 6.25);
    }

    #[test]
    fn entries_can_move_alone() {
        let input = Tensor::new(&[[[1f32, 2.0], [3.0, 4.0]]], &Device::Cpu).unwrap();
        let network = Sum::default();
        let objective = Objective::new(&network, &Target::Output(0));
        let map = input.squeeze(0).unwrap();
        let curves = insertion_deletion(&objective, &input, &map, &zero_protocol(4)).unwrap();
        assert_eq!(curves.insertion, [0.0, 4.0, 7.0, 9.0, 10.0]);
        let cells = Tensor::new(&[0f32, 1.0], &Device::Cpu).unwrap();
        let curves = insertion_deletion(&objective, &input, &cells, &zero_protocol(2)).unwrap();
        assert_eq!(curves.insertion, [0.0, 6.0, 10.0]);
    }

    #[test]
    fn more_steps_than_cells_cost_no_more_pictures() {
        let input = Tensor::new(&[[[[4f32, 3.0], [2.0, 1.0]]]], &Device::Cpu).unwrap();
        let network = Sum::default();
        let objective = Objective::new(&network, &Target::Output(0));
        let map = input.squeeze(0).unwrap().squeeze(0).unwrap();
        insertion_deletion(&objective, &input, &map, &zero_protocol(1003)).unwrap();
        // Insertion of 0..=4 cells and deletion of 1..=4.
        assert_eq!(network.rows(), 9);
    }

    #[test]
    fn a_map_of_another_size_is_an_error() {
        let input = Tensor::zeros((1, 3, 4, 4), candle_core::DType::F32, &Device::Cpu).unwrap();
        let map = Tensor::zeros((2, 2), candle_core::DType::F32, &Device::Cpu).unwrap();
        let network = Sum::default();
        let objective = Objective::new(&network, &Target::Output(0));
        let error = insertion_deletion(&objective, &input, &map, &Protocol::thesis()).unwrap_err();
        assert!(error.to_string().contains("[4, 4]"), "{error}");
    }
}
