use candle_core::{Result, Tensor};

/// `x` `(…, I)` times the transposed `weight` `(O, I)` plus `bias` `(O,)`.
pub fn linear(_x: &Tensor, _weight: &Tensor, _bias: Option<&Tensor>) -> Result<Tensor> {
    todo!()
}

/// The matrix product with `NumPy`'s rules: leading axes broadcast.
pub fn matmul(_a: &Tensor, _b: &Tensor) -> Result<Tensor> {
    todo!()
}
