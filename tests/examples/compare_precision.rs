//! What `--precision bf16` changes on the CPU: scores and maps against those of `f32`, on every n-th photo of a folder.
//!
//! `cargo run --release -p faithful-tests --example compare_precision -- MODEL FOLDER PHOTOS`
//!
//! MODEL as `faithful --model` takes it. The class that `f32` finds likeliest is explained, at the model's own layer, with
//! the same draws in both.

use candle_core::Tensor;
use faithful_cam::{CamParameters, HyperParameters, Quality, explain, method};
use faithful_core::{Error, Network, Objective, Result, Stream, Target};
use faithful_data::{Decoding, list_photos, preprocess, read_photo};
use faithful_metric::similarity;
use faithful_model::{Compute, Loading, Model, Precision};
use faithful_tests::relative_l2;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

const METHODS: [&str; 4] = ["grad-cam", "layer-cam", "expected-grad-cam", "hyper-expected-grad-cam"];

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let usage = || Error::parameter("arguments", "MODEL FOLDER PHOTOS");
    let [model, folder, count] = arguments.as_slice() else { return Err(usage()) };
    let count: NonZeroUsize = count.parse().map_err(|_| usage())?;
    let model = Model::load(&model.parse()?, &Loading::default())?;
    let layer = model.target.ok_or_else(|| Error::parameter("model", "it has no spatial layers"))?;
    let place = |precision| Compute::new("cpu", precision)?.place(&model.graph);
    let (full, half) = (place(Precision::F32)?, place(Precision::Bf16)?);
    let batch = NonZeroUsize::new(16).unwrap_or(NonZeroUsize::MIN);

    let photos = photos(Path::new(folder), count.get())?;
    let (mut agree, mut scores) = (0, Vec::new());
    let mut rows: Vec<Vec<(f64, f64)>> = vec![Vec::new(); METHODS.len()];
    for path in &photos {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let photo = read_photo(path, &Decoding::default())?;
        let input = preprocess(&photo, model.photo_preprocessing()?, &model.graph.device())?.tensor;
        let logits = |network: &dyn Network| Ok::<_, Error>(network.evaluate(&input, &[])?.0.squeeze(0)?);
        let (exact, rounded) = (logits(&*full)?, logits(&*half)?);
        let class = likeliest(&exact)?;
        let target = Target::Output(class);
        agree += usize::from(likeliest(&rounded)? == class);
        scores.push(relative_l2(&rounded, &exact)?);
        for (row, name_of_method) in rows.iter_mut().zip(METHODS) {
            let mut parameters = CamParameters { hyper: Quality::Draft.parameters(), ..CamParameters::default() };
            parameters.gradient.stream = Stream::new(0, &name);
            if name_of_method.starts_with("hyper") {
                parameters.gradient.draws = Quality::Draft.draws();
            } else {
                parameters.hyper = HyperParameters::default();
            }
            let map = |network: &dyn Network| {
                let objective = Objective::new(network, &target).with_batch(batch);
                Ok::<_, Error>(explain(method(name_of_method)?, &objective, &input, &[layer], &parameters)?.map)
            };
            let (exact, rounded) = (map(&*full)?, map(&*half)?);
            row.push((relative_l2(&rounded, &exact)?, similarity(&rounded, &exact)?.spearman));
        }
    }
    println!("| {} | relative L2: median, most | Spearman: median, least |\n|---|---|---|", model.name);
    let (median, most) = (middle(&mut scores), scores.last().copied().unwrap_or(f64::NAN));
    println!("| scores | {median:.4}, {most:.4} | the same class in {agree} of {} photos |", photos.len());
    for (name, row) in METHODS.iter().zip(&rows) {
        let (mut far, mut alike): (Vec<f64>, Vec<f64>) = row.iter().copied().unzip();
        let quality = if name.starts_with("hyper") { ".draft" } else { "" };
        println!(
            "| {name}{quality} | {:.4}, {:.4} | {:.4}, {:.4} |",
            middle(&mut far),
            far.last().copied().unwrap_or(f64::NAN),
            middle(&mut alike),
            alike.first().copied().unwrap_or(f64::NAN),
        );
    }
    Ok(())
}

/// About `count` photos of a folder, evenly chosen by name.
fn photos(folder: &Path, count: usize) -> Result<Vec<PathBuf>> {
    let all = list_photos(folder)?;
    let step = (all.len() / count).max(1);
    Ok(all.into_iter().step_by(step).take(count).collect())
}

fn likeliest(scores: &Tensor) -> Result<usize> {
    Ok(scores.argmax(0)?.to_scalar::<u32>()? as usize)
}

/// The median; the values are in order afterwards.
fn middle(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
