//! Seconds per explanation on VGG16, or another network, at 224x224 with random weights; `cargo xtask bench-methods` talks to it.
//!
//! `method_times [BATCH [NETWORK]]`, 8 and `vgg16` by default. Each line of the standard input is `METHOD LAYERS DRAWS CHANNELS`
//! (a class activation map or an attribution; layers by commas or `-`, 0 for the method's own number), `prepare` and the same, which runs once and is not timed, `forward` for 50 forward passes, or `methods`.
//! The answer is a line with the seconds, or the number of methods.

use candle_core::{Device, Tensor};
use faithful_baseline::DataSet;
use faithful_cam::{BaselineCache, CamParameters, EstimatorParameters, METHODS, explain, method};
use faithful_core::{Error, LayerId, Network, Objective, Result, Stream, Target};
use faithful_gradient::GradientParameters;
use faithful_model::{architecture, portable_uniform};
use std::io::BufRead;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Instant;

const DRAWS: usize = 50;

fn images(name: &str, rows: usize) -> Result<Tensor> {
    let values = portable_uniform(name, 7, rows * 3 * 224 * 224);
    Ok(Tensor::from_vec(values, (rows, 3, 224, 224), &Device::Cpu)?)
}

fn main() -> Result<()> {
    // As the command does.
    faithful_tensor::keep_freed_memory();
    let batch = std::env::args().nth(1).and_then(|rows| rows.parse().ok());
    let batch = batch.unwrap_or(NonZeroUsize::new(8).expect("eight is not zero"));
    let network = std::env::args().nth(2).unwrap_or_else(|| "vgg16".into());
    let graph = architecture(&network)?.random(1000, 7, &Device::Cpu)?;
    let target = Target::Output(3);
    let objective = Objective::new(&graph, &target).with_batch(batch);
    let input = images("input", 1)?;
    let points = images("points", DRAWS)?;
    let gradient = EstimatorParameters {
        sampler: Arc::new(DataSet::new(images("baselines", 16)?)?),
        stream: Stream::new(7, "input"),
        cache: Some(Arc::new(BaselineCache::default())),
        ..EstimatorParameters::default()
    };
    let run = |words: &[&str]| -> Result<()> {
        let [name, layers, draws, channels] = *words else {
            return Err(Error::parameter("question", "METHOD LAYERS DRAWS CHANNELS are needed"));
        };
        let layers = layers.split(',').filter(|layer| *layer != "-");
        let layers: Vec<LayerId> = layers.map(|layer| graph.layer(layer)).collect::<Result<_>>()?;
        let number = |text: &str| NonZeroUsize::new(text.parse().unwrap_or(0));
        if let Ok(attribution) = faithful_gradient::method(name) {
            let parameters = GradientParameters {
                draws: number(draws),
                sampler: gradient.sampler.clone(),
                stream: gradient.stream.clone(),
                ..GradientParameters::default()
            };
            return (attribution.attribute)(&objective, &input, &parameters).map(|_| ());
        }
        let mut parameters = CamParameters { gradient: gradient.clone(), ..CamParameters::default() };
        parameters.gradient.draws = number(draws).unwrap_or(parameters.gradient.draws);
        parameters.perturbation.draws = number(draws);
        parameters.perturbation.channels = number(channels);
        explain(method(name)?, &objective, &input, &layers, &parameters).map(|_| ())
    };
    objective.outputs(&points.narrow(0, 0, batch.get().min(DRAWS))?)?;
    for line in std::io::stdin().lock().lines().map_while(std::result::Result::ok) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let start = Instant::now();
        match words.as_slice() {
            ["methods"] => {
                println!("{}", METHODS.len() + faithful_gradient::METHODS.len());
                continue;
            }
            ["forward"] => {
                objective.outputs(&points)?;
            }
            ["prepare", rest @ ..] => {
                // What masks or averages at the input is slow and keeps nothing.
                let averages = faithful_gradient::method(rest[0]).is_ok_and(|method| method.info.draws);
                let masks = method(rest[0]).is_ok_and(|method| method.estimator().is_none());
                let keeps = !averages && !masks;
                if keeps {
                    run(rest)?;
                }
            }
            words => run(words)?,
        }
        println!("{}", start.elapsed().as_secs_f64());
    }
    Ok(())
}
