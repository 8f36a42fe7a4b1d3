//! Explains every photo of a folder and writes its heat map, its raw map and a table:
//! `cargo run -p faithful-examples --bin batch_job -- fixtures/scenes out`.
//!
//! A photo that cannot be read is reported and does not stop the others; the exit code says whether there was one.

use anyhow::{Context, Result};
use candle_core::Device;
use faithful_cam::{CamParameters, EstimatorParameters, explain, method};
use faithful_core::{Objective, Stream, Target};
use faithful_data::{Decoding, list_photos, preprocess, read_photo};
use faithful_model::{Loading, Model};
use faithful_report::image::RgbImage;
use faithful_report::{Map, Region, Scale, Style, encode_npy, encode_png, overlay, rescale, write_atomic};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

fn main() -> Result<ExitCode> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let (Some(photos), Some(out)) = (arguments.next(), arguments.next()) else {
        anyhow::bail!("usage: batch_job PHOTOS OUT");
    };
    std::fs::create_dir_all(&out)?;
    let source = Model::default_source().context("no model is built in")?;
    let model = Model::load(&source, &Loading::default())?;
    let mut table = String::from("photo,class,logit\n");
    let mut failed = 0;
    for path in list_photos(&photos)? {
        match explained(&model, &path, &out) {
            Ok((class, logit)) => table.push_str(&format!("{},{class},{logit:.4}\n", path.display())),
            Err(error) => {
                eprintln!("{}: {error:#}", path.display());
                failed += 1;
            }
        }
    }
    write_atomic(&out.join("classes.csv"), table.as_bytes())?;
    print!("{table}");
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Writes the maps of the photo's most probable class; gives that class and its logit.
fn explained(model: &Model, path: &Path, out: &Path) -> Result<(String, f32)> {
    let photo = read_photo(path, &Decoding::default())?;
    let seen = preprocess(&photo, model.photo_preprocessing()?, &Device::Cpu)?;
    let any = Target::Output(0);
    let logits: Vec<f32> = Objective::new(&model.graph, &any).outputs(&seen.tensor)?.squeeze(0)?.to_vec1()?;
    let class = (0..logits.len()).max_by(|a, b| logits[*a].total_cmp(&logits[*b])).context("no classes")?;

    let target = Target::Output(class);
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    let parameters = CamParameters {
        // The same photo has the same draws wherever it lies and whatever else is in the folder.
        gradient: EstimatorParameters { stream: Stream::new(0, &*name), ..EstimatorParameters::default() },
        ..CamParameters::default()
    };
    let layer = model.target.context("the network has no layer with places")?;
    let objective = Objective::new(&model.graph, &target);
    let found = explain(method("expected-grad-cam")?, &objective, &seen.tensor, &[layer], &parameters)?;

    let map = Map::from_tensor(&found.map)?;
    let (width, height) = (photo.width as u32, photo.height as u32);
    let picture = RgbImage::from_raw(width, height, photo.pixels).context("a photo has three bytes per pixel")?;
    let place = seen.placement;
    let region = Region { left: place.left, top: place.top, width: place.width, height: place.height };
    let drawn = overlay(&picture, &rescale(&map, &Scale::default())?, region, &Style::default())?;
    write_atomic(&out.join(format!("{name}.png")), &encode_png(&drawn)?)?;
    write_atomic(&out.join(format!("{name}.npy")), &encode_npy(&map))?;
    Ok((model.labels.name(class), logits[class]))
}
