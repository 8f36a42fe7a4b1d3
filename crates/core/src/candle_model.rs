use crate::{
    Attention, Cotangents, Error, Grid, LayerId, LayerInfo, Network, Probe, Propagation, Result, Tap,
    VectorJacobianProducts, delegate_network,
};
use candle_core::backprop::GradStore;
use candle_core::{DType, Device, Tensor, Var};
use faithful_tensor::BackwardRule;

/// A model that is written with candle: its layers, and a forward pass that shows each activation to a probe.
///
/// [`CandleNetwork`] makes a [`Network`] of it:
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use faithful_core::{
///     CandleModel, CandleNetwork, LayerId, LayerInfo, Network, Objective, Probe, Result, Target,
/// };
///
/// struct Tiny { kernel: Tensor, head: Tensor, layers: Vec<LayerInfo> }
///
/// impl CandleModel for Tiny {
///     fn layers(&self) -> &[LayerInfo] { &self.layers }
///     fn forward(&self, input: &Tensor, probe: &mut dyn Probe) -> Result<Tensor> {
///         let features = input.conv2d(&self.kernel, 1, 1, 1, 1)?.relu()?;
///         let features = probe.visit(LayerId(0), features)?;
///         Ok(features.mean((2, 3))?.matmul(&self.head)?)
///     }
/// }
///
/// # fn main() -> Result<()> {
/// let cpu = Device::Cpu;
/// let tiny = CandleNetwork(Tiny {
///     kernel: Tensor::randn(0f32, 1., (4, 3, 3, 3), &cpu)?,
///     head: Tensor::randn(0f32, 1., (4, 2), &cpu)?,
///     layers: vec![LayerInfo { name: "features".into(), kind: "relu".into(), shape: vec![4, 8, 8] }],
/// });
/// let photo = Tensor::randn(0f32, 1., (1, 3, 8, 8), &cpu)?;
/// let traces = Objective::new(&tiny, &Target::Output(1)).traces(&photo, &[tiny.layer("features")?])?;
/// assert_eq!(traces[0].gradient.dims(), [1, 4, 8, 8]);
/// # Ok(())
/// # }
/// ```
pub trait CandleModel: Send + Sync {
    /// The layers in execution order.
    fn layers(&self) -> &[LayerInfo];

    /// Maps an input `(N, …)` to outputs `(N, K)`; every layer's output passes through `probe`. See [`Network::forward`].
    fn forward(&self, input: &Tensor, probe: &mut dyn Probe) -> Result<Tensor>;

    /// The type of the weights; inputs are of the same.
    fn dtype(&self) -> DType {
        DType::F32
    }

    /// Where the weights are; inputs are at the same place.
    fn device(&self) -> Device {
        Device::Cpu
    }

    /// The shape of one input without the batch, where the model has a usual one: `[3, 224, 224]`.
    fn input_shape(&self) -> Option<&[usize]> {
        None
    }
}

/// A [`CandleModel`] as a [`Network`]: gradients come from candle's tracking, and what only a network that knows its own
/// operations can do is `None` or [`Error::Unsupported`].
#[derive(Clone, Copy, Debug, Default)]
pub struct CandleNetwork<M>(
    /// The model.
    pub M,
);

impl<M: CandleModel> Network for CandleNetwork<M> {
    delegate_network!(self => self.0; layers, forward, dtype, device, input_shape);

    fn grid(&self, _: LayerId) -> Option<Grid> {
        None
    }

    fn evaluate(&self, input: &Tensor, layers: &[LayerId]) -> Result<(Tensor, Vec<Tensor>)> {
        evaluate_by_candle(self, input, layers)
    }

    fn evaluate_similar(&self, input: &Tensor) -> Result<Tensor> {
        Ok(self.evaluate(input, &[])?.0)
    }

    fn activations(&self, input: &Tensor, layers: &[LayerId]) -> Result<Vec<Tensor>> {
        Ok(self.evaluate(input, layers)?.1)
    }

    fn resume(&self, _: LayerId, _: &Tensor) -> Option<Result<Tensor>> {
        None
    }

    fn biases(&self) -> Result<Vec<(LayerId, Tensor)>> {
        Err(Error::Unsupported(vec!["the biases of the layers: this network does not tell them".into()]))
    }

    fn attentions(&self) -> Result<Vec<Attention>> {
        Err(Error::Unsupported(vec!["the attentions of the network: it does not tell them".into()]))
    }

    fn announce(&self, _: usize, _: usize) {}

    fn vjp(&self, input: &Tensor, taps: &[Tap], cotangents: &mut Cotangents<'_>) -> Result<VectorJacobianProducts> {
        vjp_by_candle(self, input, taps, cotangents)
    }

    fn can_vjp_from(&self, _: LayerId, _: &[Tap]) -> bool {
        false
    }

    fn vjp_from(
        &self,
        layer: LayerId,
        _: &Tensor,
        taps: &[Tap],
        _: &mut Cotangents<'_>,
    ) -> Result<VectorJacobianProducts> {
        Err(no_vjp_from(layer, taps))
    }

    fn bytes_of_pass(&self, _: &[usize], _: &[Tap], _: usize) -> Option<u64> {
        None
    }

    fn with_backward_rule(&self, rule: BackwardRule) -> Result<Box<dyn Network + '_>> {
        Err(Error::Unsupported(vec![format!("backward rule {rule:?}: this network cannot change its activations")]))
    }

    fn with_propagation(&self, rule: Propagation) -> Result<Box<dyn Network + '_>> {
        Err(Error::Unsupported(vec![format!("{rule:?}: this network does not know its operations one by one")]))
    }
}

/// What [`Network::vjp_from`] says where it cannot start at `layer`.
pub(crate) fn no_vjp_from(layer: LayerId, taps: &[Tap]) -> Error {
    Error::Unsupported(vec![format!("a reverse pass from layer #{} to {taps:?}", layer.0)])
}

/// [`Network::evaluate`] by [`Network::forward`] and a probe that keeps the activations.
pub fn evaluate_by_candle<N: Network + ?Sized>(
    network: &N,
    input: &Tensor,
    layers: &[LayerId],
) -> Result<(Tensor, Vec<Tensor>)> {
    let mut probe = Keep::new(layers);
    let output = network.forward(&input.detach(), &mut probe)?.detach();
    Ok((output, probe.finish(network)?))
}

/// [`Network::vjp`] by [`Network::forward`] with every tap a variable, and candle's backward once per cotangent. Nothing below
/// the lowest tap is tracked.
pub fn vjp_by_candle<N: Network + ?Sized>(
    network: &N,
    input: &Tensor,
    taps: &[Tap],
    cotangents: &mut Cotangents<'_>,
) -> Result<VectorJacobianProducts> {
    let input =
        if taps.contains(&Tap::Input) { Var::from_tensor(&input.detach())?.into_inner() } else { input.detach() };
    let mut probe = Track { taps, tracked: vec![None; taps.len()] };
    let output = network.forward(&input, &mut probe)?;
    let tracked: Vec<Tracked> = taps
        .iter()
        .zip(probe.tracked)
        .map(|(tap, seen)| match tap {
            Tap::Input => Ok(Tracked { value: input.clone(), variable: input.clone() }),
            Tap::Layer(layer) => seen.ok_or_else(|| unvisited(network, *layer)),
        })
        .collect::<Result<_>>()?;
    let mut gradients = Vec::new();
    for cotangent in cotangents(&output.detach())? {
        let store = (&output * cotangent)?.sum_all()?.backward()?;
        gradients.push(
            tracked.iter().map(|Tracked { variable, .. }| gradient_of(&store, variable)).collect::<Result<Vec<_>>>()?,
        );
    }
    let values = tracked.iter().map(|tracked| tracked.value.detach()).collect();
    Ok(VectorJacobianProducts { output: output.detach(), values, gradients })
}

/// The gradient that candle kept of `variable`; zeros where nothing depends on it.
pub(crate) fn gradient_of(store: &GradStore, variable: &Tensor) -> Result<Tensor> {
    match store.get(variable) {
        Some(gradient) => Ok(gradient.detach()),
        None => Ok(variable.zeros_like()?.detach()),
    }
}

pub(crate) fn unvisited<N: Network + ?Sized>(network: &N, layer: LayerId) -> Error {
    let name = network.layers().get(layer.0).map_or_else(|| format!("#{}", layer.0), |info| info.name.clone());
    Error::UnknownLayer { name, suggestions: Vec::new() }
}

struct Keep<'a> {
    layers: &'a [LayerId],
    kept: Vec<Option<Tensor>>,
}

impl<'a> Keep<'a> {
    fn new(layers: &'a [LayerId]) -> Self {
        Self { layers, kept: vec![None; layers.len()] }
    }

    fn finish<N: Network + ?Sized>(self, network: &N) -> Result<Vec<Tensor>> {
        let pairs = self.layers.iter().zip(self.kept);
        pairs.map(|(layer, kept)| kept.ok_or_else(|| unvisited(network, *layer))).collect()
    }
}

impl Probe for Keep<'_> {
    fn visit(&mut self, layer: LayerId, activation: Tensor) -> Result<Tensor> {
        for (wanted, kept) in self.layers.iter().zip(&mut self.kept) {
            if *wanted == layer {
                *kept = Some(activation.detach());
            }
        }
        Ok(activation)
    }
}

/// A tap's value, and the variable whose gradient is the tap's: candle keeps no gradients of anything else.
#[derive(Clone)]
struct Tracked {
    value: Tensor,
    variable: Tensor,
}

struct Track<'a> {
    taps: &'a [Tap],
    tracked: Vec<Option<Tracked>>,
}

impl Probe for Track<'_> {
    fn visit(&mut self, layer: LayerId, activation: Tensor) -> Result<Tensor> {
        let mut current = activation;
        for (tap, tracked) in self.taps.iter().zip(&mut self.tracked) {
            if *tap == Tap::Layer(layer) {
                // The lowest tap becomes a variable of its own. Above another tap, adding a zero variable keeps the
                // path to it and still collects the gradient at this place.
                let variable;
                if current.track_op() {
                    variable = Var::zeros(current.shape(), current.dtype(), current.device())?.into_inner();
                    current = (&current + &variable)?;
                } else {
                    variable = Var::from_tensor(&current)?.into_inner();
                    current = variable.clone();
                }
                *tracked = Some(Tracked { value: current.clone(), variable });
            }
        }
        Ok(current)
    }
}
