use super::Isa;
use super::map::{Buffer, RawFinish, Target};
use super::simd::Simd;

/// A matrix `(depth, columns)` as the right factor of products, repacked so that the inner loop reads it in order.
///
/// Columns are cut into panels of one to three vectors; a panel holds its columns for every depth, one depth after the
/// other, filled up with zeros.
#[derive(Clone, Debug)]
pub struct Matrix {
    isa: Isa,
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
    pub fn pack(isa: Isa, depth: usize, columns: usize, entry: impl Fn(usize, usize) -> f32) -> Self {
        let isa = isa.checked();
        let panels = panels(isa, columns, depth);
        let lanes = isa.lanes();
        let mut data = Buffer::zeros(panels.iter().map(|panel| panel.vectors * lanes * depth).sum());
        for panel in &panels {
            for k in 0..depth {
                let start = panel.offset + k * panel.vectors * lanes;
                for (i, slot) in data[start..start + panel.width].iter_mut().enumerate() {
                    *slot = entry(k, panel.column + i);
                }
            }
        }
        Self { isa, depth, columns, panels, data }
    }

    /// The instruction set it was packed for.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// The length of a column.
    pub fn depth(&self) -> usize {
        self.depth
    }

    /// How many columns it has.
    pub fn columns(&self) -> usize {
        self.columns
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

/// Up to [`Simd::ROWS`] rows of a product with one panel.
///
/// A row of the left factor may be scattered: `segments` pieces of `length` elements each, so that a convolution
/// multiplies its windows where they lie in memory.
pub(super) struct Rows<'a> {
    /// Per segment, the starts of the rows' pieces, `rows` of them.
    pub(super) starts: &'a [*const f32],
    pub(super) rows: usize,
    pub(super) segments: usize,
    pub(super) length: usize,
    /// The output pixel of each row.
    pub(super) pixels: [usize; MOST_ROWS],
    /// Where pixel 0 is, and how far apart pixels are.
    pub(super) out: Target,
    pub(super) out_pixel: usize,
    pub(super) finish: &'a RawFinish,
}

impl Rows<'_> {
    /// Multiplies with a panel whose packed data starts at `packed`, and stores at the panel's columns.
    ///
    /// # Safety
    /// [`Simd`]'s; starts are valid for `length` elements, `packed` for all depths, outputs are this task's own.
    #[inline(always)]
    pub(super) unsafe fn multiply<S: Simd>(&self, panel: &Panel, packed: *const f32) {
        // SAFETY: the caller's.
        unsafe {
            match panel.vectors {
                1 => self.with_columns::<S, 1>(panel, packed),
                2 => self.with_columns::<S, 2>(panel, packed),
                _ => self.with_columns::<S, 3>(panel, packed),
            }
        }
    }

    #[inline(always)]
    unsafe fn with_columns<S: Simd, const V: usize>(&self, panel: &Panel, packed: *const f32) {
        // SAFETY: the caller's.
        unsafe {
            // Instantiations beyond the instruction set's registers are never reached and compile to nothing.
            match self.rows {
                1 => self.tile::<S, 1, V>(panel, packed),
                2 => self.tile::<S, 2, V>(panel, packed),
                3 => self.tile::<S, 3, V>(panel, packed),
                4 => self.tile::<S, 4, V>(panel, packed),
                5 if S::ROWS > 4 => self.tile::<S, 5, V>(panel, packed),
                6 if S::ROWS > 4 => self.tile::<S, 6, V>(panel, packed),
                7 if S::ROWS > 4 => self.tile::<S, 7, V>(panel, packed),
                8 if S::ROWS > 4 => self.tile::<S, 8, V>(panel, packed),
                _ => unreachable!("a register tile has at most {} rows", S::ROWS),
            }
        }
    }

    #[inline(always)]
    unsafe fn tile<S: Simd, const R: usize, const V: usize>(&self, panel: &Panel, mut packed: *const f32) {
        // SAFETY: the caller's.
        unsafe {
            let mut sums = [[S::splat(0.0); V]; R];
            for segment in 0..self.segments {
                let starts: [*const f32; R] = *self.starts.as_ptr().add(segment * R).cast();
                for k in 0..self.length {
                    let mut right = [S::splat(0.0); V];
                    for (v, right) in right.iter_mut().enumerate() {
                        *right = S::load(packed.add(v * S::LANES));
                    }
                    packed = packed.add(V * S::LANES);
                    for r in 0..R {
                        let left = S::splat(*starts[r].add(k));
                        for v in 0..V {
                            sums[r][v] = S::mul_add(left, right[v], sums[r][v]);
                        }
                    }
                }
            }
            for r in 0..R {
                let pixel = self.pixels[r];
                let row = self.out.at(pixel * self.out_pixel);
                for v in 0..V {
                    let channel = panel.column + v * S::LANES;
                    let count = (panel.width - v * S::LANES).min(S::LANES);
                    let value = self.finish.apply::<S>(sums[r][v], pixel, channel, count);
                    S::store_up_to(row.add(channel), value, count);
                }
            }
        }
    }
}
