use super::{assert_close, check_gradients, gradients, numbers, tensor, values};
use crate::{Binary, Unary, binary, choose, gather_elements, guarded_binary, quantise, top_places, unary};
use candle_core::DType;

#[test]
fn choices_broadcast_and_have_their_gradients() {
    let condition = tensor(&[1., 0., 0., 2., 0., 1.], &[2, 3]);
    check_gradients(&[numbers(&[2, 3], 1), numbers(&[3], 2)], |t| choose(&condition, &t[0], &t[1]));
    check_gradients(&[numbers(&[2, 1], 1), numbers(&[2, 3], 2)], |t| choose(&condition, &t[0], &t[1]));
    // The same argument twice, and as the condition too.
    check_gradients(&[numbers(&[2, 3], 3)], |t| choose(&condition, &t[0].sqr()?, &t[0]));
    assert!(choose(&condition, &numbers(&[4], 1), &numbers(&[3], 1)).is_err());
}

#[test]
fn a_branch_that_is_not_taken_may_be_infinite() {
    let x = tensor(&[1000., -1., 0., 2.], &[4]);
    let zero = x.zeros_like().unwrap();
    let large = x.ge(500.).unwrap().to_dtype(DType::F64).unwrap();
    let exponential = gradients(&[x.clone()], &|t| choose(&large, &t[0], &unary(&t[0], Unary::Exp)?));
    assert!(values(&exponential[0]).iter().all(|g| g.is_finite()), "{:?}", values(&exponential[0]));
    let above = x.gt(0.).unwrap().to_dtype(DType::F64).unwrap();
    let entropy = |t: &[candle_core::Tensor]| {
        choose(&above, &guarded_binary(&t[0], &unary(&t[0], Unary::Log)?, Binary::Mul)?, &zero)
    };
    let g = values(&gradients(&[x.clone()], &entropy)[0]);
    assert!(g.iter().all(|g| g.is_finite()) && g[1] == 0. && g[2] == 0. && g[3] != 0., "{g:?}");
    let quotient = |t: &[candle_core::Tensor]| choose(&above, &guarded_binary(&t[0], &t[0], Binary::Div)?, &t[0]);
    assert!(values(&gradients(&[x], &quotient)[0]).iter().all(|g| g.is_finite()));
}

#[test]
fn guarded_products_and_quotients_are_those_without_a_guard() {
    let (a, b) = (numbers(&[2, 3, 4], 1), (numbers(&[3, 1], 2).abs().unwrap() + 0.3).unwrap());
    for operation in [Binary::Mul, Binary::Div] {
        let got = guarded_binary(&a, &b, operation).unwrap();
        assert_close(&got, &binary(&a, &b, operation).unwrap(), 1e-15);
        check_gradients(&[a.clone(), b.clone()], |t| guarded_binary(&t[0], &t[1], operation));
        check_gradients(&[b.clone()], |t| guarded_binary(&t[0], &t[0], operation));
    }
    assert!(guarded_binary(&a, &b, Binary::Add).is_err());
}

#[test]
fn quantising_rounds_clips_and_passes_gradients_within_the_bounds() {
    let x = tensor(&[-10., -0.75, -0.25, 0.25, 0.3, 0.75, 10.], &[7]);
    let (scale, zero) = (tensor(&[0.5], &[1]), tensor(&[2.], &[1]));
    let quantised = quantise(&x, &scale, &zero, [0., 5.]).unwrap();
    // Halves go to the even number: -1.5 to -2, -0.5 and 0.5 to 0, 1.5 to 2.
    assert_eq!(values(&quantised), [0., 0., 2., 2., 3., 4., 5.]);
    let gradient = gradients(&[x], &|t| quantise(&t[0], &scale, &zero, [0., 5.]));
    let cotangent = values(&super::cotangent(&quantised));
    let within = [0., 1., 1., 1., 1., 1., 0.];
    for (i, gradient) in values(&gradient[0]).into_iter().enumerate() {
        assert!((gradient - within[i] * cotangent[i] / 0.5).abs() < 1e-12, "element {i}: {gradient}");
    }
    // One scale and zero point per channel.
    let x = numbers(&[2, 3, 2], 4);
    let (scale, zero) = (tensor(&[0.1, 0.2, 0.3], &[3, 1]), tensor(&[1., -2., 0.], &[3, 1]));
    let got = values(&quantise(&x, &scale, &zero, [-3., 3.]).unwrap());
    for (i, value) in values(&x).into_iter().enumerate() {
        let channel = i / 2 % 3;
        let expected = (value / [0.1, 0.2, 0.3][channel]).round_ties_even() + [1., -2., 0.][channel];
        assert_eq!(got[i], expected.clamp(-3., 3.), "element {i}");
    }
}

#[test]
fn named_places_broadcast_and_have_their_gradients() {
    let x = numbers(&[2, 3, 4], 1);
    let index = tensor(&[0., 2., -1., 1., 2., 2., 0., 1.], &[2, 4, 1]);
    for axis in [1, 2] {
        let index = index.clone();
        check_gradients(&[x.clone()], move |t| {
            let index = if axis == 1 { index.clone() } else { index.transpose(1, 2)? };
            gather_elements(&t[0], &index, axis)
        });
    }
    check_gradients(&[numbers(&[1, 3, 4], 2)], |t| gather_elements(&t[0], &index, 1)?.transpose(0, 2));
    assert!(gather_elements(&x, &index, 3).is_err() && gather_elements(&x, &tensor(&[3.], &[1, 1, 1]), 1).is_err());
    assert!(gather_elements(&x, &tensor(&[f64::NAN], &[1, 1, 1]), 1).is_err());
}

#[test]
fn the_best_places_are_sorted_and_ties_go_to_the_lower_one() {
    let x = tensor(&[1., 5., 5., -0., 0., 9., f64::NEG_INFINITY, 2.], &[2, 4]);
    assert_eq!(values(&top_places(&x, 1, 4, false).unwrap()), [1., 2., 0., 3., 1., 3., 0., 2.]);
    assert_eq!(values(&top_places(&x, 1, 2, true).unwrap()), [3., 0., 2., 0.]);
    assert_eq!(values(&top_places(&x, 0, 1, false).unwrap()), [0., 1., 0., 1.]);
    assert_eq!(top_places(&x, 1, 0, false).unwrap().dims(), [2, 0]);
    assert!(top_places(&x, 1, 5, false).is_err() && top_places(&x, 2, 1, false).is_err());
}
