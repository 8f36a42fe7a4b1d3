#![doc = include_str!("../README.md")]

mod legrad;
mod method;
mod places;
mod product;
mod tokens;

pub use method::{Explanation, METHODS, Method, explain, method};

pub use faithful_core::{Error, Result};
