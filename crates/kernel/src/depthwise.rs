use super::isa::Kernel;
use super::map::{Buffer, Finish, Map, MapMut, RawFinish, Source, Target};
use super::simd::Simd;
use super::{Isa, output_size};
use crate::Conv;
use candle_core::{Result, bail};
use std::ops::Range;

/// A convolution of each channel with a kernel of its own, and its gradient.
#[derive(Clone, Debug)]
pub struct Depthwise {
    isa: Isa,
    conv: Conv,
    kernel: [usize; 2],
    channels: usize,
    /// `(kh * kw, C)`, and in the opposite order.
    taps: Buffer,
    turned: Buffer,
}

impl Depthwise {
    /// Packs `weight` of shape `[C, 1, kh, kw]`.
    pub fn new(isa: Isa, weight: &[f32], shape: [usize; 4], conv: &Conv) -> Result<Self> {
        let [c, one, kh, kw] = shape;
        if one != 1 || conv.groups != c || weight.len() != c * kh * kw || conv.stride.contains(&0) {
            bail!("weights of shape {shape:?} in {} groups are not one kernel per channel", conv.groups);
        }
        let count = kh * kw;
        let [mut taps, mut turned] = [0; 2].map(|_| Buffer::zeros(c * count));
        for (i, tap) in taps.iter_mut().enumerate() {
            *tap = weight[i % c * count + i / c];
        }
        for (i, tap) in turned.iter_mut().enumerate() {
            *tap = weight[i % c * count + (count - 1 - i / c)];
        }
        Ok(Self { isa: isa.checked(), conv: *conv, kernel: [kh, kw], channels: c, taps, turned })
    }

    /// The window's height and width, and how it moves.
    pub fn window(&self) -> ([usize; 2], &Conv) {
        (self.kernel, &self.conv)
    }

    /// The same weights for inputs that bring their margin along.
    pub fn without_padding(&self) -> Self {
        Self { conv: Conv { padding: [0; 4], ..self.conv }, ..self.clone() }
    }

    /// The output's shape for an input.
    pub fn output_shape(&self, [n, h, w, c]: [usize; 4]) -> Result<[usize; 4]> {
        if c != self.channels {
            bail!("{c} input channels where the weights have {}", self.channels);
        }
        let [h, w] = output_size([h, w], self.kernel, &self.conv)?;
        Ok([n, h, w, c])
    }

    /// Convolves `input` into `out`.
    pub fn run(&self, input: Map, mut out: MapMut, finish: &Finish) -> Result<()> {
        let expected = self.output_shape(input.shape())?;
        if out.shape() != expected {
            bail!("the result has shape {expected:?}, not {:?}", out.shape());
        }
        let finish = finish.prepare(&mut out)?;
        self.lines(&Job::new(self, input, &mut out, finish));
        Ok(())
    }

    fn lines(&self, job: &Job) {
        let lines = job.images * job.out_size[0];
        super::each_task(lines, |line| {
            self.isa.run(Line { job, line });
            let pixels = line * job.out_size[1]..(line + 1) * job.out_size[1];
            // SAFETY: each line is one task's.
            unsafe { job.finish.activate_pixels(self.isa, pixels, (job.out, job.out_pixel), job.channels) };
        });
    }

    /// Pulls `gradient` of the output back into `out` of the input's shape.
    pub fn gradient(&self, gradient: Map, mut out: MapMut, finish: &Finish) -> Result<()> {
        if self.output_shape(out.shape())? != gradient.shape() {
            bail!("a gradient of shape {:?} does not go with an input of shape {:?}", gradient.shape(), out.shape());
        }
        let finish = finish.prepare(&mut out)?;
        let lines = out.shape()[0] * out.shape()[1];
        let mut job = Job::new(self, gradient, &mut out, finish);
        if let Some(padding) = self.turned_padding() {
            // Of stride 1 it is a convolution with the turned kernel.
            (job.taps, job.conv.padding) = (&self.turned, padding);
            self.lines(&job);
        } else {
            super::each_task(lines, |line| self.isa.run(GradientLine { job: &job, line }));
        }
        Ok(())
    }

    /// The padding of the gradient's convolution, where it is one.
    fn turned_padding(&self) -> Option<[usize; 4]> {
        let Self { conv, kernel: [kh, kw], .. } = self;
        let reach = [(kh - 1) * conv.dilation[0], (kw - 1) * conv.dilation[1]];
        let fits = conv.padding.iter().enumerate().all(|(side, padding)| *padding <= reach[side % 2]);
        let turned = || std::array::from_fn(|side| reach[side % 2] - conv.padding[side]);
        (conv.stride == [1, 1] && fits).then(turned)
    }
}

struct Job<'a> {
    conv: Conv,
    kernel: [usize; 2],
    channels: usize,
    taps: &'a [f32],
    input: Source,
    input_size: [usize; 2],
    input_pixel: usize,
    images: usize,
    out: Target,
    out_size: [usize; 2],
    out_pixel: usize,
    finish: RawFinish,
}

impl<'a> Job<'a> {
    fn new(weights: &'a Depthwise, input: Map, out: &mut MapMut, finish: RawFinish) -> Self {
        let ([_, h, w, _], [images, oh, ow, _]) = (input.shape(), out.shape());
        Self {
            conv: weights.conv,
            kernel: weights.kernel,
            channels: weights.channels,
            taps: &weights.taps,
            input: input.pointer(),
            input_size: [h, w],
            input_pixel: input.pixel(),
            images,
            out: out.pointer(),
            out_size: [oh, ow],
            out_pixel: out.pixel(),
            finish,
        }
    }

    /// The taps of an output at `position` along an axis that lie inside the map.
    #[inline(always)]
    fn inside(&self, axis: usize, position: usize) -> Range<usize> {
        let Conv { stride, dilation, padding, .. } = self.conv;
        let (start, before, step) = (position * stride[axis], padding[axis], dilation[axis].max(1));
        let from = before.saturating_sub(start).div_ceil(step);
        let to = (self.input_size[axis] + before).saturating_sub(start).div_ceil(step).min(self.kernel[axis]);
        from.min(to)..to
    }

    /// One output pixel, any kernel: the taps inside the map are added up in their order.
    #[inline(always)]
    unsafe fn pixel<S: Simd>(&self, [image, y, x]: [usize; 3], channel: usize, count: usize) {
        let (Conv { stride, dilation, padding: [top, left, ..], .. }, [h, w]) = (self.conv, self.input_size);
        let columns = self.inside(1, x);
        // SAFETY: the caller's; taps outside of the map are left out.
        unsafe {
            let mut sum = S::splat(0.0);
            for ky in self.inside(0, y) {
                let iy = y * stride[0] + ky * dilation[0] - top;
                for kx in columns.clone() {
                    let ix = x * stride[1] + kx * dilation[1] - left;
                    let from = self.input.at(((image * h + iy) * w + ix) * self.input_pixel + channel);
                    let tap = self.taps.as_ptr().add((ky * self.kernel[1] + kx) * self.channels + channel);
                    sum = S::mul_add(S::load_up_to(from, count), S::load_up_to(tap, count), sum);
                }
            }
            self.store::<S>(sum, [image, y, x], channel, count);
        }
    }

    #[inline(always)]
    unsafe fn store<S: Simd>(&self, value: S::Vector, [image, y, x]: [usize; 3], channel: usize, count: usize) {
        // SAFETY: the caller's.
        unsafe {
            let pixel = (image * self.out_size[0] + y) * self.out_size[1] + x;
            let value = self.finish.apply::<S>(value, pixel, channel, count);
            S::store_up_to(self.out.at(pixel * self.out_pixel + channel), value, count);
        }
    }

    /// `P` neighbouring output pixels of a kernel of width `K`, all columns of taps inside the map, whose rows `rows` are: a
    /// row's inputs are loaded once. The taps are added in the same order as in [`Job::pixel`].
    #[inline(always)]
    unsafe fn pixels<S: Simd, const K: usize, const P: usize, const STRIDE: usize>(
        &self,
        [image, y, x]: [usize; 3],
        rows: Range<usize>,
        channel: usize,
        count: usize,
    ) {
        let ([h, w], [top, left, ..]) = (self.input_size, self.conv.padding);
        // SAFETY: the caller's.
        unsafe {
            let mut sums = [S::splat(0.0); P];
            for ky in rows {
                let mut taps = [S::splat(0.0); K];
                for (kx, tap) in taps.iter_mut().enumerate() {
                    *tap = S::load_up_to(self.taps.as_ptr().add((ky * K + kx) * self.channels + channel), count);
                }
                let first = ((image * h + y * STRIDE + ky - top) * w + x * STRIDE - left) * self.input_pixel + channel;
                for i in 0..(P - 1) * STRIDE + K {
                    let value = S::load_up_to(self.input.at(first + i * self.input_pixel), count);
                    for (p, sum) in sums.iter_mut().enumerate() {
                        if i >= p * STRIDE && i < p * STRIDE + K {
                            *sum = S::mul_add(value, taps[i - p * STRIDE], *sum);
                        }
                    }
                }
            }
            for (p, sum) in sums.into_iter().enumerate() {
                self.store::<S>(sum, [image, y, x + p], channel, count);
            }
        }
    }

    /// A line of a square kernel of side `K`.
    #[inline(always)]
    unsafe fn line_of<S: Simd, const K: usize, const STRIDE: usize>(&self, image: usize, y: usize) {
        const TOGETHER: usize = 4;
        let ([_, w], ow, left) = (self.input_size, self.out_size[1], self.conv.padding[1]);
        let rows = self.inside(0, y);
        // Pixels `from .. to` have all columns inside.
        let from = left.div_ceil(STRIDE).min(ow);
        let to = if w + left >= K { ((w + left - K) / STRIDE + 1).clamp(from, ow) } else { from };
        for channel in (0..self.channels).step_by(S::LANES) {
            let count = (self.channels - channel).min(S::LANES);
            // SAFETY: the caller's.
            unsafe {
                for x in (0..from).chain(to..ow) {
                    self.pixel::<S>([image, y, x], channel, count);
                }
                let mut x = from;
                if count == S::LANES {
                    // The same with a constant count, so that no load asks how long it is.
                    while x + TOGETHER <= to {
                        self.pixels::<S, K, TOGETHER, STRIDE>([image, y, x], rows.clone(), channel, S::LANES);
                        x += TOGETHER;
                    }
                    while x < to {
                        self.pixels::<S, K, 1, STRIDE>([image, y, x], rows.clone(), channel, S::LANES);
                        x += 1;
                    }
                }
                while x < to {
                    self.pixels::<S, K, 1, STRIDE>([image, y, x], rows.clone(), channel, count);
                    x += 1;
                }
            }
        }
    }
}

/// One row of output pixels.
struct Line<'a> {
    job: &'a Job<'a>,
    line: usize,
}

impl Kernel for Line<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let job = self.job;
        let (image, y) = (self.line / job.out_size[0], self.line % job.out_size[0]);
        // SAFETY: the shapes were checked; each line is one task's.
        unsafe {
            match (job.kernel, job.conv.stride, job.conv.dilation) {
                ([3, 3], [1, 1], [1, 1]) => return job.line_of::<S, 3, 1>(image, y),
                ([3, 3], [2, 2], [1, 1]) => return job.line_of::<S, 3, 2>(image, y),
                ([5, 5], [1, 1], [1, 1]) => return job.line_of::<S, 5, 1>(image, y),
                ([5, 5], [2, 2], [1, 1]) => return job.line_of::<S, 5, 2>(image, y),
                ([7, 7], [1, 1], [1, 1]) => return job.line_of::<S, 7, 1>(image, y),
                _ => {}
            }
            for x in 0..job.out_size[1] {
                for channel in (0..job.channels).step_by(S::LANES) {
                    job.pixel::<S>([image, y, x], channel, (job.channels - channel).min(S::LANES));
                }
            }
        }
    }
}

/// One row of the gradient with respect to the input; `Job::input` is the gradient that comes in.
struct GradientLine<'a> {
    job: &'a Job<'a>,
    line: usize,
}

impl Kernel for GradientLine<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let job = self.job;
        let Job { conv, kernel: [kh, kw], channels, taps, .. } = job;
        let ([gh, gw], [h, w], [top, left, ..]) = (job.input_size, job.out_size, conv.padding);
        let ([sy, sx], [dy, dx]) = (conv.stride, conv.dilation);
        let (image, y) = (self.line / h, self.line % h);
        // Every so many taps meet the stride; without dilation the others need not be looked at.
        let first = |position: usize, stride: usize, dilation: usize| {
            if dilation == 1 { (position % stride, stride) } else { (0, 1) }
        };
        let (first_y, step_y) = first(y + top, sy, dy);
        for x in 0..w {
            let (first_x, step_x) = first(x + left, sx, dx);
            for channel in (0..*channels).step_by(S::LANES) {
                let count = (channels - channel).min(S::LANES);
                // SAFETY: the shapes were checked; windows outside of the gradient are left out.
                unsafe {
                    let mut sum = S::splat(0.0);
                    for ky in (first_y..*kh).step_by(step_y) {
                        // A window before the first wraps around and is too far as well.
                        let gy = (y + top).wrapping_sub(ky * dy);
                        if gy / sy >= gh || gy % sy != 0 {
                            continue;
                        }
                        for kx in (first_x..*kw).step_by(step_x) {
                            let gx = (x + left).wrapping_sub(kx * dx);
                            if gx / sx < gw && gx % sx == 0 {
                                let at = ((image * gh + gy / sy) * gw + gx / sx) * job.input_pixel + channel;
                                let tap = S::load_up_to(taps.as_ptr().add((ky * kw + kx) * channels + channel), count);
                                sum = S::mul_add(S::load_up_to(job.input.at(at), count), tap, sum);
                            }
                        }
                    }
                    job.store::<S>(sum, [image, y, x], channel, count);
                }
            }
        }
    }
}
