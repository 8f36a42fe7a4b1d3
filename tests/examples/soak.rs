//! Explains many times in one process, by all kinds of methods and at several sizes, and shows the process's memory:
//! `cargo xtask soak`, or `cargo run --release -p faithful-tests --example soak -- 2000`.

use candle_core::{DType, Device, Tensor};
use faithful_baseline::DataSet;
use faithful_cam::{BaselineCache, CamParameters, EstimatorParameters, PerturbationParameters, explain, method};
use faithful_core::{Error, Objective, Result, Stream, Target};
use faithful_gradient::GradientParameters;
use faithful_model::{Loading, Model, portable_uniform};
use std::num::NonZeroUsize;
use std::sync::Arc;

const CAMS: [&str; 10] = [
    "grad-cam",
    "grad-cam++",
    "layer-cam",
    "expected-grad-cam",
    "hyper-expected-grad-cam",
    "guided-grad-cam",
    "score-cam",
    "ablation-cam",
    "rise",
    "occlusion",
];
const GRADIENTS: [&str; 5] =
    ["saliency", "guided-backpropagation", "smooth-grad", "integrated-gradients", "expected-gradients"];
/// How many different sizes photos have; every one of them needs plans of its own.
const SIZES: usize = 60;
/// How many lines the table has.
const LINES: usize = 20;

fn number(n: usize) -> NonZeroUsize {
    NonZeroUsize::new(n).unwrap_or(NonZeroUsize::MIN)
}

fn random(name: &str, shape: &[usize]) -> Result<Tensor> {
    Ok(Tensor::from_vec(portable_uniform(name, 1, shape.iter().product()), shape, &Device::Cpu)?
        .to_dtype(DType::F32)?)
}

/// Mebibytes of this process that are in memory now, and the most there ever were; `None` where the system does not say.
fn memory() -> Option<(f64, f64)> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name))?;
        line.split_whitespace().nth(1)?.parse::<f64>().ok()
    };
    Some((field("VmRSS:")? / 1024.0, field("VmHWM:")? / 1024.0))
}

fn main() -> Result<()> {
    let calls = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(2000);
    let source = Model::default_source().ok_or_else(|| Error::parameter("model", "none is built in"))?;
    let model = Model::load(&source, &Loading::default())?;
    let layer = model.target.ok_or_else(|| Error::parameter("layer", "there is none with places"))?;
    let sampler = Arc::new(DataSet::new(random("others", &[16, 3, 64, 64])?)?);
    let cache = Arc::new(BaselineCache::default());
    println!("| calls | resident, MiB | most, MiB |");
    println!("|---|---|---|");
    for call in 0..calls {
        // Both go through all of their values, and through all pairs of them in the end.
        let (place, turn) = (call % (CAMS.len() + GRADIENTS.len()), call % SIZES + call / SIZES);
        let size = turn % SIZES;
        let photo = random("photo", &[1, 3, 48 + 2 * (size % 12), 48 + 3 * (size / 12)])?;
        let target = Target::Output(call % 3);
        let objective = Objective::new(&model.graph, &target);
        let stream = Stream::new(call as u64, "soak");
        if let Some(name) = CAMS.get(place) {
            let method = method(name)?;
            let gradient = EstimatorParameters {
                draws: number(6),
                sampler: sampler.clone(),
                stream,
                cache: Some(cache.clone()),
                ..EstimatorParameters::default()
            };
            let perturbation = PerturbationParameters {
                draws: Some(number(32)),
                channels: Some(number(8)),
                ..PerturbationParameters::default()
            };
            let parameters = CamParameters { gradient, perturbation, ..CamParameters::default() };
            let layers: &[_] = if method.needs_layers() { &[layer] } else { &[] };
            explain(method, &objective, &photo, layers, &parameters)?;
        } else {
            let parameters = GradientParameters {
                draws: Some(number(6)),
                sampler: sampler.clone(),
                stream,
                ..GradientParameters::default()
            };
            let method = faithful_gradient::method(GRADIENTS[place - CAMS.len()])?;
            (method.attribute)(&objective, &photo, &parameters)?;
        }
        let done = call + 1;
        if done == 1 || done % (calls / LINES).max(1) == 0 {
            match memory() {
                Some((now, most)) => println!("| {done} | {now:.0} | {most:.0} |"),
                None => println!("| {done} | ? | ? |"),
            }
        }
    }
    Ok(())
}
