//! Every kernel, on every instruction set, against plain loops in f64.

use super::*;
use crate::{BackwardRule, Conv, Pool};
use proptest::prelude::*;

mod attention;
mod elements;
mod recurrent;
mod rounded;
mod threads;
mod transcendental;

/// Numbers in (-1, 1) that depend on the seed alone.
fn numbers(seed: u64, length: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    (0..length).map(|_| next()).collect()
}

/// `‖a - b‖ / ‖b‖`.
fn distance(a: &[f32], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    let difference: f64 = a.iter().zip(b).map(|(a, b)| (f64::from(*a) - b).powi(2)).sum();
    let length: f64 = b.iter().map(|b| b * b).sum();
    (difference / length.max(1e-12)).sqrt()
}

/// A map with room between its pixels and an odd start, so that nothing is aligned.
struct Loose {
    data: Vec<f32>,
    shape: [usize; 4],
    pixel: usize,
}

impl Loose {
    fn new(seed: u64, shape: [usize; 4], gap: usize) -> Self {
        let pixel = shape[3] + gap;
        Self { data: numbers(seed, 1 + shape[..3].iter().product::<usize>() * pixel), shape, pixel }
    }
    fn map(&self) -> Map<'_> {
        Map::with_pixel(&self.data[1..], self.shape, self.pixel).unwrap()
    }
    fn map_mut(&mut self) -> MapMut<'_> {
        MapMut::with_pixel(&mut self.data[1..], self.shape, self.pixel).unwrap()
    }
    fn at(&self, n: usize, y: usize, x: usize, c: usize) -> f64 {
        let [_, h, w, _] = self.shape;
        f64::from(self.data[1 + ((n * h + y) * w + x) * self.pixel + c])
    }
    /// The map's elements without the gaps.
    fn values(&self) -> Vec<f32> {
        self.data[1..].chunks(self.pixel).flat_map(|pixel| pixel[..self.shape[3].min(pixel.len())].to_vec()).collect()
    }
    fn gaps(&self) -> Vec<f32> {
        self.data[1..].chunks(self.pixel).flat_map(|pixel| pixel[self.shape[3]..].to_vec()).collect()
    }
}

/// All products of a convolution: `f(output index, input index, weight index)`.
fn each_product(
    input: [usize; 4],
    output: [usize; 4],
    [_, depth, kh, kw]: [usize; 4],
    conv: &Conv,
    mut f: impl FnMut(usize, usize, usize),
) {
    let ([n, h, w, c], [_, oh, ow, o]) = (input, output);
    let per_group = o / conv.groups;
    for image in 0..n {
        for (oy, ox) in (0..oh).flat_map(|y| (0..ow).map(move |x| (y, x))) {
            for (ky, kx) in (0..kh).flat_map(|y| (0..kw).map(move |x| (y, x))) {
                let y = (oy * conv.stride[0] + ky * conv.dilation[0]).wrapping_sub(conv.padding[0]);
                let x = (ox * conv.stride[1] + kx * conv.dilation[1]).wrapping_sub(conv.padding[1]);
                if y >= h || x >= w {
                    continue;
                }
                for out in 0..o {
                    for channel in 0..depth {
                        f(
                            ((image * oh + oy) * ow + ox) * o + out,
                            ((image * h + y) * w + x) * c + out / per_group * depth + channel,
                            ((out * depth + channel) * kh + ky) * kw + kx,
                        );
                    }
                }
            }
        }
    }
}

fn convolved(
    input: &[f32],
    shape: [usize; 4],
    weight: &[f32],
    ws: [usize; 4],
    conv: &Conv,
    os: [usize; 4],
) -> Vec<f64> {
    let mut out = vec![0.0; os.iter().product()];
    each_product(shape, os, ws, conv, |o, i, k| out[o] += f64::from(input[i]) * f64::from(weight[k]));
    out
}

fn pulled_back(
    gradient: &[f32],
    os: [usize; 4],
    weight: &[f32],
    ws: [usize; 4],
    conv: &Conv,
    s: [usize; 4],
) -> Vec<f64> {
    let mut out = vec![0.0; s.iter().product()];
    each_product(s, os, ws, conv, |o, i, k| out[i] += f64::from(gradient[o]) * f64::from(weight[k]));
    out
}

/// Finishes a reference: bias, addition, clamp, gate.
fn finished(values: &mut [f64], bias: &[f32], add: &[f32], bounds: (f32, f32), gate: &[f32], rule: BackwardRule) {
    for (i, value) in values.iter_mut().enumerate() {
        *value += f64::from(bias[i % bias.len()]) + f64::from(add[i]);
        *value = value.clamp(f64::from(bounds.0), f64::from(bounds.1));
        if rule != BackwardRule::Deconvnet && gate[i] <= 0.0 {
            *value = 0.0;
        }
        if rule != BackwardRule::Plain {
            *value = value.max(0.0);
        }
    }
}

fn isas() -> impl Strategy<Value = Isa> {
    proptest::sample::select(Isa::available())
}

fn tiles() -> impl Strategy<Value = Tile> {
    use Tile::{Four, FourBalanced, Six, StridedFour, StridedTwo, Two};
    proptest::sample::select(vec![Two, Four, FourBalanced, Six, StridedTwo, StridedFour])
}

fn rules() -> impl Strategy<Value = BackwardRule> {
    proptest::sample::select(vec![BackwardRule::Plain, BackwardRule::Deconvnet, BackwardRule::Guided])
}

fn close(got: &[f32], expected: &[f64]) -> std::result::Result<(), TestCaseError> {
    let far = distance(got, expected);
    prop_assert!(far <= 1e-5, "relative distance {far:e}");
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn winograd_is_a_convolution(
        isa in isas(), tile in tiles(), rule in rules(),
        n in 1usize..3, h in 1usize..20, w in 1usize..20, c in 1usize..40, o in 1usize..70,
        padding in prop::array::uniform4(0usize..3), gap in 0usize..3, seed in 0u64..1000,
    ) {
        let conv = Conv { padding, stride: [tile.stride(); 2], ..Conv::default() };
        let Ok([oh, ow]) = output_size([h, w], [3, 3], &conv) else { return Ok(()) };
        let input = Loose::new(seed, [n, h, w, c], gap);
        let weight = numbers(seed + 1, o * c * 9);
        let mut out = Loose::new(seed + 2, [n, oh, ow, o], gap);
        let gaps = out.gaps();
        let (add, gate, bias) = (Loose::new(seed + 3, out.shape, 1), Loose::new(seed + 4, out.shape, 0), numbers(seed + 5, o));
        let mut expected = convolved(&input.values(), input.shape, &weight, [o, c, 3, 3], &conv, out.shape);
        finished(&mut expected, &bias, &add.values(), (-1.0, 2.0), &gate.values(), rule);
        let finish = Finish {
            bias: Some(&bias), add: Some(add.map()), low: -1.0, high: 2.0, accumulate: false,
            activation: None,
            gate: Some(Gate { values: gate.map(), low: 0.0, high: f32::INFINITY, rule }),
        };
        Winograd::new(isa, tile, &weight, [o, c]).unwrap()
            .run(input.map(), [padding[0], padding[1]], out.map_mut(), &finish).unwrap();
        close(&out.values(), &expected)?;
        prop_assert_eq!(out.gaps(), gaps);
    }

    #[test]
    fn winograd_pulls_back(
        isa in isas(), tile in proptest::sample::select(vec![Tile::Two, Tile::Four, Tile::FourBalanced, Tile::Six]),
        h in 1usize..14, w in 1usize..14, c in 1usize..20, o in 1usize..30,
        padding in prop::array::uniform4(0usize..3), seed in 0u64..1000,
    ) {
        let conv = Conv { padding, ..Conv::default() };
        let Ok([oh, ow]) = output_size([h, w], [3, 3], &conv) else { return Ok(()) };
        let gradient = Loose::new(seed, [2, oh, ow, o], 0);
        let weight = numbers(seed + 1, o * c * 9);
        let mut out = Loose::new(seed + 2, [2, h, w, c], 0);
        let mut expected = pulled_back(&gradient.values(), gradient.shape, &weight, [o, c, 3, 3], &conv, out.shape);
        for (value, before) in expected.iter_mut().zip(out.values()) {
            *value += f64::from(before);
        }
        Winograd::gradient(isa, tile, &weight, [o, c]).unwrap()
            .run(gradient.map(), [2 - padding[0], 2 - padding[1]], out.map_mut(), &Finish { accumulate: true, ..Finish::default() })
            .unwrap();
        close(&out.values(), &expected)?;
    }

    #[test]
    fn direct_and_transposed_are_a_convolution_and_its_gradient(
        isa in isas(), n in 1usize..3, h in 1usize..16, w in 1usize..16,
        groups in proptest::sample::select(vec![1usize, 1, 2, 3]), c in 1usize..20, o in 1usize..30,
        kernel in prop::array::uniform2(1usize..6), stride in prop::array::uniform2(1usize..4),
        dilation in prop::array::uniform2(1usize..3), padding in prop::array::uniform4(0usize..4),
        gap in 0usize..3, seed in 0u64..1000,
    ) {
        let conv = Conv { stride, padding, dilation, groups };
        let (weight_shape, c, o) = ([o * groups, c, kernel[0], kernel[1]], c * groups, o * groups);
        let Ok([oh, ow]) = output_size([h, w], kernel, &conv) else { return Ok(()) };
        let input = Loose::new(seed, [n, h, w, c], gap);
        let weight = numbers(seed + 1, weight_shape.iter().product());
        let mut out = Loose::new(seed + 2, [n, oh, ow, o], gap);
        let gaps = out.gaps();
        let (add, bias) = (Loose::new(seed + 3, out.shape, 1), numbers(seed + 5, o));
        let mut expected = convolved(&input.values(), input.shape, &weight, weight_shape, &conv, out.shape);
        finished(&mut expected, &bias, &add.values(), (0.0, 6.0), &vec![1.0; o * n * oh * ow], BackwardRule::Plain);
        let finish = Finish { bias: Some(&bias), add: Some(add.map()), low: 0.0, high: 6.0, ..Finish::default() };
        Direct::new(isa, &weight, weight_shape, &conv).unwrap().run(input.map(), out.map_mut(), &finish).unwrap();
        close(&out.values(), &expected)?;
        prop_assert_eq!(out.gaps(), gaps);

        let gradient = Loose::new(seed + 6, [n, oh, ow, o], gap);
        let mut back = Loose::new(seed + 7, [n, h, w, c], gap);
        let gate = Loose::new(seed + 8, [n, h, w, c], 0);
        let mut expected = pulled_back(&gradient.values(), gradient.shape, &weight, weight_shape, &conv, back.shape);
        finished(&mut expected, &[0.0], &vec![0.0; n * h * w * c], (f32::NEG_INFINITY, f32::INFINITY), &gate.values(), BackwardRule::Guided);
        let finish = Finish {
            gate: Some(Gate { values: gate.map(), low: 0.0, high: f32::INFINITY, rule: BackwardRule::Guided }),
            ..Finish::default()
        };
        Transposed::new(isa, &weight, weight_shape, &conv).unwrap().run(gradient.map(), back.map_mut(), &finish).unwrap();
        close(&back.values(), &expected)?;
    }

    #[test]
    fn depthwise_is_a_grouped_convolution(
        isa in isas(), n in 1usize..3, h in 1usize..16, w in 1usize..16, c in 1usize..70,
        kernel in proptest::sample::select(vec![[3usize, 3], [3, 3], [5, 5], [7, 7], [1, 4]]),
        stride in proptest::sample::select(vec![[1usize, 1], [2, 2], [1, 2]]),
        dilation in proptest::sample::select(vec![[1usize, 1], [1, 1], [2, 1]]),
        padding in prop::array::uniform4(0usize..5), gap in 0usize..3, seed in 0u64..1000,
    ) {
        let conv = Conv { stride, padding, dilation, groups: c };
        let weight_shape = [c, 1, kernel[0], kernel[1]];
        let Ok([oh, ow]) = output_size([h, w], kernel, &conv) else { return Ok(()) };
        let input = Loose::new(seed, [n, h, w, c], gap);
        let weight = numbers(seed + 1, weight_shape.iter().product());
        let mut out = Loose::new(seed + 2, [n, oh, ow, c], gap);
        let gaps = out.gaps();
        let kernels = Depthwise::new(isa, &weight, weight_shape, &conv).unwrap();
        kernels.run(input.map(), out.map_mut(), &Finish::default()).unwrap();
        close(&out.values(), &convolved(&input.values(), input.shape, &weight, weight_shape, &conv, out.shape))?;
        prop_assert_eq!(out.gaps(), gaps);
        let mut back = Loose::new(seed + 7, [n, h, w, c], gap);
        kernels.gradient(out.map(), back.map_mut(), &Finish::default()).unwrap();
        close(&back.values(), &pulled_back(&out.values(), out.shape, &weight, weight_shape, &conv, back.shape))?;
    }

    #[test]
    fn pooling_and_its_gradient(
        isa in isas(), n in 1usize..3, h in 1usize..12, w in 1usize..12, c in 1usize..70,
        kernel in prop::array::uniform2(1usize..4), stride in prop::array::uniform2(1usize..4),
        padding in prop::array::uniform4(0usize..2), dilation in 1usize..3, ceil in any::<bool>(),
        count_padding in any::<bool>(), seed in 0u64..1000,
    ) {
        let pool = Pool { kernel, stride, padding, dilation: [dilation; 2], ceil, count_padding };
        let (Ok(rows), Ok(columns)) = (Windows::sliding(&pool, 0, h), Windows::sliding(&pool, 1, w)) else { return Ok(()) };
        let windows = [&rows, &columns];
        // Few distinct values, so that there are ties.
        let mut input = Loose::new(seed, [n, h, w, c], 1);
        input.data.iter_mut().for_each(|x| *x = (*x * 3.0).round());
        let shape = [n, rows.count(), columns.count(), c];
        let gradient = Loose::new(seed + 1, shape, 2);
        let mut out = Loose::new(seed + 2, shape, 0);
        max_pool(isa, input.map(), windows, out.map_mut()).unwrap();
        let mut expected = Vec::new();
        let mut expected_back = vec![0.0; n * h * w * c];
        for (i, oy, ox, channel) in indices(shape) {
            let mut best: Option<(f64, usize)> = None;
            for (ky, kx) in (0..kernel[0]).flat_map(|y| (0..kernel[1]).map(move |x| (y, x))) {
                let y = (oy * stride[0] + ky * dilation).wrapping_sub(padding[0]);
                let x = (ox * stride[1] + kx * dilation).wrapping_sub(padding[1]);
                if y < h && x < w {
                    let value = input.at(i, y, x, channel);
                    if best.is_none_or(|(b, _)| value > b) {
                        best = Some((value, ((i * h + y) * w + x) * c + channel));
                    }
                }
            }
            expected.push(best.map_or(f64::NEG_INFINITY, |(value, _)| value));
            if let Some((value, place)) = best && value > 0.0 {
                expected_back[place] += gradient.at(i, oy, ox, channel);
            }
        }
        let got: Vec<f64> = out.values().into_iter().map(f64::from).collect();
        prop_assert_eq!(got, expected);
        let mut back = Loose::new(seed + 3, input.shape, 1);
        let gate = PoolGate { activation: Some((0.0, f32::INFINITY, BackwardRule::Plain)), accumulate: false };
        max_pool_gradient(isa, input.map(), gradient.map(), windows, back.map_mut(), &gate).unwrap();
        close(&back.values(), &expected_back)?;

        let pool = Pool { dilation: [1; 2], ..pool };
        let (Ok(rows), Ok(columns)) = (Windows::sliding(&pool, 0, h), Windows::sliding(&pool, 1, w)) else { return Ok(()) };
        let shape = [n, rows.count(), columns.count(), c];
        let gradient = Loose::new(seed + 1, shape, 2);
        let mut out = Loose::new(seed + 2, shape, 0);
        average_pool(isa, input.map(), [&rows, &columns], out.map_mut()).unwrap();
        let mut back = Loose::new(seed + 3, input.shape, 1);
        let mut expected_back: Vec<f64> = back.values().into_iter().map(f64::from).collect();
        let mut expected = Vec::new();
        for (i, oy, ox, channel) in indices(shape) {
            let range = |axis: usize, o: usize, size: usize| {
                let start = (o * stride[axis]) as isize - padding[axis] as isize;
                let end = (start + kernel[axis] as isize).min((size + padding[axis + 2]) as isize);
                (start, end, start.max(0) as usize..(end.max(0) as usize).min(size))
            };
            let ((ys, ye, y), (xs, xe, x)) = (range(0, oy, h), range(1, ox, w));
            let whole = ((ye - ys) * (xe - xs)) as f64;
            let divisor = if count_padding { whole } else { (y.len() * x.len()).max(1) as f64 };
            let mut sum = 0.0;
            for (y, x) in y.flat_map(|y| x.clone().map(move |x| (y, x))) {
                sum += input.at(i, y, x, channel);
                expected_back[((i * h + y) * w + x) * c + channel] += gradient.at(i, oy, ox, channel) / divisor;
            }
            expected.push(sum / divisor);
        }
        close(&out.values(), &expected)?;
        average_pool_gradient(isa, gradient.map(), [&rows, &columns], back.map_mut(), true).unwrap();
        close(&back.values(), &expected_back)?;
    }

    #[test]
    fn linear_and_its_gradient(isa in isas(), n in 1usize..11, i in 1usize..200, o in 1usize..50, seed in 0u64..1000) {
        // Odd starts, so that nothing is aligned.
        let (x, weight, bias, gradient) =
            (numbers(seed, n * i + 1), numbers(seed + 1, o * i + 1), numbers(seed + 2, o), numbers(seed + 3, n * o + 1));
        let (x, weight, gradient) = (&x[1..], &weight[1..], &gradient[1..]);
        let mut out = vec![0.0; n * o];
        linear(isa, x, weight, Some(&bias), (-0.5, 4.0), [n, i, o], &mut out).unwrap();
        let dot = |row: usize, output: usize| -> f64 {
            (0..i).map(|k| f64::from(x[row * i + k]) * f64::from(weight[output * i + k])).sum()
        };
        let expected: Vec<f64> =
            (0..n * o).map(|at| (dot(at / o, at % o) + f64::from(bias[at % o])).clamp(-0.5, 4.0)).collect();
        close(&out, &expected)?;
        let mut back = vec![7.0; n * i];
        linear_gradient(isa, gradient, weight, [n, i, o], false, &mut back).unwrap();
        let expected: Vec<f64> = (0..n * i)
            .map(|at| (0..o).map(|k| f64::from(gradient[at / i * o + k]) * f64::from(weight[k * i + at % i])).sum())
            .collect();
        close(&back, &expected)?;
    }

    #[test]
    fn layouts_go_there_and_back(n in 1usize..3, h in 1usize..40, w in 1usize..40, c in 1usize..40, gap in 0usize..3) {
        let planes = numbers(7, n * h * w * c);
        let mut map = Loose::new(8, [n, h, w, c], gap);
        from_planar(&planes, map.map_mut()).unwrap();
        for (i, y, x, channel) in indices(map.shape) {
            prop_assert_eq!(map.at(i, y, x, channel), f64::from(planes[((i * c + channel) * h + y) * w + x]));
        }
        let mut back = vec![0.0; planes.len()];
        to_planar(map.map(), &mut back).unwrap();
        prop_assert_eq!(back, planes);
    }

    #[test]
    fn copy_scales_and_finishes(isa in isas(), n in 1usize..4, h in 1usize..9, c in 1usize..70, seed in 0u64..1000) {
        let (input, gate) = (Loose::new(seed, [n, h, 3, c], 1), Loose::new(seed + 1, [n, h, 3, c], 0));
        let (scale, shift) = (numbers(seed + 2, c), numbers(seed + 3, c));
        let mut out = Loose::new(seed + 4, [n, h, 3, c], 2);
        let mut expected: Vec<f64> = input.values().into_iter().enumerate()
            .map(|(i, x)| f64::from(x) * f64::from(scale[i % c])).collect();
        finished(&mut expected, &shift, &vec![0.0; n * h * 3 * c], (0.0, 1.0), &gate.values(), BackwardRule::Plain);
        let gate = Gate { values: gate.map(), low: 0.0, high: 1.0, rule: BackwardRule::Plain };
        let finish = Finish { bias: Some(&shift), low: 0.0, high: 1.0, gate: Some(gate), ..Finish::default() };
        copy(isa, input.map(), Some(&scale), out.map_mut(), &finish).unwrap();
        close(&out.values(), &expected)?;
    }
}

fn indices([n, h, w, c]: [usize; 4]) -> impl Iterator<Item = (usize, usize, usize, usize)> {
    (0..n * h * w * c).map(move |i| (i / (h * w * c), i / (w * c) % h, i / c % w, i % c))
}

#[test]
fn deep_windows_are_added_up_in_parts() {
    for (channels, outputs, kernel, stride, size) in
        [(900, 70, 1, 1, [5, 7]), (130, 50, 3, 2, [9, 8]), (401, 20, 3, 1, [4, 4])]
    {
        let conv = Conv { stride: [stride; 2], padding: [kernel / 2; 4], ..Conv::default() };
        let shape = [outputs, channels, kernel, kernel];
        let weight = numbers(1, shape.iter().product());
        let input = Loose::new(2, [2, size[0], size[1], channels], 1);
        let [oh, ow] = output_size(size, [kernel; 2], &conv).unwrap();
        let bias = numbers(3, outputs);
        for isa in Isa::available() {
            let direct = Direct::new(isa, &weight, shape, &conv).unwrap();
            let mut out = Loose::new(4, [2, oh, ow, outputs], 0);
            let mut expected = convolved(&input.values(), input.shape, &weight, shape, &conv, out.shape);
            for (i, (value, before)) in expected.iter_mut().zip(out.values()).enumerate() {
                *value += f64::from(bias[i % outputs]) + f64::from(before);
            }
            let finish = Finish { bias: Some(&bias), accumulate: true, ..Finish::default() };
            direct.run(input.map(), out.map_mut(), &finish).unwrap();
            assert!(distance(&out.values(), &expected) <= 1e-5, "{isa:?} {shape:?}");

            let gradient = Loose::new(5, out.shape, 0);
            let mut back = Loose::new(6, input.shape, 0);
            let expected = pulled_back(&gradient.values(), gradient.shape, &weight, shape, &conv, back.shape);
            let transposed = Transposed::new(isa, &weight, shape, &conv).unwrap();
            transposed.run(gradient.map(), back.map_mut(), &Finish::default()).unwrap();
            assert!(distance(&back.values(), &expected) <= 1e-5, "{isa:?} {shape:?} back");
        }
    }
}

#[test]
fn not_a_number_goes_through() {
    for isa in Isa::available() {
        let input = [1.0, f32::NAN, 2.0, 3.0];
        let windows = Windows::adaptive(2, 1);
        let mut out = [0.0];
        max_pool(
            isa,
            Map::new(&input, [1, 2, 2, 1]).unwrap(),
            [&windows, &windows],
            MapMut::new(&mut out, [1, 1, 1, 1]).unwrap(),
        )
        .unwrap();
        assert!(out[0].is_nan());
        let mut out = [0.0; 4];
        let relu = Finish { low: 0.0, ..Finish::default() };
        copy(isa, Map::new(&input, [1, 2, 2, 1]).unwrap(), None, MapMut::new(&mut out, [1, 2, 2, 1]).unwrap(), &relu)
            .unwrap();
        assert!(out[1].is_nan() && out[2] == 2.0);
    }
}

#[test]
fn wrong_shapes_are_errors() {
    let isa = Isa::best();
    let map = [0.0; 12];
    assert!(Map::new(&map, [1, 2, 2, 4]).is_err());
    assert!(Winograd::new(isa, Tile::Four, &map, [1, 2]).is_err());
    assert!(Winograd::gradient(isa, Tile::StridedFour, &numbers(0, 18), [1, 2]).is_err());
    assert!(Direct::new(isa, &map, [3, 1, 2, 2], &Conv { groups: 2, ..Conv::default() }).is_err());
    let direct = Direct::new(isa, &map, [3, 1, 2, 2], &Conv::default()).unwrap();
    assert!(direct.output_shape([1, 1, 1, 1]).is_err());
    assert!(direct.output_shape([1, 4, 4, 2]).is_err());
    assert_eq!(direct.output_shape([1, 4, 4, 1]).unwrap(), [1, 3, 3, 3]);
}
