use candle_core::{DType, Tensor};
use faithful_core::{Convergence, Error, Result};
use std::fmt;

/// How much each value of an input contributed to the score.
#[derive(Clone, Debug)]
pub struct Attribution {
    /// One number per value of the input, of its shape `(1, …)`; [`saliency`](crate::saliency) has one per pixel,
    /// `(1, H, W)`. Raw, signed where the method is signed.
    pub map: Tensor,
    /// The standard error of each number, of the map's shape, where the method draws and has drawn at least twice.
    pub standard_error: Option<Tensor>,
    /// How the sampling or the quadrature ended, for methods that have either.
    pub convergence: Option<Convergence>,
    /// What the reader of the map should know.
    pub notes: Vec<Note>,
}

/// Something that a person should know before looking at a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Note {
    /// The gradient was zero wherever it was taken: the map is zero, and says nothing of the input.
    ZeroGradient,
    /// A stopping rule was asked for and not satisfied within the draws.
    NotConverged,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ZeroGradient => {
                "the gradient is zero everywhere, so the map is zero and says nothing of the input: \
                 explain the logit instead of the probability, or take baselines farther away"
            }
            Self::NotConverged => "the stopping rule was not satisfied within the draws: allow more draws",
        })
    }
}

/// How a map `(N, C, …)` loses its channels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Channels {
    /// Their sum: keeps sign and completeness.
    #[default]
    Sum,
    /// The largest magnitude (thesis, Eq. 12).
    LargestMagnitude,
    /// The Euclidean norm.
    Norm,
}

/// One number per place: `(N, C, …)` to `(N, …)`.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use faithful_gradient::{Channels, reduce_channels};
/// # fn main() -> faithful_core::Result<()> {
/// let map = Tensor::new(&[[[[3f32]], [[-4.0]]]], &Device::Cpu)?;
/// let value = |channels| -> faithful_core::Result<f32> {
///     Ok(reduce_channels(&map, channels)?.flatten_all()?.to_vec1::<f32>()?[0])
/// };
/// assert_eq!(value(Channels::Sum)?, -1.0);
/// assert_eq!(value(Channels::LargestMagnitude)?, 4.0);
/// assert_eq!(value(Channels::Norm)?, 5.0);
/// # Ok(())
/// # }
/// ```
pub fn reduce_channels(map: &Tensor, channels: Channels) -> Result<Tensor> {
    if map.rank() < 2 {
        return Err(Error::shape("a map with channels", "(N, C, …)", map.dims()));
    }
    Ok(match channels {
        Channels::Sum => map.sum(1)?,
        Channels::LargestMagnitude => map.abs()?.max(1)?,
        Channels::Norm => map.sqr()?.sum(1)?.sqrt()?,
    })
}

impl Attribution {
    /// A deterministic map, checked.
    pub(crate) fn new(map: Tensor) -> Result<Self> {
        let notes = checked(&map)?;
        Ok(Self { map, standard_error: None, convergence: None, notes })
    }

    /// A map with the account of its sampling, checked.
    pub(crate) fn sampled(map: Tensor, standard_error: Option<Tensor>, mut convergence: Convergence) -> Result<Self> {
        let mut notes = checked(&map)?;
        if !convergence.satisfied {
            notes.push(Note::NotConverged);
        }
        if let Some(error) = &standard_error {
            let length = norm(&map)?;
            convergence.standard_error = (length > 0.0).then_some(norm(error)? / length);
        }
        Ok(Self { map, standard_error, convergence: Some(convergence), notes })
    }
}

/// The L2 norm in f64.
fn norm(values: &Tensor) -> Result<f64> {
    Ok(values.to_dtype(DType::F64)?.sqr()?.sum_all()?.to_scalar::<f64>()?.sqrt())
}

fn checked(map: &Tensor) -> Result<Vec<Note>> {
    let size = map.to_dtype(DType::F64)?.abs()?.sum_all()?.to_scalar::<f64>()?;
    if !size.is_finite() {
        return Err(Error::NotFinite { what: "the attribution".into(), place: None });
    }
    Ok(if size == 0.0 { vec![Note::ZeroGradient] } else { Vec::new() })
}
