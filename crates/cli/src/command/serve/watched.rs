//! A network that tells how much went through it, and stops when nobody waits any more.

use candle_core::{DType, Device, Tensor};
use faithful_core::{BackwardRule, Error, LayerId, LayerInfo, Network, Probe, PullBack, Result, Tap};
use faithful_serve::Progress;

pub(super) struct Watched<'a> {
    pub(super) inner: &'a dyn Network,
    pub(super) progress: &'a Progress,
}

impl Watched<'_> {
    fn pass(&self, input: &Tensor) -> Result<()> {
        if self.progress.unwanted() {
            return Err(Error::parameter("photo", "it is not wanted any more"));
        }
        self.progress.advance(input.dims().first().copied().unwrap_or(1) as u64);
        Ok(())
    }
}

impl Network for Watched<'_> {
    fn layers(&self) -> &[LayerInfo] {
        self.inner.layers()
    }

    fn forward(&self, input: &Tensor, probe: &mut dyn Probe) -> Result<Tensor> {
        self.pass(input)?;
        self.inner.forward(input, probe)
    }

    fn dtype(&self) -> DType {
        self.inner.dtype()
    }

    fn device(&self) -> Device {
        self.inner.device()
    }

    fn input_shape(&self) -> Option<&[usize]> {
        self.inner.input_shape()
    }

    fn evaluate(&self, input: &Tensor, layers: &[LayerId]) -> Result<(Tensor, Vec<Tensor>)> {
        self.pass(input)?;
        self.inner.evaluate(input, layers)
    }

    fn activations(&self, input: &Tensor, layers: &[LayerId]) -> Result<Vec<Tensor>> {
        self.pass(input)?;
        self.inner.activations(input, layers)
    }

    fn resume(&self, layer: LayerId, activation: &Tensor) -> Option<Result<Tensor>> {
        match self.pass(activation) {
            Ok(()) => self.inner.resume(layer, activation),
            Err(error) => Some(Err(error)),
        }
    }

    fn biases(&self) -> Result<Vec<(LayerId, Tensor)>> {
        self.inner.biases()
    }

    fn pull_back(
        &self,
        input: &Tensor,
        taps: &[Tap],
        cotangents: &mut dyn FnMut(&Tensor) -> Result<Vec<Tensor>>,
    ) -> Result<PullBack> {
        self.pass(input)?;
        self.inner.pull_back(input, taps, cotangents)
    }

    fn with_backward_rule(&self, rule: BackwardRule) -> Result<Box<dyn Network + '_>> {
        self.inner.with_backward_rule(rule)
    }
}
