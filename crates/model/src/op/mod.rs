//! What the operations of a graph are: their data here, their names in `kind`, their shapes in `shape`, their values in
//! `evaluate`. What is built from other operations is a [`Composition`], in a file of its own.

pub(crate) mod choice;
mod composition;
mod evaluate;
pub(crate) mod highest;
mod kind;
pub(crate) mod picking;
pub(crate) mod quantise;
pub(crate) mod recurrence;
pub(crate) mod sampling;
pub(crate) mod shape;
pub(crate) mod volume;

pub use composition::Composition;
pub(crate) use evaluate::apply;

use candle_core::Tensor;
use faithful_core::Result;
use faithful_tensor::{Activation, Binary, Conv, Direction, PadMode, Pool, Recurrent, Reduction, Resize, Unary};
use std::sync::Arc;

/// What a node computes. Weights are part of the operation: they are data, not edges.
///
/// Axis numbers count the batch axis as 0. Where a shape is stored, its batch entry is [`Dim::Batch`].
#[derive(Clone, Debug)]
#[non_exhaustive]
#[allow(missing_docs)] // The fields are the parameters of the functions that the variants name.
pub enum Op {
    /// The network's input.
    Input,
    /// A tensor that does not depend on the input; without a batch axis of its own (it broadcasts).
    Constant(Tensor),
    /// [`faithful_tensor::conv2d`].
    Conv2d { weight: Tensor, bias: Option<Tensor>, conv: Conv },
    /// [`faithful_tensor::conv1d`].
    Conv1d { weight: Tensor, bias: Option<Tensor>, conv: Conv },
    /// [`faithful_tensor::conv_transpose2d`].
    ConvTranspose2d { weight: Tensor, bias: Option<Tensor>, conv: Conv, output_padding: [usize; 2] },
    /// [`faithful_tensor::linear`].
    Linear { weight: Tensor, bias: Option<Tensor> },
    /// [`faithful_tensor::matmul`].
    MatMul,
    /// [`faithful_tensor::batch_norm`], running statistics and affine parameters folded into `scale` and `shift`.
    BatchNorm { scale: Tensor, shift: Tensor },
    /// [`faithful_tensor::layer_norm`].
    LayerNorm { axis: usize, weight: Option<Tensor>, bias: Option<Tensor>, epsilon: f64 },
    /// [`faithful_tensor::group_norm`].
    GroupNorm { groups: usize, weight: Option<Tensor>, bias: Option<Tensor>, epsilon: f64 },
    /// [`faithful_tensor::activate`].
    Activation(Activation),
    /// [`faithful_tensor::softmax`], or its logarithm.
    Softmax { axis: usize, log: bool },
    /// [`faithful_tensor::max_pool2d`].
    MaxPool2d(Pool),
    /// [`faithful_tensor::avg_pool2d`].
    AvgPool2d(Pool),
    /// [`faithful_tensor::adaptive_avg_pool2d`]; `[1, 1]` is the global mean.
    AdaptiveAvgPool2d([usize; 2]),
    /// [`faithful_tensor::adaptive_max_pool2d`].
    AdaptiveMaxPool2d([usize; 2]),
    /// [`faithful_tensor::lstm`]: `(N, T, I)` to `(N, T, H)`, one direction.
    Lstm { weights: Recurrent, direction: Direction },
    /// [`faithful_tensor::gru`]: `(N, T, I)` to `(N, T, H)`, one direction.
    Gru { weights: Recurrent, direction: Direction, reset_after: bool },
    /// [`faithful_tensor::binary`].
    Binary(Binary),
    /// [`faithful_tensor::unary`].
    Unary(Unary),
    /// [`faithful_tensor::concat`].
    Concat { axis: usize },
    /// [`faithful_tensor::slice`].
    Slice { axis: usize, start: usize, end: Option<usize>, step: isize },
    /// [`faithful_tensor::pad`].
    Pad { pads: Vec<[isize; 2]>, mode: PadMode },
    /// A new shape with the same elements.
    Reshape(Vec<Dim>),
    /// Everything from `axis` on becomes one axis.
    Flatten { axis: usize },
    /// The axes in a new order.
    Transpose(Vec<usize>),
    /// Drops axes of size 1.
    Squeeze(Vec<usize>),
    /// Inserts axes of size 1 at these places of the result.
    Unsqueeze(Vec<usize>),
    /// Broadcasts to a shape.
    Expand(Vec<Dim>),
    /// [`faithful_tensor::reduce`].
    Reduce { axes: Vec<usize>, keep: bool, reduction: Reduction },
    /// [`faithful_tensor::gather`].
    Gather { axis: usize, index: Vec<usize> },
    /// [`faithful_tensor::resize2d`]; the size as a multiple of the input's or fixed.
    Resize { size: ResizeTo, rules: Resize },
    /// The input itself (dropout, identity); kept because its name may be asked for.
    Identity,
    /// An operation that is built from the others; see [`Composition`].
    Composed(Arc<dyn Composition>),
}

/// One entry of a stored shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dim {
    /// The batch.
    Batch,
    /// The batch that many times: heads or windows that were folded into it.
    Times(usize),
    /// A size.
    Fixed(usize),
    /// What is left over; at most once.
    Rest,
    /// The size of the operand's axis of that number (ONNX's 0).
    Same(usize),
}

/// A resize's goal.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ResizeTo {
    /// `[height, width]` in pixels.
    Size([usize; 2]),
    /// `[height, width]` as factors; results are rounded down.
    Scale([f64; 2]),
}

/// The tensors that belong to `$op`, all of them, as references of the kind that `$op` is: this is the one place that
/// says which weights an operation has, for reading and for replacing.
macro_rules! weights_of {
    ($op:expr) => {
        match $op {
            Op::Constant(value) => vec![value],
            Op::Conv2d { weight, bias, .. }
            | Op::Conv1d { weight, bias, .. }
            | Op::ConvTranspose2d { weight, bias, .. }
            | Op::Linear { weight, bias } => std::iter::once(weight).chain(bias).collect(),
            Op::BatchNorm { scale, shift } => vec![scale, shift],
            Op::LayerNorm { weight, bias, .. } | Op::GroupNorm { weight, bias, .. } => {
                std::iter::empty().chain(weight).chain(bias).collect()
            }
            Op::Lstm { weights: Recurrent { input_weight, hidden_weight, input_bias, hidden_bias }, .. }
            | Op::Gru { weights: Recurrent { input_weight, hidden_weight, input_bias, hidden_bias }, .. } => {
                [input_weight, hidden_weight].into_iter().chain(input_bias).chain(hidden_bias).collect()
            }
            Op::Input
            | Op::MatMul
            | Op::Activation(_)
            | Op::Softmax { .. }
            | Op::MaxPool2d(_)
            | Op::AvgPool2d(_)
            | Op::AdaptiveAvgPool2d(_)
            | Op::AdaptiveMaxPool2d(_)
            | Op::Binary(_)
            | Op::Unary(_)
            | Op::Concat { .. }
            | Op::Slice { .. }
            | Op::Pad { .. }
            | Op::Reshape(_)
            | Op::Flatten { .. }
            | Op::Transpose(_)
            | Op::Squeeze(_)
            | Op::Unsqueeze(_)
            | Op::Expand(_)
            | Op::Reduce { .. }
            | Op::Gather { .. }
            | Op::Resize { .. }
            | Op::Identity
            // Its own type says them.
            | Op::Composed(_) => Vec::new(),
        }
    };
}

impl Op {
    /// The tensors that belong to the operation.
    pub fn weights(&self) -> Vec<&Tensor> {
        match self {
            Self::Composed(composition) => composition.weights(),
            own => weights_of!(own),
        }
    }

    /// Replaces every weight by what `change` makes of it.
    pub(crate) fn replace_weights(&mut self, change: &mut dyn FnMut(&Tensor) -> Result<Tensor>) -> Result<()> {
        if let Self::Composed(composition) = self {
            let weights = composition.weights().into_iter().map(change).collect::<Result<Vec<_>>>()?;
            if !weights.is_empty() {
                *composition = composition.with_weights(weights);
            }
            return Ok(());
        }
        for weight in weights_of!(self) {
            *weight = change(weight)?;
        }
        Ok(())
    }

    /// How many operands the operation takes: at least, and at most.
    pub(crate) fn arity(&self) -> (usize, usize) {
        match self {
            Self::Input | Self::Constant(_) => (0, 0),
            Self::MatMul | Self::Binary(_) => (2, 2),
            Self::Concat { .. } => (1, usize::MAX),
            Self::Composed(composition) => composition.arity(),
            _ => (1, 1),
        }
    }

    /// Whether the operation only takes values of its one operand elsewhere, some of them not at all or several times.
    pub(crate) fn moves_values(&self) -> bool {
        matches!(
            self,
            Self::Identity
                | Self::Reshape(_)
                | Self::Flatten { .. }
                | Self::Transpose(_)
                | Self::Squeeze(_)
                | Self::Unsqueeze(_)
                | Self::Expand(_)
                | Self::Slice { .. }
                | Self::Gather { .. }
        )
    }

    /// A composition as an operation.
    pub(crate) fn composed(composition: impl Composition + 'static) -> Self {
        Self::Composed(Arc::new(composition))
    }

    /// Whether the operation is a convolution over the axes behind the channels.
    pub(crate) fn is_convolution(&self) -> bool {
        match self {
            Self::Conv2d { .. } | Self::Conv1d { .. } | Self::ConvTranspose2d { .. } => true,
            Self::Composed(composition) => composition.is_convolution(),
            _ => false,
        }
    }
}
