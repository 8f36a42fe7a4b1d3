//! Where values lie: virtual buffers with lifetimes, packed into one piece of memory.

use candle_core::Result;
use faithful_kernel::{Buffer, Map, MapMut};

/// A buffer's number.
pub(super) type BufferId = usize;

/// How a value's elements follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// Maps `(N, C, H, W)` and series `(N, C, T)` with their channels innermost.
    Innermost,
    /// As the dimensions say.
    Own,
}

/// A value's place: some channels of a buffer's pixels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Slot {
    pub(super) buffer: BufferId,
    /// Elements from the buffer's start.
    pub(super) offset: usize,
    /// `[N, H, W, C]` or `[N, 1, T, C]`; in their own order the first axis, 1, what is between, the last axis.
    pub(super) shape: [usize; 4],
    /// From one pixel to the next.
    pub(super) pixel: usize,
    pub(super) order: Order,
}

impl Slot {
    /// A place for a value of these dimensions at the start of a buffer.
    pub(super) fn new(buffer: BufferId, dims: &[usize], order: Order) -> Self {
        let shape = match (order, dims) {
            (Order::Innermost, &[n, c, h, w]) => [n, h, w, c],
            (Order::Innermost, &[n, c, t]) => [n, 1, t, c],
            (_, []) => [1; 4],
            (_, &[k]) => [1, 1, 1, k],
            (_, &[n, ref between @ .., k]) => [n, 1, between.iter().product(), k],
        };
        Self { buffer, offset: 0, shape, pixel: shape[3], order }
    }

    /// The same place looked at as `like`, whose elements are as many and follow each other alike. None where there are gaps
    /// at other places.
    pub(super) fn seen_as(&self, like: &Self) -> Option<Self> {
        if self.shape == like.shape {
            return Some(Self { order: like.order, ..*self });
        }
        self.is_dense().then_some(Self { buffer: self.buffer, offset: self.offset, pixel: like.shape[3], ..*like })
    }

    /// Whether its elements follow each other as the dimensions say, whatever its order is called.
    pub(super) fn follows_its_dimensions(&self) -> bool {
        self.order == Order::Own || self.shape[1] * self.shape[2] == 1 || self.shape[3] == 1
    }

    /// The elements it reaches over.
    fn span(&self) -> usize {
        let pixels: usize = self.shape[..3].iter().product();
        if pixels == 0 { 0 } else { (pixels - 1) * self.pixel + self.shape[3] }
    }

    /// `count` channels from `first` on.
    pub(super) fn channels(&self, first: usize, count: usize) -> Self {
        let [n, h, w, _] = self.shape;
        Self { offset: self.offset + first, shape: [n, h, w, count], ..*self }
    }

    /// One row, `shift` elements on.
    pub(super) fn row(&self, shift: usize) -> Self {
        let [_, h, w, c] = self.shape;
        Self { offset: self.offset + shift, shape: [1, h, w, c], ..*self }
    }

    /// A slot like it whose elements lie side by side.
    pub(super) fn densely(&self) -> Self {
        Self { offset: 0, pixel: self.shape[3], ..*self }
    }

    /// Whether its elements lie side by side.
    pub(super) fn is_dense(&self) -> bool {
        self.pixel == self.shape[3]
    }
}

/// A buffer's size, and the steps between which it is in use.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lifetime {
    pub(super) length: usize,
    pub(super) first: usize,
    pub(super) last: usize,
}

/// Where a buffer lies, and when.
#[derive(Clone, Copy, Debug)]
pub(super) struct Placed {
    pub(super) start: usize,
    pub(super) life: Lifetime,
}

/// Starts for `buffers` in a memory where others already have their place, such that none overlap while both live.
///
/// Larger buffers are placed first, each at the lowest place that is free during its life.
pub(super) fn place(buffers: &[Lifetime], mut placed: Vec<Placed>) -> Vec<usize> {
    let mut order: Vec<usize> = (0..buffers.len()).collect();
    order.sort_by_key(|&id| std::cmp::Reverse(buffers[id].length));
    let mut starts = vec![0; buffers.len()];
    for id in order {
        let life = buffers[id];
        let mut busy: Vec<(usize, usize)> = placed
            .iter()
            .filter(|other| other.life.first <= life.last && life.first <= other.life.last)
            .map(|other| (other.start, other.start + aligned(other.life.length)))
            .collect();
        busy.sort_unstable();
        let mut start = 0;
        for (from, to) in busy {
            if from >= start + life.length {
                break;
            }
            start = start.max(to);
        }
        starts[id] = start;
        placed.push(Placed { start, life });
    }
    starts
}

/// How much memory buffers with these starts need.
pub(super) fn extent(buffers: &[Lifetime], starts: &[usize]) -> usize {
    buffers.iter().zip(starts).map(|(life, start)| start + aligned(life.length)).max().unwrap_or(0)
}

/// Buffers start at cache lines.
pub(super) fn aligned(length: usize) -> usize {
    length.next_multiple_of(16)
}

/// The memory of one run.
pub(super) struct Memory<'a> {
    base: *mut f32,
    length: usize,
    starts: &'a [usize],
    lifetime: std::marker::PhantomData<&'a mut [f32]>,
}

// SAFETY: a memory is a borrowed slice cut into slots; `write`'s callers see to it that steps which run at the same time
// write slots apart from all that others use.
unsafe impl Sync for Memory<'_> {}

impl<'a> Memory<'a> {
    pub(super) fn new(buffer: &'a mut Buffer, starts: &'a [usize]) -> Self {
        let slice: &mut [f32] = buffer;
        Self { base: slice.as_mut_ptr(), length: slice.len(), starts, lifetime: std::marker::PhantomData }
    }

    fn range(&self, slot: &Slot) -> (usize, usize) {
        let (start, span) = (self.starts[slot.buffer] + slot.offset, slot.span());
        assert!(start + span <= self.length, "a plan's memory holds all its buffers");
        (start, span)
    }

    /// The elements of a dense slot.
    pub(super) fn read(&self, slot: &Slot) -> &[f32] {
        let (start, span) = self.range(slot);
        // SAFETY: inside the memory, which is borrowed for the run. Steps run one after the other, and a step's
        // output lies in a buffer that lives while its operands do, hence elsewhere; see `write`.
        unsafe { std::slice::from_raw_parts(self.base.add(start), span) }
    }

    /// The elements that a step writes.
    ///
    /// # Safety
    /// No slice of the same elements is in use: `place` keeps buffers that live at the same step apart, and the caller
    /// does not take one slot twice.
    #[allow(clippy::mut_from_ref)] // Many slots of one memory are in use at a time; their being apart is the contract.
    pub(super) unsafe fn write(&self, slot: &Slot) -> &mut [f32] {
        let (start, span) = self.range(slot);
        // SAFETY: inside the memory; the caller's.
        unsafe { std::slice::from_raw_parts_mut(self.base.add(start), span) }
    }

    pub(super) fn map(&self, slot: &Slot) -> Result<Map<'_>> {
        Map::with_pixel(self.read(slot), slot.shape, slot.pixel)
    }

    /// # Safety
    /// As [`Memory::write`].
    pub(super) unsafe fn map_mut(&self, slot: &Slot) -> Result<MapMut<'_>> {
        // SAFETY: the caller's.
        MapMut::with_pixel(unsafe { self.write(slot) }, slot.shape, slot.pixel)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_that_live_together_lie_apart_and_others_share() {
        let life = |length, first, last| Lifetime { length, first, last };
        let buffers = [life(100, 0, 1), life(50, 1, 2), life(100, 2, 3), life(30, 0, 3), life(7, 3, 3)];
        let starts = place(&buffers, Vec::new());
        for (i, a) in buffers.iter().enumerate() {
            for (j, b) in buffers.iter().enumerate().skip(i + 1) {
                if a.first <= b.last && b.first <= a.last {
                    assert!(starts[i] + a.length <= starts[j] || starts[j] + b.length <= starts[i], "{i} and {j}");
                }
            }
        }
        assert_eq!(starts[0], starts[2]);
        assert_eq!(extent(&buffers, &starts), 112 + 64 + 32);
    }
}
