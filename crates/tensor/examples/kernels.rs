//! Speed of single kernels: GFLOP/s of the arithmetic that a plain convolution would do, against the machine's peak.
//!
//! `cargo run --release -p faithful-tensor --example kernels [-- FILTER]`; threads as `RAYON_NUM_THREADS` says.

use faithful_tensor::Conv;
use faithful_tensor::cpu::{Depthwise, Direct, Finish, Isa, Map, MapMut, Tile, Winograd, linear};
use std::time::Instant;

/// Processor time of all threads where the system tells it: with one thread it does not see what else the machine does.
fn processor_seconds() -> Option<f64> {
    let tasks = std::fs::read_dir("/proc/self/task").ok()?;
    let nanoseconds = tasks.filter_map(|task| {
        let text = std::fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<f64>().ok()
    });
    Some(nanoseconds.sum::<f64>() / 1e9)
}

/// Seconds per run: with one thread the mean processor time, else the shortest time that passed.
fn fastest(mut work: impl FnMut()) -> f64 {
    work();
    let before = processor_seconds();
    let begin = Instant::now();
    let mut best = f64::INFINITY;
    let mut runs = 0;
    while runs < 5 || (begin.elapsed().as_secs_f64() < 0.6 && runs < 10_000) {
        let start = Instant::now();
        work();
        best = best.min(start.elapsed().as_secs_f64());
        runs += 1;
    }
    match (before, processor_seconds()) {
        (Some(before), Some(after)) if std::env::var("RAYON_NUM_THREADS").is_ok_and(|threads| threads == "1") => {
            best.min((after - before) / f64::from(runs))
        }
        _ => best,
    }
}

fn numbers(length: usize) -> Vec<f32> {
    (0..length).map(|i| ((i * 2_654_435_761) % 1000) as f32 / 500.0 - 1.0).collect()
}

fn main() -> candle_core::Result<()> {
    rayon::scope(|_| work())
}

fn work() -> candle_core::Result<()> {
    let filter = std::env::args().nth(1).unwrap_or_default();
    let isa = Isa::best();
    let wanted = |name: &str| name.contains(&filter);
    let report = |name: &str, operations: f64, bytes: f64, seconds: f64| {
        println!(
            "{name:44} {:9.3} ms {:8.1} GFLOP/s {:7.1} GB/s",
            seconds * 1e3,
            operations / seconds / 1e9,
            bytes / seconds / 1e9
        );
    };
    for (name, batch, side, c, o) in [
        ("vgg conv1_2", 1, 224, 64, 64),
        ("vgg conv2_1", 1, 112, 64, 128),
        ("vgg conv2_2", 1, 112, 128, 128),
        ("vgg conv3_2", 8, 56, 256, 256),
        ("vgg conv4_2", 8, 28, 512, 512),
        ("vgg conv5_2", 8, 14, 512, 512),
        ("vgg conv5_2", 1, 14, 512, 512),
        ("resnet layer1", 8, 56, 64, 64),
        ("resnet layer2", 8, 28, 128, 128),
        ("resnet layer3", 8, 14, 256, 256),
        ("resnet layer4", 8, 7, 512, 512),
    ] {
        let (input, weight) = (numbers(batch * side * side * c), numbers(o * c * 9));
        let mut out = vec![0.0; batch * side * side * o];
        let finish = Finish { low: 0.0, ..Finish::default() };
        for tile in [Tile::Two, Tile::Four, Tile::Six] {
            let name = format!("{name} {batch}x{side}x{side}x{c}->{o} {tile:?}");
            if wanted(&name) {
                let winograd = Winograd::new(isa, tile, &weight, [o, c])?;
                let seconds = fastest(|| {
                    let map = Map::new(&input, [batch, side, side, c]).expect("fits");
                    let out = MapMut::new(&mut out, [batch, side, side, o]).expect("fits");
                    winograd.run(map, [1, 1], out, &finish).expect("runs");
                });
                let operations = 2.0 * 9.0 * (batch * side * side * c * o) as f64;
                report(&name, operations, 4.0 * (input.len() + out.len()) as f64, seconds);
            }
        }
    }
    for (name, batch, side, c, o, k, stride) in [
        ("vgg conv1_1", 1, 224, 3, 64, 3, 1),
        ("resnet stem", 1, 224, 3, 64, 7, 2),
        ("alexnet stem", 1, 224, 3, 64, 11, 4),
        ("mobilenet stem", 1, 224, 3, 32, 3, 2),
        ("mobilenet expand", 1, 112, 16, 96, 1, 1),
        ("mobilenet project", 1, 56, 144, 24, 1, 1),
        ("mobilenet expand", 8, 14, 96, 576, 1, 1),
        ("mobilenet project", 8, 7, 960, 160, 1, 1),
        ("mobilenet last", 8, 7, 320, 1280, 1, 1),
        ("mobilenet last", 1, 7, 320, 1280, 1, 1),
        ("resnet reduce", 8, 56, 256, 64, 1, 1),
        ("resnet expand", 8, 14, 256, 1024, 1, 1),
        ("resnet strided", 8, 14, 512, 512, 3, 2),
        ("square product", 1, 32, 1024, 1024, 1, 1),
    ] {
        let name = format!("{name} {batch}x{side}x{side}x{c}->{o} {k}x{k}/{stride}");
        if wanted(&name) {
            let (input, weight) = (numbers(batch * side * side * c), numbers(o * c * k * k));
            let conv = Conv { stride: [stride; 2], padding: [k / 2; 4], ..Conv::default() };
            let direct = Direct::new(isa, &weight, [o, c, k, k], &conv)?;
            let shape = direct.output_shape([batch, side, side, c])?;
            let mut out = vec![0.0; shape.iter().product()];
            let finish = Finish { low: 0.0, ..Finish::default() };
            let seconds = fastest(|| {
                let map = Map::new(&input, [batch, side, side, c]).expect("fits");
                direct.run(map, MapMut::new(&mut out, shape).expect("fits"), &finish).expect("runs");
            });
            let operations = 2.0 * (out.len() * c * k * k) as f64;
            report(&name, operations, 4.0 * (input.len() + out.len()) as f64, seconds);
        }
    }
    for (batch, side, c, stride) in [(1, 112, 32, 1), (1, 112, 96, 2), (1, 56, 144, 1), (1, 14, 576, 1), (1, 7, 960, 1)]
    {
        let name = format!("depthwise {batch}x{side}x{side}x{c}/{stride}");
        if wanted(&name) {
            let (input, weight) = (numbers(batch * side * side * c), numbers(c * 9));
            let conv = Conv { stride: [stride; 2], padding: [1; 4], groups: c, ..Conv::default() };
            let kernels = Depthwise::new(isa, &weight, [c, 1, 3, 3], &conv)?;
            let shape = kernels.output_shape([batch, side, side, c])?;
            let mut out = vec![0.0; shape.iter().product()];
            let seconds = fastest(|| {
                let map = Map::new(&input, [batch, side, side, c]).expect("fits");
                kernels.run(map, MapMut::new(&mut out, shape).expect("fits"), &Finish::default()).expect("runs");
            });
            report(&name, 18.0 * out.len() as f64, 4.0 * (input.len() + out.len()) as f64, seconds);
        }
    }
    for (batch, inputs, outputs) in [(1, 25088, 4096), (8, 25088, 4096), (8, 1280, 1000)] {
        let name = format!("linear {batch}x{inputs}->{outputs}");
        if wanted(&name) {
            let (x, weight) = (numbers(batch * inputs), numbers(inputs * outputs));
            let mut out = vec![0.0; batch * outputs];
            let bounds = (f32::NEG_INFINITY, f32::INFINITY);
            let size = [batch, inputs, outputs];
            let seconds = fastest(|| linear(isa, &x, &weight, None, bounds, size, &mut out).expect("fits"));
            report(&name, 2.0 * (weight.len() * batch) as f64, 4.0 * weight.len() as f64, seconds);
        }
    }
    Ok(())
}
