//! Products of maps, element by element, one of which may be a number per row and channel.

use super::isa::Kernel;
use super::map::{Map, MapMut, Source, Target};
use super::simd::Simd;
use super::{Isa, each_task};
use candle_core::{Result, bail};

/// Writes `a * b` to `out`, or adds it; `b` has `a`'s shape, or one pixel per row.
///
/// # Errors
/// Where the shapes do not go together.
pub fn multiply(isa: Isa, a: Map, b: Map, mut out: MapMut, accumulate: bool) -> Result<()> {
    let shape = a.shape();
    let [n, h, w, c] = shape;
    let spreads = b.shape() == [n, 1, 1, c];
    if out.shape() != shape || (b.shape() != shape && !spreads) {
        bail!("maps of shapes {shape:?} and {:?} have no product of shape {:?}", b.shape(), out.shape());
    }
    let pixels = h * w;
    let step = (TASK / c.max(1)).clamp(1, pixels.max(1));
    let per_row = pixels.div_ceil(step);
    let isa = isa.checked();
    let (left, right, to) = (a.pointer(), b.pointer(), out.pointer());
    let pitches = [a.pixel(), b.pixel(), out.pixel()];
    each_task(n * per_row, |task| {
        let (row, first) = (task / per_row, task % per_row * step);
        let count = step.min(pixels - first);
        let at = row * pixels + first;
        // The second one stays at its row's pixel.
        let (place, pitch) = if spreads { (row, 0) } else { (at, pitches[1]) };
        isa.run(Multiply {
            a: Source(left.at(at * pitches[0])),
            b: Source(right.at(place * pitches[1])),
            to: Target(to.at(at * pitches[2])),
            pitches: [pitches[0], pitch, pitches[2]],
            count,
            channels: c,
            accumulate,
        });
    });
    Ok(())
}

/// Writes the sum of `a * b` over each row's pixels to `out`, one pixel per row, or adds it.
///
/// # Errors
/// Where the shapes do not go together.
pub fn sum_of_products(isa: Isa, a: Map, b: Map, mut out: MapMut, accumulate: bool) -> Result<()> {
    let [n, h, w, c] = a.shape();
    if b.shape() != a.shape() || out.shape() != [n, 1, 1, c] {
        bail!("maps of shapes {:?} and {:?} do not sum up to {:?}", a.shape(), b.shape(), out.shape());
    }
    let isa = isa.checked();
    let (left, right, to) = (a.pointer(), b.pointer(), out.pointer());
    let groups = c.div_ceil(CHANNELS);
    each_task(n * groups, |task| {
        let (row, first) = (task / groups, task % groups * CHANNELS);
        isa.run(Sum {
            a: Source(left.at(row * h * w * a.pixel() + first)),
            b: Source(right.at(row * h * w * b.pixel() + first)),
            to: Target(to.at(row * out.pixel() + first)),
            pitches: [a.pixel(), b.pixel()],
            size: [h, w],
            channels: CHANNELS.min(c - first),
            accumulate,
        });
    });
    Ok(())
}

/// About how many elements a task multiplies.
const TASK: usize = 16 * 1024;
/// How many channels a task sums up.
const CHANNELS: usize = 64;

struct Multiply {
    a: Source,
    b: Source,
    to: Target,
    pitches: [usize; 3],
    count: usize,
    channels: usize,
    accumulate: bool,
}

impl Kernel for Multiply {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        for pixel in 0..self.count {
            for i in (0..self.channels).step_by(S::LANES) {
                let count = self.channels - i;
                // SAFETY: `multiply` checked the shapes; the pixels are this task's.
                unsafe {
                    let a = S::load_up_to(self.a.at(pixel * self.pitches[0] + i), count);
                    let b = S::load_up_to(self.b.at(pixel * self.pitches[1] + i), count);
                    let to = self.to.at(pixel * self.pitches[2] + i);
                    let mut value = S::mul(a, b);
                    if self.accumulate {
                        value = S::add(S::load_up_to(to, count), value);
                    }
                    S::store_up_to(to, value, count);
                }
            }
        }
    }
}

struct Sum {
    a: Source,
    b: Source,
    to: Target,
    pitches: [usize; 2],
    size: [usize; 2],
    channels: usize,
    accumulate: bool,
}

impl Kernel for Sum {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let [height, width] = self.size;
        for i in (0..self.channels).step_by(S::LANES) {
            let count = self.channels - i;
            // SAFETY: `sum_of_products` checked the shapes; the channels are this task's.
            unsafe {
                let mut total = S::splat(0.0);
                for y in 0..height {
                    // Line by line: a sum of many small numbers keeps more of its digits.
                    let mut line = S::splat(0.0);
                    for pixel in y * width..(y + 1) * width {
                        let a = S::load_up_to(self.a.at(pixel * self.pitches[0] + i), count);
                        let b = S::load_up_to(self.b.at(pixel * self.pitches[1] + i), count);
                        line = S::mul_add(a, b, line);
                    }
                    total = S::add(total, line);
                }
                let to = self.to.at(i);
                if self.accumulate {
                    total = S::add(S::load_up_to(to, count), total);
                }
                S::store_up_to(to, total, count);
            }
        }
    }
}
