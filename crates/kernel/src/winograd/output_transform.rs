use super::super::isa::Kernel;
use super::super::map::{LINE, RawFinish, Source, Target};
use super::super::matrix::{Ahead, Panel, Product, TileRows};
use super::super::scratch::with_starts;
use super::super::simd::Simd;
use super::Winograd;
use super::job::Job;
use super::transform::{MOST, Transform};

/// Some tiles times some panels of the weights; as a kernel, transforms the products back.
pub(super) struct OutputTransform<'a, T> {
    pub(super) job: &'a Job<'a>,
    pub(super) first: usize,
    pub(super) count: usize,
    pub(super) panels: &'a [Panel],
    pub(super) from: Source,
    pub(super) plane: usize,
    /// Per panel, per frequency, the products of the tiles.
    pub(super) products: Target,
    pub(super) product_plane: usize,
    pub(super) transform: std::marker::PhantomData<T>,
}

impl<T: Transform> Kernel for OutputTransform<'_, T> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        for (index, panel) in self.panels.iter().enumerate() {
            let products = Target(self.products.at(index * T::INPUTS * T::INPUTS * self.product_plane));
            // SAFETY: only pixels inside the output are written, and each belongs to one tile.
            unsafe { self.transform_back::<S>(panel, products) }
        }
    }
}

impl<T: Transform> OutputTransform<'_, T> {
    /// The products of all frequencies. A frequency's inputs are used for all panels while they are in the cache.
    pub(super) fn multiply(&self, tiles: &[TileRows]) {
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

impl<T: Transform> OutputTransform<'_, T> {
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
