use crate::planes::{Planes, mirror};
use candle_core::{Result, Tensor, bail};
use rustfft::FftPlanner;
use rustfft::num_complex::Complex;

/// What lies beyond a map's edge, to a filter that takes every map for periodic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Edge {
    /// The map mirrored, its last pixels repeated; the default. What is at one edge does not leak to the other.
    #[default]
    Mirror,
    /// The map again, as the discrete Fourier transform has it.
    Periodic,
}

/// A band of spatial frequencies `sqrt(u^2 + v^2)`, in cycles per pixel.
///
/// The highest frequency of an axis is 0.5 and of the plane `sqrt(0.5)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Band {
    /// Frequencies from here on pass; 0 lets the mean through.
    pub low: f64,
    /// Frequencies up to here pass; infinity for all that are higher.
    pub high: f64,
}

impl Band {
    /// Everything up to `cutoff`.
    pub fn low_pass(cutoff: f64) -> Self {
        Self { low: 0.0, high: cutoff }
    }

    /// Everything above `cutoff`.
    pub fn high_pass(cutoff: f64) -> Self {
        Self { low: cutoff, high: f64::INFINITY }
    }
}

/// Keeps a band of frequencies of maps `(H, W)` or `(N, H, W)`.
///
/// The filter is an exact step in the frequency domain: both limits are part of the band. Any height and width will
/// do; frequencies are in cycles per pixel of either axis, so a map that is not square is filtered alike in all
/// directions.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use faithful_frequency::{Band, Edge, band_pass};
/// # fn main() -> candle_core::Result<()> {
/// // A mean of 2 and the highest frequency of a line, half a cycle per pixel.
/// let map = Tensor::new(&[[3f64, 1., 3., 1.]], &Device::Cpu)?;
/// let low = band_pass(&map, Band::low_pass(0.4), Edge::Periodic)?.to_vec2::<f64>()?;
/// let high = band_pass(&map, Band::high_pass(0.4), Edge::Periodic)?.to_vec2::<f64>()?;
/// assert!((low[0][0] - 2.).abs() < 1e-12 && (high[0][0] - 1.).abs() < 1e-12 && (high[0][1] + 1.).abs() < 1e-12);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// Where the map has another shape or no pixels, or the band is empty, negative or not a number.
pub fn band_pass(map: &Tensor, band: Band, edge: Edge) -> Result<Tensor> {
    if !(band.low >= 0.0 && band.high >= band.low) {
        bail!("band_pass: a band must ascend from at least 0 cycles per pixel, got {} to {}", band.low, band.high);
    }
    let planes = Planes::of("band_pass", map)?;
    // A frequency that is a limit to the last bit shall not depend on how a root is rounded.
    let slack = 1e-12;
    let inside = |u: f64, v: f64| {
        let frequency = u.hypot(v);
        frequency >= band.low - slack && frequency <= band.high + slack
    };
    filtered(&planes, edge, &|u, v| f64::from(u8::from(inside(u, v))))
}

/// Splits a map at ascending `cutoffs`, in cycles per pixel: one more band than there are cut-offs, lowest first.
///
/// A frequency that is a cut-off belongs to the band below it. The bands sum to the map, up to rounding.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use faithful_frequency::{Edge, split_bands};
/// # fn main() -> candle_core::Result<()> {
/// let map = Tensor::new(&[[3f64, 1., 3., 1.]], &Device::Cpu)?;
/// let bands = split_bands(&map, &[0.1, 0.3], Edge::Periodic)?;
/// assert!((bands[0].to_vec2::<f64>()?[0][1] - 2.).abs() < 1e-12);
/// assert!(bands[1].to_vec2::<f64>()?[0][1].abs() < 1e-12);
/// assert!((bands[2].to_vec2::<f64>()?[0][1] + 1.).abs() < 1e-12);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// As [`band_pass`], and where the cut-offs do not ascend.
pub fn split_bands(map: &Tensor, cutoffs: &[f64], edge: Edge) -> Result<Vec<Tensor>> {
    if cutoffs.iter().any(|cutoff| cutoff.is_nan() || *cutoff < 0.0)
        || cutoffs.windows(2).any(|pair| pair[1] <= pair[0])
    {
        bail!("split_bands: the cut-offs must ascend from at least 0 cycles per pixel, got {cutoffs:?}");
    }
    let mut below = Tensor::zeros(map.shape(), map.dtype(), map.device())?;
    let mut bands = Vec::with_capacity(cutoffs.len() + 1);
    for &cutoff in cutoffs {
        let up_to = band_pass(map, Band::low_pass(cutoff), edge)?;
        bands.push((&up_to - &below)?);
        below = up_to;
    }
    bands.push((map - below)?);
    Ok(bands)
}

/// Xplique's low pass for attribution maps (its `forgrad` module): frequencies up to 15 cycles in 224 pixels, the map
/// taken for periodic, and then the absolute value.
///
/// `map` is what Xplique makes of an attribution first: the absolute value of its mean over channels. Xplique has
/// square maps only and counts in cycles per image; here 15 of 224 is 0.067 cycles per pixel at every size.
///
/// ```
/// use candle_core::{Device, Tensor};
/// # fn main() -> candle_core::Result<()> {
/// let map = Tensor::new(&[[3f64, 1., 3., 1.]], &Device::Cpu)?;
/// assert!((faithful_frequency::forgrad(&map)? - 2.)?.abs()?.max_all()?.to_scalar::<f64>()? < 1e-12);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// Where the map has another shape or no pixels.
pub fn forgrad(map: &Tensor) -> Result<Tensor> {
    band_pass(map, Band::low_pass(15.0 / 224.0), Edge::Periodic)?.abs()
}

/// Multiplies a map's spectrum by a real, even `gain(u, v)`, frequencies in cycles per pixel down and across.
pub(crate) fn filtered(planes: &Planes<'_>, edge: Edge, gain: &(dyn Fn(f64, f64) -> f64 + Sync)) -> Result<Tensor> {
    planes.map(|plane| {
        let filtered = spectrum_times(plane, [planes.height, planes.width], edge, gain);
        filtered.into_iter().map(|value| value.re).collect()
    })
}

/// One plane with its spectrum multiplied by a real `gain(u, v)`; complex where the gain is not even.
pub(crate) fn spectrum_times(
    plane: &[f64],
    [height, width]: [usize; 2],
    edge: Edge,
    gain: &(dyn Fn(f64, f64) -> f64 + Sync),
) -> Vec<Complex<f64>> {
    let [rows, columns] = match edge {
        Edge::Mirror => [2 * height, 2 * width],
        Edge::Periodic => [height, width],
    };
    let mut grid: Vec<Complex<f64>> = (0..rows * columns)
        .map(|cell| {
            let (row, column) = (mirror((cell / columns) as isize, height), mirror((cell % columns) as isize, width));
            Complex::new(plane[row * width + column], 0.0)
        })
        .collect();
    let mut planner = FftPlanner::new();
    transform(&mut planner, &mut grid, [rows, columns], false);
    let scale = 1.0 / (rows * columns) as f64;
    for (cell, value) in grid.iter_mut().enumerate() {
        *value *= scale * gain(frequency(cell / columns, rows), frequency(cell % columns, columns));
    }
    transform(&mut planner, &mut grid, [rows, columns], true);
    (0..height).flat_map(|row| grid[row * columns..row * columns + width].to_vec()).collect()
}

/// The frequency of place `k` of `size`, in cycles per pixel, from -0.5 to 0.5.
fn frequency(k: usize, size: usize) -> f64 {
    let signed = if 2 * k <= size { k as f64 } else { k as f64 - size as f64 };
    signed / size as f64
}

/// The transform of every row, then of every column, without scaling.
fn transform(planner: &mut FftPlanner<f64>, grid: &mut [Complex<f64>], [rows, columns]: [usize; 2], inverse: bool) {
    let mut along = |size: usize| if inverse { planner.plan_fft_inverse(size) } else { planner.plan_fft_forward(size) };
    along(columns).process(grid);
    let fft = along(rows);
    let mut column = vec![Complex::default(); rows];
    for place in 0..columns {
        for (row, value) in column.iter_mut().enumerate() {
            *value = grid[row * columns + place];
        }
        fft.process(&mut column);
        for (row, value) in column.iter().enumerate() {
            grid[row * columns + place] = *value;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    fn wave(size: usize, cycles: f64, height: usize) -> Tensor {
        let line = (0..size).map(|x| (std::f64::consts::TAU * cycles * x as f64 / size as f64).cos());
        let line: Vec<f64> = line.collect();
        Tensor::from_vec(line, (1, size), &Device::Cpu)
            .unwrap()
            .broadcast_as((height, size))
            .unwrap()
            .contiguous()
            .unwrap()
    }

    fn largest(x: &Tensor) -> f64 {
        x.abs().unwrap().max_all().unwrap().to_scalar::<f64>().unwrap()
    }

    #[test]
    fn a_band_takes_its_own_wave_and_no_other() {
        // 4 and 9 cycles in 45 pixels: 0.089 and 0.2 cycles per pixel.
        let (slow, fast) = (wave(45, 4.0, 3), wave(45, 9.0, 3));
        let both = (&slow + &fast).unwrap();
        let band = Band { low: 0.15, high: 0.25 };
        let found = band_pass(&both, band, Edge::Periodic).unwrap();
        assert!(largest(&(found - &fast).unwrap()) < 1e-12);
        let rest = band_pass(&both, Band::low_pass(0.15), Edge::Periodic).unwrap();
        assert!(largest(&(rest - &slow).unwrap()) < 1e-12);
        // A limit is part of the band.
        let at_limit = band_pass(&fast, Band { low: 0.2, high: 0.2 }, Edge::Periodic).unwrap();
        assert!(largest(&(at_limit - fast).unwrap()) < 1e-12);
    }

    #[test]
    fn mirrored_edges_do_not_leak() {
        let step: Vec<f64> = (0..64).map(|x| f64::from(u8::from(x >= 32))).collect();
        let step = Tensor::from_vec(step, (1, 64), &Device::Cpu).unwrap();
        let first = |edge| {
            let low = band_pass(&step, Band::low_pass(0.05), edge).unwrap();
            low.to_vec2::<f64>().unwrap()[0][0].abs()
        };
        assert!(first(Edge::Mirror) < 0.1, "{}", first(Edge::Mirror));
        assert!(first(Edge::Periodic) > 0.3, "{}", first(Edge::Periodic));
    }

    #[test]
    fn wrong_bands_are_refused() {
        let map = Tensor::zeros((3, 3), candle_core::DType::F32, &Device::Cpu).unwrap();
        assert!(band_pass(&map, Band { low: 0.3, high: 0.2 }, Edge::Mirror).is_err());
        assert!(band_pass(&map, Band { low: f64::NAN, high: 0.2 }, Edge::Mirror).is_err());
        assert!(split_bands(&map, &[0.2, 0.1], Edge::Mirror).is_err());
    }
}
