//! Whether a machine is like those that a network learnt from.

use crate::{Fleet, Preparation, Windows};
use candle_core::{Device, Tensor};
use faithful_core::{Error, Result};

/// How far windows are from those of the training machines: the Mahalanobis distance of each sensor's mean over the last
/// [`Familiarity::CYCLES`] cycles.
#[derive(Clone, Debug, PartialEq)]
pub struct Familiarity {
    mean: Vec<f64>,
    /// The inverse of the covariance, row after row.
    precision: Vec<f64>,
    /// The greatest squared distance of each training machine over its life, rising.
    known: Vec<f64>,
}

/// How far one window is from what was learnt.
#[derive(Clone, Debug, PartialEq)]
pub struct Unlike {
    /// The conformal p-value: the share of machines, itself among them, that were at least as far at some time.
    pub p: f64,
    /// The share of the squared distance of every sensor.
    pub shares: Vec<f64>,
}

/// What is added to the variances, which are about one: two sensors may say the same.
const RIDGE: f64 = 0.01;
/// How many cycles apart the windows are that it learns from.
const STRIDE: usize = 5;

impl Familiarity {
    /// Over how many cycles readings are averaged.
    pub const CYCLES: usize = 10;

    /// Of the machines that a network learns from.
    ///
    /// # Errors
    /// As [`Windows::all`].
    pub fn fit(fleet: &Fleet, preparation: &Preparation) -> Result<Self> {
        let windows = Windows::all(fleet, preparation, STRIDE)?;
        let points = means(&windows.inputs)?;
        let (count, width) = (points.len() as f64, preparation.sensors.len());
        let mean: Vec<f64> =
            (0..width).map(|sensor| points.iter().map(|point| point[sensor]).sum::<f64>() / count).collect();
        let product = |a: usize, b: usize| points.iter().map(|p| (p[a] - mean[a]) * (p[b] - mean[b])).sum::<f64>();
        let covariance = |a: usize, b: usize| product(a, b) / count + if a == b { RIDGE } else { 0.0 };
        let matrix: Vec<Vec<f64>> = (0..width).map(|a| (0..width).map(|b| covariance(a, b)).collect()).collect();
        let precision = inverse(&matrix).ok_or_else(|| Error::internal("a covariance has no inverse"))?.concat();
        let mut own = Self { mean, precision, known: Vec::new() };
        let mut farthest = vec![0.0f64; fleet.units.len()];
        for (point, unit) in points.iter().zip(&windows.units) {
            farthest[*unit] = farthest[*unit].max(own.parts(point).iter().sum());
        }
        farthest.sort_by(f64::total_cmp);
        own.known = farthest;
        Ok(own)
    }

    /// What every sensor adds to the squared distance.
    fn parts(&self, point: &[f64]) -> Vec<f64> {
        let away: Vec<f64> = point.iter().zip(&self.mean).map(|(value, mean)| value - mean).collect();
        let rows = self.precision.chunks(away.len().max(1));
        rows.zip(&away).map(|(row, own)| own * row.iter().zip(&away).map(|(p, a)| p * a).sum::<f64>()).collect()
    }

    /// How far each of the windows `(N, sensors, window)` is.
    ///
    /// # Errors
    /// [`Error::Shape`] for another number of sensors.
    pub fn of(&self, inputs: &Tensor) -> Result<Vec<Unlike>> {
        let points = means(inputs)?;
        if points.iter().any(|point| point.len() != self.mean.len()) {
            return Err(Error::shape("windows", format!("(N, {}, window)", self.mean.len()), inputs.dims()));
        }
        Ok(points.iter().map(|point| self.unlike(&self.parts(point))).collect())
    }

    fn unlike(&self, parts: &[f64]) -> Unlike {
        let distance: f64 = parts.iter().sum();
        let farther = self.known.len() - self.known.partition_point(|known| *known < distance);
        let total = distance.max(f64::MIN_POSITIVE);
        Unlike {
            p: (farther + 1) as f64 / (self.known.len() + 1) as f64,
            shares: parts.iter().map(|part| part / total).collect(),
        }
    }

    /// Whether no training machine ever was as far.
    pub fn is_new(&self, unlike: &Unlike) -> bool {
        unlike.p < 1.5 / (self.known.len() + 1) as f64
    }

    /// The mean, the precision and the known distances as tensors.
    pub(crate) fn tensors(&self) -> Result<[Tensor; 3]> {
        let narrow = |values: &[f64]| -> Result<Tensor> {
            let values: Vec<f32> = values.iter().map(|value| *value as f32).collect();
            Ok(Tensor::from_vec(values.clone(), values.len(), &Device::Cpu)?)
        };
        Ok([narrow(&self.mean)?, narrow(&self.precision)?, narrow(&self.known)?])
    }

    /// Back from [`Familiarity::tensors`], of `sensors` sensors.
    pub(crate) fn read(what: &str, tensors: &[Tensor; 3], sensors: usize) -> Result<Self> {
        let wide = |tensor: &Tensor| -> Result<Vec<f64>> {
            Ok(tensor.flatten_all()?.to_vec1::<f32>()?.into_iter().map(f64::from).collect())
        };
        let own = Self { mean: wide(&tensors[0])?, precision: wide(&tensors[1])?, known: wide(&tensors[2])? };
        if own.mean.len() != sensors || own.precision.len() != sensors * sensors || !own.known.is_sorted() {
            return Err(Error::format(what, "what it knows of its training machines does not fit its sensors"));
        }
        Ok(own)
    }
}

/// Each sensor's mean over the last cycles of windows `(N, sensors, window)`.
fn means(inputs: &Tensor) -> Result<Vec<Vec<f64>>> {
    let (.., window) = inputs.dims3()?;
    let cycles = Familiarity::CYCLES.min(window);
    let means = inputs.narrow(2, window - cycles, cycles)?.mean(2)?.to_vec2::<f32>()?;
    Ok(means.into_iter().map(|row| row.into_iter().map(f64::from).collect()).collect())
}

/// The inverse of a symmetric positive definite matrix, by its Cholesky factor; nothing where it is not one.
fn inverse(matrix: &[Vec<f64>]) -> Option<Vec<Vec<f64>>> {
    let factor = cholesky(matrix)?;
    let unit = |place: usize| (0..matrix.len()).map(|row| f64::from(u8::from(row == place))).collect();
    Some((0..matrix.len()).map(|place| solved(&factor, unit(place))).collect())
}

/// The lower triangle `L`, row after row, with `L Lᵀ` the matrix (Golub and Van Loan, Matrix Computations, Section 4.2).
fn cholesky(matrix: &[Vec<f64>]) -> Option<Vec<Vec<f64>>> {
    let mut factor: Vec<Vec<f64>> = Vec::with_capacity(matrix.len());
    for (place, values) in matrix.iter().enumerate() {
        let mut row = Vec::with_capacity(place + 1);
        for above in &factor {
            let left = values[row.len()] - dot(&row, above);
            row.push(left / above[row.len()]);
        }
        let square = values[place] - dot(&row, &row);
        if !(square.is_finite() && square > 0.0) {
            return None;
        }
        row.push(square.sqrt());
        factor.push(row);
    }
    Some(factor)
}

/// `x` with `L Lᵀ x` the right side.
fn solved(factor: &[Vec<f64>], mut x: Vec<f64>) -> Vec<f64> {
    for (place, row) in factor.iter().enumerate() {
        x[place] = (x[place] - dot(row, &x[..place])) / row[place];
    }
    for (place, row) in factor.iter().enumerate().rev() {
        x[place] /= row[place];
        let own = x[place];
        x[..place].iter_mut().zip(row).for_each(|(value, part)| *value -= part * own);
    }
    x
}

/// The sum of the products of two rows, as far as the shorter one goes.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{PreparationOptions, SyntheticSpec, draw_fleet};
    use faithful_core::Stream;

    #[test]
    fn the_inverse_times_the_matrix_is_one() {
        let matrix = vec![vec![4.0, 1.0, 0.5], vec![1.0, 3.0, -0.25], vec![0.5, -0.25, 2.0]];
        let inverse = inverse(&matrix).unwrap();
        for (a, row) in inverse.iter().enumerate() {
            for b in 0..3 {
                let value: f64 = (0..3).map(|k| row[k] * matrix[k][b]).sum();
                assert!((value - f64::from(u8::from(a == b))).abs() < 1e-12);
            }
        }
        assert_eq!(super::inverse(&[vec![0.0]]), None);
        assert_eq!(super::inverse(&[vec![1.0, 2.0], vec![2.0, 1.0]]), None);
    }

    #[test]
    fn a_pump_with_a_strange_sensor_is_new_and_others_are_not() {
        let spec = SyntheticSpec { units: 30, ..SyntheticSpec::default() };
        let fleet = draw_fleet(&spec, &Stream::new(1, "pumps")).unwrap();
        let preparation = Preparation::fit(&fleet, &PreparationOptions::default()).unwrap();
        let known = Familiarity::fit(&fleet, &preparation).unwrap();
        let mut others = draw_fleet(&spec, &Stream::new(2, "others")).unwrap();
        let strange = |fleet: &Fleet| {
            let windows = Windows::last(fleet, &preparation).unwrap();
            known.of(&windows.inputs).unwrap()
        };
        let new = strange(&others).iter().filter(|unlike| known.is_new(unlike)).count();
        assert!(new <= 3, "{new}");
        // The fourth sensor tells of no fault.
        let sensor = fleet.sensors.iter().position(|name| name == "outlet_pressure").unwrap();
        for unit in &mut others.units {
            unit.readings.iter_mut().skip(sensor).step_by(fleet.sensors.len()).for_each(|value| *value += 2.0);
        }
        for unlike in strange(&others) {
            let place = preparation.sensors.iter().position(|name| name == "outlet_pressure").unwrap();
            let greatest = (0..unlike.shares.len()).max_by(|a, b| unlike.shares[*a].total_cmp(&unlike.shares[*b]));
            assert!(known.is_new(&unlike) && greatest == Some(place), "{unlike:?}");
        }
        let read = Familiarity::read("test", &known.tensors().unwrap(), preparation.sensors.len()).unwrap();
        assert_eq!(read.known.len(), 30);
        assert!(Familiarity::read("test", &known.tensors().unwrap(), 3).is_err());
    }
}
