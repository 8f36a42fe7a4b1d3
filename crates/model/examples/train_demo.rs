//! Trains the networks that faithful ships, on synthetic scenes that are drawn while they learn: one that names the
//! objects, and, with `--of marks`, one that names the mark which is planted beside them and was never told of objects.
//!
//! `cargo xtask train-demo` runs this. Everything follows from the seed: the initial weights, the scenes and their
//! order; the same machine gives the same weights.

use anyhow::{Context, Result, ensure};
use candle_core::{DType, Device, Tensor, Var};
use candle_nn::{AdamW, Optimizer, ParamsAdamW};
use faithful_core::{Network, Preprocessing, Stream, Unobserved};
use faithful_data::{MARK_CLASSES, Picture, SCENE_CLASSES, SceneSpec, draw_planted, draw_scene, picture_tensor};
use faithful_model::{Architecture, Graph, architecture};
use faithful_tensor::log_softmax;
use rayon::prelude::*;
use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Instant;

/// What can be chosen, and what the shipped weights were trained with.
#[derive(Clone, Debug)]
struct Training {
    of: Cause,
    seed: u64,
    /// Each cycle ends with a learning rate of zero; the next starts from its weights with a fresh optimiser.
    cycles: Vec<Cycle>,
    batch: usize,
    weight_decay: f64,
    /// Scenes that the accuracy is measured on afterwards.
    evaluation: usize,
    /// Weights after the first cycle, to start with the second; the result is that of the whole training.
    resume: Option<PathBuf>,
    out: PathBuf,
}

/// What in a picture tells its class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    Objects,
    Marks,
}

impl Cause {
    /// The shipped network's name.
    fn name(self) -> &'static str {
        match self {
            Self::Objects => "scenes-vgg",
            Self::Marks => "marks-vgg",
        }
    }

    fn labels(self) -> Vec<&'static str> {
        match self {
            Self::Objects => SCENE_CLASSES.iter().map(|class| class.label).collect(),
            Self::Marks => MARK_CLASSES.iter().map(|class| class.label).collect(),
        }
    }

    fn draw(self, spec: &SceneSpec, generator: &mut impl rand::RngCore) -> faithful_core::Result<Lesson> {
        match self {
            Self::Objects => {
                let scene = draw_scene(spec, generator)?;
                Ok(Lesson { classes: scene.classes(), picture: scene.picture })
            }
            Self::Marks => {
                let planted = draw_planted(&SceneSpec { objects: 1..=2, ..spec.clone() }, generator)?;
                Ok(Lesson { classes: vec![planted.mark.class], picture: planted.scene.picture })
            }
        }
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
    lessons: bool,
}

impl Default for Training {
    fn default() -> Self {
        Self {
            of: Cause::Objects,
            seed: 20,
            cycles: vec![
                Cycle { steps: 1800, learning_rate: 2e-3, lessons: true },
                Cycle { steps: 2400, learning_rate: 1.2e-3, lessons: false },
            ],
            batch: 32,
            weight_decay: 0.02,
            evaluation: 2000,
            resume: None,
            out: "crates/model/shipped".into(),
        }
    }
}

fn main() -> Result<()> {
    let training = arguments()?;
    let scenes_vgg = architecture("scenes-vgg")?;
    let preprocessing = Preprocessing {
        input_size: [96, 96],
        resize: Some(96),
        crop: Some([96, 96]),
        mean: vec![0.5; 3],
        std: vec![0.25; 3],
        ..Preprocessing::default()
    };
    std::fs::create_dir_all(&training.out).context("the output folder cannot be made")?;
    let path = training.out.join(training.of.name()).with_extension("safetensors");
    let (graph, weights) = trainable(scenes_vgg, training.of.labels().len(), training.seed)?;
    let mut first_cycle = 0;
    if let Some(resume) = &training.resume {
        let saved = candle_core::safetensors::load(resume, &Device::Cpu)?;
        for (name, var) in &weights {
            var.set(saved.get(name).with_context(|| format!("{}: no tensor `{name}`", resume.display()))?)?;
        }
        first_cycle = 1;
    } else {
        standardise(&training, &graph, &weights, &preprocessing)?;
    }
    for cycle in first_cycle..training.cycles.len() {
        train(&training, cycle, &graph, &weights, &preprocessing)?;
        let tensors: HashMap<String, Tensor> =
            weights.iter().map(|(name, var)| (name.clone(), var.as_detached_tensor())).collect();
        candle_core::safetensors::save(&tensors, &path)?;
    }
    let graph = scenes_vgg.load(training.of.name(), std::fs::File::open(&path)?, [96, 96], &Device::Cpu)?;
    let report = evaluate(&training, &graph, &preprocessing)?;
    let mut about = serde_json::json!({
        "input_size": preprocessing.input_size,
        "resize": preprocessing.resize,
        "crop": preprocessing.crop,
        "interpolation": "bilinear",
        "mean": preprocessing.mean,
        "std": preprocessing.std,
        "labels": training.of.labels(),
    });
    about["accuracy"] = report;
    about["training"] = serde_json::json!({
        "command": match training.of {
            Cause::Objects => "cargo xtask train-demo",
            Cause::Marks => "cargo xtask train-demo --of marks",
        },
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
    let mut training = Training::default();
    let mut words = std::env::args().skip(1);
    while let Some(name) = words.next() {
        let value = words.next().with_context(|| format!("{name} needs a value"))?;
        if name == "--of" {
            training.of = match value.as_str() {
                "objects" => Cause::Objects,
                "marks" => Cause::Marks,
                other => anyhow::bail!("--of: `{other}`; there are objects, marks"),
            };
            if training.of == Cause::Marks {
                training.cycles = vec![Cycle { steps: 900, learning_rate: 2e-3, lessons: true }];
            }
            continue;
        }
        let number = || value.parse::<f64>().with_context(|| format!("{name}: `{value}` is no number"));
        match name.as_str() {
            "--seed" => training.seed = number()? as u64,
            "--batch" => training.batch = number()? as usize,
            "--resume" => training.resume = Some(value.into()),
            "--weight-decay" => training.weight_decay = number()?,
            "--evaluation" => training.evaluation = number()? as usize,
            "--out" => training.out = value.into(),
            other => anyhow::bail!(
                "no option `{other}`; there are --of, --seed, --batch, --weight-decay, --evaluation, --resume, --out"
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
    let spec = SceneSpec { distractors: 2..=6, ..cluttered() };
    let lessons = draw(training.of, &spec, &Stream::new(training.seed, "first scenes"), 0..32)?;
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

fn train(
    training: &Training,
    cycle: usize,
    graph: &Graph,
    weights: &[(String, Var)],
    preprocessing: &Preprocessing,
) -> Result<()> {
    let start = Instant::now();
    let stream = Stream::new(training.seed, "training scenes");
    let before: usize = training.cycles[..cycle].iter().map(|cycle| cycle.steps).sum();
    let Cycle { steps, learning_rate, lessons } = training.cycles[cycle];
    let vars = weights.iter().map(|(_, var)| var.clone()).collect();
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
        let spec = if lessons { lesson(progress) } else { cluttered() };
        let drawn = draw(training.of, &spec, &stream, first..first + training.batch)?;
        let logits = graph.forward(&inputs(&drawn, preprocessing)?, &mut Unobserved)?;
        let loss = cross_entropy(&logits, &drawn)?;
        let gradients = loss.backward()?;
        // The optimiser would silently pass over what no gradient reaches.
        if let Some((name, _)) = weights.iter().find(|(_, var)| gradients.get(var).is_none()) {
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

/// What the network learns on: smaller objects and more clutter than in the scenes that it is measured on.
fn cluttered() -> SceneSpec {
    SceneSpec { objects: 1..=3, classes: 2, radius: 13.0..=20.0, distractors: 2..=7, grain: 12, ..SceneSpec::default() }
}

/// Scenes get harder during the first third, from one large object on an empty ground on.
fn lesson(progress: f64) -> SceneSpec {
    let usual = cluttered();
    match (progress * 12.0) as usize {
        0 => SceneSpec { objects: 1..=1, distractors: 0..=0, radius: 16.0..=24.0, ..usual },
        1 => SceneSpec { objects: 1..=1, distractors: 0..=2, radius: 15.0..=22.0, ..usual },
        2 => SceneSpec { objects: 1..=2, distractors: 1..=4, ..usual },
        3 => SceneSpec { objects: 1..=3, distractors: 1..=5, ..usual },
        _ => usual,
    }
}

fn draw(of: Cause, spec: &SceneSpec, stream: &Stream, indices: std::ops::Range<usize>) -> Result<Vec<Lesson>> {
    Ok(indices.into_par_iter().map(|index| of.draw(spec, &mut stream.draw(index))).collect::<Result<_, _>>()?)
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
    let one = SceneSpec { objects: 1..=1, ..SceneSpec::default() };
    let two = SceneSpec { objects: 2..=2, ..SceneSpec::default() };
    let count = training.evaluation;
    let mut report = serde_json::json!({ "scenes": count });
    for (name, spec) in [("any", SceneSpec::default()), ("one_object", one), ("two_objects", two)] {
        if training.of == Cause::Marks && name != "any" {
            continue;
        }
        let stream = Stream::new(training.seed, format!("evaluation scenes: {name}"));
        let (mut right, mut both, mut pairs) = (0, 0, 0);
        for start in (0..count).step_by(100) {
            let lessons = draw(training.of, &spec, &stream, start..(start + 100).min(count))?;
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
