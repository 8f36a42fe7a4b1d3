use super::isa::Kernel;
use super::map::{Buffer, Finish, Map, MapMut, RawFinish, Source, Target};
use super::simd::Simd;
use super::{Isa, output_size};
use crate::Conv;
use candle_core::{Result, bail};
use rayon::prelude::*;

/// A convolution of each channel with a kernel of its own, and its gradient.
#[derive(Clone, Debug)]
pub struct Depthwise {
    isa: Isa,
    conv: Conv,
    kernel: [usize; 2],
    channels: usize,
    /// `(kh * kw, C)`.
    taps: Buffer,
}

impl Depthwise {
    /// Packs `weight` of shape `[C, 1, kh, kw]`.
    pub fn new(isa: Isa, weight: &[f32], shape: [usize; 4], conv: &Conv) -> Result<Self> {
        let [c, one, kh, kw] = shape;
        if one != 1 || conv.groups != c || weight.len() != c * kh * kw || conv.stride.contains(&0) {
            bail!("weights of shape {shape:?} in {} groups are not one kernel per channel", conv.groups);
        }
        let mut taps = Buffer::zeros(c * kh * kw);
        for (i, tap) in taps.iter_mut().enumerate() {
            *tap = weight[i % c * kh * kw + i / c];
        }
        Ok(Self { isa: isa.checked(), conv: *conv, kernel: [kh, kw], channels: c, taps })
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
        let job = Job::new(self, input, &mut out, finish);
        let lines = expected[0] * expected[1];
        (0..lines).into_par_iter().with_min_len(2).for_each(|line| self.isa.run(Line { job: &job, line }));
        Ok(())
    }

    /// Pulls `gradient` of the output back into `out` of the input's shape.
    pub fn gradient(&self, gradient: Map, mut out: MapMut, finish: &Finish) -> Result<()> {
        if self.output_shape(out.shape())? != gradient.shape() {
            bail!("a gradient of shape {:?} does not go with an input of shape {:?}", gradient.shape(), out.shape());
        }
        let finish = finish.prepare(&mut out)?;
        let lines = out.shape()[0] * out.shape()[1];
        let job = Job::new(self, gradient, &mut out, finish);
        (0..lines).into_par_iter().with_min_len(2).for_each(|line| self.isa.run(GradientLine { job: &job, line }));
        Ok(())
    }
}

struct Job<'a> {
    weights: &'a Depthwise,
    input: Source,
    input_size: [usize; 2],
    input_pixel: usize,
    out: Target,
    out_size: [usize; 2],
    out_pixel: usize,
    finish: RawFinish,
}

impl<'a> Job<'a> {
    fn new(weights: &'a Depthwise, input: Map, out: &mut MapMut, finish: RawFinish) -> Self {
        let ([_, h, w, _], [_, oh, ow, _]) = (input.shape(), out.shape());
        Self {
            weights,
            input: input.pointer(),
            input_size: [h, w],
            input_pixel: input.pixel(),
            out: out.pointer(),
            out_size: [oh, ow],
            out_pixel: out.pixel(),
            finish,
        }
    }

    /// One output pixel, any kernel: the taps inside the map are added up in their order.
    #[inline(always)]
    unsafe fn pixel<S: Simd>(&self, [image, y, x]: [usize; 3], channel: usize, count: usize) {
        let Depthwise { conv, kernel: [kh, kw], channels, taps, .. } = self.weights;
        let ([h, w], [top, left, ..]) = (self.input_size, conv.padding);
        // SAFETY: the caller's; taps outside of the map are left out.
        unsafe {
            let mut sum = S::splat(0.0);
            for ky in 0..*kh {
                let iy = (y * conv.stride[0] + ky * conv.dilation[0]).wrapping_sub(top);
                if iy >= h {
                    continue;
                }
                for kx in 0..*kw {
                    let ix = (x * conv.stride[1] + kx * conv.dilation[1]).wrapping_sub(left);
                    if ix < w {
                        let from = self.input.at(((image * h + iy) * w + ix) * self.input_pixel + channel);
                        let tap = S::load_up_to(taps.as_ptr().add((ky * kw + kx) * channels + channel), count);
                        sum = S::mul_add(S::load_up_to(from, count), tap, sum);
                    }
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

    /// `P` neighbouring output pixels of a 3x3 kernel, all taps inside the map: a row's inputs are loaded once.
    /// The taps are added in the same order as in [`Job::pixel`].
    #[inline(always)]
    unsafe fn pixels<S: Simd, const P: usize, const STRIDE: usize>(
        &self,
        [image, y, x]: [usize; 3],
        taps: &[S::Vector; 9],
        channel: usize,
        count: usize,
    ) {
        let ([h, w], [top, left, ..]) = (self.input_size, self.weights.conv.padding);
        // SAFETY: the caller's.
        unsafe {
            let mut sums = [S::splat(0.0); P];
            for ky in 0..3 {
                let first = ((image * h + y * STRIDE + ky - top) * w + x * STRIDE - left) * self.input_pixel + channel;
                for i in 0..(P - 1) * STRIDE + 3 {
                    let value = S::load_up_to(self.input.at(first + i * self.input_pixel), count);
                    for (p, sum) in sums.iter_mut().enumerate() {
                        if i >= p * STRIDE && i < p * STRIDE + 3 {
                            *sum = S::mul_add(value, taps[ky * 3 + i - p * STRIDE], *sum);
                        }
                    }
                }
            }
            for (p, sum) in sums.into_iter().enumerate() {
                self.store::<S>(sum, [image, y, x + p], channel, count);
            }
        }
    }

    #[inline(always)]
    unsafe fn line_of_three<S: Simd, const STRIDE: usize>(&self, image: usize, y: usize) {
        const TOGETHER: usize = 4;
        let Depthwise { conv, channels, taps: packed, .. } = self.weights;
        let ([h, w], ow, [top, left, ..]) = (self.input_size, self.out_size[1], conv.padding);
        let rows_inside = y * STRIDE >= top && y * STRIDE + 3 <= h + top;
        // Pixels `from .. to` have all taps inside.
        let from = left.div_ceil(STRIDE).min(ow);
        let to = if rows_inside && w + left >= 3 { ((w + left - 3) / STRIDE + 1).clamp(from, ow) } else { from };
        let mut channel = 0;
        while channel < *channels {
            let count = (channels - channel).min(S::LANES);
            // SAFETY: the caller's.
            unsafe {
                let mut taps = [S::splat(0.0); 9];
                for (i, tap) in taps.iter_mut().enumerate() {
                    *tap = S::load_up_to(packed.as_ptr().add(i * channels + channel), count);
                }
                for x in (0..from).chain(to..ow) {
                    self.pixel::<S>([image, y, x], channel, count);
                }
                let mut x = from;
                if count == S::LANES {
                    // The same with a constant count, so that no load asks how long it is.
                    while x + TOGETHER <= to {
                        self.pixels::<S, TOGETHER, STRIDE>([image, y, x], &taps, channel, S::LANES);
                        x += TOGETHER;
                    }
                    while x < to {
                        self.pixels::<S, 1, STRIDE>([image, y, x], &taps, channel, S::LANES);
                        x += 1;
                    }
                }
                while x < to {
                    self.pixels::<S, 1, STRIDE>([image, y, x], &taps, channel, count);
                    x += 1;
                }
            }
            channel += S::LANES;
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
        let (job, conv) = (self.job, &self.job.weights.conv);
        let (image, y) = (self.line / job.out_size[0], self.line % job.out_size[0]);
        // SAFETY: the shapes were checked; each line is one task's.
        unsafe {
            if job.weights.kernel == [3, 3] && conv.dilation == [1, 1] && conv.stride == [1, 1] {
                return job.line_of_three::<S, 1>(image, y);
            }
            if job.weights.kernel == [3, 3] && conv.dilation == [1, 1] && conv.stride == [2, 2] {
                return job.line_of_three::<S, 2>(image, y);
            }
            for x in 0..job.out_size[1] {
                let mut channel = 0;
                while channel < job.weights.channels {
                    let count = (job.weights.channels - channel).min(S::LANES);
                    job.pixel::<S>([image, y, x], channel, count);
                    channel += S::LANES;
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
        let Depthwise { conv, kernel: [kh, kw], channels, taps, .. } = job.weights;
        let ([gh, gw], [h, w], [top, left, ..]) = (job.input_size, job.out_size, conv.padding);
        let ([sy, sx], [dy, dx]) = (conv.stride, conv.dilation);
        let (image, y) = (self.line / h, self.line % h);
        for x in 0..w {
            let mut channel = 0;
            while channel < *channels {
                let count = (channels - channel).min(S::LANES);
                // SAFETY: the shapes were checked; windows outside of the gradient are left out.
                unsafe {
                    let mut sum = S::splat(0.0);
                    for ky in 0..*kh {
                        // A window before the first wraps around and is too far as well.
                        let gy = (y + top).wrapping_sub(ky * dy);
                        if gy / sy >= gh || gy % sy != 0 {
                            continue;
                        }
                        for kx in 0..*kw {
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
                channel += S::LANES;
            }
        }
    }
}
