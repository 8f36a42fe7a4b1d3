//! Reductions of rows as compositions of candle's own; see [`crate::composed`].

use super::is_nan;
use crate::function::{Value, attach};
use crate::reduction::Reduction;
use candle_core::{Result, Tensor};

/// `(rows, length)` to `(rows,)`.
pub(crate) fn reduce_rows(x: &Tensor, reduction: Reduction) -> Result<Tensor> {
    let value = value(&x.detach(), reduction)?;
    attach("reduce", &[x], Value::Device(value), move |backward| {
        let (x, y, g) = (&backward.arguments[0], backward.result.unsqueeze(1)?, backward.gradient.unsqueeze(1)?);
        Ok(vec![Some(gradient(x, &y, &g, reduction)?)])
    })
}

fn value(x: &Tensor, reduction: Reduction) -> Result<Tensor> {
    match reduction {
        Reduction::Mean => x.mean(1),
        Reduction::Sum => x.sum(1),
        Reduction::Max | Reduction::Min => x.gather(&extreme(x, reduction)?, 1)?.squeeze(1),
        Reduction::L1 => x.abs()?.sum(1),
        Reduction::L2 => x.sqr()?.sum(1)?.sqrt(),
        Reduction::SumSquare => x.sqr()?.sum(1),
        Reduction::LogSumExp => {
            let highest = x.max_keepdim(1)?;
            // An infinite maximum cannot be taken away.
            let shift = highest.abs()?.lt(f64::INFINITY)?.where_cond(&highest, &highest.zeros_like()?)?;
            x.broadcast_sub(&shift)?.exp()?.sum(1)?.log()? + shift.squeeze(1)?
        }
    }
}

/// `y` and `g` are `(rows, 1)`.
fn gradient(x: &Tensor, y: &Tensor, g: &Tensor, reduction: Reduction) -> Result<Tensor> {
    let whole = g.broadcast_as(x.shape())?;
    match reduction {
        Reduction::Mean => whole.contiguous()? / x.dim(1)? as f64,
        Reduction::Sum => whole.contiguous(),
        Reduction::Max | Reduction::Min => x.zeros_like()?.scatter_add(&extreme(x, reduction)?, g, 1),
        Reduction::L1 => x.sign()?.broadcast_mul(g),
        Reduction::L2 => {
            // At zero the gradient is 0: there it is divided by 1.
            let length = y.eq(0.)?.where_cond(&y.ones_like()?, y)?;
            x.broadcast_div(&length)?.broadcast_mul(g)
        }
        Reduction::SumSquare => (x * 2.)?.broadcast_mul(g),
        Reduction::LogSumExp => x.broadcast_sub(y)?.exp()?.broadcast_mul(g),
    }
}

/// Where each row's first maximum or minimum is, `(rows, 1)`; its first NaN, where it has one.
fn extreme(x: &Tensor, reduction: Reduction) -> Result<Tensor> {
    let length = x.dim(1)? as u32;
    let order = Tensor::arange(0, length, x.device())?.unsqueeze(0)?.broadcast_as(x.shape())?.contiguous()?;
    let nowhere = Tensor::full(length, x.shape(), x.device())?;
    let first = |mask: &Tensor| mask.where_cond(&order, &nowhere)?.min_keepdim(1);
    let value = if reduction == Reduction::Min { x.min_keepdim(1)? } else { x.max_keepdim(1)? };
    let (found, nan) = (first(&x.broadcast_eq(&value)?)?, first(&is_nan(x)?)?);
    nan.lt(length)?.where_cond(&nan, &found)
}
