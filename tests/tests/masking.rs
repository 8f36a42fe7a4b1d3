//! The masking methods once more, slowly: scalar loops written from the papers, one masked image at a time.

use crate::cam_networks::{Subject, nonlinear, photo};
use candle_core::{Device, Tensor};
use faithful_baseline::normal;
use faithful_cam::{CamParameters, EstimatorParameters, PerturbationParameters, explain, method};
use faithful_core::{Objective, Stream, Target};
use faithful_tests::relative_l2;
use rand::Rng;
use std::num::NonZeroUsize;

const HEIGHT: usize = 12;
const WIDTH: usize = 10;

/// Rows of values, `h` by `w`.
#[derive(Clone)]
pub(crate) struct Plane {
    pub(crate) size: [usize; 2],
    pub(crate) values: Vec<f64>,
}

impl Plane {
    pub(crate) fn new(size: [usize; 2], value: impl Fn(usize, usize) -> f64) -> Self {
        let values = (0..size[0] * size[1]).map(|place| value(place / size[1], place % size[1])).collect();
        Self { size, values }
    }

    pub(crate) fn at(&self, y: usize, x: usize) -> f64 {
        self.values[y * self.size[1] + x]
    }

    pub(crate) fn map(&self, value: impl Fn(f64) -> f64) -> Self {
        Self { size: self.size, values: self.values.iter().map(|v| value(*v)).collect() }
    }

    pub(crate) fn lowest(&self) -> f64 {
        self.values.iter().copied().fold(f64::INFINITY, f64::min)
    }

    pub(crate) fn highest(&self) -> f64 {
        self.values.iter().copied().fold(f64::NEG_INFINITY, f64::max)
    }

    /// Bilinear, the centres of pixels at one half, edges held.
    pub(crate) fn resized(&self, size: [usize; 2]) -> Self {
        let source = |place: usize, from: usize, to: usize| {
            let exact = ((place as f64 + 0.5) * from as f64 / to as f64 - 0.5).clamp(0.0, from as f64 - 1.0);
            let low = exact.floor() as usize;
            (low, (low + 1).min(from - 1), exact - low as f64)
        };
        Self::new(size, |y, x| {
            let (top, bottom, down) = source(y, self.size[0], size[0]);
            let (left, right, across) = source(x, self.size[1], size[1]);
            let upper = self.at(top, left) * (1.0 - across) + self.at(top, right) * across;
            let lower = self.at(bottom, left) * (1.0 - across) + self.at(bottom, right) * across;
            upper * (1.0 - down) + lower * down
        })
    }

    /// From 0 to 1; all 0 where it is the same everywhere.
    pub(crate) fn scaled(&self) -> Self {
        let (low, high) = (self.lowest(), self.highest());
        self.map(|v| if high > low { (v - low) / (high - low) } else { 0.0 })
    }

    /// The value below which a share of the values lie, linear between neighbours.
    pub(crate) fn percentile(&self, share: f64) -> f64 {
        let mut sorted = self.values.clone();
        sorted.sort_by(f64::total_cmp);
        let place = share * (sorted.len() - 1) as f64;
        let low = place as usize;
        let high = (low + 1).min(sorted.len() - 1);
        sorted[low] + (sorted[high] - sorted[low]) * (place - low as f64)
    }
}

/// A network, a probability, the photo, and a layer's channels.
pub(crate) struct Scene {
    pub(crate) subject: Subject,
    pub(crate) target: Target,
    pub(crate) input: Tensor,
}

impl Scene {
    pub(crate) fn new() -> Self {
        let subject = nonlinear();
        let Target::Output(class) = subject.class else { panic!("a logit is explained") };
        Self { subject, target: Target::Probability(class), input: photo(1) }
    }

    pub(crate) fn objective(&self) -> Objective<'_> {
        Objective::new(&self.subject.graph, &self.target)
    }

    pub(crate) fn planes(tensor: &Tensor) -> Vec<Plane> {
        let (_, channels, height, width) = tensor.dims4().unwrap();
        let values = tensor.flatten_all().unwrap().to_vec1::<f64>().unwrap();
        let count = height * width;
        (0..channels)
            .map(|k| Plane { size: [height, width], values: values[k * count..(k + 1) * count].to_vec() })
            .collect()
    }

    pub(crate) fn channels(&self, layer: &str) -> Vec<Plane> {
        let layer = faithful_core::Network::layer(&self.subject.graph, layer).unwrap();
        Self::planes(&self.objective().activations(&self.input, &[layer]).unwrap()[0])
    }

    /// The score of the photo where `pixel` gives every value from the photo's own, its channel, row and column.
    pub(crate) fn score(&self, pixel: impl Fn(f64, usize, usize, usize) -> f64) -> f64 {
        let own = Self::planes(&self.input);
        let mut values = Vec::new();
        for (channel, plane) in own.iter().enumerate() {
            for y in 0..HEIGHT {
                for x in 0..WIDTH {
                    values.push(pixel(plane.at(y, x), channel, y, x));
                }
            }
        }
        let image = Tensor::from_vec(values, (1, 3, HEIGHT, WIDTH), &Device::Cpu).unwrap();
        self.objective().scores(&image).unwrap().to_vec1::<f64>().unwrap()[0]
    }

    pub(crate) fn masked(&self, mask: &Plane) -> f64 {
        self.score(|value, _, y, x| value * mask.at(y, x))
    }

    #[track_caller]
    pub(crate) fn agrees(&self, name: &str, layers: &[&str], perturbation: PerturbationParameters, wanted: &Plane) {
        self.agrees_within(name, layers, perturbation, wanted, 1e-10);
    }

    #[track_caller]
    pub(crate) fn agrees_within(
        &self,
        name: &str,
        layers: &[&str],
        perturbation: PerturbationParameters,
        wanted: &Plane,
        tolerance: f64,
    ) {
        let layers: Vec<_> =
            layers.iter().map(|name| faithful_core::Network::layer(&self.subject.graph, name).unwrap()).collect();
        let gradient = EstimatorParameters { stream: stream(), ..EstimatorParameters::default() };
        let parameters = CamParameters { gradient, perturbation, ..CamParameters::default() };
        let found = explain(method(name).unwrap(), &self.objective(), &self.input, &layers, &parameters).unwrap().map;
        let [height, width] = wanted.size;
        let wanted = Tensor::from_vec(wanted.values.clone(), (1, height, width), &Device::Cpu).unwrap();
        assert!(wanted.abs().unwrap().max_all().unwrap().to_scalar::<f64>().unwrap() > 0.0, "{name}: nothing to see");
        let distance = relative_l2(&found, &wanted).unwrap();
        assert!(distance < tolerance, "{name}: {distance}");
    }
}

fn stream() -> Stream {
    Stream::new(17, "masking")
}

pub(crate) fn draws(count: usize) -> PerturbationParameters {
    PerturbationParameters { draws: NonZeroUsize::new(count), ..PerturbationParameters::default() }
}

/// `ReLU(sum_k w_k A_k)`.
pub(crate) fn rectified_sum(weights: &[f64], channels: &[Plane]) -> Plane {
    Plane::new(channels[0].size, |y, x| {
        weights.iter().zip(channels).map(|(weight, channel)| weight * channel.at(y, x)).sum::<f64>().max(0.0)
    })
}

pub(crate) fn softmax(scores: &[f64]) -> Vec<f64> {
    let sum: f64 = scores.iter().map(|score| score.exp()).sum();
    scores.iter().map(|score| score.exp() / sum).collect()
}

pub(crate) const SIZE: [usize; 2] = [HEIGHT, WIDTH];

/// Score-CAM, Algorithm 1; SS-CAM, Eq. 5; IS-CAM, Eq. 7: the mean over `count` changes of the mask.
fn averaged(scene: &Scene, count: usize, change: impl Fn(usize, &Plane) -> Plane) -> Plane {
    let channels = scene.channels("relu2");
    let scores: Vec<f64> = channels
        .iter()
        .map(|channel| {
            let mask = channel.resized(SIZE).scaled();
            (0..count).map(|step| scene.masked(&change(step, &mask))).sum::<f64>() / count as f64
        })
        .collect();
    rectified_sum(&softmax(&scores), &channels)
}

#[test]
fn score_cam_and_its_averages_are_their_formulas() {
    let scene = Scene::new();
    scene.agrees("score-cam", &["relu2"], draws(1), &averaged(&scene, 1, |_, mask| mask.clone()));
    let strength = averaged(&scene, 7, |step, mask| mask.map(|value| value * (step + 1) as f64 / 7.0));
    scene.agrees("is-cam", &["relu2"], draws(7), &strength);
    let form = Tensor::zeros((1, 1, HEIGHT, WIDTH), candle_core::DType::F64, &Device::Cpu).unwrap();
    let noise: Vec<Plane> = (0..5)
        .map(|draw| Scene::planes(&normal(&form, &stream().derive("ss-cam"), draw..draw + 1).unwrap()).remove(0))
        .collect();
    let noisy = averaged(&scene, 5, |step, mask| Plane::new(SIZE, |y, x| mask.at(y, x) + 2.0 * noise[step].at(y, x)));
    scene.agrees("ss-cam", &["relu2"], draws(5), &noisy);
}

/// Englebert et al. 2022, Eq. 4-7, with the percentiles and the refinement of the authors' code.
#[test]
fn poly_cam_is_its_formula() {
    let scene = Scene::new();
    let own = scene.score(|value, _, _, _| value);
    for name in ["poly-cam+", "poly-cam-", "poly-cam±"] {
        let mut refined: Option<Plane> = None;
        for layer in ["relu2", "relu1"] {
            let channels = scene.channels(layer);
            let weights: Vec<f64> = channels
                .iter()
                .map(|channel| {
                    let (low, high) = (channel.percentile(0.001), channel.percentile(0.999).max(1e-12));
                    let mask = channel.map(|value| ((value - low) / high).clamp(0.0, 1.0));
                    let kept = scene.masked(&mask.resized(SIZE));
                    let hidden = scene.masked(&mask.map(|value| 1.0 - value).resized(SIZE));
                    match name {
                        "poly-cam+" => kept,
                        "poly-cam-" => (own - hidden).max(0.0),
                        _ => (kept + own - hidden).max(0.0),
                    }
                })
                .collect();
            let map = rectified_sum(&weights, &channels);
            refined = Some(match refined {
                None => map,
                Some(coarse) => {
                    let around = map.resized(coarse.size).resized(map.size);
                    let above = coarse.resized(map.size);
                    Plane::new(map.size, |y, x| (map.at(y, x) / around.at(y, x).max(1e-12) * above.at(y, x)).max(0.0))
                }
            });
        }
        scene.agrees(name, &["relu1", "relu2"], draws(1), &refined.unwrap());
    }
}

/// Zhang et al. 2021, Eq. 3-8, three groups.
#[test]
fn group_cam_is_its_formula() {
    let scene = Scene::new();
    let layer = scene.subject.layer;
    let traces = scene.objective().traces(&scene.input, &[layer]).unwrap();
    let (channels, gradients) = (Scene::planes(&traces[0].activation), Scene::planes(&traces[0].gradient));
    let weights: Vec<f64> =
        gradients.iter().map(|plane| plane.values.iter().sum::<f64>() / plane.values.len() as f64).collect();
    // The photo, blurred by 51 taps with a deviation of 50, as far as reflection reaches.
    let blurred: Vec<Plane> = Scene::planes(&scene.input)
        .iter()
        .map(|plane| {
            let along = |size: usize| {
                let reach = 25.min(size - 1) as i64;
                let kernel: Vec<f64> = (-reach..=reach).map(|d| (-(d * d) as f64 / 5000.0).exp()).collect();
                let sum: f64 = kernel.iter().sum();
                let tap = move |place: usize, index: usize| {
                    let mut at = place as i64 + index as i64 - reach;
                    at = at.abs();
                    if at >= size as i64 { (2 * (size as i64 - 1) - at) as usize } else { at as usize }
                };
                (kernel.iter().map(|k| k / sum).collect::<Vec<f64>>(), tap)
            };
            let ((down, row), (across, column)) = (along(HEIGHT), along(WIDTH));
            Plane::new(SIZE, |y, x| {
                let terms = down.iter().enumerate().map(|(i, vertical)| {
                    let line =
                        across.iter().enumerate().map(|(j, horizontal)| horizontal * plane.at(row(y, i), column(x, j)));
                    vertical * line.sum::<f64>()
                });
                terms.sum()
            })
        })
        .collect();
    let base = scene.score(|_, channel, y, x| blurred[channel].at(y, x));
    let groups = 3;
    let mut total = Plane::new(channels[0].size, |_, _| 0.0);
    for group in 0..groups {
        let members = group * channels.len() / groups..(group + 1) * channels.len() / groups;
        let sum = Plane::new(total.size, |y, x| {
            members.clone().map(|k| weights[k] * channels[k].at(y, x)).sum::<f64>().max(0.0)
        });
        let threshold = sum.percentile(0.7);
        let mask = sum.map(|value| if value >= threshold { value } else { 0.0 });
        let shown = mask.resized(SIZE).scaled();
        let gain = scene.score(|value, channel, y, x| {
            let (open, behind) = (shown.at(y, x), blurred[channel].at(y, x));
            value * open + behind * (1.0 - open)
        }) - base;
        total = Plane::new(total.size, |y, x| total.at(y, x) + gain * mask.at(y, x));
    }
    let parameters = PerturbationParameters { groups: NonZeroUsize::new(groups).unwrap(), ..draws(1) };
    scene.agrees("group-cam", &["relu2"], parameters, &total.map(|value| value.max(0.0)));
}

/// Petsiuk et al. 2018, Eq. 6, with the masks of section 3.2.
#[test]
fn rise_is_its_formula() {
    let scene = Scene::new();
    let (count, cells, open) = (9, 3, 0.4);
    let (tall, wide) = (HEIGHT.div_ceil(cells), WIDTH.div_ceil(cells));
    let mut total = Plane::new(SIZE, |_, _| 0.0);
    for draw in 0..count {
        let mut generator = stream().derive("rise").draw(draw);
        let values: Vec<f64> =
            (0..cells * cells).map(|_| if generator.random::<f64>() < open { 1.0 } else { 0.0 }).collect();
        let down = generator.random_range(0..tall as u64) as usize;
        let right = generator.random_range(0..wide as u64) as usize;
        let large = Plane { size: [cells; 2], values }.resized([(cells + 1) * tall, (cells + 1) * wide]);
        let mask = Plane::new(SIZE, |y, x| large.at(y + down, x + right));
        let score = scene.masked(&mask);
        total = Plane::new(SIZE, |y, x| total.at(y, x) + score * mask.at(y, x) / (count as f64 * open));
    }
    let parameters = PerturbationParameters { cells: NonZeroUsize::new(cells).unwrap(), open, ..draws(count) };
    scene.agrees("rise", &[], parameters, &total);
}
