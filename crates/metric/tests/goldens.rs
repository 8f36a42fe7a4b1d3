//! Metrics compared with other libraries' on a small network; `fixtures/goldens/metric/make.py` made the values and says
//! which of the peers' defects are left out.

use candle_core::{D, Device, Tensor};
use faithful_core::{CandleModel, CandleNetwork, Error, LayerInfo, Network, Objective, Probe, Result, Stream, Target};
use faithful_metric::{
    Infidelity, Masking, Perturbation, Protocol, Removal, Road, complexity, energy_inside, infidelity,
    insertion_deletion, masked_scores, parameter_randomisation, pointing_game, road, sensitivity_to, similarity,
    sparseness,
};
use faithful_tensor::{Activation, BackwardRule, Conv, activate, conv2d, linear};
use std::collections::HashMap;
use std::num::NonZeroUsize;

/// conv 3-4, relu, conv 4-6, relu, global mean, linear 6-5.
#[derive(Clone)]
struct Small(HashMap<String, Tensor>);

impl CandleModel for Small {
    fn layers(&self) -> &[LayerInfo] {
        &[]
    }

    fn forward(&self, input: &Tensor, _: &mut dyn Probe) -> Result<Tensor> {
        let weight = |name: &str| &self.0[name];
        let same = Conv { padding: [1; 4], ..Conv::default() };
        let relu = |x: Tensor| activate(&x, Activation::Relu, BackwardRule::default());
        let x = relu(conv2d(input, weight("0.weight"), Some(weight("0.bias")), &same)?)?;
        let x = relu(conv2d(&x, weight("2.weight"), Some(weight("2.bias")), &same)?)?;
        Ok(linear(&x.mean((2, 3))?, weight("6.weight"), Some(weight("6.bias")))?)
    }
}

struct Peers {
    tensors: HashMap<String, Tensor>,
    network: CandleNetwork<Small>,
    target: Target,
}

impl Peers {
    fn load() -> Self {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/goldens/metric/peers.safetensors");
        let tensors = candle_core::safetensors::load(path, &Device::Cpu).unwrap();
        let network =
            tensors.iter().filter_map(|(name, tensor)| Some((name.strip_prefix("net.")?.into(), tensor.clone())));
        let class = tensors["class"].to_vec1::<u32>().unwrap()[0] as usize;
        Self { network: CandleNetwork(Small(network.collect())), target: Target::Probability(class), tensors }
    }

    fn get(&self, name: &str) -> &Tensor {
        self.tensors.get(name).unwrap_or_else(|| panic!("no golden `{name}`"))
    }

    fn objective(&self) -> Objective<'_> {
        Objective::new(&self.network, &self.target).with_batch(NonZeroUsize::new(32).unwrap())
    }

    fn object(&self) -> Vec<bool> {
        self.get("object").flatten_all().unwrap().to_vec1::<f32>().unwrap().iter().map(|value| *value > 0.0).collect()
    }

    /// The gradient of the class's logit at `input`, of `network`.
    fn gradient(&self, network: &dyn Network, input: &Tensor) -> Result<Tensor> {
        let Target::Probability(class) = self.target else { return Err(Error::parameter("target", "a probability")) };
        Ok(Objective::new(network, &Target::Output(class)).input_gradient(input)?.squeeze(0)?)
    }

    #[track_caller]
    fn check(&self, name: &str, found: f64) {
        let expected = self.get(name).to_vec1::<f64>().unwrap()[0];
        assert!((found - expected).abs() < 1e-4, "{name}: {found} and not {expected}");
    }
}

#[test]
fn insertion_and_deletion_are_the_peers() {
    let peers = Peers::load();
    for name in ["torchcam", "polycam", "rise"] {
        let protocol = Protocol::named(name).unwrap();
        let curves = insertion_deletion(&peers.objective(), peers.get("input"), peers.get("map"), &protocol).unwrap();
        peers.check(&format!("{name}.insertion"), curves.insertion_area());
        peers.check(&format!("{name}.deletion"), curves.deletion_area());
    }
}

#[test]
fn drop_and_increase_are_torchcams() {
    let peers = Peers::load();
    let (input, map) = (peers.get("input"), peers.get("map"));
    let masks = [Masking::Soft];
    let scores = masked_scores(&peers.objective(), input, map, &masks, &faithful_metric::Canvas::Zero).unwrap();
    peers.check("torchcam.drop", scores[0].drop());
    peers.check("torchcam.increase", scores[0].increase());
}

#[test]
fn road_is_pytorch_grad_cams_without_noise() {
    let peers = Peers::load();
    let parameters = Road { noise: 0.0, removal: Removal::Threshold, ..Road::default() };
    let stream = Stream::new(0, "");
    let found = road(&peers.objective(), peers.get("input"), peers.get("map"), &parameters, &stream).unwrap();
    // At the first four percentiles most relevant first removes the whole image, which has no solution there.
    for (name, scores, first) in [("morf", &found.most_relevant_first, 4), ("lerf", &found.least_relevant_first, 0)] {
        let expected = peers.get(&format!("road.{name}")).to_vec1::<f64>().unwrap();
        for (place, (score, expected)) in scores.iter().zip(&expected).enumerate().skip(first) {
            let change = score - found.original;
            assert!((change - expected).abs() < 1e-4, "{name} {place}: {change} and not {expected}");
        }
    }
}

#[test]
fn map_and_object_metrics_are_quantus() {
    let peers = Peers::load();
    let (map, object) = (peers.get("map"), peers.object());
    peers.check("quantus.sparseness", sparseness(map).unwrap());
    peers.check("quantus.complexity", complexity(map).unwrap());
    peers.check("quantus.mass", energy_inside(map, &object).unwrap());
    peers.check("quantus.pointing", pointing_game(map, &object).unwrap());
    let highest = map.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    let hit: Vec<bool> = highest.iter().map(|value| *value == 1.0).collect();
    peers.check("quantus.pointing_away", pointing_game(map, &hit).unwrap());
    peers.check("ssim", similarity(peers.get("ssim.a"), peers.get("ssim.b")).unwrap().structural);
}

#[test]
fn parameter_randomisation_is_quantus() {
    let peers = Peers::load();
    let mut network = peers.network.clone();
    let networks = ["6", "2", "0"].into_iter().enumerate().map(|(step, layer)| {
        for part in ["weight", "bias"] {
            let name = format!("{layer}.{part}");
            let weights = peers.get(&format!("mprt.{step}.{name}")).clone();
            network.0.0.insert(name, weights);
        }
        Ok((layer.to_owned(), network.clone()))
    });
    let mut explain = |network: &dyn Network| Ok(peers.gradient(network, peers.get("input"))?.sum(0)?);
    let found = parameter_randomisation(&peers.network, networks, &mut explain).unwrap();
    let expected = peers.get("mprt.spearman").to_vec1::<f64>().unwrap();
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        let spearman = found.similarity.spearman_of_magnitudes;
        assert!((spearman - expected).abs() < 1e-4, "{}: {spearman} and not {expected}", found.layer);
    }
}

#[test]
fn infidelity_and_sensitivity_are_captums() {
    let peers = Peers::load();
    let input = peers.get("input");
    let near = peers.get("near");
    let map = peers.gradient(&peers.network, input).unwrap();
    let inputs = (0..near.dim(0).unwrap()).map(|row| Ok(near.narrow(0, row, 1)?));
    let moved = sensitivity_to(&map, inputs, &mut |input| peers.gradient(&peers.network, input)).unwrap();
    peers.check("captum.sensitivity_max", moved.max());

    let promised = peers.get("promised").squeeze(0).unwrap();
    for (kind, contributions) in [("gradient", false), ("contributions", true)] {
        for (suffix, scaled) in [("", false), (".scaled", true)] {
            let perturbation = Perturbation::Given(peers.get("far").clone());
            let parameters = Infidelity { perturbation, contributions, scaled, ..Infidelity::default() };
            let found = infidelity(&peers.objective(), input, &promised, &parameters, &Stream::new(0, "")).unwrap();
            peers.check(&format!("captum.infidelity.{kind}{suffix}"), found);
        }
    }
}

#[test]
fn the_network_is_the_goldens() {
    // A probability that is neither 0 nor 1, so that the values above say something.
    let peers = Peers::load();
    let scores = peers.objective().outputs(peers.get("input")).unwrap();
    let probability =
        faithful_tensor::softmax(&scores, 1).unwrap().max(D::Minus1).unwrap().to_vec1::<f32>().unwrap()[0];
    assert!(probability > 0.3 && probability < 0.99, "{probability}");
}
