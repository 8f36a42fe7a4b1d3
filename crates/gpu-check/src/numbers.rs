//! Numbers to compute with, and how far two results are from each other.

use candle_core::{DType, Device, Result, Tensor};
use faithful_tensor::by_composition;

/// Numbers in (-1, 1), the same on every machine, in f64 on the CPU; each is one that `bf16` has too, so that all types
/// are asked the same question.
pub(crate) fn numbers(shape: &[usize], seed: u64) -> Result<Tensor> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d_4c95_7f2d;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 33) as f64) / f64::from(1_u32 << 30) - 1.0
    };
    let values: Vec<f64> = (0..shape.iter().product()).map(|_| next()).collect();
    Tensor::from_vec(values, shape, &Device::Cpu)?.to_dtype(DType::BF16)?.to_dtype(DType::F64)
}

/// `|a - b| / |a|` over all elements, both taken to the CPU; 0 where both are zero.
pub(crate) fn relative_difference(a: &Tensor, b: &Tensor) -> Result<f64> {
    if a.dims() != b.dims() {
        candle_core::bail!("the shapes are {:?} and {:?}", a.dims(), b.dims());
    }
    let values = |x: &Tensor| x.to_device(&Device::Cpu)?.to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>();
    let (a, b) = (values(a)?, values(b)?);
    let difference: f64 = a.iter().zip(&b).map(|(a, b)| (a - b).powi(2)).sum();
    let size: f64 = a.iter().map(|a| a.powi(2)).sum();
    Ok(if difference == 0.0 { 0.0 } else { (difference / size).sqrt() })
}

/// `work` as a GPU does it: on a GPU as it is, on the CPU by the compositions that GPUs run.
pub(crate) fn as_on_a_gpu<R>(device: &Device, work: impl FnOnce() -> R) -> R {
    if device.is_cpu() { by_composition(work) } else { work() }
}
