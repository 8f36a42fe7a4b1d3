//! Every method of the registries on a small network, in f64: no formula that differs can hide behind rounding.

use crate::numbers::{as_on_a_gpu, numbers, relative_difference};
use crate::report::{Line, Report};
use candle_core::{DType, Device, Tensor};
use faithful_baseline::DataSet;
use faithful_cam::{CamParameters, EstimatorParameters, Layout, PerturbationParameters, Quality};
use faithful_core::{LayerId, Network, Objective, Result, Stream, Target};
use faithful_gradient::GradientParameters;
use faithful_model::{Graph, architecture};
use std::num::NonZeroUsize;
use std::sync::Arc;

/// Some methods compute parts of their work in f32.
const ALLOWED: f64 = 1e-4;
const SIDE: usize = 64;

/// A network with the input that is explained and what it is compared with, all on one device.
struct Place {
    network: Graph,
    input: Tensor,
    baselines: Tensor,
    layer: LayerId,
}

impl Place {
    fn new(graph: &Graph, device: &Device) -> Result<Self> {
        let put = |x: Tensor| x.to_device(device);
        Ok(Self {
            network: graph.to_dtype(DType::F64)?.to_device(device)?,
            input: put(numbers(&[1, 3, SIDE, SIDE], 1)?)?,
            baselines: put(numbers(&[7, 3, SIDE, SIDE], 2)?)?,
            layer: graph.layer("features.12")?,
        })
    }
}

pub(crate) fn check(name: &str, device: &Device, report: &mut Report) -> anyhow::Result<()> {
    report.table(&format!("Methods on {name}, held against the CPU's"));
    let graph = architecture("squeezenet1_1")?.random(5, 7, &Device::Cpu)?;
    let (cpu, other) = (Place::new(&graph, &Device::Cpu)?, Place::new(&graph, device)?);
    let mut add = |what: &str, explain: &dyn Fn(&Place) -> Result<Tensor>| {
        let found = explain(&cpu).and_then(|expected| {
            let found = as_on_a_gpu(device, || explain(&other))?;
            Ok(relative_difference(&expected, &found)?)
        });
        let difference = found.map_err(|error| error.to_string());
        report.add(&Line { what: what.into(), numbers: "f64", difference, allowed: ALLOWED });
    };
    for method in faithful_cam::METHODS.iter() {
        add(method.info.name, &|place| class_activation_map(place, method, None));
    }
    for estimator in faithful_cam::ESTIMATORS {
        let method = faithful_cam::method("layer-cam")?;
        add(&format!("layer-cam on {}", estimator.name), &|place| class_activation_map(place, method, Some(estimator)));
    }
    for method in faithful_gradient::METHODS {
        add(method.info.name, &|place| attribution(place, method));
    }
    Ok(())
}

fn few(count: usize) -> NonZeroUsize {
    NonZeroUsize::new(count).unwrap_or(NonZeroUsize::MIN)
}

fn class_activation_map(
    place: &Place,
    method: &'static faithful_cam::Method,
    estimator: Option<&'static faithful_cam::GradientEstimator>,
) -> Result<Tensor> {
    let target = Target::Output(1);
    let objective = Objective::new(&place.network, &target);
    let gradient = EstimatorParameters {
        draws: few(6),
        sampler: Arc::new(DataSet::new(place.baselines.clone())?),
        stream: Stream::new(3, "photo"),
        ..EstimatorParameters::default()
    };
    let perturbation =
        PerturbationParameters { draws: Some(few(5)), channels: Some(few(6)), ..PerturbationParameters::default() };
    let parameters = CamParameters {
        estimator,
        gradient,
        perturbation,
        layout: Layout::default(),
        hyper: Quality::Draft.parameters(),
        ..CamParameters::default()
    };
    let layers = if method.multiplies() {
        faithful_cam::stage_layers(&place.network, place.layer)?
    } else if method.needs_layers() {
        vec![place.layer]
    } else {
        Vec::new()
    };
    Ok(faithful_cam::explain(method, &objective, &place.input, &layers, &parameters)?.map)
}

fn attribution(place: &Place, method: &faithful_gradient::Method) -> Result<Tensor> {
    let target = Target::Output(1);
    let objective = Objective::new(&place.network, &target);
    let parameters = GradientParameters {
        draws: Some(few(6)),
        sampler: Arc::new(DataSet::new(place.baselines.clone())?),
        stream: Stream::new(3, "photo"),
        ..GradientParameters::default()
    };
    Ok((method.attribute)(&objective, &place.input, &parameters)?.map)
}
