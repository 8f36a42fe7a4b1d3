//! `2GiB`, and how many rows of a network fit into it.

use faithful_core::Network;
use std::num::NonZeroUsize;
use std::str::FromStr;

/// A number of bytes as people write it: `512MiB`, `2GB`, `1.5g`, `1000000`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ByteSize(pub(crate) u64);

impl FromStr for ByteSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "expected a size such as `2GiB`, `512MiB` or `1.5G`".to_owned();
        let split = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
        let (number, unit) = text.split_at(split);
        let number: f64 = number.trim().parse().map_err(|_| wrong())?;
        let unit: f64 = match unit.trim().to_ascii_lowercase().as_str() {
            "" | "b" => 1.0,
            "k" | "kib" => 1024.0,
            "m" | "mib" => 1024f64.powi(2),
            "g" | "gib" => 1024f64.powi(3),
            "t" | "tib" => 1024f64.powi(4),
            "kb" => 1e3,
            "mb" => 1e6,
            "gb" => 1e9,
            "tb" => 1e12,
            _ => return Err(wrong()),
        };
        let bytes = number * unit;
        // The upper bound also refuses infinity; the comparison refuses NaN.
        if (1.0..1e18).contains(&bytes) { Ok(Self(bytes as u64)) } else { Err(wrong()) }
    }
}

/// The bytes that one row of an input `(1, C, H, W)` needs in a forward and a backward pass, estimated from the layers'
/// shapes: each activation is kept, a gradient of its size comes back, and the largest layer unfolds its neighbourhoods
/// once.
pub(crate) fn bytes_per_row(network: &dyn Network, input: &[usize]) -> u64 {
    let count = |shape: &[usize]| shape.iter().map(|&side| side as u64).product::<u64>();
    let activations = network.layers().iter().map(|layer| count(&layer.shape));
    let (sum, largest) = activations.fold((0, 0), |(sum, largest), one| (sum + one, one.max(largest)));
    // Shapes are those of the nominal input; maps grow with its area.
    let nominal = network.input_shape().map_or(0, count).max(1);
    let scale = count(input).max(1) as f64 / nominal as f64;
    let values = (2 * sum + 9 * largest) as f64 * scale + 2.0 * count(input) as f64;
    (values * network.dtype().size_in_bytes() as f64) as u64
}

/// How many rows of `per_row` bytes fit into `memory`; at least one, or nothing could be computed.
pub(crate) fn rows_within(memory: ByteSize, per_row: u64) -> NonZeroUsize {
    let rows = (memory.0 / per_row.max(1)).clamp(1, 1024);
    NonZeroUsize::new(rows as usize).unwrap_or(NonZeroUsize::MIN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Tensor;
    use faithful_core::{LayerInfo, Probe, Result};

    #[test]
    fn sizes_are_read_as_people_write_them() {
        let sizes = [("2GiB", 2 << 30), ("512 MiB", 512 << 20), ("1.5G", 3 << 29), ("2GB", 2_000_000_000), ("77", 77)];
        for (text, bytes) in sizes {
            assert_eq!(text.parse(), Ok(ByteSize(bytes)), "{text}");
        }
        for text in ["", "GiB", "-1G", "0", "2 giraffes", "nan", "inf", "1e40", "1..2G"] {
            assert!(text.parse::<ByteSize>().is_err(), "{text}");
        }
    }

    struct Two(Vec<LayerInfo>);

    impl Network for Two {
        fn layers(&self) -> &[LayerInfo] {
            &self.0
        }
        fn forward(&self, input: &Tensor, _: &mut dyn Probe) -> Result<Tensor> {
            Ok(input.clone())
        }
        fn input_shape(&self) -> Option<&[usize]> {
            Some(&[3, 10, 10])
        }
    }

    #[test]
    fn rows_follow_the_layers_and_the_input() {
        let layer = |shape: &[usize]| LayerInfo { name: "l".into(), kind: "relu".into(), shape: shape.to_vec() };
        let network = Two(vec![layer(&[8, 10, 10]), layer(&[16, 5, 5])]);
        let per_row = bytes_per_row(&network, &[1, 3, 10, 10]);
        assert_eq!(per_row, 4 * (2 * (800 + 400) + 9 * 800 + 2 * 300));
        assert_eq!(bytes_per_row(&network, &[1, 3, 20, 20]), 4 * (4 * (2 * (800 + 400) + 9 * 800) + 2 * 1200));
        assert_eq!(rows_within(ByteSize(10 * per_row + 1), per_row).get(), 10);
        assert_eq!(rows_within(ByteSize(1), per_row).get(), 1);
    }
}
