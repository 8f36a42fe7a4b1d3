//! From a model and a photo to a map: what stands between a program's user and the methods.
//!
//! [`method`] has every method of every crate behind one registry, [`model`] loads networks as classifiers of photos,
//! [`baseline`] reads what photos are compared with, [`memory`] says how many rows may go through a network at a time,
//! and a [`question`] asks all of them of one photo after the other. Nothing here prints or parses a command line.

pub mod baseline;
pub mod class;
pub mod contents;
pub mod evaluation;
pub mod inputs;
pub mod memory;
pub mod method;
pub mod model;
pub mod photo;
pub mod question;
pub mod size;
