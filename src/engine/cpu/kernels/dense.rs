//! Dense convolutions over channel blocks: one matrix per tap. Pointwise convolutions have one tap, linear layers also
//! one pixel.

use super::lanes::kernel;
use super::moments::Moments;

/// One tap: the plane at `offset` floats from the base, times a matrix of input lanes × output lanes.
#[derive(Clone, Copy)]
pub struct DenseTap {
    pub offset: usize,
    pub weight: *const f32,
}

/// How the blocks of a source or destination lie: floats from pixel to pixel, and from block to block.
#[derive(Clone, Copy)]
pub struct Strides {
    pub pixel: usize,
    pub block: usize,
}

/// What else happens to results, apart from being written.
#[derive(Clone, Copy)]
pub struct Store {
    /// Sums for batch statistics to which the results are added, while they are in registers.
    pub moments: Option<Moments>,
    /// Whether they are written to memory past the cache: for tensors that the cache would lose before they are read,
    /// as this saves fetching the lines first.
    pub past_cache: bool,
}

impl Store {
    pub const PLAIN: Store = Store { moments: None, past_cache: false };

    /// For results that follow others of the same group: they are added to sums that have begun.
    pub fn following(self) -> Self {
        Self { moments: self.moments.map(|moments| Moments { begin: false, ..moments }), ..self }
    }
}

kernel! {
    /// dst[block][i] = (bias) + Σ_tap Σ_lane base[offset_tap + i][lane] · weight_tap[lane][block], over n pixels.
    ///
    /// `filled[b]` lanes of input block b are read, the rest are empty. Weight rows are 16·`out_blocks` floats.
    ///
    /// # Safety
    /// Every source plane must be good for n pixels in each block of `filled`, `dst` for n pixels in each of
    /// `out_blocks` (aligned to sixteen floats, if it goes past the cache), every weight for 16·filled.len() rows,
    /// `bias` (or null) and the sums for 16·`out_blocks` floats.
    pub fn dense(
        dst: *mut f32, to: Strides, out_blocks: usize, base: *const f32, from: Strides, taps: &[DenseTap],
        filled: &[usize], n: usize, bias: *const f32, store: Store,
    ) work(
        32 * n * out_blocks * taps.len() * filled.iter().sum::<usize>()
            + if store.moments.is_some() { 64 * n * out_blocks } else { 0 },
        64 * (n * (taps.len() * filled.len() + out_blocks) + taps.len() * out_blocks * filled.iter().sum::<usize>())
    ) {
        #[inline(always)]
        unsafe fn tile<V: Lanes, const N: usize, const B: usize>(
            dst: *mut f32, to: Strides, row: usize, base: *const f32, from: Strides, taps: &[DenseTap],
            filled: &[usize], block: usize, bias: *const f32, store: Store,
        ) {
            // SAFETY: the kernel's contract; the tile's pixels, blocks and taps are among those that it covers.
            unsafe {
                let mut sum = [[V::splat(0.0); B]; N];
                if !bias.is_null() {
                    for sum in &mut sum {
                        for (b, sum) in sum.iter_mut().enumerate() {
                            *sum = V::load(bias.add(16 * (block + b)));
                        }
                    }
                }
                for tap in taps {
                    let mut weight = tap.weight.add(16 * block);
                    let mut source = base.add(tap.offset);
                    for &lanes in filled {
                        for lane in 0..lanes {
                            let weights: [V; B] = std::array::from_fn(|b| V::load(weight.add(lane * row + 16 * b)));
                            for (i, sum) in sum.iter_mut().enumerate() {
                                let x = V::splat(*source.add(i * from.pixel + lane));
                                for (sum, weight) in sum.iter_mut().zip(weights) {
                                    *sum = x.fma(weight, *sum);
                                }
                            }
                        }
                        weight = weight.add(16 * row);
                        source = source.add(from.block);
                    }
                }
                if let Some(moments) = store.moments {
                    for b in 0..B {
                        let to = moments.block(block + b);
                        let pivot = if to.begin { sum[0][b] } else { V::load(to.pivot) };
                        let (mut total, mut square) = (V::splat(0.0), V::splat(0.0));
                        for sum in &sum {
                            let off = sum[b].sub(pivot);
                            total = total.add(off);
                            square = off.fma(off, square);
                        }
                        if to.begin {
                            pivot.store(to.pivot);
                        } else {
                            total = V::load(to.total).add(total);
                            square = V::load(to.square).add(square);
                        }
                        total.store(to.total);
                        square.store(to.square);
                    }
                }
                for (i, sum) in sum.into_iter().enumerate() {
                    for (b, sum) in sum.into_iter().enumerate() {
                        let to = dst.add((block + b) * to.block + i * to.pixel);
                        match store.past_cache {
                            true => sum.stream(to),
                            false => sum.store(to),
                        }
                    }
                }
            }
        }
        #[inline(always)]
        unsafe fn blocks<V: Lanes, const T: usize, const B: usize>(
            dst: *mut f32, to: Strides, row: usize, base: *const f32, from: Strides, taps: &[DenseTap],
            filled: &[usize], block: usize, n: usize, bias: *const f32, store: Store,
        ) {
            // SAFETY: the kernel's contract; pixels are counted up to n, blocks up to `out_blocks` by the caller.
            unsafe {
                let (mut i, mut store) = (0, store);
                macro_rules! tile {
                    ($n:expr) => {{
                        let (dst, base) = (dst.add(i * to.pixel), base.add(i * from.pixel));
                        tile::<V, { $n }, B>(dst, to, row, base, from, taps, filled, block, bias, store);
                        i += $n;
                        if let Some(moments) = &mut store.moments {
                            moments.begin = false;
                        }
                    }};
                }
                // One block alone needs more pixels to keep the multipliers busy, and leaves registers for them.
                while i + 16 <= n && T >= 8 && B == 1 {
                    tile!(16);
                }
                while i + T <= n {
                    tile!(T);
                }
                while i + 4 <= n && T > 4 {
                    tile!(4);
                }
                while i < n {
                    tile!(1);
                }
            }
        }
        let row = 16 * out_blocks;
        let mut block = 0;
        if T >= 8 {
            while block + 2 <= out_blocks {
                blocks::<V, T, 2>(dst, to, row, base, from, taps, filled, block, n, bias, store);
                block += 2;
            }
        }
        while block < out_blocks {
            blocks::<V, T, 1>(dst, to, row, base, from, taps, filled, block, n, bias, store);
            block += 1;
        }
    }
}

kernel! {
    /// The weights' gradient of one tap: gradient[lane][block] += Σ_i x[i][lane] · dy[block][i], over n pixels.
    ///
    /// # Safety
    /// `x` must be good for n pixels in each block of `filled`, `dy` for n pixels in each of `out_blocks`, `gradient`
    /// for 16·filled.len() rows of 16·`out_blocks` floats.
    pub fn dense_gradient(
        gradient: *mut f32, x: *const f32, from: Strides, filled: &[usize], dy: *const f32, dy_stride: Strides,
        out_blocks: usize, n: usize,
    ) work(
        32 * n * out_blocks * filled.iter().sum::<usize>(),
        64 * (n * (filled.len() + out_blocks) + 2 * out_blocks * filled.iter().sum::<usize>())
    ) {
        #[inline(always)]
        unsafe fn tile<V: Lanes, const L: usize, const B: usize>(
            gradient: *mut f32, row: usize, x: *const f32, x_pixel: usize, dy: *const f32, dy_stride: Strides, n: usize,
        ) {
            // SAFETY: the kernel's contract; the tile's lanes and blocks are among those that it covers.
            unsafe {
                let mut sum = [[V::splat(0.0); B]; L];
                for i in 0..n {
                    let dy: [V; B] =
                        std::array::from_fn(|b| V::load(dy.add(i * dy_stride.pixel + b * dy_stride.block)));
                    for (lane, sum) in sum.iter_mut().enumerate() {
                        let x = V::splat(*x.add(i * x_pixel + lane));
                        for (sum, dy) in sum.iter_mut().zip(dy) {
                            *sum = x.fma(dy, *sum);
                        }
                    }
                }
                for (lane, sum) in sum.into_iter().enumerate() {
                    for (b, sum) in sum.into_iter().enumerate() {
                        let to = gradient.add(lane * row + 16 * b);
                        V::load(to).add(sum).store(to);
                    }
                }
            }
        }
        let row = 16 * out_blocks;
        for (in_block, &lanes) in filled.iter().enumerate() {
            let x = x.add(in_block * from.block);
            let gradient = gradient.add(16 * in_block * row);
            let mut block = 0;
            while block < out_blocks {
                let dy = dy.add(block * dy_stride.block);
                let gradient = gradient.add(16 * block);
                if T >= 8 && block + 2 <= out_blocks {
                    for lane in (0..lanes).step_by(8) {
                        tile::<V, 8, 2>(gradient.add(lane * row), row, x.add(lane), from.pixel, dy, dy_stride, n);
                    }
                    block += 2;
                } else if T >= 8 {
                    for lane in (0..lanes).step_by(16) {
                        tile::<V, 16, 1>(gradient.add(lane * row), row, x.add(lane), from.pixel, dy, dy_stride, n);
                    }
                    block += 1;
                } else {
                    for lane in (0..lanes).step_by(4) {
                        tile::<V, 4, 1>(gradient.add(lane * row), row, x.add(lane), from.pixel, dy, dy_stride, n);
                    }
                    block += 1;
                }
            }
        }
    }
}
