//! `faithful predict`.

use super::run;
use crate::arguments::PredictArguments;
use crate::failure::Outcome;
use crate::model;
use crate::output::Output;
use crate::table::{Column, Table};
use anyhow::Result;
use faithful_core::{Objective, Target};
use faithful_explain::{Budget, Demand, model::predict, photo};
use serde::Serialize;

#[derive(Serialize)]
struct Line {
    image: String,
    top: Vec<Entry>,
}

#[derive(Serialize)]
struct Entry {
    class: usize,
    label: String,
    logit: f64,
    probability: f64,
}

pub(crate) fn run(arguments: &PredictArguments, output: &Output) -> Result<Outcome> {
    let decoding = photo::decoding(arguments.photos.max_megapixels)?;
    let classifier = model::classifier_for_cpu(&arguments.model, output)?;
    let model = &classifier.model;
    let preprocessing = model.photo_preprocessing()?;
    let objective = Objective::new(classifier.network(), &Target::Output(0));
    let memory = arguments.memory.map(Budget::new);
    let inputs = run::photos(&arguments.photos.images);
    let table = Table::new(&[
        Column::left("image").width(run::name_width(&inputs)),
        Column::right("class"),
        Column::right("probability"),
        Column::right("logit").width(8),
        Column::left("label"),
    ]);
    let mut headings = Some(table.headings());
    run::for_each_photo(&inputs, output, "predicting", |input| {
        let photo = photo::read(&input.path, preprocessing, &decoding)?;
        if let Some(memory) = &memory {
            memory.fit(&model.graph, &photo.tensor.dims()[1..], photo.pixels(), &[Demand::FORWARD])?;
        }
        let prediction = predict(&objective, model.probabilities, &photo.tensor)?;
        let top: Vec<Entry> = prediction.ranked[..arguments.top.get().min(prediction.ranked.len())]
            .iter()
            .map(|&class| Entry {
                class,
                label: model.labels.name(class),
                logit: prediction.logits[class],
                probability: prediction.probabilities[class],
            })
            .collect();
        let line = Line { image: input.path.display().to_string(), top };
        output.object(&line)?;
        if let Some(headings) = headings.take() {
            output.line(&headings)?;
        }
        for (place, class) in line.top.iter().enumerate() {
            let cells = [
                if place == 0 { line.image.clone() } else { String::new() },
                class.class.to_string(),
                format!("{:.2}%", class.probability * 100.0),
                format!("{:.3}", class.logit),
                class.label.clone(),
            ];
            output.line(&table.row(&cells))?;
        }
        Ok(())
    })
}
