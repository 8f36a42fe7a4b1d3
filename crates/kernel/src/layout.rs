use super::map::{Map, MapMut};
use candle_core::{Result, bail};

/// Copies `planes` of `(N, C, H, W)` into a map.
pub fn from_planar(planes: &[f32], mut out: MapMut) -> Result<()> {
    let [n, h, w, c] = out.shape();
    if planes.len() != n * h * w * c {
        bail!("{} numbers are not {n} x {c} planes of {h} x {w}", planes.len());
    }
    let (pixels, width, to) = (h * w, out.pixel(), out.pointer());
    strips(n, pixels, |image, from, end| {
        for channels in (0..c).step_by(SIDE) {
            for pixel in from..end {
                for channel in channels..(channels + SIDE).min(c) {
                    // SAFETY: inside the map; the strip's pixels are this task's.
                    unsafe {
                        *to.at((image * pixels + pixel) * width + channel) =
                            *planes.get_unchecked((image * c + channel) * pixels + pixel);
                    }
                }
            }
        }
    });
    Ok(())
}

/// Copies a map into `planes` of `(N, C, H, W)`.
pub fn to_planar(map: Map, planes: &mut [f32]) -> Result<()> {
    let [n, h, w, c] = map.shape();
    if planes.len() != n * h * w * c {
        bail!("{} numbers are not {n} x {c} planes of {h} x {w}", planes.len());
    }
    let (pixels, width, from, to) = (h * w, map.pixel(), map.pointer(), super::map::Target(planes.as_mut_ptr()));
    strips(n, pixels, |image, start, end| {
        for first in (start..end).step_by(SIDE) {
            for channel in 0..c {
                for pixel in first..(first + SIDE).min(end) {
                    // SAFETY: inside map and planes; the strip's pixels are this task's.
                    unsafe {
                        *to.at((image * c + channel) * pixels + pixel) =
                            *from.at((image * pixels + pixel) * width + channel);
                    }
                }
            }
        }
    });
    Ok(())
}

/// The side of the squares that are transposed at a time: a cache line.
const SIDE: usize = 16;
/// Pixels per task.
const STRIP: usize = 1024;

fn strips(images: usize, pixels: usize, work: impl Fn(usize, usize, usize) + Sync + Send) {
    let per_image = pixels.div_ceil(STRIP);
    super::each_task(images * per_image, |index| {
        let from = index % per_image * STRIP;
        work(index / per_image, from, (from + STRIP).min(pixels));
    });
}
