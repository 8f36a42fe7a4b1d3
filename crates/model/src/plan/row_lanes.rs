//! Rows of a batch that run apart, through steps whose maps of the whole batch would not stay in the shared cache.
//!
//! Such steps stand at the beginning of a network, where maps are large and weights small, and at the end of the way
//! back. Each lane takes some rows, one after the other, through all of them; lanes run in parallel, and what lives
//! only within these steps has memory for one row per lane.

use super::CACHE;
use super::memory::{Lifetime, Placed, Slot, aligned, place};
use super::step::{Step, Work};
use std::ops::Range;

/// Weights of more elements are better read once per batch than once per row.
const MOST_WEIGHTS: usize = 2560 * 1024;

/// A step whose maps have more elements does not stay in the cache. Tests take small maps apart as well.
const LARGE: usize = if cfg!(test) { 64 } else { CACHE };

/// Steps that rows take apart.
#[derive(Debug)]
pub(super) struct RowLanes {
    steps: Range<usize>,
    rows: usize,
    lanes: usize,
    /// Which buffers live only within these steps.
    private: Vec<bool>,
    /// The memory of one lane.
    arena: usize,
}

impl RowLanes {
    /// The first steps of a forward pass for `rows` rows, as far as it pays.
    pub(super) fn first(steps: &[Step], rows: usize) -> Self {
        let capable = steps.iter().take_while(|step| is_capable(step, rows)).count();
        let end = steps[..capable].iter().rposition(is_large).map_or(0, |last| last + 1);
        Self::new(0..end, rows)
    }

    /// The last steps of a pass back.
    pub(super) fn last(steps: &[Step], rows: usize) -> Self {
        let capable = steps.iter().rev().take_while(|step| is_capable(step, rows)).count();
        let start = steps.len() - capable;
        let start = steps[start..].iter().position(is_large).map_or(steps.len(), |first| start + first);
        Self::new(start..steps.len(), rows)
    }

    fn new(steps: Range<usize>, rows: usize) -> Self {
        let lanes = rows.min(rayon::current_num_threads()).max(1);
        Self { steps, rows, lanes, private: Vec::new(), arena: 0 }
    }

    /// Places the buffers `lives`, of which a step at index `i` uses those that live at the moment `first_moment + i`,
    /// in a memory where `placed` have their place. Gives their starts and how much memory that needs.
    pub(super) fn place(
        &mut self,
        lives: &[Lifetime],
        first_moment: usize,
        placed: Vec<Placed>,
    ) -> (Vec<usize>, usize) {
        let (from, to) = (first_moment + self.steps.start, first_moment + self.steps.end);
        self.private = lives.iter().map(|life| from <= life.first && life.last < to).collect();
        let per_lane = |(life, &private): (&Lifetime, &bool)| Lifetime {
            length: if private { life.length / self.rows } else { 0 },
            ..*life
        };
        let in_lane: Vec<Lifetime> = lives.iter().zip(&self.private).map(per_lane).collect();
        let lane_starts = place(&in_lane, Vec::new());
        self.arena = super::memory::extent(&in_lane, &lane_starts);
        let shared = |(life, &private): (&Lifetime, &bool)| {
            // One row may be at the last of these steps while another is at the first.
            let touches = life.first < to && from <= life.last && !self.steps.is_empty();
            let (first, last) =
                if touches { (life.first.min(from), life.last.max(to - 1)) } else { (life.first, life.last) };
            Lifetime { length: if private { 0 } else { life.length }, first, last }
        };
        let mut shared: Vec<Lifetime> = lives.iter().zip(&self.private).map(shared).collect();
        shared.push(Lifetime { length: self.arena * self.lanes, first: from, last: to.max(from + 1) - 1 });
        let mut starts = place(&shared, placed);
        let length = super::memory::extent(&shared, &starts);
        let arena = starts.pop().unwrap_or(0);
        for ((start, lane_start), &private) in starts.iter_mut().zip(lane_starts).zip(&self.private) {
            if private {
                *start = arena + lane_start;
            }
        }
        (starts, length)
    }

    /// The steps that run for all rows at once, and for each lane its rows' steps in order. `first` is the number of
    /// the first buffer that was placed, `buffers` the lengths of all.
    pub(super) fn split(&self, steps: &[Step], first: usize, buffers: &[usize]) -> Vec<Vec<Step>> {
        if self.steps.is_empty() {
            return Vec::new();
        }
        let lane = |lane: usize| {
            let rows = lane * self.rows / self.lanes..(lane + 1) * self.rows / self.lanes;
            let shift = |slot: Slot, row: usize| {
                let private = slot.buffer.checked_sub(first).and_then(|index| self.private.get(index));
                let shift =
                    if private == Some(&true) { lane * self.arena } else { row * (buffers[slot.buffer] / self.rows) };
                slot.row(shift)
            };
            rows.flat_map(|row| {
                steps[self.steps.clone()].iter().map(move |step| step.with_slots(|slot| shift(slot, row)))
            })
            .collect()
        };
        (0..self.lanes).map(lane).collect()
    }

    pub(super) fn steps(&self) -> Range<usize> {
        self.steps.clone()
    }
}

/// Whether a step computes each row of the batch from that row alone, with weights that may be read again per row.
fn is_capable(step: &Step, rows: usize) -> bool {
    let by_rows = matches!(
        step.work,
        Work::Convolution { .. }
            | Work::MaxPool { .. }
            | Work::MaxPoolBack { .. }
            | Work::AveragePool { .. }
            | Work::AveragePoolBack { .. }
            | Work::Copy { .. }
            | Work::Activation { .. }
            | Work::ActivationBack { .. }
            | Work::Multiply { .. }
            | Work::SumOfProducts { .. }
            | Work::LayerNorm { .. }
            | Work::LayerNormBack { .. }
            | Work::Finish
    );
    rows > 1 && by_rows && step.weights() <= MOST_WEIGHTS && step.slots().iter().all(|slot| slot.shape[0] == rows)
}

/// Whether the maps of a step do not stay in the cache.
fn is_large(step: &Step) -> bool {
    step.slots().iter().map(|slot| aligned(slot.shape.iter().product())).sum::<usize>() > LARGE
}
