//! Laws of class activation maps over the registries: a new rule, estimator or method is tested by being listed.

use crate::cam_networks::{nonlinear, photo, pooled, subjects};
use crate::cam_runs::{Counting, bits, largest, least, number, others, parameters, run, sampling};
use candle_core::{Device, Tensor};
use faithful_baseline::{AlphaSampler, BaselineSampler, Constant, DataSet, Gaussian, Spread};
use faithful_cam::{
    CamParameters, Difference, ESTIMATORS, EstimatorParameters, Fusion, METHODS, PerturbationParameters, RULES,
    explain, method,
};
use faithful_core::{LayerId, LayerTrace, Network, Objective, Score, Target};
use faithful_gradient::{ExpectedGradients, expected_gradients};
use faithful_tests::relative_l2;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

#[test]
fn every_rule_runs_on_every_estimator_and_network_whatever_the_batch() {
    for subject in subjects() {
        let info = &subject.graph.layers()[subject.layer.0].shape;
        for rule in RULES.iter().filter(|rule| subject.pooled || !rule.pooled_head) {
            for estimator in ESTIMATORS {
                let parameters = parameters(Some(estimator.name), sampling(7));
                let what = format!("{} on {} on {}", rule.name, estimator.name, subject.name);
                let found = run(&subject, rule.name, 3, &parameters);
                assert_eq!(found.map.dims(), [1, info[1], info[2]], "{what}");
                assert!(largest(&found.map).is_finite(), "{what}");
                assert!(rule.signed || least(&found.map) >= 0.0, "{what} is negative");
                for batch in [1, 7] {
                    let again = run(&subject, rule.name, batch, &parameters);
                    assert_eq!(bits(&found.map), bits(&again.map), "{what}: batch {batch}");
                    assert_eq!(found.convergence, again.convergence, "{what}: batch {batch}");
                }
            }
        }
    }
}

#[test]
fn methods_have_names_of_their_own() {
    for (place, method) in METHODS.iter().enumerate() {
        assert!(!method.info.summary.is_empty() && !method.info.source.is_empty(), "{}", method.info.name);
        assert!(METHODS[..place].iter().all(|other| other.info.name != method.info.name), "{}", method.info.name);
    }
    let error = method("gradcam").unwrap_err().to_string();
    assert!(error.contains("grad-cam"), "{error}");
}

#[test]
fn a_constant_gradient_makes_grad_cam_hires_and_xgrad_one() {
    let subject = pooled();
    for (name, difference) in
        [("plain", Difference::Activation), ("smooth", Difference::None), ("expected", Difference::None)]
    {
        let parameters = parameters(Some(name), EstimatorParameters { difference, ..sampling(5) });
        let reference = run(&subject, "grad-cam", 8, &parameters).map;
        assert!(largest(&reference) > 0.01);
        for rule in ["hires-cam", "xgrad-cam"] {
            let map = run(&subject, rule, 8, &parameters).map;
            assert!(relative_l2(&map, &reference).unwrap() < 1e-12, "{rule} on {name}");
        }
        // CAM weighs by the sum where Grad-CAM has the mean, and keeps the sign.
        let cam = (run(&subject, "cam", 8, &parameters).map.relu().unwrap() / 30.0).unwrap();
        assert!(relative_l2(&cam, &reference).unwrap() < 1e-12, "cam on {name}");
    }
}

#[test]
fn expected_gradients_without_difference_are_plain_on_a_linear_head() {
    let subject = pooled();
    let none = EstimatorParameters { difference: Difference::None, ..sampling(6) };
    // The weights of Grad-CAM++ are made of each draw's own activation.
    for rule in RULES.iter().filter(|rule| !["grad-cam++", "expected-grad-cam++"].contains(&rule.name)) {
        let plain = run(&subject, rule.name, 8, &parameters(Some("plain"), sampling(6))).map;
        for name in ["expected", "integrated", "expected-smooth", "smooth"] {
            let expected = run(&subject, rule.name, 8, &parameters(Some(name), none.clone())).map;
            assert!(relative_l2(&expected, &plain).unwrap() < 1e-9, "{} on {name}", rule.name);
        }
    }
}

#[test]
fn integrated_and_expected_agree_as_draws_grow() {
    let subject = nonlinear();
    let zero = |draws| EstimatorParameters { sampler: Arc::new(Constant::zero()), ..sampling(draws) };
    let integrated = run(&subject, "hires-cam", 8, &parameters(Some("integrated"), zero(1000))).map;
    let distance = |draws| {
        let expected = run(&subject, "hires-cam", 8, &parameters(Some("expected"), zero(draws))).map;
        relative_l2(&expected, &integrated).unwrap()
    };
    let (few, many) = (distance(20), distance(2000));
    assert!(many < 0.02 && many < few, "{few} then {many}");
    let stratified = EstimatorParameters { alphas: AlphaSampler::Stratified, ..zero(1000) };
    let close = run(&subject, "hires-cam", 8, &parameters(Some("expected"), stratified)).map;
    assert!(relative_l2(&close, &integrated).unwrap() < 5e-3);
}

#[test]
fn the_kernel_smoothed_expectation_has_the_others_as_special_cases() {
    let subject = nonlinear();
    let sharp = EstimatorParameters { spread: Spread::Absolute(0.0), ..sampling(9) };
    let smooth = run(&subject, "layer-cam", 4, &parameters(Some("expected-smooth"), sharp)).map;
    let expected = run(&subject, "layer-cam", 4, &parameters(Some("expected"), sampling(9))).map;
    assert_eq!(bits(&smooth), bits(&expected));
    // At the end of every path only the neighbourhood is left: one draw per path takes the factor 1.
    let at_end = EstimatorParameters {
        alphas: AlphaSampler::Linear,
        difference: Difference::None,
        paths: number(9),
        ..sampling(1)
    };
    let ends = run(&subject, "eigen-grad-cam", 4, &parameters(Some("expected-smooth"), at_end)).convergence;
    let smooth = run(&subject, "eigen-grad-cam", 4, &parameters(Some("smooth"), sampling(9))).convergence;
    let sum = |found: &[faithful_core::Convergence]| found[0].trace.last().unwrap().gradient_sum;
    assert!((sum(&ends) - sum(&smooth)).abs() < 1e-12 * sum(&smooth).abs());
}

/// Expected Grad-CAM in the words of Eq. 54-57, one draw at a time.
#[test]
fn expected_grad_cam_is_its_formula() {
    for subject in subjects() {
        let gradient = sampling(11);
        let (input, target) = (photo(1), subject.class);
        let objective = Objective::new(&subject.graph, &target);
        let own = &objective.activations(&input, &[subject.layer]).unwrap()[0];
        let alphas = gradient.alphas.alphas(&gradient.stream, 0..11, 11);
        for difference in [Difference::Activation, Difference::Encoded, Difference::None] {
            let mut mean = own.zeros_like().unwrap();
            for (s, alpha) in alphas.iter().enumerate() {
                let baseline = gradient.sampler.sample(&input, &gradient.stream, s..s + 1).unwrap();
                let way = (&input - &baseline).unwrap();
                let point = (&baseline + (&way * *alpha).unwrap()).unwrap();
                let LayerTrace { gradient: there, .. } = &objective.traces(&point, &[subject.layer]).unwrap()[0];
                let at = |x: &Tensor| objective.activations(x, &[subject.layer]).unwrap().remove(0);
                let moved = match difference {
                    Difference::Activation => (there * (own - at(&baseline)).unwrap()).unwrap(),
                    Difference::Encoded => (there * at(&way)).unwrap(),
                    Difference::None => there.clone(),
                };
                mean = (mean + (moved / 11.0).unwrap()).unwrap();
            }
            let weights = mean.mean_keepdim((2, 3)).unwrap();
            let map = own.broadcast_mul(&weights).unwrap().sum(1).unwrap().relu().unwrap();
            let parameters = parameters(None, EstimatorParameters { difference, ..gradient.clone() });
            let found = run(&subject, "expected-grad-cam", 4, &parameters);
            assert!(relative_l2(&found.map, &map).unwrap() < 1e-10, "{difference:?} on {}", subject.name);
        }
    }
}

#[test]
fn mini_batches_are_the_mean_of_their_paths_maps() {
    let subject = nonlinear();
    let (input, target) = (photo(1), subject.class);
    let objective = Objective::new(&subject.graph, &target);
    let gradient = EstimatorParameters { paths: number(3), ..sampling(4) };
    let own = &objective.activations(&input, &[subject.layer]).unwrap()[0];
    let alphas = gradient.alphas.alphas(&gradient.stream, 0..12, 4);
    let mut mean: Option<Tensor> = None;
    for path in 0..3 {
        let baseline = gradient.sampler.sample(&input, &gradient.stream, path..path + 1).unwrap();
        let difference = (own - &objective.activations(&baseline, &[subject.layer]).unwrap()[0]).unwrap();
        let mut sum = own.zeros_like().unwrap();
        for draw in 0..4 {
            let way = ((&input - &baseline).unwrap() * alphas[path * 4 + draw]).unwrap();
            let traces = objective.traces(&(&baseline + way).unwrap(), &[subject.layer]).unwrap();
            sum = (sum + (&traces[0].gradient * &difference).unwrap()).unwrap();
        }
        let weights = (sum.mean_keepdim((2, 3)).unwrap() / 4.0).unwrap();
        let map = (own.broadcast_mul(&weights).unwrap().sum(1).unwrap().relu().unwrap() / 3.0).unwrap();
        mean = Some(match mean {
            Some(mean) => (mean + map).unwrap(),
            None => map,
        });
    }
    for batch in [1, 5, 12] {
        let found = run(&subject, "expected-grad-cam", batch, &parameters(None, gradient.clone()));
        assert!(relative_l2(&found.map, mean.as_ref().unwrap()).unwrap() < 1e-10);
        assert_eq!(found.convergence[0].draws, 12);
    }
}

#[test]
fn completeness_holds_where_the_layer_is_linear_in_the_input() {
    let subject = nonlinear();
    let target = subject.class;
    let objective = Objective::new(&subject.graph, &target);
    let layer = subject.graph.layer("conv1").unwrap();
    let gradient = EstimatorParameters { draws: number(800), ..sampling(1) };
    let found =
        explain(method("integrated-grad-cam").unwrap(), &objective, &photo(1), &[layer], &parameters(None, gradient));
    let found = found.unwrap();
    let completeness = found.completeness[0];
    assert!(completeness.gap() < 1e-2 * completeness.expected.abs(), "{completeness:?}");
    assert!((found.convergence[0].delta.unwrap().abs() - completeness.gap()).abs() < 1e-9);
}

#[test]
fn full_grad_and_conserving_rules_account_for_the_whole_score() {
    for subject in [pooled(), nonlinear()] {
        let found = run(&subject, "full-grad", 8, &CamParameters::default());
        let completeness = found.completeness[0];
        assert!(completeness.gap() < 1e-9 * completeness.expected.abs(), "{completeness:?} on {}", subject.name);
        assert_eq!(found.map.dims(), [1, 12, 10]);
    }
    for rule in RULES.iter().filter(|rule| rule.conserves) {
        let completeness = run(&pooled(), rule.name, 8, &CamParameters::default()).completeness[0];
        assert!(completeness.gap() < 1e-9 * completeness.expected.abs(), "{completeness:?} for {}", rule.name);
    }
}

#[test]
fn guided_expected_grad_cam_is_its_map_times_expected_gradients_of_the_same_draws() {
    let subject = nonlinear();
    let gradient = sampling(13);
    let target = subject.class;
    let objective = Objective::new(&subject.graph, &target);
    let guided = run(&subject, "guided-expected-grad-cam", 4, &parameters(None, gradient.clone())).map;
    let map = run(&subject, "expected-grad-cam", 4, &parameters(None, gradient.clone())).map;
    let settings = ExpectedGradients { draws: number(13), ..ExpectedGradients::default() };
    let attribution =
        expected_gradients(&objective, &photo(1), &*gradient.sampler, &gradient.stream, &settings).unwrap().map;
    let rules = faithful_tensor::Resize::default();
    let large = faithful_tensor::resize2d(&map.unsqueeze(1).unwrap(), [12, 10], &rules).unwrap();
    let expected = attribution.broadcast_mul(&large).unwrap();
    assert!(largest(&expected) > 0.0);
    assert!(relative_l2(&guided, &expected).unwrap() < 1e-10);
}

#[test]
fn several_layers_are_fused_at_the_largest_size() {
    let subject = nonlinear();
    let target = subject.class;
    let objective = Objective::new(&subject.graph, &target);
    let layers = [subject.layer, subject.graph.layer("relu1").unwrap()];
    let fused = |fusion| {
        let parameters = CamParameters { fusion, ..CamParameters::default() };
        explain(method("layer-cam").unwrap(), &objective, &photo(1), &layers, &parameters).unwrap().map
    };
    let single = |layer| {
        explain(method("layer-cam").unwrap(), &objective, &photo(1), &[layer], &CamParameters::default()).unwrap().map
    };
    let unit = |map: &Tensor| (map / largest(map)).unwrap();
    let coarse = unit(&single(layers[0])).unsqueeze(1).unwrap();
    let coarse = faithful_tensor::resize2d(&coarse, [12, 10], &faithful_tensor::Resize::default()).unwrap();
    let (coarse, fine) = (coarse.squeeze(1).unwrap(), unit(&single(layers[1])));
    let mean = ((&coarse + &fine).unwrap() / 2.0).unwrap();
    assert!(relative_l2(&fused(Fusion::Mean), &mean).unwrap() < 1e-12);
    assert!(relative_l2(&fused(Fusion::Product), &(&coarse * &fine).unwrap()).unwrap() < 1e-12);
    assert!(relative_l2(&fused(Fusion::Maximum), &coarse.maximum(&fine).unwrap()).unwrap() < 1e-12);
}

/// Score-CAM and Ablation-CAM one channel at a time, and occlusion one window at a time.
#[test]
fn masking_methods_are_their_formulas() {
    let subject = nonlinear();
    let Target::Output(class) = subject.class else { panic!("a logit is explained") };
    let target = Target::Probability(class);
    let objective = Objective::new(&subject.graph, &target);
    let input = photo(1);
    let own = objective.activations(&input, &[subject.layer]).unwrap().remove(0);
    let channels = own.dim(1).unwrap();
    let score = |x: &Tensor| objective.scores(x).unwrap().to_vec1::<f64>().unwrap()[0];
    let weighted = |weights: &[f64]| {
        let weights = Tensor::new(weights, &Device::Cpu).unwrap().reshape((1, channels, 1, 1)).unwrap();
        own.broadcast_mul(&weights).unwrap().sum(1).unwrap().relu().unwrap()
    };
    let found = |name: &str| {
        explain(method(name).unwrap(), &objective, &input, &[subject.layer], &CamParameters::default()).unwrap().map
    };

    let exponentials: Vec<f64> = (0..channels)
        .map(|k| {
            let channel = own.narrow(1, k, 1).unwrap();
            let large = faithful_tensor::resize2d(&channel, [12, 10], &faithful_tensor::Resize::default()).unwrap();
            let (low, high) = (least(&large), -least(&large.neg().unwrap()));
            let range = if high > low { high - low } else { 1.0 };
            let mask = ((large - low).unwrap() / range).unwrap();
            score(&input.broadcast_mul(&mask).unwrap()).exp()
        })
        .collect();
    let sum: f64 = exponentials.iter().sum();
    let weights: Vec<f64> = exponentials.iter().map(|value| value / sum).collect();
    assert!(relative_l2(&found("score-cam"), &weighted(&weights)).unwrap() < 1e-12);

    let whole = score(&input);
    let weights: Vec<f64> = (0..channels)
        .map(|k| {
            let keep: Vec<f64> = (0..channels).map(|other| f64::from(other != k)).collect();
            let keep = Tensor::new(keep, &Device::Cpu).unwrap().reshape((1, channels, 1, 1)).unwrap();
            let ablated = own.broadcast_mul(&keep).unwrap();
            let output = subject.graph.resume(subject.layer, &ablated).unwrap().unwrap();
            (whole - target.score(&output).unwrap().to_vec1::<f64>().unwrap()[0]) / whole
        })
        .collect();
    assert!(relative_l2(&found("ablation-cam"), &weighted(&weights)).unwrap() < 1e-12);
    // A network that cannot start at a layer gives the same, through a probe.
    let counting = Counting { network: &subject.graph, rows: AtomicUsize::new(0) };
    let slow = Objective::new(&counting, &target);
    let slow = explain(method("ablation-cam").unwrap(), &slow, &input, &[subject.layer], &CamParameters::default());
    assert!(relative_l2(&slow.unwrap().map, &weighted(&weights)).unwrap() < 1e-12);

    let settings = PerturbationParameters { window: Some(number(4)), stride: Some(number(3)), ..Default::default() };
    let parameters = CamParameters { perturbation: settings, ..CamParameters::default() };
    let occluded = explain(method("occlusion").unwrap(), &objective, &input, &[], &parameters).unwrap().map;
    let (mut sums, mut counts) = ([[0.0; 10]; 12], [[0.0; 10]; 12]);
    for top in [0, 3, 6, 8] {
        for left in [0, 3, 6] {
            let mut pixels = input.flatten_all().unwrap().to_vec1::<f64>().unwrap();
            for (place, pixel) in pixels.iter_mut().enumerate() {
                let (y, x) = (place / 10 % 12, place % 10);
                if (top..top + 4).contains(&y) && (left..left + 4).contains(&x) {
                    *pixel = 0.0;
                }
            }
            let lost = whole - score(&Tensor::from_vec(pixels, (1, 3, 12, 10), &Device::Cpu).unwrap());
            for y in top..top + 4 {
                for x in left..left + 4 {
                    sums[y][x] += lost;
                    counts[y][x] += 1.0;
                }
            }
        }
    }
    let means: Vec<f64> = sums.iter().flatten().zip(counts.iter().flatten()).map(|(sum, count)| sum / count).collect();
    let means = Tensor::from_vec(means, (1, 12, 10), &Device::Cpu).unwrap();
    assert!(relative_l2(&occluded, &means).unwrap() < 1e-12);
}

#[test]
fn baselines_of_every_sampler_serve() {
    let subject = nonlinear();
    let samplers: [Arc<dyn BaselineSampler>; 3] = [
        Arc::new(Constant::zero()),
        Arc::new(Gaussian { spread: Spread::Absolute(0.5) }),
        Arc::new(DataSet::new(others()).unwrap()),
    ];
    let maps = samplers.map(|sampler| {
        let found =
            run(&subject, "expected-grad-cam", 8, &parameters(None, EstimatorParameters { sampler, ..sampling(10) }));
        assert!(found.completeness[0].gap().is_finite());
        assert!(found.convergence[0].standard_error.is_some_and(f64::is_finite));
        found.map
    });
    assert!(bits(&maps[0]) != bits(&maps[1]) && bits(&maps[1]) != bits(&maps[2]));
}

#[test]
fn what_cannot_be_explained_is_said() {
    let subject = nonlinear();
    let target = subject.class;
    let objective = Objective::new(&subject.graph, &target);
    let try_at = |layer: LayerId| {
        explain(method("grad-cam").unwrap(), &objective, &photo(1), &[layer], &CamParameters::default())
    };
    let flat = try_at(subject.graph.layer("head1").unwrap()).unwrap_err().to_string();
    assert!(flat.contains("choose a layer that still has places"), "{flat}");
    let none = explain(method("grad-cam").unwrap(), &objective, &photo(1), &[], &CamParameters::default());
    assert!(none.unwrap_err().to_string().contains("at least one target layer"));
    let cam = explain(method("cam").unwrap(), &objective, &photo(1), &[subject.layer], &CamParameters::default());
    assert!(cam.unwrap_err().to_string().contains("global average pool"));
    let far = explain(method("grad-cam").unwrap(), &objective, &photo(1), &[LayerId(999)], &CamParameters::default());
    assert!(far.is_err());
}
