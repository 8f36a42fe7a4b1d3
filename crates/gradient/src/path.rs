use crate::sampled::{gradients, scores, single};
use crate::{Attribution, Quadrature};
use candle_core::{DType, Tensor};
use faithful_baseline::blur;
use faithful_core::{Convergence, ConvergenceStep, Error, Monitor, Objective, Result, Stop};
use faithful_tensor::{RowFactors, add_weighted_rows, interpolate, row_sums};
use std::num::NonZeroUsize;

/// A way from a baseline to an input: `gamma(0)` is the baseline, `gamma(1)` the input (thesis, Eq. 44).
///
/// Any continuous, piecewise differentiable way gives complete attributions. A monotone one, on which no value turns
/// back, keeps the other axioms of Sundararajan et al. (2017) too. A closure of `alpha` is a path.
pub trait Path: Send + Sync {
    /// `gamma(alpha)` for `alpha` in `[0, 1]`: `(1, …)`.
    fn point(&self, alpha: f64) -> Result<Tensor>;

    /// The points of several `alphas`, `(n, …)`.
    fn points(&self, alphas: &[f64]) -> Result<Tensor> {
        Ok(Tensor::cat(&alphas.iter().map(|alpha| self.point(*alpha)).collect::<Result<Vec<_>>>()?, 0)?)
    }

    /// The velocities at several `alphas`, `(n, …)`.
    fn velocities(&self, alphas: &[f64]) -> Result<Tensor> {
        Ok(Tensor::cat(&alphas.iter().map(|alpha| self.velocity(*alpha)).collect::<Result<Vec<_>>>()?, 0)?)
    }

    /// `d gamma / d alpha`, of the point's shape; by default the central difference over a thousandth of the path,
    /// one-sided at its ends.
    fn velocity(&self, alpha: f64) -> Result<Tensor> {
        let (before, after) = ((alpha - 5e-4).max(0.0), (alpha + 5e-4).min(1.0));
        Ok(((self.point(after)? - self.point(before)?)? / (after - before))?)
    }
}

impl<F: Fn(f64) -> Result<Tensor> + Send + Sync> Path for F {
    fn point(&self, alpha: f64) -> Result<Tensor> {
        self(alpha)
    }
}

/// The straight line `x' + alpha (x - x')`: integrated gradients (thesis, Eq. 45-46).
#[derive(Clone, Debug)]
pub struct Straight {
    baseline: Tensor,
    input: Tensor,
    difference: Tensor,
}

impl Straight {
    /// The line from `baseline` to `input`, both `(1, …)` of one shape.
    pub fn new(baseline: &Tensor, input: &Tensor) -> Result<Self> {
        single(input)?;
        if baseline.shape() != input.shape() {
            return Err(Error::shape("the baseline", format!("{:?}, as the input", input.dims()), baseline.dims()));
        }
        Ok(Self { baseline: baseline.clone(), input: input.clone(), difference: (input - baseline)? })
    }
}

impl Path for Straight {
    fn point(&self, alpha: f64) -> Result<Tensor> {
        self.points(&[alpha])
    }

    fn points(&self, alphas: &[f64]) -> Result<Tensor> {
        Ok(interpolate(&self.baseline, &self.input, alphas)?)
    }

    fn velocities(&self, alphas: &[f64]) -> Result<Tensor> {
        let mut shape = self.difference.dims().to_vec();
        shape[0] = alphas.len();
        Ok(self.difference.broadcast_as(shape)?.contiguous()?)
    }

    fn velocity(&self, _: f64) -> Result<Tensor> {
        Ok(self.difference.clone())
    }
}

/// From a blurred input to the input, the blur's width shrinking linearly: blur integrated gradients (Xu et al. 2020).
///
/// No baseline has to be chosen. Values need not go up or down all the way: it is a path, not a monotone one.
#[derive(Clone, Debug)]
pub struct BlurPath {
    input: Tensor,
    sigma: f64,
}

impl BlurPath {
    /// The path of an image `(1, C, H, W)` from standard deviation `sigma` in pixels, or of a series `(1, C, T)` in steps of
    /// time; from above 0 down to 0.
    pub fn new(input: &Tensor, sigma: f64) -> Result<Self> {
        single(input)?;
        if ![3, 4].contains(&input.rank()) {
            let expected = "an image (1, C, H, W) or a series (1, C, T)";
            return Err(Error::shape("an input to blur", expected, input.dims()));
        }
        if !sigma.is_finite() || sigma <= 0.0 {
            return Err(Error::parameter("sigma", format!("{sigma}: a width above 0 is needed")));
        }
        Ok(Self { input: input.clone(), sigma })
    }
}

impl Path for BlurPath {
    fn point(&self, alpha: f64) -> Result<Tensor> {
        let sigma = self.sigma * (1.0 - alpha);
        // Below a tenth of a pixel the Gaussian's neighbours weigh less than f64 resolves.
        if sigma < 0.1 { Ok(self.input.clone()) } else { blur(&self.input, sigma, self.sigma) }
    }
}

/// How a path is integrated.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Integration {
    /// How many gradients at most, at least 1.
    pub steps: NonZeroUsize,
    /// Where along the path they are taken, and with which weight.
    pub quadrature: Quadrature,
    /// When to stop earlier. With a threshold few steps are tried first, then two or three times as many, until the
    /// completeness gap ([`Stop::Delta`]; thesis, Eq. 35) or the change of the summed gradient since the last attempt
    /// ([`Stop::Difference`]) is below it, or `steps` are used. Equally spaced rules keep the gradients they have.
    pub stop: Stop,
}

impl Default for Integration {
    /// 50 Gauss-Legendre points, as Captum has it; no early stop.
    fn default() -> Self {
        let steps = const { NonZeroUsize::new(50).unwrap() };
        Self { steps, quadrature: Quadrature::GaussLegendre, stop: Stop::Draws }
    }
}

/// Integrated gradients: `(x - x') * integral of dS/dx (x' + a (x - x')) da` (Sundararajan et al. 2017; thesis,
/// Eq. 32-35).
///
/// `input` and `baseline` are `(1, …)` of one shape; so is the map. It is signed and sums to `S(x) - S(x')` up to the
/// gap that the convergence reports as `delta`. [`Quadrature::Right`] is the sum of Eq. 33.
///
/// ```
/// # use candle_core::{Device, Tensor};
/// # use faithful_core::{CandleModel, CandleNetwork, LayerInfo, Objective, Probe, Result, Target};
/// # use faithful_gradient::{Integration, integrated_gradients};
/// struct Product;
/// impl CandleModel for Product {
///     fn layers(&self) -> &[LayerInfo] { &[] }
///     fn forward(&self, input: &Tensor, _: &mut dyn Probe) -> Result<Tensor> {
///         Ok((input.narrow(1, 0, 1)? * input.narrow(1, 1, 1)?)?)
///     }
/// }
/// # fn main() -> Result<()> {
/// let objective = Objective::new(&CandleNetwork(Product), &Target::Output(0));
/// let input = Tensor::new(&[[3f32, 4.0]], &Device::Cpu)?;
/// let attribution = integrated_gradients(&objective, &input, &input.zeros_like()?, &Integration::default())?;
/// // The product is 12, and both factors have the same share.
/// let shares = attribution.map.to_vec2::<f32>()?;
/// assert!(shares[0].iter().all(|share| (share - 6.0).abs() < 1e-5));
/// # Ok(())
/// # }
/// ```
pub fn integrated_gradients(
    objective: &Objective,
    input: &Tensor,
    baseline: &Tensor,
    parameters: &Integration,
) -> Result<Attribution> {
    path_attribution(objective, &Straight::new(baseline, input)?, parameters)
}

/// The attribution along a path: `integral of dS/dx (gamma(a)) * dgamma/da da` (Sundararajan et al. 2017; thesis,
/// Eq. 44).
///
/// The map has the shape of the path's points `(1, …)` and sums to `S(gamma(1)) - S(gamma(0))` up to the gap that the
/// convergence reports as `delta`.
pub fn path_attribution(objective: &Objective, path: &dyn Path, parameters: &Integration) -> Result<Attribution> {
    integrate(objective, path, parameters, false)
}

/// As [`path_attribution`]; `announced` where the network knows already how many gradients will come.
pub(crate) fn integrate(
    objective: &Objective,
    path: &dyn Path,
    parameters: &Integration,
    announced: bool,
) -> Result<Attribution> {
    // The monitor knows which thresholds are valid.
    Monitor::new(parameters.stop)?;
    let ends = Tensor::cat(&[path.point(1.0)?, path.point(0.0)?], 0)?;
    let wanted = match scores(objective, &ends)?.as_slice() {
        [input, baseline] => input - baseline,
        _ => return Err(Error::shape("the path's points", "(1, …)", path.point(1.0)?.dims())),
    };
    let (levels, nested) = match parameters.stop {
        Stop::Draws => (vec![parameters.steps], true),
        Stop::Delta(_) | Stop::Difference(_) => parameters.quadrature.levels(parameters.steps),
    };
    let dtype = ends.dtype();
    let mut known: Vec<f64> = Vec::new();
    let mut sum = ends.narrow(0, 0, 1)?.to_dtype(DType::F64)?.zeros_like()?;
    let (mut total, mut gradient_sum, mut used) = (sum.clone(), 0.0, 0);
    let (mut value, mut satisfied) = (None, false);
    let mut trace: Vec<ConvergenceStep> = Vec::new();
    for level in levels {
        let nodes = parameters.quadrature.nodes(level);
        // Equally spaced rules differ between levels by this factor alone, and can go on with the sum they have.
        let unit = if nested { nodes.iter().fold(0.0, |unit: f64, node| unit.max(node.1)) } else { 1.0 };
        if !nested {
            (known, sum, gradient_sum) = (Vec::new(), sum.zeros_like()?, 0.0);
        }
        let fresh: Vec<(f64, f64)> =
            nodes.into_iter().filter(|(alpha, _)| !known.iter().any(|seen| (seen - alpha).abs() < 1e-12)).collect();
        if !announced {
            objective.network().announce(0, fresh.len());
        }
        for part in fresh.chunks(objective.batch().get()) {
            let (alphas, weights): (Vec<f64>, Vec<f64>) =
                part.iter().map(|(alpha, weight)| (*alpha, weight / unit)).unzip();
            let gradients = gradients(objective, &path.points(&alphas)?)?;
            sum = add_weighted_rows(&sum, &gradients, RowFactors::Rows(&path.velocities(&alphas)?), &weights)?;
            for (own, weight) in row_sums(&gradients)?.into_iter().zip(&weights) {
                gradient_sum += own * weight;
            }
        }
        used += fresh.len();
        known.extend(fresh.iter().map(|(alpha, _)| alpha));
        let mean = gradient_sum * unit;
        let difference = trace.last().map(|step: &ConvergenceStep| (mean - step.gradient_sum).abs());
        let delta = Some(sum.sum_all()?.to_scalar::<f64>()? * unit - wanted);
        trace.push(ConvergenceStep { draws: used, gradient_sum: mean, difference, delta });
        total = (&sum * unit)?;
        value = match parameters.stop {
            Stop::Draws => None,
            Stop::Difference(_) => difference,
            Stop::Delta(_) => delta.map(f64::abs),
        };
        satisfied = match parameters.stop {
            Stop::Draws => true,
            Stop::Difference(threshold) | Stop::Delta(threshold) => value.is_some_and(|value| value < threshold),
        };
        if satisfied {
            break;
        }
    }
    let last = trace.last();
    let convergence = Convergence {
        rule: parameters.stop,
        value,
        satisfied,
        draws: used,
        difference: last.and_then(|step| step.difference),
        delta: last.and_then(|step| step.delta),
        standard_error: None,
        trace,
    };
    Attribution::sampled(total.to_dtype(dtype)?, None, convergence)
}
