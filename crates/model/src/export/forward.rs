//! What an operation is in ONNX's operators.

use super::attribute::{counts, float, integer, text};
use super::separable;
use super::symbol::{Extent, Symbol, TRIALS, sizes};
use super::windows::covering;
use super::{OnnxWriter, activation, recurrent};
use crate::{Node, Op, ResizeTo};
use candle_core::Tensor;
use faithful_core::{Error, Result};
use faithful_tensor::{
    Binary, Conv, CoordinateRule, Interpolation, PadMode, Pool, Reduction, Resize, Unary, adaptive_avg_pool2d,
};

/// The value of `node`, which is of `shape`.
pub(super) fn write(writer: &mut OnnxWriter, node: &Node, operands: &[&Symbol], shape: &[Extent]) -> Result<Symbol> {
    let shape = shape.to_vec();
    let name = node.name.as_str();
    let first = || operands[0];
    let y = match &node.op {
        Op::Input => return Err(Error::internal("the input is written by whoever has it")),
        Op::Constant(value) => return writer.tensor(value),
        Op::Identity => return Ok(first().clone()),
        Op::Conv2d { weight, bias, conv } => {
            let attributes = window(&conv.stride, &conv.padding, &conv.dilation, conv.groups);
            layer(writer, name, "Conv", first(), weight, bias.as_ref(), attributes, shape)?
        }
        Op::Conv1d { weight, bias, conv } => {
            let attributes = window_of_series(conv);
            layer(writer, name, "Conv", first(), weight, bias.as_ref(), attributes, shape)?
        }
        Op::ConvTranspose2d { weight, bias, conv, output_padding } => {
            let mut attributes = window(&conv.stride, &conv.padding, &conv.dilation, conv.groups);
            attributes.push(counts("output_padding", output_padding));
            layer(writer, name, "ConvTranspose", first(), weight, bias.as_ref(), attributes, shape)?
        }
        Op::Linear { weight, bias } if first().rank() == 2 => {
            layer(writer, name, "Gemm", first(), weight, bias.as_ref(), vec![integer("transB", 1)], shape)?
        }
        Op::Linear { weight, bias } => {
            let matrix = writer.transposed(weight)?;
            let product = writer.named_node(name, "MatMul", &[first(), &matrix], Vec::new(), shape);
            plus_bias(writer, &product, bias.as_ref())?
        }
        Op::MatMul => writer.named_node(name, "MatMul", operands, Vec::new(), shape),
        Op::BatchNorm { scale, shift } => {
            let scaled = times_channels(writer, first(), scale)?;
            let shift = per_channel(writer, shift, first().rank())?;
            writer.named_node(name, "Add", &[&scaled, &shift], Vec::new(), shape)
        }
        Op::LayerNorm { axis, weight, bias, epsilon } => {
            let weight = if let Some(weight) = weight {
                writer.tensor(weight)?
            } else {
                let dims = writer.sizes(&first().shape[*axis..])?;
                writer.numbers(&dims, &vec![1.0; dims.iter().product()])
            };
            let bias = bias.as_ref().map(|bias| writer.tensor(bias)).transpose()?;
            let operands: Vec<&Symbol> = [first(), &weight].into_iter().chain(&bias).collect();
            let attributes = vec![integer("axis", *axis as i64), float("epsilon", *epsilon)];
            writer.named_node(name, "LayerNormalization", &operands, attributes, shape)
        }
        Op::GroupNorm { groups, weight, bias, epsilon } => {
            let runs = grouped(writer, first(), *groups)?;
            let one = writer.numbers(&[*groups], &vec![1.0; *groups]);
            let zero = writer.numbers(&[*groups], &vec![0.0; *groups]);
            let attributes = vec![float("epsilon", *epsilon)];
            let runs_shape = runs.shape.clone();
            let standard = writer.node("InstanceNormalization", &[&runs, &one, &zero], attributes, runs_shape);
            let mut y = writer.reshape(&standard, &shape)?;
            if let Some(weight) = weight {
                y = times_channels(writer, &y, weight)?;
            }
            if let Some(bias) = bias {
                let bias = per_channel(writer, bias, y.rank())?;
                y = writer.add(&y, &bias)?;
            }
            y
        }
        Op::Activation(kind) => activation::value(writer, name, first(), *kind)?,
        Op::Softmax { axis, log } => {
            let operator = if *log { "LogSoftmax" } else { "Softmax" };
            writer.named_node(name, operator, &[first()], vec![integer("axis", *axis as i64)], shape)
        }
        Op::MaxPool2d(pool) => max_pool(writer, name, first(), pool, shape)?,
        Op::AvgPool2d(pool) => avg_pool(writer, name, first(), pool, shape)?,
        Op::AdaptiveAvgPool2d([1, 1]) => writer.named_node(name, "GlobalAveragePool", &[first()], Vec::new(), shape),
        Op::AdaptiveAvgPool2d(size) => {
            let size = *size;
            let [rows, columns] = separable::matrices(writer, first(), |x, rows| {
                adaptive_avg_pool2d(x, if rows { [size[0], 1] } else { [1, size[1]] })
            })?;
            separable::apply(writer, first(), &rows, &columns)?
        }
        Op::AdaptiveMaxPool2d([1, 1]) => writer.named_node(name, "GlobalMaxPool", &[first()], Vec::new(), shape),
        Op::AdaptiveMaxPool2d(size) => {
            let (spread, pool) = spread(writer, first(), *size)?;
            max_pool(writer, name, &spread, &pool, shape)?
        }
        Op::Lstm { weights, direction } => recurrent::lstm(writer, name, first(), weights, *direction, &shape)?,
        Op::Gru { weights, direction, reset_after } => {
            recurrent::gru(writer, name, first(), weights, *direction, *reset_after, &shape)?
        }
        Op::Binary(operation) => writer.named_node(name, binary(*operation), operands, Vec::new(), shape),
        Op::Unary(operation) => writer.named_node(name, unary(*operation), operands, Vec::new(), shape),
        Op::Concat { axis } => writer.named_node(name, "Concat", operands, vec![integer("axis", *axis as i64)], shape),
        Op::Slice { axis, start, end, step } => {
            // From the end on backwards, what stands for "to the first place" is below all of them.
            let open = if *step < 0 { i64::MIN + 1 } else { i64::MAX };
            let end = end.map_or(open, |end| end as i64);
            writer.slice(first(), *axis, [*start as i64, end, *step as i64], shape[*axis])
        }
        Op::Pad { pads, mode } => {
            let (word, value) = match mode {
                PadMode::Constant(value) => ("constant", *value),
                PadMode::Reflect => ("reflect", 0.0),
                PadMode::Edge => ("edge", 0.0),
            };
            let all: Vec<i64> = (0..2).flat_map(|side| pads.iter().map(move |pad| pad[side] as i64)).collect();
            let (pads, value) = (writer.list(&all), writer.number(value));
            let mode = vec![text("mode", word)];
            writer.named_node(name, "Pad", &[first(), &pads, &value], mode, shape)
        }
        Op::Reshape(_) | Op::Flatten { .. } | Op::Squeeze(_) | Op::Unsqueeze(_) => writer.reshape(first(), &shape)?,
        Op::Transpose(order) => writer.transpose(first(), order),
        Op::Expand(_) => writer.expand(first(), &shape)?,
        Op::Reduce { axes, keep, reduction } => {
            let axes = if axes.is_empty() { (0..first().rank()).collect() } else { axes.clone() };
            writer.reduce(self::reduction(*reduction), first(), &axes, *keep)
        }
        Op::Gather { axis, index } => writer.gather(first(), *axis, index),
        Op::Resize { size, rules } => resize(writer, name, first(), *size, *rules, shape)?,
        Op::Composed(composition) => return composition.write(writer, operands, &shape),
    };
    Ok(y)
}

/// The attributes of a window.
pub(crate) fn window(
    stride: &[usize],
    padding: &[usize],
    dilation: &[usize],
    groups: usize,
) -> Vec<crate::onnx::proto::Attribute> {
    vec![
        counts("strides", stride),
        counts("pads", padding),
        counts("dilations", dilation),
        integer("group", groups as i64),
    ]
}

/// Of a series' convolution only the columns' entries count.
pub(super) fn window_of_series(conv: &Conv) -> Vec<crate::onnx::proto::Attribute> {
    let [_, left, _, right] = conv.padding;
    window(&conv.stride[1..], &[left, right], &conv.dilation[1..], conv.groups)
}

/// An operator with a weight and a bias.
#[allow(clippy::too_many_arguments)] // They are a node's.
pub(crate) fn layer(
    writer: &mut OnnxWriter,
    name: &str,
    operator: &str,
    x: &Symbol,
    weight: &Tensor,
    bias: Option<&Tensor>,
    attributes: Vec<crate::onnx::proto::Attribute>,
    shape: Vec<Extent>,
) -> Result<Symbol> {
    let weight = writer.tensor(weight)?;
    let bias = bias.map(|bias| writer.tensor(bias)).transpose()?;
    let operands: Vec<&Symbol> = [x, &weight].into_iter().chain(&bias).collect();
    Ok(writer.named_node(name, operator, &operands, attributes, shape))
}

/// `x` plus a bias along its last axis.
fn plus_bias(writer: &mut OnnxWriter, x: &Symbol, bias: Option<&Tensor>) -> Result<Symbol> {
    let Some(bias) = bias else { return Ok(x.clone()) };
    let bias = writer.tensor(bias)?;
    writer.add(x, &bias)
}

/// A vector of one number per channel, `(C, 1, …)` for a value of so many axes.
pub(super) fn per_channel(writer: &mut OnnxWriter, vector: &Tensor, rank: usize) -> Result<Symbol> {
    let stored = writer.tensor(vector)?;
    let mut dims = vec![1; rank - 1];
    dims[0] = vector.elem_count();
    writer.reshape(&stored, &sizes(&dims))
}

/// `x` times one number per channel.
pub(super) fn times_channels(writer: &mut OnnxWriter, x: &Symbol, scale: &Tensor) -> Result<Symbol> {
    let scale = per_channel(writer, scale, x.rank())?;
    writer.mul(x, &scale)
}

/// `(N, C, …)` as `(N, groups, C / groups …)`.
pub(super) fn grouped(writer: &mut OnnxWriter, x: &Symbol, groups: usize) -> Result<Symbol> {
    let length: Extent =
        std::array::from_fn(|trial| x.shape[1..].iter().map(|extent| extent[trial]).product::<usize>() / groups);
    writer.reshape(x, &[x.shape[0], [groups; TRIALS], length])
}

/// The zeros or minus infinities that windows reach beyond the padding where they are rounded up, as more padding.
fn padded(writer: &mut OnnxWriter, x: &Symbol, pool: &Pool) -> Result<[usize; 4]> {
    let mut padding = pool.padding;
    if pool.ceil {
        for axis in 0..2 {
            let size = writer.size(x.shape[axis + 2])?;
            padding[axis + 2] = covering(pool, axis, size);
        }
    }
    Ok(padding)
}

pub(super) fn max_pool(
    writer: &mut OnnxWriter,
    name: &str,
    x: &Symbol,
    pool: &Pool,
    shape: Vec<Extent>,
) -> Result<Symbol> {
    let attributes = vec![
        counts("kernel_shape", &pool.kernel),
        counts("strides", &pool.stride),
        counts("pads", &padded(writer, x, pool)?),
        counts("dilations", &pool.dilation),
    ];
    Ok(writer.named_node(name, "MaxPool", &[x], attributes, shape))
}

fn avg_pool(writer: &mut OnnxWriter, name: &str, x: &Symbol, pool: &Pool, shape: Vec<Extent>) -> Result<Symbol> {
    let padding = padded(writer, x, pool)?;
    // What a window reaches beyond the padding counts nowhere, which no attribute says of every runtime.
    if padding != pool.padding {
        let [rows, columns] = separable::of_pool(writer, x, pool)?;
        return separable::apply(writer, x, &rows, &columns);
    }
    let attributes = vec![
        counts("kernel_shape", &pool.kernel),
        counts("strides", &pool.stride),
        counts("pads", &pool.padding),
        integer("count_include_pad", i64::from(pool.count_padding)),
    ];
    Ok(writer.named_node(name, "AveragePool", &[x], attributes, shape))
}

/// `x` with its rows and columns repeated so that the windows of an adaptive maximum are all of one size, one beside the
/// other, and the pool that takes their maxima. A repeated place comes after its first.
pub(super) fn spread(writer: &mut OnnxWriter, x: &Symbol, size: [usize; 2]) -> Result<(Symbol, Pool)> {
    let mut spread = x.clone();
    let mut kernel = [1; 2];
    for axis in 0..2 {
        let index = adaptive_places(writer.size(x.shape[axis + 2])?, size[axis]);
        kernel[axis] = index.len() / size[axis];
        spread = writer.gather(&spread, axis + 2, &index);
    }
    Ok((spread, Pool { kernel, stride: kernel, ..Pool::default() }))
}

/// Which place of an axis of `inputs` each place of an equal window sees.
pub(super) fn adaptive_places(inputs: usize, outputs: usize) -> Vec<usize> {
    let windows: Vec<(usize, usize)> =
        (0..outputs).map(|i| (i * inputs / outputs, ((i + 1) * inputs).div_ceil(outputs))).collect();
    let longest = windows.iter().map(|(start, end)| end - start).max().unwrap_or(1);
    windows.iter().flat_map(|&(start, end)| (0..longest).map(move |place| (start + place).min(end - 1))).collect()
}

fn resize(
    writer: &mut OnnxWriter,
    name: &str,
    x: &Symbol,
    size: ResizeTo,
    rules: Resize,
    shape: Vec<Extent>,
) -> Result<Symbol> {
    let (mode, cubic) = match rules.interpolation {
        Interpolation::Linear => ("linear", None),
        Interpolation::Cubic => ("cubic", Some(-0.75)),
        Interpolation::CatmullRom => ("cubic", Some(-0.5)),
        _ => ("nearest", None),
    };
    let coordinates = match rules.coordinates {
        CoordinateRule::HalfPixel => "half_pixel",
        CoordinateRule::AlignCorners => "align_corners",
        CoordinateRule::Asymmetric => "asymmetric",
        CoordinateRule::HalfPixelOrFirst => "pytorch_half_pixel",
        // Of later operator sets, or of none: as matrices.
        CoordinateRule::HalfPixelSymmetric | CoordinateRule::HalfPixelForNearest => {
            let [rows, columns] = separable::of_resize(writer, x, size, rules)?;
            return separable::apply(writer, x, &rows, &columns);
        }
    };
    let mut attributes = vec![text("mode", mode), text("coordinate_transformation_mode", coordinates)];
    if let Some(cubic) = cubic {
        attributes.push(float("cubic_coeff_a", cubic));
        attributes.push(integer("exclude_outside", i64::from(rules.exclude_outside)));
    }
    if mode == "nearest" {
        let nearest = match rules.interpolation {
            Interpolation::NearestHalfUp => "round_prefer_ceil",
            Interpolation::NearestFloor => "floor",
            Interpolation::NearestCeil => "ceil",
            _ => "round_prefer_floor",
        };
        attributes.push(text("nearest_mode", nearest));
    }
    let none = OnnxWriter::absent();
    match size {
        ResizeTo::Scale(factors) => {
            let factors = writer.numbers(&[4], &[1.0, 1.0, factors[0] as f32, factors[1] as f32]);
            Ok(writer.named_node(name, "Resize", &[x, &none, &factors], attributes, shape))
        }
        ResizeTo::Size(_) => {
            let goal = writer.whole_shape(x, &shape)?;
            Ok(writer.named_node(name, "Resize", &[x, &none, &none, &goal], attributes, shape))
        }
    }
}

fn binary(operation: Binary) -> &'static str {
    match operation {
        Binary::Add => "Add",
        Binary::Sub => "Sub",
        Binary::Mul => "Mul",
        Binary::Div => "Div",
        Binary::Pow => "Pow",
        Binary::Min => "Min",
        Binary::Max => "Max",
    }
}

fn unary(operation: Unary) -> &'static str {
    match operation {
        Unary::Neg => "Neg",
        Unary::Abs => "Abs",
        Unary::Exp => "Exp",
        Unary::Log => "Log",
        Unary::Sqrt => "Sqrt",
        Unary::Reciprocal => "Reciprocal",
        Unary::Erf => "Erf",
        Unary::Sin => "Sin",
        Unary::Cos => "Cos",
        Unary::Floor => "Floor",
        Unary::Ceil => "Ceil",
        Unary::Round => "Round",
        Unary::Sign => "Sign",
    }
}

fn reduction(reduction: Reduction) -> &'static str {
    match reduction {
        Reduction::Mean => "ReduceMean",
        Reduction::Sum => "ReduceSum",
        Reduction::Max => "ReduceMax",
        Reduction::Min => "ReduceMin",
        Reduction::L1 => "ReduceL1",
        Reduction::L2 => "ReduceL2",
        Reduction::SumSquare => "ReduceSumSquare",
        Reduction::LogSumExp => "ReduceLogSumExp",
    }
}
