//! What each ONNX operator becomes.

mod activation;
mod constant;
mod convolution;
mod elementwise;
mod integers;
mod normalization;
mod pooling;
mod recurrent;
mod reduction;
mod shaping;
mod slicing;

use super::call::Call;
use super::import::Importer;
use super::value::Value;
use faithful_core::Result;

/// Reads one operator: the values of its outputs.
pub(super) type Operator = fn(&mut Importer, &Call) -> Result<Vec<Value>>;

/// The reader of the operator called `name`; `None` where it is not supported.
pub(super) fn find(name: &str) -> Option<Operator> {
    Some(match name {
        "Conv" => convolution::conv,
        "ConvTranspose" => convolution::conv_transpose,
        "Gemm" => convolution::gemm,
        "MatMul" => convolution::matmul,
        "MaxPool" | "AveragePool" => pooling::pool,
        "GlobalAveragePool" | "GlobalMaxPool" => pooling::global,
        "BatchNormalization" => normalization::batch,
        "LayerNormalization" => normalization::layer,
        "GroupNormalization" => normalization::group,
        "InstanceNormalization" => normalization::instance,
        "LpNormalization" => normalization::lp,
        "Relu" | "LeakyRelu" | "Elu" | "Selu" | "Celu" | "Gelu" | "Sigmoid" | "HardSigmoid" | "HardSwish" | "Tanh"
        | "Softplus" | "Softsign" | "Mish" | "Swish" | "Clip" => activation::activation,
        "PRelu" => activation::prelu,
        "Softmax" | "LogSoftmax" => activation::softmax,
        "Add" | "Sub" | "Mul" | "Div" | "Pow" | "Min" | "Max" | "Sum" | "Mean" | "Mod" | "Equal" | "Greater"
        | "Less" | "GreaterOrEqual" | "LessOrEqual" | "And" | "Or" | "Xor" => elementwise::several,
        "Neg" | "Abs" | "Exp" | "Log" | "Sqrt" | "Reciprocal" | "Erf" | "Sin" | "Cos" | "Floor" | "Ceil" | "Round"
        | "Sign" | "Not" => elementwise::one,
        "Where" => elementwise::choose,
        "Cast" | "CastLike" => constant::cast,
        "Identity" | "Dropout" => constant::identity,
        "Constant" => constant::constant,
        "ConstantOfShape" => constant::of_shape,
        "Range" => constant::range,
        "Shape" => constant::shape,
        "Size" => constant::size,
        "Reshape" => shaping::reshape,
        "Flatten" => shaping::flatten,
        "Transpose" => shaping::transpose,
        "Squeeze" => shaping::squeeze,
        "Unsqueeze" => shaping::unsqueeze,
        "Expand" => shaping::expand,
        "Tile" => shaping::tile,
        "Concat" => slicing::concat,
        "Split" => slicing::split,
        "Slice" => slicing::slice,
        "Gather" => slicing::gather,
        "GatherND" => slicing::gather_nd,
        "ScatterND" => slicing::scatter_nd,
        "Pad" => slicing::pad,
        "Resize" | "Upsample" => pooling::resize,
        "ReduceMean" | "ReduceSum" | "ReduceMax" | "ReduceMin" | "ReduceL1" | "ReduceL2" | "ReduceSumSquare"
        | "ReduceLogSumExp" | "ReduceProd" => reduction::reduce,
        "LSTM" => recurrent::lstm,
        "GRU" => recurrent::gru,
        _ => return None,
    })
}

/// A constant without axes.
fn scalar(value: f64) -> Result<Value> {
    Ok(Value::Constant(candle_core::Tensor::new(value as f32, &candle_core::Device::Cpu)?))
}
