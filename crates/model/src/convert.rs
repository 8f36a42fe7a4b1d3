use crate::{Graph, Op};
use candle_core::{DType, Device, Tensor};
use faithful_core::{BackwardRule, Error, Result};
use faithful_kernel::Factors;
use std::sync::Arc;

impl Graph {
    /// The same network with every weight replaced by what `change` makes of it, given its node's name.
    ///
    /// Shapes must stay; type and place follow the new weights.
    pub fn map_weights(&self, mut change: impl FnMut(&str, &Tensor) -> Result<Tensor>) -> Result<Self> {
        let mut graph = self.clone();
        // What was prepared is of the old weights.
        graph.prepared = self.prepared.as_ref().map(|_| Arc::default());
        let mut first = None;
        for node in &mut graph.nodes {
            let name = &node.name;
            node.op.replace_weights(&mut |weight| {
                let weight = change(name, weight)?;
                first.get_or_insert_with(|| (weight.dtype(), weight.device().clone()));
                Ok(weight)
            })?;
        }
        if let Some((dtype, device)) = first {
            (graph.dtype, graph.device) = (dtype, device);
        }
        Ok(graph)
    }

    /// The same network with weights of another type: `F64` for finite differences.
    pub fn to_dtype(&self, dtype: DType) -> Result<Self> {
        let graph = self.map_weights(|_, weight| Ok(weight.to_dtype(dtype)?))?;
        Ok(Self { dtype, ..graph })
    }

    /// The same network on another device.
    pub fn to_device(&self, device: &Device) -> Result<Self> {
        let graph = self.map_weights(|_, weight| Ok(weight.to_device(device)?))?;
        Ok(Self { device: device.clone(), ..graph })
    }

    /// The same network run node by node on candle: the reference for the plans that run `f32` on the CPU otherwise.
    pub fn on_candle(&self) -> Self {
        Self { prepared: None, ..self.clone() }
    }

    /// The same network whose convolutions and linear layers multiply numbers that are rounded to `bf16` (8 bits of
    /// precision) where that is faster; sums, activations, all other operations and gradients stay `f32`.
    ///
    /// # Errors
    /// [`Error::Parameter`] for a network that is not `f32` on the CPU, that is run on candle only, or that has neither
    /// a convolution of images across channels nor a linear layer.
    pub fn with_bf16_factors(&self) -> Result<Self> {
        let applies = |op: &Op| match op {
            Op::Conv2d { weight, conv, .. } => weight.dims().first().is_some_and(|&outputs| conv.groups < outputs),
            Op::Linear { .. } => true,
            _ => false,
        };
        let reason = if self.dtype != DType::F32 || !self.device.is_cpu() || self.prepared.is_none() {
            "factors are rounded to bf16 in networks that are planned in f32 on the CPU"
        } else if !self.nodes.iter().any(|node| applies(&node.op)) {
            "bf16 on the CPU is for convolutions of images and linear layers; this network has none"
        } else {
            return Ok(Self { factors: Factors::Bf16, prepared: Some(Arc::default()), ..self.clone() });
        };
        Err(Error::parameter("precision", reason))
    }

    /// The same network whose activations pass gradients back by `rule`.
    pub fn with_rule(&self, rule: BackwardRule) -> Self {
        Self { rule, ..self.clone() }
    }
}
