//! The two real models beside the repository against ONNX Runtime's logits and `PyTorch`'s gradients
//! (`fixtures/goldens/onnx/gradients.py`).

use crate::{folder, relative_l2};
use candle_core::{DType, Device, Tensor};
use faithful_core::{LayerId, Network, Objective, Target};
use faithful_model::{Graph, OnnxOptions, load_onnx};
use std::path::Path;

fn real(name: &str) -> Option<Graph> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    let path = std::env::var_os("FAITHFUL_SHARED").map_or_else(beside, Into::into).join("models").join(name);
    if !path.exists() {
        eprintln!("SKIPPED: {} is not on this machine", path.display());
        return None;
    }
    Some(load_onnx(&path, &OnnxOptions::default()).unwrap())
}

/// The pictures of `gradients.py`.
fn pictures(size: usize) -> Tensor {
    let mut values = Vec::with_capacity(2 * 3 * size * size);
    for number in [2, 7] {
        for c in 0..3 {
            for y in 0..size {
                for x in 0..size {
                    let (c, number) = (f64::from(c), f64::from(number));
                    let (u, v) = (x as f64 * 32.0 / size as f64, y as f64 * 32.0 / size as f64);
                    let wave = (0.31 * u * (c + 1.0) + 0.17 * v * (number + 1.0)).sin();
                    values.push((wave + 0.7 * (0.05 * u * v / (c + 1.0 + number)).cos()) as f32);
                }
            }
        }
    }
    Tensor::from_vec(values, (2, 3, size, size), &Device::Cpu).unwrap()
}

fn every(x: &Tensor, axis: usize, step: usize) -> Tensor {
    faithful_tensor::slice(x, axis, 0, None, step as isize).unwrap()
}

/// Gradients are compared with `PyTorch`'s in f64. In f32 a rounding error of 1e-6 moves single units across a kink of
/// relu6, in `PyTorch` as here: its own f32 gradient of MobileNetV2 is 6e-7 to 2e-2 from its f64 one, by the picture.
fn agrees(name: &str, target: &str, [pixels, channels]: [usize; 2], in_f32: f64) {
    let Some(graph) = real(&format!("{name}.onnx")) else { return };
    let expected = candle_core::safetensors::load(folder().join("gradients.safetensors"), &Device::Cpu).unwrap();
    let golden = |part: &str| expected[&format!("{name}.{part}")].clone();

    let layer: LayerId = graph.target_layer().unwrap();
    assert_eq!(graph.layers()[layer.0].name, target);

    let input = pictures(graph.nominal_input()[1]);
    let (logits, _) = graph.evaluate(&input, &[]).unwrap();
    let furthest: f32 = (&logits - golden("logits")).unwrap().abs().unwrap().max_all().unwrap().to_scalar().unwrap();
    assert!(furthest < 1e-3, "{name}: logits are {furthest} apart");

    let first = input.narrow(0, 0, 1).unwrap();
    let class: u32 = logits.get(0).unwrap().argmax(0).unwrap().to_scalar().unwrap();
    let score = Target::Output(class as usize);
    let wide = graph.to_dtype(DType::F64).unwrap();
    for (graph, first, tolerance) in
        [(&wide, first.to_dtype(DType::F64).unwrap(), 1e-5), (&graph, first.clone(), in_f32)]
    {
        let found = Objective::new(graph, &score).differentiate(&first, &[layer], true).unwrap();
        let input_gradient = every(&every(&found.input_gradient.unwrap(), 2, pixels), 3, pixels);
        let distance = relative_l2(&input_gradient, &golden("input")).unwrap();
        assert!(distance < tolerance, "{name}: the input's gradient is {distance:e} apart");
        let distance = relative_l2(&every(&found.traces[0].gradient, 1, channels), &golden("target")).unwrap();
        assert!(distance < 1e-5, "{name}: the target layer's gradient is {distance:e} apart");
    }
}

#[test]
fn mobilenet_agrees_with_onnx_runtime_and_pytorch() {
    agrees("mobilenet_v2_imagenet", "/features/features.18/Clip", [8, 16], 3e-2);
}

#[test]
fn resnet20_agrees_with_onnx_runtime_and_pytorch() {
    agrees("resnet20_cifar10", "/layer3/layer3.2/Relu_1", [1, 1], 1e-3);
}
