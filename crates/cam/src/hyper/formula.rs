//! The formula's numbers, for programs that write it out in other operators.

use super::evidence::AROUND;
use super::placement::neighbours;
use candle_core::{Device, Tensor};
use faithful_core::{Grid, Result};
use faithful_frequency::gaussian_blur;

pub use super::baseline::is_blurred;
pub use super::evidence::SILENT;
pub use super::rounds::rounds;

/// How evidence is gathered along an axis of a layer ([`Evidence::Neighbourhood`](super::Evidence::Neighbourhood)): a matrix `(places, places)`.
///
/// # Errors
/// Those of tensors.
pub fn neighbourhood_matrix(places: usize) -> Result<Tensor> {
    let units = Tensor::eye(places, candle_core::DType::F64, &Device::Cpu)?.unsqueeze(2)?;
    // One unit per map, whose blurred column is one of the matrix.
    Ok(gaussian_blur(&units, AROUND)?.squeeze(2)?.t()?.contiguous()?)
}

/// How an axis of a level's map is brought to the input's: a matrix `(pixels, places)`.
///
/// # Errors
/// Those of tensors.
pub fn placement_matrix(grid: &Grid, axis: usize, places: usize, pixels: usize) -> Result<Tensor> {
    let mut matrix = vec![0.0; pixels * places];
    for (row, (before, behind, share)) in matrix.chunks_exact_mut(places).zip(neighbours(grid, axis, places, pixels)) {
        row[before] += 1.0 - share;
        row[behind] += share;
    }
    Ok(Tensor::from_vec(matrix, (pixels, places), &Device::Cpu)?)
}
