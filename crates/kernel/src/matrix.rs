use super::factors::{Factor, Kept, Paired, Plain};
use super::isa::{Kernel, PairKernel};
use super::map::{Buffer, RawFinish, Target};
use super::simd::{Pairs, Simd};
use super::{Factors, Isa};
use rayon::prelude::*;
use std::mem::MaybeUninit;
use std::ops::Range;

/// A matrix `(depth, columns)` as the right factor of products, repacked so that the inner loop reads it in order.
///
/// Columns are cut into panels of one to three vectors; a panel holds its columns for every depth, one depth after the
/// other, filled up with zeros. An element holds one depth, or two of `bf16`.
#[derive(Clone, Debug)]
pub struct Matrix {
    isa: Isa,
    kept: Kept,
    /// The elements of a column.
    depth: usize,
    columns: usize,
    panels: Vec<Panel>,
    data: Buffer,
}

/// A strip of columns.
#[derive(Clone, Copy, Debug)]
pub(super) struct Panel {
    /// Where it starts in the data.
    pub(super) offset: usize,
    /// Its first column.
    pub(super) column: usize,
    /// How many columns it has.
    pub(super) width: usize,
    /// How many vectors hold them.
    pub(super) vectors: usize,
}

/// Cuts `columns` into panels, as many as possible of three vectors, as they use the registers best, and none of one
/// where two of two do.
pub(super) fn panels(isa: Isa, columns: usize, depth: usize) -> Vec<Panel> {
    let lanes = isa.lanes();
    let most = if isa == Isa::Portable { 2 } else { 3 };
    let mut left = columns.div_ceil(lanes);
    let mut found = Vec::new();
    let (mut offset, mut column) = (0, 0);
    while left > 0 {
        let vectors = if left == 4 { 2 } else { left.min(most) };
        let width = (vectors * lanes).min(columns - column);
        found.push(Panel { offset, column, width, vectors });
        offset += vectors * lanes * depth;
        column += width;
        left -= vectors;
    }
    found
}

impl Matrix {
    /// Packs the matrix whose entry at depth `k` and column `n` is `entry(k, n)`, for kernels of `isa`.
    pub fn pack(isa: Isa, depth: usize, columns: usize, entry: impl Fn(usize, usize) -> f32 + Sync) -> Self {
        Self::pack_segments(isa, Factors::F32, [1, depth], columns, entry)
    }

    /// The same for a depth of `[segments, length]`, with factors that are rounded. No element reaches over the end of a
    /// segment: it is filled up with zeros.
    pub(super) fn pack_segments(
        isa: Isa,
        factors: Factors,
        [segments, length]: [usize; 2],
        columns: usize,
        entry: impl Fn(usize, usize) -> f32 + Sync,
    ) -> Self {
        let isa = isa.checked();
        let kept = Kept::of(isa, factors);
        let elements = kept.elements(length);
        let depth = segments * elements;
        let panels = panels(isa, columns, depth);
        let lanes = isa.lanes();
        let mut data = Buffer::zeros(panels.iter().map(|panel| panel.vectors * lanes * depth).sum());
        let mut rest: &mut [f32] = &mut data;
        let mut parts = Vec::new();
        for panel in &panels {
            let (part, others) = rest.split_at_mut(panel.vectors * lanes * depth);
            parts.push((panel, part));
            rest = others;
        }
        parts.into_par_iter().for_each(|(panel, part)| {
            for k in 0..segments * length {
                let element = k / length * elements + k % length / kept.each();
                let row = &mut part[element * panel.vectors * lanes..][..panel.width];
                for (i, slot) in row.iter_mut().enumerate() {
                    kept.put(slot, k % length, entry(k, panel.column + i));
                }
            }
        });
        Self { isa, kept, depth, columns, panels, data }
    }

    /// The instruction set it was packed for.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// How its entries are kept.
    pub(super) fn kept(&self) -> Kept {
        self.kept
    }

    /// The elements of a column.
    pub(super) fn depth(&self) -> usize {
        self.depth
    }

    /// How many columns it has.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// How many numbers the packed weights are.
    pub fn elements(&self) -> usize {
        self.data.len()
    }

    pub(super) fn panels(&self) -> &[Panel] {
        &self.panels
    }

    pub(super) fn panel_data(&self, panel: &Panel) -> *const f32 {
        self.data[panel.offset..].as_ptr()
    }
}

/// The most rows of any register tile.
pub(super) const MOST_ROWS: usize = 8;

/// The most vectors of a panel.
const MOST_VECTORS: usize = 3;

/// The rows of one register tile.
#[derive(Clone, Copy)]
pub(super) struct TileRows {
    /// The first of them among the task's rows.
    pub(super) first: usize,
    /// How many they are, a power of two.
    pub(super) count: usize,
    /// The output pixel of each.
    pub(super) pixels: [usize; MOST_ROWS],
}

impl TileRows {
    /// Rows from `first` on, of which `left` are left: the largest power of two that fits. Fewer sizes are less code,
    /// and the rest of a map is small.
    pub(super) fn next(isa: Isa, first: usize, left: usize) -> Self {
        let most = isa.rows();
        let count = if left >= most { most } else { 1 << left.max(1).ilog2() };
        Self { first, count, pixels: [0; MOST_ROWS] }
    }
}

/// Some rows times one panel, or times some of its depths.
///
/// A row of the left factor may be scattered: `segments` pieces of `length` elements each, so that a convolution
/// multiplies its windows where they lie in memory. To run it, starts must be valid for `length` elements from `from`
/// on, `packed` for all depths, `partial` for all rows, and the output pixels be the task's own.
///
/// It is a kernel of its own, and not inlined into those that use it, to be compiled once per instruction set.
pub(super) struct Product<'a> {
    /// Tile by tile, per segment of the whole window, the starts of the rows' pieces.
    pub(super) starts: &'a [*const f32],
    pub(super) tiles: &'a [TileRows],
    /// How many segments a window has, and which of them are multiplied.
    pub(super) window: usize,
    pub(super) segments: Range<usize>,
    /// Which elements of each segment.
    pub(super) from: usize,
    pub(super) length: usize,
    /// Where pixel 0 is, and how far apart pixels are.
    pub(super) out: Target,
    pub(super) out_pixel: usize,
    pub(super) finish: &'a RawFinish,
    pub(super) panel: &'a Panel,
    /// The panel's data at the first depth.
    pub(super) packed: *const f32,
    /// Whether sums start from what earlier depths left in `partial`, and whether these depths are the last.
    pub(super) first: bool,
    pub(super) last: bool,
    /// Unfinished sums: a row of the panel's full width per row of the task.
    pub(super) partial: Target,
    pub(super) ahead: Ahead,
}

/// What is fetched into the second-level cache meanwhile: the next panel, or the next rows.
#[derive(Clone, Copy)]
pub(super) struct Ahead {
    pub(super) from: *const f32,
    /// Elements per tile and per depth.
    pub(super) per_tile: usize,
    pub(super) per_depth: usize,
}

impl Kernel for Product<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: the caller's.
        unsafe { self.with::<S, Plain>() }
    }
}

impl PairKernel for Product<'_> {
    #[inline(always)]
    unsafe fn run_pairs<S: Pairs>(self) {
        // SAFETY: the caller's.
        unsafe { self.with::<S, Paired>() }
    }
}

impl Product<'_> {
    #[inline(always)]
    unsafe fn with<S: Simd, F: Factor<S>>(self) {
        // SAFETY: the caller's.
        unsafe {
            match self.panel.vectors {
                1 => self.with_columns::<S, F, 1>(),
                2 => self.with_columns::<S, F, 2>(),
                _ => self.with_columns::<S, F, 3>(),
            }
        }
    }

    #[inline(always)]
    unsafe fn with_columns<S: Simd, F: Factor<S>, const V: usize>(&self) {
        for (index, rows) in self.tiles.iter().enumerate() {
            let ahead = self.ahead.from.wrapping_add(index * self.ahead.per_tile);
            // SAFETY: the caller's.
            unsafe {
                match rows.count {
                    1 => self.tile::<S, F, 1, V>(rows, ahead),
                    2 => self.tile::<S, F, 2, V>(rows, ahead),
                    4 => self.tile::<S, F, 4, V>(rows, ahead),
                    // Beyond the instruction set's registers this is never reached and compiles to nothing.
                    8 if S::ROWS == 8 => self.tile::<S, F, 8, V>(rows, ahead),
                    _ => unreachable!("`TileRows::next` gives no other number"),
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn tile<S: Simd, F: Factor<S>, const R: usize, const V: usize>(
        &self,
        rows: &TileRows,
        mut ahead: *const f32,
    ) {
        // SAFETY: the caller's.
        unsafe {
            let (panel, mut packed) = (self.panel, self.packed);
            // A phase of a transposed convolution may have no segments; its table keeps a place for one.
            let table = self.starts.as_ptr().add(rows.first * self.window.max(1));
            let partial = self.partial.at(rows.first * V * S::LANES);
            if self.last && self.finish.adds() {
                // It comes from far, and is asked for once the sums are there.
                for pixel in &rows.pixels[..R] {
                    for v in 0..V {
                        self.finish.fetch::<S>(*pixel, panel.column + v * S::LANES);
                    }
                }
            }
            let mut sums = [[S::splat(0.0); V]; R];
            if !self.first {
                for r in 0..R {
                    for v in 0..V {
                        sums[r][v] = S::load(partial.add((r * V + v) * S::LANES));
                    }
                }
            }
            for segment in self.segments.clone() {
                let starts: [*const f32; R] = *table.add(segment * R).cast();
                for k in self.from..self.from + self.length {
                    let mut right = [S::splat(0.0); V];
                    for (v, right) in right.iter_mut().enumerate() {
                        *right = S::load(packed.add(v * S::LANES));
                    }
                    packed = packed.add(V * S::LANES);
                    S::prefetch(ahead);
                    ahead = ahead.wrapping_add(self.ahead.per_depth);
                    for r in 0..R {
                        let left = S::splat(*starts[r].add(k));
                        for v in 0..V {
                            sums[r][v] = F::multiply_add(left, right[v], sums[r][v]);
                        }
                    }
                }
            }
            if !self.last {
                for r in 0..R {
                    for v in 0..V {
                        S::store(partial.add((r * V + v) * S::LANES), sums[r][v]);
                    }
                }
                return;
            }
            if panel.width == V * S::LANES && !self.finish.has_gate() {
                self.store_whole::<S, R, V>(rows, &sums);
                return;
            }
            // Sums that the loop below looked at by index would live in memory, and not in registers, above as well.
            let mut parked = [MaybeUninit::<S::Vector>::uninit(); MOST_ROWS * MOST_VECTORS];
            for r in 0..R {
                for v in 0..V {
                    parked[r * V + v].write(sums[r][v]);
                }
            }
            let parked: *const S::Vector = std::hint::black_box(parked.as_ptr()).cast();
            for r in 0..R {
                let pixel = rows.pixels[r];
                let row = self.out.at(pixel * self.out_pixel);
                for v in 0..V {
                    let channel = panel.column + v * S::LANES;
                    let count = (panel.width - v * S::LANES).min(S::LANES);
                    let value = self.finish.apply::<S>(*parked.add(r * V + v), pixel, channel, count);
                    S::store_up_to(row.add(channel), value, count);
                }
            }
        }
    }

    /// Finishes and stores whole vectors, from register to memory.
    #[inline(always)]
    unsafe fn store_whole<S: Simd, const R: usize, const V: usize>(&self, rows: &TileRows, sums: &[[S::Vector; V]; R]) {
        let column = self.panel.column;
        // SAFETY: the caller's.
        unsafe {
            let plain = self.finish.is_nothing();
            let mut bias = [S::splat(0.0); V];
            for (v, bias) in bias.iter_mut().enumerate() {
                *bias = self.finish.bias::<S>(column + v * S::LANES);
            }
            for r in 0..R {
                let pixel = rows.pixels[r];
                let row = self.out.at(pixel * self.out_pixel + column);
                for v in 0..V {
                    let mut value = sums[r][v];
                    if !plain {
                        value = self.finish.whole::<S>(S::add(value, bias[v]), pixel, column + v * S::LANES);
                    }
                    S::store(row.add(v * S::LANES), value);
                }
            }
        }
    }
}
