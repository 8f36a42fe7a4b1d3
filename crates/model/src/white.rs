//! Networks that scale their photos themselves.

use crate::{Graph, Op};
use candle_core::{DType, Tensor};
use faithful_tensor::Binary;

impl Graph {
    /// The value that the network takes for white, where its first operations scale its input: 255 where pixels of 0
    /// to 255 come out of the size that networks compute with, 1 where values of 0 to 1 are standardised. `None` where
    /// nothing says it: what the input is standardised by is not known then.
    ///
    /// Keras' `Rescaling` and `Normalization` are such operations, and means that are subtracted first. A network whose
    /// input is of whole numbers takes pixels as they are.
    pub fn white(&self) -> Option<f32> {
        if self.of_bytes {
            return Some(255.0);
        }
        let users = self.users();
        // y = slope x + shift, on average over the channels.
        let (mut slope, mut shift, mut normalised) = (1.0, 0.0, false);
        let mut place = self.input;
        while let [next] = users[place.0].as_slice() {
            let node = self.node(*next);
            match &node.op {
                Op::Identity
                | Op::Transpose(_)
                | Op::Reshape(_)
                | Op::Squeeze(_)
                | Op::Unsqueeze(_)
                | Op::Gather { .. } => {}
                Op::Binary(operation) => {
                    let other = node.inputs.iter().find(|input| **input != place)?;
                    let Op::Constant(value) = &self.node(*other).op else { break };
                    let (value, first) = (mean(value)?, node.inputs[0] == place);
                    match (operation, first) {
                        (Binary::Add, _) => shift += value,
                        (Binary::Sub, true) => shift -= value,
                        (Binary::Sub, false) => (slope, shift) = (-slope, value - shift),
                        (Binary::Mul, _) => (slope, shift) = (slope * value, shift * value),
                        (Binary::Div, true) if value != 0.0 => (slope, shift) = (slope / value, shift / value),
                        _ => break,
                    }
                }
                Op::BatchNorm { scale, shift: own } => {
                    let (scale, own) = (mean(scale)?, mean(own)?);
                    (slope, shift, normalised) = (slope * scale, shift * scale + own, true);
                }
                _ => break,
            }
            place = *next;
        }
        let of_pixels = (0.001..=0.05).contains(&slope) || ((0.3..=3.0).contains(&slope) && shift < -20.0);
        // A batch norm of inputs that were standardised before has slopes of this size too.
        let of_shares = !normalised && (1.5..=12.0).contains(&slope) && (0.2..=0.8).contains(&(-shift / slope));
        if of_pixels { Some(255.0) } else { of_shares.then_some(1.0) }
    }
}

/// The mean of a small tensor's values; `None` for one that is no numbers per channel.
fn mean(tensor: &Tensor) -> Option<f64> {
    let count = tensor.elem_count();
    if !(1..=1 << 20).contains(&count) {
        return None;
    }
    let values = tensor.flatten_all().ok()?.to_dtype(DType::F64).ok()?.to_vec1::<f64>().ok()?;
    Some(values.iter().sum::<f64>() / count as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{GraphBuilder, NodeId};
    use candle_core::Device;

    fn white(steps: &[(Binary, f32)]) -> Option<f32> {
        let mut builder = GraphBuilder::new(&[3, 4, 4]);
        let mut x = builder.input();
        for (place, (operation, value)) in steps.iter().enumerate() {
            let constant = Op::Constant(Tensor::full(*value, (3, 1, 1), &Device::Cpu).unwrap());
            let constant = builder.add(format!("c{place}"), constant, &[]);
            x = builder.add(format!("b{place}"), Op::Binary(*operation), &[x, constant]);
        }
        let last: NodeId = builder.add("pool", Op::AdaptiveAvgPool2d([1, 1]), &[x]);
        builder.finish(last).unwrap().white()
    }

    #[test]
    fn what_scales_first_says_what_white_is() {
        use Binary::{Add, Div, Mul, Sub};
        assert_eq!(white(&[]), None);
        assert_eq!(white(&[(Mul, 1.0 / 255.0)]), Some(255.0));
        assert_eq!(white(&[(Div, 127.5), (Sub, 1.0)]), Some(255.0));
        assert_eq!(white(&[(Sub, 110.0)]), Some(255.0));
        assert_eq!(white(&[(Sub, 120.0), (Mul, 0.017)]), Some(255.0));
        assert_eq!(white(&[(Mul, 1.0 / 255.0), (Sub, 0.45), (Div, 0.225)]), Some(255.0));
        assert_eq!(white(&[(Mul, 2.0), (Add, -1.0)]), Some(1.0));
        assert_eq!(white(&[(Sub, 0.45), (Div, 0.225)]), Some(1.0));
        assert_eq!(white(&[(Mul, 1.0)]), None);
    }
}
