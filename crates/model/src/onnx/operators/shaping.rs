use crate::onnx::call::Call;
use crate::onnx::import::Importer;
use crate::onnx::value::{Size, Value};
use crate::{Dim, Op};
use faithful_core::Result;

/// Sizes as a stored shape.
pub(super) fn stored(call: &Call, sizes: &[Size]) -> Result<Vec<Dim>> {
    sizes
        .iter()
        .map(|size| match (size.constant, size.batches) {
            (0, 1) => Ok(Dim::Batch),
            (0, times) if times > 1 => Ok(Dim::Times(times as usize)),
            (size, 0) => usize::try_from(size).map(Dim::Fixed).map_err(|_| call.damaged(format!("a size of {size}"))),
            _ => Err(call.unsupported("a size that is not a multiple of the batch")),
        })
        .collect()
}

pub(super) fn reshape(importer: &mut Importer, call: &Call) -> Result<Vec<Value>> {
    let x = call.required(0)?;
    let sizes = importer.sizes(&x)?;
    let goal = match call.optional_integers(1)? {
        Some(goal) => goal.values,
        None => call.integers("shape").unwrap_or_default().iter().map(|&size| Size::from(size)).collect(),
    };
    let copies_zero = call.integer("allowzero", 0) == 0;
    let mut dims = Vec::with_capacity(goal.len());
    for (axis, size) in goal.iter().enumerate() {
        dims.push(match size.fixed() {
            Some(-1) => Dim::Rest,
            Some(0) if copies_zero => Dim::Same(axis),
            _ => stored(call, &[*size])?[0],
        });
    }
    if dims.iter().filter(|dim| matches!(dim, Dim::Rest)).count() > 1 {
        return Err(call.damaged("two free sizes"));
    }
    free_batch(importer, &sizes, &mut dims);
    let op = flattening(importer, &x, &sizes, Op::Reshape(dims));
    Ok(vec![importer.emit(&call.name, op, &[x])?])
}

/// A file that was exported for a fixed batch says its size where the batch is meant.
fn free_batch(importer: &Importer, sizes: &[Size], dims: &mut [Dim]) {
    let Some(fixed_batch) = importer.fixed_batch.and_then(|size| usize::try_from(size).ok()) else { return };
    let Some(place) = sizes.iter().position(|size| size.batches != 0) else { return };
    if fixed_batch == 0 || dims.iter().any(|dim| matches!(dim, Dim::Batch | Dim::Times(_))) {
        return;
    }
    // The batch stands in the result behind as many elements as in the operand.
    let before = sizes[..place].iter().try_fold(1_usize, |product, size| product.checked_mul(size.constant as usize));
    let (Some(before), Ok(times)) = (before, usize::try_from(sizes[place].batches)) else { return };
    if before == 0 || times == 0 || dims.contains(&Dim::Same(place)) {
        return;
    }
    // The elements before each entry that is a number, up to a free one.
    let mut fixed = Vec::new();
    let mut so_far = 1_usize;
    for (axis, dim) in dims.iter().enumerate() {
        let size = match *dim {
            Dim::Fixed(size) => size,
            Dim::Same(axis) => sizes.get(axis).map_or(0, |size| size.constant as usize),
            _ => 0,
        };
        if matches!(dim, Dim::Fixed(_)) && size > 0 && size % fixed_batch == 0 {
            fixed.push((axis, so_far, size));
        }
        so_far = so_far.saturating_mul(size);
        if so_far == 0 {
            break;
        }
    }
    // An entry that is just the batch, inside what the batch was folded with; else one that starts where it starts.
    let alone = |&&(_, ahead, size): &&(usize, usize, usize)| {
        size == fixed_batch && ahead % before == 0 && times % (ahead / before) == 0
    };
    let starts = |&&(_, ahead, _): &&(usize, usize, usize)| ahead == before;
    let Some(&(mut axis, _, mut size)) = fixed.iter().find(alone).or_else(|| fixed.iter().find(starts)) else { return };
    // The last axis is features; what was folded with the batch stands before it.
    if axis + 1 == dims.len()
        && size != fixed_batch
        && times == 1
        && let Some(&(earlier, _, own)) = fixed.iter().rev().find(|(other, ..)| *other + 1 == axis)
    {
        (axis, size) = (earlier, own);
    }
    dims[axis] = if size == fixed_batch { Dim::Batch } else { Dim::Times(size / fixed_batch) };
}

/// `(N, …)` to `(N, K)` is a flattening: it says at other input sizes what does not fit, where a free size would
/// mix images.
fn flattening(importer: &Importer, x: &Value, sizes: &[Size], reshape: Op) -> Op {
    let batch = Size { constant: 0, batches: 1 };
    let Value::Node(node) = x else { return reshape };
    let product = sizes[1..].iter().try_fold(Size::from(1), |product, &size| product.multiply(size));
    match (importer.reshaped(*node, &reshape).as_deref(), product) {
        (Some(&[n, k]), Some(all)) if n == batch && k == all && sizes[0] == batch => Op::Flatten { axis: 1 },
        _ => reshape,
    }
}

pub(super) fn flatten(importer: &mut Importer, call: &Call) -> Result<Vec<Value>> {
    let x = call.required(0)?;
    let sizes = importer.sizes(&x)?;
    let axis = call.integer("axis", 1);
    let axis = if axis == sizes.len() as i64 { sizes.len() } else { call.axis(axis, sizes.len())? };
    if axis == 1 {
        return Ok(vec![importer.emit(&call.name, Op::Flatten { axis: 1 }, &[x])?]);
    }
    let leading = sizes[..axis].iter().try_fold(Size::from(1), |product, &size| product.multiply(size));
    let leading = leading.ok_or_else(|| call.unsupported("a size that is not linear in the batch"))?;
    let dims = vec![stored(call, &[leading])?[0], Dim::Rest];
    Ok(vec![importer.emit(&call.name, Op::Reshape(dims), &[x])?])
}

pub(super) fn transpose(importer: &mut Importer, call: &Call) -> Result<Vec<Value>> {
    let x = call.required(0)?;
    let rank = importer.rank(&x)?;
    let order = match call.integers("perm").filter(|order| !order.is_empty()) {
        Some(order) => order.iter().map(|&axis| call.axis(axis, rank)).collect::<Result<Vec<_>>>()?,
        None => (0..rank).rev().collect(),
    };
    Ok(vec![importer.emit(&call.name, Op::Transpose(order), &[x])?])
}

pub(super) fn squeeze(importer: &mut Importer, call: &Call) -> Result<Vec<Value>> {
    let x = call.required(0)?;
    let sizes = importer.sizes(&x)?;
    let axes = match call.fixed_or_attribute(1, "axes")? {
        Some(axes) => call.axes(&axes, sizes.len())?,
        None => (0..sizes.len()).filter(|&axis| sizes[axis].fixed() == Some(1)).collect(),
    };
    // A batch of one that was fixed at export stays the batch.
    if axes.iter().any(|&axis| sizes[axis].batches != 0) {
        return Err(call.unsupported("dropping the batch axis"));
    }
    Ok(vec![importer.emit(&call.name, Op::Squeeze(axes), &[x])?])
}

pub(super) fn unsqueeze(importer: &mut Importer, call: &Call) -> Result<Vec<Value>> {
    let x = call.required(0)?;
    let axes = call.fixed_or_attribute(1, "axes")?.ok_or_else(|| call.damaged("it has no axes"))?;
    if axes.len() > 16 {
        return Err(call.damaged(format!("{} new axes", axes.len())));
    }
    let axes = call.axes(&axes, importer.rank(&x)? + axes.len())?;
    Ok(vec![importer.emit(&call.name, Op::Unsqueeze(axes), &[x])?])
}

pub(super) fn expand(importer: &mut Importer, call: &Call) -> Result<Vec<Value>> {
    let x = call.required(0)?;
    let goal = call.optional_integers(1)?.ok_or_else(|| call.damaged("it has no shape"))?;
    let dims = stored(call, &goal.values)?;
    Ok(vec![importer.emit(&call.name, Op::Expand(dims), &[x])?])
}

/// Repeats along axes: a broadcast where the axis has size 1, copies side by side elsewhere.
pub(super) fn tile(importer: &mut Importer, call: &Call) -> Result<Vec<Value>> {
    let mut x = call.required(0)?;
    let repeats = call.optional_integers(1)?.ok_or_else(|| call.damaged("it has no repeats"))?.values;
    let sizes = importer.sizes(&x)?;
    if repeats.len() != sizes.len() {
        return Err(call.damaged(format!("{} repeats for {} axes", repeats.len(), sizes.len())));
    }
    let one = Size::from(1);
    let grow = |axis: usize| sizes[axis] == one && repeats[axis] != one;
    if (0..sizes.len()).any(grow) {
        let goal: Vec<Size> = (0..sizes.len()).map(|axis| if grow(axis) { repeats[axis] } else { one }).collect();
        let rest = (0..sizes.len()).all(|axis| grow(axis) || repeats[axis] == one);
        let name = if rest { call.name.clone() } else { format!("{}/expand", call.name) };
        x = importer.emit(&name, Op::Expand(stored(call, &goal)?), &[x])?;
    }
    for axis in (0..sizes.len()).filter(|&axis| sizes[axis] != one && repeats[axis] != one) {
        let count = repeats[axis].fixed().and_then(|count| usize::try_from(count).ok());
        let count = count.filter(|count| (1..=1024).contains(count));
        let count = count.ok_or_else(|| call.unsupported("this number of copies"))?;
        x = importer.emit(&call.name, Op::Concat { axis }, &vec![x; count])?;
    }
    Ok(vec![x])
}
