use super::factors::{Convert, Factor, Kept, Paired, Plain};
use super::isa::{Kernel, PairKernel};
use super::map::{Buffer, Source, Target};
use super::scratch::with_scratch;
use super::simd::{Pairs, Simd};
use super::{Factors, Isa};
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
    let job = Forward {
        x: Source(x.as_ptr()),
        weight: Source(weight.as_ptr()),
        bias,
        bounds,
        size: [n, i, o],
        out: Target(out.as_mut_ptr()),
    };
    job.run(isa.checked(), Kept::Plain);
    Ok(())
}

/// Weights of [`linear`] with a copy of their own, which is rounded: to `bf16`, half as much is read.
#[derive(Clone, Debug)]
pub struct Linear {
    isa: Isa,
    kept: Kept,
    inputs: usize,
    outputs: usize,
    /// `(O, elements of I)`.
    weights: Buffer,
}

impl Linear {
    /// Copies `weight` `(O, I)`.
    pub fn new(isa: Isa, factors: Factors, weight: &[f32], [o, i]: [usize; 2]) -> Result<Self> {
        if weight.len() != o * i {
            bail!("{} numbers are not {o} x {i} weights", weight.len());
        }
        let isa = isa.checked();
        let kept = Kept::of(isa, factors);
        let elements = kept.elements(i).max(1);
        let mut weights = Buffer::zeros(o * elements);
        weights.par_chunks_mut(elements).zip(weight.par_chunks(i.max(1))).for_each(|(to, from)| {
            for (k, &value) in from.iter().enumerate() {
                kept.put(&mut to[k / kept.each()], k, value);
            }
        });
        Ok(Self { isa, kept, inputs: i, outputs: o, weights })
    }

    /// The number of outputs.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// How many elements of four bytes the weights are.
    pub fn elements(&self) -> usize {
        self.weights.len()
    }

    /// [`linear`] on `n` rows, whose numbers are rounded as well.
    pub fn run(&self, x: &[f32], bias: Option<&[f32]>, bounds: (f32, f32), n: usize, out: &mut [f32]) -> Result<()> {
        let (i, o) = (self.inputs, self.outputs);
        if x.len() != n * i || out.len() != n * o || bias.is_some_and(|bias| bias.len() != o) {
            bail!("a product of {n} x {i} with {o} x {i} does not fit its operands");
        }
        let elements = self.kept.elements(i).max(1);
        with_scratch(n * elements, |rows| {
            let to = Target(rows.as_mut_ptr());
            let from = Source(x.as_ptr());
            let mut pieces = (0..n).map(|row| (Source(from.at(row * i)), Target(to.at(row * elements)), 0));
            self.isa.run_on(self.kept, Convert { kept: self.kept, pieces: &mut pieces, length: i });
            let job = Forward {
                x: Source(to.0.cast_const()),
                weight: Source(self.weights.as_ptr()),
                bias,
                bounds,
                size: [n, self.kept.elements(i), o],
                out: Target(out.as_mut_ptr()),
            };
            job.run(self.isa, self.kept);
        });
        Ok(())
    }
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
    let to = Target(out.as_mut_ptr());
    let step = inputs_at_once(n, i);
    with_scratch(n * o, |packed| {
        by_outputs(gradient, [n, o], packed);
        super::each_task(i.div_ceil(step), |index| {
            let (from, count) = (index * step, step.min(i - index * step));
            with_scratch(n * count, |sums| {
                isa.run(Inputs {
                    gradient: Source(packed.as_ptr()),
                    weight: Source(weight.as_ptr()),
                    sums: Target(sums.as_mut_ptr()),
                    out: to,
                    size: [n, i, o],
                    from,
                    count,
                    accumulate,
                });
            });
        });
    });
    Ok(())
}

/// Outputs whose rows of the weight are read side by side.
const TOGETHER: usize = 8;

/// `(N, O)` as blocks of [`TOGETHER`] outputs `(N, TOGETHER)`, and of one at the end: rows that are a power of two
/// apart would push each other out of the cache.
fn by_outputs(gradient: &[f32], [n, o]: [usize; 2], packed: &mut [f32]) {
    let whole = o - o % TOGETHER;
    for row in 0..n {
        for output in 0..o {
            let (block, width) = if output < whole { (output - output % TOGETHER, TOGETHER) } else { (output, 1) };
            packed[block * n + row * width + output - block] = gradient[row * o + output];
        }
    }
}

/// How many inputs' gradients a task sums up: for all rows they should stay in the first-level cache, beside the parts
/// of the weight's rows that pass.
fn inputs_at_once(rows: usize, inputs: usize) -> usize {
    const SUMS: usize = 5 * 1024;
    let most = (SUMS / rows.max(1)).next_multiple_of(64).clamp(64, 1024);
    inputs.div_ceil(16).next_multiple_of(64).clamp(64, most)
}

struct Forward<'a> {
    x: Source,
    weight: Source,
    bias: Option<&'a [f32]>,
    bounds: (f32, f32),
    size: [usize; 3],
    out: Target,
}

impl Forward<'_> {
    fn run(&self, isa: Isa, kept: Kept) {
        let (step, o) = (24, self.size[2]);
        super::each_task(o.div_ceil(step), |index| {
            isa.run_on(kept, Outputs { job: self, from: index * step, to: ((index + 1) * step).min(o) });
        });
    }
}

/// Some outputs of all rows; inputs are counted in elements.
struct Outputs<'a> {
    job: &'a Forward<'a>,
    from: usize,
    to: usize,
}

impl Kernel for Outputs<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: the caller's.
        unsafe { self.with::<S, Plain>() }
    }
}

impl PairKernel for Outputs<'_> {
    #[inline(always)]
    unsafe fn run_pairs<S: Pairs>(self) {
        // SAFETY: the caller's.
        unsafe { self.with::<S, Paired>() }
    }
}

impl Outputs<'_> {
    #[inline(always)]
    unsafe fn with<S: Simd, F: Factor<S>>(self) {
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
                        (3, 8) if many => self.dots::<S, F, 3, 8>(output, row),
                        (3, 4) if many => self.dots::<S, F, 3, 4>(output, row),
                        (3, _) if many => self.dots::<S, F, 3, 1>(output, row),
                        (_, 8) if many => self.dots::<S, F, 1, 8>(output, row),
                        (_, 4) => self.dots::<S, F, 1, 4>(output, row),
                        _ => self.dots::<S, F, 1, 1>(output, row),
                    }
                    row += rows;
                }
                output += outputs;
            }
        }
    }

    /// Every dot product is summed in the same order, whatever is computed beside it.
    #[inline(always)]
    unsafe fn dots<S: Simd, F: Factor<S>, const O: usize, const R: usize>(&self, output: usize, row: usize) {
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
                        sums[r][j] = F::multiply_add(value, weights[j], sums[r][j]);
                    }
                }
                k += S::LANES;
            }
            if k < i {
                for r in 0..R {
                    let value = S::load_partial(x.at((row + r) * i + k), i - k);
                    for j in 0..O {
                        let weight = S::load_partial(weight.at((output + j) * i + k), i - k);
                        sums[r][j] = F::multiply_add(value, weight, sums[r][j]);
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
    /// [`by_outputs`].
    gradient: Source,
    weight: Source,
    /// `(n, count)`.
    sums: Target,
    out: Target,
    size: [usize; 3],
    from: usize,
    count: usize,
    accumulate: bool,
}

impl Kernel for Inputs {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Self { sums, out, size: [n, i, o], from, count, .. } = self;
        // SAFETY: `linear_gradient` checked the sizes; the inputs and the sums are this task's.
        unsafe {
            for row in 0..n {
                if self.accumulate {
                    std::ptr::copy_nonoverlapping(out.at(row * i + from), sums.at(row * count), count);
                } else {
                    sums.at(row * count).write_bytes(0, count);
                }
            }
            let mut output = 0;
            while output + TOGETHER <= o {
                self.rows::<S, TOGETHER>(output);
                output += TOGETHER;
            }
            while output < o {
                self.rows::<S, 1>(output);
                output += 1;
            }
            for row in 0..n {
                std::ptr::copy_nonoverlapping(sums.at(row * count), out.at(row * i + from), count);
            }
        }
    }
}

impl Inputs {
    /// Adds what `O` outputs contribute. The rows of the weight behind them are asked for meanwhile: each task reads
    /// only a part of a row, too short for the processor to foresee the next.
    #[inline(always)]
    unsafe fn rows<S: Simd, const O: usize>(&self, output: usize) {
        let [n, i, _] = self.size;
        // SAFETY: the caller's.
        unsafe {
            let mut k = 0;
            while k < self.count {
                let lanes = (self.count - k).min(S::LANES);
                let mut weights = [S::splat(0.0); O];
                for (j, value) in weights.iter_mut().enumerate() {
                    let from = self.weight.at((output + j) * i + self.from + k);
                    *value = S::load_up_to(from, lanes);
                    S::prefetch(from.wrapping_add(O * i));
                }
                for row in 0..n {
                    let to = self.sums.at(row * self.count + k);
                    let mut sum = S::load_up_to(to, lanes);
                    for (j, weight) in weights.into_iter().enumerate() {
                        sum = S::mul_add(S::splat(*self.gradient.at(output * n + row * O + j)), weight, sum);
                    }
                    S::store_up_to(to, sum, lanes);
                }
                k += S::LANES;
            }
        }
    }
}
