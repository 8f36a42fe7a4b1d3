//! Ablation-CAM: a channel weighs the part of the score that is lost when it is silenced.

use super::Perturbation;
use super::masks::rectified_sum;
use crate::Definition;
use candle_core::Tensor;
use faithful_core::{LayerId, Network, Probe, Result};

/// `w_k = (S(x) - S_k) / S(x)`, `S_k` the score with channel `k` of the layer set to 0; map `ReLU(sum_k w_k A_k)`.
///
/// The network runs on from the layer where it can. The weights change sign with the score: explain a probability
/// where the logit may be negative. A score of exactly 0 is not divided by.
pub(super) fn ablation_cam(perturbation: &Perturbation<'_>) -> Result<Vec<Tensor>> {
    let network = perturbation.objective.network();
    let own = perturbation.own_scores()?;
    perturbation.each_layer(|activation, layer| {
        let tried = perturbation.channels(activation)?;
        let raw = network.activations(perturbation.input, &[layer])?.remove(0);
        let layout = perturbation.layout.resolve(perturbation.input.dims(), raw.dims())?;
        let axis = layout.channel_axis(raw.rank());
        // Channels that are zero everywhere are ablated already, all alike: one evaluation serves them.
        let silent = activation.squeeze(0)?.flatten_from(1)?.abs()?.max(1)?.eq(0f64)?.to_vec1::<u8>()?;
        let mut rows: Vec<usize> = Vec::new();
        let mut silent_row = None;
        let mut row_of = Vec::new();
        for &channel in &tried {
            let row = match (silent[channel] == 1, silent_row) {
                (true, Some(row)) => row,
                (is_silent, _) => {
                    rows.push(channel);
                    if is_silent {
                        silent_row = Some(rows.len() - 1);
                    }
                    rows.len() - 1
                }
            };
            row_of.push(row);
        }
        let lowest = raw.flatten_all()?.min(0)?.to_dtype(candle_core::DType::F64)?.to_scalar::<f64>()?;
        // The peer silences channels of a layer with negative values far below anything it has seen.
        let value = match perturbation.definition {
            Definition::PytorchGradCam if lowest != 0.0 => lowest - 1e7,
            _ => 0.0,
        };
        let mut scores = vec![Vec::new(); perturbation.scores.len()];
        network.announce(rows.len(), 0);
        for channels in rows.chunks(perturbation.objective.batch().get()) {
            let ablated = without(&raw, channels, axis, value)?;
            let output = run_on(network, perturbation.input, layer, &ablated)?;
            for (scores, score) in scores.iter_mut().zip(perturbation.scores) {
                scores.extend(crate::expectation::values(&score.score(&output)?)?);
            }
        }
        scores
            .iter()
            .zip(&own)
            .map(|(scores, own)| {
                let share = |row: &usize| if *own == 0.0 { -scores[*row] } else { (own - scores[*row]) / own };
                rectified_sum(row_of.iter().map(share).collect(), &tried, activation)
            })
            .collect()
    })
}

/// One copy of `raw` `(1, …)` per channel, with that channel set to `value`.
fn without(raw: &Tensor, channels: &[usize], axis: usize, value: f64) -> Result<Tensor> {
    let count = raw.dim(axis)?;
    let mut open = vec![1u8; channels.len() * count];
    for (row, channel) in channels.iter().enumerate() {
        open[row * count + channel] = 0;
    }
    let mut shape = vec![1; raw.rank()];
    shape[0] = channels.len();
    shape[axis] = count;
    let mut full = raw.dims().to_vec();
    full[0] = channels.len();
    let open = Tensor::from_vec(open, shape, raw.device())?.broadcast_as(full.as_slice())?;
    let silenced = (raw.zeros_like()? + value)?.broadcast_as(full.as_slice())?;
    Ok(open.where_cond(&raw.broadcast_as(full.as_slice())?, &silenced)?)
}

/// The outputs when `layer` gives `activation` `(n, …)`.
pub(super) fn run_on(network: &dyn Network, input: &Tensor, layer: LayerId, activation: &Tensor) -> Result<Tensor> {
    if let Some(output) = network.resume(layer, activation) {
        return output;
    }
    let mut shape = input.dims().to_vec();
    shape[0] = activation.dim(0)?;
    let mut probe = Replace { layer, activation };
    Ok(network.forward(&input.broadcast_as(shape)?.contiguous()?, &mut probe)?.detach())
}

/// Puts an activation in a layer's place, for networks that cannot start there.
struct Replace<'a> {
    layer: LayerId,
    activation: &'a Tensor,
}

impl Probe for Replace<'_> {
    fn visit(&mut self, layer: LayerId, activation: Tensor) -> Result<Tensor> {
        Ok(if layer == self.layer { self.activation.clone() } else { activation })
    }
}
