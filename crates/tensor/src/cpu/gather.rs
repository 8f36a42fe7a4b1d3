use super::map::{RawFinish, Target};
use super::matrix::{MOST_ROWS, Matrix, Product, TileRows};
use super::scratch::with_starts;
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
        let most = (CACHE / depth).clamp(MOST_ROWS, MOST_TASK_ROWS);
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
                // SAFETY: the caller's.
                unsafe { Task { gather: self, rows, panels, starts }.run() };
            });
        };
        if chunks * groups <= 1 || self.rows * depth * self.matrix.columns() < 20_000 {
            (0..chunks * groups).for_each(task);
        } else {
            (0..chunks * groups).into_par_iter().for_each(task);
        }
    }
}

/// Rows of one task, times the panels of its group.
struct Task<'a, F> {
    gather: &'a Gather<'a, F>,
    rows: Range<usize>,
    panels: Range<usize>,
    starts: &'a mut [*const f32],
}

/// The most rows of a task, and what they split into at most: tiles of four, and two smaller ones.
const MOST_TASK_ROWS: usize = 256;
const MOST_TILES: usize = MOST_TASK_ROWS / 4 + 2;

impl<F: Fn(usize, &mut [*const f32], usize) -> usize + Sync> Task<'_, F> {
    /// # Safety
    /// The contract of [`Gather::run`].
    unsafe fn run(self) {
        let Gather { matrix, segments, length, place, out, out_pixel, finish, .. } = self.gather;
        let isa = matrix.isa();
        // A phase of a transposed convolution may have no taps.
        let width = (*segments).max(1);
        let mut tiles = [TileRows::next(isa, 0, 1); MOST_TILES];
        let mut used = 0;
        let mut row = 0;
        while row < self.rows.len() {
            let mut tile = TileRows::next(isa, row, self.rows.len() - row);
            for (r, pixel) in tile.pixels.iter_mut().enumerate().take(tile.count) {
                let table = &mut self.starts[row * width + r..(row + tile.count) * width];
                *pixel = place(self.rows.start + row + r, table, tile.count);
            }
            tiles[used] = tile;
            used += 1;
            row += tile.count;
        }
        for panel in &matrix.panels()[self.panels.clone()] {
            isa.run(Product {
                starts: self.starts,
                tiles: &tiles[..used],
                segments: *segments,
                length: *length,
                out: *out,
                out_pixel: *out_pixel,
                finish,
                panel,
                packed: matrix.panel_data(panel),
            });
        }
    }
}
