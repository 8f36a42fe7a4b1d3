//! Every method of every crate behind one door. Nothing here knows how a method works.

use candle_core::{DType, Tensor};
use faithful_baseline::{AlphaSampler, BaselineSampler, Origin, Spread};
use faithful_cam::{
    BaselineCache, BaselineUse, CamParameters, Definition, Difference, EstimatorParameters, Fusion, GradientEstimator,
    HyperParameters, Layout, Quality, hyper_parts, stage_layers,
};
use faithful_core::{
    Convergence, Error, LayerId, MethodInfo, Network, Objective, Probabilities, Result, Score, Stop, Stream,
};
use faithful_gradient::{Channels, GradientParameters, Quadrature, attribute_at_layer, reduce_channels};
use std::collections::HashSet;
use std::num::NonZeroUsize;
use std::sync::Arc;

/// A method with what the user chose about it.
#[derive(Clone, Copy, Debug)]
pub enum Explainer {
    /// A class activation map or a perturbation method; the gradient under it where the user named one.
    Cam {
        /// The method.
        method: &'static faithful_cam::Method,
        /// Another gradient under it than its own.
        gradient: Option<&'static GradientEstimator>,
        /// Whose definition of it is followed.
        definition: Definition,
    },
    /// An attribution with respect to the input.
    Gradient(&'static faithful_gradient::Method),
}

/// What explanations of a run are told; each method reads what concerns it.
#[derive(Clone)]
pub struct Settings {
    /// How many draws or steps; nothing for the method's own default.
    pub draws: Option<NonZeroUsize>,
    /// When there were enough of them.
    pub stop: Stop,
    /// What photos are compared with.
    pub sampler: Arc<dyn BaselineSampler>,
    /// Where between baseline and photo expected gradients looks.
    pub alphas: AlphaSampler,
    /// The rule that integrates along a path.
    pub quadrature: Quadrature,
    /// The width of noise around the photo.
    pub spread: Spread,
    /// Where a layer's output has its channels and places.
    pub layout: Layout,
    /// What concerns the paths of blur and guided integrated gradients.
    pub path: PathChoices,
    /// What concerns class activation maps and masking methods.
    pub cam: CamChoices,
    /// How the network's outputs become probabilities.
    pub probabilities: Probabilities,
    /// What is known of baselines already; it belongs to one network.
    pub cache: Arc<BaselineCache>,
}

/// The one method that is made of parts, which can be looked at.
const HYPER: &str = "hyper-expected-grad-cam";

/// What concerns the paths of blur and guided integrated gradients.
#[derive(Clone, Copy, Debug)]
pub struct PathChoices {
    /// The width in pixels with which the blur path begins.
    pub sigma: f64,
    /// The share of values that the guided path moves at a time.
    pub fraction: f64,
    /// How far a value of the guided path may be ahead of or behind the straight line.
    pub max_distance: f64,
}

impl Default for PathChoices {
    fn default() -> Self {
        let GradientParameters { sigma, fraction, max_distance, .. } = GradientParameters::default();
        Self { sigma, fraction, max_distance }
    }
}

/// What concerns class activation maps and masking methods alone.
#[derive(Clone, Copy, Debug, Default)]
pub struct CamChoices {
    /// Mini-batches; nothing for one path, or a draw from each of many.
    pub paths: Option<NonZeroUsize>,
    /// By what a gradient on paths from baselines is multiplied at the layer.
    pub difference: Difference,
    /// How the maps of several layers become one.
    pub fusion: Fusion,
    /// How many channels masking methods try, those that vary most; nothing for all.
    pub channels: Option<NonZeroUsize>,
    /// How much work Hyper Expected Grad-CAM may be.
    pub quality: Quality,
    /// Whether the maps that an explanation went through are kept.
    pub parts: bool,
    /// Whether the maps of the mirrored and brightened photo are averaged in ([`CamParameters::augmented`]).
    pub augmented: bool,
    /// Whether the first principal component of the weighted channels stands for their sum ([`CamParameters::eigen`]).
    pub eigen: bool,
}

impl Settings {
    /// How many baselines are kept with what the network says of them, at most, while `explainer` works.
    pub fn references(&self, explainer: &Explainer) -> u64 {
        if !explainer.compares() {
            return 0;
        }
        let draws = self.draws.map_or(50, NonZeroUsize::get);
        let origins = self.sampler.origins(&Stream::new(0, ""), 0..draws);
        let kept: HashSet<Origin> = origins.into_iter().filter(|origin| *origin != Origin::Draw).collect();
        // One may be made of the photo itself, blurred.
        kept.len() as u64 + 1
    }

    /// The three choices that every command has; the rest as the methods have it.
    pub fn new(draws: Option<NonZeroUsize>, stop: Stop, sampler: Arc<dyn BaselineSampler>) -> Self {
        let (alphas, quadrature, spread) = (AlphaSampler::default(), Quadrature::default(), Spread::default());
        let (layout, path, cam) = (Layout::default(), PathChoices::default(), CamChoices::default());
        let probabilities = Probabilities::default();
        Self {
            draws,
            stop,
            sampler,
            alphas,
            quadrature,
            spread,
            layout,
            path,
            cam,
            probabilities,
            cache: Arc::default(),
        }
    }
}

/// What one explanation found, for one photo and one score.
#[derive(Clone, Debug)]
pub struct Found {
    /// The raw map `(h, w)`; for a series `(t)` or `(sensors, t)`.
    pub map: Tensor,
    /// The score that was explained.
    pub score: f64,
    /// How the draws went, where there were some.
    pub convergence: Option<Convergence>,
    /// The completeness axiom's two sides, where it applies: what the map sums to, and what it should.
    pub completeness: Option<(f64, f64)>,
    /// What the reader of the map should know.
    pub notes: Vec<String>,
    /// The raw maps `(h, w)` that it went through, by name, where they were asked for.
    pub parts: Vec<(String, Tensor)>,
}

/// Every method, in the order in which they are listed.
pub fn all() -> Vec<&'static MethodInfo> {
    let cams = faithful_cam::METHODS.iter().map(|method| &method.info);
    cams.chain(faithful_gradient::METHODS.iter().map(|method| &method.info)).collect()
}

impl Explainer {
    /// The method called `name`, on the gradient called `gradient`, as `definition` defines it.
    pub fn new(name: &str, gradient: Option<&str>, definition: &str) -> Result<Self> {
        let gradient = gradient.map(faithful_cam::estimator).transpose()?;
        let definition = Definition::named(definition)?;
        if let Ok(method) = faithful_gradient::method(name) {
            return match (gradient, definition) {
                (None, Definition::Paper) => Ok(Self::Gradient(method)),
                (Some(_), _) => Err(Self::no_gradient(name)),
                _ => Err(Error::parameter("definition", format!("`{name}` has only the paper's"))),
            };
        }
        let Ok(method) = faithful_cam::method(name) else {
            return Err(Error::unknown("method", name, all().iter().map(|info| info.name)));
        };
        if !definition.covers(method.info.name) {
            let reason = format!("{} has no `{name}`; leave it out for the paper's", definition.name());
            return Err(Error::parameter("definition", reason));
        }
        if gradient.is_some() && method.estimator().is_none() {
            return Err(Self::no_gradient(name));
        }
        Ok(Self::Cam { method, gradient, definition })
    }

    fn no_gradient(name: &str) -> Error {
        Error::parameter("gradient", format!("`{name}` is no class activation map that a gradient could be put under"))
    }

    /// What is known of the method.
    pub fn info(&self) -> &'static MethodInfo {
        match self {
            Self::Cam { method, .. } => &method.info,
            Self::Gradient(method) => &method.info,
        }
    }

    /// The gradient under a class activation map.
    fn estimator(&self) -> Option<&'static GradientEstimator> {
        match self {
            Self::Cam { method, gradient, .. } => gradient.or(method.estimator()),
            Self::Gradient(_) => None,
        }
    }

    /// The name for files: `layer-cam`, or `layer-cam.expected` with another gradient.
    pub fn label(&self) -> String {
        let mut label = self.info().name.to_owned();
        if let Self::Cam { gradient, definition, .. } = self {
            let definition = (*definition != Definition::Paper).then(|| definition.name());
            for part in gradient.map(|gradient| gradient.name).into_iter().chain(definition) {
                label = format!("{label}.{part}");
            }
        }
        label
    }

    /// Whether it explains at target layers, and at the model's own unless others are named.
    pub fn needs_layers(&self) -> bool {
        match self {
            Self::Cam { method, .. } => method.needs_layers(),
            Self::Gradient(_) => false,
        }
    }

    /// Up to which percentile of its values a map is shown unless the user says otherwise; `at_layer` where the map has
    /// a layer's places. Of many cells a few outshine all others, by far where maps of several layers are multiplied.
    pub fn percentile(&self, at_layer: bool) -> f64 {
        let multiplies = matches!(self, Self::Cam { method, .. } if method.multiplies());
        if at_layer && !multiplies { 100.0 } else { 99.0 }
    }

    /// Whether it is made of parts that can be looked at, with a quality to choose.
    pub fn has_parts(&self) -> bool {
        self.info().name == HYPER
    }

    /// The layers it explains at where none is named and the model's own is `target`.
    pub fn layers_of(&self, network: &dyn Network, target: LayerId) -> Result<Vec<LayerId>> {
        match self {
            Self::Cam { method, .. } if method.multiplies() => stage_layers(network, target),
            Self::Cam { method, .. } if method.needs_layers() => Ok(vec![target]),
            _ => Ok(Vec::new()),
        }
    }

    /// Refuses what the user asked for and this method would not listen to.
    ///
    /// `layers` are those that were named; `fused` and `laid_out` whether a fusion or a layout was.
    pub fn check(&self, layers: usize, fused: bool, laid_out: bool, stop: Stop) -> Result<()> {
        let name = self.info().name;
        let refuse = |parameter, reason: String| Err(Error::parameter(parameter, reason));
        let (takes, fuses, stops) = match self {
            Self::Cam { method, .. } => {
                let stops = self.estimator().is_some_and(|estimator| !estimator.single);
                (if method.needs_layers() { method.most_layers() } else { 0 }, method.fuses(), stops)
            }
            Self::Gradient(method) => (1, false, method.reads.contains(&"stop")),
        };
        if takes == 0 && (layers > 0 || laid_out) {
            let parameter = if layers > 0 { "layer" } else { "layout" };
            return refuse(parameter, format!("`{name}` explains at the input and has no target layer"));
        }
        if layers > takes {
            return refuse("layer", format!("`{name}` explains one layer at a time, and {layers} are named"));
        }
        if laid_out && layers == 0 && !self.needs_layers() {
            return refuse("layout", format!("`{name}` explains at the input unless --layer names a layer"));
        }
        if fused && !fuses {
            return refuse("fusion", format!("`{name}` does not fuse the maps of several layers"));
        }
        if fused && layers < 2 {
            return refuse("fusion", "there is one layer; name several with --layer a,b".into());
        }
        if stop != Stop::Draws && !stops {
            return refuse("stop", format!("`{name}` has no draws that a rule could stop; leave it out"));
        }
        Ok(())
    }

    /// Refuses the mean over mirrored and brightened photos where the method would not listen to it.
    pub fn check_augmented(&self, parts: bool) -> Result<()> {
        let name = self.info().name;
        if matches!(self, Self::Gradient(_)) {
            let reason =
                format!("`{name}` is no class activation map or masking method, whose maps alone are averaged");
            return Err(Error::parameter("augment", reason));
        }
        if parts {
            return Err(Error::parameter("augment", "the parts are those of one photo; leave one of the two out"));
        }
        Ok(())
    }

    /// Refuses eigen smoothing where there are no weighted channels.
    pub fn check_eigen(&self) -> Result<()> {
        match self {
            Self::Cam { method, .. } if method.weighs() => Ok(()),
            _ => {
                let reason = format!("`{}` does not sum weighted channels of a layer", self.info().name);
                Err(Error::parameter("eigen", reason))
            }
        }
    }

    /// Whether the seed and the number of draws matter.
    pub fn draws(&self) -> bool {
        self.estimator().map_or(self.info().draws, |estimator| !estimator.single)
    }

    /// Whether it compares with baselines.
    pub fn compares(&self) -> bool {
        match self {
            Self::Cam { .. } => self.estimator().is_some_and(|estimator| estimator.baselines != BaselineUse::None),
            Self::Gradient(method) => method.reads.contains(&"sampler"),
        }
    }

    /// Explains one photo `(1, C, H, W)` for each of the scores, in their order.
    pub fn explain(
        &self,
        objective: &Objective<'_>,
        input: &Tensor,
        layers: &[LayerId],
        scores: &[&dyn Score],
        settings: &Settings,
        stream: Stream,
    ) -> Result<Vec<Found>> {
        let Settings { draws, stop, sampler, alphas, quadrature, spread, layout, path, cam, probabilities, cache } =
            settings.clone();
        match *self {
            Self::Cam { method, gradient, definition } => {
                let mut estimator = EstimatorParameters {
                    stop,
                    sampler,
                    alphas,
                    spread,
                    stream,
                    difference: cam.difference,
                    cache: Some(cache),
                    ..Default::default()
                };
                let own = if self.has_parts() { cam.quality.draws() } else { estimator.draws };
                estimator.draws = draws.unwrap_or(own);
                estimator.paths = cam.paths.unwrap_or(estimator.paths);
                let mut parameters = CamParameters {
                    estimator: gradient,
                    gradient: estimator,
                    fusion: cam.fusion,
                    layout,
                    definition,
                    hyper: HyperParameters { probabilities, ..cam.quality.parameters() },
                    augmented: cam.augmented,
                    eigen: cam.eigen,
                    ..Default::default()
                };
                parameters.perturbation.draws = draws;
                parameters.perturbation.channels = cam.channels;
                parameters.perturbation.probabilities = probabilities;
                let mut parts = Vec::new();
                let found = match *layers {
                    [layer] if cam.parts && self.has_parts() => {
                        let all = hyper_parts(objective, input, layer, scores, &parameters)?;
                        for one in &all {
                            let planes = one.maps().into_iter().map(|(name, map)| Ok((name, plane(map)?)));
                            parts.push(planes.collect::<Result<Vec<_>>>()?);
                        }
                        all.into_iter().map(|one| one.explanation).collect()
                    }
                    _ => faithful_cam::explain_scores(method, objective, input, layers, scores, &parameters)?,
                };
                parts.resize(found.len(), Vec::new());
                found
                    .into_iter()
                    .zip(parts)
                    .map(|(explanation, parts)| {
                        Ok(Found {
                            map: places(&explanation.map, input)?,
                            score: number(&explanation.score)?,
                            convergence: explanation.convergence.into_iter().next(),
                            completeness: explanation.completeness.first().map(|both| (both.attributed, both.expected)),
                            notes: Vec::new(),
                            parts,
                        })
                    })
                    .collect()
            }
            Self::Gradient(method) => {
                let parameters = GradientParameters {
                    draws,
                    stop,
                    sampler,
                    alphas,
                    quadrature,
                    spread,
                    sigma: path.sigma,
                    fraction: path.fraction,
                    max_distance: path.max_distance,
                    stream,
                };
                let explain = |score: &&dyn Score| {
                    let objective = objective.with_score(*score);
                    let (attribution, map) = match *layers {
                        [] => {
                            let attribution = (method.attribute)(&objective, input, &parameters)?;
                            let map = attribution.map.clone();
                            (attribution, map)
                        }
                        [layer] => {
                            let attribution = attribute_at_layer(method, &objective, input, layer, &parameters)?;
                            let map = in_places(&attribution.map, &objective, input, layer, layout)?;
                            (attribution, map)
                        }
                        _ => {
                            let reason = format!("`{}` explains one layer at a time", method.info.name);
                            return Err(Error::parameter("layer", reason));
                        }
                    };
                    Ok(Found {
                        map: places(&map, input)?,
                        score: number(&objective.scores(input)?)?,
                        convergence: attribution.convergence,
                        completeness: None,
                        notes: attribution.notes.iter().map(ToString::to_string).collect(),
                        parts: Vec::new(),
                    })
                };
                scores.iter().map(explain).collect()
            }
        }
    }
}

/// A layer's attribution `(1, …)` with its channels first and its places in rows and columns.
fn in_places(
    map: &Tensor,
    objective: &Objective<'_>,
    input: &Tensor,
    layer: LayerId,
    layout: Layout,
) -> Result<Tensor> {
    let layout = match layout {
        Layout::Auto => {
            let activation = objective.network().activations(input, &[layer])?.remove(0);
            Layout::infer(input.dims(), activation.dims())?
        }
        known => known,
    };
    match (layout, map.rank()) {
        // Saliency has lost its channels already.
        (Layout::ChannelsFirst, 3) => Ok(map.clone()),
        (Layout::ChannelsLast, 3) | (Layout::Tokens { .. } | Layout::TokensLast { .. }, 2) => {
            let reason =
                "the largest over the channels is taken where they come first; explain with `gradient` instead";
            Err(Error::parameter("method", reason))
        }
        _ => layout.channels_first(map),
    }
}

/// The map of a photo as `(h, w)`; that of a series as the method gave it, `(t)` or `(sensors, t)`.
fn places(map: &Tensor, input: &Tensor) -> Result<Tensor> {
    if input.rank() == 3 { Ok(map.squeeze(0)?) } else { plane(map) }
}

/// `5x5`: paths by draws.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MiniBatches {
    /// Paths, each from one baseline.
    pub paths: NonZeroUsize,
    /// Draws on each path.
    pub draws: NonZeroUsize,
}

impl std::str::FromStr for MiniBatches {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let number = |text: &str| text.parse().ok();
        text.split_once('x')
            .and_then(|(paths, draws)| Some(Self { paths: number(paths)?, draws: number(draws)? }))
            .ok_or_else(|| format!("`{text}` is not KxM, such as 5x5: paths by draws, both above 0"))
            .and_then(|both| match both.paths.checked_mul(both.draws) {
                Some(all) if all.get() <= 1_000_000 => Ok(both),
                _ => Err(format!("`{text}` are more than 1,000,000 draws")),
            })
    }
}

/// A method as `--methods` names it.
#[derive(Clone, Debug)]
pub struct Named {
    /// The method.
    pub method: Explainer,
    /// As it was named.
    pub label: String,
    /// What its name says of class activation maps.
    pub cam: CamChoices,
    /// How many draws its name says.
    pub draws: Option<NonZeroUsize>,
}

impl Named {
    /// `layer-cam`; after dots a gradient (`layer-cam.expected`), mini-batches (`expected-grad-cam.5x5`), a quality
    /// (`hyper-expected-grad-cam.draft`), whose definition (`grad-cam++.torchcam`), `augmented` or `eigen`
    /// (`layer-cam.augmented.eigen`).
    pub fn parse(name: &str) -> Result<Self> {
        let mut words = name.split('.');
        let method = words.next().unwrap_or_default();
        let (mut gradient, mut definition, mut cam, mut draws) = (None, "paper", CamChoices::default(), None);
        let mut quality = None;
        for word in words {
            if let Ok(MiniBatches { paths, draws: each }) = word.parse() {
                cam.paths = Some(paths);
                draws = Some(each);
            } else if let Ok(found) = Quality::named(word) {
                quality = Some(found);
            } else if word == "augmented" {
                cam.augmented = true;
            } else if word == "eigen" {
                cam.eigen = true;
            } else if Definition::named(word).is_ok() {
                definition = word;
            } else {
                gradient = Some(word);
            }
        }
        let explainer = Explainer::new(method, gradient, definition)?;
        if let Some(found) = quality {
            if !explainer.has_parts() {
                return Err(Error::parameter("methods", format!("`{method}` has no qualities to choose from")));
            }
            cam.quality = found;
        }
        if cam.augmented {
            explainer.check_augmented(cam.parts)?;
        }
        if cam.eigen {
            explainer.check_eigen()?;
        }
        if draws.is_some() && !(explainer.compares() && explainer.draws() && explainer.needs_layers()) {
            return Err(Error::parameter("methods", format!("`{method}` has no mini-batches")));
        }
        Ok(Self { method: explainer, label: name.to_owned(), cam, draws })
    }

    /// A run's settings with what the name says.
    pub fn settings(&self, common: &Settings) -> Settings {
        Settings { cam: self.cam, draws: self.draws.or(common.draws), ..common.clone() }
    }
}

/// A map `(1, C, H, W)` or `(1, h, w)` as `(h, w)`: channels are summed, which keeps the sign and the total.
fn plane(map: &Tensor) -> Result<Tensor> {
    let map = if map.rank() == 4 { reduce_channels(map, Channels::Sum)? } else { map.clone() };
    match map.dims() {
        [1, _, _] => Ok(map.squeeze(0)?),
        other => Err(Error::shape("the map", "one map with height and width", other)),
    }
}

fn number(score: &Tensor) -> Result<f64> {
    Ok(score.to_dtype(DType::F64)?.squeeze(0)?.to_scalar()?)
}

/// `draws`, `difference:0.001` or `delta:0.01`.
pub fn parse_stop(text: &str) -> Result<Stop> {
    let refuse = || Error::parameter("stop", format!("`{text}` is not `draws`, `difference:0.001` or `delta:0.01`"));
    let threshold = |text: &str| text.parse::<f64>().ok().filter(|value| value.is_finite() && *value > 0.0);
    match text.split_once(':') {
        None if text == "draws" => Ok(Stop::Draws),
        Some(("difference", value)) => threshold(value).map(Stop::Difference).ok_or_else(refuse),
        Some(("delta", value)) => threshold(value).map(Stop::Delta).ok_or_else(refuse),
        _ => Err(refuse()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn mini_batches_are_read() {
        let number = |n| NonZeroUsize::new(n).unwrap();
        assert_eq!("5x10".parse(), Ok(MiniBatches { paths: number(5), draws: number(10) }));
        for wrong in ["", "5", "0x5", "5x", "5x5x5", "-1x2", "1000x1001", "9999999999x9999999999"] {
            assert!(wrong.parse::<MiniBatches>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn every_listed_method_is_found_and_described() {
        let mut names = HashSet::new();
        for info in all() {
            assert_eq!(Explainer::new(info.name, None, "paper").unwrap().info().name, info.name);
            assert!(!info.summary.is_empty() && !info.source.is_empty(), "{}", info.name);
            assert!(names.insert(info.name), "two methods are called {}", info.name);
        }
    }

    #[test]
    fn a_gradient_changes_the_label_and_whether_draws_matter() {
        let plain = Explainer::new("layer-cam", None, "paper").unwrap();
        assert_eq!((plain.label().as_str(), plain.draws(), plain.compares()), ("layer-cam", false, false));
        let expected = Explainer::new("layer-cam", Some("expected"), "paper").unwrap();
        assert_eq!(
            (expected.label().as_str(), expected.draws(), expected.compares()),
            ("layer-cam.expected", true, true)
        );
        let attribution = Explainer::new("integrated-gradients", None, "paper").unwrap();
        assert!(attribution.compares() && !attribution.needs_layers());
        assert_eq!(Explainer::new("layer-cam", None, "torchcam").unwrap().label(), "layer-cam.torchcam");
    }

    #[test]
    fn mistakes_lead_to_what_was_meant() {
        let error = |name: &str, gradient| Explainer::new(name, gradient, "paper").unwrap_err().to_string();
        assert!(error("gradcam", None).contains("`grad-cam`"), "{}", error("gradcam", None));
        assert!(error("salience", None).contains("`saliency`"));
        assert!(error("layer-cam", Some("expcted")).contains("`expected`"));
        assert!(error("saliency", Some("expected")).contains("gradient: `saliency`"));
        assert!(error("score-cam", Some("expected")).contains("gradient: `score-cam`"));
    }

    #[test]
    fn what_a_method_would_not_listen_to_is_refused() {
        let check = |name: &str, layers, fused, laid_out, stop| {
            let explainer = Explainer::new(name, None, "paper").unwrap();
            explainer.check(layers, fused, laid_out, stop).map_err(|error| error.to_string())
        };
        let (all, rule) = (Stop::Draws, Stop::Difference(0.1));
        for (name, layers, fused) in
            [("grad-cam", 3, true), ("grad-cam", 0, false), ("poly-cam+", 4, false), ("saliency", 1, false)]
        {
            assert_eq!(check(name, layers, fused, layers > 0, all), Ok(()), "{name}");
        }
        assert_eq!(check("expected-gradients", 1, false, false, rule), Ok(()));
        for (name, layers, fused, laid_out, stop, word) in [
            ("full-grad", 1, false, false, all, "no target layer"),
            ("rise", 0, false, true, all, "layout"),
            ("saliency", 2, false, false, all, "one layer at a time"),
            ("saliency", 0, false, true, all, "--layer"),
            ("hyper-expected-grad-cam", 2, false, false, all, "one layer at a time"),
            ("poly-cam+", 2, true, false, all, "does not fuse"),
            ("grad-cam", 1, true, false, all, "name several"),
            ("grad-cam", 1, false, false, rule, "no draws"),
            ("score-cam", 0, false, false, rule, "no draws"),
            ("guided-integrated-gradients", 0, false, false, rule, "no draws"),
        ] {
            let error = check(name, layers, fused, laid_out, stop).unwrap_err();
            assert!(
                error.contains(word) && error.contains(if word.contains("several") { "" } else { name })
                    || word == "layout",
                "{error}"
            );
        }
    }

    #[test]
    fn stopping_rules_are_read() {
        assert_eq!(parse_stop("draws").unwrap(), Stop::Draws);
        assert_eq!(parse_stop("delta:0.01").unwrap(), Stop::Delta(0.01));
        assert_eq!(parse_stop("difference:1e-3").unwrap(), Stop::Difference(0.001));
        for wrong in ["", "delta", "delta:", "delta:-1", "delta:nan", "soon:3"] {
            assert!(parse_stop(wrong).is_err(), "{wrong}");
        }
    }
}
