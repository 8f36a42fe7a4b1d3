//! Methods of attention against PyTorch (`fixtures/goldens/attention/attention.py`), on transformers from both of its exporters.

use candle_core::{DType, Device, Tensor};
use faithful_attention::{METHODS, explain, method};
use faithful_cam::{CamParameters, estimator};
use faithful_core::{Network, Objective, Target};
use faithful_gradient::{attention_relevance, libra_grad};
use faithful_model::{Graph, OnnxOptions, architecture, load_onnx};
use faithful_tests::{fixture, relative_l2};
use std::collections::HashMap;

const TRANSFORMERS: [&str; 7] =
    ["vit-script", "vit-dynamo", "distilled-script", "beit-dynamo", "eva-script", "clip-dynamo", "siglip-script"];

struct Golden {
    graph: Graph,
    of: HashMap<String, Tensor>,
    target: Target,
}

fn load(name: &str, dtype: DType) -> Golden {
    let path = fixture(&format!("goldens/attention/{name}.onnx"));
    let graph = load_onnx(&path, &OnnxOptions::default()).unwrap().to_dtype(dtype).unwrap();
    let path = fixture("goldens/attention/attention.safetensors");
    let all = candle_core::safetensors::load(path, &Device::Cpu).unwrap();
    let own = |(key, value): (String, Tensor)| {
        let key = key.strip_prefix(name)?.strip_prefix('/')?.to_owned();
        Some((key, value.to_dtype(dtype).unwrap()))
    };
    let of: HashMap<String, Tensor> = all.into_iter().filter_map(own).collect();
    let category = of["category"].to_dtype(DType::F32).unwrap().to_vec1::<f32>().unwrap()[0] as usize;
    Golden { graph, of, target: Target::Output(category) }
}

#[test]
fn maps_are_those_of_the_papers() {
    for name in TRANSFORMERS {
        let Golden { graph, of, target } = load(name, DType::F64);
        let objective = Objective::new(&graph, &target);
        let output = objective.outputs(&of["input"]).unwrap();
        assert!(relative_l2(&output, &of["output"]).unwrap() < 1e-5, "{name}");
        for method in METHODS {
            let found = explain(method, &objective, &of["input"], &[&target], None);
            let found = found.unwrap_or_else(|error| panic!("{} on {name}: {error}", method.info.name)).remove(0);
            let distance = relative_l2(&found.map.squeeze(0).unwrap(), &of[method.info.name]).unwrap();
            assert!(distance < 1e-4, "{} on {name}: {distance}", method.info.name);
        }
    }
}

#[test]
fn relevance_at_the_input_is_that_of_the_paper() {
    for name in TRANSFORMERS.iter().chain(&["swin-script"]) {
        let Golden { graph, of, target } = load(name, DType::F64);
        let objective = Objective::new(&graph, &target);
        for (method, found) in [("attn-lrp", attention_relevance as fn(&_, &_) -> _), ("libra-grad", libra_grad)] {
            let found = found(&objective, &of["input"]).unwrap().squeeze(0).unwrap();
            let distance = relative_l2(&found, &of[method]).unwrap();
            assert!(distance < 1e-4, "{method} on {name}: {distance}");
        }
    }
}

/// The authors' `FullGrad`-completeness (Mehri et al. 2025), on networks whose constants are all biases: the plain gradient has it not.
#[test]
fn what_libra_grad_gives_input_and_biases_is_the_whole_score() {
    for name in ["swin-script", "siglip-script"] {
        let Golden { graph, of, target } = load(name, DType::F64);
        let objective = Objective::new(&graph, &target);
        let gap = |gradient: &str| {
            let parameters =
                CamParameters { estimator: Some(estimator(gradient).unwrap()), ..CamParameters::default() };
            let full_grad = faithful_cam::method("full-grad").unwrap();
            let found = faithful_cam::explain(full_grad, &objective, &of["input"], &[], &parameters).unwrap();
            found.completeness[0].gap()
        };
        let [plain, libra] = [gap("plain"), gap("libra")];
        assert!(libra < 1e-8 && plain > 0.01, "{name}: {plain} and {libra}");
    }
}

#[test]
fn several_scores_and_rows_are_as_each_alone() {
    let Golden { graph, of, target } = load("vit-script", DType::F32);
    let other = Target::Margin { class: 0, against: 1 };
    let input = Tensor::cat(&[&of["input"], &(&of["input"] * 0.5).unwrap()], 0).unwrap();
    let objective = Objective::new(&graph, &target);
    for method in METHODS {
        let together = explain(method, &objective, &input, &[&target, &other], None).unwrap();
        for (row, scale) in [(0, 1.0), (1, 0.5)] {
            let alone = (&of["input"] * scale).unwrap();
            let alone = explain(method, &objective, &alone, &[&other], None).unwrap().remove(0);
            let same = together[1].map.narrow(0, row, 1).unwrap();
            assert!(relative_l2(&same, &alone.map).unwrap() < 1e-5, "{}", method.info.name);
        }
        let differ = relative_l2(&together[0].map, &together[1].map).unwrap() > 1e-3;
        assert_eq!(differ, !method.info.class_agnostic, "{}", method.info.name);
    }
}

#[test]
fn networks_for_which_they_are_not_defined_are_refused() {
    let swin = load("swin-script", DType::F32);
    let convolutional = architecture("squeezenet1_1").unwrap().random(5, 7, &Device::Cpu).unwrap();
    let photo = Tensor::zeros((1, 3, 64, 64), convolutional.dtype(), &Device::Cpu).unwrap();
    for method in METHODS {
        let refused = |network: &dyn Network, input: &Tensor| {
            let objective = Objective::new(network, &swin.target);
            explain(method, &objective, input, &[&swin.target], None).unwrap_err().to_string()
        };
        let error = refused(&swin.graph, &swin.of["input"]);
        assert!(error.contains("within windows") && error.contains("attn-lrp"), "{error}");
        let error = refused(&convolutional, &photo);
        assert!(error.contains("the network has none"), "{error}");
    }
    assert!(method("attention-roll").unwrap_err().to_string().contains("attention-rollout"));
}
