/// A vector of `f32` and what the kernels do with it.
///
/// # Safety of all methods
/// The processor must have the instruction set, and pointers must be valid for `LANES` (or `count`) elements; no
/// alignment is needed.
pub(crate) trait Simd: Copy + Send + Sync + 'static {
    /// The vector.
    type Vector: Copy;
    /// How many `f32` it holds.
    const LANES: usize;
    /// The rows of the matrix product's register tile.
    const ROWS: usize;

    unsafe fn splat(value: f32) -> Self::Vector;
    unsafe fn load(from: *const f32) -> Self::Vector;
    unsafe fn store(to: *mut f32, value: Self::Vector);
    /// The first `count < LANES` elements, zeros behind.
    unsafe fn load_partial(from: *const f32, count: usize) -> Self::Vector;
    unsafe fn store_partial(to: *mut f32, value: Self::Vector, count: usize);
    unsafe fn add(a: Self::Vector, b: Self::Vector) -> Self::Vector;
    unsafe fn sub(a: Self::Vector, b: Self::Vector) -> Self::Vector;
    unsafe fn mul(a: Self::Vector, b: Self::Vector) -> Self::Vector;
    unsafe fn div(a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// `a * b + c`, rounded once where the hardware does.
    unsafe fn mul_add(a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector;
    /// The greater one; `b` where either is NaN.
    unsafe fn max(a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// The lesser one; `b` where either is NaN.
    unsafe fn min(a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// `then` in lanes where `x > bound`, or where `x` is NaN; `otherwise` elsewhere.
    unsafe fn select_greater_or_nan(
        x: Self::Vector,
        bound: Self::Vector,
        then: Self::Vector,
        otherwise: Self::Vector,
    ) -> Self::Vector;
    /// `value` in lanes where `a == b`, zero elsewhere.
    unsafe fn keep_where_equal(a: Self::Vector, b: Self::Vector, value: Self::Vector) -> Self::Vector;
    /// `value` in lanes where `low < x < high`, zero elsewhere.
    unsafe fn keep_where_inside(
        x: Self::Vector,
        low: Self::Vector,
        high: Self::Vector,
        value: Self::Vector,
    ) -> Self::Vector;
    /// `2^n` for integers from -126 to 127; anything where `n` is NaN.
    unsafe fn power_of_two(n: Self::Vector) -> Self::Vector;
    /// The sum of the lanes, in a fixed order.
    unsafe fn sum(value: Self::Vector) -> f32;
    /// Asks for the cache line at `from`, any address, in the second-level cache; nothing where the target cannot.
    #[inline(always)]
    unsafe fn prefetch(from: *const f32) {
        let _ = from;
    }

    /// Loads `count` elements, all lanes where there are at least as many.
    #[inline(always)]
    unsafe fn load_up_to(from: *const f32, count: usize) -> Self::Vector {
        // SAFETY: the caller's.
        unsafe { if count >= Self::LANES { Self::load(from) } else { Self::load_partial(from, count) } }
    }

    /// Stores `count` elements, all lanes where there are at least as many.
    #[inline(always)]
    unsafe fn store_up_to(to: *mut f32, value: Self::Vector, count: usize) {
        // SAFETY: the caller's.
        unsafe {
            if count >= Self::LANES {
                Self::store(to, value);
            } else {
                Self::store_partial(to, value, count);
            }
        }
    }
}

/// A vector whose elements may be pairs of `bf16`.
///
/// # Safety of all methods
/// [`Simd`]'s.
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code, reason = "only x86 has processors with pairs"))]
pub(crate) trait Pairs: Simd {
    /// Adds to each element of `c` the two products of the pairs in `a` and `b`.
    unsafe fn add_products(a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector;
    /// Rounds to `bf16`, to the nearest and ties to even, and stores the first `count` numbers.
    unsafe fn store_rounded(to: *mut u16, value: Self::Vector, count: usize);
}

/// Arrays that the compiler turns into whatever the target has.
#[derive(Clone, Copy)]
pub(crate) struct Portable;

impl Portable {
    #[inline(always)]
    fn zip<const N: usize>(a: [f32; N], b: [f32; N], f: impl Fn(f32, f32) -> f32) -> [f32; N] {
        std::array::from_fn(|i| f(a[i], b[i]))
    }
}

// The trait's contract covers every method.
#[allow(clippy::missing_safety_doc)]
impl Simd for Portable {
    type Vector = [f32; 4];
    const LANES: usize = 4;
    const ROWS: usize = 4;

    #[inline(always)]
    unsafe fn splat(value: f32) -> [f32; 4] {
        [value; 4]
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> [f32; 4] {
        // SAFETY: the caller's.
        unsafe { from.cast::<[f32; 4]>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn store(to: *mut f32, value: [f32; 4]) {
        // SAFETY: the caller's.
        unsafe { to.cast::<[f32; 4]>().write_unaligned(value) }
    }
    #[inline(always)]
    unsafe fn load_partial(from: *const f32, count: usize) -> [f32; 4] {
        // SAFETY: the caller's.
        std::array::from_fn(|i| if i < count { unsafe { *from.add(i) } } else { 0.0 })
    }
    #[inline(always)]
    unsafe fn store_partial(to: *mut f32, value: [f32; 4], count: usize) {
        for (i, value) in value.into_iter().enumerate().take(count) {
            // SAFETY: the caller's.
            unsafe { *to.add(i) = value }
        }
    }
    #[inline(always)]
    unsafe fn add(a: [f32; 4], b: [f32; 4]) -> [f32; 4] {
        Self::zip(a, b, |a, b| a + b)
    }
    #[inline(always)]
    unsafe fn sub(a: [f32; 4], b: [f32; 4]) -> [f32; 4] {
        Self::zip(a, b, |a, b| a - b)
    }
    #[inline(always)]
    unsafe fn mul(a: [f32; 4], b: [f32; 4]) -> [f32; 4] {
        Self::zip(a, b, |a, b| a * b)
    }
    #[inline(always)]
    unsafe fn div(a: [f32; 4], b: [f32; 4]) -> [f32; 4] {
        Self::zip(a, b, |a, b| a / b)
    }
    #[inline(always)]
    unsafe fn mul_add(a: [f32; 4], b: [f32; 4], c: [f32; 4]) -> [f32; 4] {
        // Not `f32::mul_add`, which is a library call where the target has no such instruction.
        std::array::from_fn(|i| a[i] * b[i] + c[i])
    }
    #[inline(always)]
    unsafe fn max(a: [f32; 4], b: [f32; 4]) -> [f32; 4] {
        Self::zip(a, b, |a, b| if a > b { a } else { b })
    }
    #[inline(always)]
    unsafe fn min(a: [f32; 4], b: [f32; 4]) -> [f32; 4] {
        Self::zip(a, b, |a, b| if a < b { a } else { b })
    }
    #[inline(always)]
    unsafe fn select_greater_or_nan(x: [f32; 4], bound: [f32; 4], then: [f32; 4], otherwise: [f32; 4]) -> [f32; 4] {
        std::array::from_fn(|i| if x[i] > bound[i] || x[i].is_nan() { then[i] } else { otherwise[i] })
    }
    #[inline(always)]
    unsafe fn keep_where_equal(a: [f32; 4], b: [f32; 4], value: [f32; 4]) -> [f32; 4] {
        std::array::from_fn(|i| if a[i] == b[i] { value[i] } else { 0.0 })
    }
    #[inline(always)]
    unsafe fn keep_where_inside(x: [f32; 4], low: [f32; 4], high: [f32; 4], value: [f32; 4]) -> [f32; 4] {
        std::array::from_fn(|i| if x[i] > low[i] && x[i] < high[i] { value[i] } else { 0.0 })
    }
    #[inline(always)]
    unsafe fn power_of_two(n: [f32; 4]) -> [f32; 4] {
        n.map(|n| f32::from_bits(((n as i32).wrapping_add(127) as u32) << 23))
    }
    #[inline(always)]
    unsafe fn sum(v: [f32; 4]) -> f32 {
        (v[0] + v[2]) + (v[1] + v[3])
    }
}

#[cfg(target_arch = "aarch64")]
pub(crate) use neon::Neon;

#[cfg(target_arch = "aarch64")]
mod neon {
    use super::Simd;
    use std::arch::aarch64::{
        float32x4_t, vaddq_f32, vaddq_s32, vaddvq_f32, vandq_u32, vbslq_f32, vceqq_f32, vcgtq_f32, vcvtq_s32_f32,
        vdivq_f32, vdupq_n_f32, vdupq_n_s32, vfmaq_f32, vld1q_f32, vmulq_f32, vmvnq_u32, vorrq_u32,
        vreinterpretq_f32_s32, vshlq_n_s32, vst1q_f32, vsubq_f32,
    };

    /// ARM's vectors.
    #[derive(Clone, Copy)]
    pub(crate) struct Neon;

    // The trait's contract covers every method.
    #[allow(clippy::missing_safety_doc, clippy::undocumented_unsafe_blocks)]
    impl Simd for Neon {
        type Vector = float32x4_t;
        const LANES: usize = 4;
        const ROWS: usize = 8;

        #[inline(always)]
        unsafe fn splat(value: f32) -> float32x4_t {
            unsafe { vdupq_n_f32(value) }
        }
        #[inline(always)]
        unsafe fn load(from: *const f32) -> float32x4_t {
            unsafe { vld1q_f32(from) }
        }
        #[inline(always)]
        unsafe fn store(to: *mut f32, value: float32x4_t) {
            unsafe { vst1q_f32(to, value) }
        }
        #[inline(always)]
        unsafe fn load_partial(from: *const f32, count: usize) -> float32x4_t {
            let part: [f32; 4] = std::array::from_fn(|i| if i < count { unsafe { *from.add(i) } } else { 0.0 });
            unsafe { vld1q_f32(part.as_ptr()) }
        }
        #[inline(always)]
        unsafe fn store_partial(to: *mut f32, value: float32x4_t, count: usize) {
            let mut part = [0.0; 4];
            unsafe { vst1q_f32(part.as_mut_ptr(), value) }
            for (i, value) in part.into_iter().enumerate().take(count) {
                unsafe { *to.add(i) = value }
            }
        }
        #[inline(always)]
        unsafe fn add(a: float32x4_t, b: float32x4_t) -> float32x4_t {
            unsafe { vaddq_f32(a, b) }
        }
        #[inline(always)]
        unsafe fn sub(a: float32x4_t, b: float32x4_t) -> float32x4_t {
            unsafe { vsubq_f32(a, b) }
        }
        #[inline(always)]
        unsafe fn mul(a: float32x4_t, b: float32x4_t) -> float32x4_t {
            unsafe { vmulq_f32(a, b) }
        }
        #[inline(always)]
        unsafe fn div(a: float32x4_t, b: float32x4_t) -> float32x4_t {
            unsafe { vdivq_f32(a, b) }
        }
        #[inline(always)]
        unsafe fn mul_add(a: float32x4_t, b: float32x4_t, c: float32x4_t) -> float32x4_t {
            unsafe { vfmaq_f32(c, a, b) }
        }
        #[inline(always)]
        unsafe fn max(a: float32x4_t, b: float32x4_t) -> float32x4_t {
            unsafe { vbslq_f32(vcgtq_f32(a, b), a, b) }
        }
        #[inline(always)]
        unsafe fn min(a: float32x4_t, b: float32x4_t) -> float32x4_t {
            unsafe { vbslq_f32(vcgtq_f32(b, a), a, b) }
        }
        #[inline(always)]
        unsafe fn select_greater_or_nan(
            x: float32x4_t,
            bound: float32x4_t,
            then: float32x4_t,
            otherwise: float32x4_t,
        ) -> float32x4_t {
            unsafe { vbslq_f32(vorrq_u32(vcgtq_f32(x, bound), vmvnq_u32(vceqq_f32(x, x))), then, otherwise) }
        }
        #[inline(always)]
        unsafe fn keep_where_equal(a: float32x4_t, b: float32x4_t, value: float32x4_t) -> float32x4_t {
            unsafe { vbslq_f32(vceqq_f32(a, b), value, vdupq_n_f32(0.0)) }
        }
        #[inline(always)]
        unsafe fn keep_where_inside(
            x: float32x4_t,
            low: float32x4_t,
            high: float32x4_t,
            value: float32x4_t,
        ) -> float32x4_t {
            unsafe { vbslq_f32(vandq_u32(vcgtq_f32(x, low), vcgtq_f32(high, x)), value, vdupq_n_f32(0.0)) }
        }
        #[inline(always)]
        unsafe fn power_of_two(n: float32x4_t) -> float32x4_t {
            unsafe { vreinterpretq_f32_s32(vshlq_n_s32::<23>(vaddq_s32(vcvtq_s32_f32(n), vdupq_n_s32(127)))) }
        }
        #[inline(always)]
        unsafe fn sum(v: float32x4_t) -> f32 {
            unsafe { vaddvq_f32(v) }
        }
    }
}
