//! `faithful dream`: the picture that a network takes for its idea of a class.

use crate::arguments::{DreamArguments, Start};
use crate::failure::Outcome;
use crate::files::spare;
use crate::model;
use crate::output::Output;
use anyhow::{Context, Result};
use candle_core::{DType, Device, Tensor};
use faithful_core::{Objective, Preprocessing, Stream};
use faithful_explain::{Budget, Demand, class, model::predict, photo};
use faithful_gradient::{ClassModel, class_model};
use faithful_report::image::RgbImage;
use faithful_report::{encode_png, write_atomic};
use serde::Serialize;
use std::path::Path;
use std::time::Instant;

/// The result for programs.
#[derive(Serialize)]
struct Line {
    class: usize,
    label: String,
    score_kind: String,
    score_before: f64,
    score: f64,
    probability: f64,
    steps: usize,
    seed: u64,
    seconds: f64,
    file: String,
}

pub(crate) fn run(arguments: &DreamArguments, output: &Output) -> Result<Outcome> {
    let start = if let Start::Photo(path) = &arguments.start { Some(path.as_path()) } else { None };
    spare(&arguments.out, start.into_iter().chain(arguments.model.name.model.as_deref().map(Path::new)))?;
    output.writes_files();
    let classifier = model::photos_only(model::classifier_for_cpu(&arguments.model, output)?)?;
    if classifier.reads_each_photo() {
        model::refuse_reading(&classifier.read, "dream")?;
    }
    let model = &classifier.model;
    let preprocessing = model.photo_preprocessing()?;
    let class = model::one_class(model, &arguments.class)?;
    let score = class::parse_score(&arguments.score, &model.labels).map_err(|error| model::with_hint(model, error))?;
    let target = score.of(class, model.probabilities);
    let objective = Objective::new(classifier.network(), &target);
    let stream = Stream::new(arguments.seed, "dream");
    let start = begin(&arguments.start, preprocessing, arguments.max_megapixels, &stream)?;
    if let Some(memory) = arguments.memory.map(Budget::new) {
        let pixels = start.dims()[2..].iter().map(|&side| side as u64).product();
        memory.fit(&model.graph, &start.dims()[1..], pixels, &[Demand::ascent()])?;
    }
    let usual = match start.dims() {
        [_, _, height, width] => ClassModel::for_size([*height, *width]),
        _ => ClassModel::default(),
    };
    let parameters = ClassModel {
        steps: arguments.steps,
        rate: arguments.rate,
        l2: arguments.l2,
        jitter: arguments.jitter.unwrap_or(usual.jitter),
        blur: arguments.blur.unwrap_or(usual.blur),
        blur_every: arguments.blur_every,
        range: Some((standardised(preprocessing, 0.0), standardised(preprocessing, 1.0))),
    };
    let began = Instant::now();
    output.start(arguments.steps.get(), "dreaming");
    let found = class_model(&objective, &start, &stream, &parameters, &mut |_, _| output.advance());
    output.finish();
    let found = found?;
    let prediction = predict(&objective, model.probabilities, &found.image)?;
    let picture = picture(&found.image, preprocessing)?;
    let bytes = encode_png(&picture)?;
    if let Some(folder) = arguments.out.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make the folder `{}`", folder.display()))?;
    }
    write_atomic(&arguments.out, &bytes)?;
    let line = Line {
        class,
        label: model.labels.name(class),
        score_kind: arguments.score.clone(),
        score_before: found.scores.first().copied().unwrap_or(f64::NAN),
        score: found.scores.last().copied().unwrap_or(f64::NAN),
        probability: prediction.probabilities[class],
        steps: arguments.steps.get(),
        seed: arguments.seed,
        seconds: began.elapsed().as_secs_f64(),
        file: arguments.out.display().to_string(),
    };
    output.object(&line)?;
    output.line(&format!(
        "{} (class {}): {} from {:.3} to {:.3}, probability {:.2}%, in {:.1} s: {}",
        line.label,
        line.class,
        line.score_kind,
        line.score_before,
        line.score,
        line.probability * 100.0,
        line.seconds,
        line.file
    ))?;
    if line.score <= line.score_before {
        output.note("the score did not rise: try more steps or a smaller --rate");
    }
    Ok(Outcome::Complete)
}

/// Where the ascent begins: `(1, C, H, W)`.
fn begin(start: &Start, preprocessing: &Preprocessing, max_megapixels: f64, stream: &Stream) -> Result<Tensor> {
    let [height, width] = preprocessing.input_size;
    let zero = Tensor::zeros((1, preprocessing.channels(), height, width), DType::F32, &Device::Cpu)?;
    Ok(match start {
        Start::Mean => zero,
        // A tenth of the data's own deviation: grey to the eye, but no two places alike.
        Start::Noise => (faithful_baseline::normal(&zero, &stream.derive("start"), 0..1)? * 0.1)?,
        Start::Photo(path) => photo::read(path, preprocessing, &photo::decoding(max_megapixels)?)?.tensor,
    })
}

/// A value in 0 to 1 as the network sees it, per channel.
fn standardised(preprocessing: &Preprocessing, value: f64) -> Vec<f64> {
    let channels = preprocessing.mean.iter().zip(&preprocessing.std);
    channels.map(|(mean, std)| (value - f64::from(*mean)) / f64::from(*std)).collect()
}

/// A network's input as a picture; one channel is grey.
fn picture(image: &Tensor, preprocessing: &Preprocessing) -> Result<RgbImage> {
    let (channels, height, width) = image.squeeze(0)?.dims3()?;
    let values = image.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
    let sources = preprocessing.sources();
    let place_of = |color: usize| sources.iter().position(|source| *source == Some(color));
    let shown = [0, 1, 2].map(|color| place_of(color).or(place_of(3)).unwrap_or(color));
    let mut picture = RgbImage::new(width as u32, height as u32);
    for (place, pixel) in picture.pixels_mut().enumerate() {
        for (color, byte) in pixel.0.iter_mut().enumerate() {
            let channel = shown[color].min(channels - 1);
            let value = values[channel * height * width + place];
            let value = value * preprocessing.std[channel] + preprocessing.mean[channel];
            *byte = (value * 255.0).round().clamp(0.0, 255.0) as u8;
        }
    }
    Ok(picture)
}
