use super::Op;
use faithful_tensor::{Activation, Binary, Direction, Reduction, Unary};

impl Op {
    /// The operation in the field's words: `conv2d`, `relu`, `max-pool2d` …
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::Constant(_) => "constant",
            Self::Conv2d { .. } => "conv2d",
            Self::Conv1d { .. } => "conv1d",
            Self::ConvTranspose2d { .. } => "conv-transpose2d",
            Self::Linear { .. } => "linear",
            Self::MatMul => "matmul",
            Self::BatchNorm { .. } => "batch-norm",
            Self::LayerNorm { .. } => "layer-norm",
            Self::GroupNorm { .. } => "group-norm",
            Self::Activation(activation) => activation_kind(*activation),
            Self::Softmax { log: false, .. } => "softmax",
            Self::Softmax { log: true, .. } => "log-softmax",
            Self::MaxPool2d(_) => "max-pool2d",
            Self::AvgPool2d(_) => "avg-pool2d",
            Self::AdaptiveAvgPool2d([1, 1]) => "global-avg-pool2d",
            Self::AdaptiveAvgPool2d(_) => "adaptive-avg-pool2d",
            Self::AdaptiveMaxPool2d([1, 1]) => "global-max-pool2d",
            Self::AdaptiveMaxPool2d(_) => "adaptive-max-pool2d",
            Self::Lstm { direction: Direction::Forward, .. } => "lstm",
            Self::Lstm { direction: Direction::Reverse, .. } => "lstm-reverse",
            Self::Gru { direction: Direction::Forward, .. } => "gru",
            Self::Gru { direction: Direction::Reverse, .. } => "gru-reverse",
            Self::Binary(operation) => binary_kind(*operation),
            Self::Unary(operation) => unary_kind(*operation),
            Self::Concat { .. } => "concat",
            Self::Slice { .. } => "slice",
            Self::Pad { .. } => "pad",
            Self::Reshape(_) => "reshape",
            Self::Flatten { .. } => "flatten",
            Self::Transpose(_) => "transpose",
            Self::Squeeze(_) => "squeeze",
            Self::Unsqueeze(_) => "unsqueeze",
            Self::Expand(_) => "expand",
            Self::Reduce { reduction, .. } => reduction_kind(*reduction),
            Self::Gather { .. } => "gather",
            Self::Resize { .. } => "resize",
            Self::Identity => "identity",
            Self::Composed(composition) => composition.kind(),
        }
    }
}

fn activation_kind(activation: Activation) -> &'static str {
    match activation {
        Activation::Relu => "relu",
        Activation::Clip { low, high } if low == 0.0 && high == 6.0 => "relu6",
        Activation::Clip { .. } => "clip",
        Activation::LeakyRelu { .. } => "leaky-relu",
        Activation::Elu { .. } => "elu",
        Activation::Selu { .. } => "selu",
        Activation::Gelu => "gelu",
        Activation::GeluTanh => "gelu-tanh",
        Activation::Silu => "silu",
        Activation::Sigmoid => "sigmoid",
        Activation::Tanh => "tanh",
        Activation::Softplus => "softplus",
        Activation::Softsign => "softsign",
        Activation::Mish => "mish",
        Activation::HardSwish => "hard-swish",
        Activation::HardSigmoid { .. } => "hard-sigmoid",
    }
}

fn binary_kind(operation: Binary) -> &'static str {
    match operation {
        Binary::Add => "add",
        Binary::Sub => "sub",
        Binary::Mul => "mul",
        Binary::Div => "div",
        Binary::Pow => "pow",
        Binary::Min => "min",
        Binary::Max => "max",
    }
}

fn unary_kind(operation: Unary) -> &'static str {
    match operation {
        Unary::Neg => "neg",
        Unary::Abs => "abs",
        Unary::Exp => "exp",
        Unary::Log => "log",
        Unary::Sqrt => "sqrt",
        Unary::Reciprocal => "reciprocal",
        Unary::Erf => "erf",
        Unary::Sin => "sin",
        Unary::Cos => "cos",
        Unary::Floor => "floor",
        Unary::Ceil => "ceil",
        Unary::Round => "round",
        Unary::Sign => "sign",
    }
}

fn reduction_kind(reduction: Reduction) -> &'static str {
    match reduction {
        Reduction::Mean => "mean",
        Reduction::Sum => "sum",
        Reduction::Max => "reduce-max",
        Reduction::Min => "reduce-min",
        Reduction::L1 => "l1-norm",
        Reduction::L2 => "l2-norm",
        Reduction::SumSquare => "sum-square",
        Reduction::LogSumExp => "log-sum-exp",
    }
}
