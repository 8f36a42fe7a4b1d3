use crate::export::{Extent, OnnxWriter, Symbol, reverse::Backward};
use candle_core::Tensor;
use faithful_core::{BackwardRule, Error};
use std::fmt::Debug;
use std::sync::Arc;

/// An operation that is built from the differentiable operations of `faithful_tensor`, and so has no kernel of its own:
/// everything that is known of it stands in one `impl`.
///
/// Graphs run it node by node; its gradient is that of its parts.
pub trait Composition: Debug + Send + Sync {
    /// The operation in the field's words: `conv3d`, `where` …
    fn kind(&self) -> &'static str;

    /// How many operands it takes: at least, and at most.
    fn arity(&self) -> (usize, usize) {
        (1, 1)
    }

    /// The tensors that belong to it.
    fn weights(&self) -> Vec<&Tensor>;

    /// The same operation with these weights, as many and in the same order as [`weights`](Self::weights) gives.
    fn with_weights(&self, weights: Vec<Tensor>) -> Arc<dyn Composition>;

    /// The shape of the result, the batch included, for operands of these shapes.
    ///
    /// # Errors
    /// The shape that the first operand would have to have.
    fn shape(&self, operands: &[&[usize]]) -> Result<Vec<usize>, String>;

    /// The value, for operands whose shapes fit; `rule` says how gradients pass back through activations.
    ///
    /// # Errors
    /// Those of the operations that it is built from.
    fn evaluate(&self, operands: &[&Tensor], rule: BackwardRule) -> candle_core::Result<Tensor>;

    /// What it adds to each channel (the second axis) whatever comes in.
    fn bias(&self) -> Option<&Tensor> {
        None
    }

    /// Whether it works on each element alone, its operands broadcast.
    fn is_elementwise(&self) -> bool {
        false
    }

    /// Whether it chooses between its last two operands by the first, so that one of them may be infinite.
    fn chooses(&self) -> bool {
        false
    }

    /// Whether it is a convolution over the axes behind the channels.
    fn is_convolution(&self) -> bool {
        false
    }

    /// Its value, of `shape`, in ONNX's operators.
    ///
    /// # Errors
    /// [`Error::Unsupported`] where it cannot be written.
    fn write(&self, _: &mut OnnxWriter, _: &[&Symbol], _: &[Extent]) -> faithful_core::Result<Symbol> {
        Err(Error::Unsupported(Vec::new()))
    }

    /// The gradients of its operands in ONNX's operators; none where one is zero.
    ///
    /// # Errors
    /// [`Error::Unsupported`] where they cannot be written.
    fn write_gradient(&self, _: &mut OnnxWriter, _: &Backward<'_>) -> faithful_core::Result<Vec<Option<Symbol>>> {
        Err(Error::Unsupported(Vec::new()))
    }
}
