use crate::canvas::{finite, values};
use crate::masked::{Masking, mask_of};
use crate::rank::Cover;
use crate::road::{Road, road};
use candle_core::Tensor;
use faithful_core::{Objective, Result, Stream, correlation};

/// Added to a denominator, as pytorch-grad-cam has it.
const EPSILON: f64 = 1e-8;

/// The three parts of ARCC, each in `[0, 1]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Arcc {
    /// Pearson's correlation `r` of the map and the map of the input seen through it, as `(r + 1) / 2`; one half where either has no
    /// contrast.
    pub coherency: f64,
    /// The mean of the map scaled to `[0, 1]`.
    pub complexity: f64,
    /// ROAD's combined score at 20, 40, 60 and 80 percent, doubled and held to `[0, 1]`.
    pub road: f64,
}

impl Arcc {
    /// The harmonic mean of coherency, one minus complexity, and ROAD. Higher is better, in `[0, 1]`; next to 0 where one of the three is
    /// 0, as for a map without contrast.
    pub fn combined(&self) -> f64 {
        let inverse = |part: f64| 1.0 / (part + EPSILON);
        3.0 / (inverse(self.coherency) + inverse(1.0 - self.complexity) + inverse(self.road))
    }
}

/// ARCC (Domeniconi et al. 2026, arXiv 2605.14641): one number of three, coherency and complexity as in ADCC (Poppi et al. 2021), and ROAD
/// in the place of the average drop.
///
/// `explain` must be the method with everything else held fixed; it is called once, for the input times the map scaled to `[0, 1]`.
/// ROAD removes equal areas and has noise of its own from `stream`, where pytorch-grad-cam's cuts at thresholds.
///
/// # Errors
/// As [`road`], and those of `explain`.
pub fn arcc(
    objective: &Objective,
    input: &Tensor,
    map: &Tensor,
    stream: &Stream,
    explain: &mut dyn FnMut(&Tensor) -> Result<Tensor>,
) -> Result<Arcc> {
    let cover = Cover::new(input, map)?;
    let mask = mask_of(map, Masking::Soft)?;
    let seen = values(input)?.iter().enumerate().map(|(i, x)| x * mask[i % cover.cells]).collect();
    let seen = Tensor::from_vec::<_, f32>(seen, input.shape(), input.device())?.to_dtype(input.dtype())?;
    let again = finite(&explain(&seen)?)?;
    if again.len() != mask.len() {
        let expected = format!("{:?}, as before", map.dims());
        return Err(faithful_core::Error::shape("the masked input's map", expected, &[again.len()]));
    }
    let scaled: Vec<f64> = mask.iter().map(|value| f64::from(*value)).collect();
    let parameters = Road { percentiles: vec![20.0, 40.0, 60.0, 80.0], ..Road::default() };
    let combined = road(objective, input, map, &parameters, stream)?.combined();
    Ok(Arcc {
        coherency: f64::midpoint(correlation(&scaled, &again), 1.0),
        complexity: scaled.iter().sum::<f64>() / scaled.len().max(1) as f64,
        road: (2.0 * combined).clamp(0.0, 1.0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Sum;
    use candle_core::Device;
    use faithful_core::Target;

    #[test]
    fn it_is_the_harmonic_mean() {
        let parts = Arcc { coherency: 0.5, complexity: 0.75, road: 1.0 };
        // 3 / (2 + 4 + 1)
        assert!((parts.combined() - 3.0 / 7.0).abs() < 1e-6);
        assert!((Arcc { coherency: 1.0, complexity: 0.0, road: 1.0 }.combined() - 1.0).abs() < 1e-6, "perfect");
        for worst in [
            Arcc { coherency: 0.0, complexity: 0.0, road: 1.0 },
            Arcc { coherency: 1.0, complexity: 1.0, road: 1.0 },
            Arcc { coherency: 1.0, complexity: 0.0, road: 0.0 },
        ] {
            assert!(worst.combined() < 1e-6, "{worst:?}");
        }
    }

    #[test]
    fn parts_of_a_small_map_are_known() {
        // A bright corner; the sum of the input is the score.
        let mut pixels = vec![0f32; 64];
        pixels[..4].fill(0.25);
        let input = Tensor::from_vec(pixels, (1, 1, 8, 8), &Device::Cpu).unwrap();
        let map = input.squeeze(0).unwrap().squeeze(0).unwrap();
        let network = Sum::default();
        let objective = Objective::new(&network, &Target::Output(0));
        let stream = Stream::new(0, "");
        let mut asked = None;
        let same = arcc(&objective, &input, &map, &stream, &mut |seen| {
            asked = Some(seen.clone());
            Ok(map.clone())
        });
        let same = same.unwrap();
        assert!((same.coherency - 1.0).abs() < 1e-12 && (same.complexity - 4.0 / 64.0).abs() < 1e-12, "{same:?}");
        // All of the score lies in the corner: what is relevant takes it along, what is not leaves it.
        assert!(same.road > 0.5, "{same:?}");
        let asked = asked.unwrap();
        assert_eq!(
            asked.flatten_all().unwrap().to_vec1::<f32>().unwrap(),
            values(&input).unwrap(),
            "seen through the map"
        );
        let opposite = arcc(&objective, &input, &map, &stream, &mut |_| Ok(map.neg()?)).unwrap();
        assert!(opposite.coherency.abs() < 1e-12);
        let flat = arcc(&objective, &input, &map.zeros_like().unwrap(), &stream, &mut |_| Ok(map.clone())).unwrap();
        assert_eq!((flat.coherency, flat.complexity), (0.5, 0.0));
        assert!(arcc(&objective, &input, &map, &stream, &mut |_| Ok(map.narrow(0, 0, 2)?)).is_err());
    }
}
