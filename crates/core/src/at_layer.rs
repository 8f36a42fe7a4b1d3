use crate::candle_model::no_vjp_from;
use crate::{
    Attention, BackwardRule, Cotangents, Error, Grid, LayerId, Network, Probe, Propagation, Result, Tap,
    VectorJacobianProducts, delegate_network, evaluate_by_candle, vjp_by_candle,
};
use candle_core::Tensor;

/// A network seen from one of its layers on: its input is that layer's activation.
///
/// Every attribution with respect to the input becomes one with respect to the layer. What does not pass through the
/// layer (a residual branch around it) keeps the values that it has for the original input.
///
/// ```
/// # use candle_core::{DType, Device, Tensor};
/// # use faithful_core::{AtLayer, CandleModel, CandleNetwork, LayerId, LayerInfo, Network, Objective, Probe, Result, Target};
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
/// let at_layer = AtLayer::new(&square, square.layer("square")?, &input)?;
/// let activation = at_layer.activation()?;
/// let gradient = Objective::new(&at_layer, &Target::Output(0)).input_gradient(&activation)?;
/// assert_eq!(gradient.to_vec2::<f32>()?, [[3.0, 3.0]]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct AtLayer<N> {
    network: N,
    layer: LayerId,
    input: Tensor,
}

impl<N: Network> AtLayer<N> {
    /// `network` from `layer` on, for the explanation of one `input` `(1, …)`.
    pub fn new(network: N, layer: LayerId, input: &Tensor) -> Result<Self> {
        if input.rank() < 2 || input.dims()[0] != 1 {
            return Err(Error::shape("the input whose layer is explained", "one input (1, …)", input.dims()));
        }
        if network.layers().get(layer.0).is_none() {
            return Err(Error::UnknownLayer { name: format!("#{}", layer.0), suggestions: Vec::new() });
        }
        Ok(Self { network, layer, input: input.detach() })
    }

    /// The layer's activation `(1, …)` for the input: what is explained.
    pub fn activation(&self) -> Result<Tensor> {
        self.encode(&self.input)
    }

    /// The shape of so many rows of the network's input.
    fn network_input(&self, rows: usize) -> Vec<usize> {
        std::iter::once(rows).chain(self.input.dims()[1..].iter().copied()).collect()
    }

    /// `taps` as the network has them: the input of this one is its layer.
    fn network_taps(&self, taps: &[Tap]) -> Vec<Tap> {
        let inner = |tap: &Tap| if *tap == Tap::Input { Tap::Layer(self.layer) } else { *tap };
        taps.iter().map(inner).collect()
    }

    /// The layer's activation for other inputs `(N, …)`: baselines for this network.
    pub fn encode(&self, inputs: &Tensor) -> Result<Tensor> {
        Ok(self.network.activations(inputs, &[self.layer])?.remove(0))
    }
}

struct Replace<'a> {
    layer: LayerId,
    activation: &'a Tensor,
    probe: &'a mut dyn Probe,
}

impl Probe for Replace<'_> {
    fn visit(&mut self, layer: LayerId, activation: Tensor) -> Result<Tensor> {
        if layer != self.layer {
            return self.probe.visit(layer, activation);
        }
        if activation.shape() != self.activation.shape() {
            let expected = format!("{:?}, the layer's own", activation.dims());
            return Err(Error::shape("the layer's activation", expected, self.activation.dims()));
        }
        self.probe.visit(layer, self.activation.clone())
    }
}

impl<N: Network> Network for AtLayer<N> {
    delegate_network!(self => self.network; layers, dtype, device, announce);

    fn forward(&self, activation: &Tensor, probe: &mut dyn Probe) -> Result<Tensor> {
        let input = self.input.broadcast_as(self.network_input(activation.dim(0)?))?.contiguous()?;
        self.network.forward(&input, &mut Replace { layer: self.layer, activation, probe })
    }

    /// The layer's own size, for the network's usual input.
    fn input_shape(&self) -> Option<&[usize]> {
        Some(&self.network.layers()[self.layer.0].shape)
    }

    /// Not known: the input is the layer's own activation.
    fn grid(&self, _: LayerId) -> Option<Grid> {
        None
    }

    fn evaluate(&self, activation: &Tensor, layers: &[LayerId]) -> Result<(Tensor, Vec<Tensor>)> {
        if layers.is_empty()
            && let Some(output) = self.network.resume(self.layer, activation)
        {
            return Ok((output?, Vec::new()));
        }
        evaluate_by_candle(self, activation, layers)
    }

    /// What is alike in activations says nothing of the network's input, which is what its own way goes by.
    fn evaluate_similar(&self, activation: &Tensor) -> Result<Tensor> {
        Ok(self.evaluate(activation, &[])?.0)
    }

    fn activations(&self, activation: &Tensor, layers: &[LayerId]) -> Result<Vec<Tensor>> {
        Ok(self.evaluate(activation, layers)?.1)
    }

    fn resume(&self, layer: LayerId, activation: &Tensor) -> Option<Result<Tensor>> {
        if layer < self.layer { None } else { self.network.resume(layer, activation) }
    }

    /// Those behind the layer: what lies before it is in the activation.
    fn biases(&self) -> Result<Vec<(LayerId, Tensor)>> {
        let biases = self.network.biases()?;
        Ok(biases.into_iter().filter(|(layer, _)| *layer > self.layer).collect())
    }

    /// Those behind the layer.
    fn attentions(&self) -> Result<Vec<Attention>> {
        let attentions = self.network.attentions()?;
        Ok(attentions.into_iter().filter(|attention| attention.probabilities > self.layer).collect())
    }

    fn vjp(
        &self,
        activation: &Tensor,
        taps: &[Tap],
        cotangents: &mut Cotangents<'_>,
    ) -> Result<VectorJacobianProducts> {
        let own = self.network_taps(taps);
        if self.network.can_vjp_from(self.layer, &own) {
            self.network.vjp_from(self.layer, activation, &own, cotangents)
        } else {
            vjp_by_candle(self, activation, taps, cotangents)
        }
    }

    fn can_vjp_from(&self, layer: LayerId, taps: &[Tap]) -> bool {
        layer >= self.layer && self.network.can_vjp_from(layer, &self.network_taps(taps))
    }

    fn vjp_from(
        &self,
        layer: LayerId,
        activation: &Tensor,
        taps: &[Tap],
        cotangents: &mut Cotangents<'_>,
    ) -> Result<VectorJacobianProducts> {
        if layer < self.layer {
            return Err(no_vjp_from(layer, taps));
        }
        self.network.vjp_from(layer, activation, &self.network_taps(taps), cotangents)
    }

    /// That of the whole network, which is what runs where it cannot start at the layer.
    fn bytes_of_pass(&self, activation: &[usize], taps: &[Tap], gradients: usize) -> Option<u64> {
        let rows = *activation.first()?;
        self.network.bytes_of_pass(&self.network_input(rows), &self.network_taps(taps), gradients)
    }

    fn with_backward_rule(&self, rule: BackwardRule) -> Result<Box<dyn Network + '_>> {
        let network = self.network.with_backward_rule(rule)?;
        Ok(Box::new(AtLayer { network, layer: self.layer, input: self.input.clone() }))
    }

    /// Only where all ways lead through the layer: elsewhere what goes around it would be carried back as a gradient.
    fn with_propagation(&self, rule: Propagation) -> Result<Box<dyn Network + '_>> {
        let own = Tap::Layer(self.layer);
        let rule = if rule == Propagation::Rescale(Tap::Input) { Propagation::Rescale(own) } else { rule };
        let network = self.network.with_propagation(rule)?;
        if !network.can_vjp_from(self.layer, &[own]) {
            let reason = format!("{rule:?} from layer #{} on: other ways lead around it", self.layer.0);
            return Err(Error::Unsupported(vec![reason]));
        }
        Ok(Box::new(AtLayer { network, layer: self.layer, input: self.input.clone() }))
    }
}
