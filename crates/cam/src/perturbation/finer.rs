//! Finer-CAM: what speaks for a class and not for the classes that are most like it.

use super::Perturbation;
use crate::{Definition, fuse, rule};
use candle_core::{D, DType, Tensor};
use faithful_core::{Error, LayerTrace, Result, Score};

/// How many of the most similar classes are held against the explained one.
const AGAINST: usize = 3;

/// Grad-CAM of `y_c - 0.6/T sum_t y_d(t)`, `d` the three classes whose outputs are nearest to that of `c` for the input.
///
/// `TorchCAM`'s is the same; pytorch-grad-cam, which has the authors' own, weighs the three by their probabilities (through
/// which the gradient goes too) and subtracts them whole. A network of fewer classes has fewer to compare with; of a single
/// output Grad-CAM is left. The score must be one of a class: any [`Target`](faithful_core::Target).
pub(super) fn finer_cam(perturbation: &Perturbation<'_>) -> Result<Vec<Tensor>> {
    let Perturbation { objective, input, layers, definition, layout, .. } = *perturbation;
    let outputs = objective.outputs(input)?.squeeze(0)?.to_dtype(DType::F64)?.to_vec1::<f64>()?;
    let contrasts = perturbation
        .scores
        .iter()
        .map(|score| {
            let class = score.class().ok_or_else(|| {
                Error::parameter("score", "Finer-CAM compares a class with others, and this score is of no class")
            })?;
            let weights = if definition == Definition::PytorchGradCam { Weights::Likely } else { Weights::Equal };
            Ok(Contrast { class, against: most_similar(&outputs, class)?, weights })
        })
        .collect::<Result<Vec<_>>>()?;
    let contrasts: Vec<&dyn Score> = contrasts.iter().map(|contrast| contrast as &dyn Score).collect();
    let rule = definition.rule(rule("grad-cam")?);
    let all = objective.differentiate_scores(input, layers, false, &contrasts)?;
    all.into_iter()
        .map(|one| {
            let maps = one
                .traces
                .iter()
                .map(|trace| {
                    let layout = layout.resolve(input.dims(), trace.activation.dims())?;
                    let activation = layout.channels_first(&trace.activation)?;
                    rule.apply(&LayerTrace { activation, gradient: layout.channels_first(&trace.gradient)? })
                })
                .collect::<Result<Vec<_>>>()?;
            fuse(&maps, perturbation.fusion)
        })
        .collect()
}

/// The classes whose outputs are nearest to that of `class`, nearest first; of equals the one that stands first.
fn most_similar(outputs: &[f64], class: usize) -> Result<Vec<usize>> {
    let Some(own) = outputs.get(class) else {
        return Err(Error::parameter("class", format!("{class} is outside 0..{}", outputs.len())));
    };
    let mut others: Vec<usize> = (0..outputs.len()).filter(|other| *other != class).collect();
    others.sort_by(|a, b| (outputs[*a] - own).abs().total_cmp(&(outputs[*b] - own).abs()));
    others.truncate(AGAINST);
    Ok(others)
}

/// What the other classes weigh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Weights {
    /// Alike; 0.6 of their mean is subtracted, the paper's strength.
    Equal,
    /// By their probabilities; their mean is subtracted whole.
    Likely,
}

/// A class's output with those of others subtracted.
struct Contrast {
    class: usize,
    against: Vec<usize>,
    weights: Weights,
}

impl Score for Contrast {
    fn score(&self, output: &Tensor) -> Result<Tensor> {
        let column = |index: usize| Ok::<_, Error>(output.narrow(1, index, 1)?.squeeze(1)?);
        let own = column(self.class)?;
        if self.against.is_empty() {
            return Ok(own);
        }
        let indices: Vec<u32> = self.against.iter().map(|class| *class as u32).collect();
        let others = output.index_select(&Tensor::new(indices, output.device())?, 1)?;
        let rest = match self.weights {
            Weights::Equal => (others.mean(D::Minus1)? * 0.6)?,
            Weights::Likely => {
                let weights = faithful_tensor::softmax(&others, 1)?;
                (weights * others)?.sum(D::Minus1)?
            }
        };
        Ok((own - rest)?)
    }

    fn class(&self) -> Option<usize> {
        Some(self.class)
    }
}
