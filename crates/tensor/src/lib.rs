//! Differentiable tensor operations that are correct, and fast, on candle's tensors.
//!
//! candle's own gradients are wrong for several operations that convolutional networks use (max pooling divides the
//! gradient by its own mean; see ARCHITECTURE.md). The functions here compute the right one, and only the input's:
//! weights are frozen, unless training tracks them.

mod activation;
mod composed;
mod composed_pointwise;
mod convolution;
pub mod cpu;
mod elementwise;
mod function;
mod im2col;
mod linear;
mod normalization;
mod pointwise;
mod pooling;
mod product;
mod recurrent;
mod recurrent_cells;
mod reduction;
mod resampling;
mod separable;
mod shaping;
#[cfg(test)]
mod tests;

pub use activation::{Activation, BackwardRule, activate, log_softmax, softmax};
pub use convolution::{Conv, conv_transpose2d, conv1d, conv2d};
pub use elementwise::{Binary, Unary, binary, unary};
pub use linear::{linear, matmul};
pub use normalization::{batch_norm, group_norm, layer_norm};
pub use pooling::{Pool, adaptive_avg_pool2d, adaptive_max_pool2d, avg_pool2d, max_pool2d};
pub use recurrent::{Direction, Gru, Lstm, Recurrent, gru, lstm};
pub use reduction::{Reduction, reduce};
pub use resampling::{CoordinateRule, Interpolation, Resize, gaussian_blur2d, resize2d};
pub use shaping::{PadMode, concat, gather, pad, slice};

/// Tensor operations fail with candle's error.
pub use candle_core::Result;
