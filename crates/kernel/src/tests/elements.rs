//! Activations, products and normalisations on every instruction set, against `f64`.

use super::{Loose, distance};
use crate::Pointwise;
use crate::{Activation, BackwardRule};
use crate::{Isa, LayerNorm, activate, activation_gradient, multiply, sum_of_products};
use candle_core::{Device, Tensor, Var};
use proptest::prelude::*;

const KINDS: [Activation; 9] = [
    Activation::Sigmoid,
    Activation::Tanh,
    Activation::Silu,
    Activation::Gelu,
    Activation::GeluTanh,
    Activation::HardSwish,
    Activation::Mish,
    Activation::Elu { alpha: 0.7 },
    Activation::LeakyRelu { slope: 0.1 },
];

fn wide(map: &Loose) -> Vec<f64> {
    map.values().into_iter().map(f64::from).collect()
}

/// A map whose numbers reach to where activations saturate.
fn far(seed: u64, shape: [usize; 4], gap: usize) -> Loose {
    let mut map = Loose::new(seed, shape, gap);
    map.data.iter_mut().for_each(|value| *value *= 6.0);
    map
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn activations_have_their_values_and_gradients(
        kind in 0..KINDS.len(), rule in 0usize..3, shape in (1usize..3, 1usize..6, 1usize..6, 1usize..40), gaps in (0usize..2, 0usize..2),
        accumulate in any::<bool>(), seed in 0u64..1000,
    ) {
        let kind = KINDS[kind];
        let rule = [BackwardRule::Plain, BackwardRule::Guided, BackwardRule::Deconvnet][rule];
        let shape = [shape.0, shape.1, shape.2, shape.3];
        let (x, g) = (far(seed, shape, gaps.0), Loose::new(seed + 1, shape, gaps.1));
        let expected: Vec<f64> = wide(&x).into_iter().map(|x| kind.value(x)).collect();
        let back = |(x, g): (f64, f64)| match rule {
            BackwardRule::Plain => kind.derivative(x) * g,
            BackwardRule::Guided => kind.derivative(x) * g.max(0.0),
            BackwardRule::Deconvnet => g.max(0.0),
        };
        for isa in Isa::available() {
            let mut out = Loose::new(seed + 2, shape, gaps.1);
            let (before, gap) = (wide(&out), out.gaps());
            activate(isa, kind, x.map(), out.map_mut()).unwrap();
            prop_assert!(distance(&out.values(), &expected) < 1e-6, "{isa:?} {kind:?}");
            prop_assert_eq!(out.gaps(), gap);
            let mut out = Loose::new(seed + 2, shape, gaps.1);
            activation_gradient(isa, (kind, rule), x.map(), g.map(), out.map_mut(), accumulate).unwrap();
            let expected: Vec<f64> = wide(&x).into_iter().zip(wide(&g)).map(back).zip(before)
                .map(|(value, before)| value + if accumulate { before } else { 0.0 }).collect();
            prop_assert!(distance(&out.values(), &expected) < 2e-6, "{isa:?} {kind:?} {rule:?}");
        }
    }

    #[test]
    fn maps_are_multiplied(
        shape in (1usize..4, 1usize..7, 1usize..7, 1usize..150), gaps in (0usize..2, 0usize..2), accumulate in any::<bool>(), seed in 0u64..1000,
    ) {
        let shape = [shape.0, shape.1, shape.2, shape.3];
        let [n, h, w, c] = shape;
        let (a, b) = (Loose::new(seed, shape, gaps.0), Loose::new(seed + 1, shape, gaps.1));
        let gate = Loose::new(seed + 2, [n, 1, 1, c], gaps.1);
        let kept = |value: f64| if accumulate { value } else { 0.0 };
        for isa in Isa::available() {
            let mut out = Loose::new(seed + 3, shape, gaps.0);
            let before = wide(&out);
            multiply(isa, a.map(), b.map(), out.map_mut(), accumulate).unwrap();
            let expected: Vec<f64> =
                wide(&a).iter().zip(wide(&b)).zip(&before).map(|((a, b), before)| a * b + kept(*before)).collect();
            prop_assert!(distance(&out.values(), &expected) < 1e-6);
            let mut out = Loose::new(seed + 3, shape, gaps.0);
            multiply(isa, a.map(), gate.map(), out.map_mut(), accumulate).unwrap();
            let of = wide(&gate);
            let expected: Vec<f64> = wide(&a).iter().enumerate().zip(&before)
                .map(|((i, a), before)| a * of[i / (h * w * c) * c + i % c] + kept(*before)).collect();
            prop_assert!(distance(&out.values(), &expected) < 1e-6);
            let mut out = Loose::new(seed + 4, [n, 1, 1, c], gaps.0);
            let mut expected: Vec<f64> = wide(&out).into_iter().map(kept).collect();
            for (i, (a, b)) in wide(&a).iter().zip(wide(&b)).enumerate() {
                expected[i / (h * w * c) * c + i % c] += a * b;
            }
            sum_of_products(isa, a.map(), b.map(), out.map_mut(), accumulate).unwrap();
            prop_assert!(distance(&out.values(), &expected) < 2e-6);
        }
    }

    #[test]
    fn pixels_are_normalised(
        shape in (1usize..3, 1usize..5, 1usize..5, 2usize..70), gap in 0usize..2, accumulate in any::<bool>(), seed in 0u64..1000,
    ) {
        let shape = [shape.0, shape.1, shape.2, shape.3];
        let (x, g) = (far(seed, shape, gap), Loose::new(seed + 1, shape, gap));
        let (weight, bias) = (super::numbers(seed + 2, shape[3]), super::numbers(seed + 3, shape[3]));
        let tensor = |values: Vec<f64>, dims: &[usize]| Tensor::from_vec(values, dims, &Device::Cpu).unwrap();
        let of = |values: &[f32]| tensor(values.iter().copied().map(f64::from).collect(), &[shape[3]]);
        let input = Var::from_tensor(&tensor(wide(&x), &shape)).unwrap();
        let normal = faithful_tensor::layer_norm(&input, 3, Some(&of(&weight)), Some(&of(&bias)), 1e-5).unwrap();
        let store = (&normal * tensor(wide(&g), &shape)).unwrap().sum_all().unwrap().backward().unwrap();
        let flat = |tensor: &Tensor| tensor.flatten_all().unwrap().to_vec1::<f64>().unwrap();
        let kernel = LayerNorm::new(weight, bias, 1e-5).unwrap();
        for isa in Isa::available() {
            let mut out = Loose::new(seed + 4, shape, gap);
            let before = wide(&out);
            kernel.run(isa, x.map(), out.map_mut()).unwrap();
            prop_assert!(distance(&out.values(), &flat(&normal)) < 2e-6, "{isa:?}");
            let mut out = Loose::new(seed + 4, shape, gap);
            kernel.gradient(isa, x.map(), g.map(), out.map_mut(), accumulate).unwrap();
            let expected: Vec<f64> = flat(store.get(&input).unwrap()).iter().zip(before)
                .map(|(value, before)| value + if accumulate { before } else { 0.0 }).collect();
            // With two channels values are -1 and 1 whatever comes in: all of the gradient cancels, and rounding is left.
            let apart = distance(&out.values(), &expected);
            prop_assert!(shape[3] < 4 || apart < 2e-5, "{isa:?} {apart}");
        }
    }
}

#[test]
fn maps_that_do_not_go_together_are_an_error() {
    let map = |shape: [usize; 4]| Loose::new(0, shape, 0);
    let (a, b) = (map([2, 3, 3, 4]), map([2, 3, 1, 4]));
    let isa = Isa::best();
    assert!(activate(isa, Activation::Silu, a.map(), map([2, 3, 1, 4]).map_mut()).is_err());
    let pair = (Activation::Silu, BackwardRule::Plain);
    assert!(activation_gradient(isa, pair, a.map(), b.map(), map([2, 3, 3, 4]).map_mut(), false).is_err());
    assert!(multiply(isa, a.map(), b.map(), map([2, 3, 3, 4]).map_mut(), false).is_err());
    assert!(sum_of_products(isa, a.map(), a.map(), map([2, 3, 1, 4]).map_mut(), false).is_err());
    let norm = LayerNorm::new(vec![1.0; 3], vec![0.0; 3], 1e-5).unwrap();
    assert!(norm.run(isa, a.map(), map([2, 3, 3, 4]).map_mut()).is_err());
    assert!(LayerNorm::new(vec![1.0; 3], vec![0.0; 2], 1e-5).is_err());
}

/// In a task's cache, an activation gives what it gives in a pass of its own, to the last bit.
#[test]
fn activations_behind_a_kernel_are_those_of_their_own_pass() {
    use super::numbers;
    use crate::{Activation, Conv, Depthwise, Direct, Finish, Map, MapMut, Tile, Winograd, activate, copy};
    let [side, c, o] = [13, 21, 35];
    let (input, weight) = (numbers(1, 2 * side * side * c), numbers(2, o * c * 9));
    let same = Conv { padding: [1; 4], ..Conv::default() };
    let kinds = [Activation::Silu, Activation::HardSwish, Activation::Gelu, Activation::Softplus];
    for (isa, kind) in Isa::available().into_iter().flat_map(|isa| kinds.map(|kind| (isa, kind))) {
        let check = |name: &str, channels: usize, run: &dyn Fn(Map, MapMut, &Finish) -> candle_core::Result<()>| {
            let shape = [2, side, side, channels];
            let pixels = 2 * side * side;
            let with = |activation, gap: usize| {
                let mut out = vec![0.0; pixels * (channels + gap)];
                let bias = numbers(3, channels);
                let finish = Finish { bias: Some(&bias), low: -1.5, activation, ..Finish::default() };
                let map = Map::new(&input, [2, side, side, c]).unwrap();
                run(map, MapMut::with_pixel(&mut out, shape, channels + gap).unwrap(), &finish).unwrap();
                out
            };
            let plain = with(None, 0);
            let mut expected = vec![0.0; plain.len()];
            activate(isa, kind, Map::new(&plain, shape).unwrap(), MapMut::new(&mut expected, shape).unwrap()).unwrap();
            assert_eq!(with(Some(kind), 0), expected, "{isa:?} {kind:?} {name}");
            let loose = with(Some(kind), 3);
            assert!(loose.chunks(channels + 3).all(|pixel| pixel[channels..] == [0.0; 3]));
            let dense: Vec<f32> = loose.chunks(channels + 3).flat_map(|pixel| pixel[..channels].to_vec()).collect();
            assert_eq!(dense, expected, "{isa:?} {kind:?} {name}");
        };
        let direct = Direct::new(isa, &weight, [o, c, 3, 3], &same).unwrap();
        check("direct", o, &|map, out, finish| direct.run(map, out, finish));
        let winograd = Winograd::new(isa, Tile::Four, &weight, [o, c]).unwrap();
        check("winograd", o, &|map, out, finish| winograd.run(map, [1, 1], out, finish));
        let depthwise = Depthwise::new(isa, &weight[..c * 9], [c, 1, 3, 3], &Conv { groups: c, ..same }).unwrap();
        check("depthwise", c, &|map, out, finish| depthwise.run(map, out, finish));
        check("copy", c, &|map, out, finish| copy(isa, map, Some(&weight[..c]), out, finish));
    }
}
