use crate::expectation::{Completeness, Expectation, Request, expectations};
use crate::{CamRule, EstimatorParameters, Fusion, GradientEstimator, RULES, estimator, fuse, rule};
use candle_core::Tensor;
use faithful_core::{Convergence, Family, LayerId, MethodInfo, Objective, Resolution, Result, Score};
use std::sync::LazyLock;

/// A named way to a map.
#[derive(Clone, Copy, Debug)]
pub struct Method {
    /// What one knows of it without running it.
    pub info: MethodInfo,
    /// How it comes to its map.
    pub kind: Kind,
}

/// How a method comes to its map.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// A rule on an estimator of the gradient, which [`CamParameters::estimator`] may replace.
    Rule(&'static CamRule, &'static GradientEstimator),
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
}

/// What a method found.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// The raw map `(N, h, w)`, in no particular range; the methods' table says where it lives and if it is signed.
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
        draws: !estimator.single,
    };
    Some(Method { info, kind: Kind::Rule(rule, estimator) })
}

/// The method called `name`.
///
/// # Errors
/// [`faithful_core::Error::UnknownName`] with suggestions.
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
    all.pop().ok_or_else(|| faithful_core::Error::parameter("scores", "there is none"))
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
    if layers.is_empty() {
        return Err(faithful_core::Error::parameter("layers", "at least one target layer is needed"));
    }
    match method.kind {
        Kind::Rule(rule, own) => {
            let estimator = parameters.estimator.unwrap_or(own);
            by_row(estimator.single, input, &|input| {
                let request = Request {
                    objective: *objective,
                    scores,
                    input,
                    layers,
                    with_input: false,
                    sensitivity: rule.sensitivity,
                };
                let found = expectations(estimator, &parameters.gradient, &request)?;
                found.into_iter().map(|expectation| mapped(rule, estimator, expectation, parameters)).collect()
            })
        }
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

/// The rule's maps of every layer and path, paths averaged and layers fused.
fn mapped(
    rule: &CamRule,
    estimator: &GradientEstimator,
    expectation: Expectation,
    parameters: &CamParameters,
) -> Result<Explanation> {
    let count = expectation.paths.len();
    let mut maps: Vec<Tensor> = Vec::new();
    for path in &expectation.paths {
        for (layer, estimate) in path.layers.iter().enumerate() {
            let map = (rule.map)(estimate)?;
            match maps.get_mut(layer) {
                Some(sum) => *sum = (&*sum + map)?,
                None => maps.push(map),
            }
        }
    }
    let maps = maps.into_iter().map(|map| if count == 1 { Ok(map) } else { map / count as f64 });
    let maps = maps.collect::<candle_core::Result<Vec<_>>>()?;
    // A plain gradient has no baseline; there only rules that conserve the score promise anything.
    let promised = rule.conserves || !estimator.single;
    let completeness = expectation.completeness.into_iter().next().unwrap_or_default();
    Ok(Explanation {
        map: fuse(&maps, parameters.fusion)?,
        score: expectation.score,
        convergence: expectation.convergence.into_iter().collect(),
        completeness: if promised { completeness } else { Vec::new() },
    })
}
