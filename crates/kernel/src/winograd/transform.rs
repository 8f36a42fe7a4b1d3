use super::super::simd::Simd;

/// The longest transformed line of any [`Transform`].
pub(super) const MOST: usize = 9;

/// Winograd's minimal filtering `F(m, 3)` along one axis (Winograd 1980; Lavin and Gray 2016, "Fast Algorithms for
/// Convolutional Neural Networks"): `m` outputs of a filter with three taps from `m + 2` products.
///
/// A line `d` of `m + 2` inputs is transformed to `B'd`, a filter `g` to `Gg`; the outputs are `A'(Gg * B'd)`.
/// Only the first `INPUTS` or `OUTPUTS` entries of the arrays count.
///
/// Where outputs are two inputs apart, the first and the last tap meet every other input only: `F(m, 2)` over those, and the
/// middle tap times what lies between them, are `2 m + 1` products instead of `3 m`.
pub(super) trait Transform {
    /// `m`.
    const OUTPUTS: usize;
    /// How far outputs are apart, in inputs.
    const STRIDE: usize = 1;
    /// The inputs of `m` outputs, and as many products: `m + 2`, or `2 m + 1` for a stride of 2.
    const INPUTS: usize = Self::STRIDE * (Self::OUTPUTS - 1) + 3;
    /// How many different numbers there are in `Gg`; the products from there on have the last one in common.
    const FILTERS: usize = Self::INPUTS;

    /// `Gg`.
    fn filter(g: [f64; 3]) -> [f64; MOST];

    /// `B'd`.
    ///
    /// # Safety
    /// [`Simd`]'s.
    unsafe fn input<S: Simd>(d: [S::Vector; MOST]) -> [S::Vector; MOST];

    /// `A'm`.
    ///
    /// # Safety
    /// [`Simd`]'s.
    unsafe fn output<S: Simd>(m: [S::Vector; MOST]) -> [S::Vector; MOST];
}

/// Zeros behind a transform's own numbers.
fn filled<const N: usize>(own: [f64; N]) -> [f64; MOST] {
    let mut line = [0.0; MOST];
    line[..N].copy_from_slice(&own);
    line
}

/// `F(2, 3)`: points 0, 1, -1 and infinity.
pub(super) struct Two;
/// `F(4, 3)`: points 0, 1, -1, 2, -2 and infinity.
pub(super) struct Four;
/// `F(4, 3)`: points 0, ±√½, ±√2 and infinity. The numbers that it adds differ less in size than those of [`Four`], which
/// counts where they are rounded.
pub(super) struct Balanced;
/// `F(6, 3)`: points 0, 1, -1, 2, -2, 1/2, -1/2 and infinity.
pub(super) struct Six;
/// `F(2, 3)` of stride 2: points 0, 1 and infinity for the outer taps.
pub(super) struct StridedTwo;
/// `F(4, 3)` of stride 2: points 0, 1, -1, 2 and infinity for the outer taps.
pub(super) struct StridedFour;

impl Transform for Two {
    const OUTPUTS: usize = 2;

    fn filter([a, b, c]: [f64; 3]) -> [f64; MOST] {
        filled([a, (a + b + c) / 2.0, f64::midpoint(a - b, c), c])
    }

    #[inline(always)]
    unsafe fn input<S: Simd>(d: [S::Vector; MOST]) -> [S::Vector; MOST] {
        // SAFETY: the caller's.
        unsafe {
            let mut t = d;
            t[0] = S::sub(d[0], d[2]);
            t[1] = S::add(d[1], d[2]);
            t[2] = S::sub(d[2], d[1]);
            t[3] = S::sub(d[3], d[1]);
            t
        }
    }

    #[inline(always)]
    unsafe fn output<S: Simd>(m: [S::Vector; MOST]) -> [S::Vector; MOST] {
        // SAFETY: the caller's.
        unsafe {
            let mut y = m;
            y[0] = S::add(m[0], S::add(m[1], m[2]));
            y[1] = S::add(S::sub(m[1], m[2]), m[3]);
            y
        }
    }
}

impl Transform for Four {
    const OUTPUTS: usize = 4;

    fn filter([a, b, c]: [f64; 3]) -> [f64; MOST] {
        let (even, odd) = (a + c, b);
        let (even2, odd2) = (a + 4.0 * c, 2.0 * b);
        filled([a / 4.0, -(even + odd) / 6.0, -(even - odd) / 6.0, (even2 + odd2) / 24.0, (even2 - odd2) / 24.0, c])
    }

    #[inline(always)]
    unsafe fn input<S: Simd>(d: [S::Vector; MOST]) -> [S::Vector; MOST] {
        // SAFETY: the caller's.
        unsafe {
            let (minus_four, four, minus_five, two) = (S::splat(-4.0), S::splat(4.0), S::splat(-5.0), S::splat(2.0));
            let even = S::mul_add(minus_four, d[2], d[4]);
            let odd = S::mul_add(minus_four, d[1], d[3]);
            let even2 = S::sub(d[4], d[2]);
            let odd2 = S::mul(two, S::sub(d[3], d[1]));
            let mut t = d;
            t[0] = S::mul_add(four, d[0], S::mul_add(minus_five, d[2], d[4]));
            t[1] = S::add(even, odd);
            t[2] = S::sub(even, odd);
            t[3] = S::add(even2, odd2);
            t[4] = S::sub(even2, odd2);
            t[5] = S::mul_add(four, d[1], S::mul_add(minus_five, d[3], d[5]));
            t
        }
    }

    #[inline(always)]
    unsafe fn output<S: Simd>(m: [S::Vector; MOST]) -> [S::Vector; MOST] {
        // SAFETY: the caller's.
        unsafe {
            let (even, odd) = (S::add(m[1], m[2]), S::sub(m[1], m[2]));
            let (even2, odd2) = (S::add(m[3], m[4]), S::sub(m[3], m[4]));
            let mut y = m;
            y[0] = S::add(S::add(m[0], even), even2);
            y[1] = S::mul_add(S::splat(2.0), odd2, odd);
            y[2] = S::mul_add(S::splat(4.0), even2, even);
            y[3] = S::mul_add(S::splat(8.0), odd2, S::add(odd, m[5]));
            y
        }
    }
}

impl Transform for Balanced {
    const OUTPUTS: usize = 4;

    fn filter([a, b, c]: [f64; 3]) -> [f64; MOST] {
        // At the points ±√½ the denominators are -3/2, at ±√2 they are 6.
        let (even, odd) = (a + c / 2.0, b * std::f64::consts::FRAC_1_SQRT_2);
        let (even2, odd2) = (a + 2.0 * c, b * std::f64::consts::SQRT_2);
        filled([a, (even + odd) / -1.5, (even - odd) / -1.5, (even2 + odd2) / 6.0, (even2 - odd2) / 6.0, c])
    }

    #[inline(always)]
    unsafe fn input<S: Simd>(d: [S::Vector; MOST]) -> [S::Vector; MOST] {
        const LESSER: f32 = std::f32::consts::FRAC_1_SQRT_2;
        const GREATER: f32 = std::f32::consts::SQRT_2;
        // SAFETY: the caller's.
        unsafe {
            let (minus_two, minus_half, middle) = (S::splat(-2.0), S::splat(-0.5), S::splat(-2.5));
            let even = S::mul_add(minus_two, d[2], d[4]);
            let odd = S::mul(S::splat(LESSER), S::mul_add(minus_two, d[1], d[3]));
            let even2 = S::mul_add(minus_half, d[2], d[4]);
            let odd2 = S::mul(S::splat(GREATER), S::mul_add(minus_half, d[1], d[3]));
            let mut t = d;
            t[0] = S::add(d[0], S::mul_add(middle, d[2], d[4]));
            t[1] = S::add(even, odd);
            t[2] = S::sub(even, odd);
            t[3] = S::add(even2, odd2);
            t[4] = S::sub(even2, odd2);
            t[5] = S::add(d[1], S::mul_add(middle, d[3], d[5]));
            t
        }
    }

    #[inline(always)]
    unsafe fn output<S: Simd>(m: [S::Vector; MOST]) -> [S::Vector; MOST] {
        const LESSER: f32 = std::f32::consts::FRAC_1_SQRT_2;
        const GREATER: f32 = std::f32::consts::SQRT_2;
        // SAFETY: the caller's.
        unsafe {
            let (even, even2) = (S::add(m[1], m[2]), S::add(m[3], m[4]));
            let odd = S::mul(S::splat(LESSER), S::sub(m[1], m[2]));
            let odd2 = S::mul(S::splat(GREATER), S::sub(m[3], m[4]));
            let mut y = m;
            y[0] = S::add(S::add(m[0], even), even2);
            y[1] = S::add(odd, odd2);
            y[2] = S::mul_add(S::splat(2.0), even2, S::mul(S::splat(0.5), even));
            y[3] = S::mul_add(S::splat(2.0), odd2, S::mul_add(S::splat(0.5), odd, m[5]));
            y
        }
    }
}

impl Transform for Six {
    const OUTPUTS: usize = 6;

    fn filter([a, b, c]: [f64; 3]) -> [f64; MOST] {
        let (even, odd) = (a + c, b);
        let (even2, odd2) = (a + 4.0 * c, 2.0 * b);
        let (even_half, odd_half) = (4.0 * a + c, 2.0 * b);
        filled([
            a,
            -2.0 / 9.0 * (even + odd),
            -2.0 / 9.0 * (even - odd),
            (even2 + odd2) / 90.0,
            (even2 - odd2) / 90.0,
            (even_half + odd_half) / 180.0,
            (even_half - odd_half) / 180.0,
            c,
        ])
    }

    #[inline(always)]
    unsafe fn input<S: Simd>(d: [S::Vector; MOST]) -> [S::Vector; MOST] {
        // SAFETY: the caller's.
        unsafe {
            let even = S::mul_add(S::splat(-4.25), d[4], S::add(d[2], d[6]));
            let odd = S::mul_add(S::splat(-4.25), d[3], S::add(d[1], d[5]));
            let even2 = S::mul_add(S::splat(0.25), d[2], S::mul_add(S::splat(-1.25), d[4], d[6]));
            let odd2 = S::mul_add(S::splat(0.5), d[1], S::mul_add(S::splat(-2.5), d[3], S::mul(S::splat(2.0), d[5])));
            let even_half = S::mul_add(S::splat(4.0), d[2], S::mul_add(S::splat(-5.0), d[4], d[6]));
            let odd_half =
                S::mul_add(S::splat(2.0), d[1], S::mul_add(S::splat(-2.5), d[3], S::mul(S::splat(0.5), d[5])));
            [
                S::mul_add(S::splat(5.25), S::sub(d[4], d[2]), S::sub(d[0], d[6])),
                S::add(even, odd),
                S::sub(even, odd),
                S::add(even2, odd2),
                S::sub(even2, odd2),
                S::add(even_half, odd_half),
                S::sub(even_half, odd_half),
                S::mul_add(S::splat(5.25), S::sub(d[3], d[5]), S::sub(d[7], d[1])),
                d[8],
            ]
        }
    }

    #[inline(always)]
    unsafe fn output<S: Simd>(m: [S::Vector; MOST]) -> [S::Vector; MOST] {
        // SAFETY: the caller's.
        unsafe {
            let (even, odd) = (S::add(m[1], m[2]), S::sub(m[1], m[2]));
            let (even2, odd2) = (S::add(m[3], m[4]), S::sub(m[3], m[4]));
            let (even_half, odd_half) = (S::add(m[5], m[6]), S::sub(m[5], m[6]));
            let combine = [(2.0, 16.0), (4.0, 8.0), (8.0, 4.0), (16.0, 2.0)];
            let mut y = m;
            y[0] = S::add(S::add(m[0], even), S::mul_add(S::splat(32.0), even_half, even2));
            for (i, (two, half)) in combine.into_iter().enumerate() {
                let (one, two_, half_) = if i % 2 == 0 { (odd, odd2, odd_half) } else { (even, even2, even_half) };
                y[i + 1] = S::mul_add(S::splat(two), two_, S::mul_add(S::splat(half), half_, one));
            }
            y[5] = S::add(S::add(odd, odd_half), S::mul_add(S::splat(32.0), odd2, m[7]));
            y
        }
    }
}

impl Transform for StridedTwo {
    const OUTPUTS: usize = 2;
    const STRIDE: usize = 2;
    const FILTERS: usize = 4;

    fn filter([a, b, c]: [f64; 3]) -> [f64; MOST] {
        filled([a, a + c, c, b])
    }

    #[inline(always)]
    unsafe fn input<S: Simd>(d: [S::Vector; MOST]) -> [S::Vector; MOST] {
        // SAFETY: the caller's.
        unsafe {
            let mut t = d;
            t[0] = S::sub(d[0], d[2]);
            t[1] = d[2];
            t[2] = S::sub(d[4], d[2]);
            t[3] = d[1];
            t[4] = d[3];
            t
        }
    }

    #[inline(always)]
    unsafe fn output<S: Simd>(m: [S::Vector; MOST]) -> [S::Vector; MOST] {
        // SAFETY: the caller's.
        unsafe {
            let mut y = m;
            y[0] = S::add(S::add(m[0], m[1]), m[3]);
            y[1] = S::add(S::add(m[1], m[2]), m[4]);
            y
        }
    }
}

impl Transform for StridedFour {
    const OUTPUTS: usize = 4;
    const STRIDE: usize = 2;
    const FILTERS: usize = 6;

    fn filter([a, b, c]: [f64; 3]) -> [f64; MOST] {
        filled([a / 2.0, (a + c) / -2.0, (a - c) / -6.0, (a + 2.0 * c) / 6.0, c, b])
    }

    #[inline(always)]
    unsafe fn input<S: Simd>(d: [S::Vector; MOST]) -> [S::Vector; MOST] {
        // SAFETY: the caller's.
        unsafe {
            let (two, minus_two, minus_three) = (S::splat(2.0), S::splat(-2.0), S::splat(-3.0));
            // The outer taps' inputs are d[0], d[2] .. d[8].
            let mut t = d;
            t[0] = S::mul_add(two, S::sub(d[0], d[4]), S::sub(d[6], d[2]));
            t[1] = S::mul_add(minus_two, d[2], S::sub(d[6], d[4]));
            t[2] = S::mul_add(two, d[2], S::mul_add(minus_three, d[4], d[6]));
            t[3] = S::sub(d[6], d[2]);
            t[4] = S::mul_add(two, S::sub(d[2], d[6]), S::sub(d[8], d[4]));
            t[5] = d[1];
            t[6] = d[3];
            t[7] = d[5];
            t[8] = d[7];
            t
        }
    }

    #[inline(always)]
    unsafe fn output<S: Simd>(m: [S::Vector; MOST]) -> [S::Vector; MOST] {
        // SAFETY: the caller's.
        unsafe {
            let (sum, difference) = (S::add(m[1], m[2]), S::sub(m[1], m[2]));
            let mut y = m;
            y[0] = S::add(S::add(S::add(m[0], sum), m[3]), m[5]);
            y[1] = S::mul_add(S::splat(2.0), m[3], S::add(difference, m[6]));
            y[2] = S::mul_add(S::splat(4.0), m[3], S::add(sum, m[7]));
            y[3] = S::mul_add(S::splat(8.0), m[3], S::add(S::add(difference, m[4]), m[8]));
            y
        }
    }
}
