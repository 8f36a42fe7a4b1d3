//! A [`Graph`] is a network. Only the delegation stands here, so that a faster executor has one place to step in.

use crate::{Graph, NodeId, bias, execute};
use candle_core::{DType, Device, Tensor};
use faithful_core::{BackwardRule, LayerId, LayerInfo, Network, Probe, Result};

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

    fn evaluate(&self, input: &Tensor, layers: &[LayerId]) -> Result<(Tensor, Vec<Tensor>)> {
        execute::evaluate(self, input, layers)
    }

    fn activations(&self, input: &Tensor, layers: &[LayerId]) -> Result<Vec<Tensor>> {
        execute::activations(self, input, layers)
    }

    fn resume(&self, layer: LayerId, activation: &Tensor) -> Option<Result<Tensor>> {
        execute::resume(self, NodeId::from(layer), activation)
    }

    fn biases(&self) -> Result<Vec<(LayerId, Tensor)>> {
        bias::biases(self)
    }

    fn with_backward_rule(&self, rule: BackwardRule) -> Result<Box<dyn Network + '_>> {
        Ok(Box::new(self.with_rule(rule)))
    }
}
