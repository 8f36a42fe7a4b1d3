use crate::composed::{has_kernels, product as composed};
use crate::function::{Elements, Real, Value, attach, by_type, is_half_on_cpu, widen, widen_optional};
use candle_core::{Result, Tensor, bail};
use rayon::prelude::*;

/// Batch normalisation in evaluation mode as it is after folding: `x * scale + shift` per channel, axis 1.
///
/// With running statistics, `scale = weight / sqrt(variance + epsilon)` and `shift = bias - mean * scale`.
///
/// # Errors
/// Where `x` is not `(N, C, …)` or `scale` and `shift` are not `(C,)`.
pub fn batch_norm(x: &Tensor, scale: &Tensor, shift: &Tensor) -> Result<Tensor> {
    let Some(&channels) = x.dims().get(1) else { bail!("batch_norm: expected x (N, C, …), got {:?}", x.dims()) };
    if scale.dims() != [channels] || shift.dims() != [channels] {
        bail!("batch_norm: expected scale and shift ({channels},), got {:?} and {:?}", scale.dims(), shift.dims());
    }
    if is_half_on_cpu(x) {
        return batch_norm(&widen(x)?, &widen(scale)?, &widen(shift)?)?.to_dtype(x.dtype());
    }
    let (x, scale, shift) = (x.contiguous()?, scale.contiguous()?, shift.contiguous()?);
    let value = affine(&x.detach(), &scale.detach(), Some(&shift.detach()))?;
    attach("batch_norm", &[&x, &scale, &shift], value, |backward| {
        let [x, scale, _] = backward.arguments else { unreachable!("three arguments were attached") };
        let gradient = backward.gradient;
        let over_channels = |x: &Tensor| x.transpose(0, 1)?.flatten_from(1)?.sum(1);
        Ok(vec![
            if backward.wanted[0] { Some(affine(gradient, scale, None)?.into_tensor()) } else { None },
            if backward.wanted[1] { Some(over_channels(&(gradient * x)?)?) } else { None },
            if backward.wanted[2] { Some(over_channels(gradient)?) } else { None },
        ])
    })
}

fn affine(x: &Tensor, scale: &Tensor, shift: Option<&Tensor>) -> Result<Value> {
    if has_kernels(x) {
        by_type!(x, affine_on_cpu(x, scale, shift))
    } else {
        composed::affine(x, scale, shift).map(Value::Device)
    }
}

fn affine_on_cpu<T: Real>(x: &Tensor, scale: &Tensor, shift: Option<&Tensor>) -> Result<Value> {
    let channels = x.dim(1)?;
    let plane: usize = x.dims()[2..].iter().product();
    let (elements, scale) = (Elements::of(x)?, Elements::of(scale)?);
    let shift = shift.map(Elements::of).transpose()?;
    let (from, scale) = (elements.slice::<T>()?, scale.slice::<T>()?);
    let shift = shift.as_ref().map(Elements::slice::<T>).transpose()?;
    let mut y = vec![T::zero(); from.len()];
    if !y.is_empty() {
        y.par_chunks_mut(channels * plane).zip(from.par_chunks(channels * plane)).for_each(|(y, x)| {
            for (channel, (y, x)) in y.chunks_mut(plane).zip(x.chunks(plane)).enumerate() {
                let (scale, shift) = (scale[channel], shift.map_or(T::zero(), |shift| shift[channel]));
                for (y, &x) in y.iter_mut().zip(x) {
                    *y = x * scale + shift;
                }
            }
        });
    }
    Ok(Value::new(y, x.shape().clone()))
}

/// Layer normalisation over the axes from `axis` on, with affine parameters of those axes' shape.
///
/// `(x - mean) / sqrt(variance + epsilon) * weight + bias`, with the biased variance.
///
/// # Errors
/// Where there is no such axis or the parameters have another shape.
pub fn layer_norm(
    x: &Tensor,
    axis: usize,
    weight: Option<&Tensor>,
    bias: Option<&Tensor>,
    epsilon: f64,
) -> Result<Tensor> {
    if axis >= x.rank() {
        bail!("layer_norm: there is no axis {axis} in a tensor of shape {:?}", x.dims());
    }
    let shape = &x.dims()[axis..];
    for parameter in [weight, bias].into_iter().flatten() {
        if parameter.dims() != shape {
            bail!("layer_norm: expected parameters of shape {shape:?}, got {:?}", parameter.dims());
        }
    }
    if is_half_on_cpu(x) {
        let (weight, bias) = (widen_optional(weight)?, widen_optional(bias)?);
        return layer_norm(&widen(x)?, axis, weight.as_ref(), bias.as_ref(), epsilon)?.to_dtype(x.dtype());
    }
    scale_and_shift(standardize(x, shape.iter().product(), epsilon)?, weight.cloned(), bias.cloned())
}

/// Group normalisation of `(N, C, …)`; `groups == C` is instance normalisation.
///
/// As [`layer_norm`] over the channels of each group and all pixels, with `weight` and `bias` `(C,)`.
///
/// # Errors
/// Where the channels are not a multiple of `groups` or the parameters are not `(C,)`.
pub fn group_norm(
    x: &Tensor,
    groups: usize,
    weight: Option<&Tensor>,
    bias: Option<&Tensor>,
    epsilon: f64,
) -> Result<Tensor> {
    let Some(&channels) = x.dims().get(1) else { bail!("group_norm: expected x (N, C, …), got {:?}", x.dims()) };
    if groups == 0 || channels % groups != 0 {
        bail!("group_norm: {channels} channels are no multiple of {groups} groups");
    }
    for parameter in [weight, bias].into_iter().flatten() {
        if parameter.dims() != [channels] {
            bail!("group_norm: expected parameters of shape [{channels}], got {:?}", parameter.dims());
        }
    }
    if is_half_on_cpu(x) {
        let (weight, bias) = (widen_optional(weight)?, widen_optional(bias)?);
        return group_norm(&widen(x)?, groups, weight.as_ref(), bias.as_ref(), epsilon)?.to_dtype(x.dtype());
    }
    let pixels: usize = x.dims()[2..].iter().product();
    let shape = per_channel_shape(x, channels);
    let per_channel = |parameter: Option<&Tensor>| parameter.map(|p| p.reshape(shape.clone())).transpose();
    let (weight, bias) = (per_channel(weight)?, per_channel(bias)?);
    scale_and_shift(standardize(x, channels / groups * pixels, epsilon)?, weight, bias)
}

/// `[1, C, 1, …]`.
fn per_channel_shape(x: &Tensor, channels: usize) -> Vec<usize> {
    let mut shape = vec![1; x.rank()];
    shape[1] = channels;
    shape
}

fn scale_and_shift(mut x: Tensor, weight: Option<Tensor>, bias: Option<Tensor>) -> Result<Tensor> {
    if let Some(weight) = weight {
        x = x.broadcast_mul(&weight)?;
    }
    if let Some(bias) = bias {
        x = x.broadcast_add(&bias)?;
    }
    Ok(x)
}

/// Each run of `length` elements minus its mean, over its standard deviation.
fn standardize(x: &Tensor, length: usize, epsilon: f64) -> Result<Tensor> {
    if x.elem_count() == 0 {
        return Ok(x.clone());
    }
    if !has_kernels(x) {
        return composed::standardize(x, length, epsilon);
    }
    let x = x.contiguous()?;
    let value = by_type!(x, standardize_on_cpu(&x, length, epsilon))?;
    attach("standardize", &[&x], value, move |backward| {
        let (x, y, gradient) = (&backward.arguments[0], backward.result, backward.gradient);
        Ok(vec![Some(by_type!(x, standardize_gradient_on_cpu(x, y, gradient, length, epsilon))?)])
    })
}

/// The mean and `1 / sqrt(variance + epsilon)` of a run, summed in f64.
fn statistics<T: Real>(run: &[T], epsilon: f64) -> (f64, f64) {
    let count = run.len() as f64;
    let mean = run.iter().map(|&x| WithF64::wide(x)).sum::<f64>() / count;
    let variance = run.iter().map(|&x| (WithF64::wide(x) - mean).powi(2)).sum::<f64>() / count;
    (mean, 1. / (variance + epsilon).sqrt())
}

/// `candle_core::WithDType::to_f64` under a name that `num_traits` does not have too.
trait WithF64 {
    fn wide(self) -> f64;
}

impl<T: Real> WithF64 for T {
    fn wide(self) -> f64 {
        candle_core::WithDType::to_f64(self)
    }
}

fn standardize_on_cpu<T: Real>(x: &Tensor, length: usize, epsilon: f64) -> Result<Value> {
    let elements = Elements::of(x)?;
    let from = elements.slice::<T>()?;
    let mut y = vec![T::zero(); from.len()];
    y.par_chunks_mut(length).zip(from.par_chunks(length)).for_each(|(y, x)| {
        let (mean, scale) = statistics(x, epsilon);
        for (y, &x) in y.iter_mut().zip(x) {
            *y = T::from_f64((x.wide() - mean) * scale);
        }
    });
    Ok(Value::new(y, x.shape().clone()))
}

/// `(g - mean(g) - y * mean(g * y)) / sqrt(variance + epsilon)`.
fn standardize_gradient_on_cpu<T: Real>(
    x: &Tensor,
    y: &Tensor,
    gradient: &Tensor,
    length: usize,
    epsilon: f64,
) -> Result<Tensor> {
    let shape = x.shape().clone();
    let (x, y, gradient) = (Elements::of(x)?, Elements::of(y)?, Elements::of(gradient)?);
    let (x, y, gradient) = (x.slice::<T>()?, y.slice::<T>()?, gradient.slice::<T>()?);
    let mut dx = vec![T::zero(); x.len()];
    let runs = x.par_chunks(length).zip(y.par_chunks(length)).zip(gradient.par_chunks(length));
    dx.par_chunks_mut(length).zip(runs).for_each(|(dx, ((x, y), gradient))| {
        let (_, scale) = statistics(x, epsilon);
        let count = length as f64;
        let mean = gradient.iter().map(|&g| g.wide()).sum::<f64>() / count;
        let along = gradient.iter().zip(y).map(|(&g, &y)| g.wide() * y.wide()).sum::<f64>() / count;
        for ((dx, &g), &y) in dx.iter_mut().zip(gradient).zip(y) {
            *dx = T::from_f64((g.wide() - mean - y.wide() * along) * scale);
        }
    });
    Ok(Value::new(dx, shape).into_tensor())
}
