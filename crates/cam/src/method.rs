use crate::accumulation::accumulate;
use crate::augment::augmented;
use crate::expectation::{AtInput, Completeness, Expectation, Request, expectations};
use crate::full_grad::full_grad;
use crate::guided::{Guide, guided_gradients, refine};
use crate::hyper::{HyperParameters, decomposition_layers, hyper_parts};
use crate::perturbation::{Entry, Gradients, PERTURBATIONS, Perturbation};
use crate::rule::Estimate;
use crate::rules::centered_projection;
use crate::{
    CamRule, Definition, EstimatorParameters, Fusion, GradientEstimator, Layout, PerturbationParameters, RULES,
    estimator, fuse, rule,
};
use candle_core::Tensor;
use faithful_core::{
    Convergence, Error, Family, LayerId, MethodInfo, Network, Objective, Resolution, Result, Score, ScoreKind, Tap,
};
use std::sync::LazyLock;

/// A named way to a map.
#[derive(Clone, Copy, Debug)]
pub struct Method {
    /// What one knows of it without running it.
    pub info: MethodInfo,
    pub(crate) kind: Kind,
}

impl Method {
    /// Whether it explains at target layers; the others take none.
    pub fn needs_layers(&self) -> bool {
        match self.kind {
            Kind::Rule(..) | Kind::Guided(..) => true,
            Kind::Hyper(_) => true,
            Kind::FullGrad(_) => false,
            Kind::Perturbation(entry) => !entry.at_input,
        }
    }

    /// How many layers it explains at together, at most.
    pub fn most_layers(&self) -> usize {
        match self.kind {
            _ if !self.needs_layers() => 0,
            Kind::Hyper(_) => 1,
            _ => usize::MAX,
        }
    }

    /// Whether the maps of several layers become one by [`CamParameters::fusion`].
    pub fn fuses(&self) -> bool {
        self.most_layers() > 1 && !self.multiplies()
    }

    /// Whether it sums weighted channels, in whose place their first component may stand ([`CamParameters::eigen`]).
    pub fn weighs(&self) -> bool {
        matches!(self.kind, Kind::Rule(rule, _) | Kind::Guided(rule, ..) if rule.weighted.is_some())
    }

    /// Whether it multiplies the maps of a network's stages ([`stage_layers`](crate::stage_layers)), as Poly-CAM does.
    pub fn multiplies(&self) -> bool {
        matches!(self.kind, Kind::Perturbation(entry) if entry.multiplies)
    }

    /// Whether it tries channel by channel, of which there may be fewer
    /// ([`PerturbationParameters::channels`](crate::PerturbationParameters)).
    pub fn tries_channels(&self) -> bool {
        matches!(self.kind, Kind::Perturbation(entry) if entry.tries_channels)
    }

    /// Whether it is made of maps that can be looked at ([`hyper_parts`]), with a quality to choose
    /// ([`Quality`](crate::Quality)).
    pub fn has_parts(&self) -> bool {
        matches!(self.kind, Kind::Hyper(_))
    }

    /// Whether it explains images `(N, C, H, W)` alone, and no series `(N, C, T)`: it enlarges a layer's maps to the
    /// input's height and width.
    pub fn images_only(&self) -> bool {
        match self.kind {
            Kind::Hyper(_) => true,
            Kind::Perturbation(entry) => {
                !entry.at_input && (entry.family == Family::Perturbation || entry.resolution == Resolution::Input)
            }
            Kind::Rule(..) | Kind::Guided(..) | Kind::FullGrad(_) => false,
        }
    }

    /// By how much the largest input that it makes is higher and wider than the one that is explained.
    pub fn enlarges(&self) -> f64 {
        match self.kind {
            Kind::Perturbation(entry) => entry.enlargement,
            _ => 1.0,
        }
    }

    /// Where it takes gradients in its largest pass, when it explains at `layers`: what memory depends on. Nothing for
    /// methods without gradients.
    ///
    /// # Errors
    /// [`Error::UnknownLayer`] for a layer that is not there; [`Error::Unsupported`] for a network that does not know its
    /// biases, where the method needs them.
    pub fn taps(&self, network: &dyn Network, layers: &[LayerId]) -> Result<Vec<Tap>> {
        let own = layers.iter().copied();
        let (layers, input): (Vec<LayerId>, bool) = match self.kind {
            Kind::Rule(..) => (own.collect(), false),
            Kind::Guided(..) => (own.collect(), true),
            Kind::FullGrad(_) => (network.biases()?.into_iter().map(|(layer, _)| layer).collect(), true),
            Kind::Hyper(_) => {
                let levels = own.map(|layer| decomposition_layers(network, layer)).collect::<Result<Vec<_>>>()?;
                (levels.into_iter().flatten().flatten().collect(), false)
            }
            Kind::Perturbation(entry) => match entry.gradients {
                Gradients::None => (Vec::new(), false),
                Gradients::Layers => (own.collect(), false),
                Gradients::Input => (Vec::new(), true),
            },
        };
        Ok(layers.into_iter().map(Tap::Layer).chain(input.then_some(Tap::Input)).collect())
    }

    /// The estimator under it unless [`CamParameters::estimator`] names another; none for methods without gradients.
    pub fn estimator(&self) -> Option<&'static GradientEstimator> {
        match self.kind {
            Kind::Rule(_, estimator)
            | Kind::Guided(_, estimator, _)
            | Kind::FullGrad(estimator)
            | Kind::Hyper(estimator) => Some(estimator),
            Kind::Perturbation(_) => None,
        }
    }
}

/// How a method comes to its map.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// A rule on an estimator of the gradient, which [`CamParameters::estimator`] may replace.
    Rule(&'static CamRule, &'static GradientEstimator),
    /// A rule on an estimator, refined to the input's resolution.
    Guided(&'static CamRule, &'static GradientEstimator, Guide),
    /// The gradient at the input and at every bias; it has no target layer.
    FullGrad(&'static GradientEstimator),
    /// Hyper Expected Grad-CAM: several layers and neighbourhoods, at the input's resolution.
    Hyper(&'static GradientEstimator),
    /// Passes of its own: masks, a search, other scores.
    Perturbation(&'static Entry),
}

/// What a method may be told. Each reads what concerns it.
#[derive(Clone, Debug, Default)]
pub struct CamParameters {
    /// Another estimator than the method's own, under any rule.
    pub estimator: Option<&'static GradientEstimator>,
    /// Draws, baselines and all that belongs to the estimator.
    pub gradient: EstimatorParameters,
    /// How the maps of several layers become one.
    pub fusion: Fusion,
    /// Where a layer's output has its channels and places.
    pub layout: Layout,
    /// Whose definition is followed.
    pub definition: Definition,
    /// All that belongs to the methods without gradients.
    pub perturbation: PerturbationParameters,
    /// All that belongs to Hyper Expected Grad-CAM.
    pub hyper: HyperParameters,
    /// Whether the map is the mean of those of the input and its mirror image, each times 1, 0.9 and 1.1 (pytorch-grad-cam's
    /// `aug_smooth`): six times the work, on any method.
    pub augmented: bool,
    /// Whether the first principal component of the weighted channels stands for their sum, as pytorch-grad-cam's `eigen_smooth`
    /// has it: each channel's mean removed, the sign that agrees with the sum, rectified. For rules that weigh channels.
    pub eigen: bool,
}

/// What a method found.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// The raw map, `(N, h, w)` or, for guided methods, `(N, C, H, W)`, in no particular range; the methods' table says where it lives and if it is signed.
    pub map: Tensor,
    /// The scores `(N,)` that were explained.
    pub score: Tensor,
    /// How the draws went, per row, where there were some.
    pub convergence: Vec<Convergence>,
    /// The two sides of the completeness axiom at the first layer, per row, where it applies.
    pub completeness: Vec<Completeness>,
}

/// Every method of this crate.
pub static METHODS: LazyLock<Vec<Method>> = LazyLock::new(|| {
    let mut methods: Vec<Method> = RULES.iter().filter_map(|rule| on(rule, rule.name, rule.estimator, None)).collect();
    let named = |name, rule_name, estimator_name, summary, source| {
        rule(rule_name).ok().and_then(|rule| on(rule, name, estimator_name, Some((summary, source))))
    };
    methods.extend(named(
        "expected-grad-cam",
        "grad-cam",
        "expected",
        "Grad-CAM on the expectation of difference times gradient over baselines and paths",
        "Buono and Åkesson 2023, Eq. 54-57",
    ));
    methods.extend(named(
        "integrated-grad-cam",
        "grad-cam",
        "integrated",
        "Grad-CAM on the gradient integrated along the path from one baseline",
        "Sattarzadeh et al. 2021; Buono and Åkesson 2023, Eq. 47-49",
    ));
    methods.extend(named(
        "expected-smooth-grad-cam",
        "grad-cam",
        "expected-smooth",
        "Expected Grad-CAM with every point of its paths moved within a neighbourhood",
        "Buono et al. 2024, arXiv 2406.01274",
    ));
    let guided = [
        (
            "guided-grad-cam",
            "plain",
            Guide::Backpropagation,
            "Grad-CAM times guided backpropagation, at the input's resolution",
            "Selvaraju et al. 2017, section 3.2",
        ),
        (
            "guided-expected-grad-cam",
            "expected",
            Guide::Attribution,
            "Expected Grad-CAM times expected gradients from the same draws, at the input's resolution",
            "Buono and Åkesson 2023, Eq. 61",
        ),
    ];
    for (name, estimator_name, guide, summary, source) in guided {
        let parts = named(name, "grad-cam", estimator_name, summary, source);
        methods.extend(parts.and_then(|method| match method.kind {
            Kind::Rule(rule, estimator) => Some(Method {
                info: MethodInfo { resolution: Resolution::Input, signed: true, ..method.info },
                kind: Kind::Guided(rule, estimator, guide),
            }),
            _ => None,
        }));
    }
    methods.extend(estimator("plain").ok().map(|plain| Method {
        info: MethodInfo {
            name: "full-grad",
            summary: "the gradient at the input and at every bias of the network, which together are the score",
            source: "Srinivas and Fleuret 2019, Eq. 4",
            family: Family::Cam,
            resolution: Resolution::Input,
            class_agnostic: false,
            signed: false,
            score: ScoreKind::Logit,
            draws: false,
        },
        kind: Kind::FullGrad(plain),
    }));
    methods.extend(estimator("expected").ok().map(|expected| Method {
        info: MethodInfo {
            name: "hyper-expected-grad-cam",
            summary: "the evidence of every resolution in one map: where, contours and textures, for and against",
            source: "Buono and Åkesson 2023, 4.8",
            family: Family::Cam,
            resolution: Resolution::Input,
            class_agnostic: false,
            signed: true,
            score: ScoreKind::Logit,
            draws: true,
        },
        kind: Kind::Hyper(expected),
    }));
    methods.extend(PERTURBATIONS.iter().map(|entry| Method {
        info: MethodInfo {
            name: entry.name,
            summary: entry.summary,
            source: entry.source,
            family: entry.family,
            resolution: entry.resolution,
            class_agnostic: false,
            signed: entry.signed,
            score: entry.score,
            draws: entry.draws,
        },
        kind: Kind::Perturbation(entry),
    }));
    methods
});

fn on(
    rule: &'static CamRule,
    name: &'static str,
    estimator_name: &str,
    described: Option<(&'static str, &'static str)>,
) -> Option<Method> {
    let estimator = estimator(estimator_name).ok()?;
    let (summary, source) = described.unwrap_or((rule.summary, rule.source));
    let info = MethodInfo {
        name,
        summary,
        source,
        family: Family::Cam,
        resolution: Resolution::Layer,
        class_agnostic: rule.class_agnostic,
        signed: rule.signed,
        score: ScoreKind::Logit,
        draws: !estimator.single,
    };
    Some(Method { info, kind: Kind::Rule(rule, estimator) })
}

/// The method called `name`.
///
/// # Errors
/// [`Error::UnknownName`] with suggestions.
pub fn method(name: &str) -> Result<&'static Method> {
    MethodInfo::find(name, &METHODS, |method| &method.info)
}

/// Explains the objective's score for each of the inputs `(N, …)` at `layers`.
///
/// All rows draw from the same stream; explain photos that shall differ in their draws one at a time. Results do not
/// depend on the objective's batch size.
///
/// # Errors
/// Shapes that no map can be made of, a rule that the network's head does not allow, a stopping rule that the
/// estimator cannot serve.
pub fn explain(
    method: &Method,
    objective: &Objective<'_>,
    input: &Tensor,
    layers: &[LayerId],
    parameters: &CamParameters,
) -> Result<Explanation> {
    let mut all = explain_scores(method, objective, input, layers, &[objective.score()], parameters)?;
    all.pop().ok_or_else(|| Error::internal("one score and no explanation"))
}

/// Like [`explain`] for several scores (classes), in their order, which share their forward passes.
pub fn explain_scores(
    method: &Method,
    objective: &Objective<'_>,
    input: &Tensor,
    layers: &[LayerId],
    scores: &[&dyn Score],
    parameters: &CamParameters,
) -> Result<Vec<Explanation>> {
    if parameters.augmented {
        return augmented(method, objective, input, layers, scores, parameters);
    }
    parameters.definition.check(method.info.name)?;
    if parameters.eigen && !matches!(method.kind, Kind::Rule(..) | Kind::Guided(..)) {
        return Err(no_eigen(method.info.name));
    }
    if layers.is_empty() && method.needs_layers() {
        return Err(Error::parameter("layers", "at least one target layer is needed"));
    }
    if !layers.is_empty() && !method.needs_layers() {
        let reason = format!("`{}` explains at the input and has no target layer", method.info.name);
        return Err(Error::parameter("layers", reason));
    }
    match method.kind {
        Kind::Rule(rule, own) => {
            let estimator = parameters.estimator.unwrap_or(own);
            let rule = parameters.definition.rule(rule);
            by_row(estimator.single, input, &|input| {
                let request = request(rule, objective, scores, input, layers, AtInput::Nothing, parameters);
                let found = expectations(estimator, &parameters.gradient, &request)?;
                found.into_iter().map(|one| Ok(mapped(rule, estimator, one, parameters)?.0)).collect()
            })
        }
        Kind::Guided(rule, own, guide) => {
            let estimator = parameters.estimator.unwrap_or(own);
            by_row(estimator.single, input, &|input| {
                let at_input = if guide == Guide::Attribution { AtInput::Attribution } else { AtInput::Nothing };
                let request = request(rule, objective, scores, input, layers, at_input, parameters);
                let found = expectations(estimator, &parameters.gradient, &request)?;
                let guides = match guide {
                    Guide::Attribution => None,
                    Guide::Backpropagation => Some(guided_gradients(objective, input, scores)?),
                };
                let mut explanations = Vec::new();
                for (place, one) in found.into_iter().enumerate() {
                    let (explanation, attribution) = mapped(rule, estimator, one, parameters)?;
                    let guide = guides.as_ref().map(|all| all[place].clone()).or(attribution);
                    let guide = guide.ok_or_else(|| Error::parameter("input", "its gradient was not given"))?;
                    explanations.push(Explanation { map: refine(&explanation.map, &guide)?, ..explanation });
                }
                Ok(explanations)
            })
        }
        Kind::FullGrad(own) => {
            let estimator = parameters.estimator.unwrap_or(own);
            by_row(estimator.single, input, &|input| full_grad(estimator, objective, input, scores, parameters))
        }
        Kind::Hyper(_) => {
            let [layer] = *layers else {
                let reason = "one target layer is needed: Hyper Expected Grad-CAM finds the earlier ones by itself";
                return Err(Error::parameter("layers", reason));
            };
            by_row(false, input, &|input| {
                let parts = hyper_parts(objective, input, layer, scores, parameters)?;
                Ok(parts.into_iter().map(|parts| parts.explanation).collect())
            })
        }
        Kind::Perturbation(entry) => by_row(false, input, &|input| {
            let size = match *input.dims() {
                [_, _, height, width] => [height, width],
                [_, sensors, time] if entry.at_input || entry.family == Family::Cam => [sensors, time],
                ref other => {
                    let series_too = entry.at_input || entry.family == Family::Cam;
                    let expected = if series_too { "(N, C, H, W) or (N, C, T)" } else { "an image (N, C, H, W)" };
                    return Err(Error::shape("the input of a masking method", expected, other));
                }
            };
            let perturbation = Perturbation {
                objective: *objective,
                scores,
                input,
                size,
                layers,
                layout: parameters.layout,
                fusion: parameters.fusion,
                definition: parameters.definition,
                stream: &parameters.gradient.stream,
                parameters: &parameters.perturbation,
            };
            let output = objective.network().evaluate(input, &[])?.0;
            let maps = (entry.method)(&perturbation)?;
            maps.into_iter()
                .zip(scores)
                .map(|(map, score)| {
                    let score = score.score(&output)?;
                    Ok(Explanation { map, score, convergence: Vec::new(), completeness: Vec::new() })
                })
                .collect()
        }),
    }
}

fn request<'a>(
    rule: &CamRule,
    objective: &Objective<'a>,
    scores: &'a [&'a dyn Score],
    input: &'a Tensor,
    layers: &'a [LayerId],
    at_input: AtInput,
    parameters: &CamParameters,
) -> Request<'a> {
    let CamParameters { layout, gradient, .. } = parameters;
    let (layout, difference) = (*layout, gradient.difference);
    Request {
        objective: *objective,
        scores,
        input,
        layers,
        at_input,
        layout,
        difference,
        sensitivity: rule.sensitivity,
        mean_difference: false,
    }
}

/// Explanations for all rows at once, or row by row.
fn by_row(
    together: bool,
    input: &Tensor,
    explain: &dyn Fn(&Tensor) -> Result<Vec<Explanation>>,
) -> Result<Vec<Explanation>> {
    let rows = input.dim(0)?;
    if together || rows == 1 {
        return explain(input);
    }
    let parts = (0..rows).map(|row| explain(&input.narrow(0, row, 1)?)).collect::<Result<Vec<_>>>()?;
    let count = parts.first().map_or(0, Vec::len);
    (0..count)
        .map(|score| {
            let of = |pick: &dyn Fn(&Explanation) -> Tensor| -> Result<Tensor> {
                Ok(Tensor::cat(&parts.iter().map(|part| pick(&part[score])).collect::<Vec<_>>(), 0)?)
            };
            Ok(Explanation {
                map: of(&|part| part.map.clone())?,
                score: of(&|part| part.score.clone())?,
                convergence: parts.iter().flat_map(|part| part[score].convergence.clone()).collect(),
                completeness: parts.iter().flat_map(|part| part[score].completeness.clone()).collect(),
            })
        })
        .collect()
}

/// The rule's maps of every layer and path, paths averaged and layers fused; and what was averaged at the input.
fn mapped(
    rule: &CamRule,
    estimator: &GradientEstimator,
    expectation: Expectation,
    parameters: &CamParameters,
) -> Result<(Explanation, Option<Tensor>)> {
    let share = 1.0 / expectation.paths.len() as f64;
    let mut maps: Vec<Option<Tensor>> = Vec::new();
    let mut at_input: Option<Tensor> = None;
    for path in &expectation.paths {
        maps.resize(path.layers.len(), None);
        for (sum, estimate) in maps.iter_mut().zip(&path.layers) {
            let map = if parameters.eigen { projected(rule, estimate)? } else { (rule.map)(estimate)? };
            accumulate(sum, &map, share)?;
        }
        if let Some(attribution) = &path.input {
            accumulate(&mut at_input, attribution, share)?;
        }
    }
    let maps: Vec<Tensor> = maps.into_iter().flatten().collect();
    // A plain gradient has no baseline; there only rules that conserve the score promise anything.
    let promised = rule.conserves || !estimator.single;
    let completeness = expectation.completeness.into_iter().next().unwrap_or_default();
    let explanation = Explanation {
        map: fuse(&maps, parameters.fusion)?,
        score: expectation.score,
        convergence: expectation.convergence.into_iter().collect(),
        completeness: if promised && !parameters.eigen { completeness } else { Vec::new() },
    };
    Ok((explanation, at_input))
}

/// The rectified first principal component of the rule's weighted channels, in place of their sum.
fn projected(rule: &CamRule, estimate: &Estimate) -> Result<Tensor> {
    let weighted = rule.weighted.ok_or_else(|| no_eigen(rule.name))?;
    Ok(centered_projection(&weighted(estimate)?)?.relu()?)
}

fn no_eigen(name: &str) -> Error {
    Error::parameter(
        "eigen",
        format!("`{name}` does not sum weighted channels, whose first component could stand for them"),
    )
}
