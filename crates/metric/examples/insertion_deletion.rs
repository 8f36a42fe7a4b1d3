//! Seconds of both curves, insertion and deletion, by the Poly-CAM authors' protocol; `cargo xtask bench-metrics` talks to it.
//!
//! Each line of the standard input is `NETWORK STEPS BATCH MAP`: an architecture with random weights at 224x224, the number of
//! steps, how many pictures go through it at a time, and the side of the map that is enlarged to the picture. The answer is a line
//! with the seconds, or the processor's seconds where the first argument is `cpu`; `areas` answers with insertion + 1000 * deletion of the last line, to hold against a peer's.

use candle_core::{Device, Tensor};
use faithful_core::{Error, Objective, Result, Target};
use faithful_metric::{Curves, Protocol, Steps, insertion_deletion};
use faithful_model::{Graph, architecture, portable_uniform};
use faithful_tensor::{Resize, resize2d};
use std::io::BufRead;
use std::num::NonZeroUsize;
use std::time::Instant;

const SEED: u64 = 7;
const CLASS: usize = 3;
const SIDE: usize = 224;

fn uniform(name: &str, shape: &[usize]) -> Result<Tensor> {
    Ok(Tensor::from_vec(portable_uniform(name, SEED, shape.iter().product()), shape, &Device::Cpu)?)
}

/// One object in the middle, as class activation maps have it, and some noise.
fn map(side: usize) -> Result<Tensor> {
    let noise = portable_uniform("map", SEED, side * side);
    let away = |place: usize| ((place as f32 + 0.5) / side as f32 - 0.5) * 4.0;
    let values = noise.iter().enumerate().map(|(cell, noise)| {
        let (y, x) = (away(cell / side), away(cell % side));
        (-(y * y + x * x) / 2.0).exp() + 0.1 * noise
    });
    Ok(Tensor::from_vec(values.collect::<Vec<f32>>(), (1, 1, side, side), &Device::Cpu)?)
}

/// The seconds that the processor has worked for this process, where the system tells them, in hundredths.
fn processor_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |place: usize| fields.get(place).and_then(|field| field.parse::<f64>().ok()).unwrap_or(f64::NAN);
    (ticks(11) + ticks(12)) / 100.0
}

fn main() -> Result<()> {
    let begun = Instant::now();
    let of_processor = std::env::args().nth(1).is_some_and(|word| word == "cpu");
    let now = || if of_processor { processor_seconds() } else { begun.elapsed().as_secs_f64() };
    let picture = (uniform("picture", &[1, 3, SIDE, SIDE])? * 2.0)?;
    let target = Target::Probability(CLASS);
    let mut network: Option<(String, Graph)> = None;
    let mut last: Option<Curves> = None;
    for line in std::io::stdin().lock().lines().map_while(std::result::Result::ok) {
        if line == "areas" {
            println!(
                "{}",
                last.as_ref().map_or(0.0, |curves| curves.insertion_area() + 1000.0 * curves.deletion_area())
            );
            continue;
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        let [name, numbers @ ..] = words.as_slice() else { continue };
        let numbers: Vec<usize> = numbers.iter().filter_map(|word| word.parse().ok()).collect();
        let [steps, batch, side] = numbers[..] else {
            return Err(Error::parameter("question", "NETWORK STEPS BATCH MAP are needed"));
        };
        let known = network.as_ref().is_some_and(|(known, _)| known == name);
        if !known {
            network = None;
        }
        let (_, graph) = match &mut network {
            Some(network) => network,
            none => none.insert(((*name).to_owned(), architecture(name)?.random(1000, SEED, &Device::Cpu)?)),
        };
        let map = resize2d(&map(side)?, [SIDE; 2], &Resize::default())?.squeeze(0)?.squeeze(0)?;
        let objective =
            Objective::new(graph, &target).with_batch(NonZeroUsize::new(batch).unwrap_or(NonZeroUsize::MIN));
        if !known {
            // Memory and repacked weights are there before the first timed run, as a run over many photos has them.
            objective.outputs(&picture.repeat((batch, 1, 1, 1))?)?;
        }
        let steps = Steps::Cells(NonZeroUsize::new((SIDE * SIDE).div_ceil(steps)).unwrap_or(NonZeroUsize::MIN));
        let protocol = Protocol { steps, ..Protocol::polycam() };
        let start = now();
        last = Some(insertion_deletion(&objective, &picture, &map, &protocol)?);
        println!("{}", now() - start);
    }
    Ok(())
}
