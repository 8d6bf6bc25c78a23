//! Kernels that do nothing but reach a machine's limits: multiply-adds in registers, reads, writes.

use super::lanes::{Isa, Set, kernel};

/// Independent sums that hide the latency of multiply-adds without spilling.
pub fn chains(isa: Isa) -> usize {
    match isa.set() {
        Set::Avx512 => 16,
        Set::Avx2 => 6,
        Set::Portable => 2,
    }
}

kernel! {
    /// out = what is left of `chains` (2, 6 or 16) sums that went through `rounds` multiply-adds each.
    ///
    /// # Safety
    /// `out` must be good for sixteen floats.
    pub fn multiply_adds(out: *mut f32, chains: usize, rounds: usize) work(32 * chains * rounds, 64) {
        #[inline(always)]
        unsafe fn some<V: Lanes, const N: usize>(out: *mut f32, rounds: usize) {
            // SAFETY: `out` is the kernel's; all else stays in registers.
            unsafe {
                let (a, b) = (V::splat(0.999), V::splat(0.001));
                let mut sums: [V; N] = std::array::from_fn(|i| V::splat(i as f32));
                for _ in 0..rounds {
                    for sum in &mut sums {
                        *sum = sum.fma(a, b);
                    }
                }
                sums[1..].iter().fold(sums[0], |a, &b| a.add(b)).store(out);
            }
        }
        match chains {
            16 => some::<V, 16>(out, rounds),
            6 => some::<V, 6>(out, rounds),
            _ => some::<V, 2>(out, rounds),
        }
    }
}

kernel! {
    /// out = the sum of n groups of sixteen floats, lane by lane; n is a multiple of eight.
    ///
    /// # Safety
    /// `from` must be good for 16·n floats, `out` for sixteen.
    pub fn read_all(out: *mut f32, from: *const f32, n: usize) work(16 * n, 64 * n) {
        let mut sums = [V::splat(0.0); 8];
        for i in (0..n).step_by(8) {
            for (j, sum) in sums.iter_mut().enumerate() {
                *sum = sum.add(V::load(from.add(16 * (i + j))));
            }
        }
        sums[1..].iter().fold(sums[0], |a, &b| a.add(b)).store(out);
    }
}

kernel! {
    /// Writes n groups of sixteen floats.
    ///
    /// # Safety
    /// `to` must be good for 16·n floats.
    pub fn write_all(to: *mut f32, n: usize, value: f32) work(0, 64 * n) {
        let value = V::splat(value);
        for i in 0..n {
            value.store(to.add(16 * i));
        }
    }
}
