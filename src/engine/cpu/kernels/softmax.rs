//! Exponentials of rows of logits and their sums: the arithmetic between the matrix products of a softmax.

use super::exponential::exp;
use super::lanes::{Lanes, kernel};

/// Folds sixteen lanes into one number, always in the same order.
///
/// # Safety
/// As [`Lanes`] asks.
#[inline(always)]
unsafe fn across<V: Lanes>(lanes: V, fold: impl Fn(f32, f32) -> f32) -> f32 {
    let mut values = [0.0; 16];
    // SAFETY: the caller's promise.
    unsafe { lanes.store(values.as_mut_ptr()) };
    let mut width = 8;
    while width > 0 {
        for lane in 0..width {
            values[lane] = fold(values[lane], values[lane + width]);
        }
        width /= 2;
    }
    values[0]
}

kernel! {
    /// Adds `bias` to a row of logits and makes each l of them exp(l − m), where m is their maximum; writes m to `most`
    /// and the exponentials' sum to `sum`. NaN in a row makes its sum NaN.
    ///
    /// # Safety
    /// `row` and `bias` must be good for 16 · `groups` floats, `most` and `sum` for one.
    pub fn exponentials(row: *mut f32, bias: *const f32, groups: usize, most: *mut f32, sum: *mut f32) work(
        16 * groups * 18, 64 * groups * 5
    ) {
        // The lowest float rather than −∞: less it, −∞ is still −∞.
        let mut top = V::splat(f32::MIN);
        for group in 0..groups {
            let at = row.add(16 * group);
            let logits = V::load(at).add(V::load(bias.add(16 * group)));
            logits.store(at);
            // NaN is skipped here; its exponential is NaN whatever the maximum is.
            top = logits.max(top);
        }
        let m = across(top, f32::max);
        let shift = V::splat(m);
        let mut total = V::splat(0.0);
        for group in 0..groups {
            let at = row.add(16 * group);
            let value = exp(V::load(at).sub(shift));
            value.store(at);
            total = total.add(value);
        }
        *most = m;
        *sum = across(total, |a, b| a + b);
    }
}

kernel! {
    /// Multiplies a row by `factor` and adds what it is then to `sums`.
    ///
    /// # Safety
    /// `row` and `sums` must be good for 16 · `groups` floats.
    pub fn scale_and_add(row: *mut f32, factor: f32, sums: *mut f32, groups: usize) work(
        16 * groups * 2, 64 * groups * 4
    ) {
        let factor = V::splat(factor);
        for group in 0..groups {
            let (row, sums) = (row.add(16 * group), sums.add(16 * group));
            let value = V::load(row).mul(factor);
            value.store(row);
            V::load(sums).add(value).store(sums);
        }
    }
}
