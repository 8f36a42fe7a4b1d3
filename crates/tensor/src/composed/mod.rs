//! The operations as compositions of candle's own: what runs on a GPU.
//!
//! Values are composed of candle's kernels, gradients are written out beside them, because candle's own are wrong for
//! some, and compute what nobody asked for in others. A place is found without `argmax`, which on a GPU gives any of
//! several tied ones. The tests compare these with the CPU kernels, on the CPU.

pub(crate) mod convolution;
pub(crate) mod pointwise;
pub(crate) mod pooling;
pub(crate) mod product;
pub(crate) mod recurrent;
pub(crate) mod reduction;

use crate::function::{Value, attach};
use crate::separable::LinearMap;
use candle_core::{DType, Result, Tensor};
use std::cell::Cell;

thread_local! {
    /// Whether this thread computes by compositions on the CPU too.
    static FORCED: Cell<bool> = const { Cell::new(false) };
}

/// Runs `work` with the operations as compositions of candle's own for tensors on the CPU too, as they run on a GPU:
/// to compare the two where there is no GPU. What `work` hands to other threads is not meant.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use faithful_tensor::{Pool, by_composition, max_pool2d};
/// # fn main() -> candle_core::Result<()> {
/// let x = Tensor::new(&[[[[1f32, 2.], [4., 3.]]]], &Device::Cpu)?;
/// let pooled = by_composition(|| max_pool2d(&x, &Pool::default()))?;
/// assert_eq!(pooled.flatten_all()?.to_vec1::<f32>()?, [4.]);
/// # Ok(())
/// # }
/// ```
pub fn by_composition<R>(work: impl FnOnce() -> R) -> R {
    /// Puts back what was, also where `work` panics.
    struct Restore(bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            FORCED.set(self.0);
        }
    }
    let _restore = Restore(FORCED.replace(true));
    work()
}

/// Whether operations on `x` run by the CPU kernels.
pub(crate) fn has_kernels(x: &Tensor) -> bool {
    x.device().is_cpu() && !FORCED.get()
}

/// Up to how many inputs per output a linear map is a sum of picks; with more it is a matrix product.
const PICKS: usize = 16;

/// `places` as an index on the device of `x`.
pub(crate) fn places(places: &[usize], x: &Tensor) -> Result<Tensor> {
    let places: Vec<u32> = places.iter().map(|&place| place as u32).collect();
    let count = places.len();
    Tensor::from_vec(places, count, x.device())
}

/// Picks `index` along `axis`; the gradient adds up where a place is picked twice.
pub(crate) fn select(x: &Tensor, axis: usize, index: &[usize]) -> Result<Tensor> {
    let x = x.contiguous()?;
    let index = places(index, &x)?;
    let value = x.detach().index_select(&index, axis)?;
    // candle's own gradient is right, but fails where the gradient comes transposed; here it is contiguous.
    attach("gather", &[&x], Value::Device(value), move |backward| {
        let zeros = backward.arguments[0].zeros_like()?;
        Ok(vec![Some(zeros.index_add(&index, backward.gradient, axis)?)])
    })
}

/// `rows` along the height and `columns` along the width of `(N, C, H, W)`, without tracking.
pub(crate) fn separable(x: &Tensor, rows: &LinearMap, columns: &LinearMap) -> Result<Tensor> {
    if matches!(x.dtype(), DType::F16 | DType::BF16) {
        return separable(&x.to_dtype(DType::F32)?, rows, columns)?.to_dtype(x.dtype());
    }
    along(&along(x, 3, columns)?, 2, rows)
}

fn along(x: &Tensor, axis: usize, map: &LinearMap) -> Result<Tensor> {
    if map.is_identity() {
        return Ok(x.clone());
    }
    let depth = map.taps.iter().map(Vec::len).max().unwrap_or(0);
    if depth > PICKS {
        return multiplied(x, axis, map);
    }
    let mut shape = x.dims().to_vec();
    shape[axis] = map.outputs();
    let mut sum = Tensor::zeros(shape, x.dtype(), x.device())?;
    for tap in 0..depth {
        // An output with fewer taps looks at its first again, with no weight.
        let index: Vec<usize> =
            map.taps.iter().map(|taps| taps.get(tap).or(taps.first()).map_or(0, |tap| tap.0)).collect();
        let weights: Vec<f64> = map.taps.iter().map(|taps| taps.get(tap).map_or(0., |tap| tap.1)).collect();
        let mut broadcast = vec![1; x.rank()];
        broadcast[axis] = weights.len();
        let weights = Tensor::from_vec(weights, broadcast, x.device())?.to_dtype(x.dtype())?;
        sum = (sum + select(x, axis, &index)?.broadcast_mul(&weights)?)?;
    }
    Ok(sum)
}

/// As a matrix product, in f64: small, and no matter of how precise products of f32 are set to be.
fn multiplied(x: &Tensor, axis: usize, map: &LinearMap) -> Result<Tensor> {
    let mut matrix = vec![0f64; map.inputs * map.outputs()];
    for (output, taps) in map.taps.iter().enumerate() {
        for &(input, weight) in taps {
            matrix[input * map.outputs() + output] += weight;
        }
    }
    let matrix = Tensor::from_vec(matrix, (map.inputs, map.outputs()), x.device())?;
    let last = x.transpose(axis, x.rank() - 1)?.contiguous()?;
    let mut shape = last.dims().to_vec();
    shape[x.rank() - 1] = map.outputs();
    let product = last.to_dtype(DType::F64)?.reshape(((), map.inputs))?.matmul(&matrix)?;
    product.to_dtype(x.dtype())?.reshape(shape)?.transpose(axis, x.rank() - 1)?.contiguous()
}

/// Whether `x` is NaN, as 0 or 1.
pub(crate) fn is_nan(x: &Tensor) -> Result<Tensor> {
    x.ne(x)
}
