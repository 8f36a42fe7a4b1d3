use super::Isa;
use super::isa::Kernel;
use super::map::{Map, MapMut, Source, Target};
use super::simd::Simd;
use crate::{BackwardRule, Pool};
use candle_core::{Result, bail};

/// Where windows lie along one axis: `start .. end` inside the map, and what a mean divides by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Windows {
    /// First position, one past the last, and the number a mean divides by.
    ranges: Vec<(usize, usize, usize)>,
    step: usize,
}

impl Windows {
    /// The windows of `pool` along `axis` (0 is the height) of a map of `size`.
    pub fn sliding(pool: &Pool, axis: usize, size: usize) -> Result<Self> {
        let (kernel, stride, dilation) = (pool.kernel[axis], pool.stride[axis], pool.dilation[axis]);
        let (before, after) = (pool.padding[axis], pool.padding[axis + 2]);
        let padded = size + before + after;
        let reach = dilation * kernel.saturating_sub(1) + 1;
        if kernel == 0 || stride == 0 || padded < reach {
            bail!("a window of {kernel} does not fit in {size} pixels with padding {before} and {after}");
        }
        let room = padded - reach;
        let mut count = if pool.ceil { room.div_ceil(stride) } else { room / stride } + 1;
        if pool.ceil && (count - 1) * stride >= size + before {
            count -= 1;
        }
        let range = |i: usize| {
            let start = i * stride;
            // Positions `before + p` are the map's; the first tap that is inside keeps the dilation's grid.
            let skipped = before.saturating_sub(start).div_ceil(dilation.max(1)) * dilation;
            let first = (start + skipped).saturating_sub(before);
            let end = (start + reach).saturating_sub(before).min(size);
            let divisor =
                if pool.count_padding { (start + kernel).min(padded) - start } else { end.saturating_sub(first) };
            (first.min(end), end, divisor.max(1))
        };
        Ok(Self { ranges: (0..count).map(range).collect(), step: dilation.max(1) })
    }

    /// The positions of window `i`: the first, one past the last, and from one to the next.
    pub fn positions(&self, i: usize) -> (usize, usize, usize) {
        let (first, end, _) = self.ranges[i];
        (first, end, self.step)
    }

    /// `PyTorch`'s adaptive windows: `count` of them over `size` positions.
    pub fn adaptive(size: usize, count: usize) -> Self {
        let range = |i: usize| {
            let (start, end) = (i * size / count, ((i + 1) * size).div_ceil(count));
            (start, end, (end - start).max(1))
        };
        Self { ranges: (0..count).map(range).collect(), step: 1 }
    }

    /// How many windows there are.
    pub fn count(&self) -> usize {
        self.ranges.len()
    }

    /// Whether some position lies in more than one window.
    pub fn overlap(&self) -> bool {
        self.step > 1 || self.ranges.windows(2).any(|pair| pair[1].0 < pair[0].1)
    }
}

/// What passes back through a pooling, besides the pooling itself.
#[derive(Clone, Copy, Debug)]
pub struct PoolGate {
    /// The bounds of the activation in front of the pooling, and its rule: the gradient passes where the pooled value
    /// lies strictly between. Where windows overlap, a rule that looks at the gradient's sign would see parts of it.
    pub activation: Option<(f32, f32, BackwardRule)>,
    /// Adds to what is there.
    pub accumulate: bool,
}

/// The maximum per window; NaN wins.
pub fn max_pool(isa: Isa, input: Map, windows: [&Windows; 2], mut out: MapMut) -> Result<()> {
    let job = Job::new(input, out.shape(), out.pointer(), out.pixel(), windows)?;
    job.lines(isa, Operation::Maximum);
    Ok(())
}

/// The mean per window.
pub fn average_pool(isa: Isa, input: Map, windows: [&Windows; 2], mut out: MapMut) -> Result<()> {
    let job = Job::new(input, out.shape(), out.pointer(), out.pixel(), windows)?;
    job.lines(isa, Operation::Mean);
    Ok(())
}

/// Pulls the gradient of [`max_pool`] back to the first maximum of each window in scan order.
pub fn max_pool_gradient(
    isa: Isa,
    input: Map,
    gradient: Map,
    windows: [&Windows; 2],
    mut out: MapMut,
    gate: &PoolGate,
) -> Result<()> {
    if input.shape() != out.shape() {
        bail!("the gradient of an input of shape {:?} cannot have shape {:?}", input.shape(), out.shape());
    }
    let job = Job::new(input, gradient.shape(), Target(gradient.pointer().0.cast_mut()), gradient.pixel(), windows)?;
    job.vjp(isa, Operation::Maximum, &mut out, gate);
    Ok(())
}

/// Pulls the gradient of [`average_pool`] back.
pub fn average_pool_gradient(
    isa: Isa,
    gradient: Map,
    windows: [&Windows; 2],
    mut out: MapMut,
    accumulate: bool,
) -> Result<()> {
    let (shape, pixel, pointer) = (out.shape(), out.pixel(), out.pointer());
    // The mean's gradient does not look at the input: only its shape counts.
    let job = Job {
        input: Source(pointer.0.cast_const()),
        input_pixel: pixel,
        shape,
        out: Target(gradient.pointer().0.cast_mut()),
        out_pixel: gradient.pixel(),
        windows,
    };
    job.check(gradient.shape())?;
    job.vjp(isa, Operation::Mean, &mut out, &PoolGate { activation: None, accumulate });
    Ok(())
}

#[derive(Clone, Copy, PartialEq)]
enum Operation {
    Maximum,
    Mean,
}

struct Job<'a> {
    input: Source,
    input_pixel: usize,
    /// The input's.
    shape: [usize; 4],
    /// The result, or the gradient with respect to it.
    out: Target,
    out_pixel: usize,
    windows: [&'a Windows; 2],
}

impl<'a> Job<'a> {
    fn new(input: Map, result: [usize; 4], out: Target, out_pixel: usize, windows: [&'a Windows; 2]) -> Result<Self> {
        let job =
            Self { input: input.pointer(), input_pixel: input.pixel(), shape: input.shape(), out, out_pixel, windows };
        job.check(result)?;
        Ok(job)
    }

    fn check(&self, result: [usize; 4]) -> Result<()> {
        let [n, h, w, c] = self.shape;
        let [rows, columns] = self.windows;
        let fits = |windows: &Windows, size: usize| windows.ranges.iter().all(|range| range.1 <= size);
        if result != [n, rows.count(), columns.count(), c] || !fits(rows, h) || !fits(columns, w) {
            bail!("pooling {:?} does not give {result:?}", self.shape);
        }
        Ok(())
    }

    fn lines(&self, isa: Isa, operation: Operation) {
        let lines = self.shape[0] * self.windows[0].count();
        let isa = isa.checked();
        // Where there are few lines, as in a mean over whole maps, channels are shared out as well.
        let channels = self.shape[3];
        let parts = FEWEST.div_ceil(lines.max(1)).min(channels.div_ceil(CHANNELS)).max(1);
        let width = channels.div_ceil(parts).next_multiple_of(isa.lanes());
        let parts = channels.div_ceil(width.max(1));
        super::each_task(lines * parts, |index| {
            let first = index % parts * width;
            let channels = first..(first + width).min(channels);
            isa.run(Line { job: self, operation, row: index / parts, channels });
        });
    }

    fn vjp(&self, isa: Isa, operation: Operation, out: &mut MapMut, gate: &PoolGate) {
        let [n, _, _, c] = self.shape;
        let isa = isa.checked();
        // Windows of one image may overlap, so a task is some channels of one image.
        let parts = if n >= 8 { 1 } else { c.div_ceil(64).max(1) };
        let width = c.div_ceil(parts).next_multiple_of(isa.lanes());
        let parts = c.div_ceil(width.max(1));
        let (to, to_pixel) = (out.pointer(), out.pixel());
        let clear =
            self.windows.iter().any(|windows| windows.overlap()) || operation == Operation::Mean || gate.accumulate;
        super::each_task(n * parts, |index| {
            let first = index % parts * width;
            isa.run(Scatter {
                job: self,
                operation,
                image: index / parts,
                channels: first..(first + width).min(c),
                to,
                to_pixel,
                add: clear,
                zero: !gate.accumulate,
                activation: gate.activation,
            });
        });
    }
}

/// Tasks that are worth sharing out, and the fewest channels of one.
const FEWEST: usize = 16;
const CHANNELS: usize = 64;

struct Line<'a> {
    job: &'a Job<'a>,
    operation: Operation,
    row: usize,
    channels: std::ops::Range<usize>,
}

impl Kernel for Line<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Job { input, input_pixel, shape: [_, h, w, _], out, out_pixel, windows: [rows, columns] } = *self.job;
        let (image, oy) = (self.row / rows.count(), self.row % rows.count());
        let (y0, y1, divisor_y) = rows.ranges[oy];
        for (ox, &(x0, x1, divisor_x)) in columns.ranges.iter().enumerate() {
            let scale = 1.0 / (divisor_y * divisor_x) as f32;
            let pixel = (image * rows.count() + oy) * columns.count() + ox;
            let window =
                Window { from: input.at(image * h * w * input_pixel), line: w * input_pixel, pixel: input_pixel };
            let window = Sums { window, rows: (y0, y1, rows.step), columns: (x0, x1, columns.step), scale };
            let mut channel = self.channels.start;
            // SAFETY: `Job::check` saw that windows lie inside the map; each line's channels are one task's.
            unsafe {
                let to = |channel: usize| out.at(pixel * out_pixel + channel);
                while channel + 4 * S::LANES <= self.channels.end {
                    window.reduce::<S, 4>(self.operation, channel, S::LANES, to(channel));
                    channel += 4 * S::LANES;
                }
                while channel < self.channels.end {
                    window.reduce::<S, 1>(self.operation, channel, self.channels.end - channel, to(channel));
                    channel += S::LANES;
                }
            }
        }
    }
}

/// An image's pixels.
struct Window {
    from: *const f32,
    line: usize,
    pixel: usize,
}

/// One window: the first position along each axis, one past the last, and from one to the next.
struct Sums {
    window: Window,
    rows: (usize, usize, usize),
    columns: (usize, usize, usize),
    scale: f32,
}

impl Sums {
    /// Reduces `V` vectors of channels, of which only the last may hold fewer than all lanes: `count` of them.
    #[inline(always)]
    unsafe fn reduce<S: Simd, const V: usize>(&self, operation: Operation, channel: usize, count: usize, to: *mut f32) {
        let maximum = operation == Operation::Maximum;
        let ((y0, y1, down), (x0, x1, across)) = (self.rows, self.columns);
        // SAFETY: the caller's.
        unsafe {
            let mut values = [S::splat(if maximum { f32::NEG_INFINITY } else { 0.0 }); V];
            let mut y = y0;
            while y < y1 {
                let mut x = x0;
                while x < x1 {
                    let from = self.window.from.wrapping_add(y * self.window.line + x * self.window.pixel + channel);
                    for (v, value) in values.iter_mut().enumerate() {
                        let seen = S::load_up_to(from.wrapping_add(v * S::LANES), count);
                        *value = if maximum {
                            S::select_greater_or_nan(seen, *value, seen, *value)
                        } else {
                            S::add(*value, seen)
                        };
                    }
                    x += across;
                }
                y += down;
            }
            for (v, mut value) in values.into_iter().enumerate() {
                if !maximum {
                    value = S::mul(value, S::splat(self.scale));
                }
                S::store_up_to(to.wrapping_add(v * S::LANES), value, count);
            }
        }
    }
}

struct Scatter<'a> {
    job: &'a Job<'a>,
    operation: Operation,
    image: usize,
    channels: std::ops::Range<usize>,
    to: Target,
    to_pixel: usize,
    /// Whether windows add to what is there; otherwise every window writes its own pixels.
    add: bool,
    /// Whether the result starts from zeros.
    zero: bool,
    activation: Option<(f32, f32, BackwardRule)>,
}

impl Kernel for Scatter<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Job { input, input_pixel, shape: [_, h, w, _], out: gradient, out_pixel, windows: [rows, columns] } =
            *self.job;
        let image = self.image;
        if self.zero {
            // Windows without overlap may leave gaps, and the edge, uncovered.
            let pixels = image * h * w..(image + 1) * h * w;
            for pixel in pixels {
                // SAFETY: the pixel and the channels are this task's.
                unsafe {
                    self.to.at(pixel * self.to_pixel + self.channels.start).write_bytes(0, self.channels.len());
                }
            }
        }
        for (oy, &(y0, y1, divisor_y)) in rows.ranges.iter().enumerate() {
            for (ox, &(x0, x1, divisor_x)) in columns.ranges.iter().enumerate() {
                let from = ((image * rows.count() + oy) * columns.count() + ox) * out_pixel;
                let scale = 1.0 / (divisor_y * divisor_x) as f32;
                let mut channel = self.channels.start;
                while channel < self.channels.end {
                    let count = (self.channels.end - channel).min(S::LANES);
                    // SAFETY: `Job::check` saw that windows lie inside the map; the channels are this task's.
                    unsafe {
                        let mut pulled = S::load_up_to(gradient.at(from + channel), count);
                        let mut place = S::splat(0.0);
                        if self.operation == Operation::Maximum {
                            let mut best = S::splat(f32::NEG_INFINITY);
                            let mut tap = 0.0;
                            let mut y = y0;
                            while y < y1 {
                                let mut x = x0;
                                while x < x1 {
                                    let at = ((image * h + y) * w + x) * input_pixel + channel;
                                    let seen = S::load_up_to(input.at(at), count);
                                    place = S::select_greater_or_nan(seen, best, S::splat(tap), place);
                                    best = S::select_greater_or_nan(seen, best, seen, best);
                                    tap += 1.0;
                                    x += columns.step;
                                }
                                y += rows.step;
                            }
                            if let Some((low, high, rule)) = self.activation {
                                if rule != BackwardRule::Deconvnet {
                                    pulled = S::keep_where_inside(best, S::splat(low), S::splat(high), pulled);
                                }
                                if rule != BackwardRule::Plain {
                                    pulled = S::max(S::splat(0.0), pulled);
                                }
                            }
                        } else {
                            pulled = S::mul(pulled, S::splat(scale));
                        }
                        let mut tap = 0.0;
                        let mut y = y0;
                        while y < y1 {
                            let mut x = x0;
                            while x < x1 {
                                let to = self.to.at(((image * h + y) * w + x) * self.to_pixel + channel);
                                let mut value = pulled;
                                if self.operation == Operation::Maximum {
                                    value = S::keep_where_equal(place, S::splat(tap), pulled);
                                }
                                if self.add {
                                    value = S::add(S::load_up_to(to, count), value);
                                }
                                S::store_up_to(to, value, count);
                                tap += 1.0;
                                x += columns.step;
                            }
                            y += rows.step;
                        }
                    }
                    channel += S::LANES;
                }
            }
        }
    }
}
