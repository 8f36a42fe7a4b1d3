//! The compositions that run on a GPU, held against the CPU kernels on the CPU.

use super::elementwise::{ACTIVATIONS, UNARIES};
use super::{assert_close, gradients, numbers, tensor};
use crate::convolution::Geometry;
use crate::{
    Activation, BackwardRule, Binary, Conv, Reduction, activate, binary, composed, composed_pointwise,
    conv_transpose2d, conv2d, max_pool2d, pooling, reduce, reduction, resize2d, unary,
};
use candle_core::{Result, Tensor};

/// Value and gradients of two ways to compute one thing.
#[track_caller]
fn same(inputs: &[Tensor], a: impl Fn(&[Tensor]) -> Result<Tensor>, b: impl Fn(&[Tensor]) -> Result<Tensor>) {
    assert_close(&a(inputs).unwrap(), &b(inputs).unwrap(), 1e-7);
    for (a, b) in gradients(inputs, &a).iter().zip(gradients(inputs, &b)) {
        assert_close(a, &b, 1e-7);
    }
}

#[test]
fn convolutions() {
    for (size, kernel, conv) in super::convolution::cases() {
        let inputs = [numbers(&size, 1), numbers(&kernel, 2), numbers(&[kernel[0]], 3)];
        let geometry = Geometry::of_input(&inputs[0], &inputs[1], &conv).unwrap();
        same(
            &inputs,
            |t| conv2d(&t[0], &t[1], Some(&t[2]), &conv),
            |t| composed::conv2d(&t[0], &t[1], Some(&t[2]), &geometry),
        );
        let y = numbers(&[size[0], kernel[0], geometry.result[0], geometry.result[1]], 4);
        let geometry = Geometry::of_result(&y, &inputs[1], &conv, [0, 0]).unwrap();
        same(
            &[y, inputs[1].clone()],
            |t| conv_transpose2d(&t[0], &t[1], None, &conv, [0, 0]),
            |t| composed::conv_transpose2d(&t[0], &t[1], &geometry),
        );
    }
    // A plain one that leaves pixels over, which candle must add again.
    let conv = Conv { stride: [2, 2], padding: [1; 4], ..Conv::default() };
    let inputs = [numbers(&[1, 2, 6, 6], 1), numbers(&[2, 2, 3, 3], 2)];
    let geometry = Geometry::of_input(&inputs[0], &inputs[1], &conv).unwrap();
    same(&inputs, |t| conv2d(&t[0], &t[1], None, &conv), |t| composed::conv2d(&t[0], &t[1], None, &geometry));
}

#[test]
fn pooling_and_resizing() {
    let tied = tensor(&[1., 3., 3., 3., 2., 3., 1., 1., 1., 1., 1., 1., 0., 0., 0., 0.], &[1, 1, 4, 4]);
    for x in [numbers(&[2, 2, 7, 6], 1), tied] {
        for pool in super::pooling::pools() {
            let (h, w) = (x.dims()[2], x.dims()[3]);
            let windows = |axis, size| pooling::windows("test", &pool, axis, size).unwrap();
            let (rows, columns) = (windows(0, h), windows(1, w));
            same(&[x.clone()], |t| max_pool2d(&t[0], &pool), |t| composed::max_over(&t[0], &rows, &columns));
            let mean = |windows: &[_], size| pooling::mean_map(windows, size, pool.count_padding);
            let (rows, columns) = (mean(&rows, h), mean(&columns, w));
            same(&[x.clone()], |t| crate::avg_pool2d(&t[0], &pool), |t| composed::separable(&t[0], &rows, &columns));
        }
        for rules in super::shaping::resizes() {
            let map = |size, to| crate::resampling::resize_map(size, to, rules);
            let (rows, columns) = (map(x.dims()[2], 5), map(x.dims()[3], 9));
            same(&[x.clone()], |t| resize2d(&t[0], [5, 9], &rules), |t| composed::separable(&t[0], &rows, &columns));
        }
    }
}

#[test]
fn pointwise_functions() {
    let x = tensor(&[-7., -3., -1., -0.5, -0., 0., 0.3, 1., 2.5, 3., 6., 8.], &[12]);
    let g = numbers(&[12], 2);
    for kind in ACTIVATIONS.into_iter().chain([Activation::HardSigmoid { alpha: 0.2, beta: 0.5 }]) {
        let y = composed_pointwise::activation_value(&x, kind).unwrap();
        assert_close(&activate(&x, kind, BackwardRule::Plain).unwrap(), &y, 1e-6);
        for rule in [BackwardRule::Plain, BackwardRule::Deconvnet, BackwardRule::Guided] {
            let variable = candle_core::Var::from_tensor(&x).unwrap();
            let y = activate(&variable, kind, rule).unwrap();
            let store = (y * &g).unwrap().sum_all().unwrap().backward().unwrap();
            let expected = composed_pointwise::activation_gradient(&x, &g, kind, rule).unwrap();
            assert_close(store.get(&variable).unwrap(), &expected, 1e-6);
        }
    }
    let positive = (x.abs().unwrap() + 0.1).unwrap();
    for operation in UNARIES {
        let y = composed_pointwise::unary_value(&positive, operation).unwrap();
        assert_close(&unary(&positive, operation).unwrap(), &y, 1e-12);
        let cotangent = super::cotangent(&y);
        let derivative = composed_pointwise::unary_derivative(&positive, operation).unwrap();
        let found = gradients(&[positive.clone()], &|t| unary(&t[0], operation));
        assert_close(&found[0], &(derivative * cotangent).unwrap(), 1e-12);
    }
    let halves = tensor(&[-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 0.4, 1.6], &[8]);
    let rounded = composed_pointwise::unary_value(&halves, crate::Unary::Round).unwrap();
    assert_close(&rounded, &unary(&halves, crate::Unary::Round).unwrap(), 0.);
    let others = numbers(&[12], 5);
    for operation in [Binary::Min, Binary::Max, Binary::Pow] {
        let f = |t: &[Tensor]| composed_pointwise::binary(&t[0], &t[1], operation);
        same(&[positive.clone(), others.clone()], |t| binary(&t[0], &t[1], operation), f);
    }
    let (base, exponent) = (tensor(&[-2., -2., -3.], &[3]), tensor(&[3., 2., 0.], &[3]));
    let power = |t: &[Tensor]| composed_pointwise::binary(&t[0], &exponent, Binary::Pow);
    same(&[base], |t| binary(&t[0], &exponent, Binary::Pow), power);
}

#[test]
fn reductions_and_picks() {
    let tied = tensor(&[1., 3., 3., 3., 1., 1.], &[2, 3]);
    for x in [numbers(&[4, 5], 1), tied] {
        for kind in [
            Reduction::Mean,
            Reduction::Sum,
            Reduction::Max,
            Reduction::Min,
            Reduction::L1,
            Reduction::L2,
            Reduction::SumSquare,
            Reduction::LogSumExp,
        ] {
            same(&[x.clone()], |t| reduce(&t[0], &[1], false, kind), |t| reduction::composed_rows(&t[0], kind));
        }
        same(&[x], |t| crate::gather(&t[0], 1, &[2, 0, 0])?.t(), |t| composed::select(&t[0], 1, &[2, 0, 0])?.t());
    }
}
