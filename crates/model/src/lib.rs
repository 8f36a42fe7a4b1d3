//! Networks as data: a [`Graph`] of named nodes with weights, read from ONNX or built from an architecture.

mod graph;

pub use graph::{Dim, Node, NodeId, Op, ResizeTo};
