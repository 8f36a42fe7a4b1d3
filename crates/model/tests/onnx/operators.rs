//! One operator or a few per file, against ONNX Runtime; `fixtures/goldens/onnx/operators.py` made the files.

use crate::{folder, relative_l2};
use candle_core::{DType, Device, Result as CandleResult, Tensor, Var};
use faithful_core::{Network, Tap, Unobserved};
use faithful_model::{Graph, OnnxOptions, read_onnx};
use std::collections::HashMap;

fn goldens() -> HashMap<String, Tensor> {
    candle_core::safetensors::load(folder().join("operators.safetensors"), &Device::Cpu).unwrap()
}

fn names(goldens: &HashMap<String, Tensor>) -> Vec<&str> {
    let mut names: Vec<&str> = goldens.keys().filter_map(|key| key.strip_suffix(".model")).collect();
    names.sort_unstable();
    assert!(names.len() >= 124, "only {} files", names.len());
    names
}

fn graph(goldens: &HashMap<String, Tensor>, name: &str) -> Result<Graph, String> {
    let bytes = goldens[&format!("{name}.model")].to_vec1::<u8>().unwrap();
    read_onnx(&bytes, &OnnxOptions::default()).map_err(|error| error.to_string())
}

/// The golden's input as the network takes it: what looks like a picture with its channels last has them second here.
fn input(goldens: &HashMap<String, Tensor>, name: &str, graph: &Graph) -> Tensor {
    let input = &goldens[&format!("{name}.input")];
    if graph.nominal_input() == &input.dims()[1..] {
        return input.clone();
    }
    input.permute([0, 3, 1, 2]).unwrap().contiguous().unwrap()
}

/// How far a network of rounded values may be: a value at a rounding's edge falls on the other side.
pub(super) fn tolerance(name: &str) -> f64 {
    match name {
        "static_qdq" | "static_qoperator" | "dynamic_network" | "dynamic_lstm" => 5e-2,
        "half_weights" => 1e-3,
        _ => 1e-4,
    }
}

#[test]
fn every_operator_gives_what_onnx_runtime_gives() {
    let goldens = goldens();
    let mut failures = Vec::new();
    // Without a result in its equation this one has the batch as its last axis; a batch of two is then no two rows.
    for name in names(&goldens).into_iter().filter(|name| *name != "einsum_4") {
        let run = || -> Result<[f64; 2], String> {
            let graph = graph(&goldens, name)?;
            let input = &input(&goldens, name, &graph);
            let wanted = &goldens[&format!("{name}.output")];
            let mut distances = [0.0; 2];
            for (distance, graph) in distances.iter_mut().zip([&graph, &graph.on_candle()]) {
                let output = graph.evaluate(input, &[]).map_err(|error| error.to_string())?.0;
                if output.dims() != wanted.dims() {
                    return Err(format!("shape {:?} instead of {:?}", output.dims(), wanted.dims()));
                }
                *distance = relative_l2(&output, wanted).map_err(|error| error.to_string())?;
            }
            Ok(distances)
        };
        match run() {
            Ok(distances) if distances.iter().all(|distance| *distance < tolerance(name)) => {}
            Ok(distances) => failures.push(format!("{name}: relative distances {distances:?}")),
            Err(error) => failures.push(format!("{name}: {error}")),
        }
    }
    assert!(failures.is_empty(), "{} files differ:\n{}", failures.len(), failures.join("\n"));
}

fn weights_like(output: &Tensor) -> CandleResult<Tensor> {
    let numbers: Vec<f64> = (0..output.elem_count()).map(|i| ((i * 7 + 3) % 11) as f64 / 11.0 - 0.4).collect();
    Tensor::from_vec(numbers, output.dims(), &Device::Cpu)?.to_dtype(output.dtype())
}

/// Rounding has no derivative; the straight-through estimator's has tests of its own.
fn is_rounded(name: &str) -> bool {
    ["qdq", "dynamic", "static", "conv_integer", "half"].iter().any(|part| name.contains(part))
}

#[test]
fn gradients_are_finite_differences_and_both_executors_agree() {
    let goldens = goldens();
    let mut failures = Vec::new();
    for name in names(&goldens) {
        let graph = graph(&goldens, name).unwrap();
        let input = &input(&goldens, name, &graph);
        let exact = graph.to_dtype(DType::F64).unwrap().on_candle();
        let at = input.to_dtype(DType::F64).unwrap();
        let objective = |x: &Tensor| -> Tensor {
            let y = exact.forward(x, &mut Unobserved).unwrap();
            (&y * weights_like(&y).unwrap()).unwrap().sum_all().unwrap()
        };
        let variable = Var::from_tensor(&at).unwrap();
        let store = objective(&variable).backward().unwrap();
        let Some(gradient) = store.get(&variable) else {
            failures.push(format!("{name}: no gradient"));
            continue;
        };
        // Both rows in a direction of each: a sum of many partial derivatives that all must be right.
        for seed in 0..if is_rounded(name) { 0 } else { 3_usize } {
            let numbers =
                (0..at.elem_count()).map(|i| ((i * (5 + 2 * seed) + seed) % 13) as f64 / 13.0 - 0.5).collect();
            let direction = Tensor::from_vec::<_, f64>(numbers, at.dims(), &Device::Cpu).unwrap();
            let step = 1e-6;
            let value = |by: f64| objective(&(&at + (&direction * by).unwrap()).unwrap()).to_scalar::<f64>().unwrap();
            let expected = (value(step) - value(-step)) / (2.0 * step);
            let got = (gradient * &direction).unwrap().sum_all().unwrap().to_scalar::<f64>().unwrap();
            if (got - expected).abs() >= 1e-5 * (1.0 + expected.abs()) || got.is_nan() {
                failures.push(format!("{name}: derivative {got}, finite difference {expected}"));
            }
        }
        let mut cotangents = |output: &Tensor| Ok(vec![weights_like(output)?]);
        let fast = graph.vjp(input, &[Tap::Input], &mut cotangents).unwrap();
        let distance = relative_l2(&fast.gradients[0][0], gradient).unwrap();
        if !is_rounded(name) && (distance >= 1e-4 || distance.is_nan()) {
            failures.push(format!("{name}: the plan's gradient is {distance:e} away"));
        }
    }
    assert!(failures.is_empty(), "{} files differ:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn what_cannot_be_read_is_refused_in_words() {
    let goldens = goldens();
    let said = [
        ("attention_heads", "q_num_heads 0"),
        ("block_size", "blocksize 0"),
        ("col2im_image", "larger than the image"),
        ("conv3d_pads", "pads [-1"),
        ("conv3d_room", "room for a window"),
        ("cumsum_size", "at most"),
        ("einsum_letter", "the result of the equation `ni->nk`"),
        ("einsum_rank", "for an operand of 2 axes"),
        ("grid_sample_cubic", "the mode `cubic`"),
        ("if_of_shapes", "branches of different shapes"),
        ("layout_of_a_processor", "ORT_ENABLE_EXTENDED"),
        ("loop_by_values", "depends on the input's values"),
        ("loop_endless", "loops of more than 65536 operators"),
        ("loop_of_nothing", "loops of more than 65536 operators"),
        ("lrn_size", "size -3"),
        ("lstm_activation", "the activation exp"),
        ("lstm_lengths", "shorter than the series"),
        ("top_k_many", "more values than the 3 of its axis"),
        ("training", "training mode; export the model in evaluation mode"),
    ];
    let mut names: Vec<&str> = goldens.keys().filter_map(|key| key.strip_suffix(".refused")).collect();
    names.sort_unstable();
    // A sum over the batch is refused with a free batch; the file is then read as written for one picture, row by row.
    names.retain(|name| *name != "einsum_batch");
    assert_eq!(names, said.map(|(name, _)| name));
    for (name, words) in said {
        let bytes = goldens[&format!("{name}.refused")].to_vec1::<u8>().unwrap();
        let error =
            read_onnx(&bytes, &OnnxOptions::default()).err().map_or_else(String::new, |error| error.to_string());
        assert!(error.contains(words), "{name}: `{error}` does not say `{words}`");
    }
}
