//! A faster way to run a [`Graph`] in `f32` on the CPU: compiled once per input shape, then replayed.
//!
//! A plan keeps maps with their channels innermost across all layers and converts only what is asked for; it runs a
//! convolution, the batch normalisation, the addition and the activation behind it as one kernel; it lays values out
//! in one piece of memory by their lifetimes, which later runs use again; and it has a reverse pass to any set of
//! layers by steps of its own, which start above the lowest of them and know that weights are frozen. Operations
//! without a kernel run by the reference implementation in `execute`, between two copies.

mod attention;
mod compile;
mod kernel;
mod kernels;
mod memory;
mod profile;
mod reverse;
mod row_lanes;
mod similar;
mod single;
mod step;
#[cfg(test)]
mod tests;
mod tiles;
mod view;

use crate::{Graph, NodeId};
use candle_core::{DType, Tensor};
use compile::{Forward, Request};
use faithful_core::{Cotangents, Error, Result, Tap, VectorJacobianProducts};
use faithful_kernel::{Buffer, Isa, with_team};
use kernels::Kernels;
use memory::{Lifetime, Memory, Placed, Slot};
pub use profile::StepTime;
use rayon::prelude::*;
use row_lanes::RowLanes;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use step::{Step, Work};

/// Plans that a graph remembers: a few input shapes times a few sets of layers.
const REMEMBERED: usize = 32;

/// A network whose weights and values of one row per thread are no more numbers than this runs row by row: a shared
/// cache of some 24 MB keeps them.
const CACHE: usize = 6 * 1024 * 1024;

/// What a graph has prepared for running fast. It follows the graph's weights: a graph with others starts anew.
#[derive(Debug, Default)]
pub(crate) struct Prepared {
    kernels: Kernels,
    plans: Mutex<HashMap<Request, Arc<Plan>>>,
    prefixes: similar::Prefixes,
    /// Memory that finished runs left behind.
    memory: Mutex<Vec<Buffer>>,
}

/// The steps for one request.
#[derive(Debug)]
struct Plan {
    given: Slot,
    /// The first steps, by lanes of rows.
    lanes: Vec<Vec<Step>>,
    /// The steps behind them.
    steps: Vec<Step>,
    /// The wanted values and their dimensions.
    wanted: Vec<(Slot, Vec<usize>)>,
    starts: Vec<usize>,
    length: usize,
    back: Option<Back>,
}

impl Plan {
    /// Whether rows had better run one by one: the weights and the values of a row per thread stay in the cache, and no step is
    /// as long for one row as for several.
    fn suits_single_rows(&self) -> bool {
        let weights: usize = self.steps.iter().map(Step::weights).sum();
        let fits = weights + self.length * rayon::current_num_threads() <= CACHE;
        fits && !self.steps.iter().any(|step| matches!(step.work, Work::Recurrent { .. }))
    }
}

#[derive(Debug)]
struct Back {
    steps: Vec<Step>,
    /// The last steps, by lanes of rows.
    lanes: Vec<Vec<Step>>,
    cotangent: Slot,
    gradients: Vec<(Option<Slot>, Vec<usize>)>,
    /// The buffers' starts when there is one cotangent: forward values make room as soon as they are used.
    once: Vec<usize>,
    /// When there are several, and forward values stay.
    repeated: Vec<usize>,
    /// How much of the memory one cotangent uses.
    length_once: usize,
    length: usize,
}

/// A graph that plans can run.
pub(crate) struct Fast<'a> {
    graph: &'a Graph,
    prepared: &'a Prepared,
}

/// The graph's fast way: for `f32` on the CPU, with weights that nobody trains.
pub(crate) fn of(graph: &Graph) -> Option<Fast<'_>> {
    let prepared = graph.prepared.as_deref()?;
    let frozen = || graph.nodes.iter().all(|node| node.op.weights().iter().all(|weight| !weight.track_op()));
    let applies = graph.dtype == DType::F32 && graph.device.is_cpu() && frozen();
    applies.then_some(Fast { graph, prepared })
}

impl Fast<'_> {
    /// The values of `wanted`, in their order, when the node `given` has the value `start`.
    pub(crate) fn run(&self, given: NodeId, start: &Tensor, wanted: &[NodeId]) -> Result<Vec<Tensor>> {
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let request = Request {
            given: given.0,
            dims: start.dims().to_vec(),
            wanted: wanted.iter().map(|node| node.0).collect(),
            taps: Vec::new(),
        };
        let rows = request.dims.first().copied().unwrap_or(0);
        if rows > 1 && self.splits(given, wanted) {
            let one =
                Request { dims: std::iter::once(1).chain(start.dims()[1..].iter().copied()).collect(), ..request };
            let plan = self.plan(&one)?;
            if plan.suits_single_rows() {
                return self.row_by_row(&plan, start, rows);
            }
            return self.whole(&Request { dims: start.dims().to_vec(), ..one }, start);
        }
        self.whole(&request, start)
    }

    fn whole(&self, request: &Request, start: &Tensor) -> Result<Vec<Tensor>> {
        let plan = self.plan(request)?;
        self.with_memory(|buffer| with_team(|| forward(self.graph, &plan, start, buffer)))
    }

    /// Whether rows can be computed apart: they are everywhere the first axis of what comes in and goes out.
    fn splits(&self, given: NodeId, wanted: &[NodeId]) -> bool {
        std::iter::once(&given).chain(wanted).all(|node| self.graph.batch_first[node.0])
    }

    /// Runs a plan for one row on each row, rows in parallel, and joins what they give. A small network then stays in
    /// the cache from its first layer to its last, and threads wait for each other once per row, not per layer.
    fn row_by_row(&self, plan: &Plan, start: &Tensor, rows: usize) -> Result<Vec<Tensor>> {
        let start = start.contiguous()?;
        let row = |row: usize| {
            let one = start.narrow(0, row, 1)?;
            self.with_memory(|buffer| forward(self.graph, plan, &one, buffer))
        };
        let parts: Vec<Vec<Tensor>> = (0..rows).into_par_iter().map(row).collect::<Result<_>>()?;
        let join = |value: usize| {
            let parts: Vec<&Tensor> = parts.iter().map(|part| &part[value]).collect();
            Ok(Tensor::cat(&parts, 0)?)
        };
        (0..plan.wanted.len()).map(join).collect()
    }

    /// The nodes of taps; `None` where one does not depend on the input or does not exist.
    pub(crate) fn taps(&self, taps: &[Tap]) -> Option<Vec<usize>> {
        let mut depends = vec![false; self.graph.nodes.len()];
        for (index, node) in self.graph.nodes.iter().enumerate() {
            depends[index] = index == self.graph.input.0 || node.inputs.iter().any(|input| depends[input.0]);
        }
        let node = |tap: &Tap| match tap {
            Tap::Input => self.graph.input.0,
            Tap::Layer(layer) => layer.0,
        };
        taps.iter().map(node).map(|node| depends.get(node).copied().unwrap_or(false).then_some(node)).collect()
    }

    /// [`faithful_core::Network::vjp`] to the nodes `taps`, when the node `given` has the value `start`.
    pub(crate) fn vjp(
        &self,
        given: NodeId,
        start: &Tensor,
        taps: Vec<usize>,
        cotangents: &mut Cotangents<'_>,
    ) -> Result<VectorJacobianProducts> {
        let wanted = std::iter::once(self.graph.output.0).chain(taps.iter().copied()).collect();
        let request = Request { given: given.0, dims: start.dims().to_vec(), wanted, taps };
        let plan = self.plan(&request)?;
        self.with_memory(|buffer| forward_backward(self.graph, &plan, start, cotangents, buffer))
    }

    /// How much memory a pass over inputs of these dimensions takes, with what it gives back.
    pub(crate) fn bytes(&self, dims: &[usize], taps: &[usize], gradients: usize) -> Result<u64> {
        let request = |dims: Vec<usize>| Request {
            given: self.graph.input.0,
            dims,
            wanted: std::iter::once(self.graph.output.0).chain(taps.iter().copied()).collect(),
            taps: taps.to_vec(),
        };
        // Not remembered: most of what is asked about never runs.
        let plan = |dims| compile(self.graph, &self.prepared.kernels, &request(dims));
        let rows = dims.first().copied().unwrap_or(1);
        let one: Vec<usize> = std::iter::once(1).chain(dims.iter().skip(1).copied()).collect();
        let (plan, lanes) = if taps.is_empty() && rows > 1 && self.splits(self.graph.input, &[self.graph.output]) {
            let one = plan(one)?;
            if one.suits_single_rows() {
                (one, rows.min(rayon::current_num_threads()))
            } else {
                (plan(dims.to_vec())?, 1)
            }
        } else {
            (plan(dims.to_vec())?, 1)
        };
        let count = |dims: &[usize]| dims.iter().product::<usize>();
        let values: usize = plan.wanted.iter().map(|(_, dims)| count(dims)).sum();
        let back = plan.back.as_ref();
        let each: usize = back.map_or(0, |back| back.gradients.iter().map(|(_, dims)| count(dims)).sum());
        let buffer = back.map_or(plan.length, |back| if gradients > 1 { back.length } else { back.length_once });
        Ok(4 * (buffer * lanes + values + gradients * each) as u64)
    }

    /// Lends memory that an earlier run left behind.
    fn with_memory<R>(&self, work: impl FnOnce(&mut Buffer) -> R) -> R {
        let spare = || self.prepared.memory.lock().unwrap_or_else(PoisonError::into_inner);
        let mut buffer = spare().pop().unwrap_or_default();
        let result = work(&mut buffer);
        spare().push(buffer);
        result
    }

    /// The plan for a request, remembered or new.
    fn plan(&self, request: &Request) -> Result<Arc<Plan>> {
        let plans = || self.prepared.plans.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(plan) = plans().get(request) {
            return Ok(plan.clone());
        }
        let plan = Arc::new(compile(self.graph, &self.prepared.kernels, request)?);
        let mut plans = plans();
        if plans.len() >= REMEMBERED {
            plans.clear();
        }
        plans.insert(request.clone(), plan.clone());
        Ok(plan)
    }
}

fn forward(graph: &Graph, plan: &Plan, start: &Tensor, buffer: &mut Buffer) -> Result<Vec<Tensor>> {
    forward_from(graph, plan, &|to, slot| step::write(start, to, slot), buffer)
}

/// The wanted values, when `start` writes the given one.
fn forward_from(
    graph: &Graph,
    plan: &Plan,
    start: &(dyn Fn(&mut [f32], &Slot) -> Result<()> + Sync),
    buffer: &mut Buffer,
) -> Result<Vec<Tensor>> {
    buffer.reserve(plan.back.as_ref().map_or(plan.length, |back| back.length.max(plan.length)));
    let memory = Memory::new(buffer, &plan.starts);
    // SAFETY: nothing else of the memory is in use yet.
    start(unsafe { memory.write(&plan.given) }, &plan.given)?;
    run_steps(graph, &memory, &[Steps::Lanes(&plan.lanes), Steps::Whole(&plan.steps)])?;
    plan.wanted.iter().map(|(slot, dims)| step::read(&memory, slot, dims)).collect()
}

/// Steps for all rows, or for some rows per lane.
enum Steps<'a> {
    Whole(&'a [Step]),
    Lanes(&'a [Vec<Step>]),
}

/// Runs steps, on one of rayon's threads: started from another one, each kernel would wait for them to wake up.
fn run_steps(graph: &Graph, memory: &Memory, parts: &[Steps; 2]) -> Result<()> {
    let run = |steps: &[Step]| steps.iter().try_for_each(|step| step.run(memory, Isa::best(), graph.rule));
    parts.iter().try_for_each(|steps| match steps {
        Steps::Whole(steps) => run(steps),
        Steps::Lanes(lanes) => lanes.par_iter().try_for_each(|steps| run(steps)),
    })
}

fn forward_backward(
    graph: &Graph,
    plan: &Plan,
    start: &Tensor,
    cotangents: &mut Cotangents<'_>,
    buffer: &mut Buffer,
) -> Result<VectorJacobianProducts> {
    let mut values = with_team(|| forward(graph, plan, start, buffer))?;
    let output = values.remove(0);
    let cotangents = cotangents(&output)?;
    if let Some(other) = cotangents.iter().find(|cotangent| cotangent.dims() != output.dims()) {
        return Err(Error::shape("cotangent", format!("{:?}, as the output", output.dims()), other.dims()));
    }
    let Some(back) = &plan.back else {
        // Nothing is asked for: no gradient per cotangent.
        let gradients = vec![Vec::new(); cotangents.len()];
        return Ok(VectorJacobianProducts { output, values, gradients });
    };
    let starts = if cotangents.len() > 1 { &back.repeated } else { &back.once };
    let memory = Memory::new(buffer, starts);
    let mut gradients = Vec::with_capacity(cotangents.len());
    for cotangent in &cotangents {
        let read = |(slot, dims): &(Option<Slot>, Vec<usize>)| match slot {
            Some(slot) => step::read(&memory, slot, dims),
            None => Ok(Tensor::zeros(dims.as_slice(), DType::F32, &candle_core::Device::Cpu)?),
        };
        let pulled = with_team(|| {
            // SAFETY: the cotangent's buffer lives from the first step back on, apart from everything else.
            step::write(cotangent, unsafe { memory.write(&back.cotangent) }, &back.cotangent)?;
            run_steps(graph, &memory, &[Steps::Whole(&back.steps), Steps::Lanes(&back.lanes)])?;
            back.gradients.iter().map(read).collect::<Result<Vec<_>>>()
        });
        gradients.push(pulled?);
    }
    Ok(VectorJacobianProducts { output, values, gradients })
}

fn compile(graph: &Graph, kernels: &Kernels, request: &Request) -> Result<Plan> {
    let mut forward = Forward::compile(graph, Isa::best(), kernels, request)?;
    let mut wanted = Vec::new();
    for &node in &request.wanted {
        let Some(slot) = forward.slot(node) else {
            let reason = "its value does not depend on the input";
            return Err(Error::format(format!("node `{}`", graph.nodes[node].name), reason));
        };
        wanted.push((slot, forward.dims[node].clone()));
    }
    let given = forward.slot(request.given).unwrap_or_else(|| unreachable!("what is given has a place"));
    let forward_buffers = forward.buffers.len();
    let reverse = if request.taps.is_empty() { None } else { Some(reverse::compile(&mut forward, graph.output.0)?) };
    let Forward { buffers, steps, dims, .. } = forward;

    // Moments: 0 is when the given value comes, then the steps, the results, the cotangent, the steps back, the end.
    let results = steps.len() + 1;
    let mut lives: Vec<Lifetime> =
        buffers.iter().map(|&length| Lifetime { length, first: usize::MAX, last: 0 }).collect();
    let touch = |lives: &mut [Lifetime], slot: &Slot, moment: usize| {
        let life = &mut lives[slot.buffer];
        (life.first, life.last) = (life.first.min(moment), life.last.max(moment));
    };
    touch(&mut lives, &given, 0);
    for (index, step) in steps.iter().enumerate() {
        step.slots().iter().for_each(|slot| touch(&mut lives, slot, index + 1));
    }
    for (slot, _) in &wanted {
        touch(&mut lives, slot, results);
    }
    let mut end = results;
    if let Some(reverse) = &reverse {
        touch(&mut lives, &reverse.cotangent, results + 1);
        for (index, step) in reverse.steps.iter().enumerate() {
            step.slots().iter().for_each(|slot| touch(&mut lives, slot, results + 2 + index));
        }
        end = results + 2 + reverse.steps.len();
        reverse.gradients.iter().flatten().for_each(|slot| touch(&mut lives, slot, end));
    }
    for life in &mut lives {
        if life.first == usize::MAX {
            *life = Lifetime { length: 0, first: 0, last: 0 };
        }
    }
    let (forward, back) = lives.split_at(forward_buffers);
    let batch = request.dims.first().copied().unwrap_or(1);
    let mut row_lanes = RowLanes::first(&steps, batch);
    let (starts, length) = row_lanes.place(forward, 1, Vec::new());
    let lanes = row_lanes.split(&steps, 0, &buffers);
    let back = reverse.map(|reverse| {
        let mut row_lanes = RowLanes::last(&reverse.steps, batch);
        // What the way back reads stays for every cotangent, where there are several.
        let stay = |life: Lifetime| Lifetime { last: if life.last > results { end } else { life.last }, ..life };
        let mut with = |change: &dyn Fn(Lifetime) -> Lifetime| {
            let placed =
                forward.iter().zip(&starts).map(|(life, &start)| Placed { start, life: change(*life) }).collect();
            let (more, length) = row_lanes.place(back, results + 2, placed);
            let all: Vec<usize> = starts.iter().copied().chain(more).collect();
            (all, length)
        };
        let ((once, length_once), (repeated, length_repeated)) = (with(&|life| life), with(&stay));
        let lanes = row_lanes.split(&reverse.steps, forward_buffers, &buffers);
        let gradients =
            reverse.gradients.iter().zip(&request.taps).map(|(slot, &tap)| (*slot, dims[tap].clone())).collect();
        let length_once = length_once.max(length);
        let length = length_once.max(length_repeated);
        let steps = reverse.steps[..row_lanes.steps().start].to_vec();
        Back { steps, lanes, cotangent: reverse.cotangent, gradients, once, repeated, length_once, length }
    });
    let steps = steps[row_lanes.steps().end..].to_vec();
    Ok(Plan { given, lanes, steps, wanted, starts, length, back })
}
