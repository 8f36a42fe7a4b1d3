//! The default layer of small networks of each kind.

use crate::{Dim, Graph, GraphBuilder, NodeId, Op};
use candle_core::{Device, Tensor};
use faithful_core::Network;
use faithful_tensor::{Activation, Binary, Conv, Pool};

const CHANNELS: usize = 8;
/// Patches of an image of 16 by 16 pixels.
const PATCHES: usize = 16;

fn values(shape: &[usize]) -> Tensor {
    Tensor::rand(-1f32, 1., shape, &Device::Cpu).unwrap()
}

fn conv(inputs: usize, outputs: usize, kernel: usize, stride: usize) -> Op {
    let padding = [if stride == 1 { kernel / 2 } else { 0 }; 4];
    let conv = Conv { stride: [stride; 2], padding, ..Conv::default() };
    Op::Conv2d { weight: values(&[outputs, inputs, kernel, kernel]), bias: None, conv }
}

fn linear(inputs: usize, outputs: usize) -> Op {
    Op::Linear { weight: values(&[outputs, inputs]), bias: None }
}

fn norm() -> Op {
    Op::LayerNorm { axis: 2, weight: None, bias: None, epsilon: 1e-5 }
}

fn batch_norm(channels: usize) -> Op {
    Op::BatchNorm { scale: values(&[channels]), shift: values(&[channels]) }
}

fn relu() -> Op {
    Op::Activation(Activation::Relu)
}

fn add() -> Op {
    Op::Binary(Binary::Add)
}

fn tokens_first() -> Op {
    Op::Transpose(vec![0, 2, 1])
}

/// A network under construction.
struct Net(GraphBuilder, NodeId);

impl Net {
    fn new() -> Self {
        let builder = GraphBuilder::new(&[3, 16, 16]);
        let input = builder.input();
        Self(builder, input)
    }

    /// Appends `op` behind the last node.
    fn then(&mut self, name: &str, op: Op) -> NodeId {
        self.1 = self.0.add(name, op, &[self.1]);
        self.1
    }

    fn join(&mut self, name: &str, op: Op, inputs: &[NodeId]) -> NodeId {
        self.1 = self.0.add(name, op, inputs);
        self.1
    }

    /// `(N, T, C)` tokens of patches of 4 by 4 pixels, behind `prefix` others.
    fn patches(&mut self, prefix: isize) {
        self.then("patches", conv(3, CHANNELS, 4, 4));
        self.then("flat", Op::Reshape(vec![Dim::Batch, Dim::Fixed(CHANNELS), Dim::Rest]));
        self.then("tokens", tokens_first());
        let pads = vec![[0, 0], [prefix, 0], [0, 0]];
        self.then("class token", Op::Pad { pads, mode: faithful_tensor::PadMode::Constant(0.0) });
    }

    /// Attention over `(N, T, C)`, `normalized` as `LeViT`'s within its projection.
    fn attention(&mut self, name: &str, normalized: bool) {
        let mut x = self.then(&format!("{name}.qkv"), linear(CHANNELS, 3 * CHANNELS));
        if normalized {
            self.then(&format!("{name}.turned"), tokens_first());
            self.then(&format!("{name}.bn"), batch_norm(3 * CHANNELS));
            x = self.then(&format!("{name}.back"), tokens_first());
        }
        let [query, key, value] = [0, 1, 2].map(|part| {
            let (start, end) = (part * CHANNELS, Some((part + 1) * CHANNELS));
            self.join(&format!("{name}.{part}"), Op::Slice { axis: 2, start, end, step: 1 }, &[x])
        });
        let turned = self.join(&format!("{name}.keys"), tokens_first(), &[key]);
        self.join(&format!("{name}.scores"), Op::MatMul, &[query, turned]);
        let weights = self.then(&format!("{name}.softmax"), Op::Softmax { axis: 2, log: false });
        self.join(&format!("{name}.values"), Op::MatMul, &[weights, value]);
        self.then(&format!("{name}.out"), linear(CHANNELS, CHANNELS));
    }

    /// A block of two residual branches; `kind` says where it normalises.
    fn block(&mut self, name: &str, kind: Normalised) {
        for branch in ["attention", "perceptron"] {
            let around = self.1;
            if kind == Normalised::Before {
                self.then(&format!("{name}.{branch}.norm"), norm());
            }
            if branch == "attention" {
                self.attention(&format!("{name}.{branch}"), kind == Normalised::Within);
            } else {
                self.then(&format!("{name}.up"), linear(CHANNELS, 16));
                self.then(&format!("{name}.gelu"), Op::Activation(Activation::Gelu));
                self.then(&format!("{name}.down"), linear(16, CHANNELS));
            }
            if kind == Normalised::InTheBranch {
                self.then(&format!("{name}.{branch}.norm"), norm());
            }
            self.join(&format!("{name}.{branch}.sum"), add(), &[around, self.1]);
            if kind == Normalised::Behind {
                self.then(&format!("{name}.{branch}.norm"), norm());
            }
        }
    }

    /// The mean of all tokens, or the first.
    fn finish(mut self, class_token: bool) -> Graph {
        if class_token {
            self.then("first", Op::Slice { axis: 1, start: 0, end: Some(1), step: 1 });
            self.then("class", Op::Squeeze(vec![1]));
        } else {
            let reduction = faithful_tensor::Reduction::Mean;
            self.then("mean", Op::Reduce { axes: vec![1], keep: false, reduction });
        }
        self.head()
    }

    fn pooled(mut self) -> Graph {
        self.then("pool", Op::AdaptiveAvgPool2d([1, 1]));
        self.then("vector", Op::Flatten { axis: 1 });
        self.head()
    }

    fn head(mut self) -> Graph {
        let output = self.then("head", linear(CHANNELS, 3));
        self.0.finish(output).unwrap()
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Normalised {
    Before,
    Behind,
    InTheBranch,
    Within,
}

fn assert_target(graph: &Graph, name: &str) {
    let target = graph.target_layer().unwrap();
    assert_eq!(graph.layers()[target.0].name, name);
}

#[test]
fn transformers_are_explained_at_the_last_normalisation_before_the_last_attention() {
    for (kind, prefix, expected) in [
        (Normalised::Before, 1, "last.attention.norm"),
        (Normalised::Before, 0, "last.attention.norm"),
        (Normalised::Behind, 2, "first.perceptron.norm"),
        (Normalised::InTheBranch, 0, "first.perceptron.sum"),
        (Normalised::Within, 0, "first.perceptron.sum"),
    ] {
        let mut net = Net::new();
        net.patches(prefix);
        net.block("first", kind);
        net.block("last", kind);
        net.then("norm", norm());
        assert_target(&net.finish(prefix > 0), expected);
    }
}

/// Swin: a map (h, w, C) is normalised, and cut into windows for the attention alone.
#[test]
fn tokens_that_lie_as_a_map_with_its_channels_last_are_found() {
    let map = |net: &mut Net, name: &str| {
        let sides = [4, 4, CHANNELS].map(Dim::Fixed);
        net.then(name, Op::Reshape([&[Dim::Batch][..], &sides].concat()))
    };
    let mut net = Net::new();
    net.patches(0);
    let around = map(&mut net, "map");
    net.then("norm", Op::LayerNorm { axis: 3, weight: None, bias: None, epsilon: 1e-5 });
    let windows = [Dim::Fixed(PATCHES), Dim::Fixed(CHANNELS)];
    net.then("windows", Op::Reshape([&[Dim::Batch][..], &windows].concat()));
    net.attention("attention", false);
    map(&mut net, "back");
    net.join("sum", add(), &[around, net.1]);
    net.then("tokens again", Op::Reshape([&[Dim::Batch][..], &windows].concat()));
    assert_target(&net.finish(false), "norm");
}

#[test]
fn tokens_of_an_image_cut_into_patches_by_a_linear_layer_are_found() {
    let mut net = Net::new();
    let split = [3, 4, 4, 4, 4].map(Dim::Fixed);
    net.then("split", Op::Reshape([&[Dim::Batch][..], &split].concat()));
    net.then("turned", Op::Transpose(vec![0, 2, 4, 3, 5, 1]));
    net.then("pixels", Op::Reshape(vec![Dim::Batch, Dim::Fixed(PATCHES), Dim::Rest]));
    net.then("embedding", linear(48, CHANNELS));
    net.block("only", Normalised::Before);
    assert_target(&net.finish(false), "only.attention.norm");
}

#[test]
fn tokens_that_are_mixed_without_attention_are_explained_at_their_last_normalisation() {
    let mut net = Net::new();
    net.patches(0);
    for block in ["first", "last"] {
        let around = net.1;
        net.then(&format!("{block}.norm"), norm());
        net.then(&format!("{block}.turned"), tokens_first());
        net.then(&format!("{block}.mixed"), linear(PATCHES, PATCHES));
        net.then(&format!("{block}.back"), tokens_first());
        net.join(&format!("{block}.sum"), add(), &[around, net.1]);
    }
    net.then("norm", norm());
    assert_target(&net.finish(false), "norm");
}

#[test]
fn a_convolution_behind_attention_is_explained_at_the_end_of_its_block() {
    let mut net = Net::new();
    net.patches(0);
    net.block("attention", Normalised::Before);
    net.then("channels", tokens_first());
    net.then("map", Op::Reshape([Dim::Batch, Dim::Fixed(CHANNELS), Dim::Fixed(4), Dim::Fixed(4)].into()));
    net.then("conv", conv(CHANNELS, CHANNELS, 3, 1));
    net.then("bn", batch_norm(CHANNELS));
    net.then("relu", relu());
    assert_target(&net.pooled(), "relu");
}

#[test]
fn attention_that_only_pools_leaves_the_end_of_the_last_block() {
    let mut net = Net::new();
    net.then("stem", conv(3, CHANNELS, 4, 4));
    let around = net.then("stem relu", relu());
    net.then("conv", conv(CHANNELS, CHANNELS, 3, 1));
    net.join("sum", add(), &[around, net.1]);
    net.then("relu", relu());
    net.then("flat", Op::Reshape(vec![Dim::Batch, Dim::Fixed(CHANNELS), Dim::Rest]));
    net.then("tokens", tokens_first());
    net.attention("pool", false);
    assert_target(&net.finish(true), "relu");
}

#[test]
fn groups_that_are_split_for_a_normalisation_stay_in_the_block() {
    let mut net = Net::new();
    net.then("stem", conv(3, CHANNELS, 3, 1));
    let around = net.then("stem relu", relu());
    net.then("conv", conv(CHANNELS, CHANNELS, 3, 1));
    net.then("split", Op::Reshape(vec![Dim::Batch, Dim::Fixed(4), Dim::Rest]));
    let (weight, bias) = (Some(values(&[4])), Some(values(&[4])));
    net.then("instance norm", Op::GroupNorm { groups: 4, weight, bias, epsilon: 1e-5 });
    let joined = [CHANNELS, 16, 16].map(Dim::Fixed);
    net.then("joined", Op::Reshape([&[Dim::Batch][..], &joined].concat()));
    let last = net.1;
    let scale = net.0.add("scale", Op::Constant(values(&[CHANNELS, 1, 1])), &[]);
    net.join("scaled", Op::Binary(Binary::Mul), &[last, scale]);
    net.join("sum", add(), &[around, net.1]);
    net.then("relu", relu());
    assert_target(&net.pooled(), "relu");
}

#[test]
fn a_convolution_that_is_activated_behind_its_pooling_is_explained_there() {
    for (activated_before, expected) in [(false, "late relu"), (true, "relu")] {
        let mut net = Net::new();
        net.then("conv", conv(3, CHANNELS, 3, 1));
        if activated_before {
            net.then("relu", relu());
        }
        net.then("pooling", Op::MaxPool2d(Pool::default()));
        net.then("late relu", relu());
        assert_target(&net.pooled(), expected);
    }
}

/// A detector of two levels, as YOLO's are: each has its boxes and classes in one map, and all boxes stand in one list.
#[test]
fn a_box_is_explained_at_the_layer_of_its_own_level() {
    let mut net = Net::new();
    let mut lists = Vec::new();
    for (level, inputs, stride) in [("near", 3, 1), ("far", CHANNELS, 2)] {
        net.then(&format!("{level}.conv"), conv(inputs, CHANNELS, 3, stride));
        let neck = net.then(&format!("{level}.neck"), relu());
        let branch = |net: &mut Net, name: &str, outputs: usize| {
            net.join(&format!("{level}.{name}.conv"), conv(CHANNELS, CHANNELS, 3, 1), &[neck]);
            net.then(&format!("{level}.{name}.act"), relu());
            net.then(&format!("{level}.{name}"), conv(CHANNELS, outputs, 1, 1))
        };
        let parts = [branch(&mut net, "box", 4), branch(&mut net, "class", 3)];
        net.join(&format!("{level}.map"), Op::Concat { axis: 1 }, &parts);
        let list = Op::Reshape(vec![Dim::Batch, Dim::Fixed(7), Dim::Rest]);
        lists.push(net.then(&format!("{level}.list"), list));
        net.1 = neck;
    }
    net.join("boxes", Op::Concat { axis: 2 }, &lists);
    let graph = net.0.finish(net.1).unwrap();
    let name = |layer: faithful_core::LayerId| graph.layers()[layer.0].name.as_str();
    assert_eq!(graph.joined().into_iter().map(name).collect::<Vec<_>>(), ["near.list", "far.list"]);
    for (list, neck) in lists.into_iter().zip(["near.neck", "far.neck"]) {
        assert_eq!(graph.target_layer_towards(&[list.into()]).map(name), Some(neck));
    }
}
