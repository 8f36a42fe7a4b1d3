use super::Isa;
use super::isa::Kernel;
use super::map::{Source, Target};
use super::simd::Simd;
use candle_core::{Result, bail};
use rayon::prelude::*;
use std::mem::MaybeUninit;

/// How far ahead weights are asked for, in elements: they come from memory, where the processor stops at each page.
const AHEAD: usize = 512;
/// The sums of eight rows and three outputs.
const MOST_SUMS: usize = 24;

/// `out` `(N, O)` = `x` `(N, I)` times the transposed `weight` `(O, I)` plus `bias`, clamped to `bounds`.
///
/// The weight is read where it lies, once for all rows of a batch: with few rows its size is what takes the time.
pub fn linear(
    isa: Isa,
    x: &[f32],
    weight: &[f32],
    bias: Option<&[f32]>,
    bounds: (f32, f32),
    [n, i, o]: [usize; 3],
    out: &mut [f32],
) -> Result<()> {
    if x.len() != n * i || weight.len() != o * i || out.len() != n * o || bias.is_some_and(|bias| bias.len() != o) {
        bail!("a product of {n} x {i} with {o} x {i} does not fit its operands");
    }
    let isa = isa.checked();
    let job = Forward {
        x: Source(x.as_ptr()),
        weight: Source(weight.as_ptr()),
        bias,
        bounds,
        size: [n, i, o],
        out: Target(out.as_mut_ptr()),
    };
    let step = 24;
    (0..o.div_ceil(step)).into_par_iter().for_each(|index| {
        isa.run(Outputs { job: &job, from: index * step, to: ((index + 1) * step).min(o) });
    });
    Ok(())
}

/// `out` `(N, I)` = `gradient` `(N, O)` times `weight` `(O, I)`, added to `out` where `accumulate`.
pub fn linear_gradient(
    isa: Isa,
    gradient: &[f32],
    weight: &[f32],
    [n, i, o]: [usize; 3],
    accumulate: bool,
    out: &mut [f32],
) -> Result<()> {
    if gradient.len() != n * o || weight.len() != o * i || out.len() != n * i {
        bail!("a product of {n} x {o} with {o} x {i} does not fit its operands");
    }
    let isa = isa.checked();
    if !accumulate {
        out.fill(0.0);
    }
    let to = Target(out.as_mut_ptr());
    // A part of a row of the weight is a page or so; the part of the result that belongs to it stays in the cache.
    let step = i.div_ceil(16).next_multiple_of(64).clamp(64, 2048);
    (0..i.div_ceil(step)).into_par_iter().for_each(|index| {
        isa.run(Inputs {
            gradient: Source(gradient.as_ptr()),
            weight: Source(weight.as_ptr()),
            out: to,
            size: [n, i, o],
            from: index * step,
            to: ((index + 1) * step).min(i),
        });
    });
    Ok(())
}

struct Forward<'a> {
    x: Source,
    weight: Source,
    bias: Option<&'a [f32]>,
    bounds: (f32, f32),
    size: [usize; 3],
    out: Target,
}

struct Outputs<'a> {
    job: &'a Forward<'a>,
    from: usize,
    to: usize,
}

impl Kernel for Outputs<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let [n, ..] = self.job.size;
        // SAFETY: `linear` checked the sizes; the outputs are this task's.
        unsafe {
            let mut output = self.from;
            while output < self.to {
                // With sixteen registers there is room for half as many sums.
                let many = S::ROWS == 8;
                let outputs = if many && output + 3 <= self.to { 3 } else { 1 };
                let mut row = 0;
                while row < n {
                    let rows = match n - row {
                        8.. if many => 8,
                        4.. => 4,
                        _ => 1,
                    };
                    match (outputs, rows) {
                        (3, 8) if many => self.dots::<S, 3, 8>(output, row),
                        (3, 4) if many => self.dots::<S, 3, 4>(output, row),
                        (3, _) if many => self.dots::<S, 3, 1>(output, row),
                        (_, 8) if many => self.dots::<S, 1, 8>(output, row),
                        (_, 4) => self.dots::<S, 1, 4>(output, row),
                        _ => self.dots::<S, 1, 1>(output, row),
                    }
                    row += rows;
                }
                output += outputs;
            }
        }
    }
}

impl Outputs<'_> {
    /// Every dot product is summed in the same order, whatever is computed beside it.
    #[inline(always)]
    unsafe fn dots<S: Simd, const O: usize, const R: usize>(&self, output: usize, row: usize) {
        let Forward { x, weight, bias, bounds, size: [_, i, o], out } = *self.job;
        // SAFETY: the caller's.
        unsafe {
            let mut sums = [[S::splat(0.0); O]; R];
            let mut k = 0;
            while k + S::LANES <= i {
                let mut weights = [S::splat(0.0); O];
                for (j, value) in weights.iter_mut().enumerate() {
                    let from = weight.at((output + j) * i + k);
                    *value = S::load(from);
                    S::prefetch(from.wrapping_add(AHEAD));
                }
                for r in 0..R {
                    let value = S::load(x.at((row + r) * i + k));
                    for j in 0..O {
                        sums[r][j] = S::mul_add(value, weights[j], sums[r][j]);
                    }
                }
                k += S::LANES;
            }
            if k < i {
                for r in 0..R {
                    let value = S::load_partial(x.at((row + r) * i + k), i - k);
                    for j in 0..O {
                        let weight = S::load_partial(weight.at((output + j) * i + k), i - k);
                        sums[r][j] = S::mul_add(value, weight, sums[r][j]);
                    }
                }
            }
            // As in a matrix product's tile: looked at by a loop, sums would live in memory above as well.
            let mut parked = [MaybeUninit::<S::Vector>::uninit(); MOST_SUMS];
            for r in 0..R {
                for j in 0..O {
                    parked[r * O + j].write(sums[r][j]);
                }
            }
            let parked: *const S::Vector = std::hint::black_box(parked.as_ptr()).cast();
            for r in 0..R {
                for j in 0..O {
                    let value = S::sum(*parked.add(r * O + j)) + bias.map_or(0.0, |bias| bias[output + j]);
                    // Comparisons that let NaN through, unlike `f32::max`.
                    let value = if value < bounds.0 { bounds.0 } else { value };
                    *out.at((row + r) * o + output + j) = if value > bounds.1 { bounds.1 } else { value };
                }
            }
        }
    }
}

struct Inputs {
    gradient: Source,
    weight: Source,
    out: Target,
    size: [usize; 3],
    from: usize,
    to: usize,
}

impl Kernel for Inputs {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let [_, _, o] = self.size;
        // SAFETY: `linear_gradient` checked the sizes; the inputs are this task's.
        unsafe {
            let mut output = 0;
            while output + 4 <= o {
                self.rows::<S, 4>(output);
                output += 4;
            }
            while output < o {
                self.rows::<S, 1>(output);
                output += 1;
            }
        }
    }
}

impl Inputs {
    #[inline(always)]
    unsafe fn rows<S: Simd, const O: usize>(&self, output: usize) {
        let [n, i, o] = self.size;
        // SAFETY: the caller's.
        unsafe {
            let mut k = self.from;
            while k < self.to {
                let count = (self.to - k).min(S::LANES);
                let mut weights = [S::splat(0.0); O];
                for (j, value) in weights.iter_mut().enumerate() {
                    *value = S::load_up_to(self.weight.at((output + j) * i + k), count);
                }
                for row in 0..n {
                    let to = self.out.at(row * i + k);
                    let mut sum = S::load_up_to(to, count);
                    for (j, weight) in weights.into_iter().enumerate() {
                        sum = S::mul_add(S::splat(*self.gradient.at(row * o + output + j)), weight, sum);
                    }
                    S::store_up_to(to, sum, count);
                }
                k += S::LANES;
            }
        }
    }
}
