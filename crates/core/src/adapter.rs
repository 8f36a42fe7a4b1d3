use crate::{Error, LayerId, LayerInfo, Network, Probe, Propagation, PullBack, Result, Tap, pull_back_by_candle};
use candle_core::{DType, Device, Tensor};
use faithful_tensor::{BackwardRule, Reduction, reduce};
use std::sync::Arc;

/// A network is also what points to one.
macro_rules! forward_to_the_network {
    ($($pointer:ty),*) => {$(
        impl<N: Network + ?Sized> Network for $pointer {
            fn layers(&self) -> &[LayerInfo] {
                (**self).layers()
            }
            fn forward(&self, input: &Tensor, probe: &mut dyn Probe) -> Result<Tensor> {
                (**self).forward(input, probe)
            }
            fn dtype(&self) -> DType {
                (**self).dtype()
            }
            fn device(&self) -> Device {
                (**self).device()
            }
            fn input_shape(&self) -> Option<&[usize]> {
                (**self).input_shape()
            }
            fn evaluate(&self, input: &Tensor, layers: &[LayerId]) -> Result<(Tensor, Vec<Tensor>)> {
                (**self).evaluate(input, layers)
            }
            fn activations(&self, input: &Tensor, layers: &[LayerId]) -> Result<Vec<Tensor>> {
                (**self).activations(input, layers)
            }
            fn resume(&self, layer: LayerId, activation: &Tensor) -> Option<Result<Tensor>> {
                (**self).resume(layer, activation)
            }
            fn biases(&self) -> Result<Vec<(LayerId, Tensor)>> {
                (**self).biases()
            }
            fn expect(&self, evaluated: usize, pulled_back: usize) {
                (**self).expect(evaluated, pulled_back);
            }
            fn pull_back(
                &self,
                input: &Tensor,
                taps: &[Tap],
                cotangents: &mut dyn FnMut(&Tensor) -> Result<Vec<Tensor>>,
            ) -> Result<PullBack> {
                (**self).pull_back(input, taps, cotangents)
            }
            fn can_pull_back_from(&self, layer: LayerId, taps: &[Tap]) -> bool {
                (**self).can_pull_back_from(layer, taps)
            }
            fn pull_back_from(
                &self,
                layer: LayerId,
                activation: &Tensor,
                taps: &[Tap],
                cotangents: &mut dyn FnMut(&Tensor) -> Result<Vec<Tensor>>,
            ) -> Result<PullBack> {
                (**self).pull_back_from(layer, activation, taps, cotangents)
            }
            fn bytes_of_pass(&self, input: &[usize], taps: &[Tap], gradients: usize) -> Option<u64> {
                (**self).bytes_of_pass(input, taps, gradients)
            }
            fn with_backward_rule(&self, rule: BackwardRule) -> Result<Box<dyn Network + '_>> {
                (**self).with_backward_rule(rule)
            }
            fn with_propagation(&self, rule: Propagation) -> Result<Box<dyn Network + '_>> {
                (**self).with_propagation(rule)
            }
            fn layer(&self, name: &str) -> Result<LayerId> {
                (**self).layer(name)
            }
        }
    )*};
}

forward_to_the_network!(&N, Box<N>, Arc<N>);

/// A network seen from one of its layers on: its input is that layer's activation.
///
/// Every attribution with respect to the input becomes one with respect to the layer. What does not pass through the
/// layer (a residual branch around it) keeps the values that it has for the original input.
///
/// ```
/// # use candle_core::{DType, Device, Tensor};
/// # use faithful_core::{AtLayer, LayerId, LayerInfo, Network, Objective, Probe, Result, Target};
/// # struct Square(Vec<LayerInfo>);
/// # impl Network for Square {
/// #     fn layers(&self) -> &[LayerInfo] { &self.0 }
/// #     fn forward(&self, input: &Tensor, probe: &mut dyn Probe) -> Result<Tensor> {
/// #         let square = probe.visit(LayerId(0), input.sqr()?)?;
/// #         Ok((square * 3.0)?.sum_keepdim(1)?)
/// #     }
/// # }
/// # fn main() -> Result<()> {
/// # let square = Square(vec![LayerInfo { name: "square".into(), kind: "square".into(), shape: vec![2] }]);
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
    fn layers(&self) -> &[LayerInfo] {
        self.network.layers()
    }

    fn forward(&self, activation: &Tensor, probe: &mut dyn Probe) -> Result<Tensor> {
        let mut shape = self.input.dims().to_vec();
        shape[0] = activation.dim(0)?;
        let input = self.input.broadcast_as(shape)?.contiguous()?;
        self.network.forward(&input, &mut Replace { layer: self.layer, activation, probe })
    }

    fn evaluate(&self, activation: &Tensor, layers: &[LayerId]) -> Result<(Tensor, Vec<Tensor>)> {
        if layers.is_empty()
            && let Some(output) = self.network.resume(self.layer, activation)
        {
            return Ok((output?, Vec::new()));
        }
        let mut probe = crate::network::Keep::new(layers);
        let output = self.forward(&activation.detach(), &mut probe)?.detach();
        Ok((output, probe.finish(self)?))
    }

    fn pull_back(
        &self,
        activation: &Tensor,
        taps: &[Tap],
        cotangents: &mut dyn FnMut(&Tensor) -> Result<Vec<Tensor>>,
    ) -> Result<PullBack> {
        let inside: Vec<Tap> =
            taps.iter().map(|tap| if *tap == Tap::Input { Tap::Layer(self.layer) } else { *tap }).collect();
        if self.network.can_pull_back_from(self.layer, &inside) {
            return self.network.pull_back_from(self.layer, activation, &inside, cotangents);
        }
        pull_back_by_candle(self, activation, taps, cotangents)
    }

    fn dtype(&self) -> DType {
        self.network.dtype()
    }

    fn device(&self) -> Device {
        self.network.device()
    }

    fn input_shape(&self) -> Option<&[usize]> {
        Some(&self.network.layers()[self.layer.0].shape)
    }

    fn resume(&self, layer: LayerId, activation: &Tensor) -> Option<Result<Tensor>> {
        if layer < self.layer { None } else { self.network.resume(layer, activation) }
    }

    fn expect(&self, evaluated: usize, pulled_back: usize) {
        self.network.expect(evaluated, pulled_back);
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
        if !network.can_pull_back_from(self.layer, &[own]) {
            let reason = format!("{rule:?} from layer #{} on: other ways lead around it", self.layer.0);
            return Err(Error::Unsupported(vec![reason]));
        }
        Ok(Box::new(AtLayer { network, layer: self.layer, input: self.input.clone() }))
    }
}

/// A network cut off behind one of its layers: output `k` is the strongest activation of the layer's channel `k`.
///
/// With [`Target::Output`](crate::Target::Output) every attribution explains a feature detector instead of a class:
/// which pattern of the input the channel has found, as `DeconvNet` shows it (Zeiler and Fergus 2014).
#[derive(Clone, Debug)]
pub struct UpToLayer<N> {
    network: N,
    layer: LayerId,
}

impl<N: Network> UpToLayer<N> {
    /// `network` up to and with `layer`, whose activation is `(N, C, …)`.
    pub fn new(network: N, layer: LayerId) -> Result<Self> {
        if network.layers().get(layer.0).is_none() {
            return Err(Error::UnknownLayer { name: format!("#{}", layer.0), suggestions: Vec::new() });
        }
        Ok(Self { network, layer })
    }
}

struct Tee<'a> {
    layer: LayerId,
    kept: Option<Tensor>,
    probe: &'a mut dyn Probe,
}

impl Probe for Tee<'_> {
    fn visit(&mut self, layer: LayerId, activation: Tensor) -> Result<Tensor> {
        let activation = self.probe.visit(layer, activation)?;
        if layer == self.layer {
            self.kept = Some(activation.clone());
        }
        Ok(activation)
    }
}

impl<N: Network> Network for UpToLayer<N> {
    fn layers(&self) -> &[LayerInfo] {
        &self.network.layers()[..=self.layer.0]
    }

    /// What lies behind the layer runs all the same and is thrown away: a [`Network`] can only be run as a whole.
    fn forward(&self, input: &Tensor, probe: &mut dyn Probe) -> Result<Tensor> {
        let mut tee = Tee { layer: self.layer, kept: None, probe };
        self.network.forward(input, &mut tee)?;
        let name = || self.layers()[self.layer.0].name.clone();
        let kept = tee.kept.ok_or_else(|| Error::UnknownLayer { name: name(), suggestions: Vec::new() })?;
        if kept.rank() < 2 {
            return Err(Error::shape(format!("layer `{}`", name()), "(N, C, …)", kept.dims()));
        }
        let places = kept.flatten_from(1)?.reshape((kept.dim(0)?, kept.dim(1)?, ()))?;
        // Not candle's `max`, whose gradient goes to every tie: the first strongest place alone, as in max pooling.
        Ok(reduce(&places, &[2], false, Reduction::Max)?)
    }

    fn dtype(&self) -> DType {
        self.network.dtype()
    }

    fn device(&self) -> Device {
        self.network.device()
    }

    fn input_shape(&self) -> Option<&[usize]> {
        self.network.input_shape()
    }

    fn expect(&self, evaluated: usize, pulled_back: usize) {
        self.network.expect(evaluated, pulled_back);
    }

    fn with_backward_rule(&self, rule: BackwardRule) -> Result<Box<dyn Network + '_>> {
        Ok(Box::new(UpToLayer { network: self.network.with_backward_rule(rule)?, layer: self.layer }))
    }
}
