//! Which layers methods take for themselves: Poly-CAM's against its authors' code, and what no method may take.

use candle_core::{Device, Tensor};
use faithful_cam::{CamParameters, decomposition_layers, explain, method, stage_layers};
use faithful_core::{LayerId, Network, Objective, Target};
use faithful_model::{Graph, OnnxOptions, architecture, load_onnx, portable_uniform};
use faithful_tests::{fixture, relative_l2, shared};
use std::collections::HashMap;
use std::num::NonZeroUsize;

const SEED: u64 = 7;

fn random(name: &str) -> (Graph, LayerId) {
    let architecture = architecture(name).unwrap();
    let graph = architecture.random(10, SEED, &Device::Cpu).unwrap();
    let target = graph.layer(architecture.target).unwrap();
    (graph, target)
}

fn names(graph: &Graph, layers: &[LayerId]) -> Vec<String> {
    layers.iter().map(|layer| graph.layers()[layer.0].name.clone()).collect()
}

/// The authors leave out MobileNetV2's last map, because it is pooled by a function, and take the classifier of SqueezeNet.
#[test]
fn poly_cam_takes_its_authors_layers() {
    let text = std::fs::read_to_string(fixture("goldens/cam/polycam.json")).unwrap();
    let authors: HashMap<String, Vec<String>> = serde_json::from_str(&text).unwrap();
    assert_eq!(authors.len(), 4);
    for (name, mut expected) in authors {
        let (graph, target) = random(&name);
        let own = architecture(&name).unwrap().target.to_owned();
        expected.retain(|layer| !layer.starts_with("classifier") && *layer != own);
        expected.push(own);
        assert_eq!(names(&graph, &stage_layers(&graph, target).unwrap()), expected, "{name}");
    }
}

#[test]
fn poly_cams_maps_are_its_authors() {
    let goldens = candle_core::safetensors::load(fixture("goldens/cam/polycam.safetensors"), &Device::Cpu).unwrap();
    let onnx = |name: &str| {
        let graph = load_onnx(&shared(&format!("models/{name}.onnx"))?, &OnnxOptions::default()).unwrap();
        let target = graph.target_layer().unwrap();
        Some((graph, target))
    };
    for (name, size, subject) in [
        ("squeezenet1_1", 48, Some(random("squeezenet1_1"))),
        ("squeezenet1_1_imagenet", 80, onnx("squeezenet1_1_imagenet")),
        ("mobilenet_v2_imagenet", 64, onnx("mobilenet_v2_imagenet")),
    ] {
        let Some((graph, target)) = subject else { continue };
        let values: Vec<f32> = portable_uniform("input", SEED, 3 * size * size).iter().map(|x| 2.0 * x).collect();
        let input = Tensor::from_vec(values, (1, 3, size, size), &Device::Cpu).unwrap();
        let class = goldens[&format!("{name}/category")].to_vec1::<f32>().unwrap()[0] as usize;
        let score = Target::Probability(class);
        let objective = Objective::new(&graph, &score).with_batch(NonZeroUsize::new(64).unwrap());
        let layers = stage_layers(&graph, target).unwrap();
        for sign in ["+", "-", "±"] {
            let Some(golden) = goldens.get(&format!("{name}/{}", sign.replace('±', "both"))) else { continue };
            let method = method(&format!("poly-cam{sign}")).unwrap();
            let map = explain(method, &objective, &input, &layers, &CamParameters::default()).unwrap().map;
            let distance = relative_l2(&map.squeeze(0).unwrap(), golden).unwrap();
            assert!(distance < 1e-3, "{name} {sign}: {distance}");
        }
    }
}

/// Neither the input nor a pad or constant is a layer of Poly-CAM or of Hyper Expected Grad-CAM.
#[test]
fn no_method_takes_the_input_a_pad_or_a_constant_for_a_layer() {
    let mut subjects: Vec<(String, Graph, LayerId)> =
        ["resnet18", "mobilenet_v2", "squeezenet1_1", "densenet121", "scenes-vgg"]
            .into_iter()
            .map(|name| {
                let (graph, target) = random(name);
                (name.to_owned(), graph, target)
            })
            .collect();
    for folder in [fixture("goldens/onnx"), fixture("goldens/cam")].into_iter().chain(shared("models")) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_none_or(|extension| extension != "onnx") {
                continue;
            }
            let Ok(graph) = load_onnx(&path, &OnnxOptions::default()) else { continue };
            if let Some(target) = graph.target_layer() {
                subjects.push((path.display().to_string(), graph, target));
            }
        }
    }
    assert!(subjects.len() > 20, "{}", subjects.len());
    for (name, graph, target) in subjects {
        let stages = stage_layers(&graph, target).unwrap();
        let levels = decomposition_layers(&graph, target).unwrap().concat();
        for layer in stages.into_iter().chain(levels) {
            let info = &graph.layers()[layer.0];
            let taken = !["input", "pad", "constant"].contains(&info.kind.as_str());
            let scaled_input = layer != target && info.shape == graph.nominal_input();
            assert!(taken && !scaled_input, "{name}: {} is a {}", info.name, info.kind);
        }
        // What is explained moves with the input.
        let shape: Vec<usize> = std::iter::once(1).chain(graph.nominal_input().iter().copied()).collect();
        let activation = |seed: u64| {
            let values = portable_uniform("input", seed, shape.iter().product());
            let input = Tensor::from_vec(values, shape.as_slice(), &Device::Cpu).unwrap();
            graph.evaluate(&input.to_dtype(graph.dtype()).unwrap(), &[target]).unwrap().1.remove(0)
        };
        let distance = relative_l2(&activation(1), &activation(2)).unwrap();
        assert!(distance > 0.0, "{name}: {}", graph.layers()[target.0].name);
    }
}
