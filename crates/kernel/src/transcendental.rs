//! The exponential and its relatives over vectors.
//!
//! The polynomials are least-squares fits whose weights were moved until the relative error was even (Lawson 1961). What is no number
//! stays none.

use super::simd::Simd;

/// `e^x`, to about two units of the last place; from -87 down and from 88 up that of the bound.
///
/// # Safety
/// [`Simd`]'s.
#[inline(always)]
pub(super) unsafe fn exp<S: Simd>(x: S::Vector) -> S::Vector {
    /// Adding it rounds to the nearest integer.
    const ROUND: f32 = 12_582_912.0;
    // `ln 2` in two parts, of which the first has few digits: its multiples are exact.
    const LN_2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];
    const RISE: [f32; 5] = [0.5, 0.166_665_18, 0.041_666_206, 0.008_368_883, 0.001_395_048_1];
    // SAFETY: the caller's.
    unsafe {
        let x = S::min(S::splat(88.0), S::max(S::splat(-87.0), x));
        let turns = S::mul_add(x, S::splat(std::f32::consts::LOG2_E), S::splat(ROUND));
        let turns = S::sub(turns, S::splat(ROUND));
        let rest = S::mul_add(turns, S::splat(-LN_2[0]), x);
        let rest = S::mul_add(turns, S::splat(-LN_2[1]), rest);
        let rise = polynomial::<S, 5>(rest, &RISE);
        // `1 + r + r² q(r)`.
        let value = S::add(S::mul_add(S::mul(rest, rest), rise, rest), S::splat(1.0));
        S::mul(value, S::power_of_two(turns))
    }
}

/// `1 / (1 + e^-x)`.
///
/// # Safety
/// [`Simd`]'s.
#[inline(always)]
pub(super) unsafe fn sigmoid<S: Simd>(x: S::Vector) -> S::Vector {
    // SAFETY: the caller's.
    unsafe {
        let one = S::splat(1.0);
        S::div(one, S::add(one, exp::<S>(S::sub(S::splat(0.0), x))))
    }
}

/// The hyperbolic tangent: by the exponential, and around zero, where that would lose digits, by a polynomial.
///
/// # Safety
/// [`Simd`]'s.
#[inline(always)]
pub(super) unsafe fn tanh<S: Simd>(x: S::Vector) -> S::Vector {
    const BOUND: f32 = 0.65;
    const RISE: [f32; 5] = [-0.333_332_63, 0.133_308_99, -0.053_692_967, 0.020_483_315, -0.005_528_633];
    // SAFETY: the caller's.
    unsafe {
        let one = S::splat(1.0);
        let square = S::mul(x, x);
        let near = S::mul_add(S::mul(square, x), polynomial::<S, 5>(square, &RISE), x);
        let far = S::sub(one, S::div(S::splat(2.0), S::add(exp::<S>(S::add(x, x)), one)));
        S::select_greater_or_nan(square, S::splat(BOUND * BOUND), far, near)
    }
}

/// The slope of a sigmoid whose value is `v`.
///
/// # Safety
/// [`Simd`]'s.
#[inline(always)]
pub(super) unsafe fn slope_of_sigmoid<S: Simd>(v: S::Vector) -> S::Vector {
    // SAFETY: the caller's.
    unsafe { S::mul(v, S::sub(S::splat(1.0), v)) }
}

/// The slope of a hyperbolic tangent whose value is `v`.
///
/// # Safety
/// [`Simd`]'s.
#[inline(always)]
pub(super) unsafe fn slope_of_tanh<S: Simd>(v: S::Vector) -> S::Vector {
    // SAFETY: the caller's.
    unsafe { S::sub(S::splat(1.0), S::mul(v, v)) }
}

/// How much of the normal distribution lies below `x`, and its density there: from the smaller of the two sides, which is
/// right to some units of its own last place.
///
/// # Safety
/// [`Simd`]'s.
#[inline(always)]
pub(super) unsafe fn normal<S: Simd>(x: S::Vector) -> [S::Vector; 2] {
    /// `1 / sqrt(2 pi)`.
    const PEAK: f32 = 0.398_942_3;
    // The tail over `e^(-x²/2)`, in `1 / (1 + 0.3 |x|)`.
    const TAIL: [f32; 9] = [
        -4.464_246_6e-6,
        0.119_675_4,
        0.120_642_06,
        0.099_486_22,
        0.131_632_34,
        -0.061_164_73,
        0.215_568_74,
        -0.162_959_75,
        0.037_124_23,
    ];
    // SAFETY: the caller's.
    unsafe {
        let one = S::splat(1.0);
        let size = S::max(S::sub(S::splat(0.0), x), x);
        let bell = exp::<S>(S::mul(S::mul(x, x), S::splat(-0.5)));
        let place = S::div(one, S::mul_add(size, S::splat(0.3), one));
        let tail = S::mul(bell, polynomial::<S, 9>(place, &TAIL));
        let below = S::select_greater_or_nan(x, S::splat(0.0), S::sub(one, tail), tail);
        [below, S::mul(bell, S::splat(PEAK))]
    }
}

/// `c[0] + c[1] x + c[2] x² + …`
#[inline(always)]
unsafe fn polynomial<S: Simd, const N: usize>(x: S::Vector, coefficients: &[f32; N]) -> S::Vector {
    // SAFETY: the caller's.
    unsafe {
        let mut sum = S::splat(coefficients[N - 1]);
        for coefficient in coefficients[..N - 1].iter().rev() {
            sum = S::mul_add(sum, x, S::splat(*coefficient));
        }
        sum
    }
}
