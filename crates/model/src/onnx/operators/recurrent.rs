use super::cells;
use crate::onnx::call::Call;
use crate::onnx::import::Importer;
use crate::onnx::value::Value;
use crate::{Dim, NodeId, Op};
use candle_core::Tensor;
use faithful_core::Result;
use faithful_tensor::{Direction, Recurrent};

pub(super) fn rnn(importer: &mut Importer, call: &Call) -> Result<Vec<Value>> {
    recurrent(importer, call, 1, &[], None)
}

pub(super) fn lstm(importer: &mut Importer, call: &Call) -> Result<Vec<Value>> {
    let plain = !call.gives(2)
        && matches!(call.operand(7), Value::Absent)
        && call.integer("input_forget", 0) == 0
        && is_plain(importer, call, &["sigmoid", "tanh", "tanh"], &[5, 6])?;
    // ONNX has the gates as input, output, forget, cell; PyTorch as input, forget, cell, output.
    let op: &PlainLayer = &|weights, direction| Op::Lstm { weights, direction };
    recurrent(importer, call, 4, &[0, 2, 3, 1], plain.then_some(op))
}

pub(super) fn gru(importer: &mut Importer, call: &Call) -> Result<Vec<Value>> {
    let plain = is_plain(importer, call, &["sigmoid", "tanh"], &[5])?;
    let reset_after = call.integer("linear_before_reset", 0) != 0;
    // ONNX has the gates as update, reset, new; PyTorch as reset, update, new.
    let op: &PlainLayer = &|weights, direction| Op::Gru { weights, direction, reset_after };
    recurrent(importer, call, 3, &[1, 0, 2], plain.then_some(op))
}

/// A layer with a kernel of its own.
type PlainLayer<'a> = dyn Fn(Recurrent, Direction) -> Op + 'a;

/// Whether a layer has the usual nonlinearities, no bound, and starts from zeros.
fn is_plain(importer: &Importer, call: &Call, usual: &[&str], states: &[usize]) -> Result<bool> {
    let other = |names: Vec<String>| {
        names.iter().zip(usual.iter().cycle()).any(|(name, usual)| !name.eq_ignore_ascii_case(usual))
    };
    if call.texts("activations").is_some_and(other) || call.optional_float("clip").is_some_and(|clip| clip != 0.0) {
        return Ok(false);
    }
    for &index in states {
        let zero = match call.operand(index) {
            Value::Absent => true,
            Value::Constant(state) => is_zero(&state)?,
            Value::Node(node) => made_of_zeros(importer, node)?,
            Value::Integers(_) | Value::Unknown => false,
        };
        if !zero {
            return Ok(false);
        }
    }
    Ok(true)
}

fn is_zero(tensor: &Tensor) -> Result<bool> {
    Ok(tensor.flatten_all()?.to_vec1::<f32>()?.iter().all(|&value| value == 0.0))
}

/// Whether a node only moves zeros about: initial states are expanded to the batch.
fn made_of_zeros(importer: &Importer, node: NodeId) -> Result<bool> {
    let mut waiting = vec![node];
    while let Some(node) = waiting.pop() {
        let node = &importer.nodes[node.0];
        match &node.op {
            Op::Constant(value) if is_zero(value)? => {}
            Op::Expand(_)
            | Op::Reshape(_)
            | Op::Flatten { .. }
            | Op::Transpose(_)
            | Op::Squeeze(_)
            | Op::Unsqueeze(_)
            | Op::Slice { .. }
            | Op::Gather { .. }
            | Op::Concat { .. }
            | Op::Identity => waiting.extend(&node.inputs),
            _ => return Ok(false),
        }
    }
    Ok(true)
}

/// One or two directions over `(T, N, I)` of a cell with `count` gates; `gates` is the order in which `PyTorch` has
/// ONNX's, for layers with a kernel.
fn recurrent(
    importer: &mut Importer,
    call: &Call,
    count: usize,
    gates: &[usize],
    plain: Option<&PlainLayer>,
) -> Result<Vec<Value>> {
    cells::check_lengths(importer, call)?;
    let batch_first = call.integer("layout", 0) != 0;
    let (input_weights, hidden_weights) = (call.weight(1)?, call.weight(2)?);
    let biases = call.optional_weight(3)?;
    let directions: &[Direction] = match call.text("direction", "forward").as_str() {
        "forward" => &[Direction::Forward],
        "reverse" => &[Direction::Reverse],
        "bidirectional" => &[Direction::Forward, Direction::Reverse],
        other => return Err(call.damaged(format!("direction {other}"))),
    };
    let ([d, rows, _], [e, other_rows, hidden]) = (input_weights.dims(), hidden_weights.dims()) else {
        return Err(call.damaged("weights that do not have three axes"));
    };
    let (d, rows, hidden) = (*d, *rows, *hidden);
    let fits = d == directions.len() && *e == d && rows == *other_rows && hidden > 0 && rows == hidden * count;
    let bias_fits = biases.as_ref().is_none_or(|bias| bias.dims() == [d, 2 * rows]);
    if !fits || !bias_fits {
        return Err(call.damaged("weights whose shapes contradict each other"));
    }
    let mut x = call.required(0)?;
    let sizes = importer.sizes(&x)?;
    if sizes.len() != 3 {
        return Err(call.damaged(format!("an input of {} axes", sizes.len())));
    }
    let name = |part: &str| format!("{}/{part}", call.name);
    if !batch_first {
        x = importer.emit(&name("batch-first"), Op::Transpose(vec![1, 0, 2]), &[x])?;
    }
    let sizes = importer.sizes(&x)?;
    let steps = sizes[1].fixed().and_then(|steps| usize::try_from(steps).ok()).filter(|&steps| steps > 0);
    let steps = steps.ok_or_else(|| call.unsupported("a series along the batch"))?;

    let (mut states, mut memories) = (Vec::new(), Vec::new());
    for (place, &direction) in directions.iter().enumerate() {
        let layer = match (d, direction) {
            (1, _) => call.name.clone(),
            (_, Direction::Forward) => name("forward"),
            (_, Direction::Reverse) => name("reverse"),
        };
        let Some(op) = plain else {
            let reverse = direction == Direction::Reverse;
            let [state, memory] = cells::layer(importer, call, &layer, &x, place, reverse)?;
            states.push(state);
            memories.push(memory);
            continue;
        };
        let order = |rows: &Tensor| -> Result<Tensor> {
            let parts =
                gates.iter().map(|&gate| Ok(rows.narrow(0, gate * hidden, hidden)?)).collect::<Result<Vec<_>>>()?;
            Ok(Tensor::cat(&parts, 0)?)
        };
        let bias = |offset: usize| -> Result<Option<Tensor>> {
            let Some(biases) = &biases else { return Ok(None) };
            order(&biases.get(place)?.narrow(0, offset, rows)?).map(Some)
        };
        let weights = Recurrent {
            input_weight: order(&input_weights.get(place)?)?,
            hidden_weight: order(&hidden_weights.get(place)?)?,
            input_bias: bias(0)?,
            hidden_bias: bias(rows)?,
        };
        states.push(importer.emit(&layer, op(weights, direction), &[x.clone()])?);
    }

    // The last states: each direction ends where its reading ends.
    let mut ends_of = |part: &str, states: &[Value]| -> Result<Value> {
        let mut ends = Vec::new();
        for (state, &direction) in states.iter().zip(directions) {
            let index = vec![if direction == Direction::Forward { steps - 1 } else { 0 }];
            let op = Op::Gather { axis: 1, index };
            ends.push(importer.emit(&name(&format!("last{part}")), op, std::slice::from_ref(state))?);
        }
        let joined = join(importer, &name(&format!("last-states{part}")), ends, 1)?;
        let order = if batch_first { vec![0, 1, 2] } else { vec![1, 0, 2] };
        importer.emit(&name(if part.is_empty() { "output-1" } else { "output-2" }), Op::Transpose(order), &[joined])
    };
    let last = if call.gives(1) { ends_of("", &states)? } else { Value::Absent };
    let last_memory = if call.gives(2) { ends_of("-cells", &memories)? } else { Value::Absent };

    let whole = join(importer, &call.name, states, 2)?;
    if !call.gives(0) {
        return Ok(vec![Value::Absent, last, last_memory]);
    }
    // (N, T, D * H) as (T, D, N, H), or (N, T, D, H) where the batch stands first.
    let all = if d == 1 {
        let order = if batch_first { vec![0, 1, 2] } else { vec![1, 0, 2] };
        let moved = importer.emit(&name("time-first"), Op::Transpose(order), &[whole])?;
        importer.emit(&name("output-0"), Op::Unsqueeze(vec![if batch_first { 2 } else { 1 }]), &[moved])?
    } else {
        let dims = vec![Dim::Same(0), Dim::Same(1), Dim::Fixed(d), Dim::Fixed(hidden)];
        let split = importer.emit(&name("directions"), Op::Reshape(dims), &[whole])?;
        let order = if batch_first { vec![0, 1, 2, 3] } else { vec![1, 2, 0, 3] };
        importer.emit(&name("output-0"), Op::Transpose(order), &[split])?
    };
    Ok(vec![all, last, last_memory])
}

fn join(importer: &mut Importer, name: &str, mut parts: Vec<Value>, axis: usize) -> Result<Value> {
    match parts.len() {
        1 => Ok(parts.remove(0)),
        _ => importer.emit(name, Op::Concat { axis }, &parts),
    }
}
