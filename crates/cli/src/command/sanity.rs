//! `faithful sanity`: does a map change when the network loses what it has learnt?

use super::run;
use crate::arguments::{Check, SanityArguments};
use crate::failure::Outcome;
use crate::model;
use crate::output::Output;
use crate::table::{Column, Table};
use anyhow::Result;
use faithful_core::{Error, Network, Objective, Score, Stream, Target, Watched};
use faithful_explain::inputs::Input;
use faithful_explain::{Budget, Classifier, MethodAt, Settings, Setup, baseline, photo, read_of, weight_bytes};
use faithful_metric::{LayerSimilarity, data_label, parameter_randomisation};
use faithful_model::{Model, Randomisation};
use serde_json::json;
use std::sync::Arc;

pub(crate) fn run_checks(arguments: &SanityArguments, output: &Output) -> Result<Outcome> {
    let setup = Setup {
        methods: arguments.methods.iter().map(|name| name.parse()).collect::<faithful_core::Result<_>>()?,
        layers: arguments.layer.iter().cloned().collect(),
        baselines: Some(arguments.baselines.clone().unwrap_or_else(|| baseline::DEFAULT.to_owned())),
        settings: Settings { draws: arguments.draws, ..Settings::default() },
        seed: arguments.seed,
        decoding: photo::decoding(arguments.photos.max_megapixels)?,
        ..Setup::default()
    };
    let compute = arguments.model.name.compute.compute()?;
    let classifier = model::classifier(&arguments.model, output)?;
    let model = &classifier.model;
    // One network at a time has lost its weights, and has others of the same size.
    let memory = arguments.memory.map(|limit| Budget::new(limit).with_another(weight_bytes(&model.graph)));
    let setup = Setup { memory, ..setup };
    let shuffled = match &arguments.shuffled_labels {
        Some(name) => Some(like(model, name, arguments)?),
        None => None,
    };
    let session = model::session(&setup, &classifier, output)?;
    let methods = &session.methods;
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
        let seen = session.read(&input.path)?;
        // The trained network's class, whatever the others see.
        let class = seen.prediction.ranked[0];
        let target = Target::Output(class);
        let reading = seen.reading.as_ref();
        let network = read_of(classifier.network(), reading);
        for (method, found) in methods.iter().zip(&mut found) {
            let MethodAt { spec, layers, .. } = &method.for_image(seen.layer_of(class), classifier.network())?;
            let mut explain = |network: &dyn Network| {
                let network = Watched::new(network, output);
                let objective = Objective::new(&network, &target).with_batch(seen.batch());
                let scores: [&dyn Score; 1] = [&target];
                // What is known of baselines belongs to one network.
                let settings = Settings { cache: Arc::default(), ..spec.settings(&session.settings) };
                let (tensor, stream) = (&seen.photo.tensor, seen.stream().clone());
                let mut all = spec.method.explain(&objective, tensor, layers, &scores, &settings, stream)?;
                output.advance();
                Ok(all.remove(0).map)
            };
            let similarities = if let Some(other) = &shuffled {
                let other = read_of(other.network(), reading);
                let similarity = data_label(&*network, &*other, &mut explain)?;
                vec![LayerSimilarity { layer: "shuffled labels".into(), similarity }]
            } else {
                let networks = networks().map(|one| {
                    let (layer, graph) = one?;
                    Ok((layer, classifier.read_alike(compute.place(&graph)?, reading)))
                });
                parameter_randomisation(&*network, networks, &mut explain)?
            };
            for one in &similarities {
                output.object(&json!({
                    "image": input.path.display().to_string(), "method": spec.label, "class": class,
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
        Column::left("method").width(methods.iter().map(|method| method.spec.label.chars().count()).max().unwrap_or(0)),
        Column::right("rank correlation"),
        Column::right("of magnitudes"),
        Column::right("structural"),
        Column::left("down to, or alone"),
    ]);
    output.line(&table.headings())?;
    for (method, photos) in methods.iter().zip(&found) {
        for place in 0..photos.first().map_or(0, Vec::len) {
            let mean = |value: fn(&LayerSimilarity) -> f64| {
                let sum: f64 = photos.iter().map(|photo| value(&photo[place])).sum();
                format!("{:.3}", sum / photos.len() as f64)
            };
            output.line(&table.row(&[
                method.spec.label.clone(),
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

/// The classifier of that name, which must be of the model's architecture: layers are told by their place.
fn like(model: &Model, name: &str, arguments: &SanityArguments) -> Result<Classifier> {
    let compute = arguments.model.name.compute.compute()?;
    let read = arguments.model.name.reading.read();
    let other = model::load(Some(name), &arguments.model, &read)?;
    let other = Classifier::reading_of(other, read, |model| compute.place(&model.graph))?;
    let layers = |model: &Model| model.graph.layers().iter().map(|layer| layer.name.clone()).collect::<Vec<_>>();
    let shapes = |model: &Model| (model.graph.nominal_input().to_vec(), model.labels.count());
    if layers(model) != layers(&other.model) || shapes(model) != shapes(&other.model) {
        let reason = format!("`{}` and `{}` are not of one architecture", model.name, other.model.name);
        return Err(Error::parameter("shuffled-labels", reason).into());
    }
    Ok(other)
}
