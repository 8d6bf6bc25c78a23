//! Max and average pools with padding, forward and backward.

use super::lanes::{Lanes, kernel};
use crate::graph::{Pool, PoolKind};

/// One block's planes of a pool: sizes (height, width) before and after.
#[derive(Clone, Copy)]
pub struct PoolPlane {
    pub pool: Pool,
    pub from: (usize, usize),
    pub to: (usize, usize),
}

impl PoolPlane {
    /// The rows (or columns) of the input under output `at`: padding is outside.
    #[inline(always)]
    fn window(&self, at: usize, size: usize) -> std::ops::Range<usize> {
        let first = at * self.pool.stride;
        first.saturating_sub(self.pool.padding)..(first + self.pool.kernel).saturating_sub(self.pool.padding).min(size)
    }

    /// Pixels under all windows, padding included.
    fn cells(&self) -> usize {
        self.to.0 * self.to.1 * self.pool.kernel * self.pool.kernel
    }

    /// What an average over a window of `cells` is divided by.
    #[inline(always)]
    fn share(&self, cells: usize) -> f32 {
        match self.pool.kind {
            PoolKind::Average { count_padding: true } => 1.0 / (self.pool.kernel * self.pool.kernel) as f32,
            _ => 1.0 / cells.max(1) as f32,
        }
    }
}

/// The larger of two, NaN where either is: `max` alone drops a NaN on its left, and a diverged run would look sound.
///
/// # Safety
/// As for [`Lanes`].
#[inline(always)]
unsafe fn larger<V: Lanes>(a: V, b: V) -> V {
    // SAFETY: the caller's promise.
    unsafe { a.max(b).add(a.where_unequal(a, a)) }
}

/// The sum of two.
///
/// # Safety
/// As for [`Lanes`].
#[inline(always)]
unsafe fn total<V: Lanes>(a: V, b: V) -> V {
    // SAFETY: the caller's promise.
    unsafe { a.add(b) }
}

kernel! {
    /// dst = pool of src.
    ///
    /// # Safety
    /// `src` and `dst` must be good for the planes' pixels.
    pub fn pool(dst: *mut f32, src: *const f32, plane: PoolPlane) work(
        16 * plane.cells(),
        64 * (plane.from.0 * plane.from.1 + plane.to.0 * plane.to.1)
    ) {
        if plane.pool.kernel == 3 && plane.pool.stride == 1 {
            // Three columns slide along the row: each is taken down to one pixel once.
            for r in 0..plane.to.0 {
                let rows = plane.window(r, plane.from.0);
                let is_max = plane.pool.kind == PoolKind::Max;
                let nothing = V::splat(if is_max { f32::NEG_INFINITY } else { 0.0 });
                let row = src.add(16 * rows.start * plane.from.1);
                let step = 16 * plane.from.1;
                let width = plane.from.1;
                macro_rules! slide {
                    ($join:ident) => {{
                        macro_rules! column {
                            ($at:expr) => {{
                                // Columns of the padding hold nothing.
                                let x = usize::wrapping_sub($at, plane.pool.padding);
                                if x >= width {
                                    nothing
                                } else {
                                    let top = row.add(16 * x);
                                    match rows.len() {
                                        3 => {
                                            let two = $join(V::load(top), V::load(top.add(step)));
                                            $join(two, V::load(top.add(2 * step)))
                                        }
                                        2 => $join(V::load(top), V::load(top.add(step))),
                                        1 => V::load(top),
                                        _ => nothing,
                                    }
                                }
                            }};
                        }
                        let (mut left, mut middle) = (column!(0), column!(1));
                        for c in 0..plane.to.1 {
                            let right = column!(c + 2);
                            let mut result = $join($join(left, middle), right);
                            if !is_max {
                                let cells = rows.len() * plane.window(c, width).len();
                                result = result.mul(V::splat(plane.share(cells)));
                            }
                            result.store(dst.add(16 * (r * plane.to.1 + c)));
                            (left, middle) = (middle, right);
                        }
                    }};
                }
                if is_max { slide!(larger) } else { slide!(total) }
            }
            return;
        }
        for r in 0..plane.to.0 {
            let rows = plane.window(r, plane.from.0);
            for c in 0..plane.to.1 {
                let columns = plane.window(c, plane.from.1);
                let cells = rows.len() * columns.len();
                let is_max = plane.pool.kind == PoolKind::Max;
                let mut result = V::splat(if is_max { f32::NEG_INFINITY } else { 0.0 });
                for y in rows.clone() {
                    for x in columns.clone() {
                        let value = V::load(src.add(16 * (y * plane.from.1 + x)));
                        result = if is_max { larger(result, value) } else { result.add(value) };
                    }
                }
                if !is_max {
                    result = result.mul(V::splat(plane.share(cells)));
                }
                result.store(dst.add(16 * (r * plane.to.1 + c)));
            }
        }
    }
}

kernel! {
    /// dx += the pool's gradient, given dy and (to find the maximum) src. The first of several equal maxima takes it
    /// all.
    ///
    /// # Safety
    /// All pointers must be good for the planes' pixels.
    pub fn pool_backward(dx: *mut f32, src: *const f32, dy: *const f32, plane: PoolPlane) work(
        16 * plane.cells() * if plane.pool.kind == PoolKind::Max { 2 } else { 1 },
        64 * (plane.from.0 * plane.from.1 * if plane.pool.kind == PoolKind::Max { 3 } else { 2 }
            + plane.to.0 * plane.to.1)
    ) {
        for r in 0..plane.to.0 {
            let rows = plane.window(r, plane.from.0);
            for c in 0..plane.to.1 {
                let columns = plane.window(c, plane.from.1);
                let cells = rows.len() * columns.len();
                let mut left = V::load(dy.add(16 * (r * plane.to.1 + c)));
                if plane.pool.kind == PoolKind::Max {
                    let mut best = V::splat(f32::NEG_INFINITY);
                    for y in rows.clone() {
                        for x in columns.clone() {
                            best = best.max(V::load(src.add(16 * (y * plane.from.1 + x))));
                        }
                    }
                    for y in rows.clone() {
                        for x in columns.clone() {
                            let at = 16 * (y * plane.from.1 + x);
                            let value = V::load(src.add(at));
                            left.where_equal(value, best).add(V::load(dx.add(at))).store(dx.add(at));
                            left = left.where_unequal(value, best);
                        }
                    }
                } else {
                    let share = left.mul(V::splat(plane.share(cells)));
                    for y in rows.clone() {
                        for x in columns.clone() {
                            let at = 16 * (y * plane.from.1 + x);
                            share.add(V::load(dx.add(at))).store(dx.add(at));
                        }
                    }
                }
            }
        }
    }
}
