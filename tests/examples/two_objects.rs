//! Whether a map stays with its class: drawn scenes with two objects of different classes, each class explained.
//!
//! `cargo run --release -p faithful-tests --example two_objects -- SCENES [METHOD…]`
//!
//! Of the scenes that come first, the SCENES count whose two classes the shipped network finds most probable. A map is
//! on its own object where its highest place lies there (pointing), and where it has more energy on its own object than on
//! the other's.

use faithful_cam::{CamParameters, explain, method};
use faithful_core::{Error, Network, Objective, Result, Stream, Target};
use faithful_data::{Mask, SceneSpec, draw_scene, preprocess};
use faithful_metric::{energy_inside, pointing_game};
use faithful_model::{Loading, Model};
use faithful_tensor::{Resize, resize2d};

const METHODS: [&str; 5] = ["grad-cam", "layer-cam", "score-cam", "expected-grad-cam", "hyper-expected-grad-cam"];

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [count, names @ ..] = arguments.as_slice() else {
        return Err(Error::parameter("arguments", "SCENES [METHOD…]"));
    };
    let count: usize = count.parse().map_err(|_| Error::parameter("SCENES", "it is no number"))?;
    let names: Vec<&str> = if names.is_empty() { METHODS.to_vec() } else { names.iter().map(String::as_str).collect() };
    let model = Model::load(&"scenes-vgg".parse()?, &Loading::default())?;
    let layer = model.target.ok_or_else(|| Error::parameter("model", "it has no spatial layers"))?;
    let spec = SceneSpec { objects: 2..=2, ..SceneSpec::default() };
    let stream = Stream::new(0, "two objects");
    let mut hits = vec![[0usize; 2]; names.len()];
    let (mut scenes, mut drawn) = (0, 0);
    while scenes < count {
        let scene = draw_scene(&spec, &mut stream.draw(drawn))?;
        drawn += 1;
        let [one, other] = scene.classes()[..] else { continue };
        let (masks, picture) = ([one, other].map(|class| scene.mask_of(class)), scene.picture);
        let input = preprocess(&picture, model.photo_preprocessing()?, &model.graph.device())?.tensor;
        let logits: Vec<f32> = model.graph.evaluate(&input, &[])?.0.squeeze(0)?.to_vec1()?;
        let mut ranked: Vec<usize> = (0..logits.len()).collect();
        ranked.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]));
        if !(ranked[..2].contains(&one) && ranked[..2].contains(&other)) {
            continue;
        }
        scenes += 1;
        for (name, hits) in names.iter().zip(&mut hits) {
            for (place, class) in [one, other].into_iter().enumerate() {
                let score = Target::Output(class);
                let mut parameters = CamParameters::default();
                parameters.gradient.stream = Stream::new(0, drawn.to_string());
                let objective = Objective::new(&model.graph, &score);
                let map = explain(method(name)?, &objective, &input, &[layer], &parameters)?.map;
                let size = [input.dim(2)?, input.dim(3)?];
                let map = resize2d(&map.unsqueeze(0)?, size, &Resize::default())?.squeeze(0)?.squeeze(0)?;
                let seen = |mask: &Mask| mask.inside.clone();
                let (own, others) = (seen(&masks[place]), seen(&masks[1 - place]));
                hits[0] += usize::from(pointing_game(&map, &own)? > 0.5);
                hits[1] += usize::from(energy_inside(&map, &own)? > energy_inside(&map, &others)?);
            }
        }
    }
    println!("| method | pointing | more energy on its own object |\n|---|--:|--:|");
    for (name, hits) in names.iter().zip(&hits) {
        let share = |hits: usize| 100.0 * hits as f64 / (2 * scenes).max(1) as f64;
        println!("| {name} | {:.1}% | {:.1}% |", share(hits[0]), share(hits[1]));
    }
    println!("\n{scenes} of {drawn} scenes, two maps each");
    Ok(())
}
