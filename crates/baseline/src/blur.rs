use candle_core::Tensor;
use faithful_core::{Error, Result};
use faithful_tensor::gaussian_blur2d;

/// A Gaussian blur of standard deviation `sigma`, above 0, of images `(N, C, H, W)` in pixels, or of series `(N, C, T)` along
/// their time.
///
/// The kernel reaches three times `widest` each way, or as far as reflection at the edges allows: the same `widest` gives the
/// same kernel size, so that nothing jumps while `sigma` changes.
///
/// ```
/// use candle_core::{Device, Tensor};
/// let series = Tensor::new(&[[[0f64, 0.0, 1.0, 0.0, 0.0], [3.0, 3.0, 3.0, 3.0, 3.0]]], &Device::Cpu)?;
/// let blurred = faithful_baseline::blur(&series, 1.0, 1.0)?.to_vec3::<f64>()?;
/// assert!(blurred[0][0][2] < 0.5 && (blurred[0][1][2] - 3.0).abs() < 1e-12);
/// # Ok::<(), faithful_core::Error>(())
/// ```
///
/// # Errors
/// [`Error::Shape`] for what is neither image nor series, [`Error::Tensor`] where a width is no number above 0.
pub fn blur(input: &Tensor, sigma: f64, widest: f64) -> Result<Tensor> {
    let taps = |size: usize| 2 * ((3.0 * widest).ceil() as usize).min(size.saturating_sub(1)) + 1;
    match *input.dims() {
        [_, _, height, width] => Ok(gaussian_blur2d(input, [taps(height), taps(width)], [sigma; 2])?),
        [_, _, time] => Ok(gaussian_blur2d(&input.unsqueeze(2)?, [1, taps(time)], [sigma; 2])?.squeeze(2)?),
        ref other => {
            let expected = "images (N, C, H, W) or series (N, C, T)";
            Err(Error::shape("an input to blur", expected, other))
        }
    }
}
