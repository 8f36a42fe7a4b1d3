//! Checkpoints of `PyTorch`, and other people's safetensors, as the safetensors that architectures are loaded from.
//!
//! Both formats of `torch.save` are read: the zip file of `PyTorch` 1.6 and later, and the stream before it, which many
//! of torchvision's published weights still are. Nothing of a pickle is run.

mod convert;
mod file;
mod names;
mod pickle;
mod state;
#[cfg(test)]
mod tests;

pub use convert::{Converted, convert_weights};
