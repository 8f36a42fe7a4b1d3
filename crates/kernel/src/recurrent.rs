//! Recurrent layers: blocks of rows go through time apart, each on one thread, so that their gates stay in a core's cache.

use super::isa::Kernel;
use super::map::{Finish, Map, MapMut, RawFinish, Target};
use super::matrix::{Ahead, MOST_ROWS, Matrix, Product, TileRows};
use super::scratch::with_scratch;
use super::simd::Simd;
use super::transcendental::{sigmoid, slope_of_sigmoid, slope_of_tanh, tanh};
use super::{Isa, each_task};
use crate::Direction;
use candle_core::{Result, bail};

/// The sums that a step of either recurrence computes for each state.
const SUMS: usize = 4;
/// The rows of a block: those of the largest register tile.
const ROWS: usize = MOST_ROWS;

/// Which recurrence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RecurrentCell {
    /// See `faithful_tensor::lstm`; its sums are its gates, in `PyTorch`'s order input, forget, cell, output.
    Lstm,
    /// See `faithful_tensor::gru`, with the reset after the product; its sums are the gates reset and update, and the new gate's two
    /// parts: what comes from the input, and what from the state.
    Gru,
}

impl RecurrentCell {
    /// The gates whose weights are stacked.
    pub fn gates(self) -> usize {
        match self {
            Self::Lstm => 4,
            Self::Gru => 3,
        }
    }

    /// Weights or biases of the gates' sums, from those of the gates: `of_state` for the state's part.
    fn sums(self, gates: &[f32], of_state: bool) -> Vec<f32> {
        let mut sums = gates.to_vec();
        if self == Self::Gru {
            // The part of the new gate that the other operand has to itself.
            let gate = gates.len() / 3;
            let at = if of_state { 2 * gate } else { 3 * gate };
            sums.splice(at..at, std::iter::repeat_n(0.0, gate));
        }
        sums
    }
}

/// One direction of a recurrent layer with repacked weights, for passes in which nobody learns.
#[derive(Clone, Debug)]
pub struct RecurrentLayer {
    inputs: usize,
    /// `(I, 4H)`, and its transpose for the way back.
    from_input: Matrix,
    to_input: Matrix,
    /// `(4H,)`.
    bias: Vec<f32>,
    steps: RecurrentSteps,
}

impl RecurrentLayer {
    /// Packs `weights` `(G * H, I)` of the input and `(G * H, H)` of the state for `sizes` `[I, H]`; `biases` `(G * H,)` are
    /// those of both.
    ///
    /// # Errors
    /// Where the lengths do not go together.
    pub fn new(
        isa: Isa,
        cell: RecurrentCell,
        sizes: [usize; 2],
        weights: [&[f32]; 2],
        biases: [&[f32]; 2],
        direction: Direction,
    ) -> Result<Self> {
        let [inputs, hidden] = sizes;
        let rows = cell.gates() * hidden;
        if weights[0].len() != rows * inputs || biases.iter().any(|bias| bias.len() != rows) {
            bail!("{cell:?} of {inputs} inputs and {hidden} states has {rows} x {inputs} weights and {rows} biases");
        }
        let [from_input, to_input] = both_ways(isa, &cell.sums(weights[0], false), [SUMS * hidden, inputs]);
        let mut bias = cell.sums(biases[0], false);
        bias.iter_mut().zip(cell.sums(biases[1], true)).for_each(|(bias, more)| *bias += more);
        let steps = RecurrentSteps::new(isa, cell, hidden, weights[1], direction)?;
        Ok(Self { inputs, from_input, to_input, bias, steps })
    }

    /// How many numbers its weights are.
    pub fn elements(&self) -> usize {
        self.from_input.elements() + self.steps.from_state.elements()
    }

    /// All states of `x` `(N, T, I)` into `out`, a map `[N, 1, T, H]`.
    ///
    /// # Errors
    /// Where the shapes do not go together.
    pub fn run(&self, x: &[f32], mut out: MapMut) -> Result<()> {
        let [rows, steps] = self.size(x, out.shape())?;
        let states = Pixels { start: out.pointer(), pitch: out.pixel() };
        blocks(rows, |first, count| {
            let (x, states) = (&x[first * steps * self.inputs..], states.from(first * steps));
            // SAFETY: the shapes were checked, and the block's states are this task's.
            self.with_block(x, [count, steps], |gates, cells| unsafe {
                self.steps.forward(gates, cells, states, [count, steps]);
            });
        });
        Ok(())
    }

    /// The gradient at `x` `(N, T, I)`, from that at its states, a map `[N, 1, T, H]`, into `to`. The states are computed
    /// once more, block by block: to remember their gates would need more memory than the whole network.
    ///
    /// # Errors
    /// Where the shapes do not go together.
    pub fn gradient(&self, x: &[f32], gradient: Map, to: &mut [f32]) -> Result<()> {
        let [rows, steps] = self.size(x, gradient.shape())?;
        if to.len() != x.len() {
            bail!("a gradient of {} numbers at an input of {}", to.len(), x.len());
        }
        let (inputs, hidden) = (self.inputs, self.steps.hidden);
        let gradient = Pixels { start: Target(gradient.pointer().0.cast_mut()), pitch: gradient.pixel() };
        let to = Pixels { start: Target(to.as_mut_ptr()), pitch: inputs };
        blocks(rows, |first, count| {
            let at = first * steps;
            self.with_block(&x[at * inputs..], [count, steps], |gates, cells| {
                with_scratch(count * steps * hidden, |states| {
                    let states = Pixels { start: Target(states.as_mut_ptr()), pitch: hidden };
                    // SAFETY: the shapes were checked, the block's inputs are this task's, and gradients are only read.
                    unsafe {
                        self.steps.forward(gates, cells, states, [count, steps]);
                        self.steps.back(gates, cells, gradient.from(at), [count, steps]);
                        let finish = RawFinish::NONE;
                        multiply(
                            &self.to_input,
                            count * steps,
                            |row| (gates.at(row).cast_const(), row),
                            to.from(at),
                            &finish,
                        );
                    }
                });
            });
        });
        Ok(())
    }

    /// `[N, T]`.
    fn size(&self, x: &[f32], states: [usize; 4]) -> Result<[usize; 2]> {
        let [rows, height, steps, hidden] = states;
        if height != 1 || hidden != self.steps.hidden || x.len() != rows * steps * self.inputs {
            bail!("{} inputs of {} each do not have states of shape {states:?}", x.len(), self.inputs);
        }
        Ok([rows, steps])
    }

    /// Lends memory for a block's gates, with what the inputs add to them, and for its cells.
    fn with_block(&self, x: &[f32], [rows, steps]: [usize; 2], work: impl FnOnce(Pixels, Pixels)) {
        let width = SUMS * self.steps.hidden;
        with_scratch(rows * steps * width, |gates| {
            with_scratch(rows * steps * 2 * self.steps.hidden, |cells| {
                let mut out = MapMut::new(gates, [1, 1, rows * steps, width]).expect("a map as large as the memory");
                let finish = Finish { bias: Some(&self.bias), ..Finish::default() };
                let finish = finish.prepare(&mut out).expect("a bias per gate");
                let gates = Pixels { start: out.pointer(), pitch: width };
                let x = x.as_ptr();
                let place = |row: usize| (x.wrapping_add(row * self.inputs), row);
                // SAFETY: there are as many inputs, and as much memory.
                unsafe { multiply(&self.from_input, rows * steps, place, gates, &finish) };
                work(gates, Pixels { start: Target(cells.as_mut_ptr()), pitch: 2 * self.steps.hidden });
            });
        });
    }
}

/// The part of a recurrent layer that goes through time: what a state adds to the next step's sums.
#[derive(Clone, Debug)]
pub struct RecurrentSteps {
    cell: RecurrentCell,
    hidden: usize,
    direction: Direction,
    /// `(H, 4H)`, and its transpose for the way back.
    from_state: Matrix,
    to_state: Matrix,
}

impl RecurrentSteps {
    /// Packs `weight` `(G * H, H)`.
    ///
    /// # Errors
    /// Where the length is another.
    pub fn new(isa: Isa, cell: RecurrentCell, hidden: usize, weight: &[f32], direction: Direction) -> Result<Self> {
        if hidden == 0 || weight.len() != cell.gates() * hidden * hidden {
            bail!("{} weights of {cell:?} with {hidden} states", weight.len());
        }
        let [from_state, to_state] = both_ways(isa, &cell.sums(weight, true), [SUMS * hidden, hidden]);
        Ok(Self { cell, hidden, direction, from_state, to_state })
    }

    /// All states `(N, T, H)`, of `steps` times per row. `gates` `(N, T, 4H)` holds what inputs and biases add up to, and then the
    /// gates' values; `cells` `(N, T, 2H)` gets an LSTM's cell states and their hyperbolic tangents, or a GRU's states.
    ///
    /// # Errors
    /// Where the lengths do not go together.
    pub fn run(&self, gates: &mut [f32], cells: &mut [f32], states: &mut [f32], steps: usize) -> Result<()> {
        let rows = self.rows([gates.len(), cells.len(), states.len()], steps)?;
        let [gates, cells, states] = self.pixels([gates, cells, states].map(<[f32]>::as_mut_ptr));
        blocks(rows, |first, count| {
            let at = first * steps;
            // SAFETY: the lengths were checked, and the block's rows are this task's.
            unsafe { self.forward(gates.from(at), cells.from(at), states.from(at), [count, steps]) }
        });
        Ok(())
    }

    /// From what [`run`](Self::run) left in `gates` and `cells`, and the gradient at the states, to that at the gates' sums,
    /// which takes the gates' place.
    ///
    /// # Errors
    /// Where the lengths do not go together.
    pub fn run_back(&self, gates: &mut [f32], cells: &[f32], gradient: &[f32], steps: usize) -> Result<()> {
        let rows = self.rows([gates.len(), cells.len(), gradient.len()], steps)?;
        let [cells, gradient] = [cells, gradient].map(|data| data.as_ptr().cast_mut());
        let [gates, cells, gradient] = self.pixels([gates.as_mut_ptr(), cells, gradient]);
        blocks(rows, |first, count| {
            let at = first * steps;
            // SAFETY: the lengths were checked, the block's rows are this task's, cells and gradients are only read.
            unsafe { self.back(gates.from(at), cells.from(at), gradient.from(at), [count, steps]) }
        });
        Ok(())
    }

    fn rows(&self, [gates, cells, states]: [usize; 3], steps: usize) -> Result<usize> {
        let rows = states / (steps * self.hidden).max(1);
        let each = rows * steps * self.hidden;
        if [gates, cells, states] != [SUMS * each, 2 * each, each] {
            bail!("{gates} gates, {cells} cells and {states} states of {steps} steps do not go together");
        }
        Ok(rows)
    }

    fn pixels(&self, starts: [*mut f32; 3]) -> [Pixels; 3] {
        let pitches = [SUMS, 2, 1].map(|each| each * self.hidden);
        std::array::from_fn(|part| Pixels { start: Target(starts[part]), pitch: pitches[part] })
    }

    /// The times in the order in which they are read, each with the one before.
    fn times(&self, steps: usize) -> impl DoubleEndedIterator<Item = (usize, Option<usize>)> + use<> {
        let reverse = self.direction == Direction::Reverse;
        (0..steps).map(move |index| {
            let time = |index: usize| if reverse { steps - 1 - index } else { index };
            (time(index), index.checked_sub(1).map(time))
        })
    }

    /// # Safety
    /// Pixels, one per row and step, are valid for their pitch (states for `H`) and nobody else's.
    unsafe fn forward(&self, gates: Pixels, cells: Pixels, states: Pixels, [rows, steps]: [usize; 2]) {
        let hidden = self.hidden;
        let finish = RawFinish::adding_to(gates.start, gates.pitch);
        for (time, before) in self.times(steps) {
            // SAFETY: the caller's.
            unsafe {
                if let Some(before) = before {
                    let place = |row: usize| (states.at(row * steps + before).cast_const(), row * steps + time);
                    multiply(&self.from_state, rows, place, gates, &finish);
                }
                let of = |pixels: Pixels| pixels.from(time).every(steps);
                let before = before.map(|before| cells.from(before).every(steps));
                self.from_state.isa().run(Step {
                    cell: self.cell,
                    rows,
                    hidden,
                    gates: of(gates),
                    before,
                    cells: of(cells),
                    states: of(states),
                });
            }
        }
    }

    /// # Safety
    /// As [`forward`](Self::forward)'s.
    unsafe fn back(&self, gates: Pixels, cells: Pixels, gradient: Pixels, [rows, steps]: [usize; 2]) {
        let hidden = self.hidden;
        with_scratch(2 * rows * hidden, |later| {
            later.fill(0.0);
            let to_state = Pixels { start: Target(later.as_mut_ptr()), pitch: hidden };
            let to_cell = to_state.from(rows);
            for (time, before) in self.times(steps).rev() {
                // SAFETY: the caller's.
                unsafe {
                    let of = |pixels: Pixels| pixels.from(time).every(steps);
                    self.to_state.isa().run(StepBack {
                        cell: self.cell,
                        rows,
                        hidden,
                        gates: of(gates),
                        before: before.map(|before| cells.from(before).every(steps)),
                        cells: of(cells),
                        gradient: of(gradient),
                        to_state,
                        to_cell,
                    });
                    if before.is_some() {
                        let place = |row: usize| (gates.at(row * steps + time).cast_const(), row);
                        multiply(&self.to_state, rows, place, to_state, &RawFinish::NONE);
                    }
                }
            }
        });
    }
}

/// `weight` `(rows, columns)` as right factors: transposed, and as it is.
fn both_ways(isa: Isa, weight: &[f32], [rows, columns]: [usize; 2]) -> [Matrix; 2] {
    let transposed = Matrix::pack(isa, columns, rows, |k, n| weight[n * columns + k]);
    [transposed, Matrix::pack(isa, rows, columns, |k, n| weight[k * columns + n])]
}

/// Runs `task` for blocks of rows, with the first row and how many there are.
fn blocks(rows: usize, task: impl Fn(usize, usize) + Sync + Send) {
    let block = |index: usize| task(index * ROWS, ROWS.min(rows - index * ROWS));
    match rows.div_ceil(ROWS) {
        1 => block(0),
        count => each_task(count, block),
    }
}

/// Pieces of memory, each `pitch` elements behind the one before.
#[derive(Clone, Copy)]
struct Pixels {
    start: Target,
    pitch: usize,
}

impl Pixels {
    #[inline(always)]
    fn at(self, pixel: usize) -> *mut f32 {
        self.start.at(pixel * self.pitch)
    }

    /// Those from `first` on.
    fn from(self, first: usize) -> Self {
        Self { start: Target(self.at(first)), ..self }
    }

    /// The first one and every `count`-th behind it.
    fn every(self, count: usize) -> Self {
        Self { pitch: self.pitch * count, ..self }
    }
}

/// Multiplies `rows` rows with a matrix on this thread; `place` gives where a row starts and the pixel of its result.
///
/// # Safety
/// Rows are valid for the matrix's depth, pixels for its columns and the task's own, and `finish` goes with them.
unsafe fn multiply(
    matrix: &Matrix,
    rows: usize,
    place: impl Fn(usize) -> (*const f32, usize),
    out: Pixels,
    finish: &RawFinish,
) {
    /// A panel is read for so many rows at a time; they are tiles of at least four, and two smaller ones.
    const TOGETHER: usize = 32;
    let isa = matrix.isa();
    let mut starts = [std::ptr::null(); TOGETHER];
    let mut tiles = [TileRows::next(isa, 0, 1); TOGETHER / 4 + 2];
    for first in (0..rows).step_by(TOGETHER) {
        let count = TOGETHER.min(rows - first);
        let (mut used, mut row) = (0, 0);
        while row < count {
            let mut tile = TileRows::next(isa, row, count - row);
            for pixel in &mut tile.pixels[..tile.count] {
                (starts[row], *pixel) = place(first + row);
                row += 1;
            }
            tiles[used] = tile;
            used += 1;
        }
        for panel in matrix.panels() {
            isa.run(Product {
                starts: &starts,
                tiles: &tiles[..used],
                window: 1,
                segments: 0..1,
                from: 0,
                length: matrix.depth(),
                out: out.start,
                out_pixel: out.pitch,
                finish,
                panel,
                packed: matrix.panel_data(panel),
                first: true,
                last: true,
                partial: Target(std::ptr::null_mut()),
                ahead: Ahead { from: std::ptr::null(), per_tile: 0, per_depth: 0 },
            });
        }
    }
}

/// One step of a block: from the gates' sums to their values, cells and states.
struct Step {
    cell: RecurrentCell,
    rows: usize,
    hidden: usize,
    gates: Pixels,
    /// The cells of the step before; none at the first.
    before: Option<Pixels>,
    cells: Pixels,
    states: Pixels,
}

impl Kernel for Step {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Self { cell, rows, hidden, gates, before, cells, states } = self;
        for row in 0..rows {
            for j in (0..hidden).step_by(S::LANES) {
                let count = (hidden - j).min(S::LANES);
                // SAFETY: the caller's of `forward`.
                unsafe {
                    let gate = |index: usize| gates.at(row).wrapping_add(index * hidden + j);
                    let sum = |index: usize| S::load_up_to(gate(index), count);
                    let before = before.map(|before| S::load_up_to(before.at(row).wrapping_add(j), count));
                    let to = cells.at(row).wrapping_add(j);
                    let state = match cell {
                        RecurrentCell::Lstm => {
                            let [input, forget] = [sigmoid::<S>(sum(0)), sigmoid::<S>(sum(1))];
                            let [new, output] = [tanh::<S>(sum(2)), sigmoid::<S>(sum(3))];
                            let mut cell = S::mul(input, new);
                            if let Some(before) = before {
                                cell = S::mul_add(forget, before, cell);
                            }
                            let squashed = tanh::<S>(cell);
                            for (index, value) in [input, forget, new, output].into_iter().enumerate() {
                                S::store_up_to(gate(index), value, count);
                            }
                            S::store_up_to(to, cell, count);
                            S::store_up_to(to.wrapping_add(hidden), squashed, count);
                            S::mul(output, squashed)
                        }
                        RecurrentCell::Gru => {
                            let [reset, update] = [sigmoid::<S>(sum(0)), sigmoid::<S>(sum(1))];
                            let new = tanh::<S>(S::mul_add(reset, sum(3), sum(2)));
                            let before = before.unwrap_or_else(|| S::splat(0.0));
                            let state = S::mul_add(update, S::sub(before, new), new);
                            for (index, value) in [reset, update, new].into_iter().enumerate() {
                                S::store_up_to(gate(index), value, count);
                            }
                            S::store_up_to(to, state, count);
                            state
                        }
                    };
                    S::store_up_to(states.at(row).wrapping_add(j), state, count);
                }
            }
        }
    }
}

/// One step of a block back: from the gradient at the state to those at the gates' sums, which take the gates' place.
struct StepBack {
    cell: RecurrentCell,
    rows: usize,
    hidden: usize,
    gates: Pixels,
    before: Option<Pixels>,
    cells: Pixels,
    gradient: Pixels,
    /// What comes from the step behind, a pixel per row: by way of its sums, and past them (to an LSTM's cell, a GRU's state).
    to_state: Pixels,
    to_cell: Pixels,
}

impl Kernel for StepBack {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Self { cell, rows, hidden, gates, before, cells, gradient, to_state, to_cell } = self;
        for row in 0..rows {
            for j in (0..hidden).step_by(S::LANES) {
                let count = (hidden - j).min(S::LANES);
                // SAFETY: the caller's of `back`.
                unsafe {
                    let gate = |index: usize| gates.at(row).wrapping_add(index * hidden + j);
                    let value = |index: usize| S::load_up_to(gate(index), count);
                    let comes = S::load_up_to(gradient.at(row).wrapping_add(j), count);
                    let state = S::add(comes, S::load_up_to(to_state.at(row).wrapping_add(j), count));
                    let to_cell = to_cell.at(row).wrapping_add(j);
                    let past = S::load_up_to(to_cell, count);
                    let mut memory = S::splat(0.0);
                    if let Some(before) = before {
                        memory = S::load_up_to(before.at(row).wrapping_add(j), count);
                    }
                    let (to_sums, past) = match cell {
                        RecurrentCell::Lstm => {
                            let [input, forget, new, output] = [0, 1, 2, 3].map(value);
                            let squashed = S::load_up_to(cells.at(row).wrapping_add(hidden + j), count);
                            let cell = S::mul_add(S::mul(state, output), slope_of_tanh::<S>(squashed), past);
                            let to_input = S::mul(S::mul(cell, new), slope_of_sigmoid::<S>(input));
                            let to_forget = S::mul(S::mul(cell, memory), slope_of_sigmoid::<S>(forget));
                            let to_new = S::mul(S::mul(cell, input), slope_of_tanh::<S>(new));
                            let to_output = S::mul(S::mul(state, squashed), slope_of_sigmoid::<S>(output));
                            ([to_input, to_forget, to_new, to_output], S::mul(cell, forget))
                        }
                        RecurrentCell::Gru => {
                            let [reset, update, new, of_state] = [0, 1, 2, 3].map(value);
                            let state = S::add(state, past);
                            let past = S::mul(state, update);
                            let to_new = S::mul(S::sub(state, past), slope_of_tanh::<S>(new));
                            let to_update = S::mul(S::mul(state, S::sub(memory, new)), slope_of_sigmoid::<S>(update));
                            let to_reset = S::mul(S::mul(to_new, of_state), slope_of_sigmoid::<S>(reset));
                            ([to_reset, to_update, to_new, S::mul(to_new, reset)], past)
                        }
                    };
                    for (index, value) in to_sums.into_iter().enumerate() {
                        S::store_up_to(gate(index), value, count);
                    }
                    S::store_up_to(to_cell, past, count);
                }
            }
        }
    }
}
