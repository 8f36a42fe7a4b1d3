use crate::CamRule;
use crate::rule::{Estimate, sum_places, weigh};
use crate::rules::{self, RULES, by_sum, powers, relative_activation};
use candle_core::Tensor;
use faithful_core::{Error, LayerTrace, Result, value_named};

/// Whose definition a method follows, where a library that people know differs from the paper.
///
/// What differs stands in the documentation's definition table. Only raw maps are reproduced: none of the peers'
/// rescaling for display, which for pytorch-grad-cam and `TorchCAM` is part of every map.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Definition {
    /// The paper's formula; the default.
    #[default]
    Paper,
    /// `TorchCAM` 0.5.
    TorchCam,
    /// pytorch-grad-cam 1.5.
    PytorchGradCam,
    /// The code of the authors of Poly-CAM.
    PolyCam,
    /// Expected Grad-CAM++ with the weights of Grad-CAM++'s own paper (thesis, Eq. 58) instead of the thesis's Eq. 59: the
    /// third power of the gradient stands outside of the sum of activations.
    Equation58,
}

impl Definition {
    /// Every definition by the name under which it is asked for.
    pub const NAMES: &'static [(&'static str, Self)] = &[
        ("paper", Self::Paper),
        ("torchcam", Self::TorchCam),
        ("pytorch-grad-cam", Self::PytorchGradCam),
        ("polycam", Self::PolyCam),
        ("eq58", Self::Equation58),
    ];

    /// The definition called `name`.
    ///
    /// # Errors
    /// [`Error::UnknownName`] with suggestions.
    pub fn named(name: &str) -> Result<Self> {
        value_named("definition", name, Self::NAMES)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, definition)| *definition == self).map_or("paper", |(name, _)| name)
    }

    /// The methods that this definition covers; all of them for [`Definition::Paper`].
    pub fn covers(self, method: &str) -> bool {
        let methods: &[&str] = match self {
            Self::Paper => return true,
            Self::TorchCam => &[
                "cam",
                "grad-cam",
                "grad-cam++",
                "smooth-grad-cam++",
                "xgrad-cam",
                "layer-cam",
                "score-cam",
                "ss-cam",
                "is-cam",
                "finer-cam",
                "refine-cam",
            ],
            Self::PytorchGradCam => &[
                "grad-cam",
                "grad-cam++",
                "xgrad-cam",
                "hires-cam",
                "layer-cam",
                "grad-cam-elementwise",
                "eigen-cam",
                "eigen-grad-cam",
                "full-grad",
                "score-cam",
                "ablation-cam",
                "shapley-cam",
                "finer-cam",
                "refine-cam",
            ],
            Self::PolyCam => &["poly-cam+", "poly-cam-", "poly-cam±"],
            Self::Equation58 => &["expected-grad-cam++"],
        };
        methods.contains(&method)
    }

    /// # Errors
    /// [`Error::Parameter`] where this definition does not have the method.
    pub(crate) fn check(self, method: &str) -> Result<()> {
        if self.covers(method) {
            return Ok(());
        }
        Err(Error::parameter("definition", format!("{} has no `{method}`; leave it out for the paper's", self.name())))
    }

    /// The peer's variant of a rule where it differs.
    pub(crate) fn rule(self, rule: &'static CamRule) -> &'static CamRule {
        let variants = PEER_RULES.iter();
        variants
            .filter(|(definition, variant)| *definition == self && variant.name == rule.name)
            .map(|(_, variant)| variant)
            .next()
            .unwrap_or(rule)
    }
}

/// The rules that differ from [`RULES`]; what is not here is the same.
const PEER_RULES: &[(Definition, CamRule)] = &[
    (Definition::TorchCam, variant("grad-cam++", squares, summed, Some(by_sum))),
    (Definition::TorchCam, variant("smooth-grad-cam++", powers, last_noisy, None)),
    (
        Definition::TorchCam,
        variant(
            "xgrad-cam",
            crate::rule::gradient,
            |estimate| Ok(relative_activation(estimate, 1e-8)?.sum(1)?.relu()?),
            Some(|estimate| relative_activation(estimate, 1e-8)),
        ),
    ),
    (Definition::PytorchGradCam, variant("grad-cam++", with_epsilon, summed, Some(by_sum))),
    (
        Definition::PytorchGradCam,
        variant(
            "xgrad-cam",
            crate::rule::gradient,
            |estimate| Ok(relative_activation(estimate, 1e-7)?.sum(1)?.relu()?),
            Some(|estimate| relative_activation(estimate, 1e-7)),
        ),
    ),
    (
        Definition::PytorchGradCam,
        variant("eigen-cam", crate::rule::gradient, |estimate| rules::centered_projection(&estimate.activation), None),
    ),
    (
        Definition::Equation58,
        variant("expected-grad-cam++", rules::plus_plus_weights_outside, RULES[0].map, RULES[0].weighted),
    ),
];

/// A rule of [`RULES`] with other formulas.
const fn variant(
    name: &'static str,
    sensitivity: fn(&LayerTrace) -> Result<Vec<Tensor>>,
    map: fn(&Estimate) -> Result<Tensor>,
    weighted: Option<fn(&Estimate) -> Result<Tensor>>,
) -> CamRule {
    CamRule { name, sensitivity, map, weighted, ..RULES[0] }
}

/// `w_k = sum_ij S_k,ij`; map `ReLU(sum_k w_k A_k)`.
fn summed(estimate: &Estimate) -> Result<Tensor> {
    Ok(by_sum(estimate)?.sum(1)?.relu()?)
}

/// `g² ReLU(g)`: `TorchCAM` divides a copy, so that its weights lack the denominator.
fn squares(trace: &LayerTrace) -> Result<Vec<Tensor>> {
    Ok(vec![(trace.gradient.sqr()? * trace.gradient.relu()?)?])
}

/// `g² / (2 g² + g³ sum A + 1e-6) ReLU(g)`.
fn with_epsilon(trace: &LayerTrace) -> Result<Vec<Tensor>> {
    let gradient = &trace.gradient;
    let square = gradient.sqr()?;
    let cube = (&square * gradient)?.broadcast_mul(&sum_places(&trace.activation)?)?;
    let denominator = (((&square * 2.0)? + cube)? + 1e-6)?;
    Ok(vec![((square / denominator)? * gradient.relu()?)?])
}

/// The average second derivative in the numerator; gradient and activation of the last noisy draw in the map. Its
/// denominator sums `g³ A` place by place, then over places.
fn last_noisy(estimate: &Estimate) -> Result<Tensor> {
    let [_, second, third] = estimate.sensitivities.as_slice() else {
        return Err(Error::parameter("sensitivities", "the gradient's first three powers are needed"));
    };
    let inner = sum_places(&(third * &estimate.activation)?)?;
    let denominator = ((second * 2.0)?.broadcast_add(&inner)? + 1e-8)?;
    let weights = sum_places(&((second / denominator)? * estimate.last.gradient.relu()?)?)?;
    Ok(weigh(&weights, &estimate.last.activation)?.relu()?)
}
