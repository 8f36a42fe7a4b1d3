//! A [`Graph`] is a network. Only the delegation stands here, so that a faster executor has one place to step in.

use crate::{Graph, NodeId, bias, execute, grid, plan, propagate};
use candle_core::{DType, Device, Tensor};
use faithful_core::{
    Attention, BackwardRule, Cotangents, Error, Grid, LayerId, LayerInfo, Network, Probe, Propagation, Result, Tap,
    VectorJacobianProducts, vjp_by_candle,
};

impl Network for Graph {
    fn layers(&self) -> &[LayerInfo] {
        &self.layers
    }

    /// The probe sees every node but constants, which do not depend on the input.
    fn forward(&self, input: &Tensor, probe: &mut dyn Probe) -> Result<Tensor> {
        execute::forward(self, input, probe)
    }

    fn dtype(&self) -> DType {
        self.dtype
    }

    fn device(&self) -> Device {
        self.device.clone()
    }

    fn input_shape(&self) -> Option<&[usize]> {
        Some(&self.input_shape)
    }

    fn grid(&self, layer: LayerId) -> Option<Grid> {
        grid::of(self, NodeId::from(layer))
    }

    fn evaluate(&self, input: &Tensor, layers: &[LayerId]) -> Result<(Tensor, Vec<Tensor>)> {
        let Some(fast) = plan::of(self) else { return execute::evaluate(self, input, layers) };
        execute::check_input(self, input)?;
        let mut wanted = execute::wanted(self, layers)?;
        wanted.push(self.output);
        let mut values = fast.run(self.input, input, &wanted)?;
        let output = values.pop().expect("the output was asked for last");
        Ok((output, values))
    }

    fn evaluate_similar(&self, input: &Tensor) -> Result<Tensor> {
        if let Some(fast) = plan::of(self) {
            execute::check_input(self, input)?;
            if let Some(output) = fast.run_similar(input)? {
                return Ok(output);
            }
        }
        Ok(self.evaluate(input, &[])?.0)
    }

    fn activations(&self, input: &Tensor, layers: &[LayerId]) -> Result<Vec<Tensor>> {
        let Some(fast) = plan::of(self) else { return execute::activations(self, input, layers) };
        execute::check_input(self, input)?;
        fast.run(self.input, input, &execute::wanted(self, layers)?)
    }

    fn resume(&self, layer: LayerId, activation: &Tensor) -> Option<Result<Tensor>> {
        let node = NodeId::from(layer);
        match plan::of(self) {
            Some(fast) if execute::is_cut(self, node) => {
                let values = fast.run(node, activation, &[self.output]);
                Some(values.map(|mut values| values.remove(0)))
            }
            _ => execute::resume(self, node, activation),
        }
    }

    /// A graph does not tell how far an explanation is.
    fn announce(&self, _: usize, _: usize) {}

    fn vjp(&self, input: &Tensor, taps: &[Tap], cotangents: &mut Cotangents<'_>) -> Result<VectorJacobianProducts> {
        if let Some(fast) = plan::of(self) {
            execute::check_input(self, input)?;
            if let Some(nodes) = fast.taps(taps) {
                return fast.vjp(self.input, input, nodes, cotangents);
            }
        }
        vjp_by_candle(self, input, taps, cotangents)
    }

    fn can_vjp_from(&self, layer: LayerId, taps: &[Tap]) -> bool {
        let nodes = plan::of(self).and_then(|fast| fast.taps(taps));
        nodes.is_some_and(|nodes| execute::is_cut_for(self, NodeId::from(layer), &nodes))
    }

    fn vjp_from(
        &self,
        layer: LayerId,
        activation: &Tensor,
        taps: &[Tap],
        cotangents: &mut Cotangents<'_>,
    ) -> Result<VectorJacobianProducts> {
        let given = NodeId::from(layer);
        match plan::of(self).and_then(|fast| Some((fast.taps(taps)?, fast))) {
            Some((nodes, fast)) if execute::is_cut_for(self, given, &nodes) => {
                fast.vjp(given, activation, nodes, cotangents)
            }
            _ => Err(Error::Unsupported(vec![format!("a reverse pass from layer #{} to {taps:?}", layer.0)])),
        }
    }

    fn attentions(&self) -> Result<Vec<Attention>> {
        Graph::attentions(self)
    }

    fn biases(&self) -> Result<Vec<(LayerId, Tensor)>> {
        bias::biases(self)
    }

    fn bytes_of_pass(&self, input: &[usize], taps: &[Tap], gradients: usize) -> Option<u64> {
        let fast = plan::of(self)?;
        fast.bytes(input, &fast.taps(taps)?, gradients).ok()
    }

    fn with_backward_rule(&self, rule: BackwardRule) -> Result<Box<dyn Network + '_>> {
        Ok(Box::new(self.with_rule(rule)))
    }

    fn with_propagation(&self, rule: Propagation) -> Result<Box<dyn Network + '_>> {
        Ok(Box::new(propagate::Propagated::new(self, rule)))
    }
}
