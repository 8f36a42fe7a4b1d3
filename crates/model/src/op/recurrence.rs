use super::Composition;
use candle_core::{Result, Tensor};
use faithful_core::BackwardRule;
use faithful_tensor::{CellKind, Cells, recurrent_cells};
use std::sync::Arc;

/// [`faithful_tensor::recurrent_cells`]: `(N, T, I)`, the first state and an LSTM's first cell state `(N, H)` or `(1, H)`,
/// to `(N, T, H)`, an LSTM's `(N, T, 2 H)`.
#[derive(Clone, Debug)]
pub(crate) struct Recurrence(pub(crate) Cells);

impl Recurrence {
    fn width(&self) -> usize {
        self.0.hidden_weight.dims().last().copied().unwrap_or(0)
    }
}

impl Composition for Recurrence {
    fn kind(&self) -> &'static str {
        match (self.0.kind, self.0.reverse) {
            (CellKind::Rnn, false) => "rnn",
            (CellKind::Rnn, true) => "rnn-reverse",
            (CellKind::Lstm { .. }, false) => "lstm",
            (CellKind::Lstm { .. }, true) => "lstm-reverse",
            (CellKind::Gru { .. }, false) => "gru",
            (CellKind::Gru { .. }, true) => "gru-reverse",
        }
    }

    fn arity(&self) -> (usize, usize) {
        (3, 3)
    }

    fn weights(&self) -> Vec<&Tensor> {
        let Cells { input_weight, hidden_weight, input_bias, hidden_bias, peepholes, .. } = &self.0;
        [input_weight, hidden_weight, input_bias, hidden_bias].into_iter().chain(peepholes).collect()
    }

    fn with_weights(&self, weights: Vec<Tensor>) -> Arc<dyn Composition> {
        let mut cells = self.0.clone();
        let Cells { input_weight, hidden_weight, input_bias, hidden_bias, peepholes, .. } = &mut cells;
        let slots = [input_weight, hidden_weight, input_bias, hidden_bias].into_iter().chain(peepholes);
        slots.zip(weights).for_each(|(slot, weight)| *slot = weight);
        Arc::new(Self(cells))
    }

    fn shape(&self, operands: &[&[usize]]) -> std::result::Result<Vec<usize>, String> {
        let features = self.0.input_weight.dims().last().copied().unwrap_or(0);
        let (width, lstm) = (self.width(), matches!(self.0.kind, CellKind::Lstm { .. }));
        let &[n, t, i] = operands[0] else { return Err(format!("(N, T, {features})")) };
        if i != features || t == 0 {
            return Err(format!("(N, T, {features}) with steps"));
        }
        if operands[1..].iter().any(|state| **state != [n, width] && **state != [1, width]) {
            return Err(format!("states (N, {width}), not {:?} and {:?}", operands[1], operands[2]));
        }
        Ok(vec![n, t, if lstm { 2 * width } else { width }])
    }

    fn evaluate(&self, operands: &[&Tensor], _: BackwardRule) -> Result<Tensor> {
        recurrent_cells(operands[0], &self.0, operands[1], operands[2])
    }
}
