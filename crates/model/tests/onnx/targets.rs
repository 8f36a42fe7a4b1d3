//! The layer that is explained by default, in files whose names say nothing.

use crate::folder;
use faithful_core::{LayerId, Network};
use faithful_model::{Graph, OnnxOptions, load_onnx};

fn load(name: &str) -> Graph {
    load_onnx(&folder().join(format!("{name}.onnx")), &OnnxOptions::default()).unwrap()
}

fn target(graph: &Graph) -> (&str, &str) {
    let LayerId(index) = graph.target_layer().unwrap();
    (&graph.layers()[index].name, &graph.layers()[index].kind)
}

#[test]
fn the_block_ends_behind_its_residual_sum_and_before_the_classifying_convolution() {
    for name in ["script17_blocks", "dynamo18_blocks"] {
        let graph = load(name);
        let (layer, kind) = target(&graph);
        assert_eq!(kind, "relu", "{name}: {layer}");
        let id = graph.layer(layer).unwrap();
        assert_eq!(graph.layers()[id.0].shape, [4, 6, 6]);
        assert_eq!(graph.nodes()[graph.nodes()[id.0].inputs[0].0].op.kind(), "add");
        assert_eq!(graph.inflate_region(id).unwrap(), [2.0, 2.0]);
    }
}

#[test]
fn transformers_are_explained_at_the_tokens_before_their_last_attention() {
    let names = [
        ("script17_vit", "/encoder/layers/encoder_layer_0/ln_1/LayerNormalization"),
        ("dynamo18_vit", "node_layer_norm"),
    ];
    for (file, expected) in names.into_iter().chain([("script17_vit_fixed", names[0].1)]) {
        let graph = load(file);
        assert_eq!(target(&graph), (expected, "layer-norm"));
        // A class token before two by two patches.
        assert_eq!(graph.layers()[graph.target_layer().unwrap().0].shape, [5, 8]);
    }
}

#[test]
fn channels_last_files_have_their_layers_with_channels_second() {
    let graph = load("hand13_channels_last");
    assert_eq!(graph.nominal_input(), [3, 10, 9]);
    let id = graph.layer("model/se/excite").unwrap();
    assert_eq!(graph.layers()[id.0].shape, [4, 5, 5]);
    assert_eq!(target(&graph), ("model/se/excite", "mul"));
    // Between the input and the flattening no transposition is left.
    let moved = graph.nodes().iter().filter(|node| node.op.kind() == "transpose").count();
    assert_eq!(moved, 1, "{:?}", graph.nodes().iter().map(|n| (&n.name, n.op.kind())).collect::<Vec<_>>());
}

#[test]
fn series_have_a_target_too() {
    for name in ["script13_series", "dynamo18_series"] {
        let graph = load(name);
        let id = graph.target_layer().unwrap();
        assert_eq!(graph.layers()[id.0].shape.len(), 2, "{name}");
        assert_eq!(graph.inflate_region(id).unwrap().len(), 1);
    }
}

#[test]
fn a_file_for_one_image_takes_several() {
    for name in ["script17_cnn_fixed", "script17_vit_fixed", "script16_window_fixed"] {
        let graph = load(name);
        let shape: Vec<usize> = std::iter::once(5).chain(graph.nominal_input().iter().copied()).collect();
        assert_eq!(graph.shapes(&shape).unwrap()[graph.output().0][0], 5, "{name}");
    }
}

/// Recurrent layers keep the batch first, whatever the file's layout, so that their rows are images.
#[test]
fn recurrent_layers_are_layers() {
    let graph = load("script17_lstm_stacked");
    let shapes: Vec<(&str, &[usize])> = graph
        .layers()
        .iter()
        .filter(|layer| layer.kind.contains("lstm") || layer.kind == "concat")
        .map(|layer| (layer.kind.as_str(), layer.shape.as_slice()))
        .collect();
    let one = [("lstm", &[5, 4][..]), ("lstm-reverse", &[5, 4]), ("concat", &[5, 8])];
    assert_eq!(shapes, [one, one].concat());
    let transposed = graph.nodes().iter().filter(|node| node.op.kind() == "transpose").count();
    assert_eq!(transposed, 0);
}
