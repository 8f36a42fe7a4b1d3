//! Values at places that depend on the input, and such places.

use super::slicing::fixed_size;
use crate::onnx::call::Call;
use crate::onnx::import::{Importer, small};
use crate::onnx::value::{Integers, Value};
use crate::op::choice::Truth;
use crate::op::highest::Highest;
use crate::op::picking::{Pick, TopPlaces};
use crate::{Dim, Op};
use faithful_core::Result;
use faithful_tensor::Binary;

pub(super) fn gather_elements(importer: &mut Importer, call: &Call) -> Result<Vec<Value>> {
    let (mut x, index) = (call.required(0)?, call.required(1)?);
    let (sizes, places) = (importer.sizes(&x)?, importer.sizes(&index)?);
    let axis = call.axis(call.integer("axis", 0), sizes.len())?;
    if places.len() != sizes.len() {
        return Err(call.damaged(format!("places along {} axes for {}", places.len(), sizes.len())));
    }
    fixed_size(call, sizes[axis])?;
    // Where there are fewer places, they are those of the first values.
    for (other, (own, size)) in sizes.iter().zip(&places).enumerate() {
        if other != axis && own != size {
            let (own, end) = (fixed_size(call, *own)?, fixed_size(call, *size)?);
            if end > own {
                return Err(call.damaged(format!("{end} places along axis {other} of size {own}")));
            }
            let first = Op::Slice { axis: other, start: 0, end: Some(end), step: 1 };
            x = importer.emit(&format!("{}/first", call.name), first, &[x])?;
        }
    }
    let is_whole = matches!(x, Value::Integers(_));
    let picked = importer.emit(&call.name, Op::composed(Pick { axis }), &[x, index])?;
    Ok(vec![if is_whole { super::as_whole(picked)? } else { picked }])
}

pub(super) fn top_k(importer: &mut Importer, call: &Call) -> Result<Vec<Value>> {
    let x = call.required(0)?;
    let sizes = importer.sizes(&x)?;
    let axis = call.axis(call.integer("axis", -1), sizes.len())?;
    let size = fixed_size(call, sizes[axis])?;
    let count = match call.optional_fixed(1)?.as_deref() {
        None => call.integer("k", -1),
        Some([count]) => *count,
        Some(several) => return Err(call.damaged(format!("{} numbers of values", several.len()))),
    };
    let count = usize::try_from(count).ok().filter(|count| *count <= size);
    let count = count.ok_or_else(|| call.damaged(format!("more values than the {size} of its axis")))?;
    let best = Op::composed(TopPlaces { axis, count, lowest: call.integer("largest", 1) == 0 });
    let places = importer.emit(&format!("{}/places", call.name), best, std::slice::from_ref(&x))?;
    let values = importer.emit(&call.name, Op::composed(Pick { axis }), &[x, places.clone()])?;
    Ok(vec![values, super::as_whole(places)?])
}

pub(super) fn one_hot(importer: &mut Importer, call: &Call) -> Result<Vec<Value>> {
    let (index, values) = (call.required(0)?, call.required(2)?);
    let depth = match call.optional_fixed(1)?.as_deref() {
        Some([depth]) if *depth > 0 => small(&call.name, &[*depth as usize])?,
        _ => return Err(call.damaged("its depth is no number above 0")),
    };
    let rank = importer.rank(&index)?;
    let axis = call.axis(call.integer("axis", -1), rank + 1)?;
    let name = |part: &str| format!("{}/{part}", call.name);
    let index = importer.emit(&name("places"), Op::Unsqueeze(vec![axis]), &[index])?;
    // Places from the front, and negative ones from the end.
    let hits = [0, -(depth as i64)].map(|from| -> Result<Value> {
        let mut shape = vec![1; rank + 1];
        shape[axis] = depth;
        let all = Value::Integers(Integers::known(shape, (from..from + depth as i64).collect()));
        importer.emit(&name("hits"), Op::composed(Truth::Equal), &[index.clone(), all])
    });
    let [front, end] = hits;
    let hits = importer.emit(&name("hits"), Op::Binary(Binary::Add), &[front?, end?])?;
    let [off, on] = [0, 1].map(|index| -> Result<Value> {
        let one =
            importer.emit(&name("value"), Op::Gather { axis: 0, index: vec![index] }, std::slice::from_ref(&values))?;
        importer.emit(&name("value"), Op::Squeeze(vec![0]), &[one])
    });
    let [off, on] = [off?, on?];
    let step = importer.emit(&name("step"), Op::Binary(Binary::Sub), &[on, off.clone()])?;
    let steps = importer.emit(&name("steps"), Op::Binary(Binary::Mul), &[hits, step])?;
    let result = importer.emit(&call.name, Op::Binary(Binary::Add), &[steps, off])?;
    Ok(vec![if matches!(values, Value::Integers(_)) { super::as_whole(result)? } else { result }])
}

/// 1 at the first highest value along an axis, 0 elsewhere.
pub(super) fn hardmax(importer: &mut Importer, call: &Call) -> Result<Vec<Value>> {
    let x = call.required(0)?;
    let sizes = importer.sizes(&x)?;
    let last = sizes.len().saturating_sub(1);
    let axis = call.axis(call.integer("axis", if call.opset < 13 { 1 } else { -1 }), sizes.len())?;
    if call.opset < 13 && axis != last {
        return Err(call.unsupported("over several axes at once"));
    }
    let size = fixed_size(call, sizes[axis])?;
    let highest = Op::composed(Highest { axis, keep: true, last: false, lowest: false });
    let place = importer.emit(&format!("{}/place", call.name), highest, &[x])?;
    let mut shape = vec![1; sizes.len()];
    shape[axis] = size;
    let all = Value::Integers(Integers::known(shape, (0..size as i64).collect()));
    Ok(vec![importer.emit(&call.name, Op::composed(Truth::Equal), &[place, all])?])
}

/// `Gather` of constant rows by places that depend on the input: an embedding's, as a product with ones and zeros.
pub(super) fn embedding(importer: &mut Importer, call: &Call, table: &Value, index: Value) -> Result<Vec<Value>> {
    let Value::Constant(table) = importer.floats(table)? else {
        return Err(call.unsupported("places that depend on the input, among values that do too"));
    };
    let (Some((&rows, rest)), 0) = (table.dims().split_first(), call.integer("axis", 0)) else {
        return Err(call.unsupported("places that depend on the input, along this axis"));
    };
    let name = |part: &str| format!("{}/{part}", call.name);
    let rank = importer.rank(&index)?;
    let index = importer.emit(&name("places"), Op::Unsqueeze(vec![rank]), &[index])?;
    let all = Value::Integers(Integers::list((0..rows as i64).map(Into::into).collect()));
    let hits = importer.emit(&name("hits"), Op::composed(Truth::Equal), &[index, all])?;
    let flat = Value::Constant(table.reshape((rows, rest.iter().product::<usize>()))?);
    let picked = importer.emit(&name("rows"), Op::MatMul, &[hits, flat])?;
    let shape = (0..rank).map(Dim::Same).chain(rest.iter().map(|&size| Dim::Fixed(size))).collect();
    Ok(vec![importer.emit(&call.name, Op::Reshape(shape), &[picked])?])
}
