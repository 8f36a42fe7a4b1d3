use crate::patches::Patches;
use candle_core::Tensor;
use faithful_core::{Objective, Result, Stream, correlation};
use rand::seq::index::sample;
use std::num::NonZeroUsize;

/// The parameters of [`sensitivity_n`].
#[derive(Clone, Debug)]
pub struct SensitivityN {
    /// How many patches there are along each axis.
    pub side: NonZeroUsize,
    /// Which shares of the patches are hidden together, each in `(0, 1)`.
    pub shares: Vec<f64>,
    /// How many sets are drawn for each share.
    pub draws: NonZeroUsize,
}

impl Default for SensitivityN {
    /// 14 by 14 patches; 5, 20, 50 and 80 percent of them; 16 sets each.
    fn default() -> Self {
        let number = |n| NonZeroUsize::new(n).unwrap_or(NonZeroUsize::MIN);
        Self { side: number(14), shares: vec![0.05, 0.2, 0.5, 0.8], draws: number(16) }
    }
}

/// Sensitivity-n (Ancona et al. 2018, Eq. 8): how well the map's sum over a set of cells tells by how much the score falls without
/// them, as Pearson's correlation over random sets of one size, the mean over sizes. Higher is better, in `[-1, 1]`: 1 for the
/// contributions to a linear score, 0 where the map, or the score, is the same for all sets.
///
/// The paper hides single cells of small inputs; here sets are of patches, because single pixels of a photo change nothing.
/// Draw `i` is `stream`'s draw `i`.
///
/// # Errors
/// [`Error::Shape`](faithful_core::Error::Shape) where map and input do not fit, [`Error::NotFinite`](faithful_core::Error::NotFinite)
/// where the map has NaN or infinity, [`Error::Parameter`](faithful_core::Error::Parameter) for a share outside `(0, 1)`.
pub fn sensitivity_n(
    objective: &Objective,
    input: &Tensor,
    map: &Tensor,
    parameters: &SensitivityN,
    stream: &Stream,
) -> Result<f64> {
    let SensitivityN { side, shares, draws } = parameters;
    if shares.is_empty() || shares.iter().any(|share| !(*share > 0.0 && *share < 1.0)) {
        let reason = format!("{shares:?}: at least one, all in (0, 1)");
        return Err(faithful_core::Error::parameter("sensitivity-n's shares", reason));
    }
    let patches = Patches::new(input, map, side.get())?;
    let count = patches.count();
    let sets: Vec<Vec<usize>> = (0..shares.len() * draws.get())
        .map(|draw| {
            let size = (shares[draw / draws.get()] * count as f64).round().max(1.0) as usize;
            sample(&mut stream.draw(draw), count, size.min(count)).into_vec()
        })
        .collect();
    let falls = patches.falls(objective, input, &sets)?;
    let promised: Vec<f64> = sets.iter().map(|set| set.iter().map(|patch| patches.promised[*patch]).sum()).collect();
    let pairs = falls.chunks(draws.get()).zip(promised.chunks(draws.get()));
    Ok(pairs.map(|(falls, promised)| correlation(falls, promised)).sum::<f64>() / shares.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Sum;
    use candle_core::{Device, Tensor};
    use faithful_core::Target;

    fn measured(map: impl Fn(&Tensor) -> Tensor) -> f64 {
        let values: Vec<f32> = (0..256).map(|i| ((i * 37) % 101) as f32).collect();
        let input = Tensor::from_vec(values, (1, 1, 16, 16), &Device::Cpu).unwrap();
        let map = map(&input.squeeze(0).unwrap().squeeze(0).unwrap());
        let network = Sum::default();
        let objective = Objective::new(&network, &Target::Output(0));
        sensitivity_n(&objective, &input, &map, &SensitivityN::default(), &Stream::new(3, "photo")).unwrap()
    }

    #[test]
    fn contributions_to_a_sum_are_perfect_and_their_opposites_the_worst() {
        assert!((measured(|x| (x * 5.0).unwrap()) - 1.0).abs() < 1e-9, "whatever the map's unit");
        assert!((measured(|x| x.neg().unwrap()) + 1.0).abs() < 1e-9);
        assert_eq!(measured(|x| x.zeros_like().unwrap()), 0.0);
    }

    #[test]
    fn shares_outside_of_the_range_are_refused() {
        let input = Tensor::ones((1, 1, 4, 4), candle_core::DType::F32, &Device::Cpu).unwrap();
        let network = Sum::default();
        let objective = Objective::new(&network, &Target::Output(0));
        for shares in [vec![], vec![0.0], vec![1.0], vec![f64::NAN]] {
            let parameters = SensitivityN { shares, ..SensitivityN::default() };
            let map = input.squeeze(0).unwrap().squeeze(0).unwrap();
            assert!(sensitivity_n(&objective, &input, &map, &parameters, &Stream::new(0, "")).is_err());
        }
    }
}
