use candle_core::Tensor;
use faithful_core::{Error, Result, Score};

/// A network's only output as a number of cycles: times `factor`, plus `offset`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cycles {
    /// What the output is multiplied by.
    pub factor: f64,
    /// What is added afterwards, in cycles.
    pub offset: f64,
}

impl Cycles {
    /// The remaining life of a network that gives cycles.
    pub const LIFE: Self = Self { factor: 1.0, offset: 0.0 };

    /// The cycles that are missing to `cap`: what shortens the predicted life counts as positive, and a healthy machine
    /// has 0, which methods need that weight by scores.
    ///
    /// ```
    /// use candle_core::{Device, Tensor};
    /// use faithful_core::Score;
    /// use faithful_rul::Cycles;
    /// # fn main() -> faithful_core::Result<()> {
    /// // The output is a share of 100 cycles.
    /// let life = Cycles { factor: 100.0, offset: 0.0 };
    /// let output = Tensor::new(&[[0.25f32], [1.0]], &Device::Cpu)?;
    /// assert_eq!(life.score(&output)?.to_vec1::<f32>()?, [25.0, 100.0]);
    /// assert_eq!(life.wear(125.0).score(&output)?.to_vec1::<f32>()?, [100.0, 25.0]);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn wear(self, cap: f32) -> Self {
        Self { factor: -self.factor, offset: f64::from(cap) - self.offset }
    }
}

impl Score for Cycles {
    fn score(&self, output: &Tensor) -> Result<Tensor> {
        let (_, outputs) = output.dims2().map_err(|_| Error::shape("network output", "(N, 1)", output.dims()))?;
        if outputs != 1 {
            return Err(Error::shape("network output", "(N, 1), the remaining life", output.dims()));
        }
        Ok(output.squeeze(1)?.affine(self.factor, self.offset)?)
    }
}
