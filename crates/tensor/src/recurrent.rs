use candle_core::{Result, Tensor};

/// Which way a recurrent layer reads the series.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Direction {
    Forward,
    Reverse,
}

/// One direction of a recurrent layer: `PyTorch`'s layout, `G` gates stacked along the first axis.
#[derive(Clone, Debug)]
pub struct Recurrent {
    /// `(G * H, I)`.
    pub input_weight: Tensor,
    /// `(G * H, H)`.
    pub hidden_weight: Tensor,
    /// `(G * H,)`.
    pub input_bias: Option<Tensor>,
    /// `(G * H,)`.
    pub hidden_bias: Option<Tensor>,
}

/// An LSTM direction; gates in `PyTorch`'s order input, forget, cell, output.
pub type Lstm = Recurrent;
/// A GRU direction; gates in `PyTorch`'s order reset, update, new.
pub type Gru = Recurrent;

/// All hidden states `(N, T, H)` of `x` `(N, T, I)`, from zero states.
pub fn lstm(_x: &Tensor, _weights: &Lstm, _direction: Direction) -> Result<Tensor> {
    todo!()
}

/// All hidden states `(N, T, H)` of `x` `(N, T, I)`, from zero states; `reset_after` is `PyTorch`'s and ONNX's
/// `linear_before_reset = 1`.
pub fn gru(_x: &Tensor, _weights: &Gru, _direction: Direction, _reset_after: bool) -> Result<Tensor> {
    todo!()
}
