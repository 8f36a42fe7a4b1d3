use super::isa::Kernel;
use super::map::{RawFinish, Target};
use super::matrix::{MOST_ROWS, Matrix, Rows};
use super::scratch::with_starts;
use super::simd::Simd;
use rayon::prelude::*;
use std::ops::Range;

/// What a core's second-level cache holds besides the weights that stream through it, in elements.
const CACHE: usize = 48 * 1024;
/// Enough tasks that the last ones to finish do not matter.
const TASKS: usize = 16;

/// A product of rows that lie scattered in memory with a packed [`Matrix`].
pub(super) struct Gather<'a, F> {
    pub(super) matrix: &'a Matrix,
    pub(super) rows: usize,
    pub(super) segments: usize,
    pub(super) length: usize,
    /// `place(row, starts, step)` writes the starts of a row's segments to `starts[segment * step]` and gives the
    /// output pixel.
    pub(super) place: F,
    pub(super) out: Target,
    pub(super) out_pixel: usize,
    pub(super) finish: RawFinish,
}

impl<F: Fn(usize, &mut [*const f32], usize) -> usize + Sync> Gather<'_, F> {
    /// Computes all rows, in parallel.
    ///
    /// # Safety
    /// Every start is valid for `length` elements, every output pixel belongs to one row only and is valid for the
    /// matrix's columns, and what `finish` points to has the output's shape.
    pub(super) unsafe fn run(&self) {
        debug_assert_eq!(self.segments * self.length, self.matrix.depth());
        let depth = self.matrix.depth().max(1);
        let most = (CACHE / depth).clamp(MOST_ROWS, 256);
        let even = self.rows.div_ceil(TASKS).next_multiple_of(MOST_ROWS);
        let chunk = most.min(even).next_multiple_of(MOST_ROWS).max(MOST_ROWS);
        let chunks = self.rows.div_ceil(chunk);
        let panels = self.matrix.panels().len();
        // Columns are shared out only where there are too few rows, as the rows' addresses are computed again.
        let groups = if chunks >= TASKS { 1 } else { panels.min(TASKS.div_ceil(chunks.max(1))) };
        let group = panels.div_ceil(groups.max(1)).max(1);
        let groups = panels.div_ceil(group);
        let task = |index: usize| {
            let (chunk_index, group_index) = (index / groups, index % groups);
            let rows = chunk_index * chunk..((chunk_index + 1) * chunk).min(self.rows);
            let panels = group_index * group..((group_index + 1) * group).min(panels);
            with_starts(rows.len() * self.segments.max(1), |starts| {
                self.matrix.isa().run(Task { gather: self, rows, panels, starts });
            });
        };
        if chunks * groups <= 1 || self.rows * depth * self.matrix.columns() < 20_000 {
            (0..chunks * groups).for_each(task);
        } else {
            (0..chunks * groups).into_par_iter().for_each(task);
        }
    }
}

struct Task<'a, F> {
    gather: &'a Gather<'a, F>,
    rows: Range<usize>,
    panels: Range<usize>,
    starts: &'a mut [*const f32],
}

impl<F: Fn(usize, &mut [*const f32], usize) -> usize + Sync> Kernel for Task<'_, F> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Gather { matrix, segments, length, place, out, out_pixel, finish, .. } = self.gather;
        // A phase of a transposed convolution may have no taps.
        let width = (*segments).max(1);
        let mut pixels = [[0; MOST_ROWS]; 256 / 4];
        for (block, pixels) in self.rows.clone().step_by(S::ROWS).zip(&mut pixels) {
            let count = (self.rows.end - block).min(S::ROWS);
            for (r, pixel) in pixels.iter_mut().enumerate().take(count) {
                let table = (block - self.rows.start) * width;
                *pixel = place(block + r, &mut self.starts[table + r..table + count * width], count);
            }
        }
        for panel in &matrix.panels()[self.panels.clone()] {
            let packed = matrix.panel_data(panel);
            for (block, pixels) in self.rows.clone().step_by(S::ROWS).zip(&pixels) {
                let count = (self.rows.end - block).min(S::ROWS);
                let table = (block - self.rows.start) * width;
                let rows = Rows {
                    starts: &self.starts[table..table + count * width],
                    rows: count,
                    segments: *segments,
                    length: *length,
                    pixels: *pixels,
                    out: *out,
                    out_pixel: *out_pixel,
                    finish,
                };
                // SAFETY: the contract of `Gather::run`.
                unsafe { rows.multiply::<S>(panel, packed) };
            }
        }
    }
}
