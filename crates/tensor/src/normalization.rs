use candle_core::{Result, Tensor};

/// Batch normalisation in evaluation mode as it is after folding: `x * scale + shift` per channel, axis 1.
pub fn batch_norm(_x: &Tensor, _scale: &Tensor, _shift: &Tensor) -> Result<Tensor> {
    todo!()
}

/// Layer normalisation over the axes from `axis` on, with affine parameters of those axes' shape.
pub fn layer_norm(
    _x: &Tensor,
    _axis: usize,
    _weight: Option<&Tensor>,
    _bias: Option<&Tensor>,
    _epsilon: f64,
) -> Result<Tensor> {
    todo!()
}

/// Group normalisation of `(N, C, …)`; `groups == C` is instance normalisation.
pub fn group_norm(
    _x: &Tensor,
    _groups: usize,
    _weight: Option<&Tensor>,
    _bias: Option<&Tensor>,
    _epsilon: f64,
) -> Result<Tensor> {
    todo!()
}
