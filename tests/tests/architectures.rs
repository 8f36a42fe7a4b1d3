//! The architectures against torchvision (see `fixtures/goldens/architecture/make.py`) and candle-transformers.

use candle_core::{DType, Device, Tensor};
use candle_nn::{ModuleT, VarBuilder};
use candle_transformers::models::vgg;
use faithful_core::{LayerId, Network, Probe, Result, Tap, Unobserved};
use faithful_model::{ARCHITECTURES, Graph, Node, NodeId, Op, architecture, portable_uniform};
use faithful_tests::{fixture, relative_l2};
use std::collections::HashMap;

const SEED: u64 = 7;

fn uniform(name: &str, shape: &[usize]) -> Tensor {
    let values = portable_uniform(name, SEED, shape.iter().product());
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

/// The mean absolute value of every layer.
#[derive(Default)]
struct Means(HashMap<usize, f64>);

impl Probe for Means {
    fn visit(&mut self, layer: LayerId, activation: Tensor) -> Result<Tensor> {
        let mean = activation.abs()?.mean_all()?.to_scalar::<f32>()?;
        self.0.insert(layer.0, f64::from(mean));
        Ok(activation)
    }
}

/// Compares the architectures of one family with torchvision's: every module's name, shape and mean, the logits and
/// the gradient with respect to the input.
fn matches_torchvision(family: &str) {
    let text = std::fs::read_to_string(fixture("goldens/architecture/torchvision.json")).unwrap();
    let golden: serde_json::Value = serde_json::from_str(&text).unwrap();
    let values = candle_core::safetensors::load(fixture("goldens/architecture/torchvision.safetensors"), &Device::Cpu);
    let values = values.unwrap();
    let step = golden["step"].as_u64().unwrap() as usize;
    let classes = golden["classes"].as_u64().unwrap() as usize;
    let mut checked = 0;
    for architecture in ARCHITECTURES.iter().filter(|architecture| architecture.family == family) {
        let name = architecture.name;
        let graph = architecture.random(classes, SEED, &Device::Cpu).unwrap();
        let target = graph.layer(architecture.target).unwrap();
        let found = graph.target_layer().unwrap();
        assert_eq!(origin(&graph, found), origin(&graph, target), "{name}: {}", graph.layers()[found.0].name);
        assert!(ends_a_block(&graph, target), "{name}: {}", architecture.target);
        let expected = |what: &str| &values[&format!("{name}.{what}")];
        let golden = &golden["architectures"][name];
        if golden.is_null() {
            assert!(
                ["scenes-vgg", "scenes-224"].contains(&name),
                "{name}: only what torchvision does not have lacks reference values"
            );
            continue;
        }
        let shape = sizes(&golden["input"]);
        let input = (uniform("input", &shape) * 2.0).unwrap();
        let direction = uniform("direction", &[shape[0], classes]);

        let mut means = Means::default();
        graph.forward(&input, &mut means).unwrap();
        let modules = golden["modules"].as_array().unwrap();
        compare_modules(name, &graph, &shape, modules, &means, &expected("means").to_vec1().unwrap());

        let products = graph.vjp(&input, &[Tap::Input], &mut |_| Ok(vec![direction.clone()])).unwrap();
        let distance = relative_l2(&products.output, expected("logits")).unwrap();
        assert!(distance < 1e-4, "{name}: logits are {distance} from torchvision's");
        let rounded = gradient_distance(&products.gradients[0][0], step, expected("gradient"));
        // In f32 a rounding error of 1e-6 puts single units on the other side of a relu's or a maximum's kink, and
        // each changes the gradient by a jump, in PyTorch as here. What the formulas give is seen in f64.
        assert!(rounded < 3e-2, "{name}: the input gradient is {rounded} from torchvision's");
        let exact = graph.to_dtype(DType::F64).unwrap();
        let (input, direction) = (input.to_dtype(DType::F64).unwrap(), direction.to_dtype(DType::F64).unwrap());
        let products = exact.vjp(&input, &[Tap::Input], &mut |_| Ok(vec![direction.clone()])).unwrap();
        let steepness = gradient_distance(&products.gradients[0][0], step, expected("gradient"));
        assert!(steepness < 1e-5, "{name}: the input gradient in f64 is {steepness} from torchvision's");
        eprintln!("{name}: logits {distance:.1e}, input gradient {rounded:.1e}, in f64 {steepness:.1e}");
        checked += 1;
    }
    assert!(checked > 0, "no architecture of the family {family}");
}

/// How far every `step`th entry of a gradient is from what torchvision has there.
fn gradient_distance(gradient: &Tensor, step: usize, expected: &Tensor) -> f64 {
    let gradient = gradient.flatten_all().unwrap().to_dtype(DType::F64).unwrap().to_vec1::<f64>().unwrap();
    let picked: Vec<f64> = gradient.into_iter().step_by(step).collect();
    relative_l2(&Tensor::new(picked, &Device::Cpu).unwrap(), expected).unwrap()
}

/// The layer whose value a layer passes on: torchvision's containers are further names for it.
fn origin(graph: &Graph, layer: LayerId) -> NodeId {
    let mut node = NodeId::from(layer);
    while let Node { op: Op::Identity, inputs, .. } = graph.node(node) {
        node = inputs[0];
    }
    node
}

/// Whether a layer is rectified or normalised, or a sum or row of such: no bare convolution, no pad, no constant.
fn ends_a_block(graph: &Graph, layer: LayerId) -> bool {
    let Node { op, inputs, .. } = graph.node(origin(graph, layer));
    match op {
        Op::Activation(_) | Op::BatchNorm { .. } | Op::LayerNorm { .. } | Op::GroupNorm { .. } => true,
        Op::Binary(_) | Op::Concat { .. } => inputs.iter().all(|&input| ends_a_block(graph, input.into())),
        _ => false,
    }
}

fn sizes(value: &serde_json::Value) -> Vec<usize> {
    value.as_array().unwrap().iter().map(|size| size.as_u64().unwrap() as usize).collect()
}

fn compare_modules(
    name: &str,
    graph: &Graph,
    input: &[usize],
    modules: &[serde_json::Value],
    means: &Means,
    expected: &[f32],
) {
    let shapes = graph.shapes(input).unwrap();
    for (module, &expected) in modules.iter().zip(expected) {
        let module_name = module[0].as_str().unwrap();
        let layer = graph.layer(module_name).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(shapes[layer.0][1..], sizes(&module[1]), "{name}: shape of {module_name}");
        let mean = means.0[&layer.0];
        let distance = (mean / f64::from(expected) - 1.0).abs();
        assert!(distance < 1e-4, "{name}: |{module_name}| is {mean} on average, torchvision's {expected}");
    }
    // Layers that are no modules: what torchvision computes by functions, and a relu's uses before its last.
    let known: Vec<&str> = modules.iter().map(|module| module[0].as_str().unwrap()).collect();
    let functions = ["input", "flatten", "relu", "adaptive_avg_pool2d", "add", "cat", "relu.1", "relu.2"];
    for layer in graph.layers().iter().filter(|layer| !known.contains(&layer.name.as_str())) {
        let function =
            functions.iter().any(|function| layer.name == *function || layer.name.ends_with(&format!(".{function}")));
        assert!(function, "{name}: torchvision knows no {}", layer.name);
    }
}

#[test]
fn vgg_matches_torchvision() {
    matches_torchvision("VGG");
}

#[test]
fn resnet_matches_torchvision() {
    matches_torchvision("ResNet");
}

#[test]
fn mobilenet_matches_torchvision() {
    matches_torchvision("MobileNetV2");
}

#[test]
fn squeezenet_matches_torchvision() {
    matches_torchvision("SqueezeNet");
}

#[test]
fn densenet_matches_torchvision() {
    matches_torchvision("DenseNet");
}

#[test]
fn vgg16_matches_candle_transformers() {
    let graph = architecture("vgg16").unwrap().random(1000, 1, &Device::Cpu).unwrap();
    let mut tensors = HashMap::new();
    for (index, layer) in graph.layers().iter().enumerate() {
        // candle's names and shapes are those of timm, whose fully connected layers are convolutions.
        let (Op::Conv2d { weight, bias: Some(bias), .. } | Op::Linear { weight, bias: Some(bias) }) =
            &graph.node(NodeId(index)).op
        else {
            continue;
        };
        let (name, shape) = match layer.name.as_str() {
            "classifier.0" => ("pre_logits.fc1", vec![4096, 512, 7, 7]),
            "classifier.3" => ("pre_logits.fc2", vec![4096, 4096, 1, 1]),
            "classifier.6" => ("head.fc", vec![1000, 4096]),
            convolution => (convolution, weight.dims().to_vec()),
        };
        tensors.insert(format!("{name}.weight"), weight.reshape(shape).unwrap());
        tensors.insert(format!("{name}.bias"), bias.clone());
    }
    let builder = VarBuilder::from_tensors(tensors, candle_core::DType::F32, &Device::Cpu);
    let candle = vgg::Vgg::new(builder, vgg::Models::Vgg16).unwrap();
    let photo = uniform("photo", &[3, 224, 224]);
    let expected = candle.forward_t(&photo, false).unwrap();
    // candle's model ends with a relu, torchvision's with the logits.
    let logits = graph.forward(&photo.unsqueeze(0).unwrap(), &mut Unobserved).unwrap();
    let distance = relative_l2(&logits.relu().unwrap(), &expected).unwrap();
    assert!(distance < 1e-4, "{distance}");
}
