//! Gradient attribution with respect to the input: how much each value of an input contributed to a score.
//!
//! Every method is a free function of a [`faithful_core::Objective`]: [`gradient`], [`saliency`],
//! [`gradient_times_input`], [`deconvnet`], [`guided_backpropagation`], [`smooth_grad`], [`integrated_gradients`],
//! [`path_attribution`] along any [`Path`], [`guided_integrated_gradients`], [`expected_gradients`],
//! [`distribution_attribution`]; [`class_model`] dreams up a class. [`METHODS`] lists them by name. Baselines come
//! from `faithful-baseline`. [`attribute_at_layer`] is the layer-wise version of each: it wraps the network in
//! [`faithful_core::AtLayer`], which does the same for the functions. Class activation maps are in `faithful-cam`.
//!
//! ```
//! use candle_core::{Device, Tensor};
//! use faithful_baseline::DataSet;
//! use faithful_core::{
//!     CandleModel, CandleNetwork, LayerId, LayerInfo, Objective, Probe, Result, Stop, Stream, Target,
//! };
//! use faithful_gradient::{ExpectedGradients, Integration, expected_gradients, integrated_gradients};
//!
//! /// One's own candle model, with its layers shown to the probe.
//! struct Tiny { kernel: Tensor, head: Tensor, layers: Vec<LayerInfo> }
//! impl CandleModel for Tiny {
//!     fn layers(&self) -> &[LayerInfo] { &self.layers }
//!     fn forward(&self, input: &Tensor, probe: &mut dyn Probe) -> Result<Tensor> {
//!         let features = probe.visit(LayerId(0), input.conv2d(&self.kernel, 1, 1, 1, 1)?.relu()?)?;
//!         Ok(features.mean((2, 3))?.matmul(&self.head)?)
//!     }
//! }
//!
//! # fn main() -> Result<()> {
//! let cpu = Device::Cpu;
//! let tiny = CandleNetwork(Tiny {
//!     kernel: Tensor::randn(0f32, 1., (4, 3, 3, 3), &cpu)?,
//!     head: Tensor::randn(0f32, 1., (4, 2), &cpu)?,
//!     layers: vec![LayerInfo { name: "features".into(), kind: "relu".into(), shape: vec![4, 8, 8] }],
//! });
//! let photo = Tensor::randn(0f32, 1., (1, 3, 8, 8), &cpu)?;
//! let objective = Objective::new(&tiny, &Target::Margin { class: 1, against: 0 });
//!
//! let zero = photo.zeros_like()?;
//! let stop = Stop::Delta(0.01);
//! let integrated = integrated_gradients(&objective, &photo, &zero, &Integration { stop, ..Integration::default() })?;
//! assert_eq!(integrated.map.dims(), [1, 3, 8, 8]);
//! assert!(integrated.convergence.is_some_and(|convergence| convergence.draws <= 50));
//!
//! let others = DataSet::new(Tensor::randn(0f32, 1., (10, 3, 8, 8), &cpu)?)?;
//! let stream = Stream::new(7, "photo.jpg");
//! let expected = expected_gradients(&objective, &photo, &others, &stream, &ExpectedGradients::default())?;
//! let convergence = expected.convergence.expect("it was sampled");
//! println!("relative error {:?}; for 1%: {:?} draws", convergence.standard_error, convergence.draws_for(0.01));
//! # Ok(())
//! # }
//! ```

mod attribution;
mod class_model;
mod expected;
mod guided_path;
mod important;
mod layer;
mod method;
mod path;
mod plain;
mod quadrature;
mod relevance;
mod sampled;
mod smooth;

pub use attribution::{Attribution, Channels, Note, reduce_channels};
pub use class_model::{ClassImage, ClassModel, class_model};
pub use expected::{Distribution, ExpectedGradients, distribution_attribution, expected_gradients};
pub use guided_path::{GuidedPath, guided_integrated_gradients};
pub use important::important_direction;
pub use layer::attribute_at_layer;
pub use method::{GradientParameters, METHODS, Method, Parameter, method};
pub use path::{BlurPath, Integration, Path, Straight, integrated_gradients, path_attribution};
pub use plain::{deconvnet, gradient, gradient_times_input, guided_backpropagation, saliency};
pub use quadrature::Quadrature;
pub use relevance::{attention_relevance, deep_lift, libra_grad, relevance};
pub use smooth::{SmoothGrad, Statistic, smooth_grad};
