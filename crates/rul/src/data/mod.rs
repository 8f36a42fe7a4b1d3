//! Where series come from, and how they become a network's input.

mod archive;
mod cmapss;
mod columns;
mod conditions;
mod delimited;
mod fleet;
mod preparation;
mod synthetic;
mod windows;

pub use cmapss::{CMAPSS, CmapssSet, SENSORS, SETTINGS, parse_lives, parse_series, sensor_in_words};
pub use columns::{Columns, read_columns, read_in_parts};
pub use conditions::{Clusters, k_means};
pub use fleet::{Fleet, Unit};
pub use preparation::{Condition, Preparation, PreparationOptions, Scaling};
pub use synthetic::{FAULTS, SyntheticSpec, draw_fleet};
pub use windows::{Windows, short_units};
