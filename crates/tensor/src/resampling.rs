use candle_core::{Result, Tensor};

/// Which value an output pixel takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Interpolation {
    /// The nearest pixel, rounding half down (`ONNX`'s `round_prefer_floor`).
    Nearest,
    /// The nearest pixel, rounding down: `PyTorch`'s `nearest`.
    NearestFloor,
    /// Bilinear.
    Linear,
    /// Bicubic (Catmull-Rom family, `a = -0.75`, as `PyTorch`).
    Cubic,
}

/// How an output coordinate maps to the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CoordinateRule {
    /// `(x + 0.5) / scale - 0.5`: `align_corners = False`.
    HalfPixel,
    /// `x * (in - 1) / (out - 1)`.
    AlignCorners,
    /// `x / scale`.
    Asymmetric,
}

/// A resize's rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Resize {
    /// Which value an output pixel takes.
    pub interpolation: Interpolation,
    /// How an output coordinate maps to the input.
    pub coordinates: CoordinateRule,
}

impl Default for Resize {
    fn default() -> Self {
        Self { interpolation: Interpolation::Linear, coordinates: CoordinateRule::HalfPixel }
    }
}

/// Resizes `(N, C, H, W)` to `size` `[height, width]`; no antialiasing.
pub fn resize2d(_x: &Tensor, _size: [usize; 2], _rules: &Resize) -> Result<Tensor> {
    todo!()
}

/// Blurs `(N, C, H, W)` with a Gaussian of `kernel` `[height, width]` taps (odd) and `sigma`, with the edge reflected
/// (without repeating it), as torchvision's `gaussian_blur`.
pub fn gaussian_blur2d(_x: &Tensor, _kernel: [usize; 2], _sigma: [f64; 2]) -> Result<Tensor> {
    todo!()
}
