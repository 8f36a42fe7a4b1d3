//! Graphs of the usual blocks, with weights and choices that depend on a seed.

use crate::{Graph, GraphBuilder, NodeId, Op, portable_uniform};
use candle_core::{Device, Tensor};
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

    fn gru(&mut self, x: NodeId, [i, h]: [usize; 2], direction: Direction, reset_after: bool) -> NodeId {
        let weights = Recurrent {
            input_weight: self.weight(&[3 * h, i]),
            hidden_weight: self.weight(&[3 * h, h]),
            input_bias: (self.choose(2) == 0).then(|| self.weight(&[3 * h])),
            hidden_bias: Some(self.weight(&[3 * h])),
        };
        self.add(Op::Gru { weights, direction, reset_after }, &[x])
    }

    fn linear(&mut self, x: NodeId, [i, o]: [usize; 2]) -> NodeId {
        let (weight, bias) = (self.weight(&[o, i]), Some(self.weight(&[o])));
        self.add(Op::Linear { weight, bias }, &[x])
    }
}

impl Blocks {
    fn scaled(&mut self, x: NodeId, factor: f32) -> NodeId {
        let factor = Tensor::from_vec(vec![factor], 1, &Device::Cpu).unwrap();
        let factor = self.add(Op::Constant(factor), &[]);
        self.add(Op::Binary(Binary::Mul), &[x, factor])
    }

    fn attended(&mut self, scores: NodeId, values: NodeId) -> NodeId {
        let weights = self.add(Op::Softmax { axis: 3, log: false }, &[scores]);
        self.add(Op::MatMul, &[weights, values])
    }
}

pub(super) fn vgg_like(seed: u64) -> Graph {
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

pub(super) fn resnet_like(seed: u64) -> Graph {
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

pub(super) fn mobilenet_like(seed: u64) -> Graph {
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
pub(super) fn branches_like(seed: u64) -> Graph {
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

/// Heads of convolutions over series, whose features stand side by side in one layer, and recurrent layers behind them.
pub(super) fn series_like(seed: u64) -> Graph {
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
        let z = match head {
            0 => b.lstm(y, [6, 6], Direction::Reverse),
            _ => b.gru(y, [6, 6], Direction::Reverse, true),
        };
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
pub(super) fn gated_like(seed: u64) -> Graph {
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
pub(super) fn turning_like(seed: u64) -> Graph {
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

/// Blocks of transformers: tokens behind a class token, attention as frameworks export it in several ways (all heads from one layer,
/// batch second, windows with a bias and a mask), and layers over tokens.
pub(super) fn transformer_like(seed: u64) -> Graph {
    use crate::Dim::{Batch, Fixed, Rest, Times};
    let (heads, d, tokens) = (2, 6, 13);
    let e = heads * d;
    let (mut b, x) = Blocks::new(seed, &[3, 12, 9]);
    let x = {
        let (weight, bias) = (b.weight(&[e, 3, 3, 3]), Some(b.weight(&[e])));
        b.add(Op::Conv2d { weight, bias, conv: Conv { stride: [3; 2], ..Conv::default() } }, &[x])
    };
    let x = b.add(Op::Reshape(vec![Batch, Fixed(e), Rest]), &[x]);
    let token = b.weight(&[1, e, 1]);
    let token = b.add(Op::Constant(token), &[]);
    let token = b.add(Op::Expand(vec![Batch, Fixed(e), Fixed(1)]), &[token]);
    let x = b.add(Op::Concat { axis: 2 }, &[token, x]);
    let place = b.weight(&[1, e, tokens]);
    let place = b.add(Op::Constant(place), &[]);
    let mut x = b.add(Op::Binary(Binary::Add), &[x, place]);
    for round in 0..3 {
        let y = b.add(Op::Transpose(vec![0, 2, 1]), &[x]);
        let (weight, bias) = (Some(b.weight(&[e])), Some(b.weight(&[e])));
        let y = b.add(Op::LayerNorm { axis: 2, weight, bias, epsilon: 1e-6 }, &[y]);
        let y = match round {
            0 => {
                let y = b.linear(y, [e, 3 * e]);
                let y = b.add(Op::Identity, &[y]);
                let y = b.add(Op::Reshape(vec![Batch, Fixed(tokens), Fixed(3), Fixed(heads), Fixed(d)]), &[y]);
                let y = b.add(Op::Transpose(vec![2, 0, 3, 1, 4]), &[y]);
                let [q, k, v] = [0, 1, 2].map(|part| {
                    let part = b.add(Op::Slice { axis: 0, start: part, end: Some(part + 1), step: 1 }, &[y]);
                    b.add(Op::Squeeze(vec![0]), &[part])
                });
                let k = b.add(Op::Transpose(vec![0, 1, 3, 2]), &[k]);
                let [q, k] = [(q, 0.7), (k, 0.8)].map(|(operand, factor)| b.scaled(operand, factor));
                let scores = b.add(Op::MatMul, &[q, k]);
                let y = b.attended(scores, v);
                let y = b.add(Op::Transpose(vec![0, 2, 1, 3]), &[y]);
                b.add(Op::Reshape(vec![Batch, Fixed(tokens), Fixed(e)]), &[y])
            }
            1 => {
                let y = b.add(Op::Transpose(vec![1, 0, 2]), &[y]);
                let [q, k, v] = [0, 1, 2].map(|_| {
                    let part = b.linear(y, [e, e]);
                    let part = b.add(Op::Reshape(vec![Fixed(tokens), Times(heads), Fixed(d)]), &[part]);
                    let part = b.add(Op::Transpose(vec![1, 0, 2]), &[part]);
                    b.add(Op::Reshape(vec![Batch, Fixed(heads), Fixed(tokens), Fixed(d)]), &[part])
                });
                let k = b.add(Op::Transpose(vec![0, 1, 3, 2]), &[k]);
                let scores = b.add(Op::MatMul, &[q, k]);
                let scores = b.scaled(scores, 0.3);
                let y = b.attended(scores, v);
                let y = b.add(Op::Transpose(vec![2, 0, 1, 3]), &[y]);
                let y = b.add(Op::Reshape(vec![Times(tokens), Fixed(e)]), &[y]);
                let y = b.linear(y, [e, e]);
                let y = b.add(Op::Reshape(vec![Fixed(tokens), Batch, Fixed(e)]), &[y]);
                b.add(Op::Transpose(vec![1, 0, 2]), &[y])
            }
            _ => {
                // Windows of six of the last twelve, turned by one place before and after.
                let first = b.add(Op::Slice { axis: 1, start: 0, end: Some(1), step: 1 }, &[y]);
                let parts = [(2, 13), (1, 2)];
                let parts =
                    parts.map(|(start, end)| b.add(Op::Slice { axis: 1, start, end: Some(end), step: 1 }, &[y]));
                let turned = b.add(Op::Concat { axis: 1 }, &parts);
                let windows = b.add(Op::Reshape(vec![Times(2), Fixed(6), Fixed(e)]), &[turned]);
                let [q, k, v] = [0, 1, 2].map(|_| {
                    let part = b.linear(windows, [e, e]);
                    let part = b.add(Op::Reshape(vec![Times(2), Fixed(6), Fixed(heads), Fixed(d)]), &[part]);
                    b.add(Op::Transpose(vec![0, 2, 1, 3]), &[part])
                });
                let k = b.add(Op::Transpose(vec![0, 1, 3, 2]), &[k]);
                let scores = b.add(Op::MatMul, &[q, k]);
                let bias = b.weight(&[1, heads, 6, 6]);
                let bias = b.add(Op::Constant(bias), &[]);
                let scores = b.add(Op::Binary(Binary::Add), &[scores, bias]);
                let scores = b.add(Op::Reshape(vec![Batch, Fixed(2), Fixed(heads), Fixed(6), Fixed(6)]), &[scores]);
                let mask = b.weight(&[1, 2, 1, 6, 6]);
                let mask = b.add(Op::Constant(mask), &[]);
                let scores = b.add(Op::Binary(Binary::Add), &[mask, scores]);
                let scores = b.add(Op::Reshape(vec![Times(2), Fixed(heads), Fixed(6), Fixed(6)]), &[scores]);
                let y = b.attended(scores, v);
                let y = b.add(Op::Transpose(vec![0, 2, 1, 3]), &[y]);
                let y = b.add(Op::Reshape(vec![Times(2), Fixed(6), Fixed(e)]), &[y]);
                let y = b.linear(y, [e, e]);
                let y = b.add(Op::Reshape(vec![Batch, Fixed(12), Fixed(e)]), &[y]);
                b.add(Op::Concat { axis: 1 }, &[first, y])
            }
        };
        let y = b.linear(y, [e, e]);
        let y = b.add(Op::Identity, &[y]);
        let y = b.add(Op::Transpose(vec![0, 2, 1]), &[y]);
        x = b.add(Op::Binary(Binary::Add), &if round == 1 { [x, y] } else { [y, x] });
        let y = b.add(Op::Transpose(vec![0, 2, 1]), &[x]);
        let y = b.linear(y, [e, 20]);
        let y = b.add(Op::Identity, &[y]);
        let y = b.add(Op::Activation(Activation::Gelu), &[y]);
        let y = b.linear(y, [20, e]);
        let y = b.add(Op::Transpose(vec![0, 2, 1]), &[y]);
        x = b.add(Op::Binary(Binary::Add), &[x, y]);
    }
    let y = b.add(Op::Transpose(vec![0, 2, 1]), &[x]);
    let y = b.add(Op::Gather { axis: 1, index: vec![0] }, &[y]);
    let y = b.add(Op::Squeeze(vec![1]), &[y]);
    let y = b.linear(y, [e, 4]);
    b.builder.finish(y).unwrap()
}

/// A network whose output is another value looked at as a series of its own.
fn turned_like(seed: u64) -> Graph {
    let (mut b, x) = Blocks::new(seed, &[3, 7]);
    let y = b.conv1d(x, [3, 4], 3);
    let y = b.add(Op::Transpose(vec![0, 2, 1]), &[y]);
    b.builder.finish(y).unwrap()
}

pub(super) fn image_graphs() -> Vec<Graph> {
    (0..4)
        .flat_map(|seed| {
            [vgg_like(seed), resnet_like(seed), mobilenet_like(seed), densenet_like(seed), gated_like(seed)]
        })
        .collect()
}

pub(super) fn graphs() -> Vec<Graph> {
    let series =
        (0..4).flat_map(|seed| [series_like(seed), turned_like(seed), turning_like(seed), transformer_like(seed)]);
    image_graphs().into_iter().chain(series).collect()
}
