//! How far to believe an explanation: faithfulness, localisation, robustness and complexity metrics.
//!
//! Every metric takes a raw map, of any scale and sign, over the input's cells: one value per pixel `(H, W)` or per
//! time step `(T,)`, where all channels of a cell move together, or one per entry of the input `(C, …)`. Faithfulness
//! metrics ask the network what happens when the cells that matter most are shown or hidden, so they take a
//! [`faithful_core::Objective`], usually of [`faithful_core::Target::Probability`]. The functions say each metric's
//! direction, range and source.
//!
//! ```
//! use faithful_metric::{Rank, Area, area_under};
//! let order = Rank::of_values(&[0.1, 0.9, 0.9, -3.0])?;
//! assert_eq!(order.positions(), [2, 0, 1, 3], "ties keep scan order");
//! assert_eq!(area_under(&[0.0, 0.5, 1.0], &[0.0, 1.0, 1.0], Area::Trapezoid), 0.75);
//! # Ok::<(), faithful_core::Error>(())
//! ```

mod arcc;
mod canvas;
mod complexity;
mod curve;
mod imputation;
mod infidelity;
mod localisation;
mod masked;
mod patches;
mod protocol;
mod rank;
mod registry;
mod resolution;
mod road;
mod sanity;
mod sensitivity;
mod sensitivity_n;
mod similarity;
mod single_deletion;
#[cfg(test)]
mod testing;

pub use arcc::{Arcc, arcc};
pub use canvas::Canvas;
pub use complexity::{complexity, sparseness};
pub use curve::{Curves, area_under, insertion_deletion};
pub use infidelity::{Infidelity, Perturbation, infidelity};
pub use localisation::{best_intersection_over_union, energy_inside, intersection_over_union, pointing_game};
pub use masked::{Masked, Masking, mask_of, masked_scores};
pub use protocol::{Area, CurveScore, Protocol, Steps};
pub use rank::Rank;
pub use registry::{Direction, Explain, Explanation, METRICS, Measured, Metric, MetricInfo, measure};
pub use resolution::resolution;
pub use road::{Removal, Road, RoadScores, road};
pub use sanity::{LayerSimilarity, data_label, parameter_randomisation};
pub use sensitivity::{Sensitivities, Sensitivity, sensitivity, sensitivity_to};
pub use sensitivity_n::{SensitivityN, sensitivity_n};
pub use similarity::{Similarity, similarity};
pub use single_deletion::single_deletion;
