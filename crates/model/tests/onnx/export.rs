//! Networks and their gradients written as ONNX's operators, and read again: the file gives what the network gives.

use crate::operators::tolerance;
use crate::{expected, folder, relative_l2};
use candle_core::{Device, Tensor};
use faithful_core::{Error, Network, Tap};
use faithful_model::export::{About, OnnxWriter, Symbol};
use faithful_model::{Graph, GraphBuilder, OnnxOptions, Op, load_onnx, portable_uniform, read_onnx};
use faithful_tensor::{BackwardRule, Conv, Pool, Resize};
use proptest::prelude::*;

/// A file with the outputs `y` and `g`: the network's and the gradient at the input, for weights of the outputs that follow
/// them, so that a linear network's gradient depends on the input too.
fn exported(graph: &Graph, free: bool) -> Result<Vec<u8>, Error> {
    let mut writer = OnnxWriter::default();
    let names = ["y", "g"].map(|name| writer.reserve(name));
    let input = writer.input(graph, free)?;
    let values = writer.forward(graph, &input, &[graph.output()], "")?;
    let y = values[graph.output().0].clone().unwrap();
    writer.enter("weights");
    let seed = cotangent(y.nominal()[1]);
    let seed = writer.numbers(&[1, seed.len()], &seed);
    let seed = writer.mul(&seed, &y)?;
    let from = (graph.output(), seed);
    let g = writer.gradients(graph, &values, from, &[graph.input()], BackwardRule::Plain, "")?.remove(0);
    let outputs: Vec<Symbol> = names.iter().zip([&y, &g]).map(|(name, value)| writer.call(name, value)).collect();
    Ok(writer.finish([&[input], &[], &outputs], &About::default(), None)?.model)
}

fn cotangent(outputs: usize) -> Vec<f32> {
    (0..outputs).map(|i| ((i * 7 + 3) % 11) as f32 / 11.0 - 0.4).collect()
}

fn weights(output: &Tensor) -> Result<Vec<Tensor>, Error> {
    Ok(vec![output.broadcast_mul(&Tensor::new(cotangent(output.dim(1)?), &Device::Cpu)?)?])
}

/// How far the file's output and gradient are from the network's.
fn distances(graph: &Graph, input: &Tensor, free: bool) -> Result<[f64; 2], String> {
    let text = |error: Error| error.to_string();
    let file = exported(graph, free).map_err(|error| format!("cannot be written: {error}"))?;
    let wanted = graph.vjp(input, &[Tap::Input], &mut |output| weights(output)).map_err(text)?;
    let mut found = [0.0; 2];
    for (found, (name, wanted)) in found.iter_mut().zip([("y", &wanted.output), ("g", &wanted.gradients[0][0])]) {
        let shape = input.dims()[1..].to_vec();
        let options = OnnxOptions { output: Some(name.into()), input_shape: Some(shape), ..OnnxOptions::default() };
        let again = read_onnx(&file, &options).map_err(|error| format!("`{name}` cannot be read: {error}"))?;
        let value = again.evaluate(input, &[]).map_err(|error| format!("`{name}` cannot be run: {error}"))?.0;
        let wanted = wanted.flatten_from(1).map_err(|error| error.to_string())?;
        if value.dims() != wanted.dims() {
            return Err(format!("`{name}` is {:?} instead of {:?}", value.dims(), wanted.dims()));
        }
        let size = wanted.abs().and_then(|size| size.max_all()?.to_scalar::<f32>()).map_err(|e| e.to_string())?;
        *found = match size {
            0.0 => f64::from(value.abs().and_then(|size| size.max_all()?.to_scalar::<f32>()).unwrap_or(f32::NAN)),
            _ => relative_l2(&value, &wanted).map_err(|error| error.to_string())?,
        };
    }
    Ok(found)
}

fn is_near(distances: [f64; 2]) -> bool {
    distances.iter().all(|distance| *distance < 1e-4)
}

/// Operators whose gradient is no sum of others' that are written; each error names them.
const NOT_WRITTEN: &[&str] = &["max-pool3d", "avg-pool3d", "rnn", "lstm", "gru"];

#[test]
fn every_operator_that_is_read_is_written_with_its_gradient() {
    let goldens = candle_core::safetensors::load(folder().join("operators.safetensors"), &Device::Cpu).unwrap();
    let mut names: Vec<&str> = goldens.keys().filter_map(|key| key.strip_suffix(".model")).collect();
    names.sort_unstable();
    let (mut failures, mut refused) = (Vec::new(), 0);
    for name in names.into_iter().filter(|name| *name != "einsum_4") {
        let bytes = goldens[&format!("{name}.model")].to_vec1::<u8>().unwrap();
        let graph = read_onnx(&bytes, &OnnxOptions::default()).unwrap();
        let input = &goldens[&format!("{name}.input")];
        let input = if graph.nominal_input() == &input.dims()[1..] {
            input.clone()
        } else {
            input.permute([0, 3, 1, 2]).unwrap().contiguous().unwrap()
        };
        match distances(&graph, &input, false) {
            Ok(found) if is_near(found) => {}
            // Rounded values jump, and so do the gradients behind them.
            Ok(found) if found.iter().all(|distance| *distance < tolerance(name)) => {}
            Ok(found) => failures.push(format!("{name}: {found:?}")),
            Err(error) if NOT_WRITTEN.iter().any(|kind| error.contains(&format!("({kind}"))) => refused += 1,
            Err(error) => failures.push(format!("{name}: {error}")),
        }
    }
    assert!(failures.is_empty(), "{} files differ:\n{}", failures.len(), failures.join("\n"));
    assert!(refused <= 24, "{refused} are not written");
}

#[test]
fn every_network_that_is_read_is_written_with_its_gradient() {
    let expected = expected();
    let mut names: Vec<&str> = expected.keys().filter_map(|key| key.strip_suffix(".output")).collect();
    names.sort_unstable();
    let mut failures = Vec::new();
    for name in names {
        let graph = load_onnx(&folder().join(format!("{name}.onnx")), &OnnxOptions::default()).unwrap();
        let input = &expected[&format!("{name}.input")];
        let input = if name.contains("channels_last") { &input.permute((0, 3, 1, 2)).unwrap() } else { input };
        let input = input.narrow(0, 0, 1).unwrap().contiguous().unwrap();
        match distances(&graph, &input, false) {
            Ok(found) if is_near(found) => {}
            Ok(found) => failures.push(format!("{name}: {found:?}")),
            Err(error) => failures.push(format!("{name}: {error}")),
        }
    }
    assert!(failures.is_empty(), "{} files differ:\n{}", failures.len(), failures.join("\n"));
}

/// A network of one operation behind a first convolution, and a dense layer of all that it gives.
fn around(input: [usize; 3], op: Op) -> Graph {
    let mut builder = GraphBuilder::new(&input);
    let weight = |name: &str, shape: &[usize]| {
        let count = shape.iter().product();
        Tensor::from_vec(portable_uniform(name, 3, count), shape, &Device::Cpu).unwrap()
    };
    let x = builder.input();
    let conv = Op::Conv2d {
        weight: weight("first", &[input[0], 1, 1, 1]),
        bias: None,
        conv: Conv { groups: input[0], ..Conv::default() },
    };
    let x = builder.add("first", conv, &[x]);
    let y = builder.add("subject", op, &[x]);
    let y = builder.add("tanh", Op::Activation(faithful_tensor::Activation::Tanh), &[y]);
    let mean = builder.add("global", Op::AdaptiveAvgPool2d([1, 1]), &[y]);
    let flat = builder.add("flat", Op::Flatten { axis: 1 }, &[mean]);
    builder.finish(flat).unwrap()
}

fn rows(input: [usize; 3]) -> Tensor {
    let [c, h, w] = input;
    // Few different values: windows have ties.
    let numbers: Vec<f32> =
        portable_uniform("rows", 5, 2 * c * h * w).iter().map(|number| (number * 3.0).round() / 2.0).collect();
    Tensor::from_vec(numbers, (2, c, h, w), &Device::Cpu).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn convolutions_of_any_geometry_go_back(
        kernel in [1usize..4, 1usize..4], stride in [1usize..4, 1usize..4], dilation in [1usize..3, 1usize..3],
        padding in [0usize..3, 0usize..3, 0usize..3, 0usize..3], groups in 1usize..3, size in [6usize..11, 6usize..11],
        free in any::<bool>(),
    ) {
        let count = 4 * (4 / groups) * kernel[0] * kernel[1];
        let weight = Tensor::from_vec(portable_uniform("w", 1, count), (4, 4 / groups, kernel[0], kernel[1]), &Device::Cpu).unwrap();
        let conv = Conv { stride, dilation, padding, groups };
        let input = [4, size[0], size[1]];
        let graph = around(input, Op::Conv2d { weight, bias: None, conv });
        let found = distances(&graph, &rows(input), free);
        prop_assert!(found.as_ref().is_ok_and(|found| is_near(*found)), "{found:?}");
    }

    #[test]
    fn pools_of_any_geometry_go_back(
        kernel in [1usize..4, 1usize..4], stride in [1usize..4, 1usize..4], dilated in 1usize..3,
        share in [0usize..2, 0usize..2, 0usize..2, 0usize..2], ceil in any::<bool>(), count_padding in any::<bool>(),
        maximum in any::<bool>(), size in [6usize..11, 6usize..11],
    ) {
        let dilation = if maximum { [dilated, dilated] } else { [1, 1] };
        // Padding is smaller than the window.
        let padding = std::array::from_fn(|side| share[side].min((kernel[side % 2] - 1) * dilation[side % 2]));
        let pool = Pool { kernel, stride, padding, dilation, ceil, count_padding };
        let input = [3, size[0], size[1]];
        let graph = around(input, if maximum { Op::MaxPool2d(pool) } else { Op::AvgPool2d(pool) });
        let found = distances(&graph, &rows(input), false);
        prop_assert!(found.as_ref().is_ok_and(|found| is_near(*found)), "{found:?}");
    }

    #[test]
    fn adaptive_pools_and_resizes_go_back(size in [3usize..9, 3usize..9], goal in [1usize..9, 1usize..9], which in 0usize..3) {
        let input = [4, size[0], size[1]];
        let op = match which {
            0 => Op::AdaptiveAvgPool2d([goal[0].min(size[0]), goal[1].min(size[1])]),
            1 => Op::AdaptiveMaxPool2d([goal[0].min(size[0]), goal[1].min(size[1])]),
            _ => Op::Resize { size: faithful_model::ResizeTo::Size(goal), rules: Resize::default() },
        };
        let found = distances(&around(input, op), &rows(input), false);
        prop_assert!(found.as_ref().is_ok_and(|found| is_near(*found)), "{found:?}");
    }
}

#[test]
fn what_has_no_gradient_in_operators_is_named() {
    let goldens = candle_core::safetensors::load(folder().join("operators.safetensors"), &Device::Cpu).unwrap();
    let graph = read_onnx(&goldens["max_pool3d.model"].to_vec1::<u8>().unwrap(), &OnnxOptions::default()).unwrap();
    let error = exported(&graph, false).unwrap_err().to_string();
    assert!(error.contains("a gradient of layer `") && error.contains("(max-pool3d)"), "{error}");
}

#[test]
fn sizes_stay_free_where_nothing_needs_them() {
    let weight = Tensor::from_vec(portable_uniform("w", 1, 4 * 3 * 9), (4, 3, 3, 3), &Device::Cpu).unwrap();
    let conv = Conv { stride: [2, 2], padding: [1; 4], ..Conv::default() };
    let graph = around([3, 16, 16], Op::Conv2d { weight, bias: None, conv });
    let file = exported(&graph, true).unwrap();
    for size in [[16, 16], [21, 14]] {
        let input = rows([3, size[0], size[1]]);
        let options = OnnxOptions {
            output: Some("g".into()),
            input_shape: Some(vec![3, size[0], size[1]]),
            ..OnnxOptions::default()
        };
        let found = read_onnx(&file, &options).unwrap().evaluate(&input, &[]).unwrap().0;
        let wanted = graph.vjp(&input, &[Tap::Input], &mut |output| weights(output)).unwrap();
        assert!(relative_l2(&found, &wanted.gradients[0][0].flatten_from(1).unwrap()).unwrap() < 1e-5);
    }
}
