//! Matrix products and normalisations as compositions; see [`crate::composed`].

use crate::function::{Value, attach};
use candle_core::{Result, Tensor};

/// `x` `(rows, I)` times the transposed `weight` `(O, I)`.
pub(crate) fn linear(x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    let value = x.detach().matmul(&weight.detach().t()?)?;
    attach("linear", &[x, weight], Value::Device(value), |backward| {
        let [x, weight] = backward.arguments else { unreachable!("two arguments were attached") };
        let gradient = backward.gradient;
        Ok(vec![
            if backward.wanted[0] { Some(gradient.matmul(weight)?) } else { None },
            if backward.wanted[1] { Some(gradient.t()?.matmul(x)?) } else { None },
        ])
    })
}

/// The products of two stacks of matrices.
pub(crate) fn matmul(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let value = a.detach().matmul(&b.detach())?;
    attach("matmul", &[a, b], Value::Device(value), |backward| {
        let [a, b] = backward.arguments else { unreachable!("two arguments were attached") };
        let gradient = backward.gradient;
        Ok(vec![
            if backward.wanted[0] { Some(gradient.matmul(&b.t()?)?) } else { None },
            if backward.wanted[1] { Some(a.t()?.matmul(gradient)?) } else { None },
        ])
    })
}

/// `x * scale + shift` per channel, axis 1; without tracking.
pub(crate) fn affine(x: &Tensor, scale: &Tensor, shift: Option<&Tensor>) -> Result<Tensor> {
    let mut shape = vec![1; x.rank()];
    shape[1] = x.dim(1)?;
    let scaled = x.broadcast_mul(&scale.reshape(shape.as_slice())?)?;
    match shift {
        Some(shift) => scaled.broadcast_add(&shift.reshape(shape)?),
        None => Ok(scaled),
    }
}

/// Runs of `length` elements, minus their mean, over their standard deviation; and that, `(runs, 1)`. No tracking.
fn standardized(x: &Tensor, length: usize, epsilon: f64) -> Result<(Tensor, Tensor)> {
    let runs = x.reshape(((), length))?;
    let centred = runs.broadcast_sub(&runs.mean_keepdim(1)?)?;
    let deviation = (centred.sqr()?.mean_keepdim(1)? + epsilon)?.sqrt()?;
    Ok((centred.broadcast_div(&deviation)?, deviation))
}

pub(crate) fn standardize(x: &Tensor, length: usize, epsilon: f64) -> Result<Tensor> {
    let x = x.contiguous()?;
    let value = standardized(&x.detach(), length, epsilon)?.0.reshape(x.shape())?;
    attach("standardize", &[&x], Value::Device(value), move |backward| {
        let (y, deviation) = standardized(&backward.arguments[0], length, epsilon)?;
        let gradient = backward.gradient.reshape(((), length))?;
        let along = (&gradient * &y)?.mean_keepdim(1)?;
        let centred = gradient.broadcast_sub(&gradient.mean_keepdim(1)?)?;
        let found = (centred - y.broadcast_mul(&along)?)?.broadcast_div(&deviation)?;
        Ok(vec![Some(found.reshape(backward.gradient.shape())?)])
    })
}
