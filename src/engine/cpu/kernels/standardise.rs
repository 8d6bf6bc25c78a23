//! What an image's own mean and variance are made of, and the gradient through them.

use super::lanes::kernel;
use super::sums::{Slope, Write, put};

kernel! {
    /// sums[0..16] += Σ (x − centre), sums[16..32] += Σ (x − centre)², lane by lane over n pixels.
    ///
    /// # Safety
    /// `x` must be good for n pixels, `sums` for 32 floats.
    pub fn add_spread(x: *const f32, n: usize, centre: f32, sums: *mut f32) work(64 * n, 64 * n) {
        let centre = V::splat(centre);
        let (mut total, mut square) = (V::load(sums), V::load(sums.add(16)));
        for i in 0..n {
            let off = V::load(x.add(16 * i)).sub(centre);
            total = total.add(off);
            square = off.fma(off, square);
        }
        total.store(sums);
        square.store(sums.add(16));
    }
}

kernel! {
    /// sums[0..16] += Σ dy, sums[16..32] += Σ dy · (x − centre), lane by lane over n pixels.
    ///
    /// # Safety
    /// `dy` and `x` must be good for n pixels, `sums` for 32 floats.
    pub fn add_centred_dots(dy: *const f32, x: *const f32, n: usize, centre: f32, sums: *mut f32)
    work(64 * n, 128 * n) {
        let centre = V::splat(centre);
        let (mut total, mut product) = (V::load(sums), V::load(sums.add(16)));
        for i in 0..n {
            let g = V::load(dy.add(16 * i));
            total = total.add(g);
            product = V::load(x.add(16 * i)).sub(centre).fma(g, product);
        }
        total.store(sums);
        product.store(sums.add(16));
    }
}

kernel! {
    /// dst = or += (x − centre) · by_x + dy · by_dy + constant, over n pixels; each factor is a number a lane. Without
    /// dy (null) there is no such term.
    ///
    /// # Safety
    /// `dst`, `x` and `dy` must be good for n pixels, the factors for sixteen floats each; `dst` overlaps no other.
    pub fn centred(
        dst: *mut f32, x: *const f32, dy: *const f32, n: usize, centre: f32, by_x: *const f32, by_dy: *const f32,
        constant: *const f32, write: Write,
    ) work(96 * n, 192 * n) {
        let (centre, by_x, by_dy) = (V::splat(centre), V::load(by_x), V::load(by_dy));
        let constant = V::load(constant);
        for i in 0..n {
            let mut value = V::load(x.add(16 * i)).sub(centre).fma(by_x, constant);
            if !dy.is_null() {
                value = V::load(dy.add(16 * i)).fma(by_dy, value);
            }
            put([value], dst.add(16 * i), 16, Slope::One, write);
        }
    }
}
