//! RISE: random masks, no layer.

use super::Perturbation;
use super::masks::upsample;
use crate::accumulation::accumulate;
use candle_core::Tensor;
use faithful_core::{Error, Result};
use faithful_tensor::CoordinateRule;
use rand::Rng;

/// `1 / (N p) sum_i S(x * M_i) M_i` at the input's size: each mask a grid of open and closed cells, one cell larger
/// than the input, upsampled bilinearly and shifted at random within a cell. Of a series each sensor has cells of its own,
/// along time alone: neighbouring sensors have nothing in common.
pub(super) fn rise(perturbation: &Perturbation<'_>) -> Result<Vec<Tensor>> {
    let parameters = perturbation.parameters;
    let count = parameters.draws.map_or(4000, std::num::NonZeroUsize::get);
    let open = parameters.open;
    if !(open > 0.0 && open < 1.0) {
        return Err(Error::parameter("open", format!("{open}: a probability between 0 and 1 is needed")));
    }
    let [height, width] = perturbation.size;
    let cells = parameters.cells.get();
    let rows = if perturbation.is_series() { height } else { cells };
    let (tall, wide) = (height.div_ceil(rows), width.div_ceil(cells));
    let stream = perturbation.stream.derive("rise");
    let mask = |draw: usize| -> Result<Tensor> {
        let mut generator = stream.draw(draw);
        let grid: Vec<f64> = (0..rows * cells).map(|_| f64::from(generator.random::<f64>() < open)).collect();
        // u64, so that 32-bit machines draw the same.
        let down = generator.random_range(0..tall as u64) as usize;
        let right = generator.random_range(0..wide as u64) as usize;
        let grid = Tensor::from_vec(grid, (1, 1, rows, cells), perturbation.input.device())?;
        let grid = grid.to_dtype(perturbation.input.dtype())?;
        let spare = usize::from(!perturbation.is_series());
        let large = upsample(&grid, [(rows + spare) * tall, (cells + 1) * wide], CoordinateRule::HalfPixel)?;
        perturbation.mask(&large.narrow(2, down, height)?.narrow(3, right, width)?.contiguous()?)
    };
    let mut maps: Vec<Option<Tensor>> = vec![None; perturbation.scores.len()];
    let batch = perturbation.objective.batch().get();
    perturbation.objective.network().announce(count, 0);
    for start in (0..count).step_by(batch) {
        let draws = start..(start + batch).min(count);
        let masks = Tensor::cat(&draws.map(&mask).collect::<Result<Vec<_>>>()?, 0)?;
        let rows = masks.dim(0)?;
        let found = perturbation.scores_of(rows, &mut |_| Ok(perturbation.input.broadcast_mul(&masks)?))?;
        for (map, scores) in maps.iter_mut().zip(found) {
            for (row, score) in scores.into_iter().enumerate() {
                let term = (masks.narrow(0, row, 1)?.reshape((1, height, width))? * score)?;
                accumulate(map, &term, 1.0)?;
            }
        }
    }
    maps.into_iter().flatten().map(|map| Ok((map / (count as f64 * open))?)).collect()
}
