//! Test-time augmentation: the mean of the maps of mirrored and brightened inputs.

use crate::{CamParameters, Explanation, Method, explain_scores};
use candle_core::Tensor;
use faithful_core::{Error, LayerId, Objective, Result, Score};

/// What the input is multiplied by.
const FACTORS: [f64; 3] = [1.0, 0.9, 1.1];

/// The mean over the input and its mirror image, each times 1, 0.9 and 1.1, of the method's maps, mirrored back and divided by their
/// largest absolute value: pytorch-grad-cam's `aug_smooth`, which scales each to `[0, 1]` instead.
///
/// Six times the work. A series is not mirrored: its time has a direction. Score and convergence are those of the input itself; there is no
/// completeness, because the map's unit is gone.
pub(crate) fn augmented(
    method: &Method,
    objective: &Objective<'_>,
    input: &Tensor,
    layers: &[LayerId],
    scores: &[&dyn Score],
    parameters: &CamParameters,
) -> Result<Vec<Explanation>> {
    let parameters = CamParameters { augmented: false, ..parameters.clone() };
    let mirrors: &[bool] = if input.rank() == 4 { &[false, true] } else { &[false] };
    let share = 1.0 / (mirrors.len() * FACTORS.len()) as f64;
    let mut all: Option<Vec<Explanation>> = None;
    for &mirror in mirrors {
        let seen = if mirror { mirrored(input)? } else { input.clone() };
        for factor in FACTORS {
            let found = explain_scores(method, objective, &(&seen * factor)?, layers, scores, &parameters)?;
            let mut maps = Vec::with_capacity(found.len());
            for one in &found {
                let map = if mirror { mirrored(&one.map)? } else { one.map.clone() };
                maps.push((unit(&map)? * share)?);
            }
            all = Some(match all.take() {
                None => {
                    let pairs = found.into_iter().zip(maps);
                    pairs.map(|(one, map)| Explanation { map, completeness: Vec::new(), ..one }).collect()
                }
                Some(all) => {
                    let pairs = all.into_iter().zip(maps);
                    pairs
                        .map(|(one, map)| Ok(Explanation { map: (&one.map + map)?, ..one }))
                        .collect::<Result<Vec<_>>>()?
                }
            });
        }
    }
    all.ok_or_else(|| Error::parameter("scores", "there is none"))
}

/// Left and right exchanged.
fn mirrored(x: &Tensor) -> Result<Tensor> {
    let last = x.rank() - 1;
    let columns: Vec<u32> = (0..x.dim(last)? as u32).rev().collect();
    Ok(x.index_select(&Tensor::new(columns, x.device())?, last)?)
}

/// Each row's map divided by its largest absolute value; one that is zero everywhere stays so.
fn unit(map: &Tensor) -> Result<Tensor> {
    let flat = map.flatten_from(1)?;
    crate::rule::divide_or_zero(&flat, &flat.abs()?.max_keepdim(1)?)?.reshape(map.shape()).map_err(Into::into)
}
