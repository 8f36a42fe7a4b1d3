//! Seconds per explanation, as the thesis's Table 6 has them: Expected and Hyper Expected Grad-CAM.

use crate::numbers::{numbers, relative_difference};
use crate::report::Report;
use candle_core::{DType, Device, Tensor};
use faithful_baseline::DataSet;
use faithful_cam::{BaselineCache, CamParameters, EstimatorParameters, Quality};
use faithful_core::{LayerId, Network, Objective, Result, Stream, Target};
use faithful_model::{Compute, Precision, architecture};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Instant;

const METHODS: [&str; 2] = ["expected-grad-cam", "hyper-expected-grad-cam"];

pub(crate) fn measure(
    devices: &str,
    network: &str,
    draws: NonZeroUsize,
    repeat: NonZeroUsize,
    report: &mut Report,
) -> anyhow::Result<()> {
    let title = format!("Seconds per explanation: {network} with seeded weights, 224x224, {draws} draws");
    report.heading(&title, &["method", "numbers", "device", "seconds", "map from f32's"]);
    let architecture = architecture(network)?;
    let graph = architecture.random(1000, 1, &Device::Cpu)?;
    let layer = graph.layer(architecture.target)?;
    let mut places: Vec<&str> = devices.split(',').map(str::trim).take(1).collect();
    if devices.contains(',') {
        places.push(devices);
    }
    for method in METHODS {
        let mut first: Option<Tensor> = None;
        for place in &places {
            for precision in [Precision::F32, Precision::Tf32, Precision::Bf16] {
                // On the CPU there is one.
                let Ok(compute) = Compute::new(place, precision) else { continue };
                let network = compute.place(&graph)?;
                let (seconds, map) = median(&*network, method, layer, draws, repeat)?;
                let difference = match &first {
                    Some(first) => relative_difference(first, &map)?,
                    None => 0.0,
                };
                first.get_or_insert(map);
                let cells = [format!("{precision}"), (*place).to_owned(), format!("{seconds:.4}")];
                report.row(&[method, &cells[0], &cells[1], &cells[2], &format!("{difference:.1e}")]);
            }
        }
    }
    Ok(())
}

/// The median time, and the map.
fn median(
    network: &dyn Network,
    method: &str,
    layer: LayerId,
    draws: NonZeroUsize,
    repeat: NonZeroUsize,
) -> anyhow::Result<(f64, Tensor)> {
    let photo = numbers(&[1, 3, 224, 224], 1)?.to_dtype(DType::F32)?;
    let baselines = numbers(&[32, 3, 224, 224], 2)?.to_dtype(DType::F32)?.to_device(&network.device())?;
    let sampler = Arc::new(DataSet::new(baselines)?);
    // What belongs to the baselines alone is computed once for all photos, as in the thesis.
    let cache: Arc<BaselineCache> = Arc::default();
    let explain = || -> Result<Tensor> {
        let target = Target::Output(1);
        let objective = Objective::new(network, &target).with_batch(draws);
        let gradient = EstimatorParameters {
            draws,
            sampler: sampler.clone(),
            stream: Stream::new(3, "photo"),
            cache: Some(cache.clone()),
            ..EstimatorParameters::default()
        };
        let parameters = CamParameters { gradient, hyper: Quality::Standard.parameters(), ..CamParameters::default() };
        let input = photo.to_device(&network.device())?;
        let method = faithful_cam::method(method)?;
        let found = faithful_cam::explain(method, &objective, &input, &[layer], &parameters)?;
        // Work on a GPU is done when its result is here.
        Ok(found.map.to_device(&Device::Cpu)?)
    };
    let map = explain()?;
    let mut seconds = Vec::with_capacity(repeat.get());
    for _ in 0..repeat.get() {
        let began = Instant::now();
        explain()?;
        seconds.push(began.elapsed().as_secs_f64());
    }
    seconds.sort_by(f64::total_cmp);
    Ok((seconds[seconds.len() / 2], map))
}
