//! Rules that project the channels on their first principal direction.

use crate::Estimate;
use crate::rule::places;
use candle_core::{DType, Tensor};
use faithful_core::Result;

/// `A v`, with `v` the first right singular vector of the activation as a matrix (places, channels), not centred.
///
/// For an activation without negative values the map has none either. Its sign, which a singular vector leaves open,
/// is the one that agrees with the sum over channels.
pub(super) fn eigen_cam(estimate: &Estimate) -> Result<Tensor> {
    projection_of(&estimate.activation, false)
}

/// The same of gradient times activation, with every channel's mean removed, as in the library that introduced it.
pub(super) fn eigen_grad_cam(estimate: &Estimate) -> Result<Tensor> {
    centered_projection(&(estimate.gradient()? * &estimate.activation)?)
}

/// The projection of `(N, C, h, w)` with every channel's mean removed.
pub(crate) fn centered_projection(features: &Tensor) -> Result<Tensor> {
    projection_of(features, true)
}

/// The projection of each image's `(C, h, w)`, as `(N, h, w)`.
pub(crate) fn projection_of(features: &Tensor, centered: bool) -> Result<Tensor> {
    places(features)?;
    let mut shape = features.dims().to_vec();
    let channels = shape.remove(1);
    let maps = (0..shape[0])
        .map(|row| {
            let matrix = features.get(row)?.reshape((channels, ()))?.to_dtype(DType::F64)?.t()?.contiguous()?;
            let total = matrix.sum_keepdim(1)?;
            let matrix = if centered { matrix.broadcast_sub(&matrix.mean_keepdim(0)?)? } else { matrix };
            let projected = first_component(&matrix)?;
            let agreement = (&projected * total)?.sum_all()?.to_scalar::<f64>()?;
            Ok(if agreement < 0.0 { projected.neg()? } else { projected })
        })
        .collect::<Result<Vec<_>>>()?;
    Ok(Tensor::cat(&maps, 0)?.reshape(shape)?.to_dtype(features.dtype())?)
}

/// `M v` for the first right singular vector `v` of `M` `(places, channels)`: `(places, 1)`; zero for a zero matrix.
///
/// The smaller Gram matrix is squared again and again: after `n` squarings the second component has shrunk by
/// `(s2 / s1)^(2^(n + 1))`, so that even nearly equal singular values part, and the cost is a few small products.
fn first_component(matrix: &Tensor) -> Result<Tensor> {
    const SQUARINGS: usize = 24;
    let (rows, columns) = matrix.dims2()?;
    let over_places = rows <= columns;
    let gram = if over_places { matrix.matmul(&matrix.t()?)? } else { matrix.t()?.matmul(matrix)? };
    let mut power = gram;
    for _ in 0..SQUARINGS {
        let size = power.abs()?.max_all()?.to_scalar::<f64>()?;
        if size == 0.0 || !size.is_finite() {
            return Ok(matrix.narrow(1, 0, 1)?.zeros_like()?);
        }
        power = (power / size)?;
        power = power.matmul(&power)?;
    }
    // Every column is a multiple of the component; the longest has lost the least.
    let lengths = power.sqr()?.sum(0)?.to_vec1::<f64>()?;
    let longest = (0..lengths.len()).fold(0, |best, i| if lengths[i] > lengths[best] { i } else { best });
    if lengths[longest] == 0.0 {
        return Ok(matrix.narrow(1, 0, 1)?.zeros_like()?);
    }
    let vector = (power.narrow(1, longest, 1)?.contiguous()? / lengths[longest].sqrt())?;
    if !over_places {
        return Ok(matrix.matmul(&vector)?);
    }
    // `vector` is the left singular vector u, and M v = s u with s = |M' u|.
    let scale = matrix.t()?.matmul(&vector)?.sqr()?.sum_all()?.to_scalar::<f64>()?.sqrt();
    Ok((vector * scale)?)
}
