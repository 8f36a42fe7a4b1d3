use super::attention::AttentionPlan;
use super::kernel::Kernel;
use super::memory::{Memory, Order, Slot};
use crate::{Node, op};
use candle_core::{Device, Tensor, Var};
use faithful_core::{BackwardRule, Result};
use faithful_kernel::{self as cpu, Finish, Gate, Isa, PoolGate, Strided, Windows};
use faithful_tensor::Activation;
use std::sync::Arc;

/// Bounds between which an activation clamps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Bounds {
    pub(super) low: f32,
    pub(super) high: f32,
}

impl Bounds {
    pub(super) const NONE: Self = Self { low: f32::NEG_INFINITY, high: f32::INFINITY };
}

/// What a step does with its result before it stores it; see [`Finish`].
#[derive(Clone, Debug)]
pub(super) struct Epilogue {
    pub(super) bias: Option<Arc<[f32]>>,
    pub(super) add: Option<Slot>,
    pub(super) accumulate: bool,
    pub(super) bounds: Bounds,
    /// An activation's output and its bounds, which a gradient passes on its way back.
    pub(super) gate: Option<(Slot, Bounds)>,
    /// An activation that does not only clamp.
    pub(super) activation: Option<Activation>,
}

impl Default for Epilogue {
    fn default() -> Self {
        Self { bias: None, add: None, accumulate: false, bounds: Bounds::NONE, gate: None, activation: None }
    }
}

/// One kernel call.
#[derive(Clone, Debug)]
pub(super) enum Work {
    Convolution {
        kernel: Arc<Kernel>,
        input: Slot,
    },
    Linear {
        weight: LinearWeight,
        bias: Option<Arc<[f32]>>,
        input: Slot,
        bounds: Bounds,
    },
    LinearBack {
        weight: Tensor,
        input: Slot,
        accumulate: bool,
    },
    MaxPool {
        windows: Arc<[Windows; 2]>,
        input: Slot,
    },
    MaxPoolBack {
        windows: Arc<[Windows; 2]>,
        input: Slot,
        gradient: Slot,
        gate: Option<Bounds>,
        accumulate: bool,
    },
    AveragePool {
        windows: Arc<[Windows; 2]>,
        input: Slot,
    },
    AveragePoolBack {
        windows: Arc<[Windows; 2]>,
        gradient: Slot,
        accumulate: bool,
    },
    /// A copy, scaled per channel where asked.
    Copy {
        scale: Option<Arc<[f32]>>,
        input: Slot,
    },
    /// The epilogue alone, in place.
    Finish,
    /// Zeros everywhere.
    Zero,
    /// An activation that does not only clamp.
    Activation {
        kind: Activation,
        input: Slot,
    },
    ActivationBack {
        kind: Activation,
        input: Slot,
        gradient: Slot,
        accumulate: bool,
    },
    /// The second one may have one pixel per row.
    Multiply {
        inputs: [Slot; 2],
        accumulate: bool,
    },
    /// Over each row's pixels.
    SumOfProducts {
        inputs: [Slot; 2],
        accumulate: bool,
    },
    LayerNorm {
        kernel: Arc<cpu::LayerNorm>,
        input: Slot,
    },
    LayerNormBack {
        kernel: Arc<cpu::LayerNorm>,
        input: Slot,
        gradient: Slot,
        accumulate: bool,
    },
    Recurrent {
        kernel: Arc<cpu::RecurrentLayer>,
        input: Slot,
    },
    RecurrentBack {
        kernel: Arc<cpu::RecurrentLayer>,
        input: Slot,
        gradient: Slot,
    },
    /// `(N, H, W, C)` to `(N, C, H, W)`.
    ToPlanes {
        input: Slot,
    },
    FromPlanes {
        input: Slot,
    },
    Attention {
        plan: Arc<AttentionPlan>,
        /// Queries, keys and values.
        inputs: [Slot; 3],
    },
    /// The gradients at queries, keys and values one after the other.
    AttentionBack {
        plan: Arc<AttentionPlan>,
        inputs: [Slot; 3],
        gradient: Slot,
    },
    /// Values from places of another one's slot.
    Rearrange {
        places: Strided,
        input: Slot,
    },
    /// Values to places of the result.
    Scatter {
        places: Strided,
        input: Slot,
        /// Whether there are zeros elsewhere.
        zero: bool,
        accumulate: bool,
    },
    Constant {
        values: Arc<[f32]>,
    },
    /// Any other operation, by the reference implementation.
    Generic {
        node: Arc<Node>,
        operands: Vec<Operand>,
        batch: usize,
    },
    /// Its gradient with respect to the operand number `wanted`.
    GenericBack {
        node: Arc<Node>,
        operands: Vec<Operand>,
        wanted: usize,
        gradient: Operand,
        batch: usize,
    },
}

/// A linear layer's weights.
#[derive(Clone, Debug)]
pub(super) enum LinearWeight {
    /// Where they lie, `(O, I)`.
    Plain(Tensor),
    /// A copy whose numbers are rounded.
    Rounded(Arc<cpu::Linear>),
}

/// What a generic operation takes.
#[derive(Clone, Debug)]
pub(super) enum Operand {
    /// A value of these dimensions.
    Value(Slot, Vec<usize>),
    /// A tensor that does not depend on the input.
    Constant(Tensor),
}

impl Operand {
    fn slot(&mut self) -> Option<&mut Slot> {
        match self {
            Self::Value(slot, _) => Some(slot),
            Self::Constant(_) => None,
        }
    }
}

/// A kernel call and where its result goes.
#[derive(Clone, Debug)]
pub(super) struct Step {
    /// The node whose value it computes, or whose gradient it pulls back.
    pub(super) node: usize,
    pub(super) work: Work,
    pub(super) out: Slot,
    pub(super) epilogue: Epilogue,
}

impl Step {
    /// All slots that the step reads or writes.
    pub(super) fn slots(&self) -> Vec<Slot> {
        let mut slots = Vec::new();
        self.clone().each_slot(&mut |slot| slots.push(*slot));
        slots
    }

    /// The same step on other slots.
    pub(super) fn with_slots(&self, other: impl Fn(Slot) -> Slot) -> Self {
        let mut step = self.clone();
        step.each_slot(&mut |slot| *slot = other(*slot));
        step
    }

    fn each_slot(&mut self, visit: &mut dyn FnMut(&mut Slot)) {
        visit(&mut self.out);
        self.epilogue.add.iter_mut().for_each(&mut *visit);
        if let Some((slot, _)) = &mut self.epilogue.gate {
            visit(slot);
        }
        match &mut self.work {
            Work::Finish | Work::Zero | Work::Constant { .. } => {}
            Work::Generic { operands, .. } => operands.iter_mut().filter_map(Operand::slot).for_each(visit),
            Work::GenericBack { operands, gradient, .. } => {
                operands.iter_mut().chain([gradient]).filter_map(Operand::slot).for_each(visit);
            }
            Work::MaxPoolBack { input, gradient, .. }
            | Work::ActivationBack { input, gradient, .. }
            | Work::LayerNormBack { input, gradient, .. }
            | Work::RecurrentBack { input, gradient, .. } => {
                visit(input);
                visit(gradient);
            }
            Work::Multiply { inputs, .. } | Work::SumOfProducts { inputs, .. } => inputs.iter_mut().for_each(visit),
            Work::Attention { inputs, .. } => inputs.iter_mut().for_each(visit),
            Work::AttentionBack { inputs, gradient, .. } => inputs.iter_mut().chain([gradient]).for_each(visit),
            Work::AveragePoolBack { gradient: input, .. }
            | Work::Convolution { input, .. }
            | Work::Linear { input, .. }
            | Work::LinearBack { input, .. }
            | Work::MaxPool { input, .. }
            | Work::AveragePool { input, .. }
            | Work::Copy { input, .. }
            | Work::Activation { input, .. }
            | Work::LayerNorm { input, .. }
            | Work::Recurrent { input, .. }
            | Work::Rearrange { input, .. }
            | Work::Scatter { input, .. }
            | Work::ToPlanes { input }
            | Work::FromPlanes { input } => visit(input),
        }
    }

    /// How many numbers its weights are.
    pub(super) fn weights(&self) -> usize {
        match &self.work {
            Work::Convolution { kernel, .. } => kernel.elements(),
            Work::Linear { weight: LinearWeight::Plain(weight), .. } => weight.elem_count(),
            Work::Linear { weight: LinearWeight::Rounded(weight), .. } => weight.elements(),
            Work::Recurrent { kernel, .. } => kernel.elements(),
            _ => 0,
        }
    }

    /// Does it.
    pub(super) fn run(&self, memory: &Memory, isa: Isa, rule: BackwardRule) -> Result<()> {
        let map = |slot: &Slot| memory.map(slot);
        // SAFETY: the plan placed the result apart from everything that lives at this step.
        let out = || unsafe { memory.map_mut(&self.out) };
        // SAFETY: as above.
        let dense = |slot: &Slot| unsafe { memory.write(slot) };
        let epilogue = &self.epilogue;
        let finish = Finish {
            bias: epilogue.bias.as_deref(),
            add: epilogue.add.as_ref().map(map).transpose()?,
            accumulate: epilogue.accumulate,
            low: epilogue.bounds.low,
            high: epilogue.bounds.high,
            gate: match &epilogue.gate {
                None => None,
                Some((values, bounds)) => Some(Gate { values: map(values)?, low: bounds.low, high: bounds.high, rule }),
            },
            activation: epilogue.activation,
        };
        match &self.work {
            Work::Convolution { kernel, input } => kernel.run(map(input)?, out()?, &finish)?,
            Work::Linear { weight: LinearWeight::Rounded(weight), bias, input, bounds } => {
                let (x, to) = (memory.read(input), dense(&self.out));
                let rows = to.len() / weight.outputs().max(1);
                weight.run(x, bias.as_deref(), (bounds.low, bounds.high), rows, to)?;
            }
            Work::Linear { weight: LinearWeight::Plain(weight), bias, input, bounds } => {
                let [n, i, o] = sizes(weight, &self.out)?;
                with_elements(weight, |weight| {
                    let (x, to) = (memory.read(input), dense(&self.out));
                    cpu::linear(isa, x, weight, bias.as_deref(), (bounds.low, bounds.high), [n, i, o], to)
                })?;
            }
            Work::LinearBack { weight, input, accumulate } => {
                let [n, i, o] = sizes(weight, input)?;
                with_elements(weight, |weight| {
                    cpu::linear_gradient(isa, memory.read(input), weight, [n, i, o], *accumulate, dense(&self.out))
                })?;
            }
            Work::MaxPool { windows, input } => cpu::max_pool(isa, map(input)?, pair(windows), out()?)?,
            Work::MaxPoolBack { windows, input, gradient, gate, accumulate } => {
                let gate = PoolGate {
                    activation: gate.map(|bounds| (bounds.low, bounds.high, rule)),
                    accumulate: *accumulate,
                };
                cpu::max_pool_gradient(isa, map(input)?, map(gradient)?, pair(windows), out()?, &gate)?;
            }
            Work::AveragePool { windows, input } => cpu::average_pool(isa, map(input)?, pair(windows), out()?)?,
            Work::AveragePoolBack { windows, gradient, accumulate } => {
                cpu::average_pool_gradient(isa, map(gradient)?, pair(windows), out()?, *accumulate)?;
            }
            Work::Copy { scale, input } => cpu::copy(isa, map(input)?, scale.as_deref(), out()?, &finish)?,
            Work::Finish => cpu::finish_in_place(isa, out()?, &finish)?,
            Work::Zero => dense(&self.out).fill(0.0),
            Work::Activation { kind, input } => cpu::activate(isa, *kind, map(input)?, out()?)?,
            Work::ActivationBack { kind, input, gradient, accumulate } => {
                cpu::activation_gradient(isa, (*kind, rule), map(input)?, map(gradient)?, out()?, *accumulate)?;
            }
            Work::Multiply { inputs: [a, b], accumulate } => {
                cpu::multiply(isa, map(a)?, map(b)?, out()?, *accumulate)?;
            }
            Work::SumOfProducts { inputs: [a, b], accumulate } => {
                cpu::sum_of_products(isa, map(a)?, map(b)?, out()?, *accumulate)?;
            }
            Work::LayerNorm { kernel, input } => kernel.run(isa, map(input)?, out()?)?,
            Work::LayerNormBack { kernel, input, gradient, accumulate } => {
                kernel.gradient(isa, map(input)?, map(gradient)?, out()?, *accumulate)?;
            }
            Work::Recurrent { kernel, input } => kernel.run(memory.read(input), out()?)?,
            Work::RecurrentBack { kernel, input, gradient } => {
                kernel.gradient(memory.read(input), map(gradient)?, dense(&self.out))?;
            }
            Work::ToPlanes { input } => cpu::to_planar(map(input)?, dense(&self.out))?,
            Work::FromPlanes { input } => cpu::from_planar(memory.read(input), out()?)?,
            Work::Attention { plan, inputs } => {
                plan.with(memory, inputs, |attention| attention.run(isa, dense(&self.out), &plan.out))?;
            }
            Work::AttentionBack { plan, inputs, gradient } => {
                let gradient = cpu::Operand { data: memory.read(gradient), places: &plan.out };
                let [queries, keys, _] = [0, 1, 2].map(|operand| plan.operands[operand].count());
                let (to_queries, rest) = dense(&self.out).split_at_mut(queries);
                let (to_keys, to_values) = rest.split_at_mut(keys);
                plan.with(memory, inputs, |attention| {
                    attention.gradient(isa, gradient, [to_queries, to_keys, to_values])
                })?;
            }
            Work::Rearrange { places, input } => {
                cpu::gather_strided(isa, memory.read(input), places, dense(&self.out))?;
            }
            Work::Constant { values } => dense(&self.out).copy_from_slice(values),
            Work::Scatter { places, input, zero, accumulate } => {
                let to = dense(&self.out);
                if *zero && places.count() != to.len() {
                    to.fill(0.0);
                }
                cpu::scatter_strided(isa, memory.read(input), places, to, *accumulate)?;
            }
            Work::Generic { node, operands, batch } => {
                let operands = operands.iter().map(|operand| tensor(memory, operand)).collect::<Result<Vec<_>>>()?;
                let all: Vec<&Tensor> = operands.iter().collect();
                let value = op::apply(node, &all, *batch, rule)?;
                write(&value, dense(&self.out), &self.out)?;
            }
            Work::GenericBack { node, operands, wanted, gradient, batch } => {
                let mut operands =
                    operands.iter().map(|operand| tensor(memory, operand)).collect::<Result<Vec<_>>>()?;
                let variable = Var::from_tensor(&operands[*wanted])?.into_inner();
                operands[*wanted] = variable.clone();
                let all: Vec<&Tensor> = operands.iter().collect();
                let value = op::apply(node, &all, *batch, rule)?;
                let store = (value * tensor(memory, gradient)?)?.sum_all()?.backward()?;
                let pulled = match store.get(&variable) {
                    Some(pulled) => pulled.detach(),
                    None => variable.zeros_like()?.detach(),
                };
                write(&pulled, dense(&self.out), &self.out)?;
            }
        }
        Ok(())
    }
}

fn pair(windows: &[Windows; 2]) -> [&Windows; 2] {
    [&windows[0], &windows[1]]
}

/// A slot's value as a tensor of these dimensions.
pub(super) fn read(memory: &Memory, slot: &Slot, dims: &[usize]) -> Result<Tensor> {
    let values = match slot.order {
        Order::Own if slot.is_dense() => memory.read(slot).to_vec(),
        Order::Own => {
            memory.read(slot).chunks(slot.pixel.max(1)).flat_map(|row| &row[..slot.shape[3]]).copied().collect()
        }
        Order::Innermost => {
            let mut values = vec![0.0; slot.shape.iter().product()];
            cpu::to_planar(memory.map(slot)?, &mut values)?;
            values
        }
    };
    Ok(Tensor::from_vec(values, dims, &Device::Cpu)?)
}

/// Writes a tensor to a dense slot.
pub(super) fn write(value: &Tensor, to: &mut [f32], slot: &Slot) -> Result<()> {
    debug_assert!(slot.is_dense());
    with_elements(&value.contiguous()?, |values| match slot.order {
        Order::Own => {
            to.copy_from_slice(values);
            Ok(())
        }
        Order::Innermost => cpu::from_planar(values, cpu::MapMut::new(to, slot.shape)?),
    })?;
    Ok(())
}

fn tensor(memory: &Memory, operand: &Operand) -> Result<Tensor> {
    match operand {
        Operand::Value(slot, dims) => read(memory, slot, dims),
        Operand::Constant(tensor) => Ok(tensor.clone()),
    }
}

/// `[N, I, O]` of a linear layer whose result lies in `result`. Operands may lie in the shape of what they are views of.
fn sizes(weight: &Tensor, result: &Slot) -> candle_core::Result<[usize; 3]> {
    let (o, i) = weight.dims2()?;
    Ok([result.shape.iter().product::<usize>() / o.max(1), i, o])
}

/// Lends a contiguous tensor's elements where they lie.
pub(super) fn with_elements<R>(
    tensor: &Tensor,
    work: impl FnOnce(&[f32]) -> candle_core::Result<R>,
) -> candle_core::Result<R> {
    let (storage, layout) = tensor.storage_and_layout();
    let (start, end) = layout.contiguous_offsets().ok_or_else(|| {
        candle_core::Error::Msg("a weight is not contiguous; make the graph of contiguous tensors".into())
    })?;
    match &*storage {
        candle_core::Storage::Cpu(storage) => work(&storage.as_slice::<f32>()?[start..end]),
        _ => candle_core::bail!("a plan runs on the CPU; the weights are elsewhere"),
    }
}
