//! One network explained by many threads at once, with different methods, layers and sizes: to the bit what it gives one
//! after the other.

use crate::cam_networks::values;
use candle_core::{DType, Tensor};
use faithful_baseline::DataSet;
use faithful_cam::{BaselineCache, CamParameters, EstimatorParameters, PerturbationParameters, explain, method};
use faithful_core::{LayerId, Network, Objective, Stream, Target};
use faithful_gradient::GradientParameters;
use faithful_model::{Graph, architecture};
use std::num::NonZeroUsize;
use std::sync::{Arc, Barrier};

const THREADS: usize = 8;

fn number(n: usize) -> NonZeroUsize {
    NonZeroUsize::new(n).unwrap()
}

/// One thing to explain.
struct Job {
    method: &'static str,
    layer: &'static str,
    size: [usize; 2],
    class: usize,
    batch: usize,
}

fn jobs() -> Vec<Job> {
    let layers = ["features.2", "features.7", "features.12"];
    let cams = ["grad-cam", "layer-cam", "expected-grad-cam", "score-cam", "guided-grad-cam", "ablation-cam"];
    let gradients = ["saliency", "guided-backpropagation", "integrated-gradients", "expected-gradients"];
    let sizes = [[48, 48], [40, 56], [65, 47]];
    let methods = cams.into_iter().chain(gradients);
    let mut jobs = Vec::new();
    for (place, method) in methods.enumerate() {
        for (turn, layer) in layers.into_iter().enumerate() {
            let number = place + turn;
            jobs.push(Job { method, layer, size: sizes[number % 3], class: number % 4, batch: 1 + number % 3 });
        }
    }
    jobs
}

/// A job's map, bit by bit.
fn answer(graph: &Graph, cache: &Arc<BaselineCache>, job: &Job) -> Vec<u64> {
    let [height, width] = job.size;
    let photo = values("photo", &[1, 3, height, width], 1.0).to_dtype(DType::F32).unwrap();
    let sampler = Arc::new(DataSet::new(values("others", &[3, 3, 20, 24], 1.0).to_dtype(DType::F32).unwrap()).unwrap());
    let target = Target::Output(job.class);
    let objective = Objective::new(graph, &target).with_batch(number(job.batch));
    let stream = Stream::new(5, job.method);
    let map = if let Ok(method) = method(job.method) {
        let gradient =
            EstimatorParameters { draws: number(4), sampler, stream, cache: Some(cache.clone()), ..Default::default() };
        let perturbation = PerturbationParameters { channels: Some(number(5)), ..Default::default() };
        let parameters = CamParameters { gradient, perturbation, ..CamParameters::default() };
        let layer: LayerId = graph.layer(job.layer).unwrap();
        explain(method, &objective, &photo, &[layer], &parameters).unwrap().map
    } else {
        let parameters = GradientParameters { draws: Some(number(4)), sampler, stream, ..Default::default() };
        let method = faithful_gradient::method(job.method).unwrap();
        (method.attribute)(&objective, &photo, &parameters).unwrap().map
    };
    bits(&map)
}

fn bits(map: &Tensor) -> Vec<u64> {
    let values: Vec<f64> = map.flatten_all().unwrap().to_dtype(DType::F64).unwrap().to_vec1().unwrap();
    values.into_iter().map(f64::to_bits).collect()
}

#[test]
fn eight_threads_find_what_one_finds() {
    let squeezenet = || architecture("squeezenet1_1").unwrap().random(4, 3, &candle_core::Device::Cpu).unwrap();
    let jobs = jobs();
    let graph = squeezenet();
    let cache = Arc::default();
    let expected: Vec<Vec<u64>> = jobs.iter().map(|job| answer(&graph, &cache, job)).collect();
    // A network that has prepared nothing yet: the threads meet at its first plans too.
    let graph = squeezenet();
    let cache = Arc::default();
    let start = Barrier::new(THREADS);
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (jobs, expected, graph, cache, start) = (&jobs, &expected, &graph, &cache, &start);
            scope.spawn(move || {
                start.wait();
                // Each begins elsewhere; half of them go backwards.
                for turn in 0..jobs.len() {
                    let step = if thread % 2 == 0 { turn } else { jobs.len() - turn };
                    let place = (step + thread * jobs.len() / THREADS) % jobs.len();
                    let Job { method, layer, size, .. } = &jobs[place];
                    let found = answer(graph, cache, &jobs[place]);
                    assert!(found == expected[place], "{method} at {layer} on {size:?}, thread {thread}");
                }
            });
        }
    });
}
