//! Remaining useful life: from sensor series to a trained network whose predictions can be explained.
//!
//! [`CmapssSet`] reads NASA's C-MAPSS sets, [`read_columns`] tables of one's own, [`draw_fleet`] draws machines whose
//! fault modes are known. A [`Preparation`] turns readings into [`Windows`], [`train`] fits a
//! [`SeriesNetwork`](faithful_model::SeriesNetwork) to them, and the [`RulModel`] that comes out is a
//! [`Network`](faithful_core::Network) like any other: every method of `faithful-cam` and `faithful-gradient` explains
//! it. [`Scores`] says how far predictions are off.
//!
//! ```
//! use faithful_core::Stream;
//! use faithful_rul::{RulModel, Scores, SyntheticSpec, Windows, draw_fleet};
//! # fn main() -> faithful_core::Result<()> {
//! let model = RulModel::shipped()?;
//! let spec = SyntheticSpec { units: 6, stopped: true, ..SyntheticSpec::default() };
//! let pumps = draw_fleet(&spec, &Stream::new(5, "pumps in the field"))?;
//! let windows = Windows::last(&pumps, &model.about.preparation)?;
//! let scores = Scores::of(&model.predict(&windows.inputs)?, &windows.targets(model.about.preparation.cap)?)?;
//! assert!(scores.rmse < 30.0);
//! # Ok(())
//! # }
//! ```

mod conformal;
mod course;
mod cycles;
mod data;
mod familiarity;
mod model;
mod scores;
mod summary;
mod table;
mod train;

pub use conformal::{Calibration, Interval};
pub use course::{monotone_course, smoothed_course};
pub use cycles::Cycles;
pub use data::{
    CMAPSS, Clusters, CmapssSet, Columns, Condition, FAULTS, Fleet, Preparation, PreparationOptions, SENSORS, SETTINGS,
    Scaling, SyntheticSpec, Unit, Windows, draw_fleet, k_means, parse_lives, parse_series, read_columns, read_in_parts,
    sensor_in_words, short_units,
};
pub use familiarity::{Familiarity, Unlike};
pub use model::{About, RulModel, members};
pub use scores::Scores;
pub use summary::{Attributed, Driver, FaultGroup, FleetSummary, Sign};
pub use table::{Cells, TableWriter, encode_table};
pub use train::{BatchSearch, Epoch, Event, Loss, OneCycle, RateSearch, Training, find_batch, find_rate, train};
