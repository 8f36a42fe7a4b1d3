use super::{check_gradients, check_rows_alone, gradients, numbers, tensor, values};
use crate::{Pool, adaptive_avg_pool2d, adaptive_max_pool2d, avg_pool2d, max_pool2d};
use candle_core::DType;

/// Stems (3/2), odd sizes that leave pixels over, one-sided padding, overhanging windows, unequal axes.
pub(super) fn pools() -> Vec<Pool> {
    let mut pools = Vec::new();
    for (kernel, stride, padding) in [
        ([2, 2], [2, 2], [0; 4]),
        ([3, 3], [2, 2], [0; 4]),
        ([3, 3], [2, 2], [1, 1, 1, 1]),
        ([3, 2], [1, 3], [2, 0, 1, 1]),
        ([2, 3], [3, 2], [0, 2, 0, 0]),
        ([1, 1], [2, 2], [0; 4]),
    ] {
        for (ceil, count_padding) in [(false, false), (false, true), (true, false), (true, true)] {
            pools.push(Pool { kernel, stride, padding, ceil, count_padding, ..Pool::default() });
        }
    }
    pools
}

#[test]
fn pooling_has_its_gradients() {
    for pool in pools() {
        for size in [[2, 2, 7, 6], [1, 1, 5, 8], [1, 2, 3, 3]] {
            let x = [numbers(&size, 7)];
            check_gradients(&x, |t| max_pool2d(&t[0], &pool));
            check_gradients(&x, |t| avg_pool2d(&t[0], &pool));
            let dilated = Pool { dilation: [1, 2], padding: [0, 1, 0, 2], ..pool };
            if size[3] >= 5 && pool.kernel[1] > 1 {
                check_gradients(&x, |t| max_pool2d(&t[0], &dilated));
            }
        }
    }
}

#[test]
fn adaptive_pooling_has_its_gradients() {
    for size in [[1, 1], [2, 3], [5, 7], [7, 9]] {
        let x = [numbers(&[2, 2, 5, 7], 8)];
        check_gradients(&x, |t| adaptive_avg_pool2d(&t[0], size));
        check_gradients(&x, |t| adaptive_max_pool2d(&t[0], size));
    }
}

#[test]
fn a_tied_maximum_gives_its_gradient_to_the_first() {
    let pool = Pool::default();
    let gradient = |x: &[f64]| {
        let gradients = gradients(&[tensor(x, &[1, 1, 2, 2])], &|t| {
            let y = max_pool2d(&t[0], &pool)?;
            // Undoes the fixed cotangent.
            &y / super::cotangent(&y)
        });
        values(&gradients[0])
    };
    assert_eq!(gradient(&[3., 3., 3., 3.]), [1., 0., 0., 0.]);
    assert_eq!(gradient(&[1., 3., 3., 2.]), [0., 1., 0., 0.]);
    assert_eq!(gradient(&[0., -0., 0., 0.]), [1., 0., 0., 0.]);
}

#[test]
fn overlapping_windows_add_their_gradients() {
    let x = tensor(&[1., 2., 9., 3., 4.], &[1, 1, 1, 5]);
    let pool = Pool { kernel: [1, 3], stride: [1, 1], ..Pool::default() };
    let ones = gradients(&[x], &|t| {
        let y = max_pool2d(&t[0], &pool)?;
        let cotangent = super::cotangent(&y);
        y / cotangent
    });
    assert_eq!(values(&ones[0]), [0., 0., 3., 0., 0.]);
}

#[test]
fn pixels_that_no_window_covers_get_no_gradient() {
    // candle's average spreads into the fifth row and column.
    let gradients = gradients(&[numbers(&[1, 1, 5, 5], 1)], &|t| avg_pool2d(&t[0], &Pool::default()));
    let gradient = values(&gradients[0]);
    for i in 0..5 {
        assert_eq!((gradient[4 * 5 + i], gradient[i * 5 + 4]), (0., 0.));
    }
}

#[test]
fn padding_never_wins_a_maximum_and_counts_in_a_mean_only_if_asked() {
    let x = tensor(&[-5.], &[1, 1, 1, 1]);
    let pool = Pool { kernel: [3, 3], stride: [1, 1], padding: [1, 1, 1, 1], ..Pool::default() };
    assert_eq!(values(&max_pool2d(&x, &pool).unwrap()), [-5.]);
    assert_eq!(values(&avg_pool2d(&x, &Pool { count_padding: false, ..pool }).unwrap()), [-5.]);
    assert!((values(&avg_pool2d(&x, &pool).unwrap())[0] + 5. / 9.).abs() < 1e-15);
}

#[test]
fn a_window_that_starts_behind_the_input_does_not_count() {
    let x = numbers(&[1, 1, 4, 4], 1);
    let pool = Pool { kernel: [1, 1], stride: [3, 3], ceil: true, ..Pool::default() };
    assert_eq!(max_pool2d(&x, &pool).unwrap().dims(), [1, 1, 2, 2]);
    let pool = Pool { kernel: [3, 3], stride: [2, 2], ceil: true, ..Pool::default() };
    assert_eq!(max_pool2d(&x, &pool).unwrap().dims(), [1, 1, 2, 2]);
    let pool = Pool { kernel: [2, 2], stride: [3, 3], padding: [0, 0, 1, 1], ceil: true, ..Pool::default() };
    assert_eq!(max_pool2d(&x, &pool).unwrap().dims(), [1, 1, 2, 2]);
}

#[test]
fn nan_is_seen() {
    let x = tensor(&[1., f64::NAN, 2., 3.], &[1, 1, 2, 2]);
    assert!(values(&max_pool2d(&x, &Pool::default()).unwrap())[0].is_nan());
}

#[test]
fn a_row_does_not_depend_on_its_batch() {
    let x = numbers(&[5, 3, 9, 9], 1).to_dtype(DType::F32).unwrap();
    for pool in pools() {
        check_rows_alone(&x, |x| max_pool2d(x, &pool));
        check_rows_alone(&x, |x| avg_pool2d(x, &pool));
    }
    check_rows_alone(&x, |x| adaptive_avg_pool2d(x, [1, 1]));
}

#[test]
fn what_does_not_fit_is_an_error_that_names_it() {
    let x = numbers(&[1, 1, 4, 4], 1);
    let error = |pool: Pool| max_pool2d(&x, &pool).unwrap_err().to_string();
    assert!(error(Pool { stride: [0, 1], ..Pool::default() }).contains("stride"));
    assert!(error(Pool { padding: [2, 0, 0, 0], ..Pool::default() }).contains("padding"));
    assert!(error(Pool { kernel: [5, 1], ..Pool::default() }).contains("larger than the padded input"));
    assert!(adaptive_avg_pool2d(&x, [0, 1]).is_err());
    assert!(avg_pool2d(&x, &Pool { dilation: [2, 1], ..Pool::default() }).is_err());
    assert!(max_pool2d(&numbers(&[4, 4], 1), &Pool::default()).is_err());
}
