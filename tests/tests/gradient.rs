//! Gradient attribution against Captum, SHAP, the `saliency` package and references written from the papers
//! (`fixtures/goldens/gradient/make.py`), and laws that run over the table of methods.

use candle_core::{DType, Device, Tensor};
use faithful_baseline::{AlphaSampler, BaselineSampler, DataSet, Order};
use faithful_core::{AtLayer, Error, Network, Objective, Result, Stop, Stream, Target, UpToLayer};
use faithful_gradient::{
    BlurPath, ExpectedGradients, GradientParameters, GuidedPath, Integration, METHODS, Note, Parameter, Quadrature,
    SmoothGrad, Statistic, attribute_at_layer, deconvnet, expected_gradients, gradient, gradient_times_input,
    guided_backpropagation, guided_integrated_gradients, integrated_gradients, method, path_attribution, saliency,
    smooth_grad,
};
use faithful_model::{Graph, GraphBuilder, NodeId, Op};
use faithful_tensor::{Activation, Binary, Conv, Pool};
use faithful_tests::{fixture, relative_l2};
use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::Arc;

const TARGET: Target = Target::Output(2);

/// A golden file: tensors by name, the network's weights among them.
struct Golden {
    name: &'static str,
    tensors: HashMap<String, Tensor>,
}

impl Golden {
    fn load(name: &'static str) -> Self {
        let path = fixture(&format!("goldens/gradient/{name}.safetensors"));
        Self { name, tensors: candle_core::safetensors::load(path, &Device::Cpu).unwrap() }
    }

    fn get(&self, name: &str) -> &Tensor {
        self.tensors.get(name).unwrap_or_else(|| panic!("{} has no `{name}`", self.name))
    }

    #[track_caller]
    fn agrees(&self, found: &Tensor, name: &str) {
        let distance = relative_l2(found, self.get(name)).unwrap();
        assert!(distance <= 1e-4, "{} {name}: {distance}", self.name);
    }

    /// The network as a graph; layers have PyTorch's names.
    fn network(&self) -> Graph {
        let mut layers = Layers { golden: self, builder: GraphBuilder::new(&[3, 16, 16]) };
        let output = match self.name {
            "vgg" => layers.vgg(),
            "resnet" => layers.resnet(),
            "mobilenet" => layers.mobilenet(),
            _ => layers.smooth(),
        };
        layers.builder.finish(output).unwrap()
    }
}

const RELU6: Activation = Activation::Clip { low: 0.0, high: 6.0 };

struct Layers<'a> {
    golden: &'a Golden,
    builder: GraphBuilder,
}

impl Layers<'_> {
    fn weight(&self, name: &str, kind: &str) -> Option<Tensor> {
        self.golden.tensors.get(&format!("weight.{name}.{kind}")).cloned()
    }

    fn conv(&mut self, name: &str, x: NodeId, stride: usize) -> NodeId {
        let weight = self.weight(name, "weight").unwrap();
        let padding = weight.dims()[2] / 2;
        let groups = if weight.dims()[1] == 1 { weight.dims()[0] } else { 1 };
        let conv = Conv { stride: [stride; 2], padding: [padding; 4], groups, ..Conv::default() };
        let bias = self.weight(name, "bias");
        self.builder.add(name, Op::Conv2d { weight, bias, conv }, &[x])
    }

    fn norm(&mut self, name: &str, x: NodeId) -> NodeId {
        let [weight, bias, mean, variance] =
            ["weight", "bias", "running_mean", "running_var"].map(|kind| self.weight(name, kind).unwrap());
        let scale = (weight / (variance + 1e-5).unwrap().sqrt().unwrap()).unwrap();
        let shift = (bias - (mean * &scale).unwrap()).unwrap();
        self.builder.add(name, Op::BatchNorm { scale, shift }, &[x])
    }

    fn linear(&mut self, name: &str, x: NodeId) -> NodeId {
        let op = Op::Linear { weight: self.weight(name, "weight").unwrap(), bias: self.weight(name, "bias") };
        self.builder.add(name, op, &[x])
    }

    fn activation(&mut self, name: &str, kind: Activation, x: NodeId) -> NodeId {
        self.builder.add(name, Op::Activation(kind), &[x])
    }

    fn max_pool(&mut self, name: &str, x: NodeId, kernel: usize, padding: usize) -> NodeId {
        let pool = Pool {
            kernel: [kernel; 2],
            stride: [2, 2],
            padding: [padding; 4],
            dilation: [1, 1],
            ceil: false,
            count_padding: true,
        };
        self.builder.add(name, Op::MaxPool2d(pool), &[x])
    }

    fn flatten(&mut self, name: &str, x: NodeId) -> NodeId {
        self.builder.add(name, Op::Flatten { axis: 1 }, &[x])
    }

    fn vgg(&mut self) -> NodeId {
        let mut x = self.builder.input();
        for (conv, relu, pool) in [("0", "1", None), ("2", "3", Some("4")), ("5", "6", Some("7"))] {
            x = self.conv(conv, x, 1);
            x = self.activation(relu, Activation::Relu, x);
            x = pool.map_or(x, |pool| self.max_pool(pool, x, 2, 0));
        }
        x = self.flatten("8", x);
        x = self.linear("9", x);
        x = self.activation("10", Activation::Relu, x);
        self.linear("11", x)
    }

    fn resnet(&mut self) -> NodeId {
        let x = self.conv("0", NodeId(0), 1);
        let x = self.norm("1", x);
        let x = self.activation("2", Activation::Relu, x);
        let mut x = self.max_pool("3", x, 3, 1);
        for (block, stride) in [("4", 1), ("5", 2)] {
            let name = |part: &str| format!("{block}.{part}");
            let mut y = self.conv(&name("conv1"), x, stride);
            y = self.norm(&name("bn1"), y);
            y = self.activation(&name("relu1"), Activation::Relu, y);
            y = self.conv(&name("conv2"), y, 1);
            y = self.norm(&name("bn2"), y);
            let around = if stride > 1 { self.conv(&name("down"), x, stride) } else { x };
            let sum = self.builder.add(name("add"), Op::Binary(Binary::Add), &[y, around]);
            x = self.activation(&name("relu2"), Activation::Relu, sum);
        }
        self.head(x)
    }

    fn mobilenet(&mut self) -> NodeId {
        let x = self.conv("0", NodeId(0), 2);
        let mut x = self.activation("1", RELU6, x);
        for (block, stride) in [("2", 1), ("3", 2)] {
            let name = |part: &str| format!("{block}.{part}");
            let mut y = self.conv(&name("expand"), x, 1);
            y = self.activation(&name("relu1"), RELU6, y);
            y = self.conv(&name("depthwise"), y, stride);
            y = self.activation(&name("relu2"), RELU6, y);
            y = self.conv(&name("project"), y, 1);
            x = if stride == 1 { self.builder.add(name("add"), Op::Binary(Binary::Add), &[x, y]) } else { y };
        }
        let x = self.conv("4", x, 1);
        let x = self.activation("5", RELU6, x);
        self.head(x)
    }

    fn smooth(&mut self) -> NodeId {
        let x = self.conv("0", NodeId(0), 1);
        let x = self.activation("1", Activation::Gelu, x);
        let x = self.max_pool("2", x, 2, 0);
        let x = self.conv("3", x, 1);
        let x = self.activation("4", Activation::Silu, x);
        let x = self.conv("5", x, 2);
        let x = self.activation("6", Activation::HardSwish, x);
        self.pooled("9", x)
    }

    fn head(&mut self, x: NodeId) -> NodeId {
        self.pooled("8", x)
    }

    fn pooled(&mut self, linear: &str, x: NodeId) -> NodeId {
        let x = self.builder.add("pool", Op::AdaptiveAvgPool2d([1, 1]), &[x]);
        let x = self.flatten("flatten", x);
        self.linear(linear, x)
    }
}

fn goldens() -> [Golden; 4] {
    ["vgg", "resnet", "mobilenet", "smooth"].map(Golden::load)
}

/// These tensors one after the other, as noisy copies or baselines.
fn in_order(tensors: &Tensor) -> DataSet {
    let order = Order::Sequential((0..tensors.dims()[0]).collect());
    DataSet::new(tensors.clone()).unwrap().with_order(order).unwrap()
}

fn count(number: usize) -> NonZeroUsize {
    NonZeroUsize::new(number).unwrap()
}

fn integration(quadrature: Quadrature) -> Integration {
    Integration { steps: count(20), quadrature, stop: Stop::Draws }
}

#[test]
fn plain_gradients_agree_with_captum() {
    for golden in goldens() {
        let (network, input) = (golden.network(), golden.get("input"));
        let objective = Objective::new(&network, &TARGET);
        golden.agrees(&objective.outputs(input).unwrap(), "output");
        golden.agrees(&gradient(&objective, input).unwrap(), "captum.gradient");
        golden.agrees(&saliency(&objective, input).unwrap(), "captum.saliency");
        golden.agrees(&gradient_times_input(&objective, input).unwrap(), "captum.gradient_times_input");
    }
}

#[test]
fn guided_backpropagation_and_deconvnet_agree_with_the_papers_and_captum() {
    for golden in goldens() {
        let (network, input) = (golden.network(), golden.get("input"));
        let objective = Objective::new(&network, &TARGET);
        let guided = guided_backpropagation(&objective, input).unwrap();
        let deconvolved = deconvnet(&objective, input).unwrap();
        golden.agrees(&guided, "reference.guided");
        golden.agrees(&deconvolved, "reference.deconvnet");
        if ["mobilenet", "smooth"].contains(&golden.name) {
            // Captum (as pytorch-grad-cam) looks for modules of the class ReLU. On a network of ReLU6, GELU, SiLU or
            // hardswish it finds none and returns the plain gradient, which is neither method.
            for name in ["captum.guided", "captum.deconvnet"] {
                golden.agrees(golden.get(name), "captum.gradient");
            }
            assert!(relative_l2(&guided, golden.get("captum.guided")).unwrap() > 0.3);
            assert!(relative_l2(&deconvolved, golden.get("captum.deconvnet")).unwrap() > 0.3);
        } else {
            golden.agrees(&guided, "captum.guided");
            golden.agrees(&deconvolved, "captum.deconvnet");
        }
    }
}

#[test]
fn integrated_gradients_agree_with_captum_for_every_quadrature() {
    for golden in goldens() {
        let (network, input) = (golden.network(), golden.get("input"));
        let objective = Objective::new(&network, &TARGET);
        let baseline = golden.get("baselines").narrow(0, 0, 1).unwrap();
        let found = |rule| integrated_gradients(&objective, input, &baseline, &integration(rule)).unwrap().map;
        for (rule, name) in [
            (Quadrature::Left, "riemann_left"),
            (Quadrature::Right, "riemann_right"),
            (Quadrature::Midpoint, "riemann_middle"),
            (Quadrature::GaussLegendre, "gausslegendre"),
        ] {
            golden.agrees(&found(rule), &format!("captum.integrated.{name}"));
        }
        // Captum divides a trapezoid of 20 points by 20, not by its 19 steps: every attribution is 5% too small.
        golden.agrees(&(found(Quadrature::Trapezoid) * 0.95).unwrap(), "captum.integrated.riemann_trapezoid");
    }
}

#[test]
fn layer_wise_integrated_gradients_agree_with_captum() {
    for (golden, layer) in goldens().into_iter().zip(["6", "5.relu1", "2.relu2", "4"]) {
        let (network, input) = (golden.network(), golden.get("input"));
        let wrapped = AtLayer::new(&network, network.layer(layer).unwrap(), input).unwrap();
        let baseline = wrapped.encode(&golden.get("baselines").narrow(0, 0, 1).unwrap()).unwrap();
        let objective = Objective::new(&wrapped, &TARGET);
        let activation = wrapped.activation().unwrap();
        let rule = integration(Quadrature::GaussLegendre);
        let found = integrated_gradients(&objective, &activation, &baseline, &rule).unwrap();
        golden.agrees(&found.map, "captum.layer_integrated");
    }
}

#[test]
fn smooth_grad_agrees_with_captum_on_the_same_noise() {
    for golden in goldens() {
        let (network, input) = (golden.network(), golden.get("input"));
        let objective = Objective::new(&network, &TARGET).with_batch(count(3));
        let noise = in_order(golden.get("noisy"));
        for (statistic, name) in [
            (Statistic::Mean, "captum.smoothgrad"),
            (Statistic::Square, "captum.smoothgrad_sq"),
            (Statistic::Variance, "captum.vargrad"),
        ] {
            let parameters = SmoothGrad { draws: count(5), statistic, stop: Stop::Draws };
            let found = smooth_grad(&objective, input, &noise, &Stream::new(0, ""), &parameters).unwrap();
            golden.agrees(&found.map, name);
        }
    }
}

#[test]
fn expected_gradients_agree_with_shap_and_attributionpriors_on_the_same_draws() {
    for golden in goldens() {
        let (network, input) = (golden.network(), golden.get("input"));
        let objective = Objective::new(&network, &TARGET).with_batch(count(4));
        let stream = Stream::new(7, "parity");
        let baselines = in_order(golden.get("baselines"));
        let parameters = ExpectedGradients { draws: count(6), ..ExpectedGradients::default() };
        let found = expected_gradients(&objective, input, &baselines, &stream, &parameters).unwrap();
        golden.agrees(&found.map, "reference.expected");
        golden.agrees(&found.map, "shap.expected");
        golden.agrees(&found.standard_error.unwrap(), "reference.expected_error");
        // The gap is the one of the sum.
        let scores = objective.scores(golden.get("baselines")).unwrap().mean_all().unwrap();
        let wanted = (objective.scores(input).unwrap().squeeze(0).unwrap() - scores).unwrap();
        let gap = (found.map.sum_all().unwrap() - wanted).unwrap().to_scalar::<f32>().unwrap();
        assert!(
            (found.convergence.unwrap().delta.unwrap() - f64::from(gap)).abs() < 1e-3 * (1.0 + f64::from(gap.abs()))
        );
    }
}

#[test]
fn guided_integrated_gradients_agree_with_their_authors() {
    for golden in goldens() {
        let (network, input) = (golden.network(), golden.get("input"));
        let objective = Objective::new(&network, &TARGET);
        let baseline = golden.get("baselines").narrow(0, 0, 1).unwrap();
        let parameters = GuidedPath { steps: count(30), fraction: 0.25, max_distance: 0.1 };
        let found = guided_integrated_gradients(&objective, input, &baseline, &parameters).unwrap();
        golden.agrees(&found.map, "saliency.guided_integrated");
    }
}

#[test]
fn blur_integrated_gradients_agree_with_their_authors_on_the_same_blur() {
    for golden in goldens() {
        let (network, input) = (golden.network(), golden.get("input"));
        let objective = Objective::new(&network, &TARGET);
        let path = BlurPath::new(input, 3.0).unwrap();
        let found = path_attribution(&objective, &path, &integration(Quadrature::Right)).unwrap();
        golden.agrees(&found.map, "saliency.blur_integrated");
    }
}

#[test]
fn layer_wise_methods_are_those_of_the_network_from_the_layer_on() {
    for (golden, layer) in goldens().into_iter().zip(["6", "5.relu1", "2.relu2", "4"]) {
        let (network, input) = (golden.network(), golden.get("input"));
        let layer = network.layer(layer).unwrap();
        let objective = Objective::new(&network, &TARGET);
        let settings = GradientParameters { draws: Some(count(20)), ..parameters(&golden) };
        // The first of the shuffled baselines is what Captum was given.
        let first = Order::Sequential(vec![0]);
        let sampler = DataSet::new(golden.get("baselines").clone()).unwrap().with_order(first).unwrap();
        let one = GradientParameters { sampler: Arc::new(sampler), ..settings.clone() };
        let integrated = method("integrated-gradients").unwrap();
        let found = attribute_at_layer(integrated, &objective, input, layer, &one).unwrap();
        golden.agrees(&found.map, "captum.layer_integrated");
        let wrapped = AtLayer::new(&network, layer, input).unwrap();
        let from_layer = Objective::new(&wrapped, &TARGET);
        let activation = wrapped.activation().unwrap();
        let sampler = Arc::new(DataSet::new(wrapped.encode(golden.get("baselines")).unwrap()).unwrap());
        let encoded = GradientParameters { sampler, ..settings.clone() };
        for method in METHODS {
            let found = match attribute_at_layer(method, &objective, input, layer, &settings) {
                Err(error)
                    if method.info.name.contains("lrp") || ["deep-lift", "libra-grad"].contains(&method.info.name) =>
                {
                    assert!(error.to_string().contains("lead around"), "{} {}: {error}", golden.name, method.info.name);
                    continue;
                }
                found => found.unwrap(),
            };
            let same = (method.attribute)(&from_layer, &activation, &encoded).unwrap();
            assert!(relative_l2(&found.map, &same.map).unwrap() < 1e-6, "{} {}", golden.name, method.info.name);
        }
    }
}

/// A regression's value, a probability, its logarithm and a margin: the chain rule over the network's own outputs.
#[test]
fn every_target_is_attributed_by_every_method() {
    for golden in goldens() {
        let (network, input) = (golden.network(), golden.get("input"));
        let of = |target: &Target| gradient(&Objective::new(&network, target), input).unwrap();
        let outputs: Vec<Tensor> = (0..5).map(|k| of(&Target::Output(k))).collect();
        let logits = Objective::new(&network, &TARGET).outputs(input).unwrap().get(0).unwrap();
        let logits = logits.to_dtype(DType::F64).unwrap().to_vec1::<f64>().unwrap();
        let highest = logits.iter().copied().fold(f64::MIN, f64::max);
        let sum: f64 = logits.iter().map(|logit| (logit - highest).exp()).sum();
        let probabilities: Vec<f64> = logits.iter().map(|logit| (logit - highest).exp() / sum).collect();
        let combined = |weights: &[f64]| {
            let terms = outputs.iter().zip(weights).map(|(gradient, weight)| (gradient * *weight).unwrap());
            terms.reduce(|sum, term| (sum + term).unwrap()).unwrap()
        };
        let log: Vec<f64> = (0..5).map(|k| f64::from(u8::from(k == 2)) - probabilities[k]).collect();
        let softmax: Vec<f64> = log.iter().map(|weight| weight * probabilities[2]).collect();
        for (target, weights) in [
            (Target::LogProbability(2), &log[..]),
            (Target::Probability(2), &softmax),
            (Target::Margin { class: 2, against: 4 }, &[0.0, 0.0, 1.0, 0.0, -1.0]),
        ] {
            let distance = relative_l2(&of(&target), &combined(weights)).unwrap();
            assert!(distance < 1e-4, "{} {target:?}: {distance}", golden.name);
            let objective = Objective::new(&network, &target);
            for method in METHODS {
                let found = (method.attribute)(&objective, input, &parameters(&golden)).unwrap();
                assert!(found.notes.is_empty(), "{} {} {target:?}: {:?}", golden.name, method.info.name, found.notes);
            }
            // What integrates is complete for whatever is explained.
            let integrated = integrated_gradients(
                &objective,
                input,
                &golden.get("baselines").narrow(0, 0, 1).unwrap(),
                &Integration { steps: count(300), ..Integration::default() },
            );
            let gap = integrated.unwrap().convergence.unwrap().delta.unwrap().abs();
            let score = objective.scores(input).unwrap().get(0).unwrap().to_scalar::<f32>().unwrap();
            assert!(gap < 0.03 * (1.0 + f64::from(score.abs())), "{} {target:?}: {gap}", golden.name);
        }
        let beyond = gradient(&Objective::new(&network, &Target::Output(5)), input);
        assert!(beyond.unwrap_err().to_string().contains("0..5"));
    }
}

fn parameters(golden: &Golden) -> GradientParameters<'static> {
    let sampler: Arc<dyn BaselineSampler> = Arc::new(DataSet::new(golden.get("baselines").clone()).unwrap());
    let alphas = AlphaSampler::Stratified;
    GradientParameters { draws: Some(count(7)), sampler, alphas, sigma: 3.0, ..GradientParameters::default() }
}

#[test]
fn every_method_gives_a_finite_map_of_the_inputs_size_whatever_the_batch() {
    for golden in goldens() {
        let (network, input) = (golden.network(), golden.get("input"));
        let settings = parameters(&golden);
        for method in METHODS {
            let run = |batch| {
                let objective = Objective::new(&network, &TARGET).with_batch(count(batch));
                (method.attribute)(&objective, input, &settings).unwrap()
            };
            let (found, name) = (run(8), method.info.name);
            let dims = found.map.dims();
            assert!(dims == [1, 3, 16, 16] || (name == "saliency" && dims == [1, 16, 16]), "{name}: {dims:?}");
            assert!(found.notes.is_empty(), "{name}: {:?}", found.notes);
            let distance = relative_l2(&run(3).map, &found.map).unwrap();
            assert!(distance < 1e-5, "{} {name}: {distance}", golden.name);
            let lowest = found.map.flatten_all().unwrap().min(0).unwrap().to_scalar::<f32>().unwrap();
            // A score that rises at every step has no negative shares of them.
            assert!((lowest < 0.0) == method.info.signed || name.ends_with("idgi"), "{name}");
            let two = Tensor::cat(&[input, input], 0).unwrap();
            let objective = Objective::new(&network, &TARGET);
            assert!((method.attribute)(&objective, &two, &settings).is_err(), "{name} takes one input");
        }
    }
}

#[test]
fn the_seed_and_the_image_decide_the_draws() {
    let golden = Golden::load("vgg");
    let (network, input) = (golden.network(), golden.get("input"));
    let objective = Objective::new(&network, &TARGET);
    for method in METHODS.iter().filter(|method| method.reads(Parameter::Stream)) {
        let run = |seed, image| {
            let settings = GradientParameters { stream: Stream::new(seed, image), ..parameters(&golden) };
            let map = (method.attribute)(&objective, input, &settings).unwrap().map;
            map.flatten_all().unwrap().to_vec1::<f32>().unwrap()
        };
        let name = method.info.name;
        assert_eq!(run(1, "heron"), run(1, "heron"), "{name}");
        assert_ne!(run(1, "heron"), run(2, "heron"), "{name}");
        assert_ne!(run(1, "heron"), run(1, "tench"), "{name}");
    }
}

#[test]
fn a_dead_network_gives_zero_maps_and_a_note() {
    let mut golden = Golden::load("mobilenet");
    let head = golden.get("weight.8.weight").zeros_like().unwrap();
    golden.tensors.insert("weight.8.weight".into(), head);
    let (network, input) = (golden.network(), golden.get("input"));
    let objective = Objective::new(&network, &Target::Probability(1));
    for method in METHODS {
        let found = (method.attribute)(&objective, input, &parameters(&golden)).unwrap();
        let size = found.map.abs().unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap();
        assert_eq!((size, found.notes.as_slice()), (0.0, [Note::ZeroGradient].as_slice()), "{}", method.info.name);
    }
}

#[test]
fn what_is_not_finite_is_an_error_and_no_map() {
    let golden = Golden::load("resnet");
    let (network, input) = (golden.network(), (golden.get("input") * f64::NAN).unwrap());
    let objective = Objective::new(&network, &TARGET);
    for method in METHODS {
        let found = (method.attribute)(&objective, &input, &parameters(&golden));
        assert!(matches!(found, Err(Error::NotFinite { .. })), "{}", method.info.name);
    }
}

#[test]
fn deconvnet_shows_what_a_channel_of_an_inner_layer_has_found() -> Result<()> {
    let golden = Golden::load("vgg");
    let (network, input) = (golden.network(), golden.get("input"));
    let layer = network.layer("6")?;
    let channels = UpToLayer::new(&network, layer)?;
    let activation = network.activations(input, &[layer])?.remove(0);
    let strongest = activation.flatten_from(2)?.max(2)?;
    assert!(relative_l2(&Objective::new(&channels, &TARGET).outputs(input)?, &strongest)? < 1e-6);
    let map = deconvnet(&Objective::new(&channels, &TARGET), input)?.squeeze(0)?.abs()?.sum(0)?.to_vec2::<f32>()?;
    // Only the receptive field of the one strongest place lights up: at most 10 pixels each way.
    let place = activation.narrow(1, 2, 1)?.flatten_all()?.argmax(0)?.to_scalar::<u32>()? as usize;
    let (row, column) = (2 * (place / 8), 2 * (place % 8));
    let mut outside = 0.0;
    let mut inside = 0.0;
    for (y, line) in map.iter().enumerate() {
        for (x, value) in line.iter().enumerate() {
            let near = y.abs_diff(row) <= 6 && x.abs_diff(column) <= 6;
            *(if near { &mut inside } else { &mut outside }) += value;
        }
    }
    assert!(inside > 0.0 && outside == 0.0, "{inside} {outside}");
    Ok(())
}

#[test]
fn methods_work_in_double_precision_and_at_inner_layers() -> Result<()> {
    let golden = Golden::load("vgg");
    let (network, input) = (golden.network(), golden.get("input"));
    let wrapped = AtLayer::new(&network, network.layer("3")?, input)?;
    let activation = wrapped.activation()?;
    let objective = Objective::new(&wrapped, &TARGET);
    let sampler = Arc::new(DataSet::new(wrapped.encode(golden.get("baselines"))?)?);
    let settings = GradientParameters { draws: Some(count(6)), sampler, sigma: 2.0, ..GradientParameters::default() };
    for method in METHODS {
        let found = (method.attribute)(&objective, &activation, &settings)?;
        let size = found.map.to_dtype(DType::F64)?.abs()?.sum_all()?.to_scalar::<f64>()?;
        assert!(size.is_finite() && size > 0.0, "{}", method.info.name);
    }
    // Guided backpropagation at a layer uses the rule behind it.
    let guided = (method("guided-backpropagation")?.attribute)(&objective, &activation, &settings)?;
    let plain = (method("gradient")?.attribute)(&objective, &activation, &settings)?;
    assert!(relative_l2(&guided.map, &plain.map)? > 0.1);
    Ok(())
}
