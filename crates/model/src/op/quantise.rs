use super::Composition;
use super::shape::broadcast;
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
}
