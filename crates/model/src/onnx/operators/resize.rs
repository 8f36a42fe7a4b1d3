use super::pooling::two_dimensional;
use crate::onnx::call::Call;
use crate::onnx::import::Importer;
use crate::onnx::value::Value;
use crate::{Op, ResizeTo};
use faithful_core::Result;
use faithful_tensor::{CoordinateRule, Interpolation, Resize};

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
    let coefficient = call.float("cubic_coeff_a", -0.75);
    let is = |value: f64| (coefficient - value).abs() < 1e-6;
    let interpolation = match (mode.as_str(), nearest.as_str()) {
        ("nearest", "floor") => Interpolation::NearestFloor,
        ("nearest", "ceil") => Interpolation::NearestCeil,
        ("nearest", "round_prefer_floor") => Interpolation::Nearest,
        ("nearest", "round_prefer_ceil") => Interpolation::NearestHalfUp,
        ("nearest", other) => return Err(call.damaged(format!("nearest_mode {other}"))),
        ("linear" | "bilinear", _) => Interpolation::Linear,
        ("cubic", _) if is(-0.75) => Interpolation::Cubic,
        ("cubic", _) if is(-0.5) => Interpolation::CatmullRom,
        ("cubic", _) => return Err(call.unsupported(format!("cubic_coeff_a {coefficient}"))),
        (other, _) => return Err(call.unsupported(format!("mode {other}"))),
    };
    let coordinates = match coordinates.as_str() {
        "half_pixel" => CoordinateRule::HalfPixel,
        "pytorch_half_pixel" => CoordinateRule::HalfPixelOrFirst,
        "half_pixel_symmetric" => CoordinateRule::HalfPixelSymmetric,
        "tf_half_pixel_for_nn" => CoordinateRule::HalfPixelForNearest,
        "align_corners" => CoordinateRule::AlignCorners,
        "asymmetric" => CoordinateRule::Asymmetric,
        other => return Err(call.unsupported(format!("coordinate_transformation_mode {other}"))),
    };
    if call.integer("antialias", 0) != 0 {
        return Err(call.unsupported("antialias"));
    }
    Ok(Resize { interpolation, coordinates, exclude_outside: call.integer("exclude_outside", 0) != 0 })
}
