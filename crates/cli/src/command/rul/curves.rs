//! Insertion and deletion over the cycles and over the sensors of windows.

use super::evaluate::Faithfulness;
use super::method::{SeriesFound, SeriesMethod};
use super::model::Loaded;
use crate::output::Output;
use crate::table::{Column, lines};
use anyhow::Result;
use candle_core::{Device, Tensor};
use faithful_core::Objective;
use faithful_metric::{Area, Canvas, CurveScore, Protocol, Steps, insertion_deletion};
use std::num::NonZeroUsize;

/// The areas under a machine's curves, in cycles of wear.
#[derive(Clone, Copy, Debug)]
pub(super) struct Areas {
    over_cycles: [f64; 2],
    /// Nothing where the method does not tell sensors apart.
    over_sensors: Option<[f64; 2]>,
}

/// What is measured; insertion is better where it is higher, deletion where it is lower.
pub(super) const METRICS: [&str; 4] = ["insertion@cycles", "deletion@cycles", "insertion@sensors", "deletion@sensors"];

impl Areas {
    fn get(&self, metric: usize) -> Option<f64> {
        if metric < 2 { Some(self.over_cycles[metric]) } else { self.over_sensors.map(|areas| areas[metric - 2]) }
    }

    /// Of what a method found in a window `(1, sensors, cycles)`, by the wear of the machine: the cycles that its life lacks to the
    /// cap. Cycles, or sensors over all cycles, appear in the mean window of healthy machines, those first that matter most, and
    /// vanish in it.
    pub(super) fn of(loaded: &Loaded, found: &SeriesFound, window: &Tensor) -> Result<Self> {
        let wear = loaded.life.wear(loaded.preparation.cap);
        let objective = Objective::new(&loaded.network, &wear).with_batch(const { NonZeroUsize::new(64).unwrap() });
        let (_, sensors, cycles) = window.dims3()?;
        let healthy = Canvas::Given(loaded.healthy()?.to_dtype(window.dtype())?);
        let areas = |map: &Tensor, points: usize| -> Result<[f64; 2]> {
            let protocol = Protocol {
                steps: Steps::Count(NonZeroUsize::new(points).unwrap_or(NonZeroUsize::MIN)),
                insertion: healthy.clone(),
                deletion: healthy.clone(),
                area: Area::Trapezoid,
                score: CurveScore::Logit,
                normalized: false,
            };
            let curves = insertion_deletion(&objective, window, map, &protocol)?;
            Ok([curves.insertion_area(), curves.deletion_area()])
        };
        let timeline = Tensor::from_slice(&found.timeline, cycles, &Device::Cpu)?;
        let of_sensors = |map: &Vec<f32>| {
            // Every cycle of a sensor has the sensor's sum: sensors go as wholes.
            let sums = map.chunks(cycles).flat_map(|row| std::iter::repeat_n(row.iter().sum::<f32>(), cycles));
            areas(&Tensor::from_vec(sums.collect::<Vec<f32>>(), (sensors, cycles), &Device::Cpu)?, sensors)
        };
        Ok(Self {
            over_cycles: areas(&timeline, cycles)?,
            over_sensors: found.map.as_ref().map(of_sensors).transpose()?,
        })
    }
}

/// Says the means with their intervals; `rows` has a row of machines per method.
pub(super) fn report(methods: &[SeriesMethod], rows: &[Vec<Areas>], output: &Output) -> Result<Vec<Faithfulness>> {
    let mut found = Vec::new();
    let mut cells = Vec::new();
    for (place, (method, own)) in methods.iter().zip(rows).enumerate() {
        let mut line = vec![method.label.clone()];
        for (number, metric) in METRICS.into_iter().enumerate() {
            let of = |areas: &[Areas]| areas.iter().map(|areas| areas.get(number)).collect::<Option<Vec<f64>>>();
            let first = rows.first().filter(|_| place > 0).and_then(|first| of(first));
            let mean =
                of(own).and_then(|values| Faithfulness::of(&method.label, metric.into(), &values, first.as_deref()));
            line.push(mean.as_ref().map_or_else(
                || "-".into(),
                |Faithfulness { mean, low, high, p, .. }| {
                    format!("{mean:.1} [{low:.1}, {high:.1}]{}", if p.is_some_and(|p| p < 0.05) { " *" } else { "" })
                },
            ));
            found.extend(mean);
        }
        cells.push(line);
    }
    for area in &found {
        output.object(area)?;
    }
    let columns: Vec<Column> = [Column::left("method")].into_iter().chain(METRICS.map(Column::right)).collect();
    output.line("")?;
    output.line("areas under insertion (higher is better) and deletion (lower), cycles of wear")?;
    for line in lines(&columns, &cells) {
        output.line(&line)?;
    }
    Ok(found)
}
