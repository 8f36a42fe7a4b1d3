use super::checkpoint::{self, Judged, Saved, State};
use super::optimizer::{AdamW, clip};
use super::options::{Epoch, Event, Training};
use crate::model::{members, predict};
use crate::{About, Calibration, Fleet, Preparation, RulModel, Scores, Windows};
use candle_core::{Device, Tensor, Var};
use faithful_core::{Error, LayerId, Network, Probe, Result, Stream};
use faithful_model::{Graph, SeriesNetwork};
use rand::seq::SliceRandom;
use rand::{Rng, RngCore};
use rand_distr::StandardNormal;
use rayon::prelude::*;
use std::collections::HashMap;
use std::path::Path;

/// Trains a network on the engines of `fleet`, which ran to failure or whose remaining lives are known.
///
/// With a `checkpoint` the state is written there after every epoch, as a whole or not at all; with `resume` a training
/// with the same options and engines goes on from there and ends with the same weights, bit by bit, as one that was
/// never interrupted. `tell` may end the training by an error.
///
/// # Errors
/// [`Error::Parameter`] for options outside their range and machines shorter than the window; [`Error::NotFinite`] where
/// the loss leaves all bounds; what `tell` returns.
pub fn train(
    fleet: &Fleet,
    training: &Training,
    checkpoint: Option<(&Path, bool)>,
    tell: &mut dyn FnMut(Event) -> Result<()>,
) -> Result<RulModel> {
    let identity = identity(fleet, training);
    let saved = match checkpoint {
        Some((path, true)) if path.exists() => Some(Saved::read(path, &identity)?),
        _ => None,
    };
    let file = checkpoint.map(|(path, _)| (path, identity.as_str()));
    let (judged, saved) = if let Some(judged) = saved.as_ref().and_then(Saved::judged).cloned() {
        (judged, saved)
    } else {
        let mut session = Session::new(fleet, training)?;
        let state = session.learn(training.epochs, None, saved, file, tell)?;
        let validation = session.validation(&state.best)?;
        let judged = Judged { history: state.history, validation, calibration: session.calibration(&state.best)? };
        if !training.refit || training.is_crossed() || validation.is_none() {
            return session.finish(fleet, state.best, &judged, None);
        }
        (judged, None)
    };
    let mut session = Session::new(fleet, &Training { validation: 0.0, ..training.clone() })?;
    let state = session.learn(judged.best_epoch(), Some(&judged), saved, file, tell)?;
    session.training.validation = training.validation;
    session.finish(fleet, state.best, &judged, Some(&state.history))
}

/// The version, and behind the plus a number that is raised with every change after which a training goes another way.
const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), "+training.2");

/// A description of everything that decides how a training goes, to know a checkpoint by: a line for each thing.
fn identity(fleet: &Fleet, training: &Training) -> String {
    let cycles: usize = fleet.units.iter().map(|unit| unit.cycles.len()).sum();
    let (name, units, digest) = (&fleet.name, fleet.units.len(), &fleet.digest()[..16]);
    let options = format!("{training:#?}");
    // Without the name and the brackets around it.
    let options = options.lines().map(|line| line.trim().trim_end_matches(',')).filter(|line| line.len() > 1);
    let mut lines: Vec<&str> = options.skip(1).collect();
    let data = format!("data: {units} engines with {cycles} cycles of {name}, digest {digest}");
    let version = format!("version: {VERSION}");
    lines.extend([data.as_str(), version.as_str()]);
    lines.join("\n")
}

/// How many pieces a batch is made of, whatever the number of threads: a sum of floats depends on its order.
const PIECES: usize = 4;
/// The share of the weights so far in their mean; some fifty steps count.
const MEMORY: f32 = 0.98;
/// Gradients longer than this are shortened.
const LONGEST_GRADIENT: f64 = 1.0;

/// A network that learns.
pub(crate) struct Session {
    pub(crate) training: Training,
    pub(crate) variables: Vec<(String, Var)>,
    pub(crate) optimizer: AdamW,
    /// The exponential mean of the weights over steps, in their order: what is judged and kept.
    pub(crate) mean: Vec<Vec<f32>>,
    network: SeriesNetwork,
    graph: Graph,
    preparation: Preparation,
    windows: Windows,
    /// In units of the cap.
    targets: Vec<f32>,
    held: Option<Held>,
    /// The member that does not learn from each window; nothing where all learn from all.
    folds: Option<Vec<usize>>,
    trained_on: String,
    stream: Stream,
}

impl Session {
    pub(crate) fn new(fleet: &Fleet, training: &Training) -> Result<Self> {
        training.check()?;
        let stream = Stream::new(training.seed, "training of a network of the remaining life");
        let crossed = training.is_crossed();
        let (learnt, held) = if !crossed && training.validation > 0.0 {
            let (learnt, held) = fleet.split(training.validation, &stream.derive("held-out engines"))?;
            (learnt, Some(held))
        } else {
            (fleet.clone(), None)
        };
        let preparation = Preparation::fit(&learnt, &training.preparation)?;
        let cap = preparation.cap;
        let windows = Windows::all(&learnt, &preparation, training.stride)?;
        let targets = windows.targets(cap)?.iter().map(|target| target / cap).collect();
        let folds = crossed.then(|| fold_of_engines(&learnt, training.members, &stream)).transpose()?;
        let held = match (&folds, held) {
            (Some(folds), _) => Some(Held::crossed(&learnt, folds, &preparation)?),
            (None, Some(held)) => Some(Held::of(&held, &preparation)?),
            (None, None) => None,
        };
        let folds = folds.map(|folds| windows.units.iter().map(|unit| folds[*unit]).collect());
        let network = SeriesNetwork::named(&training.kind, preparation.sensors.len(), preparation.window, cap)?;
        let network = SeriesNetwork { members: training.members, trends: training.trends.clone(), ..network };
        let variables = network
            .random(training.seed)?
            .into_iter()
            .map(|(name, tensor)| Ok((name, Var::from_tensor(&tensor)?)))
            .collect::<Result<Vec<_>>>()?;
        let tracked = variables.iter().map(|(name, variable)| (name.clone(), variable.as_tensor().clone()));
        let graph = network.graph(&tracked.collect())?;
        let optimizer = AdamW::new(&variables);
        let mean = variables.iter().map(|(_, v)| Ok(v.flatten_all()?.to_vec1()?)).collect::<Result<_>>()?;
        let (training, trained_on) = (training.clone(), fleet.name.clone());
        Ok(Self {
            training,
            variables,
            optimizer,
            mean,
            network,
            graph,
            preparation,
            windows,
            targets,
            held,
            folds,
            trained_on,
            stream,
        })
    }

    /// Learns up to `epochs` epochs, or until more bring nothing better; `judged` is the training before, where there was one.
    fn learn(
        &mut self,
        epochs: usize,
        judged: Option<&Judged>,
        saved: Option<Saved>,
        checkpoint: Option<(&Path, &str)>,
        tell: &mut dyn FnMut(Event) -> Result<()>,
    ) -> Result<State> {
        let mut state = saved.map_or_else(|| Ok(State::default()), |saved| saved.restore(self))?;
        let (steps, all) = (self.steps(), self.training.epochs * self.steps());
        let refit = judged.is_some();
        tell(Event::Start { steps: steps * epochs, done: steps * state.history.len(), refit })?;
        while state.history.len() < epochs && !state.is_over(self.training.patience) {
            let epoch = state.history.len();
            let mut square = 0.0;
            for step in 0..steps {
                let error = self.step(epoch, step, self.training.cycle.rate_at(epoch * steps + step, all))?;
                square += error * error;
                tell(Event::Step { training: error })?;
            }
            let validation = self.validation(&self.weights()?)?.map(|scores| scores.rmse);
            let done = Epoch { number: epoch + 1, training: (square / steps as f64).sqrt(), validation };
            // Without engines to judge by, the last weights are the best.
            let lowest = state.history.iter().filter_map(|epoch| epoch.validation).fold(f64::INFINITY, f64::min);
            if validation.is_none_or(|error| error < lowest) {
                state.best = self.weights()?;
            }
            state.history.push(done);
            if let Some((path, identity)) = checkpoint {
                checkpoint::write(path, identity, self, &state, judged)?;
            }
            tell(Event::Epoch(done))?;
        }
        Ok(state)
    }

    /// The steps of an epoch. What does not fill a batch waits for the next epoch's order.
    pub(crate) fn steps(&self) -> usize {
        (self.windows.len() / self.training.batch).max(1)
    }

    pub(crate) fn windows(&self) -> usize {
        self.windows.len()
    }

    /// The mean of the weights over the last steps (Polyak and Juditsky 1992): single steps of a high learning rate are noisy.
    pub(crate) fn weights(&self) -> Result<HashMap<String, Tensor>> {
        let pairs = self.variables.iter().zip(&self.mean);
        pairs
            .map(|((name, variable), mean)| {
                Ok((name.clone(), Tensor::from_vec(mean.clone(), variable.shape(), variable.device())?))
            })
            .collect()
    }

    /// One step down the gradient; the root of the mean squared error before it, in cycles.
    pub(crate) fn step(&mut self, epoch: usize, step: usize, rate: f64) -> Result<f64> {
        let mut order: Vec<usize> = (0..self.windows.len()).collect();
        order.shuffle(&mut self.stream.derive("order").draw(epoch));
        let batch = self.training.batch.min(order.len());
        let first = step * batch;
        let (square, mut gradients) = self.gradients(&order[first..first + batch], epoch * self.steps() + step)?;
        if !square.is_finite() {
            let place = format!("epoch {}, step {}: try a lower --rate", epoch + 1, step + 1);
            return Err(Error::NotFinite { what: "the loss".into(), place: Some(place) });
        }
        for own in gradients.chunks_mut(self.variables.len() / self.training.members) {
            clip(own, LONGEST_GRADIENT);
        }
        self.optimizer.step(&self.variables, &gradients, rate, self.training.decay)?;
        // At first the mean follows closely: what is random should not be remembered.
        let memory = MEMORY.min(self.optimizer.steps as f32 / (self.optimizer.steps as f32 + 9.0));
        for ((_, variable), mean) in self.variables.iter().zip(&mut self.mean) {
            let weights = variable.flatten_all()?.to_vec1::<f32>()?;
            mean.iter_mut().zip(weights).for_each(|(mean, weight)| *mean = memory * *mean + (1.0 - memory) * weight);
        }
        Ok(square.sqrt() * f64::from(self.preparation.cap))
    }

    /// The mean squared error of the members, in units of the cap, and the gradients of each member's own in the order of the
    /// variables.
    fn gradients(&self, places: &[usize], draw: usize) -> Result<(f64, Vec<Vec<f32>>)> {
        let pieces: Vec<&[usize]> = places.chunks(places.len().div_ceil(PIECES)).collect();
        let found: Vec<(f64, Vec<Vec<f32>>)> = pieces
            .par_iter()
            .enumerate()
            .map(|(piece, own)| self.piece_gradients(own, places.len(), draw * PIECES + piece))
            .collect::<Result<_>>()?;
        let mut found = found.into_iter();
        let Some((mut loss, mut sum)) = found.next() else {
            return Err(Error::parameter("batch", "it has no windows"));
        };
        for (part, gradients) in found {
            loss += part;
            for (sum, gradient) in sum.iter_mut().flatten().zip(gradients.iter().flatten()) {
                *sum += gradient;
            }
        }
        Ok((loss, sum))
    }

    fn piece_gradients(&self, places: &[usize], batch: usize, draw: usize) -> Result<(f64, Vec<Vec<f32>>)> {
        let index = Tensor::new(places.iter().map(|place| *place as u32).collect::<Vec<_>>(), &Device::Cpu)?;
        let mut inputs = self.windows.inputs.index_select(&index, 0)?;
        if self.training.noise > 0.0 {
            let random = self.stream.derive("noise").draw(draw);
            let noise = random.sample_iter::<f32, _>(StandardNormal).take(inputs.elem_count()).collect();
            let noise = Tensor::from_vec::<_, f32>(noise, inputs.shape(), &Device::Cpu)?;
            inputs = (inputs + (noise * self.training.noise)?)?;
        }
        let targets: Vec<f32> = places.iter().map(|&place| self.targets[place]).collect();
        let targets = Tensor::from_vec(targets, (places.len(), 1), &Device::Cpu)?;
        let random = self.stream.derive("dropout").draw(draw);
        let mut dropout = Dropout { graph: &self.graph, share: self.training.dropout, random, members: None };
        self.graph.forward(&inputs, &mut dropout)?;
        let missing = || Error::format("training", "the network has no members");
        let members = dropout.members.ok_or_else(missing)?;
        let mut errors = members.broadcast_sub(&targets)?;
        if let Some(folds) = &self.folds {
            errors = (errors * learning(places.iter().map(|&place| folds[place]), self.training.members)?)?;
        }
        // A member that leaves out a share of the windows learns as fast from the others.
        let part =
            if self.folds.is_some() { (self.training.members - 1) as f64 / self.training.members as f64 } else { 1.0 };
        let scale = 1.0 / (batch as f64 * part);
        let square = (errors.detach().sqr()?.sum_all()? * scale)?;
        let loss = (self.training.loss.of(&errors, self.preparation.cap)?.sum_all()? * scale)?;
        let store = loss.backward()?;
        let gradients = self.variables.iter().map(|(name, variable)| {
            let gradient = store.get(variable.as_tensor());
            let missing = || Error::format("training", format!("no gradient reaches `{name}`"));
            Ok(gradient.ok_or_else(missing)?.flatten_all()?.to_vec1::<f32>()?)
        });
        let mean = f64::from(square.to_scalar::<f32>()?) / self.training.members as f64;
        Ok((mean, gradients.collect::<Result<_>>()?))
    }

    /// The errors on the held-out engines, where there are some.
    fn validation(&self, weights: &HashMap<String, Tensor>) -> Result<Option<Scores>> {
        let Some(held) = &self.held else { return Ok(None) };
        let cap = self.preparation.cap;
        let graph = self.network.graph(weights)?;
        Scores::of(&held.predicted(&graph, &self.network, cap)?, &held.windows.targets(cap)?).map(Some)
    }

    /// What intervals are made of: how far those weights are off on the held-out engines, where there are some.
    fn calibration(&self, weights: &HashMap<String, Tensor>) -> Result<Option<Calibration>> {
        let Some(held) = &self.held else { return Ok(None) };
        let cap = self.preparation.cap;
        let predicted = held.predicted(&self.network.graph(weights)?, &self.network, cap)?;
        let targets = held.windows.targets(cap)?;
        Calibration::of(&held.windows.units, held.members.as_deref(), &predicted, &targets, cap).map(Some)
    }

    fn finish(
        &self,
        fleet: &Fleet,
        weights: HashMap<String, Tensor>,
        judged: &Judged,
        refit: Option<&[Epoch]>,
    ) -> Result<RulModel> {
        let Training {
            kind,
            seed,
            stride,
            members,
            loss,
            validation: share,
            epochs,
            patience,
            batch,
            cycle,
            decay,
            dropout,
            noise,
            ..
        } = &self.training;
        let folds = self.training.is_crossed().then(|| fold_of_engines(fleet, *members, &self.stream)).transpose()?;
        let training = serde_json::json!({
            "seed": seed, "stride": stride, "members": members, "loss": loss,
            "held_out": if folds.is_some() { None } else { Some(share) },
            // The engines that each member has not learnt from.
            "left_out": folds.map(|folds| names_of_folds(fleet, &folds, *members)), "epochs": epochs, "patience": patience, "batch": batch,
            "rate": cycle.rate, "warmup": cycle.warmup, "decay": decay, "dropout": dropout, "noise": noise,
            "history": judged.history,
            // The weights are those of a second training, on all engines; the errors are those of the first.
            "refit": refit,
        });
        let about = About {
            kind: kind.clone(),
            trained_on: self.trained_on.clone(),
            network: self.network.clone(),
            preparation: self.preparation.clone(),
            training,
            validation: judged.validation,
        };
        RulModel::new(about, weights, fleet, judged.calibration.clone())
    }
}

/// The member that leaves out each engine: as many for every one as can be, drawn.
fn fold_of_engines(fleet: &Fleet, members: usize, stream: &Stream) -> Result<Vec<usize>> {
    let engines = fleet.units.len();
    if engines < members {
        let reason = format!(
            "{engines} engines are too few for {members} networks that each leave some out; name fewer --members, or hold some \
             out with --validation"
        );
        return Err(Error::parameter("members", reason));
    }
    let mut order: Vec<usize> = (0..engines).collect();
    order.shuffle(&mut stream.derive("held-out engines").draw(0));
    let mut folds = vec![0; engines];
    order.into_iter().enumerate().for_each(|(place, engine)| folds[engine] = place % members);
    Ok(folds)
}

fn names_of_folds(fleet: &Fleet, folds: &[usize], members: usize) -> Vec<Vec<String>> {
    let of = |member: usize| {
        let own = fleet.units.iter().zip(folds).filter(|(_, fold)| **fold == member);
        own.map(|(unit, _)| unit.name.clone()).collect()
    };
    (0..members).map(of).collect()
}

/// A row per window, 0 for the member that leaves it out and 1 for the others.
fn learning(folds: impl Iterator<Item = usize>, members: usize) -> Result<Tensor> {
    let rows: Vec<f32> = folds.flat_map(|fold| (0..members).map(move |m| if m == fold { 0.0 } else { 1.0 })).collect();
    let count = rows.len() / members.max(1);
    Ok(Tensor::from_vec(rows, (count, members), &Device::Cpu)?)
}

/// Windows to judge by.
struct Held {
    windows: Windows,
    /// The member that has not seen each window; nothing where none has.
    members: Option<Vec<usize>>,
}

/// How many windows of an engine are judged at most, where all engines are.
const JUDGED: f32 = 24.0;

impl Held {
    fn of(fleet: &Fleet, preparation: &Preparation) -> Result<Self> {
        Ok(Self { windows: judged(fleet, preparation, 1)?, members: None })
    }

    fn crossed(fleet: &Fleet, folds: &[usize], preparation: &Preparation) -> Result<Self> {
        let stride = (1.2 * preparation.cap / JUDGED).ceil().max(1.0) as usize;
        let windows = judged(fleet, preparation, stride)?;
        let members = windows.units.iter().map(|unit| folds[*unit]).collect();
        Ok(Self { windows, members: Some(members) })
    }

    /// What is said by those that have not seen the windows.
    fn predicted(&self, graph: &Graph, network: &SeriesNetwork, cap: f32) -> Result<Vec<f32>> {
        let Some(own) = &self.members else { return predict(graph, &self.windows.inputs, cap) };
        let said = members(graph, &self.windows.inputs, network.scale)?;
        Ok(said.iter().zip(own).map(|(said, member)| said[*member].clamp(0.0, cap)).collect())
    }
}

/// The windows of held-out engines that a training is judged by: those whose life is at most a fifth above the cap. Beyond,
/// every answer but the cap is wrong, and nothing is to be learnt from how wrong.
fn judged(held: &Fleet, preparation: &Preparation, stride: usize) -> Result<Windows> {
    let all = Windows::all(held, preparation, stride)?;
    let near = |place: &usize| all.remaining[*place] <= 1.2 * preparation.cap;
    let places: Vec<usize> = (0..all.len()).filter(near).collect();
    if places.is_empty() { Ok(all) } else { all.select(&places) }
}

/// Drops values in the layers that are called so, scales up the others, and keeps what the members say.
struct Dropout<'a, R> {
    graph: &'a Graph,
    share: f64,
    random: R,
    members: Option<Tensor>,
}

impl<R: RngCore> Probe for Dropout<'_, R> {
    fn visit(&mut self, layer: LayerId, activation: Tensor) -> Result<Tensor> {
        let name = &self.graph.layers()[layer.0].name;
        if name == SeriesNetwork::MEMBERS {
            self.members = Some(activation.clone());
        }
        if self.share == 0.0 || !name.contains("dropout") {
            return Ok(activation);
        }
        let mut bytes = vec![0u8; 2 * activation.elem_count()];
        self.random.fill_bytes(&mut bytes);
        let limit = (self.share * 65536.0) as u16;
        let factor = (1.0 / (1.0 - self.share)) as f32;
        let kept = |pair: &[u8; 2]| if u16::from_le_bytes(*pair) < limit { 0.0 } else { factor };
        let mask: Vec<f32> = bytes.as_chunks().0.iter().map(kept).collect();
        Ok((activation.clone() * Tensor::from_vec(mask, activation.shape(), activation.device())?)?)
    }
}
