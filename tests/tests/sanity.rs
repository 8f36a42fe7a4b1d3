//! The sanity checks on networks that have forgotten their layers.

use candle_core::{Device, Tensor};
use faithful_core::{Network, Objective, Result, Stream, Target};
use faithful_metric::{data_label, parameter_randomisation};
use faithful_model::{Graph, GraphBuilder, Op, Randomisation};
use faithful_tensor::{Activation, Conv};

fn values(shape: &[usize], key: &str) -> Tensor {
    let seed: f64 = key.bytes().enumerate().map(|(place, byte)| (place + 1) as f64 * f64::from(byte)).sum();
    let count: usize = shape.iter().product();
    let value = |i: usize| ((i as f64 * 12.9898 + seed).sin() * 43_758.545_3).rem_euclid(1.0) as f32 - 0.5;
    let values: Vec<f32> = (0..count).map(value).collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

fn network(key: &str) -> Graph {
    let weight = |name: &str, shape: &[usize]| values(shape, &format!("{key} {name}"));
    let mut builder = GraphBuilder::new(&[3, 16, 16]);
    let conv = Conv { padding: [1; 4], ..Conv::default() };
    let x = builder.input();
    let bias = Some(weight("stem bias", &[8]));
    let x = builder.add("stem", Op::Conv2d { weight: weight("stem", &[8, 3, 3, 3]), bias, conv }, &[x]);
    let x = builder.add("stem.relu", Op::Activation(Activation::Relu), &[x]);
    let x = builder.add("block", Op::Conv2d { weight: weight("block", &[8, 8, 3, 3]), bias: None, conv }, &[x]);
    let x = builder.add("block.relu", Op::Activation(Activation::Relu), &[x]);
    let x = builder.add("pool", Op::AdaptiveAvgPool2d([1, 1]), &[x]);
    let x = builder.add("flatten", Op::Flatten { axis: 1 }, &[x]);
    let x = builder.add("head", Op::Linear { weight: weight("head", &[5, 8]), bias: None }, &[x]);
    builder.finish(x).unwrap()
}

/// The gradient changes with the network, and the more so the more layers are gone; a map made of the photo alone does
/// not notice.
#[test]
fn sanity_tells_explanations_of_the_network_from_those_of_the_photo() {
    let trained = network("trained");
    let photo = values(&[1, 3, 16, 16], "photo");
    let stream = Stream::new(2, "sanity");
    let mut gradient = |network: &dyn Network| -> Result<Tensor> {
        let target = Target::Output(3);
        Ok(Objective::new(network, &target).input_gradient(&photo)?.squeeze(0)?.sum(0)?)
    };
    for order in [Randomisation::Cascading, Randomisation::Independent] {
        let layers = parameter_randomisation(&trained, trained.randomised(order, &stream), &mut gradient).unwrap();
        let names: Vec<&str> = layers.iter().map(|layer| layer.layer.as_str()).collect();
        assert_eq!(names, ["head", "block", "stem"]);
        for layer in &layers {
            let found = layer.similarity;
            assert!(found.spearman < 0.9 && found.structural < 0.9, "{order:?} {layer:?}");
        }
        let again = parameter_randomisation(&trained, trained.randomised(order, &stream), &mut gradient).unwrap();
        assert_eq!(layers, again, "the same stream forgets the same");

        let mut edges = |_: &dyn Network| -> Result<Tensor> { Ok(photo.squeeze(0)?.abs()?.sum(0)?) };
        let stays = parameter_randomisation(&trained, trained.randomised(order, &stream), &mut edges).unwrap();
        for layer in stays {
            assert!((layer.similarity.spearman - 1.0).abs() < 1e-12 && layer.similarity.structural > 1.0 - 1e-9);
        }
    }
    let other = data_label(&trained, &network("shuffled labels"), &mut gradient).unwrap();
    assert!(other.spearman.abs() < 0.7, "{other:?}");
}
