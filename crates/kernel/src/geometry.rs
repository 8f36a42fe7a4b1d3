//! The parameters of convolutions, pooling windows and recurrent layers.

/// A convolution's geometry; axes are `[height, width]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Conv {
    /// The step of the window.
    pub stride: [usize; 2],
    /// Zeros added `[top, left, bottom, right]` (ONNX's order).
    pub padding: [usize; 4],
    /// The distance between the kernel's taps.
    pub dilation: [usize; 2],
    /// Channel groups; equal to the channels for a depthwise convolution.
    pub groups: usize,
}

impl Default for Conv {
    fn default() -> Self {
        Self { stride: [1, 1], padding: [0; 4], dilation: [1, 1], groups: 1 }
    }
}

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

impl Default for Pool {
    fn default() -> Self {
        Self {
            kernel: [2, 2],
            stride: [2, 2],
            padding: [0; 4],
            dilation: [1, 1],
            ceil: false,
            // PyTorch's default; ONNX's is the opposite.
            count_padding: true,
        }
    }
}

/// Which way a recurrent layer reads the series.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // The names say it.
pub enum Direction {
    Forward,
    Reverse,
}
