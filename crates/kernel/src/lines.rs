use std::ops::Range;

/// Elements of several maps of one shape as lines: where no map has gaps long ones, whatever the channels are.
pub(super) struct Lines {
    count: usize,
    length: usize,
    last: usize,
    /// From one line to the next, map by map.
    pitches: [usize; 3],
    per_task: usize,
}

/// The length of a line where there are no gaps.
const LONG: usize = 1024;
/// About how many elements a task takes.
const TASK: usize = 16 * 1024;

impl Lines {
    /// The lines of maps of `shape` whose pixels are `pixels` elements apart, at most three maps.
    pub(super) fn of(shape: [usize; 4], pixels: &[usize]) -> Self {
        let channels = shape[3];
        let count: usize = shape[..3].iter().product();
        let mut pitches = [0; 3];
        let (count, length, last) = if pixels.iter().all(|pixel| *pixel == channels) {
            let total = count * channels;
            pitches.fill(LONG);
            let count = total.div_ceil(LONG);
            (count, LONG, total - count.saturating_sub(1) * LONG)
        } else {
            pitches[..pixels.len()].copy_from_slice(pixels);
            (count, channels, channels)
        };
        Self { count, length, last, pitches, per_task: (TASK / length.max(1)).max(1) }
    }

    pub(super) fn tasks(&self) -> usize {
        self.count.div_ceil(self.per_task)
    }

    /// The lines of a task.
    pub(super) fn range(&self, task: usize) -> Range<usize> {
        task * self.per_task..((task + 1) * self.per_task).min(self.count)
    }

    #[inline(always)]
    pub(super) fn start(&self, map: usize, line: usize) -> usize {
        self.pitches[map] * line
    }

    #[inline(always)]
    pub(super) fn length(&self, line: usize) -> usize {
        if line + 1 == self.count { self.last } else { self.length }
    }
}
