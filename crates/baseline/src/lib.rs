//! Baselines and interpolation factors for path attributions: what an input is compared with, and where between the
//! two the gradient is taken.
//!
//! A [`BaselineSampler`] gives draw `s` of an image: [`Constant`], [`InputMean`], [`Uniform`], [`Gaussian`],
//! [`Blurred`], [`DataSet`], or a [`Mixture`] of them; [`Repeated`] holds one baseline for several draws. An
//! [`AlphaSampler`] gives the factor in `[0, 1]` that goes with it. Both are functions of the image's
//! [`Stream`](faithful_core::Stream) and the draw's number, so a draw is the same whatever the batch, the thread or
//! the shard. `faithful-gradient` and `faithful-cam` draw from here.
//!
//! ```
//! use candle_core::{Device, Tensor};
//! use faithful_baseline::{AlphaSampler, BaselineSampler, Constant, DataSet, Gaussian, Mixture, Spread};
//! use faithful_core::Stream;
//!
//! # fn main() -> faithful_core::Result<()> {
//! let photo = Tensor::rand(-1f32, 1., (1, 3, 8, 8), &Device::Cpu)?;
//! let others = Tensor::rand(-1f32, 1., (20, 3, 8, 8), &Device::Cpu)?;
//! let sampler = Mixture::new(vec![
//!     (0.8, Box::new(DataSet::new(others)?)),
//!     (0.1, Box::new(Gaussian { spread: Spread::Relative(0.15) })),
//!     (0.1, Box::new(Constant::zero())),
//! ])?;
//! let stream = Stream::new(7, "heron.jpg");
//! let baselines = sampler.sample(&photo, &stream, 0..50)?;
//! assert_eq!(baselines.dims(), [50, 3, 8, 8]);
//! // Draw 30 alone is the same as draw 30 among fifty.
//! let one = sampler.sample(&photo, &stream, 30..31)?;
//! let same = baselines.narrow(0, 30, 1)?;
//! assert_eq!(one.flatten_all()?.to_vec1::<f32>()?, same.flatten_all()?.to_vec1::<f32>()?);
//! let alphas = AlphaSampler::Stratified.alphas(&stream, 0..50, 50);
//! assert!(alphas.iter().all(|alpha| (0. ..=1.).contains(alpha)));
//! # Ok(())
//! # }
//! ```

mod alpha;
mod constant;
mod data_set;
mod mixture;
mod noise;
mod sampler;

pub use alpha::AlphaSampler;
pub use constant::{Blurred, Constant, InputMean};
pub use data_set::{DataSet, Order};
pub use mixture::{Mixture, Repeated};
pub use noise::{Gaussian, Spread, Uniform, normal};
pub use sampler::{BaselineSampler, Origin};
