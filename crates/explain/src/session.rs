//! What is asked of photos: by which methods, for which classes and which score of them. Built once from the words that a
//! user has for it, checked before the first photo is read.

use crate::class::{self, ClassChoice};
use crate::memory::{Budget, Demand};
use crate::model::{self, Classifier, Prediction};
use crate::photo::{self, Photo};
use crate::{Method, MethodResult, MethodSpec, PhotoReading, Settings, baseline, read_of};
use faithful_core::{LayerId, Network, Objective, Result, Score, ScoreKind, Stream, Target, Watch, Watched};
use faithful_data::Decoding;
use faithful_evaluate::fitted;
use faithful_metric::{Curves, Protocol, insertion_deletion};
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

/// What is asked, in a user's words. The default is a method alone: the most probable class's logit, at the model's own
/// target layer.
#[derive(Clone)]
pub struct Setup {
    /// The methods, in their order.
    pub methods: Vec<MethodSpec>,
    /// The layers of those methods that have target layers, by name; empty for the model's own.
    pub layers: Vec<String>,
    /// Which classes of a photo are explained: `7`, `heron`, `top5`.
    pub classes: Vec<String>,
    /// Which score of a class: `logit`, `probability`, `log-probability` or `margin:CLASS`.
    pub score: String,
    /// What photos are compared with, as [`baseline::sampler`] reads it; nothing for the sampler of the settings.
    pub baselines: Option<String>,
    /// What the methods are told.
    pub settings: Settings,
    /// The seed of everything random.
    pub seed: u64,
    /// How many rows go through the network at a time; nothing for as many as fit.
    pub batch: Option<NonZeroUsize>,
    /// How much memory the process may take.
    pub memory: Option<Budget>,
    /// The limits of photos.
    pub decoding: Decoding,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            methods: Vec::new(),
            layers: Vec::new(),
            classes: vec!["top1".to_owned()],
            score: class::AUTO_SCORE.to_owned(),
            baselines: None,
            settings: Settings::default(),
            seed: 0,
            batch: None,
            memory: None,
            decoding: Decoding::default(),
        }
    }
}

/// Hears what a user should know: how far an explanation is, and what was left out.
pub trait Listener: Watch {
    /// Something that went well but should be known.
    fn note(&self, text: &str);
}

/// A listener that does nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Watch for Silent {
    fn announce(&self, _: u64) {}

    fn advance(&self, _: u64) -> Result<()> {
        Ok(())
    }
}

impl Listener for Silent {
    fn note(&self, _: &str) {}
}

impl Setup {
    /// The method called `name` (see [`MethodSpec`]), all else by default.
    ///
    /// # Errors
    /// [`Error::UnknownName`](faithful_core::Error::UnknownName) with suggestions, and what else a name can be wrong by.
    pub fn method(name: &str) -> Result<Self> {
        Ok(Self { methods: vec![name.parse()?], ..Self::default() })
    }

    /// Checks the setup against a classifier, and reads its baselines.
    ///
    /// # Errors
    /// [`Error::UnknownLayer`](faithful_core::Error::UnknownLayer), [`Error::UnknownName`](faithful_core::Error::UnknownName) and [`Error::Parameter`](faithful_core::Error::Parameter) for what the classifier does not have;
    /// [`Error::Io`](faithful_core::Error::Io) and [`Error::Format`](faithful_core::Error::Format) for a folder of baselines that cannot be read.
    pub fn session<'a>(&self, classifier: &'a Classifier) -> Result<Session<'a>> {
        self.session_with(classifier, &Silent)
    }

    /// As [`session`](Self::session), where `listener` hears how far explanations are.
    pub fn session_with<'a>(&self, classifier: &'a Classifier, listener: &'a dyn Listener) -> Result<Session<'a>> {
        let model = &classifier.model;
        let preprocessing = model.photo_preprocessing()?;
        let methods = self.methods.iter().map(|spec| self.at_layers(classifier, spec)).collect::<Result<Vec<_>>>()?;
        let classes = class::parse_classes(&self.classes, &model.labels)?;
        let score = class::parse_score_or_auto(&self.score, &model.labels)?;
        let mut settings = Settings { probabilities: model.probabilities, ..self.settings.clone() };
        if let Some(baselines) = &self.baselines {
            settings.sampler =
                baseline::sampler(baselines, preprocessing, &self.decoding, &|text| listener.note(text))?;
        }
        let most = class::most(&classes);
        let demand = |MethodAt { spec, layers, .. }: &MethodAt| {
            Demand::of(&spec.method, &model.graph, layers, &spec.settings(&settings), most)
        };
        let demands = methods.iter().map(demand).chain([Ok(Demand::FORWARD)]).collect::<Result<_>>()?;
        Ok(Session {
            classifier,
            network: Watched::new(classifier.network(), listener),
            methods,
            classes,
            score,
            batch: BatchSize::new(self.batch, self.memory.clone(), demands),
            settings,
            seed: self.seed,
            decoding: self.decoding,
        })
    }

    /// Where a method explains: at its own layers, at those of the setup if it has target layers, or at the model's own.
    fn at_layers(&self, classifier: &Classifier, spec: &MethodSpec) -> Result<MethodAt> {
        let for_all: &[String] = if spec.method.needs_layers() { &self.layers } else { &[] };
        let names = if spec.layers.is_empty() { for_all } else { spec.layers.as_slice() };
        let layers = if names.is_empty() {
            classifier.layers_of(&spec.method)?
        } else {
            names.iter().map(|name| classifier.model.layer(name)).collect::<Result<_>>()?
        };
        Ok(MethodAt { spec: spec.clone(), layers, named: !names.is_empty() })
    }
}

/// A method at the layers where it explains; none for the input.
#[derive(Clone, Debug)]
pub struct MethodAt {
    /// The method, with what its name says.
    pub spec: MethodSpec,
    /// The layers.
    pub layers: Vec<LayerId>,
    /// Whether the user named them.
    pub named: bool,
}

impl MethodAt {
    /// Whether an image's own layer stands in the model's place: the user named none.
    pub fn takes_own_layer(&self) -> bool {
        !self.named && self.spec.method.needs_layers()
    }

    /// The same at the layers for `own`, an image's own layer in the model's place, unless the user named some.
    ///
    /// # Errors
    /// Those of finding a method's layers.
    pub fn for_image(&self, own: Option<LayerId>, network: &dyn Network) -> Result<Self> {
        match own.filter(|_| self.takes_own_layer()) {
            Some(layer) => Ok(Self { layers: self.spec.method.layers_of(network, layer)?, ..self.clone() }),
            None => Ok(self.clone()),
        }
    }

    /// The names of the layers, by commas; nothing where it explains at the input.
    pub fn layer_names(&self, network: &dyn Network) -> Option<String> {
        let names: Vec<&str> = self.layers.iter().map(|layer| network.layers()[layer.0].name.as_str()).collect();
        (!names.is_empty()).then(|| names.join(","))
    }
}

/// Methods, classes and settings that were checked against a classifier: photo after photo can be explained.
pub struct Session<'a> {
    /// The classifier.
    pub classifier: &'a Classifier,
    /// Its network, where the listener hears what goes through it.
    pub network: Watched<'a, &'a dyn Network>,
    /// The methods, in their order.
    pub methods: Vec<MethodAt>,
    /// The classes that are explained of every photo.
    pub classes: Vec<ClassChoice>,
    /// Which score of a class is explained; nothing for that of each method's source.
    pub score: Option<ScoreKind>,
    /// What the methods are told.
    pub settings: Settings,
    /// The seed of everything random.
    pub seed: u64,
    batch: BatchSize,
    decoding: Decoding,
}

/// A photo with what the network gives for it.
pub struct Seen {
    /// The photo.
    pub photo: Photo,
    /// What the network gives for it.
    pub prediction: Prediction,
    /// The classes that are explained.
    pub classes: Vec<usize>,
    /// What is read off the network's outputs for it, where that is another thing for every photo.
    pub reading: Option<PhotoReading>,
    /// When the network began with it.
    pub began: Instant,
    /// The layers of its classes, where they have some of their own.
    layers: Vec<Option<LayerId>>,
    batch: NonZeroUsize,
    stream: Stream,
}

impl Seen {
    /// The layer that is explained of `class` of this photo in place of the model's.
    pub fn layer_of(&self, class: usize) -> Option<LayerId> {
        let place = self.classes.iter().position(|own| *own == class)?;
        self.layers.get(place).copied().flatten()
    }

    /// How many rows go through the network at a time.
    pub fn batch(&self) -> NonZeroUsize {
        self.batch
    }

    /// The photo's own random stream.
    pub fn stream(&self) -> &Stream {
        &self.stream
    }
}

impl Session<'_> {
    /// Reads a photo and runs the network on it.
    ///
    /// # Errors
    /// [`Error::Io`](faithful_core::Error::Io) and [`Error::Format`](faithful_core::Error::Format) for what is no photo, [`Error::Parameter`](faithful_core::Error::Parameter) where not even one row fits into the
    /// memory that is allowed, and what the network returns.
    pub fn read(&self, path: &Path) -> Result<Seen> {
        let photo = photo::read(path, self.classifier.model.photo_preprocessing()?, &self.decoding)?;
        // The file's name, not its path: a photo has the same draws wherever it lies.
        self.see(photo, &path.file_name().unwrap_or(path.as_os_str()).to_string_lossy())
    }

    /// Runs the network on a photo; `name` keys its random draws.
    pub fn see(&self, photo: Photo, name: &str) -> Result<Seen> {
        let began = Instant::now();
        let mut photo = photo.on(&self.network)?;
        let batch = self.batch_for(&photo.tensor.dims()[1..], photo.pixels())?;
        let reading = self.classifier.reading(&self.network, &photo)?;
        if let Some(reading) = &reading {
            reading.draw_on(&mut photo);
        }
        let network = read_of(&self.network, reading.as_ref());
        let objective = Objective::new(&*network, &Target::Output(0)).with_batch(batch);
        let prediction = model::predict(&objective, self.classifier.model.probabilities, &photo.tensor)?;
        let classes = class::choose(&self.classes, &prediction.ranked);
        let stream = Stream::new(self.seed, name.as_bytes());
        let asks = self.methods.iter().any(MethodAt::takes_own_layer);
        let layer = |class: &usize| {
            if asks { self.classifier.layer_of(&*network, *class, &photo.tensor) } else { Ok(None) }
        };
        let layers = classes.iter().map(layer).collect::<Result<_>>()?;
        drop(network);
        Ok(Seen { photo, prediction, classes, reading, began, layers, batch, stream })
    }

    /// The network as a photo has it: its outputs are what is read of that photo.
    pub fn network_of(&self, seen: &Seen) -> Box<dyn Network + '_> {
        read_of(&self.network, seen.reading.as_ref())
    }

    /// How many rows of an input `(…)` go through the network at a time, for a photo of so many pixels.
    pub fn batch_for(&self, input: &[usize], pixels: u64) -> Result<NonZeroUsize> {
        self.batch.of(&self.classifier.model.graph, input, pixels)
    }

    /// What of a class a method explains.
    pub fn score_of(&self, method: &Method) -> ScoreKind {
        self.score.unwrap_or_else(|| method.score())
    }

    /// Explains each of the photo's classes by a method.
    ///
    /// # Errors
    /// What the method returns.
    pub fn explain(&self, seen: &Seen, method: &MethodAt) -> Result<Vec<MethodResult>> {
        let probabilities = self.classifier.model.probabilities;
        let kind = self.score_of(&method.spec.method);
        let scores: Vec<Target> = seen.classes.iter().map(|&class| kind.of(class, probabilities)).collect();
        let scores: Vec<&dyn Score> = scores.iter().map(|score| score as &dyn Score).collect();
        let network = self.network_of(seen);
        let objective = Objective::new(&*network, &Target::Output(0)).with_batch(seen.batch);
        let mut settings = method.spec.settings(&self.settings);
        if seen.reading.is_some() {
            // What the network gives for a baseline is read anew of every photo.
            settings.cache = Arc::default();
        }
        // Classes at one layer share their passes.
        let mut found = Vec::with_capacity(scores.len());
        let mut done = 0;
        for same in seen.layers.chunk_by(|a, b| a == b) {
            let MethodAt { spec, layers, .. } = &method.for_image(same[0], &self.network)?;
            let scores = &scores[done..done + same.len()];
            let stream = seen.stream.clone();
            found.extend(spec.method.explain(&objective, &seen.photo.tensor, layers, scores, &settings, stream)?);
            done += same.len();
        }
        Ok(found)
    }

    /// How the probability of `class` rises and falls as the cells that a map finds important appear and vanish.
    pub fn curves(&self, seen: &Seen, class: usize, found: &MethodResult, protocol: &Protocol) -> Result<Curves> {
        let target = self.classifier.model.probabilities.probability(class);
        let network = self.network_of(seen);
        let objective = Objective::new(&*network, &target).with_batch(seen.batch);
        let tensor = &seen.photo.tensor;
        insertion_deletion(&objective, tensor, &fitted(&found.map, tensor)?, protocol)
    }
}

/// How many rows go through the network at a time: so many, or as many as fit.
#[derive(Clone, Debug, Default)]
pub struct BatchSize {
    batch: Option<NonZeroUsize>,
    budget: Option<(Budget, Vec<Demand>)>,
}

impl BatchSize {
    /// What was asked for. Everything that stays in memory must be there by now; `demands` are those of all that will
    /// be done.
    pub fn new(batch: Option<NonZeroUsize>, memory: Option<Budget>, demands: Vec<Demand>) -> Self {
        Self { batch, budget: memory.map(|budget| (budget, demands)) }
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
