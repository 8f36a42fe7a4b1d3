//! Files whose shapes name the batch by number, or that have none: `fixtures/goldens/onnx/one_picture.py` made them.

use crate::{folder, relative_l2};
use candle_core::{Device, Tensor};
use faithful_core::{Network, Result, Tap};
use faithful_model::{Graph, OnnxOptions, load_onnx};
use std::collections::{BTreeMap, HashMap};

fn expected() -> HashMap<String, Tensor> {
    candle_core::safetensors::load(folder().join("one_picture.safetensors"), &Device::Cpu).unwrap()
}

fn load(name: &str) -> Result<Graph> {
    let inputs: BTreeMap<String, Vec<f64>> = match name {
        "meta" => [("other0".to_owned(), vec![0.5, -1.0, 2.0])].into(),
        _ => BTreeMap::new(),
    };
    load_onnx(&folder().join(format!("one_{name}.onnx")), &OnnxOptions { inputs, ..OnnxOptions::default() })
}

/// How far the outputs of two rows, and the gradient of the second output with respect to the input, are from the file's.
fn distances(graph: &Graph, name: &str, expected: &HashMap<String, Tensor>) -> Result<[f64; 3]> {
    let golden = |what: &str| &expected[&format!("{name}.{what}")];
    let input = golden("input");
    let second = |output: &Tensor| {
        let pick: Vec<f32> = (0..output.elem_count()).map(|place| f32::from(place % output.dims()[1] == 1)).collect();
        Ok(vec![Tensor::from_vec(pick, output.dims(), &Device::Cpu)?])
    };
    let found = graph.vjp(input, &[Tap::Input], &mut { second })?;
    let alone = graph.evaluate(&input.narrow(0, 1, 1)?, &[])?.0;
    Ok([
        relative_l2(&found.output, golden("output"))?,
        relative_l2(&found.gradients[0][0], golden("gradient"))?,
        relative_l2(&alone, &golden("output").narrow(0, 1, 1)?)?,
    ])
}

#[test]
fn rows_are_what_the_file_gives_for_each_picture() {
    let expected = expected();
    let mut names: Vec<&str> = expected.keys().filter_map(|key| key.strip_suffix(".output")).collect();
    names.sort_unstable();
    assert!(names.len() >= 19, "only {} files", names.len());
    let mut failures = Vec::new();
    for name in names {
        let graph = match load(name) {
            Ok(graph) => graph,
            Err(error) => {
                failures.push(format!("{name}: {error}"));
                continue;
            }
        };
        for (way, graph) in [("plan", graph.clone()), ("candle", graph.on_candle())] {
            match distances(&graph, name, &expected) {
                Ok(distances) if distances.iter().all(|distance| *distance < 1e-4) => {}
                Ok(distances) => failures.push(format!("{name} by {way}: {distances:?}")),
                Err(error) => failures.push(format!("{name} by {way}: {error}")),
            }
        }
    }
    assert!(failures.is_empty(), "{} differ:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn layers_look_as_with_a_free_batch() {
    for name in ["convnext_fixed", "swin_fixed", "heads_dynamo", "no_batch"] {
        let graph = load(name).unwrap();
        assert_eq!(graph.nominal_input(), [3, 12, 12], "{name}");
        let convolutions: Vec<_> = graph.layers().iter().filter(|layer| layer.kind == "conv2d").collect();
        assert!(!convolutions.is_empty() && convolutions.iter().all(|layer| layer.shape.len() == 3), "{name}");
    }
}

#[test]
fn what_is_said_of_inputs_and_outputs_is_checked() {
    let path = folder().join("one_meta.onnx");
    let error = |options: OnnxOptions| load_onnx(&path, &options).unwrap_err().to_string();
    let message = error(OnnxOptions::default());
    assert!(message.contains("`\"inputs\": {\"other0\": [numbers]}`"), "{message}");
    let with = |name: &str, numbers: &[f64]| OnnxOptions {
        inputs: [(name.to_owned(), numbers.to_vec())].into(),
        ..OnnxOptions::default()
    };
    assert_eq!(error(with("age", &[1.0])), "inputs: the file has no input `age`; it has `x`, `other0`");
    assert_eq!(
        error(with("other0", &[1.0, 2.0])),
        "input `other0`: expected shape [1, 3], or one number for all, got [2]"
    );
    let wrong = OnnxOptions { output: Some("logits".into()), ..with("other0", &[1.0]) };
    assert_eq!(error(wrong), "output: the file has no output `logits`; it has `label`, `scores`");
    // The number of an output among all, and one number for all of an input.
    for output in [Some("1"), Some("scores"), None] {
        let options = OnnxOptions { output: output.map(Into::into), ..with("other0", &[0.25]) };
        let graph = load_onnx(&path, &options).unwrap();
        assert_eq!(graph.layers()[graph.output().0].shape, [4]);
    }
}
