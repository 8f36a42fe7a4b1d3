//! Every method of the registries on a small network, in f64: no formula that differs can hide behind rounding.

use crate::numbers::{as_on_a_gpu, numbers, relative_difference};
use crate::report::{Line, Report};
use candle_core::{DType, Device, Tensor};
use faithful_baseline::DataSet;
use faithful_cam::{CamParameters, EstimatorParameters, Layout, PerturbationParameters, Quality};
use faithful_core::{Error, LayerId, Network, Objective, Result, Stream, Target};
use faithful_gradient::GradientParameters;
use faithful_model::{Graph, architecture};
use std::num::NonZeroUsize;
use std::sync::Arc;

/// Some methods compute parts of their work in f32.
const ALLOWED: f64 = 1e-4;
const SIDE: usize = 64;
const CLASSES: usize = 5;

/// A network with the input that is explained and what it is compared with, all on one device.
struct Place {
    network: Graph,
    input: Tensor,
    baselines: Tensor,
    layer: LayerId,
}

impl Place {
    fn new(graph: &Graph, layer: &str, device: &Device) -> Result<Self> {
        let put = |x: Tensor| x.to_device(device);
        Ok(Self {
            network: graph.to_dtype(DType::F64)?.to_device(device)?,
            input: put(numbers(&[1, 3, SIDE, SIDE], 1)?)?,
            baselines: put(numbers(&[7, 3, SIDE, SIDE], 2)?)?,
            layer: graph.layer(layer)?,
        })
    }
}

pub(crate) fn check(name: &str, device: &Device, report: &mut Report) -> anyhow::Result<()> {
    report.table(&format!("Methods on {name}, compared with the CPU's"));
    let places = |network: &str, layer: &str| {
        let graph = architecture(network)?.random(CLASSES, 7, &Device::Cpu)?;
        Ok::<_, Error>([Place::new(&graph, layer, &Device::Cpu)?, Place::new(&graph, layer, device)?])
    };
    let several = places("squeezenet1_1", "features.12")?;
    // CAM knows networks alone that end in a pool and one linear layer.
    let pooled = places("resnet18", "layer4")?;
    let mut add = |what: &str, explain: &dyn Fn(&Place, usize) -> Result<Tensor>| {
        let found = compared(device, if what == "cam" { &pooled } else { &several }, explain);
        let difference = found.map_err(|error| error.to_string());
        report.add(&Line { what: what.into(), numbers: "f64", difference, allowed: ALLOWED });
    };
    for method in faithful_cam::METHODS.iter() {
        add(method.info.name, &|place, class| class_activation_map(place, class, method, None));
    }
    for estimator in faithful_cam::ESTIMATORS {
        let method = faithful_cam::method("layer-cam")?;
        add(&format!("layer-cam on {}", estimator.name), &|place, class| {
            class_activation_map(place, class, method, Some(estimator))
        });
    }
    for method in faithful_gradient::METHODS {
        add(method.info.name, &|place, class| attribution(place, class, method));
    }
    Ok(())
}

/// How far the maps of the first class whose map is not zero everywhere are from each other.
fn compared(
    device: &Device,
    [cpu, other]: &[Place; 2],
    explain: &dyn Fn(&Place, usize) -> Result<Tensor>,
) -> Result<f64> {
    let mut class = 0;
    let mut expected = explain(cpu, class)?;
    while class + 1 < CLASSES && relative_difference(&expected, &expected.zeros_like()?)? == 0.0 {
        class += 1;
        expected = explain(cpu, class)?;
    }
    Ok(relative_difference(&expected, &as_on_a_gpu(device, || explain(other, class))?)?)
}

fn few(count: usize) -> NonZeroUsize {
    NonZeroUsize::new(count).unwrap_or(NonZeroUsize::MIN)
}

fn class_activation_map(
    place: &Place,
    class: usize,
    method: &'static faithful_cam::Method,
    estimator: Option<&'static faithful_cam::GradientEstimator>,
) -> Result<Tensor> {
    let target = Target::Output(class);
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

fn attribution(place: &Place, class: usize, method: &faithful_gradient::Method) -> Result<Tensor> {
    let target = Target::Output(class);
    let objective = Objective::new(&place.network, &target);
    let parameters = GradientParameters {
        draws: Some(few(6)),
        sampler: Arc::new(DataSet::new(place.baselines.clone())?),
        stream: Stream::new(3, "photo"),
        ..GradientParameters::default()
    };
    Ok((method.attribute)(&objective, &place.input, &parameters)?.map)
}
