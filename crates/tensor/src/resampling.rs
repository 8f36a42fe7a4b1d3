use crate::separable::{self, LinearMap};
use candle_core::{Result, Tensor, bail};

/// Which value an output pixel takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Interpolation {
    /// The nearest pixel, rounding half down (`ONNX`'s `round_prefer_floor`).
    Nearest,
    /// The nearest pixel, rounding half up (`ONNX`'s `round_prefer_ceil`).
    NearestHalfUp,
    /// The nearest pixel, rounding down: `PyTorch`'s `nearest`.
    NearestFloor,
    /// The nearest pixel, rounding up.
    NearestCeil,
    /// Bilinear.
    Linear,
    /// Bicubic (Catmull-Rom family, `a = -0.75`, as `PyTorch`).
    Cubic,
    /// Bicubic with `a = -0.5`, as `TensorFlow`.
    CatmullRom,
}

/// How an output coordinate maps to the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CoordinateRule {
    /// `(x + 0.5) / scale - 0.5`: `align_corners = False`.
    HalfPixel,
    /// `x * (in - 1) / (out - 1)`.
    AlignCorners,
    /// `x / scale`.
    Asymmetric,
    /// As [`HalfPixel`](Self::HalfPixel), but 0 where the result has one pixel: `ONNX`'s `pytorch_half_pixel`.
    HalfPixelOrFirst,
    /// As [`HalfPixel`](Self::HalfPixel), with the centres of both images on each other also where the size is rounded.
    HalfPixelSymmetric,
    /// `(x + 0.5) / scale`: `TensorFlow`'s nearest neighbour.
    HalfPixelForNearest,
}

/// A resize's rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Resize {
    /// Which value an output pixel takes.
    pub interpolation: Interpolation,
    /// How an output coordinate maps to the input.
    pub coordinates: CoordinateRule,
    /// Whether taps beyond the edge count nothing (the others are scaled to sum 1) instead of repeating the edge.
    pub exclude_outside: bool,
}

impl Default for Resize {
    fn default() -> Self {
        Self { interpolation: Interpolation::Linear, coordinates: CoordinateRule::HalfPixel, exclude_outside: false }
    }
}

/// Resizes `(N, C, H, W)` to `size` `[height, width]`; no antialiasing.
///
/// `PyTorch`'s `interpolate` is [`Interpolation::Linear`] or [`Interpolation::Cubic`] with
/// [`CoordinateRule::HalfPixel`], and [`Interpolation::NearestFloor`] with [`CoordinateRule::Asymmetric`]; beyond the
/// edge the edge is repeated.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use faithful_tensor::{Resize, resize2d};
/// # fn main() -> candle_core::Result<()> {
/// let x = Tensor::new(&[[[[0f32, 4.]]]], &Device::Cpu)?;
/// let y = resize2d(&x, [1, 4], &Resize::default())?;
/// assert_eq!(y.flatten_all()?.to_vec1::<f32>()?, [0., 1., 3., 4.]);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// Where `x` is not `(N, C, H, W)` with pixels or `size` is zero.
pub fn resize2d(x: &Tensor, size: [usize; 2], rules: &Resize) -> Result<Tensor> {
    let &[_, _, h, w] = x.dims() else { bail!("resize2d: expected x (N, C, H, W), got {:?}", x.dims()) };
    if h == 0 || w == 0 || size.contains(&0) {
        bail!("resize2d: cannot resize {h}x{w} pixels to {}x{}", size[0], size[1]);
    }
    separable::apply("resize2d", x, resize_map(h, size[0], None, *rules), resize_map(w, size[1], None, *rules))
}

/// Resizes `(N, C, H, W)` by `factors` `[height, width]` to `size`, which is their product with the image's size but for
/// rounding: coordinates are divided by the factors themselves, as ONNX says, not by the ratio of the sizes.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use faithful_tensor::{Resize, resize2d_by};
/// # fn main() -> candle_core::Result<()> {
/// let x = Tensor::new(&[[[[0f32, 3., 6.]]]], &Device::Cpu)?;
/// // Three pixels by 1.5 are four and a half: the last half is cut off.
/// let y = resize2d_by(&x, [1., 1.5], [1, 4], &Resize::default())?;
/// let y = y.flatten_all()?.to_vec1::<f32>()?;
/// assert!(y.iter().zip([0., 1.5, 3.5, 5.5]).all(|(y, wanted)| (y - wanted).abs() < 1e-6));
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// Where `x` is not `(N, C, H, W)` with pixels, `size` is zero or a factor is not positive.
pub fn resize2d_by(x: &Tensor, factors: [f64; 2], size: [usize; 2], rules: &Resize) -> Result<Tensor> {
    let &[_, _, h, w] = x.dims() else { bail!("resize2d_by: expected x (N, C, H, W), got {:?}", x.dims()) };
    if h == 0 || w == 0 || size.contains(&0) || factors.iter().any(|factor| !(factor.is_finite() && *factor > 0.)) {
        bail!("resize2d_by: cannot resize {h}x{w} pixels by {factors:?} to {}x{}", size[0], size[1]);
    }
    let map = |axis: usize, pixels: usize| resize_map(pixels, size[axis], Some(factors[axis]), *rules);
    separable::apply("resize2d_by", x, map(0, h), map(1, w))
}

/// From `inputs` to `outputs` pixels; `factor` where it is given and not their ratio.
pub(crate) fn resize_map(inputs: usize, outputs: usize, factor: Option<f64>, rules: Resize) -> LinearMap {
    // A file's factor is an `f32`, and so is ONNX's quotient: at a nearest pixel's edge it decides.
    let divided = |place: f64| match factor {
        Some(factor) => f64::from(place as f32 / factor as f32),
        None => place * (inputs as f64 / outputs as f64),
    };
    // A quotient such as 3 * (2 / 3) that falls just short of a whole number still means that pixel.
    let near = if factor.is_some() { 0. } else { 1e-9 };
    let taps = (0..outputs).map(|output| {
        let half_pixel = divided(output as f64 + 0.5) - 0.5;
        let at = match rules.coordinates {
            CoordinateRule::AlignCorners | CoordinateRule::HalfPixelOrFirst if outputs == 1 => 0.,
            CoordinateRule::HalfPixel | CoordinateRule::HalfPixelOrFirst => half_pixel,
            CoordinateRule::AlignCorners => output as f64 * (inputs - 1) as f64 / (outputs - 1) as f64,
            CoordinateRule::Asymmetric => divided(output as f64),
            CoordinateRule::HalfPixelSymmetric => {
                let whole = factor.map_or(outputs as f64, |factor| inputs as f64 * factor);
                inputs as f64 / 2. * (1. - outputs as f64 / whole) + half_pixel
            }
            CoordinateRule::HalfPixelForNearest => divided(output as f64 + 0.5),
        };
        interpolate(at, near, inputs, rules)
    });
    LinearMap { inputs, taps: taps.collect() }
}

fn interpolate(at: f64, near: f64, inputs: usize, rules: Resize) -> Vec<(usize, f64)> {
    let inside = |place: f64| place.clamp(0., (inputs - 1) as f64) as usize;
    let cubic_taps = |a: f64| {
        let below = at.floor();
        let outside = |place: f64| place < 0. || place > (inputs - 1) as f64;
        let tap = |offset: f64| {
            let weight = cubic(at - below - offset, a);
            let counts = !(rules.exclude_outside && outside(below + offset));
            (inside(below + offset), if counts { weight } else { 0. })
        };
        let mut taps = merge([tap(-1.), tap(0.), tap(1.), tap(2.)]);
        if rules.exclude_outside {
            let sum: f64 = taps.iter().map(|tap| tap.1).sum();
            for tap in &mut taps {
                tap.1 /= sum;
            }
        }
        taps
    };
    match rules.interpolation {
        Interpolation::Nearest => vec![(inside((at - 0.5 - near).ceil()), 1.)],
        Interpolation::NearestHalfUp => vec![(inside((at + 0.5 + near).floor()), 1.)],
        Interpolation::NearestFloor => vec![(inside((at + near).floor()), 1.)],
        Interpolation::NearestCeil => vec![(inside((at - near).ceil()), 1.)],
        Interpolation::Linear => {
            let at = at.clamp(0., (inputs - 1) as f64);
            let (below, part) = (at.floor(), at - at.floor());
            merge([(inside(below), 1. - part), (inside(below + 1.), part)])
        }
        Interpolation::Cubic => cubic_taps(-0.75),
        Interpolation::CatmullRom => cubic_taps(-0.5),
    }
}

/// The taps with those on the same pixel added up and those of no weight left out.
fn merge<const N: usize>(taps: [(usize, f64); N]) -> Vec<(usize, f64)> {
    let mut merged: Vec<(usize, f64)> = Vec::with_capacity(N);
    for (place, weight) in taps {
        match merged.last_mut() {
            Some(last) if last.0 == place => last.1 += weight,
            _ => merged.push((place, weight)),
        }
    }
    merged.retain(|tap| tap.1 != 0.);
    merged
}

/// The cubic convolution kernel (Keys 1981) with its parameter `a`.
fn cubic(distance: f64, a: f64) -> f64 {
    let d = distance.abs();
    if d <= 1. {
        ((a + 2.) * d - (a + 3.)) * d * d + 1.
    } else if d < 2. {
        ((a * d - 5. * a) * d + 8. * a) * d - 4. * a
    } else {
        0.
    }
}

/// Blurs `(N, C, H, W)` with a Gaussian of `kernel` `[height, width]` taps (odd) and `sigma`, with the edge reflected
/// (without repeating it), as torchvision's `gaussian_blur`.
///
/// The weights are `exp(-d^2 / (2 sigma^2))`, scaled to sum 1.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use faithful_tensor::gaussian_blur2d;
/// # fn main() -> candle_core::Result<()> {
/// let flat = Tensor::full(3f64, (1, 1, 6, 6), &Device::Cpu)?;
/// let blurred = gaussian_blur2d(&flat, [11, 11], [5., 5.])?;
/// assert!((blurred.max_all()?.to_scalar::<f64>()? - 3.).abs() < 1e-12);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// Where a kernel is even or reaches as far as the image is large, or a sigma is not positive.
pub fn gaussian_blur2d(x: &Tensor, kernel: [usize; 2], sigma: [f64; 2]) -> Result<Tensor> {
    let &[_, _, h, w] = x.dims() else { bail!("gaussian_blur2d: expected x (N, C, H, W), got {:?}", x.dims()) };
    separable::apply("gaussian_blur2d", x, blur_map(h, kernel[0], sigma[0])?, blur_map(w, kernel[1], sigma[1])?)
}

fn blur_map(size: usize, kernel: usize, sigma: f64) -> Result<LinearMap> {
    let reach = kernel / 2;
    if kernel.is_multiple_of(2) || !(sigma > 0. && sigma.is_finite()) {
        bail!("gaussian_blur2d: the kernel must be odd and sigma positive, got {kernel} taps with sigma {sigma}");
    }
    // The doc example blurs 6 pixels with 11 taps: a reach of 5 still finds a pixel to reflect to.
    if reach >= size {
        bail!("gaussian_blur2d: a kernel of {kernel} taps reflects beyond an image of {size} pixels");
    }
    let weight = |tap: usize| (-0.5 * ((tap as f64 - reach as f64) / sigma).powi(2)).exp();
    let sum: f64 = (0..kernel).map(weight).sum();
    let weights: Vec<f64> = (0..kernel).map(|tap| weight(tap) / sum).collect();
    let taps = (0..size).map(|output| {
        // Taps that are reflected fall on places that have one already.
        let mut merged = vec![0.0; size];
        for (tap, weight) in weights.iter().enumerate() {
            merged[reflect((output + tap) as isize - reach as isize, size)] += weight;
        }
        let (first, last) = (output.saturating_sub(reach), (output + reach).min(size - 1));
        (first..=last).map(|place| (place, merged[place])).collect()
    });
    Ok(LinearMap { inputs: size, taps: taps.collect() })
}

/// Where `place` lies once the interior is mirrored at both edges, without repeating them.
pub(crate) fn reflect(place: isize, size: usize) -> usize {
    let last = size as isize - 1;
    let place = place.abs();
    (if place > last { 2 * last - place } else { place }) as usize
}
