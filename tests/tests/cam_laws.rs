//! Laws of class activation maps over the registries: a new rule, estimator or method is tested by being listed.

use crate::cam_networks::{Subject, nonlinear, photo, pooled, residual, subjects, values};
use candle_core::{DType, Device, Tensor};
use faithful_baseline::{AlphaSampler, BaselineSampler, Constant, DataSet, Gaussian, Spread};
use faithful_cam::{
    BaselineCache, CamParameters, Difference, ESTIMATORS, EstimatorParameters, Explanation, Fusion, METHODS, Method,
    PerturbationParameters, RULES, estimator, explain, explain_scores, method,
};
use faithful_core::{
    BackwardRule, LayerId, LayerInfo, LayerTrace, Network, Objective, Probe, PullBack, Result, Score, Stop, Stream,
    Tap, Target,
};
use faithful_gradient::{ExpectedGradients, expected_gradients};
use faithful_tests::relative_l2;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

fn number(n: usize) -> NonZeroUsize {
    NonZeroUsize::new(n).unwrap()
}

fn others() -> Tensor {
    values("others", &[7, 3, 12, 10], 1.0)
}

/// Few draws from a data set.
fn sampling(draws: usize) -> EstimatorParameters {
    EstimatorParameters {
        draws: number(draws),
        sampler: Arc::new(DataSet::new(others()).unwrap()),
        stream: Stream::new(3, "photo"),
        ..EstimatorParameters::default()
    }
}

fn parameters(name: Option<&str>, gradient: EstimatorParameters) -> CamParameters {
    CamParameters {
        estimator: name.map(|name| estimator(name).unwrap()),
        gradient,
        perturbation: PerturbationParameters { draws: Some(number(5)), ..PerturbationParameters::default() },
        ..CamParameters::default()
    }
}

fn run(subject: &Subject, name: &str, batch: usize, parameters: &CamParameters) -> Explanation {
    let target = subject.class;
    let objective = Objective::new(&subject.graph, &target).with_batch(number(batch));
    let method = method(name).unwrap();
    explain(method, &objective, &photo(1), layers_of(method, &subject.layer), parameters)
        .unwrap_or_else(|error| panic!("{name} on {}: {error}", subject.name))
}

/// The layer, where the method explains at one.
fn layers_of<'a>(method: &Method, layer: &'a LayerId) -> &'a [LayerId] {
    if method.needs_layers() { std::slice::from_ref(layer) } else { &[] }
}

fn bits(x: &Tensor) -> Vec<u64> {
    let flat = x.flatten_all().unwrap().to_dtype(DType::F64).unwrap().to_vec1::<f64>().unwrap();
    flat.into_iter().map(f64::to_bits).collect()
}

fn least(x: &Tensor) -> f64 {
    x.flatten_all().unwrap().min(0).unwrap().to_scalar().unwrap()
}

fn largest(x: &Tensor) -> f64 {
    x.abs().unwrap().flatten_all().unwrap().max(0).unwrap().to_scalar().unwrap()
}

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
fn every_method_is_the_same_for_the_same_seed_and_does_not_depend_on_the_batch() {
    for subject in subjects() {
        for method in METHODS.iter().filter(|method| subject.pooled || method.info.name != "cam") {
            let what = format!("{} on {}", method.info.name, subject.name);
            let one = run(&subject, method.info.name, 8, &parameters(None, sampling(6)));
            let same = run(&subject, method.info.name, 3, &parameters(None, sampling(6)));
            assert_eq!(bits(&one.map), bits(&same.map), "{what}: batch");
            assert!(largest(&one.map).is_finite(), "{what}");
            assert!(method.info.signed || least(&one.map) >= 0.0, "{what} is negative");
            let other = EstimatorParameters { stream: Stream::new(4, "photo"), ..sampling(6) };
            let other = run(&subject, method.info.name, 8, &parameters(None, other));
            let changed = bits(&one.map) != bits(&other.map);
            assert!(!changed || method.info.draws, "{what}: the seed matters");
            // Behind a global average pool the gradient is the same everywhere, and rectified maps may all be zero.
            let must = subject.name == "nonlinear" && method.info.draws && largest(&one.map) > 0.0;
            assert!(changed || !must, "{what}: the seed does not matter");
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
fn stopping_rules_stop_at_the_same_draw_whatever_the_batch() {
    let subject = nonlinear();
    for stop in [Stop::Difference(0.02), Stop::Delta(2.0)] {
        let gradient = EstimatorParameters { stop, ..sampling(400) };
        let one = run(&subject, "expected-grad-cam", 1, &parameters(None, gradient.clone()));
        let draws = one.convergence[0].draws;
        assert!(one.convergence[0].satisfied && draws < 400, "{stop:?}: {draws}");
        let same = run(&subject, "expected-grad-cam", 64, &parameters(None, gradient));
        assert_eq!(bits(&one.map), bits(&same.map));
        assert_eq!(one.convergence, same.convergence);
    }
    let target = subject.class;
    let objective = Objective::new(&subject.graph, &target);
    let gradient = EstimatorParameters { stop: Stop::Delta(0.5), difference: Difference::None, ..sampling(5) };
    let refused = explain(
        method("expected-grad-cam").unwrap(),
        &objective,
        &photo(1),
        &[subject.layer],
        &parameters(None, gradient),
    );
    assert!(refused.unwrap_err().to_string().contains("completeness gap"));
}

/// Counts the rows that go through a network.
struct Counting<'a> {
    network: &'a dyn Network,
    rows: AtomicUsize,
}

impl Network for Counting<'_> {
    fn layers(&self) -> &[LayerInfo] {
        self.network.layers()
    }
    fn forward(&self, input: &Tensor, probe: &mut dyn Probe) -> Result<Tensor> {
        self.rows.fetch_add(input.dim(0)?, Ordering::Relaxed);
        self.network.forward(input, probe)
    }
    fn dtype(&self) -> DType {
        self.network.dtype()
    }
    fn biases(&self) -> Result<Vec<(LayerId, Tensor)>> {
        self.network.biases()
    }
    fn with_backward_rule(&self, rule: BackwardRule) -> Result<Box<dyn Network + '_>> {
        self.network.with_backward_rule(rule)
    }
    fn pull_back(
        &self,
        input: &Tensor,
        taps: &[Tap],
        cotangents: &mut dyn FnMut(&Tensor) -> Result<Vec<Tensor>>,
    ) -> Result<PullBack> {
        self.rows.fetch_add(input.dim(0)?, Ordering::Relaxed);
        self.network.pull_back(input, taps, cotangents)
    }
}

#[test]
fn baselines_are_evaluated_once_per_run_and_classes_share_passes() {
    let subject = nonlinear();
    let counting = Counting { network: &subject.graph, rows: AtomicUsize::new(0) };
    let target = subject.class;
    let objective = Objective::new(&counting, &target);
    let cache = Arc::new(BaselineCache::default());
    let cached = parameters(None, EstimatorParameters { cache: Some(cache.clone()), ..sampling(20) });
    let expected = method("expected-grad-cam").unwrap();
    let rows = |work: &dyn Fn()| {
        let before = counting.rows.load(Ordering::Relaxed);
        work();
        counting.rows.load(Ordering::Relaxed) - before
    };
    let first = rows(&|| {
        explain(expected, &objective, &photo(1), &[subject.layer], &cached).unwrap();
    });
    // The input, the seven members of the data set, twenty draws.
    assert_eq!(first, 1 + 7 + 20);
    assert_eq!(cache.len(), 7);
    // Another image has the same baselines.
    let other = photo(2).narrow(0, 1, 1).unwrap().contiguous().unwrap();
    let second = rows(&|| {
        explain(expected, &objective, &other, &[subject.layer], &cached).unwrap();
    });
    assert_eq!(second, 1 + 20);
    let classes: Vec<Target> = (0..4).map(Target::Output).collect();
    let scores: Vec<&dyn Score> = classes.iter().map(|class| class as &dyn Score).collect();
    let all = rows(&|| {
        let all = explain_scores(expected, &objective, &photo(1), &[subject.layer], &scores, &cached).unwrap();
        for (found, class) in all.iter().zip(&classes) {
            let alone = objective.with_score(class);
            let uncached = parameters(None, sampling(20));
            let alone = explain(expected, &alone, &photo(1), &[subject.layer], &uncached).unwrap();
            assert_eq!(bits(&found.map), bits(&alone.map));
        }
    });
    // Four classes in one go, then each alone without the cache.
    assert_eq!(all, (1 + 20) + 4 * (1 + 7 + 20));
}

#[test]
fn every_method_explains_three_classes_with_the_passes_of_one() {
    let subject = pooled();
    let counting = Counting { network: &subject.graph, rows: AtomicUsize::new(0) };
    let classes = [Target::Output(0), Target::Output(1), Target::Output(3)];
    let scores: Vec<&dyn Score> = classes.iter().map(|class| class as &dyn Score).collect();
    let objective = Objective::new(&counting, &classes[0]);
    for method in METHODS.iter() {
        let layers = layers_of(method, &subject.layer);
        let rows = |scores: &[&dyn Score]| {
            let before = counting.rows.load(Ordering::Relaxed);
            explain_scores(method, &objective, &photo(1), layers, scores, &parameters(None, sampling(4))).unwrap();
            counting.rows.load(Ordering::Relaxed) - before
        };
        let (one, three) = (rows(&scores[..1]), rows(&scores));
        // Group-CAM's masks are made of a class's own gradients, and so are Hyper Expected Grad-CAM's neighbourhoods.
        if ["group-cam", "hyper-expected-grad-cam"].contains(&method.info.name) {
            assert!(three <= 3 * one, "{}: {three} rows for three, {one} for one", method.info.name);
        } else {
            assert_eq!(three, one, "{}", method.info.name);
        }
    }
}

#[test]
fn several_classes_share_every_methods_passes_without_a_difference() {
    let subject = pooled();
    let classes = [Target::Output(0), Target::Output(2)];
    let scores: Vec<&dyn Score> = classes.iter().map(|class| class as &dyn Score).collect();
    let parameters = parameters(None, sampling(4));
    for method in METHODS.iter() {
        let objective = Objective::new(&subject.graph, &classes[0]);
        let layers = layers_of(method, &subject.layer);
        let all = explain_scores(method, &objective, &photo(1), layers, &scores, &parameters).unwrap();
        assert_eq!(all.len(), 2);
        for (found, class) in all.iter().zip(&classes) {
            let alone = objective.with_score(class);
            let alone = explain(method, &alone, &photo(1), layers, &parameters).unwrap();
            assert_eq!(bits(&found.map), bits(&alone.map), "{}", method.info.name);
        }
    }
}

#[test]
fn rows_are_explained_as_if_alone() {
    let subject = residual();
    let target = subject.class;
    let objective = Objective::new(&subject.graph, &target);
    let both = photo(2);
    let parameters = parameters(None, sampling(4));
    for method in METHODS.iter().filter(|method| method.info.name != "cam") {
        let layers = layers_of(method, &subject.layer);
        let together = explain(method, &objective, &both, layers, &parameters).unwrap();
        for row in 0..2 {
            let one = both.narrow(0, row, 1).unwrap().contiguous().unwrap();
            let alone = explain(method, &objective, &one, layers, &parameters).unwrap();
            let map = together.map.narrow(0, row, 1).unwrap();
            assert_eq!(bits(&map), bits(&alone.map), "{}", method.info.name);
        }
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
fn equal_masks_are_evaluated_once_and_channels_are_pruned_only_when_asked() {
    let subject = nonlinear();
    let counting = Counting { network: &subject.graph, rows: AtomicUsize::new(0) };
    let target = subject.class;
    let objective = Objective::new(&counting, &target);
    let layer = subject.graph.layer("pool").unwrap();
    let count = |input: &Tensor, parameters: &CamParameters| {
        let before = counting.rows.load(Ordering::Relaxed);
        explain(method("score-cam").unwrap(), &objective, input, &[layer], parameters).unwrap();
        counting.rows.load(Ordering::Relaxed) - before
    };
    // The score of the input, its activations, and one masked input per channel.
    assert_eq!(count(&photo(1), &CamParameters::default()), 2 + 6);
    // On a dark input every channel is the same everywhere: all masks are zero.
    assert_eq!(count(&photo(1).zeros_like().unwrap(), &CamParameters::default()), 2 + 1);
    // The same for the others: two draws each, the scores of what is kept and of what is left.
    let dark = photo(1).zeros_like().unwrap();
    let rows = |name: &str| {
        let before = counting.rows.load(Ordering::Relaxed);
        let settings = PerturbationParameters { draws: Some(number(2)), ..Default::default() };
        let parameters = CamParameters { perturbation: settings, ..CamParameters::default() };
        explain(method(name).unwrap(), &objective, &dark, &[layer], &parameters).unwrap();
        counting.rows.load(Ordering::Relaxed) - before
    };
    // Poly-CAM and Ablation-CAM also need the score of the input once more; Ablation-CAM reads the layer twice.
    for (name, wanted) in
        [("ss-cam", 2 + 2), ("is-cam", 2 + 2), ("poly-cam+", 3 + 1), ("poly-cam-", 3 + 1), ("poly-cam±", 3 + 2)]
    {
        assert_eq!(rows(name), wanted, "{name}");
    }
    let settings = PerturbationParameters { channels: Some(number(2)), ..Default::default() };
    assert_eq!(count(&photo(1), &CamParameters { perturbation: settings, ..CamParameters::default() }), 2 + 2);
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
