use crate::Model;
use faithful_core::{LayerId, Network};

/// A layer as it is shown to people who look for one.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerRow {
    /// Its place in the network.
    pub layer: LayerId,
    /// The name in the source model.
    pub name: String,
    /// The operation.
    pub kind: String,
    /// The output for one input of the usual size, without the batch.
    pub shape: Vec<usize>,
    /// How much of the input one cell of the output stands for per spatial axis: [`Graph::inflate_region`](crate::Graph).
    pub stride: Option<Vec<f64>>,
    /// Whether class activation maps are drawn from here unless another layer is asked for.
    pub target: bool,
}

impl Model {
    /// Every layer in execution order.
    pub fn layer_table(&self) -> Vec<LayerRow> {
        let rows = self.graph.layers().iter().enumerate().map(|(index, info)| LayerRow {
            layer: LayerId(index),
            name: info.name.clone(),
            kind: info.kind.clone(),
            shape: info.shape.clone(),
            stride: self.graph.inflate_region(LayerId(index)),
            target: self.target == Some(LayerId(index)),
        });
        rows.collect()
    }
}

#[cfg(test)]
mod tests {
    use crate::{Labels, Model, architecture};
    use candle_core::Device;
    use faithful_core::{Network, Probabilities};

    #[test]
    fn strides_and_target_are_shown() {
        let architecture = architecture("resnet18").unwrap();
        let graph = architecture.random(5, 0, &Device::Cpu).unwrap();
        let model = Model {
            name: "resnet18".into(),
            target: Some(graph.layer(architecture.target).unwrap()),
            graph,
            labels: Labels::numbered(5),
            preprocessing: None,
            probabilities: Probabilities::Softmax,
            file: None,
            data: Vec::new(),
            outputs: Vec::new(),
            modules: std::collections::BTreeMap::new(),
            dense: None,
            parts: Vec::new(),
            sums: std::collections::BTreeMap::new(),
            notes: Vec::new(),
        };
        let rows = model.layer_table();
        let row = |name: &str| rows.iter().find(|row| row.name == name).unwrap();
        assert_eq!((row("conv1").kind.as_str(), row("conv1").stride.clone()), ("conv2d", Some(vec![2.0; 2])));
        assert_eq!(
            (row("layer4").shape.as_slice(), row("layer4").stride.clone()),
            (&[512, 7, 7][..], Some(vec![32.0; 2]))
        );
        assert_eq!(row("fc").stride, None);
        let targets: Vec<&str> = rows.iter().filter(|row| row.target).map(|row| row.name.as_str()).collect();
        assert_eq!(targets, ["layer4"]);
    }
}
