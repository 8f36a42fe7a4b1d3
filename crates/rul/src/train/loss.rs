use super::options::Loss;
use candle_core::Tensor;
use faithful_core::Result;

/// Where an exponential goes on as a straight line.
const LINEAR: f64 = 4.0;
/// What NASA's score is divided by, to be about as large as the squared error in units of the cap.
const NASA: f64 = 300.0;

impl Loss {
    /// The loss of every error in `errors`, predicted less true in units of `cap` cycles.
    pub(super) fn of(self, errors: &Tensor, cap: f32) -> Result<Tensor> {
        let cap = f64::from(cap);
        Ok(match self {
            Self::Square => errors.sqr()?,
            Self::Nasa => {
                let late = grown(&(errors.relu()? * (cap / 10.0))?)?;
                let early = grown(&(errors.neg()?.relu()? * (cap / 13.0))?)?;
                ((late + early)? / NASA)?
            }
        })
    }
}

/// `exp(x) - 1` for `x` from 0 on, a straight line from [`LINEAR`] on.
fn grown(x: &Tensor) -> Result<Tensor> {
    let above = x.affine(1.0, -LINEAR)?.relu()?;
    Ok((((x - &above)?.exp()? - 1.0)? + (above * LINEAR.exp())?)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Scores;
    use candle_core::{DType, Device, Var};

    #[test]
    fn the_loss_is_nasas_score_up_to_where_it_is_a_line() {
        let cap = 100.0f32;
        for (error, expected) in
            [(-20.0f32, None), (-0.0, None), (7.0, None), (39.0, None), (50.0, Some(4f64.exp() * 2.0 - 1.0))]
        {
            let score = Scores::of(&[60.0 + error], &[60.0]).unwrap().nasa;
            let tensor = Tensor::new(&[[error / cap]], &Device::Cpu).unwrap().to_dtype(DType::F64).unwrap();
            let found = Loss::Nasa.of(&tensor, cap).unwrap().to_vec2::<f64>().unwrap()[0][0] * NASA;
            assert!((found - expected.unwrap_or(score)).abs() < 1e-4, "{error}: {found}");
        }
        // Late costs more than early, and both ways lead back.
        let errors = Var::new(&[[0.1f64, -0.1]], &Device::Cpu).unwrap();
        let loss = Loss::Nasa.of(errors.as_tensor(), cap).unwrap().sum_all().unwrap();
        let gradient = loss.backward().unwrap().get(&errors).unwrap().to_vec2::<f64>().unwrap();
        let expected = [10.0 * 1f64.exp() / NASA, -(100.0 / 13.0) * (10f64 / 13.0).exp() / NASA];
        assert!(gradient[0].iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-9), "{gradient:?}");
    }
}
