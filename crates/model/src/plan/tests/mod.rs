//! Plans against the reference implementation: values, kept layers, gradients at several taps, resumed runs.

mod graphs;

use crate::{Graph, Op, portable_uniform};
use candle_core::{DType, Device, Tensor};
use faithful_core::{BackwardRule, LayerId, Network, Tap, VectorJacobianProducts};
use graphs::{
    branches_like, gated_like, graphs, image_graphs, mobilenet_like, resnet_like, series_like, transformer_like,
    turning_like, vgg_like,
};

/// The layers that may be asked for: constants are none, nor what is made of constants alone.
fn layers(graph: &Graph) -> Vec<LayerId> {
    let mut depends: Vec<bool> = Vec::new();
    for node in graph.nodes() {
        depends.push(matches!(node.op, Op::Input) || node.inputs.iter().any(|input| depends[input.0]));
    }
    (0..depends.len()).filter(|node| depends[*node]).map(LayerId).collect()
}

fn input(graph: &Graph, rows: usize, seed: u64) -> Tensor {
    let shape: Vec<usize> = std::iter::once(rows).chain(graph.nominal_input().iter().copied()).collect();
    let numbers = portable_uniform("input", seed, shape.iter().product());
    Tensor::from_vec(numbers, shape, &Device::Cpu).unwrap()
}

fn far(a: &Tensor, b: &Tensor) -> f64 {
    assert_eq!(a.dims(), b.dims());
    let f64s = |x: &Tensor| x.flatten_all().unwrap().to_dtype(DType::F64).unwrap().to_vec1::<f64>().unwrap();
    let (a, b) = (f64s(a), f64s(b));
    let difference: f64 = a.iter().zip(&b).map(|(a, b)| (a - b).powi(2)).sum();
    (difference / b.iter().map(|b| b * b).sum::<f64>().max(1e-20)).sqrt()
}

#[test]
fn all_layers_are_those_of_the_reference() {
    for graph in graphs() {
        let x = input(&graph, 2, 1);
        let reference = graph.on_candle();
        let all = layers(&graph);
        let (expected, expected_layers) = reference.evaluate(&x, &all).unwrap();
        let of = |layer: &LayerId| &expected_layers[all.iter().position(|one| one == layer).unwrap()];
        // Nothing fused, everything fused, and a few layers kept.
        let some: Vec<LayerId> = all.iter().copied().filter(|layer| layer.0 % 5 == 3).collect();
        for kept in [&all, &some, &Vec::new()] {
            let (output, layers) = graph.evaluate(&x, kept).unwrap();
            assert!(far(&output, &expected) < 1e-5);
            for (layer, value) in kept.iter().zip(&layers) {
                let distance = far(value, of(layer));
                assert!(distance < 1e-5, "{}: {distance:e}", graph.layers()[layer.0].name);
            }
        }
        let layers = graph.activations(&x, &some).unwrap();
        for (layer, value) in some.iter().zip(&layers) {
            assert!(far(value, of(layer)) < 1e-5);
        }
    }
}

#[test]
fn gradients_are_those_of_the_reference() {
    for (number, graph) in graphs().into_iter().enumerate() {
        let rule = [BackwardRule::Plain, BackwardRule::Guided, BackwardRule::Deconvnet][number / 4 % 3];
        let graph = graph.with_rule(rule);
        // Alone, a row's parts may lie side by side.
        let x = input(&graph, 1 + number / 4 % 2, 2);
        let reference = graph.on_candle();
        let every: Vec<Tap> = layers(&graph).into_iter().skip(1).map(Tap::Layer).chain([Tap::Input]).collect();
        let some: Vec<Tap> = every.iter().copied().skip(number % 3).step_by(4).collect();
        let upper: Vec<Tap> = every[every.len() / 2..every.len() - 1].iter().copied().step_by(3).collect();
        for taps in [vec![Tap::Input], some, upper, every] {
            for cotangents in 1..3 {
                let mut make = |output: &Tensor| {
                    let make = |i: u64| {
                        let numbers = portable_uniform("cotangent", i, output.elem_count());
                        Ok(Tensor::from_vec(numbers, output.dims(), &Device::Cpu)?)
                    };
                    (0..cotangents).map(make).collect()
                };
                let expected = reference.vjp(&x, &taps, &mut make).unwrap();
                let got = graph.vjp(&x, &taps, &mut make).unwrap();
                assert!(far(&got.output, &expected.output) < 1e-5);
                for (i, tap) in taps.iter().enumerate() {
                    assert!(far(&got.values[i], &expected.values[i]) < 1e-5);
                    for (got, expected) in got.gradients.iter().zip(&expected.gradients) {
                        let distance = far(&got[i], &expected[i]);
                        // Single precision through a softmax of scores and layer norms.
                        let most = if graph.nodes().iter().any(|node| matches!(node.op, Op::Softmax { .. })) {
                            1e-4
                        } else {
                            2e-5
                        };
                        assert!(distance < most, "graph {number}, {tap:?} of {taps:?}, {rule:?}: {distance:e}");
                    }
                }
            }
        }
    }
}

/// The gradient of a part of a concatenation has gaps between its rows.
#[test]
fn linear_layers_side_by_side_get_their_own_gradients() {
    let graph = branches_like(3);
    let x = input(&graph, 3, 2);
    let every: Vec<Tap> = (1..graph.nodes().len()).map(|node| Tap::Layer(LayerId(node))).chain([Tap::Input]).collect();
    for taps in [vec![Tap::Input], every] {
        let mut make = |output: &Tensor| {
            let numbers = portable_uniform("cotangent", 0, output.elem_count());
            Ok(vec![Tensor::from_vec(numbers, output.dims(), &Device::Cpu)?])
        };
        let expected = graph.on_candle().vjp(&x, &taps, &mut make).unwrap();
        let got = graph.vjp(&x, &taps, &mut make).unwrap();
        assert!(far(&got.output, &expected.output) < 1e-5);
        for (got, expected) in got.gradients[0].iter().zip(&expected.gradients[0]) {
            assert!(far(got, expected) < 2e-5);
        }
    }
}

#[test]
fn resuming_at_any_layer_gives_the_output() {
    for graph in graphs() {
        let x = input(&graph, 3, 3);
        let reference = graph.on_candle();
        for LayerId(node) in layers(&graph) {
            let value = &reference.activations(&x, &[LayerId(node)]).unwrap()[0];
            match (graph.resume(LayerId(node), value), reference.resume(LayerId(node), value)) {
                (Some(got), Some(expected)) => assert!(far(&got.unwrap(), &expected.unwrap()) < 1e-5),
                (got, expected) => assert_eq!(got.is_some(), expected.is_some()),
            }
        }
    }
}

/// From any layer that all paths lead through, to that layer and one behind it: batches that stop at the layer and go on
/// from there together give what whole passes give.
#[test]
fn pulling_back_from_a_layer_changes_no_bit() {
    let mut starts = 0;
    for graph in graphs() {
        let x = input(&graph, 5, 3);
        let last = LayerId(graph.output().0);
        let mut ones = |output: &Tensor| Ok(vec![output.ones_like()?, (output * 2.0)?]);
        for LayerId(node) in layers(&graph).into_iter().skip(1) {
            let (layer, taps) = (LayerId(node), [Tap::Layer(LayerId(node)), Tap::Layer(last)]);
            if !graph.can_vjp_from(layer, &taps) {
                continue;
            }
            starts += 1;
            let whole = graph.vjp(&x, &taps, &mut ones).unwrap();
            let parts = [0..2, 2..5].map(|rows: std::ops::Range<usize>| {
                let part = x.narrow(0, rows.start, rows.len()).unwrap();
                graph.activations(&part, &[layer]).unwrap().remove(0)
            });
            let activation = Tensor::cat(&parts, 0).unwrap();
            let resumed = graph.vjp_from(layer, &activation, &taps, &mut ones).unwrap();
            let all = |back: VectorJacobianProducts| -> Vec<Vec<f32>> {
                let tensors = back.values.into_iter().chain(back.gradients.into_iter().flatten()).chain([back.output]);
                tensors.map(|one| one.flatten_all().unwrap().to_vec1().unwrap()).collect()
            };
            assert_eq!(all(resumed), all(whole), "{}", graph.nodes()[node].name);
        }
    }
    assert!(starts > 20, "{starts}");
}

#[test]
fn rows_and_memory_do_not_matter() {
    let graph = mobilenet_like(9);
    let x = input(&graph, 5, 4);
    let whole = graph.evaluate(&x, &[]).unwrap().0;
    for row in 0..5 {
        let one = graph.evaluate(&x.narrow(0, row, 1).unwrap(), &[]).unwrap().0;
        assert_eq!(one.to_vec2::<f32>().unwrap()[0], whole.to_vec2::<f32>().unwrap()[row]);
    }
    // A view that is not contiguous, another size, and the first again in used memory.
    let turned = x.transpose(2, 3).unwrap();
    let expected = graph.on_candle().evaluate(&turned, &[]).unwrap().0;
    assert!(far(&graph.evaluate(&turned, &[]).unwrap().0, &expected) < 1e-5);
    assert_eq!(graph.evaluate(&x, &[]).unwrap().0.to_vec2::<f32>().unwrap(), whole.to_vec2::<f32>().unwrap());
}

/// In tests even small maps are taken apart: values and gradients of a batch, in lanes of uneven length, are those of
/// its rows to the last bit, in memory that an earlier run used.
#[test]
fn rows_that_run_apart_are_those_that_run_alone() {
    for graph in [vgg_like(11), resnet_like(12), mobilenet_like(13), gated_like(14)] {
        let x = input(&graph, 5, 6);
        let run = |x: &Tensor| {
            let mut cotangents = |y: &Tensor| Ok(vec![y.ones_like()?, (y * 2.0)?]);
            let products = graph.vjp(x, &[Tap::Input], &mut cotangents).unwrap();
            let gradients = products.gradients.iter().map(|gradients| gradients[0].clone());
            std::iter::once(products.output.clone()).chain(gradients).collect::<Vec<_>>()
        };
        let all = run(&x);
        for row in [0, 3, 4] {
            let row_of = |x: &Tensor| x.narrow(0, row, 1).unwrap();
            let flat = |x: &Tensor| x.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            for (alone, all) in run(&row_of(&x)).iter().zip(&all) {
                assert_eq!(flat(alone), flat(&row_of(all)));
            }
        }
        let plans = graph.prepared.as_deref().unwrap().plans.lock().unwrap();
        let apart = |plan: &super::Plan| {
            !plan.lanes.is_empty() && plan.back.as_ref().is_some_and(|back| !back.lanes.is_empty())
        };
        assert!(plans.iter().any(|(request, plan)| request.dims[0] == 5 && apart(plan)));
    }
}

/// Without a tap there is nothing to differentiate to: as by candle, the output and no gradient per cotangent.
#[test]
fn without_taps_there_is_an_output_alone() {
    let graph = vgg_like(11);
    let x = input(&graph, 2, 6);
    let mut cotangents = |y: &Tensor| Ok(vec![y.ones_like()?, y.ones_like()?]);
    for network in [graph.clone(), graph.on_candle()] {
        let products = network.vjp(&x, &[], &mut cotangents).unwrap();
        assert_eq!(products.output.dims(), graph.evaluate(&x, &[]).unwrap().0.dims());
        assert_eq!(products.gradients.iter().map(Vec::len).collect::<Vec<_>>(), [0, 0]);
    }
    let wrong = graph.vjp(&x, &[], &mut |y| Ok(vec![y.narrow(0, 0, 1)?]));
    assert!(wrong.unwrap_err().to_string().contains("as the output"));
}

/// What has no kernel goes through copies and candle, an order of magnitude slower: only what is said here does.
#[test]
fn few_operations_go_by_the_reference() {
    use super::step::Work;
    for (graph, expected) in [
        (series_like(1), vec!["matmul"]),
        (gated_like(1), vec![]),
        (turning_like(1), vec!["reduce"]),
        // A layer over tokens whose batch comes second, and its residual.
        (transformer_like(1), vec!["linear", "add"]),
    ] {
        let x = input(&graph, 3, 1);
        let mut ones = |output: &Tensor| Ok(vec![output.ones_like()?]);
        graph.vjp(&x, &[Tap::Input], &mut ones).unwrap();
        let plans = graph.prepared.as_deref().unwrap().plans.lock().unwrap();
        let plan = plans.values().next().unwrap();
        let by_reference = |step: &super::Step| match &step.work {
            Work::Generic { node, .. } => Some(match node.op {
                Op::MatMul => "matmul",
                Op::Reduce { .. } => "reduce",
                _ => node.op.kind(),
            }),
            _ => None,
        };
        let found: Vec<&str> = plan.steps.iter().chain(plan.lanes.iter().flatten()).filter_map(by_reference).collect();
        assert_eq!(found, expected);
    }
}

/// Rows that each differ from the one before in a few cells, and now and then in none or in all.
fn similar_rows(graph: &Graph, rows: usize) -> Tensor {
    let [channels, height, width] = graph.nominal_input() else { panic!("an image") };
    let cells = height * width;
    let mut row = portable_uniform("first", 0, channels * cells);
    let mut all = Vec::new();
    for step in 0..rows {
        let numbers = portable_uniform("next", step as u64, channels * cells);
        let changes = [1, 3, 0, 5, cells, 2, 4][step % 7];
        for change in 0..changes {
            let cell = (step * 131 + change * 7) % cells;
            for channel in 0..*channels {
                row[channel * cells + cell] = numbers[channel * cells + cell];
            }
        }
        all.extend_from_slice(&row);
    }
    Tensor::from_vec(all, (rows, *channels, *height, *width), &Device::Cpu).unwrap()
}

#[test]
fn similar_rows_are_computed_as_any_rows() {
    let bits = |x: &Tensor| -> Vec<u32> {
        x.flatten_all().unwrap().to_vec1::<f32>().unwrap().into_iter().map(f32::to_bits).collect()
    };
    let mut followed = 0;
    for graph in image_graphs() {
        for rows in [1, 8, 23] {
            let x = similar_rows(&graph, rows);
            let (expected, got) = (graph.evaluate(&x, &[]).unwrap().0, graph.evaluate_similar(&x).unwrap());
            assert_eq!(got.dims(), expected.dims());
            assert_eq!(bits(&got), bits(&expected), "{rows} rows");
            followed += usize::from(crate::plan::of(&graph).unwrap().run_similar(&x).unwrap().is_some());
        }
    }
    // All networks begin with convolutions; a single row is like no other.
    assert_eq!(followed, 2 * image_graphs().len());
}

#[test]
fn other_weights_are_other_kernels() {
    let graph = vgg_like(5);
    let x = input(&graph, 1, 5);
    let before = graph.evaluate(&x, &[]).unwrap().0;
    let twice = graph.map_weights(|_, weight| Ok((weight * 2.0)?)).unwrap();
    let after = twice.evaluate(&x, &[]).unwrap().0;
    assert!(far(&after, &twice.on_candle().evaluate(&x, &[]).unwrap().0) < 1e-5);
    assert!(far(&after, &before) > 0.1);
}

#[test]
fn a_wrong_shape_is_said_in_words() {
    let graph = vgg_like(6);
    let error = graph.evaluate(&Tensor::zeros((1, 4, 19, 22), DType::F32, &Device::Cpu).unwrap(), &[]).unwrap_err();
    assert!(error.to_string().contains("node"), "{error}");
}
