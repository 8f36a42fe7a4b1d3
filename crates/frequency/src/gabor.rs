use crate::fourier::{Edge, filtered, spectrum_times};
use crate::planes::Planes;
use candle_core::{Result, Tensor, bail};
use std::f64::consts::{LN_2, PI};

/// Which waves a Gabor bank looks for.
#[derive(Clone, Debug, PartialEq)]
pub struct GaborBank {
    /// The filters' centre frequencies in cycles per pixel, in `(0, 0.5]`; 1/4, 1/8 and 1/16.
    pub frequencies: Vec<f64>,
    /// How many directions, evenly over half a turn, starting with waves that run across (vertical stripes); 4.
    pub orientations: usize,
    /// The full width at half amplitude along the wave's direction, in octaves; 1, as in primary visual cortex.
    pub bandwidth: f64,
    /// What lies beyond the edge.
    pub edge: Edge,
}

impl Default for GaborBank {
    fn default() -> Self {
        Self { frequencies: vec![0.25, 0.125, 0.0625], orientations: 4, bandwidth: 1.0, edge: Edge::default() }
    }
}

/// One filter's answer.
#[derive(Clone, Debug)]
pub struct GaborResponse {
    /// The filter's centre frequency in cycles per pixel.
    pub frequency: f64,
    /// The direction in which its wave runs, in radians from the horizontal axis towards the vertical one, in `[0, pi)`.
    pub orientation: f64,
    /// The amplitude of that wave at each pixel, of the map's shape: the absolute value of the complex answer.
    pub amplitude: Tensor,
}

/// The local amplitudes of waves of several frequencies and directions in maps `(H, W)` or `(N, H, W)` (Gabor 1946;
/// Daugman 1985).
///
/// Each filter is a Gaussian of equal width in all directions around its centre in the frequency domain,
/// `exp(-|(u, v) - f (sin t, cos t)|^2 / (2 s^2))`, where `s = f (2^b - 1) / (2^b + 1) / sqrt(2 ln 2)` gives the half
/// amplitude bandwidth of `b` octaves; twice that, since it sees only one of a real wave's two halves, so that the
/// answer to a wave of its own frequency and direction is that wave's amplitude. One answer per frequency and
/// direction, directions varying fastest. The mean of a map passes by no more than `2 exp(-f^2 / (2 s^2))`, 0.4% at
/// one octave.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use faithful_frequency::{GaborBank, gabor_responses};
/// # fn main() -> candle_core::Result<()> {
/// // Vertical stripes of amplitude 3, four pixels wide.
/// let line: Vec<f64> = (0..32).map(|x| 3. * (std::f64::consts::FRAC_PI_2 * (x as f64 + 0.5)).cos()).collect();
/// let stripes = Tensor::from_vec(line, (1, 32), &Device::Cpu)?.broadcast_as((32, 32))?.contiguous()?;
/// let answers = gabor_responses(&stripes, &GaborBank::default())?;
/// assert_eq!((answers[0].frequency, answers[0].orientation), (0.25, 0.0));
/// let amplitude = answers[0].amplitude.to_vec2::<f64>()?;
/// assert!((amplitude[16][16] - 3.).abs() < 0.01);
/// let across = answers[2].amplitude.to_vec2::<f64>()?;
/// assert!(across[16][16] < 0.05);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// Where the map has another shape or no pixels, a frequency is outside `(0, 0.5]`, there is no orientation, or the
/// bandwidth is not positive.
pub fn gabor_responses(map: &Tensor, bank: &GaborBank) -> Result<Vec<GaborResponse>> {
    let planes = Planes::of("gabor_responses", map)?;
    if let Some(frequency) = bank.frequencies.iter().find(|frequency| !(**frequency > 0.0 && **frequency <= 0.5)) {
        bail!("gabor_responses: frequencies are in (0, 0.5] cycles per pixel, got {frequency}");
    }
    if bank.orientations == 0 || !(bank.bandwidth > 0.0 && bank.bandwidth.is_finite()) {
        let GaborBank { orientations, bandwidth, .. } = bank;
        bail!("gabor_responses: needs an orientation and a positive bandwidth, got {orientations} and {bandwidth}");
    }
    let octaves = 2f64.powf(bank.bandwidth);
    let relative = (octaves - 1.0) / (octaves + 1.0) / (2.0 * LN_2).sqrt();
    let mut responses = Vec::with_capacity(bank.frequencies.len() * bank.orientations);
    for &frequency in &bank.frequencies {
        for turn in 0..bank.orientations {
            let orientation = PI * turn as f64 / bank.orientations as f64;
            let (down, across) = (frequency * orientation.sin(), frequency * orientation.cos());
            let width = 2.0 * (frequency * relative).powi(2);
            let gain =
                |u: f64, v: f64| 2.0 * (-(wrapped(u - down).powi(2) + wrapped(v - across).powi(2)) / width).exp();
            let amplitude = planes.map(|plane| {
                let answer = spectrum_times(plane, [planes.height, planes.width], bank.edge, &gain);
                answer.into_iter().map(rustfft::num_complex::Complex::norm).collect()
            })?;
            responses.push(GaborResponse { frequency, orientation, amplitude });
        }
    }
    Ok(responses)
}

/// The waves of maps `(H, W)` or `(N, H, W)` that are finer than `cutoff` cycles per pixel, in all directions: the map through a
/// bank of Gabor filters, of which each passes what its frequency response says.
///
/// Centre frequencies are `2^0.5`, `2^1.5` … times the cut-off as far as the map's pixels hold them (at least one), directions eight
/// over half a turn, widths those of [`gabor_responses`] at one octave. A wave passes as far as any filter lets it:
/// `1 - prod_i (1 - g_i)` of its amplitude, without a shift, less what that is for the mean and over the rest, so that the mean does not
/// pass.
///
/// # Errors
/// Where the map has another shape or no pixels, or the cut-off is outside `(0, 0.5]`.
pub fn gabor_high_pass(map: &Tensor, cutoff: f64) -> Result<Tensor> {
    if !(cutoff > 0.0 && cutoff <= 0.5) {
        bail!("gabor_high_pass: the cut-off is in (0, 0.5] cycles per pixel, got {cutoff}");
    }
    let planes = Planes::of("gabor_high_pass", map)?;
    let relative = 1.0 / 3.0 / (2.0 * LN_2).sqrt();
    let mut centres = Vec::new();
    let mut frequency = (cutoff * 2f64.sqrt()).min(0.5);
    loop {
        for turn in 0..8 {
            let orientation = PI * f64::from(turn) / 8.0;
            centres.push((frequency * orientation.sin(), frequency * orientation.cos(), frequency * relative));
        }
        frequency *= 2.0;
        // The corners of the spectrum lie at sqrt(0.5).
        if frequency > 0.5f64.sqrt() {
            break;
        }
    }
    let response = |u: f64, v: f64| {
        // Centres beyond the highest frequency along an axis are for the corners; they do not come round to the mean.
        let (u, v) = (wrapped(u), wrapped(v));
        let blocked: f64 = centres
            .iter()
            .map(|&(down, across, width)| {
                let near = |sign: f64| {
                    let square = (u - sign * down).powi(2) + (v - sign * across).powi(2);
                    (-square / (2.0 * width * width)).exp()
                };
                1.0 - near(1.0).max(near(-1.0))
            })
            .product();
        1.0 - blocked
    };
    let mean = response(0.0, 0.0);
    filtered(&planes, Edge::Mirror, &|u, v| ((response(u, v) - mean) / (1.0 - mean)).max(0.0))
}

/// A difference of frequencies on the circle on which a sampled signal's frequencies lie: in `[-0.5, 0.5]`.
fn wrapped(difference: f64) -> f64 {
    difference - difference.round()
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn the_strongest_answer_names_frequency_and_direction() {
        let (size, frequency, orientation) = (64usize, 0.125, PI / 4.0);
        let value = |cell: usize| {
            let (row, column) = ((cell / size) as f64, (cell % size) as f64);
            (2.0 * PI * frequency * (row * f64::sin(orientation) + column * f64::cos(orientation))).cos()
        };
        let wave: Vec<f64> = (0..size * size).map(value).collect();
        let wave = Tensor::from_vec(wave, (size, size), &Device::Cpu).unwrap();
        let answers = gabor_responses(&wave, &GaborBank::default()).unwrap();
        assert_eq!(answers.len(), 12);
        let centre = |answer: &GaborResponse| answer.amplitude.to_vec2::<f64>().unwrap()[32][32];
        let best = answers.iter().max_by(|a, b| centre(a).total_cmp(&centre(b))).unwrap();
        assert_eq!((best.frequency, best.orientation), (frequency, orientation));
        assert!((centre(best) - 1.0).abs() < 0.02, "{}", centre(best));
    }

    #[test]
    fn fine_waves_pass_in_all_directions_and_coarse_ones_do_not() {
        let passed = |frequency: f64, orientation: f64| {
            let size = 64usize;
            let value = |cell: usize| {
                let (row, column) = ((cell / size) as f64 - 32.0, (cell % size) as f64 - 32.0);
                (2.0 * PI * frequency * (row * f64::sin(orientation) + column * f64::cos(orientation))).cos()
            };
            let wave: Vec<f64> = (0..size * size).map(value).collect();
            let wave = Tensor::from_vec(wave, (size, size), &Device::Cpu).unwrap();
            gabor_high_pass(&wave, 0.0625).unwrap().to_vec2::<f64>().unwrap()[32][32]
        };
        for orientation in [0.0, 0.4, 1.2, 2.9] {
            for frequency in [0.09, 0.13, 0.25, 0.4] {
                let kept = passed(frequency, orientation);
                assert!(kept > 0.75 && kept < 1.02, "{frequency} {orientation}: {kept}");
            }
            assert!(passed(0.015, orientation) < 0.1, "{orientation}");
        }
        let flat = Tensor::full(1f64, (9, 5), &Device::Cpu).unwrap();
        let left = gabor_high_pass(&flat, 0.1).unwrap().abs().unwrap().max_all().unwrap().to_scalar::<f64>().unwrap();
        assert!(left < 0.03, "{left}");
        assert!(gabor_high_pass(&flat, 0.6).is_err());
    }

    #[test]
    fn a_flat_map_has_no_waves() {
        let flat = Tensor::full(1f64, (1, 9, 5), &Device::Cpu).unwrap();
        for answer in gabor_responses(&flat, &GaborBank::default()).unwrap() {
            assert!(answer.amplitude.max_all().unwrap().to_scalar::<f64>().unwrap() < 0.005);
        }
        assert!(gabor_responses(&flat, &GaborBank { frequencies: vec![0.6], ..GaborBank::default() }).is_err());
        assert!(gabor_responses(&flat, &GaborBank { orientations: 0, ..GaborBank::default() }).is_err());
    }
}
