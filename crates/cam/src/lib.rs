//! Class activation maps: every rule on every gradient.
//!
//! A map is a [`CamRule`] (how channels are weighted: Grad-CAM, Grad-CAM++, `XGrad-CAM`, `LayerCAM` …) on a
//! [`GradientEstimator`] (where the gradient is taken: at the input, in its neighbourhood, along paths from
//! baselines). [`RULES`] and [`ESTIMATORS`] list them, [`METHODS`] the combinations that have a name. A method is a
//! function of a [`faithful_core::Objective`]; baselines come from `faithful-baseline`.
//!
//! ```
//! use candle_core::{Device, Tensor};
//! use faithful_cam::{CamParameters, estimator, explain, method};
//! use faithful_core::{
//!     CandleModel, CandleNetwork, LayerId, LayerInfo, Objective, Probe, Result, Target,
//! };
//!
//! struct Tiny { kernel: Tensor, head: Tensor, layers: Vec<LayerInfo> }
//! impl CandleModel for Tiny {
//!     fn layers(&self) -> &[LayerInfo] { &self.layers }
//!     fn forward(&self, input: &Tensor, probe: &mut dyn Probe) -> Result<Tensor> {
//!         let features = probe.visit(LayerId(0), input.conv2d(&self.kernel, 1, 1, 1, 1)?.relu()?)?;
//!         Ok(features.mean((2, 3))?.matmul(&self.head)?)
//!     }
//! }
//! # fn main() -> Result<()> {
//! # let cpu = Device::Cpu;
//! let tiny = CandleNetwork(Tiny {
//!     kernel: Tensor::randn(0f32, 1., (4, 3, 3, 3), &cpu)?,
//!     head: Tensor::randn(0f32, 1., (4, 2), &cpu)?,
//!     layers: vec![LayerInfo { name: "features".into(), kind: "relu".into(), shape: vec![4, 8, 8] }],
//! });
//! let photo = Tensor::randn(0f32, 1., (1, 3, 8, 8), &cpu)?;
//! let objective = Objective::new(&tiny, &Target::Output(1));
//! // Expected Grad-CAM, and LayerCAM on the same expected gradient.
//! let found = explain(method("expected-grad-cam")?, &objective, &photo, &[LayerId(0)], &CamParameters::default())?;
//! assert_eq!(found.map.dims(), [1, 8, 8]);
//! assert_eq!(found.convergence[0].draws, 50);
//! let expected = CamParameters { estimator: Some(estimator("expected")?), ..CamParameters::default() };
//! explain(method("layer-cam")?, &objective, &photo, &[LayerId(0)], &expected)?;
//! # Ok(())
//! # }
//! ```

mod accumulation;
mod augment;
mod concepts;
mod definition;
mod estimator;
mod expectation;
mod full_grad;
mod fusion;
mod guided;
mod hyper;
mod layout;
mod method;
mod perturbation;
mod rule;
mod rules;
mod stages;

pub use concepts::{Concepts, concepts};
pub use definition::Definition;
pub use estimator::{BaselineUse, ESTIMATORS, EstimatorParameters, GradientEstimator, Span, estimator};
pub use expectation::{Completeness, Difference};
pub use faithful_baseline::BaselineCache;
pub use fusion::{Fusion, fuse};
pub use hyper::formula as hyper_formula;
pub use hyper::{
    BaseMap, Calibration, Combination, DecompositionParameters, DependencyParameters, Evidence, Filter, FrequencyMap,
    Fused, FusionParameters, HyperParameters, HyperParts, Level, Mixture, Quality, Refined, Refinement, SOFT_STEEPNESS,
    Stage, StageParameters, StagePlan, Supermap, Weighting, decompose, decomposition_layers, fuse_parts, hyper_parts,
    plan_stages, soft_scale,
};
pub use layout::Layout;
pub use method::{CamParameters, Explanation, METHODS, Method, explain, explain_scores, method};
pub use perturbation::{PerturbationParameters, windows_of_places};
pub use rule::{CamRule, Estimate};
pub use rules::{RULES, rule};
pub use stages::stage_layers;
