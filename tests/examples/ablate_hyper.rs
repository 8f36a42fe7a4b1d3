//! Measures variants of Hyper Expected Grad-CAM, one factor at a time, beside other methods on a folder of photos.
//!
//! `cargo run --release -p faithful-tests --example ablate_hyper -- MODEL.onnx FOLDER first|second PHOTOS STEPS [NAME…]`
//!
//! Photos are named `SYNSET_word.JPEG`; `first` and `second` are the halves of the folder by name, of which every
//! n-th photo is taken so that there are about PHOTOS. Only photos that the network classifies correctly count. NAMEs
//! choose among the variants; the first one chosen is what the others' paired differences refer to.

use faithful_cam::{
    CamParameters, Combination, Evidence, Filter, FusionParameters, HyperParameters, Quality, StageParameters,
    Weighting, explain, method,
};
use faithful_core::{Error, Network, Objective, Result, Stream, Target};
use faithful_data::{Decoding, list_photos, preprocess, read_photo};
use faithful_evaluate::bootstrap_mean;
use faithful_metric::{Canvas, Masking, Protocol, Steps, insertion_deletion, masked_scores};
use faithful_model::{Loading, Model};
use faithful_tensor::{Resize, resize2d};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Instant;

type Variant = (&'static str, &'static str, fn(&mut CamParameters));

const HYPER: &str = "hyper-expected-grad-cam";

/// Name, method, and what is changed of the defaults.
const VARIANTS: &[Variant] = &[
    ("grad-cam", "grad-cam", |_| {}),
    ("layer-cam", "layer-cam", |_| {}),
    ("expected-grad-cam", "expected-grad-cam", |_| {}),
    ("hyper", HYPER, |_| {}),
    ("draft", HYPER, |p| quality(p, Quality::Draft)),
    ("full", HYPER, |p| quality(p, Quality::Full)),
    ("compact", HYPER, |p| quality(p, Quality::Compact)),
    ("thesis", HYPER, |p| quality(p, Quality::Thesis)),
    ("evidence-place", HYPER, |p| p.hyper.decomposition.evidence = Evidence::Place),
    ("evidence-layer", HYPER, |p| p.hyper.decomposition.evidence = Evidence::Layer),
    ("base-0", HYPER, |p| p.hyper.fusion.base = 0.0),
    ("base-0.5", HYPER, |p| p.hyper.fusion.base = 0.5),
    ("base-1", HYPER, |p| p.hyper.fusion.base = 1.0),
    ("uniform", HYPER, |p| p.hyper.stratified = false),
    ("no-contrast", HYPER, |p| p.hyper.contrast = false),
    ("no-stages", HYPER, |p| p.hyper.stages.count = Some(0)),
    ("stages-0.5", HYPER, |p| {
        p.hyper = HyperParameters {
            stages: StageParameters { first: Some(0.5), count: Some(2), ..p.hyper.stages },
            ..p.hyper.clone()
        }
    }),
    ("one-stage", HYPER, |p| p.hyper.stages.count = Some(1)),
    ("stages-auto", HYPER, |p| p.hyper.stages.count = None),
    ("even-weighting", HYPER, |p| p.hyper.dependencies.weighting = Weighting::Even),
    ("added-0.5", HYPER, |p| p.hyper.fusion.weight = 0.5),
    ("added-2", HYPER, |p| p.hyper.fusion.weight = 2.0),
    ("multiplied-0.3", HYPER, |p| multiplied(p, 0.3)),
    ("multiplied-0.95", HYPER, |p| multiplied(p, 0.95)),
    ("filter-whole", HYPER, |p| p.hyper.decomposition.filter = Filter::Whole),
    ("filter-gaussian", HYPER, |p| p.hyper.decomposition.filter = Filter::Gaussian),
    ("filter-fft", HYPER, |p| p.hyper.decomposition.filter = Filter::BandPass),
    ("filter-laplacian", HYPER, |p| p.hyper.decomposition.filter = Filter::Laplacian),
    ("filter-dog", HYPER, |p| p.hyper.decomposition.filter = Filter::DifferenceOfGaussians),
    ("filter-gabor", HYPER, |p| p.hyper.decomposition.filter = Filter::Gabor),
    ("injection-1", HYPER, |p| p.hyper.decomposition.injection = 1.0),
    ("injection-1.3", HYPER, |p| p.hyper.decomposition.injection = 1.3),
    ("injection-2", HYPER, |p| p.hyper.decomposition.injection = 2.0),
    ("blurred-0", HYPER, |p| p.hyper.blurred = 0.0),
    ("blurred-1", HYPER, |p| p.hyper.blurred = 1.0),
    ("draws-8", HYPER, |p| p.gradient.draws = Quality::Draft.draws()),
    ("poly-cam±", "poly-cam±", |_| {}),
];

fn multiplied(parameters: &mut CamParameters, modulation: f64) {
    parameters.hyper.fusion =
        FusionParameters { combination: Combination::Product, modulation, ..FusionParameters::default() };
}

fn quality(parameters: &mut CamParameters, quality: Quality) {
    parameters.hyper = quality.parameters();
    parameters.gradient.draws = quality.draws();
}

const SHARES: [f64; 3] = [0.15, 0.3, 0.5];

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, folder, half, count, steps, names @ ..] = arguments.as_slice() else {
        return Err(Error::parameter("arguments", "MODEL.onnx FOLDER first|second PHOTOS STEPS [NAME…]"));
    };
    let number = |text: &String| {
        text.parse::<NonZeroUsize>()
            .map_err(|_| Error::parameter("arguments", format!("`{text}` is not a number above 0")))
    };
    let (count, steps) = (number(count)?.get(), number(steps)?);
    let chosen: Vec<&Variant> = match names {
        [] => VARIANTS.iter().collect(),
        names => names
            .iter()
            .map(|name| {
                let known = VARIANTS.iter().map(|variant| variant.0);
                VARIANTS.iter().find(|variant| variant.0 == name).ok_or_else(|| Error::unknown("variant", name, known))
            })
            .collect::<Result<_>>()?,
    };
    let model = Model::load(&model.parse()?, &Loading::default())?;
    let layer = model.target.ok_or_else(|| Error::parameter("model", "it has no spatial layers"))?;
    let protocol = Protocol { steps: Steps::Count(steps), ..Protocol::thesis() };
    let photos = photos(Path::new(folder), half, count)?;
    let mut rows: Vec<Vec<[f64; 14]>> = vec![Vec::new(); chosen.len()];
    // Photo by photo, in the variants' order.
    let mut times: Vec<f64> = Vec::new();
    for path in &photos {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let input =
            preprocess(&read_photo(path, &Decoding::default())?, model.photo_preprocessing()?, &model.graph.device())?;
        let input = input.tensor;
        let class = model.labels.find(name.split('_').next().unwrap_or_default())?;
        let logits: Vec<f32> = model.graph.evaluate(&input, &[])?.0.squeeze(0)?.to_vec1()?;
        if logits.iter().any(|&logit| logit > logits[class]) {
            continue;
        }
        let logit = Target::Output(class);
        let probability = Target::Probability(class);
        let batch = NonZeroUsize::new(16).unwrap_or(NonZeroUsize::MIN);
        let judge = Objective::new(&model.graph, &probability).with_batch(batch);
        for (rows, (_, method_name, change)) in rows.iter_mut().zip(&chosen) {
            let mut parameters = CamParameters::default();
            parameters.gradient.stream = Stream::new(0, &name);
            change(&mut parameters);
            let objective = Objective::new(&model.graph, &logit).with_batch(batch);
            let start = Instant::now();
            let map = explain(method(method_name)?, &objective, &input, &[layer], &parameters)?.map;
            let seconds = start.elapsed().as_secs_f64();
            let size = [input.dim(2)?, input.dim(3)?];
            let map = resize2d(&map.unsqueeze(0)?, size, &Resize::default())?.squeeze(0)?.squeeze(0)?;
            let curves = insertion_deletion(&judge, &input, &map, &protocol)?;
            let maskings = [Masking::Top(SHARES[0]), Masking::Top(SHARES[1]), Masking::Top(SHARES[2]), Masking::Soft];
            let masked = masked_scores(&judge, &input, &map, &maskings, &Canvas::Zero)?;
            let mut row = [0.0; 14];
            row[0] = curves.insertion_area();
            row[1] = curves.deletion_area();
            for (place, one) in masked.iter().enumerate() {
                row[2 + place] = one.drop();
                row[6 + place] = one.increase();
                row[10 + place] = one.drop_in_deletion();
            }
            rows.push(row);
            times.push(seconds);
        }
    }
    println!(
        "| variant | Ins | Del | Ins-Del | beside the first (95%) | drop 15 / 30 / 50 / soft | increase | ADD | s |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    for (place, ((name, ..), own)) in chosen.iter().zip(&rows).enumerate() {
        let mean = |column: usize| own.iter().map(|row| row[column]).sum::<f64>() / own.len() as f64;
        let differences: Vec<f64> =
            own.iter().zip(&rows[0]).map(|(own, first)| (own[0] - own[1]) - (first[0] - first[1])).collect();
        let beside = bootstrap_mean(&differences)
            .map_or_else(String::new, |all| format!("{:+.3} [{:+.3}, {:+.3}]", all.mean, all.low, all.high));
        let four =
            |from: usize| (from..from + 4).map(|column| format!("{:.2}", mean(column))).collect::<Vec<_>>().join(" / ");
        let own_times: Vec<f64> = times.iter().skip(place).step_by(chosen.len()).copied().collect();
        println!(
            "| {name} | {:.3} | {:.3} | {:.3} | {beside} | {} | {} | {} | {:.2} |",
            mean(0),
            mean(1),
            mean(0) - mean(1),
            four(2),
            four(6),
            four(10),
            own_times.iter().sum::<f64>() / own_times.len() as f64,
        );
    }
    println!("\n{} photos, {steps} steps", rows[0].len());
    Ok(())
}

/// About `count` photos of one half of a folder.
fn photos(folder: &Path, half: &str, count: usize) -> Result<Vec<PathBuf>> {
    let all = list_photos(folder)?;
    let middle = all.len() / 2;
    let own = match half {
        "first" => &all[..middle],
        "second" => &all[middle..],
        other => return Err(Error::unknown("half", other, ["first", "second"])),
    };
    Ok(own.iter().step_by((own.len() / count).max(1)).cloned().collect())
}
