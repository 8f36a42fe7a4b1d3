//! Recipro-CAM, Opti-CAM, `ShapleyCAM`, Finer-CAM and `RefineCAM` against slow versions of their formulas, and against their peers'
//! maps (`fixtures/goldens/cam/rivals.py`) on the same network.

use crate::cam_networks::{nonlinear, photo, pooled, residual};
use crate::masking::{Plane, SIZE, Scene, draws, rectified_sum, softmax};
use candle_core::{Device, Tensor};
use faithful_cam::{CamParameters, Definition, PerturbationParameters, explain, method};
use faithful_core::{Network, Objective, Score, Target};
use faithful_gradient::GradientParameters;
use faithful_tests::{fixture, relative_l2};
use std::num::NonZeroUsize;

/// The outputs when `relu2` gives these channels.
fn outputs_behind(scene: &Scene, channels: &[Plane]) -> Vec<f64> {
    let [height, width] = channels[0].size;
    let values: Vec<f64> = channels.iter().flat_map(|plane| plane.values.clone()).collect();
    let activation = Tensor::from_vec(values, (1, channels.len(), height, width), &Device::Cpu).unwrap();
    scene
        .subject
        .graph
        .resume(scene.subject.layer, &activation)
        .unwrap()
        .unwrap()
        .squeeze(0)
        .unwrap()
        .to_vec1()
        .unwrap()
}

fn class(scene: &Scene) -> usize {
    scene.target.class().unwrap()
}

#[test]
fn recipro_cam_is_its_formula() {
    let scene = Scene::new();
    let channels = scene.channels("relu2");
    let [height, width] = channels[0].size;
    let kernel = [[0.0625, 0.125, 0.0625], [0.125, 0.25, 0.125], [0.0625, 0.125, 0.0625]];
    let says = Plane::new([height, width], |row, column| {
        let seen: Vec<Plane> = channels
            .iter()
            .map(|plane| {
                Plane::new(plane.size, |y, x| {
                    let (down, right) = (y as i64 - row as i64 + 1, x as i64 - column as i64 + 1);
                    let inside = (0..3).contains(&down) && (0..3).contains(&right);
                    if inside { plane.at(y, x) * kernel[down as usize][right as usize] } else { 0.0 }
                })
            })
            .collect();
        softmax(&outputs_behind(&scene, &seen))[class(&scene)]
    });
    let lowest = says.lowest();
    scene.agrees("recipro-cam", &["relu2"], draws(1), &says.map(|value| value - lowest));
}

#[test]
fn opti_cam_is_its_formula() {
    let scene = Scene::new();
    let channels: Vec<Plane> = scene.channels("relu2").iter().map(|plane| plane.map(|v| v.max(0.0))).collect();
    let shown = |u: &[f64]| {
        let weights = softmax(u);
        Plane::new(channels[0].size, |y, x| channels.iter().zip(&weights).map(|(plane, w)| plane.at(y, x) * w).sum())
    };
    let sure = |u: &[f64]| scene.masked(&shown(u).resized(SIZE).scaled());
    let (mut u, mut mean, mut square) =
        (vec![0.5; channels.len()], vec![0.0; channels.len()], vec![0.0; channels.len()]);
    for step in 1..=4 {
        let gradient: Vec<f64> = (0..u.len())
            .map(|k| {
                let moved = |by: f64| {
                    let mut near = u.clone();
                    near[k] += by;
                    sure(&near)
                };
                (moved(1e-5) - moved(-1e-5)) / 2e-5
            })
            .collect();
        for k in 0..u.len() {
            mean[k] = 0.9 * mean[k] + 0.1 * gradient[k];
            square[k] = 0.999 * square[k] + 0.001 * gradient[k] * gradient[k];
            let (first, second): (f64, f64) =
                (mean[k] / (1.0 - 0.9f64.powi(step)), square[k] / (1.0 - 0.999f64.powi(step)));
            u[k] += 0.1 * first / (second.sqrt() + 1e-8);
        }
    }
    assert!(sure(&u) > sure(&vec![0.5; channels.len()]), "the search climbs");
    scene.agrees_within("opti-cam", &["relu2"], draws(4), &shown(&u), 1e-5);
}

/// The derivative of `score` as all places of channel `k` move together: the sum of its gradient over places.
fn along_channel(scene: &Scene, scale: f64, k: usize, score: &dyn Fn(&[f64]) -> f64) -> f64 {
    let moved = |by: f64| {
        let mut channels: Vec<Plane> = scene.channels("relu2").iter().map(|plane| plane.map(|v| v * scale)).collect();
        channels[k] = channels[k].map(|v| v + by);
        score(&outputs_behind(scene, &channels))
    };
    (moved(1e-4) - moved(-1e-4)) / 2e-4
}

#[test]
fn shapley_cam_is_its_formula() {
    let scene = Scene::new();
    let channels = scene.channels("relu2");
    let places = channels[0].values.len() as f64;
    let probability = |outputs: &[f64]| softmax(outputs)[class(&scene)];
    let weights: Vec<f64> = (0..channels.len())
        .map(|k| {
            let gradient = |scale: f64| along_channel(&scene, scale, k, &probability);
            let curvature = (gradient(1.0 + 1e-4) - gradient(1.0 - 1e-4)) / 2e-4;
            (gradient(1.0) - 0.5 * curvature) / places
        })
        .collect();
    scene.agrees_within("shapley-cam", &["relu2"], draws(1), &rectified_sum(&weights, &channels), 1e-4);
}

fn points(count: usize) -> PerturbationParameters {
    PerturbationParameters { points: NonZeroUsize::new(count), ..PerturbationParameters::default() }
}

/// The gradient at every place by finite differences, for a path through the input and one from each of its points.
#[test]
fn iterated_integrated_attributions_are_their_double_sum() {
    let scene = Scene::new();
    let layer = [scene.subject.layer];
    let probability = |channels: &[Plane]| softmax(&outputs_behind(&scene, channels))[class(&scene)];
    let mut sum = Plane::new(scene.channels("relu2")[0].size, |_, _| 0.0);
    for outer in [0.5, 1.0] {
        let input = (&scene.input * outer).unwrap();
        let whole = Scene::planes(&scene.objective().activations(&input, &layer).unwrap()[0]);
        for inner in [0.5, 1.0] {
            let channels: Vec<Plane> = whole.iter().map(|plane| plane.map(|v| v * inner)).collect();
            for k in 0..channels.len() {
                for place in 0..sum.values.len() {
                    let moved = |by: f64| {
                        let mut near = channels.clone();
                        near[k].values[place] += by;
                        probability(&near)
                    };
                    sum.values[place] += (moved(1e-5) - moved(-1e-5)) / 2e-5 * channels[k].values[place] / 4.0;
                }
            }
        }
    }
    scene.agrees_within("iterated-integrated", &["relu2"], points(2), &sum, 1e-6);
}

#[test]
fn cameras_is_its_authors_code() {
    let goldens = candle_core::safetensors::load(fixture("goldens/cam/cameras.safetensors"), &Device::Cpu).unwrap();
    let architecture = faithful_model::architecture("squeezenet1_1").unwrap();
    let graph = architecture.random(10, 7, &Device::Cpu).unwrap();
    let layer = graph.layer(architecture.target).unwrap();
    let values: Vec<f32> = faithful_model::portable_uniform("input", 7, 3 * 48 * 48).iter().map(|x| 2.0 * x).collect();
    let input = Tensor::from_vec(values, (1, 3, 48, 48), &Device::Cpu).unwrap();
    let target = Target::Output(goldens["category"].to_vec1::<f32>().unwrap()[0] as usize);
    let parameters = CamParameters { perturbation: points(3), ..CamParameters::default() };
    let objective = Objective::new(&graph, &target);
    let map = explain(method("cameras").unwrap(), &objective, &input, &[layer], &parameters).unwrap().map;
    let flat = map.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    let (low, high) = flat.iter().fold((f32::INFINITY, 0f32), |(low, high), v| (low.min(*v), high.max(*v)));
    let scaled = ((map.squeeze(0).unwrap() - f64::from(low)).unwrap() / f64::from(high - low)).unwrap();
    let distance = relative_l2(&scaled, &goldens["map"]).unwrap();
    assert!(distance < 1e-4, "{distance}");
}

/// A network with a dense head behind a flatten takes one size of photo.
#[test]
fn cameras_says_what_it_needs() {
    let scene = Scene::new();
    let parameters = CamParameters::default();
    let layers = [scene.subject.layer];
    let found = explain(method("cameras").unwrap(), &scene.objective(), &scene.input, &layers, &parameters);
    let error = found.unwrap_err().to_string();
    assert!(error.contains("a network that takes larger photos than its own"), "{error}");
}

#[test]
fn finer_cam_is_its_formula() {
    let scene = Scene::new();
    let channels = scene.channels("relu2");
    let own = class(&scene);
    // Four classes: the three others are held against the one.
    let contrast = |outputs: &[f64]| {
        let rest: f64 = (0..4).filter(|other| *other != own).map(|other| outputs[other]).sum();
        outputs[own] - 0.6 * rest / 3.0
    };
    let weights: Vec<f64> = (0..channels.len())
        .map(|k| along_channel(&scene, 1.0, k, &contrast) / channels[0].values.len() as f64)
        .collect();
    scene.agrees_within("finer-cam", &["relu2"], draws(1), &rectified_sum(&weights, &channels), 1e-8);
}

#[test]
fn refine_cam_is_its_formula() {
    let scene = Scene::new();
    let layers = ["relu2", "relu1"].map(|name| scene.subject.graph.layer(name).unwrap());
    let traces = scene.objective().traces(&scene.input, &layers).unwrap();
    let maps: Vec<Plane> = traces
        .iter()
        .map(|trace| {
            let (channels, gradients) = (Scene::planes(&trace.activation), Scene::planes(&trace.gradient));
            let weights: Vec<f64> = channels
                .iter()
                .zip(&gradients)
                .map(|(channel, gradient)| {
                    let total: f64 = channel.values.iter().sum();
                    let share = |g: f64| if g > 0.0 { g.powi(3) / (2.0 * g * g + total * g.powi(3)) } else { 0.0 };
                    gradient.values.iter().map(|g| share(*g)).sum()
                })
                .collect();
            rectified_sum(&weights, &channels).scaled()
        })
        .collect();
    let coarse = maps[0].resized(maps[1].size);
    let product = Plane::new(coarse.size, |y, x| coarse.at(y, x) * maps[1].at(y, x));
    scene.agrees("refine-cam", &["relu1", "relu2"], draws(1), &product);
}

#[test]
fn the_peers_maps_are_reproduced() {
    let scene = Scene::new();
    let goldens = candle_core::safetensors::load(fixture("goldens/cam/rivals.safetensors"), &Device::Cpu).unwrap();
    let outputs = scene.objective().outputs(&scene.input).unwrap().squeeze(0).unwrap();
    assert!(relative_l2(&outputs, &goldens["outputs"]).unwrap() < 1e-12, "another network");
    let logit = Target::Output(class(&scene));
    let probability = Target::Probability(class(&scene));
    for (golden, target, layers) in [
        ("torchcam/finer-cam", logit, &["relu2"][..]),
        ("torchcam/refine-cam", logit, &["relu1", "relu2"]),
        ("pytorch-grad-cam/finer-cam", logit, &["relu2"]),
        ("pytorch-grad-cam/shapley-cam", probability, &["relu2"]),
        ("captum/lift-cam", logit, &["relu2"]),
    ] {
        let (peer, name) = golden.split_once('/').unwrap();
        let layers: Vec<_> = layers.iter().map(|layer| scene.subject.graph.layer(layer).unwrap()).collect();
        let objective = Objective::new(&scene.subject.graph, &target);
        let definition = Definition::named(peer).unwrap_or_default();
        let parameters = CamParameters { definition, ..CamParameters::default() };
        let found = explain(method(name).unwrap(), &objective, &scene.input, &layers, &parameters).unwrap().map;
        assert!(goldens[golden].abs().unwrap().max_all().unwrap().to_scalar::<f64>().unwrap() > 0.0, "{golden}");
        let distance = relative_l2(&found.squeeze(0).unwrap(), &goldens[golden]).unwrap();
        assert!(distance < 1e-6, "{golden}: {distance}");
    }
}

/// LIFT-CAM where every quotient of differences can be written down: two linear layers with a relu between them.
#[test]
fn lift_cam_is_its_formula() {
    let scene = Scene::new();
    let channels = scene.channels("relu2");
    let own = class(&scene);
    let silent: Vec<Plane> = channels.iter().map(|plane| plane.map(|_| 0.0)).collect();
    let hidden = |channels: &[Plane], layer: &str| -> Vec<f64> {
        let [height, width] = channels[0].size;
        let values: Vec<f64> = channels.iter().flat_map(|plane| plane.values.clone()).collect();
        let activation = Tensor::from_vec(values, (1, channels.len(), height, width), &Device::Cpu).unwrap();
        let network = faithful_core::AtLayer::new(&scene.subject.graph, scene.subject.layer, &scene.input).unwrap();
        let layer = scene.subject.graph.layer(layer).unwrap();
        network.evaluate(&activation, &[layer]).unwrap().1.remove(0).flatten_all().unwrap().to_vec1().unwrap()
    };
    let (before, after) = (hidden(&silent, "head1"), hidden(&channels, "head1"));
    let quotients: Vec<f64> = before.iter().zip(&after).map(|(r, x)| (x.max(0.0) - r.max(0.0)) / (x - r)).collect();
    let behind = |hidden: &[f64]| -> f64 {
        let hidden = Tensor::from_vec(hidden.to_vec(), (1, hidden.len()), &Device::Cpu).unwrap();
        let relu3 = scene.subject.graph.layer("relu3").unwrap();
        let outputs = scene.subject.graph.resume(relu3, &hidden).unwrap().unwrap();
        outputs.squeeze(0).unwrap().to_vec1::<f64>().unwrap()[own]
    };
    let zero = behind(&vec![0.0; before.len()]);
    let weights: Vec<f64> = (0..channels.len())
        .map(|k| {
            let mut alone = silent.clone();
            alone[k] = channels[k].clone();
            let moved = hidden(&alone, "head1");
            let seen: Vec<f64> =
                moved.iter().zip(&before).zip(&quotients).map(|((x, r), quotient)| (x - r) * quotient).collect();
            behind(&seen) - zero
        })
        .collect();
    let total = outputs_behind(&scene, &channels)[own] - outputs_behind(&scene, &silent)[own];
    assert!((weights.iter().sum::<f64>() - total).abs() < 1e-9, "the weights account for the score");
    let logit = Target::Output(own);
    let objective = Objective::new(&scene.subject.graph, &logit);
    let layers = [scene.subject.layer];
    let found = explain(method("lift-cam").unwrap(), &objective, &scene.input, &layers, &CamParameters::default());
    let wanted = rectified_sum(&weights, &channels);
    let wanted = Tensor::from_vec(wanted.values, (1, wanted.size[0], wanted.size[1]), &Device::Cpu).unwrap();
    assert!(relative_l2(&found.unwrap().map, &wanted).unwrap() < 1e-10);
}

#[test]
fn relevance_is_zennits_and_multipliers_are_the_rescale_rules() {
    let scene = Scene::new();
    let goldens = candle_core::safetensors::load(fixture("goldens/cam/rivals.safetensors"), &Device::Cpu).unwrap();
    let logit = Target::Output(class(&scene));
    let objective = Objective::new(&scene.subject.graph, &logit);
    let parameters = GradientParameters::default();
    let wanted =
        [("lrp", "zennit/lrp"), ("lrp-epsilon-plus", "zennit/lrp-epsilon-plus"), ("deep-lift", "rescale/deep-lift")];
    for (name, golden) in wanted {
        let method = faithful_gradient::method(name).unwrap();
        let map = (method.attribute)(&objective, &scene.input, &parameters).unwrap().map.squeeze(0).unwrap();
        assert!(goldens[golden].abs().unwrap().sum_all().unwrap().to_scalar::<f64>().unwrap() > 0.0, "{golden}");
        let distance = relative_l2(&map, &goldens[golden]).unwrap();
        assert!(distance < 1e-8, "{golden}: {distance}");
    }
}

/// Relevance is conserved where there are no biases, and multipliers account for the difference on any network.
#[test]
fn what_is_carried_back_accounts_for_the_score() {
    for subject in [nonlinear(), residual(), pooled()] {
        let objective = Objective::new(&subject.graph, &subject.class);
        let input = photo(1);
        let total = |name: &str| {
            let method = faithful_gradient::method(name).unwrap();
            let map = (method.attribute)(&objective, &input, &GradientParameters::default()).unwrap().map;
            map.sum_all().unwrap().to_scalar::<f64>().unwrap()
        };
        let score = |x: &Tensor| objective.scores(x).unwrap().to_vec1::<f64>().unwrap()[0];
        let difference = score(&input) - score(&input.zeros_like().unwrap());
        assert!((total("deep-lift") - difference).abs() < 1e-9 * difference.abs().max(1.0), "{}", subject.name);
        for name in ["idgi", "blur-idgi"] {
            let method = faithful_gradient::method(name).unwrap();
            let found = (method.attribute)(&objective, &input, &GradientParameters::default()).unwrap();
            let total = found.map.sum_all().unwrap().to_scalar::<f64>().unwrap();
            let missing = found.convergence.unwrap().delta.unwrap();
            if name == "idgi" {
                assert!((total - missing - difference).abs() < 1e-9 * difference.abs().max(1.0), "{}", subject.name);
            }
            assert!(total.is_finite() && missing.is_finite());
        }
        for name in ["lrp", "lrp-epsilon-plus", "lrp-epsilon"] {
            assert!(total(name).is_finite(), "{name} on {}", subject.name);
        }
    }
}

/// Yang et al. 2023, algorithm 1, step by step.
#[test]
fn idgi_is_its_formula() {
    let subject = nonlinear();
    let objective = Objective::new(&subject.graph, &subject.class);
    let input = photo(1);
    let steps = 6;
    let points: Vec<Tensor> = (0..=steps).map(|j| (&input * (j as f64 / steps as f64)).unwrap()).collect();
    let mut map = input.zeros_like().unwrap();
    for pair in points.windows(2) {
        let score = |x: &Tensor| objective.scores(x).unwrap().to_vec1::<f64>().unwrap()[0];
        let square = objective.input_gradient(&pair[0]).unwrap().sqr().unwrap();
        let share = (score(&pair[1]) - score(&pair[0])) / square.sum_all().unwrap().to_scalar::<f64>().unwrap();
        map = (map + (square * share).unwrap()).unwrap();
    }
    let parameters = GradientParameters { draws: std::num::NonZeroUsize::new(steps), ..GradientParameters::default() };
    for batch in [1, 4, 32] {
        let objective = objective.with_batch(std::num::NonZeroUsize::new(batch).unwrap());
        let found = (faithful_gradient::method("idgi").unwrap().attribute)(&objective, &input, &parameters).unwrap();
        assert!(relative_l2(&found.map, &map).unwrap() < 1e-10, "batch {batch}");
    }
}

#[test]
fn augmented_maps_are_the_mean_of_six() {
    let scene = Scene::new();
    let layers = [scene.subject.layer];
    let map = |input: &Tensor, augmented: bool| {
        let parameters = CamParameters { augmented, ..CamParameters::default() };
        explain(method("layer-cam").unwrap(), &scene.objective(), input, &layers, &parameters).unwrap().map
    };
    let planes = |tensor: &Tensor| Scene::planes(&tensor.unsqueeze(1).unwrap()).remove(0);
    let turned = |plane: &Plane| Plane::new(plane.size, |y, x| plane.at(y, plane.size[1] - 1 - x));
    let own = Scene::planes(&scene.input);
    let mut mean = planes(&map(&scene.input, false)).map(|_| 0.0);
    for mirror in [false, true] {
        for factor in [0.9, 1.0, 1.1] {
            let seen: Vec<f64> = own
                .iter()
                .flat_map(|plane| if mirror { turned(plane) } else { plane.clone() }.map(|v| v * factor).values)
                .collect();
            let seen = Tensor::from_vec(seen, scene.input.shape(), &Device::Cpu).unwrap();
            let found = planes(&map(&seen, false));
            let found = if mirror { turned(&found) } else { found };
            let highest = found.highest();
            mean = Plane::new(mean.size, |y, x| mean.at(y, x) + found.at(y, x) / highest / 6.0);
        }
    }
    let found = planes(&map(&scene.input, true));
    for (a, b) in found.values.iter().zip(&mean.values) {
        assert!((a - b).abs() < 1e-12, "{a} instead of {b}");
    }
}

/// pytorch-grad-cam leaves the sign of the component open: the better of both.
#[test]
fn eigen_smoothing_is_pytorch_grad_cams() {
    let scene = Scene::new();
    let goldens = candle_core::safetensors::load(fixture("goldens/cam/rivals.safetensors"), &Device::Cpu).unwrap();
    let logit = Target::Output(class(&scene));
    let objective = Objective::new(&scene.subject.graph, &logit);
    let parameters = CamParameters { eigen: true, ..CamParameters::default() };
    for name in ["grad-cam", "layer-cam"] {
        let found = explain(method(name).unwrap(), &objective, &scene.input, &[scene.subject.layer], &parameters);
        let found = found.unwrap().map.squeeze(0).unwrap();
        let component = &goldens[&format!("eigen/{name}")];
        let far = |sign: f64| relative_l2(&found, &(component * sign).unwrap().relu().unwrap()).unwrap();
        // The peer's components are in f32.
        assert!(far(1.0).min(far(-1.0)) < 1e-5, "{name}: {} and {}", far(1.0), far(-1.0));
    }
    let error = explain(method("score-cam").unwrap(), &objective, &scene.input, &[scene.subject.layer], &parameters);
    assert!(error.unwrap_err().to_string().contains("weighted channels"));
}

#[test]
fn finer_cam_wants_a_class() {
    struct Total;
    impl Score for Total {
        fn score(&self, output: &Tensor) -> faithful_core::Result<Tensor> {
            Ok(output.sum(1)?)
        }
    }
    let scene = Scene::new();
    let objective = Objective::new(&scene.subject.graph, &Total);
    let layers = [scene.subject.layer];
    let error = explain(method("finer-cam").unwrap(), &objective, &scene.input, &layers, &CamParameters::default());
    assert!(error.unwrap_err().to_string().contains("of no class"));
}
