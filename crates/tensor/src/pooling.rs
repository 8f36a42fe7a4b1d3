use crate::composed::{self, has_kernels};
use crate::function::{Elements, Real, Value, attach, by_type, is_half_on_cpu, widen};
use crate::separable::{self, LinearMap};
use candle_core::{Result, Tensor, bail};
use faithful_kernel::Pool;
use rayon::prelude::*;
use std::sync::Arc;

/// The maximum per window of `(N, C, H, W)`; the gradient goes to the first maximum in scan order, as in `PyTorch`.
///
/// NaN counts as the highest, so that it is seen and not hidden.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use faithful_tensor::{Pool, max_pool2d};
/// # fn main() -> candle_core::Result<()> {
/// let x = Tensor::new(&[[[[1f32, 5., 2.], [3., 4., 8.]]]], &Device::Cpu)?;
/// let y = max_pool2d(&x, &Pool { kernel: [2, 2], stride: [1, 1], ..Pool::default() })?;
/// assert_eq!(y.flatten_all()?.to_vec1::<f32>()?, [5., 8.]);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// Where `x` is not `(N, C, H, W)`, a kernel, stride or dilation is zero, padding is as large as the window (some
/// windows would see nothing), or the window is larger than the padded input.
pub fn max_pool2d(x: &Tensor, pool: &Pool) -> Result<Tensor> {
    let (h, w) = plane("max_pool2d", x)?;
    max_over("max_pool2d", x, windows("max_pool2d", pool, 0, h)?, windows("max_pool2d", pool, 1, w)?)
}

/// The mean per window of `(N, C, H, W)`.
///
/// A window is divided by the pixels it covers: with `count_padding` those of the padding too, but never those that a
/// `ceil` window reaches beyond it, as in `PyTorch`.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use faithful_tensor::{Pool, avg_pool2d};
/// # fn main() -> candle_core::Result<()> {
/// let x = Tensor::new(&[[[[1f32, 5., 3.], [2., 4., 7.]]]], &Device::Cpu)?;
/// let y = avg_pool2d(&x, &Pool { ceil: true, ..Pool::default() })?;
/// assert_eq!(y.flatten_all()?.to_vec1::<f32>()?, [3., 5.]);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// As [`max_pool2d`], and for a dilation other than 1.
pub fn avg_pool2d(x: &Tensor, pool: &Pool) -> Result<Tensor> {
    let (h, w) = plane("avg_pool2d", x)?;
    if pool.dilation != [1, 1] {
        bail!("avg_pool2d: dilation {:?} is not supported, only [1, 1]", pool.dilation);
    }
    let mean = |axis: usize, size: usize| -> Result<LinearMap> {
        let windows = windows("avg_pool2d", pool, axis, size)?;
        Ok(mean_map(&windows, size, pool.count_padding))
    };
    separable::apply("avg_pool2d", x, mean(0, h)?, mean(1, w)?)
}

/// The mean over `PyTorch`'s adaptive windows, to `(N, C, size[0], size[1])`.
///
/// Window `i` of `S` covers `floor(i * H / S)..ceil((i + 1) * H / S)`; `[1, 1]` is the global mean.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use faithful_tensor::adaptive_avg_pool2d;
/// # fn main() -> candle_core::Result<()> {
/// let x = Tensor::new(&[[[[1f32, 2., 6.]]]], &Device::Cpu)?;
/// let y = adaptive_avg_pool2d(&x, [1, 2])?;
/// assert_eq!(y.flatten_all()?.to_vec1::<f32>()?, [1.5, 4.]);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// Where `x` is not `(N, C, H, W)` with pixels, or `size` is zero.
pub fn adaptive_avg_pool2d(x: &Tensor, size: [usize; 2]) -> Result<Tensor> {
    let (h, w) = plane("adaptive_avg_pool2d", x)?;
    let mean = |size: usize, input: usize| -> Result<LinearMap> {
        Ok(mean_map(&adaptive("adaptive_avg_pool2d", size, input)?, input, true))
    };
    separable::apply("adaptive_avg_pool2d", x, mean(size[0], h)?, mean(size[1], w)?)
}

/// The maximum over `PyTorch`'s adaptive windows, to `(N, C, size[0], size[1])`.
///
/// # Errors
/// As [`adaptive_avg_pool2d`].
pub fn adaptive_max_pool2d(x: &Tensor, size: [usize; 2]) -> Result<Tensor> {
    let (h, w) = plane("adaptive_max_pool2d", x)?;
    let rows = adaptive("adaptive_max_pool2d", size[0], h)?;
    max_over("adaptive_max_pool2d", x, rows, adaptive("adaptive_max_pool2d", size[1], w)?)
}

/// What one output sees of an axis: `start, start + step, …` before `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) step: usize,
    /// Pixels with those of the padding.
    padded: usize,
}

impl Window {
    pub(crate) fn taps(self) -> impl Iterator<Item = usize> {
        (self.start..self.end).step_by(self.step)
    }
}

fn plane(name: &str, x: &Tensor) -> Result<(usize, usize)> {
    match x.dims() {
        &[_, _, h, w] => Ok((h, w)),
        other => bail!("{name}: expected x (N, C, H, W), got {other:?}"),
    }
}

pub(crate) fn windows(name: &str, pool: &Pool, axis: usize, size: usize) -> Result<Vec<Window>> {
    let (kernel, stride, dilation) = (pool.kernel[axis], pool.stride[axis], pool.dilation[axis]);
    let (before, after) = (pool.padding[axis], pool.padding[axis + 2]);
    if kernel == 0 || stride == 0 || dilation == 0 {
        bail!("{name}: kernel, stride and dilation must be at least 1, got {pool:?}");
    }
    let window = (kernel - 1) * dilation + 1;
    if before >= window || after >= window {
        bail!("{name}: padding {:?} must be smaller than the window of {window} pixels", pool.padding);
    }
    let padded = size + before + after;
    if size == 0 || padded < window {
        bail!("{name}: a window of {window} pixels is larger than the padded input of {padded} (axis {})", axis + 2);
    }
    let room = padded - window;
    let mut count = if pool.ceil { room.div_ceil(stride) } else { room / stride } + 1;
    // PyTorch: a window that starts in the padding behind the input does not count.
    if pool.ceil && (count - 1) * stride >= size + before {
        count -= 1;
    }
    let window_at = |index: usize| {
        let first = index * stride;
        let skipped = before.saturating_sub(first).div_ceil(dilation);
        let start = first + skipped * dilation - before;
        let end = (first + window).saturating_sub(before).min(size);
        Window { start, end: end.max(start), step: dilation, padded: window.min(padded - first) }
    };
    Ok((0..count).map(window_at).collect())
}

fn adaptive(name: &str, outputs: usize, size: usize) -> Result<Vec<Window>> {
    if outputs == 0 || size == 0 {
        bail!("{name}: cannot map {size} pixels to {outputs}");
    }
    let window_at = |index: usize| {
        let (start, end) = (index * size / outputs, ((index + 1) * size).div_ceil(outputs));
        Window { start, end, step: 1, padded: end - start }
    };
    Ok((0..outputs).map(window_at).collect())
}

pub(crate) fn mean_map(windows: &[Window], inputs: usize, count_padding: bool) -> LinearMap {
    let taps = windows.iter().map(|window| {
        let count = if count_padding { window.padded } else { window.end - window.start };
        window.taps().map(|input| (input, 1. / count as f64)).collect()
    });
    LinearMap { inputs, taps: taps.collect() }
}

fn max_over(name: &'static str, x: &Tensor, rows: Vec<Window>, columns: Vec<Window>) -> Result<Tensor> {
    if is_half_on_cpu(x) {
        return max_over(name, &widen(x)?, rows, columns)?.to_dtype(x.dtype());
    }
    let x = x.contiguous()?;
    if !has_kernels(&x) {
        let value = composed::pooling::max_over(&x.detach(), &rows, &columns)?;
        return attach(name, &[&x], Value::Device(value), move |backward| {
            let (x, y, gradient) = (&backward.arguments[0], backward.result, backward.gradient);
            Ok(vec![Some(composed::pooling::max_gradient(x, y, gradient, &rows, &columns)?)])
        });
    }
    let value = by_type!(x, max_on_cpu(&x, &rows, &columns))?;
    let windows = Arc::new((rows, columns));
    attach(name, &[&x], value, move |backward| {
        let (x, gradient) = (&backward.arguments[0], backward.gradient);
        Ok(vec![Some(by_type!(x, max_gradient_on_cpu(x, gradient, &windows.0, &windows.1))?)])
    })
}

/// The highest value of a window and its place; the first of several, NaN before all.
fn highest<T: Real>(x: &[T], width: usize, rows: Window, columns: Window) -> (T, Option<usize>) {
    let (mut best, mut place) = (T::neg_infinity(), None);
    for row in rows.taps() {
        for column in columns.taps() {
            let value = x[row * width + column];
            if value > best || place.is_none() || (value.is_nan() && !best.is_nan()) {
                (best, place) = (value, Some(row * width + column));
            }
        }
    }
    (best, place)
}

fn max_on_cpu<T: Real>(x: &Tensor, rows: &[Window], columns: &[Window]) -> Result<Value> {
    let (n, c, h, w) = x.dims4()?;
    let mut y = vec![T::zero(); n * c * rows.len() * columns.len()];
    let elements = Elements::of(x)?;
    let x = elements.slice::<T>()?;
    if !y.is_empty() {
        y.par_chunks_mut(rows.len() * columns.len()).enumerate().for_each(|(plane, y)| {
            let x = &x[plane * h * w..][..h * w];
            for (y, &rows) in y.chunks_mut(columns.len()).zip(rows) {
                for (y, &columns) in y.iter_mut().zip(columns) {
                    *y = highest(x, w, rows, columns).0;
                }
            }
        });
    }
    Ok(Value::new(y, (n, c, rows.len(), columns.len())))
}

fn max_gradient_on_cpu<T: Real>(x: &Tensor, gradient: &Tensor, rows: &[Window], columns: &[Window]) -> Result<Tensor> {
    let (n, c, h, w) = x.dims4()?;
    let mut dx = vec![T::zero(); n * c * h * w];
    let (x, gradient) = (Elements::of(x)?, Elements::of(gradient)?);
    let (x, gradient) = (x.slice::<T>()?, gradient.slice::<T>()?);
    let results = rows.len() * columns.len();
    if !dx.is_empty() {
        dx.par_chunks_mut(h * w).enumerate().for_each(|(plane, dx)| {
            let x = &x[plane * h * w..][..h * w];
            let gradient = &gradient[plane * results..][..results];
            for (gradient, &rows) in gradient.chunks(columns.len()).zip(rows) {
                for (&gradient, &columns) in gradient.iter().zip(columns) {
                    if let Some(place) = highest(x, w, rows, columns).1 {
                        dx[place] += gradient;
                    }
                }
            }
        });
    }
    Ok(Value::new(dx, (n, c, h, w)).into_tensor())
}
