use candle_core::{Tensor, Var};
use faithful_core::Result;

/// Adam with decoupled weight decay (Loshchilov and Hutter 2019).
///
/// candle-nn's hides its moments; a training that goes on after a kill needs them.
#[derive(Clone, Debug, Default)]
pub(crate) struct AdamW {
    /// Per weight, in the order of the variables.
    pub(crate) first: Vec<Vec<f32>>,
    pub(crate) second: Vec<Vec<f32>>,
    pub(crate) steps: usize,
}

const BETAS: (f64, f64) = (0.9, 0.999);
const EPSILON: f64 = 1e-8;

impl AdamW {
    pub(crate) fn new(variables: &[(String, Var)]) -> Self {
        let zeros = || variables.iter().map(|(_, variable)| vec![0.0; variable.elem_count()]).collect();
        Self { first: zeros(), second: zeros(), steps: 0 }
    }

    /// One step against the gradients, which are in the order of the variables. Biases do not decay.
    pub(crate) fn step(
        &mut self,
        variables: &[(String, Var)],
        gradients: &[Vec<f32>],
        rate: f64,
        decay: f64,
    ) -> Result<()> {
        self.steps += 1;
        let corrected = |beta: f64| 1.0 - beta.powi(self.steps as i32);
        let (first, second) = (corrected(BETAS.0), corrected(BETAS.1));
        for (index, (_, variable)) in variables.iter().enumerate() {
            let mut weights = variable.flatten_all()?.to_vec1::<f32>()?;
            let decay = if variable.rank() > 1 { decay } else { 0.0 };
            let moments = self.first[index].iter_mut().zip(&mut self.second[index]);
            for ((weight, gradient), (m, v)) in weights.iter_mut().zip(&gradients[index]).zip(moments) {
                let gradient = f64::from(*gradient);
                *m = (BETAS.0 * f64::from(*m) + (1.0 - BETAS.0) * gradient) as f32;
                *v = (BETAS.1 * f64::from(*v) + (1.0 - BETAS.1) * gradient * gradient) as f32;
                let step = f64::from(*m) / first / ((f64::from(*v) / second).sqrt() + EPSILON);
                *weight = (f64::from(*weight) * (1.0 - rate * decay) - rate * step) as f32;
            }
            variable.set(&Tensor::from_vec(weights, variable.shape(), variable.device())?)?;
        }
        Ok(())
    }
}

/// Shortens the gradients to `longest` where they are longer; their length before.
pub(crate) fn clip(gradients: &mut [Vec<f32>], longest: f64) -> f64 {
    let square = |values: &Vec<f32>| values.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>();
    let length = gradients.iter().map(square).sum::<f64>().sqrt();
    if length > longest {
        let factor = (longest / length) as f32;
        gradients.iter_mut().flatten().for_each(|value| *value *= factor);
    }
    length
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;
    use candle_nn::{Optimizer, ParamsAdamW};

    #[test]
    fn steps_are_those_of_candle_nn() {
        let start = Tensor::new(&[[0.5f32, -1.0, 2.0]], &Device::Cpu).unwrap();
        let (own, other) = (Var::from_tensor(&start).unwrap(), Var::from_tensor(&start).unwrap());
        let parameters = ParamsAdamW { lr: 0.1, weight_decay: 0.05, ..ParamsAdamW::default() };
        let mut candle = candle_nn::AdamW::new(vec![other.clone()], parameters).unwrap();
        let variables = [("w".to_owned(), own.clone())];
        let mut optimizer = AdamW::new(&variables);
        for _ in 0..20 {
            let loss = other.powf(2.0).unwrap().sum_all().unwrap();
            candle.step(&loss.backward().unwrap()).unwrap();
            let gradient: Vec<f32> =
                own.flatten_all().unwrap().to_vec1::<f32>().unwrap().iter().map(|w| 2.0 * w).collect();
            optimizer.step(&variables, &[gradient], 0.1, 0.05).unwrap();
        }
        let (own, other) = (own.to_vec2::<f32>().unwrap(), other.to_vec2::<f32>().unwrap());
        for (own, other) in own[0].iter().zip(&other[0]) {
            assert!((own - other).abs() < 1e-4, "{own} {other}");
        }
    }

    #[test]
    fn long_gradients_are_shortened() {
        let mut gradients = vec![vec![3.0f32], vec![4.0]];
        assert_eq!(clip(&mut gradients, 10.0), 5.0);
        assert_eq!(clip(&mut gradients, 1.0), 5.0);
        assert!((gradients[0][0] - 0.6).abs() < 1e-6 && (gradients[1][0] - 0.8).abs() < 1e-6);
    }
}
