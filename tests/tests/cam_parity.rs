//! The peers' raw maps, reproduced under their definitions; `fixtures/goldens/cam/make.py` made them.

use candle_core::{Device, Tensor};
use faithful_baseline::{BaselineSampler, Spread};
use faithful_cam::{CamParameters, Definition, EstimatorParameters, PerturbationParameters, explain, method};
use faithful_core::{Network, Objective, Result, Stream, Target};
use faithful_model::{Graph, OnnxOptions, architecture, load_onnx, portable_uniform};
use faithful_tests::{fixture, relative_l2, shared};
use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::Arc;

const SEED: u64 = 7;

/// The noise that the script gave its peers.
struct Noise(&'static str);

impl BaselineSampler for Noise {
    fn sample(&self, input: &Tensor, _: &Stream, draws: Range<usize>) -> Result<Tensor> {
        let mut shape = input.dims().to_vec();
        shape[0] = draws.len();
        let all: Vec<f32> =
            draws.flat_map(|draw| portable_uniform(&format!("{}.{draw}", self.0), SEED, input.elem_count())).collect();
        Ok(Tensor::from_vec(all, shape, &Device::Cpu)?)
    }
}

fn image(size: usize) -> Tensor {
    let values: Vec<f32> = portable_uniform("input", SEED, 3 * size * size).iter().map(|x| 2.0 * x).collect();
    Tensor::from_vec(values, (1, 3, size, size), &Device::Cpu).unwrap()
}

fn parameters(definition: Definition, name: &str) -> CamParameters {
    let number = |n| NonZeroUsize::new(n).unwrap();
    CamParameters {
        definition,
        gradient: EstimatorParameters {
            draws: number(4),
            spread: Spread::Absolute(0.3),
            noise: Some(Arc::new(Noise("smooth"))),
            ..EstimatorParameters::default()
        },
        perturbation: PerturbationParameters {
            draws: Some(number(if name == "is-cam" { 3 } else { 2 })),
            noise: Some(Arc::new(Noise("ss"))),
            ..PerturbationParameters::default()
        },
        ..CamParameters::default()
    }
}

/// Compares everything that the script kept of a network; `layer` translates PyTorch's names.
fn compare(network: &str, graph: &Graph, size: usize, layer: impl Fn(&str) -> String) {
    let goldens = candle_core::safetensors::load(fixture(&format!("goldens/cam/{network}.safetensors")), &Device::Cpu);
    let mut goldens: Vec<(String, Tensor)> = goldens.unwrap().into_iter().collect();
    goldens.sort_by(|a, b| a.0.cmp(&b.0));
    let category = goldens.iter().find(|(key, _)| key.ends_with("/category")).unwrap();
    let category = category.1.to_vec1::<f32>().unwrap()[0] as usize;
    let (logit, probability) = (Target::Output(category), Target::Probability(category));
    let input = image(size);
    let mut compared = 0;
    let mut far = Vec::new();
    for (key, golden) in goldens.iter().filter(|(key, _)| !key.ends_with("/category")) {
        let parts: Vec<&str> = key.split('/').collect();
        let [_, definition, name, layers] = parts.as_slice() else { panic!("{key}") };
        let definition = Definition::named(definition).unwrap();
        let name = name.replace("both", "±");
        let score = if definition == Definition::PolyCam { &probability } else { &logit };
        let objective = Objective::new(graph, score).with_batch(NonZeroUsize::new(32).unwrap());
        let layers: Vec<_> =
            layers.split(',').filter(|layer| *layer != "all").map(|name| graph.layer(&layer(name)).unwrap()).collect();
        let map = explain(method(&name).unwrap(), &objective, &input, &layers, &parameters(definition, &name))
            .unwrap_or_else(|error| panic!("{key}: {error}"))
            .map
            .squeeze(0)
            .unwrap();
        let mut error = relative_l2(&map, golden).unwrap();
        if name.starts_with("eigen") {
            // A singular vector's sign is open.
            error = error.min(relative_l2(&map.neg().unwrap(), golden).unwrap());
        }
        // Where a layer has negative values (a linear residual sum), the denominators of the ++ methods pass through
        // zero, and rounding in f32 decides at both ends.
        let ill = name.ends_with("++") && network == "mobilenet_v2" && key.ends_with("features.13");
        // The peer subtracts logits in f32 that are equal to three or four digits: random networks hardly miss one channel.
        let cancels = name == "ablation-cam" && ["vgg16", "resnet18"].contains(&network);
        if error
            > if ill {
                3e-2
            } else if cancels {
                1e-3
            } else {
                1e-4
            }
        {
            far.push(format!("{key}: relative distance {error:.2e}"));
        }
        compared += 1;
    }
    assert!(far.is_empty(), "{}", far.join("\n"));
    assert!(compared >= 18, "{network}: only {compared} maps");
}

#[test]
fn resnet18_maps_are_the_peers() {
    let graph = architecture("resnet18").unwrap().random(10, SEED, &Device::Cpu).unwrap();
    compare("resnet18", &graph, 64, str::to_owned);
}

#[test]
fn vgg16_maps_are_the_peers() {
    let graph = architecture("vgg16").unwrap().random(10, SEED, &Device::Cpu).unwrap();
    compare("vgg16", &graph, 32, str::to_owned);
}

#[test]
fn the_real_mobilenets_maps_are_the_peers() {
    let Some(path) = shared("models/mobilenet_v2_imagenet.onnx") else { return };
    let graph = load_onnx(&path, &OnnxOptions::default()).unwrap();
    compare("mobilenet_v2", &graph, 96, |name| {
        let last = match name {
            "features.18" => "Clip",
            "features.1" => "conv/conv.1/Conv",
            _ => "Add",
        };
        format!("/features/{name}/{last}")
    });
}
