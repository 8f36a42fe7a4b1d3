//! What a run costs and what it may not depend on: seeds, batches, rows beside each other, classes that share passes.

use crate::cam_networks::{nonlinear, photo, pooled, residual, subjects};
use crate::cam_runs::{Counting, bits, largest, layers_of, least, number, parameters, run, sampling};
use candle_core::Tensor;
use faithful_cam::{
    BaselineCache, CamParameters, Difference, EstimatorParameters, METHODS, PerturbationParameters, explain,
    explain_scores, method,
};
use faithful_core::{Network, Objective, Score, Stop, Stream, Target};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

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
        // Group-CAM's masks are made of a class's own gradients, and so are Hyper Expected Grad-CAM's neighbourhoods;
        // Opti-CAM's weights are optimised for a class.
        if ["group-cam", "hyper-expected-grad-cam", "opti-cam"].contains(&method.info.name) {
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
