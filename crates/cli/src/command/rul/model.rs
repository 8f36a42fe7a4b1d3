//! `--model` of `faithful rul`.

use super::side;
use super::source::Source;
use crate::arguments::{FleetArguments, ReadingScale, RulModelArguments};
use crate::failure::Usage;
use crate::output::Output;
use anyhow::{Context, Result};
use candle_core::{DType, Device, Tensor};
use faithful_baseline::{BaselineSampler, Blurred, Constant, DataSet};
use faithful_core::{Error, LayerId, Network, Objective, SeriesLayout, SeriesView};
use faithful_explain::{Budget, ByteSize, Demand, Method, Settings};
use faithful_model::{Compute, Graph, OnnxOptions, load_onnx};
use faithful_rul::{
    Calibration, Columns, Cycles, Familiarity, Fleet, Interval, Preparation, PreparationOptions, RulModel, Windows,
    members, read_columns,
};
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;

/// A network of the remaining life with what is needed to use it.
pub(crate) struct Loaded {
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) trained_on: String,
    pub(crate) preparation: Preparation,
    /// What the output says in cycles.
    pub(crate) life: Cycles,
    pub(crate) network: SeriesView<Arc<dyn Network>>,
    pub(super) picture: SeriesView<Arc<dyn Network>>,
    pub(super) target: Option<LayerId>,
    /// Windows of machines that it learnt from; nothing for a network that takes readings as they are, without such machines.
    training: Option<Examples>,
    /// What intervals are made of, and what the network's members are to be multiplied by; nothing where it does not know how far
    /// it is off.
    calibration: Option<(Calibration, f32)>,
    /// What machines it knows.
    pub(crate) familiarity: Option<Familiarity>,
}

/// Windows of the machines that a network learnt from.
struct Examples {
    healthy: Tensor,
    typical: Tensor,
}

impl Loaded {
    pub(crate) fn of(
        output: &Output,
        arguments: &RulModelArguments,
        fleet: &FleetArguments,
        source: &Source,
    ) -> Result<Self> {
        let compute = arguments.compute.compute()?;
        arguments.compute.note(&compute).iter().for_each(|note| output.note(note));
        match &arguments.model {
            None => Self::own("pumps".into(), RulModel::shipped()?, &compute),
            Some(path) if path.extension().is_some_and(|extension| extension == "onnx") => {
                Self::onnx(path, &compute, arguments, fleet, source)
            }
            Some(path) => Self::own(stem(path), RulModel::load(path)?, &compute),
        }
    }

    fn own(name: String, model: RulModel, compute: &Compute) -> Result<Self> {
        let RulModel { about, graph, healthy, typical, calibration, familiarity, .. } = model;
        let target = Some(graph.layer(faithful_model::SeriesNetwork::TARGET)?);
        let network = SeriesView::new(placed(compute, &graph)?, SeriesLayout::SensorsTime)?;
        let (kind, trained_on, preparation) = (about.kind, about.trained_on, about.preparation);
        let picture = network.clone().as_picture();
        let life = Cycles::LIFE;
        let training = Some(Examples { healthy, typical });
        let calibration = calibration.map(|calibration| (calibration, about.network.scale));
        Ok(Self {
            name,
            kind,
            trained_on,
            preparation,
            life,
            network,
            picture,
            target,
            training,
            calibration,
            familiarity,
        })
    }

    /// An ONNX network brings no preparation: readings are scaled by the set's training machines.
    fn onnx(
        path: &Path,
        compute: &Compute,
        arguments: &RulModelArguments,
        fleet: &FleetArguments,
        source: &Source,
    ) -> Result<Self> {
        let usage = side::Usage::of(path, arguments, &fleet.sensors)?;
        let layout = SeriesLayout::from(usage.layout);
        let view = |input_shape: Option<Vec<usize>>| -> Result<SeriesView<Graph>> {
            let graph = load_onnx(path, &OnnxOptions { input_shape, ..OnnxOptions::default() }).map_err(|error| {
                // The number of cycles helps where the file's sizes are what is missing or wrong.
                let sizes = matches!(error, Error::Shape { .. } | Error::Format { .. });
                let way_out = if sizes { "; --window says how many cycles it sees" } else { "" };
                anyhow::Error::from(error).context(format!("{} cannot be read{way_out}", path.display()))
            })?;
            SeriesView::new(graph, layout).with_context(|| format!("{} is no network of series", path.display()))
        };
        // Where the number of cycles is not said, the file has it.
        let fixed = if usage.window.is_none() { Some(view(None)?) } else { None };
        let of_file = fixed.as_ref().and_then(|network| network.input_shape()?.get(1).copied());
        let Some(window) = usage.window.or(of_file) else {
            return Err(Usage::from(format!("{} is no network of series", path.display())).into());
        };
        let training = match (&arguments.training_data, source) {
            (Some(table), _) => {
                let columns = Columns { sensors: fleet.sensors.clone(), to_failure: true, ..Columns::default() };
                Some(read_columns(table, &columns)?)
            }
            // Readings stay as they are: there is nothing to learn from training machines.
            (None, Source::Table(..)) if usage.scaling == ReadingScale::None => None,
            (None, Source::Table(..)) => {
                let text = "an .onnx network needs --training-data: the machines that its readings are scaled by; with \
                            --scaling none it takes them as they are";
                return Err(Usage::from(text.to_owned()).into());
            }
            (None, _) => Some(source.training()?),
        };
        let sensors = match &training {
            Some(_) => usage.sensors,
            // Which sensors are constant is not known either.
            None => usage.sensors.or(Some(source.test()?.sensors)),
        };
        let machines = training.as_ref().map_or_else(|| source.test(), |training| Ok(training.clone()))?;
        let preparation = Preparation::fit(
            &machines,
            &PreparationOptions {
                window,
                cap: usage.cap,
                smoothing: usage.smoothing,
                sensors,
                scaling: usage.scaling.into(),
                ..PreparationOptions::default()
            },
        )?;
        let read = match fixed {
            Some(read) => read,
            None => view(Some(match layout {
                SeriesLayout::SensorsTime => vec![preparation.sensors.len(), window],
                SeriesLayout::TimeSensors => vec![window, preparation.sensors.len()],
            }))?,
        };
        let target = read.inner().target_layer();
        let network = SeriesView::new(placed(compute, read.inner())?, layout)?;
        let sensors = network.input_shape().and_then(|shape| shape.first().copied()).unwrap_or_default();
        if preparation.sensors.len() != sensors {
            let reason = format!(
                "the network reads {sensors} sensors over {window} cycles, and {} are to be used ({}); name its sensors \
                 with --sensors, or its layout with --layout",
                preparation.sensors.len(),
                preparation.sensors.join(", ")
            );
            return Err(Error::parameter("sensors", reason).into());
        }
        let (name, picture) = (stem(path), network.clone().as_picture());
        let trained_on =
            training.as_ref().map_or_else(|| "machines that are not known".into(), |fleet| fleet.name.clone());
        let familiarity = training.as_ref().map(|fleet| Familiarity::fit(fleet, &preparation)).transpose()?;
        let training = training.map(|fleet| Examples::of(&fleet, &preparation)).transpose()?;
        let (kind, life, calibration) = ("onnx".into(), usage.life, None);
        Ok(Self {
            name,
            kind,
            trained_on,
            preparation,
            life,
            network,
            picture,
            target,
            training,
            calibration,
            familiarity,
        })
    }

    /// How many machines to explain at a time: these networks are small, and what is worth a thread of its own is a machine. A
    /// GPU is busy with one.
    pub(crate) fn side_by_side(&self) -> usize {
        if self.network.device().is_cpu() { rayon::current_num_threads() } else { 1 }
    }

    /// Whether it knows how far it is off.
    pub(crate) fn is_calibrated(&self) -> bool {
        self.calibration.is_some()
    }

    /// For each window the interval that holds the life of a new machine with probability `level`; nothing where the network does not
    /// know how far it is off.
    pub(crate) fn intervals(&self, inputs: &Tensor, level: f64) -> Result<Option<Vec<Interval>>> {
        Ok(self.intervals_at(inputs, &[level])?.map(|mut found| found.remove(0)))
    }

    /// The same for several levels, in their order, for which the network is asked once.
    pub(crate) fn intervals_at(&self, inputs: &Tensor, levels: &[f64]) -> Result<Option<Vec<Vec<Interval>>>> {
        let Some((calibration, scale)) = &self.calibration else { return Ok(None) };
        let said = members(&self.network, inputs, *scale)?;
        let of = |level: &f64| calibration.intervals(&said, *level, self.preparation.cap);
        Ok(Some(levels.iter().map(of).collect::<faithful_core::Result<_>>()?))
    }

    /// The remaining lives that the network sees, in cycles, from 0 to the cap.
    pub(crate) fn predict(&self, inputs: &Tensor) -> Result<Vec<f32>> {
        let rows = inputs.dim(0)?;
        let objective = Objective::new(&self.network, &self.life).with_batch(const { NonZeroUsize::new(128).unwrap() });
        let mut predicted = Vec::with_capacity(rows);
        for start in (0..rows).step_by(128) {
            let output = objective.outputs(&inputs.narrow(0, start, 128.min(rows - start))?)?;
            predicted.extend(output.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?);
        }
        if predicted.len() != rows {
            return Err(Error::shape(
                "the network's output",
                "(N, 1), the remaining life",
                &[rows, predicted.len() / rows],
            )
            .into());
        }
        for value in &mut predicted {
            let cycles = self.life.factor * f64::from(*value) + self.life.offset;
            *value = (cycles as f32).clamp(0.0, self.preparation.cap);
        }
        Ok(predicted)
    }
}

impl Loaded {
    /// What windows are compared with.
    pub(super) fn sampler(&self, known: &str, method: &Method, picture: bool) -> Result<Arc<dyn BaselineSampler>> {
        let shaped = |tensor: Tensor| if picture { tensor.unsqueeze(2) } else { Ok(tensor) };
        let examples = || {
            let reason = format!(
                "`{known}` are windows of the machines that the network learnt from: name their table with --training-data, \
                 or compare with `zero` or `blur`"
            );
            self.training.as_ref().ok_or_else(|| Error::parameter("baselines", reason))
        };
        Ok(match known {
            // A method that compares with nothing takes anything here.
            _ if !method.compares() && self.training.is_none() => Arc::new(Constant::zero()),
            "healthy" => Arc::new(DataSet::new(shaped(examples()?.healthy.clone())?)?),
            "healthy-mean" => Arc::new(DataSet::new(shaped(examples()?.healthy.mean_keepdim(0)?)?)?),
            "typical" => Arc::new(DataSet::new(shaped(examples()?.typical.clone())?)?),
            "blur" => Arc::new(Blurred { sigmas: vec![BLUR] }),
            _ => Arc::new(Constant::zero()),
        })
    }

    /// The mean window of healthy machines `(1, sensors, window)`; zeros where the network's machines are not known.
    pub(crate) fn healthy(&self) -> Result<Tensor> {
        let shape = (1, self.preparation.sensors.len(), self.preparation.window);
        Ok(match &self.training {
            Some(examples) => examples.healthy.mean_keepdim(0)?,
            None => Tensor::zeros(shape, DType::F32, &Device::Cpu)?,
        })
    }

    /// How many draws of a method fit into a limit on memory, with a window on every thread.
    pub(super) fn rows_within(
        &self,
        limit: ByteSize,
        method: &Method,
        layers: &[LayerId],
        settings: &Settings,
        picture: bool,
    ) -> Result<NonZeroUsize> {
        let (sensors, window) = (self.preparation.sensors.len(), self.preparation.window);
        let (network, shape) =
            if picture { (&self.picture, vec![sensors, 1, window]) } else { (&self.network, vec![sensors, window]) };
        let demand = Demand::of(method, network, layers, settings, 1)?;
        let together = NonZeroUsize::new(self.side_by_side()).unwrap_or(NonZeroUsize::MIN);
        Ok(Budget::new(limit).shared_by(together).fit(network, &shape, 0, &[demand])?)
    }
}

impl Examples {
    fn of(training: &Fleet, preparation: &Preparation) -> Result<Self> {
        let healthy = Windows::first(training, preparation, 1)?.inputs;
        let all = Windows::all(training, preparation, 7)?;
        let places: Vec<usize> = (0..all.len().min(128)).map(|place| place * all.len() / all.len().min(128)).collect();
        Ok(Self { healthy, typical: all.select(&places)?.inputs })
    }
}

/// Windows are small: they come from and go back to the CPU.
fn placed(compute: &Compute, graph: &Graph) -> faithful_core::Result<Arc<dyn Network>> {
    Ok(Arc::from(compute.place_for_cpu(graph)?))
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// How many cycles the blurred window is blurred over.
const BLUR: f64 = 5.0;
