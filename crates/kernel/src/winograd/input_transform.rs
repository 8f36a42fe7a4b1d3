use super::super::factors::{Factor, Kept, Paired, Plain, Rounded};
use super::super::isa::{Kernel, PairKernel};
use super::super::map::Target;
use super::super::simd::{Pairs, Simd};
use super::job::Job;
use super::transform::{MOST, Transform};

/// Transforms the inputs of some tiles.
pub(super) struct InputTransform<'a, T> {
    pub(super) job: &'a Job<'a>,
    pub(super) first: usize,
    pub(super) count: usize,
    pub(super) to: Target,
    pub(super) plane: usize,
    pub(super) transform: std::marker::PhantomData<T>,
}

impl<T: Transform> Kernel for InputTransform<'_, T> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: the caller's.
        unsafe {
            if self.job.weights.kept == Kept::Plain { self.with::<S, Plain>() } else { self.with::<S, Rounded>() }
        }
    }
}

impl<T: Transform> PairKernel for InputTransform<'_, T> {
    #[inline(always)]
    unsafe fn run_pairs<S: Pairs>(self) {
        // SAFETY: the caller's.
        unsafe { self.with::<S, Paired>() }
    }
}

impl<T: Transform> InputTransform<'_, T> {
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
