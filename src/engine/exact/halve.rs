//! FactorizedReduce without its ReLU and batch norm (Liu et al. 2019, the authors' code): two 1×1 convolutions of
//! stride 2 whose outputs lie side by side on the channels, the second one pixel further down and right, so that no
//! pixel row or column is skipped by both.
//!
//! ```text
//! y[n, o, r, c] = Σ_i a[o, i] · x[n, i, 2r, 2c]                          for the first half of the channels o
//! y[n, o, r, c] = Σ_i b[o − half, i] · x[n, i, 2r + 1, 2c + 1]           for the second
//! ```
//!
//! `a` and `b`: half of the output channels × input channels. Height and width of x are even.

use super::maps::Maps;
use super::rows::{add_scaled, add_scaled_apart, dot};
use crate::graph::Shape;

/// By half of the output channels: the weights, a and b.
pub(super) type Halves<'a> = [&'a [f64]; 2];

/// Which half an output channel belongs to (also how far its pixels are shifted), and its row in that half's weights.
fn half_of(o: usize, to: Shape) -> (usize, usize) {
    let half = to.channels / 2;
    (o / half, o % half)
}

/// The first pixel that an output row reads in an input plane, in a half.
fn first_input(row: usize, half: usize, from: Shape) -> usize {
    (2 * row + half) * from.width + half
}

/// y.
pub(super) fn forward(x: &Maps, weights: Halves, to: Shape) -> Maps {
    let from = x.shape;
    Maps::from_planes(x.batch, to, |image, o, y| {
        let (half, row) = half_of(o, to);
        for i in 0..from.channels {
            let (x, w) = (x.plane(image, i), weights[half][row * from.channels + i]);
            for (r, y) in y.chunks_mut(to.width).enumerate() {
                add_scaled(y, w, &x[first_input(r, half, from)..], 2);
            }
        }
    })
}

/// dL/dx from dL/dy.
pub(super) fn backward_x(dy: &Maps, weights: Halves, from: Shape) -> Maps {
    let to = dy.shape;
    Maps::from_planes(dy.batch, from, |image, i, dx| {
        for o in 0..to.channels {
            let (half, row) = half_of(o, to);
            let w = weights[half][row * from.channels + i];
            for (r, dy) in dy.plane(image, o).chunks(to.width).enumerate() {
                add_scaled_apart(&mut dx[first_input(r, half, from)..], 2, w, dy);
            }
        }
    })
}

/// Adds dL/da (half 0) or dL/db (half 1) to `dw`.
pub(super) fn backward_w(x: &Maps, dy: &Maps, half: usize, dw: &mut [f64]) {
    let (from, to) = (x.shape, dy.shape);
    for (row, dw) in dw.chunks_mut(from.channels).enumerate() {
        for (i, dw) in dw.iter_mut().enumerate() {
            for (x, dy) in x.planes(i).zip(dy.planes(half * (to.channels / 2) + row)) {
                let rows = dy.chunks(to.width).enumerate();
                *dw += rows.map(|(r, dy)| dot(dy, &x[first_input(r, half, from)..], 2)).sum::<f64>();
            }
        }
    }
}
