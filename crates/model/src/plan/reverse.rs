//! From recorded forward steps to the steps that pull a gradient back.

use super::compile::{Forward, Record, RecordKind};
use super::memory::{Order, Slot};
use super::single::part_places;
use super::step::{Bounds, Epilogue, Operand, Step, Work};
use faithful_core::Result;
use faithful_kernel::Windows;

/// What is known so far of the gradient of a node's value.
#[derive(Clone, Copy, Debug)]
enum Gradient {
    /// Nothing has come.
    None,
    /// It is another gradient, unchanged, which must not be written.
    Borrowed(Slot),
    /// It has a buffer of its own.
    Own(Slot),
}

/// The backward half of a plan.
pub(super) struct Reverse {
    pub(super) steps: Vec<Step>,
    /// Where the cotangent is put.
    pub(super) cotangent: Slot,
    /// The gradients at the request's taps; `None` where the output does not depend on one.
    pub(super) gradients: Vec<Option<Slot>>,
}

struct Compiler<'a, 'b> {
    forward: &'b mut Forward<'a>,
    /// Whose gradient is pulled back.
    node: usize,
    steps: Vec<Step>,
    gradients: Vec<Gradient>,
    /// Contributions that are still to come.
    left: Vec<usize>,
    /// Whether a tap lies at or before a node.
    live: Vec<bool>,
    tapped: Vec<bool>,
    /// The activation that a node's step ends with.
    bounds: Vec<Bounds>,
}

/// Plans the way back from `output`, of which `forward` has a value.
pub(super) fn compile(forward: &mut Forward, output: usize) -> Result<Reverse> {
    let count = forward.values.len();
    let taps = forward.request.taps.clone();
    let mut tapped = vec![false; count];
    for tap in taps.iter().copied() {
        tapped[forward.root[tap]] = true;
    }
    let (own, output) = (output, forward.root[output]);
    let records = forward.records.clone();
    let inputs = |forward: &Forward, record: &Record| -> Vec<usize> {
        record.kind.inputs().into_iter().map(|input| forward.root[input]).collect()
    };
    let mut live = tapped.clone();
    for record in &records {
        live[record.node] |= inputs(forward, record).iter().any(|&input| live[input]);
    }
    let mut reaches = vec![false; count];
    reaches[output] = true;
    let mut left = vec![0; count];
    for record in records.iter().rev() {
        if reaches[record.node] && live[record.node] {
            for input in inputs(forward, record) {
                reaches[input] = true;
                left[input] += usize::from(live[input]);
            }
        }
    }
    let mut bounds = vec![Bounds::NONE; count];
    for record in &records {
        bounds[record.node] = record.bounds;
    }
    let [own_slot, slot] =
        [own, output].map(|node| forward.slot(node).unwrap_or_else(|| unreachable!("it is computed")));
    // It comes as the output's dimensions say, which may be another node's value looked at.
    let cotangent = fresh(forward, &own_slot);
    let mut compiler = Compiler {
        forward,
        node: own,
        steps: Vec::new(),
        gradients: vec![Gradient::None; count],
        left,
        live,
        tapped,
        bounds,
    };
    if compiler.live[output] {
        compiler.gradients[output] = Gradient::Borrowed(compiler.seen_as(cotangent, &slot));
    }
    for record in records.iter().rev() {
        compiler.record(record)?;
    }
    let gradients = taps
        .iter()
        .map(|&tap| match compiler.gradients[compiler.forward.root[tap]] {
            Gradient::None => None,
            Gradient::Borrowed(slot) | Gradient::Own(slot) => Some(slot),
        })
        .collect();
    Ok(Reverse { steps: compiler.steps, cotangent, gradients })
}

/// A slot without gaps like another.
fn fresh(forward: &mut Forward, like: &Slot) -> Slot {
    forward.buffers.push(like.shape.iter().product());
    Slot { buffer: forward.buffers.len() - 1, offset: 0, pixel: like.shape[3], ..*like }
}

/// What a step can do besides pulling a gradient back.
#[derive(Clone, Copy, PartialEq)]
enum Abilities {
    /// Everything that an [`Epilogue`] says.
    Epilogue,
    /// Adding to what is there.
    Accumulate,
    /// Nothing.
    Store,
}

impl Compiler<'_, '_> {
    fn fresh(&mut self, like: &Slot) -> Slot {
        fresh(self.forward, like)
    }

    /// A gradient looked at as a value that it is a gradient of; copied where its gaps are elsewhere.
    fn seen_as(&mut self, gradient: Slot, like: &Slot) -> Slot {
        let dense = |compiler: &mut Self| compiler.dense(gradient).seen_as(like);
        let seen = gradient.seen_as(like).or_else(|| dense(self));
        seen.unwrap_or_else(|| unreachable!("what has no gaps can be looked at as anything of its size"))
    }

    /// A gradient without gaps, for steps that read it as one piece: that of a part of a concatenation has some.
    fn dense(&mut self, gradient: Slot) -> Slot {
        if gradient.is_dense() {
            return gradient;
        }
        let out = self.fresh(&gradient);
        self.push(Work::Copy { scale: None, input: gradient }, out, Epilogue::default());
        out
    }

    fn value(&self, node: usize) -> Slot {
        self.forward.slot(node).unwrap_or_else(|| unreachable!("a node that takes part in a step has a value"))
    }

    fn push(&mut self, work: Work, out: Slot, epilogue: Epilogue) {
        self.steps.push(Step { node: self.node, work, out, epilogue });
    }

    /// Pulls the gradient of a recorded step's result back to its operands.
    fn record(&mut self, record: &Record) -> Result<()> {
        self.node = record.node;
        let inputs: Vec<usize> = record.kind.inputs().iter().map(|&input| self.forward.root[input]).collect();
        if !inputs.iter().any(|&input| self.live[input]) {
            return Ok(());
        }
        let Some(gradient) = self.before_activation(record) else { return Ok(()) };
        let read = record.kind.inputs();
        match &record.kind {
            RecordKind::Convolution { folded, add, .. } => {
                if add.is_some() {
                    self.pass(read[1], gradient);
                }
                if self.live[inputs[0]] {
                    let kernel = self.forward.kernels.get(self.forward.graph, self.forward.isa, *folded, true)?;
                    let work = |_: bool| Work::Convolution { kernel: kernel.clone(), input: gradient };
                    self.contribute(read[0], Abilities::Epilogue, work);
                }
            }
            RecordKind::Linear { weight, .. } => {
                let gradient = self.dense(gradient);
                let work = |accumulate| Work::LinearBack { weight: weight.clone(), input: gradient, accumulate };
                self.contribute(read[0], Abilities::Accumulate, work);
            }
            RecordKind::MaxPool { windows, .. } => {
                let (input, node) = (self.value(read[0]), inputs[0]);
                // The activation in front is passed on the way, unless more is to come or its gradient is asked for.
                let alone = self.left[node] == 1
                    && matches!(self.gradients[node], Gradient::None)
                    && input == self.value(node)
                    && !windows.iter().any(Windows::overlap);
                let gate =
                    (alone && !self.tapped[node] && self.bounds[node] != Bounds::NONE).then_some(self.bounds[node]);
                let work =
                    |accumulate| Work::MaxPoolBack { windows: windows.clone(), input, gradient, gate, accumulate };
                if gate.is_some() {
                    let out = self.fresh(&input);
                    self.push(work(false), out, Epilogue::default());
                    self.left[node] = 0;
                    self.gradients[node] = Gradient::Own(out);
                } else {
                    self.contribute(read[0], Abilities::Accumulate, work);
                }
            }
            RecordKind::AveragePool { windows, .. } => {
                let work = |accumulate| Work::AveragePoolBack { windows: windows.clone(), gradient, accumulate };
                self.contribute(read[0], Abilities::Accumulate, work);
            }
            RecordKind::Copy { scale: None, .. } => self.pass(read[0], gradient),
            RecordKind::Copy { scale, .. } => {
                let work = |_: bool| Work::Copy { scale: scale.clone(), input: gradient };
                self.contribute(read[0], Abilities::Epilogue, work);
            }
            RecordKind::Add { .. } => {
                for input in read {
                    self.pass(input, gradient);
                }
            }
            RecordKind::Concat { .. } => {
                let mut first = 0;
                for part in read {
                    let channels = self.value(part).shape[3];
                    self.pass(part, gradient.channels(first, channels));
                    first += channels;
                }
            }
            RecordKind::Activation { kind, .. } => {
                let input = self.value(read[0]);
                let work = |accumulate| Work::ActivationBack { kind: *kind, input, gradient, accumulate };
                self.contribute(read[0], Abilities::Accumulate, work);
            }
            RecordKind::Multiply { .. } => {
                let [a, b] = [0, 1].map(|operand| self.value(read[operand]));
                let to_first = |accumulate| Work::Multiply { inputs: [gradient, b], accumulate };
                self.contribute(read[0], Abilities::Accumulate, to_first);
                let to_second = |accumulate| {
                    let inputs = [gradient, a];
                    if a.shape == b.shape {
                        Work::Multiply { inputs, accumulate }
                    } else {
                        Work::SumOfProducts { inputs, accumulate }
                    }
                };
                self.contribute(read[1], Abilities::Accumulate, to_second);
            }
            RecordKind::LayerNorm { kernel, .. } => {
                let input = self.value(read[0]);
                let kernel = kernel.clone();
                let work = |accumulate| Work::LayerNormBack { kernel: kernel.clone(), input, gradient, accumulate };
                self.contribute(read[0], Abilities::Accumulate, work);
            }
            RecordKind::Slice { first, .. } => self.pass_channels(read[0], gradient, *first),
            RecordKind::Recurrent { kernel, .. } => {
                let input = self.value(read[0]);
                let work = |_: bool| Work::RecurrentBack { kernel: kernel.clone(), input, gradient };
                self.contribute(read[0], Abilities::Store, work);
            }
            RecordKind::ToPlanes { .. } => {
                let gradient = self.dense(gradient);
                self.contribute(read[0], Abilities::Store, |_| Work::FromPlanes { input: gradient });
            }
            RecordKind::FromPlanes { .. } => {
                self.contribute(read[0], Abilities::Store, |_| Work::ToPlanes { input: gradient });
            }
            RecordKind::Join { axis, .. } => {
                let (dims, mut first) = (self.forward.dims[record.node].clone(), 0);
                for input in read {
                    let count = self.forward.dims[input][*axis];
                    if self.forward.slot(input).is_some() && self.live[self.forward.root[input]] {
                        let order = self.value(input).order;
                        let places = part_places(&gradient, &dims, (*axis, first, count), order);
                        let places = places.unwrap_or_else(|| unreachable!("what was written at places is read there"));
                        let work = |_: bool| Work::Rearrange { places: places.clone(), input: gradient };
                        self.contribute(input, Abilities::Store, work);
                    }
                    first += count;
                }
            }
            RecordKind::Rearrange { .. } => {
                let (order, like) = (self.value(record.node).order, self.value(read[0]).densely());
                let places = self.forward.moved_places(record.node, &like, order);
                let places = places.unwrap_or_else(|| unreachable!("what was read at places is written there"));
                let input = self.dense(gradient);
                let work =
                    |accumulate: bool| Work::Scatter { places: places.clone(), input, zero: !accumulate, accumulate };
                self.contribute(read[0], Abilities::Accumulate, work);
            }
            RecordKind::Attention(attention) => {
                let gradient = self.dense(gradient);
                let counts = [0, 1, 2].map(|operand| attention.plan.operands[operand].count());
                let out = self.forward.allocate(&[counts.iter().sum()], Order::Own);
                let inputs = attention.roots.map(|root| self.value(root));
                self.push(
                    Work::AttentionBack { plan: attention.plan.clone(), inputs, gradient },
                    out,
                    Epilogue::default(),
                );
                let mut first = 0;
                for (operand, root) in attention.roots.into_iter().enumerate() {
                    let input = out.channels(first, counts[operand]);
                    first += counts[operand];
                    let like = self.value(root).densely();
                    let places = attention.places(self.forward, operand, &like);
                    let places = places.unwrap_or_else(|| unreachable!("what was read at places is written there"));
                    let work = |accumulate: bool| Work::Scatter {
                        places: places.clone(),
                        input,
                        zero: !accumulate,
                        accumulate,
                    };
                    self.contribute(root, Abilities::Accumulate, work);
                }
            }
            RecordKind::Generic { node, operands, .. } => {
                let dims = self.forward.dims[record.node].clone();
                let batch = self.forward.batch;
                for (wanted, (&input, read)) in inputs.iter().zip(read).enumerate() {
                    let work = |_: bool| Work::GenericBack {
                        node: node.clone(),
                        operands: operands.clone(),
                        wanted,
                        gradient: Operand::Value(gradient, dims.clone()),
                        batch,
                    };
                    if self.live[input] {
                        self.contribute(read, Abilities::Store, work);
                    }
                }
            }
        }
        Ok(())
    }

    /// The gradient in front of the activation that a step ended with.
    fn before_activation(&mut self, record: &Record) -> Option<Slot> {
        let node = record.node;
        let slot = match self.gradients[node] {
            Gradient::None => return None,
            Gradient::Borrowed(slot) | Gradient::Own(slot) => slot,
        };
        // Contributions pass the gate as the last of them comes in; a tap's gradient, and what no contribution
        // wrote, has not passed it.
        let gated = !self.tapped[node] && matches!(self.gradients[node], Gradient::Own(_));
        if record.bounds == Bounds::NONE || gated {
            return Some(slot);
        }
        let out = self.fresh(&slot);
        let gate = Some((self.value(node), record.bounds));
        self.push(Work::Copy { scale: None, input: slot }, out, Epilogue { gate, ..Epilogue::default() });
        Some(out)
    }

    /// Counts a contribution to a node's gradient; gives the gate to pass where it is the last.
    fn arrive(&mut self, node: usize) -> Option<(Slot, Bounds)> {
        self.left[node] -= 1;
        let last = self.left[node] == 0 && !self.tapped[node] && self.bounds[node] != Bounds::NONE;
        last.then(|| (self.value(node), self.bounds[node]))
    }

    /// A contribution to the gradient of what the node `read` shows, which is another gradient, unchanged.
    fn pass(&mut self, read: usize, gradient: Slot) {
        let node = self.forward.root[read];
        if !self.live[node] {
            return;
        }
        let gradient = self.seen_as(gradient, &self.value(node));
        let gate = self.arrive(node);
        let work = Work::Copy { scale: None, input: gradient };
        match self.gradients[node] {
            Gradient::None if gate.is_none() => self.gradients[node] = Gradient::Borrowed(gradient),
            Gradient::None => {
                let out = self.fresh(&gradient);
                self.push(work, out, Epilogue { gate, ..Epilogue::default() });
                self.gradients[node] = Gradient::Own(out);
            }
            Gradient::Borrowed(before) => {
                let out = self.fresh(&gradient);
                self.push(work, out, Epilogue { add: Some(before), gate, ..Epilogue::default() });
                self.gradients[node] = Gradient::Own(out);
            }
            Gradient::Own(out) => self.push(work, out, Epilogue { accumulate: true, gate, ..Epilogue::default() }),
        }
    }

    /// The same for some of its channels, from `first` on.
    fn pass_channels(&mut self, read: usize, gradient: Slot, first: usize) {
        let node = self.forward.root[read];
        if !self.live[node] {
            return;
        }
        let shown = self.value(read);
        let channels = gradient.shape[3];
        let work = Work::Copy { scale: None, input: gradient };
        let sums = Epilogue { accumulate: true, ..Epilogue::default() };
        if shown != self.value(node) {
            let out = self.fresh(&shown);
            self.push(Work::Zero, out, Epilogue::default());
            self.push(work, out.channels(first, channels), sums);
            return self.pass(read, out);
        }
        let gate = self.arrive(node);
        let out = self.sums(node, &shown);
        self.push(work, out.channels(first, channels), sums);
        if gate.is_some() {
            self.push(Work::Finish, out, Epilogue { gate, ..Epilogue::default() });
        }
    }

    /// The gradient of a node's value in a buffer of its own, with what has come so far.
    fn sums(&mut self, node: usize, like: &Slot) -> Slot {
        let work = match self.gradients[node] {
            Gradient::Own(out) => return out,
            Gradient::Borrowed(before) => Work::Copy { scale: None, input: before },
            Gradient::None => Work::Zero,
        };
        let out = self.fresh(like);
        self.push(work, out, Epilogue::default());
        self.gradients[node] = Gradient::Own(out);
        out
    }

    /// A contribution that a step computes; `work` is told whether it must add to what is there.
    fn contribute(&mut self, read: usize, abilities: Abilities, work: impl Fn(bool) -> Work) {
        let node = self.forward.root[read];
        if !self.live[node] {
            return;
        }
        let (shown, like) = (self.value(read), self.value(node));
        let looks_alike = (shown.shape, shown.order) == (like.shape, like.order);
        if !looks_alike || (abilities == Abilities::Store && !matches!(self.gradients[node], Gradient::None)) {
            let out = self.fresh(&shown);
            self.push(work(false), out, Epilogue::default());
            return self.pass(read, out);
        }
        let gate = self.arrive(node);
        let (out, add, accumulate) = match self.gradients[node] {
            Gradient::None => (self.fresh(&like), None, false),
            Gradient::Borrowed(before) if abilities == Abilities::Epilogue => (self.fresh(&like), Some(before), false),
            Gradient::Borrowed(_) => (self.sums(node, &like), None, true),
            Gradient::Own(out) => (out, None, true),
        };
        if abilities == Abilities::Epilogue {
            self.push(work(accumulate), out, Epilogue { add, accumulate, gate, ..Epilogue::default() });
        } else {
            self.push(work(accumulate), out, Epilogue::default());
            if gate.is_some() {
                self.push(Work::Finish, out, Epilogue { gate, ..Epilogue::default() });
            }
        }
        self.gradients[node] = Gradient::Own(out);
    }
}
