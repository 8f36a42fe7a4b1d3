//! Trains the network that faithful ships, on synthetic scenes that are drawn while it learns.
//!
//! `cargo xtask train-demo` runs this. Everything follows from the seed: the initial weights, the scenes and their
//! order; the same machine gives the same weights.

use anyhow::{Context, Result, ensure};
use candle_core::{DType, Device, Tensor, Var};
use candle_nn::{AdamW, Optimizer, ParamsAdamW};
use faithful_core::{Network, Preprocessing, Stream, Unobserved};
use faithful_data::{SCENE_CLASSES, Scene, SceneSpec, draw_scene, picture_tensor};
use faithful_model::{Architecture, Graph, architecture};
use faithful_tensor::log_softmax;
use rayon::prelude::*;
use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Instant;

/// What can be chosen, and what the shipped weights were trained with.
#[derive(Clone, Debug)]
struct Training {
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
    let path = training.out.join("scenes-vgg.safetensors");
    let (graph, weights) = trainable(scenes_vgg, training.seed)?;
    let mut first_cycle = 0;
    if let Some(resume) = &training.resume {
        let saved = candle_core::safetensors::load(resume, &Device::Cpu)?;
        for (name, var) in &weights {
            var.set(saved.get(name).with_context(|| format!("{}: no tensor `{name}`", resume.display()))?)?;
        }
        first_cycle = 1;
    } else {
        standardise(&graph, &weights, &preprocessing, training.seed)?;
    }
    for cycle in first_cycle..training.cycles.len() {
        train(&training, cycle, &graph, &weights, &preprocessing)?;
        let tensors: HashMap<String, Tensor> =
            weights.iter().map(|(name, var)| (name.clone(), var.as_detached_tensor())).collect();
        candle_core::safetensors::save(&tensors, &path)?;
    }
    let graph = scenes_vgg.load("scenes-vgg", std::fs::File::open(&path)?, [96, 96], &Device::Cpu)?;
    let report = evaluate(&graph, &preprocessing, training.evaluation, training.seed)?;
    let mut about = serde_json::json!({
        "input_size": preprocessing.input_size,
        "resize": preprocessing.resize,
        "crop": preprocessing.crop,
        "interpolation": "bilinear",
        "mean": preprocessing.mean,
        "std": preprocessing.std,
        "labels": SCENE_CLASSES.iter().map(|class| class.label).collect::<Vec<_>>(),
    });
    about["accuracy"] = report;
    about["training"] = serde_json::json!({
        "command": "cargo xtask train-demo",
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
        let number = || value.parse::<f64>().with_context(|| format!("{name}: `{value}` is no number"));
        match name.as_str() {
            "--seed" => training.seed = number()? as u64,
            "--batch" => training.batch = number()? as usize,
            "--resume" => training.resume = Some(value.into()),
            "--weight-decay" => training.weight_decay = number()?,
            "--evaluation" => training.evaluation = number()? as usize,
            "--out" => training.out = value.into(),
            other => anyhow::bail!(
                "no option `{other}`; there are --seed, --batch, --weight-decay, --evaluation, --resume, --out"
            ),
        }
    }
    ensure!(training.batch > 0 && training.evaluation > 0, "counts must be above 0");
    Ok(training)
}

/// A network with random weights that an optimiser can change, and its weights by their tensors' names.
fn trainable(architecture: &Architecture, seed: u64) -> Result<(Graph, Vec<(String, Var)>)> {
    let mut weights = Vec::new();
    let graph = architecture.random(SCENE_CLASSES.len(), seed, &Device::Cpu)?.map_weights(|layer, weight| {
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
fn standardise(graph: &Graph, weights: &[(String, Var)], preprocessing: &Preprocessing, seed: u64) -> Result<()> {
    let spec = SceneSpec { distractors: 2..=6, ..cluttered() };
    let scenes = draw(&spec, &Stream::new(seed, "first scenes"), 0..32)?;
    let input = inputs(&scenes, preprocessing)?;
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
        let scenes = draw(&spec, &stream, first..first + training.batch)?;
        let logits = graph.forward(&inputs(&scenes, preprocessing)?, &mut Unobserved)?;
        let loss = cross_entropy(&logits, &scenes)?;
        let gradients = loss.backward()?;
        // The optimiser would silently pass over what no gradient reaches.
        if let Some((name, _)) = weights.iter().find(|(_, var)| gradients.get(var).is_none()) {
            anyhow::bail!("no gradient reaches `{name}`");
        }
        optimizer.step(&gradients)?;
        losses += f64::from(loss.to_scalar::<f32>()?);
        right += hits(&logits, &scenes)?.into_iter().filter(|hit| *hit).count();
        seen += scenes.len();
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

fn draw(spec: &SceneSpec, stream: &Stream, indices: std::ops::Range<usize>) -> Result<Vec<Scene>> {
    Ok(indices.into_par_iter().map(|index| draw_scene(spec, &mut stream.draw(index))).collect::<Result<_, _>>()?)
}

fn inputs(scenes: &[Scene], preprocessing: &Preprocessing) -> Result<Tensor> {
    let tensors = scenes
        .iter()
        .map(|scene| picture_tensor(&scene.picture, preprocessing, &Device::Cpu))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Tensor::cat(&tensors, 0)?)
}

/// The cross entropy with a target that is shared evenly by the classes that are present.
fn cross_entropy(logits: &Tensor, scenes: &[Scene]) -> Result<Tensor> {
    let mut target = vec![0f32; scenes.len() * SCENE_CLASSES.len()];
    for (scene, row) in scenes.iter().zip(target.chunks_exact_mut(SCENE_CLASSES.len())) {
        let classes = scene.classes();
        for &class in &classes {
            row[class] = 1.0 / classes.len() as f32;
        }
    }
    let target = Tensor::from_vec(target, (scenes.len(), SCENE_CLASSES.len()), logits.device())?;
    let shared = (log_softmax(logits, 1)? * target)?.sum_all()?;
    Ok((shared * (-1.0 / scenes.len() as f64))?)
}

/// Per scene, whether the highest score belongs to a class that is present.
fn hits(logits: &Tensor, scenes: &[Scene]) -> Result<Vec<bool>> {
    let best = logits.detach().argmax(1)?.to_dtype(DType::U32)?.to_vec1::<u32>()?;
    Ok(scenes.iter().zip(best).map(|(scene, class)| scene.classes().contains(&(class as usize))).collect())
}

/// Accuracy on scenes of streams that training never saw.
fn evaluate(graph: &Graph, preprocessing: &Preprocessing, count: usize, seed: u64) -> Result<serde_json::Value> {
    let one = SceneSpec { objects: 1..=1, ..SceneSpec::default() };
    let two = SceneSpec { objects: 2..=2, ..SceneSpec::default() };
    let mut report = serde_json::json!({ "scenes": count });
    for (name, spec) in [("any", SceneSpec::default()), ("one_object", one), ("two_objects", two)] {
        let stream = Stream::new(seed, format!("evaluation scenes: {name}"));
        let (mut right, mut both, mut pairs) = (0, 0, 0);
        for start in (0..count).step_by(100) {
            let scenes = draw(&spec, &stream, start..(start + 100).min(count))?;
            let logits = graph.forward(&inputs(&scenes, preprocessing)?, &mut Unobserved)?;
            right += hits(&logits, &scenes)?.into_iter().filter(|hit| *hit).count();
            for (scene, row) in scenes.iter().zip(logits.to_vec2::<f32>()?) {
                let classes = scene.classes();
                if let [a, b] = classes[..] {
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
