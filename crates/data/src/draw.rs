//! Random numbers that are the same for the same generator on every platform and in every version of `rand`: only
//! its raw words are used, and they become numbers by exact arithmetic.

use rand::RngCore;

/// Uniform in `[low, high)`, on a grid of 2⁻²⁴.
pub(crate) fn uniform(generator: &mut impl RngCore, low: f32, high: f32) -> f32 {
    low + (high - low) * ((generator.next_u32() >> 8) as f32 / 16_777_216.0)
}

/// Uniform among `0..count`; the bias of the multiplication is below `count / 2³²`.
pub(crate) fn below(generator: &mut impl RngCore, count: usize) -> usize {
    ((u64::from(generator.next_u32()) * count as u64) >> 32) as usize
}

/// True with this probability.
pub(crate) fn chance(generator: &mut impl RngCore, probability: f32) -> bool {
    uniform(generator, 0.0, 1.0) < probability
}

/// The direction `(cos a, sin a)` of an angle between `-limit` and `limit`, where `limit` is given as the tangent of
/// half the angle (1 is 90 degrees); the rational parametrisation needs no platform's sine.
pub(crate) fn direction(generator: &mut impl RngCore, limit: f32) -> [f32; 2] {
    let t = uniform(generator, -limit, limit);
    let scale = 1.0 / (1.0 + t * t);
    [(1.0 - t * t) * scale, 2.0 * t * scale]
}
