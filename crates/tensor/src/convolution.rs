use candle_core::{Result, Tensor};

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

/// `x` `(N, C, H, W)` with `weight` `(O, C / groups, kh, kw)` and `bias` `(O,)`, as `PyTorch`'s `conv2d`.
pub fn conv2d(_x: &Tensor, _weight: &Tensor, _bias: Option<&Tensor>, _conv: &Conv) -> Result<Tensor> {
    todo!()
}

/// `x` `(N, C, T)` with `weight` `(O, C / groups, k)`; of `conv` only the width entries count.
pub fn conv1d(_x: &Tensor, _weight: &Tensor, _bias: Option<&Tensor>, _conv: &Conv) -> Result<Tensor> {
    todo!()
}

/// `x` `(N, C, H, W)` with `weight` `(C, O / groups, kh, kw)`, as `PyTorch`'s `conv_transpose2d`;
/// `output_padding` is `[height, width]`.
pub fn conv_transpose2d(
    _x: &Tensor,
    _weight: &Tensor,
    _bias: Option<&Tensor>,
    _conv: &Conv,
    _output_padding: [usize; 2],
) -> Result<Tensor> {
    todo!()
}
