//! Every method of every crate behind one door. Nothing here knows how a method works.

use candle_core::{DType, Tensor};
use faithful_baseline::{AlphaSampler, BaselineSampler, Spread};
use faithful_cam::{
    BaselineCache, BaselineUse, CamParameters, Definition, Difference, EstimatorParameters, Fusion, GradientEstimator,
    Quality, hyper_parts,
};
use faithful_core::{Convergence, Error, LayerId, MethodInfo, Objective, Result, Score, Stop, Stream};
use faithful_gradient::{Channels, GradientParameters, Quadrature, reduce_channels};
use std::num::NonZeroUsize;
use std::sync::Arc;

/// A method with what the user chose about it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Explainer {
    /// A class activation map or a perturbation method; the gradient under it where the user named one.
    Cam { method: &'static faithful_cam::Method, gradient: Option<&'static GradientEstimator>, definition: Definition },
    /// An attribution with respect to the input.
    Gradient(&'static faithful_gradient::Method),
}

/// What explanations of a run are told; each method reads what concerns it.
#[derive(Clone)]
pub(crate) struct Settings {
    /// Nothing for the method's own default.
    pub(crate) draws: Option<NonZeroUsize>,
    pub(crate) stop: Stop,
    pub(crate) sampler: Arc<dyn BaselineSampler>,
    pub(crate) alphas: AlphaSampler,
    pub(crate) quadrature: Quadrature,
    pub(crate) spread: Spread,
    pub(crate) cam: CamChoices,
    pub(crate) cache: Arc<BaselineCache>,
}

/// The one method that is made of parts, which can be looked at.
const HYPER: &str = "hyper-expected-grad-cam";

/// What concerns class activation maps and masking methods alone.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CamChoices {
    /// Mini-batches; nothing for one path, or a draw from each of many.
    pub(crate) paths: Option<NonZeroUsize>,
    pub(crate) difference: Difference,
    pub(crate) fusion: Fusion,
    pub(crate) channels: Option<NonZeroUsize>,
    /// How much work Hyper Expected Grad-CAM may be.
    pub(crate) quality: Quality,
    /// Whether the maps that an explanation went through are kept.
    pub(crate) parts: bool,
}

impl Settings {
    /// The three choices that every command has; the rest as the methods have it.
    pub(crate) fn new(draws: Option<NonZeroUsize>, stop: Stop, sampler: Arc<dyn BaselineSampler>) -> Self {
        let (alphas, quadrature, spread) = (AlphaSampler::default(), Quadrature::default(), Spread::default());
        let cam = CamChoices::default();
        Self { draws, stop, sampler, alphas, quadrature, spread, cam, cache: Arc::default() }
    }
}

/// What one explanation found, for one photo and one score.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    /// The raw map `(h, w)`.
    pub(crate) map: Tensor,
    pub(crate) score: f64,
    pub(crate) convergence: Option<Convergence>,
    /// The completeness axiom's two sides, where it applies: what the map sums to, and what it should.
    pub(crate) completeness: Option<(f64, f64)>,
    /// What the reader of the map should know.
    pub(crate) notes: Vec<String>,
    /// The raw maps `(h, w)` that it went through, by name, where they were asked for.
    pub(crate) parts: Vec<(String, Tensor)>,
}

/// Every method, in the order in which they are listed.
pub(crate) fn all() -> Vec<&'static MethodInfo> {
    let cams = faithful_cam::METHODS.iter().map(|method| &method.info);
    cams.chain(faithful_gradient::METHODS.iter().map(|method| &method.info)).collect()
}

impl Explainer {
    /// The method called `name`, on the gradient called `gradient`, as `definition` defines it.
    pub(crate) fn new(name: &str, gradient: Option<&str>, definition: &str) -> Result<Self> {
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
        if gradient.is_some() && method.estimator().is_none() {
            return Err(Self::no_gradient(name));
        }
        Ok(Self::Cam { method, gradient, definition })
    }

    fn no_gradient(name: &str) -> Error {
        Error::parameter("gradient", format!("`{name}` is no class activation map that a gradient could be put under"))
    }

    /// What is known of the method.
    pub(crate) fn info(&self) -> &'static MethodInfo {
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
    pub(crate) fn label(&self) -> String {
        let mut label = self.info().name.to_owned();
        if let Self::Cam { gradient, definition, .. } = self {
            let definition = (*definition != Definition::Paper).then(|| definition.name());
            for part in gradient.map(|gradient| gradient.name).into_iter().chain(definition) {
                label = format!("{label}.{part}");
            }
        }
        label
    }

    /// Whether it explains at target layers.
    pub(crate) fn needs_layers(&self) -> bool {
        match self {
            Self::Cam { method, .. } => method.needs_layers(),
            Self::Gradient(_) => false,
        }
    }

    /// Whether it is made of parts that can be looked at, with a quality to choose.
    pub(crate) fn has_parts(&self) -> bool {
        self.info().name == HYPER
    }

    /// Whether the seed and the number of draws matter.
    pub(crate) fn draws(&self) -> bool {
        self.estimator().map_or(self.info().draws, |estimator| !estimator.single)
    }

    /// Whether it compares with baselines.
    pub(crate) fn compares(&self) -> bool {
        match self {
            Self::Cam { .. } => self.estimator().is_some_and(|estimator| estimator.baselines != BaselineUse::None),
            Self::Gradient(method) => method.reads.contains(&"sampler"),
        }
    }

    /// Explains one photo `(1, C, H, W)` for each of the scores, in their order.
    pub(crate) fn explain(
        &self,
        objective: &Objective<'_>,
        input: &Tensor,
        layers: &[LayerId],
        scores: &[&dyn Score],
        settings: &Settings,
        stream: Stream,
    ) -> Result<Vec<Found>> {
        let Settings { draws, stop, sampler, alphas, quadrature, spread, cam, cache } = settings.clone();
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
                    definition,
                    hyper: cam.quality.parameters(),
                    ..Default::default()
                };
                parameters.perturbation.draws = draws;
                parameters.perturbation.channels = cam.channels;
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
                            map: plane(&explanation.map)?,
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
                    stream,
                    ..Default::default()
                };
                let explain = |score: &&dyn Score| {
                    let objective = objective.with_score(*score);
                    let attribution = (method.attribute)(&objective, input, &parameters)?;
                    Ok(Found {
                        map: plane(&attribution.map)?,
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
pub(crate) fn parse_stop(text: &str) -> Result<Stop> {
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
    fn stopping_rules_are_read() {
        assert_eq!(parse_stop("draws").unwrap(), Stop::Draws);
        assert_eq!(parse_stop("delta:0.01").unwrap(), Stop::Delta(0.01));
        assert_eq!(parse_stop("difference:1e-3").unwrap(), Stop::Difference(0.001));
        for wrong in ["", "delta", "delta:", "delta:-1", "delta:nan", "soon:3"] {
            assert!(parse_stop(wrong).is_err(), "{wrong}");
        }
    }
}
