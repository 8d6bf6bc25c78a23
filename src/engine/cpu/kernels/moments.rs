//! Sums for batch statistics around a pivot.
//!
//! A variance taken as E[y²] − E[y]² loses every digit where the mean is large beside the spread. So each image group
//! takes the first pixel that it makes as its pivot k, a value for each lane, and sums y − k and (y − k)²: what cancels
//! is then as large as the spread, whatever the mean. Groups are combined afterwards (Chan, Golub and LeVeque 1983).

use super::lanes::kernel;

/// Where one tensor's sums are kept, lane by lane, a block after another.
#[derive(Clone, Copy)]
pub struct Moments {
    /// k, Σ (y − k) and Σ (y − k)².
    pub pivot: *mut f32,
    pub total: *mut f32,
    pub square: *mut f32,
    /// Whether the sums begin: with the first pixel as the pivot, instead of adding to what is there.
    pub begin: bool,
}

impl Moments {
    /// The sums of a block further on.
    ///
    /// # Safety
    /// The pointers must be good for that block.
    #[inline(always)]
    pub unsafe fn block(self, block: usize) -> Self {
        // SAFETY: the caller's promise.
        unsafe {
            Self {
                pivot: self.pivot.add(16 * block),
                total: self.total.add(16 * block),
                square: self.square.add(16 * block),
                ..self
            }
        }
    }
}

kernel! {
    /// Adds n ≥ 1 pixels of one block to its sums.
    ///
    /// # Safety
    /// `y` must be good for 16·n floats, the sums for sixteen each.
    pub fn add_moments(y: *const f32, n: usize, sums: Moments) work(64 * n, 64 * n) {
        let pivot = V::load(if sums.begin { y } else { sums.pivot.cast_const() });
        // Two accumulators each hide the latency of the additions.
        let (mut totals, mut squares) = ([V::splat(0.0); 2], [V::splat(0.0); 2]);
        let mut i = 0;
        while i + 2 <= n {
            for half in 0..2 {
                let off = V::load(y.add(16 * (i + half))).sub(pivot);
                totals[half] = totals[half].add(off);
                squares[half] = off.fma(off, squares[half]);
            }
            i += 2;
        }
        if i < n {
            let off = V::load(y.add(16 * i)).sub(pivot);
            totals[0] = totals[0].add(off);
            squares[0] = off.fma(off, squares[0]);
        }
        let (mut total, mut square) = (totals[0].add(totals[1]), squares[0].add(squares[1]));
        if sums.begin {
            pivot.store(sums.pivot);
        } else {
            total = V::load(sums.total).add(total);
            square = V::load(sums.square).add(square);
        }
        total.store(sums.total);
        square.store(sums.square);
    }
}
