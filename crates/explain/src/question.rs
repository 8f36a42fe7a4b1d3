//! What is asked of every photo of a run: which classes, which number of them, with which settings. Commands differ in
//! what they do with the answers.

use crate::class::{self, Number, Wanted};
use crate::memory::{Budget, Demand};
use crate::method::{Explainer, Found, Named, Settings};
use crate::model::{self, Prediction};
use crate::photo::{self, Photo};
use crate::size::ByteSize;
use faithful_core::{Error, LayerId, Network, Objective, Result, Score, Stream, Target};
use faithful_data::Decoding;
use faithful_evaluate::fitted;
use faithful_metric::{Curves, Protocol, insertion_deletion};
use faithful_model::Model;
use std::num::NonZeroUsize;
use std::path::Path;
use std::time::Instant;

/// Everything that is the same for all photos of a run, checked before the first is read.
pub struct Question<'a> {
    /// The model.
    pub model: &'a Model,
    /// The model's network, or one that stands before it.
    pub network: &'a dyn Network,
    /// The classes that were asked for.
    pub wanted: Vec<Wanted>,
    /// Which number of a class is explained.
    pub number: Number,
    /// What the methods are told.
    pub settings: Settings,
    /// The seed of everything random.
    pub seed: u64,
    /// How many rows go through the network at a time.
    pub rows: Rows,
    /// The limits of photos.
    pub decoding: Decoding,
}

/// How many rows go through the network at a time: so many, or as many as fit.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    batch: Option<NonZeroUsize>,
    budget: Option<(Budget, Vec<Demand>)>,
}

impl Rows {
    /// What was asked for. Everything that stays in memory must be there by now; `demands` are those of all that will
    /// be done.
    pub fn new(batch: Option<NonZeroUsize>, memory: Option<ByteSize>, demands: Vec<Demand>) -> Self {
        Self { batch, budget: memory.map(|memory| (Budget::new(memory), demands)) }
    }

    /// For an input `(…)` that was made of a photo of so many pixels; an error where not even one fits.
    pub fn of(&self, network: &dyn Network, input: &[usize], pixels: u64) -> Result<NonZeroUsize> {
        match (self.batch, &self.budget) {
            (Some(batch), _) => Ok(batch),
            (None, Some((budget, demands))) => budget.fit(network, input, pixels, demands),
            (None, None) => Ok(const { NonZeroUsize::new(8).unwrap() }),
        }
    }
}

/// A photo with what the network says about it.
pub struct Asked {
    /// The photo.
    pub photo: Photo,
    /// What the network gives for it.
    pub prediction: Prediction,
    /// The classes that are explained.
    pub classes: Vec<usize>,
    /// When the network began to look at it.
    pub began: Instant,
    batch: NonZeroUsize,
    stream: Stream,
}

impl Question<'_> {
    /// Reads a photo and runs the network on it.
    pub fn read(&self, path: &Path) -> Result<Asked> {
        let photo = photo::read(path, self.model.photo_preprocessing()?, &self.decoding)?;
        // The file's name, not its path: a photo has the same draws wherever it lies.
        self.ask(photo, &path.file_name().unwrap_or(path.as_os_str()).to_string_lossy())
    }

    /// Runs the network on a photo; `name` keys its random draws.
    pub fn ask(&self, photo: Photo, name: &str) -> Result<Asked> {
        let began = Instant::now();
        let photo = photo.on(self.network)?;
        let pixels = u64::from(photo.picture.width()) * u64::from(photo.picture.height());
        let batch = self.rows.of(self.network, &photo.tensor.dims()[1..], pixels)?;
        let objective = Objective::new(self.network, &Target::Output(0)).with_batch(batch);
        let prediction = model::predict(&objective, self.model.probabilities, &photo.tensor)?;
        let classes = class::choose(&self.wanted, &prediction.ranked);
        let stream = Stream::new(self.seed, name.as_bytes());
        Ok(Asked { photo, prediction, classes, began, batch, stream })
    }

    /// Explains each of the photo's classes, by a method with what its name says.
    pub fn answer_named(&self, asked: &Asked, named: &Named, layers: &[LayerId]) -> Result<Vec<Found>> {
        self.explained(asked, &named.method, layers, &named.settings(&self.settings))
    }

    /// Explains each of the photo's classes.
    pub fn answer(&self, asked: &Asked, explainer: &Explainer, layers: &[LayerId]) -> Result<Vec<Found>> {
        self.explained(asked, explainer, layers, &self.settings)
    }

    fn explained(
        &self,
        asked: &Asked,
        explainer: &Explainer,
        layers: &[LayerId],
        settings: &Settings,
    ) -> Result<Vec<Found>> {
        let scores: Vec<Target> =
            asked.classes.iter().map(|&class| self.number.of(class, self.model.probabilities)).collect();
        let scores: Vec<&dyn Score> = scores.iter().map(|score| score as &dyn Score).collect();
        let objective = Objective::new(self.network, &Target::Output(0)).with_batch(asked.batch);
        let (tensor, stream) = (&asked.photo.tensor, asked.stream.clone());
        let settings = Settings { probabilities: self.model.probabilities, ..settings.clone() };
        explainer.explain(&objective, tensor, layers, &scores, &settings, stream)
    }

    /// How the probability of `class` rises and falls as the cells that a map finds important appear and vanish.
    pub fn curves(&self, asked: &Asked, class: usize, found: &Found, protocol: &Protocol) -> Result<Curves> {
        let target = self.model.probabilities.probability(class);
        let objective = Objective::new(self.network, &target).with_batch(asked.batch);
        let tensor = &asked.photo.tensor;
        insertion_deletion(&objective, tensor, &fitted(&found.map, tensor)?, protocol)
    }
}

/// The layers that were named, or the model's own target; none where the method explains at the input.
pub fn target_layers(model: &Model, explainer: &Explainer, names: &[String]) -> Result<Vec<LayerId>> {
    if !names.is_empty() {
        return names.iter().map(|name| model.graph.layer(name)).collect();
    }
    if !explainer.needs_layers() {
        return Ok(Vec::new());
    }
    let target = model.target.ok_or_else(|| {
        let reason = format!("`{}` has no convolutional layer with places; name one with --layer", model.name);
        Error::parameter("layer", reason)
    })?;
    explainer.layers_of(&model.graph, target)
}

/// The names of layers, by commas.
pub fn layer_names(model: &Model, layers: &[LayerId]) -> String {
    let names: Vec<&str> = layers.iter().map(|layer| model.graph.layers()[layer.0].name.as_str()).collect();
    names.join(",")
}
