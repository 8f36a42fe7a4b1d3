use crate::candle_model::no_vjp_from;
use crate::{
    Attention, BackwardRule, Cotangents, Error, LayerId, LayerInfo, Network, Probe, Propagation, Result, Tap,
    VectorJacobianProducts, delegate_network, evaluate_by_candle, vjp_by_candle,
};
use candle_core::Tensor;
use faithful_tensor::{Reduction, reduce};

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
    delegate_network!(self => self.network; dtype, device, input_shape, grid, announce);

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

    fn evaluate(&self, input: &Tensor, layers: &[LayerId]) -> Result<(Tensor, Vec<Tensor>)> {
        evaluate_by_candle(self, input, layers)
    }

    fn evaluate_similar(&self, input: &Tensor) -> Result<Tensor> {
        Ok(self.evaluate(input, &[])?.0)
    }

    fn activations(&self, input: &Tensor, layers: &[LayerId]) -> Result<Vec<Tensor>> {
        Ok(self.evaluate(input, layers)?.1)
    }

    /// Never: what the network resumes to lies behind the layer.
    fn resume(&self, _: LayerId, _: &Tensor) -> Option<Result<Tensor>> {
        None
    }

    /// Those up to the layer.
    fn biases(&self) -> Result<Vec<(LayerId, Tensor)>> {
        let biases = self.network.biases()?;
        Ok(biases.into_iter().filter(|(layer, _)| *layer <= self.layer).collect())
    }

    /// Those up to the layer.
    fn attentions(&self) -> Result<Vec<Attention>> {
        let attentions = self.network.attentions()?;
        Ok(attentions.into_iter().filter(|attention| attention.probabilities <= self.layer).collect())
    }

    fn vjp(&self, input: &Tensor, taps: &[Tap], cotangents: &mut Cotangents<'_>) -> Result<VectorJacobianProducts> {
        vjp_by_candle(self, input, taps, cotangents)
    }

    /// Never: the network's own reverse pass begins at its output.
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

    /// Not known: [`forward`](Network::forward) runs, and not the pass that the network knows of.
    fn bytes_of_pass(&self, _: &[usize], _: &[Tap], _: usize) -> Option<u64> {
        None
    }

    fn with_backward_rule(&self, rule: BackwardRule) -> Result<Box<dyn Network + '_>> {
        Ok(Box::new(UpToLayer { network: self.network.with_backward_rule(rule)?, layer: self.layer }))
    }

    /// Never: what the network carries back begins at its output.
    fn with_propagation(&self, rule: Propagation) -> Result<Box<dyn Network + '_>> {
        Err(Error::Unsupported(vec![format!("{rule:?} of a layer's channel")]))
    }
}
