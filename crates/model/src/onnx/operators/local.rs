//! Operators over neighbouring channels or cells: `LRN`, `Col2Im`, `DepthToSpace`, `SpaceToDepth`.

use super::convolution::LARGEST_STEP;
use super::{scalar, shaping};
use crate::onnx::call::Call;
use crate::onnx::import::{Importer, small};
use crate::onnx::value::{Size, Value};
use crate::{Dim, Op};
use candle_core::{Device, Tensor};
use faithful_core::Result;
use faithful_tensor::{Binary, Conv, Pool};

/// `x / (bias + alpha / size * sum of the squares of `size` neighbouring channels)^beta`.
pub(super) fn lrn(importer: &mut Importer, call: &Call) -> Result<Vec<Value>> {
    let x = call.required(0)?;
    let size = usize::try_from(call.integer("size", 0)).ok().filter(|size| (1..=LARGEST_STEP).contains(size));
    let size = size.ok_or_else(|| call.damaged(format!("size {}", call.integer("size", 0))))?;
    let name = |part: &str| format!("{}/{part}", call.name);
    let sizes = importer.sizes(&x)?;
    let mut emit = |part: &str, op: Op, operands: &[Value]| importer.emit(&name(part), op, operands);
    let squares = emit("squares", Op::Binary(Binary::Mul), &[x.clone(), x.clone()])?;
    // The channels become the rows of an image whose mean over `size` rows is taken.
    let before = (size - 1) / 2;
    let window = Pool {
        kernel: [size, 1],
        stride: [1, 1],
        padding: [before, 0, size - 1 - before, 0],
        count_padding: true,
        ..Pool::default()
    };
    let mean = match sizes.len() {
        4 => {
            let rows = emit("rows", Op::Transpose(vec![0, 2, 1, 3]), &[squares])?;
            let mean = emit("mean", Op::AvgPool2d(window), &[rows])?;
            emit("channels", Op::Transpose(vec![0, 2, 1, 3]), &[mean])?
        }
        rank @ (2 | 3 | 5..) => {
            let flat =
                emit("flat", Op::Reshape(vec![Dim::Same(0), Dim::Fixed(1), Dim::Same(1), Dim::Rest]), &[squares])?;
            let mean = emit("mean", Op::AvgPool2d(window), &[flat])?;
            let dims = if rank == 2 { vec![Dim::Same(0), Dim::Same(2)] } else { shaping::stored(call, &sizes)? };
            emit("channels", Op::Reshape(dims), &[mean])?
        }
        rank => return Err(call.damaged(format!("an input of {rank} axes"))),
    };
    let scaled = emit("scaled", Op::Binary(Binary::Mul), &[mean, scalar(call.float("alpha", 1e-4))?])?;
    let shifted = emit("shifted", Op::Binary(Binary::Add), &[scaled, scalar(call.float("bias", 1.0))?])?;
    let power = emit("power", Op::Binary(Binary::Pow), &[shifted, scalar(call.float("beta", 0.75))?])?;
    Ok(vec![importer.emit(&call.name, Op::Binary(Binary::Div), &[x, power])?])
}

/// One or two whole numbers, the last of which are the columns'.
fn pair(call: &Call, name: &str, values: &[i64], least: i64) -> Result<[usize; 2]> {
    let bounded = |value: i64| (least..=LARGEST_STEP as i64).contains(&value).then_some(value as usize);
    let found = match *values {
        [columns] => bounded(columns).map(|columns| [1, columns]),
        [rows, columns] => bounded(rows).zip(bounded(columns)).map(|(rows, columns)| [rows, columns]),
        _ => return Err(call.unsupported(format!("{name} over {} axes", values.len()))),
    };
    found.ok_or_else(|| call.damaged(format!("{name} {values:?}")))
}

/// Blocks `(N, C * block, L)` added up where they overlap: a transposed convolution whose kernels are single cells.
pub(super) fn col2im(importer: &mut Importer, call: &Call) -> Result<Vec<Value>> {
    let x = call.required(0)?;
    let operand = |index: usize| -> Result<Vec<i64>> {
        call.optional_fixed(index)?.ok_or_else(|| call.damaged(format!("operand {index} is missing")))
    };
    let (image, block) = (operand(1)?, operand(2)?);
    let axes = image.len();
    let (goal, kernel) = (pair(call, "image_shape", &image, 1)?, pair(call, "block_shape", &block, 1)?);
    let of = |name: &str| match call.integers(name).filter(|values| !values.is_empty()) {
        Some(values) if values.len() == axes => pair(call, name, values, 1),
        Some(values) => Err(call.damaged(format!("{name} {values:?} for {axes} axes"))),
        None => Ok([1, 1]),
    };
    let (stride, dilation) = (of("strides")?, of("dilations")?);
    let padding = match call.integers("pads").filter(|pads| !pads.is_empty()) {
        None => [0; 4],
        Some(pads) if pads.len() == 2 * axes => {
            let (before, after) = pads.split_at(axes);
            let whole = |side: &[i64]| -> Result<[usize; 2]> {
                let [rows, columns] = pair(call, "pads", side, 0)?;
                Ok(if axes == 1 { [0, columns] } else { [rows, columns] })
            };
            let ([top, left], [bottom, right]) = (whole(before)?, whole(after)?);
            [top, left, bottom, right]
        }
        Some(pads) => return Err(call.damaged(format!("pads {pads:?} for {axes} axes"))),
    };
    let sizes = importer.sizes(&x)?;
    let cells = kernel[0].saturating_mul(kernel[1]);
    let rows = sizes.get(1).and_then(|size| size.fixed()).and_then(|size| usize::try_from(size).ok()).unwrap_or(0);
    if sizes.len() != 3 || rows == 0 || rows % cells != 0 {
        return Err(call.damaged(format!("an input of {} axes and {rows} rows for blocks of {cells}", sizes.len())));
    }
    small(&call.name, &[rows, cells])?;
    let mut places = [0; 2];
    let mut output_padding = [0; 2];
    for axis in 0..2 {
        let extent = dilation[axis] * (kernel[axis] - 1) + 1;
        let room = (goal[axis] + padding[axis] + padding[axis + 2]).checked_sub(extent);
        let room = room.ok_or_else(|| call.damaged("blocks that are larger than the image"))?;
        places[axis] = room / stride[axis] + 1;
        output_padding[axis] = room % stride[axis];
    }
    let mut weight = vec![0f32; rows * cells];
    (0..rows).for_each(|row| weight[row * cells + row % cells] = 1.0);
    let weight = Tensor::from_vec(weight, (rows, 1, kernel[0], kernel[1]), &Device::Cpu)?;
    let dims = vec![Dim::Same(0), Dim::Same(1), Dim::Fixed(places[0]), Dim::Fixed(places[1])];
    let blocks = importer.emit(&format!("{}/blocks", call.name), Op::Reshape(dims), &[x])?;
    let conv = Conv { stride, padding, dilation, groups: rows / cells };
    let op = Op::ConvTranspose2d { weight, bias: None, conv, output_padding };
    if axes == 2 {
        return Ok(vec![importer.emit(&call.name, op, &[blocks])?]);
    }
    let image = importer.emit(&format!("{}/image", call.name), op, &[blocks])?;
    Ok(vec![importer.emit(&call.name, Op::Squeeze(vec![2]), &[image])?])
}

/// Channels to cells of a larger image, or cells of blocks to channels.
pub(super) fn depth_and_space(importer: &mut Importer, call: &Call) -> Result<Vec<Value>> {
    let x = call.required(0)?;
    let size = usize::try_from(call.integer("blocksize", 0)).ok().filter(|size| (1..=1024).contains(size));
    let size = size.ok_or_else(|| call.damaged(format!("blocksize {}", call.integer("blocksize", 0))))?;
    let sizes = importer.sizes(&x)?;
    let fixed = |axis: usize| sizes[axis].fixed().and_then(|size| usize::try_from(size).ok()).unwrap_or(0);
    if sizes.len() != 4 {
        return Err(call.damaged(format!("an input of {} axes", sizes.len())));
    }
    let (channels, height, width) = (fixed(1), fixed(2), fixed(3));
    let block = || Dim::Fixed(size);
    let (apart, order, goal) = if call.node.op_type == "DepthToSpace" {
        if channels == 0 || channels % (size * size) != 0 {
            return Err(call.damaged(format!("{channels} channels for blocks of {size} by {size}")));
        }
        let own = Dim::Fixed(channels / (size * size));
        let columns_first = call.text("mode", "DCR") == "DCR";
        let (channels_apart, order) = if columns_first {
            ([block(), block(), own], vec![0, 3, 4, 1, 5, 2])
        } else {
            ([own, block(), block()], vec![0, 1, 4, 2, 5, 3])
        };
        let apart = [vec![Dim::Same(0)], channels_apart.to_vec(), vec![Dim::Same(2), Dim::Same(3)]].concat();
        (apart, order, [channels / (size * size), height * size, width * size])
    } else {
        if height % size != 0 || width % size != 0 {
            return Err(call.damaged(format!("{height}x{width} cells for blocks of {size} by {size}")));
        }
        let cells = [Dim::Fixed(height / size), block(), Dim::Fixed(width / size), block()];
        let apart = [vec![Dim::Same(0), Dim::Same(1)], cells.to_vec()].concat();
        (apart, vec![0, 3, 5, 1, 2, 4], [channels * size * size, height / size, width / size])
    };
    let name = |part: &str| format!("{}/{part}", call.name);
    let blocks = importer.emit(&name("blocks"), Op::Reshape(apart), &[x])?;
    let moved = importer.emit(&name("moved"), Op::Transpose(order), &[blocks])?;
    let goal = [vec![sizes[0]], goal.iter().map(|&size| Size::from(size as i64)).collect()].concat();
    Ok(vec![importer.emit(&call.name, Op::Reshape(shaping::stored(call, &goal)?), &[moved])?])
}
