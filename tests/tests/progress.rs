//! Laws of progress over the registries: what a method says will come is what comes, and watching changes nothing.

use crate::cam_networks::{Subject, nonlinear, photo, residual};
use candle_core::Tensor;
use faithful_baseline::{Constant, Gaussian};
use faithful_cam::{CamParameters, EstimatorParameters, METHODS, PerturbationParameters, Quality, explain, method};
use faithful_core::{Error, LayerId, Objective, Result, Stream, Watch, Watched};
use faithful_gradient::GradientParameters;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What a method does without saying: a pass over the input itself, and a few more where it is not the work.
const UNSAID: u64 = 13;

struct Counter {
    expected: AtomicU64,
    done: AtomicU64,
    most: u64,
}

impl Counter {
    fn up_to(most: u64) -> Self {
        Self { expected: AtomicU64::new(0), done: AtomicU64::new(0), most }
    }

    fn counts(&self) -> (u64, u64) {
        (self.expected.load(Ordering::Relaxed), self.done.load(Ordering::Relaxed))
    }
}

impl Watch for Counter {
    fn announce(&self, work: u64) {
        self.expected.fetch_add(work, Ordering::Relaxed);
    }

    fn advance(&self, work: u64) -> Result<()> {
        let done = self.done.fetch_add(work, Ordering::Relaxed) + work;
        if done > self.most { Err(Error::Cancelled("nobody waits for the photo any more".into())) } else { Ok(()) }
    }
}

fn number(n: usize) -> NonZeroUsize {
    NonZeroUsize::new(n).unwrap()
}

fn values_of(map: &Tensor) -> Vec<f64> {
    map.flatten_all().unwrap().to_vec1().unwrap()
}

/// Runs `explain` on the network and on the network watched; the same map must come, and what was said with it.
fn watched(name: &str, subject: &Subject, explain: &dyn Fn(&Objective) -> Result<Tensor>) -> (u64, u64) {
    let objective = |network| Objective::new(network, &subject.class).with_batch(number(4));
    let plain = explain(&objective(&subject.graph)).unwrap_or_else(|error| panic!("{name}: {error}"));
    let counter = Counter::up_to(u64::MAX);
    let network = Watched::new(&subject.graph, &counter);
    let seen = explain(&objective(&network)).unwrap();
    assert_eq!(values_of(&plain), values_of(&seen), "{name}: watching changes the map");
    let (expected, done) = counter.counts();
    assert!(expected <= done && done <= expected + UNSAID, "{name} said {expected} and did {done}");
    if done > 1 {
        let counter = Counter::up_to(done - 1);
        let network = Watched::new(&subject.graph, &counter);
        let error = explain(&objective(&network)).unwrap_err().to_string();
        assert!(error.contains("nobody waits"), "{name} goes on though nobody waits: {error}");
    }
    (expected, done)
}

#[test]
fn every_map_says_how_much_will_come() {
    for subject in [nonlinear(), residual()] {
        let sampler = Arc::new(Gaussian::default());
        let gradient = EstimatorParameters {
            draws: number(9),
            sampler,
            stream: Stream::new(3, "photo"),
            ..EstimatorParameters::default()
        };
        let (draws, points) = (Some(number(5)), Some(number(1)));
        let perturbation = PerturbationParameters { draws, points, ..PerturbationParameters::default() };
        for quality in [Quality::Standard, Quality::Full] {
            let parameters = CamParameters {
                gradient: gradient.clone(),
                perturbation: perturbation.clone(),
                hyper: quality.parameters(),
                ..CamParameters::default()
            };
            for method in METHODS.iter().filter(|method| subject.pooled || method.info.name != "cam") {
                let layers: &[LayerId] = if method.needs_layers() { std::slice::from_ref(&subject.layer) } else { &[] };
                let name = format!("{} on {}", method.info.name, subject.name);
                watched(&name, &subject, &|objective| {
                    explain(method, objective, &photo(1), layers, &parameters).map(|found| found.map)
                });
            }
        }
        // The long ones say nearly all of it.
        for (name, least) in [("rise", 5), ("score-cam", 4), ("expected-grad-cam", 27), ("hyper-expected-grad-cam", 27)]
        {
            let parameters = CamParameters {
                gradient: EstimatorParameters { sampler: Arc::new(Constant::zero()), ..gradient.clone() },
                perturbation: perturbation.clone(),
                ..CamParameters::default()
            };
            let (expected, _) = watched(name, &subject, &|objective| {
                let method = method(name)?;
                let layers = if method.needs_layers() { std::slice::from_ref(&subject.layer) } else { &[] };
                explain(method, objective, &photo(1), layers, &parameters).map(|found| found.map)
            });
            assert!(expected >= least, "{name} on {} said {expected}", subject.name);
        }
    }
}

#[test]
fn every_attribution_says_how_much_will_come() {
    let subject = nonlinear();
    let settings = GradientParameters {
        draws: Some(number(9)),
        sampler: Arc::new(Gaussian::default()),
        stream: Stream::new(3, "photo"),
        ..GradientParameters::default()
    };
    for method in faithful_gradient::METHODS {
        watched(method.info.name, &subject, &|objective| {
            (method.attribute)(objective, &photo(1), &settings).map(|found| found.map)
        });
    }
}
