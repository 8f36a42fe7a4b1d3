//! Recurrent layers with other activations, a bound, peepholes, a state to start from, or the last cell state read.

use crate::Op;
use crate::onnx::call::Call;
use crate::onnx::import::Importer;
use crate::onnx::value::{Size, Value};
use crate::op::recurrence::Recurrence;
use candle_core::{Device, Tensor};
use faithful_core::Result;
use faithful_tensor::{Activation, CellKind, Cells, Gate};

/// The activations of direction `place`, three at most; ONNX's defaults where the file says nothing.
fn gates(call: &Call, kind: CellKind, place: usize) -> Result<[Gate; 3]> {
    let usual: &[&str] = match kind {
        CellKind::Rnn => &["Tanh"],
        CellKind::Lstm { .. } => &["Sigmoid", "Tanh", "Tanh"],
        CellKind::Gru { .. } => &["Sigmoid", "Tanh"],
    };
    let names = call.texts("activations").filter(|names| !names.is_empty());
    let names = names.unwrap_or_else(|| usual.iter().map(|name| (*name).to_owned()).collect());
    // A file may give those of one direction only.
    let own = if names.len() > usual.len() * place { &names[usual.len() * place..] } else { &names[..] };
    if own.len() < usual.len() {
        return Err(call.damaged(format!("{} activations; each direction has {}", names.len(), usual.len())));
    }
    // Parameters stand in the order of those activations that have one.
    let skipped = &names[..names.len() - own.len()];
    let mut alphas = call.floats("activation_alpha").unwrap_or_default().iter().copied().map(f64::from);
    let mut betas = call.floats("activation_beta").unwrap_or_default().iter().copied().map(f64::from);
    for name in skipped {
        gate(call, name, &mut alphas, &mut betas)?;
    }
    let mut gates = [Gate::Affine(1.0, 0.0); 3];
    for (slot, name) in gates.iter_mut().zip(&own[..usual.len()]) {
        *slot = gate(call, name, &mut alphas, &mut betas)?;
    }
    Ok(gates)
}

fn gate(
    call: &Call,
    name: &str,
    alphas: &mut dyn Iterator<Item = f64>,
    betas: &mut dyn Iterator<Item = f64>,
) -> Result<Gate> {
    let mut alpha = |default: f64| alphas.next().unwrap_or(default);
    let mut beta = |default: f64| betas.next().unwrap_or(default);
    Ok(match name.to_ascii_lowercase().as_str() {
        "relu" => Gate::Plain(Activation::Relu),
        "tanh" => Gate::Plain(Activation::Tanh),
        "sigmoid" => Gate::Plain(Activation::Sigmoid),
        "softsign" => Gate::Plain(Activation::Softsign),
        "softplus" => Gate::Plain(Activation::Softplus),
        "elu" => Gate::Plain(Activation::Elu { alpha: alpha(1.0) }),
        "leakyrelu" => Gate::Plain(Activation::LeakyRelu { slope: alpha(0.01) }),
        "hardsigmoid" => Gate::Plain(Activation::HardSigmoid { alpha: alpha(0.2), beta: beta(0.5) }),
        "affine" => Gate::Affine(alpha(1.0), beta(0.0)),
        "scaledtanh" => Gate::ScaledTanh(alpha(1.0), beta(1.0)),
        "thresholdedrelu" => Gate::ThresholdedRelu(alpha(1.0)),
        other => return Err(call.unsupported(format!("the activation {other}"))),
    })
}

/// The state of direction `place` that operand `index` holds, `(N, H)` or `(1, H)`.
fn state(importer: &mut Importer, call: &Call, index: usize, place: usize, hidden: usize) -> Result<Value> {
    let axis = usize::from(call.integer("layout", 0) != 0);
    let states = match call.operand(index) {
        Value::Absent => return zeros(hidden),
        // One row of a constant stands for all where they are alike.
        Value::Constant(states) => {
            let own = match states.rank() {
                3 if place < states.dims()[axis] => states.narrow(axis, place, 1)?.squeeze(axis)?,
                _ => return Err(call.damaged(format!("a state of shape {:?}", states.dims()))),
            };
            let first = own.narrow(0, 0, 1)?;
            let same = own.broadcast_sub(&first)?.abs()?.max_all()?.to_scalar::<f32>()? == 0.0;
            if !same {
                return Err(call.unsupported("a state of its own for every row of the batch"));
            }
            return Ok(Value::Constant(first.contiguous()?));
        }
        states => states,
    };
    let name = |part: &str| format!("{}/{part}-{index}", call.name);
    let own = importer.emit(&name("state"), Op::Gather { axis, index: vec![place] }, &[states])?;
    importer.emit(&name("first"), Op::Squeeze(vec![axis]), &[own])
}

fn zeros(hidden: usize) -> Result<Value> {
    Ok(Value::Constant(Tensor::zeros((1, hidden), candle_core::DType::F32, &Device::Cpu)?))
}

/// Direction `place` of a layer over `x` `(N, T, I)`: its states `(N, T, H)`, and an LSTM's cell states.
pub(super) fn layer(
    importer: &mut Importer,
    call: &Call,
    name: &str,
    x: &Value,
    place: usize,
    reverse: bool,
) -> Result<[Value; 2]> {
    let kind = match call.node.op_type.as_str() {
        "RNN" => CellKind::Rnn,
        "LSTM" => CellKind::Lstm { coupled: call.integer("input_forget", 0) != 0 },
        _ => CellKind::Gru { reset_after: call.integer("linear_before_reset", 0) != 0 },
    };
    // `recurrent` has seen that the shapes fit.
    let own = |index: usize| -> Result<Tensor> { Ok(call.weight(index)?.get(place)?) };
    let hidden_weight = own(2)?;
    let (rows, hidden) = hidden_weight.dims2()?;
    let bias = |offset: usize| -> Result<Tensor> {
        match call.optional_weight(3)? {
            Some(biases) => Ok(biases.get(place)?.narrow(0, offset, rows)?.contiguous()?),
            None => Ok(Tensor::zeros(rows, hidden_weight.dtype(), &Device::Cpu)?),
        }
    };
    let peepholes = match call.optional_weight(7)? {
        Some(all) if all.rank() == 2 && all.dims()[1] == 3 * hidden && place < all.dims()[0] => Some(all.get(place)?),
        Some(all) => return Err(call.damaged(format!("peepholes of shape {:?}", all.dims()))),
        None => None,
    };
    let clip = call.optional_float("clip").filter(|clip| *clip > 0.0);
    let cells = Cells {
        kind,
        input_weight: own(1)?.contiguous()?,
        input_bias: bias(0)?,
        hidden_bias: bias(rows)?,
        hidden_weight: hidden_weight.contiguous()?,
        peepholes,
        gates: gates(call, kind, place)?,
        clip,
        reverse,
    };
    let lstm = matches!(kind, CellKind::Lstm { .. });
    let first = state(importer, call, 5, place, hidden)?;
    let memory = if lstm { state(importer, call, 6, place, hidden)? } else { zeros(hidden)? };
    let op = Op::composed(Recurrence(cells));
    if !lstm {
        return Ok([importer.emit(name, op, &[x.clone(), first, memory])?, Value::Absent]);
    }
    let both = importer.emit(&format!("{name}/with-cells"), op, &[x.clone(), first, memory])?;
    let part = |start: usize| Op::Slice { axis: 2, start, end: Some(start + hidden), step: 1 };
    let states = importer.emit(name, part(0), std::slice::from_ref(&both))?;
    let cells =
        if call.gives(2) { importer.emit(&format!("{name}/cells"), part(hidden), &[both])? } else { Value::Absent };
    Ok([states, cells])
}

/// Fails where sequences end before the series does.
pub(super) fn check_lengths(importer: &Importer, call: &Call) -> Result<()> {
    let lengths = match call.operand(4) {
        Value::Absent => return Ok(()),
        Value::Integers(lengths) => lengths,
        _ => return Err(call.unsupported("sequence lengths that depend on the input")),
    };
    let time = usize::from(call.integer("layout", 0) != 0);
    let steps = importer.sizes(&call.required(0)?)?.get(time).copied().unwrap_or(Size::from(0));
    if lengths.values.iter().all(|length| *length == steps) {
        return Ok(());
    }
    Err(call.unsupported("sequences that are shorter than the series"))
}
