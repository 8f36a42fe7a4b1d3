//! Functions of one element and their derivatives.

use candle_core::WithDType;

/// The two types that CPU kernels compute in; half precision is computed in `f32`.
pub trait Real: WithDType + num_traits::Float {
    /// The error function.
    fn erf(self) -> Self;
}

impl Real for f32 {
    fn erf(self) -> Self {
        candle_core::cpu::erf::erf_f32(self)
    }
}

impl Real for f64 {
    fn erf(self) -> Self {
        candle_core::cpu::erf::erf_f64(self)
    }
}

/// A function of one element.
pub trait Pointwise: Copy + Send + Sync {
    /// The value at `x`.
    fn value<T: Real>(self, x: T) -> T;
    /// The derivative at `x`; at a kink what `PyTorch` takes.
    fn derivative<T: Real>(self, x: T) -> T;
}
