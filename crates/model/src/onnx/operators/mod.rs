//! What each ONNX operator becomes.

mod activation;
mod attention;
mod cells;
mod constant;
mod contributed;
mod convolution;
mod einsum;
mod elementwise;
mod gathering;
mod integers;
mod local;
mod normalization;
mod picking;
mod pooling;
mod quantised;
mod recurrent;
mod reduction;
mod resize;
mod sampling;
mod scattering;
mod shaping;
mod slicing;
mod triangle;
mod truth;
mod volume;

use super::call::Call;
use super::import::Importer;
use super::value::{Integers, Value};
use faithful_core::Result;

/// Reads one operator: the values of its outputs.
pub(super) type Operator = fn(&mut Importer, &Call) -> Result<Vec<Value>>;

/// The reader of the operator `name` of the operator set `domain`; `None` where it is not supported.
pub(super) fn find_in(domain: &str, name: &str) -> Option<Operator> {
    match domain {
        "" | "ai.onnx" => find(name),
        "com.microsoft" => contributed::find(name),
        _ => None,
    }
}

/// The reader of the operator called `name`; `None` where it is not supported.
fn find(name: &str) -> Option<Operator> {
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
        "RMSNormalization" | "SimplifiedLayerNormalization" => normalization::root_mean_square,
        "MeanVarianceNormalization" => normalization::mean_variance,
        "LRN" => local::lrn,
        "Col2Im" => local::col2im,
        "DepthToSpace" | "SpaceToDepth" => local::depth_and_space,
        "Attention" => attention::attention,
        "RotaryEmbedding" => attention::rotary,
        "Einsum" => einsum::einsum,
        "CumSum" => triangle::cumulative_sum,
        "EyeLike" => triangle::eye_like,
        "Trilu" => triangle::triangle,
        "ThresholdedRelu" | "Shrink" => activation::thresholded,
        "Relu" | "LeakyRelu" | "Elu" | "Selu" | "Celu" | "Gelu" | "Sigmoid" | "HardSigmoid" | "HardSwish" | "Tanh"
        | "Softplus" | "Softsign" | "Mish" | "Clip" => activation::activation,
        "Swish" => activation::swish,
        "PRelu" => activation::prelu,
        "Softmax" | "LogSoftmax" => activation::softmax,
        "Add" | "Sub" | "Mul" | "Div" | "Pow" | "Min" | "Max" | "Sum" | "Mean" | "Mod" | "Equal" | "Greater"
        | "Less" | "GreaterOrEqual" | "LessOrEqual" | "And" | "Or" | "Xor" => elementwise::several,
        "Neg" | "Abs" | "Exp" | "Log" | "Sqrt" | "Reciprocal" | "Erf" | "Sin" | "Cos" | "Floor" | "Ceil" | "Round"
        | "Sign" | "Not" => elementwise::one,
        "IsNaN" | "IsInf" => truth::truth,
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
        "ReverseSequence" => slicing::reverse_sequence,
        "Slice" => slicing::slice,
        "Gather" => gathering::gather,
        "GatherND" => gathering::gather_nd,
        "GatherElements" => picking::gather_elements,
        "TopK" => picking::top_k,
        "OneHot" => picking::one_hot,
        "Hardmax" => picking::hardmax,
        "GridSample" => sampling::grid_sample,
        "AffineGrid" => sampling::affine_grid,
        "ScatterND" => scattering::scatter_nd,
        "Pad" => slicing::pad,
        "Resize" | "Upsample" => resize::resize,
        "ReduceMean" | "ReduceSum" | "ReduceMax" | "ReduceMin" | "ReduceL1" | "ReduceL2" | "ReduceSumSquare"
        | "ReduceLogSumExp" | "ReduceProd" => reduction::reduce,
        "ArgMax" | "ArgMin" => reduction::place,
        "QuantizeLinear" => quantised::quantize,
        "DequantizeLinear" => quantised::dequantize,
        "DynamicQuantizeLinear" => quantised::dynamic,
        "QLinearConv" | "QLinearMatMul" => quantised::linear,
        "ConvInteger" | "MatMulInteger" => quantised::integer,
        "RNN" => recurrent::rnn,
        "LSTM" => recurrent::lstm,
        "GRU" => recurrent::gru,
        _ => return None,
    })
}

/// The first output of the operator `op_type` on `operands`, with the attributes of `call`.
fn run(importer: &mut Importer, call: &Call, op_type: &str, name: &str, operands: Vec<Value>) -> Result<Value> {
    let mut node = call.node.clone();
    node.op_type = op_type.into();
    node.domain = String::new();
    let again = Call { node: &node, name: name.into(), operands, read: vec![true], opset: call.opset };
    let operator = find(op_type).ok_or_else(|| call.unsupported(format!("as {op_type}")))?;
    operator(importer, &again)?.into_iter().next().ok_or_else(|| call.damaged("no output"))
}

/// Constant numbers that are places or truth values as integers.
fn as_whole(value: Value) -> Result<Value> {
    let Value::Constant(numbers) = value else { return Ok(value) };
    let values = numbers.flatten_all()?.to_vec1::<f32>()?.into_iter().map(|number| number as i64).collect();
    Ok(Value::Integers(Integers::known(numbers.dims().to_vec(), values)))
}

/// A constant without axes.
fn scalar(value: f64) -> Result<Value> {
    Ok(Value::Constant(candle_core::Tensor::new(value as f32, &candle_core::Device::Cpu)?))
}
