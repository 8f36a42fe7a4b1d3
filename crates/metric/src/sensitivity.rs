use crate::canvas::{finite, values};
use candle_core::Tensor;
use faithful_core::{Error, Result, Stream};
use rand::Rng;
use std::num::NonZeroUsize;

/// The parameters of [`sensitivity`].
#[derive(Clone, Copy, Debug)]
pub struct Sensitivity {
    /// Every entry of the input moves by at most this, in the network's input space.
    pub radius: f64,
    /// How many disturbed inputs are explained.
    pub draws: NonZeroUsize,
}

impl Default for Sensitivity {
    /// Radius 0.02 and ten draws, as Captum and the Poly-CAM authors.
    fn default() -> Self {
        Self { radius: 0.02, draws: NonZeroUsize::new(10).expect("not zero") }
    }
}

/// How far an explanation moved under each disturbance, relative to its own length.
#[derive(Clone, Debug, PartialEq)]
pub struct Sensitivities {
    /// Per draw, `|map(x + d) - map(x)| / |map(x)|` in the L2 norm; the plain distance where `map(x)` is zero.
    pub distances: Vec<f64>,
}

impl Sensitivities {
    /// Max-sensitivity (Yeh et al. 2019, Definition 3.1, relative as Captum's): lower is better, at least 0.
    pub fn max(&self) -> f64 {
        self.distances.iter().copied().fold(0.0, f64::max)
    }

    /// Average sensitivity (Bhatt et al. 2020; Quantus): lower is better, at least 0.
    pub fn average(&self) -> f64 {
        self.distances.iter().sum::<f64>() / self.distances.len().max(1) as f64
    }
}

/// The sensitivity of an explanation to uniform noise on `input` within a box: every entry moves by a number in
/// `[-radius, radius)`, of `stream`'s draw `i` for the `i`-th input.
///
/// `explain` must be the method with everything else held fixed, its own random draws included: otherwise their noise
/// is measured too. It is called once for `input` and once per draw. For a method that differentiates the class that
/// the network predicts, fix that class.
///
/// # Errors
/// [`Error::Parameter`] for a radius that is negative or not finite, [`Error::Shape`] where maps differ in shape,
/// [`Error::NotFinite`] where one has NaN or infinity; and those of `explain`.
pub fn sensitivity(
    input: &Tensor,
    parameters: &Sensitivity,
    stream: &Stream,
    explain: &mut dyn FnMut(&Tensor) -> Result<Tensor>,
) -> Result<Sensitivities> {
    let map = explain(input)?;
    sensitivity_to(&map, disturbed(input, parameters, stream)?, explain)
}

/// The inputs that [`sensitivity`] explains.
pub(crate) fn disturbed(
    input: &Tensor,
    parameters: &Sensitivity,
    stream: &Stream,
) -> Result<impl Iterator<Item = Result<Tensor>>> {
    let Sensitivity { radius, draws } = *parameters;
    if !radius.is_finite() || radius < 0.0 {
        let reason = format!("{radius}: a finite number of at least 0 is needed");
        return Err(Error::parameter("sensitivity's radius", reason));
    }
    let photo = values(input)?;
    let disturbed = move |draw| {
        let mut generator = stream.draw(draw);
        let move_by = |value: &f32| value + (radius * (2.0 * generator.random::<f64>() - 1.0)) as f32;
        let row: Vec<f32> = photo.iter().map(move_by).collect();
        Ok(Tensor::from_vec(row, input.shape(), input.device())?.to_dtype(input.dtype())?)
    };
    Ok((0..draws.get()).map(disturbed))
}

/// How far the explanations of `disturbed` inputs are from `map`: [`sensitivity`] under disturbances of one's own.
pub fn sensitivity_to(
    map: &Tensor,
    disturbed: impl IntoIterator<Item = Result<Tensor>>,
    explain: &mut dyn FnMut(&Tensor) -> Result<Tensor>,
) -> Result<Sensitivities> {
    let own = finite(map)?;
    let length = norm(own.iter().copied());
    let length = if length > 0.0 { length } else { 1.0 };
    let distance = |input: Result<Tensor>| {
        let moved = explain(&input?)?;
        if moved.dims() != map.dims() {
            return Err(Error::shape(
                "the disturbed input's map",
                format!("{:?}, as before", map.dims()),
                moved.dims(),
            ));
        }
        Ok(norm(finite(&moved)?.iter().zip(&own).map(|(moved, own)| moved - own)) / length)
    };
    Ok(Sensitivities { distances: disturbed.into_iter().map(distance).collect::<Result<_>>()? })
}

fn norm(values: impl Iterator<Item = f64>) -> f64 {
    values.map(|value| value * value).sum::<f64>().sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    fn input() -> Tensor {
        Tensor::new(&[[[3f32, 4.0]]], &Device::Cpu).unwrap()
    }

    #[test]
    fn an_explanation_that_ignores_the_input_is_perfect() {
        let fixed = Tensor::new(&[1f32, 2.0], &Device::Cpu).unwrap();
        let mut calls = 0;
        let all = sensitivity(&input(), &Sensitivity::default(), &Stream::new(0, ""), &mut |_| {
            calls += 1;
            Ok(fixed.clone())
        });
        let all = all.unwrap();
        assert_eq!((all.max(), all.average(), calls), (0.0, 0.0, 11));
    }

    #[test]
    fn an_explanation_that_follows_the_input_moves_as_it_does() {
        let stream = Stream::new(0, "");
        let all = sensitivity(&input(), &Sensitivity::default(), &stream, &mut |x| Ok(x.flatten_all()?)).unwrap();
        // The input's length is 5, and it moves by at most 0.02 per axis.
        assert!(all.distances.iter().all(|distance| *distance > 0.0 && *distance <= 0.02 * 2f64.sqrt() / 5.0 + 1e-6));
        assert!(all.average() < all.max());
        let twice = sensitivity(&input(), &Sensitivity::default(), &stream, &mut |x| Ok(x.affine(2.0, 0.0)?)).unwrap();
        assert!((twice.max() - all.max()).abs() < 1e-6, "the map's unit does not matter");
    }

    #[test]
    fn the_worst_map_turns_round_and_a_zero_map_has_length_one() {
        let map = Tensor::new(&[3f32, 4.0], &Device::Cpu).unwrap();
        let round = sensitivity_to(&map, [Ok(input())], &mut |_| Ok(map.neg()?)).unwrap();
        assert_eq!(round.max(), 2.0);
        let zero = map.zeros_like().unwrap();
        let from_zero = sensitivity_to(&zero, [Ok(input())], &mut |_| Ok(map.clone())).unwrap();
        assert_eq!((from_zero.max(), from_zero.average()), (5.0, 5.0));
        assert_eq!(Sensitivities { distances: Vec::new() }.max(), 0.0);
    }

    #[test]
    fn bad_maps_and_parameters_are_errors() {
        let stream = Stream::new(0, "");
        let broken = Sensitivity { radius: -1.0, ..Sensitivity::default() };
        assert!(sensitivity(&input(), &broken, &stream, &mut |x| Ok(x.clone())).is_err());
        let mut calls = 0;
        let mut grows = |_: &Tensor| {
            calls += 1;
            Ok(Tensor::zeros(calls, candle_core::DType::F32, &Device::Cpu)?)
        };
        assert!(sensitivity(&input(), &Sensitivity::default(), &stream, &mut grows).is_err());
        let nan = Tensor::new(&[f32::NAN], &Device::Cpu).unwrap();
        assert!(sensitivity_to(&nan, [Ok(input())], &mut |_| Ok(nan.clone())).is_err());
    }
}
