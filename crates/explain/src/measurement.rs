//! An evaluation run in a user's words, checked before the first photo is read, and what defines it.

use crate::contents::{Contents, digest_of_photos};
use crate::evaluation::{EvaluatedMethod, Images, Masks};
use crate::{
    Budget, Classifier, MethodAt, MethodSpec, Session, Settings, Setup, auto, baseline, class, parse_stop, photo,
};
use candle_core::Tensor;
use faithful_core::{Digest, Error, Network, Preprocessing, Result};
use faithful_evaluate::{Event, Explainer, Manifest, Plan, Shard, Source, Store, Summary, VERSION, run};
use faithful_metric::{Canvas, CurveScore, Metric, Protocol, Steps};
use faithful_model::{Model, Precision};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

/// What is measured where the user names no metrics: the thesis's six, with equal-area masks beside the soft one.
pub const METRICS: &str = "insertion,deletion,ins-del,drop,increase,add,drop@30,increase@30,add@30";

/// What the images held when the run was begun, beside its manifest.
const CONTENTS: &str = "images.json";

/// What `faithful evaluate` is told, in a user's words; the field of a name is the option of that name.
#[derive(Clone, Debug)]
#[allow(missing_docs)] // The command line says what each is.
pub struct MeasurementSetup {
    pub images: PathBuf,
    pub samples: Option<NonZeroUsize>,
    pub masks: Option<PathBuf>,
    pub methods: Vec<String>,
    /// Empty for [`METRICS`].
    pub metrics: Vec<String>,
    pub layer: Option<String>,
    pub score: String,
    pub baselines: Option<String>,
    pub draws: Option<NonZeroUsize>,
    pub stop: String,
    pub seed: u64,
    pub batch: Option<NonZeroUsize>,
    pub memory: Option<Budget>,
    pub max_megapixels: f64,
    pub protocol: String,
    pub steps: Option<NonZeroUsize>,
    pub insertion_canvas: Option<String>,
    pub deletion_canvas: Option<String>,
    pub curve_score: Option<CurveScore>,
    pub relative_curves: bool,
    pub explain_label: bool,
    pub only_correct: bool,
    /// In which numbers the classifier is computed.
    pub precision: Precision,
}

impl Default for MeasurementSetup {
    fn default() -> Self {
        Self {
            images: PathBuf::new(),
            samples: None,
            masks: None,
            methods: Vec::new(),
            metrics: Vec::new(),
            layer: None,
            score: class::AUTO_SCORE.into(),
            baselines: None,
            draws: None,
            stop: "draws".into(),
            seed: 0,
            batch: None,
            memory: None,
            max_megapixels: 150.0,
            protocol: "thesis".into(),
            steps: None,
            insertion_canvas: None,
            deletion_canvas: None,
            curve_score: None,
            relative_curves: false,
            explain_label: false,
            only_correct: false,
            precision: Precision::default(),
        }
    }
}

impl MeasurementSetup {
    /// Refuses what is wrong whatever the model.
    ///
    /// # Errors
    /// [`Error::UnknownName`] with suggestions, and [`Error::Parameter`].
    pub fn check(&self) -> Result<()> {
        self.metrics()?;
        self.setup(baseline::DEFAULT)?;
        Protocol::named(&self.protocol).map(drop)
    }

    fn setup(&self, baselines: &str) -> Result<Setup> {
        Ok(Setup {
            methods: auto::parsed(&self.methods)?,
            layers: self.layer.iter().cloned().collect(),
            score: self.score.clone(),
            baselines: Some(baselines.to_owned()),
            settings: Settings { draws: self.draws, stop: parse_stop(&self.stop)?, ..Settings::default() },
            seed: self.seed,
            batch: self.batch,
            memory: self.memory.clone(),
            decoding: photo::decoding(self.max_megapixels)?,
            ..Setup::default()
        })
    }

    fn metrics(&self) -> Result<Vec<Metric>> {
        if self.metrics.is_empty() {
            return METRICS.split(',').map(Metric::parse).collect();
        }
        self.metrics.iter().map(|name| Metric::parse(name)).collect()
    }

    fn protocol(&self, preprocessing: &Preprocessing) -> Result<Protocol> {
        let mut protocol = Protocol::named(&self.protocol)?;
        if let Some(steps) = self.steps {
            protocol.steps = Steps::Count(steps);
        }
        let grey = preprocessing.mean.iter().zip(&preprocessing.std).map(|(mean, std)| (0.5 - mean) / std);
        let grey: Vec<f32> = grey.collect();
        if let Some(name) = &self.insertion_canvas {
            protocol.insertion = Canvas::parse(name, &grey)?;
        }
        if let Some(name) = &self.deletion_canvas {
            protocol.deletion = Canvas::parse(name, &grey)?;
        }
        if let Some(score) = self.curve_score {
            protocol.score = score;
        }
        protocol.normalized |= self.relative_curves;
        Ok(protocol)
    }
}

/// Everything that makes a run's values, checked against a classifier.
pub struct Measurement<'a> {
    /// The methods and their settings.
    pub session: Session<'a>,
    /// The metrics, in their order.
    pub metrics: Vec<Metric>,
    protocol: Protocol,
    /// As they were asked for, and a digest of their photos.
    baselines: (String, String),
    /// The session's, as it was asked for.
    asked: Setup,
    setup: MeasurementSetup,
}

impl<'a> Measurement<'a> {
    /// Checks what is asked against a classifier, and reads its baselines; `note` hears of photos that are left out.
    ///
    /// # Errors
    /// What [`Setup::session`] returns; [`Error::Parameter`] and [`Error::UnknownName`] for metrics and protocols.
    pub fn new(setup: MeasurementSetup, classifier: &'a Classifier, note: &dyn Fn(&str)) -> Result<Self> {
        let baselines = setup.baselines.clone().unwrap_or_else(|| baseline::DEFAULT.to_owned());
        let mut asked = setup.setup(&baselines)?;
        let model = &classifier.model;
        let preprocessing = model.photo_preprocessing()?;
        // A run says how many images are done; nobody listens to their passes.
        let (sampler, photos) = baseline::sampler_and_photos(&baselines, preprocessing, &asked.decoding, note)?;
        let draws = setup.draws.is_some() || setup.baselines.is_some() || setup.stop != "draws";
        asked.methods = auto::methods(&setup.methods, classifier, &asked.layers, draws, note)?;
        asked.settings.sampler = sampler;
        asked.baselines = None;
        let session = asked.session(classifier)?;
        if preprocessing.crop.is_some() {
            // Every photo becomes an input of this size: a limit that is too low is said before the first.
            session.batch_for(model.graph.nominal_input(), 0)?;
        }
        Ok(Self {
            metrics: setup.metrics()?,
            protocol: setup.protocol(preprocessing)?,
            session,
            baselines: (baselines, digest_of_photos(&photos)?),
            asked,
            setup,
        })
    }

    fn model(&self) -> &'a Model {
        &self.session.classifier.model
    }

    /// The images of the run.
    ///
    /// # Errors
    /// What [`Images::find`] returns; [`Error::Parameter`] for a metric that needs masks where there are none, or none that belongs to an image.
    pub fn images(&self) -> Result<Images<'a>> {
        let masks = self.setup.masks.clone().map(Masks::new).transpose()?;
        let Self { setup: MeasurementSetup { images, samples, .. }, asked, .. } = self;
        let images = Images::find(images, *samples, self.model(), &asked.decoding, masks)?;
        let images = images.read_by(self.session.classifier);
        if let Some(metric) = self.metrics.iter().find(|metric| metric.info.needs_mask)
            && !images.have_masks()?
        {
            let reason = format!("`{}` needs the objects' masks: name their folder with --masks", metric.name());
            return Err(Error::parameter("metrics", reason));
        }
        Ok(images)
    }

    /// Whether insertion or deletion is measured.
    pub fn has_curves(&self) -> bool {
        self.metrics.iter().any(|metric| ["insertion", "deletion", "ins-del"].contains(&metric.info.name))
    }

    /// What is taken for the network's scores, as options and its file say it.
    fn outputs(&self) -> String {
        let model = self.model();
        let output = model.graph.layers().get(model.graph.output().0).map_or("", |layer| layer.name.as_str());
        let read = self.session.classifier.read.words().map_or_else(String::new, |words| format!(", {words}"));
        format!("`{output}` by {:?}{read}", model.probabilities)
    }

    /// What defines the run: two with the same manifest have the same values.
    ///
    /// # Errors
    /// [`Error::Io`] where the model's file cannot be read any more.
    pub fn manifest(&self, images: &Images) -> Result<Manifest> {
        let setup = &self.setup;
        let method = |MethodAt { spec: MethodSpec { method, label, draws, .. }, .. }: &MethodAt| {
            let draws = draws.or(setup.draws).filter(|_| method.draws() || method.counts_draws());
            let draws = draws.map_or_else(String::new, |draws| format!(" draws={draws} stop={}", setup.stop));
            let baselines = if method.compares() { format!(" baselines={}", self.baselines.0) } else { String::new() };
            format!("{label}{draws}{baselines}")
        };
        let precision = match setup.precision {
            Precision::F32 => String::new(),
            other => format!(" in {other}"),
        };
        let explained = match self.session.score {
            None => String::new(),
            Some(_) => format!(", its {}", setup.score),
        };
        let compares = self.session.methods.iter().any(|one| one.spec.method.compares());
        Ok(Manifest {
            format: Manifest::FORMAT,
            version: VERSION.into(),
            model: format!("{} {}{precision}, {}", self.model().name, self.model().digest()?, self.outputs()),
            labels: digest_of_labels(self.model()),
            preprocessing: format!("{:?}, {:?}", self.model().photo_preprocessing()?, self.asked.decoding),
            images: images.contents().digest(),
            baselines: if compares { self.baselines.1.clone() } else { String::new() },
            image_count: images.names().len(),
            methods: self.session.methods.iter().map(method).collect(),
            metrics: self.metrics.iter().map(Metric::name).collect(),
            protocol: self.protocol.to_string(),
            layer: self.layer(),
            class: if setup.explain_label { "label" } else { "predicted" }.to_owned()
                + if setup.only_correct { ", correct only" } else { "" }
                + &explained,
            seed: setup.seed,
            instructions: faithful_tensor::Isa::best().name().into(),
        })
    }

    /// How many rows of an input `(1, …)` go through the network at a time.
    ///
    /// # Errors
    /// [`Error::Parameter`] where not even one fits.
    pub fn batch(&self, input: &Tensor) -> Result<NonZeroUsize> {
        let pixels = input.dims().iter().skip(2).product::<usize>() as u64;
        self.session.batch_for(&input.dims()[1..], pixels)
    }

    /// The layer that was named, or the model's own.
    fn layer(&self) -> String {
        let own = || self.model().target.map(|layer| self.model().graph.layers()[layer.0].name.clone());
        self.setup.layer.clone().or_else(own).unwrap_or_else(|| "none".into())
    }

    /// Begins the run in `out`, or goes on with the one that is there.
    ///
    /// # Errors
    /// What [`Store::create`] and [`Store::resume`] return; where the images differ from those of the run's beginning, with the
    /// names of some.
    pub fn store(&self, out: &Path, images: &Images, resume: bool) -> Result<Store> {
        let manifest = self.manifest(images)?;
        let store = if resume { resumed(out, &manifest, images)? } else { Store::create(out, &manifest)? };
        if store.note(CONTENTS)?.is_none() {
            let contents = serde_json::to_vec(images.contents())
                .map_err(|error| Error::format_from("the digests of the images", error))?;
            store.keep_note(CONTENTS, &contents)?;
        }
        Ok(store)
    }

    /// Explains and measures every image of `shard` that is not finished; `observe` hears of each, and may end the run.
    ///
    /// # Errors
    /// What [`run`] returns.
    pub fn run(
        &self,
        images: &Images,
        store: &Store,
        shard: Shard,
        observe: &mut dyn FnMut(Event) -> Result<()>,
    ) -> Result<Summary> {
        let boxed = |one: EvaluatedMethod| Box::new(one) as Box<dyn Explainer>;
        let explainers: Vec<_> = EvaluatedMethod::of(&self.session).into_iter().map(boxed).collect();
        let classifier = self.session.classifier;
        let plan = Plan {
            network: classifier.network(),
            probabilities: classifier.model.probabilities,
            explainers: &explainers,
            metrics: &self.metrics,
            protocol: &self.protocol,
            seed: self.setup.seed,
            batch: Box::new(|input| self.batch(input)),
            explain_label: self.setup.explain_label,
            only_correct: self.setup.only_correct,
        };
        run(&plan, images, store, shard, observe)
    }
}

/// What tells one list of labels from another.
fn digest_of_labels(model: &Model) -> String {
    let mut digest = Digest::new();
    for class in 0..model.labels.count() {
        digest.add(model.labels.name(class));
        digest.add(model.labels.synset(class).unwrap_or_default());
    }
    digest.finish()
}

/// Goes on with a run; where its images differ from those of its beginning, with the names of some.
fn resumed(folder: &Path, manifest: &Manifest, images: &Images) -> Result<Store> {
    Store::resume(folder, manifest).map_err(|error| {
        let before = Store::open(folder).ok().and_then(|(store, _)| store.note(CONTENTS).ok().flatten());
        let before = before.and_then(|bytes| serde_json::from_slice::<Contents>(&bytes).ok());
        match (&error, before.and_then(|before| images.contents().difference(&before))) {
            (Error::Parameter { name: "resume", reason }, Some(difference)) => {
                Error::parameter("resume", format!("{reason}; of the images, {difference}"))
            }
            _ => error,
        }
    })
}
