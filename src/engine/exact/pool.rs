//! Pools: the maximum or the average of a window, and the average of a whole plane.
//!
//! ```text
//! max      y[n, c, r, s] = max of x over the window's pixels inside of the map
//! average  y[n, c, r, s] = Σ x over the window's pixels inside of the map / d
//! global   y[n, c]       = Σ x over all pixels / pixels                                  (Lin et al. 2014)
//! ```
//!
//! The window of output (r, s) covers kernel × kernel pixels from (r·stride − padding, s·stride − padding). d is
//! kernel² where padding counts, otherwise the number of pixels inside of the map. Padding never wins a maximum. The
//! gradient of a maximum goes to the pixel that won; of equal ones the first (by rows, then columns) takes all of it.

use super::maps::Maps;
use crate::graph::{Pool, PoolKind, Shape};
use std::ops::Range;

/// The positions of an axis of `size` inside of the map that output `at` covers.
fn window(pool: &Pool, at: usize, size: usize) -> Range<usize> {
    let first = at * pool.stride;
    first.saturating_sub(pool.padding)..(first + pool.kernel).saturating_sub(pool.padding).min(size)
}

/// By output pixel, row by row: the pixels of the input plane in its window.
pub(super) fn windows(pool: &Pool, from: Shape, to: Shape) -> impl Iterator<Item = Vec<usize>> {
    let positions = (0..to.height).flat_map(move |r| (0..to.width).map(move |c| (r, c)));
    positions.map(move |(r, c)| {
        let columns = window(pool, c, from.width);
        let rows = window(pool, r, from.height);
        rows.flat_map(|row| columns.clone().map(move |column| row * from.width + column)).collect()
    })
}

/// What a window's sum is divided by.
fn divisor(pool: &Pool, pixels: usize) -> f64 {
    match pool.kind {
        PoolKind::Average { count_padding: true } => (pool.kernel * pool.kernel) as f64,
        _ => pixels as f64,
    }
}

/// The pixel of a window that wins: the first of the largest, or the first that is not a number.
fn winner(x: &[f64], window: &[usize]) -> usize {
    let larger = |best: usize, pixel: usize| match x[pixel] > x[best] || (x[pixel].is_nan() && !x[best].is_nan()) {
        true => pixel,
        false => best,
    };
    window.iter().copied().reduce(larger).expect("padding is at most half the kernel, so no window is all padding")
}

/// y.
pub(super) fn forward(x: &Maps, pool: &Pool, to: Shape) -> Maps {
    let windows: Vec<Vec<usize>> = windows(pool, x.shape, to).collect();
    Maps::from_planes(x.batch, to, |image, c, y| {
        let x = x.plane(image, c);
        for (y, window) in y.iter_mut().zip(&windows) {
            *y = match pool.kind {
                PoolKind::Max => x[winner(x, window)],
                PoolKind::Average { .. } => window.iter().map(|&p| x[p]).sum::<f64>() / divisor(pool, window.len()),
            };
        }
    })
}

/// dL/dx from dL/dy.
pub(super) fn backward(x: &Maps, dy: &Maps, pool: &Pool) -> Maps {
    let windows: Vec<Vec<usize>> = windows(pool, x.shape, dy.shape).collect();
    Maps::from_planes(x.batch, x.shape, |image, c, dx| {
        let x = x.plane(image, c);
        for (dy, window) in dy.plane(image, c).iter().zip(&windows) {
            match pool.kind {
                PoolKind::Max => dx[winner(x, window)] += dy,
                PoolKind::Average { .. } => window.iter().for_each(|&p| dx[p] += dy / divisor(pool, window.len())),
            }
        }
    })
}

/// y of the global pool.
pub(super) fn forward_global(x: &Maps, to: Shape) -> Maps {
    Maps::from_planes(x.batch, to, |image, c, y| {
        y[0] = x.plane(image, c).iter().sum::<f64>() / x.shape.pixels() as f64;
    })
}

/// dL/dx of the global pool from dL/dy: every pixel has the same share.
pub(super) fn backward_global(dy: &Maps, from: Shape) -> Maps {
    Maps::from_planes(dy.batch, from, |image, c, dx| dx.fill(dy.plane(image, c)[0] / from.pixels() as f64))
}

/// The pixels that win the windows of a max pool in one plane.
pub(super) fn winners(x: &[f64], windows: &[Vec<usize>]) -> Vec<usize> {
    windows.iter().map(|window| winner(x, window)).collect()
}
