//! Does one piece of work at a time and says how long it took: `cargo xtask bench` talks to it.
//!
//! `speed [PRECISION]`, `f32` by default, or `bf16`. Each line of the standard input names some work, such as `vgg16 forward batch 8`, or `… size 320`, or
//! `cnn-bilstm forward batch 64` over windows of 60 steps of 14 sensors, or `net.onnx forward batch 8` for a file without
//! blanks in its path, over images or series as the file says; the answer is a line with the seconds per image or window (per explanation, for those). What a network needs before its first run is prepared with it and
//! not counted. `speed PRECISION 'vgg16 forward batch 1'` prints the time of each step of that pass instead. `peak-memory` answers with the most bytes that the process has held. Threads: `RAYON_NUM_THREADS`.

use candle_core::{Device, Tensor};
use faithful_core::{Error, Network, Objective, Result, Target};
use faithful_model::{
    Compute, Graph, OnnxOptions, Precision, SeriesNetwork, architecture, portable_uniform, read_onnx,
};
use std::collections::HashMap;
use std::io::{BufRead, Write};
use std::num::NonZeroUsize;
use std::time::Instant;

/// The class whose score is differentiated.
const CLASS: usize = 5;
/// Sensors and steps of a series.
const SERIES: [usize; 2] = [14, 60];

fn main() -> Result<()> {
    // As the command does.
    faithful_tensor::keep_freed_memory();
    let precision = std::env::args().nth(1).map(|name| name.parse::<Precision>()).transpose()?.unwrap_or_default();
    if let Some(work) = std::env::args().nth(2) {
        return profile(precision, &work);
    }
    let mut bench = Bench { precision, ..Bench::default() };
    for line in std::io::stdin().lock().lines() {
        let line = line.map_err(|error| Error::format_from("standard input", error))?;
        let answer = if line == "peak-memory" { peak_memory() } else { bench.seconds(&line)? };
        println!("{answer}");
        std::io::stdout().flush().map_err(|error| Error::format_from("standard output", error))?;
    }
    Ok(())
}

/// Prints how long each step of a pass takes, such as `vgg16 forward batch 1`, as a Markdown table.
fn profile(precision: Precision, work: &str) -> Result<()> {
    let words: Vec<&str> = work.split(' ').collect();
    let [name, "forward", "batch", count] = words[..] else {
        return Err(Error::format("work", format!("`{work}` is no pass: try `vgg16 forward batch 1`")));
    };
    let count: usize = count.parse().map_err(|_| Error::format("work", format!("`{count}` is no batch")))?;
    let placed = graph(name)?;
    let placed = if precision == Precision::Bf16 { placed.with_bf16_factors()? } else { placed };
    let shape: Vec<usize> = std::iter::once(count).chain(placed.nominal_input().iter().copied()).collect();
    let steps = placed.profile(&random("images", &shape)?, 30)?.unwrap_or_default();
    let all: f64 = steps.iter().map(|step| step.seconds).sum();
    println!(
        "{:.3} ms in {} steps.\n\n| layer | kernel | result | ms | % |\n|---|---|---|--:|--:|",
        1e3 * all,
        steps.len()
    );
    for step in steps {
        let share = 100.0 * step.seconds / all;
        println!("| {} | {} | {:?} | {:.4} | {share:.1} |", step.layer, step.work, step.shape, 1e3 * step.seconds);
    }
    Ok(())
}

/// The most bytes this process has held, where the system tells it.
fn peak_memory() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kilobytes = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().split(' ').next()?.parse().ok());
    kilobytes.unwrap_or(f64::NAN) * 1024.0
}

#[derive(Default)]
struct Bench {
    /// One network at a time: they are large. With the shape of its input, without the batch.
    network: Option<(String, Vec<usize>, Box<dyn Network>)>,
    precision: Precision,
    /// By their shape.
    inputs: HashMap<Vec<usize>, Tensor>,
    /// What an explanation keeps between images: baselines and their activations.
    baselines: Option<(Tensor, Tensor)>,
    seen: Vec<String>,
}

impl Bench {
    /// Does the work that a line names, once more first where it is new, and gives the seconds per image.
    fn seconds(&mut self, line: &str) -> Result<f64> {
        let words: Vec<&str> = line.split(' ').collect();
        let unknown = || Error::format("work", format!("`{line}` is none: try `vgg16 forward batch 8`"));
        let (name, kind, count, size) = match words[..] {
            [name, kind, "batch", count] => (name, kind, count, "224"),
            [name, kind, "batch", count, "size", size] => (name, kind, count, size),
            [name, kind, count, "draws"] => (name, kind, count, "224"),
            _ => return Err(unknown()),
        };
        let count: usize = count.parse().map_err(|_| unknown())?;
        let size: usize = size.parse().map_err(|_| unknown())?;
        if self.network.as_ref().is_none_or(|(loaded, ..)| loaded != name) {
            (self.network, self.baselines) = (None, None);
            self.seen.clear();
            let graph = graph(name)?;
            let placed = Compute::new("cpu", self.precision)?.place(&graph)?;
            self.network = Some((name.into(), graph.nominal_input().to_vec(), placed));
        }
        if !self.seen.iter().any(|seen| seen == line) {
            self.work(kind, count, size)?;
            self.seen.push(line.into());
        }
        let start = Instant::now();
        self.work(kind, count, size)?;
        let seconds = start.elapsed().as_secs_f64();
        Ok(if kind == "expected-grad-cam" { seconds } else { seconds / count as f64 })
    }

    fn work(&mut self, kind: &str, count: usize, size: usize) -> Result<()> {
        let (_, nominal, network) = self.network.as_ref().expect("the caller loads one");
        let is_series = nominal.len() == 2;
        let target = Target::Output(if is_series { 0 } else { CLASS });
        let objective = Objective::new(&**network, &target);
        let one = if is_series { nominal.clone() } else { vec![3, size, size] };
        let mut input = |count: usize| {
            let shape: Vec<usize> = std::iter::once(count).chain(one.iter().copied()).collect();
            input_of(&mut self.inputs, shape)
        };
        match kind {
            "forward" => network.evaluate(&input(count)?, &[]).map(drop),
            "forward+input-gradient" => {
                let batch = NonZeroUsize::new(count).unwrap_or(NonZeroUsize::MIN);
                objective.with_batch(batch).input_gradient(&input(count)?).map(drop)
            }
            "expected-grad-cam" => {
                let layer = network.layer("features.29")?;
                if self.baselines.is_none() {
                    let baselines = random("baselines", &[count, 3, size, size])?;
                    let activations = objective.activations(&baselines, &[layer])?.remove(0);
                    self.baselines = Some((baselines, activations));
                }
                let baselines = self.baselines.as_ref().expect("made above");
                expected_gradcam(&objective, &input(1)?, baselines).map(drop)
            }
            _ => Err(Error::format(
                "work",
                format!("`{kind}` is none of forward, forward+input-gradient, expected-grad-cam"),
            )),
        }
    }
}

fn graph(name: &str) -> Result<Graph> {
    if SeriesNetwork::NAMES.contains(&name) {
        let network = SeriesNetwork::named(name, SERIES[0], SERIES[1], 125.0)?;
        return network.graph(&network.random(0)?.into_iter().collect());
    }
    if std::path::Path::new(name).extension().is_some_and(|ending| ending == "onnx") {
        let bytes = std::fs::read(name).map_err(|error| Error::format_from(name, error))?;
        return read_onnx(&bytes, &OnnxOptions::default());
    }
    architecture(name)?.random(1000, 0, &Device::Cpu)
}

fn random(name: &str, shape: &[usize]) -> Result<Tensor> {
    Ok(Tensor::from_vec(portable_uniform(name, 0, shape.iter().product()), shape, &Device::Cpu)?)
}

fn input_of(made: &mut HashMap<Vec<usize>, Tensor>, shape: Vec<usize>) -> Result<Tensor> {
    if let Some(input) = made.get(&shape) {
        return Ok(input.clone());
    }
    let input = random("images", &shape)?;
    Ok(made.entry(shape).or_insert(input).clone())
}

/// Expected Grad-CAM with the activation difference: the mean over draws of `(A(x) - A(x')) * g`, pooled, weighs the
/// channels of `A(x)`. Written out here because what is timed is the network's part, and to say the same as the peer.
fn expected_gradcam(
    objective: &Objective,
    x: &Tensor,
    (baselines, baseline_activations): &(Tensor, Tensor),
) -> Result<Tensor> {
    let layer = objective.network().layer("features.29")?;
    let activation = objective.activations(x, &[layer])?.remove(0);
    let draws = baselines.dim(0)?;
    let mut total: Option<Tensor> = None;
    let together = objective.rows_together(x.dims(), &[layer], false).get();
    for first in (0..draws).step_by(together) {
        let count = together.min(draws - first);
        let from = baselines.narrow(0, first, count)?;
        let alphas =
            portable_uniform("alphas", first as u64, count).into_iter().map(|u| f32::midpoint(u, 1.0)).collect();
        let alphas = Tensor::from_vec::<_, f32>(alphas, (count, 1, 1, 1), &Device::Cpu)?;
        let points = (&from + x.broadcast_sub(&from)?.broadcast_mul(&alphas)?)?;
        let gradient = objective.traces(&points, &[layer])?.remove(0).gradient;
        let difference = activation.broadcast_sub(&baseline_activations.narrow(0, first, count)?)?;
        let sum = (difference * gradient)?.sum_keepdim(0)?;
        total = Some(match total {
            Some(total) => (total + sum)?,
            None => sum,
        });
    }
    let total = total.ok_or_else(|| Error::format("work", "no draws"))?;
    let weights = (total / draws as f64)?.mean_keepdim((2, 3))?;
    let map = activation.broadcast_mul(&weights)?.sum_keepdim(1)?.relu()?;
    let (_, _, height, width) = x.dims4()?;
    Ok(map.upsample_bilinear2d(height, width, false)?)
}
