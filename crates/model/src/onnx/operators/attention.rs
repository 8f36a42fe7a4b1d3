//! Attention and what stands around it in transformers: `Attention` and `RotaryEmbedding` of version 23 and later, and
//! ONNX Runtime's `MultiHeadAttention` and `Attention`.

use super::scalar;
use crate::onnx::call::Call;
use crate::onnx::import::{Importer, small};
use crate::onnx::value::{Size, Value};
use crate::op::choice::{Choose, Truth};
use crate::{Dim, Op};
use candle_core::{Device, Tensor};
use faithful_core::Result;
use faithful_tensor::{Activation, Binary};

/// What attention does besides `softmax(Q K' / sqrt(d)) V`.
#[derive(Default)]
struct Rules {
    scale: Option<f64>,
    softcap: f64,
    /// Each query sees the keys up to its own place and this many more.
    causal: Option<usize>,
    /// How far before and behind its place a query sees, where that is bounded.
    window: [Option<usize>; 2],
    /// What is added to the products.
    bias: Option<Value>,
}

/// What attention gives: the result `(N, heads, S, d)`, and the products before and behind each step.
struct Attended {
    y: Value,
    products: [Value; 4],
}

fn count(call: &Call, name: &str) -> Result<Option<usize>> {
    match call.optional_integer(name) {
        None => Ok(None),
        Some(heads) => match usize::try_from(heads) {
            Ok(heads @ 1..=65_536) => Ok(Some(heads)),
            _ => Err(call.damaged(format!("{name} {heads}"))),
        },
    }
}

fn fixed(call: &Call, size: Size) -> Result<usize> {
    let fixed = size.fixed().and_then(|size| usize::try_from(size).ok());
    fixed.ok_or_else(|| call.unsupported("an axis that grows with the batch"))
}

/// `(N, S, heads * d)` as `(N, heads, S, d)`.
fn split_heads(importer: &mut Importer, call: &Call, part: &str, x: Value, heads: usize) -> Result<Value> {
    let dims = vec![Dim::Same(0), Dim::Same(1), Dim::Fixed(heads), Dim::Rest];
    let apart = importer.emit(&format!("{}/{part}-heads", call.name), Op::Reshape(dims), &[x])?;
    importer.emit(&format!("{}/{part}", call.name), Op::Transpose(vec![0, 2, 1, 3]), &[apart])
}

/// `(N, heads, S, d)` as `(N, S, heads * d)`, under the operator's own name.
fn join_heads(importer: &mut Importer, call: &Call, x: Value) -> Result<Value> {
    let sizes = importer.sizes(&x)?;
    let width = fixed(call, sizes[1])?.saturating_mul(fixed(call, sizes[3])?);
    let turned = importer.emit(&format!("{}/places", call.name), Op::Transpose(vec![0, 2, 1, 3]), &[x])?;
    importer.emit(&call.name, Op::Reshape(vec![Dim::Same(0), Dim::Same(1), Dim::Fixed(width)]), &[turned])
}

/// Attention of heads `(N, heads, S, d)`; one head of keys and values may serve several of queries.
fn attend(importer: &mut Importer, call: &Call, [q, k, v]: [Value; 3], rules: &Rules) -> Result<Attended> {
    let name = |part: &str| format!("{}/{part}", call.name);
    let (of_q, of_k) = (importer.sizes(&q)?, importer.sizes(&k)?);
    if of_q.len() != 4 || of_k.len() != 4 || importer.rank(&v)? != 4 {
        return Err(call.damaged("queries, keys and values that do not have heads"));
    }
    let (heads, key_heads) = (fixed(call, of_q[1])?, fixed(call, of_k[1])?);
    let (queries, keys) = (fixed(call, of_q[2])?, fixed(call, of_k[2])?);
    let mut shared = |part: &str, x: Value| -> Result<Value> {
        if heads == key_heads {
            return Ok(x);
        }
        if key_heads == 0 || heads % key_heads != 0 {
            return Err(call.damaged(format!("{heads} heads of queries for {key_heads} of keys")));
        }
        let index = (0..heads).map(|head| head / (heads / key_heads)).collect();
        importer.emit(&name(part), Op::Gather { axis: 1, index }, &[x])
    };
    let (k, v) = (shared("shared-keys", k)?, shared("shared-values", v)?);
    let scale = rules.scale.unwrap_or(1.0 / (fixed(call, of_q[3])?.max(1) as f64).sqrt());
    let scaled = importer.emit(&name("scaled"), Op::Binary(Binary::Mul), &[q, scalar(scale)?])?;
    let turned = importer.emit(&name("turned-keys"), Op::Transpose(vec![0, 1, 3, 2]), &[k])?;
    let raw = importer.emit(&name("products"), Op::MatMul, &[scaled, turned])?;
    let mut products = raw.clone();
    if rules.softcap > 0.0 {
        let cap = scalar(rules.softcap)?;
        products = importer.emit(&name("over-cap"), Op::Binary(Binary::Div), &[products, cap.clone()])?;
        products = importer.emit(&name("tanh"), Op::Activation(Activation::Tanh), &[products])?;
        products = importer.emit(&name("capped"), Op::Binary(Binary::Mul), &[products, cap])?;
    }
    let capped = products.clone();
    if let Some(bias) = &rules.bias {
        products = importer.emit(&name("biased"), Op::Binary(Binary::Add), &[products, bias.clone()])?;
    }
    if let Some(mask) = places(call, [queries, keys], rules)? {
        products = importer.emit(&name("masked"), Op::Binary(Binary::Add), &[products, mask])?;
    }
    let biased = products.clone();
    let softmax = importer.emit(&name("softmax"), Op::Softmax { axis: 3, log: false }, &[products])?;
    let y = importer.emit(&name("attended"), Op::MatMul, &[softmax.clone(), v])?;
    Ok(Attended { y, products: [raw, capped, biased, softmax] })
}

/// Minus infinity where a query does not see a key by its place.
fn places(call: &Call, [queries, keys]: [usize; 2], rules: &Rules) -> Result<Option<Value>> {
    let [left, right] = rules.window;
    if rules.causal.is_none() && left.is_none() && right.is_none() {
        return Ok(None);
    }
    small(&call.name, &[queries, keys])?;
    let offset = rules.causal.unwrap_or(0) as i64;
    let seen = |query: usize, key: usize| {
        let behind = query as i64 + offset - key as i64;
        (rules.causal.is_none() || behind >= 0)
            && left.is_none_or(|left| behind <= left as i64)
            && right.is_none_or(|right| -behind <= right as i64)
    };
    let all = (0..queries).flat_map(|query| (0..keys).map(move |key| (query, key)));
    let mask: Vec<f32> = all.map(|(q, k)| if seen(q, k) { 0.0 } else { f32::NEG_INFINITY }).collect();
    if mask.chunks(keys.max(1)).any(|row| row.iter().all(|value| *value != 0.0)) {
        return Err(call.unsupported("a query that sees no key"));
    }
    Ok(Some(Value::Constant(Tensor::from_vec(mask, (queries, keys), &Device::Cpu)?)))
}

/// A mask as what is added: 0 where it says yes and minus infinity where it says no, where it holds truth values.
fn added(importer: &mut Importer, call: &Call, mask: Value) -> Result<Value> {
    let truth = match &mask {
        Value::Integers(_) => true,
        Value::Node(node) => importer.is_truth(*node),
        _ => false,
    };
    if !truth {
        return Ok(mask);
    }
    let op = Op::composed(Choose);
    importer.emit(&format!("{}/mask", call.name), op, &[mask, scalar(0.0)?, scalar(f64::NEG_INFINITY)?])
}

/// `Attention` of version 23 and later.
pub(super) fn attention(importer: &mut Importer, call: &Call) -> Result<Vec<Value>> {
    if !matches!(call.operand(6), Value::Absent) {
        return Err(call.unsupported("keys whose number depends on the row"));
    }
    let [q, k, v] = [call.required(0)?, call.required(1)?, call.required(2)?];
    let flat = importer.rank(&q)? == 3;
    let (q, mut k, mut v) = if flat {
        let heads = count(call, "q_num_heads")?.ok_or_else(|| call.damaged("q_num_heads is missing"))?;
        let key_heads = count(call, "kv_num_heads")?.ok_or_else(|| call.damaged("kv_num_heads is missing"))?;
        let q = split_heads(importer, call, "queries", q, heads)?;
        (q, split_heads(importer, call, "keys", k, key_heads)?, split_heads(importer, call, "values", v, key_heads)?)
    } else {
        (q, k, v)
    };
    let mut past = 0;
    if let (earlier, Some(earlier_values)) = (call.operand(4), Some(call.operand(5)))
        && !matches!(earlier, Value::Absent)
    {
        past = fixed(call, importer.sizes(&earlier)?.get(2).copied().unwrap_or(Size::from(0)))?;
        k = importer.emit(&format!("{}/all-keys", call.name), Op::Concat { axis: 2 }, &[earlier, k])?;
        v = importer.emit(&format!("{}/all-values", call.name), Op::Concat { axis: 2 }, &[earlier_values, v])?;
    }
    let keys = importer.sizes(&k)?[2];
    let bias = match call.operand(3) {
        Value::Absent => None,
        mask => {
            let mask = added(importer, call, mask)?;
            let own = importer.sizes(&mask)?;
            let (have, need) = (own.last().and_then(|size| size.fixed()).unwrap_or(0), keys.fixed().unwrap_or(0));
            // A mask that ends early hides the rest.
            Some(if (2..need).contains(&have) || (have == 1 && need > 1 && call.opset >= 24) {
                let mut pads = vec![[0; 2]; own.len()];
                pads[own.len() - 1] = [0, (need - have) as isize];
                let mode = faithful_tensor::PadMode::Constant(f64::NEG_INFINITY);
                importer.emit(&format!("{}/whole-mask", call.name), Op::Pad { pads, mode }, &[mask])?
            } else {
                mask
            })
        }
    };
    let side = |name: &str| usize::try_from(call.integer(name, -1)).ok();
    let causal = call.integer("is_causal", 0) != 0;
    let window = [side("left_window_size"), side("right_window_size")];
    if !causal && past > 0 && (window[0].is_some() || window[1].is_some()) {
        return Err(call.unsupported("a window over earlier keys that is not causal"));
    }
    let rules = Rules {
        scale: call.optional_float("scale"),
        softcap: call.float("softcap", 0.0),
        causal: causal.then_some(past),
        window,
        bias,
    };
    let Attended { y, products } = attend(importer, call, [q, k.clone(), v.clone()], &rules)?;
    let y = if flat { join_heads(importer, call, y)? } else { importer.emit(&call.name, Op::Identity, &[y])? };
    let mode = usize::try_from(call.integer("qk_matmul_output_mode", 0)).unwrap_or(usize::MAX);
    let shown = products.get(mode).cloned().ok_or_else(|| call.damaged("qk_matmul_output_mode"))?;
    // Version 23 adds the mask before it caps.
    if call.opset == 23 && rules.softcap > 0.0 && call.gives(3) && mode == 1 {
        return Err(call.unsupported("its fourth output with a cap in version 23"));
    }
    Ok(vec![y, k, v, shown])
}

/// ONNX Runtime's `MultiHeadAttention`: queries, keys and values apart, `(N, S, heads * d)`.
pub(super) fn multi_head(importer: &mut Importer, call: &Call) -> Result<Vec<Value>> {
    for (index, what) in [(4, "a padding mask"), (6, "earlier keys"), (7, "earlier values")] {
        if !matches!(call.operand(index), Value::Absent) {
            return Err(call.unsupported(what));
        }
    }
    let heads = count(call, "num_heads")?.ok_or_else(|| call.damaged("num_heads is missing"))?;
    let mut parts = [call.required(0)?, call.operand(1), call.operand(2)];
    if parts.iter().any(|part| matches!(part, Value::Absent)) || importer.rank(&parts[1])? != 3 {
        return Err(call.unsupported("packed keys and values"));
    }
    if let Some(bias) = call.optional_weight(3)? {
        let mut start = 0;
        for (part, name) in parts.iter_mut().zip(["queries", "keys", "values"]) {
            let width = fixed(call, importer.sizes(part)?[2])?;
            if start + width > bias.elem_count() {
                return Err(call.damaged(format!("a bias of shape {:?}", bias.dims())));
            }
            let own = Value::Constant(bias.flatten_all()?.narrow(0, start, width)?.contiguous()?);
            *part = importer.emit(
                &format!("{}/biased-{name}", call.name),
                Op::Binary(Binary::Add),
                &[part.clone(), own],
            )?;
            start += width;
        }
    }
    let bias = match call.operand(5) {
        Value::Absent => None,
        bias => Some(bias),
    };
    heads_of(importer, call, parts, heads, bias)
}

/// ONNX Runtime's `Attention`: `(N, S, width)` times one matrix for queries, keys and values.
pub(super) fn packed(importer: &mut Importer, call: &Call) -> Result<Vec<Value>> {
    for (index, what) in [(3, "a mask"), (4, "earlier keys"), (6, "earlier keys of a fixed length")] {
        if !matches!(call.operand(index), Value::Absent) {
            return Err(call.unsupported(what));
        }
    }
    let heads = count(call, "num_heads")?.ok_or_else(|| call.damaged("num_heads is missing"))?;
    let (x, weight, bias) = (call.required(0)?, call.weight(1)?, call.optional_weight(2)?);
    let columns = weight.dims().get(1).copied().unwrap_or(0);
    let widths: Vec<usize> = match call.integers("qkv_hidden_sizes").filter(|sizes| sizes.len() == 3) {
        Some(sizes) => sizes.iter().map(|&size| usize::try_from(size).unwrap_or(0)).collect(),
        None => vec![columns / 3; 3],
    };
    if weight.rank() != 2
        || widths.iter().sum::<usize>() != columns
        || bias.as_ref().is_some_and(|b| b.dims() != [columns])
    {
        return Err(call.damaged(format!("weights of shape {:?} for the widths {widths:?}", weight.dims())));
    }
    let op = Op::Linear { weight: weight.t()?.contiguous()?, bias };
    let all = importer.emit(&format!("{}/linear", call.name), op, &[x])?;
    let mut start = 0;
    let mut part = |name: &str, width: usize| -> Result<Value> {
        let op = Op::Slice { axis: 2, start, end: Some(start + width), step: 1 };
        start += width;
        importer.emit(&format!("{}/own-{name}", call.name), op, std::slice::from_ref(&all))
    };
    let parts = [part("queries", widths[0])?, part("keys", widths[1])?, part("values", widths[2])?];
    let bias = match call.operand(5) {
        Value::Absent => None,
        bias => Some(bias),
    };
    heads_of(importer, call, parts, heads, bias)
}

fn heads_of(
    importer: &mut Importer,
    call: &Call,
    [q, k, v]: [Value; 3],
    heads: usize,
    bias: Option<Value>,
) -> Result<Vec<Value>> {
    let parts = [
        split_heads(importer, call, "queries", q, heads)?,
        split_heads(importer, call, "keys", k, heads)?,
        split_heads(importer, call, "values", v, heads)?,
    ];
    let scale = call.optional_float("scale").filter(|scale| *scale != 0.0);
    let causal = (call.integer("unidirectional", 0) != 0).then_some(0);
    let Attended { y, .. } = attend(importer, call, parts, &Rules { scale, causal, bias, ..Rules::default() })?;
    Ok(vec![join_heads(importer, call, y)?])
}

/// Pairs of features turned by an angle that depends on their place (Su et al. 2021, arXiv:2104.09864).
pub(super) fn rotary(importer: &mut Importer, call: &Call) -> Result<Vec<Value>> {
    let mut x = call.required(0)?;
    let name = |part: &str| format!("{}/{part}", call.name);
    let rank = importer.rank(&x)?;
    if rank == 3 {
        let heads = count(call, "num_heads")?.ok_or_else(|| call.damaged("num_heads is missing"))?;
        x = split_heads(importer, call, "split", x, heads)?;
    }
    let sizes = importer.sizes(&x)?;
    if sizes.len() != 4 {
        return Err(call.damaged(format!("an input of {rank} axes")));
    }
    let (steps, width) = (fixed(call, sizes[2])?, fixed(call, sizes[3])?);
    let turned = match usize::try_from(call.integer("rotary_embedding_dim", 0)).unwrap_or(usize::MAX) {
        0 => width,
        turned => turned,
    };
    if turned > width || !turned.is_multiple_of(2) {
        return Err(call.damaged(format!("rotary_embedding_dim {turned} of {width} features")));
    }
    // The angles' cosines and sines as (…, 1, S, turned / 2), to broadcast over the heads.
    let position = call.operand(3);
    let mut angles = |index: usize, part: &str| -> Result<Value> {
        let cache = call.required(index)?;
        let taken = match &position {
            Value::Absent => cache,
            Value::Integers(places) => {
                let rows = places.fixed().ok_or_else(|| call.unsupported("places that depend on the batch"))?;
                let first: Vec<i64> = rows.iter().take(steps).copied().collect();
                if first.len() != steps || rows.chunks(steps.max(1)).any(|row| row != first) {
                    return Err(call.unsupported("places of its own for every row of the batch"));
                }
                let index: Option<Vec<usize>> = first.iter().map(|&place| usize::try_from(place).ok()).collect();
                let index = index.ok_or_else(|| call.damaged("a place that is negative"))?;
                importer.emit(&name(&format!("{part}-taken")), Op::Gather { axis: 0, index }, &[cache])?
            }
            _ => return Err(call.unsupported("places that depend on the input")),
        };
        let rank = importer.rank(&taken)?;
        let op = Op::Unsqueeze(vec![rank.saturating_sub(2)]);
        importer.emit(&name(part), op, &[taken])
    };
    let (cosine, sine) = (angles(1, "cosine")?, angles(2, "sine")?);
    let interleaved = call.integer("interleaved", 0) != 0;
    let half = turned / 2;
    let mut cut = |part: &str, start: usize, end: usize, step: isize| -> Result<Value> {
        let op = Op::Slice { axis: 3, start, end: Some(end), step };
        importer.emit(&name(part), op, std::slice::from_ref(&x))
    };
    let (first, second) = if interleaved {
        (cut("even", 0, turned, 2)?, cut("odd", 1, turned, 2)?)
    } else {
        (cut("first", 0, half, 1)?, cut("second", half, turned, 1)?)
    };
    let rest = if turned < width { Some(cut("rest", turned, width, 1)?) } else { None };
    let mut combine = |part: &str, operation: Binary, a: [&Value; 2], b: [&Value; 2]| -> Result<Value> {
        let mut times = |side: &str, [a, b]: [&Value; 2]| {
            importer.emit(&name(&format!("{part}-{side}")), Op::Binary(Binary::Mul), &[a.clone(), b.clone()])
        };
        let (a, b) = (times("a", a)?, times("b", b)?);
        importer.emit(&name(part), Op::Binary(operation), &[a, b])
    };
    let real = combine("real", Binary::Sub, [&first, &cosine], [&second, &sine])?;
    let imaginary = combine("imaginary", Binary::Add, [&first, &sine], [&second, &cosine])?;
    let rotated = if interleaved {
        let mut apart = |part: &str, x: Value| importer.emit(&name(part), Op::Unsqueeze(vec![4]), &[x]);
        let (real, imaginary) = (apart("real-apart", real)?, apart("imaginary-apart", imaginary)?);
        let pairs = importer.emit(&name("pairs"), Op::Concat { axis: 4 }, &[real, imaginary])?;
        let dims = vec![Dim::Same(0), Dim::Same(1), Dim::Same(2), Dim::Fixed(turned)];
        importer.emit(&name("rotated"), Op::Reshape(dims), &[pairs])?
    } else {
        importer.emit(&name("rotated"), Op::Concat { axis: 3 }, &[real, imaginary])?
    };
    let whole = match rest {
        Some(rest) => importer.emit(&name("whole"), Op::Concat { axis: 3 }, &[rotated, rest])?,
        None => rotated,
    };
    Ok(vec![if rank == 3 {
        join_heads(importer, call, whole)?
    } else {
        importer.emit(&call.name, Op::Identity, &[whole])?
    }])
}

impl Importer<'_> {
    /// Whether a node holds truth values.
    fn is_truth(&self, node: crate::NodeId) -> bool {
        matches!(&self.nodes[node.0].op, Op::Composed(own) if Truth::is_kind(own.kind()))
    }
}
