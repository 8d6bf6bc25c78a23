//! Sums over rows, column by column: what batch norms and biases need.
//!
//! Each call takes up to [`COLUMNS`] columns and all rows in order, so no sum depends on who takes which columns.

use crate::engine::cpu::kernels::lanes::kernel;

/// Columns of a call: four lane groups.
pub const COLUMNS: usize = 64;

/// Rows × columns of floats: where they begin, and from a row to the next.
#[derive(Clone, Copy)]
pub struct Plane {
    pub at: *const f32,
    pub row: usize,
}

kernel! {
    /// Mean and variance (divided by the number of rows) of up to [`COLUMNS`] columns; squares are taken around the
    /// mean.
    ///
    /// # Safety
    /// The plane must be good for rows × columns floats, `mean` and `variance` for whole lane groups.
    pub fn moments(x: Plane, rows: usize, columns: usize, mean: *mut f32, variance: *mut f32)
        work(4 * rows * columns, 8 * rows * columns)
    {
        for v in 0..columns.div_ceil(16) {
            let count = (columns - 16 * v).min(16);
            let share = V::splat(1.0 / rows as f32);
            let mut total = V::splat(0.0);
            for r in 0..rows {
                total = total.add(V::load_some(x.at.add(r * x.row + 16 * v), count));
            }
            let middle = total.mul(share);
            let mut squares = V::splat(0.0);
            for r in 0..rows {
                let off = V::load_some(x.at.add(r * x.row + 16 * v), count).sub(middle);
                squares = off.fma(off, squares);
            }
            middle.store(mean.add(16 * v));
            squares.mul(share).store(variance.add(16 * v));
        }
    }
}

kernel! {
    /// Σ g and Σ g·(x·scale + shift) of up to [`COLUMNS`] columns.
    ///
    /// # Safety
    /// The planes must be good for rows × columns floats, everything else for whole lane groups.
    pub fn norm_sums(
        g: Plane,
        x: Plane,
        rows: usize,
        columns: usize,
        scale: *const f32,
        shift: *const f32,
        sums: *mut f32,
        tilts: *mut f32,
    ) work(5 * rows * columns, 8 * rows * columns) {
        for v in 0..columns.div_ceil(16) {
            let count = (columns - 16 * v).min(16);
            let (scale, shift) = (V::load(scale.add(16 * v)), V::load(shift.add(16 * v)));
            let (mut sum, mut tilt) = (V::splat(0.0), V::splat(0.0));
            for r in 0..rows {
                let g = V::load_some(g.at.add(r * g.row + 16 * v), count);
                let x = V::load_some(x.at.add(r * x.row + 16 * v), count);
                sum = sum.add(g);
                tilt = g.fma(x.fma(scale, shift), tilt);
            }
            sum.store(sums.add(16 * v));
            tilt.store(tilts.add(16 * v));
        }
    }
}

kernel! {
    /// Adds Σ x of up to [`COLUMNS`] columns to `sums`.
    ///
    /// # Safety
    /// The plane must be good for rows × columns floats, `sums` for as many as there are columns.
    pub fn add_columns(x: Plane, rows: usize, columns: usize, sums: *mut f32) work(rows * columns, 4 * rows * columns) {
        for v in 0..columns.div_ceil(16) {
            let count = (columns - 16 * v).min(16);
            let mut sum = V::splat(0.0);
            for r in 0..rows {
                sum = sum.add(V::load_some(x.at.add(r * x.row + 16 * v), count));
            }
            let to = sums.add(16 * v);
            sum.add(V::load_some(to, count)).store_some(to, count);
        }
    }
}
