use candle_core::{Result, Tensor};

/// How an activation passes a gradient back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum BackwardRule {
    /// The derivative.
    #[default]
    Plain,
    /// `DeconvNet` (Zeiler and Fergus 2014): the activation's positive part is applied to the gradient itself,
    /// `max(g, 0)`, wherever the input was.
    Deconvnet,
    /// Guided backpropagation (Springenberg et al. 2015): the derivative times `max(g, 0)`.
    Guided,
}

/// An elementwise nonlinearity.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Activation {
    /// `max(x, 0)`; the derivative at 0 is 0, as `PyTorch` has it.
    Relu,
    /// `min(max(x, low), high)`: relu6 and ONNX's Clip. The derivative is 1 strictly inside.
    Clip {
        /// The lower bound.
        low: f64,
        /// The upper bound.
        high: f64,
    },
    /// `x` above 0, `slope * x` below.
    LeakyRelu {
        /// The factor below 0.
        slope: f64,
    },
    /// `x` above 0, `alpha * (exp(x) - 1)` below.
    Elu {
        /// The limit below is `-alpha`.
        alpha: f64,
    },
    /// SELU's and CELU's general form: `gamma * x` above 0, `gamma * alpha * (exp(x / beta) - 1)` below.
    Selu {
        /// See the formula.
        alpha: f64,
        /// See the formula.
        beta: f64,
        /// See the formula.
        gamma: f64,
    },
    /// `x * Phi(x)` with the error function.
    Gelu,
    /// GELU's tanh approximation.
    GeluTanh,
    /// `x * sigmoid(x)`.
    Silu,
    /// `1 / (1 + exp(-x))`.
    Sigmoid,
    /// The hyperbolic tangent.
    Tanh,
    /// `ln(1 + exp(x))`.
    Softplus,
    /// `x / (1 + |x|)`.
    Softsign,
    /// `x * tanh(softplus(x))`.
    Mish,
    /// `x * hard_sigmoid(x)` with `alpha = 1/6`, `beta = 1/2`.
    HardSwish,
    /// `min(max(alpha * x + beta, 0), 1)`.
    HardSigmoid {
        /// The slope.
        alpha: f64,
        /// The value at 0.
        beta: f64,
    },
}

/// Applies `kind` elementwise; `rule` says how its gradient goes back.
pub fn activate(_x: &Tensor, _kind: Activation, _rule: BackwardRule) -> Result<Tensor> {
    todo!()
}

/// Softmax along `axis`.
pub fn softmax(_x: &Tensor, _axis: usize) -> Result<Tensor> {
    todo!()
}

/// The logarithm of the softmax along `axis`.
pub fn log_softmax(_x: &Tensor, _axis: usize) -> Result<Tensor> {
    todo!()
}
