use super::{assert_close, check_gradients, check_rows_alone, numbers};
use crate::{batch_norm, group_norm, layer_norm, linear, matmul};
use candle_core::{DType, Tensor};

#[test]
fn linear_has_its_gradients() {
    for (shape, rows) in [(&[3, 5][..], 3), (&[2, 3, 5], 6), (&[5], 1), (&[11, 5], 11)] {
        let (x, weight, bias) = (numbers(shape, 1), numbers(&[4, 5], 2), numbers(&[4], 3));
        check_gradients(&[x.clone(), weight.clone(), bias.clone()], |t| linear(&t[0], &t[1], Some(&t[2])));
        let y = linear(&x, &weight, None).unwrap().reshape((rows, 4)).unwrap();
        let expected = x.reshape((rows, 5)).unwrap().matmul(&weight.t().unwrap()).unwrap();
        assert_close(&y, &expected, 1e-13);
    }
    assert!(linear(&numbers(&[2, 3], 1), &numbers(&[4, 5], 2), None).is_err());
}

#[test]
fn matmul_broadcasts_and_has_its_gradients() {
    for (a, b, y) in [
        (&[2, 3][..], &[3, 4][..], &[2, 4][..]),
        (&[5, 2, 3], &[3, 4], &[5, 2, 4]),
        (&[5, 2, 3], &[5, 3, 4], &[5, 2, 4]),
        (&[2, 3], &[5, 3, 4], &[5, 2, 4]),
        (&[2, 1, 2, 3], &[4, 3, 1], &[2, 4, 2, 1]),
        (&[3], &[3], &[]),
        (&[3], &[2, 3, 4], &[2, 4]),
        (&[2, 2, 3], &[3], &[2, 2]),
    ] {
        let (a, b) = (numbers(a, 1), numbers(b, 2));
        assert_eq!(matmul(&a, &b).unwrap().dims(), y);
        check_gradients(&[a, b], |t| matmul(&t[0], &t[1]));
    }
    check_gradients(&[numbers(&[3, 3], 1)], |t| matmul(&t[0], &t[0]));
    assert!(matmul(&numbers(&[2, 3], 1), &numbers(&[2, 3], 1)).is_err());
}

#[test]
fn rows_do_not_depend_on_their_batch() {
    let to_f32 = |x: Tensor| x.to_dtype(DType::F32).unwrap();
    // Wide and deep enough to cross every block, and the smallest.
    for (inputs, outputs) in [(1, 1), (3, 2), (70, 1), (1100, 1030), (4000, 10)] {
        let weight = to_f32(numbers(&[outputs, inputs], 2));
        check_rows_alone(&to_f32(numbers(&[11, inputs], 1)), |x| linear(x, &weight, None));
        let weight = to_f32(numbers(&[inputs, outputs], 2));
        check_rows_alone(&to_f32(numbers(&[11, inputs], 1)), |x| matmul(x, &weight));
        check_rows_alone(&to_f32(numbers(&[3, 5, inputs], 1)), |x| matmul(x, &weight));
    }
}

#[test]
fn normalisations_have_their_gradients() {
    for shape in [&[2, 4][..], &[2, 4, 5], &[2, 4, 3, 2]] {
        let (x, scale, shift) = (numbers(shape, 1), numbers(&[4], 2), numbers(&[4], 3));
        let inputs = [x.clone(), scale, shift];
        check_gradients(&inputs, |t| batch_norm(&t[0], &t[1], &t[2]));
        for groups in [1, 2, 4] {
            check_gradients(&inputs, |t| group_norm(&t[0], groups, Some(&t[1]), Some(&t[2]), 1e-2));
        }
        for axis in 1..shape.len() {
            let (weight, bias) = (numbers(&shape[axis..], 2), numbers(&shape[axis..], 3));
            check_gradients(&[x.clone(), weight, bias], |t| layer_norm(&t[0], axis, Some(&t[1]), Some(&t[2]), 1e-2));
            check_gradients(&[x.clone()], |t| layer_norm(&t[0], axis, None, None, 1e-2));
        }
    }
    let x = numbers(&[2, 4, 3], 1);
    assert!(group_norm(&x, 3, None, None, 1e-5).is_err());
    assert!(layer_norm(&x, 3, None, None, 1e-5).is_err());
    assert!(batch_norm(&x, &numbers(&[3], 1), &numbers(&[3], 1)).is_err());
    // A constant run has no spread: nothing is divided by zero.
    let flat = x.ones_like().unwrap();
    assert_close(&layer_norm(&flat, 1, None, None, 1e-5).unwrap(), &flat.zeros_like().unwrap(), 1e-15);
}
