use crate::Picture;
use faithful_core::{Error, Resampling, Result};
use rayon::prelude::*;

/// A rectangle of a resized picture, in its pixels; all of it lies inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) top: usize,
    pub(crate) left: usize,
    pub(crate) height: usize,
    pub(crate) width: usize,
}

/// A picture at another size `[height, width]`, bit for bit as Pillow's `Image.resize` until version 12.
///
/// Pillow 13 sometimes resizes the rows before the columns, which makes a difference of one grey level at most.
///
/// # Errors
/// [`Error::Parameter`] for a side of 0, or more than 64 million pixels.
pub fn resize_picture(picture: &Picture, size: [usize; 2], filter: Resampling) -> Result<Picture> {
    picture.check()?;
    if size.contains(&0) || size[0].saturating_mul(size[1]) > 1 << 26 {
        return Err(Error::parameter("size", format!("{} x {} is outside 1 to 64 million pixels", size[0], size[1])));
    }
    Ok(resize(picture, size, Window { top: 0, left: 0, height: size[0], width: size[1] }, filter))
}

/// The part `window` of `picture` resized to `size`.
///
/// Pillow resizes the columns first, rounds to bytes, and then the rows, with weights in fixed point; the filter is
/// stretched where the picture shrinks. Its nearest neighbour is an affine transform without a filter.
pub(crate) fn resize(picture: &Picture, size: [usize; 2], window: Window, filter: Resampling) -> Picture {
    let mut resized = Picture::filled(window.height, window.width, [0; 3]);
    if filter == Resampling::Nearest {
        for row in 0..window.height {
            let from_row = nearest(window.top + row, size[0], picture.height);
            for column in 0..window.width {
                let from_column = nearest(window.left + column, size[1], picture.width);
                resized.set(row, column, picture.at(from_row, from_column));
            }
        }
        return resized;
    }
    let rows = taps(picture.height, size[0], window.top..window.top + window.height, filter);
    let columns = taps(picture.width, size[1], window.left..window.left + window.width, filter);
    // Only the rows that some output row takes.
    let first = rows.iter().map(|taps| taps.first).min().unwrap_or(0);
    let last = rows.iter().map(|taps| taps.first + taps.weights.len()).max().unwrap_or(0);

    let stride = window.width * 3;
    let mut narrow = vec![0; (last - first) * stride];
    let source = &picture.pixels[first * picture.width * 3..last * picture.width * 3];
    narrow.par_chunks_exact_mut(stride).zip(source.par_chunks_exact(picture.width * 3)).for_each(|(to, from)| {
        if size[1] == picture.width {
            // Pillow leaves out the pass along an axis whose length stays.
            to.copy_from_slice(&from[window.left * 3..window.left * 3 + stride]);
            return;
        }
        for (to, taps) in to.chunks_exact_mut(3).zip(&columns) {
            let mut sums = [ROUNDING; 3];
            for (weight, pixel) in taps.weights.iter().zip(from[taps.first * 3..].chunks_exact(3)) {
                for (sum, &value) in sums.iter_mut().zip(pixel) {
                    *sum += weight * i32::from(value);
                }
            }
            to.copy_from_slice(&sums.map(to_byte));
        }
    });
    resized.pixels.par_chunks_exact_mut(stride).zip(&rows).enumerate().for_each(|(row, (to, taps))| {
        if size[0] == picture.height {
            let from = (window.top + row - first) * stride;
            to.copy_from_slice(&narrow[from..from + stride]);
            return;
        }
        let mut sums = vec![ROUNDING; stride];
        for (weight, from) in taps.weights.iter().zip(narrow[(taps.first - first) * stride..].chunks_exact(stride)) {
            for (sum, &value) in sums.iter_mut().zip(from) {
                *sum += weight * i32::from(value);
            }
        }
        for (to, sum) in to.iter_mut().zip(sums) {
            *to = to_byte(sum);
        }
    });
    resized
}

/// The part `window` of a channel of any values, of `from` `[height, width]`, resized to `size` with the weights of
/// [`resize`]; nothing is rounded.
pub(crate) fn resize_plane(
    plane: &[f32],
    from: [usize; 2],
    size: [usize; 2],
    window: Window,
    filter: Resampling,
) -> Vec<f32> {
    if filter == Resampling::Nearest {
        let cell = |row: usize, column: usize| {
            plane[nearest(window.top + row, size[0], from[0]) * from[1]
                + nearest(window.left + column, size[1], from[1])]
        };
        return (0..window.height).flat_map(|row| (0..window.width).map(move |column| cell(row, column))).collect();
    }
    let along = |outputs: usize, inputs: usize, wanted: std::ops::Range<usize>| {
        if outputs == inputs {
            return wanted.map(|at| Taps { first: at, weights: vec![1 << PRECISION] }).collect();
        }
        taps(inputs, outputs, wanted, filter)
    };
    let rows = along(size[0], from[0], window.top..window.top + window.height);
    let columns = along(size[1], from[1], window.left..window.left + window.width);
    let sum = |taps: &Taps, value: &dyn Fn(usize) -> f64| {
        let parts = taps.weights.iter().enumerate().map(|(at, weight)| f64::from(*weight) * value(taps.first + at));
        parts.sum::<f64>() / f64::from(1_u32 << PRECISION)
    };
    let narrow = |row: usize| -> Vec<f64> {
        columns.iter().map(|taps| sum(taps, &|column| f64::from(plane[row * from[1] + column]))).collect()
    };
    let first = rows.iter().map(|taps| taps.first).min().unwrap_or(0);
    let last = rows.iter().map(|taps| taps.first + taps.weights.len()).max().unwrap_or(0);
    let narrow: Vec<Vec<f64>> = (first..last).map(narrow).collect();
    rows.iter()
        .flat_map(|taps| {
            (0..window.width).map(|column| sum(taps, &|row| narrow[row - first][column]) as f32).collect::<Vec<_>>()
        })
        .collect()
}

/// Weights have so many bits behind the point: 32 less 8 of the byte and 2 of headroom for negative lobes.
const PRECISION: u32 = 32 - 8 - 2;
const ROUNDING: i32 = 1 << (PRECISION - 1);

fn to_byte(sum: i32) -> u8 {
    (sum >> PRECISION).clamp(0, 255) as u8
}

/// Pillow walks over the source in steps and truncates.
fn nearest(output: usize, outputs: usize, inputs: usize) -> usize {
    let scale = inputs as f64 / outputs as f64;
    ((scale * 0.5 + scale * output as f64) as usize).min(inputs - 1)
}

/// What one output pixel takes: fixed-point weights of the inputs from `first` on.
struct Taps {
    first: usize,
    weights: Vec<i32>,
}

fn taps(inputs: usize, outputs: usize, wanted: std::ops::Range<usize>, filter: Resampling) -> Vec<Taps> {
    let scale = inputs as f64 / outputs as f64;
    let stretch = scale.max(1.0);
    let support = radius(filter) * stretch;
    wanted
        .map(|output| {
            let centre = (output as f64 + 0.5) * scale;
            let first = (centre - support + 0.5).max(0.0) as usize;
            let last = ((centre + support + 0.5) as usize).min(inputs).max(first + 1);
            let weights: Vec<f64> =
                (first..last).map(|input| weight(filter, (input as f64 - centre + 0.5) / stretch)).collect();
            let sum: f64 = weights.iter().sum();
            // Away from zero at halves, as Pillow rounds.
            let fixed = |weight: f64| (weight / sum * f64::from(1_u32 << PRECISION)).round() as i32;
            Taps { first, weights: weights.into_iter().map(fixed).collect() }
        })
        .collect()
}

fn radius(filter: Resampling) -> f64 {
    match filter {
        Resampling::Nearest | Resampling::Bilinear => 1.0,
        Resampling::Bicubic => 2.0,
        Resampling::Lanczos => 3.0,
    }
}

fn weight(filter: Resampling, x: f64) -> f64 {
    let x = x.abs();
    match filter {
        Resampling::Nearest | Resampling::Bilinear => (1.0 - x).max(0.0),
        // Keys's cubic with a = -0.5.
        Resampling::Bicubic if x < 1.0 => (1.5 * x - 2.5) * x * x + 1.0,
        Resampling::Bicubic if x < 2.0 => -0.5 * (((x - 5.0) * x + 8.0) * x - 4.0),
        Resampling::Lanczos if x < 3.0 => sinc(x) * sinc(x / 3.0),
        Resampling::Bicubic | Resampling::Lanczos => 0.0,
    }
}

fn sinc(x: f64) -> f64 {
    if x == 0.0 {
        return 1.0;
    }
    let angle = x * std::f64::consts::PI;
    angle.sin() / angle
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILTERS: [Resampling; 4] =
        [Resampling::Nearest, Resampling::Bilinear, Resampling::Bicubic, Resampling::Lanczos];

    fn pattern(height: usize, width: usize) -> Picture {
        let pixels = (0..height * width * 3).map(|i| ((i * 2_654_435_761) >> 7) as u8).collect();
        Picture { height, width, pixels }
    }

    #[test]
    fn the_same_size_and_a_flat_picture_stay_as_they_are() {
        let picture = pattern(5, 7);
        let flat = Picture::filled(9, 4, [7, 200, 255]);
        for filter in FILTERS {
            let all = Window { top: 0, left: 0, height: 5, width: 7 };
            assert_eq!(resize(&picture, [5, 7], all, filter), picture);
            assert_eq!(resize(&flat, [5, 7], all, filter), Picture::filled(5, 7, [7, 200, 255]));
        }
    }

    #[test]
    fn a_window_is_a_part_of_the_whole() {
        let picture = pattern(23, 17);
        for filter in FILTERS {
            for size in [[9, 11], [40, 11], [23, 30]] {
                let whole = resize(&picture, size, Window { top: 0, left: 0, height: size[0], width: size[1] }, filter);
                let part = resize(&picture, size, Window { top: 3, left: 2, height: 5, width: 8 }, filter);
                for row in 0..5 {
                    for column in 0..8 {
                        assert_eq!(part.at(row, column), whole.at(row + 3, column + 2));
                    }
                }
            }
        }
    }

    #[test]
    fn a_channel_is_resized_as_a_picture_is() {
        let picture = pattern(23, 17);
        let plane: Vec<f32> = picture.pixels.chunks_exact(3).map(|pixel| f32::from(pixel[1])).collect();
        for filter in FILTERS {
            for size in [[9, 11], [40, 11], [23, 30]] {
                let window = Window { top: 3, left: 2, height: 5, width: 8 };
                let bytes = resize(&picture, size, window, filter);
                let values = resize_plane(&plane, [23, 17], size, window, filter);
                for (byte, value) in bytes.pixels.chunks_exact(3).map(|pixel| f32::from(pixel[1])).zip(values) {
                    // Bytes are rounded twice, and cut off where a filter overshoots.
                    assert!((byte - value.clamp(0.0, 255.0)).abs() <= 1.3, "{filter:?}: {byte} {value}");
                }
            }
        }
    }

    #[test]
    fn halving_averages_four_with_the_triangle() {
        // Per axis the triangle of radius 2 gives 1 3 3 1 / 8, cut at the border to 3 3 1 / 7.
        let picture = Picture { height: 1, width: 4, pixels: [0, 70, 140, 210].iter().flat_map(|&v| [v; 3]).collect() };
        let halved = resize(&picture, [1, 2], Window { top: 0, left: 0, height: 1, width: 2 }, Resampling::Bilinear);
        assert_eq!(halved.pixels, [50, 50, 50, 160, 160, 160]);
    }
}
