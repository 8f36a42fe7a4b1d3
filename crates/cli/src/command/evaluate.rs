//! `faithful evaluate`: many photos, many methods, many metrics, into a run's folder.

use super::run::left_out;
use crate::arguments::{CurveScoreName, EvaluateArguments};
use crate::failure::Outcome;
use crate::model;
use crate::output::Output;
use crate::recorded::Recorded;
use anyhow::{Context, Result};
use candle_core::Tensor;
use faithful_core::{Digest, Error, Network, Preprocessing};
use faithful_evaluate::{Event, Manifest, Plan, Shard, Source, Store, Summary, Table, VERSION, run};
use faithful_explain::contents::{Contents, digest_of_photos};
use faithful_explain::evaluation::{EvaluatedMethod, Images, Masks};
use faithful_explain::{
    Budget, Classifier, MethodAt, MethodSpec, ScoreKind, Session, Settings, Setup, baseline, parse_stop, photo,
};
use faithful_metric::{Canvas, CurveScore, Metric, Protocol, Steps};
use faithful_model::{Model, Precision};
use serde_json::json;
use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::Path;

/// What is measured where the user names no metrics: the thesis's six, with equal-area masks beside the soft one.
const METRICS: &str = "insertion,deletion,ins-del,drop,increase,add,drop@30,increase@30,add@30";

/// Everything that makes a run's values, from what the user said.
pub(crate) struct Evaluation<'a> {
    pub(crate) session: Session<'a>,
    metrics: Vec<Metric>,
    protocol: Protocol,
    /// As they were asked for, and a digest of their photos.
    baselines: (String, String),
    setup: Setup,
    precision: Precision,
}

/// The classifier that a run measures.
pub(crate) fn classifier(arguments: &EvaluateArguments, output: &Output) -> Result<Classifier> {
    // What needs no model is refused first.
    metrics(arguments)?;
    setup(arguments, baseline::DEFAULT)?;
    Protocol::named(&arguments.protocol)?;
    model::classifier(&arguments.model, output)
}

fn setup(arguments: &EvaluateArguments, baselines: &str) -> faithful_core::Result<Setup> {
    Ok(Setup {
        methods: arguments.methods.iter().map(|name| name.parse()).collect::<faithful_core::Result<_>>()?,
        layers: arguments.layer.iter().cloned().collect(),
        score: arguments.score.clone(),
        baselines: Some(baselines.to_owned()),
        settings: Settings { draws: arguments.draws, stop: parse_stop(&arguments.stop)?, ..Settings::default() },
        seed: arguments.seed,
        batch: arguments.batch,
        memory: arguments.memory.map(Budget::new),
        decoding: photo::decoding(arguments.max_megapixels)?,
        ..Setup::default()
    })
}

impl<'a> Evaluation<'a> {
    pub(crate) fn new(arguments: &EvaluateArguments, classifier: &'a Classifier, output: &Output) -> Result<Self> {
        let baselines = arguments.baselines.clone().unwrap_or_else(|| baseline::DEFAULT.to_owned());
        let mut setup = setup(arguments, &baselines)?;
        let model = &classifier.model;
        let preprocessing = model.photo_preprocessing()?;
        let hinted = |error| model::with_hint(model, error);
        // A run says how many images are done; nobody listens to their passes.
        let note = |text: &str| output.note(text);
        let sampler = baseline::sampler_and_photos(&baselines, preprocessing, &setup.decoding, &note);
        let (sampler, photos) = sampler.map_err(hinted)?;
        setup.settings.sampler = sampler;
        setup.baselines = None;
        let session = setup.session(classifier).map_err(hinted)?;
        if preprocessing.crop.is_some() {
            // Every photo becomes an input of this size: a limit that is too low is said before the first.
            session.batch_for(model.graph.nominal_input(), 0)?;
        }
        Ok(Self {
            metrics: metrics(arguments)?,
            protocol: protocol(arguments, preprocessing)?,
            precision: arguments.model.name.compute.compute()?.precision(),
            session,
            baselines: (baselines, digest_of_photos(&photos)?),
            setup,
        })
    }

    fn model(&self) -> &'a Model {
        &self.session.classifier.model
    }

    pub(crate) fn images(&self, arguments: &EvaluateArguments) -> Result<Images<'a>> {
        let masks = arguments.masks.clone().map(Masks::new).transpose()?;
        let images = Images::find(&arguments.images, arguments.samples, self.model(), &self.setup.decoding, masks)?;
        if let Some(metric) = self.metrics.iter().find(|metric| metric.info.needs_mask && !images.have_masks()) {
            let reason = format!("`{}` needs the objects' masks: name their folder with --masks", metric.name());
            return Err(Error::parameter("metrics", reason).into());
        }
        Ok(images)
    }

    pub(crate) fn manifest(&self, arguments: &EvaluateArguments, images: &Images) -> Result<Manifest> {
        let method = |MethodAt { spec: MethodSpec { method, label, draws, .. }, .. }: &MethodAt| {
            let draws = draws.or(arguments.draws).filter(|_| method.draws());
            let draws = draws.map_or_else(String::new, |draws| format!(" draws={draws} stop={}", arguments.stop));
            let baselines = if method.compares() { format!(" baselines={}", self.baselines.0) } else { String::new() };
            format!("{label}{draws}{baselines}")
        };
        let precision = match self.precision {
            Precision::F32 => String::new(),
            other => format!(" in {other}"),
        };
        let explained = match self.session.score {
            ScoreKind::Logit => String::new(),
            _ => format!(", its {}", arguments.score),
        };
        let compares = self.session.methods.iter().any(|one| one.spec.method.compares());
        Ok(Manifest {
            format: Manifest::FORMAT,
            version: VERSION.into(),
            model: format!("{} {}{precision}, {}", self.model().name, self.model().digest()?, self.outputs()),
            labels: digest_of_labels(self.model()),
            preprocessing: format!("{:?}, {:?}", self.model().photo_preprocessing()?, self.setup.decoding),
            images: images.contents().digest(),
            baselines: if compares { self.baselines.1.clone() } else { String::new() },
            image_count: images.names().len(),
            methods: self.session.methods.iter().map(method).collect(),
            metrics: self.metrics.iter().map(Metric::name).collect(),
            protocol: self.protocol.to_string(),
            layer: self.layer(arguments),
            class: if arguments.explain_label { "label" } else { "predicted" }.to_owned()
                + if arguments.only_correct { ", correct only" } else { "" }
                + &explained,
            seed: arguments.seed,
        })
    }

    /// What is taken for the network's scores, as options and its file say it.
    fn outputs(&self) -> String {
        let model = self.model();
        let output = model.graph.layers().get(model.graph.output().0).map_or("", |layer| layer.name.as_str());
        format!("`{output}` by {:?}", model.probabilities)
    }

    /// How many rows of an input `(1, …)` go through the network at a time.
    pub(crate) fn batch(&self, input: &Tensor) -> faithful_core::Result<NonZeroUsize> {
        let pixels = input.dims().iter().skip(2).product::<usize>() as u64;
        self.session.batch_for(&input.dims()[1..], pixels)
    }

    /// The layer that was named, or the model's own.
    fn layer(&self, arguments: &EvaluateArguments) -> String {
        let own = || self.model().target.map(|layer| self.model().graph.layers()[layer.0].name.clone());
        arguments.layer.clone().or_else(own).unwrap_or_else(|| "none".into())
    }
}

pub(crate) fn run_evaluation(arguments: &EvaluateArguments, output: &Output) -> Result<Outcome> {
    output.writes_files();
    let shard = shard(arguments)?;
    let classifier = classifier(arguments, output)?;
    let evaluation = Evaluation::new(arguments, &classifier, output)?;
    let images = evaluation.images(arguments)?;
    if images.results > 0 {
        output.note(&left_out(images.results));
    }
    let manifest = evaluation.manifest(arguments, &images)?;
    let store = if arguments.resume || shard.count > 1 {
        resumed(&arguments.out, &manifest, &images)?
    } else {
        Store::create(&arguments.out, &manifest)?
    };
    Recorded::now().write(&store)?;
    if store.note(CONTENTS)?.is_none() {
        store.keep_note(CONTENTS, &serde_json::to_vec(images.contents())?)?;
    }

    let boxed = |one: EvaluatedMethod| Box::new(one) as Box<dyn faithful_evaluate::Explainer>;
    let explainers: Vec<_> = EvaluatedMethod::of(&evaluation.session).into_iter().map(boxed).collect();
    let plan = Plan {
        network: classifier.network(),
        probabilities: classifier.model.probabilities,
        explainers: &explainers,
        metrics: &evaluation.metrics,
        protocol: &evaluation.protocol,
        seed: arguments.seed,
        batch: Box::new(|input| evaluation.batch(input)),
        explain_label: arguments.explain_label,
        only_correct: arguments.only_correct,
    };
    let mine = (0..images.names().len()).filter(|&image| shard.has(image)).count();
    output.start(mine, "evaluating");
    let mut means: BTreeMap<String, (f64, usize)> = BTreeMap::new();
    let summary = run(&plan, &images, &store, shard, &mut |event| match event {
        Event::Image { .. } => output.advance(),
        Event::Failed { image, method: "", reason } => output.error(&format!("{image}: {reason}")),
        Event::Failed { image, method, reason } => output.error(&format!("{image}: {method}: {reason}")),
        Event::Rows(rows) => {
            // The first metric's mean per method so far.
            if let Some((row, value)) = rows.first().and_then(|row| Some((row, row.value?))) {
                let (sum, count) = means.entry(row.method.clone()).or_default();
                (*sum, *count) = (*sum + value, *count + 1);
                let mean =
                    |(method, (sum, count)): (&String, &(f64, usize))| format!("{method} {:.3}", sum / *count as f64);
                output.say(&format!("{}: {}", row.metric, means.iter().map(mean).collect::<Vec<_>>().join(", ")));
            }
        }
        Event::Misclassified(_) => {}
    });
    output.finish();
    let summary = summary.with_context(|| {
        format!("the run stopped; what is finished is kept in `{}`, go on with --resume", arguments.out.display())
    })?;
    report(arguments, &store, summary, output)
}

fn report(arguments: &EvaluateArguments, store: &Store, summary: Summary, output: &Output) -> Result<Outcome> {
    let Summary { images, resumed, failed, misclassified } = summary;
    output.object(&json!({
        "run": arguments.out.display().to_string(), "images": images, "resumed": resumed, "failed": failed,
        "misclassified": misclassified,
    }))?;
    if misclassified > 0 {
        output.note(&format!("{misclassified} of {images} images are left out: the network takes them for others"));
    }
    match Table::new(&store.rows()?, &arguments.methods, None) {
        Ok(table) => output.line(table.write_within(faithful_evaluate::Format::Text, output.width()).trim_end())?,
        Err(error) => output.note(&format!("no table yet: {error}")),
    }
    output.note(&format!("`faithful table {0}` prints this table in other forms, `faithful report {0} --out page.html` makes a page of it", arguments.out.display()));
    Ok(Outcome::of_failures(failed))
}

fn metrics(arguments: &EvaluateArguments) -> Result<Vec<Metric>> {
    let names = if arguments.metrics.is_empty() {
        METRICS.split(',').map(str::to_owned).collect()
    } else {
        arguments.metrics.clone()
    };
    Ok(names.iter().map(|name| Metric::parse(name)).collect::<faithful_core::Result<_>>()?)
}

fn protocol(arguments: &EvaluateArguments, preprocessing: &Preprocessing) -> Result<Protocol> {
    let mut protocol = Protocol::named(&arguments.protocol)?;
    if let Some(steps) = arguments.steps {
        protocol.steps = Steps::Count(steps);
    }
    let grey = preprocessing.mean.iter().zip(&preprocessing.std).map(|(mean, std)| (0.5 - mean) / std);
    let grey: Vec<f32> = grey.collect();
    if let Some(name) = &arguments.insertion_canvas {
        protocol.insertion = Canvas::parse(name, &grey)?;
    }
    if let Some(name) = &arguments.deletion_canvas {
        protocol.deletion = Canvas::parse(name, &grey)?;
    }
    if let Some(score) = arguments.curve_score {
        protocol.score = match score {
            CurveScoreName::Probability => CurveScore::Probability,
            CurveScoreName::Logit => CurveScore::Logit,
        };
    }
    protocol.normalized |= arguments.relative_curves;
    Ok(protocol)
}

fn shard(arguments: &EvaluateArguments) -> Result<Shard> {
    match arguments.shard {
        Some(shard) => Ok(shard),
        None => Ok(Shard::from_environment(|name| std::env::var(name).ok())?.unwrap_or(Shard::WHOLE)),
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

/// What the images held when the run was begun, beside its manifest.
const CONTENTS: &str = "images.json";

/// Goes on with a run; where its images differ from those of its beginning, with the names of some.
fn resumed(folder: &Path, manifest: &Manifest, images: &Images) -> Result<Store> {
    Store::resume(folder, manifest).map_err(|error| {
        let before = Store::open(folder).ok().and_then(|(store, _)| store.note(CONTENTS).ok().flatten());
        let before = before.and_then(|bytes| serde_json::from_slice::<Contents>(&bytes).ok());
        match (&error, before.and_then(|before| images.contents().difference(&before))) {
            (Error::Parameter { name: "resume", reason }, Some(difference)) => {
                Error::parameter("resume", format!("{reason}; of the images, {difference}")).into()
            }
            _ => error.into(),
        }
    })
}
