//! `--model` of `faithful rul`, and explanations of one window by any method.

use super::side;
use super::source::Source;
use crate::arguments::{FleetArguments, ReadingScale, RulModelArguments, SeriesExplanation};
use crate::failure::Usage;
use crate::output::Output;
use anyhow::{Context, Result};
use candle_core::{DType, Device, Tensor};
use faithful_baseline::{BaselineSampler, Blurred, Constant, DataSet, Spread};
use faithful_cam::{Difference, Fusion, Quality};
use faithful_core::{
    Convergence, Error, LayerId, Network, Objective, Score, SeriesLayout, SeriesView, Stream, Watched, find_named,
};
use faithful_explain::{
    Budget, ByteSize, CamChoices, Demand, HyperChoices, Method, MethodResult, MethodSpec, Requested, Settings,
    parse_stop,
};
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
    picture: SeriesView<Arc<dyn Network>>,
    target: Option<LayerId>,
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
    pub(crate) fn of(arguments: &RulModelArguments, fleet: &FleetArguments, source: &Source) -> Result<Self> {
        let compute = arguments.compute.compute()?;
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
        let Some((calibration, scale)) = &self.calibration else { return Ok(None) };
        let said = members(&self.network, inputs, *scale)?;
        let of = |said: &Vec<f32>| calibration.interval(said, level, self.preparation.cap);
        Ok(Some(said.iter().map(of).collect::<faithful_core::Result<_>>()?))
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
    fn sampler(&self, known: &str, method: &Method, picture: bool) -> Result<Arc<dyn BaselineSampler>> {
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
    fn rows_within(
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

/// What concerns class activation maps: what the method's name says, then the options.
fn cam_choices(spec: &MethodSpec, choices: &SeriesExplanation) -> Result<CamChoices> {
    let own = spec.cam;
    Ok(CamChoices {
        paths: own.paths.or(choices.mini_batches.map(|both| both.paths)),
        difference: Difference::named(&choices.difference)?,
        fusion: choices.fusion.as_deref().map(Fusion::named).transpose()?.unwrap_or_default(),
        channels: choices.mask_channels,
        quality: choices.quality.as_deref().map(Quality::named).transpose()?.unwrap_or(own.quality),
        hyper: if own.hyper == HyperChoices::default() { (&choices.hyper).try_into()? } else { own.hyper },
        augmented: own.augmented || choices.augment,
        eigen: own.eigen || choices.eigen,
        ..own
    })
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

/// The baselines that `--baselines` may name.
const BASELINES: [&str; 5] = ["healthy", "healthy-mean", "typical", "zero", "blur"];
/// How many cycles the blurred window is blurred over.
const BLUR: f64 = 5.0;

/// A method that explains windows.
pub(crate) struct SeriesMethod {
    pub(crate) method: Method,
    pub(crate) label: String,
    pub(crate) baselines: Option<&'static str>,
    layers: Vec<LayerId>,
    settings: Settings,
    /// Whether the method works on pictures only: the window is shown to it as one of height one.
    picture: bool,
    /// How many draws go through the network at a time.
    batch: NonZeroUsize,
}

/// What a method found in a window.
#[derive(Clone, Debug)]
pub(crate) struct SeriesFound {
    /// One value per cycle of the window.
    pub(crate) timeline: Vec<f32>,
    /// One value per sensor and cycle, sensor after sensor, where the method tells sensors apart.
    pub(crate) map: Option<Vec<f32>>,
    pub(crate) score: f64,
    pub(crate) convergence: Option<Convergence>,
    pub(crate) notes: Vec<String>,
}

impl SeriesFound {
    /// What it says of a machine's readings, where the window begins with the first of them `repeated` times more: a
    /// repeated reading has what all its places have together, and a time line leaves the repeated places out.
    pub(crate) fn of_readings(self, repeated: usize) -> Self {
        let cycles = self.timeline.len();
        if repeated == 0 || repeated >= cycles {
            return self;
        }
        let Some(map) = self.map else {
            return Self { timeline: self.timeline[repeated..].to_vec(), ..self };
        };
        let rows: Vec<Vec<f32>> = map
            .chunks(cycles)
            .map(|row| {
                let mut own = row[repeated..].to_vec();
                own[0] += row[..repeated].iter().sum::<f32>();
                own
            })
            .collect();
        let timeline = (0..cycles - repeated).map(|cycle| rows.iter().map(|row| row[cycle]).sum()).collect();
        Self { timeline, map: Some(rows.concat()), ..self }
    }
}

impl SeriesMethod {
    /// The method called `name`, with what stands after dots in it ([`MethodSpec`]), for windows of that network.
    pub(crate) fn of(name: &str, loaded: &Loaded, choices: &SeriesExplanation) -> Result<Self> {
        let spec: MethodSpec = name.parse()?;
        let cam = cam_choices(&spec, choices)?;
        let method = spec.method;
        let stop = parse_stop(&choices.stop)?;
        method.check(&Requested {
            layers: choices.layer.len(),
            fusion: choices.fusion.is_some(),
            stop,
            quality: choices.quality.is_some(),
            hyper: cam.hyper,
            augmented: cam.augmented,
            eigen: cam.eigen,
            ..Requested::default()
        })?;
        // A method with one baseline compares with the mean of the healthy windows rather than with one of them.
        let usual = if method.has_one_baseline() { "healthy-mean" } else { "healthy" };
        let wanted = choices.baselines.as_deref().unwrap_or(usual);
        let known = *find_named("baselines", wanted, &BASELINES, |name| name)?;
        let picture = method.images_only();
        let layers: Vec<LayerId> = if !choices.layer.is_empty() {
            choices.layer.iter().map(|layer| loaded.network.layer(layer)).collect::<faithful_core::Result<_>>()?
        } else if method.needs_layers() {
            vec![loaded.target.ok_or_else(|| {
                let reason = format!("{} has no convolutional layer over time; name one with --layer", loaded.name);
                Error::parameter("layer", reason)
            })?]
        } else {
            Vec::new()
        };
        let settings = Settings {
            draws: spec.draws.or(choices.mini_batches.map(|both| both.draws)).or(choices.draws),
            stop,
            sampler: loaded.sampler(known, &method, picture)?,
            alphas: choices.alphas.into(),
            spread: Spread::Relative(choices.spread),
            gradient: (&choices.gradient_options).into(),
            cam,
            ..Settings::default()
        };
        let batch = match choices.memory {
            Some(limit) => loaded.rows_within(limit, &method, &layers, &settings, picture)?,
            None => choices.batch,
        };
        Ok(Self {
            label: spec.label,
            baselines: method.compares().then_some(known),
            method,
            layers,
            settings,
            picture,
            batch,
        })
    }

    /// Explains the score of one window `(1, sensors, window)`; `output` shows how far that is.
    pub(crate) fn explain(
        &self,
        loaded: &Loaded,
        window: &Tensor,
        score: &dyn Score,
        stream: Stream,
        output: &Output,
    ) -> Result<SeriesFound> {
        let network: &dyn Network = if self.picture { &loaded.picture } else { &loaded.network };
        let network = Watched::new(network, output);
        let objective = Objective::new(&network, score).with_batch(self.batch);
        let input = if self.picture { window.unsqueeze(2)? } else { window.clone() };
        let found =
            self.method.explain(&objective, &input, &self.layers, &[score], &self.settings, stream)?.into_iter().next();
        let MethodResult { map, score, convergence, notes, .. } = found.context("the method found nothing")?;
        let values = map.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
        let (_, sensors, cycles) = window.dims3()?;
        let (timeline, map) = if !self.picture && map.rank() == 2 && map.dims() == [sensors, cycles] {
            let sums = (0..cycles).map(|cycle| values.iter().skip(cycle).step_by(cycles).sum()).collect();
            (sums, Some(values))
        } else {
            (stretched(&values, cycles), None)
        };
        Ok(SeriesFound { timeline, map, score, convergence, notes })
    }
}

/// A time line of any length at `count` evenly spaced times, linearly between the middles of its own.
fn stretched(values: &[f32], count: usize) -> Vec<f32> {
    if values.len() == count || values.is_empty() {
        return values.to_vec();
    }
    let last = values.len() - 1;
    (0..count)
        .map(|place| {
            let at = (place as f32 + 0.5) / count as f32 * values.len() as f32 - 0.5;
            let at = at.clamp(0.0, last as f32);
            let (below, part) = (at as usize, at.fract());
            values[below] * (1.0 - part) + values[(below + 1).min(last)] * part
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{SeriesFound, stretched};

    #[test]
    fn repeated_readings_count_once_with_all_they_have() {
        let found = SeriesFound {
            timeline: vec![5.0, 7.0, 9.0],
            map: Some(vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]),
            score: 0.0,
            convergence: None,
            notes: Vec::new(),
        };
        let folded = found.clone().of_readings(1);
        assert_eq!((folded.map.unwrap(), folded.timeline), (vec![3.0, 3.0, 9.0, 6.0], vec![12.0, 9.0]));
        assert_eq!(SeriesFound { map: None, ..found.clone() }.of_readings(2).timeline, [9.0]);
        assert_eq!(found.clone().of_readings(0).timeline, found.timeline);
    }

    #[test]
    fn time_lines_are_stretched_evenly() {
        assert_eq!(stretched(&[1.0, 3.0], 4), [1.0, 1.5, 2.5, 3.0]);
        assert_eq!(stretched(&[1.0, 3.0], 2), [1.0, 3.0]);
        assert_eq!(stretched(&[2.0], 3), [2.0; 3]);
    }
}
