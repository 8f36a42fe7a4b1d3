//! What computes the network.

use clap::Args;
use faithful_model::{Compute, Precision};

#[derive(Clone, Debug, Args)]
pub(crate) struct ComputeArguments {
    /// What computes the network: `cpu`, `cuda`, `cuda:1`, several GPUs as `cuda:0,cuda:1`, or `auto` for a GPU where
    /// there is one; GPUs need a build for them
    #[arg(
        long,
        env = "FAITHFUL_DEVICE",
        hide_env_values = true,
        value_name = "DEVICE",
        default_value = "cpu",
        help_heading = "Limits"
    )]
    pub(crate) device: String,
    /// In which numbers: `f32`, `bf16` (faster and rougher; on the CPU what convolutions and linear layers multiply, where the
    /// processor does that faster than in `f32`: AMD from Zen 4 on), or on a GPU `tf32`
    #[arg(long, value_name = "NAME", default_value = "f32", help_heading = "Limits")]
    pub(crate) precision: String,
}

impl ComputeArguments {
    pub(crate) fn compute(&self) -> faithful_core::Result<Compute> {
        Ok(Compute::new(&self.device, self.precision.parse::<Precision>()?)?.unless_slower())
    }

    /// What is to say of a precision that was asked for in vain.
    pub(crate) fn note(&self, compute: &Compute) -> Option<&'static str> {
        let text = "--precision bf16: this processor multiplies bf16 no faster than f32; computed in f32";
        (self.precision != compute.precision().to_string()).then_some(text)
    }
}
