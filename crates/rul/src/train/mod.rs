//! Training: a loop that can be killed and goes on, and the searches for its learning rate and batch size.

mod checkpoint;
mod finder;
mod loss;
mod optimizer;
mod options;
mod schedule;
mod session;
#[cfg(test)]
mod tests;

pub use finder::{BatchSearch, RateSearch, find_batch, find_rate};
pub use options::{Epoch, Event, Loss, Training};
pub use schedule::OneCycle;
pub use session::train;
