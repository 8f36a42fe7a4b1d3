//! Networks over sensor series with one output, the remaining useful life: CNN-LSTM and the multi-headed, stacked
//! CNN-BiLSTM (Buono and Åkesson 2023, Figure 9).
//!
//! A head is two 1-D convolutions of one kernel width, a max-pool over time and stacked LSTM layers. A network may have
//! several members, which are alike, differ in their weights, and whose outputs are averaged. The feature maps of all heads of
//! all members stand side by side in the layer `features`, so that one class activation map covers them all.

mod assembly;

use crate::portable_uniform;
use crate::weights::Checkpoint;
use candle_core::{DType, Device, Tensor};
use faithful_core::{Error, Result};
use faithful_tensor::Direction;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::io::{Read, Seek};

/// A network over series `(N, sensors, time)` that gives one number each, `(N, 1)`.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use faithful_core::Network;
/// use faithful_model::SeriesNetwork;
/// # fn main() -> faithful_core::Result<()> {
/// let network = SeriesNetwork::named("cnn-bilstm", 14, 30, 125.0)?;
/// let tensors = network.random(7)?.into_iter().collect();
/// let graph = network.graph(&tensors)?;
/// let features = graph.layer(SeriesNetwork::TARGET)?;
/// assert_eq!(graph.layers()[features.0].shape[1], 30);
/// let series = Tensor::zeros((2, 14, 30), DType::F32, &Device::Cpu)?;
/// assert_eq!(graph.evaluate(&series, &[])?.0.dims(), [2, 1]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SeriesNetwork {
    /// How many sensors there are.
    pub sensors: usize,
    /// How many steps of time the network sees.
    pub window: usize,
    /// The kernel width of each head's convolutions; odd, so that time keeps its length.
    pub kernels: Vec<usize>,
    /// The feature maps of each head.
    pub channels: usize,
    /// The state of each LSTM direction.
    pub hidden: usize,
    /// How many LSTM layers are stacked in each head.
    pub layers: usize,
    /// Whether each LSTM layer reads the series both ways.
    pub bidirectional: bool,
    /// How many steps of time become one in front of the LSTM; 1 for none.
    pub pool: usize,
    /// The width of the layer in front of the output.
    pub dense: usize,
    /// What the output is multiplied by: with the cap of the remaining life the weights keep to small numbers.
    pub scale: f32,
    /// How many networks of these sizes stand side by side; the output is the mean of theirs.
    #[serde(default = "one")]
    pub members: usize,
    /// Shares of exponential means over the window, from its beginning on, that every head reads beside the series itself: for
    /// each share as many series as there are sensors. They are the network's own, so that attributions end at the readings.
    #[serde(default)]
    pub trends: Vec<f32>,
}

const fn one() -> usize {
    1
}

/// Every kind by its name.
const KINDS: [&str; 2] = ["cnn-lstm", "cnn-bilstm"];

impl SeriesNetwork {
    /// The names that [`SeriesNetwork::named`] knows.
    pub const NAMES: [&'static str; 2] = KINDS;
    /// The layer that class activation maps are drawn from: the feature maps of all heads, one column per step of time.
    pub const TARGET: &'static str = "features";
    /// The layer with what every member says, `(N, members)`, in units of `scale`.
    pub const MEMBERS: &'static str = "members";

    /// The kind called `name` at its usual size, for `sensors` sensors and `window` steps of time; outputs are around
    /// `scale`.
    ///
    /// # Errors
    /// [`Error::UnknownName`] with suggestions.
    pub fn named(name: &str, sensors: usize, window: usize, scale: f32) -> Result<Self> {
        let common = Self {
            sensors,
            window,
            kernels: vec![5],
            channels: 32,
            hidden: 32,
            layers: 1,
            bidirectional: false,
            // About a dozen steps are left to the LSTM, however long the window.
            pool: (window / 12).max(1),
            dense: 32,
            scale,
            members: 1,
            trends: Vec::new(),
        };
        match name {
            "cnn-lstm" => Ok(common),
            "cnn-bilstm" => {
                Ok(Self { kernels: vec![3, 7], channels: 16, hidden: 16, layers: 2, bidirectional: true, ..common })
            }
            other => Err(Error::unknown("kind of network", other, KINDS)),
        }
    }

    /// What the numbers must be like.
    fn check(&self) -> Result<()> {
        let Self { sensors, window, channels, hidden, layers, pool, dense, members, .. } = *self;
        let sizes = [sensors, window, channels, hidden, layers, pool, dense, members];
        // A limit keeps a damaged side file from asking for all memory there is.
        if sizes.iter().any(|size| !(1..=4096).contains(size)) || window < pool {
            return Err(Error::parameter(
                "network",
                format!("{self:?}: sizes are from 1 to 4096, pool at most window"),
            ));
        }
        let odd = |kernel: &usize| *kernel <= 255 && kernel % 2 == 1;
        if self.kernels.is_empty() || self.kernels.len() > 16 || !self.kernels.iter().all(odd) {
            let reason = format!("kernel widths {:?}: 1 to 16 odd numbers below 256 are needed", self.kernels);
            return Err(Error::parameter("network", reason));
        }
        if self.trends.len() > 16 || !self.trends.iter().all(|share| *share > 0.0 && *share <= 1.0) {
            let reason = format!("trends {:?}: at most 16 shares above 0 and at most 1 are needed", self.trends);
            return Err(Error::parameter("network", reason));
        }
        if !(self.scale.is_finite() && self.scale > 0.0) {
            return Err(Error::parameter("network", format!("scale {} is not a number above 0", self.scale)));
        }
        Ok(())
    }

    fn directions(&self) -> &'static [(Direction, &'static str)] {
        let both = const { &[(Direction::Forward, ""), (Direction::Reverse, "_reverse")] };
        if self.bidirectional { both } else { &both[..1] }
    }

    /// What the names of a member's tensors and layers begin with; nothing where there is only one.
    fn prefix(&self, member: usize) -> String {
        if self.members == 1 { String::new() } else { format!("members.{member}.") }
    }

    /// The tensors by their names, member after member, with their shapes. Within a member names are those of the same modules
    /// in `PyTorch`.
    pub fn parameters(&self) -> Vec<(String, Vec<usize>)> {
        (0..self.members).flat_map(|member| self.parameters_of(&self.prefix(member))).collect()
    }

    fn parameters_of(&self, prefix: &str) -> Vec<(String, Vec<usize>)> {
        let mut parameters = Vec::new();
        let mut add = |name: String, shape: &[usize]| parameters.push((format!("{prefix}{name}"), shape.to_vec()));
        let ways = self.directions().len();
        for (head, &kernel) in self.kernels.iter().enumerate() {
            for (conv, inputs) in [("conv1", self.sensors * (1 + self.trends.len())), ("conv2", self.channels)] {
                add(format!("heads.{head}.{conv}.weight"), &[self.channels, inputs, kernel]);
                add(format!("heads.{head}.{conv}.bias"), &[self.channels]);
            }
            for layer in 0..self.layers {
                let inputs = if layer == 0 { self.channels } else { ways * self.hidden };
                for (_, way) in self.directions() {
                    let rows = 4 * self.hidden;
                    add(format!("heads.{head}.lstm.weight_ih_l{layer}{way}"), &[rows, inputs]);
                    add(format!("heads.{head}.lstm.weight_hh_l{layer}{way}"), &[rows, self.hidden]);
                    add(format!("heads.{head}.lstm.bias_ih_l{layer}{way}"), &[rows]);
                }
            }
        }
        let states = self.kernels.len() * ways * self.hidden * (self.window / self.pool);
        add("dense.weight".into(), &[self.dense, states]);
        add("dense.bias".into(), &[self.dense]);
        add("output.weight".into(), &[1, self.dense]);
        add("output.bias".into(), &[1]);
        parameters
    }

    /// Weights of a network that has learnt nothing, the same for the same seed everywhere: uniform up to
    /// `1 / sqrt(inputs)`, LSTMs up to `1 / sqrt(hidden)` with forget gates at 1, the output at three fifths of `scale`.
    ///
    /// # Errors
    /// [`Error::Parameter`] for sizes that make no network.
    pub fn random(&self, seed: u64) -> Result<Vec<(String, Tensor)>> {
        self.check()?;
        let mut inputs = 1;
        self.parameters()
            .into_iter()
            .map(|(name, shape)| {
                let mut values = portable_uniform(&name, seed, shape.iter().product());
                // A bias is as wide as the weight before it.
                if shape.len() > 1 {
                    inputs = shape[1..].iter().product::<usize>();
                }
                let recurrent = name.contains(".lstm.");
                let width = 1.0 / (if recurrent { self.hidden } else { inputs } as f32).sqrt();
                for value in &mut values {
                    *value *= width;
                }
                if recurrent && shape.len() == 1 {
                    values[self.hidden..2 * self.hidden].fill(1.0);
                }
                if name.ends_with("output.bias") {
                    values.fill(0.6);
                }
                Ok((name, Tensor::from_vec(values, shape, &Device::Cpu)?))
            })
            .collect()
    }
}

/// Every tensor of a safetensors file by its name, as `f32` on the CPU; `what` names the file in errors.
///
/// # Errors
/// [`Error::Format`] for a file that is no safetensors or cut off, [`Error::NotFinite`] for NaN and infinity.
pub fn read_tensors(what: &str, source: impl Read + Seek) -> Result<HashMap<String, Tensor>> {
    let mut checkpoint = Checkpoint::new(what, source)?;
    checkpoint
        .names()
        .into_iter()
        .map(|name| {
            let tensor = checkpoint.read(&name, &Device::Cpu)?;
            debug_assert_eq!(tensor.dtype(), DType::F32);
            Ok((name, tensor))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Graph;
    use faithful_core::{LayerId, Network, Objective, Target};

    fn small(bidirectional: bool) -> SeriesNetwork {
        let kernels = if bidirectional { vec![3, 5] } else { vec![3] };
        let layers = if bidirectional { 2 } else { 1 };
        let named = SeriesNetwork::named("cnn-lstm", 3, 9, 100.0).unwrap();
        SeriesNetwork { kernels, channels: 4, hidden: 3, layers, bidirectional, pool: 2, dense: 5, ..named }
    }

    fn three() -> SeriesNetwork {
        SeriesNetwork { members: 3, ..small(true) }
    }

    fn graph(network: &SeriesNetwork) -> Graph {
        network.graph(&network.random(3).unwrap().into_iter().collect()).unwrap()
    }

    fn series(network: &SeriesNetwork) -> Tensor {
        let count = 2 * network.sensors * network.window;
        let values = portable_uniform("series", 1, count);
        Tensor::from_vec(values, (2, network.sensors, network.window), &Device::Cpu).unwrap()
    }

    #[test]
    fn the_target_covers_all_heads_and_time_keeps_its_length() {
        for network in [small(false), small(true), three(), SeriesNetwork { members: 2, ..small(false) }] {
            let graph = graph(&network);
            let target = graph.layer(SeriesNetwork::TARGET).unwrap();
            let maps = 4 * network.kernels.len() * network.members;
            assert_eq!(graph.layers()[target.0].shape, [maps, 9]);
            assert_eq!(graph.layers()[graph.output().0].shape, [1]);
        }
    }

    #[test]
    fn the_output_is_the_mean_of_the_members() {
        let network = three();
        let tensors: HashMap<String, Tensor> = network.random(3).unwrap().into_iter().collect();
        let together = network.graph(&tensors).unwrap().evaluate(&series(&network), &[]).unwrap().0;
        let mut mean = [0.0; 2];
        for member in 0..3 {
            let prefix = format!("members.{member}.");
            let own = tensors.iter().filter_map(|(name, t)| Some((name.strip_prefix(&prefix)?.to_owned(), t.clone())));
            let alone = small(true).graph(&own.collect()).unwrap().evaluate(&series(&network), &[]).unwrap().0;
            let alone = alone.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            mean.iter_mut().zip(alone).for_each(|(mean, alone)| *mean += alone / 3.0);
        }
        let together = together.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert!(together.iter().zip(mean).all(|(a, b)| (a - b).abs() < 1e-4), "{together:?} {mean:?}");
        let said = graph(&network).layer(SeriesNetwork::MEMBERS).unwrap();
        assert_eq!(graph(&network).layers()[said.0].shape, [3]);
    }

    #[test]
    fn gradients_at_the_features_are_finite_differences() {
        for network in [small(false), small(true), SeriesNetwork { trends: vec![0.3], ..three() }] {
            let graph = graph(&network).to_dtype(DType::F64).unwrap();
            let input = series(&network).narrow(0, 0, 1).unwrap().to_dtype(DType::F64).unwrap();
            let objective = Objective::new(&graph, &Target::Output(0));
            let gradient = objective.input_gradient(&input).unwrap().flatten_all().unwrap().to_vec1::<f64>().unwrap();
            let values = input.flatten_all().unwrap().to_vec1::<f64>().unwrap();
            let step = 1e-5;
            for place in [0, 7, 13, 26] {
                let score = |by: f64| {
                    let mut moved = values.clone();
                    moved[place] += by;
                    let moved = Tensor::from_vec(moved, input.dims(), &Device::Cpu).unwrap();
                    objective.scores(&moved).unwrap().to_vec1::<f64>().unwrap()[0]
                };
                let expected = (score(step) - score(-step)) / (2.0 * step);
                assert!((gradient[place] - expected).abs() < 1e-5, "{place}: {} {expected}", gradient[place]);
            }
        }
    }

    #[test]
    fn trends_are_exponential_means_of_the_window() {
        let network = SeriesNetwork { trends: vec![0.25, 1.0], ..three() };
        let graph = graph(&network);
        let input = series(&network);
        let layer = graph.layer("trends").unwrap();
        let rows = graph.activations(&input, &[layer]).unwrap().remove(0).to_vec3::<f32>().unwrap().remove(0);
        assert_eq!(rows.len(), 9);
        for sensor in 0..3 {
            let (own, mean, same) = (&rows[sensor], &rows[3 + sensor], &rows[6 + sensor]);
            for time in 0..9 {
                let weight = |back: usize| 0.75f32.powi(back as i32);
                let sum: f32 = (0..=time).map(|back| weight(back) * own[time - back]).sum();
                let expected = sum / (0..=time).map(weight).sum::<f32>();
                assert!((mean[time] - expected).abs() < 1e-5 && (same[time] - own[time]).abs() < 1e-6);
            }
        }
        assert!(SeriesNetwork { trends: vec![0.0], ..three() }.random(0).is_err());
    }

    #[test]
    fn rows_do_not_depend_on_each_other() {
        let network = small(true);
        let (graph, both) = (graph(&network), series(&network));
        let together = graph.evaluate(&both, &[LayerId(1)]).unwrap().0;
        let alone = graph.evaluate(&both.narrow(0, 1, 1).unwrap(), &[]).unwrap().0;
        assert_eq!(together.to_vec2::<f32>().unwrap()[1], alone.to_vec2::<f32>().unwrap()[0]);
    }

    #[test]
    fn weights_and_sizes_that_do_not_fit_are_named() {
        let network = small(true);
        let mut tensors: HashMap<String, Tensor> = network.random(0).unwrap().into_iter().collect();
        tensors.remove("dense.bias");
        tensors.insert("output.bias".into(), Tensor::zeros(3, DType::F32, &Device::Cpu).unwrap());
        let error = network.graph(&tensors).unwrap_err().to_string();
        assert!(error.contains("`dense.bias` [5] is missing, `output.bias` is [3], must be [1]"), "{error}");
        assert!(SeriesNetwork { kernels: vec![4], ..small(true) }.random(0).is_err());
        assert!(SeriesNetwork { hidden: usize::MAX, ..small(true) }.random(0).is_err());
        let error = SeriesNetwork::named("cnn-lsmt", 1, 1, 1.0).unwrap_err().to_string();
        assert!(error.contains("`cnn-lstm`"), "{error}");
    }
}
