//! Hyper Expected Grad-CAM on small networks: its constraints, its edges, and what must not change it.

use candle_core::{DType, Device, Tensor};
use faithful_cam::{
    BaselineCache, CamParameters, FusionParameters, HyperParameters, StageParameters, decomposition_layers, explain,
    explain_scores, hyper_parts, method,
};
use faithful_core::{
    CandleModel, CandleNetwork, LayerId, LayerInfo, Network, Objective, Probe, Result, Stream, Target,
};
use faithful_model::{Graph, GraphBuilder, Op};
use faithful_tensor::{Activation, Conv, Pool};
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};

fn number(n: usize) -> NonZeroUsize {
    NonZeroUsize::new(n).unwrap()
}

fn weights(shape: &[usize], key: &str) -> Tensor {
    use faithful_baseline::normal;
    let mut wide = vec![1];
    wide.extend_from_slice(shape);
    let like = Tensor::zeros(wide, DType::F32, &Device::Cpu).unwrap();
    (normal(&like, &Stream::new(3, key), 0..1).unwrap().squeeze(0).unwrap() * 0.5).unwrap()
}

/// Two strided blocks and a target layer of a quarter of the input's size; `head` scales the classifier.
pub(crate) fn network(head: f64) -> Graph {
    let mut builder = GraphBuilder::new(&[3, 32, 32]);
    let convolution = |name: &str, shape: &[usize], stride: usize| Op::Conv2d {
        weight: weights(shape, name),
        bias: None,
        conv: Conv { stride: [stride; 2], padding: [1; 4], ..Conv::default() },
    };
    let x = builder.input();
    let x = builder.add("first", convolution("first", &[6, 3, 3, 3], 2), &[x]);
    let x = builder.add("first.relu", Op::Activation(Activation::Relu), &[x]);
    let x = builder.add("middle", convolution("middle", &[6, 6, 3, 3], 1), &[x]);
    let x = builder.add("middle.relu", Op::Activation(Activation::Relu), &[x]);
    // Padded, so that a single pixel can be pooled.
    let pool = Pool { kernel: [3, 3], stride: [2, 2], padding: [1; 4], ..Pool::default() };
    let x = builder.add("pool", Op::MaxPool2d(pool), &[x]);
    let x = builder.add("last", convolution("last", &[8, 6, 3, 3], 1), &[x]);
    let x = builder.add("last.relu", Op::Activation(Activation::Relu), &[x]);
    let x = builder.add("average", Op::AdaptiveAvgPool2d([1, 1]), &[x]);
    let x = builder.add("flat", Op::Flatten { axis: 1 }, &[x]);
    let weight = (weights(&[3, 8], "head") * head).unwrap();
    let x = builder.add("head", Op::Linear { weight, bias: None }, &[x]);
    builder.finish(x).unwrap()
}

pub(crate) fn photo(height: usize, width: usize) -> Tensor {
    weights(&[1, 3, height, width], "photo")
}

fn parameters() -> CamParameters {
    let mut parameters = CamParameters::default();
    parameters.gradient.draws = number(4);
    parameters.hyper.stages = StageParameters { first: Some(0.5), count: Some(2), ..StageParameters::default() };
    parameters
}

pub(crate) fn target(network: &dyn Network) -> LayerId {
    network.layer("last.relu").unwrap()
}

fn values(map: &Tensor) -> Vec<f32> {
    map.flatten_all().unwrap().to_vec1().unwrap()
}

fn map(network: &dyn Network, input: &Tensor, batch: usize, parameters: &CamParameters) -> Result<Tensor> {
    let score = Target::Output(1);
    let objective = Objective::new(network, &score).with_batch(number(batch));
    Ok(explain(method("hyper-expected-grad-cam")?, &objective, input, &[target(network)], parameters)?.map)
}

#[test]
fn the_layers_are_where_sizes_change_and_the_relus_behind() {
    let network = network(1.0);
    let levels = decomposition_layers(&network, target(&network)).unwrap();
    let names: Vec<Vec<&str>> = levels
        .iter()
        .map(|level| level.iter().map(|layer| network.layers()[layer.0].name.as_str()).collect())
        .collect();
    assert_eq!(names, [vec!["first", "first.relu"], vec!["last.relu"]]);
    assert!(decomposition_layers(&network, LayerId(99)).is_err());
}

#[test]
fn every_part_can_be_inspected() {
    let network = network(1.0);
    let score = Target::Output(1);
    let objective = Objective::new(&network, &score);
    let parts = hyper_parts(&objective, &photo(32, 32), target(&network), &[&score], &parameters()).unwrap().remove(0);
    assert_eq!(parts.base.dims(), [1, 8, 8]);
    assert_eq!(parts.plan.inflate, [4.0, 4.0]);
    assert_eq!(parts.plan.stages.iter().map(|stage| stage.side).collect::<Vec<_>>(), [[16, 16], [8, 8]]);
    assert_eq!(parts.frequency.levels.iter().map(|level| level.inflate[0]).collect::<Vec<_>>(), [4.0, 2.0]);
    let names: Vec<String> = parts.maps().into_iter().map(|(name, _)| name).collect();
    for name in
        ["base", "stage-16x16", "stage-8x8", "level-0", "detail-1", "frequency", "stages", "combined", "refined"]
    {
        assert!(names.iter().any(|known| known == name), "{names:?}");
    }
    let map = values(&parts.explanation.map);
    assert!(map.iter().all(|value| value.abs() < 1.0));
    // The explanation has the order of the refined map.
    let combined = values(&parts.refined.map);
    for (a, b) in [(0, 500), (77, 301), (1000, 31)] {
        assert!((combined[a] - combined[b]) * (map[a] - map[b]) >= 0.0);
    }
}

/// A network that writes down the shape of every input.
struct Watched {
    graph: Graph,
    seen: Mutex<Vec<Vec<usize>>>,
}

impl CandleModel for Watched {
    fn layers(&self) -> &[LayerInfo] {
        self.graph.layers()
    }

    fn input_shape(&self) -> Option<&[usize]> {
        self.graph.input_shape()
    }

    fn forward(&self, input: &Tensor, probe: &mut dyn Probe) -> Result<Tensor> {
        let rows = input.dims()[0];
        self.seen.lock().unwrap().extend(vec![input.dims()[1..].to_vec(); rows]);
        self.graph.forward(input, probe)
    }
}

#[test]
fn the_network_always_sees_the_inputs_own_pixels() {
    let watched = CandleNetwork(Watched { graph: network(1.0), seen: Mutex::default() });
    let map = map(&watched, &photo(33, 57), 8, &parameters()).unwrap();
    assert_eq!(map.dims(), [1, 33, 57]);
    let seen = watched.0.seen.into_inner().unwrap();
    assert!(seen.len() > 10 && seen.iter().all(|shape| shape == &[3, 33, 57]), "{seen:?}");
}

#[test]
fn batches_threads_and_caches_change_nothing() {
    let network = network(1.0);
    let input = photo(33, 57);
    let first = map(&network, &input, 1, &parameters()).unwrap();
    for batch in [3, 8, 64] {
        let other = map(&network, &input, batch, &parameters()).unwrap();
        assert!(faithful_tests::relative_l2(&other, &first).unwrap() < 1e-5, "batch {batch}");
    }
    let mut cached = parameters();
    cached.gradient.cache = Some(Arc::new(BaselineCache::default()));
    for _ in 0..2 {
        assert_eq!(values(&map(&network, &input, 1, &cached).unwrap()), values(&first));
    }
    let again =
        std::thread::scope(|scope| scope.spawn(|| map(&network, &input, 1, &parameters()).unwrap()).join().unwrap());
    assert_eq!(values(&again), values(&first));
    let mut reseeded = parameters();
    reseeded.gradient.stream = Stream::new(9, "photo");
    assert_ne!(values(&map(&network, &input, 1, &reseeded).unwrap()), values(&first));
}

/// Part II asks for a pass per neighbourhood and one per draw; what baselines are by themselves was computed with the first
/// map and serves all stages.
#[test]
fn stages_share_what_baselines_say_by_themselves() {
    let photos = weights(&[3, 3, 32, 32], "baselines");
    let mut parameters = parameters();
    // Each of two rounds sees all three.
    parameters.gradient.draws = number(6);
    parameters.gradient.sampler = Arc::new(faithful_baseline::DataSet::new(photos).unwrap());
    parameters.hyper.blurred = 0.0;
    parameters.hyper.dependencies.draws = number(3);
    let rows = |stages: usize, shared: bool| {
        let mut parameters = parameters.clone();
        parameters.hyper.stages.count = Some(stages);
        parameters.gradient.cache = shared.then(Arc::default);
        let watched = CandleNetwork(Watched { graph: network(1.0), seen: Mutex::default() });
        let score = Target::Output(1);
        let objective = Objective::new(&watched, &score);
        let parts =
            hyper_parts(&objective, &photo(32, 32), target(&watched), &[&score], &parameters).unwrap().remove(0);
        let blocks: usize = parts.plan.stages.iter().map(|stage| stage.corners().count()).sum();
        (watched.0.seen.into_inner().unwrap().len(), blocks)
    };
    let ((without, _), (with, blocks)) = (rows(0, true), rows(2, true));
    assert!(blocks > 10, "{blocks}");
    assert_eq!(with - without, blocks * (1 + 3));
    // Without a cache for the whole run, part II still evaluates each of the three once.
    let ((without, _), (with, _)) = (rows(0, false), rows(2, false));
    assert_eq!(with - without, blocks * (1 + 3) + 3);
}

#[test]
fn several_classes_share_their_pass() {
    let network = network(1.0);
    let (one, two) = (Target::Output(1), Target::Output(2));
    let objective = Objective::new(&network, &one);
    let layers = [target(&network)];
    let hyper = method("hyper-expected-grad-cam").unwrap();
    let both = explain_scores(hyper, &objective, &photo(32, 32), &layers, &[&one, &two], &parameters()).unwrap();
    let alone = explain(hyper, &objective.with_score(&two), &photo(32, 32), &layers, &parameters()).unwrap();
    assert!(faithful_tests::relative_l2(&both[1].map, &alone.map).unwrap() < 1e-6);
    assert!(faithful_tests::relative_l2(&both[0].map, &alone.map).unwrap() > 1e-2);
}

#[test]
fn edges_give_a_map_or_a_clear_error() {
    let network_ = network(1.0);
    // Grey, one pixel wide, one pixel high, smaller than a stride.
    let grey = Tensor::full(0.25f32, (1, 3, 32, 32), &Device::Cpu).unwrap();
    for (input, size) in [(grey, [32, 32]), (photo(40, 1), [40, 1]), (photo(1, 9), [1, 9]), (photo(2, 3), [2, 3])] {
        let map = map(&network_, &input, 8, &parameters()).unwrap();
        assert_eq!(map.dims(), [1, size[0], size[1]]);
        assert!(values(&map).iter().all(|value| value.abs() < 1.0));
    }
    // No gradient, and no difference from the baseline: nothing to show.
    let silent = map(&network(0.0), &photo(32, 32), 8, &parameters()).unwrap();
    assert!(values(&silent).iter().all(|value| *value == 0.0));
    let zero = Tensor::zeros((1, 3, 32, 32), DType::F32, &Device::Cpu).unwrap();
    assert!(values(&map(&network_, &zero, 8, &parameters()).unwrap()).iter().all(|value| *value == 0.0));
    let score = Target::Output(1);
    let objective = Objective::new(&network_, &score);
    let hyper = method("hyper-expected-grad-cam").unwrap();
    let target = target(&network_);
    let several = explain(hyper, &objective, &photo(32, 32), &[LayerId(1), target], &parameters());
    assert!(several.unwrap_err().to_string().contains("one target layer"));
    let flat = explain(hyper, &objective, &photo(32, 32), &[network_.layer("head").unwrap()], &parameters());
    assert!(flat.unwrap_err().to_string().contains("places"));
    let fusion = FusionParameters { modulation: 2.0, ..FusionParameters::default() };
    let wrong = HyperParameters { fusion, ..HyperParameters::default() };
    let wrong = CamParameters { hyper: wrong, ..parameters() };
    assert!(map(&network_, &photo(32, 32), 8, &wrong).unwrap_err().to_string().contains("modulation"));
}
