//! How long each step of a pass takes.

use super::compile::Request;
use super::memory::Memory;
use super::step::{self, Work};
use super::{Fast, compile};
use crate::Graph;
use candle_core::Tensor;
use faithful_core::Result;
use faithful_kernel::{Isa, with_team};
use std::time::Instant;

/// A step of a pass, and its time.
#[derive(Clone, Debug, PartialEq)]
pub struct StepTime {
    /// The layer whose value it computes.
    pub layer: String,
    /// The kind of kernel; `reference` for an operation that has none.
    pub work: &'static str,
    /// The shape of its result, `[N, H, W, C]`.
    pub shape: [usize; 4],
    /// The shortest of several runs.
    pub seconds: f64,
}

impl Graph {
    /// The steps of a pass over `input`, all rows together, each with the shortest time of `repeat` passes. None where the graph does
    /// not run by kernels: in `f32` on the CPU it does.
    ///
    /// # Errors
    /// As for a pass.
    pub fn profile(&self, input: &Tensor, repeat: usize) -> Result<Option<Vec<StepTime>>> {
        super::of(self).map(|fast| fast.profile(input, repeat)).transpose()
    }
}

impl Fast<'_> {
    fn profile(&self, input: &Tensor, repeat: usize) -> Result<Vec<StepTime>> {
        crate::execute::check_input(self.graph, input)?;
        let (given, wanted) = (self.graph.input.0, vec![self.graph.output.0]);
        let request = Request { given, dims: input.dims().to_vec(), wanted, taps: Vec::new() };
        let plan = compile(self.graph, &self.prepared.kernels, &request)?;
        let steps: Vec<_> = plan.lanes.iter().flatten().chain(&plan.steps).collect();
        let mut seconds = vec![f64::INFINITY; steps.len()];
        self.with_memory(|buffer| {
            buffer.reserve(plan.length);
            let memory = Memory::new(buffer, &plan.starts);
            for _ in 0..repeat.max(1) {
                with_team(|| {
                    // SAFETY: nothing else of the memory is in use yet.
                    step::write(input, unsafe { memory.write(&plan.given) }, &plan.given)?;
                    for (step, least) in steps.iter().zip(&mut seconds) {
                        let start = Instant::now();
                        step.run(&memory, Isa::best(), self.graph.rule)?;
                        *least = least.min(start.elapsed().as_secs_f64());
                    }
                    Ok::<_, faithful_core::Error>(())
                })?;
            }
            Ok::<_, faithful_core::Error>(())
        })?;
        let time = |(step, seconds): (&&step::Step, f64)| StepTime {
            layer: self.graph.nodes[step.node].name.clone(),
            work: step.work.name(),
            shape: step.out.shape,
            seconds,
        };
        Ok(steps.iter().zip(seconds).map(time).collect())
    }
}

impl Work {
    fn name(&self) -> &'static str {
        use super::kernel::Kernel;
        match self {
            Self::Convolution { kernel, .. } => match **kernel {
                Kernel::Winograd { .. } | Kernel::WinogradBack { .. } => "winograd",
                Kernel::Direct(_) => "product",
                Kernel::Depthwise(_) | Kernel::DepthwiseBack(_) => "depthwise",
                Kernel::Transposed(_) => "transposed",
            },
            Self::Linear { .. } | Self::LinearBack { .. } => "linear",
            Self::MaxPool { .. } | Self::MaxPoolBack { .. } => "max pool",
            Self::AveragePool { .. } | Self::AveragePoolBack { .. } => "average pool",
            Self::Copy { .. } | Self::Finish | Self::Zero | Self::Constant { .. } => "copy",
            Self::Activation { .. } | Self::ActivationBack { .. } => "activation",
            Self::Multiply { .. } | Self::SumOfProducts { .. } => "multiply",
            Self::LayerNorm { .. } | Self::LayerNormBack { .. } => "layer norm",
            Self::Recurrent { .. } | Self::RecurrentBack { .. } => "recurrent",
            Self::ToPlanes { .. } | Self::FromPlanes { .. } => "turn",
            Self::Attention { .. } | Self::AttentionBack { .. } => "attention",
            Self::Rearrange { .. } | Self::Scatter { .. } => "move",
            Self::Generic { .. } | Self::GenericBack { .. } => "reference",
        }
    }
}
