use candle_core::Tensor;
use faithful_core::{Error, LayerTrace, Result};

/// What an estimator of the gradient hands to a rule, for one layer.
///
/// All tensors are of the activation's shape `(N, C, h, w)`, or `(N, C, t)` for series.
#[derive(Clone, Debug)]
pub struct Estimate {
    /// The activation `A(x)` of the input itself.
    pub activation: Tensor,
    /// The expectations of the rule's [sensitivities](CamRule::sensitivity), in its order.
    pub sensitivities: Vec<Tensor>,
    /// The last draw as it was; under a plain gradient, the only one. No paper needs it, but one peer does.
    pub last: LayerTrace,
}

impl Estimate {
    /// The first sensitivity: for most rules the expected gradient.
    ///
    /// # Errors
    /// [`Error::Parameter`] where there is none.
    pub fn gradient(&self) -> Result<&Tensor> {
        self.sensitivities.first().ok_or_else(|| Error::parameter("sensitivities", "there is none, one is needed"))
    }
}

/// How channels become a map, whatever the gradient: a class activation map is a rule on an estimator.
///
/// A rule has two parts. `sensitivity` turns the activation and gradient *of one draw* into element-wise quantities;
/// the estimator averages them over its draws (after multiplying by the difference from the baseline, where it has
/// one), and `map` combines these expectations with the activation of the input itself. Most rules are linear in the
/// gradient: their sensitivity is the gradient as it is. Grad-CAM++ weighs each draw's gradient by itself (thesis,
/// Eq. 59-60), Smooth Grad-CAM++ needs the averages of the gradient's powers.
#[derive(Clone, Copy)]
pub struct CamRule {
    /// The name by which it is asked for.
    pub name: &'static str,
    /// One sentence for people.
    pub summary: &'static str,
    /// Authors, year, equation.
    pub source: &'static str,
    /// The estimator under it where none is named: `plain` for nearly all.
    pub estimator: &'static str,
    /// Whether every class gets the same map.
    pub class_agnostic: bool,
    /// Whether the raw map can be negative.
    pub signed: bool,
    /// Whether it is defined only where a global average pool and one linear layer follow.
    pub pooled_head: bool,
    /// Whether the map, before a final ReLU, sums to the score where the score is homogeneous in the layer.
    pub conserves: bool,
    /// From one draw's trace to element-wise quantities of the same shape.
    pub sensitivity: fn(&LayerTrace) -> Result<Vec<Tensor>>,
    /// From their expectations and the input's activation to the map `(N, h, w)`.
    pub map: fn(&Estimate) -> Result<Tensor>,
    /// The weighted channels `(N, C, h, w)` whose sum is the map before a final `ReLU`: what eigen smoothing projects. Nothing for a
    /// rule that projects already.
    pub weighted: Option<fn(&Estimate) -> Result<Tensor>>,
}

impl std::fmt::Debug for CamRule {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("CamRule").field("name", &self.name).finish_non_exhaustive()
    }
}

impl CamRule {
    /// The rule on a plain gradient: the map of a single trace.
    pub fn apply(&self, trace: &LayerTrace) -> Result<Tensor> {
        let sensitivities = (self.sensitivity)(trace)?;
        (self.map)(&Estimate { activation: trace.activation.clone(), sensitivities, last: trace.clone() })
    }
}

/// The sensitivity of every rule that is linear in the gradient.
// A line of the rule table: others can fail.
#[allow(clippy::unnecessary_wraps)]
pub(crate) fn gradient(trace: &LayerTrace) -> Result<Vec<Tensor>> {
    Ok(vec![trace.gradient.clone()])
}

/// The axes of place: all after batch and channel.
///
/// # Errors
/// [`Error::Shape`] unless there are some.
pub(crate) fn places(activation: &Tensor) -> Result<Vec<usize>> {
    if activation.rank() < 3 {
        let expected = "(N, C, h, w) or (N, C, t); choose a layer that still has places, before pooling and flattening";
        return Err(Error::shape("the target layer's output", expected, activation.dims()));
    }
    Ok((2..activation.rank()).collect())
}

/// Sums over all places, which stay as axes of size one: `(N, C, 1, 1)`.
pub(crate) fn sum_places(x: &Tensor) -> Result<Tensor> {
    Ok(x.sum_keepdim(places(x)?)?)
}

/// `sum_k w_k A_k` for weights that broadcast to the activation: `(N, h, w)`.
pub(crate) fn weigh(weights: &Tensor, activation: &Tensor) -> Result<Tensor> {
    Ok(activation.broadcast_mul(weights)?.sum(1)?)
}

/// `numerator / denominator`, 0 where the denominator is 0.
pub(crate) fn divide_or_zero(numerator: &Tensor, denominator: &Tensor) -> Result<Tensor> {
    let zero = denominator.eq(0f64)?;
    let safe = (denominator + zero.to_dtype(denominator.dtype())?)?;
    let quotient = numerator.broadcast_div(&safe)?;
    Ok(zero.broadcast_as(quotient.shape())?.where_cond(&quotient.zeros_like()?, &quotient)?)
}
