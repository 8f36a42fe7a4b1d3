//! How alike the most similar of a detection's boxes is to one that was found: what D-RISE masks a photo for.

use crate::detection::Rows;
use candle_core::{D, Tensor};
use faithful_core::{Error, Reading, Result};

/// `max over boxes of IoU(box, wanted) * cos(p, p_wanted) * objectness` (Petsiuk et al., Black-box Explanation of Object Detectors via
/// Saliency Maps, 2021, equation 3), where `p` are the probabilities of a box's classes. A network that does not say apart whether there is
/// anything has an objectness of 1.
#[derive(Clone, Debug)]
pub(crate) struct SimilarBox {
    /// How the outputs lie.
    pub(crate) rows: Rows,
    /// Left, top, right, bottom of the box, in the input's pixels.
    pub(crate) wanted: [f64; 4],
    /// Its classes' log-odds.
    pub(crate) log_odds: Vec<f64>,
}

impl SimilarBox {
    /// The sides of all boxes in the input's pixels, each `(N, M)`.
    fn sides(&self, output: &Tensor) -> Result<Vec<Tensor>> {
        let Rows { boxes: count, coding, input, .. } = self.rows;
        let boxes = output.narrow(1, 0, 4 * count)?.reshape((output.dim(0)?, count, 4))?;
        let unit = |side: usize| match (coding.normalised, side % 2) {
            (false, _) => 1.0,
            (true, 0) => input[1] as f64,
            (true, _) => input[0] as f64,
        };
        let side = |side: usize| -> Result<Tensor> {
            let parts = coding.side(side).into_iter();
            let parts =
                parts.map(|(index, weight)| boxes.narrow(2, index, 1)?.squeeze(2)?.affine(weight * unit(side), 0.0));
            let sum = parts.reduce(|a, b| a?.add(&b?)).ok_or_else(|| Error::internal("a box without sides"))?;
            Ok(sum?)
        };
        (0..4).map(side).collect()
    }

    /// `(N, M)`.
    fn overlaps(&self, output: &Tensor) -> Result<Tensor> {
        let sides = self.sides(output)?;
        let [left, top, right, bottom] = self.wanted;
        let along = |low: usize, from: f64, to: f64| -> Result<(Tensor, Tensor)> {
            let (first, last) = (&sides[low], &sides[low + 2]);
            let both = (last.minimum(to)? - first.maximum(from)?)?.relu()?;
            Ok((both, (last - first)?.relu()?))
        };
        let ((across, width), (down, height)) = (along(0, left, right)?, along(1, top, bottom)?);
        let both = (across * down)?;
        let either = (((width * height)? - &both)? + ((right - left) * (bottom - top)).max(1e-9))?;
        Ok((both / either)?)
    }

    /// The cosine of each box's probabilities to those that are wanted, `(N, M)`.
    fn likeness(&self, output: &Tensor) -> Result<Tensor> {
        let Rows { boxes, classes, .. } = self.rows;
        let odds = output.narrow(1, self.rows.start_of_classes(), boxes * classes)?;
        let own = sigmoid(&odds.reshape((output.dim(0)?, boxes, classes))?)?;
        let wanted = Tensor::from_slice(&self.log_odds, classes, output.device())?.to_dtype(output.dtype())?;
        let wanted = sigmoid(&wanted)?;
        let length = (own.sqr()?.sum(D::Minus1)? + 1e-24)?.sqrt()?;
        let wanted_length = (wanted.sqr()?.sum_all()? + 1e-24)?.sqrt()?;
        Ok(own.broadcast_mul(&wanted)?.sum(D::Minus1)?.div(&length)?.broadcast_div(&wanted_length)?)
    }
}

fn sigmoid(odds: &Tensor) -> Result<Tensor> {
    Ok((odds.neg()?.exp()? + 1.0)?.recip()?)
}

impl Reading for SimilarBox {
    fn read(&self, output: &Tensor) -> Result<Tensor> {
        let wanted = self.rows.outputs();
        if output.dims().get(1) != Some(&wanted) {
            return Err(Error::shape("the network's output", format!("(N, {wanted})"), output.dims()));
        }
        let mut likeness = (self.overlaps(output)? * self.likeness(output)?)?;
        if self.rows.objectness {
            let start = self.rows.start_of_objectness();
            likeness = (likeness * sigmoid(&output.narrow(1, start, self.rows.boxes)?)?)?;
        }
        Ok(likeness.max_keepdim(1)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;
    use faithful_model::BoxCoding;
    use faithful_report::Region;

    #[test]
    fn a_box_is_most_like_itself() {
        let odds = |p: f64| (p / (1.0 - p)).ln();
        let coding = BoxCoding::from_name("cxcywh").unwrap();
        let region = Region { left: 0.0, top: 0.0, width: 40.0, height: 40.0 };
        let like = |objectness| SimilarBox {
            rows: Rows { boxes: 2, classes: 2, objectness, coding, input: [40, 40], region },
            wanted: [0.0, 0.0, 10.0, 10.0],
            log_odds: vec![odds(0.8), odds(0.6)],
        };
        // One box is the wanted one, moved by half of its width; the other lies elsewhere.
        let row = [10.0, 5.0, 10.0, 10.0, 30.0, 30.0, 4.0, 4.0];
        let of = |reading: SimilarBox, more: &[f64]| {
            let all: Vec<f64> = row.iter().chain(more).copied().collect();
            let output = Tensor::from_slice(&all, (1, all.len()), &Device::Cpu).unwrap();
            reading.read(&output).unwrap().to_vec2::<f64>().unwrap()[0][0]
        };
        let classes = [odds(0.8), odds(0.6), odds(0.8), odds(0.6)];
        assert!((of(like(false), &classes) - 50.0 / 150.0).abs() < 1e-9);
        let turned = [odds(0.6), odds(0.8), odds(0.8), odds(0.6)];
        assert!((of(like(false), &turned) - 0.96 / 3.0).abs() < 1e-9);
        let apart: Vec<f64> = [0.0; 4].into_iter().chain(classes).chain([odds(0.25), odds(0.9)]).collect();
        assert!((of(like(true), &apart) - 0.25 / 3.0).abs() < 1e-9);
        let wrong = Tensor::zeros((1, 7), candle_core::DType::F64, &Device::Cpu).unwrap();
        assert!(matches!(like(false).read(&wrong), Err(Error::Shape { .. })));
    }
}
