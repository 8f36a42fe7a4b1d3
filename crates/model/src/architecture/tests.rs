use super::*;
use crate::Op;
use candle_core::{DType, Tensor};
use faithful_core::Network;
use safetensors::tensor::{Dtype, TensorView};
use std::io::Cursor;

/// How a number is written.
type Encoding = fn(f32) -> Vec<u8>;
type Entry = (String, Dtype, Vec<usize>, Vec<u8>);

/// A safetensors file with random weights.
pub(crate) fn random_file(name: &str, classes: usize) -> Vec<u8> {
    file(&entries(architecture(name).unwrap(), classes))
}

/// `SqueezeNet` 1.1 with three classes as a list that tests can spoil.
fn squeezenet() -> (&'static Architecture, Vec<Entry>) {
    let architecture = architecture("squeezenet1_1").unwrap();
    (architecture, entries(architecture, 3))
}

fn entries(architecture: &Architecture, classes: usize) -> Vec<Entry> {
    let entries = (architecture.plan)(classes).parameters().into_iter().map(|Parameter { name, shape }| {
        let tensor = random::random_tensor(&name, &shape, 1).unwrap();
        let values = tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        (name, Dtype::F32, shape, values.iter().flat_map(|value| value.to_le_bytes()).collect())
    });
    entries.collect()
}

fn file(entries: &[Entry]) -> Vec<u8> {
    let views = entries
        .iter()
        .map(|(name, dtype, shape, bytes)| (name.as_str(), TensorView::new(*dtype, shape.clone(), bytes).unwrap()));
    safetensors::serialize(views, None).unwrap()
}

fn load(architecture: &Architecture, bytes: Vec<u8>) -> Result<Graph> {
    architecture.load("w.safetensors", Cursor::new(bytes), [64, 64], &Device::Cpu)
}

fn weight(graph: &Graph, layer: &str) -> Vec<f32> {
    let id = graph.layer(layer).unwrap();
    let Op::Conv2d { weight, .. } = &graph.node(id.into()).op else { panic!("{layer} is no convolution") };
    weight.flatten_all().unwrap().to_vec1().unwrap()
}

#[test]
fn a_loaded_network_has_the_files_weights_and_as_many_outputs_as_its_head() {
    let (architecture, mut entries) = squeezenet();
    entries.push(("features.0.num_batches_tracked".into(), Dtype::I64, vec![], vec![0; 8]));
    let graph = load(architecture, file(&entries)).unwrap();
    let random = architecture.random(3, 1, &Device::Cpu).unwrap();
    assert_eq!(weight(&graph, "features.12.expand3x3"), weight(&random, "features.12.expand3x3"));
    assert_eq!(graph.layers()[graph.output().0].shape, [3]);
    assert_eq!(graph.nominal_input(), [3, 64, 64]);
}

#[test]
fn half_and_double_precision_are_read() {
    let (architecture, entries) = squeezenet();
    let expected = weight(&load(architecture, file(&entries)).unwrap(), "classifier.1");
    let place = entries.iter().position(|(name, ..)| name == "classifier.1.weight").unwrap();
    let cases: [(Dtype, f32, Encoding); 3] = [
        (Dtype::F16, 1e-3, |value| half::f16::from_f32(value).to_le_bytes().to_vec()),
        (Dtype::BF16, 1e-2, |value| half::bf16::from_f32(value).to_le_bytes().to_vec()),
        (Dtype::F64, 0.0, |value| f64::from(value).to_le_bytes().to_vec()),
    ];
    for (dtype, tolerance, bytes) in cases {
        let mut entries = entries.clone();
        entries[place].1 = dtype;
        entries[place].3 = expected.iter().flat_map(|&value| bytes(value)).collect();
        let got = weight(&load(architecture, file(&entries)).unwrap(), "classifier.1");
        let worst = got.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(worst <= tolerance && (dtype == Dtype::F64) == (worst == 0.0), "{dtype:?}: {worst}");
    }
}

#[test]
fn a_wrong_checkpoint_is_refused_with_all_that_is_wrong() {
    let (architecture, mut entries) = squeezenet();
    let place = |entries: &[Entry], wanted: &str| entries.iter().position(|(name, ..)| name == wanted).unwrap();
    let missing = place(&entries, "features.3.squeeze.weight");
    entries.remove(missing);
    let misshapen = place(&entries, "features.0.bias");
    entries[misshapen].2 = vec![8, 8];
    entries.push(("fc.weight".into(), Dtype::F32, vec![1], vec![0; 4]));
    entries.push(("fc.bias".into(), Dtype::F32, vec![1], vec![0; 4]));
    let error = load(architecture, file(&entries)).unwrap_err().to_string();
    assert_eq!(
        error,
        "w.safetensors: these are not squeezenet1_1's weights; 1 missing: `features.3.squeeze.weight` [16, 64, 1, 1]; \
         1 misshapen: `features.0.bias` is [8, 8], must be [64]; 2 surplus: `fc.bias`, `fc.weight`"
    );
    let other = super::architecture("resnet18").unwrap();
    let error = load(other, file(&squeezenet().1)).unwrap_err().to_string();
    assert!(error.contains("102 missing: `conv1.weight` [64, 3, 7, 7], ") && error.contains("52 surplus"), "{error}");
}

#[test]
fn weights_that_are_no_numbers_are_named() {
    let (architecture, entries) = squeezenet();
    for (bad, word) in [(f32::NAN, "NaN"), (f32::NEG_INFINITY, "-inf")] {
        let mut entries = entries.clone();
        entries[5].3[4..8].copy_from_slice(&bad.to_le_bytes());
        let error = load(architecture, file(&entries)).unwrap_err();
        assert!(matches!(error, Error::NotFinite { .. }));
        let message = format!("tensor `{}` has values that are not finite, first at element 1 of", entries[5].0);
        assert!(error.to_string().contains(&message) && error.to_string().contains(word), "{error}");
    }
    let mut integers = entries;
    integers[5].1 = Dtype::I32;
    let error = load(architecture, file(&integers)).unwrap_err().to_string();
    assert!(error.contains("holds I32; weights are F32, F16, BF16 or F64"), "{error}");
}

#[test]
fn a_variance_that_no_data_can_have_is_refused() {
    let plan = (architecture("resnet18").unwrap().plan)(2);
    let tensors = plan.parameters().into_iter().map(|Parameter { name, shape }| {
        let value = if name == "layer1.0.bn2.running_var" { -1.0 } else { 0.5 };
        let tensor = Tensor::full(value, shape, &Device::Cpu).unwrap().to_dtype(DType::F32).unwrap();
        (name, tensor)
    });
    let tensors = tensors.collect();
    let error = plan.assemble(tensors, [3, 64, 64]).unwrap_err().to_string();
    assert_eq!(error, "layer1.0.bn2.running_var: channel 0 has variance -1, which no data can have");
}

#[test]
fn every_architecture_has_its_target() {
    for architecture in &ARCHITECTURES {
        let names: Vec<String> = (architecture.plan)(2).names();
        assert!(names.iter().any(|name| name == architecture.target), "{}", architecture.name);
        assert!(
            (architecture.plan)(2).parameters().iter().any(|p| p.name == architecture.head),
            "{}",
            architecture.name
        );
        assert!(architecture.preprocessing().validated().is_ok());
    }
    let error = super::architecture("resnet_50").unwrap_err().to_string();
    assert!(error.contains("`resnet50`"), "{error}");
}
