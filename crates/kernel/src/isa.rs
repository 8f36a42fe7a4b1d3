use super::factors::Kept;
use super::simd::{Pairs, Portable, Simd};
use std::sync::OnceLock;

/// An instruction set that the kernels are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Isa {
    /// What every processor of the target has.
    Portable,
    /// ARM's 128-bit vectors with fused multiply-add.
    Neon,
    /// 256-bit vectors with fused multiply-add.
    Avx2,
    /// 512-bit vectors with masks.
    Avx512,
    /// The same, and products of pairs of `bf16`.
    Avx512Bf16,
}

impl Isa {
    /// The environment variable that names the instruction set to be used in place of the best one, for tests.
    pub const VARIABLE: &str = "FAITHFUL_ISA";

    /// The instruction set that [`Isa::VARIABLE`] names, else the best of this processor. A name that is not to be had counts as
    /// none: programs report it by [`Isa::asked`].
    pub fn best() -> Self {
        static BEST: OnceLock<Isa> = OnceLock::new();
        *BEST.get_or_init(|| Self::asked().ok().flatten().unwrap_or_else(Self::highest))
    }

    /// The instruction set that [`Isa::VARIABLE`] names, if it is set.
    ///
    /// # Errors
    /// Says which names there are on this processor when the variable holds another one.
    pub fn asked() -> Result<Option<Self>, String> {
        std::env::var_os(Self::VARIABLE).map(|name| Self::named(&name.to_string_lossy())).transpose()
    }

    fn named(name: &str) -> Result<Self, String> {
        let available = Self::available();
        available.iter().find(|isa| isa.name() == name).copied().ok_or_else(|| {
            let names: Vec<_> = available.iter().map(|isa| isa.name()).collect();
            format!("{}: no instruction set `{name}` on this processor; use {}", Self::VARIABLE, names.join(", "))
        })
    }

    /// What [`Isa::VARIABLE`] and manifests call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            Self::Neon => "neon",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
            Self::Avx512Bf16 => "avx512-bf16",
        }
    }

    fn highest() -> Self {
        *Self::available().last().expect("the portable kernels always run")
    }

    /// All instruction sets of this processor, slowest first.
    pub fn available() -> Vec<Self> {
        #[allow(unused_mut, reason = "other targets have only the portable kernels")]
        let mut found = vec![Self::Portable];
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                found.push(Self::Avx2);
            }
            if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("fma") {
                found.push(Self::Avx512);
                if is_x86_feature_detected!("avx512bf16") {
                    found.push(Self::Avx512Bf16);
                }
            }
        }
        #[cfg(target_arch = "aarch64")]
        found.push(Self::Neon);
        found
    }

    /// This one where the processor has it, else the best: kernels never run instructions that are not there.
    pub(crate) fn checked(self) -> Self {
        if self == Self::best() || Self::available().contains(&self) { self } else { Self::highest() }
    }

    /// The number of `f32` in a vector.
    pub(crate) fn lanes(self) -> usize {
        match self {
            Self::Portable => Portable::LANES,
            Self::Neon => 4,
            Self::Avx2 => 8,
            Self::Avx512 | Self::Avx512Bf16 => 16,
        }
    }

    /// The most rows of a matrix product's register tile, as [`Simd::ROWS`].
    pub(crate) fn rows(self) -> usize {
        if matches!(self, Self::Portable | Self::Avx2) { 4 } else { 8 }
    }

    /// Runs `kernel` compiled for this instruction set, which must come from [`Isa::checked`].
    pub(crate) fn run<K: Kernel>(self, kernel: K) {
        match self {
            // SAFETY: `checked` let this set through, so the processor has it; NEON is part of the target.
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 | Self::Avx512Bf16 => unsafe { avx512(kernel) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => unsafe { avx2(kernel) },
            #[cfg(target_arch = "aarch64")]
            Self::Neon => unsafe { kernel.run::<super::simd::Neon>() },
            // SAFETY: plain code.
            _ => unsafe { kernel.run::<Portable>() },
        }
    }

    /// Runs `kernel` on factors that are kept in this way, as [`Kept::of`] says for this instruction set.
    pub(super) fn run_on<K: Kernel + PairKernel>(self, kept: Kept, kernel: K) {
        match kept {
            // SAFETY: only the set that has pairs keeps factors as such.
            #[cfg(target_arch = "x86_64")]
            Kept::Paired => unsafe { avx512_pairs(kernel) },
            _ => self.run(kernel),
        }
    }
}

/// A piece of work which is compiled once per instruction set. `run` must be `#[inline(always)]`, and so must all that
/// it calls with vectors, so that it becomes part of a function which has the instruction set enabled.
pub(crate) trait Kernel {
    /// Does the work.
    ///
    /// # Safety
    /// The processor must have the instruction set of `S`.
    unsafe fn run<S: Simd>(self);
}

/// A [`Kernel`] that also works on factors in pairs.
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code, reason = "only x86 has processors with pairs"))]
pub(crate) trait PairKernel {
    /// Does the work.
    ///
    /// # Safety
    /// The processor must have the instruction set of `S`.
    unsafe fn run_pairs<S: Pairs>(self);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bf16,avx2,fma")]
unsafe fn avx512_pairs<K: PairKernel>(kernel: K) {
    // SAFETY: the caller's.
    unsafe { kernel.run_pairs::<super::simd_x86::Avx512>() }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx2,fma")]
unsafe fn avx512<K: Kernel>(kernel: K) {
    // SAFETY: the caller's.
    unsafe { kernel.run::<super::simd_x86::Avx512>() }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn avx2<K: Kernel>(kernel: K) {
    // SAFETY: the caller's.
    unsafe { kernel.run::<super::simd_x86::Avx2>() }
}

#[cfg(test)]
mod tests {
    use super::Isa;

    #[test]
    fn instruction_sets_go_by_their_names_and_others_are_refused_with_those_there_are() {
        for isa in Isa::available() {
            assert_eq!(Isa::named(isa.name()), Ok(isa));
        }
        let text = Isa::named("sse9").unwrap_err();
        assert!(text.contains("`sse9`") && text.contains("portable"), "{text}");
    }
}
