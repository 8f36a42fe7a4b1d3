//! How methods of the registry are run here, and a network that counts what goes through it.

use crate::cam_networks::{Subject, photo, values};
use candle_core::{DType, Tensor};
use faithful_baseline::DataSet;
use faithful_cam::{
    CamParameters, EstimatorParameters, Explanation, Method, PerturbationParameters, estimator, explain, method,
};
use faithful_core::{
    Cotangents, Error, LayerId, Network, Objective, Probe, Result, Stream, Tap, VectorJacobianProducts,
    delegate_network, evaluate_by_candle,
};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

pub(crate) fn number(n: usize) -> NonZeroUsize {
    NonZeroUsize::new(n).unwrap()
}

pub(crate) fn others() -> Tensor {
    values("others", &[7, 3, 12, 10], 1.0)
}

/// Few draws from a data set.
pub(crate) fn sampling(draws: usize) -> EstimatorParameters {
    EstimatorParameters {
        draws: number(draws),
        sampler: Arc::new(DataSet::new(others()).unwrap()),
        stream: Stream::new(3, "photo"),
        ..EstimatorParameters::default()
    }
}

pub(crate) fn parameters(name: Option<&str>, gradient: EstimatorParameters) -> CamParameters {
    CamParameters {
        estimator: name.map(|name| estimator(name).unwrap()),
        gradient,
        // One size: some of the networks take no larger photo.
        perturbation: PerturbationParameters {
            draws: Some(number(5)),
            points: Some(number(1)),
            ..PerturbationParameters::default()
        },
        ..CamParameters::default()
    }
}

pub(crate) fn run(subject: &Subject, name: &str, batch: usize, parameters: &CamParameters) -> Explanation {
    let target = subject.class;
    let objective = Objective::new(&subject.graph, &target).with_batch(number(batch));
    let method = method(name).unwrap();
    explain(method, &objective, &photo(1), layers_of(method, &subject.layer), parameters)
        .unwrap_or_else(|error| panic!("{name} on {}: {error}", subject.name))
}

/// The layer, where the method explains at one.
pub(crate) fn layers_of<'a>(method: &Method, layer: &'a LayerId) -> &'a [LayerId] {
    if method.needs_layers() { std::slice::from_ref(layer) } else { &[] }
}

pub(crate) fn bits(x: &Tensor) -> Vec<u64> {
    let flat = x.flatten_all().unwrap().to_dtype(DType::F64).unwrap().to_vec1::<f64>().unwrap();
    flat.into_iter().map(f64::to_bits).collect()
}

pub(crate) fn least(x: &Tensor) -> f64 {
    x.flatten_all().unwrap().min(0).unwrap().to_scalar().unwrap()
}

pub(crate) fn largest(x: &Tensor) -> f64 {
    x.abs().unwrap().flatten_all().unwrap().max(0).unwrap().to_scalar().unwrap()
}

/// Counts the rows that go through a network.
pub(crate) struct Counting<'a> {
    pub(crate) network: &'a dyn Network,
    pub(crate) rows: AtomicUsize,
}

impl Network for Counting<'_> {
    delegate_network!(self => self.network;
        layers, dtype, device, input_shape, grid, biases, attentions, announce, bytes_of_pass,
        with_backward_rule, with_propagation);

    fn forward(&self, input: &Tensor, probe: &mut dyn Probe) -> Result<Tensor> {
        self.rows.fetch_add(input.dim(0)?, Ordering::Relaxed);
        self.network.forward(input, probe)
    }
    fn evaluate(&self, input: &Tensor, layers: &[LayerId]) -> Result<(Tensor, Vec<Tensor>)> {
        evaluate_by_candle(self, input, layers)
    }
    fn evaluate_similar(&self, input: &Tensor) -> Result<Tensor> {
        Ok(self.evaluate(input, &[])?.0)
    }
    fn activations(&self, input: &Tensor, layers: &[LayerId]) -> Result<Vec<Tensor>> {
        Ok(self.evaluate(input, layers)?.1)
    }
    /// Whole passes alone are counted.
    fn resume(&self, _: LayerId, _: &Tensor) -> Option<Result<Tensor>> {
        None
    }
    fn vjp(&self, input: &Tensor, taps: &[Tap], cotangents: &mut Cotangents<'_>) -> Result<VectorJacobianProducts> {
        self.rows.fetch_add(input.dim(0)?, Ordering::Relaxed);
        self.network.vjp(input, taps, cotangents)
    }
    fn can_vjp_from(&self, _: LayerId, _: &[Tap]) -> bool {
        false
    }
    fn vjp_from(&self, _: LayerId, _: &Tensor, _: &[Tap], _: &mut Cotangents<'_>) -> Result<VectorJacobianProducts> {
        Err(Error::Unsupported(vec!["whole passes alone are counted".into()]))
    }
}
