//! Trains the networks that faithful ships, on synthetic scenes that are drawn while they learn: `scenes-224` and the smaller
//! `scenes-vgg`, which name the objects, and `marks-vgg`, which names the mark that is planted beside them and was never told
//! of objects.
//!
//! `cargo xtask train-demo --network NAME` runs this. Everything follows from the seed: the initial weights, the scenes and
//! their order; the same machine gives the same weights.

use anyhow::{Context, Result, ensure};
use candle_core::{CpuStorage, CustomOp3, DType, Device, Layout, Shape, Tensor, Var};
use candle_nn::{AdamW, Optimizer, ParamsAdamW};
use faithful_core::{LayerId, Network, Preprocessing, Probe, Stream, Unobserved};
use faithful_data::{MARK_CLASSES, Picture, SCENE_CLASSES, SceneSpec, draw_planted, draw_scene, picture_tensor};
use faithful_model::{Architecture, Graph, architecture};
use faithful_tensor::log_softmax;
use rayon::prelude::*;
use std::collections::HashMap;
use std::ops::{Range, RangeInclusive};
use std::path::PathBuf;
use std::time::Instant;

/// What can be chosen, and what the shipped weights were trained with.
#[derive(Clone, Debug)]
struct Training {
    lesson: Lessons,
    seed: u64,
    /// Each cycle ends with a learning rate of zero; the next starts from its weights with a fresh optimiser.
    cycles: Vec<Cycle>,
    batch: usize,
    weight_decay: f64,
    /// Scenes that the accuracy is measured on afterwards.
    evaluation: usize,
    out: PathBuf,
}

/// A shipped network and what it is taught.
#[derive(Clone, Copy, Debug)]
struct Lessons {
    /// The network's name.
    name: &'static str,
    architecture: &'static str,
    cause: Cause,
    /// Rows and columns of a scene.
    side: usize,
    /// Whether convolutions are normalised over each batch while the network learns.
    normalised: bool,
    cycles: &'static [Cycle],
}

const LESSONS: [Lessons; 3] = [
    Lessons {
        name: "scenes-224",
        architecture: "scenes-224",
        cause: Cause::Objects,
        side: 224,
        normalised: true,
        cycles: &[Cycle { steps: 2400, learning_rate: 4e-3, easy_first: true }],
    },
    Lessons {
        name: "scenes-vgg",
        architecture: "scenes-vgg",
        cause: Cause::Objects,
        side: 96,
        normalised: false,
        cycles: &[
            Cycle { steps: 1800, learning_rate: 2e-3, easy_first: true },
            Cycle { steps: 2400, learning_rate: 1.2e-3, easy_first: false },
        ],
    },
    Lessons {
        name: "marks-vgg",
        architecture: "scenes-vgg",
        cause: Cause::Marks,
        side: 96,
        normalised: false,
        cycles: &[Cycle { steps: 900, learning_rate: 2e-3, easy_first: true }],
    },
];

/// What in a picture tells its class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    Objects,
    Marks,
}

impl Lessons {
    fn labels(self) -> Vec<&'static str> {
        match self.cause {
            Cause::Objects => SCENE_CLASSES.iter().map(|class| class.label).collect(),
            Cause::Marks => MARK_CLASSES.iter().map(|class| class.label).collect(),
        }
    }

    fn preprocessing(self) -> Preprocessing {
        Preprocessing {
            input_size: [self.side; 2],
            resize: Some(self.side),
            crop: Some([self.side; 2]),
            mean: vec![0.5; 3],
            std: vec![0.25; 3],
            ..Preprocessing::default()
        }
    }

    /// The scenes that it is measured on.
    fn usual(self) -> SceneSpec {
        SceneSpec::sized(self.side)
    }

    /// What the network learns on: smaller objects and more clutter than in the scenes that it is measured on.
    fn cluttered(self) -> SceneSpec {
        self.of_radius(13.0..=20.0, 1..=3, 2..=7)
    }

    /// Scenes get harder during the first third, from one large object on an empty ground on.
    fn easy(self, progress: f64) -> SceneSpec {
        match (progress * 12.0) as usize {
            0 => self.of_radius(16.0..=24.0, 1..=1, 0..=0),
            1 => self.of_radius(15.0..=22.0, 1..=1, 0..=2),
            2 => self.of_radius(13.0..=20.0, 1..=2, 1..=4),
            3 => self.of_radius(13.0..=20.0, 1..=3, 1..=5),
            _ => self.cluttered(),
        }
    }

    /// `radius` is in pixels of a scene of 96 x 96.
    fn of_radius(
        self,
        radius: RangeInclusive<f32>,
        objects: RangeInclusive<usize>,
        distractors: RangeInclusive<usize>,
    ) -> SceneSpec {
        let small = SceneSpec { radius, objects, distractors, ..SceneSpec::default() };
        SceneSpec { height: self.side, width: self.side, ..small.enlarged(self.side as f32 / 96.0) }
    }

    fn draw(self, spec: &SceneSpec, stream: &Stream, indices: Range<usize>) -> Result<Vec<Lesson>> {
        let draw = |index| -> faithful_core::Result<Lesson> {
            let generator = &mut stream.draw(index);
            match self.cause {
                Cause::Objects => {
                    let scene = draw_scene(spec, generator)?;
                    Ok(Lesson { classes: scene.classes(), picture: scene.picture })
                }
                Cause::Marks => {
                    let planted = draw_planted(&SceneSpec { objects: 1..=2, ..spec.clone() }, generator)?;
                    Ok(Lesson { classes: vec![planted.mark.class], picture: planted.scene.picture })
                }
            }
        };
        Ok(indices.into_par_iter().map(draw).collect::<Result<_, _>>()?)
    }
}

/// A picture and the classes that are right.
struct Lesson {
    picture: Picture,
    classes: Vec<usize>,
}

#[derive(Clone, Copy, Debug, serde::Serialize)]
struct Cycle {
    steps: usize,
    learning_rate: f64,
    /// Whether scenes get harder during its first third.
    easy_first: bool,
}

impl Training {
    fn of(lesson: Lessons) -> Self {
        Self {
            lesson,
            seed: 20,
            cycles: lesson.cycles.to_vec(),
            batch: 32,
            weight_decay: 0.02,
            evaluation: 2000,
            out: "crates/model/shipped".into(),
        }
    }
}

fn main() -> Result<()> {
    let training = arguments()?;
    let lesson = training.lesson;
    let architecture = architecture(lesson.architecture)?;
    let preprocessing = lesson.preprocessing();
    std::fs::create_dir_all(&training.out).context("the output folder cannot be made")?;
    let path = training.out.join(lesson.name).with_extension("safetensors");
    let (graph, weights) = trainable(architecture, lesson.labels().len(), training.seed)?;
    standardise(&training, &graph, &weights, &preprocessing)?;
    let mut normalisation = Normalisation::new(if lesson.normalised { &weights } else { &[] }, &graph)?;
    for cycle in 0..training.cycles.len() {
        train(&training, cycle, &graph, &weights, &mut normalisation, &preprocessing)?;
    }
    normalisation.fold(&weights)?;
    let tensors: HashMap<String, Tensor> =
        weights.iter().map(|(name, var)| (name.clone(), var.as_detached_tensor())).collect();
    candle_core::safetensors::save(&tensors, &path)?;
    let graph = architecture.load(lesson.name, std::fs::File::open(&path)?, [lesson.side; 2], &Device::Cpu)?;
    let report = evaluate(&training, &graph, &preprocessing)?;
    let mut about = serde_json::json!({
        "input_size": preprocessing.input_size,
        "resize": preprocessing.resize,
        "crop": preprocessing.crop,
        "interpolation": "bilinear",
        "mean": preprocessing.mean,
        "std": preprocessing.std,
        "labels": lesson.labels(),
    });
    about["accuracy"] = report;
    about["training"] = serde_json::json!({
        "command": format!("cargo xtask train-demo --network {}", lesson.name),
        "seed": training.seed,
        "cycles": training.cycles,
        "batch": training.batch,
        "weight_decay": training.weight_decay,
    });
    let mut text = serde_json::to_string_pretty(&about)?;
    text.push('\n');
    std::fs::write(path.with_extension("json"), &text)?;
    println!("{text}wrote {}", path.display());
    Ok(())
}

/// `--name value` pairs for the fields of [`Training`].
fn arguments() -> Result<Training> {
    let mut words = std::env::args().skip(1).peekable();
    let named = words.next_if_eq("--network").and_then(|_| words.next()).unwrap_or_else(|| LESSONS[0].name.into());
    let lesson = LESSONS
        .iter()
        .find(|lesson| lesson.name == named)
        .with_context(|| format!("--network: `{named}`; there are {}", LESSONS.map(|lesson| lesson.name).join(", ")))?;
    let mut training = Training::of(*lesson);
    while let Some(name) = words.next() {
        let value = words.next().with_context(|| format!("{name} needs a value"))?;
        let number = || value.parse::<f64>().with_context(|| format!("{name}: `{value}` is no number"));
        match name.as_str() {
            "--seed" => training.seed = number()? as u64,
            "--batch" => training.batch = number()? as usize,
            "--weight-decay" => training.weight_decay = number()?,
            "--evaluation" => training.evaluation = number()? as usize,
            "--out" => training.out = value.into(),
            other => anyhow::bail!(
                "no option `{other}`; there are --network (first), --seed, --batch, --weight-decay, --evaluation, --out"
            ),
        }
    }
    ensure!(training.batch > 0 && training.evaluation > 0, "counts must be above 0");
    Ok(training)
}

/// A network with random weights that an optimiser can change, and its weights by their tensors' names.
fn trainable(architecture: &Architecture, classes: usize, seed: u64) -> Result<(Graph, Vec<(String, Var)>)> {
    let mut weights = Vec::new();
    let graph = architecture.random(classes, seed, &Device::Cpu)?.map_weights(|layer, weight| {
        let var = Var::from_tensor(weight)?;
        let tensor = var.as_tensor().clone();
        weights.push((format!("{layer}.{}", if weight.rank() == 1 { "bias" } else { "weight" }), var));
        Ok(tensor)
    })?;
    Ok((graph, weights))
}

/// Scales and shifts the random weights so that, over a batch of scenes, every channel before its relu has mean 0 and
/// variance 1 (the data-dependent initialisation of Salimans and Kingma 2016, section 3). A VGG without batch norm
/// otherwise spends most of such a short training on a plateau.
fn standardise(
    training: &Training,
    graph: &Graph,
    weights: &[(String, Var)],
    preprocessing: &Preprocessing,
) -> Result<()> {
    let spec = SceneSpec { distractors: 2..=6, ..training.lesson.cluttered() };
    let lessons = training.lesson.draw(&spec, &Stream::new(training.seed, "first scenes"), 0..32)?;
    let input = inputs(&lessons, preprocessing)?;
    for pair in weights.chunks_exact(2) {
        let [(name, weight), (_, bias)] = pair else { unreachable!("weights and biases alternate") };
        let layer = name.trim_end_matches(".weight");
        let output = graph.activations(&input, &[graph.layer(layer)?])?.remove(0);
        let channels = output.transpose(0, 1)?.flatten_from(1)?;
        let mean = channels.mean(1)?;
        let deviation = channels.broadcast_sub(&mean.unsqueeze(1)?)?.sqr()?.mean(1)?.sqrt()?;
        let mut shape = vec![1; weight.rank()];
        shape[0] = weight.dim(0)?;
        weight.set(&weight.as_tensor().broadcast_div(&deviation.reshape(shape)?)?)?;
        bias.set(&((bias.as_tensor() - mean)? / deviation)?)?;
    }
    // The last layer starts small: no class is favoured.
    let (_, last) = &weights[weights.len() - 2];
    last.set(&(last.as_tensor() * 0.1)?)?;
    Ok(())
}

/// Batch normalisation (Ioffe and Szegedy 2015, algorithms 1 and 2) behind convolutions while a network learns. Afterwards its
/// scale and shift become part of the convolutions' weights, so the network that is saved has none.
struct Normalisation(HashMap<LayerId, Channels>);

struct Channels {
    layer: String,
    scale: Var,
    shift: Var,
    /// Running averages over batches.
    mean: Tensor,
    variance: Tensor,
}

/// How much of the running averages a step keeps.
const KEPT: f64 = 0.98;

/// Added to the variance.
const EPSILON: f64 = 1e-5;

impl Normalisation {
    fn new(weights: &[(String, Var)], graph: &Graph) -> Result<Self> {
        let mut layers = HashMap::new();
        for (name, weight) in weights.iter().filter(|(_, weight)| weight.rank() == 4) {
            let layer = name.trim_end_matches(".weight").to_owned();
            let ones = Tensor::ones(weight.dim(0)?, DType::F32, &Device::Cpu)?;
            let (scale, shift) = (Var::from_tensor(&ones)?, Var::from_tensor(&ones.zeros_like()?)?);
            let channels = Channels { layer, scale, shift, mean: ones.zeros_like()?, variance: ones };
            layers.insert(graph.layer(&channels.layer)?, channels);
        }
        Ok(Self(layers))
    }

    fn vars(&self) -> impl Iterator<Item = (String, Var)> {
        let named = |what: &str, channels: &Channels, var: &Var| (format!("{}.{what}", channels.layer), var.clone());
        self.0.values().flat_map(move |channels| {
            [named("scale", channels, &channels.scale), named("shift", channels, &channels.shift)]
        })
    }

    fn fold(&self, weights: &[(String, Var)]) -> Result<()> {
        for Channels { layer, scale, shift, mean, variance } in self.0.values() {
            let of = |what: &str| {
                let name = format!("{layer}.{what}");
                weights.iter().find(|(known, _)| *known == name).map(|(_, var)| var).context(name)
            };
            let factor = (scale.as_tensor() / (variance + EPSILON)?.sqrt()?)?;
            let (weight, bias) = (of("weight")?, of("bias")?);
            weight.set(&weight.as_tensor().broadcast_mul(&factor.reshape(((), 1, 1, 1))?)?)?;
            bias.set(&(((bias.as_tensor() - mean)? * factor)? + shift.as_tensor())?)?;
        }
        Ok(())
    }
}

impl Probe for Normalisation {
    fn visit(&mut self, layer: LayerId, activation: Tensor) -> faithful_core::Result<Tensor> {
        let Some(channels) = self.0.get_mut(&layer) else { return Ok(activation) };
        let activation = activation.contiguous()?;
        let (_, count, height, width) = activation.dims4()?;
        let values = activation.flatten_all()?.to_vec1::<f32>()?;
        let mean = of_channels(count, values.par_chunks(height * width).map(sum).collect(), values.len());
        let squares = |(plane, values): (usize, &[f32])| {
            let mean = mean[plane % count];
            values.iter().map(|value| (value - mean).powi(2)).sum::<f32>()
        };
        let planes = values.par_chunks(height * width).enumerate().map(squares).collect();
        let variance = of_channels(count, planes, values.len());
        let average = |kept: &Tensor, new: &[f32]| (kept * KEPT)? + (Tensor::new(new, &Device::Cpu)? * (1.0 - KEPT))?;
        channels.mean = average(&channels.mean, &mean)?;
        channels.variance = average(&channels.variance, &variance)?;
        let deviation = variance.iter().map(|variance| (variance + EPSILON as f32).sqrt()).collect();
        Ok(activation.apply_op3(
            channels.scale.as_tensor(),
            channels.shift.as_tensor(),
            Normalise { mean, deviation },
        )?)
    }
}

fn sum(values: &[f32]) -> f32 {
    values.iter().sum()
}

/// The means over a batch of `values` numbers, from the sums of its planes, one per row and channel.
fn of_channels(channels: usize, planes: Vec<f32>, values: usize) -> Vec<f32> {
    let mut sums = vec![0.0; channels];
    planes.into_iter().enumerate().for_each(|(plane, sum)| sums[plane % channels] += sum);
    sums.into_iter().map(|sum| sum * channels as f32 / values as f32).collect()
}

/// `scale (x - mean) / deviation + shift` per channel, where mean and deviation are the batch's.
struct Normalise {
    mean: Vec<f32>,
    deviation: Vec<f32>,
}

impl CustomOp3 for Normalise {
    fn name(&self) -> &'static str {
        "batch normalisation"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        layout: &Layout,
        scale: &CpuStorage,
        _: &Layout,
        shift: &CpuStorage,
        _: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let (scale, shift) = (scale.as_slice::<f32>()?, shift.as_slice::<f32>()?);
        let (_, channels, height, width) = layout.shape().dims4()?;
        let mut y = x.as_slice::<f32>()?[layout.start_offset()..][..layout.shape().elem_count()].to_vec();
        y.par_chunks_mut(height * width).enumerate().for_each(|(plane, y)| {
            let channel = plane % channels;
            let factor = scale[channel] / self.deviation[channel];
            let offset = shift[channel] - factor * self.mean[channel];
            for y in y {
                *y = factor * *y + offset;
            }
        });
        Ok((CpuStorage::F32(y), layout.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        scale: &Tensor,
        _: &Tensor,
        _: &Tensor,
        gradient: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (_, channels, height, width) = x.dims4()?;
        let plane = height * width;
        let scales = scale.to_vec1::<f32>()?;
        let mut x_hat = x.flatten_all()?.to_vec1::<f32>()?;
        x_hat.par_chunks_mut(plane).enumerate().for_each(|(index, values)| {
            let (mean, deviation) = (self.mean[index % channels], self.deviation[index % channels]);
            for value in values {
                *value = (*value - mean) / deviation;
            }
        });
        let mut gradient = gradient.flatten_all()?.to_vec1::<f32>()?;
        let count = gradient.len();
        let of_shift = of_channels(channels, gradient.par_chunks(plane).map(sum).collect(), count);
        let product = |(gradient, x_hat): (&[f32], &[f32])| gradient.iter().zip(x_hat).map(|(g, x)| g * x).sum::<f32>();
        let planes = gradient.par_chunks(plane).zip(x_hat.par_chunks(plane)).map(product).collect();
        let of_scale = of_channels(channels, planes, count);
        gradient.par_chunks_mut(plane).zip(x_hat.par_chunks(plane)).enumerate().for_each(|(index, (values, x_hat))| {
            let channel = index % channels;
            let factor = scales[channel] / self.deviation[channel];
            for (value, x_hat) in values.iter_mut().zip(x_hat) {
                *value = factor * (*value - of_shift[channel] - x_hat * of_scale[channel]);
            }
        });
        let per_channel = (count / channels) as f64;
        let sums = |means: Vec<f32>| Tensor::new(means, x.device())? * per_channel;
        let of_x = Tensor::from_vec(gradient, x.shape(), x.device())?;
        Ok((Some(of_x), Some(sums(of_scale)?), Some(sums(of_shift)?)))
    }
}

fn train(
    training: &Training,
    cycle: usize,
    graph: &Graph,
    weights: &[(String, Var)],
    normalisation: &mut Normalisation,
    preprocessing: &Preprocessing,
) -> Result<()> {
    let start = Instant::now();
    let stream = Stream::new(training.seed, "training scenes");
    let before: usize = training.cycles[..cycle].iter().map(|cycle| cycle.steps).sum();
    let Cycle { steps, learning_rate, easy_first } = training.cycles[cycle];
    let all: Vec<(String, Var)> = weights.iter().cloned().chain(normalisation.vars()).collect();
    let vars = all.iter().map(|(_, var)| var.clone()).collect();
    let parameters = ParamsAdamW { lr: learning_rate, weight_decay: training.weight_decay, ..ParamsAdamW::default() };
    let mut optimizer = AdamW::new(vars, parameters)?;
    let (mut losses, mut right, mut seen) = (0.0, 0, 0);
    for step in 0..steps {
        // A warm-up over the first twentieth, then down to zero on a cosine.
        let progress = step as f64 / steps as f64;
        let warmup = (progress / 0.05 + 0.05).min(1.0);
        let cosine = 0.5 * (1.0 + (std::f64::consts::PI * progress).cos());
        optimizer.set_learning_rate(learning_rate * warmup * cosine);

        let first = (before + step) * training.batch;
        let spec = if easy_first { training.lesson.easy(progress) } else { training.lesson.cluttered() };
        let drawn = training.lesson.draw(&spec, &stream, first..first + training.batch)?;
        let logits = graph.forward(&inputs(&drawn, preprocessing)?, normalisation)?;
        let loss = cross_entropy(&logits, &drawn)?;
        let gradients = loss.backward()?;
        // The optimiser would silently pass over what no gradient reaches.
        if let Some((name, _)) = all.iter().find(|(_, var)| gradients.get(var).is_none()) {
            anyhow::bail!("no gradient reaches `{name}`");
        }
        optimizer.step(&gradients)?;
        losses += f64::from(loss.to_scalar::<f32>()?);
        right += hits(&logits, &drawn)?.into_iter().filter(|hit| *hit).count();
        seen += drawn.len();
        if (step + 1) % 20 == 0 || step + 1 == steps {
            let batches = (seen / training.batch) as f64;
            println!(
                "cycle {} step {:4} of {steps}: loss {:.3}, accuracy {:.3}, {:.0} s",
                cycle + 1,
                step + 1,
                losses / batches,
                right as f64 / seen as f64,
                start.elapsed().as_secs_f64()
            );
            (losses, right, seen) = (0.0, 0, 0);
        }
    }
    Ok(())
}

fn inputs(lessons: &[Lesson], preprocessing: &Preprocessing) -> Result<Tensor> {
    let tensors = lessons
        .iter()
        .map(|lesson| picture_tensor(&lesson.picture, preprocessing, &Device::Cpu))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Tensor::cat(&tensors, 0)?)
}

/// The cross entropy with a target that is shared evenly by the classes that are present.
fn cross_entropy(logits: &Tensor, lessons: &[Lesson]) -> Result<Tensor> {
    let count = logits.dim(1)?;
    let mut target = vec![0f32; lessons.len() * count];
    for (lesson, row) in lessons.iter().zip(target.chunks_exact_mut(count)) {
        for &class in &lesson.classes {
            row[class] = 1.0 / lesson.classes.len() as f32;
        }
    }
    let target = Tensor::from_vec(target, (lessons.len(), count), logits.device())?;
    let shared = (log_softmax(logits, 1)? * target)?.sum_all()?;
    Ok((shared * (-1.0 / lessons.len() as f64))?)
}

/// Per picture, whether the highest score belongs to a class that is present.
fn hits(logits: &Tensor, lessons: &[Lesson]) -> Result<Vec<bool>> {
    let best = logits.detach().argmax(1)?.to_dtype(DType::U32)?.to_vec1::<u32>()?;
    Ok(lessons.iter().zip(best).map(|(lesson, class)| lesson.classes.contains(&(class as usize))).collect())
}

/// Accuracy on pictures of streams that training never saw.
fn evaluate(training: &Training, graph: &Graph, preprocessing: &Preprocessing) -> Result<serde_json::Value> {
    let usual = training.lesson.usual();
    let one = SceneSpec { objects: 1..=1, ..usual.clone() };
    let two = SceneSpec { objects: 2..=2, ..usual.clone() };
    let count = training.evaluation;
    let mut report = serde_json::json!({ "scenes": count });
    for (name, spec) in [("any", usual), ("one_object", one), ("two_objects", two)] {
        if training.lesson.cause == Cause::Marks && name != "any" {
            continue;
        }
        let stream = Stream::new(training.seed, format!("evaluation scenes: {name}"));
        let (mut right, mut both, mut pairs) = (0, 0, 0);
        for start in (0..count).step_by(100) {
            let lessons = training.lesson.draw(&spec, &stream, start..(start + 100).min(count))?;
            let logits = graph.forward(&inputs(&lessons, preprocessing)?, &mut Unobserved)?;
            right += hits(&logits, &lessons)?.into_iter().filter(|hit| *hit).count();
            for (lesson, row) in lessons.iter().zip(logits.to_vec2::<f32>()?) {
                if let [a, b] = lesson.classes[..] {
                    let above = row.iter().filter(|&&other| other > row[a].min(row[b])).count();
                    pairs += 1;
                    both += usize::from(above <= 1);
                }
            }
        }
        report[name] = (right as f64 / count as f64).into();
        if name == "two_objects" {
            report["both_classes_in_top_2"] = (f64::from(both as u32) / f64::from(pairs.max(1) as u32)).into();
        }
    }
    Ok(report)
}
