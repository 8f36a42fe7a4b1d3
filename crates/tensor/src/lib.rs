//! Differentiable tensor operations that are correct, and fast, on candle's tensors.
//!
//! candle's own gradients are wrong for several operations that convolutional networks use. The functions here compute
//! the right one, and only where it is asked for: weights are frozen, unless training tracks them. `faithful-model`
//! builds its networks from nothing else.
//!
//! ```
//! use candle_core::{Device, Tensor, Var};
//! use faithful_tensor::{Pool, max_pool2d};
//! # fn main() -> candle_core::Result<()> {
//! let x = Var::from_tensor(&Tensor::new(&[[[[1f32, 2.], [4., 4.]]]], &Device::Cpu)?)?;
//! let gradients = max_pool2d(&x, &Pool::default())?.sum_all()?.backward()?;
//! // The first of the two maxima gets it all; candle's own max_pool2d gives 0.5 to each.
//! assert_eq!(gradients.get(&x).unwrap().flatten_all()?.to_vec1::<f32>()?, [0., 0., 1., 0.]);
//! # Ok(())
//! # }
//! ```
//!
//! # What candle 0.11.1 gets wrong
//!
//! `tests/candle.rs` pins the left side of those that can be seen on the CPU in a few lines, so that a candle which mends
//! it is noticed; every operation's right side is compared with finite differences in f64, and with `PyTorch`'s values
//! and gradients in `tests/golden.rs`.
//!
//! | operation | candle | here | pinned by |
//! |---|---|---|---|
//! | `max_pool2d` | gradient times the share of maxima in the window: 0.25 where 1 is right | the first maximum in scan order | `a_tied_maximum_gives_its_gradient_to_the_first` |
//! | `max_pool2d`, stride other than the kernel | no gradient | supported, overlaps add | `overlapping_windows_add_their_gradients` |
//! | `avg_pool2d`, odd sizes | leaks into pixels that were never pooled | only pooled pixels | `pixels_that_no_window_covers_get_no_gradient` |
//! | `upsample_nearest2d` | overwrites what the argument already has | adds | `resizing_has_its_gradients` |
//! | `upsample_bilinear2d` | no gradient | supported | `resizing_has_its_gradients` |
//! | `relu`, `abs` at exactly 0 | gradient 1 | 0, as `PyTorch` | `kinks_have_the_derivative_of_pytorch` |
//! | `max`, `min` along an axis, tied | the whole gradient to each | to the first | `a_tied_extreme_gives_its_gradient_to_its_first_place` |
//! | `broadcast_pow` | NaN for negative bases | real where it is real | `powers_of_negative_bases_and_zero_are_those_of_pytorch` |
//! | `conv2d` | always also computes the kernel's gradient | only where the kernel is tracked | `frozen_weights_get_no_gradient_and_untracked_results_no_node` |
//! | grouped `conv2d` | one convolution per group, concatenated | one kernel | `conv2d_is_its_definition_and_has_its_gradients` |
//! | `index_select` | gradient fails where it arrives transposed | any layout | `concatenation_slices_and_picks_have_their_gradients` |
//! | `round` | halves away from zero | to even, as `PyTorch` and ONNX | `unary_functions_have_their_gradients` |
//! | a long chain of operations | recursion overflows the stack | a recurrent layer is one operation | `a_long_series_goes_back_without_deep_recursion` |
//!
//! # Batches, threads, devices, types
//!
//! Each row of a batch is computed as if it were alone, and threads change nothing: on the CPU to the last bit. On the
//! CPU `f32` and `f64` are computed as such, `f16` and `bf16` in `f32`. On a GPU (features `cuda`, `cudnn`) the
//! operations are compositions of those of candle's whose gradients are right; the tests compare them with the CPU
//! kernels.

mod activation;
mod allocation;
mod cells;
mod composed;
mod convolution;
mod elementwise;
mod fast;
mod finite;
mod function;
mod guarded;
mod im2col;
mod linear;
mod normalization;
mod picking;
mod pointwise;
mod pooling;
mod product;
mod quantisation;
mod recurrent;
mod recurrent_cells;
mod reduction;
mod resampling;
mod rows;
mod separable;
mod shaping;
#[cfg(test)]
mod tests;

pub use activation::{activate, log_softmax, softmax};
pub use allocation::{freed_memory, keep_freed_memory};
pub use cells::{CellKind, Cells, Gate, recurrent_cells};
pub use composed::by_composition;
pub use convolution::{conv_transpose2d, conv1d, conv2d};
pub use elementwise::{Binary, Unary, binary, unary};
pub use finite::all_finite;
pub use guarded::{choose, guarded_binary};
pub use linear::{linear, matmul};
pub use normalization::{batch_norm, group_norm, layer_norm};
pub use picking::{gather_elements, top_places};
pub use pooling::{adaptive_avg_pool2d, adaptive_max_pool2d, avg_pool2d, max_pool2d};
pub use quantisation::quantise;
pub use recurrent::{Gru, Lstm, Recurrent, gru, lstm};
pub use reduction::{Reduction, reduce};
pub use resampling::{CoordinateRule, Interpolation, Resize, gaussian_blur2d, resize2d, resize2d_by};
pub use rows::{
    RowFactors, add_row_moments, add_rows, add_weighted_rows, interpolate, row_dots, row_moments, row_sums,
};
pub use shaping::{PadMode, concat, gather, pad, slice};

pub use faithful_kernel::{Activation, BackwardRule, Conv, Direction, Isa, Pool};

/// Tensor operations fail with candle's error.
pub use candle_core::Result;
