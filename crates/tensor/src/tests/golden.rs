//! Values and gradients compared with `PyTorch`'s; `fixtures/goldens/tensor/make.py` made them.

use super::assert_close;
use crate::{
    Activation, BackwardRule, Binary, Conv, CoordinateRule, Direction, Interpolation, PadMode, Pool, Recurrent,
    Reduction, Resize, Unary, activate, adaptive_avg_pool2d, adaptive_max_pool2d, avg_pool2d, batch_norm, binary,
    concat, conv_transpose2d, conv1d, conv2d, gaussian_blur2d, group_norm, gru, layer_norm, linear, log_softmax, lstm,
    matmul, max_pool2d, pad, reduce, resize2d, softmax, unary,
};
use candle_core::{Device, Result, Tensor, Var};
use std::collections::HashMap;

struct Goldens(HashMap<String, Tensor>);

impl Goldens {
    fn load() -> Self {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/goldens/tensor/operations.safetensors");
        Self(candle_core::safetensors::load(path, &Device::Cpu).unwrap())
    }

    /// Asserts that `f` of the golden's operands has the golden's value and gradients.
    #[track_caller]
    fn check(&mut self, name: &str, f: impl Fn(&[Tensor]) -> Result<Tensor>) {
        let mut take = |part: String| self.0.remove(&format!("{name}.{part}"));
        let inputs: Vec<Var> =
            (0..).map_while(|i| take(format!("in.{i}"))).map(|x| Var::from_tensor(&x).unwrap()).collect();
        let tracked: Vec<Tensor> = inputs.iter().map(|x| x.as_tensor().clone()).collect();
        let y = f(&tracked).unwrap();
        println!("{name}");
        // PyTorch takes this one's slope, 1/6, in single precision.
        let tolerance = if name == "hardsigmoid" { 1e-7 } else { 1e-10 };
        assert_close(&y, &take("out".into()).unwrap(), tolerance);
        let store = (y * take("cotangent".into()).unwrap()).unwrap().sum_all().unwrap().backward().unwrap();
        for (i, x) in tracked.iter().enumerate() {
            let expected = take(format!("gradient.{i}")).unwrap();
            println!("{name}: gradient {i}");
            let found = store.get(x).cloned().unwrap_or_else(|| x.zeros_like().unwrap());
            assert_close(&found, &expected, tolerance);
        }
    }
}

#[test]
fn operations_are_those_of_pytorch() {
    let mut goldens = Goldens::load();
    convolutions(&mut goldens);
    pools(&mut goldens);
    pointwise(&mut goldens);
    normalisations_and_products(&mut goldens);
    reductions(&mut goldens);
    resampling(&mut goldens);
    recurrence(&mut goldens);
    let left: Vec<_> = goldens.0.keys().collect();
    assert!(left.is_empty(), "goldens that nothing is compared with: {left:?}");
}

fn convolutions(goldens: &mut Goldens) {
    let conv = Conv { stride: [2, 1], padding: [1, 2, 1, 2], dilation: [1, 2], groups: 2 };
    goldens.check("conv2d", |t| conv2d(&t[0], &t[1], Some(&t[2]), &conv));
    let conv = Conv { stride: [2, 2], padding: [1; 4], dilation: [1, 1], groups: 3 };
    goldens.check("depthwise", |t| conv2d(&t[0], &t[1], None, &conv));
    let conv = Conv { stride: [1, 2], padding: [0, 2, 0, 2], dilation: [1, 2], groups: 1 };
    goldens.check("conv1d", |t| conv1d(&t[0], &t[1], Some(&t[2]), &conv));
    let conv = Conv { stride: [2, 3], padding: [1, 0, 1, 0], dilation: [2, 1], groups: 2 };
    goldens.check("conv_transpose2d", |t| conv_transpose2d(&t[0], &t[1], Some(&t[2]), &conv, [1, 2]));
}

fn pools(goldens: &mut Goldens) {
    let stem = Pool { kernel: [3, 3], padding: [1; 4], ..Pool::default() };
    goldens.check("max_pool_stem", |t| max_pool2d(&t[0], &stem));
    goldens.check("max_pool_ceil", |t| max_pool2d(&t[0], &Pool { padding: [0; 4], ceil: true, ..stem }));
    let dilated = Pool { kernel: [2, 3], stride: [1, 2], padding: [1; 4], dilation: [2, 2], ceil: true, ..stem };
    goldens.check("max_pool_dilated", |t| max_pool2d(&t[0], &dilated));
    for (name, ceil, count_padding) in [
        ("avg_pool_00", false, false),
        ("avg_pool_01", false, true),
        ("avg_pool_10", true, false),
        ("avg_pool_11", true, true),
    ] {
        let pool = Pool { kernel: [3, 2], padding: [1; 4], ceil, count_padding, ..Pool::default() };
        goldens.check(name, |t| avg_pool2d(&t[0], &pool));
    }
    goldens.check("adaptive_avg", |t| adaptive_avg_pool2d(&t[0], [3, 4]));
    goldens.check("adaptive_max", |t| adaptive_max_pool2d(&t[0], [3, 4]));
}

fn pointwise(goldens: &mut Goldens) {
    let (alpha, gamma) = (1.673_263_242_354_377_2, 1.050_700_987_355_480_5);
    for (name, kind) in [
        ("relu", Activation::Relu),
        ("relu6", Activation::Clip { low: 0., high: 6. }),
        ("leaky_relu", Activation::LeakyRelu { slope: 0.1 }),
        ("elu", Activation::Elu { alpha: 0.7 }),
        ("selu", Activation::Selu { alpha, beta: 1., gamma }),
        ("celu", Activation::Selu { alpha: 1.5, beta: 1.5, gamma: 1. }),
        ("gelu", Activation::Gelu),
        ("gelu_tanh", Activation::GeluTanh),
        ("silu", Activation::Silu),
        ("sigmoid", Activation::Sigmoid),
        ("tanh", Activation::Tanh),
        ("softplus", Activation::Softplus),
        ("softsign", Activation::Softsign),
        ("mish", Activation::Mish),
        ("hardswish", Activation::HardSwish),
        ("hardsigmoid", Activation::HardSigmoid { alpha: 1. / 6., beta: 0.5 }),
    ] {
        goldens.check(name, |t| activate(&t[0], kind, BackwardRule::Plain));
    }
    for (name, operation) in [("erf", Unary::Erf), ("abs", Unary::Abs), ("round", Unary::Round), ("sign", Unary::Sign)]
    {
        goldens.check(name, |t| unary(&t[0], operation));
    }
    for (name, operation) in [("maximum", Binary::Max), ("minimum", Binary::Min), ("pow", Binary::Pow)] {
        goldens.check(name, |t| binary(&t[0], &t[1], operation));
    }
    goldens.check("softmax", |t| softmax(&t[0], 1));
    goldens.check("log_softmax", |t| log_softmax(&t[0], 2));
}

fn normalisations_and_products(goldens: &mut Goldens) {
    goldens.check("linear", |t| linear(&t[0], &t[1], Some(&t[2])));
    goldens.check("matmul", |t| matmul(&t[0], &t[1]));
    goldens.check("layer_norm", |t| layer_norm(&t[0], 2, Some(&t[1]), Some(&t[2]), 1e-5));
    goldens.check("group_norm", |t| group_norm(&t[0], 2, Some(&t[1]), Some(&t[2]), 1e-5));
    goldens.check("batch_norm", |t| batch_norm(&t[0], &t[1], &t[2]));
}

fn reductions(goldens: &mut Goldens) {
    goldens.check("logsumexp", |t| reduce(&t[0], &[0, 2], false, Reduction::LogSumExp));
    goldens.check("norm", |t| reduce(&t[0], &[1], false, Reduction::L2));
    goldens.check("max", |t| reduce(&t[0], &[1], false, Reduction::Max));
}

fn resampling(goldens: &mut Goldens) {
    let pads = [[0, 0], [0, 0], [0, 3], [2, 1]];
    goldens.check("reflect", |t| pad(&t[0], &pads, PadMode::Reflect));
    goldens.check("replicate", |t| pad(&t[0], &pads, PadMode::Edge));
    for (name, size) in [("up", [9, 11]), ("down", [3, 4]), ("odd", [7, 3])] {
        for (kind, interpolation, coordinates) in [
            ("bilinear", Interpolation::Linear, CoordinateRule::HalfPixel),
            ("bilinear_corners", Interpolation::Linear, CoordinateRule::AlignCorners),
            ("bicubic", Interpolation::Cubic, CoordinateRule::HalfPixel),
            ("nearest", Interpolation::NearestFloor, CoordinateRule::Asymmetric),
        ] {
            let rules = Resize { interpolation, coordinates, exclude_outside: false };
            goldens.check(&format!("{kind}_{name}"), |t| resize2d(&t[0], size, &rules));
        }
    }
    // torchvision's order is [width, height].
    goldens.check("blur", |t| gaussian_blur2d(&t[0], [3, 5], [0.7, 2.]));
}

fn recurrence(goldens: &mut Goldens) {
    let direction = |t: &[Tensor]| Recurrent {
        input_weight: t[0].clone(),
        hidden_weight: t[1].clone(),
        input_bias: Some(t[2].clone()),
        hidden_bias: Some(t[3].clone()),
    };
    goldens.check("lstm", |t| {
        let forward = lstm(&t[0], &direction(&t[1..5]), Direction::Forward)?;
        concat(&[&forward, &lstm(&t[0], &direction(&t[5..9]), Direction::Reverse)?], 2)
    });
    goldens.check("gru", |t| {
        let forward = gru(&t[0], &direction(&t[1..5]), Direction::Forward, true)?;
        concat(&[&forward, &gru(&t[0], &direction(&t[5..9]), Direction::Reverse, true)?], 2)
    });
}
