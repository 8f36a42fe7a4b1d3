use candle_core::{Result, Tensor};

/// A pooling window's geometry; axes are `[height, width]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pool {
    /// The window.
    pub kernel: [usize; 2],
    /// The step of the window.
    pub stride: [usize; 2],
    /// Padding `[top, left, bottom, right]`: minus infinity for the maximum, zero for the mean.
    pub padding: [usize; 4],
    /// The distance between the window's taps (maximum only).
    pub dilation: [usize; 2],
    /// Whether a last window that overhangs counts. It must start inside the input or its left padding.
    pub ceil: bool,
    /// Whether the mean divides by the whole window where it covers padding.
    pub count_padding: bool,
}

/// The maximum per window of `(N, C, H, W)`; the gradient goes to the first maximum in scan order, as in `PyTorch`.
pub fn max_pool2d(_x: &Tensor, _pool: &Pool) -> Result<Tensor> {
    todo!()
}

/// The mean per window of `(N, C, H, W)`.
pub fn avg_pool2d(_x: &Tensor, _pool: &Pool) -> Result<Tensor> {
    todo!()
}

/// The mean over `PyTorch`'s adaptive windows, to `(N, C, size[0], size[1])`.
pub fn adaptive_avg_pool2d(_x: &Tensor, _size: [usize; 2]) -> Result<Tensor> {
    todo!()
}

/// The maximum over `PyTorch`'s adaptive windows, to `(N, C, size[0], size[1])`.
pub fn adaptive_max_pool2d(_x: &Tensor, _size: [usize; 2]) -> Result<Tensor> {
    todo!()
}
