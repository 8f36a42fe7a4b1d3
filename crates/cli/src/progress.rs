//! A bar of steps that also moves within a step, where what is done tells how far it is.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use std::fmt::Write;
use std::time::{Duration, Instant};

/// Parts of a step that the bar knows.
const PARTS: u64 = 1000;

/// A single step that is shorter shows no bar.
const SHORT: Duration = Duration::from_millis(500);

/// How far a command is.
pub(crate) struct Progress {
    bar: ProgressBar,
    /// When to show a bar that may not be worth it.
    pending: Option<Instant>,
    /// What a step is of the bar: bytes are not divided.
    parts: u64,
    steps: u64,
    expected: u64,
    done: u64,
}

impl Default for Progress {
    /// Nothing to be seen.
    fn default() -> Self {
        Self { bar: ProgressBar::hidden(), pending: None, parts: PARTS, steps: 0, expected: 0, done: 0 }
    }
}

impl Progress {
    /// A bar of `length` steps on stderr, where that is a terminal.
    pub(crate) fn start(length: usize, word: &str) -> Self {
        let bar = ProgressBar::with_draw_target(Some(length as u64 * PARTS), ProgressDrawTarget::hidden());
        let template = "{prefix} {wide_bar} {count} {elapsed}{left}\n{wide_msg}";
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        bar.set_style(style.with_key("count", count).with_key("left", left));
        bar.set_prefix(word.to_owned());
        let mut progress = Self { bar, pending: Some(Instant::now()), ..Self::default() };
        if length > 1 {
            progress.show();
        }
        progress
    }

    /// A bar of so many bytes, or of nobody knows how many.
    pub(crate) fn start_bytes(total: Option<u64>) -> Self {
        let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::hidden());
        let template = "{wide_bar} {bytes}/{total_bytes} {bytes_per_sec} (about {eta} left)";
        bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
        let mut progress = Self { bar, parts: 1, ..Self::default() };
        progress.show();
        progress
    }

    /// What is known so far, below the bar.
    pub(crate) fn say(&self, text: &str) {
        self.bar.set_message(text.to_owned());
    }

    /// So many steps more are done.
    pub(crate) fn advance_by(&mut self, steps: usize) {
        self.advance_to(self.steps as usize + steps);
    }

    /// So many steps are done.
    pub(crate) fn advance_to(&mut self, steps: usize) {
        (self.steps, self.expected, self.done) = (steps as u64, 0, 0);
        self.bar.set_position(self.steps * self.parts);
    }

    /// So much more will be done within this step.
    pub(crate) fn announce(&mut self, work: u64) {
        self.expected += work;
    }

    /// So much more is done of this step. What was not expected shows no progress, and the bar never goes back.
    pub(crate) fn work(&mut self, work: u64) {
        self.done += work;
        if self.pending.is_some_and(|since| since.elapsed() > SHORT) {
            self.show();
        }
        let part = (self.done * PARTS).checked_div(self.expected).unwrap_or(0).min(PARTS - 1);
        let position = self.steps * PARTS + part;
        if position > self.bar.position() {
            self.bar.set_position(position);
        }
    }

    /// The bar goes away.
    pub(crate) fn finish(&mut self) {
        self.bar.finish_and_clear();
        *self = Self::default();
    }

    /// Does what writes to the terminal.
    pub(crate) fn suspend<R>(&self, write: impl FnOnce() -> R) -> R {
        self.bar.suspend(write)
    }

    fn show(&mut self) {
        self.pending = None;
        // Draws nothing where stderr is no terminal, and no colour anywhere.
        self.bar.set_draw_target(ProgressDrawTarget::stderr());
        // The clock goes on while the network works.
        self.bar.enable_steady_tick(Duration::from_millis(500));
    }
}

/// `3/12`; of a single step, how much of it is done.
fn count(state: &ProgressState, text: &mut dyn Write) {
    let (at, all) = (state.pos(), state.len().unwrap_or(PARTS));
    // Nothing can be done about a terminal that takes no text.
    let _ = if all > PARTS {
        write!(text, "{}/{}", at / PARTS, all / PARTS)
    } else {
        write!(text, "{}%", at * 100 / all.max(1))
    };
}

/// How long it will take, once there is something to tell it by.
fn left(state: &ProgressState, text: &mut dyn Write) {
    if let Some(time) = remaining(state.elapsed(), state.pos(), state.len().unwrap_or(0)) {
        let _ = write!(text, " (about {} left)", words(time));
    }
}

/// As long again as it took so far, by what is left to do.
fn remaining(elapsed: Duration, done: u64, all: u64) -> Option<Duration> {
    (done > 0).then(|| elapsed.mul_f64(all.saturating_sub(done) as f64 / done as f64))
}

/// `9s`, `3m 20s`, `2h 5m`.
fn words(time: Duration) -> String {
    let seconds = time.as_secs();
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds}s"),
        (0, minutes, seconds) => format!("{minutes}m {seconds}s"),
        (hours, minutes, _) => format!("{hours}h {minutes}m"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_moves_within_a_step_and_never_back() {
        let mut progress = Progress::start(3, "explaining");
        progress.work(5);
        assert_eq!(progress.bar.position(), 0, "nobody knows of how much");
        progress.announce(20);
        progress.work(5);
        assert_eq!(progress.bar.position(), 500);
        progress.announce(80);
        progress.work(10);
        assert_eq!(progress.bar.position(), 500, "there was more to do than was said");
        progress.work(1000);
        assert_eq!(progress.bar.position(), 999, "a step ends when it ends");
        progress.advance_by(1);
        progress.announce(4);
        progress.work(1);
        assert_eq!(progress.bar.position(), 1250);
        progress.advance_to(3);
        assert_eq!(progress.bar.position(), 3000);
    }

    #[test]
    fn the_time_left_follows_from_what_is_done() {
        let minute = Duration::from_mins(1);
        assert_eq!((remaining(minute, 0, 4), remaining(minute, 4, 4)), (None, Some(Duration::ZERO)));
        assert_eq!(remaining(minute, 1000, 4000), Some(3 * minute));
        // More than was expected is not less than nothing.
        assert_eq!(remaining(minute, 5, 4), Some(Duration::ZERO));
    }

    #[test]
    fn times_are_words() {
        assert_eq!([9, 200, 7500].map(|s| words(Duration::from_secs(s))), ["9s", "3m 20s", "2h 5m"]);
    }
}
