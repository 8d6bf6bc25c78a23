//! Sixteen floats at a time, on three instruction sets, and the dispatch between them at run time.
//!
//! Kernels are written once over [`Lanes`]; the [`kernel!`] macro compiles each for every instruction set and picks one
//! when it is called. A lane group is always sixteen floats, so data has the same layout on all of them: one AVX-512
//! register, two AVX2 registers, or an array that the compiler vectorises as well as it can.

#[cfg(target_arch = "x86_64")]
pub(crate) mod x86;

use std::sync::OnceLock;

/// An instruction set that this processor has. A value exists only after the processor was asked, so holding one is the
/// permission to run its kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Isa(Set);

/// The instruction sets that kernels are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Set {
    Avx512,
    Avx2,
    Portable,
}

impl Set {
    const ALL: [(&'static str, Set); 3] = [("avx512", Set::Avx512), ("avx2", Set::Avx2), ("portable", Set::Portable)];

    fn is_available(self) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Set::Avx512 => {
                is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx2")
                    && is_x86_feature_detected!("fma")
            }
            #[cfg(target_arch = "x86_64")]
            Set::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
            #[cfg(not(target_arch = "x86_64"))]
            Set::Avx512 | Set::Avx2 => false,
            Set::Portable => true,
        }
    }
}

impl Isa {
    /// Those that this processor has, the best first.
    pub fn available() -> impl Iterator<Item = Isa> {
        Set::ALL.into_iter().filter(|(_, set)| set.is_available()).map(|(_, set)| Isa(set))
    }

    pub fn name(self) -> &'static str {
        Set::ALL.iter().find(|(_, set)| *set == self.0).map_or("", |(name, _)| name)
    }

    #[inline(always)]
    pub(crate) fn set(self) -> Set {
        self.0
    }

    /// The best available one, or the one that `CANDLEWICK_SIMD` names.
    ///
    /// # Errors
    /// A name that is not known, or one that this processor does not have.
    pub fn choose() -> crate::Result<Isa> {
        static BEST: OnceLock<Isa> = OnceLock::new();
        match std::env::var("CANDLEWICK_SIMD") {
            Ok(name) => Self::named(&name),
            Err(_) => Ok(*BEST.get_or_init(|| Self::available().next().unwrap_or(Isa(Set::Portable)))),
        }
    }

    /// The instruction set of this name: avx512, avx2 or portable.
    ///
    /// # Errors
    /// A name that is not known, or one that this processor does not have.
    pub fn named(name: &str) -> crate::Result<Isa> {
        let Some((_, set)) = Set::ALL.iter().find(|(known, _)| *known == name) else {
            return Err(crate::Error::unknown("instruction set", name, Set::ALL.iter().map(|(known, _)| *known))
                .hint("CANDLEWICK_SIMD is avx512, avx2 or portable"));
        };
        match set.is_available() {
            true => Ok(Isa(*set)),
            false => Err(crate::Error::user(format!("this processor does not have {name}"))
                .hint("unset CANDLEWICK_SIMD to use the best there is")),
        }
    }
}

/// Sixteen floats. Pointers need no alignment but must be good for sixteen floats.
///
/// # Safety
/// Every method may execute instructions of its instruction set: call them only where [`kernel!`] has checked for it.
pub trait Lanes: Copy {
    unsafe fn load(from: *const f32) -> Self;
    unsafe fn store(self, to: *mut f32);
    /// Writes past the cache where the instruction set can; the pointer must be aligned to sixteen floats. Other
    /// threads see it after [`fence`].
    unsafe fn stream(self, to: *mut f32);
    unsafe fn splat(value: f32) -> Self;
    /// self · a + b.
    unsafe fn fma(self, a: Self, b: Self) -> Self;
    unsafe fn add(self, other: Self) -> Self;
    unsafe fn sub(self, other: Self) -> Self;
    unsafe fn mul(self, other: Self) -> Self;
    unsafe fn div(self, other: Self) -> Self;
    /// The larger; `other` where either is NaN.
    unsafe fn max(self, other: Self) -> Self;
    /// The smaller; `other` where either is NaN.
    unsafe fn min(self, other: Self) -> Self;
    /// 2ⁿ for whole numbers n from −126 to 127; anything for others.
    unsafe fn power_of_two(self) -> Self;
    /// The first `count` floats from a pointer that is good for no more, zeros behind them.
    #[inline(always)]
    unsafe fn load_some(from: *const f32, count: usize) -> Self {
        let mut all = [0.0f32; 16];
        // SAFETY: the caller's promise.
        unsafe {
            std::ptr::copy_nonoverlapping(from, all.as_mut_ptr(), count);
            Self::load(all.as_ptr())
        }
    }
    /// Writes the first `count` lanes.
    #[inline(always)]
    unsafe fn store_some(self, to: *mut f32, count: usize) {
        let mut all = [0.0f32; 16];
        // SAFETY: the caller's promise.
        unsafe {
            self.store(all.as_mut_ptr());
            std::ptr::copy_nonoverlapping(all.as_ptr(), to, count);
        }
    }
    /// This where a = b, zero elsewhere.
    unsafe fn where_equal(self, a: Self, b: Self) -> Self;
    /// This where a ≠ b, zero elsewhere.
    unsafe fn where_unequal(self, a: Self, b: Self) -> Self;
    /// This where a > 0, zero elsewhere.
    unsafe fn where_positive(self, a: Self) -> Self;
    /// Lane `lanes[i]` of this in lane i, zero where that is 16 or more.
    unsafe fn permuted(self, lanes: &[u32; 16]) -> Self;
}

/// For processors without either. Multiplies and adds round separately: a fused multiply-add without the instruction
/// for it is a library call.
#[derive(Clone, Copy)]
pub struct Portable([f32; 16]);

impl Portable {
    #[inline(always)]
    fn zip(self, other: Self, f: impl Fn(f32, f32) -> f32) -> Self {
        Self(std::array::from_fn(|i| f(self.0[i], other.0[i])))
    }

    #[inline(always)]
    fn pick(self, f: impl Fn(usize) -> bool) -> Self {
        Self(std::array::from_fn(|i| if f(i) { self.0[i] } else { 0.0 }))
    }
}

#[expect(
    clippy::undocumented_unsafe_blocks,
    reason = "every method passes on the promise that its caller makes to the trait"
)]
impl Lanes for Portable {
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        unsafe { Self(from.cast::<[f32; 16]>().read_unaligned()) }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        unsafe { to.cast::<[f32; 16]>().write_unaligned(self.0) }
    }
    #[inline(always)]
    unsafe fn stream(self, to: *mut f32) {
        unsafe { self.store(to) }
    }
    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        Self([value; 16])
    }
    #[inline(always)]
    unsafe fn fma(self, a: Self, b: Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i] * a.0[i] + b.0[i]))
    }
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        self.zip(other, |a, b| a + b)
    }
    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        self.zip(other, |a, b| a - b)
    }
    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        self.zip(other, |a, b| a * b)
    }
    #[inline(always)]
    unsafe fn div(self, other: Self) -> Self {
        self.zip(other, |a, b| a / b)
    }
    #[inline(always)]
    unsafe fn max(self, other: Self) -> Self {
        self.zip(other, |a, b| if a > b { a } else { b })
    }
    #[inline(always)]
    unsafe fn min(self, other: Self) -> Self {
        self.zip(other, |a, b| if a < b { a } else { b })
    }
    #[inline(always)]
    unsafe fn power_of_two(self) -> Self {
        Self(std::array::from_fn(|i| f32::from_bits(((self.0[i] as i32).wrapping_add(127) as u32) << 23)))
    }
    #[inline(always)]
    unsafe fn where_equal(self, a: Self, b: Self) -> Self {
        self.pick(|i| a.0[i] == b.0[i])
    }
    #[inline(always)]
    unsafe fn where_unequal(self, a: Self, b: Self) -> Self {
        self.pick(|i| a.0[i] != b.0[i])
    }
    #[inline(always)]
    unsafe fn where_positive(self, a: Self) -> Self {
        self.pick(|i| a.0[i] > 0.0)
    }
    #[inline(always)]
    unsafe fn permuted(self, lanes: &[u32; 16]) -> Self {
        Self(std::array::from_fn(|i| self.0.get(lanes[i] as usize).copied().unwrap_or(0.0)))
    }
}

/// Orders streaming stores before everything that follows.
pub fn fence() {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: part of every x86-64 processor.
    unsafe {
        std::arch::x86_64::_mm_sfence()
    }
}

/// Compiles a kernel for every instruction set and dispatches on its first argument.
///
/// `work(flops, bytes)` says what a call does, for the profile: floating-point operations over all lanes, and the bytes
/// of the planes and weights that the arguments name, each once per mention. In the body, `V` is the [`Lanes`] type and
/// `T` the number of lane groups to keep in registers as accumulators: what the register file of the instruction set
/// holds without spilling.
macro_rules! kernel {
    (
        $(#[$doc:meta])*
        pub fn $name:ident($($arg:ident: $type:ty),* $(,)?) work($flops:expr, $bytes:expr) $body:block
    ) => {
        $(#[$doc])*
        #[allow(clippy::too_many_arguments)]
        pub unsafe fn $name(isa: $crate::engine::cpu::kernels::lanes::Isa, $($arg: $type),*) {
            use $crate::engine::cpu::kernels::lanes::{Isa, Lanes, Portable};
            #[cfg(target_arch = "x86_64")]
            use $crate::engine::cpu::kernels::lanes::Set;

            #[inline(always)]
            #[allow(clippy::too_many_arguments)]
            unsafe fn body<V: Lanes, const T: usize>($($arg: $type),*) {
                // Not every kernel has accumulators to count.
                let _ = T;
                // SAFETY: the kernel's contract, which is the caller's promise; `V` is of an instruction set that was
                // checked for.
                unsafe { $body }
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx2,fma")]
            #[allow(clippy::too_many_arguments)]
            unsafe fn avx512($($arg: $type),*) {
                // SAFETY: the caller's promise, passed on; this function has the features that `Avx512` needs.
                unsafe { body::<$crate::engine::cpu::kernels::lanes::x86::Avx512, 8>($($arg),*) }
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            #[allow(clippy::too_many_arguments)]
            unsafe fn avx2($($arg: $type),*) {
                // SAFETY: the caller's promise, passed on; this function has the features that `Avx2` needs.
                unsafe { body::<$crate::engine::cpu::kernels::lanes::x86::Avx2, 4>($($arg),*) }
            }
            #[inline(always)]
            #[allow(clippy::too_many_arguments)]
            unsafe fn dispatch(isa: Isa, $($arg: $type),*) {
                // SAFETY: an `Isa` exists only where the processor has it; the pointers are the caller's promise.
                unsafe {
                    match isa.set() {
                        #[cfg(target_arch = "x86_64")]
                        Set::Avx512 => avx512($($arg),*),
                        #[cfg(target_arch = "x86_64")]
                        Set::Avx2 => avx2($($arg),*),
                        _ => body::<Portable, 4>($($arg),*),
                    }
                }
            }
            // Out of line, so that the usual path keeps its arguments in registers.
            #[cold]
            #[inline(never)]
            #[allow(clippy::too_many_arguments)]
            unsafe fn profiled(isa: Isa, $($arg: $type),*) {
                use $crate::engine::cpu::profile::{Kernel, Work, timed};
                static KERNEL: Kernel = Kernel::new(stringify!($name));
                // SAFETY: the caller's promise.
                timed(&KERNEL, Work { flops: $flops, bytes: $bytes }, || unsafe { dispatch(isa, $($arg),*) });
            }
            if $crate::engine::cpu::profile::is_on() {
                // SAFETY: the caller's promise.
                return unsafe { profiled(isa, $($arg),*) };
            }
            // SAFETY: the caller's promise.
            unsafe { dispatch(isa, $($arg),*) }
        }
    };
}
pub(crate) use kernel;
