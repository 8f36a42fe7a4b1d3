//! A whole Hyper map against the method written out again, in loops over numbers, from section 4.8 of the thesis and the formulas
//! in docs/definitions.md. Of the crate's own code it uses the network, its vector-Jacobian products, and the random places.

use crate::hyper::{network, photo, target};
use candle_core::{DType, Tensor};
use faithful_baseline::{BaselineSampler, Blurred};
use faithful_cam::{CamParameters, Evidence, Filter, HyperParameters, Quality, StageParameters, hyper_parts};
use faithful_core::{LayerId, Network, Objective, Stream, Tap, Target};
use std::num::NonZeroUsize;

const CLASS: usize = 1;
/// Of each of two rounds.
const DRAWS: usize = 3;

/// `[channel][row][column]`.
type Volume = Vec<Vec<Vec<f64>>>;
type Plane = Vec<Vec<f64>>;

fn volume(x: &Tensor) -> Volume {
    x.squeeze(0).unwrap().to_dtype(DType::F64).unwrap().to_vec3().unwrap()
}

/// The expected difference times gradient and the expected difference at `layer`, of one round.
fn expectation(network: &dyn Network, input: &Tensor, layer: LayerId, stream: &Stream) -> (Volume, Volume) {
    let alphas = faithful_baseline::AlphaSampler::Stratified.alphas(stream, 0..DRAWS, DRAWS);
    let own = volume(&network.activations(input, &[layer]).unwrap()[0]);
    let zeros = || own.iter().map(|plane| plane.iter().map(|row| vec![0.0; row.len()]).collect()).collect();
    let (mut product, mut difference): (Volume, Volume) = (zeros(), zeros());
    for (draw, alpha) in alphas.into_iter().enumerate() {
        // Every second draw, from the second on, starts at the blurred photo.
        let baseline = if draw % 2 == 1 {
            Blurred { sigmas: vec![5.0] }.sample(input, stream, 0..1).unwrap()
        } else {
            input.zeros_like().unwrap()
        };
        let there = volume(&network.activations(&baseline, &[layer]).unwrap()[0]);
        let point = (&baseline + ((input - &baseline).unwrap() * alpha).unwrap()).unwrap();
        let products = network
            .vjp(&point, &[Tap::Layer(layer)], &mut |output| {
                // The gradient of the logarithm of the softmax: one minus the probability, and minus the others.
                let logits: Vec<f64> = output.to_dtype(DType::F64)?.squeeze(0)?.to_vec1()?;
                let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let sum: f64 = logits.iter().map(|logit| (logit - largest).exp()).sum();
                let gradient = logits
                    .iter()
                    .enumerate()
                    .map(|(class, logit)| (f64::from(u8::from(class == CLASS)) - (logit - largest).exp() / sum) as f32);
                Ok(vec![Tensor::from_vec(gradient.collect::<Vec<_>>(), output.shape(), output.device())?])
            })
            .unwrap();
        let gradient = volume(&products.gradients[0][0]);
        for k in 0..own.len() {
            for i in 0..own[k].len() {
                for j in 0..own[k][i].len() {
                    let moved = own[k][i][j] - there[k][i][j];
                    difference[k][i][j] += moved / DRAWS as f64;
                    product[k][i][j] += moved * gradient[k][i][j] / DRAWS as f64;
                }
            }
        }
    }
    (product, difference)
}

/// The mean of a plane around a place, by a Gaussian of one place cut at four, the plane mirrored at its edges.
fn around(plane: &Plane, [row, column]: [usize; 2]) -> f64 {
    let reach = 4;
    let mirrored = |place: i64, size: usize| {
        let mut place = place;
        while place < 0 || place >= size as i64 {
            place = if place < 0 { -1 - place } else { 2 * size as i64 - 1 - place };
        }
        place as usize
    };
    let (mut sum, mut weights) = (0.0, 0.0);
    for down in -reach..=reach {
        for across in -reach..=reach {
            let weight = (-0.5 * (down * down + across * across) as f64).exp();
            let i = mirrored(row as i64 + down, plane.len());
            let j = mirrored(column as i64 + across, plane[0].len());
            sum += weight * plane[i][j];
            weights += weight;
        }
    }
    sum / weights
}

fn neighbourhood_map((product, difference): &(Volume, Volume)) -> Plane {
    let (height, width) = (product[0].len(), product[0][0].len());
    let mut map = vec![vec![0.0; width]; height];
    for (product, difference) in product.iter().zip(difference) {
        let answer: Plane = difference.iter().map(|row| row.iter().map(|value| value.abs()).collect()).collect();
        let mean = answer.iter().flatten().sum::<f64>() / (height * width) as f64;
        for i in 0..height {
            for j in 0..width {
                let least = 1e-3 * mean + f64::from(f32::MIN_POSITIVE);
                let share = around(product, [i, j]) / (around(&answer, [i, j]) + least);
                map[i][j] += answer[i][j] * share;
            }
        }
    }
    map
}

fn plane(side: usize) -> Plane {
    vec![vec![0.0; side]; side]
}

/// `sum += weight * plane`.
fn add(sum: &mut Plane, plane: &Plane, weight: f64) {
    for (sum, value) in sum.iter_mut().flatten().zip(plane.iter().flatten()) {
        *sum += weight * value;
    }
}

fn deviation(plane: &Plane) -> f64 {
    let values: Vec<f64> = plane.iter().flatten().copied().collect();
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / values.len() as f64).sqrt()
}

/// At every pixel, for places whose centres are `stride` apart, the first at pixel 0; divided by its standard deviation.
fn enlarged(map: &Plane, stride: f64, size: usize) -> Plane {
    let at = |pixel: usize, places: usize| {
        let place = (pixel as f64 / stride).min((places - 1) as f64);
        let below = place as usize;
        (below, (below + 1).min(places - 1), place - place.floor())
    };
    let pixels: Plane = (0..size)
        .map(|y| {
            (0..size)
                .map(|x| {
                    let ((a, b, v), (c, d, u)) = (at(y, map.len()), at(x, map[0].len()));
                    let upper = map[a][c] * (1.0 - u) + map[a][d] * u;
                    let lower = map[b][c] * (1.0 - u) + map[b][d] * u;
                    upper * (1.0 - v) + lower * v
                })
                .collect()
        })
        .collect();
    let deviation = deviation(&pixels);
    pixels.iter().map(|row| row.iter().map(|value| value / deviation).collect()).collect()
}

#[test]
fn the_default_is_the_documented_formula() {
    let network = network(1.0);
    let input = photo(32, 32);
    let mut parameters = CamParameters { hyper: Quality::Standard.parameters(), ..CamParameters::default() };
    parameters.gradient.draws = NonZeroUsize::new(2 * DRAWS).unwrap();
    parameters.hyper.agreement = None;
    let score = Target::Output(CLASS);
    let objective = Objective::new(&network, &score);
    let last = target(&network);
    let found = hyper_parts(&objective, &input, last, &[&score], &parameters).unwrap().remove(0).explanation.map;

    let HyperParameters { decomposition, fusion, .. } = parameters.hyper;
    let own = &parameters.gradient.stream;
    let (mut fine, mut coarse, mut base) = (plane(16), plane(8), plane(8));
    for stream in [own.clone(), own.derive("round 1")] {
        for name in ["first", "first.relu"] {
            let both = expectation(&network, &input, network.layer(name).unwrap(), &stream);
            // Two layers, two rounds.
            add(&mut fine, &neighbourhood_map(&both), 0.25);
        }
        let both = expectation(&network, &input, last, &stream);
        add(&mut coarse, &neighbourhood_map(&both), 0.5);
        let mut weighed = plane(8);
        for (product, difference) in both.0.iter().zip(&both.1) {
            add(&mut weighed, difference, product.iter().flatten().sum::<f64>() / 64.0);
        }
        weighed.iter_mut().flatten().for_each(|value| *value = value.max(0.0));
        add(&mut base, &weighed, 0.5);
    }
    let (fine, coarse, base) = (enlarged(&fine, 2.0, 32), enlarged(&coarse, 4.0, 32), enlarged(&base, 4.0, 32));
    let levels: Plane =
        (0..32).map(|y| (0..32).map(|x| coarse[y][x] + decomposition.injection * fine[y][x]).collect()).collect();
    let spread = deviation(&levels);
    let combined: Plane =
        (0..32).map(|y| (0..32).map(|x| levels[y][x] / spread + fusion.base * base[y][x]).collect()).collect();
    let spread = deviation(&combined);
    let found: Vec<Vec<f64>> = found.squeeze(0).unwrap().to_dtype(DType::F64).unwrap().to_vec2().unwrap();
    for y in 0..32 {
        for x in 0..32 {
            let t = 0.5 * combined[y][x] / spread;
            let expected = t / (1.0 + t * t).sqrt();
            assert!((found[y][x] - expected).abs() < 2e-3, "({y}, {x}): {} and not {expected}", found[y][x]);
        }
    }
}

/// What the thesis's form differs in, part by part.
#[test]
fn the_thesis_has_its_own_choices() {
    let hyper = Quality::Thesis.parameters();
    assert_eq!((hyper.decomposition.evidence, hyper.decomposition.filter), (Evidence::Layer, Filter::Laplacian));
    assert_eq!((hyper.fusion.modulation, hyper.stages.count, hyper.blurred), (0.95, None, 0.0));
    let network = network(1.0);
    let score = Target::Output(CLASS);
    let objective = Objective::new(&network, &score);
    let mut all = Vec::new();
    for (_, filter) in Filter::NAMES {
        let mut parameters = CamParameters { hyper: hyper.clone(), ..CamParameters::default() };
        parameters.gradient.draws = NonZeroUsize::new(3).unwrap();
        parameters.hyper.decomposition.filter = *filter;
        // As many stages as two: the activated area of a network of random weights allows none.
        parameters.hyper.stages = StageParameters { first: Some(0.5), count: Some(2), ..StageParameters::default() };
        let input = photo(32, 32);
        let parts = hyper_parts(&objective, &input, target(&network), &[&score], &parameters).unwrap().remove(0);
        // Expected Grad-CAM of every level: never negative.
        for level in &parts.frequency.levels[1..] {
            assert!(level.map.min_all().unwrap().to_scalar::<f32>().unwrap() >= 0.0);
        }
        assert_eq!(parts.supermaps.len(), 2, "{filter:?}");
        let map: Vec<f32> = parts.explanation.map.flatten_all().unwrap().to_vec1().unwrap();
        assert!(map.iter().all(|value| value.abs() < 1.0), "{filter:?}");
        all.push(map);
    }
    for (place, map) in all.iter().enumerate() {
        assert!(all[..place].iter().all(|other| other != map), "two filters give one map");
    }
}
