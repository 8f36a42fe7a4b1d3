use crate::{Attention, Error, Grid, Propagation, Result, suggest};
use candle_core::{DType, Device, Tensor};
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

/// What [`Network::vjp`] returns. Everything is detached.
#[derive(Clone, Debug)]
pub struct VectorJacobianProducts {
    /// The network's output `(N, K)`.
    pub output: Tensor,
    /// The values at the taps, in their order; each starts with the batch axis `N`.
    pub values: Vec<Tensor>,
    /// Per cotangent, the vector-Jacobian products at the taps, in their order and of the values' shapes.
    pub gradients: Vec<Vec<Tensor>>,
}

/// Makes cotangents, each `(N, K)`, from a network's output `(N, K)`; see [`Network::vjp`].
pub type Cotangents<'a> = dyn FnMut(&Tensor) -> Result<Vec<Tensor>> + 'a;

/// A network that can be explained: all that methods ask of one.
///
/// A model that is written with candle implements [`CandleModel`](crate::CandleModel), which has two required methods, and
/// becomes a network as [`CandleNetwork`](crate::CandleNetwork).
///
/// Every method that a network may answer in its own way is required. A network that stands before another one passes
/// methods on by name, with [`delegate_network!`](crate::delegate_network), so a method that is added here does not compile
/// until each of them has decided what to do about it.
pub trait Network: Send + Sync {
    /// The layers in execution order.
    fn layers(&self) -> &[LayerInfo];

    /// Maps an input `(N, …)` to outputs `(N, K)`; every layer's output passes through `probe`.
    ///
    /// Rows are independent of each other: a network is in evaluation mode.
    fn forward(&self, input: &Tensor, probe: &mut dyn Probe) -> Result<Tensor>;

    /// The type of the weights; inputs are of the same.
    fn dtype(&self) -> DType;

    /// Where the weights are; inputs are at the same place.
    fn device(&self) -> Device;

    /// The shape of one input without the batch, where the network has a usual one: `[3, 224, 224]`.
    fn input_shape(&self) -> Option<&[usize]>;

    /// Where the places of `layer`'s map lie on an input image, where that is known: `None` for maps without places and for
    /// networks that do not know their own strides and paddings.
    fn grid(&self, layer: LayerId) -> Option<Grid>;

    /// The output and the activations of `layers`, without tracking.
    fn evaluate(&self, input: &Tensor, layers: &[LayerId]) -> Result<(Tensor, Vec<Tensor>)>;

    /// The output for rows of which each differs from the one before in few places, as the pictures of insertion and
    /// deletion do. Bit for bit that of [`evaluate`](Self::evaluate); a network may save what stays the same.
    fn evaluate_similar(&self, input: &Tensor) -> Result<Tensor>;

    /// The activations of `layers` without tracking; what lies behind the last of them need not run.
    fn activations(&self, input: &Tensor, layers: &[LayerId]) -> Result<Vec<Tensor>>;

    /// The outputs `(N, K)` that follow when `layer` gives `activation`, without running what lies before it.
    ///
    /// `None` when the network cannot start there: it has no way to, or other paths lead around the layer.
    fn resume(&self, layer: LayerId, activation: &Tensor) -> Option<Result<Tensor>>;

    /// What layers add to their output whatever comes in (the biases of convolutions and linear layers, the shifts of
    /// batch normalisations), each in a shape that broadcasts to the layer's output.
    ///
    /// # Errors
    /// [`Error::Unsupported`] where the network does not know, as a candle model of one's own.
    fn biases(&self) -> Result<Vec<(LayerId, Tensor)>>;

    /// The attentions of a transformer, in their order.
    ///
    /// # Errors
    /// [`Error::Unsupported`] where there is none, or the network does not know, as a candle model of one's own.
    fn attentions(&self) -> Result<Vec<Attention>>;

    /// Announces that so many more rows will be evaluated and differentiated. Methods of many passes say so before they
    /// begin, for networks that tell how far an explanation is ([`Watched`](crate::Watched)); others ignore it.
    fn announce(&self, evaluated: usize, differentiated: usize);

    /// Runs once, forward and backward, for vector-Jacobian products: for each cotangent `v` of shape `(N, K)` that
    /// `cotangents` makes from the output, the gradient of `sum(v * output)` at every tap.
    fn vjp(&self, input: &Tensor, taps: &[Tap], cotangents: &mut Cotangents<'_>) -> Result<VectorJacobianProducts>;

    /// Whether [`vjp_from`](Self::vjp_from) can start at `layer` and end at `taps`: all that they and the output know of the
    /// input passes through the layer.
    fn can_vjp_from(&self, layer: LayerId, taps: &[Tap]) -> bool;

    /// The [vector-Jacobian products](Self::vjp) at `taps`, which are at or behind `layer`, when `layer` gives `activation`,
    /// without running what lies before it. Bit for bit the same.
    ///
    /// # Errors
    /// [`Error::Unsupported`] where it [cannot](Self::can_vjp_from) start there.
    fn vjp_from(
        &self,
        layer: LayerId,
        activation: &Tensor,
        taps: &[Tap],
        cotangents: &mut Cotangents<'_>,
    ) -> Result<VectorJacobianProducts>;

    /// About how many bytes a pass over an input of shape `(N, …)` takes at its most, with what it gives back: the output,
    /// and the value and so many `gradients` at each of `taps`. Weights do not count. `None` where the network does not
    /// know.
    fn bytes_of_pass(&self, input: &[usize], taps: &[Tap], gradients: usize) -> Option<u64>;

    /// The same network with another backward rule for its activations (deconvolution, guided backpropagation).
    ///
    /// # Errors
    /// [`Error::Unsupported`] where the network does not know its activations, as a candle model of one's own.
    fn with_backward_rule(&self, rule: BackwardRule) -> Result<Box<dyn Network + '_>>;

    /// The same network carried back by a rule that is no derivative: its [`vjp`](Self::vjp) gives relevance or multipliers
    /// where it would give gradients.
    ///
    /// # Errors
    /// [`Error::Unsupported`] where the network does not know its operations, as a candle model of one's own.
    fn with_propagation(&self, rule: Propagation) -> Result<Box<dyn Network + '_>>;

    /// The layer called `name`: a look-up in [`layers`](Self::layers), which no network needs to write.
    fn layer(&self, name: &str) -> Result<LayerId> {
        let position = self.layers().iter().position(|layer| layer.name == name);
        position.map(LayerId).ok_or_else(|| Error::UnknownLayer {
            name: name.into(),
            suggestions: suggest(name, self.layers().iter().map(|layer| layer.name.as_str())),
        })
    }
}
