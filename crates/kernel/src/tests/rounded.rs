//! Kernels whose factors are rounded to `bf16`, against plain loops in f64 over factors that were rounded beforehand.

use super::super::factors::rounded;
use super::*;

fn all_rounded(numbers: &[f32]) -> Vec<f32> {
    numbers.iter().copied().map(rounded).collect()
}

/// `‖a - b‖ / ‖b‖` of two results.
fn apart(a: &[f32], b: &[f32]) -> f64 {
    distance(a, &b.iter().copied().map(f64::from).collect::<Vec<_>>())
}

#[test]
fn numbers_are_rounded_to_the_nearest_and_to_even() {
    // 1 and the next bf16, 1 + 2^-7; halfway between them and between the next two.
    for (value, expected) in [
        (1.0, 1.0),
        (1.003, 1.0),
        (1.005, 1.007_812_5),
        (1.0 + 1.0 / 256.0, 1.0),
        (1.0 + 3.0 / 256.0, 1.015_625),
        (-1.005, -1.007_812_5),
        (f32::MAX, f32::INFINITY),
        (f32::NEG_INFINITY, f32::NEG_INFINITY),
    ] {
        assert_eq!(rounded(value), expected, "{value}");
    }
    assert!(rounded(f32::from_bits(0x7f80_0001)).is_nan());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn direct_multiplies_rounded_factors(
        isa in isas(), n in 1usize..3, h in 1usize..12, w in 1usize..12,
        groups in proptest::sample::select(vec![1usize, 1, 2]), c in 1usize..40, o in 1usize..60,
        kernel in prop::array::uniform2(1usize..4), stride in prop::array::uniform2(1usize..3),
        padding in prop::array::uniform4(0usize..3), gap in 0usize..3, seed in 0u64..1000,
    ) {
        let conv = Conv { stride, padding, groups, ..Conv::default() };
        let (weight_shape, c, o) = ([o * groups, c, kernel[0], kernel[1]], c * groups, o * groups);
        let Ok([oh, ow]) = output_size([h, w], kernel, &conv) else { return Ok(()) };
        let input = Loose::new(seed, [n, h, w, c], gap);
        let weight = numbers(seed + 1, weight_shape.iter().product());
        let mut out = Loose::new(seed + 2, [n, oh, ow, o], gap);
        let gaps = out.gaps();
        let (add, bias) = (Loose::new(seed + 3, out.shape, 1), numbers(seed + 5, o));
        let mut expected = convolved(
            &all_rounded(&input.values()), input.shape, &all_rounded(&weight), weight_shape, &conv, out.shape,
        );
        finished(&mut expected, &bias, &add.values(), (0.0, 6.0), &vec![1.0; o * n * oh * ow], BackwardRule::Plain);
        let finish = Finish { bias: Some(&bias), add: Some(add.map()), low: 0.0, high: 6.0, ..Finish::default() };
        let direct = Direct::with_factors(isa, Factors::Bf16, &weight, weight_shape, &conv).unwrap();
        direct.run(input.map(), out.map_mut(), &finish).unwrap();
        close(&out.values(), &expected)?;
        prop_assert_eq!(out.gaps(), gaps);
    }

    #[test]
    fn gradients_multiply_rounded_factors(
        isa in isas(), h in 1usize..12, w in 1usize..12, c in 1usize..40, o in 1usize..60,
        kernel in prop::array::uniform2(1usize..4), stride in prop::array::uniform2(1usize..3),
        padding in prop::array::uniform4(0usize..3), seed in 0u64..1000,
    ) {
        let conv = Conv { stride, padding, ..Conv::default() };
        let shape = [o, c, kernel[0], kernel[1]];
        let Ok([oh, ow]) = output_size([h, w], kernel, &conv) else { return Ok(()) };
        let gradient = Loose::new(seed, [2, oh, ow, o], 1);
        let weight = numbers(seed + 1, shape.iter().product());
        let mut back = Loose::new(seed + 2, [2, h, w, c], 0);
        let values = gradient.values();
        let expected = pulled_back(
            &all_rounded(&values), gradient.shape, &all_rounded(&weight), shape, &conv, back.shape,
        );
        Transposed::with_factors(isa, Factors::Bf16, &weight, shape, &conv).unwrap()
            .run(gradient.map(), back.map_mut(), &Finish::default()).unwrap();
        close(&back.values(), &expected)?;
        if kernel == [3, 3] && stride == [1, 1] {
            let exact = pulled_back(&values, gradient.shape, &weight, shape, &conv, back.shape);
            Winograd::gradient_with_factors(isa, Factors::Bf16, Tile::FourBalanced, &weight, [o, c]).unwrap()
                .run(gradient.map(), [2 - padding[0], 2 - padding[1]], back.map_mut(), &Finish::default()).unwrap();
            let far = distance(&back.values(), &exact);
            prop_assert!(far <= 0.03, "relative distance {far:e}");
        }
    }

    #[test]
    fn linear_multiplies_rounded_factors(
        isa in isas(), n in 1usize..11, i in 1usize..200, o in 1usize..50, seed in 0u64..1000,
    ) {
        let (x, weight, bias) = (numbers(seed, n * i), numbers(seed + 1, o * i), numbers(seed + 2, o));
        let mut out = vec![0.0; n * o];
        Linear::new(isa, Factors::Bf16, &weight, [o, i]).unwrap()
            .run(&x, Some(&bias), (-0.5, 4.0), n, &mut out).unwrap();
        let dot = |row: usize, output: usize| -> f64 {
            (0..i).map(|k| f64::from(rounded(x[row * i + k])) * f64::from(rounded(weight[output * i + k]))).sum()
        };
        let expected: Vec<f64> =
            (0..n * o).map(|at| (dot(at / o, at % o) + f64::from(bias[at % o])).clamp(-0.5, 4.0)).collect();
        close(&out, &expected)?;
    }

    #[test]
    fn winograd_in_bf16_is_nearly_a_convolution_and_the_same_everywhere(
        tile in proptest::sample::select(vec![Tile::Two, Tile::FourBalanced]),
        n in 1usize..3, h in 2usize..14, w in 2usize..14, c in 1usize..40, o in 1usize..60,
        padding in prop::array::uniform4(0usize..3), gap in 0usize..3, seed in 0u64..1000,
    ) {
        let conv = Conv { padding, ..Conv::default() };
        let Ok([oh, ow]) = output_size([h, w], [3, 3], &conv) else { return Ok(()) };
        let input = Loose::new(seed, [n, h, w, c], gap);
        let weight = numbers(seed + 1, o * c * 9);
        let expected = convolved(&input.values(), input.shape, &weight, [o, c, 3, 3], &conv, [n, oh, ow, o]);
        let mut first: Option<Vec<f32>> = None;
        for isa in Isa::available() {
            let mut out = Loose::new(seed + 2, [n, oh, ow, o], gap);
            let gaps = out.gaps();
            Winograd::with_factors(isa, Factors::Bf16, tile, &weight, [o, c]).unwrap()
                .run(input.map(), [padding[0], padding[1]], out.map_mut(), &Finish::default()).unwrap();
            let far = distance(&out.values(), &expected);
            prop_assert!(far <= 0.03, "{isa:?} {tile:?}: relative distance {far:e}");
            prop_assert_eq!(out.gaps(), gaps);
            // A transformed number next to the middle of two may be rounded to either.
            let far = apart(&out.values(), first.get_or_insert_with(|| out.values()));
            prop_assert!(far <= 2e-3, "{isa:?} {tile:?}: relative distance to the portable kernel {far:e}");
        }
    }
}

#[test]
fn deep_windows_are_rounded_in_parts() {
    for (channels, outputs, kernel, stride, size) in
        [(1801, 70, 1, 1, [5, 7]), (131, 50, 3, 2, [9, 8]), (801, 20, 3, 1, [4, 4]), (3, 20, 7, 2, [19, 21])]
    {
        let conv = Conv { stride: [stride; 2], padding: [kernel / 2; 4], ..Conv::default() };
        let shape = [outputs, channels, kernel, kernel];
        let weight = numbers(1, shape.iter().product());
        let input = Loose::new(2, [2, size[0], size[1], channels], 1);
        let [oh, ow] = output_size(size, [kernel; 2], &conv).unwrap();
        let values = all_rounded(&input.values());
        for isa in Isa::available() {
            let direct = Direct::with_factors(isa, Factors::Bf16, &weight, shape, &conv).unwrap();
            let mut out = Loose::new(4, [2, oh, ow, outputs], 0);
            let expected = convolved(&values, input.shape, &all_rounded(&weight), shape, &conv, out.shape);
            direct.run(input.map(), out.map_mut(), &Finish::default()).unwrap();
            assert!(distance(&out.values(), &expected) <= 1e-5, "{isa:?} {shape:?}");
        }
    }
}
