//! What candle 0.11.1 gets wrong, so that it is noticed when it no longer does; see the table in the crate's docs.
//! The tests of our operations pin what is right.

use super::{numbers, tensor, values};
use candle_core::{Result, Tensor, Var};

fn candle_gradient(x: &Tensor, f: impl Fn(&Tensor) -> Result<Tensor>) -> Result<Vec<f64>> {
    let x = Var::from_tensor(x)?;
    let store = f(&x)?.sum_all()?.backward()?;
    Ok(values(store.get(&x).unwrap()))
}

#[test]
fn candle_scales_the_gradient_of_a_maximum_by_the_number_of_maxima() {
    let x = tensor(&[1., 2., 3., 4.], &[1, 1, 2, 2]);
    assert_eq!(candle_gradient(&x, |x| x.max_pool2d(2)).unwrap(), [0., 0., 0., 0.25]);
    let tied = tensor(&[3.; 4], &[1, 1, 2, 2]);
    assert_eq!(candle_gradient(&tied, |x| x.max_pool2d(2)).unwrap(), [1.; 4]);
    assert!(candle_gradient(&numbers(&[1, 1, 7, 7], 1), |x| x.max_pool2d_with_stride(3, 2)).is_err());
    assert_eq!(candle_gradient(&tensor(&[3.; 4], &[4]), |x| x.max(0)).unwrap(), [1.; 4]);
}

#[test]
fn candle_leaks_a_mean_into_pixels_that_were_never_pooled() {
    let gradient = candle_gradient(&numbers(&[1, 1, 5, 5], 1), |x| x.avg_pool2d(2)).unwrap();
    assert!(gradient[24] != 0.);
}

#[test]
fn candle_forgets_gradients_where_it_upsamples() {
    let x = numbers(&[1, 1, 2, 2], 1);
    // 4 from the upsampling and 1 from the plain use would be right.
    let gradient = candle_gradient(&x, |x| x.upsample_nearest2d(4, 4)?.sum_all()? + x.sum_all()?);
    assert_ne!(gradient.unwrap(), [5.; 4]);
    assert!(candle_gradient(&x, |x| x.upsample_bilinear2d(4, 4, false)).is_err());
}

#[test]
fn candle_passes_a_gradient_through_relu_and_abs_at_zero() {
    let zero = tensor(&[0.], &[1]);
    assert_eq!(candle_gradient(&zero, Tensor::relu).unwrap(), [1.]);
    assert_eq!(candle_gradient(&zero, Tensor::abs).unwrap(), [1.]);
}

#[test]
fn candle_has_no_powers_of_negative_numbers() {
    let power = tensor(&[-2.], &[1]).broadcast_pow(&tensor(&[3.], &[1])).unwrap();
    assert!(values(&power)[0].is_nan());
}

#[test]
fn candle_always_computes_the_kernels_gradient() {
    let (x, kernel) = (Var::from_tensor(&numbers(&[1, 1, 4, 4], 1)).unwrap(), numbers(&[1, 1, 3, 3], 2));
    let store = x.conv2d(&kernel, 0, 1, 1, 1).unwrap().sum_all().unwrap().backward().unwrap();
    assert!(store.get(&kernel).is_some());
}
