use super::factors::{Convert, Kept};
use super::map::{LINE, RawFinish, Source, Target};
use super::matrix::{Ahead, MOST_ROWS, Matrix, Panel, Product, TileRows};
use super::scratch::{with_scratch, with_starts};
use std::ops::Range;

/// About how many depths are multiplied at a time: a panel of so many stays in the first-level cache.
const DEPTHS: usize = 384;
/// Fewer rows than these read large weights too often.
const FEWEST_ROWS: usize = 128;
/// Weights up to this many elements may be read often: they stay in the second-level cache.
const SMALL: usize = 128 * 1024;
/// Tasks per thread: the last ones to finish do not matter.
const TASKS: usize = 16;

/// A product of rows that lie scattered in memory with a packed [`Matrix`].
pub(super) struct Gather<'a, F> {
    pub(super) matrix: &'a Matrix,
    pub(super) rows: usize,
    pub(super) segments: usize,
    /// How many numbers a segment has.
    pub(super) length: usize,
    /// `place(row, starts, step)` writes the starts of a row's segments to `starts[segment * step]` and gives the
    /// output pixel.
    pub(super) place: F,
    pub(super) out: Target,
    pub(super) out_pixel: usize,
    pub(super) finish: RawFinish,
}

/// Depths that are multiplied at a time, counted in the matrix's elements: elements `from .. from + length` of some segments.
#[derive(Clone)]
struct Block {
    segments: Range<usize>,
    from: usize,
    length: usize,
    /// The number of the first of them.
    depth: usize,
}

/// Cuts the depths of a window into blocks of about [`DEPTHS`]. What a sum is added up to in between is kept exactly.
fn blocks(segments: usize, length: usize) -> Vec<Block> {
    let mut blocks = Vec::new();
    if length > DEPTHS {
        let pieces = length.div_ceil(DEPTHS);
        let step = length.div_ceil(pieces).next_multiple_of(MOST_ROWS);
        for segment in 0..segments {
            for from in (0..length).step_by(step) {
                let length_here = step.min(length - from);
                blocks.push(Block {
                    segments: segment..segment + 1,
                    from,
                    length: length_here,
                    depth: segment * length + from,
                });
            }
        }
    } else if let Some(step) = DEPTHS.checked_div(length) {
        for first in (0..segments).step_by(step) {
            let end = (first + step).min(segments);
            blocks.push(Block { segments: first..end, from: 0, length, depth: first * length });
        }
    }
    if blocks.is_empty() {
        // A phase of a transposed convolution may have no taps; its result is finished nevertheless.
        blocks.push(Block { segments: 0..0, from: 0, length: 0, depth: 0 });
    }
    blocks
}

impl<F: Fn(usize, &mut [*const f32], usize) -> usize + Sync> Gather<'_, F> {
    /// Computes all rows, in parallel.
    ///
    /// # Safety
    /// Every start is valid for `length` elements, every output pixel belongs to one row only and is valid for the
    /// matrix's columns, and what `finish` points to has the output's shape.
    pub(super) unsafe fn run(&self) {
        let length = self.matrix.kept().elements(self.length);
        debug_assert_eq!(self.segments * length, self.matrix.depth());
        let (depth, columns) = (self.matrix.depth().max(1), self.matrix.columns());
        let tasks = TASKS * rayon::current_num_threads();
        let fewest = if depth * columns > SMALL { FEWEST_ROWS } else { MOST_ROWS };
        let chunk = self.rows.div_ceil(tasks).clamp(fewest, MOST_TASK_ROWS).next_multiple_of(MOST_ROWS);
        let chunks = self.rows.div_ceil(chunk);
        let panels = self.matrix.panels().len();
        // Columns are shared out only where there are too few rows, as the rows' addresses are computed again.
        let groups = if chunks >= tasks / 2 { 1 } else { panels.min(tasks.div_ceil(chunks.max(1))) };
        let group = panels.div_ceil(groups.max(1)).max(1);
        let groups = panels.div_ceil(group);
        let blocks = blocks(self.segments, length);
        let task = |index: usize| {
            let (chunk_index, group_index) = (index / groups, index % groups);
            let rows = chunk_index * chunk..((chunk_index + 1) * chunk).min(self.rows);
            let panels = group_index * group..((group_index + 1) * group).min(panels);
            with_starts(rows.len() * self.segments.max(1), |starts| {
                // SAFETY: the caller's.
                unsafe {
                    Task { gather: self, rows, panels: &self.matrix.panels()[panels], blocks: &blocks, starts }.run();
                };
            });
        };
        if chunks * groups <= 1 || self.rows * depth * columns < 20_000 {
            (0..chunks * groups).for_each(task);
        } else {
            super::each_task(chunks * groups, task);
        }
    }
}

/// Rows of one task, times the panels of its group.
struct Task<'a, F> {
    gather: &'a Gather<'a, F>,
    rows: Range<usize>,
    panels: &'a [Panel],
    blocks: &'a [Block],
    starts: &'a mut [*const f32],
}

/// The most rows of a task, and what they split into at most: tiles of four, and two smaller ones.
const MOST_TASK_ROWS: usize = 256;
const MOST_TILES: usize = MOST_TASK_ROWS / 4 + 2;

impl<F: Fn(usize, &mut [*const f32], usize) -> usize + Sync> Task<'_, F> {
    /// # Safety
    /// The contract of [`Gather::run`].
    unsafe fn run(self) {
        let Gather { matrix, segments, place, out, out_pixel, finish, .. } = self.gather;
        let isa = matrix.isa();
        let lanes = isa.lanes();
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
        let tiles = &tiles[..used];
        // The next tile's first row; in a 1x1 convolution, all of its rows follow.
        let next_row = tiles.get(1).map_or(std::ptr::null(), |tile| self.starts[tile.first * width]);
        let steps: Vec<(&Block, &Panel)> =
            self.blocks.iter().flat_map(|block| self.panels.iter().map(move |panel| (block, panel))).collect();
        let data = |(block, panel): (&Block, &Panel)| {
            matrix.panel_data(panel).wrapping_add(block.depth * panel.vectors * lanes)
        };
        let last = self.blocks.len() - 1;
        let first_offset = self.panels.first().map_or(0, |panel| panel.offset) / matrix.depth().max(1);
        let all_columns: usize = self.panels.iter().map(|panel| panel.vectors * lanes).sum();
        let partial = if last > 0 { self.rows.len() * all_columns } else { 0 };
        let rounds = matrix.kept() != Kept::Plain;
        let longest = self.blocks.iter().map(|block| block.segments.len() * block.length).max().unwrap_or(0);
        // Rows lie a little apart from a power of two, which would put all of them into the same cache sets.
        let rounded_row = longest.next_multiple_of(LINE) + LINE;
        let rounded = if rounds { self.rows.len() * rounded_row } else { 0 };
        let partial_length = partial.next_multiple_of(LINE);
        let columns: usize = self.panels.iter().map(|panel| panel.width).sum();
        let first_column = self.panels.first().map_or(0, |panel| panel.column);
        with_scratch(partial_length + rounded, |scratch| {
            with_starts(if rounds { self.rows.len() } else { 0 }, |rows| {
                let partial = Target(scratch.as_mut_ptr());
                let rounded = Target(partial.at(partial_length));
                for (row, start) in rows.iter_mut().enumerate() {
                    *start = rounded.at(row * rounded_row);
                }
                for (index, &(block, panel)) in steps.iter().enumerate() {
                    if rounds && index.is_multiple_of(self.panels.len()) {
                        self.round(tiles, block, rows);
                    }
                    let ahead = if index == 0 && *segments == 1 && !rounds {
                        Ahead { from: next_row, per_tile: 8 * block.length, per_depth: 8 }
                    } else if let Some(&next) = steps.get(index + 1) {
                        let per_depth = next.1.vectors * lanes / used.min(3);
                        Ahead { from: data(next), per_tile: per_depth * block.length * block.segments.len(), per_depth }
                    } else {
                        Ahead { from: std::ptr::null(), per_tile: 0, per_depth: 0 }
                    };
                    let (starts, window, from) =
                        if rounds { (&*rows, 1, 0) } else { (&*self.starts, *segments, block.from) };
                    let (segments, length) = if rounds {
                        (0..1, block.segments.len() * block.length)
                    } else {
                        (block.segments.clone(), block.length)
                    };
                    isa.run_on(
                        matrix.kept(),
                        Product {
                            starts,
                            tiles,
                            window,
                            segments,
                            from,
                            length,
                            out: *out,
                            out_pixel: *out_pixel,
                            finish,
                            panel,
                            packed: data((block, panel)),
                            first: std::ptr::eq(block, &raw const self.blocks[0]),
                            last: std::ptr::eq(block, &raw const self.blocks[last]),
                            partial: Target(
                                partial.at((panel.offset / matrix.depth().max(1) - first_offset) * self.rows.len()),
                            ),
                            ahead,
                        },
                    );
                }
            });
        });
        let pixels = tiles.iter().flat_map(|tile| &tile.pixels[..tile.count]);
        // SAFETY: the pixels and columns are this task's.
        unsafe {
            finish.activate(isa, |apply| {
                pixels.for_each(|pixel| apply(Target(out.at(pixel * out_pixel + first_column)), columns));
            });
        }
    }

    /// Copies the block's part of all rows to `rows` as the matrix keeps its factors.
    fn round(&self, tiles: &[TileRows], block: &Block, rows: &[*const f32]) {
        let Gather { matrix, segments, length, .. } = self.gather;
        let kept = matrix.kept();
        let from = block.from * kept.each();
        let mut pieces = tiles.iter().flat_map(|tile| {
            (0..tile.count).flat_map(move |r| {
                block.segments.clone().enumerate().map(move |(index, segment)| {
                    let start = self.starts[tile.first * segments + segment * tile.count + r];
                    let to = Target(rows[tile.first + r].cast_mut());
                    (Source(start.wrapping_add(from)), to, index * block.length * kept.each())
                })
            })
        });
        let length = (length - from).min(block.length * kept.each());
        matrix.isa().run_on(kept, Convert { kept, pieces: &mut pieces, length });
    }
}
