//! What is asked of a network, from keyword arguments.

use crate::array::to_tensor;
use crate::engine::Progress;
use crate::error::to_python;
use crate::options::Options;
use candle_core::{Device, Tensor};
use faithful_baseline::{AlphaSampler, BaselineSampler, DataSet, Order, Spread};
use faithful_cam::{Difference, Fusion, Layout, Quality};
use faithful_core::{Error, Network, Objective, Result, Score, Stream, Target};
use faithful_explain::{
    Budget, ByteSize, CamChoices, Classifier, HyperChoices, Method, MethodSpec, MiniBatches, Photo, PhotoReading,
    Requested, ScoreKind, Session, Settings, Setup, class, parse_stop, read_of,
};
use faithful_gradient::{GradientParameters, Quadrature};
use faithful_report::Region;
use faithful_report::image::RgbImage;
use numpy::PyReadonlyArrayDyn;
use pyo3::prelude::*;
use std::num::NonZeroUsize;
use std::sync::Arc;

/// A method and what it is told.
pub(crate) struct Asked {
    pub(crate) setup: Setup,
    /// Baselines of one's own instead of named ones.
    baselines: Option<Baselines>,
}

/// Baselines `(B, C, …)` in the network's input space.
struct Baselines {
    rows: Tensor,
    /// Whether each belongs to the input of its place, and is not drawn for all.
    paired: bool,
}

/// A class, where one is named, and which score of it.
#[derive(Clone, Debug)]
pub(crate) struct Aim {
    pub(crate) class: Option<usize>,
    pub(crate) score: Option<String>,
}

/// How an input lies on its photo: the photo's width and height; left, top, width and height of the part that the input shows.
pub(crate) type Placement = ((u32, u32), (f64, f64, f64, f64));

/// The key of an input's random draws, and how it lies on its photo, if it is of one.
pub(crate) type Origin = (String, Option<Placement>);

/// Inputs `(N, C, …)` with what is explained of each.
pub(crate) struct Inputs {
    pub(crate) rows: Tensor,
    pub(crate) aims: Vec<Aim>,
    pub(crate) origins: Vec<Origin>,
}

/// What is explained of one input: a class, of the network's outputs or of what is read off them for this photo.
pub(crate) struct Question {
    pub(crate) class: usize,
    pub(crate) reading: Option<PhotoReading>,
}

impl Inputs {
    /// Checks that there is a class and a name for each input.
    pub(crate) fn new(
        input: &PyReadonlyArrayDyn<'_, f32>,
        aims: Vec<(Option<usize>, Option<String>)>,
        origins: Vec<Origin>,
    ) -> PyResult<Self> {
        let rows = to_tensor("the input", input)?;
        let count = rows.dims().first().copied().unwrap_or(0);
        if rows.rank() < 2 || aims.len() != count || origins.len() != count {
            let reason = format!("{} targets and {} names for {count} inputs", aims.len(), origins.len());
            return Err(to_python(Error::parameter("targets", reason)));
        }
        let aims = aims.into_iter().map(|(class, score)| Aim { class, score }).collect();
        Ok(Self { rows, aims, origins })
    }

    /// Inputs of which nothing is explained.
    pub(crate) fn alone(input: &PyReadonlyArrayDyn<'_, f32>, origins: Option<Vec<Origin>>) -> PyResult<Self> {
        let count = input.as_array().shape().first().copied().unwrap_or(0);
        let origins = origins.unwrap_or_else(|| vec![(String::new(), None); count]);
        Self::new(input, vec![(None, None); count], origins)
    }

    pub(crate) fn count(&self) -> usize {
        self.aims.len()
    }

    pub(crate) fn row(&self, place: usize) -> Result<Tensor> {
        Ok(self.rows.narrow(0, place, 1)?)
    }

    /// Refuses inputs that the network does not take; their height and width may differ where the network's are free.
    pub(crate) fn check(&self, classifier: &Classifier) -> Result<()> {
        let (got, usual) = (&self.rows.dims()[1..], classifier.model.graph.nominal_input());
        if got.len() != usual.len() || got.first() != usual.first() {
            let words = usual.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            return Err(Error::shape("the input", format!("(N, {words})"), self.rows.dims()));
        }
        let outputs = classifier.model.labels.count();
        let classes = self.aims.iter().filter_map(|aim| aim.class);
        match classes.into_iter().find(|class| *class >= outputs) {
            Some(class) => {
                let reason = format!("{class} is outside 0..{outputs}, the network's outputs");
                Err(Error::parameter("targets", reason))
            }
            None => Ok(()),
        }
    }

    /// What is explained of each input: the class that is named, or the one whose output is highest.
    pub(crate) fn questions(
        &self,
        classifier: &Classifier,
        network: &dyn Network,
        batch: NonZeroUsize,
    ) -> Result<Vec<Question>> {
        let one = |(place, aim): (usize, &Aim)| {
            let reading = self.reading(classifier, network, place)?;
            let class = match aim.class {
                Some(class) => class,
                None => self.highest(&*read_of(network, reading.as_ref()), place, batch)?,
            };
            Ok(Question { class, reading })
        };
        self.aims.iter().enumerate().map(one).collect()
    }

    fn highest(&self, network: &dyn Network, place: usize, batch: NonZeroUsize) -> Result<usize> {
        let first = Target::Output(0);
        let objective = Objective::new(network, &first).with_batch(batch);
        let output: Vec<f32> = objective.outputs(&self.row(place)?)?.flatten_all()?.to_vec1()?;
        let ranked = class::rank(&output.iter().map(|value| f64::from(*value)).collect::<Vec<_>>());
        ranked.first().copied().ok_or_else(|| Error::internal("a network without outputs"))
    }

    /// The input at `place` as a photo of its size and nothing on it; what comes as an array is the photo itself.
    pub(crate) fn photo(&self, place: usize) -> Result<Photo> {
        let tensor = self.row(place)?.to_device(&Device::Cpu)?;
        let sides = tensor.dims().iter().rev().map(|side| *side as u32).collect::<Vec<_>>();
        let whole = ((sides[0], sides[1]), (0.0, 0.0, f64::from(sides[0]), f64::from(sides[1])));
        let ((across, down), (left, top, width, height)) = self.origins[place].1.unwrap_or(whole);
        let region = Region { left, top, width, height };
        Ok(Photo { picture: RgbImage::new(across, down), tensor, region, slices: None })
    }

    /// What is read of the input at `place`, where that is another thing for every photo.
    pub(crate) fn reading(
        &self,
        classifier: &Classifier,
        network: &dyn Network,
        place: usize,
    ) -> Result<Option<PhotoReading>> {
        if classifier.reads_each_photo() { classifier.reading(network, &self.photo(place)?) } else { Ok(None) }
    }
}

impl Aim {
    /// The score of `class`: the target's own, or the one of the call.
    pub(crate) fn target(&self, class: usize, usual: ScoreKind, classifier: &Classifier) -> Result<Target> {
        let kind = match &self.score {
            Some(text) => class::parse_score(text, &classifier.model.labels)?,
            None => usual,
        };
        Ok(kind.of(class, classifier.model.probabilities))
    }
}

impl Asked {
    /// Reads all that `faithful explain` takes, by the same names.
    pub(crate) fn read(
        name: &str,
        options: Options<'_, '_>,
        baselines: Option<&PyReadonlyArrayDyn<'_, f32>>,
        paired: bool,
    ) -> PyResult<Self> {
        let gradient = options.get::<String>("gradient")?;
        let definition = options.get::<String>("definition")?.unwrap_or_else(|| "paper".into());
        let mini_batches = options.read("mini_batches", |text| {
            text.parse::<MiniBatches>().map_err(|reason| Error::parameter("mini_batches", reason))
        })?;
        let draws = options.count("draws")?;
        if mini_batches.is_some() && draws.is_some() {
            return Err(to_python(Error::parameter("draws", "mini_batches says the draws of each path already")));
        }
        let layers = options.get::<Vec<String>>("layers")?.unwrap_or_default();
        let fusion = options.read("fusion", Fusion::named)?;
        let layout = options.read("layout", str::parse::<Layout>)?;
        let stop = options.read("stop", parse_stop)?.unwrap_or_default();
        let hyper = HyperChoices::named(
            options.get::<String>("filter")?.as_deref(),
            options.get::<String>("evidence")?.as_deref(),
            options.get("modulation")?,
            options.get::<u8>("stages")?.map(usize::from),
        );
        let hyper = hyper.map_err(to_python)?;
        let cam = CamChoices {
            paths: mini_batches.map(|batches| batches.paths),
            difference: options.read("difference", Difference::named)?.unwrap_or_default(),
            fusion: fusion.unwrap_or_default(),
            channels: options.count("mask_channels")?,
            quality: options.read("quality", Quality::named)?.unwrap_or_default(),
            hyper,
            parts: options.get("parts")?.unwrap_or(false),
            augmented: options.get("augment")?.unwrap_or(false),
            eigen: options.get("eigen")?.unwrap_or(false),
        };
        let method = Method::new(name, gradient.as_deref(), &definition).map_err(to_python)?;
        let requested = Requested {
            layers: layers.len(),
            fusion: fusion.is_some(),
            layout: layout.is_some(),
            stop,
            parts: cam.parts,
            quality: cam.quality != Quality::default(),
            hyper,
            augmented: cam.augmented,
            eigen: cam.eigen,
        };
        method.check(&requested).map_err(to_python)?;
        let noise = options.get::<f64>("noise")?;
        let settings = Settings {
            draws: mini_batches.map(|batches| batches.draws).or(draws),
            stop,
            alphas: options.read("alphas", alphas)?.unwrap_or_default(),
            spread: noise.map_or_else(Spread::default, Spread::Relative),
            layout: layout.unwrap_or_default(),
            gradient: gradient_parameters(&options)?,
            ..Settings::default()
        };
        let setup = Setup {
            methods: vec![MethodSpec { layers, cam, ..method.into() }],
            score: options.get("score")?.unwrap_or_else(|| class::AUTO_SCORE.into()),
            baselines: options.get("baselines")?,
            settings,
            seed: options.get("seed")?.unwrap_or(0),
            batch: options.count("batch")?,
            memory: options.read("memory", |text| {
                text.parse::<ByteSize>().map(Budget::new).map_err(|reason| Error::parameter("memory", reason))
            })?,
            ..Setup::default()
        };
        options.finish()?;
        let read = |rows| Ok::<_, PyErr>(Baselines { rows: to_tensor("the baselines", rows)?, paired });
        Ok(Self { setup, baselines: baselines.map(read).transpose()? })
    }

    pub(crate) fn method(&self) -> &Method {
        &self.setup.methods[0].method
    }

    /// Checked against a classifier.
    pub(crate) fn session<'a>(&self, classifier: &'a Classifier, heard: &'a Progress) -> Result<Session<'a>> {
        let mut session = self.setup.session_with(classifier, heard)?;
        if let Some(Baselines { rows, .. }) = &self.baselines {
            let wanted = classifier.model.graph.nominal_input();
            if rows.rank() != wanted.len() + 1 || rows.dims()[1] != wanted[0] {
                return Err(Error::shape(
                    "the baselines",
                    format!("(B, {}, …), as inputs are", wanted[0]),
                    rows.dims(),
                ));
            }
            session.settings.sampler = Arc::new(DataSet::new(rows.clone())?);
        }
        Ok(session)
    }

    /// The baselines of the input at `place`, where each has its own.
    pub(crate) fn sampler(&self, place: usize) -> Result<Option<Arc<dyn BaselineSampler>>> {
        match &self.baselines {
            Some(Baselines { rows, paired: true }) => {
                let place = if rows.dims()[0] == 1 { 0 } else { place };
                let own = DataSet::new(rows.clone())?.with_order(Order::Sequential(vec![place]))?;
                Ok(Some(Arc::new(own)))
            }
            _ => Ok(None),
        }
    }

    /// The random stream of an input.
    pub(crate) fn stream(&self, name: &str) -> Stream {
        Stream::new(self.setup.seed, name.as_bytes())
    }
}

/// The score of one input as methods take it.
pub(crate) fn one(target: &Target) -> [&dyn Score; 1] {
    [target]
}

fn alphas(name: &str) -> Result<AlphaSampler> {
    let known = [
        ("uniform", AlphaSampler::Uniform),
        ("linear", AlphaSampler::Linear),
        ("stratified", AlphaSampler::Stratified),
    ];
    faithful_core::value_named("alphas", name, &known)
}

fn quadrature(name: &str) -> Result<Quadrature> {
    let known = [
        ("left", Quadrature::Left),
        ("right", Quadrature::Right),
        ("midpoint", Quadrature::Midpoint),
        ("trapezoid", Quadrature::Trapezoid),
        ("gauss-legendre", Quadrature::GaussLegendre),
    ];
    faithful_core::value_named("quadrature", name, &known)
}

fn gradient_parameters(options: &Options<'_, '_>) -> PyResult<GradientParameters<'static>> {
    let usual = GradientParameters::default();
    Ok(GradientParameters {
        quadrature: options.read("quadrature", quadrature)?.unwrap_or(usual.quadrature),
        sigma: options.get("blur_sigma")?.unwrap_or(usual.sigma),
        fraction: options.get("guided_fraction")?.unwrap_or(usual.fraction),
        max_distance: options.get("guided_distance")?.unwrap_or(usual.max_distance),
        ..usual
    })
}
