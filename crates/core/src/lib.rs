//! The vocabulary of faithful: what a network is, what is asked of it, and what comes back.
//!
//! A [`Network`] maps an input to scores and shows every layer's activation to a [`Probe`]. A [`Score`] turns its
//! output into the one number per image that is explained. An [`Objective`] puts the two together and is the only
//! place where gradients are computed; every method of the crates `faithful-gradient` and `faithful-cam` is a
//! function of an objective. `faithful-model` has networks as data, but any candle model becomes a [`Network`] in
//! about twenty lines; see [`CandleModel`].

mod at_layer;
mod attention;
mod candle_model;
mod caught;
mod convergence;
mod correlation;
mod delegate;
mod digest;
mod error;
mod file;
mod grid;
mod method;
mod network;
mod not_finite;
mod npy;
mod objective;
mod preprocessing;
mod probabilities;
mod propagation;
mod random;
mod reading;
mod replicas;
mod score;
mod score_kind;
mod series;
mod tokens;
mod up_to_layer;
mod watched;

pub use at_layer::AtLayer;
pub use attention::{Attention, Stretch, stretch_gradients};
pub use candle_model::{CandleModel, CandleNetwork, evaluate_by_candle, vjp_by_candle};
pub use caught::{caught, panic_is_caught};
pub use convergence::{Convergence, ConvergenceStep, Monitor, Stop};
pub use correlation::{correlation, mean_ranks, rank_correlation};
pub use digest::Digest;
pub use error::{Cause, Error, Result, find_named, suggest, value_named};
pub use file::{file_error, open_file, read_file, read_file_within, remove_left_over, write_atomic, write_atomic_with};
pub use grid::Grid;
pub use method::{Family, MethodInfo, Resolution};
pub use network::{Cotangents, LayerId, LayerInfo, Network, Probe, Tap, Unobserved, VectorJacobianProducts};
pub use npy::Array;
pub use objective::{Differentiated, LayerTrace, Objective, Sampling};
pub use preprocessing::{Channels, Fit, Preprocessing, Resampling};
pub use probabilities::Probabilities;
pub use propagation::{Composite, Propagation};
pub use random::Stream;
pub use reading::{Cosine, Linear, ReadOut, Reading, RegionMeans};
pub use replicas::Replicas;
pub use score::{Score, Target};
pub use score_kind::ScoreKind;
pub use series::{SeriesLayout, SeriesView};
pub use tokens::{TokenGrid, has_channels_last};
pub use up_to_layer::UpToLayer;
pub use watched::{Watch, Watched};

pub use candle_core;
pub use faithful_tensor::BackwardRule;
