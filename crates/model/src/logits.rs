//! Networks that end in a softmax, as Keras writes its classifiers.

use crate::{Graph, GraphBuilder, Op};
use faithful_core::Result;

impl Graph {
    /// The same network without the softmax (or its logarithm) at its end: its outputs `(N, K)` are logits.
    ///
    /// Explanations are of logits: where a softmax is sure, its gradient vanishes. `None` where the network does not
    /// end in one over its classes. Layers keep their numbers.
    ///
    /// # Errors
    /// None are expected; the shorter network is checked like any other.
    pub fn without_final_softmax(&self) -> Result<Option<Self>> {
        let mut output = self.output;
        while let Op::Identity = self.node(output).op {
            output = self.node(output).inputs[0];
        }
        let node = self.node(output);
        let is_over_classes = self.layers[output.0].shape.len() == 1;
        if !(matches!(node.op, Op::Softmax { axis: 1, .. }) && is_over_classes) {
            return Ok(None);
        }
        let nodes = self.nodes[..output.0].to_vec();
        let shorter = GraphBuilder::from_nodes(nodes, self.input_shape.clone()).finish(node.inputs[0])?;
        Ok(Some(Self { rule: self.rule, ..shorter }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Tensor};
    use faithful_core::{LayerId, Network};

    #[test]
    fn logits_come_out_and_layers_keep_their_numbers() {
        let weight = Tensor::new(&[[1f32, 0.0], [0.0, 2.0], [1.0, 1.0]], &Device::Cpu).unwrap();
        for log in [false, true] {
            let mut builder = GraphBuilder::new(&[2]);
            let linear = Op::Linear { weight: weight.clone(), bias: None };
            let logits = builder.add("logits", linear, &[builder.input()]);
            let softmax = builder.add("softmax", Op::Softmax { axis: 1, log }, &[logits]);
            let last = builder.add("last", Op::Identity, &[softmax]);
            let graph = builder.finish(last).unwrap();
            let shorter = graph.without_final_softmax().unwrap().unwrap();
            assert_eq!(shorter.layer("logits").unwrap(), LayerId(logits.0));
            let input = Tensor::new(&[[3f32, -1.0]], &Device::Cpu).unwrap();
            let output = shorter.evaluate(&input, &[]).unwrap().0;
            assert_eq!(output.to_vec2::<f32>().unwrap(), [[3.0, -2.0, 2.0]]);
            assert!(shorter.without_final_softmax().unwrap().is_none());
        }
    }
}
