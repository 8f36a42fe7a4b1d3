//! Recipro-CAM: what the network says when a layer is active around one place alone.

use super::Perturbation;
use super::ablation::run_on;
use crate::Layout;
use candle_core::{DType, Device, Tensor};
use faithful_core::Result;

/// `map_n = S(A * M_n) - min_m S(A * M_m)`: `M_n` is a window of 3x3 places about place `n`, with weights 1/4 at its
/// centre, 1/8 beside and 1/16 across the corners, and 0 elsewhere; what lies outside of the layer is left out.
///
/// The paper scales the map to `[0, 1]`; here its lowest value is taken away and it is not divided. The authors' code
/// repeats the centre's activation under the whole window, where the paper multiplies the layer's own. Tokens before the
/// patches stay open. A layer whose places all say the same gives a map of zeros. The authors explain a
/// probability.
pub(super) fn recipro_cam(perturbation: &Perturbation<'_>) -> Result<Vec<Tensor>> {
    let network = perturbation.objective.network();
    perturbation.each_layer(|activation, layer| {
        let (_, _, height, width) = activation.dims4()?;
        let raw = network.activations(perturbation.input, &[layer])?.remove(0);
        let layout = perturbation.layout.resolve(perturbation.input.dims(), raw.dims())?;
        let places: Vec<usize> = (0..height * width).collect();
        let mut scores = vec![Vec::with_capacity(places.len()); perturbation.scores.len()];
        network.announce(places.len(), 0);
        for places in places.chunks(perturbation.objective.batch().get()) {
            let windows = windows(places, [height, width], layout, raw.device())?.to_dtype(raw.dtype())?;
            let output = run_on(network, perturbation.input, layer, &raw.broadcast_mul(&windows)?)?;
            for (scores, score) in scores.iter_mut().zip(perturbation.scores) {
                scores.extend(crate::expectation::values(&score.score(&output)?)?);
            }
        }
        scores
            .into_iter()
            .map(|scores| {
                let lowest = scores.iter().copied().fold(f64::INFINITY, f64::min);
                let above: Vec<f64> = scores.iter().map(|score| score - lowest).collect();
                Ok(Tensor::from_vec(above, (1, height, width), raw.device())?.to_dtype(raw.dtype())?)
            })
            .collect()
    })
}

/// Recipro-CAM's windows of all places of a layer, row by row, in a shape that broadcasts to the layer's own.
///
/// # Errors
/// None are expected.
pub fn windows_of_places([height, width]: [usize; 2], layout: Layout) -> Result<Tensor> {
    let places: Vec<usize> = (0..height * width).collect();
    Ok(windows(&places, [height, width], layout, &Device::Cpu)?.to_dtype(DType::F32)?)
}

/// One window per place, in a shape that broadcasts to the layer's own.
fn windows(places: &[usize], [height, width]: [usize; 2], layout: Layout, device: &Device) -> Result<Tensor> {
    let prefix = match layout {
        Layout::Tokens { prefix, .. } | Layout::TokensLast { prefix, .. } => prefix,
        _ => 0,
    };
    let each = prefix + height * width;
    let mut values = vec![0.0; places.len() * each];
    for (place, row) in places.iter().zip(values.chunks_mut(each)) {
        row[..prefix].fill(1.0);
        let (y, x) = (place / width, place % width);
        for near_y in y.saturating_sub(1)..=(y + 1).min(height - 1) {
            for near_x in x.saturating_sub(1)..=(x + 1).min(width - 1) {
                let along = |a: usize, b: usize| if a == b { 0.5 } else { 0.25 };
                row[prefix + near_y * width + near_x] = along(y, near_y) * along(x, near_x);
            }
        }
    }
    let rows = places.len();
    let shape = match layout {
        Layout::Auto | Layout::ChannelsFirst => vec![rows, 1, height, width],
        Layout::ChannelsLast => vec![rows, height, width, 1],
        Layout::Tokens { .. } => vec![rows, each, 1],
        Layout::TokensLast { .. } => vec![rows, 1, each],
    };
    Ok(Tensor::from_vec(values, shape, device)?)
}
