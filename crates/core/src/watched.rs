use crate::{LayerId, LayerInfo, Network, Probe, Propagation, PullBack, Result, Tap};
use candle_core::{DType, Device, Tensor};
use faithful_tensor::BackwardRule;

/// How many evaluated rows take about as long as one that is pulled back.
const PULLED_BACK: u64 = 3;

/// Hears how far an explanation is, in evaluated rows; what is pulled back counts as three.
pub trait Watch: Send + Sync {
    /// So much more will come, says a method before it begins. What follows from what is found on the way is said when
    /// it is known; methods of a pass or two say nothing.
    fn expect(&self, work: u64);

    /// So much more is about to be done.
    ///
    /// # Errors
    /// Whatever the watcher wants the explanation to end with: nobody waits for it any more.
    fn advance(&self, work: u64) -> Result<()>;
}

/// A network that tells how much goes through it, whatever the method: for progress bars, and to end an explanation that
/// nobody wants any more. It changes no result.
///
/// ```
/// use faithful_core::{Result, Watch};
/// use std::sync::atomic::{AtomicU64, Ordering};
///
/// #[derive(Default)]
/// struct Counter { expected: AtomicU64, done: AtomicU64 }
///
/// impl Watch for Counter {
///     fn expect(&self, work: u64) { self.expected.fetch_add(work, Ordering::Relaxed); }
///     fn advance(&self, work: u64) -> Result<()> { self.done.fetch_add(work, Ordering::Relaxed); Ok(()) }
/// }
/// ```
#[derive(Clone, Copy)]
pub struct Watched<'a, N> {
    network: N,
    watch: &'a dyn Watch,
}

impl<'a, N: Network> Watched<'a, N> {
    /// `network`, watched by `watch`.
    pub fn new(network: N, watch: &'a dyn Watch) -> Self {
        Self { network, watch }
    }

    fn pass(&self, input: &Tensor, each: u64) -> Result<()> {
        self.watch.advance(input.dims().first().copied().unwrap_or(1) as u64 * each)
    }
}

impl<N: Network> Network for Watched<'_, N> {
    fn layers(&self) -> &[LayerInfo] {
        self.network.layers()
    }

    fn forward(&self, input: &Tensor, probe: &mut dyn Probe) -> Result<Tensor> {
        self.pass(input, 1)?;
        self.network.forward(input, probe)
    }

    fn dtype(&self) -> DType {
        self.network.dtype()
    }

    fn device(&self) -> Device {
        self.network.device()
    }

    fn input_shape(&self) -> Option<&[usize]> {
        self.network.input_shape()
    }

    fn evaluate(&self, input: &Tensor, layers: &[LayerId]) -> Result<(Tensor, Vec<Tensor>)> {
        self.pass(input, 1)?;
        self.network.evaluate(input, layers)
    }

    fn activations(&self, input: &Tensor, layers: &[LayerId]) -> Result<Vec<Tensor>> {
        self.pass(input, 1)?;
        self.network.activations(input, layers)
    }

    fn resume(&self, layer: LayerId, activation: &Tensor) -> Option<Result<Tensor>> {
        let resumed = self.network.resume(layer, activation)?;
        // Only what the network can do is done.
        Some(self.pass(activation, 1).and(resumed))
    }

    fn biases(&self) -> Result<Vec<(LayerId, Tensor)>> {
        self.network.biases()
    }

    fn expect(&self, evaluated: usize, pulled_back: usize) {
        self.watch.expect(evaluated as u64 + PULLED_BACK * pulled_back as u64);
    }

    fn pull_back(
        &self,
        input: &Tensor,
        taps: &[Tap],
        cotangents: &mut dyn FnMut(&Tensor) -> Result<Vec<Tensor>>,
    ) -> Result<PullBack> {
        self.pass(input, PULLED_BACK)?;
        self.network.pull_back(input, taps, cotangents)
    }

    fn can_pull_back_from(&self, layer: LayerId, taps: &[Tap]) -> bool {
        self.network.can_pull_back_from(layer, taps)
    }

    /// The way up to the layer has been counted.
    fn pull_back_from(
        &self,
        layer: LayerId,
        activation: &Tensor,
        taps: &[Tap],
        cotangents: &mut dyn FnMut(&Tensor) -> Result<Vec<Tensor>>,
    ) -> Result<PullBack> {
        self.pass(activation, PULLED_BACK - 1)?;
        self.network.pull_back_from(layer, activation, taps, cotangents)
    }

    fn with_backward_rule(&self, rule: BackwardRule) -> Result<Box<dyn Network + '_>> {
        Ok(Box::new(Watched { network: self.network.with_backward_rule(rule)?, watch: self.watch }))
    }

    fn with_propagation(&self, rule: Propagation) -> Result<Box<dyn Network + '_>> {
        Ok(Box::new(Watched { network: self.network.with_propagation(rule)?, watch: self.watch }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Error, Objective, Target};
    use std::sync::atomic::{AtomicU64, Ordering};

    /// Twice the input.
    struct Twice;

    impl Network for Twice {
        fn layers(&self) -> &[LayerInfo] {
            &[]
        }

        fn forward(&self, input: &Tensor, _: &mut dyn Probe) -> Result<Tensor> {
            Ok((input * 2.0)?)
        }
    }

    /// Ends what goes beyond `most`.
    struct Counter {
        expected: AtomicU64,
        done: AtomicU64,
        most: u64,
    }

    impl Watch for Counter {
        fn expect(&self, work: u64) {
            self.expected.fetch_add(work, Ordering::Relaxed);
        }

        fn advance(&self, work: u64) -> Result<()> {
            let done = self.done.fetch_add(work, Ordering::Relaxed) + work;
            if done > self.most { Err(Error::parameter("work", "enough")) } else { Ok(()) }
        }
    }

    #[test]
    fn rows_are_counted_by_what_they_cost_and_may_be_stopped() {
        let counter = Counter { expected: AtomicU64::new(0), done: AtomicU64::new(0), most: 15 };
        let watched = Watched::new(Twice, &counter);
        let target = Target::Output(0);
        let objective = Objective::new(&watched, &target);
        let input = Tensor::ones((3, 2), DType::F32, &Device::Cpu).unwrap();
        objective.network().expect(3, 3);
        assert_eq!(objective.scores(&input).unwrap().to_vec1::<f32>().unwrap(), [2.0; 3]);
        assert_eq!(objective.input_gradient(&input).unwrap().to_vec2::<f32>().unwrap(), [[2.0, 0.0]; 3]);
        assert_eq!(counter.expected.load(Ordering::Relaxed), 12);
        assert_eq!(counter.done.load(Ordering::Relaxed), 12);
        let error = objective.input_gradient(&input).unwrap_err().to_string();
        assert!(error.contains("enough"), "{error}");
    }
}
