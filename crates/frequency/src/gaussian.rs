use crate::planes::{Planes, mirror};
use candle_core::{Result, Tensor, bail};

/// Blurs maps `(H, W)` or `(N, H, W)` with a Gaussian of standard deviation `sigma` in pixels, 0 leaving them as
/// they are.
///
/// The weights are `exp(-d^2 / (2 sigma^2))` for `|d| <= 4 sigma`, scaled to sum 1, and the map is mirrored at its
/// edges: `scipy.ndimage.gaussian_filter`'s defaults. The mean is conserved. In the frequency domain the filter is
/// `exp(-2 pi^2 sigma^2 f^2)`, with `f` in cycles per pixel; see [`sigma_of_cutoff`].
///
/// ```
/// use candle_core::{Device, Tensor};
/// # fn main() -> candle_core::Result<()> {
/// let point = Tensor::new(&[[0f64, 0., 1., 0., 0.]], &Device::Cpu)?;
/// let blurred = faithful_frequency::gaussian_blur(&point, 0.5)?.to_vec2::<f64>()?;
/// // Weights 1, e^-2 and e^-8, scaled to sum 1.
/// assert!((blurred[0][2] - 0.786_570).abs() < 1e-6 && (blurred[0][1] - 0.106_450).abs() < 1e-6);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// Where the map has another shape or no pixels, or `sigma` is negative or not finite.
pub fn gaussian_blur(map: &Tensor, sigma: f64) -> Result<Tensor> {
    let planes = Planes::of("gaussian_blur", map)?;
    check_sigma("gaussian_blur", sigma)?;
    if sigma == 0.0 {
        return Ok(map.clone());
    }
    planes.map(|plane| blur(plane, planes.height, planes.width, sigma))
}

/// The standard deviation of the Gaussian that halves the amplitude at `cutoff` cycles per pixel:
/// `sqrt(ln 2 / 2) / (pi cutoff)`.
///
/// ```
/// // A quarter of a cycle per pixel is what a grid of every second pixel can still hold.
/// assert!((faithful_frequency::sigma_of_cutoff(0.25) - 0.749_6).abs() < 1e-4);
/// ```
pub fn sigma_of_cutoff(cutoff: f64) -> f64 {
    (std::f64::consts::LN_2 / 2.0).sqrt() / (std::f64::consts::PI * cutoff)
}

/// Splits a map into differences of Gaussians: `M = sum_i (G_i M - G_(i+1) M) + G_last M`, with `G_0 M = M`.
///
/// `sigmas` are in pixels and ascend; the result has one band per sigma, finest first, and then what is left, all of
/// the map's shape. Their sum is the map, exactly up to rounding (Marr and Hildreth 1980 for the difference as a band
/// pass; Burt and Adelson 1983 for the telescoping sum).
///
/// ```
/// use candle_core::{Device, Tensor};
/// # fn main() -> candle_core::Result<()> {
/// let map = Tensor::new(&[[1f64, 5., 2.], [0., 3., 3.]], &Device::Cpu)?;
/// let bands = faithful_frequency::difference_of_gaussians(&map, &[1., 2.])?;
/// let sum = ((&bands[0] + &bands[1])? + &bands[2])?;
/// assert!((sum - map)?.abs()?.max_all()?.to_scalar::<f64>()? < 1e-12);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// As [`gaussian_blur`], and where the sigmas do not ascend from above zero.
pub fn difference_of_gaussians(map: &Tensor, sigmas: &[f64]) -> Result<Vec<Tensor>> {
    if sigmas.first().is_some_and(|&first| first <= 0.0) || sigmas.windows(2).any(|pair| pair[1] <= pair[0]) {
        bail!("difference_of_gaussians: the sigmas must ascend from above zero, got {sigmas:?}");
    }
    let mut finer = map.clone();
    let mut bands = Vec::with_capacity(sigmas.len() + 1);
    for &sigma in sigmas {
        let coarser = gaussian_blur(map, sigma)?;
        bands.push((&finer - &coarser)?);
        finer = coarser;
    }
    bands.push(finer);
    Ok(bands)
}

/// What a Gaussian of `sigma` pixels takes away: `M - G M`.
///
/// Half of the amplitude at the frequency `f` with [`sigma_of_cutoff`]`(f) = sigma` passes.
///
/// # Errors
/// As [`gaussian_blur`].
pub fn gaussian_high_pass(map: &Tensor, sigma: f64) -> Result<Tensor> {
    map - gaussian_blur(map, sigma)?
}

pub(crate) fn check_sigma(what: &str, sigma: f64) -> Result<()> {
    if !(sigma >= 0.0 && sigma.is_finite()) {
        bail!("{what}: sigma must be at least 0 pixels and finite, got {sigma}");
    }
    Ok(())
}

fn blur(plane: &[f64], height: usize, width: usize, sigma: f64) -> Vec<f64> {
    let taps = taps(sigma);
    let reach = taps.len() - 1;
    let mirrored: Vec<usize> = (0..width + 2 * reach).map(|at| mirror(at as isize - reach as isize, width)).collect();
    let mut padded = vec![0.0; mirrored.len()];
    let mut along = vec![0.0; plane.len()];
    for (line, blurred) in plane.chunks_exact(width).zip(along.chunks_exact_mut(width)) {
        padded.iter_mut().zip(&mirrored).for_each(|(value, &place)| *value = line[place]);
        let pair = |distance: usize| (&padded[reach - distance..][..width], &padded[reach + distance..][..width]);
        convolve(blurred, &taps, pair);
    }
    let mut both = vec![0.0; plane.len()];
    let line = |row: isize| &along[mirror(row, height) * width..][..width];
    for (row, blurred) in both.chunks_exact_mut(width).enumerate() {
        convolve(blurred, &taps, |distance| (line(row as isize - distance as isize), line((row + distance) as isize)));
    }
    both
}

/// The sum of the taps, each times the values at its distance on either side; `pair(0)` is the centre twice.
fn convolve<'a>(blurred: &mut [f64], taps: &[f64], pair: impl Fn(usize) -> (&'a [f64], &'a [f64])) {
    blurred.iter_mut().zip(pair(0).0).for_each(|(sum, centre)| *sum = taps[0] * centre);
    for (distance, tap) in taps.iter().enumerate().skip(1) {
        let (before, behind) = pair(distance);
        for ((sum, before), behind) in blurred.iter_mut().zip(before).zip(behind) {
            *sum += tap * (before + behind);
        }
    }
}

/// One half of the kernel, from the centre outwards, the whole of which sums to 1.
fn taps(sigma: f64) -> Vec<f64> {
    let reach = (4.0 * sigma + 0.5) as usize;
    let weights: Vec<f64> = (0..=reach).map(|distance| (-0.5 * (distance as f64 / sigma).powi(2)).exp()).collect();
    let sum = 2.0 * weights.iter().sum::<f64>() - weights[0];
    weights.into_iter().map(|weight| weight / sum).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn blurs_as_scipy() {
        // scipy.ndimage.gaussian_filter(np.arange(6.).reshape(2, 3) ** 2, 1.2)
        let map = Tensor::arange(0f64, 6., &Device::Cpu).unwrap().sqr().unwrap().reshape((2, 3)).unwrap();
        let blurred = gaussian_blur(&map, 1.2).unwrap().to_vec2::<f64>().unwrap();
        let scipy = [[5.871_937_629, 7.869_126_675, 9.951_315_643], [7.949_335_137, 10.407_540_044, 12.950_744_873]];
        for (row, expected) in blurred.iter().zip(scipy) {
            for (value, expected) in row.iter().zip(expected) {
                assert!((value - expected).abs() < 1e-8, "{blurred:?}");
            }
        }
    }

    #[test]
    fn the_mean_is_conserved_and_one_pixel_stays() {
        let map = Tensor::new(&[[[1f64, -2., 7.], [0., 0., 4.]]], &Device::Cpu).unwrap();
        let blurred = gaussian_blur(&map, 3.0).unwrap();
        assert!((blurred.mean_all().unwrap().to_scalar::<f64>().unwrap() - 10.0 / 6.0).abs() < 1e-12);
        let one = Tensor::new(&[[5f32]], &Device::Cpu).unwrap();
        assert_eq!(gaussian_blur(&one, 2.0).unwrap().to_vec2::<f32>().unwrap(), [[5.0]]);
    }

    #[test]
    fn half_the_amplitude_passes_at_the_cutoff() {
        let (cutoff, size) = (0.1, 200);
        let wave: Vec<f64> = (0..size).map(|x| (std::f64::consts::TAU * cutoff * (x as f64 + 0.5)).cos()).collect();
        let wave = Tensor::from_vec(wave, (1, size), &Device::Cpu).unwrap();
        let high = gaussian_high_pass(&wave, sigma_of_cutoff(cutoff)).unwrap();
        let half =
            ((wave * 0.5).unwrap() - high).unwrap().abs().unwrap().max_all().unwrap().to_scalar::<f64>().unwrap();
        assert!(half < 1e-3, "{half}");
    }

    #[test]
    fn what_cannot_be_blurred_is_refused() {
        let map = Tensor::zeros((2, 3), candle_core::DType::F32, &Device::Cpu).unwrap();
        assert!(gaussian_blur(&map, -1.0).is_err());
        assert!(gaussian_blur(&map, f64::NAN).is_err());
        assert!(gaussian_blur(&map.unsqueeze(0).unwrap().unsqueeze(0).unwrap(), 1.0).is_err());
        assert!(gaussian_blur(&Tensor::zeros((0, 3), candle_core::DType::F32, &Device::Cpu).unwrap(), 1.0).is_err());
        assert!(difference_of_gaussians(&map, &[2.0, 1.0]).is_err());
    }
}
