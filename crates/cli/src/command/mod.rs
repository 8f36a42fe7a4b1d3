//! One module per command.

pub(crate) mod atlas;
pub(crate) mod audit;
pub(crate) mod compare;
mod concepts;
pub(crate) mod dream;
pub(crate) mod evaluate;
pub(crate) mod explain;
pub(crate) mod export;
pub(crate) mod figure;
pub(crate) mod lists;
pub(crate) mod manual;
pub(crate) mod model;
pub(crate) mod predict;
pub(crate) mod pull;
pub(crate) mod report;
#[cfg(feature = "rul")]
pub(crate) mod rul;
mod run;
pub(crate) mod sanity;
#[cfg(feature = "serve")]
pub(crate) mod serve;
pub(crate) mod table;
