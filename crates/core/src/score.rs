use crate::{Error, Result};
use candle_core::{D, Tensor};

/// What of a network's output is explained: one number per row.
pub trait Score: Send + Sync {
    /// The scores `(N,)` of an output `(N, K)`. Must be differentiable by candle and treat rows independently.
    fn score(&self, output: &Tensor) -> Result<Tensor>;

    /// The class that it is a score of, where there is one.
    fn class(&self) -> Option<usize> {
        None
    }
}

/// The scores that are usually explained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// Output `k` as it is: a class's logit, or one value of a regression.
    Output(usize),
    /// The softmax probability of class `k`.
    Probability(usize),
    /// The logarithm of the softmax probability of class `k`.
    LogProbability(usize),
    /// The sigmoid of output `k`: the probability of class `k` where each output is judged alone.
    Sigmoid(usize),
    /// The logarithm of the sigmoid of output `k`.
    LogSigmoid(usize),
    /// Output `k` plus the logarithm of its softmax probability.
    LogitAndLogProbability(usize),
    /// Output `k` plus the logarithm of its sigmoid.
    LogitAndLogSigmoid(usize),
    /// The logit of `class` minus the logit of `against`: why this and not that.
    Margin {
        /// The class that is explained.
        class: usize,
        /// The class it is compared with.
        against: usize,
    },
}

impl Target {
    fn column(output: &Tensor, index: usize) -> Result<Tensor> {
        let (_, outputs) = output.dims2().map_err(|_| Error::shape("network output", "(N, K)", output.dims()))?;
        if index >= outputs {
            return Err(Error::parameter("class", format!("{index} is outside 0..{outputs}, the network's outputs")));
        }
        Ok(output.narrow(1, index, 1)?.squeeze(1)?)
    }
}

impl Score for Target {
    fn score(&self, output: &Tensor) -> Result<Tensor> {
        match *self {
            Self::Output(k) => Self::column(output, k),
            Self::LogProbability(k) => Ok((Self::column(output, k)? - log_sum_exp(output)?)?),
            Self::Probability(k) => Ok((Self::column(output, k)? - log_sum_exp(output)?)?.exp()?),
            Self::Sigmoid(k) => Ok(log_sigmoid(&Self::column(output, k)?)?.exp()?),
            Self::LogSigmoid(k) => log_sigmoid(&Self::column(output, k)?),
            Self::LogitAndLogProbability(k) => Ok(((Self::column(output, k)? * 2.0)? - log_sum_exp(output)?)?),
            Self::LogitAndLogSigmoid(k) => {
                let own = Self::column(output, k)?;
                Ok((&own + log_sigmoid(&own)?)?)
            }
            Self::Margin { class, against } => Ok((Self::column(output, class)? - Self::column(output, against)?)?),
        }
    }

    fn class(&self) -> Option<usize> {
        match *self {
            Self::Output(class)
            | Self::Probability(class)
            | Self::LogProbability(class)
            | Self::Sigmoid(class)
            | Self::LogSigmoid(class)
            | Self::LogitAndLogProbability(class)
            | Self::LogitAndLogSigmoid(class) => Some(class),
            Self::Margin { class, .. } => Some(class),
        }
    }
}

fn log_sum_exp(output: &Tensor) -> Result<Tensor> {
    // The maximum is a constant shift: detached, so that its (tied) gradient cannot enter.
    let highest = output.max_keepdim(D::Minus1)?.detach();
    let sum = output.broadcast_sub(&highest)?.exp()?.sum(D::Minus1)?;
    Ok((sum.log()? + highest.squeeze(D::Minus1)?)?)
}

/// `min(z, 0) - log(1 + exp(-|z|))`, with the gradient `1 - sigma(z)` however large `z` is.
pub(crate) fn log_sigmoid(logit: &Tensor) -> Result<Tensor> {
    let sizes = logit.abs()?.neg()?.exp()?;
    Ok(((logit - logit.abs()?)? * 0.5)?.sub(&(sizes + 1.0)?.log()?)?)
}
