//! Exported files, read again, give the methods' own maps.

use super::*;
use candle_core::{DType, Device, Tensor};
use faithful_cam::Quality;
use faithful_core::{Network, Objective, Probabilities, Score};
use faithful_model::{Graph, GraphBuilder, Labels, OnnxOptions, Op, portable_uniform, read_onnx};
use faithful_tensor::{Activation, Binary, Conv, Pool};
use std::num::NonZeroUsize;

fn weight(name: &str, shape: &[usize]) -> Tensor {
    let numbers = portable_uniform(name, 11, shape.iter().product());
    let fan: usize = shape.iter().skip(1).product();
    (Tensor::from_vec(numbers, shape, &Device::Cpu).unwrap() * (3.0 / fan as f64).sqrt()).unwrap()
}

/// Convolutions, a norm, a residual, pools of both kinds and two dense layers.
fn network() -> Graph {
    let mut builder = GraphBuilder::new(&[3, 12, 10]);
    let x = builder.input();
    let conv = |name: &str, [c, o]: [usize; 2], stride: usize| Op::Conv2d {
        weight: weight(name, &[o, c, 3, 3]),
        bias: Some(weight(&format!("{name}.bias"), &[o])),
        conv: Conv { stride: [stride; 2], padding: [1; 4], ..Conv::default() },
    };
    let x = builder.add("conv1", conv("conv1", [3, 8], 1), &[x]);
    let x = builder.add("norm1", Op::BatchNorm { scale: weight("scale", &[8]), shift: weight("shift", &[8]) }, &[x]);
    let x = builder.add("relu1", Op::Activation(Activation::Relu), &[x]);
    let x = builder.add("pool1", Op::MaxPool2d(Pool { kernel: [3, 3], padding: [1; 4], ..Pool::default() }), &[x]);
    let y = builder.add("conv2", conv("conv2", [8, 8], 1), &[x]);
    let y = builder.add("silu2", Op::Activation(Activation::Silu), &[y]);
    let x = builder.add("sum", Op::Binary(Binary::Add), &[x, y]);
    let x = builder.add("conv3", conv("conv3", [8, 6], 1), &[x]);
    let x = builder.add("relu3", Op::Activation(Activation::Relu), &[x]);
    let x = builder.add("pool3", Op::AvgPool2d(Pool { stride: [1, 1], ..Pool::default() }), &[x]);
    let x = builder.add("flat", Op::Flatten { axis: 1 }, &[x]);
    let x = builder.add("hidden", Op::Linear { weight: weight("hidden", &[9, 120]), bias: None }, &[x]);
    let x = builder.add("tanh", Op::Activation(Activation::Tanh), &[x]);
    let x = builder.add(
        "head",
        Op::Linear { weight: weight("head", &[4, 9]), bias: Some(weight("head.bias", &[4])) },
        &[x],
    );
    builder.finish(x).unwrap()
}

fn model(graph: Graph) -> Model {
    let outputs = graph.layers()[graph.output().0].shape[0];
    Model {
        name: "small".into(),
        labels: Labels::new(outputs, Vec::new(), Vec::new()).unwrap(),
        probabilities: Probabilities::Softmax,
        preprocessing: None,
        target: graph.target_layer(),
        file: None,
        data: Vec::new(),
        outputs: Vec::new(),
        modules: std::collections::BTreeMap::new(),
        dense: None,
        parts: Vec::new(),
        sums: std::collections::BTreeMap::new(),
        notes: Vec::new(),
        graph,
    }
}

fn export(method: &str, gradient: Option<&str>, graph: &Graph) -> Export {
    let method = Method::new(method, gradient, "paper").unwrap();
    let layers = method.layers_of(graph, graph.layer("relu3").unwrap()).unwrap();
    let mut settings = Settings { draws: NonZeroUsize::new(5), ..Settings::default() };
    // Rounds of draws that depend on the photo are not written.
    settings.cam.quality = Quality::Draft;
    Export {
        method,
        layers,
        class: ClassOf::Top,
        score: ScoreKind::Logit,
        display: false,
        settings,
        seed: 3,
        given: false,
        properties: Vec::new(),
    }
}

fn rows(shape: &[usize]) -> Tensor {
    let numbers = portable_uniform("rows", 5, shape.iter().product());
    (Tensor::from_vec(numbers, shape, &Device::Cpu).unwrap() * 1.5).unwrap()
}

/// The file's map of each row, flattened.
fn of_file(file: &[u8], input: &Tensor, class: Option<usize>) -> Tensor {
    let mut options = OnnxOptions { output: Some("map".into()), ..OnnxOptions::default() };
    options.inputs.extend(class.map(|class| ("class".to_owned(), vec![class as f64])));
    read_onnx(file, &options).unwrap().evaluate(input, &[]).unwrap().0
}

/// The method's own map of each row, flattened.
fn of_method(export: &Export, model: &Model, input: &Tensor, class: Option<usize>) -> Tensor {
    let mut maps = Vec::new();
    for row in 0..input.dim(0).unwrap() {
        let input = input.narrow(0, row, 1).unwrap();
        let output = model.graph.evaluate(&input, &[]).unwrap().0.to_vec2::<f32>().unwrap().remove(0);
        let values: Vec<f64> = output.into_iter().map(f64::from).collect();
        let class = class.unwrap_or_else(|| crate::class::rank(&values)[0]);
        let score = export.score.of(class, model.probabilities);
        let objective = Objective::new(&model.graph, &score);
        let scores: [&dyn Score; 1] = [&score];
        let found = export
            .method
            .explain(&objective, &input, &export.layers, &scores, &export.settings, export.stream())
            .unwrap()
            .remove(0);
        maps.push(found.map.flatten_all().unwrap().unsqueeze(0).unwrap());
    }
    Tensor::cat(&maps, 0).unwrap()
}

/// The largest difference, as a share of the largest value.
fn distance(a: &Tensor, b: &Tensor) -> f32 {
    assert_eq!(a.dims(), b.dims());
    let largest = |x: &Tensor| x.abs().unwrap().flatten_all().unwrap().max(0).unwrap().to_scalar::<f32>().unwrap();
    let scale = largest(b);
    assert!(scale > 0.0, "a map of zeros says nothing");
    largest(&(a - b).unwrap()) / scale
}

fn agrees(export: &Export, model: &Model, class: Option<usize>, what: &str) {
    let exported = export.write(model, None, None).unwrap_or_else(|error| panic!("{what}: {error}"));
    let shape: Vec<usize> = std::iter::once(3).chain(model.graph.nominal_input().iter().copied()).collect();
    let input = rows(&shape);
    // Only an input has to be given a value.
    let given = class.filter(|_| export.class == ClassOf::Input);
    let distance = distance(&of_file(&exported.file.model, &input, given), &of_method(export, model, &input, class));
    // The weights of Expected Grad-CAM++ have poles: near one, rounding is enlarged.
    let tolerance = if export.method.info().name == "expected-grad-cam++" { 2e-3 } else { 1e-4 };
    assert!(distance < tolerance, "{what}: {distance}");
}

/// Methods that a file cannot hold: each is refused in words.
const REFUSED: &[&str] = &[
    "eigen-cam",
    "eigen-grad-cam",
    "lrp",
    "lrp-epsilon-plus",
    "lrp-epsilon",
    "deep-lift",
    "attn-lrp",
    "libra-grad",
    "attention-rollout",
    "attention-relevance",
    "legrad",
    "gaussian-attribution",
    "distribution-attribution",
    "blur-integrated-gradients",
    "guided-integrated-gradients",
    "idgi",
    "blur-idgi",
    "cam",
];

#[test]
fn every_method_is_written_as_it_is_or_refused() {
    let model = model(network());
    let mut refused = Vec::new();
    for info in crate::methods() {
        let export = export(info.name, None, &model.graph);
        match export.write(&model, None, None) {
            Ok(_) if info.name != "cam" => agrees(&export, &model, None, info.name),
            Ok(_) => {}
            Err(Error::Unsupported(_)) => refused.push(info.name),
            Err(error) => panic!("{}: {error}", info.name),
        }
    }
    let masking: Vec<&str> = faithful_cam::METHODS
        .iter()
        .filter(|method| method.estimator().is_none() && !["recipro-cam", "score-cam"].contains(&method.info.name))
        .map(|method| method.info.name)
        .collect();
    for name in refused {
        assert!(REFUSED.contains(&name) || masking.contains(&name), "{name} is refused");
    }
}

/// A block as `ConvNeXt` has it: channels last between two transpositions, where biases lie along the last axis.
#[test]
fn biases_of_channels_that_are_last_are_terms_of_full_grad() {
    let mut builder = GraphBuilder::new(&[3, 12, 10]);
    let x = builder.input();
    let conv = |name: &str, [c, o]: [usize; 2]| Op::Conv2d {
        weight: weight(name, &[o, c, 3, 3]),
        bias: Some(weight(&format!("{name}.bias"), &[o])),
        conv: Conv { padding: [1; 4], ..Conv::default() },
    };
    let x = builder.add("conv1", conv("conv1", [3, 8]), &[x]);
    let y = builder.add("last", Op::Transpose(vec![0, 2, 3, 1]), &[x]);
    let (scale, shift) = (weight("scale", &[8]), weight("shift", &[8]));
    let norm = Op::LayerNorm { axis: 3, weight: Some(scale), bias: Some(shift), epsilon: 1e-5 };
    let y = builder.add("norm", norm, &[y]);
    let y = builder.add("dense", Op::Linear { weight: weight("d", &[8, 8]), bias: Some(weight("d.b", &[8])) }, &[y]);
    let y = builder.add("tanh", Op::Activation(Activation::Tanh), &[y]);
    let y = builder.add("first", Op::Transpose(vec![0, 3, 1, 2]), &[y]);
    let x = builder.add("sum", Op::Binary(Binary::Add), &[x, y]);
    let x = builder.add("relu3", Op::Activation(Activation::Relu), &[x]);
    let x = builder.add("flat", Op::Flatten { axis: 1 }, &[x]);
    let x = builder.add("head", Op::Linear { weight: weight("h", &[4, 960]), bias: None }, &[x]);
    let model = model(builder.finish(x).unwrap());
    for method in ["full-grad", "layer-cam", "hyper-expected-grad-cam"] {
        agrees(&export(method, None, &model.graph), &model, None, method);
    }
}

/// Two resolutions, with a hidden layer behind the target.
fn of_two_levels() -> Graph {
    let mut builder = GraphBuilder::new(&[3, 24, 20]);
    let mut x = builder.input();
    for (name, [c, o], stride) in [("conv1", [3, 8], 2), ("conv2", [8, 8], 2), ("conv3", [8, 6], 1)] {
        let conv = Op::Conv2d {
            weight: weight(name, &[o, c, 3, 3]),
            bias: Some(weight(&format!("{name}.bias"), &[o])),
            conv: Conv { stride: [stride; 2], padding: [1; 4], ..Conv::default() },
        };
        x = builder.add(name, conv, &[x]);
        x = builder.add(name.replace("conv", "relu"), Op::Activation(Activation::Relu), &[x]);
    }
    let x = builder.add("flat", Op::Flatten { axis: 1 }, &[x]);
    let x = builder.add("hidden", Op::Linear { weight: weight("hidden", &[9, 180]), bias: None }, &[x]);
    let x = builder.add("tanh", Op::Activation(Activation::Tanh), &[x]);
    let x = builder.add("head", Op::Linear { weight: weight("head", &[4, 9]), bias: None }, &[x]);
    builder.finish(x).unwrap()
}

/// Several levels, draws in one round and in two, baselines that are all the same and not, a score against another class; and what
/// has no form.
#[test]
fn levels_at_the_inputs_size_are_what_they_are_here() {
    let model = model(of_two_levels());
    let hyper = |draws: usize| {
        let mut export = export("hyper-expected-grad-cam", None, &model.graph);
        export.settings.draws = NonZeroUsize::new(draws);
        export
    };
    let levels = faithful_cam::decomposition_layers(&model.graph, model.graph.layer("relu3").unwrap()).unwrap();
    assert!(levels.len() > 1, "{levels:?}");
    for draws in [1, 3, 8] {
        agrees(&hyper(draws), &model, None, &format!("{draws} draws"));
    }
    let mut different = hyper(6);
    different.settings.sampler = std::sync::Arc::new(faithful_baseline::Uniform::default());
    agrees(&different, &model, None, "random baselines");
    agrees(
        &Export { score: ScoreKind::MarginAgainst(0), class: ClassOf::Index(2), ..hyper(5) },
        &model,
        Some(2),
        "a margin",
    );
    let refused = |export: &Export| export.write(&model, None, None).unwrap_err().to_string();
    let mut thesis = hyper(8);
    thesis.settings.cam.quality = Quality::Thesis;
    assert!(refused(&thesis).contains("qualities"), "{}", refused(&thesis));
    assert!(refused(&Export { given: true, ..hyper(8) }).contains("blurred photo"));
}

#[test]
fn rules_on_estimators_are_what_they_are_here() {
    let model = model(network());
    for gradient in ["smooth", "integrated", "expected", "expected-smooth"] {
        for rule in ["grad-cam++", "layer-cam", "xgrad-cam"] {
            agrees(&export(rule, Some(gradient), &model.graph), &model, None, &format!("{rule} on {gradient}"));
        }
    }
    let refused = export("grad-cam", Some("libra"), &model.graph).write(&model, None, None).err();
    assert!(refused.is_some_and(|error| error.to_string().contains("the gradient `libra`")));
    for difference in ["encoded", "none"] {
        let mut export = export("expected-grad-cam", None, &model.graph);
        export.settings.cam.difference = faithful_cam::Difference::named(difference).unwrap();
        agrees(&export, &model, None, difference);
    }
}

#[test]
fn classes_and_scores_are_those_that_were_asked_for() {
    let model = model(network());
    for score in [
        ScoreKind::Logit,
        ScoreKind::Probability,
        ScoreKind::LogProbability,
        ScoreKind::LogitAndLogProbability,
        ScoreKind::MarginAgainst(0),
    ] {
        for (class, number) in [(ClassOf::Index(2), 2), (ClassOf::Input, 1)] {
            for method in ["layer-cam", "recipro-cam", "score-cam"] {
                let export = Export { class, score, ..export(method, None, &model.graph) };
                agrees(&export, &model, Some(number), &format!("{method} of {score:?} of {class:?}"));
            }
        }
    }
}

#[test]
fn a_file_stays_free_and_says_what_it_is() {
    let graph = {
        let mut builder = GraphBuilder::new(&[3, 16, 16]);
        let x = builder.input();
        let conv = Op::Conv2d {
            weight: weight("w", &[5, 3, 3, 3]),
            bias: None,
            conv: Conv { stride: [2, 2], padding: [1; 4], ..Conv::default() },
        };
        let x = builder.add("conv", conv, &[x]);
        let x = builder.add("relu3", Op::Activation(Activation::Relu), &[x]);
        let x = builder.add("pool", Op::AdaptiveAvgPool2d([1, 1]), &[x]);
        let x = builder.add("flat", Op::Flatten { axis: 1 }, &[x]);
        let x = builder.add("head", Op::Linear { weight: weight("h", &[4, 5]), bias: None }, &[x]);
        builder.finish(x).unwrap()
    };
    let model = model(graph);
    let export = Export { display: true, ..export("grad-cam", None, &model.graph) };
    let exported = export.write(&model, None, None).unwrap();
    assert_eq!(exported.input, [None, Some(3), None, None]);
    assert_eq!(exported.outputs[1], ("map".to_owned(), vec![None, None, None]));
    let options =
        OnnxOptions { output: Some("map".into()), input_shape: Some(vec![3, 20, 24]), ..OnnxOptions::default() };
    let found = read_onnx(&exported.file.model, &options).unwrap().evaluate(&rows(&[2, 3, 20, 24]), &[]).unwrap().0;
    assert_eq!(found.dims(), [2, 20 * 24]);
    let values = found.to_dtype(DType::F32).unwrap().to_vec2::<f32>().unwrap();
    assert!(values.iter().flatten().all(|value| (0.0..=1.0).contains(value)));
    assert!(values.iter().all(|row| row.contains(&1.0)));
}

#[test]
fn draws_may_be_inputs() {
    let model = model(network());
    let input = rows(&[2, 3, 12, 10]);
    for (name, gradient, alphas) in [
        ("expected-grad-cam", None, true),
        ("expected-gradients", None, true),
        ("layer-cam", Some("integrated"), false),
        ("integrated-gradients", None, false),
    ] {
        let export = Export { given: true, class: ClassOf::Index(1), ..export(name, gradient, &model.graph) };
        let exported = export.write(&model, None, None).unwrap();
        let count = if alphas { 5 } else { 1 };
        // Zeros are what the settings' own sampler gives, so that the file is what the method is.
        let places = faithful_baseline::AlphaSampler::Uniform.alphas(&export.stream(), 0..5, 5);
        let mut options = OnnxOptions { output: Some("map".into()), ..OnnxOptions::default() };
        options.inputs.insert("baselines".into(), vec![0.0; count * 360]);
        if alphas {
            options.inputs.insert("alphas".into(), places);
        }
        let found = read_onnx(&exported.file.model, &options).unwrap().evaluate(&input, &[]).unwrap().0;
        let method = of_method(&export, &model, &input, Some(1));
        assert!(distance(&found, &method) < 2e-5, "{name}: {}", distance(&found, &method));
        // They are read: others give another map.
        options.inputs.insert("baselines".into(), vec![0.3; count * 360]);
        let other = read_onnx(&exported.file.model, &options).unwrap().evaluate(&input, &[]).unwrap().0;
        assert!(distance(&other, &method) > 1e-3, "{name}");
    }
}

#[test]
fn baselines_of_the_photo_itself_are_refused() {
    let model = model(network());
    let mut export = export("expected-grad-cam", None, &model.graph);
    export.settings.sampler = std::sync::Arc::new(faithful_baseline::InputMean);
    let error = export.write(&model, None, None).unwrap_err().to_string();
    assert!(error.contains("made of the photo itself"), "{error}");
}
