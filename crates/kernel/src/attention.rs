//! Scaled dot-product attention (Vaswani et al. 2017), head by head: scores, softmax and the weighted values of some queries stay in
//! a core's cache, and no score reaches memory.
//!
//! Queries, keys and values are read where a linear layer left them ([`Strided`]).

use super::isa::Kernel;
use super::map::{LINE, RawFinish, Source, Target};
use super::matrix::{Ahead, MOST_ROWS, Panel, Product, TileRows, panels};
use super::scratch::{with_scratch, with_starts};
use super::simd::Simd;
use super::strided::Strided;
use super::transcendental::exp;
use super::{Isa, each_task};
use candle_core::{Result, bail};

/// `softmax(scale * Q K' + bias) V` of many heads.
#[derive(Clone, Copy, Debug)]
pub struct Attention<'a> {
    /// Queries: heads `…`, then queries, then features.
    pub queries: Operand<'a>,
    /// Keys: heads `…`, then keys, then features.
    pub keys: Operand<'a>,
    /// Values: heads `…`, then keys, then features of their own number.
    pub values: Operand<'a>,
    /// What the products are multiplied by.
    pub scale: f32,
    /// What is then added to them: heads `…`, then queries, then keys; strides may be 0, the keys' is 0 or 1.
    pub biases: &'a [Operand<'a>],
}

/// Numbers, and where those that count lie.
#[derive(Clone, Copy, Debug)]
pub struct Operand<'a> {
    /// The numbers.
    pub data: &'a [f32],
    /// Where they lie; the last two axes are a head's matrix.
    pub places: &'a Strided,
}

/// A head's matrix in memory.
#[derive(Clone, Copy)]
struct Matrix {
    start: Source,
    rows: usize,
    columns: usize,
    down: usize,
    across: usize,
}

impl Operand<'_> {
    /// Heads, rows and columns.
    fn size(&self) -> Result<[usize; 3]> {
        let [heads @ .., [rows, _], [columns, _]] = &self.places.axes[..] else {
            bail!("{:?} are no matrices", self.places)
        };
        if self.places.end() > self.data.len() {
            bail!("{:?} does not lie in {} elements", self.places, self.data.len());
        }
        Ok([heads.iter().map(|axis| axis[0]).product(), *rows, *columns])
    }

    fn matrix(&self, head: usize) -> Matrix {
        let axes = &self.places.axes;
        let [[rows, down], [columns, across]] = [axes[axes.len() - 2], axes[axes.len() - 1]];
        Matrix {
            start: Source(self.data.as_ptr().wrapping_add(start_of(self.places, head))),
            rows,
            columns,
            down,
            across,
        }
    }
}

/// Where a head's matrix starts.
fn start_of(places: &Strided, mut head: usize) -> usize {
    let mut place = places.offset;
    for [size, stride] in places.axes[..places.axes.len() - 2].iter().rev() {
        place += head % size * stride;
        head /= size;
    }
    place
}

impl Matrix {
    fn at(&self, row: usize, column: usize) -> *const f32 {
        self.start.at(row * self.down + column * self.across)
    }

    fn turned(self) -> Self {
        Self { rows: self.columns, columns: self.rows, down: self.across, across: self.down, ..self }
    }
}

/// A right factor `(depth, columns)`, packed as [`Product`] reads it.
struct Packed<'a> {
    panels: &'a [Panel],
    data: Source,
    depth: usize,
}

/// How many elements a packed right factor takes.
fn packed_length(panels: &[Panel], isa: Isa, depth: usize) -> usize {
    panels.iter().map(|panel| panel.vectors * isa.lanes() * depth).sum()
}

/// The columns of panels, filled up to whole vectors.
fn padded(panels: &[Panel], isa: Isa) -> usize {
    panels.iter().map(|panel| panel.vectors * isa.lanes()).sum()
}

/// Packs the rows of `matrix`, which are depths.
///
/// # Safety
/// The matrix can be read, and `to` has [`packed_length`] elements.
unsafe fn pack<'a>(isa: Isa, matrix: &Matrix, panels: &'a [Panel], to: Target) -> Packed<'a> {
    let depth = matrix.rows;
    for panel in panels {
        let width = panel.vectors * isa.lanes();
        let to = to.at(panel.offset);
        // SAFETY: the caller's.
        unsafe {
            if panel.width < width {
                to.write_bytes(0, width * depth);
            }
            if matrix.across == 1 {
                for k in 0..depth {
                    std::ptr::copy_nonoverlapping(matrix.at(k, panel.column), to.add(k * width), panel.width);
                }
            } else {
                for column in 0..panel.width {
                    for k in 0..depth {
                        *to.add(k * width + column) = *matrix.at(k, panel.column + column);
                    }
                }
            }
        }
    }
    Packed { panels, data: Source(to.0.cast_const()), depth }
}

/// Some rows times a packed factor.
struct Rows<'a> {
    isa: Isa,
    starts: &'a [*const f32],
    tiles: &'a [TileRows],
}

impl Rows<'_> {
    /// Writes the products to rows `pitch` elements apart from `out` on, panels filled up to whole vectors, or adds them.
    ///
    /// # Safety
    /// Starts are valid for the factor's depth, and `out` for all rows.
    unsafe fn times(&self, factor: &Packed, out: Target, pitch: usize, whole: bool, adds: bool) {
        let lanes = self.isa.lanes();
        let mut column = 0;
        for panel in factor.panels {
            let width = panel.vectors * lanes;
            let panel_here = if whole {
                Panel { offset: 0, column: 0, width, vectors: panel.vectors }
            } else {
                Panel { column: 0, ..*panel }
            };
            let to = Target(out.at(if whole { column } else { panel.column }));
            let finish = if adds { RawFinish::adding_to(to, pitch) } else { RawFinish::NONE };
            column += width;
            self.isa.run(Product {
                starts: self.starts,
                tiles: self.tiles,
                window: 1,
                segments: 0..1,
                from: 0,
                length: factor.depth,
                out: to,
                out_pixel: pitch,
                finish: &finish,
                panel: &panel_here,
                packed: factor.data.at(panel.offset),
                first: true,
                last: true,
                partial: Target(std::ptr::null_mut()),
                ahead: Ahead { from: std::ptr::null(), per_tile: 0, per_depth: 0 },
            });
        }
    }
}

/// The register tiles of `count` rows, each of which is a pixel of the same number.
fn tiles_of(isa: Isa, count: usize, to: &mut Vec<TileRows>) {
    to.clear();
    let mut first = 0;
    while first < count {
        let mut tile = TileRows::next(isa, first, count - first);
        for (r, pixel) in tile.pixels.iter_mut().enumerate() {
            *pixel = first + r;
        }
        first += tile.count;
        to.push(tile);
    }
}

/// About how many scores are computed at a time: they stay in the second-level cache.
const SCORES: usize = 32 * 1024;
/// Tasks per thread where a head's queries can be shared out.
const TASKS: usize = 4;
/// Fewer queries than these are not worth packing the keys for.
const FEWEST: usize = 64;

/// The sizes of a call.
#[derive(Clone, Copy)]
struct Sizes {
    heads: usize,
    queries: usize,
    keys: usize,
    features: usize,
    /// Of the values.
    results: usize,
}

impl Attention<'_> {
    fn sizes(&self) -> Result<Sizes> {
        let ([heads, queries, features], [_, keys, results]) = (self.queries.size()?, self.values.size()?);
        if self.keys.size()? != [heads, keys, features] || self.values.size()?[0] != heads {
            bail!("queries {:?}, keys {:?}, values {:?}", self.queries.size(), self.keys.size(), self.values.size());
        }
        for bias in self.biases {
            if bias.size()? != [heads, queries, keys]
                || bias.places.axes.last().is_some_and(|axis| axis[0] > 1 && axis[1] > 1)
            {
                bail!("a bias at {:?} for {heads} heads of {queries} x {keys}", bias.places);
            }
        }
        Ok(Sizes { heads, queries, keys, features, results })
    }

    /// Computes all heads, in parallel, into `places` of `out`: heads `…`, then queries, then features side by side.
    ///
    /// # Errors
    /// Where the shapes do not go together.
    pub fn run(&self, isa: Isa, out: &mut [f32], places: &Strided) -> Result<()> {
        let sizes = self.sizes()?;
        let side_by_side = places.axes.last().is_some_and(|axis| axis[1] == 1 || axis[0] <= 1);
        if (Operand { data: out, places }).size()? != [sizes.heads, sizes.queries, sizes.results]
            || !side_by_side
            || !places.are_apart()
        {
            bail!("a result at {places:?} for {} heads of {} queries", sizes.heads, sizes.queries);
        }
        if sizes.keys == 0 {
            bail!("attention without keys");
        }
        let isa = isa.checked();
        let (first, down) = (Target(out.as_mut_ptr()), places.axes[places.axes.len() - 2][1]);
        let wanted = (TASKS * rayon::current_num_threads()).div_ceil(sizes.heads.max(1));
        let parts = wanted.min(sizes.queries / FEWEST).max(1);
        let part = sizes.queries.div_ceil(parts).next_multiple_of(MOST_ROWS);
        let parts = sizes.queries.div_ceil(part.max(1));
        each_task(sizes.heads * parts, |task| {
            let (head, from) = (task / parts, task % parts * part);
            let queries = from..(from + part).min(sizes.queries);
            let to = Target(first.at(start_of(places, head)));
            // SAFETY: the shapes were checked; the queries are this task's.
            unsafe { self.head(isa, head, queries, sizes, (to, down)) };
        });
        Ok(())
    }

    /// Some queries of one head, to rows `to.1` apart.
    unsafe fn head(&self, isa: Isa, head: usize, queries: std::ops::Range<usize>, sizes: Sizes, to: (Target, usize)) {
        let (key_panels, value_panels) =
            (panels(isa, sizes.keys, sizes.features), panels(isa, sizes.results, sizes.keys));
        let pitch = padded(&key_panels, isa) + LINE;
        let block = block_of(pitch, queries.len());
        let of_keys = packed_length(&key_panels, isa, sizes.features).next_multiple_of(LINE);
        let of_values = packed_length(&value_panels, isa, sizes.keys).next_multiple_of(LINE);
        let (q, k, v) = (self.queries.matrix(head), self.keys.matrix(head), self.values.matrix(head));
        let copied = if q.across == 1 { 0 } else { block * sizes.features };
        with_scratch(of_keys + of_values + block * (pitch + 1) + copied, |scratch| {
            with_starts(block, |starts| {
                let scratch = Target(scratch.as_mut_ptr());
                let (scores, copy) =
                    (Target(scratch.at(of_keys + of_values)), of_keys + of_values + block * (pitch + 1));
                let sums = Target(scores.at(block * pitch));
                // SAFETY: the caller's; scratch has room for all.
                unsafe {
                    let keys = pack(isa, &k.turned(), &key_panels, scratch);
                    let values = pack(isa, &v, &value_panels, Target(scratch.at(of_keys)));
                    let mut tiles = Vec::new();
                    for from in queries.clone().step_by(block) {
                        let count = block.min(queries.end - from);
                        tiles_of(isa, count, &mut tiles);
                        left_rows(&q, from, &mut starts[..count], Target(scratch.at(copy)));
                        Rows { isa, starts, tiles: &tiles }.times(&keys, scores, pitch, true, false);
                        self.softmax(isa, (head, from), [count, sizes.keys], (scores, pitch), sums);
                        each_row(starts, count, scores, pitch);
                        let out = Target(to.0.at(from * to.1));
                        Rows { isa, starts, tiles: &tiles }.times(&values, out, to.1, false, false);
                        isa.run(Scale {
                            rows: out,
                            pitch: to.1,
                            by: Source(sums.0.cast_const()),
                            count,
                            columns: sizes.results,
                        });
                    }
                }
            });
        });
    }

    /// Pulls `gradient` of the result back: to queries, keys and values, one after the other in `out`, each `(heads, rows, features)`.
    ///
    /// # Errors
    /// Where the shapes do not go together.
    pub fn gradient(&self, isa: Isa, gradient: Operand, out: [&mut [f32]; 3]) -> Result<()> {
        let sizes = self.sizes()?;
        let Sizes { heads, queries, keys, features, results } = sizes;
        let lengths = [queries * features, keys * features, keys * results];
        let fits = out.iter().zip(lengths).all(|(out, length)| out.len() == heads * length);
        if gradient.size()? != [heads, queries, results] || !fits || keys == 0 {
            bail!("a gradient of {:?} for {heads} heads of {queries} queries", gradient.size());
        }
        let isa = isa.checked();
        let out = out.map(|out| Target(out.as_mut_ptr()));
        each_task(heads, |head| {
            let out = std::array::from_fn(|part| Target(out[part].at(head * lengths[part])));
            // SAFETY: the shapes were checked; the head is this task's.
            unsafe { self.head_back(isa, head, sizes, gradient.matrix(head), out) };
        });
        Ok(())
    }

    unsafe fn head_back(&self, isa: Isa, head: usize, sizes: Sizes, gradient: Matrix, out: [Target; 3]) {
        let Sizes { queries, keys, features, results, .. } = sizes;
        let (q, k, v) = (self.queries.matrix(head), self.keys.matrix(head), self.values.matrix(head));
        let of_scores = panels(isa, keys, features);
        let of_slopes = panels(isa, keys, results);
        let of_queries = panels(isa, features, keys);
        let pitch = padded(&of_scores, isa) + LINE;
        let block = block_of(pitch, queries);
        // Both of the packed factors that each block brings have its queries as depths.
        let (block_queries, block_results) = (panels(isa, features, block), panels(isa, results, block));
        let mut length = 0;
        let mut piece = |elements: usize| {
            let from = length;
            length += elements.next_multiple_of(LINE);
            from
        };
        let pieces = [
            packed_length(&of_scores, isa, features),
            packed_length(&of_slopes, isa, results),
            packed_length(&of_queries, isa, keys),
            packed_length(&block_queries, isa, block),
            packed_length(&block_results, isa, block),
            block * pitch,
            block * pitch,
            keys * (block + LINE),
            block,
            block * features.max(results),
        ]
        .map(&mut piece);
        with_scratch(length, |scratch| {
            with_starts(block.max(keys), |starts| {
                let base = Target(scratch.as_mut_ptr());
                let [a, b, c, d, e, scores, slopes, turned, sums, copy] = pieces.map(|from| Target(base.at(from)));
                // SAFETY: the caller's; scratch has room for all.
                unsafe {
                    let by_keys = pack(isa, &k.turned(), &of_scores, a);
                    let by_values = pack(isa, &v.turned(), &of_slopes, b);
                    let to_queries = pack(isa, &k, &of_queries, c);
                    out[1].0.write_bytes(0, keys * features);
                    out[2].0.write_bytes(0, keys * results);
                    let (mut tiles, mut key_tiles) = (Vec::new(), Vec::new());
                    tiles_of(isa, keys, &mut key_tiles);
                    for from in (0..queries).step_by(block) {
                        let count = block.min(queries - from);
                        tiles_of(isa, count, &mut tiles);
                        left_rows(&q, from, &mut starts[..count], copy);
                        Rows { isa, starts, tiles: &tiles }.times(&by_keys, scores, pitch, true, false);
                        self.softmax(isa, (head, from), [count, keys], (scores, pitch), sums);
                        let by = Source(sums.0.cast_const());
                        isa.run(Scale { rows: scores, pitch, by, count, columns: keys });
                        left_rows(&gradient, from, &mut starts[..count], copy);
                        Rows { isa, starts, tiles: &tiles }.times(&by_values, slopes, pitch, true, false);
                        isa.run(Slopes {
                            weights: scores,
                            gradients: slopes,
                            pitch,
                            count,
                            columns: keys,
                            scale: self.scale,
                        });
                        each_row(starts, count, slopes, pitch);
                        let to = Target(out[0].at(from * features));
                        Rows { isa, starts, tiles: &tiles }.times(&to_queries, to, features, false, false);
                        // Keys and values gather what each block contributes.
                        let part =
                            |matrix: &Matrix| Matrix { start: Source(matrix.at(from, 0)), rows: count, ..*matrix };
                        let block_of_queries = panels(isa, features, count);
                        let block_of_results = panels(isa, results, count);
                        let parts = [
                            (slopes, pack(isa, &part(&q), &block_of_queries, d), out[1], features),
                            (scores, pack(isa, &part(&gradient), &block_of_results, e), out[2], results),
                        ];
                        for (left, right, to, pitch_out) in parts {
                            turn((left, pitch), [count, keys], (turned, block + LINE));
                            each_row(starts, keys, turned, block + LINE);
                            Rows { isa, starts, tiles: &key_tiles }.times(&right, to, pitch_out, false, true);
                        }
                    }
                }
            });
        });
    }

    /// Makes scores exponentials, and puts one over their sums to `sums`.
    unsafe fn softmax(
        &self,
        isa: Isa,
        (head, from): (usize, usize),
        [count, columns]: [usize; 2],
        (rows, pitch): (Target, usize),
        sums: Target,
    ) {
        let biases: Vec<Matrix> = self.biases.iter().map(|bias| bias.matrix(head)).collect();
        isa.run(Softmax { rows, pitch, from, count, columns, scale: self.scale, biases: &biases, sums });
    }
}

/// How many queries' scores are computed at a time.
fn block_of(pitch: usize, queries: usize) -> usize {
    let most = queries.next_multiple_of(MOST_ROWS).max(MOST_ROWS);
    (SCORES / pitch).clamp(MOST_ROWS, 256).next_multiple_of(MOST_ROWS).min(most)
}

/// Where the rows of a left factor start: where they lie, or in a copy where their elements lie apart.
///
/// # Safety
/// The rows can be read, and `copy` has room for them.
unsafe fn left_rows(matrix: &Matrix, from: usize, starts: &mut [*const f32], copy: Target) {
    for (row, start) in starts.iter_mut().enumerate() {
        *start = matrix.at(from + row, 0);
        if matrix.across != 1 && matrix.columns > 1 {
            let to = copy.at(row * matrix.columns);
            for column in 0..matrix.columns {
                // SAFETY: the caller's.
                unsafe { *to.add(column) = *matrix.at(from + row, column) };
            }
            *start = to;
        }
    }
}

struct Softmax<'a> {
    rows: Target,
    pitch: usize,
    /// The first row's number in the biases.
    from: usize,
    count: usize,
    columns: usize,
    scale: f32,
    biases: &'a [Matrix],
    sums: Target,
}

impl Kernel for Softmax<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        for row in 0..self.count {
            // SAFETY: the caller's: rows are filled up to whole vectors.
            unsafe {
                let start = self.rows.at(row * self.pitch);
                let scale = S::splat(self.scale);
                let mut most = S::splat(f32::NEG_INFINITY);
                for i in (0..self.columns).step_by(S::LANES) {
                    let count = self.columns - i;
                    let mut value = S::mul(S::load(start.add(i)), scale);
                    for bias in self.biases {
                        let at = bias.at(self.from + row, i);
                        value = S::add(value, if bias.across == 0 { S::splat(*at) } else { S::load_up_to(at, count) });
                    }
                    if count < S::LANES {
                        value = behind::<S>(value, count);
                    }
                    S::store(start.add(i), value);
                    most = S::max(most, value);
                }
                let most = S::splat(greatest::<S>(most));
                let mut sum = S::splat(0.0);
                for i in (0..self.columns).step_by(S::LANES) {
                    let value = exp::<S>(S::sub(S::load(start.add(i)), most));
                    S::store(start.add(i), value);
                    sum = S::add(sum, value);
                }
                *self.sums.at(row) = 1.0 / S::sum(sum);
            }
        }
    }
}

/// Minus infinity behind the first `count` lanes.
#[inline(always)]
unsafe fn behind<S: Simd>(value: S::Vector, count: usize) -> S::Vector {
    let mut lanes = [f32::NEG_INFINITY; 16];
    // SAFETY: the caller's; there is room for every vector.
    unsafe {
        S::store_partial(lanes.as_mut_ptr(), value, count);
        S::load(lanes.as_ptr())
    }
}

#[inline(always)]
unsafe fn greatest<S: Simd>(value: S::Vector) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; 16];
    // SAFETY: the caller's; there is room for every vector.
    unsafe { S::store(lanes.as_mut_ptr(), value) };
    lanes[..S::LANES].iter().fold(f32::NEG_INFINITY, |most, &lane| if lane > most { lane } else { most })
}

/// The starts of `count` rows `pitch` elements apart.
fn each_row(starts: &mut [*const f32], count: usize, rows: Target, pitch: usize) {
    for (row, start) in starts[..count].iter_mut().enumerate() {
        *start = rows.at(row * pitch);
    }
}

/// Writes rows as columns.
///
/// # Safety
/// Both can be accessed.
unsafe fn turn((from, pitch): (Target, usize), [rows, columns]: [usize; 2], (to, to_pitch): (Target, usize)) {
    /// A cache line's columns at a time.
    const SIDE: usize = 16;
    for first in (0..columns).step_by(SIDE) {
        for row in 0..rows {
            for column in first..(first + SIDE).min(columns) {
                // SAFETY: the caller's.
                unsafe { *to.at(column * to_pitch + row) = *from.at(row * pitch + column) };
            }
        }
    }
}

/// Makes gradients of weights those of scores before they were scaled: `p (g - sum p g) scale`.
struct Slopes {
    weights: Target,
    gradients: Target,
    pitch: usize,
    count: usize,
    columns: usize,
    scale: f32,
}

impl Kernel for Slopes {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        for row in 0..self.count {
            let (weights, slopes) = (self.weights.at(row * self.pitch), self.gradients.at(row * self.pitch));
            // SAFETY: the caller's.
            unsafe {
                let mut sum = S::splat(0.0);
                for i in (0..self.columns).step_by(S::LANES) {
                    let count = self.columns - i;
                    let weight = S::load_up_to(weights.add(i), count);
                    sum = S::mul_add(weight, S::load_up_to(slopes.add(i), count), sum);
                }
                let mean = S::splat(S::sum(sum));
                for i in (0..self.columns).step_by(S::LANES) {
                    let (at, count) = (slopes.add(i), self.columns - i);
                    let weight = S::mul(S::load_up_to(weights.add(i), count), S::splat(self.scale));
                    S::store_up_to(at, S::mul(weight, S::sub(S::load_up_to(at, count), mean)), count);
                }
            }
        }
    }
}

/// Multiplies rows by a number each.
struct Scale {
    rows: Target,
    pitch: usize,
    by: Source,
    count: usize,
    columns: usize,
}

impl Kernel for Scale {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        for row in 0..self.count {
            let start = self.rows.at(row * self.pitch);
            for i in (0..self.columns).step_by(S::LANES) {
                let (at, count) = (start.wrapping_add(i), self.columns - i);
                // SAFETY: the caller's.
                unsafe { S::store_up_to(at, S::mul(S::load_up_to(at, count), S::splat(*self.by.at(row))), count) }
            }
        }
    }
}
