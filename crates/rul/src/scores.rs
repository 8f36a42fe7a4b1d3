use faithful_core::{Error, Result};
use serde::{Deserialize, Serialize};

/// The errors of predictions of the remaining life.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// The mean squared error, in cycles squared.
    pub mse: f64,
    /// Its root, in cycles.
    pub rmse: f64,
    /// The mean absolute error, in cycles.
    pub mae: f64,
    /// The mean of errors relative to the true life, or to one cycle where that is more.
    pub mape: f64,
    /// NASA's sum of `exp(-d / 13) - 1` for early and `exp(d / 10) - 1` for late predictions: what promises too long a
    /// life costs more (Saxena et al. 2008).
    pub nasa: f64,
    /// How many predictions there are.
    pub count: usize,
}

impl Scores {
    /// The scores of `predicted` against `remaining`, both in cycles.
    ///
    /// ```
    /// use faithful_rul::Scores;
    /// let scores = Scores::of(&[10.0, 33.0], &[20.0, 20.0])?;
    /// assert_eq!((scores.mae, scores.mse), (11.5, (100.0 + 169.0) / 2.0));
    /// assert!((scores.nasa - ((10f64 / 13.0).exp() - 1.0 + 1.3f64.exp() - 1.0)).abs() < 1e-9);
    /// # Ok::<(), faithful_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Shape`] where their numbers differ or there are none, [`Error::NotFinite`] where a prediction is none.
    pub fn of(predicted: &[f32], remaining: &[f32]) -> Result<Self> {
        let count = predicted.len();
        if count != remaining.len() || count == 0 {
            let expected = format!("{} predictions, at least one", remaining.len());
            return Err(Error::shape("predictions", expected, &[count]));
        }
        if let Some(place) = predicted.iter().position(|value| !value.is_finite()) {
            return Err(Error::NotFinite { what: "predictions".into(), place: Some(format!("number {place}")) });
        }
        let pairs = || predicted.iter().zip(remaining).map(|(p, r)| (f64::from(*p) - f64::from(*r), f64::from(*r)));
        let mean = |of: &dyn Fn((f64, f64)) -> f64| pairs().map(of).sum::<f64>() / count as f64;
        let mse = mean(&|(error, _)| error * error);
        let penalty = |error: f64| if error < 0.0 { (-error / 13.0).exp_m1() } else { (error / 10.0).exp_m1() };
        Ok(Self {
            mse,
            rmse: mse.sqrt(),
            mae: mean(&|(error, _)| error.abs()),
            mape: mean(&|(error, life)| error.abs() / life.max(1.0)),
            nasa: pairs().map(|(error, _)| penalty(error)).sum(),
            count,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn perfect_predictions_cost_nothing_and_what_is_no_number_is_refused() {
        let perfect = Scores::of(&[3.0, 0.0], &[3.0, 0.0]).unwrap();
        assert_eq!((perfect.rmse, perfect.mape, perfect.nasa, perfect.count), (0.0, 0.0, 0.0, 2));
        assert_eq!(Scores::of(&[2.0], &[0.0]).unwrap().mape, 2.0);
        assert!(Scores::of(&[1.0], &[1.0, 2.0]).is_err() && Scores::of(&[], &[]).is_err());
        assert!(Scores::of(&[f32::NAN], &[1.0]).is_err());
    }
}
