//! One module per command.

pub(crate) mod dream;
pub(crate) mod evaluate;
pub(crate) mod explain;
pub(crate) mod figure;
pub(crate) mod lists;
pub(crate) mod model;
pub(crate) mod predict;
pub(crate) mod rul;
mod run;
pub(crate) mod sanity;
pub(crate) mod table;
