use super::factors::{Factor, Kept, Paired, Plain, Rounded};
use super::isa::{Kernel, PairKernel};
use super::map::{Buffer, Finish, LINE, Map, MapMut, RawFinish, Source, Target};
use super::matrix::{Ahead, MOST_ROWS, Panel, Product, TileRows, panels};
use super::scratch::{with_scratch, with_starts};
use super::simd::{Pairs, Simd};
use super::winograd_transform::{Balanced, Four, MOST, Six, StridedFour, StridedTwo, Transform, Two};
use super::{Factors, Isa};
use crate::Conv;
use candle_core::{Result, bail};
use rayon::prelude::*;

/// How many outputs per axis one tile of [`Winograd`] computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tile {
    /// `F(2x2, 3x3)`: 2.25 times fewer products; the most accurate, and for tiny maps.
    Two,
    /// `F(4x4, 3x3)`: 4 times fewer.
    Four,
    /// `F(4x4, 3x3)` with other points: for factors that are rounded to `bf16`, where its error is less than half.
    FourBalanced,
    /// `F(6x6, 3x3)`: 5.06 times fewer; its rounding error is the largest.
    Six,
    /// `F(2x2, 3x3)` of stride 2: 1.44 times fewer.
    StridedTwo,
    /// `F(4x4, 3x3)` of stride 2: 1.78 times fewer.
    StridedFour,
}

/// A 3x3 convolution of stride 1 or 2 by Winograd's minimal filtering.
///
/// Blocks of tiles are transformed, multiplied frequency by frequency with the transformed weights, and transformed
/// back, all while the block is in the cache.
#[derive(Clone, Debug)]
pub struct Winograd {
    isa: Isa,
    kept: Kept,
    tile: Tile,
    channels: usize,
    outputs: usize,
    panels: Vec<Panel>,
    /// Per panel, per frequency, the panel of the `(channels, outputs)` matrix.
    data: Buffer,
}

impl Tile {
    fn outputs(self) -> usize {
        match self {
            Self::Two | Self::StridedTwo => 2,
            Self::Four | Self::FourBalanced | Self::StridedFour => 4,
            Self::Six => 6,
        }
    }

    /// How far its outputs are apart, in inputs.
    pub fn stride(self) -> usize {
        if matches!(self, Self::StridedTwo | Self::StridedFour) { 2 } else { 1 }
    }

    /// How many different transformed weights there are per axis.
    fn filters(self) -> usize {
        match self {
            Self::StridedTwo => StridedTwo::FILTERS,
            Self::StridedFour => StridedFour::FILTERS,
            _ => self.outputs() + 2,
        }
    }

    fn filter(self, g: [f64; 3]) -> [f64; MOST] {
        match self {
            Self::Two => Two::filter(g),
            Self::Four => Four::filter(g),
            Self::FourBalanced => Balanced::filter(g),
            Self::Six => Six::filter(g),
            Self::StridedTwo => StridedTwo::filter(g),
            Self::StridedFour => StridedFour::filter(g),
        }
    }
}

impl Winograd {
    /// Whether `tile` applies to weights of `shape` `[O, C / groups, kh, kw]`, with at least `fewest` channels on either
    /// side to pay for the transforms.
    pub fn suits(tile: Tile, [o, c, kh, kw]: [usize; 4], conv: &Conv, fewest: usize) -> bool {
        let Conv { stride, dilation, groups, .. } = *conv;
        [kh, kw] == [3, 3] && stride == [tile.stride(); 2] && dilation == [1, 1] && groups == 1 && c.min(o) >= fewest
    }

    /// Transforms `weight` of shape `[O, C, 3, 3]`.
    pub fn new(isa: Isa, tile: Tile, weight: &[f32], size: [usize; 2]) -> Result<Self> {
        Self::with_factors(isa, Factors::F32, tile, weight, size)
    }

    /// The same, with transformed weights and inputs that are rounded before they are multiplied.
    pub fn with_factors(isa: Isa, factors: Factors, tile: Tile, weight: &[f32], [o, c]: [usize; 2]) -> Result<Self> {
        if weight.len() != o * c * 9 {
            bail!("{} numbers are not {o} x {c} kernels of 3x3", weight.len());
        }
        Ok(Self::pack(isa, factors, tile, [o, c], |output, channel, tap| weight[(output * c + channel) * 9 + tap]))
    }

    /// The gradient with respect to the input of the convolution that [`Winograd::new`] makes of the same weights:
    /// again a convolution, with the kernels turned by half a turn and their two channel axes exchanged. Its padding is
    /// 2 minus the convolution's on every side. An error for tiles of stride 2.
    pub fn gradient(isa: Isa, tile: Tile, weight: &[f32], size: [usize; 2]) -> Result<Self> {
        Self::gradient_with_factors(isa, Factors::F32, tile, weight, size)
    }

    /// The same, with transformed weights and gradients that are rounded before they are multiplied.
    pub fn gradient_with_factors(
        isa: Isa,
        factors: Factors,
        tile: Tile,
        weight: &[f32],
        [o, c]: [usize; 2],
    ) -> Result<Self> {
        if weight.len() != o * c * 9 {
            bail!("{} numbers are not {o} x {c} kernels of 3x3", weight.len());
        }
        if tile.stride() != 1 {
            bail!("the gradient of a convolution of stride 2 is none");
        }
        Ok(Self::pack(isa, factors, tile, [c, o], |output, channel, tap| weight[(channel * c + output) * 9 + 8 - tap]))
    }

    fn pack(
        isa: Isa,
        factors: Factors,
        tile: Tile,
        [outputs, channels]: [usize; 2],
        tap: impl Fn(usize, usize, usize) -> f32 + Sync,
    ) -> Self {
        let isa = isa.checked();
        let kept = Kept::of(isa, factors);
        let elements = kept.elements(channels);
        let side = tile.filters();
        let panels = panels(isa, outputs, side * side * elements);
        let lanes = isa.lanes();
        let length = panels.iter().map(|panel| panel.vectors * lanes * side * side * elements).sum();
        let mut data = Buffer::zeros(length);
        let mut rest: &mut [f32] = &mut data;
        let mut parts = Vec::new();
        for panel in &panels {
            let (part, others) = rest.split_at_mut(panel.vectors * lanes * side * side * elements);
            parts.push((panel, part));
            rest = others;
        }
        parts.into_par_iter().for_each(|(panel, part)| {
            let width = panel.vectors * lanes;
            for channel in 0..channels {
                for column in 0..panel.width {
                    let g = |y: usize, x: usize| f64::from(tap(panel.column + column, channel, y * 3 + x));
                    let lines: [[f64; MOST]; 3] = std::array::from_fn(|x| tile.filter([g(0, x), g(1, x), g(2, x)]));
                    for y in 0..side {
                        let line = tile.filter([lines[0][y], lines[1][y], lines[2][y]]);
                        for (x, value) in line.into_iter().enumerate().take(side) {
                            let element = (y * side + x) * elements + channel / kept.each();
                            kept.put(&mut part[element * width + column], channel, value as f32);
                        }
                    }
                }
            }
        });
        Self { isa, kept, tile, channels, outputs, panels, data }
    }

    /// How many numbers the transformed weights are.
    pub fn elements(&self) -> usize {
        self.data.len()
    }

    /// How far outputs are apart, in inputs.
    pub fn stride(&self) -> usize {
        self.tile.stride()
    }

    /// The number of output channels.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Convolves `input` `[N, H, W, C]` with zeros around it into `out`; `padding` is `[top, left]`, and the output's
    /// size says how much there is on the other sides.
    pub fn run(&self, input: Map, padding: [usize; 2], mut out: MapMut, finish: &Finish) -> Result<()> {
        let ([n, h, w, c], [rows, oh, ow, o]) = (input.shape(), out.shape());
        if n != rows || c != self.channels || o != self.outputs {
            bail!("an input of shape {:?} does not go with a result of shape {:?}", input.shape(), out.shape());
        }
        let m = self.tile.outputs();
        let grid = [oh.div_ceil(m), ow.div_ceil(m)];
        let job = Job {
            weights: self,
            input: input.pointer(),
            input_size: [h, w],
            input_pixel: input.pixel(),
            padding,
            finish: finish.prepare(&mut out)?,
            out_pixel: out.pixel(),
            out: out.pointer(),
            out_size: [oh, ow],
            grid,
            tiles: n * grid[0] * grid[1],
        };
        match self.tile {
            Tile::Two => job.run::<Two>(),
            Tile::Four => job.run::<Four>(),
            Tile::FourBalanced => job.run::<Balanced>(),
            Tile::Six => job.run::<Six>(),
            Tile::StridedTwo => job.run::<StridedTwo>(),
            Tile::StridedFour => job.run::<StridedFour>(),
        }
        Ok(())
    }
}

/// The most tiles of a block.
const MOST_BLOCK: usize = 256;
/// Elements of the products that are kept before they are transformed back.
const PRODUCTS: usize = 2 * 1024 * 1024;
/// Enough tasks per thread that the last ones to finish do not matter.
const TASKS: usize = 4;

/// Tiles per block. With few channels a block's transformed inputs stay in the second-level cache; where the weights
/// are large, which are read once per block, it must not be small, and rather spills to the third-level cache.
fn tiles_per_block(frequencies: usize, channels: usize) -> usize {
    let tiles = match channels {
        0..=64 => 24 * 64 * 36 / (frequencies * channels.max(1)),
        65..=128 => 48,
        129..=256 => 64,
        _ => 96,
    };
    tiles.clamp(24, MOST_BLOCK).next_multiple_of(MOST_ROWS)
}

struct Job<'a> {
    weights: &'a Winograd,
    input: Source,
    input_size: [usize; 2],
    input_pixel: usize,
    padding: [usize; 2],
    finish: RawFinish,
    out: Target,
    out_pixel: usize,
    out_size: [usize; 2],
    /// Tiles down and across one image.
    grid: [usize; 2],
    tiles: usize,
}

impl Job<'_> {
    fn run<T: Transform>(&self) {
        let frequencies = T::INPUTS * T::INPUTS;
        let (kept, channels) = (self.weights.kept, self.weights.channels);
        let elements = kept.elements(channels);
        let lanes = self.weights.isa.lanes();
        let block = tiles_per_block(frequencies, elements).min(self.tiles.max(1));
        let blocks = self.tiles.div_ceil(block);
        let panels = &self.weights.panels;
        let widest = panels.iter().map(|panel| panel.vectors * lanes).max().unwrap_or(0);
        // Frequencies lie a little apart from a power of two, which would put all of them into the same cache sets.
        let plane = |tiles: usize, width: usize| tiles * width + 16;
        let isa = self.weights.isa;
        let group = (PRODUCTS / (frequencies * block * widest.max(1))).clamp(1, panels.len().max(1));
        let whole_block = tiles_of_rows(isa, block);
        let back = |first: usize, count: usize, from: Target, input_plane: usize, panels: &[Panel]| {
            let last_block;
            let tiles = if count == block {
                &whole_block
            } else {
                last_block = tiles_of_rows(isa, count);
                &last_block
            };
            let product_plane = plane(count, widest);
            with_scratch(frequencies * product_plane * panels.len(), |products| {
                let back = Back::<T> {
                    job: self,
                    first,
                    count,
                    panels,
                    from: Source(from.0.cast_const()),
                    plane: input_plane,
                    products: Target(products.as_mut_ptr()),
                    product_plane,
                    transform: std::marker::PhantomData,
                };
                back.multiply(tiles);
                isa.run(back);
            });
        };
        let forth = |first: usize, count: usize, to: Target, input_plane: usize| {
            let transform = std::marker::PhantomData::<T>;
            isa.run_on(kept, Forth { job: self, first, count, to, plane: input_plane, transform });
        };
        let tasks = TASKS * rayon::current_num_threads().max(2);
        if blocks >= tasks || panels.len() == 1 {
            super::each_task(blocks, |index| {
                let first = index * block;
                let count = block.min(self.tiles - first);
                let input_plane = plane(count, elements);
                with_scratch(frequencies * input_plane, |transformed| {
                    let transformed = Target(transformed.as_mut_ptr());
                    forth(first, count, transformed, input_plane);
                    for panels in panels.chunks(group) {
                        back(first, count, transformed, input_plane, panels);
                    }
                });
            });
        } else {
            // Few tiles with many channels: all are transformed first, then blocks and panels are shared out.
            let input_plane = plane(self.tiles, elements);
            let group = group.min(panels.len().div_ceil(tasks.div_ceil(blocks.max(1)))).max(1);
            with_scratch(frequencies * input_plane, |scratch| {
                let transformed = Target(scratch.as_mut_ptr());
                let step = self.tiles.div_ceil(tasks).max(1);
                super::each_task(self.tiles.div_ceil(step), |index| {
                    let first = index * step;
                    let to = Target(transformed.at(first * elements));
                    forth(first, step.min(self.tiles - first), to, input_plane);
                });
                let groups = panels.len().div_ceil(group);
                super::each_task(blocks * groups, |index| {
                    // Group by group: the weights, which are the larger part, are then read once.
                    let panels = &panels[index / blocks * group..((index / blocks + 1) * group).min(panels.len())];
                    let first = index % blocks * block;
                    let from = Target(transformed.at(first * elements));
                    back(first, block.min(self.tiles - first), from, input_plane, panels);
                });
            });
        }
    }

    /// The image, and the first row and column of a tile that are `m` apart.
    #[inline(always)]
    fn corner(&self, tile: usize, m: usize) -> [usize; 3] {
        let [down, across] = self.grid;
        [tile / (down * across), tile / across % down * m, tile % across * m]
    }
}

/// Transforms the inputs of some tiles.
struct Forth<'a, T> {
    job: &'a Job<'a>,
    first: usize,
    count: usize,
    to: Target,
    plane: usize,
    transform: std::marker::PhantomData<T>,
}

impl<T: Transform> Kernel for Forth<'_, T> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: the caller's.
        unsafe {
            if self.job.weights.kept == Kept::Plain { self.with::<S, Plain>() } else { self.with::<S, Rounded>() }
        }
    }
}

impl<T: Transform> PairKernel for Forth<'_, T> {
    #[inline(always)]
    unsafe fn run_pairs<S: Pairs>(self) {
        // SAFETY: the caller's.
        unsafe { self.with::<S, Paired>() }
    }
}

impl<T: Transform> Forth<'_, T> {
    #[inline(always)]
    unsafe fn with<S: Simd, F: Factor<S>>(self) {
        let Job { input, input_size: [h, w], input_pixel, padding: [top, left], .. } = *self.job;
        let channels = self.job.weights.channels;
        let elements = self.job.weights.kept.elements(channels);
        for tile in 0..self.count {
            let [image, y, x] = self.job.corner(self.first + tile, T::OUTPUTS * T::STRIDE);
            // Rows `from .. to` of the tile lie inside the map; the first of them is the map's row `y + from - top`.
            let inside = |start: usize, padding: usize, size: usize| {
                let from = padding.saturating_sub(start).min(T::INPUTS);
                (from, (size + padding).saturating_sub(start).clamp(from, T::INPUTS))
            };
            let ((y0, y1), (x0, x1)) = (inside(y, top, h), inside(x, left, w));
            let origin = ((image * h + y).wrapping_sub(top).wrapping_mul(w).wrapping_add(x).wrapping_sub(left))
                .wrapping_mul(input_pixel);
            let whole = y0 == 0 && x0 == 0 && y1 == T::INPUTS && x1 == T::INPUTS;
            let mut channel = 0;
            if whole {
                while channel + S::LANES <= channels {
                    // SAFETY: the tile lies inside the map; the planes hold all channels of all tiles.
                    unsafe {
                        transform_whole::<S, F, T>(
                            input.at(origin.wrapping_add(channel)),
                            [w * input_pixel, input_pixel],
                            self.to.at(tile * elements),
                            channel,
                            self.plane,
                        );
                    }
                    channel += S::LANES;
                }
            }
            while channel < channels {
                let count = (channels - channel).min(S::LANES);
                // SAFETY: only pixels inside the map are read; the planes hold all channels of all tiles.
                unsafe {
                    let mut lines = [[S::splat(0.0); MOST]; MOST];
                    for i in 0..T::INPUTS {
                        let mut column = [S::splat(0.0); MOST];
                        if i >= x0 && i < x1 {
                            for (j, value) in column.iter_mut().enumerate().take(T::INPUTS) {
                                if j >= y0 && j < y1 {
                                    let at = origin.wrapping_add((j * w + i) * input_pixel + channel);
                                    *value = S::load_up_to(input.at(at), count);
                                }
                            }
                        }
                        lines[i] = T::input::<S>(column);
                    }
                    for j in 0..T::INPUTS {
                        let mut row = [S::splat(0.0); MOST];
                        for i in 0..T::INPUTS {
                            row[i] = lines[i][j];
                        }
                        let row = T::input::<S>(row);
                        for (i, value) in row.into_iter().enumerate().take(T::INPUTS) {
                            let to = self.to.at((j * T::INPUTS + i) * self.plane + tile * elements);
                            F::store(to, channel, value, count);
                        }
                    }
                }
                channel += S::LANES;
            }
        }
    }
}

/// Transforms a vector of channels of a tile that lies inside the map, of pixels `[down, across]` apart, to the
/// channels from `channel` on of frequencies `plane` apart, and asks for the pixels that the next tile adds.
///
/// Addresses are found step by step: as sums of indices, the compiler would keep all of them on the stack.
#[inline(always)]
unsafe fn transform_whole<S: Simd, F: Factor<S>, T: Transform>(
    from: *const f32,
    [down, across]: [usize; 2],
    to: *mut f32,
    channel: usize,
    plane: usize,
) {
    // SAFETY: the caller's; the next tile's pixels are only asked for.
    unsafe {
        let mut lines = [[S::splat(0.0); MOST]; MOST];
        for i in 0..T::INPUTS {
            let from = from.wrapping_add(i * across);
            let mut column = [S::splat(0.0); MOST];
            for j in 0..T::INPUTS {
                column[j] = S::load(from.wrapping_add(j * down));
                if i < T::OUTPUTS * T::STRIDE {
                    S::prefetch(from.wrapping_add(T::INPUTS * across).wrapping_add(j * down));
                }
            }
            lines[i] = T::input::<S>(column);
        }
        for j in 0..T::INPUTS {
            let to = to.wrapping_add(j * T::INPUTS * plane);
            let mut row = [S::splat(0.0); MOST];
            for i in 0..T::INPUTS {
                row[i] = lines[i][j];
            }
            let row = T::input::<S>(row);
            for i in 0..T::INPUTS {
                F::store(to.wrapping_add(i * plane), channel, row[i], S::LANES);
            }
        }
    }
}

/// Some tiles times some panels of the weights; as a kernel, transforms the products back.
struct Back<'a, T> {
    job: &'a Job<'a>,
    first: usize,
    count: usize,
    panels: &'a [Panel],
    from: Source,
    plane: usize,
    /// Per panel, per frequency, the products of the tiles.
    products: Target,
    product_plane: usize,
    transform: std::marker::PhantomData<T>,
}

impl<T: Transform> Kernel for Back<'_, T> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        for (index, panel) in self.panels.iter().enumerate() {
            let products = Target(self.products.at(index * T::INPUTS * T::INPUTS * self.product_plane));
            // SAFETY: only pixels inside the output are written, and each belongs to one tile.
            unsafe { self.transform_back::<S>(panel, products) }
        }
    }
}

impl<T: Transform> Back<'_, T> {
    /// The products of all frequencies. A frequency's inputs are used for all panels while they are in the cache.
    fn multiply(&self, tiles: &[TileRows]) {
        let frequencies = T::INPUTS * T::INPUTS;
        let Winograd { isa, kept, channels, .. } = *self.job.weights;
        let elements = kept.elements(channels);
        let weights = &self.job.weights.data;
        let width = |panel: &Panel| panel.vectors * isa.lanes();
        let data = |frequency: usize, panel: &Panel| {
            let [j, i] = [frequency / T::INPUTS, frequency % T::INPUTS].map(|axis| axis.min(T::FILTERS - 1));
            weights[panel.offset + (j * T::FILTERS + i) * elements * width(panel)..].as_ptr()
        };
        with_starts(self.count, |starts| {
            for frequency in 0..frequencies {
                for (tile, start) in starts.iter_mut().enumerate() {
                    *start = self.from.at(frequency * self.plane + tile * elements);
                }
                for (index, panel) in self.panels.iter().enumerate() {
                    // The next panel's weights come to the cache in the course of the first three register tiles.
                    let next = match self.panels.get(index + 1) {
                        Some(next) => data(frequency, next),
                        None => data((frequency + 1) % frequencies, &self.panels[0]),
                    };
                    let plane = (index * frequencies + frequency) * self.product_plane;
                    let width = width(panel);
                    // The planes hold `count` tiles of all channels and of the panel's width.
                    isa.run_on(
                        kept,
                        Product {
                            starts,
                            tiles,
                            window: 1,
                            segments: 0..1,
                            from: 0,
                            length: elements,
                            out: Target(self.products.at(plane)),
                            out_pixel: width,
                            finish: &RawFinish::NONE,
                            // In the products, the panel's first column is column 0 and its padding is kept.
                            panel: &Panel { offset: 0, column: 0, width, vectors: panel.vectors },
                            packed: data(frequency, panel),
                            first: true,
                            last: true,
                            partial: Target(std::ptr::null_mut()),
                            ahead: Ahead { from: next, per_tile: LINE * elements, per_depth: LINE },
                        },
                    );
                }
            }
        });
    }
}

/// The register tiles of `count` rows whose output pixels are their own numbers.
fn tiles_of_rows(isa: Isa, count: usize) -> Vec<TileRows> {
    let mut tiles = Vec::with_capacity(count / 4 + 2);
    let mut first = 0;
    while first < count {
        let mut tile = TileRows::next(isa, first, count - first);
        for (r, pixel) in tile.pixels.iter_mut().enumerate() {
            *pixel = first + r;
        }
        first += tile.count;
        tiles.push(tile);
    }
    tiles
}

impl<T: Transform> Back<'_, T> {
    #[inline(always)]
    unsafe fn transform_back<S: Simd>(&self, panel: &Panel, products: Target) {
        let width = panel.vectors * S::LANES;
        let Job { out, out_pixel, out_size: [oh, ow], finish, .. } = *self.job;
        for tile in 0..self.count {
            let [image, y, x] = self.job.corner(self.first + tile, T::OUTPUTS);
            let (rows, columns) = ((oh - y).min(T::OUTPUTS), (ow - x).min(T::OUTPUTS));
            let whole = rows == T::OUTPUTS && columns == T::OUTPUTS && !finish.has_gate();
            for v in 0..panel.vectors {
                let lane = v * S::LANES;
                if whole && lane + S::LANES <= panel.width {
                    let from = products.at(tile * width + lane);
                    let pixel = (image * oh + y) * ow + x;
                    // SAFETY: the caller's.
                    unsafe { self.finish_whole::<S>(from, pixel, panel.column + lane) }
                    continue;
                }
                let count = (panel.width - lane).min(S::LANES);
                let channel = panel.column + lane;
                // SAFETY: the caller's.
                unsafe {
                    let mut lines = [[S::splat(0.0); MOST]; MOST];
                    for i in 0..T::INPUTS {
                        let mut column = [S::splat(0.0); MOST];
                        for (j, value) in column.iter_mut().enumerate().take(T::INPUTS) {
                            let plane = (j * T::INPUTS + i) * self.product_plane;
                            *value = S::load(products.at(plane + tile * width + lane));
                        }
                        lines[i] = T::output::<S>(column);
                    }
                    for j in 0..rows {
                        let mut row = [S::splat(0.0); MOST];
                        for i in 0..T::INPUTS {
                            row[i] = lines[i][j];
                        }
                        let row = T::output::<S>(row);
                        for (i, value) in row.into_iter().enumerate().take(columns) {
                            let pixel = (image * oh + y + j) * ow + x + i;
                            let value = finish.apply::<S>(value, pixel, channel, count);
                            S::store_up_to(out.at(pixel * out_pixel + channel), value, count);
                        }
                    }
                }
            }
        }
    }

    /// Transforms a vector of channels of a tile back whose outputs all exist, from pixel number `pixel` on.
    #[inline(always)]
    unsafe fn finish_whole<S: Simd>(&self, from: *const f32, pixel: usize, channel: usize) {
        let Job { out, out_pixel, out_size: [_, ow], finish, .. } = *self.job;
        // SAFETY: the caller's.
        unsafe {
            let bias = finish.bias::<S>(channel);
            let mut lines = [[S::splat(0.0); MOST]; MOST];
            for i in 0..T::INPUTS {
                let from = from.wrapping_add(i * self.product_plane);
                let mut column = [S::splat(0.0); MOST];
                for j in 0..T::INPUTS {
                    column[j] = S::load(from.wrapping_add(j * T::INPUTS * self.product_plane));
                }
                lines[i] = T::output::<S>(column);
            }
            for j in 0..T::OUTPUTS {
                let pixel = pixel + j * ow;
                let to = out.at(pixel * out_pixel + channel);
                let mut row = [S::splat(0.0); MOST];
                for i in 0..T::INPUTS {
                    row[i] = lines[i][j];
                }
                let row = T::output::<S>(row);
                for i in 0..T::OUTPUTS {
                    let value = finish.whole::<S>(S::add(row[i], bias), pixel + i, channel);
                    S::store(to.wrapping_add(i * out_pixel), value);
                }
            }
        }
    }
}
