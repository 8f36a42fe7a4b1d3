//! Networks as data: a [`Graph`] of named nodes with weights, read from ONNX or built from an architecture.

mod architecture;
mod bias;
mod builder;
mod convert;
mod execute;
mod fold;
mod graph;
mod home;
mod kind;
mod labels;
mod layer_table;
mod load;
mod logits;
mod network;
mod onnx;
mod plan;
mod randomise;
mod series;
mod shape;
mod shipped;
mod side_file;
mod source;
mod target;
mod weights;

pub use architecture::{ARCHITECTURES, Architecture, architecture, portable_uniform};
pub use builder::GraphBuilder;
pub use graph::{Dim, Graph, Node, NodeId, Op, ResizeTo};
pub use home::faithful_home;
pub use labels::Labels;
pub use layer_table::LayerRow;
pub use load::Model;
pub use onnx::{OnnxOptions, load_onnx, read_onnx};
pub use randomise::Randomisation;
pub use series::{SeriesNetwork, read_tensors};
pub use source::{KnownModel, Loading, ModelSource, Place, known_models};
