//! SESS: Grad-CAM of windows of the enlarged input, pasted back into one map.

use super::Perturbation;
use super::masks::min_max;
use crate::expectation::values;
use crate::fusion::{fuse, resize_map};
use crate::rule;
use candle_core::{DType, Tensor};
use faithful_core::{Error, LayerTrace, Result};
use faithful_tensor::{Resize, gaussian_blur2d, resize2d};

/// How many sizes of the input there are.
const SIZES: usize = 12;
/// By how much each is larger than the one before, as a share of the input.
const STEP: f64 = 2.0 / 7.0;

/// The input at 12 sizes, each larger by 2/7 of the first, in windows of the input's own size that do not overlap but at the far edges.
/// Each window's Grad-CAM map, scaled to `[0, 1]`, times its probability of the class over the highest of all windows, is
/// put back where the window was; the map is their mean over the windows that have something there, blurred by 11 taps with a
/// deviation of 5.
///
/// pytorch-grad-cam's, which has the paper's defaults; its windows are square, which is the same for square inputs. Where the score is of no
/// class, its own values above zero weigh the windows; all alike where none is above zero. About 120 times the work of
/// Grad-CAM.
pub(super) fn sess(perturbation: &Perturbation<'_>) -> Result<Vec<Tensor>> {
    let Perturbation { objective, input, layers, layout, size, .. } = *perturbation;
    if perturbation.is_series() {
        return Err(Error::shape("the input of SESS", "an image (N, C, H, W)", input.dims()));
    }
    let sizes = perturbation.parameters.draws.map_or(SIZES, std::num::NonZeroUsize::get);
    let windows: Vec<Window> = (0..sizes).flat_map(|step| Window::all(size, step)).collect();
    let batch = objective.batch().get();
    let network = objective.network();
    network.announce(windows.len(), windows.len());
    let mut weights = vec![Vec::with_capacity(windows.len()); perturbation.scores.len()];
    for part in windows.chunks(batch) {
        let outputs = network.evaluate(&cut(input, part)?, &[])?.0;
        for (weights, score) in weights.iter_mut().zip(perturbation.scores) {
            let found = match score.class() {
                Some(class) => {
                    let probable = perturbation.parameters.probabilities.probability(class);
                    faithful_core::Score::score(&probable, &outputs)?
                }
                None => score.score(&outputs)?,
            };
            weights.extend(values(&found)?.into_iter().map(|value| value.max(0.0)));
        }
    }
    let rule = perturbation.definition.rule(rule("grad-cam")?);
    let mut sums = vec![Mean::new(size); perturbation.scores.len()];
    for (chunk, part) in windows.chunks(batch).enumerate() {
        let all = objective.differentiate_scores(&cut(input, part)?, layers, false, perturbation.scores)?;
        for ((one, sum), weights) in all.iter().zip(&mut sums).zip(&weights) {
            let maps = one
                .traces
                .iter()
                .map(|trace| {
                    let layout = layout.resolve(input.dims(), trace.activation.dims())?;
                    let activation = layout.channels_first(&trace.activation)?;
                    rule.apply(&LayerTrace { activation, gradient: layout.channels_first(&trace.gradient)? })
                })
                .collect::<Result<Vec<_>>>()?;
            let scaled = min_max(&fuse(&maps, perturbation.fusion)?.unsqueeze(1)?, 0.0)?.squeeze(1)?;
            let scaled = resize_map(&scaled, size)?;
            let highest = weights.iter().copied().fold(0.0, f64::max);
            for (row, window) in part.iter().enumerate() {
                let weight = if highest > 0.0 { weights[chunk * batch + row] / highest } else { 1.0 };
                sum.add(&(window.paste(&scaled.narrow(0, row, 1)?)? * weight)?)?;
            }
        }
    }
    sums.iter().map(|sum| sum.blurred(input)).collect()
}

/// A window of the input's size in the enlarged input.
struct Window {
    /// The enlarged input's height and width.
    large: [usize; 2],
    corner: [usize; 2],
    size: [usize; 2],
}

impl Window {
    /// The windows of one size of the input.
    fn all(size: [usize; 2], step: usize) -> Vec<Self> {
        let [height, width] = size;
        let shorter = height.min(width);
        let side = shorter + step * (shorter as f64 * STEP).round() as usize;
        let large = size.map(|axis| side * axis / shorter);
        let starts = |axis: usize| -> Vec<usize> {
            (0..large[axis].div_ceil(size[axis])).map(|i| (i * size[axis]).min(large[axis] - size[axis])).collect()
        };
        let columns = starts(1);
        starts(0).into_iter().flat_map(|y| columns.iter().map(move |x| Self { large, corner: [y, *x], size })).collect()
    }

    /// A map `(1, h, w)` of the window as a map of the input, zero elsewhere.
    fn paste(&self, map: &Tensor) -> Result<Tensor> {
        let [[y, x], [height, width]] = [self.corner, self.size];
        let map = map.pad_with_zeros(1, y, self.large[0] - y - height)?;
        resize_map(&map.pad_with_zeros(2, x, self.large[1] - x - width)?, self.size)
    }
}

/// What the windows show `(n, C, H, W)`.
fn cut(input: &Tensor, windows: &[Window]) -> Result<Tensor> {
    let mut known: Option<([usize; 2], Tensor)> = None;
    let mut rows = Vec::with_capacity(windows.len());
    for window in windows {
        let large = match &known {
            Some((size, large)) if *size == window.large => large.clone(),
            _ => resize2d(input, window.large, &Resize::default())?,
        };
        rows.push(large.narrow(2, window.corner[0], window.size[0])?.narrow(3, window.corner[1], window.size[1])?);
        known = Some((window.large, large));
    }
    Ok(Tensor::cat(&rows, 0)?)
}

/// The mean at each place over the maps that are above zero there.
#[derive(Clone)]
struct Mean {
    size: [usize; 2],
    sums: Vec<f64>,
    counts: Vec<f64>,
}

impl Mean {
    fn new(size: [usize; 2]) -> Self {
        Self { size, sums: vec![0.0; size[0] * size[1]], counts: vec![0.0; size[0] * size[1]] }
    }

    fn add(&mut self, map: &Tensor) -> Result<()> {
        let map = map.flatten_all()?.to_dtype(DType::F64)?.to_vec1::<f64>()?;
        for ((sum, count), value) in self.sums.iter_mut().zip(&mut self.counts).zip(map) {
            if value > 0.0 {
                *sum += value;
                *count += 1.0;
            }
        }
        Ok(())
    }

    fn blurred(&self, input: &Tensor) -> Result<Tensor> {
        let mean: Vec<f64> = self.sums.iter().zip(&self.counts).map(|(sum, count)| sum / count.max(1.0)).collect();
        let [height, width] = self.size;
        let mean = Tensor::from_vec(mean, (1, 1, height, width), input.device())?.to_dtype(input.dtype())?;
        // Reflection reaches no farther than a small input.
        let taps = self.size.map(|size| 2 * 5.min(size.saturating_sub(1)) + 1);
        Ok(gaussian_blur2d(&mean, taps, [5.0, 5.0])?.squeeze(1)?)
    }
}
