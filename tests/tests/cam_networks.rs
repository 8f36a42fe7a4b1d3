//! Small networks on which laws can be exact, in f64.

use candle_core::{Device, Tensor};
use faithful_core::{LayerId, Network, Target};
use faithful_model::{Graph, GraphBuilder, NodeId, Op, portable_uniform};
use faithful_tensor::{Activation, Binary, Conv, Pool};

/// A network, its target layer, and whether a global average pool and one linear layer follow that.
pub(crate) struct Subject {
    pub(crate) name: &'static str,
    pub(crate) graph: Graph,
    pub(crate) layer: LayerId,
    pub(crate) pooled: bool,
    /// The class that wins on the photo, which makes maps that are not zero.
    pub(crate) class: Target,
}

pub(crate) fn values(name: &str, shape: &[usize], scale: f64) -> Tensor {
    let flat: Vec<f64> =
        portable_uniform(name, 5, shape.iter().product()).iter().map(|x| scale * f64::from(*x)).collect();
    Tensor::from_vec(flat, shape, &Device::Cpu).unwrap()
}

pub(crate) fn photo(rows: usize) -> Tensor {
    values("photo", &[rows, 3, 12, 10], 1.0)
}

fn conv(name: &str, inputs: usize, outputs: usize, groups: usize, bias: bool) -> Op {
    let fan = inputs / groups;
    Op::Conv2d {
        weight: values(name, &[outputs, fan, 3, 3], (2.0 / fan as f64).sqrt()),
        bias: bias.then(|| values(&format!("{name} bias"), &[outputs], 0.2)),
        conv: Conv { padding: [1; 4], groups, ..Conv::default() },
    }
}

fn linear(name: &str, inputs: usize, outputs: usize, bias: bool) -> Op {
    Op::Linear {
        weight: values(name, &[outputs, inputs], (3.0 / inputs as f64).sqrt()),
        bias: bias.then(|| values(&format!("{name} bias"), &[outputs], 0.2)),
    }
}

fn relu(builder: &mut GraphBuilder, name: &str, x: NodeId) -> NodeId {
    builder.add(name, Op::Activation(Activation::Relu), &[x])
}

fn subject(name: &'static str, builder: GraphBuilder, output: NodeId, layer: &str, pooled: bool) -> Subject {
    let graph = builder.finish(output).unwrap();
    let layer = graph.layer(layer).unwrap();
    let outputs = graph.evaluate(&photo(1), &[]).unwrap().0.squeeze(0).unwrap();
    let class = outputs.argmax(0).unwrap().to_scalar::<u32>().unwrap() as usize;
    Subject { name, graph, layer, pooled, class: Target::Output(class) }
}

/// A global average pool and one linear layer without bias.
pub(crate) fn pooled() -> Subject {
    let mut builder = GraphBuilder::new(&[3, 12, 10]);
    let x = builder.input();
    let x = builder.add("conv1", conv("pooled conv1", 3, 6, 1, true), &[x]);
    let x = relu(&mut builder, "relu1", x);
    let x = builder.add("pool", Op::MaxPool2d(Pool::default()), &[x]);
    let x = builder.add("conv2", conv("pooled conv2", 6, 8, 1, true), &[x]);
    let x = relu(&mut builder, "relu2", x);
    let x = builder.add("mean", Op::AdaptiveAvgPool2d([1, 1]), &[x]);
    let x = builder.add("flat", Op::Flatten { axis: 1 }, &[x]);
    let x = builder.add("head", linear("pooled head", 8, 4, false), &[x]);
    subject("pooled", builder, x, "relu2", true)
}

/// A head of two linear layers, as VGG's.
pub(crate) fn nonlinear() -> Subject {
    let mut builder = GraphBuilder::new(&[3, 12, 10]);
    let x = builder.input();
    let x = builder.add("conv1", conv("nonlinear conv1", 3, 6, 1, true), &[x]);
    let x = relu(&mut builder, "relu1", x);
    let x = builder.add("pool", Op::MaxPool2d(Pool::default()), &[x]);
    let x = builder.add("conv2", conv("nonlinear conv2", 6, 8, 1, true), &[x]);
    let x = relu(&mut builder, "relu2", x);
    let x = builder.add("flat", Op::Flatten { axis: 1 }, &[x]);
    let x = builder.add("head1", linear("nonlinear head1", 8 * 30, 12, true), &[x]);
    let x = relu(&mut builder, "relu3", x);
    let x = builder.add("head2", linear("nonlinear head2", 12, 4, true), &[x]);
    subject("nonlinear", builder, x, "relu2", false)
}

/// Depthwise convolutions, clipped activations and a residual sum, as `MobileNetV2`'s.
pub(crate) fn residual() -> Subject {
    let mut builder = GraphBuilder::new(&[3, 12, 10]);
    let x = builder.input();
    let x = builder.add("conv1", conv("residual conv1", 3, 6, 1, true), &[x]);
    let start = builder.add("clip1", Op::Activation(Activation::Clip { low: 0.0, high: 6.0 }), &[x]);
    let x = builder.add("depthwise", conv("residual depthwise", 6, 6, 6, true), &[start]);
    let x = builder.add("clip2", Op::Activation(Activation::Clip { low: 0.0, high: 6.0 }), &[x]);
    let x = builder.add("sum", Op::Binary(Binary::Add), &[x, start]);
    let x = builder.add("conv2", conv("residual conv2", 6, 5, 1, true), &[x]);
    let x = builder.add("clip3", Op::Activation(Activation::Clip { low: 0.0, high: 6.0 }), &[x]);
    let x = builder.add("mean", Op::AdaptiveAvgPool2d([1, 1]), &[x]);
    let x = builder.add("flat", Op::Flatten { axis: 1 }, &[x]);
    let x = builder.add("head", linear("residual head", 5, 4, true), &[x]);
    subject("residual", builder, x, "sum", false)
}

pub(crate) fn subjects() -> [Subject; 3] {
    [pooled(), nonlinear(), residual()]
}
