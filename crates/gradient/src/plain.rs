use crate::sampled::gradients;
use crate::{Channels, reduce_channels};
use candle_core::Tensor;
use faithful_core::{BackwardRule, Objective, Result};

/// The gradient `w = dS/dx` at the input (Simonyan et al. 2013; thesis, Eq. 10-11).
///
/// `(N, …)` to the same shape, signed, in score per unit of input.
pub fn gradient(objective: &Objective, input: &Tensor) -> Result<Tensor> {
    gradients(objective, input)
}

/// Saliency: the largest magnitude of the gradient over the channels, `M_ij = max_k |w_ijk|` (Simonyan et al. 2013;
/// thesis, Eq. 12).
///
/// `(N, C, …)` to `(N, …)`, at least 0.
///
/// ```
/// # use candle_core::{Device, Tensor};
/// # use faithful_core::{CandleModel, CandleNetwork, LayerInfo, Objective, Probe, Result, Target};
/// # use faithful_gradient::saliency;
/// struct Cubes;
/// impl CandleModel for Cubes {
///     fn layers(&self) -> &[LayerInfo] { &[] }
///     fn forward(&self, input: &Tensor, _: &mut dyn Probe) -> Result<Tensor> {
///         Ok(input.powf(3.0)?.flatten_from(1)?.sum_keepdim(1)?)
///     }
/// }
/// # fn main() -> Result<()> {
/// let input = Tensor::new(&[[[1f32, 2.0]], [[-3.0, 0.0]]], &Device::Cpu)?.unsqueeze(0)?;
/// let map = saliency(&Objective::new(&CandleNetwork(Cubes), &Target::Output(0)), &input)?;
/// assert_eq!(map.to_vec3::<f32>()?, [[[27.0, 12.0]]]);
/// # Ok(())
/// # }
/// ```
pub fn saliency(objective: &Objective, input: &Tensor) -> Result<Tensor> {
    reduce_channels(&gradient(objective, input)?, Channels::LargestMagnitude)
}

/// Gradient times input, `x * dS/dx` (Shrikumar et al. 2016): the attribution of a network that is linear between
/// zero and the input.
///
/// `(N, …)` to the same shape, signed, in units of the score.
pub fn gradient_times_input(objective: &Objective, input: &Tensor) -> Result<Tensor> {
    Ok((gradient(objective, input)? * input)?)
}

/// `DeconvNet`: the score carried back through the transposed filters, max pooling's switches and a rectifier on the
/// signal itself, `R_n = max(R_(n+1), 0)` (Zeiler and Fergus 2014; thesis, Eq. 20-22 and 6).
///
/// `(N, …)` to the same shape. To see what a feature map of an inner layer has found, as the paper does, explain a
/// channel of [`UpToLayer`](faithful_core::UpToLayer). On networks with clipped or smooth activations the rectifier
/// stands at the same places.
///
/// # Errors
/// [`Error::Unsupported`](faithful_core::Error::Unsupported) where the network cannot change its backward rule.
pub fn deconvnet(objective: &Objective, input: &Tensor) -> Result<Tensor> {
    with_rule(objective, input, BackwardRule::Deconvnet)
}

/// Guided backpropagation: the gradient, except that an activation lets only positive signals through,
/// `R_n = f'(x_n) * max(R_(n+1), 0)` (Springenberg et al. 2015; thesis, Eq. 23).
///
/// `(N, …)` to the same shape. It works on every activation of the network, also clipped and smooth ones; Captum 0.9
/// and pytorch-grad-cam 1.5 give the plain gradient on `ReLU6` networks without a word.
///
/// # Errors
/// [`Error::Unsupported`](faithful_core::Error::Unsupported) where the network cannot change its backward rule.
pub fn guided_backpropagation(objective: &Objective, input: &Tensor) -> Result<Tensor> {
    with_rule(objective, input, BackwardRule::Guided)
}

fn with_rule(objective: &Objective, input: &Tensor, rule: BackwardRule) -> Result<Tensor> {
    let network = objective.network().with_backward_rule(rule)?;
    gradients(&Objective::new(&*network, objective.score()).with_batch(objective.batch()), input)
}
