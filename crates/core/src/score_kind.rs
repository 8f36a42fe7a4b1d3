use crate::{Probabilities, Target};

/// Which score of a class is explained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScoreKind {
    /// The network's output.
    Logit,
    /// Its probability.
    Probability,
    /// The probability's logarithm.
    LogProbability,
    /// The output plus the probability's logarithm (`ShapleyCAM`'s residual softmax target, arXiv 2501.06261).
    LogitAndLogProbability,
    /// The output less that of another class.
    MarginAgainst(usize),
}

impl ScoreKind {
    /// The kinds that need nothing but their name.
    pub const NAMED: [(&'static str, Self); 4] = [
        ("logit", Self::Logit),
        ("probability", Self::Probability),
        ("log-probability", Self::LogProbability),
        ("logit+log-probability", Self::LogitAndLogProbability),
    ];

    /// The score of class `class`, for a network whose outputs become probabilities so.
    pub fn of(self, class: usize, probabilities: Probabilities) -> Target {
        match self {
            Self::Logit => Target::Output(class),
            Self::Probability => probabilities.probability(class),
            Self::LogProbability => probabilities.log_probability(class),
            Self::LogitAndLogProbability => probabilities.logit_and_log_probability(class),
            Self::MarginAgainst(against) => Target::Margin { class, against },
        }
    }
}

impl std::fmt::Display for ScoreKind {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::MarginAgainst(class) => write!(formatter, "margin:{class}"),
            _ => formatter.write_str(Self::NAMED.iter().find(|(_, kind)| kind == self).map_or("", |(name, _)| name)),
        }
    }
}
