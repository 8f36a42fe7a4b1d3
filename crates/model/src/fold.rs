//! Simplifications that change no result: a file's batch norms and separate biases go into the layer before them.

use crate::{Graph, GraphBuilder, NodeId, Op};
use candle_core::{DType, Tensor};
use faithful_core::{Error, Result};
use faithful_tensor::Binary;

impl Graph {
    /// The same network with batch norms and separate biases folded into the convolution or fully connected layer
    /// before them, where nothing else reads that layer.
    ///
    /// Every name stays: a folded batch norm is an identity, and the layer before it gives what the batch norm gave.
    pub fn folded(mut self) -> Result<Self> {
        for index in 0..self.nodes.len() {
            let Some((source, scale, shift)) = self.affine(index)? else { continue };
            if self.users()[source.0].len() != 1 || source == self.output {
                continue;
            }
            let Some(op) = rescaled(&self.nodes[source.0].op, scale.as_ref(), &shift)? else { continue };
            self.nodes[source.0].op = op;
            let node = &mut self.nodes[index];
            node.op = Op::Identity;
            node.inputs = vec![source];
        }
        // Constants that became biases are needed no more.
        let Self { nodes, input_shape, output, rule, .. } = self;
        Ok(GraphBuilder::from_nodes(nodes, input_shape).finish(output)?.with_rule(rule))
    }

    /// The operand, scale and shift of a node that is `x * scale + shift` per output channel.
    fn affine(&self, index: usize) -> Result<Option<(NodeId, Option<Tensor>, Tensor)>> {
        let node = &self.nodes[index];
        match &node.op {
            Op::BatchNorm { scale, shift } => Ok(Some((node.inputs[0], Some(scale.clone()), shift.clone()))),
            Op::Binary(Binary::Add) => {
                for (constant, source) in [(1, 0), (0, 1)] {
                    let (constant, source) = (node.inputs[constant], node.inputs[source]);
                    let Op::Constant(value) = &self.nodes[constant.0].op else { continue };
                    let Some(outputs) = outputs(&self.nodes[source.0].op) else { continue };
                    // Channels are the last axis behind a fully connected layer, the second behind a convolution.
                    let linear = matches!(self.nodes[source.0].op, Op::Linear { .. });
                    let behind = if linear { 0 } else { self.layers[source.0].shape.len() - 1 };
                    let expected: Vec<usize> = std::iter::once(outputs).chain(std::iter::repeat_n(1, behind)).collect();
                    let dims = value.dims();
                    let leading = dims.len().saturating_sub(expected.len());
                    if dims[leading..] == expected && dims[..leading].iter().all(|&size| size == 1) && leading <= 1 {
                        return Ok(Some((source, None, value.flatten_all()?)));
                    }
                }
                Ok(None)
            }
            _ => Ok(None),
        }
    }

    /// Fails where a weight is not a number: such a model explains nothing.
    ///
    /// # Errors
    /// [`Error::NotFinite`] with the layer's name.
    pub fn check_finite(&self) -> Result<()> {
        for node in &self.nodes {
            // Minus infinity is how a constant masks attention.
            let infinite = matches!(node.op, Op::Constant(_));
            for weight in node.op.weights() {
                if !finite(weight, infinite)? {
                    let what = format!("a weight of layer `{}`", node.name);
                    return Err(Error::NotFinite { what, place: None });
                }
            }
        }
        Ok(())
    }
}

fn finite(weight: &Tensor, infinite: bool) -> Result<bool> {
    let weight = weight.flatten_all()?.to_dtype(DType::F32)?;
    // One pass without a copy; only what is suspicious is looked at number by number.
    if weight.sum_all()?.to_scalar::<f32>()?.is_finite() {
        return Ok(true);
    }
    let values = weight.to_vec1::<f32>()?;
    Ok(values.iter().all(|value| if infinite { !value.is_nan() } else { value.is_finite() }))
}

/// The number of output channels of a layer that takes a scale and a shift.
fn outputs(op: &Op) -> Option<usize> {
    match op {
        Op::Conv2d { weight, .. } | Op::Conv1d { weight, .. } | Op::Linear { weight, .. } => {
            weight.dims().first().copied()
        }
        Op::ConvTranspose2d { weight, conv, .. } => weight.dims().get(1).map(|outputs| outputs * conv.groups),
        _ => None,
    }
}

/// The layer whose output is `scale` times `op`'s plus `shift`, per channel.
fn rescaled(op: &Op, scale: Option<&Tensor>, shift: &Tensor) -> Result<Option<Op>> {
    if outputs(op).is_none_or(|outputs| shift.dims() != [outputs]) {
        return Ok(None);
    }
    // In `f64`: the products are rounded once.
    let wide = |tensor: &Tensor| tensor.to_dtype(DType::F64);
    let own = shift.dtype();
    let new_bias = |bias: &Option<Tensor>| -> Result<Option<Tensor>> {
        let scaled = match (bias, scale) {
            (Some(bias), Some(scale)) => (wide(bias)? * wide(scale)?)?,
            (Some(bias), None) => wide(bias)?,
            (None, _) => return Ok(Some(shift.clone())),
        };
        Ok(Some((scaled + wide(shift)?)?.to_dtype(own)?))
    };
    let new_weight = |weight: &Tensor, shape: Vec<usize>| -> Result<Tensor> {
        match scale {
            Some(scale) => Ok(wide(weight)?.broadcast_mul(&wide(scale)?.reshape(shape)?)?.to_dtype(own)?),
            None => Ok(weight.clone()),
        }
    };
    let per_row = |weight: &Tensor| {
        let mut shape = vec![1; weight.rank()];
        shape[0] = weight.dims()[0];
        shape
    };
    Ok(match op {
        Op::Conv2d { weight, bias, conv } => {
            Some(Op::Conv2d { weight: new_weight(weight, per_row(weight))?, bias: new_bias(bias)?, conv: *conv })
        }
        Op::Conv1d { weight, bias, conv } => {
            Some(Op::Conv1d { weight: new_weight(weight, per_row(weight))?, bias: new_bias(bias)?, conv: *conv })
        }
        Op::Linear { weight, bias } => {
            Some(Op::Linear { weight: new_weight(weight, per_row(weight))?, bias: new_bias(bias)? })
        }
        // Only without groups: there the second axis is the output's channels.
        Op::ConvTranspose2d { weight, bias, conv, output_padding } if conv.groups == 1 || scale.is_none() => {
            let shape = vec![1, weight.dims()[1], 1, 1];
            Some(Op::ConvTranspose2d {
                weight: new_weight(weight, shape)?,
                bias: new_bias(bias)?,
                conv: *conv,
                output_padding: *output_padding,
            })
        }
        _ => None,
    })
}
