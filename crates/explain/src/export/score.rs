//! The score that is explained: its gradient at the network's outputs `(N, K)`.

use super::ClassOf;
use crate::ScoreKind;
use faithful_core::{Probabilities, Result};
use faithful_model::export::{OnnxWriter, Symbol, fixed};

/// 1 at the class of each row, 0 elsewhere; `class` is the input where it is one.
pub(super) fn hot(writer: &mut OnnxWriter, logits: &Symbol, class: ClassOf, given: Option<&Symbol>) -> Result<Symbol> {
    let outputs = fixed(logits.shape()[1]).unwrap_or(1);
    match (class, given) {
        (ClassOf::Index(class), _) => {
            let row = one_row(writer, outputs, class);
            writer.expand(&row, logits.shape())
        }
        (_, Some(given)) => {
            let column = [given.shape()[0], [1; 3]];
            let place = writer.reshape(given, &column)?;
            writer.one_hot(&place, 1, outputs)
        }
        _ => writer.first_highest(logits, 1, outputs),
    }
}

fn one_row(writer: &mut OnnxWriter, outputs: usize, class: usize) -> Symbol {
    let mut row = vec![0.0; outputs];
    row[class] = 1.0;
    writer.numbers(&[1, outputs], &row)
}

/// The gradient of the score of the classes `hot`.
pub(super) fn cotangent(
    writer: &mut OnnxWriter,
    logits: &Symbol,
    hot: &Symbol,
    score: ScoreKind,
    probabilities: Probabilities,
) -> Result<Symbol> {
    if let ScoreKind::MarginAgainst(other) = score {
        let other = one_row(writer, fixed(logits.shape()[1]).unwrap_or(1), other);
        return writer.sub(hot, &other);
    }
    if score == ScoreKind::Logit {
        return Ok(hot.clone());
    }
    // The logarithm's gradient: 1 at the class less what all have; the probability's is that times the probability.
    let (share, gradient) = match probabilities {
        Probabilities::Softmax => {
            let share = writer.softmax(logits, 1);
            let gradient = writer.sub(hot, &share)?;
            (share, gradient)
        }
        Probabilities::Sigmoid => {
            let share = writer.unary("Sigmoid", logits);
            let rest = writer.affine(&share, -1.0, 1.0)?;
            let gradient = writer.mul(hot, &rest)?;
            (share, gradient)
        }
        Probabilities::Unchanged => return Ok(hot.clone()),
    };
    match score {
        ScoreKind::LogProbability => return Ok(gradient),
        ScoreKind::LogitAndLogProbability => return writer.add(hot, &gradient),
        _ => {}
    }
    let own = writer.mul(&share, hot)?;
    let own = writer.reduce("ReduceSum", &own, &[1], true);
    writer.mul(&gradient, &own)
}

/// The score itself of the classes `hot`, `(N,)`.
pub(super) fn value(
    writer: &mut OnnxWriter,
    logits: &Symbol,
    hot: &Symbol,
    score: ScoreKind,
    probabilities: Probabilities,
) -> Result<Symbol> {
    let scored = match (score, probabilities) {
        (ScoreKind::Logit, _) => logits.clone(),
        (ScoreKind::MarginAgainst(other), _) => {
            let other = one_row(writer, fixed(logits.shape()[1]).unwrap_or(1), other);
            let own = writer.sub(hot, &other)?;
            let product = writer.mul(logits, &own)?;
            return Ok(writer.reduce("ReduceSum", &product, &[1], false));
        }
        (_, Probabilities::Softmax) => writer.softmax(logits, 1),
        (_, Probabilities::Sigmoid) => writer.unary("Sigmoid", logits),
        (_, Probabilities::Unchanged) => logits.clone(),
    };
    let own = writer.mul(&scored, hot)?;
    let own = writer.reduce("ReduceSum", &own, &[1], false);
    if probabilities == Probabilities::Unchanged {
        return Ok(own);
    }
    match score {
        ScoreKind::LogProbability => Ok(writer.unary("Log", &own)),
        ScoreKind::LogitAndLogProbability => {
            let logit = writer.mul(logits, hot)?;
            let logit = writer.reduce("ReduceSum", &logit, &[1], false);
            let log = writer.unary("Log", &own);
            writer.add(&logit, &log)
        }
        _ => Ok(own),
    }
}
