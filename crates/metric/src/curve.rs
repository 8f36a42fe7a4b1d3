use crate::canvas::{Reveal, values};
use crate::protocol::{Area, Protocol};
use crate::rank::{Cover, Rank};
use candle_core::Tensor;
use faithful_core::{Objective, Result};
use std::collections::BTreeMap;

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
/// `(C, …)`. The curves share what they can: the whole input and a common canvas are evaluated once for both, pictures that are
/// equal to the one before are not evaluated again, and all pictures go through the network in one stream of full batches.
///
/// # Errors
/// [`Error::Shape`](faithful_core::Error::Shape) where map and input do not fit,
/// [`Error::NotFinite`](faithful_core::Error::NotFinite) where the map has NaN.
pub fn insertion_deletion(objective: &Objective, input: &Tensor, map: &Tensor, protocol: &Protocol) -> Result<Curves> {
    let cover = Cover::new(input, map)?;
    let rank = Rank::of(map)?;
    let counts = protocol.steps.counts(cover.cells, *map.dims().last().unwrap_or(&1));
    let photo = values(input)?;
    let insertion = values(&protocol.insertion.paint(input)?)?;
    let deletion = values(&protocol.deletion.paint(input)?)?;

    let inserted = |count| Picture::Inserted(count);
    // All cells shown and no cell hidden are the same picture: the input. So are, on one canvas, none shown and all hidden.
    let one_canvas = insertion == deletion;
    let deleted = |count| match count {
        0 => Picture::Inserted(cover.cells),
        all if all == cover.cells && one_canvas => Picture::Inserted(0),
        _ => Picture::Deleted(count),
    };
    let mut scores: BTreeMap<Picture, f64> = BTreeMap::new();
    let skipped = usize::from(protocol.area == Area::RightSum);
    for &count in counts.iter().skip(skipped) {
        scores.insert(inserted(count), 0.0);
        scores.insert(deleted(count), 0.0);
    }
    scores.insert(inserted(cover.cells), 0.0);

    // They come insertion first, each by ascending counts, so that each is made from the one before. One that equals the one
    // before has its score; deletion begins where insertion ends, with the input.
    let mut inserting = Reveal::new(&photo, insertion, rank.order());
    let mut deleting = Reveal::new(&deletion, photo.clone(), rank.order());
    let mut shape = input.dims().to_vec();
    let (mut rows, mut waiting) = (Vec::new(), 0);
    let mut known: Vec<f64> = Vec::new();
    let mut place_of: BTreeMap<Picture, usize> = BTreeMap::new();
    for (place, &picture) in scores.keys().enumerate() {
        let (reveal, count) = match picture {
            Picture::Inserted(count) => (&mut inserting, count),
            Picture::Deleted(count) => (&mut deleting, count),
        };
        if reveal.until(count) || place == 0 {
            rows.extend_from_slice(reveal.picture());
            waiting += 1;
        }
        place_of.insert(picture, known.len() + waiting - 1);
        if waiting == objective.batch().get() || (waiting > 0 && place + 1 == scores.len()) {
            shape[0] = waiting;
            let batch = std::mem::replace(&mut rows, Vec::with_capacity(waiting * photo.len()));
            let batch = Tensor::from_vec(batch, shape.as_slice(), input.device())?.to_dtype(input.dtype())?;
            known.extend(values(&objective.similar_scores(&batch)?)?.into_iter().map(f64::from));
            waiting = 0;
        }
    }
    for (picture, score) in &mut scores {
        *score = known[place_of[picture]];
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
    use crate::canvas::Canvas;
    use crate::protocol::Steps;
    use crate::testing::Sum;
    use candle_core::Device;
    use faithful_core::Target;
    use std::num::NonZeroUsize;

    fn steps(count: usize) -> Steps {
        Steps::Count(NonZeroUsize::new(count).unwrap())
    }

    fn zero_protocol(count: usize) -> Protocol {
        Protocol { steps: steps(count), insertion: Canvas::Zero, ..Protocol::thesis() }
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
        // Insertion of 0..=4 cells and deletion of 1..=3; what is left of it is the canvas.
        assert_eq!(network.0.rows(), 8);
    }

    #[test]
    fn steps_that_change_nothing_cost_nothing() {
        // Two of four cells are what the canvas is.
        let input = Tensor::new(&[[[[4f32, 0.0], [0.0, 1.0]]]], &Device::Cpu).unwrap();
        let map = Tensor::new(&[[3f32, 2.0], [1.0, 0.0]], &Device::Cpu).unwrap();
        for batch in [1, 2, 3, 8] {
            let network = Sum::default();
            let batch = NonZeroUsize::new(batch).unwrap();
            let objective = Objective::new(&network, &Target::Output(0)).with_batch(batch);
            let curves = insertion_deletion(&objective, &input, &map, &zero_protocol(4)).unwrap();
            assert_eq!(curves.insertion, [0.0, 4.0, 4.0, 4.0, 5.0]);
            assert_eq!(curves.deletion, [5.0, 1.0, 1.0, 1.0, 0.0]);
            // The canvas, with the first cell, the input, and without the first cell.
            assert_eq!(network.0.rows(), 4);
            // An input that is its own canvas is evaluated once.
            insertion_deletion(&objective, &input.zeros_like().unwrap(), &map, &zero_protocol(4)).unwrap();
            assert_eq!(network.0.rows(), 5);
        }
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
