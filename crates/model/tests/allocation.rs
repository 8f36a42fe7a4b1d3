//! What a forward pass allocates once the first one is over: its result, and little else.

use candle_core::{Device, Tensor};
use faithful_core::Network;
use faithful_model::{Graph, architecture, portable_uniform};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The system's allocator, which counts.
struct Counting;

static BYTES: AtomicUsize = AtomicUsize::new(0);
static LARGEST: AtomicUsize = AtomicUsize::new(0);
/// Tests take turns: the counters are the process's.
static TURN: Mutex<()> = Mutex::new(());

fn count(size: usize) {
    BYTES.fetch_add(size, Ordering::Relaxed);
    LARGEST.fetch_max(size, Ordering::Relaxed);
}

// SAFETY: everything is the system allocator's doing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller's.
        unsafe { System.alloc(layout) }
    }
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller's.
        unsafe { System.alloc_zeroed(layout) }
    }
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size);
        // SAFETY: the caller's.
        unsafe { System.realloc(pointer, layout, size) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The bytes of all allocations, and of the largest, while `work` runs.
fn counted<R>(work: impl FnOnce() -> R) -> (usize, usize) {
    BYTES.store(0, Ordering::Relaxed);
    LARGEST.store(0, Ordering::Relaxed);
    drop(work());
    (BYTES.load(Ordering::Relaxed), LARGEST.load(Ordering::Relaxed))
}

fn input(rows: usize, side: usize) -> Tensor {
    let numbers = portable_uniform("images", 0, rows * 3 * side * side);
    Tensor::from_vec(numbers, (rows, 3, side, side), &Device::Cpu).unwrap()
}

/// One thread, so that who does a task, and whose memory it is, does not change from run to run.
fn alone<R: Send>(work: impl FnOnce() -> R + Send) -> R {
    rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap().install(work)
}

fn networks() -> Vec<(&'static str, Graph)> {
    let mut networks = Vec::new();
    for name in ["resnet18", "mobilenet_v2", "squeezenet1_1", "densenet121"] {
        let graph = architecture(name).unwrap().random(10, 0, &Device::Cpu).unwrap();
        networks.push((name, graph.with_bf16_factors().unwrap()));
        networks.push((name, graph));
    }
    networks
}

#[test]
fn a_forward_allocates_nothing_large_after_the_first() {
    let _turn = TURN.lock();
    for (name, network) in networks() {
        for rows in [1, 3] {
            let images = input(rows, 96);
            let run = || network.evaluate(&images, &[]).unwrap();
            let (first, later) = alone(|| (counted(run), [counted(run), counted(run)]));
            assert!(first.1 > 100_000, "{name}: the first run has nothing to prepare?");
            for (bytes, largest) in later {
                assert!(largest <= 16 * 1024, "{name}, {rows} rows: {largest} bytes at once, {bytes} in all");
                assert!(bytes <= 256 * 1024, "{name}, {rows} rows: {bytes} bytes in all");
            }
        }
    }
}
