//! Training: a loop that can be killed and goes on, and the searches for its learning rate and batch size.

mod checkpoint;
mod finder;
mod optimizer;
mod schedule;
mod session;

pub use finder::{BatchSearch, RateSearch, find_batch, find_rate};
pub use schedule::OneCycle;
pub use session::{Epoch, Event, Training, train};
