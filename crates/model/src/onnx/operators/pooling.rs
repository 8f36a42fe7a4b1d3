use super::convolution::{Window, window};
use crate::onnx::call::Call;
use crate::onnx::import::Importer;
use crate::onnx::value::Value;
use crate::{Op, ResizeTo};
use faithful_core::Result;
use faithful_tensor::{CoordinateRule, Interpolation, Pool, Reduction, Resize};

/// `MaxPool` and `AveragePool` over one or two axes.
pub(super) fn pool(importer: &mut Importer, call: &Call) -> Result<Vec<Value>> {
    let x = call.required(0)?;
    if call.gives(1) {
        return Err(call.unsupported("its second output, the places of the maxima"));
    }
    let kernel = call.integers("kernel_shape").unwrap_or_default();
    let kernel: Vec<usize> = kernel.iter().map(|&size| usize::try_from(size).unwrap_or(0)).collect();
    if kernel.iter().any(|size| !(1..1 << 20).contains(size)) {
        return Err(call.damaged(format!("kernel_shape {kernel:?}")));
    }
    let axes = kernel.len();
    let Window { kernel, stride, dilation, padding } = window(call, &kernel, &importer.sizes(&x)?)?;
    let pool = Pool {
        kernel,
        stride,
        padding,
        dilation,
        ceil: call.integer("ceil_mode", 0) != 0,
        count_padding: call.integer("count_include_pad", 0) != 0,
    };
    let op = if call.node.op_type == "MaxPool" {
        Op::MaxPool2d(pool)
    } else if dilation == [1, 1] {
        Op::AvgPool2d(pool)
    } else {
        return Err(call.unsupported("a dilated mean"));
    };
    Ok(vec![two_dimensional(importer, call, op, x, axes)?])
}

/// Runs an operation on images over series too, as images of height 1.
fn two_dimensional(importer: &mut Importer, call: &Call, op: Op, x: Value, axes: usize) -> Result<Value> {
    if axes == 2 {
        return importer.emit(&call.name, op, &[x]);
    }
    let x = importer.emit(&format!("{}/unsqueeze", call.name), Op::Unsqueeze(vec![2]), &[x])?;
    let y = importer.emit(&format!("{}/{}", call.name, op.kind()), op, &[x])?;
    importer.emit(&call.name, Op::Squeeze(vec![2]), &[y])
}

pub(super) fn global(importer: &mut Importer, call: &Call) -> Result<Vec<Value>> {
    let x = call.required(0)?;
    let mean = call.node.op_type == "GlobalAveragePool";
    let rank = importer.rank(&x)?;
    let op = match (rank, mean) {
        (4, true) => Op::AdaptiveAvgPool2d([1, 1]),
        (4, false) => Op::AdaptiveMaxPool2d([1, 1]),
        (3.., _) => {
            let reduction = if mean { Reduction::Mean } else { Reduction::Max };
            Op::Reduce { axes: (2..rank).collect(), keep: true, reduction }
        }
        _ => return Err(call.damaged(format!("an input of {rank} axes"))),
    };
    Ok(vec![importer.emit(&call.name, op, &[x])?])
}

/// `Resize` and its predecessor `Upsample`.
pub(super) fn resize(importer: &mut Importer, call: &Call) -> Result<Vec<Value>> {
    let x = call.required(0)?;
    let sizes = importer.sizes(&x)?;
    let rank = sizes.len();
    let scales_at = if call.node.op_type == "Upsample" || call.opset < 11 { 1 } else { 2 };
    let scales: Vec<f64> = if let Value::Absent = call.operand(scales_at) {
        call.floats("scales").unwrap_or_default().iter().map(|&scale| f64::from(scale)).collect()
    } else {
        let scales = call.weight(scales_at)?.flatten_all()?.to_vec1::<f32>()?;
        scales.into_iter().map(f64::from).collect()
    };
    let goal = if scales_at == 2 { call.optional_integers(3)? } else { None };
    let axes = match call.integers("axes") {
        Some(axes) => axes.iter().map(|&axis| call.axis(axis, rank)).collect::<Result<Vec<_>>>()?,
        None => (0..rank).collect(),
    };
    if rank != 3 && rank != 4 {
        return Err(call.unsupported(format!("an input of {rank} axes")));
    }
    // Per axis the factor or the size, `None` where it stays as it is.
    let to = if let Some(goal) = goal.filter(|goal| !goal.values.is_empty()) {
        if goal.values.len() != axes.len() || call.text("keep_aspect_ratio_policy", "stretch") != "stretch" {
            return Err(call.unsupported("sizes that are not one for every axis"));
        }
        let wanted = |axis: usize| axes.iter().position(|&own| own == axis).map_or(sizes[axis], |i| goal.values[i]);
        if wanted(0) != sizes[0] || wanted(1) != sizes[1] {
            return Err(call.unsupported("resizing the batch or the channels"));
        }
        let pixels = |axis: usize| -> Result<usize> {
            let size = wanted(axis).fixed().and_then(|size| usize::try_from(size).ok());
            size.ok_or_else(|| call.unsupported("a size that depends on the batch"))
        };
        ResizeTo::Size(if rank == 4 { [pixels(2)?, pixels(3)?] } else { [1, pixels(2)?] })
    } else {
        if scales.len() != axes.len() {
            return Err(call.damaged(format!("{} scales for {} axes", scales.len(), axes.len())));
        }
        let factor = |axis: usize| axes.iter().position(|&own| own == axis).map_or(1.0, |i| scales[i]);
        if factor(0) != 1.0 || factor(1) != 1.0 {
            return Err(call.unsupported("resizing the batch or the channels"));
        }
        let factors = if rank == 4 { [factor(2), factor(3)] } else { [1.0, factor(2)] };
        if factors.iter().any(|factor| !(factor.is_finite() && *factor > 0.0)) {
            return Err(call.damaged(format!("scales {scales:?}")));
        }
        ResizeTo::Scale(factors)
    };
    let op = Op::Resize { size: to, rules: rules(call)? };
    Ok(vec![two_dimensional(importer, call, op, x, rank - 2)?])
}

fn rules(call: &Call) -> Result<Resize> {
    // Before version 11, and in `Upsample`, coordinates are only divided.
    let old = call.opset < 11 || call.node.op_type == "Upsample";
    let mode = call.text("mode", "nearest");
    let coordinates = call.text("coordinate_transformation_mode", if old { "asymmetric" } else { "half_pixel" });
    let nearest = call.text("nearest_mode", if old { "floor" } else { "round_prefer_floor" });
    let interpolation = match (mode.as_str(), nearest.as_str()) {
        ("nearest", "floor") => Interpolation::NearestFloor,
        ("nearest", "round_prefer_floor") => Interpolation::Nearest,
        ("nearest", other) => return Err(call.unsupported(format!("nearest_mode {other}"))),
        ("linear" | "bilinear", _) => Interpolation::Linear,
        ("cubic", _) if (call.float("cubic_coeff_a", -0.75) + 0.75).abs() < 1e-6 => Interpolation::Cubic,
        (other, _) => return Err(call.unsupported(format!("mode {other}"))),
    };
    let coordinates = match coordinates.as_str() {
        "half_pixel" | "pytorch_half_pixel" => CoordinateRule::HalfPixel,
        "align_corners" => CoordinateRule::AlignCorners,
        "asymmetric" => CoordinateRule::Asymmetric,
        other => return Err(call.unsupported(format!("coordinate_transformation_mode {other}"))),
    };
    if call.integer("antialias", 0) != 0 || call.integer("exclude_outside", 0) != 0 {
        return Err(call.unsupported("antialias or exclude_outside"));
    }
    Ok(Resize { interpolation, coordinates })
}
