//! What a network says when patches of an input are hidden, and what a map promises for them.

use crate::canvas::{Canvas, finite, values};
use crate::rank::Cover;
use candle_core::Tensor;
use faithful_core::{Error, Objective, Result};

/// The places of an image or a series in patches of nearly one size, the input and a map of it.
pub(crate) struct Patches {
    photo: Vec<f32>,
    canvas: Vec<f32>,
    shape: Vec<usize>,
    /// The patch of every place.
    of_place: Vec<usize>,
    /// Per patch, the sum of the map.
    pub(crate) promised: Vec<f64>,
}

impl Patches {
    /// `side` patches along each axis, fewer where an axis has fewer places; hidden ones show zero.
    pub(crate) fn new(input: &Tensor, map: &Tensor, side: usize) -> Result<Self> {
        Cover::new(input, map)?;
        let [height, width] = match *input.dims() {
            [_, _, height, width] if height * width > 0 => [height, width],
            [_, _, width] if width > 0 => [1, width],
            _ => return Err(Error::shape("the explained input", "(1, C, H, W) or (1, C, T)", input.dims())),
        };
        let (rows, columns) = (side.clamp(1, height), side.clamp(1, width));
        let of_place: Vec<usize> = (0..height * width)
            .map(|place| place / width * rows / height * columns + place % width * columns / width)
            .collect();
        let mut promised = vec![0.0; rows * columns];
        for (cell, value) in finite(map)?.into_iter().enumerate() {
            promised[of_place[cell % of_place.len()]] += value;
        }
        let canvas = values(&Canvas::Zero.paint(input)?)?;
        Ok(Self { photo: values(input)?, canvas, shape: input.dims().to_vec(), of_place, promised })
    }

    pub(crate) fn count(&self) -> usize {
        self.promised.len()
    }

    /// By how much the score falls without each of these sets of patches.
    pub(crate) fn falls(&self, objective: &Objective, input: &Tensor, hidden: &[Vec<usize>]) -> Result<Vec<f64>> {
        let whole = f64::from(values(&objective.scores(input)?)?[0]);
        let mut falls = Vec::with_capacity(hidden.len());
        let mut shape = self.shape.clone();
        for sets in hidden.chunks(objective.batch().get()) {
            shape[0] = sets.len();
            let mut rows = Vec::with_capacity(sets.len() * self.photo.len());
            for set in sets {
                let mut gone = vec![false; self.count()];
                for &patch in set {
                    gone[patch] = true;
                }
                let places = self.of_place.len();
                rows.extend(
                    self.photo
                        .iter()
                        .zip(&self.canvas)
                        .enumerate()
                        .map(|(entry, (own, canvas))| if gone[self.of_place[entry % places]] { *canvas } else { *own }),
                );
            }
            let rows = Tensor::from_vec(rows, shape.as_slice(), input.device())?.to_dtype(input.dtype())?;
            falls.extend(values(&objective.scores(&rows)?)?.into_iter().map(|score| whole - f64::from(score)));
        }
        Ok(falls)
    }
}
