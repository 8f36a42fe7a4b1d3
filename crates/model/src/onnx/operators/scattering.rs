//! Values that are put to places.

use super::gathering::place_of;
use super::slicing::fixed_size;
use crate::onnx::call::Call;
use crate::onnx::import::{Importer, small};
use crate::onnx::value::Value;
use crate::{Dim, Op};
use faithful_core::Result;

/// `ScatterND`, an assignment to part of a tensor: the data and the updates in one list, of which each place takes its own.
pub(super) fn scatter_nd(importer: &mut Importer, call: &Call) -> Result<Vec<Value>> {
    if call.text("reduction", "none") != "none" {
        return Err(call.unsupported("with a reduction"));
    }
    let (data, updates) = (call.required(0)?, call.required(2)?);
    let index = call.optional_integers(1)?.ok_or_else(|| call.damaged("it has no indices"))?;
    let fixed = index.fixed().ok_or_else(|| call.unsupported("indices that depend on the size of the batch"))?;
    let sizes = importer.sizes(&data)?;
    let depth = index.shape.last().copied().unwrap_or(0);
    if depth == 0 || depth > sizes.len() {
        return Err(call.damaged(format!("indices of {depth} numbers for {} axes", sizes.len())));
    }
    let dims = sizes[..depth].iter().map(|size| fixed_size(call, *size)).collect::<Result<Vec<_>>>()?;
    let leading = index.shape.len() - 1;
    let wanted: Vec<_> =
        index.shape[..leading].iter().map(|&size| (size as i64).into()).chain(sizes[depth..].iter().copied()).collect();
    if importer.sizes(&updates)? != wanted {
        return Err(call.damaged("updates of another shape than its places have"));
    }
    let total = small(&call.name, &dims)?;
    let mut sources: Vec<usize> = (0..total).collect();
    for (update, numbers) in fixed.chunks(depth).enumerate() {
        let place = place_of(numbers, &dims).ok_or_else(|| call.damaged("an index outside its axis"))?;
        sources[place] = total + update;
    }
    // Both with one axis in place of those that the indices count.
    let mut flat = |part: &str, value: Value, axes: usize, size: usize| {
        let rest = (axes..axes + sizes.len() - depth).map(Dim::Same);
        let shape = std::iter::once(Dim::Fixed(size)).chain(rest).collect();
        importer.emit(&format!("{}/{part}", call.name), Op::Reshape(shape), &[value])
    };
    let data = flat("data", data, depth, total)?;
    let updates = flat("updates", updates, leading, fixed.len() / depth)?;
    let both = importer.emit(&format!("{}/both", call.name), Op::Concat { axis: 0 }, &[data, updates])?;
    let chosen = Op::Gather { axis: 0, index: sources };
    if depth == 1 {
        return Ok(vec![importer.emit(&call.name, chosen, &[both])?]);
    }
    let chosen = importer.emit(&format!("{}/chosen", call.name), chosen, &[both])?;
    let shape = dims.into_iter().map(Dim::Fixed).chain((1..=sizes.len() - depth).map(Dim::Same)).collect();
    Ok(vec![importer.emit(&call.name, Op::Reshape(shape), &[chosen])?])
}
