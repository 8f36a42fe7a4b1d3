//! Evaluation runs: many images, many methods, many metrics, one table that can be believed.
//!
//! [`run`] explains every image by every [`Explainer`] and measures each map. What is finished is kept as Parquet parts
//! that appear whole or not at all, so that a run which was killed at any instant goes on where it was
//! ([`Store::resume`]); a [`Shard`] does its share of the images, and shards merged are the unsharded run. [`Table`]
//! turns rows into means with intervals, ranks and paired tests.
//!
//! Values do not depend on the batch size, the order, the shard or how often the run was interrupted: every image has
//! random streams of its own, keyed by the run's seed and the image's name.

mod audit;
#[cfg(feature = "s3")]
mod bucket;
mod columns;
mod complete;
mod curves;
mod leaderboard;
mod manifest;
mod place;
mod row;
mod run;
mod shard;
mod statistics;
mod store;
mod table;
#[cfg(test)]
mod testing;

pub use audit::{Agreement, Audit};
pub use curves::{MeanCurve, mean_curves};
pub use leaderboard::{Leaderboard, Place, Standing};
pub use manifest::{Manifest, VERSION};
pub use row::{Curve, Row};
pub use run::{Event, Explained, Explainer, Plan, Sample, Source, Subject, Summary, fitted, run};
pub use shard::Shard;
pub use statistics::{Interval, bootstrap_mean, holm, paired_p};
pub use store::{Rows, Store, Working};
pub use table::{Cell, Format, Line, Table};
