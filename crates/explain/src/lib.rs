#![doc = include_str!("../README.md")]

pub mod auto;
pub mod baseline;
pub mod class;
pub mod contents;
mod detection;
mod drawing;
pub mod evaluation;
pub mod export;
mod expression;
pub mod inputs;
mod measurement;
mod memory;
mod method;
pub mod model;
pub mod photo;
mod reading;
mod region;
mod result;
mod session;
mod settings;
mod size;
mod spec;

pub use class::{ClassChoice, ScoreKind};
pub use detection::Detection;
pub use drawing::Drawing;
pub use measurement::{METRICS, Measurement, MeasurementSetup};
pub use memory::{Budget, Demand, weight_bytes};
pub use method::{Method, Requested, methods};
pub use model::{Classifier, Crop, FitKind, ModelOptions, Prediction, Resize};
pub use photo::Photo;
pub use reading::{PhotoReading, Read, detections, read_of, shares};
pub use result::MethodResult;
pub use session::{BatchSize, Listener, MethodAt, Seen, Session, Setup, Silent};
pub use settings::{CamChoices, HyperChoices, Settings, parse_stop};
pub use size::ByteSize;
pub use spec::{MethodSpec, MiniBatches};
