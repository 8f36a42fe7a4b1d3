use super::schedule::OneCycle;
use crate::PreparationOptions;
use faithful_core::{Error, Result};
use faithful_model::SeriesNetwork;
use serde::{Deserialize, Serialize};

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
    /// Whether each member leaves out a share of the engines of its own, every engine being left out by one member: all are judged
    /// by a member that has not seen them, and prediction intervals are made of that. Otherwise, and with one member, a
    /// [`validation`](Self::validation) share of the engines is held out.
    pub crossed: bool,
    /// Shares of the exponential means over a window that a network reads beside the series; see
    /// [`SeriesNetwork::trends`].
    pub trends: Vec<f32>,
    /// The share of the engines that are held out, where members do not leave out their own.
    pub validation: f64,
    /// Whether the networks are trained once more, on all engines, for as many epochs as were best for those that were held
    /// out.
    pub refit: bool,
    /// What is made small.
    pub loss: Loss,
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
                smoothing: 0.3,
                ..PreparationOptions::default()
            },
            stride: 2,
            members: 5,
            crossed: true,
            trends: vec![0.06],
            validation: 0.1,
            refit: true,
            loss: Loss::default(),
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

    pub(super) fn check(&self) -> Result<()> {
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

impl Training {
    /// Whether members leave out engines of their own.
    pub(crate) fn is_crossed(&self) -> bool {
        self.crossed && self.members > 1
    }
}

/// What a training makes small.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Loss {
    /// The mean squared error.
    #[default]
    Square,
    /// The mean of NASA's score, which punishes late predictions more: [`Scores::nasa`](crate::Scores::nasa). It goes on as a
    /// straight line where it is e⁴.
    Nasa,
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
