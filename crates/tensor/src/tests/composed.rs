//! The compositions that run on a GPU, compared with the CPU kernels, on the CPU.
//!
//! [`super::check_gradients`] compares them wherever an operation's gradient is tested; here is what
//! those tests do not reach.

use super::elementwise::{ACTIVATIONS, UNARIES};
use super::{assert_close, assert_composed, gradients, numbers, tensor, values};
use crate::{
    Activation, BackwardRule, Binary, Conv, PadMode, Pool, Recurrent, Reduction, Unary, activate, adaptive_max_pool2d,
    avg_pool2d, batch_norm, binary, by_composition, conv_transpose2d, conv2d, gather, lstm, max_pool2d, pad, reduce,
    resize2d, unary,
};
use candle_core::{Tensor, Var};

#[test]
fn convolutions() {
    for (size, kernel, conv) in super::convolution::cases() {
        let inputs = [numbers(&size, 1), numbers(&kernel, 2), numbers(&[kernel[0]], 3)];
        assert_composed(&inputs, |t| conv2d(&t[0], &t[1], Some(&t[2]), &conv));
        let y = conv2d(&inputs[0], &inputs[1], None, &conv).unwrap();
        assert_composed(&[y, inputs[1].clone()], |t| conv_transpose2d(&t[0], &t[1], None, &conv, [0, 0]));
    }
    let with = |stride, padding, dilation| Conv { stride, padding, dilation, groups: 1 };
    for (size, kernel, conv) in [
        // Pixels that no window reaches, which the gradient must reach all the same.
        ([1, 2, 6, 6], [2, 2, 3, 3], with([2, 2], [1; 4], [1, 1])),
        // More padding than the window is large: the gradient is cropped.
        ([1, 2, 4, 5], [3, 2, 2, 1], with([1, 1], [3, 2, 2, 3], [1, 1])),
        // An axis that the window fills has no step.
        ([2, 3, 1, 9], [2, 3, 1, 3], with([1, 2], [0, 1, 0, 1], [1, 2])),
        ([2, 3, 5, 9], [2, 3, 5, 3], with([4, 2], [0; 4], [1, 1])),
        ([1, 2, 7, 8], [2, 2, 3, 2], with([3, 3], [2, 1, 0, 1], [2, 2])),
    ] {
        let inputs = [numbers(&size, 1), numbers(&kernel, 2)];
        assert_composed(&inputs, |t| conv2d(&t[0], &t[1], None, &conv));
    }
}

#[test]
fn pooling_and_resizing() {
    let tied = tensor(&[1., 3., 3., 3., 2., 3., 1., 1., 1., 1., 1., 1., 0., 0., 0., 0.], &[1, 1, 4, 4]);
    for x in [numbers(&[2, 2, 7, 6], 1), tied] {
        for pool in super::pooling::pools() {
            assert_composed(&[x.clone()], |t| max_pool2d(&t[0], &pool));
            if pool.dilation == [1, 1] {
                assert_composed(&[x.clone()], |t| avg_pool2d(&t[0], &pool));
            }
        }
        for rules in super::shaping::resizes() {
            assert_composed(&[x.clone()], |t| resize2d(&t[0], [5, 9], &rules));
            assert_composed(&[x.clone()], |t| resize2d(&t[0], [70, 3], &rules));
        }
        assert_composed(&[x], |t| adaptive_max_pool2d(&t[0], [3, 2]));
    }
    // Windows that see nothing but padding.
    let pool = Pool { kernel: [2, 2], stride: [1, 1], padding: [2; 4], dilation: [3, 3], ..Pool::default() };
    assert_composed(&[numbers(&[1, 1, 1, 2], 1)], |t| max_pool2d(&t[0], &pool)?.maximum(-9.));
}

#[test]
fn pointwise_functions() {
    let x = tensor(&[-7., -3., -1., -0.5, -0., 0., 0.3, 1., 2.5, 3., 6., 8.], &[12]);
    for kind in ACTIVATIONS.into_iter().chain([Activation::HardSigmoid { alpha: 0.2, beta: 0.5 }]) {
        for rule in [BackwardRule::Plain, BackwardRule::Deconvnet, BackwardRule::Guided] {
            assert_composed(&[x.clone()], |t| activate(&t[0], kind, rule));
        }
    }
    let positive = (x.abs().unwrap() + 0.1).unwrap();
    for operation in UNARIES {
        assert_composed(&[positive.clone()], |t| unary(&t[0], operation));
    }
    let halves = tensor(&[-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 0.4, 1.6], &[8]);
    assert_composed(&[halves], |t| unary(&t[0], Unary::Round));
    let others = numbers(&[12], 5);
    for operation in [Binary::Min, Binary::Max, Binary::Pow] {
        assert_composed(&[positive.clone(), others.clone()], |t| binary(&t[0], &t[1], operation));
    }
    // Half of them are equal.
    let size = x.abs().unwrap();
    for operation in [Binary::Min, Binary::Max] {
        assert_composed(&[x.clone(), size.clone()], |t| binary(&t[0], &t[1], operation));
    }
    let (base, exponent) = (tensor(&[-2., -2., -3., 0., 0.], &[5]), tensor(&[3., 2., 0., 2., 0.], &[5]));
    assert_composed(&[base], |t| binary(&t[0], &exponent, Binary::Pow));
}

#[test]
fn reductions_picks_and_norms() {
    let kinds = [
        Reduction::Mean,
        Reduction::Sum,
        Reduction::Max,
        Reduction::Min,
        Reduction::L1,
        Reduction::L2,
        Reduction::SumSquare,
        Reduction::LogSumExp,
    ];
    for x in [numbers(&[4, 5], 1), tensor(&[1., 3., 3., 3., 1., 1.], &[2, 3]), tensor(&[0.; 6], &[2, 3])] {
        for kind in kinds {
            assert_composed(&[x.clone()], |t| reduce(&t[0], &[1], false, kind));
        }
        assert_composed(&[x.clone()], |t| gather(&t[0], 1, &[2, 0, 0])?.t());
        assert_composed(&[x], |t| pad(&t[0], &[[1, 0], [-1, 2]], PadMode::Edge));
    }
    let parameters = [numbers(&[2, 3, 4], 1), numbers(&[3], 2), numbers(&[3], 3)];
    assert_composed(&parameters, |t| batch_norm(&t[0], &t[1], &t[2]));
}

#[test]
fn what_is_not_a_number_is_seen() {
    let x = tensor(&[1., f64::NAN, 3., 4., 5., 6., f64::INFINITY, 8.], &[1, 1, 2, 4]);
    let row = x.flatten_all().unwrap().unsqueeze(0).unwrap();
    let zero = row.zeros_like().unwrap();
    let padded = Pool { kernel: [3, 3], stride: [2, 2], padding: [1; 4], ..Pool::default() };
    let results = || {
        vec![
            max_pool2d(&x, &Pool::default()).unwrap(),
            max_pool2d(&x, &padded).unwrap(),
            activate(&x, Activation::Relu, BackwardRule::Plain).unwrap(),
            activate(&x, Activation::Clip { low: 0., high: 6. }, BackwardRule::Plain).unwrap(),
            reduce(&row, &[1], false, Reduction::Max).unwrap(),
            reduce(&row, &[1], false, Reduction::Min).unwrap(),
            binary(&row, &zero, Binary::Max).unwrap(),
            binary(&zero, &row, Binary::Min).unwrap(),
        ]
    };
    for (number, (kernel, composed)) in results().iter().zip(by_composition(results)).enumerate() {
        for (a, b) in values(kernel).into_iter().zip(values(&composed)) {
            assert!(a == b || a.is_nan() && b.is_nan(), "result {number}: {kernel} and {composed}");
        }
    }
    // The gradient goes to the first NaN.
    let gradient = |t: &[Tensor]| max_pool2d(&t[0], &Pool::default());
    let found = by_composition(|| gradients(&[x.clone()], &gradient));
    assert_close(&found[0], &gradients(&[x.clone()], &gradient)[0], 0.);
}

#[test]
fn a_long_series_goes_back_without_deep_recursion() {
    let weights = Recurrent {
        input_weight: numbers(&[8, 1], 2),
        hidden_weight: numbers(&[8, 2], 3),
        input_bias: None,
        hidden_bias: None,
    };
    let x = Var::from_tensor(&numbers(&[1, 2000, 1], 1)).unwrap();
    let back = || lstm(&x, &weights, crate::Direction::Forward).unwrap().sum_all().unwrap().backward().unwrap();
    assert_close(by_composition(back).get(&x).unwrap(), back().get(&x).unwrap(), 1e-12);
}

#[test]
fn frozen_weights_get_no_gradient() {
    let (x, weight) = (Var::from_tensor(&numbers(&[1, 2, 4, 4], 1)).unwrap(), numbers(&[3, 2, 3, 3], 2));
    let y = by_composition(|| conv2d(&x, &weight, None, &Conv::default())).unwrap();
    let store = by_composition(|| y.sum_all().unwrap().backward().unwrap());
    // candle writes a gradient of zeros down for every argument, tracked or not; ours must be nothing else.
    let unwanted = store.get(&weight).map_or(0., |g| values(g).iter().map(|v| v.abs()).sum());
    assert_eq!((store.get(&x).is_some(), unwanted), (true, 0.));
}
