//! Networks whose factors are rounded to `bf16`, beside the same networks in `f32`.

use candle_core::{DType, Device, Tensor};
use faithful_core::{LayerId, Network, Tap};
use faithful_model::{Compute, Graph, GraphBuilder, Op, Precision, architecture, portable_uniform};
use faithful_tensor::Conv;

fn networks() -> Vec<(&'static str, Graph)> {
    ["resnet18", "mobilenet_v2", "squeezenet1_1", "densenet121"]
        .into_iter()
        .map(|name| (name, architecture(name).unwrap().random(10, 0, &Device::Cpu).unwrap()))
        .collect()
}

fn images(rows: usize) -> Tensor {
    let numbers = portable_uniform("images", 0, rows * 3 * 64 * 64);
    Tensor::from_vec(numbers, (rows, 3, 64, 64), &Device::Cpu).unwrap()
}

fn bits(x: &Tensor) -> Vec<u32> {
    x.flatten_all().unwrap().to_vec1::<f32>().unwrap().into_iter().map(f32::to_bits).collect()
}

/// `‖a - b‖ / ‖b‖`.
fn far(a: &Tensor, b: &Tensor) -> f64 {
    assert_eq!(a.dims(), b.dims());
    let length = |x: &Tensor| f64::from(x.sqr().unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap()).sqrt();
    length(&(a - b).unwrap()) / length(b).max(1e-20)
}

#[test]
fn layers_are_nearly_those_of_f32() {
    let x = images(2);
    for (name, graph) in networks() {
        let rounded = graph.with_bf16_factors().unwrap();
        let all: Vec<LayerId> = (0..graph.nodes().len()).map(LayerId).collect();
        let (output, layers) = rounded.evaluate(&x, &all).unwrap();
        let (exact, exact_layers) = graph.evaluate(&x, &all).unwrap();
        let distance = far(&output, &exact);
        assert!(distance > 1e-6 && distance < 0.1, "{name}: {distance:e}");
        for (layer, (value, exact)) in graph.layers().iter().zip(layers.iter().zip(&exact_layers)) {
            assert!(far(value, exact) < 0.1, "{name}, {}: {:e}", layer.name, far(value, exact));
        }
        // Where nothing between a convolution and its normalisation is kept, the folded weights are what is rounded.
        let fused = rounded.evaluate(&x, &[]).unwrap().0;
        assert!(far(&fused, &exact) < 0.1, "{name}");
        // The way back runs in f32 at nearly the same activations.
        let last = Tap::Layer(LayerId(graph.nodes().len() - 3));
        let products_of = |graph: &Graph| graph.vjp(&x, &[last], &mut |y| Ok(vec![y.ones_like()?])).unwrap();
        let (products, exact) = (products_of(&rounded), products_of(&graph));
        assert!(far(&products.output, &exact.output) < 0.1, "{name}");
        assert!(far(&products.gradients[0][0], &exact.gradients[0][0]) < 0.2, "{name}");
    }
}

#[test]
fn rows_do_not_depend_on_the_batch() {
    let x = images(5);
    for (name, graph) in networks() {
        let rounded = graph.with_bf16_factors().unwrap();
        let whole = rounded.evaluate(&x, &[]).unwrap().0;
        assert_eq!(bits(&rounded.evaluate_similar(&x).unwrap()), bits(&whole), "{name}");
        for row in [0, 4] {
            let one = rounded.evaluate(&x.narrow(0, row, 1).unwrap(), &[]).unwrap().0;
            assert_eq!(bits(&one), bits(&whole.narrow(0, row, 1).unwrap()), "{name}, row {row}");
        }
    }
}

#[test]
fn the_precision_that_is_asked_for_is_computed() {
    let graph = architecture("squeezenet1_1").unwrap().random(10, 0, &Device::Cpu).unwrap();
    let x = images(3);
    let run = |device: &str, precision| {
        let network = Compute::new(device, precision).unwrap().place(&graph).unwrap();
        bits(&network.evaluate(&x, &[]).unwrap().0)
    };
    assert_eq!(run("cpu", Precision::F32), bits(&graph.evaluate(&x, &[]).unwrap().0));
    let rounded = bits(&graph.with_bf16_factors().unwrap().evaluate(&x, &[]).unwrap().0);
    assert_eq!(run("cpu", Precision::Bf16), rounded);
    assert_eq!(run("cpu,cpu", Precision::Bf16), rounded);
}

#[test]
fn networks_without_such_products_are_refused() {
    let refused = |graph: &Graph, reason: &str| {
        let error = graph.with_bf16_factors().unwrap_err().to_string();
        assert!(error.starts_with("precision: ") && error.contains(reason), "{error}");
    };
    let mut builder = GraphBuilder::new(&[4, 9, 9]);
    let input = builder.input();
    let weight = Tensor::zeros((4, 1, 3, 3), DType::F32, &Device::Cpu).unwrap();
    let conv = Conv { groups: 4, ..Conv::default() };
    let output = builder.add("depthwise", Op::Conv2d { weight, bias: None, conv }, &[input]);
    refused(&builder.finish(output).unwrap(), "this network has none");
    let graph = architecture("squeezenet1_1").unwrap().random(10, 0, &Device::Cpu).unwrap();
    refused(&graph.on_candle(), "planned in f32 on the CPU");
    refused(&graph.to_dtype(DType::F64).unwrap(), "planned in f32 on the CPU");
}
