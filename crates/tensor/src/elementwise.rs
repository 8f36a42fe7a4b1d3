use candle_core::{Result, Tensor};

/// An elementwise operation of two tensors that broadcast as in `NumPy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Binary {
    Add,
    Sub,
    Mul,
    Div,
    Pow,
    Min,
    Max,
}

/// An elementwise operation of one tensor that is no activation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Unary {
    Neg,
    Abs,
    Exp,
    Log,
    Sqrt,
    Reciprocal,
    Erf,
    Sin,
    Cos,
    Floor,
    Ceil,
    Round,
    Sign,
}

/// Applies `operation` with broadcasting.
pub fn binary(_a: &Tensor, _b: &Tensor, _operation: Binary) -> Result<Tensor> {
    todo!()
}

/// Applies `operation`.
pub fn unary(_x: &Tensor, _operation: Unary) -> Result<Tensor> {
    todo!()
}
