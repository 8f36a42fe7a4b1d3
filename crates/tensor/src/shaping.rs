use candle_core::{Result, Tensor};

/// What fills padding.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum PadMode {
    /// A value.
    Constant(f64),
    /// The interior mirrored, without repeating the edge.
    Reflect,
    /// The edge repeated.
    Edge,
}

/// Joins tensors along `axis`.
pub fn concat(_parts: &[&Tensor], _axis: usize) -> Result<Tensor> {
    todo!()
}

/// The elements `start, start + step, …` before `end` along `axis`; a negative step walks backwards, and `end` is
/// then exclusive below (`None`: to the first element).
pub fn slice(_x: &Tensor, _axis: usize, _start: usize, _end: Option<usize>, _step: isize) -> Result<Tensor> {
    todo!()
}

/// Adds `pads[axis] = [before, after]` on every axis; negative numbers crop.
pub fn pad(_x: &Tensor, _pads: &[[isize; 2]], _mode: PadMode) -> Result<Tensor> {
    todo!()
}

/// Picks `index` along `axis`.
pub fn gather(_x: &Tensor, _axis: usize, _index: &[usize]) -> Result<Tensor> {
    todo!()
}
