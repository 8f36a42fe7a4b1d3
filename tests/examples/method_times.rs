//! Seconds per explanation on VGG16 at 224x224 with random weights: one JSON line per method.
//!
//! `cargo xtask bench-methods` runs it beside the peers and makes the table.

use candle_core::{Device, Tensor};
use faithful_baseline::DataSet;
use faithful_cam::{BaselineCache, CamParameters, EstimatorParameters, METHODS, explain};
use faithful_core::{Network, Objective, Stream, Target};
use faithful_model::{architecture, portable_uniform};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Instant;

const DRAWS: usize = 50;

fn images(name: &str, rows: usize) -> Result<Tensor, faithful_core::Error> {
    let values = portable_uniform(name, 7, rows * 3 * 224 * 224);
    Ok(Tensor::from_vec(values, (rows, 3, 224, 224), &Device::Cpu)?)
}

fn main() -> Result<(), faithful_core::Error> {
    let mut wanted: Vec<String> = std::env::args().skip(1).collect();
    if wanted.is_empty() {
        wanted = METHODS.iter().map(|method| method.info.name.to_owned()).collect();
    }
    let batch = NonZeroUsize::new(8).expect("eight is not zero");
    let graph = architecture("vgg16")?.random(1000, 7, &Device::Cpu)?;
    let target = Target::Output(3);
    let objective = Objective::new(&graph, &target).with_batch(batch);
    let input = images("input", 1)?;
    let all_layers = ["features.3", "features.8", "features.15", "features.22", "features.29"];
    let all_layers = all_layers.iter().map(|name| graph.layer(name)).collect::<Result<Vec<_>, _>>()?;
    let last = &all_layers[4..];

    // What fifty draws cost at least: fifty forward passes, in the same batches.
    let points = images("points", DRAWS)?;
    objective.outputs(&points.narrow(0, 0, batch.get())?)?;
    let start = Instant::now();
    objective.outputs(&points)?;
    println!(r#"{{"method":"forward","passes":{DRAWS},"seconds":{}}}"#, start.elapsed().as_secs_f64());

    let cache = Arc::new(BaselineCache::default());
    let gradient = EstimatorParameters {
        draws: NonZeroUsize::new(DRAWS).expect("fifty is not zero"),
        sampler: Arc::new(DataSet::new(images("baselines", 16)?)?),
        stream: Stream::new(7, "input"),
        cache: Some(cache),
        ..EstimatorParameters::default()
    };
    let parameters = CamParameters { gradient, ..CamParameters::default() };
    let mut warm = false;
    for name in wanted {
        let method = faithful_cam::method(&name)?;
        // The peers' defaults where a peer has the method: four noisy inputs.
        let mut parameters = parameters.clone();
        if name == "smooth-grad-cam++" {
            parameters.gradient.draws = NonZeroUsize::new(4).expect("four is not zero");
        }
        let layers = if name.starts_with("poly-cam") { &all_layers[..] } else { last };
        let uses_baselines = method.estimator().is_some_and(|estimator| !estimator.single);
        if uses_baselines && !warm {
            // Fills the cache of baselines, as the first image of a run does.
            explain(faithful_cam::method("expected-grad-cam")?, &objective, &input, layers, &parameters)?;
            warm = true;
        }
        let repeats = if method.estimator().is_some_and(|estimator| estimator.single) { 3 } else { 1 };
        let mut seconds = f64::INFINITY;
        for _ in 0..repeats {
            let start = Instant::now();
            explain(method, &objective, &input, layers, &parameters)?;
            seconds = seconds.min(start.elapsed().as_secs_f64());
        }
        println!(r#"{{"method":"{name}","seconds":{seconds}}}"#);
    }
    Ok(())
}
