use crate::score::log_sigmoid;
use crate::{Error, Result, Target, suggest};
use candle_core::Tensor;

/// How a network's outputs, its logits, become the probabilities of its classes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Probabilities {
    /// `exp(z_k) / sum_j exp(z_j)`: exactly one of the classes is there.
    #[default]
    Softmax,
    /// `1 / (1 + exp(-z_k))` for each output alone: any number of the classes may be there.
    Sigmoid,
    /// The outputs are no logits of classes, as a similarity, a length or a count: they stand for themselves.
    Unchanged,
}

impl Probabilities {
    /// Every kind with its name in configuration files.
    pub const ALL: [(&'static str, Self); 3] =
        [("softmax", Self::Softmax), ("sigmoid", Self::Sigmoid), ("none", Self::Unchanged)];

    /// The kind called `name`.
    ///
    /// # Errors
    /// [`Error::UnknownName`] with suggestions.
    pub fn from_name(name: &str) -> Result<Self> {
        let found = Self::ALL.iter().find(|(known, _)| *known == name);
        found.map(|(_, kind)| *kind).ok_or_else(|| {
            let suggestions = suggest(name, Self::ALL.map(|(known, _)| known));
            Error::UnknownName { kind: "activation", name: name.into(), suggestions }
        })
    }

    /// Its name in configuration files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Softmax => "softmax",
            Self::Sigmoid => "sigmoid",
            Self::Unchanged => "none",
        }
    }

    /// The probabilities of all classes, of their logits.
    pub fn of(self, logits: &[f64]) -> Vec<f64> {
        match self {
            Self::Softmax => {
                let highest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let powers: Vec<f64> = logits.iter().map(|logit| (logit - highest).exp()).collect();
                let sum: f64 = powers.iter().sum();
                powers.iter().map(|power| power / sum).collect()
            }
            Self::Sigmoid => logits.iter().map(|logit| 1.0 / (1.0 + (-logit).exp())).collect(),
            Self::Unchanged => logits.to_vec(),
        }
    }

    /// The logarithms of the probabilities (of outputs that stand for themselves, those outputs) of logits `(N, K)`, each of its place; differentiable by candle.
    ///
    /// # Errors
    /// Where the logits are no tensor of floats.
    pub fn log_of(self, logits: &Tensor) -> Result<Tensor> {
        match self {
            Self::Softmax => Ok(faithful_tensor::log_softmax(logits, logits.rank().max(1) - 1)?),
            Self::Sigmoid => log_sigmoid(logits),
            Self::Unchanged => Ok(logits.clone()),
        }
    }

    /// The score that is the probability of `class`.
    pub fn probability(self, class: usize) -> Target {
        match self {
            Self::Softmax => Target::Probability(class),
            Self::Sigmoid => Target::Sigmoid(class),
            Self::Unchanged => Target::Output(class),
        }
    }

    /// The score that is the logarithm of the probability of `class`.
    pub fn log_probability(self, class: usize) -> Target {
        match self {
            Self::Softmax => Target::LogProbability(class),
            Self::Sigmoid => Target::LogSigmoid(class),
            Self::Unchanged => Target::Output(class),
        }
    }

    /// The score that is the logit of `class` plus the logarithm of its probability.
    pub fn logit_and_log_probability(self, class: usize) -> Target {
        match self {
            Self::Softmax => Target::LogitAndLogProbability(class),
            Self::Sigmoid => Target::LogitAndLogSigmoid(class),
            Self::Unchanged => Target::Output(class),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Score;
    use candle_core::{Device, Tensor, Var};

    #[test]
    fn a_softmax_shares_one_among_all_and_a_sigmoid_judges_each_alone() {
        let all = Probabilities::Softmax.of(&[1000.0, 999.0, -1000.0]);
        assert!((all.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        assert!((all[0] - 1.0 / (1.0 + (-1f64).exp())).abs() < 1e-12);
        let each = Probabilities::Sigmoid.of(&[0.0, 3f64.ln(), -1000.0, 1000.0]);
        assert!((each[0] - 0.5).abs() < 1e-15 && (each[1] - 0.75).abs() < 1e-15, "{each:?}");
        assert_eq!(each[2..], [0.0, 1.0]);
    }

    #[test]
    fn scores_are_the_same_numbers_and_differentiable() {
        let logits = [0.3, -2.0, 1.1, 40.0, -200.0];
        let var = Var::from_tensor(&Tensor::new(&[logits], &Device::Cpu).unwrap()).unwrap();
        for kind in [Probabilities::Softmax, Probabilities::Sigmoid] {
            for (class, wanted) in kind.of(&logits).into_iter().enumerate() {
                let value = |target: Target| target.score(&var).unwrap().to_vec1::<f64>().unwrap()[0];
                assert!((value(kind.probability(class)) - wanted).abs() < 1e-12, "{kind:?} {class}");
                if wanted > 0.0 {
                    let both = value(kind.logit_and_log_probability(class));
                    assert!(
                        (both - logits[class] - wanted.ln()).abs() < 1e-9 * both.abs().max(1.0),
                        "{kind:?} {class}"
                    );
                    let log = value(kind.log_probability(class));
                    assert!((log - wanted.ln()).abs() < 1e-9 * log.abs().max(1.0), "{kind:?} {class}: {log}");
                }
            }
        }
        // d sigma = sigma (1 - sigma); d log sigma = 1 - sigma, also where sigma is 0 in floating point.
        let gradient = |target: Target| {
            let score = target.score(&var).unwrap();
            score.backward().unwrap().get(&var).unwrap().to_vec2::<f64>().unwrap().remove(0)
        };
        let sigma = 1.0 / (1.0 + (-1.1f64).exp());
        assert!((gradient(Target::Sigmoid(2))[2] - sigma * (1.0 - sigma)).abs() < 1e-12);
        let log = gradient(Target::LogSigmoid(4));
        assert!(log[..4].iter().all(|value| *value == 0.0) && (log[4] - 1.0).abs() < 1e-12, "{log:?}");
    }

    #[test]
    fn kinds_have_names() {
        for (name, kind) in Probabilities::ALL {
            assert_eq!((Probabilities::from_name(name).unwrap(), kind.name()), (kind, name));
        }
        let error = Probabilities::from_name("sigmod").unwrap_err().to_string();
        assert_eq!(error, "no activation `sigmod`; did you mean `sigmoid`?");
    }
}
