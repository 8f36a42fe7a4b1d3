use super::simd::{Portable, Simd};
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
}

impl Isa {
    /// The best instruction set of this processor.
    pub fn best() -> Self {
        static BEST: OnceLock<Isa> = OnceLock::new();
        *BEST.get_or_init(|| *Self::available().last().expect("the portable kernels always run"))
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
            }
        }
        #[cfg(target_arch = "aarch64")]
        found.push(Self::Neon);
        found
    }

    /// This one where the processor has it, else the best: kernels never run instructions that are not there.
    pub(crate) fn checked(self) -> Self {
        if self == Self::best() || Self::available().contains(&self) { self } else { Self::best() }
    }

    /// The number of `f32` in a vector.
    pub(crate) fn lanes(self) -> usize {
        match self {
            Self::Portable => Portable::LANES,
            Self::Neon => 4,
            Self::Avx2 => 8,
            Self::Avx512 => 16,
        }
    }

    /// Runs `kernel` compiled for this instruction set, which must come from [`Isa::checked`].
    pub(crate) fn run<K: Kernel>(self, kernel: K) {
        match self {
            // SAFETY: `checked` let this set through, so the processor has it; NEON is part of the target.
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => unsafe { avx512(kernel) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => unsafe { avx2(kernel) },
            #[cfg(target_arch = "aarch64")]
            Self::Neon => unsafe { kernel.run::<super::simd::Neon>() },
            // SAFETY: plain code.
            _ => unsafe { kernel.run::<Portable>() },
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
