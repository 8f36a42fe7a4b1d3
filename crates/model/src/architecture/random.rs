use candle_core::{Device, Tensor};
use faithful_core::Result;
use rayon::prelude::*;

/// How many numbers a thread makes at a time.
const CHUNK: usize = 1 << 16;

/// Independent uniform numbers in `[-1, 1)` that any language can make again: bit for bit the same on every platform,
/// and in the few lines of `NumPy` that made this project's reference values.
///
/// Element `i` of the tensor called `name` is `m(m(i ^ low) + high) >> 8`, times `2^-23`, minus 1, where `low` and
/// `high` are the halves of the 64-bit FNV-1a hash of `name`, started from the usual offset `^ seed`, and `m` is a
/// 32-bit mixing function with multipliers `0x7feb352d` and `0x846ca68b`. Counts above 2^32 repeat.
pub fn portable_uniform(name: &str, seed: u64, count: usize) -> Vec<f32> {
    let hash = name
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325 ^ seed, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    let (low, high) = (hash as u32, (hash >> 32) as u32);
    let mut values = vec![0.0; count];
    values.par_chunks_mut(CHUNK).enumerate().for_each(|(chunk, values)| {
        for (i, value) in values.iter_mut().enumerate() {
            let bits = mix(mix((chunk * CHUNK + i) as u32 ^ low).wrapping_add(high)) >> 8;
            *value = bits as f32 * (1.0 / 8_388_608.0) - 1.0;
        }
    });
    values
}

fn mix(mut x: u32) -> u32 {
    x = (x ^ (x >> 16)).wrapping_mul(0x7feb_352d);
    x = (x ^ (x >> 15)).wrapping_mul(0x846c_a68b);
    x ^ (x >> 16)
}

/// The tensor `name` of `shape` for a network that has learnt nothing, from [`portable_uniform`] numbers `u`.
///
/// Kernels and matrices: `u * sqrt(6 / inputs)` (He et al. 2015: keeps the variance through a relu). Batch norm:
/// scale `0.75 + u / 4`, variance `1 + u / 2`, mean `u / 10`, so that residual sums grow slowly. Biases: `u / 10`.
pub(super) fn random_tensor(name: &str, shape: &[usize], seed: u64) -> Result<Tensor> {
    let mut values = portable_uniform(name, seed, shape.iter().product());
    let fan_in: usize = shape.iter().skip(1).product();
    let (offset, factor) = match name.rsplit('.').next() {
        Some("running_var") => (1.0, 0.5),
        Some("weight") if shape.len() == 1 => (0.75, 0.25),
        Some("weight") => (0.0, (6.0 / fan_in as f64).sqrt() as f32),
        _ => (0.0, 0.1),
    };
    values.par_iter_mut().for_each(|value| *value = offset + factor * *value);
    Ok(Tensor::from_vec(values, shape, &Device::Cpu)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_recipe_does_not_change() {
        // From the NumPy side, fixtures/goldens/architecture/make.py.
        let expected = [-0.986_911_9, -0.025_543_094, -0.281_180_26, 0.233_510_61, 0.169_065_6];
        assert_eq!(portable_uniform("features.0.weight", 7, 5), expected);
        let many = portable_uniform("x", 0, 200_000);
        let mean = many.iter().map(|&v| f64::from(v)).sum::<f64>() / 200_000.0;
        let square = many.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>() / 200_000.0;
        assert!(mean.abs() < 5e-3 && (square - 1.0 / 3.0).abs() < 3e-3, "{mean} {square}");
        assert_ne!(many[..5], portable_uniform("x", 1, 5));
    }
}
