//! Every pixel repeated in both directions, and the sums over what it was repeated for.

use super::lanes::kernel;
use super::sums::{Slope, Write, put};

kernel! {
    /// dst = src, a plane of `from` (height, width), each pixel `factor` times in both directions.
    ///
    /// # Safety
    /// `src` must be good for the plane's pixels, `dst` for factor² times as many.
    pub fn upsample(dst: *mut f32, src: *const f32, from: (usize, usize), factor: usize) work(
        0,
        64 * from.0 * from.1 * (1 + factor * factor)
    ) {
        let (height, width) = from;
        for r in 0..height * factor {
            let row = src.add(16 * (r / factor * width));
            let to = dst.add(16 * r * width * factor);
            for c in 0..width {
                let value = V::load(row.add(16 * c));
                for k in 0..factor {
                    value.store(to.add(16 * (c * factor + k)));
                }
            }
        }
    }
}

kernel! {
    /// dx = or += the sums of dy over the squares that each pixel of a plane of `from` was repeated for.
    ///
    /// # Safety
    /// `dx` must be good for the plane's pixels, `dy` for factor² times as many.
    pub fn upsample_backward(dx: *mut f32, dy: *const f32, from: (usize, usize), factor: usize, write: Write) work(
        16 * from.0 * from.1 * (factor * factor + usize::from(write == Write::Add)),
        64 * from.0 * from.1 * (1 + factor * factor + usize::from(write == Write::Add))
    ) {
        let (height, width) = from;
        for r in 0..height {
            for c in 0..width {
                let mut sum = V::splat(0.0);
                for y in 0..factor {
                    let row = dy.add(16 * (((r * factor + y) * width + c) * factor));
                    for x in 0..factor {
                        sum = sum.add(V::load(row.add(16 * x)));
                    }
                }
                put([sum], dx.add(16 * (r * width + c)), 16, Slope::One, write);
            }
        }
    }
}
