use crate::{
    BackwardRule, Cotangents, LayerId, Network, Probe, Propagation, Result, Tap, VectorJacobianProducts,
    delegate_network,
};
use candle_core::Tensor;

/// How many evaluated rows take about as long as one that is differentiated.
const DIFFERENTIATED: u64 = 3;

/// Hears how far an explanation is, in evaluated rows; one that is differentiated counts as three.
pub trait Watch: Send + Sync {
    /// So much more will come, says a method before it begins. What follows from what is found on the way is said when
    /// it is known; methods of a pass or two say nothing.
    fn announce(&self, work: u64);

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
///     fn announce(&self, work: u64) { self.expected.fetch_add(work, Ordering::Relaxed); }
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
    delegate_network!(self => self.network;
        layers, dtype, device, input_shape, grid, biases, attentions, can_vjp_from, bytes_of_pass);

    fn forward(&self, input: &Tensor, probe: &mut dyn Probe) -> Result<Tensor> {
        self.pass(input, 1)?;
        self.network.forward(input, probe)
    }

    fn evaluate(&self, input: &Tensor, layers: &[LayerId]) -> Result<(Tensor, Vec<Tensor>)> {
        self.pass(input, 1)?;
        self.network.evaluate(input, layers)
    }

    fn evaluate_similar(&self, input: &Tensor) -> Result<Tensor> {
        self.pass(input, 1)?;
        self.network.evaluate_similar(input)
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

    /// The watcher hears it; networks behind this one do not.
    fn announce(&self, evaluated: usize, differentiated: usize) {
        self.watch.announce(evaluated as u64 + DIFFERENTIATED * differentiated as u64);
    }

    fn vjp(&self, input: &Tensor, taps: &[Tap], cotangents: &mut Cotangents<'_>) -> Result<VectorJacobianProducts> {
        self.pass(input, DIFFERENTIATED)?;
        self.network.vjp(input, taps, cotangents)
    }

    /// The way up to the layer has been counted.
    fn vjp_from(
        &self,
        layer: LayerId,
        activation: &Tensor,
        taps: &[Tap],
        cotangents: &mut Cotangents<'_>,
    ) -> Result<VectorJacobianProducts> {
        self.pass(activation, DIFFERENTIATED - 1)?;
        self.network.vjp_from(layer, activation, taps, cotangents)
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
    use crate::{CandleModel, CandleNetwork, Error, LayerInfo, Objective, Target};
    use candle_core::{DType, Device};
    use std::sync::atomic::{AtomicU64, Ordering};

    /// Twice the input.
    struct Twice;

    impl CandleModel for Twice {
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
        fn announce(&self, work: u64) {
            self.expected.fetch_add(work, Ordering::Relaxed);
        }

        fn advance(&self, work: u64) -> Result<()> {
            let done = self.done.fetch_add(work, Ordering::Relaxed) + work;
            if done > self.most { Err(Error::Cancelled("enough".into())) } else { Ok(()) }
        }
    }

    #[test]
    fn rows_are_counted_by_what_they_cost_and_may_be_stopped() {
        let counter = Counter { expected: AtomicU64::new(0), done: AtomicU64::new(0), most: 15 };
        let watched = Watched::new(CandleNetwork(Twice), &counter);
        let target = Target::Output(0);
        let objective = Objective::new(&watched, &target);
        let input = Tensor::ones((3, 2), DType::F32, &Device::Cpu).unwrap();
        objective.network().announce(3, 3);
        assert_eq!(objective.scores(&input).unwrap().to_vec1::<f32>().unwrap(), [2.0; 3]);
        assert_eq!(objective.input_gradient(&input).unwrap().to_vec2::<f32>().unwrap(), [[2.0, 0.0]; 3]);
        assert_eq!(counter.expected.load(Ordering::Relaxed), 12);
        assert_eq!(counter.done.load(Ordering::Relaxed), 12);
        let error = objective.input_gradient(&input).unwrap_err().to_string();
        assert!(error.contains("enough"), "{error}");
    }
}
