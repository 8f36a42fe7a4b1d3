//! Baselines and interpolation factors for path attributions: what an input is compared with, and where between the
//! two the gradient is taken.
//!
//! A [`BaselineSampler`] gives draw `s` of an image: [`Constant`], [`InputMean`], [`Uniform`], [`Gaussian`],
//! [`Blurred`], [`DataSet`], or a [`Mixture`] of them; [`Repeated`] holds one baseline for several draws. An
//! [`AlphaSampler`] gives the factor in `[0, 1]` that goes with it. Both are functions of the image's
//! [`Stream`](faithful_core::Stream) and the draw's number, so a draw is the same whatever the batch, the thread or
//! the shard. [`References`] keeps baselines and what the network gives for them. `faithful-gradient` and `faithful-cam` draw from here.
//!
//! Expected gradients by hand, on a candle model of one's own:
//!
//! ```
//! use candle_core::{Device, Tensor};
//! use faithful_baseline::{AlphaSampler, BaselineSampler, Constant, DataSet, Gaussian, Mixture, Spread};
//! use faithful_core::{
//!     CandleModel, CandleNetwork, LayerId, LayerInfo, Objective, Probe, Result, Stream, Target,
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
//!
//! # fn main() -> Result<()> {
//! let cpu = Device::Cpu;
//! let tiny = CandleNetwork(Tiny {
//!     kernel: Tensor::randn(0f32, 1., (4, 3, 3, 3), &cpu)?,
//!     head: Tensor::randn(0f32, 1., (4, 2), &cpu)?,
//!     layers: vec![LayerInfo { name: "features".into(), kind: "relu".into(), shape: vec![4, 8, 8] }],
//! });
//! let photo = Tensor::rand(-1f32, 1., (1, 3, 8, 8), &cpu)?;
//! let others = Tensor::rand(-1f32, 1., (20, 3, 8, 8), &cpu)?;
//! let sampler = Mixture::new(vec![
//!     (0.8, Box::new(DataSet::new(others)?)),
//!     (0.1, Box::new(Gaussian { spread: Spread::Relative(0.15) })),
//!     (0.1, Box::new(Constant::zero())),
//! ])?;
//! let stream = Stream::new(7, "heron.jpg");
//! let baselines = sampler.sample(&photo, &stream, 0..50)?;
//! // Draw 30 alone is the same as draw 30 among fifty.
//! let one = sampler.sample(&photo, &stream, 30..31)?;
//! let same = baselines.narrow(0, 30, 1)?;
//! assert_eq!(one.flatten_all()?.to_vec1::<f32>()?, same.flatten_all()?.to_vec1::<f32>()?);
//!
//! let alphas: Vec<f32> = AlphaSampler::Stratified.alphas(&stream, 0..50, 50).into_iter().map(|a| a as f32).collect();
//! let way = photo.broadcast_sub(&baselines)?;
//! let points = (&baselines + way.broadcast_mul(&Tensor::from_vec(alphas, (50, 1, 1, 1), &cpu)?)?)?;
//! let gradient = Objective::new(&tiny, &Target::Output(1)).input_gradient(&points)?;
//! assert_eq!((way * gradient)?.mean(0)?.dims(), [3, 8, 8]);
//! # Ok(())
//! # }
//! ```

mod alpha;
mod blur;
mod constant;
mod data_set;
mod mixture;
mod noise;
mod references;
mod sampler;

pub use alpha::AlphaSampler;
pub use blur::blur;
pub use constant::{Blurred, Constant, InputMean};
pub use data_set::{DataSet, Order};
pub use mixture::{Mixture, Repeated};
pub use noise::{Gaussian, Spread, Uniform, normal};
pub use references::{BaselineCache, Reference, References};
pub use sampler::{BaselineSampler, Origin};
