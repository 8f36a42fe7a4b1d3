use crate::Graph;
use candle_core::{DType, Device};
use faithful_core::{Error, Network, Replicas, Result, suggest};
use faithful_kernel::{Factors, Isa};
use std::fmt;
use std::str::FromStr;

/// In which numbers a network is computed. What goes in and comes out is `f32` in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Precision {
    /// 24 bits of precision.
    #[default]
    F32,
    /// `f32` whose matrix products, and so convolutions, round their factors to 11 bits: NVIDIA's GPUs only.
    Tf32,
    /// 8 bits of precision. On a GPU weights and activations both; on the CPU the factors of convolutions and linear
    /// layers on the way forward, while sums, what is kept of layers, and gradients are `f32`.
    Bf16,
}

impl Precision {
    const NAMES: [(&str, Self); 3] = [("f32", Self::F32), ("tf32", Self::Tf32), ("bf16", Self::Bf16)];

    /// The numbers that are stored on a device. On the CPU, `bf16` is what products round their factors to.
    fn dtype(self, device: &Device) -> DType {
        if self == Self::Bf16 && !device.is_cpu() { DType::BF16 } else { DType::F32 }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = Self::NAMES.iter().find(|(_, precision)| precision == self);
        f.write_str(named.map_or("f32", |(name, _)| name))
    }
}

impl FromStr for Precision {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let named = Self::NAMES.iter().find(|(name, _)| *name == text);
        named
            .map(|(_, precision)| *precision)
            .ok_or_else(|| none_of("precision", text, "`f32`, `tf32` and `bf16`", &Self::NAMES.map(|(name, _)| name)))
    }
}

/// Where, and in which numbers, networks are computed: what stands behind `--device` and `--precision`.
///
/// ```
/// use faithful_model::{Compute, Precision};
/// let compute = Compute::new("cpu", Precision::F32)?;
/// assert!(compute.device().is_cpu());
/// let error = Compute::new("cpu", Precision::Tf32).unwrap_err().to_string();
/// assert!(error.starts_with("precision: tf32"), "{error}");
/// # Ok::<(), faithful_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Compute {
    devices: Vec<Device>,
    precision: Precision,
}

impl Compute {
    /// `device` is `cpu`, `cuda` (the first GPU), `cuda:N`, several by commas, or `auto`: the first GPU, where the
    /// program was built for GPUs and there is one, and the CPU otherwise.
    ///
    /// # Errors
    /// [`Error::Parameter`] for a device that is not there, or that this program was not built for, and for a precision
    /// that the device does not have; [`Error::UnknownName`] for what is no device.
    pub fn new(device: &str, precision: Precision) -> Result<Self> {
        let devices = match device {
            "auto" => vec![Device::cuda_if_available(0).unwrap_or(Device::Cpu)],
            list => list.split(',').map(|name| one_device(name.trim())).collect::<Result<_>>()?,
        };
        if devices.iter().any(Device::is_cpu) && precision == Precision::Tf32 {
            return Err(Error::parameter("precision", "tf32 is a way of GPUs to multiply; the CPU has f32 and bf16"));
        }
        Ok(Self { devices, precision })
    }

    /// The same in `f32` where that is faster than `bf16`: on CPUs without fast products of it
    /// ([`Factors::pay`](faithful_kernel::Factors::pay)).
    #[must_use]
    pub fn unless_slower(self) -> Self {
        let rounds_in_vain = self.precision == Precision::Bf16
            && self.devices.iter().all(Device::is_cpu)
            && !Factors::Bf16.pay(Isa::best());
        if rounds_in_vain { Self { precision: Precision::F32, ..self } } else { self }
    }

    /// Where inputs come and results are: the first of the devices.
    pub fn device(&self) -> &Device {
        &self.devices[0]
    }

    /// The numbers that networks are computed in.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// `graph` as a network that is computed there: its inputs and results are `f32` at [`device`](Self::device). On
    /// several devices each computes a share of a batch's rows.
    ///
    /// Whether products of `f32` are rounded to `tf32` is one setting of the process, and set here.
    pub fn place(&self, graph: &Graph) -> Result<Box<dyn Network>> {
        self.place_for(graph, self.device())
    }

    /// As [`place`](Self::place), with inputs and results on the CPU: for callers with small, frequent inputs.
    pub fn place_for_cpu(&self, graph: &Graph) -> Result<Box<dyn Network>> {
        self.place_for(graph, &Device::Cpu)
    }

    fn place_for(&self, graph: &Graph, home: &Device) -> Result<Box<dyn Network>> {
        #[cfg(feature = "cuda")]
        candle_core::cuda_backend::set_gemm_reduced_precision_f32(self.precision == Precision::Tf32);
        let copy = |device: &Device| {
            let dtype = self.precision.dtype(device);
            let stays = device.same_device(&graph.device) && dtype == graph.dtype;
            let copy = if stays { graph.clone() } else { graph.to_dtype(dtype)?.to_device(device)? };
            let in_bf16 = self.precision == Precision::Bf16 && device.is_cpu();
            if in_bf16 { copy.with_bf16_factors() } else { Ok(copy) }
        };
        let mut copies = self.devices.iter().map(copy).collect::<Result<Vec<Graph>>>()?;
        let in_f32 = self.precision.dtype(self.device()) == DType::F32;
        let is_direct = copies.len() == 1 && in_f32 && self.device().same_device(home);
        match copies.pop() {
            Some(only) if is_direct => Ok(Box::new(only)),
            last => Ok(Box::new(Replicas::new(copies.into_iter().chain(last).collect(), home.clone(), DType::F32)?)),
        }
    }
}

impl Default for Compute {
    /// `f32` on the CPU.
    fn default() -> Self {
        Self { devices: vec![Device::Cpu], precision: Precision::F32 }
    }
}

/// There are few names: all are said, and the likeliest.
fn none_of(kind: &'static str, name: &str, there: &str, known: &[&'static str]) -> Error {
    let likely = suggest(name, known.iter().copied());
    let hint = likely.first().map_or_else(String::new, |likely| format!("; did you mean `{likely}`?"));
    Error::parameter(kind, format!("`{name}` is none of {there}{hint}"))
}

fn one_device(name: &str) -> Result<Device> {
    let ordinal = match name.split_once(':') {
        None if name == "cpu" => return Ok(Device::Cpu),
        None if name == "cuda" => Some(0),
        Some(("cuda", ordinal)) => ordinal.parse::<usize>().ok(),
        _ => None,
    };
    let Some(ordinal) = ordinal else {
        let there = "`cpu`, `cuda`, `cuda:N`, several of them by commas, and `auto`";
        return Err(none_of("device", name, there, &["cpu", "cuda", "auto"]));
    };
    if !candle_core::utils::cuda_is_available() {
        let reason = format!("`{name}`: this build has no CUDA; build with `--features cuda` (docs/gpu.md)");
        return Err(Error::parameter("device", reason));
    }
    Device::new_cuda(ordinal).map_err(|error| {
        let error = Error::from(error);
        Error::parameter("device", format!("`{name}`: no such GPU, or no driver for it ({error}); `cpu` needs none"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::architecture;
    use candle_core::Tensor;
    use faithful_core::{Objective, Target};

    #[test]
    fn devices_are_parsed_and_absent_ones_explained() {
        assert_eq!(Compute::new("cpu, cpu", Precision::F32).unwrap().devices.len(), 2);
        assert!(Compute::new("auto", Precision::F32).is_ok());
        for (device, word) in [("cuda:x", "none of `cpu`"), ("gpu", "none of"), ("cudaa", "did you mean `cuda`?")] {
            let error = Compute::new(device, Precision::F32).unwrap_err().to_string();
            assert!(error.contains(word), "{device}: {error}");
        }
        if !candle_core::utils::cuda_is_available() {
            let error = Compute::new("cuda:1", Precision::F32).unwrap_err().to_string();
            assert!(error.starts_with("device: `cuda:1`: this build has no CUDA"), "{error}");
        }
        assert!(Compute::new("cpu", Precision::Bf16).is_ok());
        assert!("fp32".parse::<Precision>().unwrap_err().to_string().contains("did you mean"));
        assert_eq!("tf32".parse::<Precision>().unwrap().to_string(), "tf32");
    }

    #[test]
    fn bf16_gives_way_where_it_is_slower() {
        let compute = |precision| Compute::new("cpu", precision).unwrap().unless_slower().precision();
        assert_eq!(compute(Precision::F32), Precision::F32);
        let pays = Factors::Bf16.pay(Isa::best());
        assert_eq!(compute(Precision::Bf16), if pays { Precision::Bf16 } else { Precision::F32 });
        assert!(!Factors::Bf16.pay(Isa::Portable));
    }

    #[test]
    fn two_copies_compute_what_one_does() {
        let graph = architecture("squeezenet1_1").unwrap().random(3, 1, &Device::Cpu).unwrap();
        let input = Tensor::rand(-1f32, 1., (5, 3, 64, 64), &Device::Cpu).unwrap();
        let layer = graph.layer("features.12").unwrap();
        let run = |device: &str| {
            let network = Compute::new(device, Precision::F32).unwrap().place(&graph).unwrap();
            let target = Target::Output(1);
            let objective = Objective::new(&*network, &target);
            let found = objective.differentiate(&input, &[layer], true).unwrap();
            let trace = &found.traces[0];
            let all = [&found.outputs, &trace.activation, &trace.gradient, found.input_gradient.as_ref().unwrap()];
            all.map(|x| x.flatten_all().unwrap().to_vec1::<f32>().unwrap())
        };
        assert_eq!(run("cpu"), run("cpu,cpu"));
    }
}
