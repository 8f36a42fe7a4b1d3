//! Values that lie in steps: a map turned, cut or looked at as another shape, without a copy of its own.

use super::map::{Source, Target};
use super::{Isa, each_task};
use crate::isa::Kernel;
use crate::simd::Simd;
use candle_core::{Result, bail};

/// Where the elements of a value lie: each axis has a size and a distance from one place to the next, outermost first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Strided {
    /// The first element.
    pub offset: usize,
    /// `[size, stride]` of each axis.
    pub axes: Vec<[usize; 2]>,
}

impl Strided {
    /// How many elements there are.
    pub fn count(&self) -> usize {
        self.axes.iter().map(|axis| axis[0]).product()
    }

    /// One past the last element that is reached.
    pub fn end(&self) -> usize {
        if self.count() == 0 {
            return 0;
        }
        self.offset + self.axes.iter().map(|[size, stride]| (size - 1) * stride).sum::<usize>() + 1
    }

    /// Where the element of this number lies, counted with the last axis innermost.
    pub fn place(&self, mut number: usize) -> usize {
        let mut place = self.offset;
        for [size, stride] in self.axes.iter().rev() {
            place += number % size * stride;
            number /= size;
        }
        place
    }

    /// The same with neighbouring axes joined where they follow each other, and without axes of size 1.
    pub fn joined(&self) -> Self {
        let mut axes: Vec<[usize; 2]> = Vec::new();
        for &[size, stride] in self.axes.iter().filter(|axis| axis[0] != 1) {
            match axes.last_mut() {
                Some(last) if last[1] == size * stride => *last = [last[0] * size, stride],
                _ => axes.push([size, stride]),
            }
        }
        Self { offset: self.offset, axes }
    }

    /// Whether no place is met twice, which larger strides that step over all of the smaller ones see to.
    pub(super) fn are_apart(&self) -> bool {
        let mut axes = self.axes.clone();
        axes.retain(|axis| axis[0] > 1);
        axes.sort_by_key(|axis| axis[1]);
        let mut reach = 0;
        axes.iter().all(|[size, stride]| {
            let steps_over = *stride > reach;
            reach += (size - 1) * stride;
            steps_over
        })
    }

    fn lines(&self) -> (Self, [usize; 2]) {
        let mut outer = self.joined();
        let line = outer.axes.pop().unwrap_or([1, 1]);
        (outer, line)
    }
}

/// About how many elements a task moves.
const TASK: usize = 16 * 1024;

/// Copies the elements of `from` at `places` to `to`, one after the other.
///
/// # Errors
/// Where they do not lie inside.
pub fn gather_strided(isa: Isa, from: &[f32], places: &Strided, to: &mut [f32]) -> Result<()> {
    if places.end() > from.len() || places.count() != to.len() {
        bail!("{places:?} does not give {} of {} elements", to.len(), from.len());
    }
    let (outer, [length, stride]) = places.lines();
    let (from, to) = (Source(from.as_ptr()), Target(to.as_mut_ptr()));
    each_line(isa, &outer, length, |line, place| Line {
        from: Source(from.at(place)),
        from_stride: stride,
        to: Target(to.at(line * length)),
        to_stride: 1,
        length,
        accumulate: false,
    });
    Ok(())
}

/// Copies `from` to `places` of `to`, or adds it there; elsewhere `to` stays. No place is met twice.
///
/// # Errors
/// Where they do not lie inside.
pub fn scatter_strided(isa: Isa, from: &[f32], places: &Strided, to: &mut [f32], accumulate: bool) -> Result<()> {
    if places.end() > to.len() || places.count() != from.len() || !places.are_apart() {
        bail!("{places:?} does not take {} to {} elements", from.len(), to.len());
    }
    let (outer, [length, stride]) = places.lines();
    let (from, to) = (Source(from.as_ptr()), Target(to.as_mut_ptr()));
    each_line(isa, &outer, length, |line, place| Line {
        from: Source(from.at(line * length)),
        from_stride: 1,
        to: Target(to.at(place)),
        to_stride: stride,
        length,
        accumulate,
    });
    Ok(())
}

fn each_line(isa: Isa, outer: &Strided, length: usize, line: impl Fn(usize, usize) -> Line + Sync + Send) {
    let isa = isa.checked();
    let (count, step) = (outer.count(), (TASK / length.max(1)).max(1));
    each_task(count.div_ceil(step), |task| {
        isa.run(Lines { range: task * step..((task + 1) * step).min(count), outer, line: &line });
    });
}

struct Lines<'a, F> {
    range: std::ops::Range<usize>,
    outer: &'a Strided,
    line: &'a F,
}

struct Line {
    from: Source,
    from_stride: usize,
    to: Target,
    to_stride: usize,
    length: usize,
    accumulate: bool,
}

impl<F: Fn(usize, usize) -> Line> Kernel for Lines<'_, F> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        for line in self.range {
            // SAFETY: the callers checked that lines lie inside; each is one task's.
            unsafe { (self.line)(line, self.outer.place(line)).copy::<S>() }
        }
    }
}

impl Line {
    #[inline(always)]
    unsafe fn copy<S: Simd>(self) {
        let Self { from, from_stride, to, to_stride, length, accumulate } = self;
        // SAFETY: the caller's.
        unsafe {
            if from_stride == 1 && to_stride == 1 {
                for i in (0..length).step_by(S::LANES) {
                    let mut value = S::load_up_to(from.at(i), length - i);
                    if accumulate {
                        value = S::add(S::load_up_to(to.at(i), length - i), value);
                    }
                    S::store_up_to(to.at(i), value, length - i);
                }
                return;
            }
            for i in 0..length {
                let (value, to) = (*from.at(i * from_stride), to.at(i * to_stride));
                *to = if accumulate { *to + value } else { value };
            }
        }
    }
}
