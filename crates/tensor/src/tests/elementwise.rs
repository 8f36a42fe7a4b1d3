use super::{assert_close, check_gradients, gradients, numbers, tensor, values};
use crate::{Activation, BackwardRule, Binary, Unary, activate, binary, log_softmax, softmax, unary};
use candle_core::{DType, Var};

pub(super) const ACTIVATIONS: [Activation; 17] = [
    Activation::Relu,
    Activation::Clip { low: 0., high: 6. },
    Activation::Clip { low: -0.5, high: 0.25 },
    Activation::LeakyRelu { slope: 0.1 },
    Activation::Elu { alpha: 1. },
    Activation::Elu { alpha: 0.7 },
    Activation::Selu { alpha: 1.673_263, beta: 1., gamma: 1.050_701 },
    Activation::Selu { alpha: 2., beta: 2., gamma: 1. },
    Activation::Gelu,
    Activation::GeluTanh,
    Activation::Silu,
    Activation::Sigmoid,
    Activation::Tanh,
    Activation::Softplus,
    Activation::Softsign,
    Activation::Mish,
    Activation::HardSwish,
];

pub(super) const UNARIES: [Unary; 13] = [
    Unary::Neg,
    Unary::Abs,
    Unary::Exp,
    Unary::Log,
    Unary::Sqrt,
    Unary::Reciprocal,
    Unary::Erf,
    Unary::Sin,
    Unary::Cos,
    Unary::Floor,
    Unary::Ceil,
    Unary::Round,
    Unary::Sign,
];

#[test]
fn activations_have_their_gradients() {
    let x = [(numbers(&[40], 3) * 8.).unwrap()];
    for kind in ACTIVATIONS.into_iter().chain([Activation::HardSigmoid { alpha: 0.2, beta: 0.5 }]) {
        check_gradients(&x, |t| activate(&t[0], kind, BackwardRule::Plain));
        // The same argument twice, and the result further used.
        check_gradients(&x, |t| {
            activate(&t[0], kind, BackwardRule::Plain)? * activate(&t[0], kind, BackwardRule::Plain)?
        });
    }
}

/// The gradient of an activation at `x` when the result's gradient is `g`.
fn gradient(x: &[f64], g: &[f64], kind: Activation, rule: BackwardRule) -> Vec<f64> {
    let x = Var::from_tensor(&tensor(x, &[x.len()])).unwrap();
    let y = activate(&x, kind, rule).unwrap();
    let store = (y * tensor(g, &[g.len()])).unwrap().sum_all().unwrap().backward().unwrap();
    values(store.get(&x).unwrap())
}

#[test]
fn kinks_have_the_derivative_of_pytorch() {
    let at = |x: f64, kind| gradient(&[x], &[1.], kind, BackwardRule::Plain)[0];
    assert_eq!((at(0., Activation::Relu), at(-0., Activation::Relu)), (0., 0.));
    let relu6 = Activation::Clip { low: 0., high: 6. };
    assert_eq!((at(0., relu6), at(6., relu6), at(3., relu6)), (0., 0., 1.));
    assert_eq!(at(0., Activation::LeakyRelu { slope: 0.1 }), 0.1);
    assert_eq!(at(0., Activation::Elu { alpha: 0.7 }), 0.7);
    assert_eq!((at(-3., Activation::HardSwish), at(3., Activation::HardSwish)), (0., 1.));
}

#[test]
fn backward_rules_are_their_formulas_for_every_activation() {
    let (x, g) = ([-2., -0.3, 0., 0.4, 7., -1., 2.], [1.5, 2., 3., -0.5, 1., -2., 0.]);
    let positive: Vec<f64> = g.iter().map(|g: &f64| g.max(0.)).collect();
    for kind in ACTIVATIONS {
        let derivative = gradient(&x, &[1.; 7], kind, BackwardRule::Plain);
        let product = |g: &[f64]| derivative.iter().zip(g).map(|(d, g)| d * g).collect::<Vec<_>>();
        assert_eq!(gradient(&x, &g, kind, BackwardRule::Plain), product(&g));
        assert_eq!(gradient(&x, &g, kind, BackwardRule::Deconvnet), positive);
        assert_eq!(gradient(&x, &g, kind, BackwardRule::Guided), product(&positive));
    }
}

#[test]
fn activations_survive_large_numbers_and_pass_nan_on() {
    let x = tensor(&[-1e4, 1e4, f64::NAN], &[3]);
    for kind in ACTIVATIONS {
        for dtype in [DType::F32, DType::F64, DType::BF16] {
            let y = values(&activate(&x.to_dtype(dtype).unwrap(), kind, BackwardRule::Plain).unwrap());
            assert!(y[0].is_finite() && y[1].is_finite() && y[2].is_nan(), "{kind:?} {dtype:?}: {y:?}");
        }
        let d = gradient(&[-1e4, 1e4], &[1.; 2], kind, BackwardRule::Plain);
        assert!(d.iter().all(|d| d.is_finite()), "{kind:?}: {d:?}");
    }
    assert!(activate(&x, Activation::Clip { low: 1., high: 0. }, BackwardRule::Plain).is_err());
}

#[test]
fn softmax_has_its_gradients_with_ties_and_large_numbers() {
    for axis in 0..3 {
        check_gradients(&[numbers(&[2, 3, 4], 5)], |t| softmax(&t[0], axis));
        check_gradients(&[numbers(&[2, 3, 4], 5)], |t| log_softmax(&t[0], axis));
        check_gradients(&[tensor(&[1.; 24], &[2, 3, 4])], |t| softmax(&t[0], axis));
    }
    let large = tensor(&[1000., 0.], &[1, 2]);
    assert_eq!(values(&softmax(&large, 1).unwrap()), [1., 0.]);
    assert_eq!(values(&log_softmax(&large, 1).unwrap()), [0., -1000.]);
    assert!(softmax(&large, 2).is_err());
}

#[test]
fn unary_functions_have_their_gradients() {
    let x = (numbers(&[20], 6).abs().unwrap() + 0.05).unwrap();
    for operation in UNARIES {
        check_gradients(&[x.clone()], |t| unary(&t[0], operation));
        if !matches!(operation, Unary::Log | Unary::Sqrt) {
            check_gradients(&[x.neg().unwrap()], |t| unary(&t[0], operation));
        }
    }
    let halves = tensor(&[-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 0.4, 1.6], &[8]);
    assert_eq!(values(&unary(&halves, Unary::Round).unwrap()), [-2., -2., 0., 0., 2., 2., 0., 2.]);
    let zero = gradients(&[tensor(&[0.], &[1])], &|t| unary(&t[0], Unary::Abs));
    assert_eq!(values(&zero[0]), [0.]);
}

#[test]
fn binary_functions_broadcast_and_have_their_gradients() {
    let operations = [Binary::Add, Binary::Sub, Binary::Mul, Binary::Div, Binary::Pow, Binary::Min, Binary::Max];
    for operation in operations {
        for (a, b) in [(&[2, 3, 4][..], &[2, 3, 4][..]), (&[2, 3, 4], &[3, 1]), (&[1, 4], &[2, 3, 1]), (&[], &[2, 2])] {
            let (a, b) = ((numbers(a, 1).abs().unwrap() + 0.1).unwrap(), numbers(b, 2));
            let b = if operation == Binary::Div { (b.abs().unwrap() + 0.3).unwrap() } else { b };
            check_gradients(&[a, b], |t| binary(&t[0], &t[1], operation));
        }
        check_gradients(&[(numbers(&[6], 3).abs().unwrap() + 0.1).unwrap()], |t| binary(&t[0], &t[0], operation));
    }
    assert!(binary(&numbers(&[2], 1), &numbers(&[3], 1), Binary::Max).is_err());
}

#[test]
fn powers_of_negative_bases_and_zero_are_those_of_pytorch() {
    let (a, b) = (tensor(&[-2., 0., 0., -2.], &[4]), tensor(&[3., 0., 2., 0.5], &[4]));
    let y = values(&binary(&a, &b, Binary::Pow).unwrap());
    assert_eq!(y[..3], [-8., 1., 0.]);
    assert!(y[3].is_nan());
    let exponent = tensor(&[3., 0., 2.], &[3]);
    check_gradients(&[tensor(&[-2., 0., 0.], &[3])], |t| binary(&t[0], &exponent, Binary::Pow));
    let (a, b) = (tensor(&[0.], &[1]), tensor(&[2.], &[1]));
    let gradients = gradients(&[a, b], &|t| binary(&t[0], &t[1], Binary::Pow));
    assert_eq!((values(&gradients[0]), values(&gradients[1])), (vec![0.], vec![0.]));
}

#[test]
fn a_tie_of_two_tensors_halves_the_gradient() {
    let one = tensor(&[1.], &[1]);
    for operation in [Binary::Min, Binary::Max] {
        let cotangent = values(&super::cotangent(&one))[0];
        let gradients = gradients(&[one.clone(), one.clone()], &|t| binary(&t[0], &t[1], operation));
        assert_close(&gradients[0], &tensor(&[cotangent / 2.], &[1]), 1e-15);
        assert_close(&gradients[1], &tensor(&[cotangent / 2.], &[1]), 1e-15);
    }
    let nan = tensor(&[f64::NAN], &[1]);
    assert!(values(&binary(&one, &nan, Binary::Max).unwrap())[0].is_nan());
    assert!(values(&binary(&nan, &one, Binary::Min).unwrap())[0].is_nan());
}
