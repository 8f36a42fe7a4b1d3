use crate::{Graph, GraphBuilder, NodeId, Op};
use candle_core::{DType, Device, Tensor};
use faithful_core::{Error, Result};
use faithful_tensor::{Activation, Binary, Conv, Pool};
use std::collections::HashMap;

/// A network before it has weights: layers in execution order with the shapes of the tensors they need.
///
/// Both directions follow from it: what a checkpoint must hold, and the graph once the tensors are there.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    steps: Vec<Step>,
}

#[derive(Debug)]
struct Step {
    name: String,
    layer: Layer,
    inputs: Vec<NodeId>,
}

#[derive(Debug)]
enum Layer {
    Conv2d { shape: [usize; 4], bias: bool, conv: Conv },
    BatchNorm { channels: usize },
    Linear { shape: [usize; 2] },
    Weightless(Op),
}

/// A tensor that a plan needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Parameter {
    pub(crate) name: String,
    pub(crate) shape: Vec<usize>,
}

/// A convolution of a plan.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConvShape {
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
    pub(crate) kernel: usize,
    pub(crate) stride: usize,
    pub(crate) padding: usize,
    pub(crate) groups: usize,
    pub(crate) bias: bool,
}

impl ConvShape {
    /// Stride 1, "same" padding, one group, no bias.
    pub(crate) fn new(inputs: usize, outputs: usize, kernel: usize) -> Self {
        Self { inputs, outputs, kernel, stride: 1, padding: kernel / 2, groups: 1, bias: false }
    }
}

/// The small number that every batch norm of torchvision's classifiers adds to the variance.
const EPSILON: f64 = 1e-5;

impl Plan {
    /// A plan with the network's input as its only step.
    pub(crate) fn new() -> (Self, NodeId) {
        let mut plan = Self::default();
        let input = plan.push("input", Layer::Weightless(Op::Input), &[]);
        (plan, input)
    }

    fn push(&mut self, name: impl Into<String>, layer: Layer, inputs: &[NodeId]) -> NodeId {
        self.steps.push(Step { name: name.into(), layer, inputs: inputs.to_vec() });
        NodeId(self.steps.len() - 1)
    }

    fn plain(&mut self, name: impl Into<String>, op: Op, inputs: &[NodeId]) -> NodeId {
        self.push(name, Layer::Weightless(op), inputs)
    }

    pub(crate) fn conv(&mut self, name: impl Into<String>, x: NodeId, shape: ConvShape) -> NodeId {
        let ConvShape { inputs, outputs, kernel, stride, padding, groups, bias } = shape;
        let conv = Conv { stride: [stride; 2], padding: [padding; 4], dilation: [1, 1], groups };
        self.push(name, Layer::Conv2d { shape: [outputs, inputs / groups, kernel, kernel], bias, conv }, &[x])
    }

    pub(crate) fn batch_norm(&mut self, name: impl Into<String>, x: NodeId, channels: usize) -> NodeId {
        self.push(name, Layer::BatchNorm { channels }, &[x])
    }

    pub(crate) fn linear(&mut self, name: impl Into<String>, x: NodeId, inputs: usize, outputs: usize) -> NodeId {
        self.push(name, Layer::Linear { shape: [outputs, inputs] }, &[x])
    }

    pub(crate) fn relu(&mut self, name: impl Into<String>, x: NodeId) -> NodeId {
        self.plain(name, Op::Activation(Activation::Relu), &[x])
    }

    pub(crate) fn relu6(&mut self, name: impl Into<String>, x: NodeId) -> NodeId {
        self.plain(name, Op::Activation(Activation::Clip { low: 0.0, high: 6.0 }), &[x])
    }

    pub(crate) fn max_pool(&mut self, name: impl Into<String>, x: NodeId, pool: Pool) -> NodeId {
        self.plain(name, Op::MaxPool2d(pool), &[x])
    }

    pub(crate) fn avg_pool(&mut self, name: impl Into<String>, x: NodeId, pool: Pool) -> NodeId {
        self.plain(name, Op::AvgPool2d(pool), &[x])
    }

    pub(crate) fn adaptive_avg_pool(&mut self, name: impl Into<String>, x: NodeId, size: [usize; 2]) -> NodeId {
        self.plain(name, Op::AdaptiveAvgPool2d(size), &[x])
    }

    pub(crate) fn flatten(&mut self, name: impl Into<String>, x: NodeId) -> NodeId {
        self.plain(name, Op::Flatten { axis: 1 }, &[x])
    }

    pub(crate) fn add(&mut self, name: impl Into<String>, a: NodeId, b: NodeId) -> NodeId {
        self.plain(name, Op::Binary(Binary::Add), &[a, b])
    }

    pub(crate) fn concat(&mut self, name: impl Into<String>, parts: &[NodeId]) -> NodeId {
        self.plain(name, Op::Concat { axis: 1 }, parts)
    }

    /// Another name for a value: dropout, or a module that is made of modules.
    pub(crate) fn identity(&mut self, name: impl Into<String>, x: NodeId) -> NodeId {
        self.plain(name, Op::Identity, &[x])
    }

    /// The names of all layers.
    #[cfg(test)]
    pub(crate) fn names(&self) -> Vec<String> {
        self.steps.iter().map(|step| step.name.clone()).collect()
    }

    /// Every tensor that the plan needs, with torchvision's names, in execution order.
    pub(crate) fn parameters(&self) -> Vec<Parameter> {
        let mut parameters = Vec::new();
        for step in &self.steps {
            let mut needs = |suffix: &str, shape: &[usize]| {
                parameters.push(Parameter { name: format!("{}.{suffix}", step.name), shape: shape.to_vec() });
            };
            match &step.layer {
                Layer::Conv2d { shape, bias, .. } => {
                    needs("weight", shape);
                    if *bias {
                        needs("bias", &shape[..1]);
                    }
                }
                Layer::BatchNorm { channels } => {
                    for suffix in ["weight", "bias", "running_mean", "running_var"] {
                        needs(suffix, &[*channels]);
                    }
                }
                Layer::Linear { shape } => {
                    needs("weight", shape);
                    needs("bias", &shape[..1]);
                }
                Layer::Weightless(_) => {}
            }
        }
        parameters
    }

    /// The network with these tensors, which must be all of [`parameters`](Self::parameters); its output is the last
    /// step's.
    pub(crate) fn assemble(self, mut tensors: HashMap<String, Tensor>, input_shape: [usize; 3]) -> Result<Graph> {
        let mut builder = GraphBuilder::new(&input_shape);
        let mut output = builder.input();
        // The builder has its input node already, at the place where the plan has its own.
        for Step { name, layer, inputs } in self.steps.into_iter().skip(1) {
            let mut take = |suffix: &str| {
                let key = format!("{name}.{suffix}");
                tensors.remove(&key).ok_or_else(|| Error::format("weights", format!("tensor `{key}` is missing")))
            };
            let op = match layer {
                Layer::Conv2d { bias, conv, .. } => {
                    Op::Conv2d { weight: take("weight")?, bias: bias.then(|| take("bias")).transpose()?, conv }
                }
                Layer::BatchNorm { .. } => {
                    let [weight, bias] = [take("weight")?, take("bias")?];
                    let [mean, variance] = [take("running_mean")?, take("running_var")?];
                    let (scale, shift) = fold_batch_norm(&name, [&weight, &bias, &mean, &variance])?;
                    Op::BatchNorm { scale, shift }
                }
                Layer::Linear { .. } => Op::Linear { weight: take("weight")?, bias: Some(take("bias")?) },
                Layer::Weightless(op) => op,
            };
            output = builder.add(name, op, &inputs);
        }
        builder.finish(output)
    }
}

/// `scale = weight / sqrt(variance + epsilon)`, `shift = bias - mean * scale`, computed in f64.
fn fold_batch_norm(name: &str, parameters: [&Tensor; 4]) -> Result<(Tensor, Tensor)> {
    let device = parameters[0].device().clone();
    let dtype = parameters[0].dtype();
    let wide = |tensor: &Tensor| tensor.to_device(&Device::Cpu)?.to_dtype(DType::F64)?.to_vec1::<f64>();
    let [weight, bias, mean, variance] = parameters.map(wide);
    let (weight, bias, mean, variance) = (weight?, bias?, mean?, variance?);
    if let Some(channel) = variance.iter().position(|variance| variance + EPSILON <= 0.0) {
        let reason = format!("channel {channel} has variance {}, which no data can have", variance[channel]);
        return Err(Error::format(format!("{name}.running_var"), reason));
    }
    let scale: Vec<f64> = weight.iter().zip(&variance).map(|(w, v)| w / (v + EPSILON).sqrt()).collect();
    let shift: Vec<f64> = bias.iter().zip(&mean).zip(&scale).map(|((b, m), s)| b - m * s).collect();
    let narrow = |values: Vec<f64>| {
        let channels = values.len();
        Tensor::from_vec(values, channels, &Device::Cpu)?.to_dtype(dtype)?.to_device(&device)
    };
    Ok((narrow(scale)?, narrow(shift)?))
}

/// A square pooling window without dilation; the mean counts the padding, as `PyTorch`'s default.
pub(crate) fn window(kernel: usize, stride: usize, padding: usize, ceil: bool) -> Pool {
    Pool {
        kernel: [kernel; 2],
        stride: [stride; 2],
        padding: [padding; 4],
        dilation: [1, 1],
        ceil,
        count_padding: true,
    }
}
