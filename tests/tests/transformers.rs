//! Token maps of a `ViT` and a Swin from ONNX against pytorch-grad-cam (`fixtures/goldens/cam/transformers.py`).

use candle_core::{Device, Tensor};
use faithful_cam::{CamParameters, Definition, ESTIMATORS, Layout, METHODS, explain, method};
use faithful_core::{Network, Objective, Target};
use faithful_model::{Graph, OnnxOptions, load_onnx};
use faithful_tests::{fixture, relative_l2};
use std::collections::HashMap;
use std::num::NonZeroUsize;

struct Transformer {
    graph: Graph,
    name: &'static str,
    goldens: HashMap<String, Tensor>,
    target: Target,
}

fn load(name: &'static str) -> Transformer {
    let graph = load_onnx(&fixture(&format!("goldens/cam/{name}.onnx")), &OnnxOptions::default()).unwrap();
    let all = candle_core::safetensors::load(fixture("goldens/cam/transformers.safetensors"), &Device::Cpu).unwrap();
    let of_name = |(key, value): (String, Tensor)| Some((key.strip_prefix(name)?.strip_prefix('/')?.to_owned(), value));
    let goldens: HashMap<String, Tensor> = all.into_iter().filter_map(of_name).collect();
    let category = goldens["category"].to_vec1::<f32>().unwrap()[0] as usize;
    Transformer { graph, name, goldens, target: Target::Output(category) }
}

#[test]
fn token_maps_are_the_peers() {
    for transformer in [load("vit"), load("swin")] {
        let Transformer { graph, name, goldens, target } = &transformer;
        let objective = Objective::new(graph, target).with_batch(NonZeroUsize::new(16).unwrap());
        let input = &goldens["input"];
        let outputs = objective.outputs(input).unwrap();
        assert!(relative_l2(&outputs, &goldens["output"]).unwrap() < 1e-5, "{name}: {outputs}");
        let mut compared = 0;
        for (key, golden) in goldens {
            let Some((method_name, layer)) = key.split_once('/') else { continue };
            let layer = graph.layer(layer).unwrap();
            let parameters = CamParameters { definition: Definition::PytorchGradCam, ..CamParameters::default() };
            let found = explain(method(method_name).unwrap(), &objective, input, &[layer], &parameters);
            let map = found.unwrap_or_else(|error| panic!("{name} {key}: {error}")).map.squeeze(0).unwrap();
            let mut distance = relative_l2(&map, golden).unwrap();
            if method_name.starts_with("eigen") {
                distance = distance.min(relative_l2(&map.neg().unwrap(), golden).unwrap());
            }
            // Tokens have negative values: denominators of the ++ and X rules pass through zero, where f32 rounds.
            let bound = if ["grad-cam++", "xgrad-cam"].contains(&method_name) { 5e-3 } else { 1e-4 };
            assert!(distance < bound, "{name} {key}: {distance}");
            compared += 1;
        }
        assert_eq!(compared, 15, "{name}");
    }
}

#[test]
fn every_method_explains_tokens_and_a_named_layout_is_the_inferred_one() {
    for (transformer, layer) in [
        (load("vit"), "/encoder/layers/encoder_layer_1/ln_1/LayerNormalization"),
        (load("swin"), "/norm/LayerNormalization"),
    ] {
        let objective = Objective::new(&transformer.graph, &transformer.target);
        let layer = transformer.graph.layer(layer).unwrap();
        let input = &transformer.goldens["input"];
        // The importer may have turned tokens or channels: the layer's own shape says it.
        let shape = objective.activations(input, &[layer]).unwrap()[0].dims().to_vec();
        let layout = match (transformer.name, shape.as_slice()) {
            ("vit", [_, 37, _]) => Layout::Tokens { prefix: 1, grid: [6, 6] },
            ("vit", _) => Layout::TokensLast { prefix: 1, grid: [6, 6] },
            (_, [_, 4, 4, _]) => Layout::ChannelsLast,
            _ => Layout::ChannelsFirst,
        };
        let side = if transformer.name == "vit" { 6 } else { 4 };
        let mut parameters = CamParameters::default();
        parameters.gradient.draws = NonZeroUsize::new(3).unwrap();
        parameters.perturbation.draws = NonZeroUsize::new(3);
        let run = |name: &str, parameters: &CamParameters| {
            explain(method(name).unwrap(), &objective, input, &[layer], parameters)
                .unwrap_or_else(|error| panic!("{name} on {}: {error}", transformer.name))
                .map
        };
        // What is defined on the network's head, its biases, its stages or larger photos says that it does not apply.
        let own = ["cam", "full-grad", "hyper-expected-grad-cam", "guided-grad-cam", "cameras"];
        for method in METHODS.iter().filter(|method| method.needs_layers() && !own.contains(&method.info.name)) {
            let map = run(method.info.name, &parameters);
            let dims = map.dims().to_vec();
            assert!(dims == [1, side, side] || dims[1] == 3, "{} {dims:?}", method.info.name);
            let largest = map.abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap();
            assert!(largest.is_finite(), "{}", method.info.name);
        }
        for estimator in ESTIMATORS {
            let parameters = CamParameters { estimator: Some(estimator), ..parameters.clone() };
            let named = CamParameters { layout, ..parameters.clone() };
            let (inferred, named) = (run("layer-cam", &parameters), run("layer-cam", &named));
            assert_eq!(relative_l2(&named, &inferred).unwrap(), 0.0, "{}", estimator.name);
        }
        let wrong = Layout::Tokens { prefix: 2, grid: [5, 5] };
        let wrong = CamParameters { layout: wrong, ..parameters };
        assert!(explain(method("grad-cam").unwrap(), &objective, input, &[layer], &wrong).is_err());
    }
}
