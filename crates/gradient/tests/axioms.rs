//! The axioms of Sundararajan et al. (2017), over random smooth networks and inputs in f64.

use candle_core::{DType, Device, Tensor};
use faithful_baseline::{AlphaSampler, BaselineSampler, DataSet, Gaussian, Order, Spread};
use faithful_core::{
    AtLayer, CandleModel, CandleNetwork, LayerId, LayerInfo, Network, Objective, Probe, Result, Score, Stop, Stream,
    Target,
};
use faithful_gradient::{
    Distribution, ExpectedGradients, GuidedPath, Integration, Note, Quadrature, SmoothGrad, Statistic,
    distribution_attribution, expected_gradients, gradient, gradient_times_input, guided_integrated_gradients,
    integrated_gradients, path_attribution, smooth_grad,
};
use proptest::prelude::*;
use std::num::NonZeroUsize;

const FEATURES: usize = 5;

/// `tanh(x A) B`, two outputs. With `early`, the sum of a layer's outputs is formed in another way.
struct Dense {
    first: Tensor,
    second: Tensor,
    layers: Vec<LayerInfo>,
}

impl Dense {
    fn new(first: Vec<f64>, second: Vec<f64>) -> CandleNetwork<Self> {
        let hidden = first.len() / FEATURES;
        let layers = vec![LayerInfo { name: "hidden".into(), kind: "tanh".into(), shape: vec![hidden] }];
        CandleNetwork(Self {
            first: Tensor::from_vec(first, (FEATURES, hidden), &Device::Cpu).unwrap(),
            second: Tensor::from_vec(second, (hidden, 2), &Device::Cpu).unwrap(),
            layers,
        })
    }

    fn random(seed: u64) -> CandleNetwork<Self> {
        let stream = Stream::new(seed, "weights");
        let like = |n: usize| Tensor::zeros((1, n), DType::F64, &Device::Cpu).unwrap();
        let weights = |n: usize, draw: usize, width: f64| -> Vec<f64> {
            let noise = faithful_baseline::normal(&like(n), &stream, draw..draw + 1).unwrap();
            (noise * width).unwrap().flatten_all().unwrap().to_vec1().unwrap()
        };
        Self::new(weights(FEATURES * 8, 0, 0.6), weights(16, 1, 1.0))
    }
}

impl CandleModel for Dense {
    fn layers(&self) -> &[LayerInfo] {
        &self.layers
    }

    fn forward(&self, input: &Tensor, probe: &mut dyn Probe) -> Result<Tensor> {
        let hidden = probe.visit(LayerId(0), input.matmul(&self.first)?.tanh()?)?;
        Ok(hidden.matmul(&self.second)?)
    }

    fn dtype(&self) -> DType {
        DType::F64
    }
}

fn row(values: &[f64]) -> Tensor {
    Tensor::from_slice(values, (1, values.len()), &Device::Cpu).unwrap()
}

fn values(tensor: &Tensor) -> Vec<f64> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

fn close(a: &Tensor, b: &Tensor, tolerance: f64) -> bool {
    values(a).iter().zip(values(b)).all(|(a, b)| (a - b).abs() <= tolerance * (1.0 + b.abs()))
}

fn draws(count: usize) -> NonZeroUsize {
    NonZeroUsize::new(count).unwrap()
}

fn integration(quadrature: Quadrature, steps: usize) -> Integration {
    Integration { steps: draws(steps), quadrature, stop: Stop::Draws }
}

/// `2 * output 0 - 3 * output 1`.
struct Combined;

impl Score for Combined {
    fn score(&self, output: &Tensor) -> Result<Tensor> {
        Ok(((Target::Output(0).score(output)? * 2.0)? - (Target::Output(1).score(output)? * 3.0)?)?)
    }
}

fn inputs() -> impl Strategy<Value = Vec<f64>> {
    proptest::collection::vec(-2.0..2.0f64, FEATURES)
}

fn few() -> ProptestConfig {
    ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(few())]

    #[test]
    fn completeness_gaps_shrink_at_each_quadratures_order(seed in 0u64..1000, x in inputs(), from in inputs()) {
        let (network, input, baseline) = (Dense::random(seed), row(&x), row(&from));
        let objective = Objective::new(&network, &Target::Output(1));
        let gap = |rule, steps| {
            let found = integrated_gradients(&objective, &input, &baseline, &integration(rule, steps)).unwrap();
            found.convergence.unwrap().delta.unwrap().abs()
        };
        prop_assert!(gap(Quadrature::GaussLegendre, 48) < 1e-9);
        for (rule, order) in [
            (Quadrature::Left, 1), (Quadrature::Right, 1), (Quadrature::Midpoint, 2), (Quadrature::Trapezoid, 2),
        ] {
            // The trapezoid's steps lie between its points.
            let gaps = [64usize, 128, 256].map(|steps| gap(rule, steps + usize::from(rule == Quadrature::Trapezoid)));
            // The leading term may cancel at one number of steps, by chance, but not at two; where it is small itself,
            // the next one counts.
            let (shrink, slack, next) = (0.5f64.powi(order), 1.2, 10.0 * 256f64.powi(-order - 1));
            let bound = slack * shrink * gaps[1].max(slack * shrink * gaps[0]);
            prop_assert!(gaps[2] <= bound + next, "{rule:?} {gaps:?}");
        }
    }

    #[test]
    fn every_path_is_complete(seed in 0u64..1000, x in inputs(), from in inputs()) {
        let (network, input, baseline) = (Dense::random(seed), row(&x), row(&from));
        let objective = Objective::new(&network, &Target::Output(0));
        // A monotone curve that goes through the values one after the other, smoothly.
        let (start, goal) = (baseline.clone(), input.clone());
        let curve = move |alpha: f64| -> Result<Tensor> {
            let share: Vec<f64> = (0..FEATURES).map(|i| alpha.powi(i as i32 + 1)).collect();
            Ok((&start + ((&goal - &start)? * row(&share))?)?)
        };
        let along = path_attribution(&objective, &curve, &integration(Quadrature::GaussLegendre, 256)).unwrap();
        prop_assert!(along.convergence.unwrap().delta.unwrap().abs() < 1e-5);
        // And it is another attribution than the straight line's.
        let guided = guided_integrated_gradients(&objective, &input, &baseline, &GuidedPath {
            steps: draws(400), fraction: 0.25, max_distance: 0.2,
        }).unwrap();
        prop_assert!(guided.convergence.unwrap().delta.unwrap().abs() < 0.1);
    }

    #[test]
    fn a_guided_path_that_may_not_stray_is_the_straight_line(seed in 0u64..1000, x in inputs(), from in inputs()) {
        let (network, input, baseline) = (Dense::random(seed), row(&x), row(&from));
        let objective = Objective::new(&network, &Target::Output(0));
        let straight = integrated_gradients(&objective, &input, &baseline, &integration(Quadrature::Left, 20)).unwrap();
        for (fraction, max_distance) in [(0.25, 0.0), (1.0, 1.0)] {
            let parameters = GuidedPath { steps: draws(20), fraction, max_distance };
            let guided = guided_integrated_gradients(&objective, &input, &baseline, &parameters).unwrap();
            prop_assert!(close(&guided.map, &straight.map, 1e-7), "{} {}", guided.map, straight.map);
        }
    }

    #[test]
    fn networks_that_compute_the_same_are_explained_the_same(seed in 0u64..1000, x in inputs()) {
        let one = Dense::random(seed);
        // Hidden units in reverse, each split into two with half of its weight.
        let (first, second) = (one.0.first.to_vec2::<f64>().unwrap(), one.0.second.to_vec2::<f64>().unwrap());
        let twice = |column: &Vec<f64>| column.iter().rev().flat_map(|w| [*w, *w]).collect::<Vec<_>>();
        let split = second.iter().rev().flat_map(|row| [row.clone(), row.clone()]).flatten().map(|w| 0.5 * w);
        let other = Dense::new(first.iter().flat_map(twice).collect(), split.collect());
        let both = [&one, &other].map(|network| all_maps(&Objective::new(network, &Target::Output(0)), &row(&x)));
        for ((name, a), (_, b)) in both[0].iter().zip(&both[1]) {
            prop_assert!(close(a, b, 1e-10), "{name}: {a} {b}");
        }
    }

    #[test]
    fn attributions_are_linear_in_the_score(seed in 0u64..1000, x in inputs()) {
        let (network, input) = (Dense::random(seed), row(&x));
        let maps = |score: &dyn Score| all_maps(&Objective::new(&network, score), &input);
        let (zero, one, both) = (maps(&Target::Output(0)), maps(&Target::Output(1)), maps(&Combined));
        for ((name, combined), (zero, one)) in both.iter().zip(zero.iter().zip(&one)) {
            // A guided path depends on the score: it is not linear, and no axiom says so.
            if *name != "guided" {
                let expected = ((&zero.1 * 2.0).unwrap() - (&one.1 * 3.0).unwrap()).unwrap();
                prop_assert!(close(combined, &expected, 1e-10), "{name}: {combined} {expected}");
            }
        }
    }

    #[test]
    fn what_the_network_does_not_use_gets_nothing(seed in 0u64..1000, x in inputs(), unused in 0..FEATURES) {
        let network = Dense::random(seed);
        let mut first = network.0.first.to_vec2::<f64>().unwrap();
        first[unused].fill(0.0);
        let network = Dense::new(first.concat(), values(&network.0.second));
        for (name, map) in all_maps(&Objective::new(&network, &Target::Probability(1)), &row(&x)) {
            prop_assert_eq!(values(&map)[unused], 0.0, "{}", name);
        }
    }

    #[test]
    fn symmetric_inputs_get_the_same(seed in 0u64..1000, mut x in inputs()) {
        let network = Dense::random(seed);
        let mut first = network.0.first.to_vec2::<f64>().unwrap();
        first[3] = first[1].clone();
        x[3] = x[1];
        let network = Dense::new(first.concat(), values(&network.0.second));
        let objective = Objective::new(&network, &Target::LogProbability(0));
        for (name, map) in all_maps(&objective, &row(&x)) {
            // Noise treats the two alike only on average; baselines in `all_maps` are symmetric.
            if name != "smooth" {
                let map = values(&map);
                prop_assert!((map[1] - map[3]).abs() < 1e-10, "{name}: {map:?}");
            }
        }
    }
}

/// Baselines whose values 1 and 3 are equal, for the symmetry axiom.
fn baselines(count: usize) -> DataSet {
    let like = Tensor::zeros((1, FEATURES), DType::F64, &Device::Cpu).unwrap();
    let noise = faithful_baseline::normal(&like, &Stream::new(1, "baselines"), 0..count).unwrap();
    let mut rows = noise.to_vec2::<f64>().unwrap();
    for row in &mut rows {
        row[3] = row[1];
    }
    DataSet::new(Tensor::new(rows, &Device::Cpu).unwrap()).unwrap()
}

fn all_maps(objective: &Objective, input: &Tensor) -> Vec<(&'static str, Tensor)> {
    let stream = Stream::new(5, "axioms");
    let baseline = baselines(1).baselines().clone();
    let expected = ExpectedGradients { draws: draws(12), ..ExpectedGradients::default() };
    let smooth = SmoothGrad { draws: draws(6), statistic: Statistic::Mean, stop: Stop::Draws };
    let noise = Gaussian { spread: Spread::Absolute(0.2) };
    let distribution = Distribution { draws: draws(3), ..Distribution::default() };
    let guided = GuidedPath { steps: draws(10), ..GuidedPath::default() };
    vec![
        ("gradient", gradient(objective, input).unwrap()),
        ("gradient times input", gradient_times_input(objective, input).unwrap()),
        ("integrated", integrated_gradients(objective, input, &baseline, &Integration::default()).unwrap().map),
        ("expected", expected_gradients(objective, input, &baselines(4), &stream, &expected).unwrap().map),
        ("smooth", smooth_grad(objective, input, &noise, &stream, &smooth).unwrap().map),
        (
            "distribution",
            distribution_attribution(objective, input, &baselines(4), &stream, &distribution).unwrap().map,
        ),
        ("guided", guided_integrated_gradients(objective, input, &baseline, &guided).unwrap().map),
    ]
}

#[test]
fn expected_gradients_are_complete_within_their_error() -> Result<()> {
    let (network, input) = (Dense::random(3), row(&[1.0, -0.5, 2.0, 0.3, -1.5]));
    let objective = Objective::new(&network, &Target::Output(1));
    // The exact expectation over these seven baselines, by quadrature.
    let order = Order::Sequential((0..7).collect());
    let integration = integration(Quadrature::GaussLegendre, 60);
    let exact = Distribution { draws: draws(7), integration, stop: Stop::Draws };
    let in_order = baselines(7).with_order(order)?;
    let exact = distribution_attribution(&objective, &input, &in_order, &Stream::new(0, ""), &exact)?;
    assert!(exact.convergence.as_ref().unwrap().delta.unwrap().abs() < 1e-10);
    let exact = values(&exact.map);

    let set = baselines(7).with_order(Order::Replacement)?;
    let parameters = ExpectedGradients { draws: draws(200), ..ExpectedGradients::default() };
    let (mut squares, mut count) = (0.0, 0);
    for seed in 0..40 {
        let found = expected_gradients(&objective, &input, &set, &Stream::new(seed, "x"), &parameters)?;
        let errors = values(&found.standard_error.unwrap());
        for ((estimate, exact), error) in values(&found.map).iter().zip(&exact).zip(errors) {
            squares += ((estimate - exact) / error).powi(2);
            count += 1;
        }
        // The relative error that is reported is the one of the map.
        let convergence = found.convergence.unwrap();
        assert!(convergence.standard_error.unwrap() < 0.3 && convergence.draws == 200);
    }
    // 200 squared standard scores, five correlated ones per run: their mean is 1, give or take a quarter.
    let mean = squares / f64::from(count);
    assert!((0.7..1.35).contains(&mean), "{mean}");

    // Stratified factors are unbiased too, and better.
    let deviation = |alphas| -> Result<f64> {
        let parameters = ExpectedGradients { alphas, ..parameters };
        let sums = (0..20).map(|seed| {
            let found = expected_gradients(&objective, &input, &in_order, &Stream::new(seed, "x"), &parameters)?;
            Ok(values(&found.map).iter().zip(&exact).map(|(a, b)| (a - b).powi(2)).sum::<f64>())
        });
        sums.sum()
    };
    assert!(deviation(AlphaSampler::Stratified)? < 0.5 * deviation(AlphaSampler::Uniform)?);
    Ok(())
}

#[test]
fn the_wanted_error_is_reached_with_the_draws_that_were_said() -> Result<()> {
    let (network, input) = (Dense::random(9), row(&[1.0, -0.5, 2.0, 0.3, -1.5]));
    let objective = Objective::new(&network, &Target::Output(0));
    let set = baselines(50).with_order(Order::Replacement)?;
    let run = |count| {
        let parameters = ExpectedGradients { draws: draws(count), ..ExpectedGradients::default() };
        expected_gradients(&objective, &input, &set, &Stream::new(2, "x"), &parameters).unwrap().convergence.unwrap()
    };
    let needed = run(100).draws_for(0.03).unwrap();
    assert!(needed > 100, "{needed}");
    let reached = run(needed).standard_error.unwrap();
    assert!((0.02..0.045).contains(&reached), "{needed} draws: {reached}");
    Ok(())
}

#[test]
fn gaussian_attribution_is_equation_38_with_noise() -> Result<()> {
    // Eq. 39 writes the noise e where Eq. 38 has x - x' = -e. The sign of Eq. 38 makes the sum right.
    let (network, input) = (Dense::random(4), row(&[1.0, -0.5, 2.0, 0.3, -1.5]));
    let objective = Objective::new(&network, &Target::Output(0));
    let (stream, noise) = (Stream::new(3, "x"), Gaussian { spread: Spread::Absolute(0.5) });
    let parameters = ExpectedGradients { draws: draws(9), ..ExpectedGradients::default() };
    let found = expected_gradients(&objective, &input, &noise, &stream, &parameters)?;
    let shifted = noise.sample(&input, &stream, 0..9)?;
    let alphas = AlphaSampler::Uniform.alphas(&stream, 0..9, 9);
    let mut slow = vec![0.0; FEATURES];
    for (draw, alpha) in alphas.into_iter().enumerate() {
        let epsilon = (shifted.narrow(0, draw, 1)? - &input)?;
        let point = (&input + (&epsilon * (1.0 - alpha))?)?;
        for (i, term) in values(&(epsilon.neg()? * objective.input_gradient(&point)?)?).into_iter().enumerate() {
            slow[i] += term / 9.0;
        }
    }
    assert!(close(&found.map, &row(&slow), 1e-12));
    Ok(())
}

#[test]
fn stopping_rules_stop_and_never_run_past_the_draws() -> Result<()> {
    let (network, input) = (Dense::random(3), row(&[1.0, -0.5, 2.0, 0.3, -1.5]));
    let objective = Objective::new(&network, &Target::Output(1));
    let set = baselines(7);
    let run = |count, stop, batch| {
        let parameters = ExpectedGradients { draws: draws(count), stop, ..ExpectedGradients::default() };
        let objective = objective.with_batch(draws(batch));
        expected_gradients(&objective, &input, &set, &Stream::new(6, "x"), &parameters).unwrap()
    };
    for stop in [Stop::Difference(0.02), Stop::Delta(0.05)] {
        let generous = run(3000, stop, 8);
        let convergence = generous.convergence.clone().unwrap();
        assert!(convergence.satisfied && convergence.draws < 3000, "{stop:?}: {}", convergence.draws);
        assert!(generous.notes.is_empty());
        let threshold = match stop {
            Stop::Difference(threshold) | Stop::Delta(threshold) => threshold,
            Stop::Draws => unreachable!(),
        };
        assert!(convergence.value.unwrap() < threshold);
        assert_eq!(convergence.trace.len(), convergence.draws);
        // Where it stops has nothing to do with the batch.
        for batch in [1, 5, 64] {
            let other = run(3000, stop, batch);
            assert_eq!(other.convergence.unwrap().draws, convergence.draws);
            assert!(close(&other.map, &generous.map, 1e-12));
        }
        // What was taken is what that many draws give.
        let fixed = run(convergence.draws, Stop::Draws, 8);
        assert!(close(&fixed.map, &generous.map, 1e-12));
        let short = run(7, Stop::Delta(1e-12), 4);
        assert!(short.notes.contains(&Note::NotConverged) && short.convergence.unwrap().draws == 7);
    }
    // Integration stops on completeness too, for every rule.
    for quadrature in [Quadrature::Left, Quadrature::Right, Quadrature::Midpoint, Quadrature::Trapezoid] {
        let parameters = Integration { steps: draws(1024), quadrature, stop: Stop::Delta(0.02) };
        let found = integrated_gradients(&objective, &input, &input.zeros_like()?, &parameters)?;
        let convergence = found.convergence.unwrap();
        assert!(convergence.satisfied && convergence.draws < 1024 && convergence.delta.unwrap().abs() < 0.02);
        // The gradients that were kept between the attempts are the ones of a single attempt.
        let parameters = integration(quadrature, convergence.draws);
        let at_once = integrated_gradients(&objective, &input, &input.zeros_like()?, &parameters)?;
        assert!(close(&at_once.map, &found.map, 1e-10), "{quadrature:?}");
    }
    let parameters = Integration { steps: draws(30), quadrature: Quadrature::GaussLegendre, stop: Stop::Delta(1e-300) };
    let found = integrated_gradients(&objective, &input, &input.zeros_like()?, &parameters)?;
    assert!(found.convergence.unwrap().draws <= 30 && found.notes.contains(&Note::NotConverged));
    Ok(())
}

#[test]
fn a_network_without_gradient_gives_a_zero_map_and_says_so() -> Result<()> {
    let network = Dense::new(vec![0.0; FEATURES * 8], vec![1.0; 16]);
    let (objective, input) = (Objective::new(&network, &Target::Probability(0)), row(&[1.0; FEATURES]));
    for method in faithful_gradient::METHODS {
        let needs_graph = [
            "deconvnet",
            "guided-backpropagation",
            "blur-integrated-gradients",
            "blur-idgi",
            "deep-lift",
            "libra-grad",
        ];
        if needs_graph.contains(&method.info.name) || method.info.name.contains("lrp") {
            continue;
        }
        let found = (method.attribute)(&objective, &input, &faithful_gradient::GradientParameters::default())?;
        assert!(values(&found.map).iter().all(|value| *value == 0.0), "{}", method.info.name);
        assert_eq!(found.notes, [Note::ZeroGradient], "{}", method.info.name);
        assert!(found.convergence.is_none_or(|convergence| convergence.standard_error.is_none()));
    }
    Ok(())
}

#[test]
fn layer_wise_versions_are_the_methods_at_the_layer() -> Result<()> {
    let (network, input) = (Dense::random(8), row(&[1.0, -0.5, 2.0, 0.3, -1.5]));
    let target = Target::Output(0);
    let hidden = AtLayer::new(&network, network.layer("hidden")?, &input)?;
    let objective = Objective::new(&hidden, &target);
    let activation = hidden.activation()?;
    // Behind the layer the network is linear: gradient = weights, and integrated gradients = difference times weights.
    let weights = network.0.second.narrow(1, 0, 1)?.t()?;
    assert!(close(&gradient(&objective, &activation)?, &weights, 1e-12));
    let from = hidden.encode(&input.zeros_like()?)?;
    let integrated = integrated_gradients(&objective, &activation, &from, &Integration::default())?;
    assert!(close(&integrated.map, &((&activation - &from)? * &weights)?, 1e-12));
    let whole = Objective::new(&network, &target);
    let gap = (whole.scores(&input)? - whole.scores(&input.zeros_like()?)?)?.sum_all()?.to_scalar::<f64>()?;
    assert!((values(&integrated.map).iter().sum::<f64>() - gap).abs() < 1e-10);
    Ok(())
}
