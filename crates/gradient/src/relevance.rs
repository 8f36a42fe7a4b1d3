use candle_core::Tensor;
use faithful_core::{Composite, Objective, Propagation, Result, Tap};

/// Layer-wise relevance propagation (Bach et al. 2015): the score divided among the values of the input, operation by operation,
/// by the rules of `composite`.
///
/// `(N, …)` to the same shape, signed, in units of the score. It begins with the output times the score's derivative: a logit begins
/// with itself, a probability with all logits. What biases and stabilisers take is missing to the sum.
///
/// # Errors
/// [`Error::Unsupported`](faithful_core::Error::Unsupported) where the network does not know its operations, or has one without
/// a rule.
pub fn relevance(objective: &Objective, input: &Tensor, composite: Composite) -> Result<Tensor> {
    propagated(objective, input, Propagation::Relevance(composite))
}

/// `DeepLIFT` with the rescale rule, against an input of zeros: `x * m`, `m` the multipliers in the gradient's place (Shrikumar et al.
/// 2017, Eq. 5-9).
///
/// `(N, …)` to the same shape, signed; a row sums to `S(x) - S(0)`, but for a score that is not linear in the output: explain a
/// logit or a margin.
///
/// # Errors
/// [`Error::Unsupported`](faithful_core::Error::Unsupported) where the network does not know its operations.
pub fn deep_lift(objective: &Objective, input: &Tensor) -> Result<Tensor> {
    Ok((propagated(objective, input, Propagation::Rescale(Tap::Input))? * input)?)
}

/// `AttnLRP` (Achtibat et al. 2024): relevance carried back with rules of their own for softmax, products of two values and
/// normalisations; an epsilon rule without an epsilon elsewhere, without the gamma rule that its authors choose for some networks.
///
/// `(N, …)` to the same shape, signed, in units of the score; what biases take is missing to the sum. A score that is not linear in the
/// output begins with its derivative.
///
/// # Errors
/// [`Error::Unsupported`](faithful_core::Error::Unsupported) where the network does not know its operations.
pub fn attention_relevance(objective: &Objective, input: &Tensor) -> Result<Tensor> {
    Ok((propagated(objective, input, Propagation::Attention)? * input)?)
}

/// `LibraGrad`'s input times gradient (Mehri et al. 2025): attention weights, the divisors of normalisations and the gates of activations are
/// taken as given, and two factors that multiply each other get a half each.
///
/// `(N, …)` to the same shape, signed, in units of the score; with what the biases get it sums to the score (the authors' `FullGrad`-completeness). A
/// score that is not linear in the output begins with its derivative.
///
/// # Errors
/// [`Error::Unsupported`](faithful_core::Error::Unsupported) where the network does not know its operations.
pub fn libra_grad(objective: &Objective, input: &Tensor) -> Result<Tensor> {
    Ok((propagated(objective, input, Propagation::LibraGrad)? * input)?)
}

fn propagated(objective: &Objective, input: &Tensor, rule: Propagation) -> Result<Tensor> {
    let network = objective.network().with_propagation(rule)?;
    Objective::new(&*network, objective.score()).with_batch(objective.batch()).input_gradient(input)
}
