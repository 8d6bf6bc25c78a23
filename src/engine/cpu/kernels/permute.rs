//! Sums of lane permutations: what slices, shuffles and their adjoints are made of.

use super::lanes::kernel;
use super::sums::Write;
use crate::graph::plan::LANES;

/// One input block's part in an output block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Move {
    pub block: usize,
    /// By output lane: the input's lane within the block; 16 and above for none.
    pub lanes: [u32; LANES],
}

kernel! {
    /// dst[i] = or += Σ_move permuted(src[move's block][i]), over planes of n pixels.
    ///
    /// # Safety
    /// `dst` must be good for n pixels, `src` for n pixels in each block of the moves.
    pub fn permuted(dst: *mut f32, src: *const f32, moves: &[Move], n: usize, write: Write)
    work(moves.len() * 16 * n, (moves.len() + 1 + usize::from(write == Write::Add)) * 64 * n) {
        #[inline(always)]
        unsafe fn tile<V: Lanes, const N: usize>(
            dst: *mut f32, src: *const f32, moves: &[Move], plane: usize, write: Write,
        ) {
            // SAFETY: the kernel's contract; the tile's pixels are among the n that it covers.
            unsafe {
                let mut sum: [V; N] = std::array::from_fn(|i| match write {
                    Write::Over => V::splat(0.0),
                    Write::Add => V::load(dst.add(16 * i)),
                });
                for step in moves {
                    let from = src.add(step.block * plane);
                    for (i, sum) in sum.iter_mut().enumerate() {
                        *sum = sum.add(V::load(from.add(16 * i)).permuted(&step.lanes));
                    }
                }
                for (i, sum) in sum.into_iter().enumerate() {
                    sum.store(dst.add(16 * i));
                }
            }
        }
        let mut i = 0;
        while i + T <= n {
            tile::<V, T>(dst.add(16 * i), src.add(16 * i), moves, 16 * n, write);
            i += T;
        }
        while i < n {
            tile::<V, 1>(dst.add(16 * i), src.add(16 * i), moves, 16 * n, write);
            i += 1;
        }
    }
}
