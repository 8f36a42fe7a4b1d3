use crate::{Error, Propagation, Result, suggest};
use candle_core::{DType, Device, Tensor, Var};
use faithful_tensor::BackwardRule;

/// A layer's place in [`Network::layers`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LayerId(pub usize);

/// What is known of a layer without running it.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerInfo {
    /// The name in the source model: `features.29`, `layer4.2.relu`, an ONNX node's name.
    pub name: String,
    /// The operation in the field's words: `conv2d`, `relu`, `max-pool2d` …
    pub kind: String,
    /// The output's shape for one input of the network's nominal size, without the batch: `[C, h, w]`, `[C, t]`, `[K]`.
    pub shape: Vec<usize>,
}

/// Sees, taps or replaces activations while a network runs.
pub trait Probe {
    /// Called with every layer's output in execution order; what it returns is what the network goes on with.
    fn visit(&mut self, layer: LayerId, activation: Tensor) -> Result<Tensor>;
}

/// The probe that looks at nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unobserved;

impl Probe for Unobserved {
    fn visit(&mut self, _: LayerId, activation: Tensor) -> Result<Tensor> {
        Ok(activation)
    }
}

/// A place whose gradient is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tap {
    /// The network's input.
    Input,
    /// The output of a layer.
    Layer(LayerId),
}

/// What [`Network::pull_back`] brings home. Everything is detached.
#[derive(Clone, Debug)]
pub struct PullBack {
    /// The network's output `(N, K)`.
    pub output: Tensor,
    /// The values at the taps, in their order; each starts with the batch axis `N`.
    pub values: Vec<Tensor>,
    /// Per cotangent, the gradients at the taps, in their order and of the values' shapes.
    pub gradients: Vec<Vec<Tensor>>,
}

/// A network that can be explained.
///
/// Only [`layers`](Network::layers) and [`forward`](Network::forward) must be written; a candle model becomes a
/// network by naming its layers and passing each activation through the probe:
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use faithful_core::{LayerId, LayerInfo, Network, Objective, Probe, Result, Target};
///
/// struct Tiny { kernel: Tensor, head: Tensor, layers: Vec<LayerInfo> }
///
/// impl Network for Tiny {
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
/// let tiny = Tiny {
///     kernel: Tensor::randn(0f32, 1., (4, 3, 3, 3), &cpu)?,
///     head: Tensor::randn(0f32, 1., (4, 2), &cpu)?,
///     layers: vec![LayerInfo { name: "features".into(), kind: "relu".into(), shape: vec![4, 8, 8] }],
/// };
/// let photo = Tensor::randn(0f32, 1., (1, 3, 8, 8), &cpu)?;
/// let traces = Objective::new(&tiny, &Target::Output(1)).traces(&photo, &[tiny.layer("features")?])?;
/// assert_eq!(traces[0].gradient.dims(), [1, 4, 8, 8]);
/// # Ok(())
/// # }
/// ```
pub trait Network: Send + Sync {
    /// The layers in execution order.
    fn layers(&self) -> &[LayerInfo];

    /// Maps an input `(N, …)` to outputs `(N, K)`; every layer's output passes through `probe`.
    ///
    /// Rows are independent of each other: a network is in evaluation mode.
    fn forward(&self, input: &Tensor, probe: &mut dyn Probe) -> Result<Tensor>;

    /// The type of the weights; inputs are of the same.
    fn dtype(&self) -> DType {
        DType::F32
    }

    /// Where the weights are; inputs are at the same place.
    fn device(&self) -> Device {
        Device::Cpu
    }

    /// The shape of one input without the batch, where the network has a usual one: `[3, 224, 224]`.
    fn input_shape(&self) -> Option<&[usize]> {
        None
    }

    /// The output and the activations of `layers`, without tracking.
    ///
    /// Networks with a faster way than [`forward`](Network::forward) override it.
    fn evaluate(&self, input: &Tensor, layers: &[LayerId]) -> Result<(Tensor, Vec<Tensor>)> {
        let mut probe = Keep::new(layers);
        let output = self.forward(&input.detach(), &mut probe)?.detach();
        Ok((output, probe.finish(self)?))
    }

    /// The output for rows of which each differs from the one before in few places, as the pictures of insertion and
    /// deletion do. Bit for bit that of [`evaluate`](Self::evaluate); a network may save what stays the same.
    fn evaluate_similar(&self, input: &Tensor) -> Result<Tensor> {
        Ok(self.evaluate(input, &[])?.0)
    }

    /// The activations of `layers` without tracking; what lies behind the last of them need not run.
    fn activations(&self, input: &Tensor, layers: &[LayerId]) -> Result<Vec<Tensor>> {
        Ok(self.evaluate(input, layers)?.1)
    }

    /// The outputs `(N, K)` that follow when `layer` gives `activation`, without running what lies before it.
    ///
    /// `None` when the network cannot start there: it has no way to, or other paths lead around the layer.
    fn resume(&self, _layer: LayerId, _activation: &Tensor) -> Option<Result<Tensor>> {
        None
    }

    /// What layers add to their output whatever comes in (the biases of convolutions and linear layers, the shifts of
    /// batch normalisations), each in a shape that broadcasts to the layer's output.
    ///
    /// # Errors
    /// [`Error::Unsupported`] where the network does not know, as a candle model of one's own.
    fn biases(&self) -> Result<Vec<(LayerId, Tensor)>> {
        Err(Error::Unsupported(vec!["the biases of the layers: this network does not tell them".into()]))
    }

    /// Hears that so many more rows will be evaluated and pulled back. Methods of many passes say so before they begin, for
    /// networks that tell how far an explanation is ([`Watched`](crate::Watched)); others need not listen.
    fn expect(&self, _evaluated: usize, _pulled_back: usize) {}

    /// Runs once and pulls cotangents of the output back to the taps: for each cotangent `v` of shape `(N, K)` that
    /// `cotangents` makes from the output, the gradient of `sum(v * output)` at every tap.
    ///
    /// The default tracks with candle from the taps on. Networks with their own reverse pass override it.
    fn pull_back(
        &self,
        input: &Tensor,
        taps: &[Tap],
        cotangents: &mut dyn FnMut(&Tensor) -> Result<Vec<Tensor>>,
    ) -> Result<PullBack> {
        pull_back_by_candle(self, input, taps, cotangents)
    }

    /// Whether [`pull_back_from`](Self::pull_back_from) can start at `layer` and end at `taps`: all that they and the output
    /// know of the input passes through the layer.
    fn can_pull_back_from(&self, _layer: LayerId, _taps: &[Tap]) -> bool {
        false
    }

    /// [`pull_back`](Self::pull_back) to `taps` at or behind `layer`, when `layer` gives `activation`, without running what
    /// lies before it. Bit for bit the same.
    ///
    /// # Errors
    /// [`Error::Unsupported`] where it [cannot](Self::can_pull_back_from) start there.
    fn pull_back_from(
        &self,
        layer: LayerId,
        _activation: &Tensor,
        _taps: &[Tap],
        _cotangents: &mut dyn FnMut(&Tensor) -> Result<Vec<Tensor>>,
    ) -> Result<PullBack> {
        Err(Error::Unsupported(vec![format!("a reverse pass from layer #{} on", layer.0)]))
    }

    /// About how many bytes a pass over an input of shape `(N, …)` takes at its most, with what it gives back: the output,
    /// and the value and so many `gradients` at each of `taps`. Weights do not count. `None` where the network does not
    /// know.
    fn bytes_of_pass(&self, _input: &[usize], _taps: &[Tap], _gradients: usize) -> Option<u64> {
        None
    }

    /// The same network with another backward rule for its activations (deconvolution, guided backpropagation).
    ///
    /// # Errors
    /// [`Error::Unsupported`] where the network does not know its activations, as a candle model of one's own.
    fn with_backward_rule(&self, rule: BackwardRule) -> Result<Box<dyn Network + '_>> {
        Err(Error::Unsupported(vec![format!("backward rule {rule:?}: this network cannot change its activations")]))
    }

    /// The same network carried back by a rule that is no derivative: its [`pull_back`](Self::pull_back) gives relevance or multipliers
    /// where it would give gradients.
    ///
    /// # Errors
    /// [`Error::Unsupported`] where the network does not know its operations, as a candle model of one's own.
    fn with_propagation(&self, rule: Propagation) -> Result<Box<dyn Network + '_>> {
        Err(Error::Unsupported(vec![format!("{rule:?}: this network does not know its operations one by one")]))
    }

    /// The layer called `name`.
    fn layer(&self, name: &str) -> Result<LayerId> {
        let position = self.layers().iter().position(|layer| layer.name == name);
        position.map(LayerId).ok_or_else(|| Error::UnknownLayer {
            name: name.into(),
            suggestions: suggest(name, self.layers().iter().map(|layer| layer.name.as_str())),
        })
    }
}

/// Runs `network.forward` with every tap a variable, and candle's backward once per cotangent: what
/// [`Network::pull_back`] does unless it is overridden, for those who override it for some inputs only.
pub fn pull_back_by_candle<N: Network + ?Sized>(
    network: &N,
    input: &Tensor,
    taps: &[Tap],
    cotangents: &mut dyn FnMut(&Tensor) -> Result<Vec<Tensor>>,
) -> Result<PullBack> {
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
        let one: Vec<Tensor> = tracked
            .iter()
            .map(|Tracked { variable, .. }| {
                Ok(store.get(variable).map_or_else(|| variable.zeros_like(), |g| Ok(g.clone()))?.detach())
            })
            .collect::<Result<_>>()?;
        gradients.push(one);
    }
    let values = tracked.iter().map(|tracked| tracked.value.detach()).collect();
    Ok(PullBack { output: output.detach(), values, gradients })
}

fn unvisited<N: Network + ?Sized>(network: &N, layer: LayerId) -> Error {
    let name = network.layers().get(layer.0).map_or_else(|| format!("#{}", layer.0), |info| info.name.clone());
    Error::UnknownLayer { name, suggestions: Vec::new() }
}

pub(crate) struct Keep<'a> {
    layers: &'a [LayerId],
    kept: Vec<Option<Tensor>>,
}

impl<'a> Keep<'a> {
    pub(crate) fn new(layers: &'a [LayerId]) -> Self {
        Self { layers, kept: vec![None; layers.len()] }
    }

    pub(crate) fn finish<N: Network + ?Sized>(self, network: &N) -> Result<Vec<Tensor>> {
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
