#![doc = include_str!("../README.md")]

pub use faithful_core as core;
pub use faithful_core::{Error, Network, Objective, Result, Score, Stream, Target};

pub use faithful_attention as attention;
pub use faithful_baseline as baseline;
pub use faithful_cam as cam;
pub use faithful_data as data;
pub use faithful_evaluate as evaluate;
pub use faithful_explain as explain;
pub use faithful_explain::{Classifier, MethodResult, MethodSpec, Session, Settings, Setup, methods};
pub use faithful_frequency as frequency;
pub use faithful_gradient as gradient;
pub use faithful_metric as metric;
pub use faithful_model as model;
pub use faithful_page as page;
pub use faithful_report as report;
pub use faithful_rul as rul;
pub use faithful_serve as serve;
pub use faithful_tensor as tensor;
