use super::checkpoint::{self, Judged, Saved, State};
use super::optimizer::{AdamW, clip};
use super::schedule::OneCycle;
use crate::model::predict;
use crate::{About, Fleet, Preparation, PreparationOptions, RulModel, Scores, Windows};
use candle_core::{Device, Tensor, Var};
use faithful_core::{Error, LayerId, Network, Probe, Result, Stream};
use faithful_model::{Graph, SeriesNetwork};
use rand::seq::SliceRandom;
use rand::{Rng, RngCore};
use rand_distr::StandardNormal;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::path::Path;

/// How a network is trained. The defaults were chosen on held-out engines of FD001; `docs/results/rul.md` says how.
#[derive(Clone, Debug, PartialEq)]
pub struct Training {
    /// `cnn-lstm` or `cnn-bilstm`.
    pub kind: String,
    /// The seed of the weights, the order, the dropout, the noise and the engines that are held out.
    pub seed: u64,
    /// How readings become inputs.
    pub preparation: PreparationOptions,
    /// How many cycles apart the training windows are.
    pub stride: usize,
    /// How many networks are trained side by side; they differ in their first weights and their dropout, and the mean of
    /// what they say is the prediction.
    pub members: usize,
    /// The share of the engines that are held out.
    pub validation: f64,
    /// Whether the networks are trained once more, on all engines, for as many epochs as were best for those that were held
    /// out.
    pub refit: bool,
    /// How often all windows are seen, at most.
    pub epochs: usize,
    /// After how many epochs without a better validation training stops.
    pub patience: usize,
    /// How many windows make a step.
    pub batch: usize,
    /// The highest learning rate, and how it is reached and left.
    pub cycle: OneCycle,
    /// The weights' decay.
    pub decay: f64,
    /// The share of values that is dropped in front of the LSTM layers and the dense one.
    pub dropout: f64,
    /// The deviation of the noise on inputs, which are of deviation one themselves.
    pub noise: f64,
}

impl Default for Training {
    fn default() -> Self {
        Self {
            kind: "cnn-bilstm".into(),
            seed: 0,
            preparation: PreparationOptions {
                window: 60,
                shortest: Some(30),
                smoothing: 0.2,
                ..PreparationOptions::default()
            },
            stride: 2,
            members: 3,
            validation: 0.1,
            refit: true,
            epochs: 8,
            patience: 4,
            batch: 128,
            cycle: OneCycle { rate: 2e-3, warmup: 0.3 },
            decay: 0.1,
            dropout: 0.2,
            noise: 0.0,
        }
    }
}

impl Training {
    /// The defaults for a kind of network.
    ///
    /// # Errors
    /// [`Error::UnknownName`] with suggestions.
    pub fn of(kind: &str) -> Result<Self> {
        SeriesNetwork::named(kind, 1, 2, 1.0)?;
        Ok(Self { kind: kind.into(), ..Self::default() })
    }

    fn check(&self) -> Result<()> {
        let Self { members, epochs, patience, batch, cycle, decay, dropout, noise, .. } = self;
        let positive = |value: f64| value.is_finite() && value > 0.0;
        let ranges = [
            ("members", (1..=64).contains(members), "from 1 to 64"),
            ("epochs", *epochs > 0, "at least 1"),
            ("patience", *patience > 0, "at least 1"),
            ("batch", *batch > 0, "at least 1"),
            ("rate", positive(cycle.rate), "a number above 0"),
            ("warmup", (0.0..1.0).contains(&cycle.warmup), "from 0 to below 1"),
            ("decay", decay.is_finite() && *decay >= 0.0, "a number from 0 on"),
            ("dropout", (0.0..1.0).contains(dropout), "from 0 to below 1"),
            ("noise", noise.is_finite() && *noise >= 0.0, "a number from 0 on"),
        ];
        match ranges.into_iter().find(|(_, fits, _)| !fits) {
            Some((name, _, range)) => Err(Error::parameter(name, format!("it must be {range}"))),
            None => Ok(()),
        }
    }
}

/// What an epoch came to.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Epoch {
    /// Its number, from 1 on.
    pub number: usize,
    /// The root of the mean squared error over the training windows while they were learnt, in cycles.
    pub training: f64,
    /// The same over the windows of held-out engines afterwards, in cycles.
    pub validation: Option<f64>,
}

/// What a training tells while it runs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Event {
    /// It begins, or goes on after that many steps.
    Start {
        /// All steps there will be at most.
        steps: usize,
        /// The steps that were done before.
        done: usize,
        /// Whether this is the second training, on all engines.
        refit: bool,
    },
    /// A step is done.
    Step {
        /// The root of the mean squared error of its windows, in cycles.
        training: f64,
    },
    /// An epoch is done, and its checkpoint is on the disk.
    Epoch(Epoch),
}

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
    let (judged, saved) = match saved.as_ref().and_then(Saved::judged).cloned() {
        Some(judged) => (judged, saved),
        None => {
            let mut session = Session::new(fleet, training)?;
            let state = session.learn(training.epochs, None, saved, file, tell)?;
            let validation = session.validation(&state.best)?;
            let judged = Judged { history: state.history, validation };
            if !training.refit || validation.is_none() {
                return session.finish(fleet, state.best, &judged, None);
            }
            (judged, None)
        }
    };
    let mut session = Session::new(fleet, &Training { validation: 0.0, ..training.clone() })?;
    let state = session.learn(judged.best_epoch(), Some(&judged), saved, file, tell)?;
    session.training.validation = training.validation;
    session.finish(fleet, state.best, &judged, Some(&state.history))
}

/// A description of everything that decides how a training goes, to know a checkpoint by.
fn identity(fleet: &Fleet, training: &Training) -> String {
    let cycles: usize = fleet.units.iter().map(|unit| unit.cycles.len()).sum();
    format!("{training:?} on {cycles} cycles of {}", fleet.name)
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
    held: Option<Windows>,
    trained_on: String,
    stream: Stream,
}

impl Session {
    pub(crate) fn new(fleet: &Fleet, training: &Training) -> Result<Self> {
        training.check()?;
        let stream = Stream::new(training.seed, "training of a network of the remaining life");
        let (learnt, held) = if training.validation > 0.0 {
            let (learnt, held) = fleet.split(training.validation, &stream.derive("held-out engines"))?;
            (learnt, Some(held))
        } else {
            (fleet.clone(), None)
        };
        let preparation = Preparation::fit(&learnt, &training.preparation)?;
        let cap = preparation.cap;
        let windows = Windows::all(&learnt, &preparation, training.stride)?;
        let targets = windows.targets(cap)?.iter().map(|target| target / cap).collect();
        let held = held.map(|held| judged(&held, &preparation)).transpose()?;
        let network = SeriesNetwork::named(&training.kind, preparation.sensors.len(), preparation.window, cap)?;
        let network = SeriesNetwork { members: training.members, ..network };
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
        let loss = (members.broadcast_sub(&targets)?.sqr()?.sum_all()? * (1.0 / batch as f64))?;
        let store = loss.backward()?;
        let gradients = self.variables.iter().map(|(name, variable)| {
            let gradient = store.get(variable.as_tensor());
            let missing = || Error::format("training", format!("no gradient reaches `{name}`"));
            Ok(gradient.ok_or_else(missing)?.flatten_all()?.to_vec1::<f32>()?)
        });
        let mean = f64::from(loss.to_scalar::<f32>()?) / self.training.members as f64;
        Ok((mean, gradients.collect::<Result<_>>()?))
    }

    /// The errors on the held-out engines, where there are some.
    fn validation(&self, weights: &HashMap<String, Tensor>) -> Result<Option<Scores>> {
        let Some(held) = &self.held else { return Ok(None) };
        let cap = self.preparation.cap;
        let graph = self.network.graph(weights)?;
        Scores::of(&predict(&graph, &held.inputs, cap)?, &held.targets(cap)?).map(Some)
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
        let training = serde_json::json!({
            "seed": seed, "stride": stride, "members": members, "held_out": share, "epochs": epochs, "patience": patience, "batch": batch,
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
        RulModel::new(about, weights, fleet)
    }
}

/// The windows of held-out engines that a training is judged by: those whose life is at most a fifth above the cap. Beyond,
/// every answer but the cap is wrong, and nothing is to be learnt from how wrong.
fn judged(held: &Fleet, preparation: &Preparation) -> Result<Windows> {
    let all = Windows::all(held, preparation, 1)?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{SyntheticSpec, draw_fleet};

    fn fleet() -> Fleet {
        let spec = SyntheticSpec { units: 8, life: 45..=60, decline: 25..=30, ..SyntheticSpec::default() };
        draw_fleet(&spec, &Stream::new(1, "pumps")).unwrap()
    }

    fn training() -> Training {
        let preparation = PreparationOptions { window: 8, cap: 25.0, smoothing: 0.5, ..PreparationOptions::default() };
        Training {
            kind: "cnn-lstm".into(),
            preparation,
            stride: 1,
            members: 2,
            validation: 0.25,
            epochs: 3,
            batch: 32,
            cycle: OneCycle { rate: 1e-2, warmup: 0.3 },
            noise: 0.05,
            dropout: 0.1,
            ..Training::default()
        }
    }

    fn bytes(model: &RulModel) -> Vec<u8> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        model.save(&path).unwrap();
        let loaded = RulModel::load(&path).unwrap();
        assert_eq!(loaded.about, model.about);
        assert_eq!(loaded.predict(&model.typical).unwrap(), model.predict(&model.typical).unwrap());
        std::fs::read(path).unwrap()
    }

    #[test]
    fn a_killed_training_goes_on_to_the_same_weights() {
        let (fleet, training) = (fleet(), training());
        let mut epochs = Vec::new();
        let whole = train(&fleet, &training, None, &mut |event| {
            if let Event::Epoch(epoch) = event {
                epochs.push(epoch);
            }
            Ok(())
        });
        let whole = whole.unwrap();
        assert!(epochs[2].training < epochs[0].training, "{epochs:?}");
        assert!(whole.about.validation.unwrap().rmse < 10.0, "{:?}", whole.about.validation);

        let folder = tempfile::tempdir().unwrap();
        let checkpoint = folder.path().join("model.checkpoint");
        // Killed in the middle of an epoch of the first training, then of the second.
        for second in [false, true] {
            let (mut counts, mut steps) = (false, 0);
            let killed = train(&fleet, &training, Some((&checkpoint, second)), &mut |event| {
                if let Event::Start { refit, .. } = event {
                    counts = refit == second;
                }
                steps += usize::from(counts && matches!(event, Event::Step { .. }));
                if steps > 12 { Err(Error::parameter("test", "killed")) } else { Ok(()) }
            });
            assert!(killed.is_err() && checkpoint.exists());
        }
        let mut begun = None;
        let resumed = train(&fleet, &training, Some((&checkpoint, true)), &mut |event| {
            if let Event::Start { done, refit, .. } = event {
                begun = Some((done > 0, refit));
            }
            Ok(())
        });
        assert_eq!(begun, Some((true, true)));
        assert_eq!(bytes(&resumed.unwrap()), bytes(&whole));

        let other = Training { seed: 9, ..training.clone() };
        let error = train(&fleet, &other, Some((&checkpoint, true)), &mut |_| Ok(())).unwrap_err().to_string();
        assert!(error.contains("of another training"), "{error}");
        let half = std::fs::read(&checkpoint).unwrap();
        std::fs::write(&checkpoint, &half[..half.len() / 2]).unwrap();
        assert!(train(&fleet, &training, Some((&checkpoint, true)), &mut |_| Ok(())).is_err());
    }

    #[test]
    fn patience_ends_a_training_and_the_best_weights_win() {
        let training = Training {
            epochs: 30,
            patience: 1,
            refit: false,
            cycle: OneCycle { rate: 0.5, warmup: 0.5 },
            ..training()
        };
        let mut errors = Vec::new();
        let model = train(&fleet(), &training, None, &mut |event| {
            if let Event::Epoch(epoch) = event {
                errors.extend(epoch.validation);
            }
            Ok(())
        });
        let best = errors.iter().copied().fold(f64::INFINITY, f64::min);
        assert!(errors.len() < 30, "{errors:?}");
        assert!((model.unwrap().about.validation.unwrap().rmse - best).abs() < 1e-9);
    }

    #[test]
    fn options_outside_their_range_are_named() {
        let refuse = |training: Training, word: &str| {
            let error = train(&fleet(), &training, None, &mut |_| Ok(())).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        };
        refuse(Training { epochs: 0, ..training() }, "epochs");
        refuse(Training { dropout: 1.0, ..training() }, "dropout");
        refuse(Training { cycle: OneCycle { rate: f64::NAN, warmup: 0.3 }, ..training() }, "rate");
        refuse(Training { validation: 0.99, ..training() }, "validation");
        refuse(Training { kind: "cnn".into(), ..training() }, "`cnn`");
        let preparation = PreparationOptions { window: 50, ..training().preparation };
        refuse(Training { preparation, ..training() }, "window of 50");
    }

    #[test]
    fn the_searches_suggest_what_can_be_trained_with() {
        let found = crate::find_rate(&fleet(), &training()).unwrap();
        assert!(found.suggestion > 1e-5 && found.suggestion < 1.0, "{found:?}");
        let found = crate::find_batch(&fleet(), &training()).unwrap();
        assert!(found.sizes.contains(&found.suggestion));
    }
}
