//! Evaluation runs: many photos, many methods, many metrics, into a folder of Parquet.

use crate::engine::compute;
use crate::error::to_python;
use crate::network::Network;
use crate::options::Options;
use faithful_core::{Error, Result, Watch};
use faithful_evaluate::{Event, Shard, Source, Summary};
use faithful_explain::{Budget, ByteSize, Classifier, Measurement, MeasurementSetup};
use faithful_metric::CurveScore;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use std::path::{Path, PathBuf};

/// What a run did: images, those that were finished before, failures with their reasons, and those that were left out.
type Answer = (usize, usize, Vec<String>, usize);

/// Explains and measures every image of a folder; the rows are Parquet in `out`.
#[pyfunction]
#[pyo3(signature = (network, images, methods, out, options, resume = false, progress = None))]
pub(crate) fn evaluate(
    py: Python<'_>,
    network: &Network,
    images: PathBuf,
    methods: Vec<String>,
    out: PathBuf,
    options: &Bound<'_, PyDict>,
    resume: bool,
    progress: Option<&Bound<'_, PyAny>>,
) -> PyResult<Answer> {
    let classifier = network.open_classifier()?;
    let options = Options::new(options);
    let shard = options
        .read("shard", |text| text.parse::<Shard>().map_err(|reason| Error::parameter("shard", reason.to_string())))?;
    let setup = setup(images, methods, &options)?;
    options.finish()?;
    setup.check().map_err(to_python)?;
    compute(py, progress, move |heard| {
        let resume = resume || shard.is_some();
        run(&classifier, setup, &out, shard.unwrap_or(Shard::WHOLE), resume, heard)
    })
}

fn setup(images: PathBuf, methods: Vec<String>, options: &Options<'_, '_>) -> PyResult<MeasurementSetup> {
    let usual = MeasurementSetup::default();
    let scores = [("probability", CurveScore::Probability), ("logit", CurveScore::Logit)];
    Ok(MeasurementSetup {
        images,
        methods,
        samples: options.count("samples")?,
        masks: options.get("masks")?,
        metrics: options.get("metrics")?.unwrap_or_default(),
        layer: options.get("layer")?,
        score: options.get("score")?.unwrap_or(usual.score),
        baselines: options.get("baselines")?,
        draws: options.count("draws")?,
        stop: options.get("stop")?.unwrap_or(usual.stop),
        seed: options.get("seed")?.unwrap_or(0),
        batch: options.count("batch")?,
        memory: options.read("memory", |text| {
            text.parse::<ByteSize>().map(Budget::new).map_err(|reason| Error::parameter("memory", reason))
        })?,
        max_megapixels: options.get("max_megapixels")?.unwrap_or(usual.max_megapixels),
        protocol: options.get("protocol")?.unwrap_or(usual.protocol),
        steps: options.count("steps")?,
        insertion_canvas: options.get("insertion_canvas")?,
        deletion_canvas: options.get("deletion_canvas")?,
        curve_score: options.read("curve_score", |name| faithful_core::value_named("curve score", name, &scores))?,
        relative_curves: options.get("relative_curves")?.unwrap_or(false),
        explain_label: options.get("explain_label")?.unwrap_or(false),
        only_correct: options.get("only_correct")?.unwrap_or(false),
        precision: usual.precision,
    })
}

fn run(
    classifier: &Classifier,
    setup: MeasurementSetup,
    out: &Path,
    shard: Shard,
    resume: bool,
    heard: &crate::engine::Progress,
) -> Result<Answer> {
    let measurement = Measurement::new(setup, classifier, &|_| {})?;
    let images = measurement.images()?;
    let store = measurement.store(out, &images, resume)?;
    let mine = (0..images.names().len()).filter(|&image| shard.has(image)).count();
    heard.announce(mine as u64);
    let mut failures = Vec::new();
    // A run that nobody waits for ends after the method that is under way, whose rows are kept.
    let summary = measurement.run(&images, &store, shard, &mut |event| match event {
        Event::Image { .. } => heard.advance(1),
        Event::Failed { image, method, reason } => {
            failures.push(format!("{image}: {method}: {reason}"));
            heard.advance(0)
        }
        Event::Rows(_) | Event::Misclassified(_) => heard.advance(0),
    })?;
    let Summary { images, resumed, misclassified, .. } = summary;
    Ok((images, resumed, failures, misclassified))
}
