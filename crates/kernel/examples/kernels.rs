//! The layers of `VGG16`, `ResNet50` and `MobileNetV2` one by one, against what the processor can do: a Markdown table.
//!
//! `cargo xtask bench --layers`, or `cargo run --release -p faithful-kernel --example kernels [-- FILTER [bf16]]`; threads as
//! `RAYON_NUM_THREADS` says, and one where it says nothing. Times are the shortest of many runs, so that other work on
//! the machine counts little.

use candle_core::Result;
use faithful_kernel::{Conv, Pool};
use faithful_kernel::{
    Depthwise, Direct, Factors, Finish, Isa, Linear, Map, MapMut, Tile, Windows, Winograd, linear, max_pool, peak,
};
use std::time::Instant;

/// Name, images, height and width, input and output channels, window, stride, groups.
type Layer = (&'static str, usize, usize, usize, usize, usize, usize, usize);

const LAYERS: [Layer; 38] = [
    ("vgg16 conv1_1", 1, 224, 3, 64, 3, 1, 1),
    ("vgg16 conv1_2", 1, 224, 64, 64, 3, 1, 1),
    ("vgg16 conv2_1", 1, 112, 64, 128, 3, 1, 1),
    ("vgg16 conv2_2", 1, 112, 128, 128, 3, 1, 1),
    ("vgg16 conv3_1", 1, 56, 128, 256, 3, 1, 1),
    ("vgg16 conv3_2", 1, 56, 256, 256, 3, 1, 1),
    ("vgg16 conv4_1", 8, 28, 256, 512, 3, 1, 1),
    ("vgg16 conv4_2", 8, 28, 512, 512, 3, 1, 1),
    ("vgg16 conv5_2", 8, 14, 512, 512, 3, 1, 1),
    ("resnet50 stem", 1, 224, 3, 64, 7, 2, 1),
    ("resnet50 layer1 reduce", 1, 56, 256, 64, 1, 1, 1),
    ("resnet50 layer1 3x3", 1, 56, 64, 64, 3, 1, 1),
    ("resnet50 layer1 expand", 1, 56, 64, 256, 1, 1, 1),
    ("resnet50 layer2 reduce", 1, 28, 512, 128, 1, 1, 1),
    ("resnet50 layer2 3x3", 1, 28, 128, 128, 3, 1, 1),
    ("resnet50 layer2 strided", 1, 56, 128, 128, 3, 2, 1),
    ("resnet50 layer2 shortcut", 1, 56, 256, 512, 1, 2, 1),
    ("resnet50 layer2 expand", 1, 28, 128, 512, 1, 1, 1),
    ("resnet50 layer3 reduce", 8, 14, 1024, 256, 1, 1, 1),
    ("resnet50 layer3 3x3", 8, 14, 256, 256, 3, 1, 1),
    ("resnet50 layer3 strided", 8, 28, 256, 256, 3, 2, 1),
    ("resnet50 layer3 shortcut", 8, 28, 512, 1024, 1, 2, 1),
    ("resnet50 layer3 expand", 8, 14, 256, 1024, 1, 1, 1),
    ("resnet50 layer4 reduce", 8, 7, 2048, 512, 1, 1, 1),
    ("resnet50 layer4 3x3", 8, 7, 512, 512, 3, 1, 1),
    ("resnet50 layer4 strided", 8, 14, 512, 512, 3, 2, 1),
    ("resnet50 layer4 shortcut", 8, 14, 1024, 2048, 1, 2, 1),
    ("resnet50 layer4 expand", 8, 7, 512, 2048, 1, 1, 1),
    ("mobilenet_v2 stem", 1, 224, 3, 32, 3, 2, 1),
    ("mobilenet_v2 expand", 1, 112, 16, 96, 1, 1, 1),
    ("mobilenet_v2 project", 1, 56, 144, 24, 1, 1, 1),
    ("mobilenet_v2 expand", 1, 14, 96, 576, 1, 1, 1),
    ("mobilenet_v2 project", 1, 7, 960, 160, 1, 1, 1),
    ("mobilenet_v2 last", 1, 7, 320, 1280, 1, 1, 1),
    ("mobilenet_v2 depthwise", 1, 112, 32, 32, 3, 1, 32),
    ("mobilenet_v2 depthwise", 1, 112, 96, 96, 3, 2, 96),
    ("mobilenet_v2 depthwise", 1, 14, 576, 576, 3, 1, 576),
    ("mobilenet_v2 depthwise", 1, 7, 960, 960, 3, 1, 960),
];

/// The shortest of many runs, in seconds.
fn fastest(mut work: impl FnMut()) -> f64 {
    work();
    let begin = Instant::now();
    let mut best = f64::INFINITY;
    let mut runs = 0;
    while runs < 5 || (begin.elapsed().as_secs_f64() < 0.4 && runs < 10_000) {
        let start = Instant::now();
        work();
        best = best.min(start.elapsed().as_secs_f64());
        runs += 1;
    }
    best
}

/// The `gemm` crate's product of `(m, k)` and `(k, n)`, both row by row, without bias and activation.
fn by_gemm(threads: usize, [m, k, n]: [usize; 3], left: &[f32], right: &[f32], out: &mut [f32]) {
    let parallelism = if threads > 1 { gemm::Parallelism::Rayon(threads) } else { gemm::Parallelism::None };
    assert!(left.len() >= m * k && right.len() >= k * n && out.len() >= m * n);
    let row = |length: usize| length as isize;
    // SAFETY: the matrices were checked to hold what their sizes and strides reach.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.as_mut_ptr(),
            1,
            row(n),
            false,
            left.as_ptr(),
            1,
            row(k),
            right.as_ptr(),
            1,
            row(n),
            0.0,
            1.0,
            false,
            false,
            false,
            parallelism,
        );
    }
}

fn numbers(length: usize) -> Vec<f32> {
    (0..length as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 8) as f32 / (1u32 << 23) as f32 - 1.0).collect()
}

/// What a thread reads of memory that no cache holds, in GB/s.
fn memory_speed() -> f64 {
    let many = vec![1.0_f32; 64 * 1024 * 1024];
    let seconds = fastest(|| {
        let mut sums = [0.0; 64];
        for part in many.as_chunks::<64>().0 {
            sums.iter_mut().zip(part).for_each(|(sum, x)| *sum += x);
        }
        std::hint::black_box(sums);
    });
    4.0 * many.len() as f64 / seconds / 1e9
}

struct Machine {
    /// GFLOP/s and GB/s of all threads.
    peak: f64,
    peak_in_bf16: f64,
    memory: f64,
}

impl Machine {
    /// `plain` is the arithmetic of the layer as it is defined, `done` what the kernel does of it, both in FLOP;
    /// `weights` and `maps` are elements.
    fn report(&self, name: &str, kernel: &str, [plain, done, weights, maps]: [f64; 4], images: usize, seconds: f64) {
        let peak = if kernel.ends_with("bf16") { self.peak_in_bf16 } else { self.peak };
        let (arithmetic, memory) = (done / peak / 1e9, 4.0 * (weights + maps) / self.memory / 1e9);
        let (bound, least) = if arithmetic >= memory { ("arithmetic", arithmetic) } else { ("memory", memory) };
        println!(
            "| {name} | {kernel} | {:.3} | {:.0} | {:.0} | {:.0}% | {bound}, {:.0}% |",
            seconds * 1e3 / images as f64,
            plain / seconds / 1e9,
            done / seconds / 1e9,
            100.0 * done / seconds / 1e9 / peak,
            100.0 * (least / seconds).min(1.0),
        );
    }
}

fn main() -> Result<()> {
    let threads = std::env::var("RAYON_NUM_THREADS").ok().and_then(|threads| threads.parse().ok()).unwrap_or(1);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    pool.map_err(|error| candle_core::Error::Msg(error.to_string()))?.install(|| work(threads))
}

fn work(threads: usize) -> Result<()> {
    let filter = std::env::args().nth(1).unwrap_or_default();
    let in_bf16 = std::env::args().nth(2).is_some_and(|argument| argument == "bf16");
    let all_factors: &[(Factors, &str)] =
        if in_bf16 { &[(Factors::F32, ""), (Factors::Bf16, " bf16")] } else { &[(Factors::F32, "")] };
    let isa = Isa::best();
    let machine = Machine {
        peak: peak(isa, Factors::F32) * threads as f64,
        peak_in_bf16: peak(isa, Factors::Bf16) * threads as f64,
        memory: memory_speed() * threads as f64,
    };
    println!(
        "{isa:?}, {threads} thread(s); peak {:.0} GFLOP/s, {:.0} in bf16, memory {:.1} GB/s.\n",
        machine.peak, machine.peak_in_bf16, machine.memory
    );
    println!(
        "| layer | kernel | ms per image | GFLOP/s of the definition's arithmetic | GFLOP/s done | of the peak | bound, \
         and how near |\n|---|---|---|---|---|---|---|"
    );
    for (name, n, side, c, o, k, stride, groups) in LAYERS {
        let name = format!("{name} {n}x{side}x{side}x{c} to {o}, {k}x{k}/{stride}");
        if !name.contains(&filter) {
            continue;
        }
        let (input, weight) = (numbers(n * side * side * c), numbers(o * (c / groups) * k * k));
        let conv = Conv { stride: [stride; 2], padding: [k / 2; 4], groups, ..Conv::default() };
        let shape = [n, side, side, c];
        let to = [n, side.div_ceil(stride), side.div_ceil(stride), o];
        let mut out = vec![0.0; to.iter().product()];
        let finish = Finish { low: 0.0, ..Finish::default() };
        let plain = 2.0 * (out.len() * c / groups * k * k) as f64;
        let maps = (input.len() + out.len()) as f64;
        let map = || Map::new(&input, shape).expect("fits");
        if groups > 1 {
            let kernel = Depthwise::new(isa, &weight, [o, 1, k, k], &conv)?;
            let seconds =
                fastest(|| kernel.run(map(), MapMut::new(&mut out, to).expect("fits"), &finish).expect("runs"));
            machine.report(&name, "depthwise", [plain, plain, weight.len() as f64, maps], n, seconds);
            continue;
        }
        if k == 3 && stride <= 2 && c >= 16 {
            let tiles: &[(Tile, usize)] = if stride == 1 {
                &[(Tile::Two, 2), (Tile::Four, 4), (Tile::FourBalanced, 4), (Tile::Six, 6)]
            } else {
                &[(Tile::StridedTwo, 2), (Tile::StridedFour, 4)]
            };
            for (&(factors, suffix), (tile, side_of)) in
                all_factors.iter().flat_map(|factors| tiles.iter().map(move |&tile| (factors, tile)))
            {
                // Each of the two is for one of the types.
                let other = if factors == Factors::F32 { Tile::FourBalanced } else { Tile::Four };
                if tile == other || (tile == Tile::Six && factors == Factors::Bf16) {
                    continue;
                }
                let kernel = Winograd::with_factors(isa, factors, tile, &weight, [o, c])?;
                let seconds = fastest(|| {
                    kernel.run(map(), [1, 1], MapMut::new(&mut out, to).expect("fits"), &finish).expect("runs");
                });
                let count = n * to[1].div_ceil(side_of) * to[2].div_ceil(side_of);
                let inputs = stride * (side_of - 1) + 3;
                let done = 2.0 * (count * inputs * inputs * c * o) as f64;
                let weights = kernel.elements() as f64;
                let kind = format!("F({side_of}x{side_of}){suffix}");
                machine.report(&name, &kind, [plain, done, weights, maps], n, seconds);
            }
        }
        for &(factors, suffix) in all_factors {
            let kernel = Direct::with_factors(isa, factors, &weight, [o, c, k, k], &conv)?;
            let seconds =
                fastest(|| kernel.run(map(), MapMut::new(&mut out, to).expect("fits"), &finish).expect("runs"));
            let weights = kernel.elements() as f64;
            machine.report(&name, &format!("direct{suffix}"), [plain, plain, weights, maps], n, seconds);
        }
        if [k, stride] == [1, 1] {
            let size = [n * side * side, c, o];
            let seconds = fastest(|| by_gemm(threads, size, &input, &weight, &mut out));
            machine.report(&name, "gemm crate", [plain, plain, weight.len() as f64, maps], n, seconds);
        }
    }
    for (number, side, c) in [(1, 224, 64), (2, 112, 128), (3, 56, 256), (4, 28, 512), (5, 14, 512)] {
        let name = format!("vgg16 pool{number} 1x{side}x{side}x{c}, 2x2/2");
        if !name.contains(&filter) {
            continue;
        }
        let pool = Pool { kernel: [2; 2], stride: [2; 2], ..Pool::default() };
        let windows = [Windows::sliding(&pool, 0, side)?, Windows::sliding(&pool, 1, side)?];
        let (input, to) = (numbers(side * side * c), [1, side / 2, side / 2, c]);
        let mut out = vec![0.0; to.iter().product()];
        let map = || Map::new(&input, [1, side, side, c]).expect("fits");
        let seconds = fastest(|| {
            let out = MapMut::new(&mut out, to).expect("fits");
            max_pool(isa, map(), [&windows[0], &windows[1]], out).expect("runs");
        });
        let maps = (input.len() + input.len() / 4) as f64;
        machine.report(&name, "max pool", [input.len() as f64, input.len() as f64, 0.0, maps], 1, seconds);
    }
    for (name, n, i, o) in [
        ("vgg16 fully connected", 8, 25088, 4096),
        ("vgg16 fully connected", 1, 25088, 4096),
        ("mobilenet_v2 classifier", 8, 1280, 1000),
    ] {
        let name = format!("{name} {n}x{i} to {o}");
        if !name.contains(&filter) {
            continue;
        }
        let (x, weight) = (numbers(n * i), numbers(i * o));
        let mut out = vec![0.0; n * o];
        let bounds = (f32::NEG_INFINITY, f32::INFINITY);
        let seconds = fastest(|| linear(isa, &x, &weight, None, bounds, [n, i, o], &mut out).expect("fits"));
        let plain = 2.0 * (n * i * o) as f64;
        let maps = (x.len() + out.len()) as f64;
        machine.report(&name, "linear", [plain, plain, weight.len() as f64, maps], n, seconds);
        let seconds = fastest(|| by_gemm(threads, [n, i, o], &x, &weight, &mut out));
        machine.report(&name, "gemm crate", [plain, plain, weight.len() as f64, maps], n, seconds);
        if in_bf16 {
            let kernel = Linear::new(isa, Factors::Bf16, &weight, [o, i])?;
            let seconds = fastest(|| kernel.run(&x, None, bounds, n, &mut out).expect("fits"));
            machine.report(&name, "linear bf16", [plain, plain, kernel.elements() as f64, maps], n, seconds);
        }
    }
    Ok(())
}
