//! Rows of which each differs from the one before in few places: only what those places reach is computed again.
//!
//! The first steps of a network keep every value of a row, cut into tiles. The next row's changed tiles are followed
//! through convolutions and poolings; the windows of the tiles that they reach are gathered, go through the same kernels
//! as one batch, and a tile that comes out as it was is followed no further. Tiles are as large as a Winograd tile, so
//! every number is computed as always, and the result is the same bit for bit. Where most tiles are reached, a step runs
//! whole. Behind the last large map the rows go on together, as a batch.

use super::compile::{Forward, Request};
use super::kernel::Kernel;
use super::memory::{Memory, Slot, aligned};
use super::step::{Step, Work, write};
use super::tiles::{TILE, Tiles, gather, pooled, reached, scatter, seen};
use super::{CACHE, Fast, forward_from};
use crate::{Graph, NodeId, execute};
use candle_core::Tensor;
use faithful_core::Result;
use faithful_kernel::{Buffer, Finish, Isa, Map, MapMut, Windows, with_team};
use faithful_tensor::Conv;
use rayon::prelude::*;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// A step is followed tile by tile where its map has at least this share of the input's pixels. Deeper, tiles are reached
/// almost everywhere.
const SMALLEST: usize = 64;
/// And where its weights are no more numbers than this: each row reads them anew, which a batch shares.
const MOST_WEIGHTS: usize = 2_500_000;
/// Fewer rows than this per lane are not worth its first row, which is computed whole.
const FEWEST: usize = 4;

/// The first steps of a network for one row, with a place of its own for every value.
#[derive(Debug)]
pub(super) struct Prefix {
    given: Slot,
    steps: Vec<Local>,
    /// Where the rest goes on.
    cut: NodeId,
    cut_slot: Slot,
    cut_dims: Vec<usize>,
    starts: Vec<usize>,
    length: usize,
}

/// A step that can be done for some tiles.
#[derive(Debug)]
struct Local {
    step: Step,
    input: Slot,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Convolution { size: [usize; 2], conv: Conv, kernel: Arc<Kernel>, bare: Option<Box<Kernel>> },
    MaxPool { windows: Arc<[Windows; 2]> },
}

/// What prefixes a graph has, by the dimensions of one row; none where its first steps cannot be followed.
pub(super) type Prefixes = Mutex<HashMap<Vec<usize>, Option<Arc<Prefix>>>>;

impl Fast<'_> {
    /// The output for rows that are similar; none where the network has no steps to follow or the rows are too few.
    pub(crate) fn run_similar(&self, input: &Tensor) -> Result<Option<Tensor>> {
        let rows = input.dim(0)?;
        if rows < 2 * FEWEST || !self.splits(self.graph.input, &[self.graph.output]) {
            return Ok(None);
        }
        let Some(prefix) = self.prefix(&input.dims()[1..])? else { return Ok(None) };
        let lanes = (rows / (2 * FEWEST)).clamp(1, rayon::current_num_threads());
        let per_lane = rows.div_ceil(lanes);
        let length: usize = prefix.cut_slot.shape.iter().product();
        let mut cuts = vec![0.0; rows * length];
        let input = input.contiguous()?;
        let given: usize = prefix.given.shape.iter().product();
        let values: Vec<f32> = input.flatten_all()?.to_vec1()?;
        cuts.par_chunks_mut(per_lane * length).zip(values.par_chunks(per_lane * given)).try_for_each(
            |(cuts, values)| self.with_memory(|buffer| prefix.follow(self.graph, values, cuts, input.dims(), buffer)),
        )?;
        self.go_on(&prefix, &cuts, rows).map(Some)
    }

    /// The output of rows whose values at the cut are known, channels innermost.
    fn go_on(&self, prefix: &Prefix, cuts: &[f32], rows: usize) -> Result<Tensor> {
        let request = |rows: usize| {
            let dims = std::iter::once(rows).chain(prefix.cut_dims[1..].iter().copied()).collect();
            Request { given: prefix.cut.0, dims, wanted: vec![self.graph.output.0], taps: Vec::new() }
        };
        let output = |plan: &super::Plan, cuts: &[f32]| {
            let start = |to: &mut [f32], _: &Slot| {
                to.copy_from_slice(cuts);
                Ok(())
            };
            self.with_memory(|buffer| Ok(with_team(|| forward_from(self.graph, plan, &start, buffer))?.remove(0)))
        };
        let one = self.plan(&request(1))?;
        let weights: usize = one.steps.iter().map(Step::weights).sum();
        if weights + one.length * rayon::current_num_threads() > CACHE {
            let whole = self.plan(&request(rows))?;
            return output(&whole, cuts);
        }
        let parts: Vec<Tensor> =
            cuts.par_chunks(cuts.len() / rows).map(|cut| output(&one, cut)).collect::<Result<_>>()?;
        Ok(Tensor::cat(&parts, 0)?)
    }

    fn prefix(&self, dims: &[usize]) -> Result<Option<Arc<Prefix>>> {
        let prefixes = || self.prepared.prefixes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = prefixes().get(dims) {
            return Ok(known.clone());
        }
        let found = self.compile_prefix(dims)?.map(Arc::new);
        prefixes().insert(dims.to_vec(), found.clone());
        Ok(found)
    }

    /// The steps up to the last cut before which all can be followed.
    fn compile_prefix(&self, dims: &[usize]) -> Result<Option<Prefix>> {
        let &[_, height, width] = dims else { return Ok(None) };
        let request = Request {
            given: self.graph.input.0,
            dims: std::iter::once(1).chain(dims.iter().copied()).collect(),
            wanted: vec![self.graph.output.0],
            taps: Vec::new(),
        };
        let forward = Forward::compile(self.graph, Isa::best(), &self.prepared.kernels, &request)?;
        let Some(given) = forward.slot(self.graph.input.0) else { return Ok(None) };
        let (mut steps, mut last) = (Vec::new(), None);
        // What lies in a buffer, where nobody looks at it as another shape.
        let mut whole: HashMap<usize, Slot> = HashMap::from([(given.buffer, given)]);
        for (step, record) in forward.steps.iter().zip(&forward.records) {
            let [_, h, w, _] = step.out.shape;
            let known = |slot: &Slot| *slot == step.out || whole.get(&slot.buffer) == Some(slot);
            let local = Local::of(step).filter(|_| h * w * SMALLEST >= height * width);
            let Some(local) = local.filter(|_| step.slots().iter().all(known)) else { break };
            whole.insert(step.out.buffer, step.out);
            steps.push(local);
            if execute::is_cut(self.graph, NodeId(record.node)) {
                last = Some((steps.len(), record.node));
            }
        }
        let Some((count, cut)) = last else { return Ok(None) };
        steps.truncate(count);
        let Some(cut_slot) = forward.slot(cut) else { return Ok(None) };
        let mut length = 0;
        let start = |&buffer: &usize| {
            let start = length;
            length += aligned(buffer);
            start
        };
        // Buffers of later steps are behind and take no room.
        let used = steps.iter().map(|local| local.step.out.buffer).max().map_or(0, |last| last + 1);
        let starts: Vec<usize> = forward.buffers[..used].iter().map(start).collect();
        let cut_dims = forward.dims[cut].clone();
        Ok(Some(Prefix { given, steps, cut: NodeId(cut), cut_slot, cut_dims, starts, length }))
    }
}

impl Local {
    /// The step, where it can be done for some tiles.
    fn of(step: &Step) -> Option<Self> {
        let epilogue = &step.epilogue;
        let plain = !epilogue.accumulate && epilogue.gate.is_none() && step.slots().iter().all(Slot::is_dense);
        if !plain || step.weights() > MOST_WEIGHTS {
            return None;
        }
        let (input, kind) = match &step.work {
            Work::Convolution { kernel, input } => {
                let (size, conv) = kernel.window()?;
                let (kernel, bare) = (kernel.clone(), kernel.without_padding().map(Box::new));
                (*input, Kind::Convolution { size, conv, kernel, bare })
            }
            Work::MaxPool { windows, input } => (*input, Kind::MaxPool { windows: windows.clone() }),
            _ => return None,
        };
        Some(Self { step: step.clone(), input, kind })
    }
}

impl Prefix {
    /// The values at the cut of `rows`, planes outermost, into `cuts`, channels innermost.
    fn follow(&self, graph: &Graph, rows: &[f32], cuts: &mut [f32], dims: &[usize], buffer: &mut Buffer) -> Result<()> {
        buffer.reserve(self.length);
        let memory = Memory::new(buffer, &self.starts);
        let [given, kept]: [usize; 2] = [&self.given, &self.cut_slot].map(|slot| slot.shape.iter().product());
        let dims: Vec<usize> = std::iter::once(1).chain(dims[1..].iter().copied()).collect();
        let mut changed: HashMap<usize, Tiles> = HashMap::new();
        let mut scratch = Scratch::default();
        let mut before: Option<&[f32]> = None;
        for (row, cut) in rows.chunks_exact(given).zip(cuts.chunks_exact_mut(kept)) {
            if let Some(before) = before {
                changed.insert(self.given.buffer, self.update(&memory, before, row));
                for local in &self.steps {
                    let tiles = local.advance(graph, &memory, &changed, &mut scratch)?;
                    changed.insert(local.step.out.buffer, tiles);
                }
            } else {
                let row = Tensor::from_slice(row, dims.as_slice(), &candle_core::Device::Cpu)?;
                // SAFETY: every value has a place of its own, and no slice of this one is in use.
                write(&row, unsafe { memory.write(&self.given) }, &self.given)?;
                for local in &self.steps {
                    local.step.run(&memory, Isa::best(), graph.rule)?;
                }
            }
            cut.copy_from_slice(memory.read(&self.cut_slot));
            before = Some(row);
        }
        Ok(())
    }

    /// Writes what differs between two rows, planes outermost, and says where that is.
    fn update(&self, memory: &Memory, before: &[f32], row: &[f32]) -> Tiles {
        let [_, h, w, c] = self.given.shape;
        let mut tiles = Tiles::none([h, w]);
        // SAFETY: every value has a place of its own, and no slice of this one is in use.
        let map = unsafe { memory.write(&self.given) };
        for (channel, (before, row)) in before.chunks_exact(h * w).zip(row.chunks_exact(h * w)).enumerate() {
            for (cell, (before, value)) in before.iter().zip(row).enumerate() {
                if before.to_bits() != value.to_bits() {
                    map[cell * c + channel] = *value;
                    tiles.mark([cell / w / TILE, cell % w / TILE]);
                }
            }
        }
        tiles
    }
}

/// Memory for the tiles of a step.
#[derive(Default)]
struct Scratch {
    input: Vec<f32>,
    add: Vec<f32>,
    out: Vec<f32>,
}

impl Local {
    /// Computes the tiles that a change reaches, and says which of them changed.
    fn advance(
        &self,
        graph: &Graph,
        memory: &Memory,
        changed: &HashMap<usize, Tiles>,
        scratch: &mut Scratch,
    ) -> Result<Tiles> {
        let ([_, height, width, _], [_, h, w, c]) = (self.input.shape, self.step.out.shape);
        let add = self.step.epilogue.add;
        let (input_changed, add_changed) = (&changed[&self.input.buffer], add.map(|add| &changed[&add.buffer]));
        let sides = [height, width];
        let tiles = match &self.kind {
            Kind::Convolution { size, conv, .. } => reached([h, w], input_changed, add_changed, &|axis, cells| {
                seen(size[axis], conv, axis, cells, sides[axis])
            }),
            Kind::MaxPool { windows } => {
                reached([h, w], input_changed, add_changed, &|axis, cells| pooled(&windows[axis], cells))
            }
        };
        let mut found = Tiles::none([h, w]);
        if 4 * tiles.len() > 3 * found.total() {
            self.step.run(memory, Isa::best(), graph.rule)?;
            return Ok(Tiles::all([h, w]));
        }
        let cells = TILE * TILE * c;
        scratch.out.resize((tiles.len() * cells).max(scratch.out.len()), 0.0);
        let out = &mut scratch.out[..tiles.len() * cells];
        match &self.kind {
            Kind::Convolution { size, conv, kernel, bare } => {
                let along = |axis: usize| (TILE - 1) * conv.stride[axis] + (size[axis] - 1) * conv.dilation[axis] + 1;
                let patch = [along(0), along(1)];
                let channels = self.input.shape[3];
                let length = patch[0] * patch[1] * channels;
                scratch.input.resize((tiles.len() * length).max(scratch.input.len()), 0.0);
                let input = &mut scratch.input[..tiles.len() * length];
                let map = memory.read(&self.input);
                input.par_chunks_mut(length).zip(&tiles).for_each(|(to, tile)| {
                    let start =
                        |axis: usize| (tile[axis] * TILE * conv.stride[axis]) as isize - conv.padding[axis] as isize;
                    gather(map, [height, width, channels], [start(0), start(1)], patch, to);
                });
                if let Some(add) = &add {
                    scratch.add.resize((tiles.len() * cells).max(scratch.add.len()), 0.0);
                    let map = memory.read(add);
                    scratch.add.par_chunks_mut(cells).zip(&tiles).for_each(|(to, tile)| {
                        let corner = [(tile[0] * TILE) as isize, (tile[1] * TILE) as isize];
                        gather(map, [h, w, c], corner, [TILE, TILE], to);
                    });
                }
                let shape = [tiles.len(), TILE, TILE, c];
                let epilogue = &self.step.epilogue;
                let finish = Finish {
                    bias: epilogue.bias.as_deref(),
                    add: add.map(|_| Map::new(&scratch.add[..tiles.len() * cells], shape)).transpose()?,
                    low: epilogue.bounds.low,
                    high: epilogue.bounds.high,
                    activation: epilogue.activation,
                    ..Finish::default()
                };
                let input = Map::new(input, [tiles.len(), patch[0], patch[1], channels])?;
                if !tiles.is_empty() {
                    let kernel = bare.as_deref().unwrap_or(kernel);
                    kernel.run_without_padding(input, MapMut::new(out, shape)?, &finish)?;
                }
            }
            Kind::MaxPool { windows } => {
                let map = memory.read(&self.input);
                out.par_chunks_mut(cells).zip(&tiles).for_each(|(to, tile)| pool(map, [width, c], windows, *tile, to));
            }
        }
        // SAFETY: every value has a place of its own, and no slice of this one is in use.
        let map = unsafe { memory.write(&self.step.out) };
        for (values, tile) in out.chunks_exact(cells).zip(&tiles) {
            if scatter(values, map, [h, w, c], *tile) {
                found.mark(*tile);
            }
        }
        Ok(found)
    }
}

/// The maxima of a tile's windows, as the whole map's kernel takes them: the first of equals, and NaN where there is one.
fn pool(map: &[f32], [width, c]: [usize; 2], windows: &[Windows; 2], tile: [usize; 2], to: &mut [f32]) {
    for (place, to) in to.chunks_exact_mut(c).enumerate() {
        let [y, x] = [tile[0] * TILE + place / TILE, tile[1] * TILE + place % TILE];
        if y >= windows[0].count() || x >= windows[1].count() {
            continue;
        }
        let ((top, bottom, down), (left, right, across)) = (windows[0].positions(y), windows[1].positions(x));
        to.fill(f32::NEG_INFINITY);
        for y in (top..bottom).step_by(down) {
            for x in (left..right).step_by(across) {
                for (to, &value) in to.iter_mut().zip(&map[(y * width + x) * c..][..c]) {
                    if value > *to || value.is_nan() {
                        *to = value;
                    }
                }
            }
        }
    }
}
