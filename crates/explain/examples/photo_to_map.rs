//! From a photo's file to what a method finds in it: `cargo run -p faithful-explain --example photo_to_map -- PHOTO`.

use faithful_core::{Error, Result, Stop};
use faithful_data::Decoding;
use faithful_explain::class::{Number, Wanted};
use faithful_explain::method::{Named, Settings};
use faithful_explain::model::{ModelOptions, load};
use faithful_explain::question::{Question, Rows, target_layers};
use faithful_explain::{baseline, photo};
use faithful_model::Model;
use std::path::PathBuf;

fn main() -> Result<()> {
    let path = std::env::args_os().nth(1).map_or_else(|| "fixtures/scenes/dotted-star.png".into(), PathBuf::from);
    let source = Model::default_source().ok_or_else(|| Error::parameter("model", "none is built in"))?;
    let model = load(&source, &ModelOptions::default())?;
    let decoding = photo::decoding(150.0)?;
    let sampler =
        baseline::sampler("zero", model.photo_preprocessing()?, &Decoding::default(), &|note| println!("{note}"))?;
    let named = Named::parse("expected-grad-cam")?;
    let layers = target_layers(&model, &named.method, &[])?;
    let question = Question {
        model: &model,
        network: &model.graph,
        wanted: vec![Wanted::Top(1)],
        number: Number::Logit,
        settings: Settings::new(None, Stop::Draws, sampler),
        seed: 0,
        rows: Rows::default(),
        decoding,
    };
    let asked = question.read(&path)?;
    for (class, found) in asked.classes.iter().zip(question.answer_named(&asked, &named, &layers)?) {
        println!("{}: {:.3}, a map of {:?} cells", model.labels.name(*class), found.score, found.map.dims());
    }
    Ok(())
}
