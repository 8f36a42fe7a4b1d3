//! `faithful sanity`: does a map change when the network loses what it has learnt?

use super::evaluate::target_layer;
use super::run;
use crate::arguments::{Check, SanityArguments};
use crate::failure::Outcome;
use crate::model;
use crate::output::Output;
use crate::table::{Column, Table};
use anyhow::Result;
use faithful_core::{Error, LayerId, Network, Objective, Score, Stop, Stream, Target, Watched};
use faithful_explain::inputs::Input;
use faithful_explain::method::{Named, Settings};
use faithful_explain::{baseline, photo};
use faithful_metric::{LayerSimilarity, data_label, parameter_randomisation};
use faithful_model::{Model, Randomisation};
use serde_json::json;
use std::sync::Arc;

pub(crate) fn run_checks(arguments: &SanityArguments, output: &Output) -> Result<Outcome> {
    let methods: Vec<Named> = arguments.methods.iter().map(|name| Ok(Named::parse(name)?)).collect::<Result<_>>()?;
    let decoding = photo::decoding(arguments.photos.max_megapixels)?;
    let compute = arguments.model.name.compute.compute()?;
    let model = model::classifier(&arguments.model, output)?;
    let network = compute.place(&model.graph)?;
    let preprocessing = model.photo_preprocessing()?;
    let layer = target_layer(&model, arguments.layer.as_deref(), &methods)?;
    let shuffled = match &arguments.shuffled_labels {
        Some(name) => Some(compute.place(&like(&model, name, arguments)?.graph)?),
        None => None,
    };
    let baselines = arguments.baselines.as_deref().unwrap_or(baseline::DEFAULT);
    let sampler = model::baselines(baselines, preprocessing, &decoding, output)?;
    let settings = Settings::new(arguments.draws, Stop::Draws, sampler);
    let order = match arguments.check {
        Check::Cascading => Randomisation::Cascading,
        Check::Independent => Randomisation::Independent,
    };
    let most = arguments.layers.map_or(usize::MAX, std::num::NonZeroUsize::get);
    let shuffles = Stream::new(arguments.seed, "randomised weights");
    let networks = || model.graph.randomised(order, &shuffles).take(most);
    // The trained network, and those that have lost something or learnt something else.
    let others = if shuffled.is_some() { 1 } else { networks().size_hint().0 };
    let steps = methods.len() * (1 + others);
    let mut found: Vec<Vec<Vec<LayerSimilarity>>> = vec![Vec::new(); methods.len()];
    let inputs = run::photos(&arguments.photos.images);
    let outcome = run::for_each_photo_in_steps(&inputs, output, "checking", steps, |input: &Input| {
        let photo = photo::read(&input.path, preprocessing, &decoding)?.on(&*network)?;
        let name = input.path.file_name().unwrap_or(input.path.as_os_str()).to_string_lossy().into_owned();
        let prediction =
            model::predict(&Objective::new(&*network, &Target::Output(0)), model.probabilities, &photo.tensor)?;
        // The trained network's class, whatever the others see.
        let target = Target::Output(prediction.ranked[0]);
        for (Named { method, label, cam, draws }, found) in methods.iter().zip(&mut found) {
            let layers: Vec<LayerId> = if method.needs_layers() { layer.into_iter().collect() } else { Vec::new() };
            let stream = Stream::new(arguments.seed, name.as_bytes());
            let mut explain = |network: &dyn Network| {
                let network = Watched::new(network, output);
                let objective = Objective::new(&network, &target);
                let scores: [&dyn Score; 1] = [&target];
                // What is known of baselines belongs to one network.
                let cache = Arc::default();
                let settings = Settings {
                    cam: *cam,
                    draws: draws.or(settings.draws),
                    probabilities: model.probabilities,
                    cache,
                    ..settings.clone()
                };
                let mut all = method.explain(&objective, &photo.tensor, &layers, &scores, &settings, stream.clone())?;
                output.advance();
                Ok(all.remove(0).map)
            };
            let similarities = if let Some(other) = &shuffled {
                let similarity = data_label(&*network, &**other, &mut explain)?;
                vec![LayerSimilarity { layer: "shuffled labels".into(), similarity }]
            } else {
                let networks = networks().map(|one| one.and_then(|(layer, graph)| Ok((layer, compute.place(&graph)?))));
                parameter_randomisation(&*network, networks, &mut explain)?
            };
            for one in &similarities {
                output.object(&json!({
                    "image": input.path.display().to_string(), "method": label, "class": prediction.ranked[0],
                    "layer": one.layer, "spearman": one.similarity.spearman,
                    "spearman_of_magnitudes": one.similarity.spearman_of_magnitudes,
                    "structural": one.similarity.structural,
                }))?;
            }
            found.push(similarities);
        }
        Ok(())
    })?;
    let table = Table::new(&[
        Column::left("method").width(methods.iter().map(|named| named.label.chars().count()).max().unwrap_or(0)),
        Column::right("rank correlation"),
        Column::right("of magnitudes"),
        Column::right("structural"),
        Column::left("down to, or alone"),
    ]);
    output.line(&table.headings())?;
    for (Named { label, .. }, photos) in methods.iter().zip(&found) {
        for place in 0..photos.first().map_or(0, Vec::len) {
            let mean = |value: fn(&LayerSimilarity) -> f64| {
                let sum: f64 = photos.iter().map(|photo| value(&photo[place])).sum();
                format!("{:.3}", sum / photos.len() as f64)
            };
            output.line(&table.row(&[
                label.clone(),
                mean(|one| one.similarity.spearman),
                mean(|one| one.similarity.spearman_of_magnitudes),
                mean(|one| one.similarity.structural),
                photos[0][place].layer.clone(),
            ]))?;
        }
    }
    output
        .note("a map that explains the network changes with it: lower is better, 1 is a map that ignores the network");
    Ok(outcome)
}

/// The network of that name, which must be of the model's architecture: layers are told by their place.
fn like(model: &Model, name: &str, arguments: &SanityArguments) -> Result<Model> {
    let other = model::load(Some(name), &arguments.model)?;
    let layers = |model: &Model| model.graph.layers().iter().map(|layer| layer.name.clone()).collect::<Vec<_>>();
    let shapes = |model: &Model| (model.graph.nominal_input().to_vec(), model.labels.count());
    if layers(model) != layers(&other) || shapes(model) != shapes(&other) {
        let reason = format!("`{}` and `{}` are not of one architecture", model.name, other.name);
        return Err(Error::parameter("shuffled-labels", reason).into());
    }
    Ok(other)
}
