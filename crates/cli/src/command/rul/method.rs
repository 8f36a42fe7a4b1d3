//! Explanations of one window by any method.

use super::model::Loaded;
use crate::arguments::SeriesExplanation;
use crate::output::Output;
use anyhow::{Context, Result};
use candle_core::{DType, Tensor};
use faithful_baseline::Spread;
use faithful_cam::Quality;
use faithful_core::{Convergence, Error, LayerId, Network, Objective, Score, Stream, Watched, find_named};
use faithful_explain::{CamChoices, HyperChoices, Method, MethodResult, MethodSpec, Requested, Settings, parse_stop};
use std::num::NonZeroUsize;

/// The baselines that `--baselines` may name.
const BASELINES: [&str; 5] = ["healthy", "healthy-mean", "typical", "zero", "blur"];

/// A method that explains windows.
pub(crate) struct SeriesMethod {
    pub(crate) method: Method,
    pub(crate) label: String,
    pub(crate) baselines: Option<&'static str>,
    layers: Vec<LayerId>,
    settings: Settings,
    /// Whether the method works on pictures only: the window is shown to it as one of height one.
    picture: bool,
    /// How many draws go through the network at a time.
    batch: NonZeroUsize,
}

/// What a method found in a window.
#[derive(Clone, Debug)]
pub(crate) struct SeriesFound {
    /// One value per cycle of the window.
    pub(crate) timeline: Vec<f32>,
    /// One value per sensor and cycle, sensor after sensor, where the method tells sensors apart.
    pub(crate) map: Option<Vec<f32>>,
    pub(crate) score: f64,
    pub(crate) convergence: Option<Convergence>,
    pub(crate) notes: Vec<String>,
}

impl SeriesFound {
    /// What it says of a machine's readings, where the window begins with the first of them `repeated` times more: a
    /// repeated reading has what all its places have together, and a time line leaves the repeated places out.
    pub(crate) fn of_readings(self, repeated: usize) -> Self {
        let cycles = self.timeline.len();
        if repeated == 0 || repeated >= cycles {
            return self;
        }
        let Some(map) = self.map else {
            return Self { timeline: self.timeline[repeated..].to_vec(), ..self };
        };
        let rows: Vec<Vec<f32>> = map
            .chunks(cycles)
            .map(|row| {
                let mut own = row[repeated..].to_vec();
                own[0] += row[..repeated].iter().sum::<f32>();
                own
            })
            .collect();
        let timeline = (0..cycles - repeated).map(|cycle| rows.iter().map(|row| row[cycle]).sum()).collect();
        Self { timeline, map: Some(rows.concat()), ..self }
    }
}

impl SeriesMethod {
    /// The method called `name`, with what stands after dots in it ([`MethodSpec`]), for windows of that network.
    pub(crate) fn of(name: &str, loaded: &Loaded, choices: &SeriesExplanation) -> Result<Self> {
        let spec: MethodSpec = name.parse()?;
        let cam = cam_choices(&spec, choices)?;
        let method = spec.method;
        let stop = parse_stop(&choices.stop)?;
        method.check(&Requested {
            layers: if method.needs_layers() { choices.layer.len() } else { 0 },
            fusion: choices.cam.fusion.is_some(),
            quality: choices.quality.is_some(),
            hyper: cam.hyper,
            augmented: cam.augmented,
            eigen: cam.eigen,
            ..Requested::default()
        })?;
        // A method with one baseline compares with the mean of the healthy windows rather than with one of them.
        let usual = if method.has_one_baseline() { "healthy-mean" } else { "healthy" };
        let wanted = choices.baselines.as_deref().unwrap_or(usual);
        let known = *find_named("baselines", wanted, &BASELINES, |name| name)?;
        let picture = method.images_only();
        // Methods at the input explain the window, whatever layer others explain at.
        let layers: Vec<LayerId> = if method.needs_layers() && !choices.layer.is_empty() {
            choices.layer.iter().map(|layer| loaded.network.layer(layer)).collect::<faithful_core::Result<_>>()?
        } else if method.needs_layers() {
            vec![loaded.target.ok_or_else(|| {
                let reason = format!("{} has no convolutional layer over time; name one with --layer", loaded.name);
                Error::parameter("layer", reason)
            })?]
        } else {
            Vec::new()
        };
        let settings = Settings {
            draws: spec.draws.or(choices.cam.mini_batches.map(|both| both.draws)).or(choices.draws),
            stop,
            sampler: loaded.sampler(known, &method, picture)?,
            alphas: choices.cam.alphas.into(),
            spread: Spread::Relative(choices.spread),
            gradient: (&choices.gradient_options).into(),
            cam,
            ..Settings::default()
        };
        let batch = match choices.memory {
            Some(limit) => loaded.rows_within(limit, &method, &layers, &settings, picture)?,
            None => choices.batch,
        };
        Ok(Self {
            label: spec.label,
            baselines: method.compares().then_some(known),
            method,
            layers,
            settings,
            picture,
            batch,
        })
    }

    /// Explains the score of one window `(1, sensors, window)`; `output` shows how far that is.
    pub(crate) fn explain(
        &self,
        loaded: &Loaded,
        window: &Tensor,
        score: &dyn Score,
        stream: Stream,
        output: &Output,
    ) -> Result<SeriesFound> {
        let network: &dyn Network = if self.picture { &loaded.picture } else { &loaded.network };
        let network = Watched::new(network, output);
        let objective = Objective::new(&network, score).with_batch(self.batch);
        let input = if self.picture { window.unsqueeze(2)? } else { window.clone() };
        let found =
            self.method.explain(&objective, &input, &self.layers, &[score], &self.settings, stream)?.into_iter().next();
        let MethodResult { map, score, convergence, notes, .. } = found.context("the method found nothing")?;
        let values = map.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
        let (_, sensors, cycles) = window.dims3()?;
        let (timeline, map) = if !self.picture && map.rank() == 2 && map.dims() == [sensors, cycles] {
            let sums = (0..cycles).map(|cycle| values.iter().skip(cycle).step_by(cycles).sum()).collect();
            (sums, Some(values))
        } else {
            (stretched(&values, cycles), None)
        };
        Ok(SeriesFound { timeline, map, score, convergence, notes })
    }
}

/// A time line of any length at `count` evenly spaced times, linearly between the middles of its own.
fn stretched(values: &[f32], count: usize) -> Vec<f32> {
    if values.len() == count || values.is_empty() {
        return values.to_vec();
    }
    let last = values.len() - 1;
    (0..count)
        .map(|place| {
            let at = (place as f32 + 0.5) / count as f32 * values.len() as f32 - 0.5;
            let at = at.clamp(0.0, last as f32);
            let (below, part) = (at as usize, at.fract());
            values[below] * (1.0 - part) + values[(below + 1).min(last)] * part
        })
        .collect()
}

/// What concerns class activation maps: what the method's name says, then the options.
fn cam_choices(spec: &MethodSpec, choices: &SeriesExplanation) -> Result<CamChoices> {
    let (own, asked) = (spec.cam, choices.cam.choices()?);
    Ok(CamChoices {
        paths: own.paths.or(asked.paths),
        channels: own.channels.or(asked.channels),
        quality: choices.quality.as_deref().map(Quality::named).transpose()?.unwrap_or(own.quality),
        hyper: if own.hyper == HyperChoices::default() { asked.hyper } else { own.hyper },
        augmented: own.augmented || choices.augment,
        eigen: own.eigen || asked.eigen,
        ..asked
    })
}

#[cfg(test)]
mod tests {
    use super::{SeriesFound, stretched};

    #[test]
    fn repeated_readings_count_once_with_all_they_have() {
        let found = SeriesFound {
            timeline: vec![5.0, 7.0, 9.0],
            map: Some(vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]),
            score: 0.0,
            convergence: None,
            notes: Vec::new(),
        };
        let folded = found.clone().of_readings(1);
        assert_eq!((folded.map.unwrap(), folded.timeline), (vec![3.0, 3.0, 9.0, 6.0], vec![12.0, 9.0]));
        assert_eq!(SeriesFound { map: None, ..found.clone() }.of_readings(2).timeline, [9.0]);
        assert_eq!(found.clone().of_readings(0).timeline, found.timeline);
    }

    #[test]
    fn time_lines_are_stretched_evenly() {
        assert_eq!(stretched(&[1.0, 3.0], 4), [1.0, 1.5, 2.5, 3.0]);
        assert_eq!(stretched(&[1.0, 3.0], 2), [1.0, 3.0]);
        assert_eq!(stretched(&[2.0], 3), [2.0; 3]);
    }
}
