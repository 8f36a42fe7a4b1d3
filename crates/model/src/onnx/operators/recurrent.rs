use crate::onnx::call::Call;
use crate::onnx::import::Importer;
use crate::onnx::value::Value;
use crate::{Dim, NodeId, Op};
use candle_core::Tensor;
use faithful_core::Result;
use faithful_tensor::{Direction, Recurrent};

pub(super) fn lstm(importer: &mut Importer, call: &Call) -> Result<Vec<Value>> {
    if call.gives(2) {
        return Err(call.unsupported("its third output, the last cell state"));
    }
    if !matches!(call.operand(7), Value::Absent) || call.integer("input_forget", 0) != 0 {
        return Err(call.unsupported("peepholes or coupled gates"));
    }
    check_plain(importer, call, &["sigmoid", "tanh", "tanh"], &[5, 6])?;
    // ONNX has the gates as input, output, forget, cell; PyTorch as input, forget, cell, output.
    recurrent(importer, call, &[0, 2, 3, 1], &|weights, direction| Op::Lstm { weights, direction })
}

pub(super) fn gru(importer: &mut Importer, call: &Call) -> Result<Vec<Value>> {
    check_plain(importer, call, &["sigmoid", "tanh"], &[5])?;
    let reset_after = call.integer("linear_before_reset", 0) != 0;
    // ONNX has the gates as update, reset, new; PyTorch as reset, update, new.
    recurrent(importer, call, &[1, 0, 2], &|weights, direction| Op::Gru { weights, direction, reset_after })
}

/// Refuses what would change the result: other nonlinearities, a clipped state, sequences of different lengths, and
/// states to start from that are not zero.
fn check_plain(importer: &Importer, call: &Call, usual: &[&str], states: &[usize]) -> Result<()> {
    if let Some(names) = call.texts("activations") {
        let other = names.iter().zip(usual.iter().cycle()).any(|(name, usual)| !name.eq_ignore_ascii_case(usual));
        if other {
            return Err(call.unsupported(format!("the activations {names:?}")));
        }
    }
    if call.optional_float("clip").is_some_and(|clip| clip != 0.0) {
        return Err(call.unsupported("a clipped state"));
    }
    if let Value::Node(_) | Value::Unknown = call.operand(4) {
        return Err(call.unsupported("sequence lengths that depend on the input"));
    }
    for &index in states {
        let zero = match call.operand(index) {
            Value::Absent => true,
            Value::Constant(state) => is_zero(&state)?,
            Value::Node(node) => made_of_zeros(importer, node)?,
            Value::Integers(_) | Value::Unknown => false,
        };
        if !zero {
            return Err(call.unsupported(format!("operand {index}, a state to start from that is not zero")));
        }
    }
    Ok(())
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

/// One or two directions over `(T, N, I)`; `gates` is the order in which `PyTorch` has ONNX's gates.
fn recurrent(
    importer: &mut Importer,
    call: &Call,
    gates: &[usize],
    op: &dyn Fn(Recurrent, Direction) -> Op,
) -> Result<Vec<Value>> {
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
    let fits = d == directions.len() && *e == d && rows == *other_rows && hidden > 0 && rows == hidden * gates.len();
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

    let mut states = Vec::new();
    for (place, &direction) in directions.iter().enumerate() {
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
        let layer = match (d, direction) {
            (1, _) => call.name.clone(),
            (_, Direction::Forward) => name("forward"),
            (_, Direction::Reverse) => name("reverse"),
        };
        states.push(importer.emit(&layer, op(weights, direction), &[x.clone()])?);
    }

    // The last states: each direction ends where its reading ends.
    let last = if call.gives(1) {
        let mut ends = Vec::new();
        for (state, &direction) in states.iter().zip(directions) {
            let index = vec![if direction == Direction::Forward { steps - 1 } else { 0 }];
            let end = importer.emit(&name("last"), Op::Gather { axis: 1, index }, std::slice::from_ref(state))?;
            ends.push(end);
        }
        let joined = join(importer, &name("last-states"), ends, 1)?;
        let order = if batch_first { vec![0, 1, 2] } else { vec![1, 0, 2] };
        importer.emit(&name("output-1"), Op::Transpose(order), &[joined])?
    } else {
        Value::Absent
    };

    let whole = join(importer, &call.name, states, 2)?;
    if !call.gives(0) {
        return Ok(vec![Value::Absent, last]);
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
    Ok(vec![all, last])
}

fn join(importer: &mut Importer, name: &str, mut parts: Vec<Value>, axis: usize) -> Result<Value> {
    match parts.len() {
        1 => Ok(parts.remove(0)),
        _ => importer.emit(name, Op::Concat { axis }, &parts),
    }
}
