//! Prefetching. Stored outputs lie in main memory; while one strip of an image is being convolved, the lines that the
//! next one reads (or this one will write) are being fetched, so that arithmetic hides the wait.

/// Floats of a cache line.
const LINE: usize = 16;

/// Prefetches `floats` floats from here on, to be read. Any address will do: a hint cannot fault.
#[inline(always)]
pub fn to_read(from: *const f32, floats: usize) {
    #[cfg(target_arch = "x86_64")]
    for line in (0..floats).step_by(LINE) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a hint that reads nothing; the address is not even formed as a reference.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(from.wrapping_add(line).cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (from, floats, LINE);
}

/// The same, to be written.
#[inline(always)]
pub fn to_write(to: *mut f32, floats: usize) {
    #[cfg(target_arch = "x86_64")]
    for line in (0..floats).step_by(LINE) {
        use std::arch::x86_64::{_MM_HINT_ET0, _mm_prefetch};
        // SAFETY: as above.
        unsafe { _mm_prefetch::<_MM_HINT_ET0>(to.wrapping_add(line).cast_const().cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (to, floats, LINE);
}
