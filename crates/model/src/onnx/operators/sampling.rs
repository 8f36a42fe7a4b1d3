//! Pictures at places that depend on the input, as spatial transformers take them.

use crate::onnx::call::Call;
use crate::onnx::import::{Importer, small};
use crate::onnx::value::Value;
use crate::op::sampling::{Outside, Sample};
use crate::{Dim, Op};
use candle_core::{Device, Tensor};
use faithful_core::Result;

pub(super) fn grid_sample(importer: &mut Importer, call: &Call) -> Result<Vec<Value>> {
    let operands = [call.required(0)?, call.required(1)?];
    let nearest = match call.text("mode", "linear").as_str() {
        "linear" | "bilinear" => false,
        "nearest" => true,
        other => return Err(call.unsupported(format!("the mode `{other}`"))),
    };
    let outside = match call.text("padding_mode", "zeros").as_str() {
        "zeros" => Outside::Zeros,
        "border" => Outside::Border,
        "reflection" => Outside::Reflection,
        other => return Err(call.unsupported(format!("the padding `{other}`"))),
    };
    let corners = call.integer("align_corners", 0) != 0;
    Ok(vec![importer.emit(&call.name, Op::composed(Sample { nearest, outside, corners }), &operands)?])
}

/// The places of a picture that an affine map gives: a product with the places of the whole picture.
pub(super) fn affine_grid(importer: &mut Importer, call: &Call) -> Result<Vec<Value>> {
    let map = call.required(0)?;
    let size = call.optional_integers(1)?.ok_or_else(|| call.damaged("it has no size"))?;
    let [_, _, height, width] = size.values.as_slice() else {
        return Err(call.unsupported("of volumes"));
    };
    let known = |size: &crate::onnx::value::Size| size.fixed().and_then(|size| usize::try_from(size).ok());
    let (Some(height), Some(width)) = (known(height), known(width)) else {
        return Err(call.damaged("a size that is no number"));
    };
    let corners = call.integer("align_corners", 0) != 0;
    let places = |count: usize| -> Vec<f32> {
        let place = |at: usize| match (corners, count) {
            (true, 0 | 1) => 0.0,
            (true, _) => 2.0 * at as f64 / (count - 1) as f64 - 1.0,
            (false, _) => (2.0 * at as f64 + 1.0) / count as f64 - 1.0,
        };
        (0..count).map(|at| place(at) as f32).collect()
    };
    small(&call.name, &[height, width, 3])?;
    let (rows, columns) = (places(height), places(width));
    let all = rows.iter().flat_map(|&y| columns.iter().flat_map(move |&x| [x, y, 1.0])).collect();
    let all = Value::Constant(Tensor::from_vec::<_, f32>(all, (height * width, 3), &Device::Cpu)?);
    let turned = importer.emit(&format!("{}/map", call.name), Op::Transpose(vec![0, 2, 1]), &[map])?;
    let grid = importer.emit(&format!("{}/places", call.name), Op::MatMul, &[all, turned])?;
    let shape = vec![Dim::Same(0), Dim::Fixed(height), Dim::Fixed(width), Dim::Fixed(2)];
    Ok(vec![importer.emit(&call.name, Op::Reshape(shape), &[grid])?])
}
