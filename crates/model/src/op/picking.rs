//! Values at places that depend on the input.

use super::Composition;
use crate::export::{Backward, Extent, OnnxWriter, Symbol};
use candle_core::{Result, Tensor};
use faithful_core::BackwardRule;
use faithful_tensor::{gather_elements, top_places};
use std::sync::Arc;

/// [`faithful_tensor::gather_elements`]: the values, and their places along an axis.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pick {
    pub(crate) axis: usize,
}

impl Composition for Pick {
    fn kind(&self) -> &'static str {
        "gather-elements"
    }

    fn arity(&self) -> (usize, usize) {
        (2, 2)
    }

    fn weights(&self) -> Vec<&Tensor> {
        Vec::new()
    }

    fn with_weights(&self, _: Vec<Tensor>) -> Arc<dyn Composition> {
        Arc::new(*self)
    }

    fn shape(&self, operands: &[&[usize]]) -> std::result::Result<Vec<usize>, String> {
        let [x, index] = [operands[0], operands[1]];
        let size = |at: usize| match (x[at], index[at]) {
            (_, size) if at == self.axis => Some(size),
            (a, b) if a == b || b == 1 => Some(a),
            (1, b) => Some(b),
            _ => None,
        };
        let shape = (x.len() == index.len() && self.axis < x.len()).then(|| (0..x.len()).map(size).collect());
        shape.flatten().ok_or_else(|| format!("values for places of shape {index:?} along axis {}", self.axis))
    }

    fn evaluate(&self, operands: &[&Tensor], _: BackwardRule) -> Result<Tensor> {
        gather_elements(operands[0], operands[1], self.axis)
    }

    fn write(&self, writer: &mut OnnxWriter, operands: &[&Symbol], shape: &[Extent]) -> faithful_core::Result<Symbol> {
        let (values, places) = self.broadcast(writer, operands, shape)?;
        Ok(writer.gather_elements(&values, &places, self.axis))
    }

    fn write_gradient(&self, writer: &mut OnnxWriter, of: &Backward<'_>) -> faithful_core::Result<Vec<Option<Symbol>>> {
        let (values, places) = self.broadcast(writer, of.operands, of.y.shape())?;
        let gradient = writer.scatter_sum(&values, &places, of.g, self.axis)?;
        Ok(vec![Some(writer.sum_to(&gradient, of.operands[0].shape())?), None])
    }
}

impl Pick {
    /// Both operands with the other axes of the result.
    fn broadcast(
        self,
        writer: &mut OnnxWriter,
        operands: &[&Symbol],
        shape: &[Extent],
    ) -> faithful_core::Result<(Symbol, Symbol)> {
        let mut goal = shape.to_vec();
        let places = writer.expand(operands[1], &goal)?;
        goal[self.axis] = operands[0].shape()[self.axis];
        Ok((writer.expand(operands[0], &goal)?, places))
    }
}

/// [`faithful_tensor::top_places`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct TopPlaces {
    pub(crate) axis: usize,
    pub(crate) count: usize,
    pub(crate) lowest: bool,
}

impl Composition for TopPlaces {
    fn kind(&self) -> &'static str {
        "top-k"
    }

    fn weights(&self) -> Vec<&Tensor> {
        Vec::new()
    }

    fn with_weights(&self, _: Vec<Tensor>) -> Arc<dyn Composition> {
        Arc::new(*self)
    }

    fn shape(&self, operands: &[&[usize]]) -> std::result::Result<Vec<usize>, String> {
        let mut shape = operands[0].to_vec();
        match shape.get_mut(self.axis) {
            Some(size) if *size >= self.count => *size = self.count,
            _ => return Err(format!("at least {} values along axis {}", self.count, self.axis)),
        }
        Ok(shape)
    }

    fn evaluate(&self, operands: &[&Tensor], _: BackwardRule) -> Result<Tensor> {
        top_places(operands[0], self.axis, self.count, self.lowest)
    }

    fn write(&self, writer: &mut OnnxWriter, operands: &[&Symbol], shape: &[Extent]) -> faithful_core::Result<Symbol> {
        let places = writer.places_of_best(operands[0], self.axis, self.count, self.lowest, shape);
        Ok(writer.as_number(&places))
    }

    fn write_gradient(&self, _: &mut OnnxWriter, _: &Backward<'_>) -> faithful_core::Result<Vec<Option<Symbol>>> {
        Ok(vec![None])
    }
}
