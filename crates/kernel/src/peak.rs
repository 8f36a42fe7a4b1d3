use super::factors::{Factor, Kept, Paired, Plain};
use super::isa::{Kernel, PairKernel};
use super::simd::{Pairs, Simd};
use super::{Factors, Isa};
use std::time::Instant;

/// The most floating-point operations per second that one thread reaches with `isa` on such factors: products and sums of registers
/// alone, in GFLOP/s. Takes about a tenth of a second; the reference for every kernel's speed.
pub fn peak(isa: Isa, factors: Factors) -> f64 {
    let isa = isa.checked();
    let kept = Kept::of(isa, factors);
    let operations = (2 * SUMS * STEPS * isa.lanes() * kept.each()) as f64;
    let mut best: f64 = 0.0;
    for _ in 0..100 {
        let start = Instant::now();
        isa.run_on(kept, Chains { steps: STEPS });
        best = best.max(operations / start.elapsed().as_secs_f64() / 1e9);
    }
    best
}

/// Sums that do not wait for each other: enough for two units of four cycles each.
const SUMS: usize = 12;
const STEPS: usize = 20_000;

struct Chains {
    steps: usize,
}

impl Kernel for Chains {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: the caller's.
        unsafe { self.with::<S, Plain>() }
    }
}

impl PairKernel for Chains {
    #[inline(always)]
    unsafe fn run_pairs<S: Pairs>(self) {
        // SAFETY: the caller's.
        unsafe { self.with::<S, Paired>() }
    }
}

impl Chains {
    #[inline(always)]
    unsafe fn with<S: Simd, F: Factor<S>>(self) {
        // SAFETY: the caller's; what is stored lies in the array.
        unsafe {
            let (factor, term) = (std::hint::black_box(0.999_f32), std::hint::black_box(0.001_f32));
            let (factor, term) = (S::splat(factor), S::splat(term));
            let mut sums = [term; SUMS];
            for _ in 0..self.steps {
                for sum in &mut sums {
                    *sum = F::multiply_add(factor, factor, *sum);
                }
            }
            let mut total = sums[0];
            for sum in &sums[1..] {
                total = S::add(total, *sum);
            }
            std::hint::black_box(S::sum(total));
        }
    }
}
