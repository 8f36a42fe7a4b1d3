//! Networks as data: a [`Graph`] of named nodes with weights, read from ONNX or built from an architecture.

mod builder;
mod convert;
mod execute;
mod graph;
mod kind;
mod network;
mod shape;

pub use builder::GraphBuilder;
pub use graph::{Dim, Graph, Node, NodeId, Op, ResizeTo};
