use crate::Tap;

/// How an output is carried back where it is no derivative: see
/// [`Network::with_propagation`](crate::Network::with_propagation).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Propagation {
    /// Layer-wise relevance propagation (Bach et al. 2015): the output times the cotangent is divided among the operands of each
    /// operation, down to the taps.
    Relevance(Composite),
    /// `AttnLRP` (Achtibat et al. 2024, arXiv 2402.05602): layer-wise relevance propagation with rules for attention and normalisations. What
    /// is given at the taps is relevance over the value, in the gradient's place.
    Attention,
    /// `LibraGrad` (Mehri et al. 2025, arXiv 2411.16760): the gradient with attention weights, the divisors of normalisations and the gates
    /// of activations taken as given, and a half to each of two factors that multiply each other.
    LibraGrad,
    /// `DeepLIFT`'s rescale rule (Shrikumar et al. 2017): each operation's quotient of differences, of the output over the operand,
    /// between the input and a reference in which the value at this tap is zero. What is given at the taps is a multiplier in the
    /// gradient's place; at the tap itself, times the value, it sums to the output's difference from the reference.
    Rescale(Tap),
}

/// Which rule of layer-wise relevance propagation each kind of layer follows, by Zennit's names. Stabilisers are 1e-6 throughout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Composite {
    /// The epsilon rule everywhere.
    Epsilon,
    /// Convolutions by the z+ rule, linear layers by the epsilon rule.
    EpsilonPlus,
    /// Convolutions by the gamma rule with a gamma of 1/4, the first of them by the box rule between the input's lowest and highest
    /// value, linear layers by the epsilon rule.
    EpsilonGammaBox,
}
