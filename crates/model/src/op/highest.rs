use super::Composition;
use crate::export::{Backward, Extent, OnnxWriter, Symbol};
use candle_core::{DType, Result, Tensor};
use faithful_core::BackwardRule;
use std::sync::Arc;

/// The place of the highest value of an axis, as a number: the first of several, or the last. Its gradient is zero.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Highest {
    pub(crate) axis: usize,
    /// Whether the axis stays, with size 1.
    pub(crate) keep: bool,
    pub(crate) last: bool,
    /// The lowest value instead.
    pub(crate) lowest: bool,
}

impl Composition for Highest {
    fn kind(&self) -> &'static str {
        if self.lowest { "arg-min" } else { "arg-max" }
    }

    fn weights(&self) -> Vec<&Tensor> {
        Vec::new()
    }

    fn with_weights(&self, _: Vec<Tensor>) -> Arc<dyn Composition> {
        Arc::new(*self)
    }

    fn shape(&self, operands: &[&[usize]]) -> std::result::Result<Vec<usize>, String> {
        let x = operands[0];
        if x.get(self.axis).is_none_or(|&size| size == 0) {
            return Err(format!("values along an axis {}", self.axis));
        }
        let size = |(axis, &size): (usize, &usize)| match (axis == self.axis, self.keep) {
            (false, _) => Some(size),
            (true, keep) => keep.then_some(1),
        };
        Ok(x.iter().enumerate().filter_map(size).collect())
    }

    fn evaluate(&self, operands: &[&Tensor], _: BackwardRule) -> Result<Tensor> {
        let x = operands[0].detach();
        let x = if self.lowest { x.neg()? } else { x };
        // Of those that are as high as the highest, the one with the first number, or the last.
        let hits = x.broadcast_ge(&x.max_keepdim(self.axis)?)?.to_dtype(DType::F64)?;
        let size = x.dim(self.axis)?;
        let mut shape = vec![1; x.rank()];
        shape[self.axis] = size;
        let places: Vec<f64> = (0..size).map(|place| if self.last { place + 1 } else { size - place } as f64).collect();
        let places = Tensor::from_vec(places, shape, x.device())?;
        let best = hits.broadcast_mul(&places)?.max_keepdim(self.axis)?;
        let place = if self.last { (best - 1.0)? } else { best.affine(-1.0, size as f64)? };
        let place = place.to_dtype(operands[0].dtype())?;
        if self.keep { Ok(place) } else { place.squeeze(self.axis) }
    }

    fn write(&self, writer: &mut OnnxWriter, operands: &[&Symbol], shape: &[Extent]) -> faithful_core::Result<Symbol> {
        let place = writer.place_of_highest(operands[0], self.axis, [self.keep, self.last, self.lowest], shape);
        Ok(writer.as_number(&place))
    }

    fn write_gradient(&self, _: &mut OnnxWriter, _: &Backward<'_>) -> faithful_core::Result<Vec<Option<Symbol>>> {
        Ok(vec![None])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn ties_go_to_the_first_or_the_last_place() {
        let x = Tensor::new(&[[1f32, 7., 7., 0.], [-1., -3., -3., -1.]], &Device::Cpu).unwrap();
        let find = |last, lowest| {
            let found = Highest { axis: 1, keep: false, last, lowest };
            assert_eq!(found.shape(&[x.dims()]).unwrap(), [2]);
            found.evaluate(&[&x], BackwardRule::Plain).unwrap().to_vec1::<f32>().unwrap()
        };
        assert_eq!(find(false, false), [1., 0.]);
        assert_eq!(find(true, false), [2., 3.]);
        assert_eq!(find(false, true), [3., 1.]);
        assert_eq!(find(true, true), [3., 2.]);
    }
}
