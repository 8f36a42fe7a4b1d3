use super::isa::Kernel;
use super::map::{Finish, Map, MapMut, RawFinish, Source, Target};
use super::simd::Simd;
use super::{Isa, each_task};
use candle_core::{Result, bail};

/// Writes `input`, times `scale` per channel where given, to `out` and finishes it: copies, sums, batch
/// normalisation, activations that clamp, and their gradients.
pub fn copy(isa: Isa, input: Map, scale: Option<&[f32]>, mut out: MapMut, finish: &Finish) -> Result<()> {
    let shape = out.shape();
    if input.shape() != shape || scale.is_some_and(|scale| scale.len() != shape[3]) {
        bail!("a map of shape {:?} cannot be copied to one of shape {shape:?}", input.shape());
    }
    let job = Copy {
        input: input.pointer(),
        input_pixel: input.pixel(),
        scale: scale.map(|scale| Source(scale.as_ptr())),
        finish: finish.prepare(&mut out)?,
        out_pixel: out.pixel(),
        out: out.pointer(),
        channels: shape[3],
    };
    job.run(isa, out.pixels());
    Ok(())
}

/// Finishes what `out` holds, in place; to accumulate would double it.
pub fn finish_in_place(isa: Isa, mut out: MapMut, finish: &Finish) -> Result<()> {
    if finish.accumulate {
        bail!("finishing in place reads the result already");
    }
    let shape = out.shape();
    let job = Copy {
        input: Source(out.pointer().0.cast_const()),
        input_pixel: out.pixel(),
        scale: None,
        finish: finish.prepare(&mut out)?,
        out_pixel: out.pixel(),
        out: out.pointer(),
        channels: shape[3],
    };
    job.run(isa, out.pixels());
    Ok(())
}

/// Writes `f(x)` of every element, in parallel.
pub fn map(input: Map, mut out: MapMut, f: impl Fn(f32) -> f32 + Sync + Send) -> Result<()> {
    zip(input, input, &mut out, |x, _| f(x))
}

/// Writes `f(a, b)` of every pair of elements, in parallel.
pub fn zip_map(a: Map, b: Map, mut out: MapMut, f: impl Fn(f32, f32) -> f32 + Sync + Send) -> Result<()> {
    zip(a, b, &mut out, f)
}

fn zip(a: Map, b: Map, out: &mut MapMut, f: impl Fn(f32, f32) -> f32 + Sync + Send) -> Result<()> {
    let shape = out.shape();
    if a.shape() != shape || b.shape() != shape {
        bail!("maps of shapes {:?} and {:?} do not give {shape:?}", a.shape(), b.shape());
    }
    let (channels, pixels) = (shape[3], out.pixels());
    let (pa, pb, po, sa, sb, so) = (a.pixel(), b.pixel(), out.pixel(), a.pointer(), b.pointer(), out.pointer());
    let step = (4 * 1024 / channels.max(1)).max(1);
    each_task(pixels.div_ceil(step), |index| {
        for pixel in index * step..((index + 1) * step).min(pixels) {
            for c in 0..channels {
                // SAFETY: the shapes agree; the pixel is this task's.
                unsafe { *so.at(pixel * po + c) = f(*sa.at(pixel * pa + c), *sb.at(pixel * pb + c)) }
            }
        }
    });
    Ok(())
}

struct Copy {
    input: Source,
    input_pixel: usize,
    scale: Option<Source>,
    finish: RawFinish,
    out: Target,
    out_pixel: usize,
    channels: usize,
}

impl Copy {
    fn run(&self, isa: Isa, pixels: usize) {
        let isa = isa.checked();
        let step = (16 * 1024 / self.channels.max(1)).max(1);
        each_task(pixels.div_ceil(step), |index| {
            let (from, to) = (index * step, ((index + 1) * step).min(pixels));
            isa.run(Strip { job: self, from, to });
            // SAFETY: the pixels are this task's.
            unsafe { self.finish.activate_pixels(isa, from..to, (self.out, self.out_pixel), self.channels) };
        });
    }
}

struct Strip<'a> {
    job: &'a Copy,
    from: usize,
    to: usize,
}

impl Kernel for Strip<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Copy { input, input_pixel, scale, finish, out, out_pixel, channels } = *self.job;
        for pixel in self.from..self.to {
            let mut channel = 0;
            while channel < channels {
                let count = (channels - channel).min(S::LANES);
                // SAFETY: `copy` checked the shapes; the pixels are this task's.
                unsafe {
                    let mut value = S::load_up_to(input.at(pixel * input_pixel + channel), count);
                    if let Some(scale) = scale {
                        value = S::mul(value, S::load_up_to(scale.at(channel), count));
                    }
                    let value = finish.apply::<S>(value, pixel, channel, count);
                    S::store_up_to(out.at(pixel * out_pixel + channel), value, count);
                }
                channel += S::LANES;
            }
        }
    }
}
