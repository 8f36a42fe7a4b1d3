use super::Isa;
use super::isa::{Kernel, PairKernel};
use super::map::{Source, Target};
use super::simd::{Pairs, Simd};

/// What the factors of products are rounded to. Sums, and all that happens to them, are `f32` in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Factors {
    /// Not at all.
    #[default]
    F32,
    /// To `bf16`, to the nearest and ties to even: 8 bits of precision with the range of `f32`. Processors that
    /// multiply pairs of `bf16` do so; the others multiply the rounded numbers as `f32`.
    Bf16,
}

impl Factors {
    /// Whether products of such factors take less time than those of `f32` with `isa` on this processor. It is known, and not measured,
    /// so that a machine always answers the same: AMD's processors that multiply pairs (from Zen 4 on) do twice the work per
    /// instruction; Intel's start half as many such instructions (Sapphire Rapids: networks took 1.4 to 1.8 times as long); without
    /// pairs, rounding comes on top.
    pub fn pay(self, isa: Isa) -> bool {
        self == Self::F32 || (isa.checked() == Isa::Avx512Bf16 && is_amd())
    }
}

#[cfg(target_arch = "x86_64")]
fn is_amd() -> bool {
    // SAFETY: every processor of this target has the instruction.
    #[allow(unused_unsafe, reason = "newer versions of the standard library call it safe")]
    let vendor = unsafe { std::arch::x86_64::__cpuid(0) };
    [vendor.ebx, vendor.edx, vendor.ecx].map(u32::to_le_bytes).concat() == b"AuthenticAMD"
}

#[cfg(not(target_arch = "x86_64"))]
fn is_amd() -> bool {
    false
}

/// How factors lie in memory, in elements of four bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    /// `f32`.
    Plain,
    /// `f32` that were rounded to `bf16`.
    Rounded,
    /// Two `bf16` of neighbouring depths, the first one in the lower half.
    Paired,
}

impl Kept {
    pub(super) fn of(isa: Isa, factors: Factors) -> Self {
        match (factors, isa) {
            (Factors::F32, _) => Self::Plain,
            (Factors::Bf16, Isa::Avx512Bf16) => Self::Paired,
            (Factors::Bf16, _) => Self::Rounded,
        }
    }

    /// How many numbers an element holds.
    pub(super) fn each(self) -> usize {
        if self == Self::Paired { 2 } else { 1 }
    }

    /// How many elements hold so many numbers.
    pub(super) fn elements(self, numbers: usize) -> usize {
        numbers.div_ceil(self.each())
    }

    /// Writes the number of depth `depth` into its element, which was zero before its first number came.
    pub(super) fn put(self, element: &mut f32, depth: usize, value: f32) {
        match self {
            Self::Plain => *element = value,
            Self::Rounded => *element = rounded(value),
            Self::Paired => {
                let shift = if depth.is_multiple_of(2) { 16 } else { 0 };
                *element = f32::from_bits(element.to_bits() | rounded(value).to_bits() >> shift);
            }
        }
    }
}

/// The nearest `bf16`, to even where two are as near; what is no number stays none.
#[inline(always)]
pub(super) fn rounded(value: f32) -> f32 {
    let bits = value.to_bits();
    let nearest = bits.wrapping_add(0x7fff + (bits >> 16 & 1));
    let kept = if value.is_nan() { bits | 0x0040_0000 } else { nearest };
    f32::from_bits(kept & 0xffff_0000)
}

/// What a product does with factors that are kept in one of the ways.
pub(super) trait Factor<S: Simd> {
    /// `c` and the products of `a` and `b`, of numbers that are kept as `f32`.
    ///
    /// # Safety
    /// [`Simd`]'s.
    #[inline(always)]
    unsafe fn multiply_add(a: S::Vector, b: S::Vector, c: S::Vector) -> S::Vector {
        // SAFETY: the caller's.
        unsafe { S::mul_add(a, b, c) }
    }

    /// Stores the first `count` numbers of a vector, which has zeros behind them, from the depth `first` (a multiple of
    /// the lanes) on of the row at `row`; an odd number comes with the zero behind it.
    ///
    /// # Safety
    /// [`Simd`]'s.
    unsafe fn store(row: *mut f32, first: usize, value: S::Vector, count: usize);
}

pub(super) struct Plain;
pub(super) struct Rounded;
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code, reason = "only x86 has processors with pairs"))]
pub(super) struct Paired;

impl<S: Simd> Factor<S> for Plain {
    #[inline(always)]
    unsafe fn store(row: *mut f32, first: usize, value: S::Vector, count: usize) {
        // SAFETY: the caller's.
        unsafe { S::store_up_to(row.wrapping_add(first), value, count) }
    }
}

impl<S: Simd> Factor<S> for Rounded {
    #[inline(always)]
    unsafe fn store(row: *mut f32, first: usize, value: S::Vector, count: usize) {
        let to = row.wrapping_add(first);
        // SAFETY: the caller's.
        unsafe {
            S::store_up_to(to, value, count);
            for i in 0..count.min(S::LANES) {
                *to.add(i) = rounded(*to.add(i));
            }
        }
    }
}

impl<S: Pairs> Factor<S> for Paired {
    #[inline(always)]
    unsafe fn multiply_add(a: S::Vector, b: S::Vector, c: S::Vector) -> S::Vector {
        // SAFETY: the caller's.
        unsafe { S::add_products(a, b, c) }
    }

    #[inline(always)]
    unsafe fn store(row: *mut f32, first: usize, value: S::Vector, count: usize) {
        // SAFETY: the caller's.
        unsafe { S::store_rounded(row.cast::<u16>().wrapping_add(first), value, count.next_multiple_of(2)) }
    }
}

/// Copies rows of `f32` to where they are kept as factors.
pub(super) struct Convert<'a> {
    pub(super) kept: Kept,
    /// Row by row, where a piece starts and the row that it goes to, with the depth of its first number there.
    pub(super) pieces: &'a mut dyn Iterator<Item = (Source, Target, usize)>,
    /// How many numbers each piece has.
    pub(super) length: usize,
}

impl Convert<'_> {
    #[inline(always)]
    unsafe fn with<S: Simd, F: Factor<S>>(self) {
        for (from, to, first) in self.pieces {
            let mut k = 0;
            while k < self.length {
                let count = (self.length - k).min(S::LANES);
                // SAFETY: the caller's.
                unsafe { F::store(to.0, first + k, S::load_up_to(from.at(k), count), count) }
                k += S::LANES;
            }
        }
    }
}

impl Kernel for Convert<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: the caller's.
        unsafe { if self.kept == Kept::Plain { self.with::<S, Plain>() } else { self.with::<S, Rounded>() } }
    }
}

impl PairKernel for Convert<'_> {
    #[inline(always)]
    unsafe fn run_pairs<S: Pairs>(self) {
        // SAFETY: the caller's.
        unsafe { self.with::<S, Paired>() }
    }
}
