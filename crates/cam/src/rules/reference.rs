//! Every rule once more, slowly, in scalar loops written from the papers, with the expectation over draws in it.

use super::RULES;
use crate::rule::Estimate;
use crate::{CamRule, Definition};
use candle_core::{Device, Tensor};
use faithful_core::{LayerTrace, Stream};
use rand::Rng;

const CHANNELS: usize = 5;
const HEIGHT: usize = 3;
const WIDTH: usize = 4;
const PLACES: usize = HEIGHT * WIDTH;

/// A layer of one image: channel, then place.
type Layer = [[f64; PLACES]; CHANNELS];

/// One draw: activation and gradient at its point, and the difference from its baseline.
struct Draw {
    activation: Layer,
    gradient: Layer,
    difference: Layer,
}

type Reference = fn(&Layer, &[Draw]) -> [f64; PLACES];

/// The reference of every rule, by name.
const REFERENCES: &[(&str, Reference)] = &[
    ("grad-cam", |own, draws| {
        let weights =
            per_channel(|k| expected_of(k, draws, |s, p| s.gradient[k][p]).iter().sum::<f64>() / PLACES as f64);
        rectified(weighted(own, &weights))
    }),
    ("cam", |own, draws| {
        let weights = per_channel(|k| expected_of(k, draws, |s, p| s.gradient[k][p]).iter().sum());
        weighted(own, &weights)
    }),
    ("grad-cam++", |own, draws| {
        let weights = per_channel(|k| {
            let terms = expected_of(k, draws, |s, p| {
                let g = s.gradient[k][p];
                let sum: f64 = s.activation[k].iter().sum();
                let alpha = if g == 0.0 { 0.0 } else { g * g / (2.0 * g * g + sum * g * g * g) };
                alpha * g.max(0.0)
            });
            terms.iter().sum()
        });
        rectified(weighted(own, &weights))
    }),
    ("expected-grad-cam++", |own, draws| {
        // Eq. 59: what stands in the place of dy/dA_ij, with the sum over all places of A times the third power.
        rectified(weighted(
            own,
            &mean_of_differences(draws, |draw, k, p| {
                let mut sum = 0.0;
                for place in 0..PLACES {
                    sum += draw.activation[k][place] * draw.gradient[k][place].powi(3);
                }
                let square = draw.gradient[k][p].powi(2);
                let denominator = 2.0 * square + sum;
                if square == 0.0 || denominator == 0.0 { 0.0 } else { square / denominator }
            }),
        ))
    }),
    ("smooth-grad-cam++", |own, draws| {
        let weights = per_channel(|k| {
            let power = |n: i32| expected_of(k, draws, |s, p| s.gradient[k][p].powi(n));
            let (first, second, third) = (power(1), power(2), power(3));
            let sum: f64 = own[k].iter().sum();
            (0..PLACES)
                .map(|p| {
                    let denominator = 2.0 * second[p] + sum * third[p];
                    if denominator == 0.0 { 0.0 } else { first[p] / denominator * first[p].max(0.0) }
                })
                .sum()
        });
        rectified(weighted(own, &weights))
    }),
    ("xgrad-cam", |own, draws| {
        let weights = per_channel(|k| {
            let gradient = expected_of(k, draws, |s, p| s.gradient[k][p]);
            let sum: f64 = own[k].iter().sum();
            let product: f64 = (0..PLACES).map(|p| gradient[p] * own[k][p]).sum();
            if sum == 0.0 { 0.0 } else { product / sum }
        });
        rectified(weighted(own, &weights))
    }),
    ("hires-cam", |own, draws| rectified(over_channels(|k, p| gradient_at(draws, k, p) * own[k][p]))),
    ("layer-cam", |own, draws| rectified(over_channels(|k, p| gradient_at(draws, k, p).max(0.0) * own[k][p]))),
    ("grad-cam-elementwise", |own, draws| over_channels(|k, p| (gradient_at(draws, k, p) * own[k][p]).max(0.0))),
    ("eigen-cam", |own, _| principal(own, false)),
    ("eigen-grad-cam", |own, draws| {
        let mut product = *own;
        for (k, channel) in product.iter_mut().enumerate() {
            for (p, value) in channel.iter_mut().enumerate() {
                *value *= gradient_at(draws, k, p);
            }
        }
        principal(&product, true)
    }),
];

fn per_channel(weight: impl Fn(usize) -> f64) -> [f64; CHANNELS] {
    std::array::from_fn(weight)
}

fn over_channels(term: impl Fn(usize, usize) -> f64) -> [f64; PLACES] {
    std::array::from_fn(|p| (0..CHANNELS).map(|k| term(k, p)).sum())
}

/// `1/M sum_s d_s,k term(s)` at every place.
fn expected_of(k: usize, draws: &[Draw], term: impl Fn(&Draw, usize) -> f64) -> [f64; PLACES] {
    std::array::from_fn(|p| draws.iter().map(|s| s.difference[k][p] * term(s, p)).sum::<f64>() / draws.len() as f64)
}

fn gradient_at(draws: &[Draw], k: usize, p: usize) -> f64 {
    expected_of(k, draws, |s, p| s.gradient[k][p])[p]
}

fn weighted(own: &Layer, weights: &[f64; CHANNELS]) -> [f64; PLACES] {
    over_channels(|k, p| weights[k] * own[k][p])
}

fn rectified(map: [f64; PLACES]) -> [f64; PLACES] {
    map.map(|value| value.max(0.0))
}

/// Eq. 56 and 60: per channel, the mean over places of the mean over draws of the difference times `derivative`.
fn mean_of_differences(draws: &[Draw], derivative: impl Fn(&Draw, usize, usize) -> f64) -> [f64; CHANNELS] {
    let mut weights = [0.0; CHANNELS];
    for (k, weight) in weights.iter_mut().enumerate() {
        for draw in draws {
            for p in 0..PLACES {
                *weight += draw.difference[k][p] * derivative(draw, k, p) / (draws.len() * PLACES) as f64;
            }
        }
    }
    weights
}

/// The projection on the first right singular vector by ten thousand plain power iterations.
fn principal(features: &Layer, centered: bool) -> [f64; PLACES] {
    let mut matrix = *features;
    if centered {
        for channel in &mut matrix {
            let mean = channel.iter().sum::<f64>() / PLACES as f64;
            for value in channel.iter_mut() {
                *value -= mean;
            }
        }
    }
    let project = |v: &[f64; CHANNELS]| over_channels(|k, p| v[k] * matrix[k][p]);
    let mut v: [f64; CHANNELS] = std::array::from_fn(|k| 1.0 + k as f64 / 7.0);
    for _ in 0..10_000 {
        let along = project(&v);
        let next = per_channel(|k| (0..PLACES).map(|p| matrix[k][p] * along[p]).sum());
        let length = next.iter().map(|x| x * x).sum::<f64>().sqrt();
        v = next.map(|x| x / length);
    }
    let map = project(&v);
    let agreement: f64 = (0..PLACES).map(|p| map[p] * (0..CHANNELS).map(|k| features[k][p]).sum::<f64>()).sum();
    map.map(|value| if agreement < 0.0 { -value } else { value })
}

fn layer(generator: &mut impl Rng, low: f64) -> Layer {
    std::array::from_fn(|_| std::array::from_fn(|_| generator.random_range(low..1.0)))
}

/// Draws with rectified activations, gradients that are zero here and there, and one channel that never fires.
fn some_draws(count: usize, constant: bool) -> (Layer, Vec<Draw>) {
    let mut generator = Stream::new(11, "rules").draw(count);
    let mut own = layer(&mut generator, -0.5).map(|channel| channel.map(|value| value.max(0.0)));
    own[3] = [0.0; PLACES];
    let draws = (0..count)
        .map(|_| {
            let activation = layer(&mut generator, -0.5).map(|channel| channel.map(|value| value.max(0.0)));
            let mut gradient = layer(&mut generator, -1.0);
            if constant {
                gradient = gradient.map(|channel| [channel[0]; PLACES]);
            } else {
                gradient[1][2] = 0.0;
                gradient[4] = [0.0; PLACES];
            }
            let difference = if count == 1 { [[1.0; PLACES]; CHANNELS] } else { layer(&mut generator, -1.0) };
            Draw { activation, gradient, difference }
        })
        .collect();
    (own, draws)
}

fn tensor(layer: &Layer) -> Tensor {
    let flat: Vec<f64> = layer.iter().flatten().copied().collect();
    Tensor::from_vec(flat, (1, CHANNELS, HEIGHT, WIDTH), &Device::Cpu).unwrap()
}

/// Eq. 58 in place of Eq. 59, the second and third derivatives of an exponential score: `sum_ab A_ab` times the third power
/// at the place itself.
const EQUATION_58: Reference = |own, draws| {
    rectified(weighted(
        own,
        &mean_of_differences(draws, |draw, k, p| {
            let gradient = draw.gradient[k][p];
            let mut sum = 0.0;
            for activation in draw.activation[k] {
                sum += activation;
            }
            let denominator = 2.0 * gradient.powi(2) + sum * gradient.powi(3);
            if denominator == 0.0 { 0.0 } else { gradient.powi(2) / denominator }
        }),
    ))
};

/// The map of a rule for draws, their sensitivities averaged after multiplying by the differences.
fn map_of(rule: &CamRule, own: &Layer, draws: &[Draw]) -> Vec<f64> {
    let mut sums: Vec<Tensor> = Vec::new();
    for draw in draws {
        let trace = LayerTrace { activation: tensor(&draw.activation), gradient: tensor(&draw.gradient) };
        for (i, sensitivity) in (rule.sensitivity)(&trace).unwrap().into_iter().enumerate() {
            let share = ((sensitivity * tensor(&draw.difference)).unwrap() / draws.len() as f64).unwrap();
            match sums.get_mut(i) {
                Some(sum) => *sum = (&*sum + share).unwrap(),
                None => sums.push(share),
            }
        }
    }
    let last = LayerTrace { activation: tensor(own), gradient: tensor(&draws[0].gradient) };
    let estimate = Estimate { activation: tensor(own), sensitivities: sums, last };
    let map = (rule.map)(&estimate).unwrap();
    assert_eq!(map.dims(), [1, HEIGHT, WIDTH], "{}", rule.name);
    map.flatten_all().unwrap().to_vec1::<f64>().unwrap()
}

fn assert_close(name: &str, map: &[f64], expected: &[f64]) {
    let scale = expected.iter().map(|x| x.abs()).fold(1e-3, f64::max);
    for (a, b) in map.iter().zip(expected) {
        assert!((a - b).abs() < 1e-8 * scale, "{name}: {a} instead of {b}");
    }
}

#[test]
fn every_rule_is_its_papers_formula() {
    for rule in RULES {
        let (_, reference) = REFERENCES.iter().find(|(name, _)| *name == rule.name).expect("a reference per rule");
        for count in [1, 6] {
            let (own, draws) = some_draws(count, rule.pooled_head);
            assert_close(rule.name, &map_of(rule, &own, &draws), &reference(&own, &draws));
        }
    }
}

#[test]
fn expected_grad_cam_plus_plus_is_equation_59_and_by_name_equation_58() {
    let printed = super::rule("expected-grad-cam++").unwrap();
    let outside = Definition::Equation58.rule(printed);
    let (own, draws) = some_draws(6, false);
    let maps = [map_of(printed, &own, &draws), map_of(outside, &own, &draws)];
    assert_close("eq58", &maps[1], &EQUATION_58(&own, &draws));
    // Where the gradient differs from place to place, so do the two.
    let norm = |x: &[f64]| x.iter().map(|x| x * x).sum::<f64>().sqrt();
    let cosine = maps[0].iter().zip(&maps[1]).map(|(a, b)| a * b).sum::<f64>() / (norm(&maps[0]) * norm(&maps[1]));
    assert!(norm(&maps[0]) > 1e-6 && norm(&maps[1]) > 1e-6, "{maps:?}");
    assert!(cosine < 0.95, "{cosine}: {maps:?}");
    // A gradient of one sign and size at a single place, by hand: A = 3 there and 1 at eleven other places.
    let weight = |rule: &CamRule, slope: f64| {
        let (mut activation, mut gradient) = ([[1.0; PLACES]; CHANNELS], [[0.0; PLACES]; CHANNELS]);
        (activation[0][5], gradient[0][5]) = (3.0, slope);
        let one = LayerTrace { activation: tensor(&activation), gradient: tensor(&gradient) };
        let all = (rule.sensitivity)(&one).unwrap()[0].flatten_all().unwrap().to_vec1::<f64>().unwrap();
        assert!(all.iter().enumerate().all(|(place, value)| place == 5 || *value == 0.0), "{all:?}");
        all[5]
    };
    // 4 / (8 + 3 * 8) and 4 / (8 + 14 * 8); one half where the gradient is so small that its square underflows.
    assert!((weight(printed, 2.0) - 4.0 / 32.0).abs() < 1e-12 && (weight(outside, 2.0) - 4.0 / 120.0).abs() < 1e-12);
    assert!((weight(printed, 1e-200) - 0.5).abs() < 1e-12 && (weight(outside, 1e-200) - 0.5).abs() < 1e-12);
}

#[test]
fn zero_gradients_and_activations_give_zero_maps() {
    let zero = [[0.0; PLACES]; CHANNELS];
    let (own, _) = some_draws(1, false);
    for rule in RULES {
        for activation in [zero, own] {
            if rule.class_agnostic && activation == own {
                continue;
            }
            let map = rule.apply(&LayerTrace { activation: tensor(&activation), gradient: tensor(&zero) }).unwrap();
            let largest = map.abs().unwrap().max_all().unwrap().to_scalar::<f64>().unwrap();
            assert_eq!(largest, 0.0, "{}", rule.name);
        }
    }
}

#[test]
fn cam_refuses_a_gradient_that_differs_from_place_to_place() {
    let (own, draws) = some_draws(1, false);
    let trace = LayerTrace { activation: tensor(&own), gradient: tensor(&draws[0].gradient) };
    let error = super::rule("cam").unwrap().apply(&trace).unwrap_err();
    assert!(error.to_string().contains("global average pool"), "{error}");
}

#[test]
fn series_have_maps_too() {
    let layer = |seed: usize| {
        let mut generator = Stream::new(3, "series").draw(seed);
        let values: Vec<f64> = (0..28).map(|_| generator.random_range(0.0..1.0)).collect();
        Tensor::from_vec(values, (2, 2, 7), &Device::Cpu).unwrap()
    };
    for rule in RULES.iter().filter(|rule| !rule.pooled_head) {
        let map = rule.apply(&LayerTrace { activation: layer(0), gradient: layer(1) }).unwrap();
        assert_eq!(map.dims(), [2, 7], "{}", rule.name);
    }
}
