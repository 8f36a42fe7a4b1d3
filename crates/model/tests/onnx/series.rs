//! Networks of the remaining life as they are exported, against PyTorch; `fixtures/goldens/rul/make.py` made both.

use super::relative_l2;
use candle_core::{Device, Tensor};
use faithful_core::{Network, Objective, SeriesLayout, SeriesView, Target};
use faithful_model::{OnnxOptions, load_onnx};
use std::path::Path;

/// Predictions and gradients of one file: how far both are from PyTorch's.
fn distances(path: &Path, layout: SeriesLayout, golden: &dyn Fn(&str) -> Tensor) -> faithful_core::Result<[f64; 2]> {
    let turned = |tensor: Tensor| match layout {
        SeriesLayout::SensorsTime => Ok(tensor),
        SeriesLayout::TimeSensors => tensor.transpose(1, 2)?.contiguous(),
    };
    let is_open = path.to_string_lossy().contains("_open");
    let input_shape = is_open.then(|| golden("input").dims()[1..].to_vec());
    let network = SeriesView::new(load_onnx(path, &OnnxOptions { input_shape, ..OnnxOptions::default() })?, layout)?;
    assert_eq!(network.input_shape(), Some(&[10, 24][..]));
    let series = turned(golden("input"))?;
    let output = network.evaluate(&series, &[])?.0;
    assert_eq!(output.dims(), [2, 1]);
    let gradient = Objective::new(&network, &Target::Output(0)).input_gradient(&series)?;
    Ok([relative_l2(&output, &golden("output"))?, relative_l2(&gradient, &turned(golden("gradient"))?)?])
}

#[test]
fn predictions_and_gradients_of_exported_networks_are_those_of_pytorch() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/goldens/rul");
    let expected = candle_core::safetensors::load(folder.join("expected.safetensors"), &Device::Cpu).unwrap();
    let mut names: Vec<&str> = expected.keys().filter_map(|key| key.strip_suffix(".output")).collect();
    names.sort_unstable();
    assert!(names.len() >= 22, "only {} files", names.len());
    let mut failures = Vec::new();
    for name in names {
        let layout = if name.contains("_ts") { SeriesLayout::TimeSensors } else { SeriesLayout::SensorsTime };
        let golden = |part: &str| expected[&format!("{name}.{part}")].clone();
        match distances(&folder.join(format!("{name}.onnx")), layout, &golden) {
            Ok([output, gradient]) if output < 1e-4 && gradient < 1e-4 => {}
            Ok([output, gradient]) => failures.push(format!("{name}: output {output:e}, gradient {gradient:e}")),
            Err(error) => failures.push(format!("{name}: {error}")),
        }
    }
    assert!(failures.is_empty(), "{} files differ:\n{}", failures.len(), failures.join("\n"));
}
