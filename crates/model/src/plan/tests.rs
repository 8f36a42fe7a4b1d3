//! Plans against the reference implementation: values, kept layers, gradients at several taps, resumed runs.

use crate::{Graph, GraphBuilder, NodeId, Op, portable_uniform};
use candle_core::{DType, Device, Tensor};
use faithful_core::{BackwardRule, LayerId, Network, PullBack, Tap};
use faithful_tensor::{Activation, Binary, Conv, Direction, PadMode, Pool, Recurrent, Reduction};

/// Builds graphs of the usual blocks, with weights and choices that depend on the seed.
struct Blocks {
    builder: GraphBuilder,
    seed: u64,
    count: usize,
}

impl Blocks {
    fn new(seed: u64, input: &[usize]) -> (Self, NodeId) {
        let builder = GraphBuilder::new(input);
        let input = builder.input();
        (Self { builder, seed, count: 0 }, input)
    }

    fn add(&mut self, op: Op, inputs: &[NodeId]) -> NodeId {
        self.count += 1;
        self.builder.add(format!("node{}", self.count), op, inputs)
    }

    fn weight(&mut self, shape: &[usize]) -> Tensor {
        self.count += 1;
        let numbers = portable_uniform(&format!("weight{}", self.count), self.seed, shape.iter().product());
        let fan: usize = shape.iter().skip(1).product();
        (Tensor::from_vec(numbers, shape, &Device::Cpu).unwrap() * (3.0 / fan as f64).sqrt()).unwrap()
    }

    /// One of `count` choices.
    fn choose(&mut self, count: usize) -> usize {
        self.count += 1;
        let number = portable_uniform(&format!("choice{}", self.count), self.seed, 1)[0];
        ((f32::midpoint(number, 1.0) * count as f32) as usize).min(count - 1)
    }

    fn conv(&mut self, x: NodeId, [c, o]: [usize; 2], kernel: usize, stride: usize, groups: usize) -> NodeId {
        let weight = self.weight(&[o, c / groups, kernel, kernel]);
        let bias = (self.choose(2) == 0).then(|| self.weight(&[o]));
        let conv = Conv { stride: [stride; 2], padding: [kernel / 2; 4], groups, ..Conv::default() };
        self.add(Op::Conv2d { weight, bias, conv }, &[x])
    }

    /// Zeros around maps as a node of their own, as importers leave them.
    fn pad(&mut self, x: NodeId, [top, left, bottom, right]: [isize; 4]) -> NodeId {
        let pads = vec![[0, 0], [0, 0], [top, bottom], [left, right]];
        self.add(Op::Pad { pads, mode: PadMode::Constant(0.0) }, &[x])
    }

    fn norm(&mut self, x: NodeId, channels: usize) -> NodeId {
        let (scale, shift) = (self.weight(&[channels]), self.weight(&[channels]));
        self.add(Op::BatchNorm { scale, shift }, &[x])
    }

    fn relu(&mut self, x: NodeId) -> NodeId {
        self.add(Op::Activation(Activation::Relu), &[x])
    }

    fn pool(&mut self, x: NodeId, kernel: usize, stride: usize, padding: usize, maximum: bool) -> NodeId {
        let pool = Pool {
            kernel: [kernel; 2],
            stride: [stride; 2],
            padding: [padding; 4],
            dilation: [1, 1],
            ceil: self.choose(2) == 0,
            count_padding: self.choose(2) == 0,
        };
        self.add(if maximum { Op::MaxPool2d(pool) } else { Op::AvgPool2d(pool) }, &[x])
    }

    fn conv1d(&mut self, x: NodeId, [c, o]: [usize; 2], kernel: usize) -> NodeId {
        let (weight, bias) = (self.weight(&[o, c, kernel]), Some(self.weight(&[o])));
        let conv = Conv { padding: [0, kernel / 2, 0, kernel / 2], ..Conv::default() };
        self.add(Op::Conv1d { weight, bias, conv }, &[x])
    }

    fn lstm(&mut self, x: NodeId, [i, h]: [usize; 2], direction: Direction) -> NodeId {
        let weights = Recurrent {
            input_weight: self.weight(&[4 * h, i]),
            hidden_weight: self.weight(&[4 * h, h]),
            input_bias: Some(self.weight(&[4 * h])),
            hidden_bias: (self.choose(2) == 0).then(|| self.weight(&[4 * h])),
        };
        self.add(Op::Lstm { weights, direction }, &[x])
    }

    fn linear(&mut self, x: NodeId, [i, o]: [usize; 2]) -> NodeId {
        let (weight, bias) = (self.weight(&[o, i]), Some(self.weight(&[o])));
        self.add(Op::Linear { weight, bias }, &[x])
    }
}

fn vgg_like(seed: u64) -> Graph {
    let (mut b, x) = Blocks::new(seed, &[3, 19, 22]);
    let mut x = x;
    let mut channels = 3;
    for width in [20, 40] {
        for _ in 0..=b.choose(2) {
            x = b.conv(x, [channels, width], 3, 1, 1);
            channels = width;
            if b.choose(2) == 0 {
                x = b.norm(x, width);
            }
            x = b.relu(x);
        }
        x = b.pool(x, 2, 2, 0, true);
    }
    x = b.add(Op::AdaptiveAvgPool2d([3, 2]), &[x]);
    x = b.add(Op::Flatten { axis: 1 }, &[x]);
    x = b.linear(x, [240, 30]);
    x = b.relu(x);
    x = b.add(Op::Identity, &[x]);
    x = b.linear(x, [30, 7]);
    b.builder.finish(x).unwrap()
}

fn resnet_like(seed: u64) -> Graph {
    let (mut b, x) = Blocks::new(seed, &[3, 33, 30]);
    let x = b.conv(x, [3, 24], 7, 2, 1);
    let x = b.norm(x, 24);
    let x = b.relu(x);
    let mut x = b.pool(x, 3, 2, 1, true);
    for (c, o, stride) in [(24, 24, 1), (24, 36, 2), (36, 36, 1)] {
        let y = b.conv(x, [c, 18], 1, 1, 1);
        let y = b.norm(y, 18);
        let y = b.relu(y);
        let y = b.conv(y, [18, 18], 3, stride, 1);
        let y = b.norm(y, 18);
        let y = b.relu(y);
        let y = b.conv(y, [18, o], 1, 1, 1);
        let y = b.norm(y, o);
        let shortcut = if c == o && stride == 1 {
            x
        } else {
            let shortcut = b.conv(x, [c, o], 1, stride, 1);
            b.norm(shortcut, o)
        };
        let sum = if b.choose(2) == 0 { [y, shortcut] } else { [shortcut, y] };
        let sum = b.add(Op::Binary(Binary::Add), &sum);
        x = b.relu(sum);
    }
    let x = b.add(Op::AdaptiveAvgPool2d([1, 1]), &[x]);
    let x = b.add(Op::Flatten { axis: 1 }, &[x]);
    let x = b.linear(x, [36, 9]);
    b.builder.finish(x).unwrap()
}

fn mobilenet_like(seed: u64) -> Graph {
    let relu6 = || Op::Activation(Activation::Clip { low: 0.0, high: 1.5 });
    let (mut b, x) = Blocks::new(seed, &[3, 24, 17]);
    let x = b.pad(x, [0, 1, 1, 0]);
    let x = b.conv(x, [3, 8], 3, 2, 1);
    let x = b.norm(x, 8);
    let mut x = b.add(relu6(), &[x]);
    for (c, o, stride) in [(8, 12, 1), (12, 12, 1), (12, 20, 2), (20, 20, 1)] {
        let wide = c * 3;
        let y = b.conv(x, [c, wide], 1, 1, 1);
        let y = b.norm(y, wide);
        let y = b.add(relu6(), &[y]);
        let kernel = 3 + 2 * b.choose(2);
        let y = if stride == 2 { b.pad(y, [1, 0, 2, 1]) } else { y };
        let y = b.conv(y, [wide, wide], kernel, stride, wide);
        let y = b.norm(y, wide);
        let y = b.add(relu6(), &[y]);
        let y = b.conv(y, [wide, o], 1, 1, 1);
        let y = b.norm(y, o);
        x = if c == o && stride == 1 { b.add(Op::Binary(Binary::Add), &[x, y]) } else { y };
    }
    let x = b.pad(x, [1, 2, 0, 1]);
    let x = b.conv(x, [20, 20], 3, 1, 1);
    let x = b.add(Op::Reduce { axes: vec![2, 3], keep: false, reduction: Reduction::Mean }, &[x]);
    let x = b.linear(x, [20, 5]);
    b.builder.finish(x).unwrap()
}

fn densenet_like(seed: u64) -> Graph {
    let (mut b, x) = Blocks::new(seed, &[3, 14, 14]);
    let mut features = vec![b.conv(x, [3, 16], 3, 1, 1)];
    let mut channels = 16;
    for _ in 0..3 {
        let x = b.add(Op::Concat { axis: 1 }, &features);
        let x = b.norm(x, channels);
        let x = b.relu(x);
        let x = b.conv(x, [channels, 24], 1, 1, 1);
        let x = b.norm(x, 24);
        let x = b.relu(x);
        features.push(b.conv(x, [24, 20], 3, 1, 1));
        channels += 20;
    }
    let x = b.add(Op::Concat { axis: 1 }, &features);
    let x = b.norm(x, channels);
    let x = b.relu(x);
    let x = b.pool(x, 2, 2, 0, false);
    // Operations without a kernel of their own, in between.
    let x = b.add(Op::Activation(Activation::Silu), &[x]);
    let gate = b.add(Op::AdaptiveAvgPool2d([1, 1]), &[x]);
    let gate = b.conv(gate, [channels, channels], 1, 1, 1);
    let gate = b.add(Op::Activation(Activation::Sigmoid), &[gate]);
    let x = b.add(Op::Binary(Binary::Mul), &[x, gate]);
    let x = b.add(Op::AdaptiveMaxPool2d([2, 2]), &[x]);
    let x = b.add(Op::Reshape(vec![crate::Dim::Batch, crate::Dim::Rest]), &[x]);
    let x = b.linear(x, [channels * 4, 6]);
    let x = b.add(Op::Softmax { axis: 1, log: false }, &[x]);
    b.builder.finish(x).unwrap()
}

/// Linear layers whose outputs stand side by side before another one reads them.
fn branches_like(seed: u64) -> Graph {
    let (mut b, x) = Blocks::new(seed, &[2, 6, 6]);
    let x = b.conv(x, [2, 5], 3, 1, 1);
    let x = b.relu(x);
    let x = b.add(Op::Flatten { axis: 1 }, &[x]);
    let first = b.linear(x, [180, 1]);
    let hidden = b.linear(x, [180, 7]);
    let hidden = b.relu(hidden);
    let second = b.linear(hidden, [7, 3]);
    let x = b.add(Op::Concat { axis: 1 }, &[first, second]);
    let x = b.linear(x, [4, 2]);
    b.builder.finish(x).unwrap()
}

/// Heads of convolutions over series, whose features stand side by side in one layer, and LSTMs behind them.
fn series_like(seed: u64) -> Graph {
    let (mut b, x) = Blocks::new(seed, &[3, 14]);
    let trend = b.weight(&[14, 14]);
    let trend = b.add(Op::Constant(trend), &[]);
    let trend = b.add(Op::MatMul, &[x, trend]);
    let x = b.add(Op::Concat { axis: 1 }, &[x, trend]);
    let mut heads = Vec::new();
    for _ in 0..2 {
        let y = b.conv1d(x, [6, 5], 3);
        let y = b.relu(y);
        let z = b.conv1d(y, [5, 5], 5);
        let z = if b.choose(2) == 0 { b.norm(z, 5) } else { z };
        let z = b.add(Op::Binary(Binary::Add), &[z, y]);
        heads.push(b.relu(z));
    }
    let features = b.add(Op::Concat { axis: 1 }, &heads);
    let mut states = Vec::new();
    for head in 0..2 {
        let y = b.add(Op::Slice { axis: 1, start: head * 5, end: Some(head * 5 + 5), step: 1 }, &[features]);
        let y = b.add(Op::Unsqueeze(vec![2]), &[y]);
        let pool = Pool { kernel: [1, 2], stride: [1, 2], ..Pool::default() };
        let y = b.add(Op::MaxPool2d(pool), &[y]);
        let y = b.add(Op::Squeeze(vec![2]), &[y]);
        let y = b.add(Op::Transpose(vec![0, 2, 1]), &[y]);
        let y = b.add(Op::Identity, &[y]);
        let ways = [Direction::Forward, Direction::Reverse].map(|direction| b.lstm(y, [5, 3], direction));
        let y = b.add(Op::Concat { axis: 2 }, &ways);
        let z = b.lstm(y, [6, 6], Direction::Reverse);
        let y = b.add(Op::Binary(Binary::Add), &[y, z]);
        // Back to series with their channels first, which a convolution reads.
        let z = b.add(Op::Transpose(vec![0, 2, 1]), &[y]);
        let z = b.conv1d(z, [6, 4], 3);
        let z = b.add(Op::Activation(Activation::Tanh), &[z]);
        for node in [y, z] {
            states.push(b.add(Op::Flatten { axis: 1 }, &[node]));
        }
    }
    let x = b.add(Op::Concat { axis: 1 }, &states);
    let x = b.linear(x, [140, 4]);
    let x = b.relu(x);
    let most = b.add(Op::Slice { axis: 1, start: 1, end: None, step: 1 }, &[x]);
    let x = b.add(Op::Concat { axis: 1 }, &[x, most]);
    let x = b.linear(x, [7, 2]);
    b.builder.finish(x).unwrap()
}

/// Blocks of `EfficientNet`'s kind: gates per channel, activations that do not clamp, numbers that scale and shift.
fn gated_like(seed: u64) -> Graph {
    let (mut b, x) = Blocks::new(seed, &[3, 16, 13]);
    let kinds = [Activation::Silu, Activation::HardSwish, Activation::Gelu, Activation::Sigmoid, Activation::Mish];
    let mut x = b.conv(x, [3, 12], 3, 2, 1);
    for round in 0..3 {
        let kind = kinds[b.choose(kinds.len())];
        let y = b.conv(x, [12, 24], 1, 1, 1);
        let y = b.add(Op::Activation(kind), &[y]);
        let y = b.conv(y, [24, 24], 3, 1, 24);
        let y = b.norm(y, 24);
        let y = b.add(Op::Activation(kind), &[y]);
        let gate = b.add(Op::AdaptiveAvgPool2d([1, 1]), &[y]);
        let gate = b.conv(gate, [24, 6], 1, 1, 1);
        let gate = b.add(Op::Activation(kind), &[gate]);
        let gate = b.conv(gate, [6, 24], 1, 1, 1);
        let gate = b.add(Op::Activation(Activation::HardSigmoid { alpha: 0.2, beta: 0.5 }), &[gate]);
        let y = b.add(Op::Binary(Binary::Mul), &if round == 1 { [gate, y] } else { [y, gate] });
        let y = b.conv(y, [24, 12], 1, 1, 1);
        let number = b.weight(if round == 0 { &[12, 1, 1] } else { &[1] });
        let number = b.add(Op::Constant(number), &[]);
        let operation = [Binary::Mul, Binary::Sub, Binary::Add][round];
        let y = b.add(Op::Binary(operation), &if round == 1 { [number, y] } else { [y, number] });
        x = b.add(Op::Binary(Binary::Add), &[x, y]);
    }
    let square = b.add(Op::Binary(Binary::Mul), &[x, x]);
    let x = b.add(Op::Reduce { axes: vec![2, 3], keep: false, reduction: Reduction::Mean }, &[square]);
    let x = b.linear(x, [12, 5]);
    b.builder.finish(x).unwrap()
}

/// Blocks of `ConvNeXt`'s kind: channels are last where pixels are normalised and multiplied.
fn turning_like(seed: u64) -> Graph {
    let (mut b, x) = Blocks::new(seed, &[3, 12, 9]);
    let mut x = b.conv(x, [3, 10], 3, 1, 1);
    for round in 0..3 {
        let y = b.conv(x, [10, 10], 7, 1, 10);
        let y = b.add(Op::Transpose(vec![0, 2, 3, 1]), &[y]);
        let (weight, bias) = (Some(b.weight(&[10])), (b.choose(2) == 0).then(|| b.weight(&[10])));
        let normal = b.add(Op::LayerNorm { axis: 3, weight, bias, epsilon: 1e-6 }, &[y]);
        let y = b.linear(normal, [10, 30]);
        let y = b.add(Op::Activation(if round == 1 { Activation::Relu } else { Activation::Gelu }), &[y]);
        let y = b.linear(y, [30, 10]);
        let y = if round == 2 { b.add(Op::Binary(Binary::Add), &[y, normal]) } else { y };
        let y = b.add(Op::Transpose(vec![0, 3, 1, 2]), &[y]);
        let scale = b.weight(&[10, 1, 1]);
        let scale = b.add(Op::Constant(scale), &[]);
        let y = b.add(Op::Binary(Binary::Mul), &[scale, y]);
        x = b.add(Op::Binary(Binary::Add), &[y, x]);
    }
    // Channels last, seen as rows of pixels.
    let y = b.add(Op::Transpose(vec![0, 2, 3, 1]), &[x]);
    let y = b.add(Op::Reshape(vec![crate::Dim::Batch, crate::Dim::Fixed(108), crate::Dim::Rest]), &[y]);
    let y = b.linear(y, [10, 4]);
    let y = b.add(Op::Transpose(vec![0, 2, 1]), &[y]);
    let y = b.conv1d(y, [4, 3], 5);
    let y = b.add(Op::Reduce { axes: vec![2], keep: false, reduction: Reduction::Mean }, &[y]);
    b.builder.finish(y).unwrap()
}

/// A network whose output is another value looked at as a series of its own.
fn turned_like(seed: u64) -> Graph {
    let (mut b, x) = Blocks::new(seed, &[3, 7]);
    let y = b.conv1d(x, [3, 4], 3);
    let y = b.add(Op::Transpose(vec![0, 2, 1]), &[y]);
    b.builder.finish(y).unwrap()
}

fn image_graphs() -> Vec<Graph> {
    (0..4)
        .flat_map(|seed| {
            [vgg_like(seed), resnet_like(seed), mobilenet_like(seed), densenet_like(seed), gated_like(seed)]
        })
        .collect()
}

fn graphs() -> Vec<Graph> {
    let series = (0..4).flat_map(|seed| [series_like(seed), turned_like(seed), turning_like(seed)]);
    image_graphs().into_iter().chain(series).collect()
}

/// The layers that may be asked for: constants are none.
fn layers(graph: &Graph) -> Vec<LayerId> {
    let is_layer = |node: &usize| !matches!(graph.nodes()[*node].op, Op::Constant(_));
    (0..graph.nodes().len()).filter(is_layer).map(LayerId).collect()
}

fn input(graph: &Graph, rows: usize, seed: u64) -> Tensor {
    let shape: Vec<usize> = std::iter::once(rows).chain(graph.nominal_input().iter().copied()).collect();
    let numbers = portable_uniform("input", seed, shape.iter().product());
    Tensor::from_vec(numbers, shape, &Device::Cpu).unwrap()
}

fn far(a: &Tensor, b: &Tensor) -> f64 {
    assert_eq!(a.dims(), b.dims());
    let f64s = |x: &Tensor| x.flatten_all().unwrap().to_dtype(DType::F64).unwrap().to_vec1::<f64>().unwrap();
    let (a, b) = (f64s(a), f64s(b));
    let difference: f64 = a.iter().zip(&b).map(|(a, b)| (a - b).powi(2)).sum();
    (difference / b.iter().map(|b| b * b).sum::<f64>().max(1e-20)).sqrt()
}

#[test]
fn all_layers_are_those_of_the_reference() {
    for graph in graphs() {
        let x = input(&graph, 2, 1);
        let reference = graph.on_candle();
        let all = layers(&graph);
        let (expected, expected_layers) = reference.evaluate(&x, &all).unwrap();
        let of = |layer: &LayerId| &expected_layers[all.iter().position(|one| one == layer).unwrap()];
        // Nothing fused, everything fused, and a few layers kept.
        let some: Vec<LayerId> = all.iter().copied().filter(|layer| layer.0 % 5 == 3).collect();
        for kept in [&all, &some, &Vec::new()] {
            let (output, layers) = graph.evaluate(&x, kept).unwrap();
            assert!(far(&output, &expected) < 1e-5);
            for (layer, value) in kept.iter().zip(&layers) {
                let distance = far(value, of(layer));
                assert!(distance < 1e-5, "{}: {distance:e}", graph.layers()[layer.0].name);
            }
        }
        let layers = graph.activations(&x, &some).unwrap();
        for (layer, value) in some.iter().zip(&layers) {
            assert!(far(value, of(layer)) < 1e-5);
        }
    }
}

#[test]
fn gradients_are_those_of_the_reference() {
    for (number, graph) in graphs().into_iter().enumerate() {
        let rule = [BackwardRule::Plain, BackwardRule::Guided, BackwardRule::Deconvnet][number / 4 % 3];
        let graph = graph.with_rule(rule);
        let x = input(&graph, 2, 2);
        let reference = graph.on_candle();
        let every: Vec<Tap> = layers(&graph).into_iter().skip(1).map(Tap::Layer).chain([Tap::Input]).collect();
        let some: Vec<Tap> = every.iter().copied().skip(number % 3).step_by(4).collect();
        let upper: Vec<Tap> = every[every.len() / 2..every.len() - 1].iter().copied().step_by(3).collect();
        for taps in [vec![Tap::Input], some, upper, every] {
            for cotangents in 1..3 {
                let mut make = |output: &Tensor| {
                    let make = |i: u64| {
                        let numbers = portable_uniform("cotangent", i, output.elem_count());
                        Ok(Tensor::from_vec(numbers, output.dims(), &Device::Cpu)?)
                    };
                    (0..cotangents).map(make).collect()
                };
                let expected = reference.pull_back(&x, &taps, &mut make).unwrap();
                let got = graph.pull_back(&x, &taps, &mut make).unwrap();
                assert!(far(&got.output, &expected.output) < 1e-5);
                for (i, tap) in taps.iter().enumerate() {
                    assert!(far(&got.values[i], &expected.values[i]) < 1e-5);
                    for (got, expected) in got.gradients.iter().zip(&expected.gradients) {
                        let distance = far(&got[i], &expected[i]);
                        assert!(distance < 2e-5, "graph {number}, {tap:?} of {taps:?}, {rule:?}: {distance:e}");
                    }
                }
            }
        }
    }
}

/// The gradient of a part of a concatenation has gaps between its rows.
#[test]
fn linear_layers_side_by_side_get_their_own_gradients() {
    let graph = branches_like(3);
    let x = input(&graph, 3, 2);
    let every: Vec<Tap> = (1..graph.nodes().len()).map(|node| Tap::Layer(LayerId(node))).chain([Tap::Input]).collect();
    for taps in [vec![Tap::Input], every] {
        let mut make = |output: &Tensor| {
            let numbers = portable_uniform("cotangent", 0, output.elem_count());
            Ok(vec![Tensor::from_vec(numbers, output.dims(), &Device::Cpu)?])
        };
        let expected = graph.on_candle().pull_back(&x, &taps, &mut make).unwrap();
        let got = graph.pull_back(&x, &taps, &mut make).unwrap();
        assert!(far(&got.output, &expected.output) < 1e-5);
        for (got, expected) in got.gradients[0].iter().zip(&expected.gradients[0]) {
            assert!(far(got, expected) < 2e-5);
        }
    }
}

#[test]
fn resuming_at_any_layer_gives_the_output() {
    for graph in graphs() {
        let x = input(&graph, 3, 3);
        let reference = graph.on_candle();
        for LayerId(node) in layers(&graph) {
            let value = &reference.activations(&x, &[LayerId(node)]).unwrap()[0];
            match (graph.resume(LayerId(node), value), reference.resume(LayerId(node), value)) {
                (Some(got), Some(expected)) => assert!(far(&got.unwrap(), &expected.unwrap()) < 1e-5),
                (got, expected) => assert_eq!(got.is_some(), expected.is_some()),
            }
        }
    }
}

/// From any layer that all paths lead through, to that layer and one behind it: batches that stop at the layer and go on
/// from there together give what whole passes give.
#[test]
fn pulling_back_from_a_layer_changes_no_bit() {
    let mut starts = 0;
    for graph in graphs() {
        let x = input(&graph, 5, 3);
        let last = LayerId(graph.output().0);
        let mut ones = |output: &Tensor| Ok(vec![output.ones_like()?, (output * 2.0)?]);
        for LayerId(node) in layers(&graph).into_iter().skip(1) {
            let (layer, taps) = (LayerId(node), [Tap::Layer(LayerId(node)), Tap::Layer(last)]);
            if !graph.can_pull_back_from(layer, &taps) {
                continue;
            }
            starts += 1;
            let whole = graph.pull_back(&x, &taps, &mut ones).unwrap();
            let parts = [0..2, 2..5].map(|rows: std::ops::Range<usize>| {
                let part = x.narrow(0, rows.start, rows.len()).unwrap();
                graph.activations(&part, &[layer]).unwrap().remove(0)
            });
            let activation = Tensor::cat(&parts, 0).unwrap();
            let resumed = graph.pull_back_from(layer, &activation, &taps, &mut ones).unwrap();
            let all = |back: PullBack| -> Vec<Vec<f32>> {
                let tensors = back.values.into_iter().chain(back.gradients.into_iter().flatten()).chain([back.output]);
                tensors.map(|one| one.flatten_all().unwrap().to_vec1().unwrap()).collect()
            };
            assert_eq!(all(resumed), all(whole), "{}", graph.nodes()[node].name);
        }
    }
    assert!(starts > 20, "{starts}");
}

#[test]
fn rows_and_memory_do_not_matter() {
    let graph = mobilenet_like(9);
    let x = input(&graph, 5, 4);
    let whole = graph.evaluate(&x, &[]).unwrap().0;
    for row in 0..5 {
        let one = graph.evaluate(&x.narrow(0, row, 1).unwrap(), &[]).unwrap().0;
        assert_eq!(one.to_vec2::<f32>().unwrap()[0], whole.to_vec2::<f32>().unwrap()[row]);
    }
    // A view that is not contiguous, another size, and the first again in used memory.
    let turned = x.transpose(2, 3).unwrap();
    let expected = graph.on_candle().evaluate(&turned, &[]).unwrap().0;
    assert!(far(&graph.evaluate(&turned, &[]).unwrap().0, &expected) < 1e-5);
    assert_eq!(graph.evaluate(&x, &[]).unwrap().0.to_vec2::<f32>().unwrap(), whole.to_vec2::<f32>().unwrap());
}

/// In tests even small maps are taken apart: values and gradients of a batch, in lanes of uneven length, are those of
/// its rows to the last bit, in memory that an earlier run used.
#[test]
fn rows_that_run_apart_are_those_that_run_alone() {
    for graph in [vgg_like(11), resnet_like(12), mobilenet_like(13), gated_like(14)] {
        let x = input(&graph, 5, 6);
        let run = |x: &Tensor| {
            let mut cotangents = |y: &Tensor| Ok(vec![y.ones_like()?, (y * 2.0)?]);
            let pulled = graph.pull_back(x, &[Tap::Input], &mut cotangents).unwrap();
            let gradients = pulled.gradients.iter().map(|gradients| gradients[0].clone());
            std::iter::once(pulled.output.clone()).chain(gradients).collect::<Vec<_>>()
        };
        let all = run(&x);
        for row in [0, 3, 4] {
            let row_of = |x: &Tensor| x.narrow(0, row, 1).unwrap();
            let flat = |x: &Tensor| x.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            for (alone, all) in run(&row_of(&x)).iter().zip(&all) {
                assert_eq!(flat(alone), flat(&row_of(all)));
            }
        }
        let plans = graph.prepared.as_deref().unwrap().plans.lock().unwrap();
        let apart = |plan: &super::Plan| {
            !plan.lanes.is_empty() && plan.back.as_ref().is_some_and(|back| !back.lanes.is_empty())
        };
        assert!(plans.iter().any(|(request, plan)| request.dims[0] == 5 && apart(plan)));
    }
}

/// What has no kernel goes through copies and candle, an order of magnitude slower: only what is said here does.
#[test]
fn few_operations_go_by_the_reference() {
    use super::step::Work;
    for (graph, expected) in
        [(series_like(1), vec!["matmul"]), (gated_like(1), vec![]), (turning_like(1), vec!["reduce"])]
    {
        let x = input(&graph, 3, 1);
        let mut ones = |output: &Tensor| Ok(vec![output.ones_like()?]);
        graph.pull_back(&x, &[Tap::Input], &mut ones).unwrap();
        let plans = graph.prepared.as_deref().unwrap().plans.lock().unwrap();
        let plan = plans.values().next().unwrap();
        let by_reference = |step: &super::Step| match &step.work {
            Work::Generic { node, .. } => Some(match node.op {
                Op::MatMul => "matmul",
                Op::Reduce { .. } => "reduce",
                _ => "another",
            }),
            _ => None,
        };
        let found: Vec<&str> = plan.steps.iter().chain(plan.lanes.iter().flatten()).filter_map(by_reference).collect();
        assert_eq!(found, expected);
    }
}

/// Rows that each differ from the one before in a few cells, and now and then in none or in all.
fn similar_rows(graph: &Graph, rows: usize) -> Tensor {
    let [channels, height, width] = graph.nominal_input() else { panic!("an image") };
    let cells = height * width;
    let mut row = portable_uniform("first", 0, channels * cells);
    let mut all = Vec::new();
    for step in 0..rows {
        let numbers = portable_uniform("next", step as u64, channels * cells);
        let changes = [1, 3, 0, 5, cells, 2, 4][step % 7];
        for change in 0..changes {
            let cell = (step * 131 + change * 7) % cells;
            for channel in 0..*channels {
                row[channel * cells + cell] = numbers[channel * cells + cell];
            }
        }
        all.extend_from_slice(&row);
    }
    Tensor::from_vec(all, (rows, *channels, *height, *width), &Device::Cpu).unwrap()
}

#[test]
fn similar_rows_are_computed_as_any_rows() {
    let bits = |x: &Tensor| -> Vec<u32> {
        x.flatten_all().unwrap().to_vec1::<f32>().unwrap().into_iter().map(f32::to_bits).collect()
    };
    let mut followed = 0;
    for graph in image_graphs() {
        for rows in [1, 8, 23] {
            let x = similar_rows(&graph, rows);
            let (expected, got) = (graph.evaluate(&x, &[]).unwrap().0, graph.evaluate_similar(&x).unwrap());
            assert_eq!(got.dims(), expected.dims());
            assert_eq!(bits(&got), bits(&expected), "{rows} rows");
            followed += usize::from(crate::plan::of(&graph).unwrap().run_similar(&x).unwrap().is_some());
        }
    }
    // All networks begin with convolutions; a single row is like no other.
    assert_eq!(followed, 2 * image_graphs().len());
}

#[test]
fn other_weights_are_other_kernels() {
    let graph = vgg_like(5);
    let x = input(&graph, 1, 5);
    let before = graph.evaluate(&x, &[]).unwrap().0;
    let twice = graph.map_weights(|_, weight| Ok((weight * 2.0)?)).unwrap();
    let after = twice.evaluate(&x, &[]).unwrap().0;
    assert!(far(&after, &twice.on_candle().evaluate(&x, &[]).unwrap().0) < 1e-5);
    assert!(far(&after, &before) > 0.1);
}

#[test]
fn a_wrong_shape_is_said_in_words() {
    let graph = vgg_like(6);
    let error = graph.evaluate(&Tensor::zeros((1, 4, 19, 22), DType::F32, &Device::Cpu).unwrap(), &[]).unwrap_err();
    assert!(error.to_string().contains("node"), "{error}");
}
