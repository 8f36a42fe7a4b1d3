//! Laws over random shapes: adjointness of what is linear, and no panic whatever the numbers are.

use super::{gradients, numbers, values};
use crate::{
    Conv, Pool, Resize, adaptive_avg_pool2d, adaptive_max_pool2d, avg_pool2d, by_composition, conv_transpose2d, conv2d,
    gather, max_pool2d, resize2d, slice,
};
use candle_core::{Result, Tensor};
use proptest::prelude::*;

type Function<'a> = dyn Fn(&[Tensor]) -> Result<Tensor> + 'a;

/// `<f(x), g> = <x, f'(g)>` for a linear `f`: its gradient is its adjoint; by kernels and by compositions.
fn adjoint(x: &Tensor, f: &Function) -> std::result::Result<(), TestCaseError> {
    let inputs = [x.clone()];
    let dot = |a: &Tensor, b: &Tensor| -> f64 { values(a).iter().zip(values(b)).map(|(a, b)| a * b).sum() };
    let sides = || f(&inputs).map(|y| (dot(&y, &super::cotangent(&y)), dot(x, &gradients(&inputs, f)[0])));
    for sides in [sides(), by_composition(sides)] {
        let Ok((left, right)) = sides else { continue };
        prop_assert!((left - right).abs() < 1e-9 * (1. + left.abs()), "{left} and {right}");
    }
    Ok(())
}

prop_compose! {
    fn conv()(
        stride in [0usize..4, 1usize..4],
        padding in [0usize..4, 0usize..3, 0usize..4, 0usize..3],
        dilation in [1usize..3, 1usize..4],
        groups in 1usize..4,
    ) -> Conv {
        Conv { stride, padding, dilation, groups }
    }
}

prop_compose! {
    fn pool()(
        kernel in [1usize..4, 0usize..5],
        stride in [1usize..4, 1usize..4],
        padding in [0usize..3, 0usize..2, 0usize..3, 0usize..2],
        dilation in [1usize..3, 1usize..3],
        ceil in any::<bool>(),
        count_padding in any::<bool>(),
    ) -> Pool {
        Pool { kernel, stride, padding, dilation, ceil, count_padding }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn convolutions_are_linear_maps_with_their_adjoints(
        conv in conv(),
        (n, h, w) in (0usize..3, 1usize..9, 1usize..9),
        (per_group, outputs) in (1usize..3, 1usize..3),
        (kh, kw) in (1usize..4, 1usize..4),
        extra in [0usize..2, 0usize..2],
    ) {
        let weight = numbers(&[outputs * conv.groups, per_group, kh, kw], 2);
        adjoint(&numbers(&[n, per_group * conv.groups, h, w], 1), &|t| conv2d(&t[0], &weight, None, &conv))?;
        let y = numbers(&[n, outputs * conv.groups, h, w], 1);
        adjoint(&y, &|t| conv_transpose2d(&t[0], &weight, None, &conv, extra))?;
        adjoint(&weight, &|t| conv_transpose2d(&y, &t[0], None, &conv, extra))?;
    }

    #[test]
    fn pools_stay_between_the_extremes_and_pass_on_the_whole_gradient(
        pool in pool(),
        (n, h, w) in (0usize..3, 0usize..9, 1usize..9),
        size in [0usize..6, 1usize..6],
    ) {
        let x = numbers(&[n, 2, h, w], 3);
        adjoint(&x, &|t| avg_pool2d(&t[0], &Pool { dilation: [1, 1], ..pool }))?;
        adjoint(&x, &|t| adaptive_avg_pool2d(&t[0], size))?;
        adjoint(&x, &|t| resize2d(&t[0], size, &Resize::default()))?;
        let maxima: [&Function; 2] =
            [&|t| max_pool2d(&t[0], &pool), &|t| adaptive_max_pool2d(&t[0], size)];
        for f in maxima {
            let Ok(y) = f(std::slice::from_ref(&x)) else { continue };
            if values(&y).contains(&f64::NEG_INFINITY) {
                continue; // A dilated window may step over a small input.
            }
            let total: f64 = values(&gradients(std::slice::from_ref(&x), f)[0]).iter().sum();
            let given: f64 = values(&super::cotangent(&y)).iter().sum();
            prop_assert!((total - given).abs() < 1e-9, "{total} of {given}");
            prop_assert!(values(&y).iter().all(|y| values(&x).contains(y)));
        }
    }

    #[test]
    fn slices_and_picks_are_adjoint_and_never_panic(
        shape in prop::collection::vec(0usize..4, 0..4),
        axis in 0usize..4,
        (start, end, step) in (0usize..6, prop::option::of(0usize..6), -3isize..4),
        index in prop::collection::vec(0usize..4, 0..5),
    ) {
        let x = numbers(&shape, 4);
        adjoint(&x, &|t| slice(&t[0], axis, start, end, step))?;
        adjoint(&x, &|t| gather(&t[0], axis, &index))?;
    }
}
