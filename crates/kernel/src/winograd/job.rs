use super::super::map::{RawFinish, Source, Target};
use super::super::matrix::{MOST_ROWS, Panel, TileRows};
use super::super::scratch::with_scratch;
use super::super::{Isa, each_task};
use super::Winograd;
use super::input_transform::InputTransform;
use super::output_transform::OutputTransform;
use super::transform::Transform;

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

pub(super) struct Job<'a> {
    pub(super) weights: &'a Winograd,
    pub(super) input: Source,
    pub(super) input_size: [usize; 2],
    pub(super) input_pixel: usize,
    pub(super) padding: [usize; 2],
    pub(super) finish: RawFinish,
    pub(super) out: Target,
    pub(super) out_pixel: usize,
    pub(super) out_size: [usize; 2],
    /// Tiles down and across one image.
    pub(super) grid: [usize; 2],
    pub(super) tiles: usize,
}

impl Job<'_> {
    pub(super) fn run<T: Transform>(&self) {
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
        let multiply = |first: usize, count: usize, from: Target, input_plane: usize, panels: &[Panel]| {
            let last_block;
            let tiles = if count == block {
                &whole_block
            } else {
                last_block = tiles_of_rows(isa, count);
                &last_block
            };
            let product_plane = plane(count, widest);
            with_scratch(frequencies * product_plane * panels.len(), |products| {
                let output = OutputTransform::<T> {
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
                output.multiply(tiles);
                isa.run(output);
                // SAFETY: the pixels and columns are this task's.
                unsafe { self.finish.activate(isa, |apply| self.each_pixel(T::OUTPUTS, first, count, panels, apply)) };
            });
        };
        let transform_inputs = |first: usize, count: usize, to: Target, input_plane: usize| {
            let transform = std::marker::PhantomData::<T>;
            isa.run_on(kept, InputTransform { job: self, first, count, to, plane: input_plane, transform });
        };
        let tasks = TASKS * rayon::current_num_threads().max(2);
        if blocks >= tasks || panels.len() == 1 {
            each_task(blocks, |index| {
                let first = index * block;
                let count = block.min(self.tiles - first);
                let input_plane = plane(count, elements);
                with_scratch(frequencies * input_plane, |transformed| {
                    let transformed = Target(transformed.as_mut_ptr());
                    transform_inputs(first, count, transformed, input_plane);
                    for panels in panels.chunks(group) {
                        multiply(first, count, transformed, input_plane, panels);
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
                each_task(self.tiles.div_ceil(step), |index| {
                    let first = index * step;
                    let to = Target(transformed.at(first * elements));
                    transform_inputs(first, step.min(self.tiles - first), to, input_plane);
                });
                let groups = panels.len().div_ceil(group);
                each_task(blocks * groups, |index| {
                    // Group by group: the weights, which are the larger part, are then read once.
                    let panels = &panels[index / blocks * group..((index / blocks + 1) * group).min(panels.len())];
                    let first = index % blocks * block;
                    let from = Target(transformed.at(first * elements));
                    multiply(first, block.min(self.tiles - first), from, input_plane, panels);
                });
            });
        }
    }

    /// The outputs of some tiles of side `m` and some panels, pixel by pixel.
    fn each_pixel(&self, m: usize, first: usize, count: usize, panels: &[Panel], apply: &mut dyn FnMut(Target, usize)) {
        let [height, width] = self.out_size;
        let columns = panels.iter().map(|panel| panel.width).sum();
        let first_column = panels.first().map_or(0, |panel| panel.column);
        for tile in first..first + count {
            let [image, y, x] = self.corner(tile, m);
            for (y, x) in (y..(y + m).min(height)).flat_map(|y| (x..(x + m).min(width)).map(move |x| (y, x))) {
                let pixel = (image * height + y) * width + x;
                apply(Target(self.out.at(pixel * self.out_pixel + first_column)), columns);
            }
        }
    }

    /// The image, and the first row and column of a tile that are `m` apart.
    #[inline(always)]
    pub(super) fn corner(&self, tile: usize, m: usize) -> [usize; 3] {
        let [down, across] = self.grid;
        [tile / (down * across), tile / across % down * m, tile % across * m]
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
