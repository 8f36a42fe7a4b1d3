//! What an operation gives for its operands, on candle, differentiably.

use super::{Op, ResizeTo, shape};
use crate::Node;
use candle_core::Tensor;
use faithful_core::{BackwardRule, Error, Result};
use faithful_tensor as tensor;

/// One node's value.
pub(crate) fn apply(node: &Node, operands: &[&Tensor], batch: usize, rule: BackwardRule) -> Result<Tensor> {
    let shapes: Vec<&[usize]> = operands.iter().map(|operand| operand.dims()).collect();
    // Says in words what does not fit, with the node's name, before a kernel does.
    let shape = shape::infer(node, &shapes, batch)?;
    let first = || operands[0];
    let value = match &node.op {
        Op::Input => return Err(Error::format(format!("node `{}`", node.name), "the input has no value")),
        Op::Constant(value) => value.clone(),
        Op::Conv2d { weight, bias, conv } => tensor::conv2d(first(), weight, bias.as_ref(), conv)?,
        Op::Conv1d { weight, bias, conv } => tensor::conv1d(first(), weight, bias.as_ref(), conv)?,
        Op::ConvTranspose2d { weight, bias, conv, output_padding } => {
            tensor::conv_transpose2d(first(), weight, bias.as_ref(), conv, *output_padding)?
        }
        Op::Linear { weight, bias } => tensor::linear(first(), weight, bias.as_ref())?,
        Op::MatMul => tensor::matmul(operands[0], operands[1])?,
        Op::BatchNorm { scale, shift } => tensor::batch_norm(first(), scale, shift)?,
        Op::LayerNorm { axis, weight, bias, epsilon } => {
            tensor::layer_norm(first(), *axis, weight.as_ref(), bias.as_ref(), *epsilon)?
        }
        Op::GroupNorm { groups, weight, bias, epsilon } => {
            tensor::group_norm(first(), *groups, weight.as_ref(), bias.as_ref(), *epsilon)?
        }
        Op::Activation(activation) => tensor::activate(first(), *activation, rule)?,
        Op::Softmax { axis, log: false } => tensor::softmax(first(), *axis)?,
        Op::Softmax { axis, log: true } => tensor::log_softmax(first(), *axis)?,
        Op::MaxPool2d(pool) => tensor::max_pool2d(first(), pool)?,
        Op::AvgPool2d(pool) => tensor::avg_pool2d(first(), pool)?,
        Op::AdaptiveAvgPool2d(size) => tensor::adaptive_avg_pool2d(first(), *size)?,
        Op::AdaptiveMaxPool2d(size) => tensor::adaptive_max_pool2d(first(), *size)?,
        Op::Lstm { weights, direction } => tensor::lstm(first(), weights, *direction)?,
        Op::Gru { weights, direction, reset_after } => tensor::gru(first(), weights, *direction, *reset_after)?,
        Op::Binary(operation) => tensor::binary(operands[0], operands[1], *operation)?,
        Op::Unary(operation) => tensor::unary(first(), *operation)?,
        Op::Concat { axis } => tensor::concat(operands, *axis)?,
        Op::Slice { axis, start, end, step } => tensor::slice(first(), *axis, *start, *end, *step)?,
        Op::Pad { pads, mode } => tensor::pad(first(), pads, *mode)?,
        Op::Reshape(_) | Op::Flatten { .. } | Op::Squeeze(_) | Op::Unsqueeze(_) => first().reshape(shape)?,
        Op::Transpose(axes) => first().permute(axes.as_slice())?.contiguous()?,
        Op::Expand(_) => first().broadcast_as(shape)?.contiguous()?,
        Op::Reduce { axes, keep, reduction } => tensor::reduce(first(), axes, *keep, *reduction)?,
        Op::Gather { axis, index } => tensor::gather(first(), *axis, index)?,
        Op::Resize { size: ResizeTo::Size(_), rules } => tensor::resize2d(first(), [shape[2], shape[3]], rules)?,
        Op::Resize { size: ResizeTo::Scale(factors), rules } => {
            tensor::resize2d_by(first(), *factors, [shape[2], shape[3]], rules)?
        }
        Op::Identity => first().clone(),
        Op::Composed(composition) => composition.evaluate(operands, rule)?,
    };
    Ok(value)
}
