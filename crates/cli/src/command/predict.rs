//! `faithful predict`.

use super::run;
use crate::arguments::PredictArguments;
use crate::failure::Outcome;
use crate::files::Folder;
use crate::model;
use crate::output::Output;
use crate::table::{Column, Table};
use anyhow::Result;
use faithful_core::{Error, Network, Objective, Probabilities, Target};
use faithful_explain::inputs::{Input, Inputs};
use faithful_explain::{
    Budget, Classifier, Demand, Detection, Photo, Read, detections, model::predict, photo, read_of, shares,
};
use faithful_model::{Dense, DenseForm};
use faithful_report::{Boxed, draw_boxes, encode_png};
use serde::Serialize;
use std::path::Path;

#[derive(Serialize)]
struct Line {
    image: String,
    top: Vec<Entry>,
    /// Of a detection, the boxes.
    #[serde(skip_serializing_if = "Option::is_none")]
    detections: Option<Vec<BoxEntry>>,
    /// The picture with the boxes.
    #[serde(skip_serializing_if = "Option::is_none")]
    picture: Option<String>,
}

#[derive(Serialize)]
struct Entry {
    class: usize,
    label: String,
    logit: f64,
    /// Nothing for numbers that are of no classes: a similarity, a sum of outputs.
    #[serde(skip_serializing_if = "Option::is_none")]
    probability: Option<f64>,
    /// Of a segmentation, the share of the places that are of the class.
    #[serde(skip_serializing_if = "Option::is_none")]
    area: Option<f64>,
}

#[derive(Serialize)]
struct BoxEntry {
    number: usize,
    class: usize,
    label: String,
    probability: f64,
    /// Left, top, right, bottom in the photo's pixels.
    #[serde(rename = "box")]
    corners: [f64; 4],
}

/// A segmentation or a detection where it is computed, beside its classes.
struct Places<'a> {
    dense: &'a Dense,
    network: Box<dyn Network>,
}

struct Run<'a> {
    classifier: &'a Classifier,
    places: Option<Places<'a>>,
    top: usize,
    draw: Option<Folder>,
}

pub(crate) fn run(arguments: &PredictArguments, output: &Output) -> Result<Outcome> {
    let decoding = photo::decoding(arguments.photos.max_megapixels)?;
    let classifier = model::classifier_for_cpu(&arguments.model, output)?;
    let model = &classifier.model;
    let preprocessing = model.photo_preprocessing()?;
    let compute = arguments.model.name.compute.compute()?;
    let dense = model.dense.as_ref().filter(|_| classifier.read == Read::Classes);
    let places = match dense {
        Some(dense) => Some(Places { dense, network: compute.place_for_cpu(&dense.graph)? }),
        None => None,
    };
    let boxes = dense.is_some_and(|dense| matches!(dense.form, DenseForm::Detection { .. }));
    if arguments.draw.is_some() && !boxes {
        return Err(Error::parameter("draw", "the network gives no boxes that could be drawn").into());
    }
    let inputs = run::photos(&arguments.photos.images);
    let mut draw = arguments.draw.as_deref().map(Folder::prepare).transpose()?;
    if let Some(folder) = &mut draw {
        folder.spare(inputs.photos.iter().map(|photo| photo.path.as_path()));
        output.writes_files();
    }
    let run = Run { classifier: &classifier, places, top: arguments.top.get(), draw };
    let memory = arguments.memory.map(Budget::new);
    let table = columns(&inputs, boxes, dense.is_some());
    let mut headings = Some(table.headings());
    run::for_each_photo(&inputs, output, "predicting", |input| {
        let photo = photo::read(&input.path, preprocessing, &decoding)?;
        if let Some(memory) = &memory {
            memory.fit(&model.graph, &photo.tensor.dims()[1..], photo.pixels(), &[Demand::FORWARD])?;
        }
        let line = run.line(input, &photo)?;
        output.object(&line)?;
        if let Some(headings) = headings.take() {
            output.line(&headings)?;
        }
        for cells in rows(&line) {
            output.line(&table.row(&cells))?;
        }
        if line.detections.as_ref().is_some_and(Vec::is_empty) && !output.is_json() {
            output.note(&format!("{}: nothing is found", line.image));
        }
        Ok(())
    })
}

fn columns(inputs: &Inputs, boxes: bool, dense: bool) -> Table {
    let mut columns = vec![Column::left("image").width(run::name_width(inputs))];
    if boxes {
        columns.push(Column::right("number"));
    }
    columns.extend([Column::right("class"), Column::right("probability")]);
    columns.push(match (boxes, dense) {
        (true, _) => Column::left("box").width(24),
        (false, true) => Column::right("area").width(8),
        (false, false) => Column::right("logit").width(8),
    });
    columns.push(Column::left("label"));
    Table::new(&columns)
}

impl Run<'_> {
    fn line(&self, input: &Input, photo: &Photo) -> Result<Line> {
        let (classifier, model) = (self.classifier, &self.classifier.model);
        let reading = classifier.reading(classifier.network(), photo)?;
        let network = read_of(classifier.network(), reading.as_ref());
        let objective = Objective::new(&*network, &Target::Output(0));
        let prediction = predict(&objective, model.probabilities, &photo.tensor)?;
        let mut ranked = prediction.ranked.clone();
        let mut areas = None;
        let mut found = None;
        if let Some(Places { dense, network }) = &self.places {
            match dense.form {
                DenseForm::Detection { .. } => found = Some(detections(dense, &**network, photo)?),
                DenseForm::Segmentation { .. } => {
                    let shares = areas.insert(shares(dense, &**network, photo)?);
                    ranked.sort_by(|&a, &b| shares[b].total_cmp(&shares[a]));
                }
            }
        }
        let entry = |&class: &usize| Entry {
            class,
            label: model.labels.name(class),
            logit: prediction.logits[class],
            probability: (model.probabilities != Probabilities::Unchanged).then(|| prediction.probabilities[class]),
            area: areas.as_ref().map(|areas| areas[class]),
        };
        let top = ranked.iter().take(self.top).map(entry).collect();
        if let Some(found) = &mut found {
            found.truncate(self.top);
        }
        let picture = match (&self.draw, &found) {
            (Some(folder), Some(found)) => Some(drawn(folder, input, photo, found)?),
            _ => None,
        };
        let detections =
            found.map(|found| found.iter().zip(1..).map(|(one, number)| self.entry(one, number)).collect());
        Ok(Line { image: input.path.display().to_string(), top, detections, picture })
    }

    fn entry(&self, found: &Detection, number: usize) -> BoxEntry {
        let Detection { class, score, corners, .. } = *found;
        BoxEntry { number, class, label: self.classifier.model.labels.name(class), probability: score, corners }
    }
}

/// Writes the photo with its boxes, each with its number.
fn drawn(folder: &Folder, input: &Input, photo: &Photo, found: &[Detection]) -> Result<String> {
    let mut picture = photo.picture.clone();
    let boxed = |(one, number): (&Detection, usize)| Boxed { corners: one.corners, text: number.to_string() };
    draw_boxes(&mut picture, &found.iter().zip(1..).map(boxed).collect::<Vec<_>>());
    let stem = Path::new(&input.stem).display();
    Ok(folder.write(&format!("{stem}.boxes.png"), &encode_png(&picture)?)?.display().to_string())
}

/// The cells of a photo's lines.
fn rows(line: &Line) -> Vec<Vec<String>> {
    let percent = |share: f64| format!("{:.2}%", share * 100.0);
    let image = |place: usize| if place == 0 { line.image.clone() } else { String::new() };
    if let Some(found) = &line.detections {
        let cells = |(place, one): (usize, &BoxEntry)| {
            let [left, top, right, bottom] = one.corners.map(f64::round);
            let corners = format!("{left},{top},{right},{bottom}");
            let (number, class) = (one.number.to_string(), one.class.to_string());
            vec![image(place), number, class, percent(one.probability), corners, one.label.clone()]
        };
        return found.iter().enumerate().map(cells).collect();
    }
    let cells = |(place, one): (usize, &Entry)| {
        let probability = one.probability.map_or_else(|| "-".to_owned(), percent);
        let number = one.area.map_or_else(|| format!("{:.3}", one.logit), percent);
        vec![image(place), one.class.to_string(), probability, number, one.label.clone()]
    };
    line.top.iter().enumerate().map(cells).collect()
}
