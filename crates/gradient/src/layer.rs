use crate::{Attribution, GradientParameters, Method};
use candle_core::Tensor;
use faithful_baseline::{BaselineSampler, Origin};
use faithful_core::{AtLayer, LayerId, Network, Objective, Result, Stream};
use std::ops::Range;
use std::sync::Arc;

/// The layer-wise version of any method of the table: how much each value of `layer`'s activation contributed.
///
/// The network is taken from `layer` on ([`AtLayer`]), and the activation of `input` `(1, …)` is what is explained;
/// baselines are drawn at the input and go through the network up to the layer. So is layer integrated gradients
/// defined by Captum. Noise and blur apply to the activation itself. The map has the activation's shape, `(1, C, …)`;
/// [`saliency`](crate::saliency) has no channels.
///
/// ```
/// # use candle_core::{DType, Device, Tensor};
/// # use faithful_core::{CandleModel, CandleNetwork, LayerId, LayerInfo, Network, Objective, Probe, Result, Target};
/// # use faithful_gradient::{GradientParameters, attribute_at_layer, method};
/// # struct Square(Vec<LayerInfo>);
/// # impl CandleModel for Square {
/// #     fn layers(&self) -> &[LayerInfo] { &self.0 }
/// #     fn forward(&self, input: &Tensor, probe: &mut dyn Probe) -> Result<Tensor> {
/// #         let square = probe.visit(LayerId(0), input.sqr()?)?;
/// #         Ok((square * 3.0)?.sum_keepdim(1)?)
/// #     }
/// # }
/// # fn main() -> Result<()> {
/// # let layer = LayerInfo { name: "square".into(), kind: "square".into(), shape: vec![2] };
/// # let square = CandleNetwork(Square(vec![layer]));
/// // `square` computes 3 (x0^2 + x1^2), and `x^2` is its layer of that name.
/// let input = Tensor::new(&[[1f32, 2.0]], &Device::Cpu)?;
/// let objective = Objective::new(&square, &Target::Output(0));
/// let integrated = method("integrated-gradients")?;
/// let layer = square.layer("square")?;
/// let attribution = attribute_at_layer(integrated, &objective, &input, layer, &GradientParameters::default())?;
/// let shares = attribution.map.to_vec2::<f32>()?;
/// assert!((shares[0][0] - 3.0).abs() < 1e-4 && (shares[0][1] - 12.0).abs() < 1e-4);
/// # Ok(())
/// # }
/// ```
pub fn attribute_at_layer(
    method: &Method,
    objective: &Objective,
    input: &Tensor,
    layer: LayerId,
    parameters: &GradientParameters<'_>,
) -> Result<Attribution> {
    let network = AtLayer::new(objective.network(), layer, input)?;
    let activation = network.activation()?;
    let sampler = Encoded { sampler: parameters.sampler.clone(), network: &network, input };
    let parameters = GradientParameters { sampler: Arc::new(sampler), ..parameters.clone() };
    let objective = Objective::new(&network, objective.score()).with_batch(objective.batch());
    (method.attribute)(&objective, &activation, &parameters)
}

/// The activations of a layer for baselines that are drawn at the network's input.
struct Encoded<'a, S> {
    sampler: S,
    network: &'a AtLayer<&'a dyn Network>,
    input: &'a Tensor,
}

impl<S: BaselineSampler> BaselineSampler for Encoded<'_, S> {
    fn sample(&self, _: &Tensor, stream: &Stream, draws: Range<usize>) -> Result<Tensor> {
        self.network.encode(&self.sampler.sample(self.input, stream, draws)?)
    }

    fn origins(&self, stream: &Stream, draws: Range<usize>) -> Vec<Origin> {
        self.sampler.origins(stream, draws)
    }
}
