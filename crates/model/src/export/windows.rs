//! Windows over an axis.

use faithful_tensor::Pool;

/// The places of a pool's windows along `axis` (0 for rows) of `size` places.
pub(super) fn count(pool: &Pool, axis: usize, size: usize) -> usize {
    let padding = [pool.padding[axis], pool.padding[axis + 2]];
    crate::op::shape::windows(size, pool.kernel[axis], pool.stride[axis], pool.dilation[axis], padding, pool.ceil)
        .unwrap_or(0)
}

/// The padding behind an axis with which windows that are rounded down are as many as the pool's.
pub(super) fn covering(pool: &Pool, axis: usize, size: usize) -> usize {
    let reach = pool.dilation[axis] * (pool.kernel[axis] - 1) + 1;
    let whole = (count(pool, axis, size).max(1) - 1) * pool.stride[axis] + reach;
    whole.saturating_sub(size + pool.padding[axis]).max(pool.padding[axis + 2])
}
