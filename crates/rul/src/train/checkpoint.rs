//! The state of a training after an epoch: one safetensors file.

use super::options::Epoch;
use super::session::Session;
use crate::model::encode;
use crate::{Calibration, Scores};
use candle_core::Tensor;
use faithful_core::{Error, Result, read_file, write_atomic};
use faithful_model::read_tensors;
use safetensors::SafeTensors;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::io::Cursor;
use std::path::Path;

/// Where a training stands.
#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    pub(crate) history: Vec<Epoch>,
    /// The weights of the epoch with the lowest validation error.
    pub(crate) best: HashMap<String, Tensor>,
}

impl State {
    /// Whether `patience` epochs brought nothing better.
    pub(crate) fn is_over(&self, patience: usize) -> bool {
        let errors: Vec<f64> = self.history.iter().filter_map(|epoch| epoch.validation).collect();
        let best = (0..errors.len()).min_by(|&a, &b| errors[a].total_cmp(&errors[b]));
        best.is_some_and(|best| errors.len() - 1 - best >= patience)
    }
}

/// What a training found that held engines out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Judged {
    pub(crate) history: Vec<Epoch>,
    /// The errors of the best epoch's weights.
    pub(crate) validation: Option<Scores>,
    /// What intervals are made of, of the same weights.
    pub(crate) calibration: Option<Calibration>,
}

impl Judged {
    /// The number of the epoch with the lowest validation error.
    pub(crate) fn best_epoch(&self) -> usize {
        let error = |epoch: &Epoch| epoch.validation.unwrap_or(f64::INFINITY);
        let best = self.history.iter().min_by(|a, b| error(a).total_cmp(&error(b)));
        best.map_or(1, |epoch| epoch.number)
    }
}

#[derive(Serialize, Deserialize)]
struct Notes {
    identity: String,
    steps: usize,
    history: Vec<Epoch>,
    /// In a second training, what the first found.
    judged: Option<Judged>,
}

const KEY: &str = "faithful.training";

pub(crate) fn write(
    path: &Path,
    identity: &str,
    session: &Session,
    state: &State,
    judged: Option<&Judged>,
) -> Result<()> {
    let mut tensors: HashMap<String, Tensor> = HashMap::new();
    tensors.extend(state.best.iter().map(|(name, tensor)| (format!("best.{name}"), tensor.clone())));
    tensors.extend(session.weights()?.into_iter().map(|(name, tensor)| (format!("mean.{name}"), tensor)));
    for (place, (name, variable)) in session.variables.iter().enumerate() {
        tensors.insert(format!("weight.{name}"), variable.as_detached_tensor());
        for (kind, moments) in [("first", &session.optimizer.first), ("second", &session.optimizer.second)] {
            let tensor = Tensor::from_vec(moments[place].clone(), variable.shape(), variable.device())?;
            tensors.insert(format!("{kind}.{name}"), tensor);
        }
    }
    let notes = Notes {
        identity: identity.to_owned(),
        steps: session.optimizer.steps,
        history: state.history.clone(),
        judged: judged.cloned(),
    };
    let text = serde_json::to_string(&notes).map_err(|error| Error::format_from("checkpoint", error))?;
    write_atomic(path, &encode(&tensors, Some(HashMap::from([(KEY.to_owned(), text)])))?)
}

/// A checkpoint that was read.
pub(crate) struct Saved {
    what: String,
    tensors: HashMap<String, Tensor>,
    notes: Notes,
}

impl Saved {
    /// The checkpoint in that file, which must be of the training that is described so.
    pub(crate) fn read(path: &Path, identity: &str) -> Result<Self> {
        let what = path.display().to_string();
        let broken = |reason: String| Error::format(&what, reason);
        let bytes = read_file(path)?;
        let tensors = read_tensors(&what, Cursor::new(&bytes))?;
        let (_, metadata) = SafeTensors::read_metadata(&bytes).map_err(|error| Error::format_from(&what, error))?;
        let text = metadata.metadata().as_ref().and_then(|notes| notes.get(KEY));
        let text = text.ok_or_else(|| broken("it is no checkpoint of a training".into()))?;
        let notes: Notes = serde_json::from_str(text).map_err(|error| Error::format_from(&what, error))?;
        if notes.identity != identity {
            let only = |these: &str, others: &str| {
                let known: Vec<&str> = others.lines().collect();
                let lines: Vec<&str> = these.lines().filter(|line| !known.contains(line)).collect();
                if lines.is_empty() { "fewer options".to_owned() } else { lines.join(", ") }
            };
            let (then, now) = (only(&notes.identity, identity), only(identity, &notes.identity));
            let reason = format!(
                "it is of another training: then {then}, now {now}; give the same data and options as then, another --out, or \
                 leave out --resume"
            );
            return Err(broken(reason));
        }
        Ok(Self { what, tensors, notes })
    }

    /// What the first training found, where this is of the second.
    pub(crate) fn judged(&self) -> Option<&Judged> {
        self.notes.judged.as_ref()
    }

    /// Puts the session where the checkpoint left it.
    pub(crate) fn restore(mut self, session: &mut Session) -> Result<State> {
        let mut take = |name: String, like: &Tensor| {
            let found = self.tensors.remove(&name).filter(|tensor| tensor.dims() == like.dims());
            let reason = || format!("there is no tensor `{name}` of shape {:?}", like.dims());
            found.ok_or_else(|| Error::format(&self.what, reason()))
        };
        let mut best = HashMap::new();
        for (place, (name, variable)) in session.variables.iter().enumerate() {
            let like = variable.as_tensor();
            variable.set(&take(format!("weight.{name}"), like)?)?;
            session.optimizer.first[place] = take(format!("first.{name}"), like)?.flatten_all()?.to_vec1()?;
            session.optimizer.second[place] = take(format!("second.{name}"), like)?.flatten_all()?.to_vec1()?;
            session.mean[place] = take(format!("mean.{name}"), like)?.flatten_all()?.to_vec1()?;
            best.insert(name.clone(), take(format!("best.{name}"), like)?);
        }
        session.optimizer.steps = self.notes.steps;
        Ok(State { history: self.notes.history, best })
    }
}
