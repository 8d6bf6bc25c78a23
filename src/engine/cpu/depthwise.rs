//! The weights' gradient of depthwise convolutions. Forward and input gradient are weighted sums of shifted planes
//! (`sums.rs`); what is left is one dot product a tap and channel.

use super::lanes::kernel;

/// A plane's rows: the first pixel, floats from row to row, floats from pixel to pixel.
#[derive(Clone, Copy)]
pub struct Rows {
    pub first: *const f32,
    pub row: usize,
    pub pixel: usize,
}

kernel! {
    /// gradient[t · stride] += Σ_(r, i) x[offset_t + (r, i)] · dy[(r, i)], lane by lane, over `rows` rows of n pixels.
    ///
    /// # Safety
    /// `x` shifted by each tap and `dy` must be good for these rows, `gradient` for sixteen floats every `stride`.
    pub fn depthwise_gradient(
        gradient: *mut f32, stride: usize, x: Rows, taps: &[usize], dy: Rows, rows: usize, n: usize,
    ) {
        #[inline(always)]
        unsafe fn some<V: Lanes, const K: usize, const N: usize>(
            gradient: *mut f32, stride: usize, x: Rows, taps: &[usize], dy: Rows, rows: usize, n: usize,
        ) {
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
