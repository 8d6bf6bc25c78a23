//! Depthwise convolutions: rows of outputs from a grid of taps, and the weights' gradient.
//!
//! Any depthwise convolution is a weighted sum of shifted planes (`sums.rs`), which loads a pixel once for each tap
//! that reads it. The usual kernels at stride 1, forward and as input gradients, read neighbouring pixels, so here each
//! pixel of a row is loaded once and multiplied by all taps of the kernel's row: one and a half times as fast.

use super::lanes::kernel;
use super::sums::{Slope, Write, extras, put};

/// Taps in rows and columns, `spacing` pixels apart in a row and `row` floats from row to row.
#[derive(Clone, Copy)]
pub struct Grid {
    pub rows: usize,
    pub columns: usize,
    pub spacing: usize,
    pub row: usize,
    /// The first tap's sixteen weights, and the floats from tap to tap, row by row (negative where the kernel is
    /// flipped).
    pub weights: *const f32,
    pub stride: isize,
}

impl Grid {
    /// The grids that [`depthwise_rows`] is compiled for.
    pub fn is_known(columns: usize, spacing: usize) -> bool {
        matches!((columns, spacing), (3 | 5, 1 | 2) | (7, 1))
    }
}

/// Where rows of results go: floats from row to row there, and the slopes that they are multiplied by.
#[derive(Clone, Copy)]
pub struct Target {
    pub first: *mut f32,
    pub row: usize,
    pub slope: Slope,
    pub slope_row: usize,
    pub write: Write,
}

kernel! {
    /// dst[r][i] = or += slope · Σ_(s, c) weight_(s, c) · base[r · base_row + s · row + (i + c · spacing)], lane by
    /// lane, for `rows` rows of n neighbouring pixels.
    ///
    /// # Safety
    /// `base` must be good for all taps of these pixels, the target and its slopes for the pixels, weights for sixteen
    /// floats each. The grid must be known.
    pub fn depthwise_rows(target: Target, base: *const f32, base_row: usize, grid: Grid, rows: usize, n: usize) work(
        16 * rows * n * (2 * grid.rows * grid.columns + extras(target.slope, target.write)),
        64 * (rows * n * (1 + extras(target.slope, target.write))
            + (rows + (grid.rows - 1) * grid.spacing) * (n + (grid.columns - 1) * grid.spacing)
            + grid.rows * grid.columns)
    ) {
        #[inline(always)]
        unsafe fn tile<V: Lanes, const N: usize, const K: usize, const D: usize>(
            dst: *mut f32, base: *const f32, grid: Grid, slope: Slope, write: Write,
        ) {
            // SAFETY: the kernel's contract; the tile's pixels are among those that it covers.
            unsafe {
                let mut sum = [V::splat(0.0); N];
                let (mut row, mut weight) = (base, grid.weights);
                for _ in 0..grid.rows {
                    for c in 0..K {
                        let by = V::load(weight.offset(c as isize * grid.stride));
                        // The compiler sees that these loads repeat from column to column.
                        for (i, sum) in sum.iter_mut().enumerate() {
                            *sum = V::load(row.add(16 * (i + c * D))).fma(by, *sum);
                        }
                    }
                    row = row.add(grid.row);
                    weight = weight.offset(K as isize * grid.stride);
                }
                put(sum, dst, 16, slope, write);
            }
        }
        #[inline(always)]
        unsafe fn all<V: Lanes, const T: usize, const K: usize, const D: usize>(
            target: Target, base: *const f32, base_row: usize, grid: Grid, rows: usize, n: usize,
        ) {
            // SAFETY: the kernel's contract; rows are counted up to `rows`, pixels up to n.
            unsafe {
                for r in 0..rows {
                    let (dst, base) = (target.first.add(r * target.row), base.add(r * base_row));
                    let slope = target.slope.add(r * target.slope_row);
                    let mut i = 0;
                    macro_rules! tile {
                        ($n:expr) => {{
                            let at = 16 * i;
                            tile::<V, $n, K, D>(dst.add(at), base.add(at), grid, slope.add(at), target.write);
                            i += $n;
                        }};
                    }
                    while i + 16 <= n && T >= 8 {
                        tile!(16);
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
        }
        match (grid.columns, grid.spacing) {
            (3, 1) => all::<V, T, 3, 1>(target, base, base_row, grid, rows, n),
            (3, 2) => all::<V, T, 3, 2>(target, base, base_row, grid, rows, n),
            (5, 1) => all::<V, T, 5, 1>(target, base, base_row, grid, rows, n),
            (5, 2) => all::<V, T, 5, 2>(target, base, base_row, grid, rows, n),
            _ => all::<V, T, 7, 1>(target, base, base_row, grid, rows, n),
        }
    }
}

/// A plane's rows: the first pixel, floats from row to row, floats from pixel to pixel.
#[derive(Clone, Copy)]
pub struct Rows {
    pub first: *const f32,
    pub row: usize,
    pub pixel: usize,
}

kernel! {
    /// The same for one row of a known grid, whose taps are `spacing` pixels apart: gradient[c · stride] += Σ_(r, i)
    /// x[(r, i + c · spacing)] · dy[(r, i)]. Pixels lie sixteen floats apart.
    ///
    /// # Safety
    /// `x` and `dy` must be good for these rows, `gradient` for sixteen floats every `stride`.
    pub fn depthwise_gradient_row(
        gradient: *mut f32, stride: usize, x: Rows, columns: usize, spacing: usize, dy: Rows, rows: usize, n: usize,
    ) work(32 * rows * n * columns, 64 * (rows * (2 * n + (columns - 1) * spacing) + 2 * columns)) {
        #[inline(always)]
        unsafe fn some<V: Lanes, const K: usize, const D: usize, const N: usize, const W: usize>(
            gradient: *mut f32, stride: usize, x: Rows, dy: Rows, rows: usize, n: usize,
        ) {
            // SAFETY: the kernel's contract; rows go up to `rows`, pixels up to n, taps up to K columns.
            unsafe {
                // W sums per tap hide the latency of the additions.
                let mut sums = [[V::splat(0.0); W]; K];
                for r in 0..rows {
                    let (x, dy) = (x.first.add(r * x.row), dy.first.add(r * dy.row));
                    let mut i = 0;
                    while i + N <= n {
                        for j in 0..N {
                            let value = V::load(dy.add(16 * (i + j)));
                            for (c, sums) in sums.iter_mut().enumerate() {
                                sums[j % W] = V::load(x.add(16 * (i + j + c * D))).fma(value, sums[j % W]);
                            }
                        }
                        i += N;
                    }
                    while i < n {
                        let value = V::load(dy.add(16 * i));
                        for (c, sums) in sums.iter_mut().enumerate() {
                            sums[0] = V::load(x.add(16 * (i + c * D))).fma(value, sums[0]);
                        }
                        i += 1;
                    }
                }
                for (c, sums) in sums.into_iter().enumerate() {
                    let to = gradient.add(c * stride);
                    let total = sums[1..].iter().fold(sums[0], |a, &b| a.add(b));
                    V::load(to).add(total).store(to);
                }
            }
        }
        match (columns, spacing, T >= 8) {
            (3, 1, true) => some::<V, 3, 1, 8, 4>(gradient, stride, x, dy, rows, n),
            (3, 2, true) => some::<V, 3, 2, 8, 4>(gradient, stride, x, dy, rows, n),
            (5, 1, true) => some::<V, 5, 1, 8, 2>(gradient, stride, x, dy, rows, n),
            (5, 2, true) => some::<V, 5, 2, 8, 2>(gradient, stride, x, dy, rows, n),
            (7, 1, true) => some::<V, 7, 1, 4, 2>(gradient, stride, x, dy, rows, n),
            (3, 1, false) => some::<V, 3, 1, 4, 1>(gradient, stride, x, dy, rows, n),
            (3, 2, false) => some::<V, 3, 2, 4, 1>(gradient, stride, x, dy, rows, n),
            (5, 1, false) => some::<V, 5, 1, 2, 1>(gradient, stride, x, dy, rows, n),
            (5, 2, false) => some::<V, 5, 2, 2, 1>(gradient, stride, x, dy, rows, n),
            _ => some::<V, 7, 1, 1, 1>(gradient, stride, x, dy, rows, n),
        }
    }
}

kernel! {
    /// gradient[t · stride] += Σ_(r, i) x[offset_t + (r, i)] · dy[(r, i)], lane by lane, over `rows` rows of n pixels.
    ///
    /// # Safety
    /// `x` shifted by each tap and `dy` must be good for these rows, `gradient` for sixteen floats every `stride`.
    pub fn depthwise_gradient(
        gradient: *mut f32, stride: usize, x: Rows, taps: &[usize], dy: Rows, rows: usize, n: usize,
    ) work(32 * rows * n * taps.len(), 64 * (rows * n * (taps.len() + 1) + 2 * taps.len())) {
        #[inline(always)]
        unsafe fn some<V: Lanes, const K: usize, const N: usize>(
            gradient: *mut f32, stride: usize, x: Rows, taps: &[usize], dy: Rows, rows: usize, n: usize,
        ) {
            // SAFETY: the kernel's contract; rows go up to `rows`, pixels up to n, and K taps are left.
            unsafe {
                let mut sums = [[V::splat(0.0); N]; K];
                for r in 0..rows {
                    let dy_row = dy.first.add(r * dy.row);
                    let x_rows: [*const f32; K] = std::array::from_fn(|t| x.first.add(r * x.row + taps[t]));
                    let mut i = 0;
                    while i + N <= n {
                        let dys: [V; N] = std::array::from_fn(|j| V::load(dy_row.add((i + j) * dy.pixel)));
                        for (sums, x_row) in sums.iter_mut().zip(x_rows) {
                            for j in 0..N {
                                sums[j] = V::load(x_row.add((i + j) * x.pixel)).fma(dys[j], sums[j]);
                            }
                        }
                        i += N;
                    }
                    while i < n {
                        let value = V::load(dy_row.add(i * dy.pixel));
                        for (sums, x_row) in sums.iter_mut().zip(x_rows) {
                            sums[0] = V::load(x_row.add(i * x.pixel)).fma(value, sums[0]);
                        }
                        i += 1;
                    }
                }
                for (t, sums) in sums.into_iter().enumerate() {
                    let to = gradient.add(t * stride);
                    let total = sums[1..].iter().fold(sums[0], |a, &b| a.add(b));
                    V::load(to).add(total).store(to);
                }
            }
        }
        let mut t = 0;
        while t < taps.len() {
            let left = taps.len() - t;
            let to = gradient.add(t * stride);
            // Groups of taps that fill the registers with independent sums: rows of the usual kernels.
            if T >= 8 && left.is_multiple_of(5) {
                some::<V, 5, 4>(to, stride, x, &taps[t..], dy, rows, n);
                t += 5;
            } else if left.is_multiple_of(5) {
                some::<V, 5, 1>(to, stride, x, &taps[t..], dy, rows, n);
                t += 5;
            } else if T >= 8 && left >= 3 {
                some::<V, 3, 4>(to, stride, x, &taps[t..], dy, rows, n);
                t += 3;
            } else if left >= 3 {
                some::<V, 3, 2>(to, stride, x, &taps[t..], dy, rows, n);
                t += 3;
            } else {
                some::<V, 1, 4>(to, stride, x, &taps[t..], dy, rows, n);
                t += 1;
            }
        }
    }
}
