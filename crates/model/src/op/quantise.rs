use super::Composition;
use super::shape::broadcast;
use crate::export::{Backward, Extent, OnnxWriter, Symbol};
use candle_core::{Result, Tensor};
use faithful_core::BackwardRule;
use std::sync::Arc;

/// [`faithful_tensor::quantise`] of a value by a scale and a zero point: whole numbers between bounds, with the
/// straight-through gradient.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Quantise {
    pub(crate) bounds: [f64; 2],
}

impl Composition for Quantise {
    fn kind(&self) -> &'static str {
        "quantise"
    }

    fn arity(&self) -> (usize, usize) {
        (3, 3)
    }

    fn weights(&self) -> Vec<&Tensor> {
        Vec::new()
    }

    fn with_weights(&self, _: Vec<Tensor>) -> Arc<dyn Composition> {
        Arc::new(*self)
    }

    fn shape(&self, operands: &[&[usize]]) -> std::result::Result<Vec<usize>, String> {
        let x = operands[0];
        let fits = |other: &&[usize]| broadcast(x, other).as_deref() == Some(x);
        if operands[1..].iter().all(fits) {
            return Ok(x.to_vec());
        }
        Err(format!("one that the scale {:?} and the zero point {:?} broadcast to", operands[1], operands[2]))
    }

    fn evaluate(&self, operands: &[&Tensor], _: BackwardRule) -> Result<Tensor> {
        faithful_tensor::quantise(operands[0], operands[1], operands[2], self.bounds)
    }

    fn is_elementwise(&self) -> bool {
        true
    }

    fn write(&self, writer: &mut OnnxWriter, operands: &[&Symbol], _: &[Extent]) -> faithful_core::Result<Symbol> {
        let rounded = rounded(writer, operands)?;
        let [low, high] = self.bounds.map(|bound| writer.number(bound));
        let above = writer.binary("Max", &rounded, &low)?;
        writer.binary("Min", &above, &high)
    }

    fn write_gradient(&self, writer: &mut OnnxWriter, of: &Backward<'_>) -> faithful_core::Result<Vec<Option<Symbol>>> {
        let rounded = rounded(writer, of.operands)?;
        let [low, high] = self.bounds.map(|bound| writer.number(bound));
        let above = writer.binary("GreaterOrEqual", &rounded, &low)?;
        let below = writer.binary("LessOrEqual", &rounded, &high)?;
        let within = writer.binary("And", &above, &below)?;
        let kept = writer.only_where(&within, of.g)?;
        let scale = of.operands[1];
        let steps = writer.div(&kept, scale)?;
        let mut gradients = vec![Some(steps.clone()), None, None];
        if of.wanted[1] {
            let values = writer.div(of.operands[0], scale)?;
            let product = writer.mul(&steps, &values)?;
            let sum = writer.sum_to(&product, scale.shape())?;
            gradients[1] = Some(writer.unary("Neg", &sum));
        }
        Ok(gradients)
    }
}

/// `round(x / scale) + zero_point`.
fn rounded(writer: &mut OnnxWriter, operands: &[&Symbol]) -> faithful_core::Result<Symbol> {
    let steps = writer.div(operands[0], operands[1])?;
    let whole = writer.unary("Round", &steps);
    writer.add(&whole, operands[2])
}
