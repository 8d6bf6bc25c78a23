//! Weighted sums of planes, and the dot products of their backward pass.
//!
//! One kernel serves a node of a cell (every candidate's stored output times its norm and mixing weight), a depthwise
//! convolution (shifted copies of one plane, times one tap each), its input gradient, and a norm's backward pass (an
//! affine combination of gradients and stored outputs). Its adjoint is a set of dot products: Σ g and Σ g·y per lane,
//! which give both the mixing weights' gradients and what a batch norm's backward pass needs.

use super::lanes::{Lanes, kernel};

/// One summand: the plane at `offset` floats from the base pointer, times sixteen weights.
#[derive(Clone, Copy)]
pub struct Shifted {
    pub offset: usize,
    pub weight: *const f32,
}

/// Where a kernel's result goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Write {
    Over,
    Add,
}

/// What a result is multiplied by before it is written: the slope of the activation that a gradient passes backwards.
#[derive(Clone, Copy)]
pub enum Slope {
    /// No activation.
    One,
    /// ReLU: passes where these (the loaded values) are positive.
    Positive(*const f32),
    /// Any other: these derivatives.
    Times(*const f32),
}

impl Slope {
    /// The slopes this many floats further on.
    ///
    /// # Safety
    /// They must be within the same plane.
    #[inline(always)]
    pub unsafe fn add(self, floats: usize) -> Self {
        // SAFETY: the caller's promise.
        unsafe {
            match self {
                Slope::One => Slope::One,
                Slope::Positive(x) => Slope::Positive(x.add(floats)),
                Slope::Times(slopes) => Slope::Times(slopes.add(floats)),
            }
        }
    }
}

/// The planes that writing reads and the operations per float that it takes, for slopes and for adding to what was
/// there.
pub fn extras(slope: Slope, write: Write) -> usize {
    usize::from(!matches!(slope, Slope::One)) + usize::from(write == Write::Add)
}

/// Writes neighbouring pixels `step` floats apart, times their slopes.
///
/// # Safety
/// `dst` and the slopes must be good for N pixels; only to be called by kernels.
#[inline(always)]
pub unsafe fn put<V: Lanes, const N: usize>(values: [V; N], dst: *mut f32, step: usize, slope: Slope, write: Write) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut values = values;
        // Plain loops: closures would be compiled without the kernel's instruction set.
        match slope {
            Slope::One => {}
            Slope::Positive(x) => {
                for (i, value) in values.iter_mut().enumerate() {
                    *value = value.where_positive(V::load(x.add(i * step)));
                }
            }
            Slope::Times(by) => {
                for (i, value) in values.iter_mut().enumerate() {
                    *value = value.mul(V::load(by.add(i * step)));
                }
            }
        }
        if write == Write::Add {
            for (i, value) in values.iter_mut().enumerate() {
                *value = value.add(V::load(dst.add(i * step)));
            }
        }
        for (i, value) in values.into_iter().enumerate() {
            value.store(dst.add(i * step));
        }
    }
}

kernel! {
    /// dst[i] = or += ((bias) + Σ_t weight_t · base[offset_t + i · src_step]) · slope[i], for i in 0..n, lane by lane.
    ///
    /// # Safety
    /// `base + offset_t` must be good for n pixels of `src_step` floats, `dst` and slopes for n of `dst_step`, weights
    /// and bias (or null) for sixteen floats; `dst` overlaps no source.
    pub fn weighted_sum(
        dst: *mut f32, dst_step: usize, base: *const f32, terms: &[Shifted], src_step: usize, n: usize,
        bias: *const f32, slope: Slope, write: Write,
    ) work(
        16 * n * (2 * terms.len() + extras(slope, write)),
        64 * n * (terms.len() + 1 + extras(slope, write))
    ) {
        #[inline(always)]
        unsafe fn tile<V: Lanes, const N: usize>(
            dst: *mut f32, dst_step: usize, base: *const f32, terms: &[Shifted], src_step: usize, bias: V, slope: Slope,
            write: Write,
        ) {
            // SAFETY: the kernel's contract; the tile's pixels are among those that it covers.
            unsafe {
                let mut sum = [bias; N];
                for term in terms {
                    let weight = V::load(term.weight);
                    let from = base.add(term.offset);
                    for (i, sum) in sum.iter_mut().enumerate() {
                        *sum = V::load(from.add(i * src_step)).fma(weight, *sum);
                    }
                }
                put(sum, dst, dst_step, slope, write);
            }
        }
        #[inline(always)]
        unsafe fn all<V: Lanes, const T: usize>(
            dst: *mut f32, dst_step: usize, base: *const f32, terms: &[Shifted], src_step: usize, n: usize, bias: V,
            slope: Slope, write: Write,
        ) {
            // SAFETY: the kernel's contract; pixels are counted up to n.
            unsafe {
                let mut i = 0;
                macro_rules! tile {
                    ($n:expr) => {{
                        let (dst, slope) = (dst.add(i * dst_step), slope.add(i * dst_step));
                        let base = base.add(i * src_step);
                        tile::<V, $n>(dst, dst_step, base, terms, src_step, bias, slope, write);
                        i += $n;
                    }};
                }
                while i + T <= n {
                    tile!(T);
                }
                while i + 4 <= n && T > 4 {
                    tile!(4);
                }
                while i + 2 <= n {
                    tile!(2);
                }
                while i < n {
                    tile!(1);
                }
            }
        }
        let bias = if bias.is_null() { V::splat(0.0) } else { V::load(bias) };
        // A step known to the compiler becomes an address's constant part.
        match src_step {
            16 => all::<V, T>(dst, dst_step, base, terms, 16, n, bias, slope, write),
            _ => all::<V, T>(dst, dst_step, base, terms, src_step, n, bias, slope, write),
        }
    }
}

kernel! {
    /// total += Σ_i g[i] and, for each k, products[k] += Σ_i g[i] · planes[k][i], lane by lane, over n pixels.
    ///
    /// # Safety
    /// `g` and each plane must be good for 16·n floats, `total` (or null, to leave it out) and each product for
    /// sixteen.
    pub fn dots(g: *const f32, n: usize, planes: &[*const f32], total: *mut f32, products: &[*mut f32]) work(
        16 * n * (2 * planes.len() + usize::from(!total.is_null())),
        64 * n * (1 + planes.len())
    ) {
        #[inline(always)]
        unsafe fn some<V: Lanes, const K: usize>(
            g: *const f32, n: usize, planes: &[*const f32], total: *mut f32, products: &[*mut f32],
        ) {
            // SAFETY: the kernel's contract; there are K planes and products here, and pixels are counted up to n.
            unsafe {
                // Two accumulators per sum hide the latency of the additions.
                let mut sums = [[V::splat(0.0); 2]; K];
                let mut totals = [V::splat(0.0); 2];
                let mut i = 0;
                while i < n {
                    for (half, totals) in totals.iter_mut().enumerate().take((n - i).min(2)) {
                        let at = 16 * (i + half);
                        let value = V::load(g.add(at));
                        *totals = totals.add(value);
                        for (sums, plane) in sums.iter_mut().zip(planes) {
                            sums[half] = value.fma(V::load(plane.add(at)), sums[half]);
                        }
                    }
                    i += 2;
                }
                for (sums, to) in sums.iter().zip(products) {
                    V::load(*to).add(sums[0].add(sums[1])).store(*to);
                }
                if !total.is_null() {
                    V::load(total).add(totals[0].add(totals[1])).store(total);
                }
            }
        }
        let mut total = total;
        let mut k = 0;
        while k + 4 <= planes.len() {
            some::<V, 4>(g, n, &planes[k..k + 4], total, &products[k..k + 4]);
            total = std::ptr::null_mut();
            k += 4;
        }
        while k < planes.len() {
            some::<V, 1>(g, n, &planes[k..k + 1], total, &products[k..k + 1]);
            total = std::ptr::null_mut();
            k += 1;
        }
        if !total.is_null() {
            some::<V, 0>(g, n, &[], total, &[]);
        }
    }
}

kernel! {
    /// dst[i] = or += dx[i] · slope[i], over n pixels.
    ///
    /// # Safety
    /// All pointers must be good for 16·n floats.
    pub fn through_activation(dst: *mut f32, dx: *const f32, slope: Slope, n: usize, write: Write) work(
        16 * n * extras(slope, write),
        64 * n * (2 + extras(slope, write))
    ) {
        for i in 0..n {
            put([V::load(dx.add(16 * i))], dst.add(16 * i), 16, slope.add(16 * i), write);
        }
    }
}
