use crate::candle_model::gradient_of;
use crate::{
    BackwardRule, Cotangents, Error, LayerId, Network, Probe, Propagation, Result, Tap, VectorJacobianProducts,
    delegate_network,
};
use candle_core::{Tensor, Var};
use std::fmt::Debug;
use std::sync::Arc;

/// Numbers that are read off a network's outputs: what a class row is for networks that have none, such as the classes of
/// one region of a segmentation or of one box of a detection.
///
/// A [`Score`](crate::Score) picks one of the numbers.
pub trait Reading: Debug + Send + Sync {
    /// The numbers `(N, R)` of an output `(N, K)`. Must be differentiable by candle and treat rows independently.
    ///
    /// # Errors
    /// [`Error::Shape`] for an output that has other numbers than it was made for.
    fn read(&self, output: &Tensor) -> Result<Tensor>;
}

/// Sums of outputs, each with its weight.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use faithful_core::{Linear, Reading};
/// // The first output less half of the last, and the middle one alone.
/// let reading = Linear::new(3, &[vec![(0, 1.0), (2, -0.5)], vec![(1, 1.0)]])?;
/// let output = Tensor::new(&[[1f32, 2.0, 4.0]], &Device::Cpu)?;
/// assert_eq!(reading.read(&output)?.to_vec2::<f32>()?, [[-1.0, 2.0]]);
/// # Ok::<(), faithful_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Linear {
    outputs: usize,
    /// The outputs that have a weight, each once, in their order.
    used: Vec<u32>,
    /// `(used, R)`, row by row.
    weights: Vec<f64>,
    sums: usize,
}

impl Linear {
    /// The sums of a network with so many `outputs`: for each, the outputs with their weights. An output that stands in one
    /// twice has the sum of its weights.
    ///
    /// # Errors
    /// [`Error::Parameter`] for an output that is not there, for no sum, and for a weight that is no finite number.
    pub fn new(outputs: usize, sums: &[Vec<(usize, f64)>]) -> Result<Self> {
        let refuse = |reason: String| Err(Error::parameter("reading", reason));
        let terms = || sums.iter().flatten();
        if let Some((index, _)) = terms().find(|(index, _)| *index >= outputs || u32::try_from(*index).is_err()) {
            return refuse(format!("output {index} is outside 0..{outputs}, the network's outputs"));
        }
        if let Some((index, weight)) = terms().find(|(_, weight)| !weight.is_finite()) {
            return refuse(format!("the weight of output {index} is {weight}, which is not finite"));
        }
        if sums.is_empty() || sums.iter().any(Vec::is_empty) {
            return refuse("it is a sum of nothing".into());
        }
        let mut used: Vec<u32> = terms().map(|(index, _)| *index as u32).collect();
        used.sort_unstable();
        used.dedup();
        let mut weights = vec![0.0; used.len() * sums.len()];
        for (sum, terms) in sums.iter().enumerate() {
            for (index, weight) in terms {
                let row = used.partition_point(|&other| (other as usize) < *index);
                weights[row * sums.len() + sum] += weight;
            }
        }
        Ok(Self { outputs, used, weights, sums: sums.len() })
    }

    /// These outputs as they are.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn outputs(outputs: usize, chosen: &[usize]) -> Result<Self> {
        Self::new(outputs, &chosen.iter().map(|&index| vec![(index, 1.0)]).collect::<Vec<_>>())
    }
}

impl Reading for Linear {
    fn read(&self, output: &Tensor) -> Result<Tensor> {
        check_width(output, self.outputs)?;
        let used = Tensor::from_slice(&self.used, self.used.len(), output.device())?;
        let weights = weights(&self.weights, (self.used.len(), self.sums), output)?;
        Ok(output.contiguous()?.index_select(&used, 1)?.matmul(&weights)?)
    }
}

/// The mean of each class over a region of a segmentation, whose output `(N, K * P)` has `K` classes at `P` places each.
#[derive(Clone, Debug, PartialEq)]
pub struct RegionMeans {
    classes: usize,
    places: usize,
    /// Of each place, and of each class where they have regions of their own: what it counts. `(1, P)` or `(K, P)`.
    weights: Vec<f64>,
}

impl RegionMeans {
    /// One region for all of `classes`: `inside` says of each place whether it belongs to it.
    ///
    /// # Errors
    /// [`Error::Parameter`] for a region without a place.
    pub fn of(classes: usize, inside: &[bool]) -> Result<Self> {
        let count = inside.iter().filter(|inside| **inside).count();
        if count == 0 {
            return Err(Error::parameter("region", "it holds none of the places where the network gives classes"));
        }
        let weights = inside.iter().map(|&inside| if inside { 1.0 / count as f64 } else { 0.0 }).collect();
        Ok(Self { classes, places: inside.len(), weights })
    }

    /// A region of its own for each of `classes`: the places that `owner` gives it. A class that has none is 0 everywhere.
    pub fn of_owners(classes: usize, owner: &[usize]) -> Self {
        let mut counts = vec![0_usize; classes];
        owner.iter().filter(|class| **class < classes).for_each(|&class| counts[class] += 1);
        let places = owner.len();
        let mut weights = vec![0.0; classes * places];
        for (place, &class) in owner.iter().enumerate().filter(|(_, class)| **class < classes) {
            weights[class * places + place] = 1.0 / counts[class] as f64;
        }
        Self { classes, places, weights }
    }
}

impl Reading for RegionMeans {
    fn read(&self, output: &Tensor) -> Result<Tensor> {
        check_width(output, self.classes * self.places)?;
        let rows = output.dim(0)?;
        let of_classes = self.weights.len() / self.places;
        let weights = weights(&self.weights, (of_classes, self.places), output)?;
        if of_classes == 1 {
            let flat = output.contiguous()?.reshape((rows * self.classes, self.places))?;
            return Ok(flat.matmul(&weights.t()?.contiguous()?)?.reshape((rows, self.classes))?);
        }
        let planes = output.contiguous()?.reshape((rows, self.classes, self.places))?;
        Ok(planes.broadcast_mul(&weights.unsqueeze(0)?)?.sum(2)?)
    }
}

/// The cosine of the angle between the outputs and a vector of as many numbers: `a . b / (|a| |b|)`, from -1 to 1.
#[derive(Clone, Debug, PartialEq)]
pub struct Cosine {
    /// Of length one.
    direction: Vec<f64>,
}

impl Cosine {
    /// The cosine to `vector`.
    ///
    /// # Errors
    /// [`Error::Parameter`] for a vector that is zero or not finite: it has no direction.
    pub fn to(vector: &[f64]) -> Result<Self> {
        let length = vector.iter().map(|value| value * value).sum::<f64>().sqrt();
        if !(length.is_finite() && length > 0.0) {
            let reason =
                format!("a vector of length {length} has no direction that an embedding could be compared with");
            return Err(Error::parameter("similar-to", reason));
        }
        Ok(Self { direction: vector.iter().map(|value| value / length).collect() })
    }

    /// How many numbers the vector has.
    pub fn length(&self) -> usize {
        self.direction.len()
    }
}

impl Reading for Cosine {
    fn read(&self, output: &Tensor) -> Result<Tensor> {
        check_width(output, self.direction.len())?;
        let direction = weights(&self.direction, (self.direction.len(), 1), output)?;
        // An embedding of zeros has no direction either: its cosine is 0, and its gradient finite.
        let length = (output.sqr()?.sum_keepdim(1)? + 1e-24)?.sqrt()?;
        Ok(output.contiguous()?.matmul(&direction)?.div(&length)?)
    }
}

fn check_width(output: &Tensor, wanted: usize) -> Result<()> {
    match output.dims() {
        &[_, outputs] if outputs == wanted => Ok(()),
        other => {
            Err(Error::shape("the network's output", format!("(N, {wanted}), as for the photo it was read of"), other))
        }
    }
}

fn weights(values: &[f64], shape: (usize, usize), output: &Tensor) -> Result<Tensor> {
    let weights = Tensor::from_slice(values, shape, &candle_core::Device::Cpu)?;
    Ok(weights.to_dtype(output.dtype())?.to_device(output.device())?)
}

/// A network whose outputs are what a [`Reading`] gives of another's: layers, input and gradients are the other's.
///
/// ```
/// # use candle_core::{Device, Tensor};
/// # use faithful_core::{CandleModel, CandleNetwork, LayerInfo, Linear, Network, Objective, Probe, ReadOut, Result, Target};
/// # use std::sync::Arc;
/// # struct Same;
/// # impl CandleModel for Same {
/// #     fn layers(&self) -> &[LayerInfo] { &[] }
/// #     fn forward(&self, input: &Tensor, _: &mut dyn Probe) -> Result<Tensor> { Ok((input * 1.0)?) }
/// # }
/// # fn main() -> Result<()> {
/// # let network = CandleNetwork(Same);
/// // Of a network that gives its input back: the first number less the last.
/// let difference = ReadOut::new(&network, Arc::new(Linear::new(3, &[vec![(0, 1.0), (2, -1.0)]])?));
/// let input = Tensor::new(&[[5f32, 0.0, 2.0]], &Device::Cpu)?;
/// let objective = Objective::new(&difference, &Target::Output(0));
/// assert_eq!(objective.scores(&input)?.to_vec1::<f32>()?, [3.0]);
/// assert_eq!(objective.input_gradient(&input)?.to_vec2::<f32>()?, [[1.0, 0.0, -1.0]]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct ReadOut<N> {
    network: N,
    reading: Arc<dyn Reading>,
}

impl<N: Network> ReadOut<N> {
    /// What `reading` gives of the outputs of `network`.
    pub fn new(network: N, reading: Arc<dyn Reading>) -> Self {
        Self { network, reading }
    }

    /// The cotangents of the network's outputs, of those of what is read of them, which `read` is.
    fn carried_back(
        &self,
        output: &Tensor,
        cotangents: &mut Cotangents<'_>,
        read: &mut Option<Tensor>,
    ) -> Result<Vec<Tensor>> {
        let output = Var::from_tensor(&output.detach())?;
        let values = self.reading.read(output.as_tensor())?;
        let own = read.insert(values.detach());
        let back = |cotangent: &Tensor| gradient_of(&(&values * cotangent.detach())?.sum_all()?.backward()?, &output);
        cotangents(own)?.iter().map(back).collect()
    }
}

impl<N: Network> Network for ReadOut<N> {
    delegate_network!(self => self.network;
        layers, dtype, device, input_shape, grid, activations, biases, attentions, announce, can_vjp_from, bytes_of_pass);

    fn forward(&self, input: &Tensor, probe: &mut dyn Probe) -> Result<Tensor> {
        self.reading.read(&self.network.forward(input, probe)?)
    }

    fn evaluate(&self, input: &Tensor, layers: &[LayerId]) -> Result<(Tensor, Vec<Tensor>)> {
        let (output, activations) = self.network.evaluate(input, layers)?;
        Ok((self.reading.read(&output)?, activations))
    }

    fn evaluate_similar(&self, input: &Tensor) -> Result<Tensor> {
        self.reading.read(&self.network.evaluate_similar(input)?)
    }

    fn resume(&self, layer: LayerId, activation: &Tensor) -> Option<Result<Tensor>> {
        let output = self.network.resume(layer, activation)?;
        Some(output.and_then(|output| self.reading.read(&output)))
    }

    fn vjp(&self, input: &Tensor, taps: &[Tap], cotangents: &mut Cotangents<'_>) -> Result<VectorJacobianProducts> {
        let mut read = None;
        let products = self.network.vjp(input, taps, &mut |output| self.carried_back(output, cotangents, &mut read))?;
        Ok(with_output(products, read))
    }

    fn vjp_from(
        &self,
        layer: LayerId,
        activation: &Tensor,
        taps: &[Tap],
        cotangents: &mut Cotangents<'_>,
    ) -> Result<VectorJacobianProducts> {
        let mut read = None;
        let mut back = |output: &Tensor| self.carried_back(output, cotangents, &mut read);
        let products = self.network.vjp_from(layer, activation, taps, &mut back)?;
        Ok(with_output(products, read))
    }

    fn with_backward_rule(&self, rule: BackwardRule) -> Result<Box<dyn Network + '_>> {
        let network = self.network.with_backward_rule(rule)?;
        Ok(Box::new(ReadOut { network, reading: self.reading.clone() }))
    }

    fn with_propagation(&self, rule: Propagation) -> Result<Box<dyn Network + '_>> {
        let network = self.network.with_propagation(rule)?;
        Ok(Box::new(ReadOut { network, reading: self.reading.clone() }))
    }
}

/// A network asks for cotangents before it gives products: what was read is there.
fn with_output(products: VectorJacobianProducts, read: Option<Tensor>) -> VectorJacobianProducts {
    match read {
        Some(output) => VectorJacobianProducts { output, ..products },
        None => products,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    fn row(values: &[f64]) -> Tensor {
        Tensor::from_slice(values, (1, values.len()), &Device::Cpu).unwrap()
    }

    fn read(reading: &dyn Reading, output: &Tensor) -> Vec<f64> {
        reading.read(output).unwrap().to_vec2().unwrap().remove(0)
    }

    /// The gradient of the first number by finite differences.
    fn differences(reading: &dyn Reading, values: &[f64]) -> Vec<f64> {
        let at = |place: usize, by: f64| {
            let mut moved = values.to_vec();
            moved[place] += by;
            read(reading, &row(&moved))[0]
        };
        (0..values.len()).map(|place| (at(place, 1e-6) - at(place, -1e-6)) / 2e-6).collect()
    }

    #[test]
    fn readings_are_what_they_say_and_differentiable() {
        let values = [0.5, -1.0, 2.0, 3.0, -0.25, 1.5];
        let readings: Vec<(Box<dyn Reading>, Vec<f64>)> = vec![
            (
                Box::new(Linear::new(6, &[vec![(0, 2.0), (3, -1.0), (0, 1.0)], vec![(5, 1.0)]]).unwrap()),
                vec![-1.5, 1.5],
            ),
            (Box::new(RegionMeans::of(2, &[true, false, true]).unwrap()), vec![1.25, 2.25]),
            (Box::new(RegionMeans::of_owners(2, &[1, 0, 0])), vec![0.5, 3.0]),
            (Box::new(Cosine::to(&[0.0, 0.0, 3.0, 4.0, 0.0, 0.0]).unwrap()), vec![3.6 / (16.5625f64).sqrt()]),
        ];
        for (reading, wanted) in readings {
            let found = read(&*reading, &row(&values));
            assert!(found.iter().zip(&wanted).all(|(a, b)| (a - b).abs() < 1e-12), "{reading:?}: {found:?}");
            let var = Var::from_tensor(&row(&values)).unwrap();
            let first = reading.read(&var).unwrap().narrow(1, 0, 1).unwrap().sum_all().unwrap();
            let gradient: Vec<f64> = first.backward().unwrap().get(&var).unwrap().to_vec2().unwrap().remove(0);
            for (own, by_differences) in gradient.iter().zip(differences(&*reading, &values)) {
                assert!((own - by_differences).abs() < 1e-8, "{reading:?}: {own} {by_differences}");
            }
            assert!(matches!(reading.read(&row(&values[1..])), Err(Error::Shape { .. })));
        }
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        let said = |error: Error| error.to_string();
        assert!(said(Linear::outputs(3, &[3]).unwrap_err()).contains("output 3 is outside 0..3"));
        assert!(said(Linear::new(3, &[vec![]]).unwrap_err()).contains("sum of nothing"));
        assert!(said(Linear::new(3, &[vec![(0, f64::NAN)]]).unwrap_err()).contains("not finite"));
        assert!(said(RegionMeans::of(2, &[false; 4]).unwrap_err()).contains("none of the places"));
        assert!(said(Cosine::to(&[0.0; 4]).unwrap_err()).contains("no direction"));
        assert_eq!(read(&Cosine::to(&[1.0, 0.0]).unwrap(), &row(&[0.0, 0.0])), [0.0]);
    }
}
