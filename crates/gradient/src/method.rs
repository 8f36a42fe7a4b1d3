use crate::{
    Attribution, BlurPath, Distribution, ExpectedGradients, GuidedPath, Integration, Quadrature, SmoothGrad, Statistic,
    Straight, attention_relevance, deconvnet, deep_lift, distribution_attribution, expected_gradients, gradient,
    gradient_times_input, guided_backpropagation, guided_integrated_gradients, important_direction,
    integrated_gradients, libra_grad, path_attribution, relevance, saliency, smooth_grad,
};
use candle_core::Tensor;
use faithful_baseline::{AlphaSampler, BaselineSampler, Constant, Gaussian, Spread};
use faithful_core::{Composite, Family, MethodInfo, Objective, Resolution, Result, ScoreKind, Stop, Stream};
use std::num::NonZeroUsize;
use std::sync::Arc;

/// What a method of the table may be told. Each reads what its entry names in [`Method::reads`].
#[derive(Clone)]
pub struct GradientParameters<'a> {
    /// How many gradients at most: draws or steps. Nothing for the method's own default.
    pub draws: Option<NonZeroUsize>,
    /// When there were enough of them.
    pub stop: Stop,
    /// Where baselines come from; zero. Methods with a single baseline take draw 0.
    pub sampler: Arc<dyn BaselineSampler + 'a>,
    /// Where between baseline and input expected gradients looks; uniform.
    pub alphas: AlphaSampler,
    /// The width of the noise; 15% of the input's range.
    pub spread: Spread,
    /// The rule that integrates along a path.
    pub quadrature: Quadrature,
    /// The width in pixels with which the blur path begins; 50, its authors' value.
    pub sigma: f64,
    /// The share of values that the guided path moves at a time; 0.25, its authors' value.
    pub fraction: f64,
    /// How far a value of the guided path may be ahead of or behind the straight line; 0.02, its authors' value.
    pub max_distance: f64,
    /// The image's random stream.
    pub stream: Stream,
}

impl Default for GradientParameters<'_> {
    fn default() -> Self {
        Self {
            draws: None,
            stop: Stop::default(),
            sampler: Arc::new(Constant::zero()),
            alphas: AlphaSampler::default(),
            spread: Spread::default(),
            quadrature: Quadrature::default(),
            sigma: 50.0,
            fraction: GuidedPath::default().fraction,
            max_distance: GuidedPath::default().max_distance,
            stream: Stream::new(0, ""),
        }
    }
}

impl std::fmt::Debug for GradientParameters<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("GradientParameters")
            .field("draws", &self.draws)
            .field("stop", &self.stop)
            .field("alphas", &self.alphas)
            .field("spread", &self.spread)
            .field("quadrature", &self.quadrature)
            .field("sigma", &self.sigma)
            .field("fraction", &self.fraction)
            .field("max_distance", &self.max_distance)
            .finish_non_exhaustive()
    }
}

impl GradientParameters<'_> {
    fn draws_or(&self, default: NonZeroUsize) -> NonZeroUsize {
        self.draws.unwrap_or(default)
    }

    fn smooth(&self, objective: &Objective, input: &Tensor, statistic: Statistic) -> Result<Attribution> {
        let draws = self.draws_or(SmoothGrad::default().draws);
        let noise = Gaussian { spread: self.spread };
        smooth_grad(objective, input, &noise, &self.stream, &SmoothGrad { draws, statistic, stop: self.stop })
    }

    fn integration(&self) -> Integration {
        let steps = self.draws_or(Integration::default().steps);
        Integration { steps, quadrature: self.quadrature, stop: self.stop }
    }

    fn expected(&self, objective: &Objective, input: &Tensor, sampler: &dyn BaselineSampler) -> Result<Attribution> {
        let default = ExpectedGradients::default();
        let draws = self.draws_or(default.draws);
        let parameters = ExpectedGradients { draws, alphas: self.alphas, stop: self.stop, ..default };
        expected_gradients(objective, input, sampler, &self.stream, &parameters)
    }
}

/// A field of [`GradientParameters`], as a method's registry entry says that it reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Parameter {
    /// [`GradientParameters::draws`].
    Draws,
    /// [`GradientParameters::stop`].
    Stop,
    /// One baseline of [`GradientParameters::sampler`]: draw 0.
    Baseline,
    /// As many baselines of [`GradientParameters::sampler`] as there are draws.
    Baselines,
    /// [`GradientParameters::alphas`].
    Alphas,
    /// [`GradientParameters::spread`].
    Spread,
    /// [`GradientParameters::quadrature`].
    Quadrature,
    /// [`GradientParameters::sigma`].
    Sigma,
    /// [`GradientParameters::fraction`].
    Fraction,
    /// [`GradientParameters::max_distance`].
    MaxDistance,
    /// [`GradientParameters::stream`].
    Stream,
}

/// A named attribution with respect to the input.
#[derive(Clone, Copy)]
pub struct Method {
    /// What one knows of it without running it.
    pub info: MethodInfo,
    /// What of [`GradientParameters`] it reads; the rest does nothing.
    pub reads: &'static [Parameter],
    /// Attributes the score of one input `(1, …)`.
    pub attribute: fn(&Objective, &Tensor, &GradientParameters<'_>) -> Result<Attribution>,
}

impl std::fmt::Debug for Method {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Method").field("info", &self.info).field("reads", &self.reads).finish_non_exhaustive()
    }
}

impl Method {
    /// Whether it reads `parameter`.
    pub fn reads(&self, parameter: Parameter) -> bool {
        self.reads.contains(&parameter)
    }
}

/// The method called `name`.
///
/// # Errors
/// [`Error::UnknownName`](faithful_core::Error::UnknownName) with suggestions.
///
/// ```
/// use faithful_gradient::Parameter;
/// assert!(faithful_gradient::method("expected-gradients").unwrap().reads(Parameter::Baselines));
/// assert!(faithful_gradient::method("salience").unwrap_err().to_string().contains("`saliency`"));
/// ```
pub fn method(name: &str) -> Result<&'static Method> {
    MethodInfo::find(name, METHODS, |method| &method.info)
}

const fn info(name: &'static str, summary: &'static str, source: &'static str) -> MethodInfo {
    MethodInfo {
        name,
        summary,
        source,
        family: Family::Gradient,
        resolution: Resolution::Input,
        class_agnostic: false,
        signed: true,
        score: ScoreKind::Logit,
        draws: false,
    }
}

const fn drawing(info: MethodInfo) -> MethodInfo {
    MethodInfo { draws: true, ..info }
}

const fn unsigned(info: MethodInfo) -> MethodInfo {
    MethodInfo { signed: false, ..info }
}

const NOISE: &[Parameter] = &[Parameter::Draws, Parameter::Stop, Parameter::Spread, Parameter::Stream];

/// Every attribution with respect to the input.
pub const METHODS: &[Method] = &[
    Method {
        info: info("gradient", "the gradient of the score at the input", "Simonyan et al. 2013; thesis, Eq. 10-11"),
        reads: &[],
        attribute: |objective, input, _| Attribution::new(gradient(objective, single(input)?)?),
    },
    Method {
        info: unsigned(info(
            "saliency",
            "the largest magnitude of the gradient over the channels",
            "Simonyan et al. 2013; thesis, Eq. 12",
        )),
        reads: &[],
        attribute: |objective, input, _| Attribution::new(saliency(objective, single(input)?)?),
    },
    Method {
        info: info("gradient-times-input", "the gradient times the input", "Shrikumar et al. 2016"),
        reads: &[],
        attribute: |objective, input, _| Attribution::new(gradient_times_input(objective, single(input)?)?),
    },
    Method {
        info: info(
            "deconvnet",
            "the score carried back through transposed filters, pooling switches and rectifiers",
            "Zeiler and Fergus 2014; thesis, 3.1.1",
        ),
        reads: &[],
        attribute: |objective, input, _| Attribution::new(deconvnet(objective, single(input)?)?),
    },
    Method {
        info: info(
            "guided-backpropagation",
            "the gradient along positive signals only",
            "Springenberg et al. 2015; thesis, Eq. 20-23",
        ),
        reads: &[],
        attribute: |objective, input, _| Attribution::new(guided_backpropagation(objective, single(input)?)?),
    },
    Method {
        info: info(
            "lrp",
            "the score divided among the input's values: gamma and box rules in convolutions, the epsilon rule behind",
            "Bach et al. 2015; Montavon et al. 2019; Zennit's EpsilonGammaBox",
        ),
        reads: &[],
        attribute: |objective, input, _| {
            Attribution::new(relevance(objective, single(input)?, Composite::EpsilonGammaBox)?)
        },
    },
    Method {
        info: info(
            "lrp-epsilon-plus",
            "the score divided among the input's values: the z+ rule in convolutions, the epsilon rule behind",
            "Bach et al. 2015; Montavon et al. 2017; Zennit's EpsilonPlus",
        ),
        reads: &[],
        attribute: |objective, input, _| {
            Attribution::new(relevance(objective, single(input)?, Composite::EpsilonPlus)?)
        },
    },
    Method {
        info: info(
            "lrp-epsilon",
            "the score divided among the input's values by the epsilon rule",
            "Bach et al. 2015, Eq. 58",
        ),
        reads: &[],
        attribute: |objective, input, _| Attribution::new(relevance(objective, single(input)?, Composite::Epsilon)?),
    },
    Method {
        info: info(
            "attn-lrp",
            "the score divided among the input's values, with rules for attention and normalisations",
            "Achtibat et al. 2024 (arXiv 2402.05602)",
        ),
        reads: &[],
        attribute: |objective, input, _| Attribution::new(attention_relevance(objective, single(input)?)?),
    },
    Method {
        info: info(
            "libra-grad",
            "the gradient times the input, with attention weights, gates and normalisations taken as given",
            "Mehri et al. 2025 (arXiv 2411.16760), Libra input times gradient",
        ),
        reads: &[],
        attribute: |objective, input, _| Attribution::new(libra_grad(objective, single(input)?)?),
    },
    Method {
        info: info(
            "deep-lift",
            "the input times the quotients of differences from a zero input, operation by operation",
            "Shrikumar et al. 2017, rescale rule",
        ),
        reads: &[],
        attribute: |objective, input, _| Attribution::new(deep_lift(objective, single(input)?)?),
    },
    Method {
        info: drawing(info("smooth-grad", "the mean gradient at noisy copies of the input", "Smilkov et al. 2017")),
        reads: NOISE,
        attribute: |objective, input, parameters| parameters.smooth(objective, input, Statistic::Mean),
    },
    Method {
        info: unsigned(drawing(info(
            "smooth-grad-squared",
            "the mean squared gradient at noisy copies of the input",
            "Hooker et al. 2019",
        ))),
        reads: NOISE,
        attribute: |objective, input, parameters| parameters.smooth(objective, input, Statistic::Square),
    },
    Method {
        info: unsigned(drawing(info(
            "var-grad",
            "the variance of the gradient over noisy copies of the input",
            "Adebayo et al. 2018",
        ))),
        reads: NOISE,
        attribute: |objective, input, parameters| parameters.smooth(objective, input, Statistic::Variance),
    },
    Method {
        info: drawing(info(
            "smooth-grad-times-input",
            "the mean of noisy copies of the input times the gradient there",
            "thesis, Eq. 41",
        )),
        reads: NOISE,
        attribute: |objective, input, parameters| parameters.smooth(objective, input, Statistic::TimesNoisyInput),
    },
    Method {
        info: drawing(info(
            "integrated-gradients",
            "the gradient integrated along the straight line from one baseline",
            "Sundararajan et al. 2017; thesis, Eq. 32-35",
        )),
        reads: &[Parameter::Draws, Parameter::Stop, Parameter::Baseline, Parameter::Quadrature, Parameter::Stream],
        attribute: |objective, input, parameters| {
            let baseline = parameters.sampler.sample(input, &parameters.stream, 0..1)?;
            integrated_gradients(objective, input, &baseline, &parameters.integration())
        },
    },
    Method {
        info: drawing(info(
            "expected-gradients",
            "the expectation of difference times gradient over baselines and places on the way",
            "Erion et al. 2021; thesis, Eq. 38, 42-43",
        )),
        reads: &[Parameter::Draws, Parameter::Stop, Parameter::Baselines, Parameter::Alphas, Parameter::Stream],
        attribute: |objective, input, parameters| parameters.expected(objective, input, &*parameters.sampler),
    },
    Method {
        info: drawing(info(
            "gaussian-attribution",
            "expected gradients against noisy copies of the input",
            "thesis, Eq. 38-39",
        )),
        reads: &[Parameter::Draws, Parameter::Stop, Parameter::Spread, Parameter::Alphas, Parameter::Stream],
        attribute: |objective, input, parameters| {
            parameters.expected(objective, input, &Gaussian { spread: parameters.spread })
        },
    },
    Method {
        info: drawing(info(
            "distribution-attribution",
            "the mean over baselines of integrated gradients, 16 steps each",
            "thesis, Eq. 36-37",
        )),
        reads: &[Parameter::Draws, Parameter::Stop, Parameter::Baselines, Parameter::Quadrature, Parameter::Stream],
        attribute: |objective, input, parameters| {
            let default = Distribution::default();
            let draws = parameters.draws_or(default.draws);
            let integration = Integration { quadrature: parameters.quadrature, ..default.integration };
            let distribution = Distribution { draws, integration, stop: parameters.stop };
            distribution_attribution(objective, input, &*parameters.sampler, &parameters.stream, &distribution)
        },
    },
    Method {
        info: drawing(info(
            "blur-integrated-gradients",
            "the gradient integrated while a blur lifts from the input",
            "Xu et al. 2020; thesis, Eq. 44",
        )),
        reads: &[Parameter::Draws, Parameter::Stop, Parameter::Quadrature, Parameter::Sigma],
        attribute: |objective, input, parameters| {
            path_attribution(objective, &BlurPath::new(input, parameters.sigma)?, &parameters.integration())
        },
    },
    Method {
        info: drawing(info(
            "guided-integrated-gradients",
            "the gradient integrated along a path that moves values of small gradient first",
            "Kapishnikov et al. 2021; thesis, Eq. 44",
        )),
        reads: &[Parameter::Draws, Parameter::Baseline, Parameter::Fraction, Parameter::MaxDistance, Parameter::Stream],
        attribute: |objective, input, parameters| {
            let baseline = parameters.sampler.sample(input, &parameters.stream, 0..1)?;
            let GradientParameters { fraction, max_distance, .. } = *parameters;
            let steps = parameters.draws_or(GuidedPath::default().steps);
            let guided = GuidedPath { steps, fraction, max_distance };
            guided_integrated_gradients(objective, input, &baseline, &guided)
        },
    },
    Method {
        info: drawing(info(
            "idgi",
            "each step's change of the score on the way from one baseline, by the squares of the gradient there",
            "Yang et al. 2023, algorithm 1, on integrated gradients",
        )),
        reads: &[Parameter::Draws, Parameter::Baseline, Parameter::Stream],
        attribute: |objective, input, parameters| {
            let baseline = parameters.sampler.sample(input, &parameters.stream, 0..1)?;
            let steps = parameters.draws_or(Integration::default().steps);
            important_direction(objective, &Straight::new(&baseline, input)?, steps)
        },
    },
    Method {
        info: drawing(info(
            "blur-idgi",
            "each step's change of the score while a blur lifts, by the squares of the gradient there",
            "Yang et al. 2023, algorithm 1, on blur integrated gradients",
        )),
        reads: &[Parameter::Draws, Parameter::Sigma],
        attribute: |objective, input, parameters| {
            let steps = parameters.draws_or(Integration::default().steps);
            important_direction(objective, &BlurPath::new(input, parameters.sigma)?, steps)
        },
    },
];

/// The table's methods take one input, as the sampled ones must.
fn single(input: &Tensor) -> Result<&Tensor> {
    crate::sampled::single(input).map(|()| input)
}
